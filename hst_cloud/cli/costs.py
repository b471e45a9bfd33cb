"""The commands that tell what reading costs: ``estimate`` before anything is sent, and ``where`` this machine is."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast, get_args

import click

import hst_cloud as hst
from hst_cloud.cli.program import DONE, SOME, cli, common, nothing_came
from hst_cloud.cli.streams import Output, emit, given, reports, write_clean
from hst_cloud.cli.tables import table_of
from hst_cloud.science.estimate import Verb

__all__ = ["estimate", "where"]


@cli.command(short_help="Tell what a call will take.")
@click.argument("names", nargs=-1, metavar="[PRODUCT]...")
@click.option("--verb", type=click.Choice(get_args(Verb)), default="download", show_default=True,
              help="What is to be done with the products.")  # fmt: skip
@click.option("--center", "centers", multiple=True, help="Of cutouts and mosaic: a position. May be repeated.")
@click.option("--size", help="Of cutouts and mosaic: side of the box, such as '10 arcsec' or 200 (pixels).")
@click.option("--hdu", default="0", show_default=True, help="Of headers: the HDU farthest behind.")
@common
def estimate(
    *, output: Output, names: tuple[str, ...], verb: str, centers: tuple[str, ...], size: str | None, hdu: str
) -> int:
    """Tell how many requests, bytes, seconds and dollars a call on each PRODUCT takes; nothing is sent.

    Sizes are taken from what `products` or `resolve --verify` wrote; names alone do not tell them.
    """
    wanted = given(names, "products")
    if not len(wanted):
        return nothing_came()
    found = hst.estimate(wanted, cast("Verb", verb), centers=list(centers) or None, size=size, hdu=hdu)
    if reports(output):
        write_clean(f"{found}\n")
    else:
        facts = {name: getattr(found, name) for name in ("verb", "bound", "products", "unknown", "requests", "bytes")}
        emit(table_of([facts | asdict(path) for path in found.paths]), output, ())
    return SOME if found.unknown else DONE


@cli.command(short_help="Tell whether this machine is near the bucket.")
@common
def where(*, output: Output) -> int:
    """Tell where this machine is, seen from the bucket, how that is known, and what to change."""
    place = hst.where()
    if reports(output):
        write_clean(f"{place}\n")
        return DONE
    facts = {
        "in_region": place.in_region,
        "region": place.region,
        "path": place.path,
        "how": place.how,
        "endpoint": place.endpoint,
        "public": place.public,
        "link": place.link,
        "nat": place.nat,
        "advice": place.advice,
    }
    emit(table_of([facts]), output, ())
    return DONE
