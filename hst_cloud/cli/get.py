"""``hst-cloud get``: whole files into a folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

import hst_cloud as hst
from hst_cloud.cli.program import DONE, ERROR, SOME, cli, common, nothing_came
from hst_cloud.cli.progress import progress_line
from hst_cloud.cli.streams import Output, emit, given
from hst_cloud.errors import QueryError

__all__ = ["get"]

FILES = ("productFilename", "size", "status", "check", "path", "reason")
"""The columns that tell most of a manifest, in that order."""

MANIFEST = "manifest.ecsv"


@cli.command(short_help="Download products.")
@click.argument("names", nargs=-1, metavar="[PRODUCT]...")
@click.option("-d", "--folder", type=click.Path(path_type=Path, file_okay=False), default=".", show_default=True,
              help="Where the files go.")  # fmt: skip
@click.option("--nested", is_flag=True, help="Keep the folders of the keys, instead of all files side by side.")
@click.option("--references", metavar="WHICH", help="Reference files too: drizzle, all, or keywords with ',' between.")
@click.option("--crds", is_flag=True, help="Get reference files from the server of CRDS.")
@click.option("--overwrite", is_flag=True, help="Replace different files that have the names of products.")
@click.option(
    "--from-manifest", is_flag=True, help=f"Download what the folder's {MANIFEST} has and the folder has not."
)
@click.option("--in-flight", type=click.IntRange(min=1), default=32, show_default=True, metavar="N",
              help="Requests at a time, of 8 MiB of memory each.")  # fmt: skip
@common
def get(  # the name of the command
    *,
    output: Output,
    names: tuple[str, ...],
    folder: Path,
    nested: bool,
    references: str | None,
    crds: bool,
    overwrite: bool,
    from_manifest: bool,
    in_flight: int,
) -> int:
    """Download each PRODUCT: names, URIs, or what `products` wrote; ``-`` stands for standard input.

    A file has its name only when it is complete and checked. Called again, the command goes on where it was
    interrupted, and leaves alone what is there. What became of each product is written out, and kept in the folder's
    manifest.ecsv. With --references, lines for the shell say where programs find reference files.
    """
    wanted: Any
    if from_manifest:
        if names:
            message = "give products, or --from-manifest: not both"
            raise QueryError(message)
        wanted = folder / MANIFEST
        if not wanted.exists():
            message = f"{wanted} is not there: --from-manifest goes on with a folder that a former call began to fill"
            raise QueryError(message)
    else:
        wanted = given(() if names == ("-",) else names, "products")
        if not len(wanted):
            return nothing_came()
    with progress_line("downloading") as progress:
        table = hst.download(
            wanted,
            folder,
            layout="nested" if nested else None,
            overwrite=overwrite,
            manifest=MANIFEST,
            references=references.split(",") if references and "," in references else references,
            source="crds" if crds else "bucket",
            in_flight=in_flight,
            progress=progress,
        )
    emit(table, output, FILES)
    for variable, place in table.meta.get("environment", {}).items():
        # for a person below the table; where a program reads the table, the person looks at the other stream
        (sys.stdout if output.form == "table" else sys.stderr).write(f"export {variable}={shlex.quote(place)}\n")
    there = sum(status in {"downloaded", "present"} for status in table["status"])
    return DONE if there == len(table) else SOME if there else ERROR
