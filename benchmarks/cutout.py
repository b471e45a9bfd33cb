"""What reading a piece of one exposure takes: the figures and the table of ``docs/explanation/reading.rst``.

    python -m benchmarks.cutout docs    # writes explanation/reading-*.png and explanation/reading.inc below docs

An ACS/WFC flc of true size and structure is read, of which only the headers exist. Nothing is timed: round trips,
requests and bytes are exact, and the same everywhere.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import hst_cloud as hst
from hst_cloud.fits.index import Index
from hst_cloud.fits.predict import siblings
from hst_cloud.testing.demo.imaging import acs_wfc_flc
from tests.sparse_files import Sparse

NAME, SIBLING = "jbqf03gjq_flc.fits", "jbqf03gkq_flc.fits"
SHAPE = (2048, 4096)
CENTER, SIDE = (2000, 1000), 100  # pixels
ALONE = {"wcs": False, "uncertainty": False, "mask": False}
KNOWN = {
    "name": "its name",
    "size": "its size, from a table",
    "sibling": "a file like it, read before",
    "index": "the file itself, from the index",
}
WORKS = {"open": "open", "cutout": "cutout", "alone": "cutout, pixels alone"}
SUMMARY = re.compile(r"(\d+) round trips?, (\d+) requests?: (.+ .B) of (.+ .B) .*")


class Case(NamedTuple):
    """One way to read."""

    work: str
    """What is done: a name in `WORKS`."""
    known: str
    """What is known before: a name in `KNOWN`."""


CASES = [Case("open", "name")]
CASES += [Case(work, known) for work in ("cutout", "alone") for known in KNOWN]
PICTURES = {CASES[0]: "open", CASES[1]: "cutout", Case("alone", "index"): "index"}


def measured(folder: Path):
    """Yield each case, the summary of what it read, and the picture; `folder` is where the files are made."""
    for name in (NAME, SIBLING):
        file = Sparse(acs_wfc_flc.to_bytes(rootname=name[:9], scale=64), SHAPE)
        file.write(folder / "hst/public" / name[:4] / name[:9] / name)
    product, index = hst.Product(filename=NAME, size=file.size), Index(folder / "index")
    with hst.open(NAME, store=folder, index=index):
        pass  # from now on the index knows it
    for case in CASES:
        siblings.cache_clear()
        if case.known == "sibling":
            with hst.open(SIBLING, store=folder, index=False):
                pass

        def reading(given, store, case=case):
            how = {"store": store, "index": index if case.known == "index" else False}
            if case.work == "open":
                hst.open(given, **how).close()
            else:
                hst.cutout(given, CENTER, SIDE, **how, **(ALONE if case.work == "alone" else {}))

        figure = hst.plots.layout(product if case.known == "size" else NAME, reading, store=folder)
        yield case, SUMMARY.fullmatch(figure.axes[0].texts[0].get_text()).groups(), figure


def table(rows) -> str:
    """Return the table of the page, of cases and their summaries."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 22 34 14 14 16", ""]
    cells = [(WORKS[case.work], KNOWN[case.known], trips, requests, read) for case, (trips, requests, read, _) in rows]
    for row in [("what", "what is known before", "round trips", "requests", "read"), *cells]:
        lines += [f"   {'* -' if cell is row[0] else '  -'} {cell}" for cell in row]
    return "\n".join([*lines, ""])


def main(docs: Path) -> int:
    """Write what the page includes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case, summary, figure in measured(Path(folder)):
            rows.append((case, summary))
            if case in PICTURES:
                path = docs / "explanation" / f"reading-{PICTURES[case]}.png"
                figure.savefig(path, metadata={"Software": None})
    (docs / "explanation" / "reading.inc").write_text(table(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2])))
