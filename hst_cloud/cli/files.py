"""Files that commands write: complete under their names or not at all, and none replaced unasked."""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import QTable, Table

from hst_cloud.cli.tables import write
from hst_cloud.errors import MissingExtraError, QueryError

__all__ = ["FORMATS_OF_FILES", "cutout_file", "cutout_name", "hdu_of", "made", "table_writer"]

FORMATS_OF_FILES = (".ecsv", ".fits", ".parquet", ".csv", ".jsonl")
"""Endings of the files that a table can be written to."""


@contextmanager
def made(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a file beside `path` to write to, which becomes `path` when it is complete.

    Raises
    ------
    FileExistsError
        There is such a file, and it shall not be replaced.
    """
    part = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield part
        if overwrite:
            part.replace(path)
        else:
            try:
                os.link(part, path)  # unlike a renaming, it fails if somebody was faster
            except FileExistsError as error:
                raise _there(path) from error
            except OSError:  # a file system without links
                if path.exists():
                    raise _there(path) from None
                part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def _there(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} is there already; give another name, or --overwrite")


# --- Tables ----------------------------------------------------------------------------------------------------------


def table_writer(path: Path) -> Callable[[QTable, Path], None]:
    """Return what writes a table in the format that a file's name ends with.

    Raises
    ------
    QueryError
        It ends with none that is known.
    """
    kind = path.suffix.lower()
    match kind:
        case ".ecsv":
            return lambda table, part: table.write(part, format="ascii.ecsv")
        case ".fits":
            return _as_fits
        case ".parquet":
            return _as_parquet
        case ".csv" | ".jsonl":
            return lambda table, part: _as_text(table, part, kind)
    message = f"{path} has no ending that tells how to write it: expected one of {', '.join(FORMATS_OF_FILES)}"
    raise QueryError(message)


def hdu_of(table: QTable) -> str:
    """Return which HDU a table is of: ``EVENTS,1``, or its number where it has no name."""
    name, ver = table.meta.get("name"), table.meta.get("ver")
    return f"{name},{ver}" if name else str(table.meta["hdu"])


def _as_fits(table: QTable, part: Path) -> None:
    plain = table.copy(copy_data=False)
    plain.meta = {"S3KEY": table.meta["key"], "S3ETAG": table.meta["etag"] or "", "HDU": hdu_of(table)}
    plain.write(part, format="fits")


def _as_parquet(table: QTable, part: Path) -> None:
    try:
        table.write(part, format="parquet")
    except ImportError as error:
        message = "writing Parquet needs pandas and pyarrow: pip install 'hst-cloud[parquet]'"
        raise MissingExtraError(message) from error


def _as_text(table: QTable, part: Path, kind: str) -> None:
    with part.open("w", encoding="utf-8", newline="") as file:
        write(Table(table), "csv" if kind == ".csv" else "jsonl", file.write)


# --- Cutouts ---------------------------------------------------------------------------------------------------------


def cutout_name(cut: CCDData) -> str:
    """Return a name that tells the product, the image and the place: ``jbqf03gjq_flc_sci1_x995_y2034.fits``."""
    stem = Path(cut.meta["S3KEY"]).name.partition(".")[0]
    name, _, ver = str(cut.meta["HDU"]).lower().partition(",")
    return f"{stem}_{name}{ver}_x{cut.meta['CUTX0']}_y{cut.meta['CUTY0']}.fits"


def cutout_file(cut: CCDData) -> fits.HDUList:
    """Return a cutout as a file: what `astropy.nddata.CCDData.read` expects, and what that leaves out.

    The image is the primary HDU; ``MASK`` and ``UNCERT`` follow as astropy has them, then ``DQ`` (the flags) and
    ``WHT``, and last the tables of distortion, ``D2IMARR`` and ``WCSDVARR``: with them the solution is
    ``WCS(hdul[0].header, hdul)``.
    """
    hdul = cut.to_hdu()
    for name, plane in (("DQ", cut.flags), ("WHT", getattr(cut, "weight", None))):
        if plane is not None:
            hdul.append(fits.ImageHDU(plane, name=name))
    if cut.wcs is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            solution = cut.wcs.to_fits(relax=True)
        tables = solution[1:]
        if tables:
            # CCDData writes the header alone, of which these cards are no part.
            named = ("D2IM", "CPDIS", "DP1", "DP2", "DQ1", "DQ2")
            for card in solution[0].header.cards:
                if card.keyword.startswith(named):
                    hdul[0].header.append(card, end=True)
            hdul.extend(tables)
    return hdul
