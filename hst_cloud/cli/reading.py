"""The commands that read what lies in products: their keywords, boxes of their images, rows of their tables."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from astropy.table import Table

import hst_cloud as hst
from hst_cloud.cli.files import FORMATS_OF_FILES, cutout_file, cutout_name, hdu_of, made, table_writer
from hst_cloud.cli.program import DONE, ERROR, SOME, cli, common, nothing_came
from hst_cloud.cli.progress import Watcher, progress_line
from hst_cloud.cli.streams import Output, emit, given, say
from hst_cloud.cli.tables import Value, table_of
from hst_cloud.errors import QueryError

__all__ = ["cutout", "headers", "table"]

AT_ONCE = 200
"""Products whose cutouts are held in memory until they are written: a box of 1000 by 1000 pixels takes 12 MB."""

CUTOUTS = ("path", "productFilename", "hdu", "slice", "shape", "key")
"""What is told of a cutout that was written."""


@cli.command(short_help="Read keywords of products into a table.")
@click.argument("names", nargs=-1, metavar="[PRODUCT]...")
@click.option("-k", "--keyword", "keywords", multiple=True, metavar="KEYWORD",
              help="EXPTIME, SCI.PHOTFLAM, SCI,2.CRVAL1 or 1.EXTNAME. May be repeated.")  # fmt: skip
@click.option("--all", "every", is_flag=True, help="All keywords of the HDU.")
@click.option(
    "--hdu", default="0", show_default=True, help="Where keywords without an HDU of their own are: SCI,2 or 1."
)
@click.option("--on-error", type=click.Choice(["mask", "skip", "raise"]), default="mask", show_default=True,
              help="A product that cannot be read has a row without values, or none, or ends the command.")  # fmt: skip
@common
def headers(
    *,
    output: Output,
    names: tuple[str, ...],
    keywords: tuple[str, ...],
    every: bool,
    hdu: str,
    on_error: Literal["mask", "skip", "raise"],
) -> int:
    """Read keywords of each PRODUCT into one row: names, URIs, or what `products` wrote; ``-`` is standard input."""
    wanted = given(names, "products")
    if not len(wanted):
        return nothing_came()
    if not keywords and not every:
        message = "give keywords, such as -k EXPTIME -k SCI,1.PHOTFLAM, or --all"
        raise QueryError(message)
    asked = [*keywords, *(["*"] if every else [])]
    with progress_line("reading headers") as progress:
        found = hst.headers(wanted, asked, hdu=hdu, on_error=on_error, progress=progress)
    failed = len(found.meta["errors"])
    if len(found):
        emit(found, output, found.colnames)
    absent = [name for name in keywords if name in found.colnames and np.all(found[name].mask)]
    if absent and failed < len(wanted):
        say(f"no product that was read has a value of {', '.join(absent)}: headers --all shows what there is")
    return DONE if not failed else SOME if failed < len(wanted) else ERROR


@cli.command(short_help="Cut boxes out of images, into FITS files.")
@click.argument("names", nargs=-1, metavar="[PRODUCT]...")
@click.option("--center", "centers", multiple=True, metavar="POSITION",
              help="'202.47 47.2' (degrees) or '13h29m52.7s +47d11m43s'. May be repeated.")  # fmt: skip
@click.option("--pixel", "pixels", multiple=True, metavar="X,Y",
              help="Instead: a pixel of the image, zero-based. May be repeated.")  # fmt: skip
@click.option(
    "--size",
    required=True,
    metavar="SIZE",
    help="Side of the box, or sides along y and x: '10 arcsec', 100 or 100,200 (pixels).",
)
@click.option("--hdu", default="SCI", show_default=True, help="The image: SCI, SCI,2 or 1.")
@click.option("--wcs-key", default=" ", metavar="KEY",
              help="Which solution: a letter, or a WCSNAME such as '*-GSC240'.  [default: the primary]")  # fmt: skip
@click.option("-o", "--output", "place", type=click.Path(path_type=Path), default=".", show_default=True,
              help="A folder, or for a single cutout a file: out.fits.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@common
def cutout(
    *,
    output: Output,
    names: tuple[str, ...],
    centers: tuple[str, ...],
    pixels: tuple[str, ...],
    size: str,
    hdu: str,
    wcs_key: str,
    place: Path,
    overwrite: bool,
) -> int:
    """Cut a box out of each PRODUCT, and write it as a FITS file with its errors, flags and place on the sky.

    Products are names, URIs, or what `products` wrote; ``-`` is standard input. What was written is told as a table.
    """
    wanted = given(names, "products")
    if not len(wanted):
        return nothing_came()
    if bool(centers) == bool(pixels):
        message = "give --center or --pixel" + (": not both" if centers else "")
        raise QueryError(message)
    places: list[Any] = list(centers) or [_pixel(pixel) for pixel in pixels]
    single = place.suffix.lower() == ".fits" and not place.is_dir()
    if single and len(wanted) * len(places) > 1:
        message = f"{len(wanted) * len(places)} cutouts do not fit into one file, {place}: give a folder"
        raise QueryError(message)
    if single and place.exists() and not overwrite:  # before anything is read
        message = f"{place} is there already; give another name, or --overwrite"
        raise FileExistsError(message)
    if not single:
        place.mkdir(parents=True, exist_ok=True)
    done: list[dict[str, Value]] = []
    with progress_line("cutting") as progress:
        for start in range(0, len(wanted), AT_ONCE):
            watch = _continued(progress, start, len(wanted))
            cuts = hst.cutouts(
                wanted[start : start + AT_ONCE],
                places,
                _size(size),
                hdu=_hdu(hdu),
                wcs_key=wcs_key,
                on_error="skip",
                progress=watch,
            )
            for cut in cuts:
                path = place if single else place / cutout_name(cut)
                try:
                    with made(path, overwrite=overwrite) as part:
                        cutout_file(cut).writeto(part, output_verify="silentfix+ignore")
                except FileExistsError as error:
                    say(str(error))
                    continue
                done.append(_told(cut, path))
    if done:
        emit(table_of(done), output, CUTOUTS)
    return DONE if len(done) == len(wanted) * len(places) else SOME if done else ERROR


@cli.command(short_help="Read rows and columns of a product's table.")
@click.argument("name", metavar="PRODUCT")
@click.option("--hdu", metavar="HDU", help="The table: EVENTS, SCI,2 or 1.  [default: the first]")
@click.option("-o", "--output", "path", type=click.Path(path_type=Path, dir_okay=False),
              help=f"Write it to a file, whose name ends with one of {', '.join(FORMATS_OF_FILES)}.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@functools.partial(common, spans=True)
def table(*, output: Output, name: str, hdu: str | None, path: Path | None, overwrite: bool, span: slice | None) -> int:
    """Read a table of PRODUCT, or of it the columns and rows that are named; no others are read."""
    writer = None if path is None else table_writer(path)
    if path is not None and path.exists() and not overwrite:
        message = f"{path} is there already; give another name, or --overwrite"
        raise FileExistsError(message)
    with progress_line("reading"):
        found = hst.table(name, None if hdu is None else _hdu(hdu), columns=list(output.columns) or None, rows=span)
    if path is not None and writer is not None:
        with made(path, overwrite=overwrite) as part:
            writer(found, part)
        key = str(found.meta["key"])
        told: dict[str, Value] = {
            "path": str(path),
            "productFilename": Path(key).name,
            "hdu": hdu_of(found),
            "rows": len(found),
            "columns": len(found.colnames),
            "key": key,
        }
        emit(table_of([told]), replace(output, columns=()), tuple(told))
        return DONE
    emit(found if output.form == "ecsv" else Table(found), replace(output, columns=()), found.colnames)
    return DONE


# --- What the commands share -----------------------------------------------------------------------------------------


def _hdu(text: str) -> str | int:
    return int(text) if text.strip().isdigit() else text


def _pixel(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        message = f"{text!r} is no pixel; give x and y, zero-based, such as 1023.5,511"
        raise QueryError(message) from error
    return x, y


def _size(text: str) -> Any:
    """Return what `hst_cloud.cutout` takes for a size: lengths, or numbers of pixels."""
    sides = [_side(side) for side in text.split(",")]
    return sides[0] if len(sides) == 1 else tuple(sides)


def _side(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _continued(progress: Watcher, before: int, total: int) -> Watcher:
    """Return what tells of a part of the products as of a part of all of them."""
    return lambda message: progress(replace(message, done=before + message.done, total=total))


def _told(cut: Any, path: Path) -> dict[str, Value]:
    key = str(cut.meta["S3KEY"])
    return {
        "path": str(path),
        "productFilename": Path(key).name,
        "key": key,
        "etag": str(cut.meta["S3ETAG"]) or None,
        "hdu": str(cut.meta["HDU"]),
        "slice": str(cut.meta["CUTOUT"]),
        "shape": str(cut.shape),
    }
