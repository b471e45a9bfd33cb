"""The columns of every table that the library returns, as the tables themselves tell them.

The verbs are asked, against an archive of their own on loopback, so that no list of columns is kept that could differ
from what they return.
"""

from __future__ import annotations

import tempfile
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

from astropy.table import Table
from astropy.time import Time
from astropy.utils.masked import Masked

import hst_cloud as hst
from hst_cloud.testing import LocalArchive, make_demo_archive

KINDS = {"U": "text", "i": "integer", "u": "integer", "f": "number", "b": "true or false"}


def tables() -> dict[str, tuple[str, Table]]:
    """Return the tables by the verbs that return them, each with what one row is of."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a made-up archive has no second epoch of everything
        archive = LocalArchive(make_demo_archive(Path(folder, "demo"), scale=64))
        with archive:
            found = hst.search("47 Tuc", instrument="ACS/WFC")
            files = hst.products(found, suffix="flc")
            grism = hst.search("HUDF", instrument="WFC3/IR")
            many = hst.products(hst.search("M 51", instrument="ACS/WFC"), suffix=["flc", "asn"])
            return {
                "search": ("an observation.", found),
                "products": ("a file.", files),
                "resolve": ("a product that was given.", hst.resolve(files, verify=True)),
                "headers": (
                    "a file. Each keyword that was asked for is a column after that, as it was written.",
                    hst.headers(files, "EXPTIME")[["productFilename"]],
                ),
                "members": ("a member of an association. ``parents`` returns the same columns.", hst.members(many)),
                "references": ("a reference file.", hst.references(many, "drizzle")),
                "epochs": (
                    "an observation, with the columns of ``search`` and these.",
                    added(hst.epochs(found, "6.04 -72.07", min_baseline="5 yr"), found),
                ),
                "pairs": ("an observation, with the columns of ``search`` and these.", added(hst.pairs(grism), grism)),
                "download": ("a file, in the manifest too.", hst.download(files[:1], "work")),
                "photometry": (
                    "an exposure and a position. ``light_curves`` returns the same columns, a position at a time.",
                    hst.photometry(files, "6.04d -72.07d", "2 arcsec", annulus=("3 arcsec", "5 arcsec")),
                ),
                "report": ("a source that this process has read.", hst.report()),
            }


def added(table: Table, before: Table) -> Table:
    """Return the columns that `before` has not."""
    return table[[name for name in table.colnames if name not in before.colnames]]


def columns(table: Table) -> list[tuple[str, str, str, str]]:
    """Return each column's name, what it holds, its unit, and what it means."""
    return [(name, *_told(table[name]), table[name].info.description or "") for name in table.colnames]


def _told(column: Any) -> tuple[str, str]:
    if isinstance(column, Time):
        return f"`~astropy.time.Time`, {column.scale.upper()}", ""
    plain = column.unmasked if isinstance(column, Masked) else column
    return KINDS[plain.dtype.kind], str(column.unit or "")


def page() -> list[str]:
    """Return the lines of the page: a section for each table."""
    lines: list[str] = []
    for name, (what, table) in tables().items():
        lines += [name, "-" * len(name), "", f"Of `hst_cloud.{name}`; a row is {what}", ""]
        lines += [".. list-table::", "   :header-rows: 1", "   :widths: 24 18 10 48", ""]
        for row in [("column", "holds", "unit", "meaning"), *columns(table)]:
            first = row[0] if row[0] == "column" else f"``{row[0]}``"
            lines += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in row[1:])]
        lines.append("")
    return lines
