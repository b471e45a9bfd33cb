"""Do the same jobs in all ways against the embedded archive, and write the page of the documentation.

Lines, requests and bytes are exact. Seconds are of a link with a latency of 20 ms and 80 MB/s for each connection, as
in the bucket's region; the server is a Python program on the same machine, so that large amounts are slower than there.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.jobs import ways
from benchmarks.reading.files import Counts, files
from hst_cloud.testing import LocalArchive

COUNTS = Counts(flc=5, small=1, more=1, stis=20, cos=1, distinct=1)
QUICK = replace(COUNTS, scale=8)
LATENCY, BANDWIDTH = 0.02, 80e6
JOBS = {
    "open": ("Open a file that one can name, and look at 100 by 100 pixels", "flc", 1),
    "keywords": ("Ten keywords of five images, as a table", "flc", 5),
    "cutouts": ("100 by 100 pixels of five images, with their place on the sky", "flc", 5),
    "spectra": ("Twenty spectra with units, errors and flags", "stis", 20),
    "download": ("Twenty files to the disk", "stis", 20),
}
WAYS = {
    "hst_cloud": "``hst_cloud``",
    "astroquery": "astroquery, files downloaded from MAST",
    "astropy_s3fs": "astroquery for the place, astropy + s3fs as documented",
    "s3fs": "s3fs alone, place known by heart",
    "astrocut": "astroquery for the place, astrocut",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What one job cost in one way."""

    way: str
    lines: int
    mast: int = 0
    """Requests to MAST."""
    bucket: int = 0
    """Requests to the bucket."""
    megabytes: float = 0.0
    """Received from both."""
    seconds: float = 0.0
    """Median."""
    digest: str = ""
    """Of what it gave."""
    failure: str = ""
    """What it raised instead."""

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table says of it."""
        if self.failure:
            return WAYS[self.way], str(self.lines), "", "", "", f"raises {self.failure.partition(':')[0]}"
        costs = f"{self.mast}", f"{self.bucket}", f"{self.megabytes:.3g}", f"{self.seconds:.2g}"
        return WAYS[self.way], str(self.lines), *costs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 1 where two ways of a job disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("--files", type=Path, default=Path("build/benchmark"), help="folder of the files that are read")
    parser.add_argument("--repeats", type=int, default=3, help="times that each way is timed (default 3)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="some of the jobs")
    parser.add_argument("--quick", action="store_true", help="with small files: does it work?")
    parser.add_argument("--write", type=Path, metavar="DOCS", help="write the page below this folder of documentation")
    chosen = parser.parse_args(arguments)
    found = files(chosen.files, QUICK if chosen.quick else COUNTS)
    results: dict[str, list[Done]] = {}
    with LocalArchive(found.folder, latency=LATENCY, bandwidth=BANDWIDTH) as archive:
        for one in (*found.flc, *found.stis):  # the server makes an ETag of each file when it is first asked for it
            urllib.request.urlopen(f"{archive.endpoint}/stpubdata/{one.key}").close()
        for job in chosen.jobs:
            _, kind, count = JOBS[job]
            uris = [f"mast:HST/product/{one.name}" for one in getattr(found, kind)[:count]]
            results[job] = [
                done(archive, job, way, uris, chosen.repeats) for way in WAYS if hasattr(ways, f"{job}_{way}")
            ]
            print(
                "\n".join(
                    [*table(job, results[job]), *(f"{row.way}: {row.failure}" for row in results[job] if row.failure)]
                )
            )
    unequal = [job for job, rows in results.items() if len({row.digest for row in rows if not row.failure}) > 1]
    if chosen.write and not unequal:
        (chosen.write / "explanation/comparison.rst").write_text(page(results, chosen.repeats), encoding="utf-8")
    if unequal:
        print(f"the ways do not agree on: {', '.join(unequal)}", file=sys.stderr)
    return int(bool(unequal))


def done(archive: LocalArchive, job: str, way: str, uris: list[str], repeats: int) -> Done:
    """Do one job in one way some times, each in a process of its own, and count what it costs."""
    name, answers, requests = f"{job}_{way}", [], []
    for _ in range(repeats):
        archive.forget()
        with surroundings(archive.endpoint) as (folder, environment):
            ran = subprocess.run(
                [sys.executable, "-m", "benchmarks.jobs.worker"],
                input=json.dumps({"way": name, "uris": uris}),
                cwd=folder, env=environment, text=True, capture_output=True, check=False, timeout=300,
            )  # fmt: skip
        if ran.returncode:
            said = ran.stderr.strip().splitlines() or ["it ended without a word"]
            return Done(way=way, lines=lines(getattr(ways, name)), failure=said[-1])
        answers.append(json.loads(ran.stdout.splitlines()[-1]))
        requests = archive.requests
    return Done(
        way=way,
        lines=lines(getattr(ways, name)),
        mast=sum(one.service == "mast" for one in requests),
        bucket=sum(one.service == "s3" for one in requests),
        megabytes=sum(one.bytes for one in requests) / 1e6,
        seconds=statistics.median(one["seconds"] for one in answers),
        digest=answers[-1]["digest"],
    )


@contextmanager
def surroundings(endpoint: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Give an empty folder, and an environment in which every client finds the embedded archive."""
    with tempfile.TemporaryDirectory() as folder:
        yield (
            folder,
            os.environ
            | {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_DEFAULT_REGION": "us-east-1",
                "HST_CLOUD_ENDPOINT": endpoint,
                "HST_CLOUD_CACHE": "off",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
        )


def lines(function) -> int:
    """Return how many lines of code the body of a function has, without blank ones and comments."""
    tree = ast.parse(inspect.getsource(function))
    return len({node.lineno for node in ast.walk(tree) if hasattr(node, "lineno")}) - 1


HEAD = ("way", "lines", "requests to MAST", "requests to the bucket", "MB", "seconds")


def table(job: str, rows: Sequence[Done]) -> list[str]:
    """Return the rows of one job as a list table."""
    cells = [HEAD, *(row.cells for row in rows)]
    head = [f".. list-table:: {JOBS[job][0]}", "   :header-rows: 1", "   :widths: 40 8 12 12 12 12", ""]
    return head + [f"   {'*' if n == 0 else ' '} - {cell}" for row in cells for n, cell in enumerate(row)] + [""]


def page(results: dict[str, list[Done]], repeats: int) -> str:
    """Return the page of the documentation."""
    names = [name for name in ("astropy", "astroquery", "s3fs", "astrocut") if find_spec(name)]
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return "\n".join([INTRODUCTION.format(packages=packages, date=datetime.now(UTC).date(), repeats=repeats),
                      *(line for job, rows in results.items() for line in table(job, rows))])  # fmt: skip


INTRODUCTION = """\
The same jobs in other ways
===========================

Explanation; 5 minutes.

Five jobs, each done by this package and by today's ways as a person who knows them would write it.
The ways are the functions of ``benchmarks/jobs/ways.py``, and what is counted is the code of their bodies with imports.
All ways of a job give the same pixels, keywords, spectra or files, which is checked.
The page is written by ``python -m benchmarks.jobs --write docs``.

Lines, requests and bytes are exact.
Seconds are medians of {repeats} against the embedded archive with a latency of 20 ms and 80 MB/s for each connection,
as in the bucket's region: the server shares this machine with the client, so that they compare, and promise nothing.
Every run is the first of its process: nothing is known of the files, and packages are imported before the clock starts.
Images are ACS/WFC exposures of 168 MB with 20 HDUs.

Which to choose: astroquery is the way to MAST's services and to what the bucket does not hold, and this package stands
on it.
s3fs is a file system for any bucket, and reads ours at its best where ranges are known, as does this package's own
reader; astropy reads from it without a line of ours.
astrocut makes cutouts of cubes of TESS and of files on the disk, which this package does not; it does not read
the tables of distortion that the calibrated images of ACS and WFC3 have, and raises (1.4.0).
They work together: tables of astroquery and paths of s3fs are products here, and :doc:`/howto/other-stores` shows how.

With {packages}; {date}.
"""

if __name__ == "__main__":
    sys.exit(main())
