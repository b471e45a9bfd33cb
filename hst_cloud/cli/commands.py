"""The commands that find products, the main job, and the checks; `hst_cloud.cli.reading` has those that read."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click
from astropy.table import Row

import hst_cloud as hst
from hst_cloud.archive.inputs import as_product
from hst_cloud.cli.program import DONE, ERROR, NOTHING, SOME, cli, common, nothing_came
from hst_cloud.cli.progress import progress_line
from hst_cloud.cli.streams import (
    Output,
    emit,
    given,
    name_of,
    reports,
    say,
    terminal_width,
    write_clean,
)
from hst_cloud.cli.tables import Value, criteria_of, span_of, table_of, words_of
from hst_cloud.cli.text import HDUS, OBSERVATIONS, PLACES, PRODUCTS, opened, plain, shown
from hst_cloud.errors import HSTCloudError, MissingExtraError
from hst_cloud.store.meter import Meter

__all__ = ["demo", "doctor", "info", "products", "resolve", "search"]


@cli.command(short_help="Find observations.")
@click.argument("target", required=False)
@click.option("--center", help="Position instead of a name: '202.47 47.2' (degrees) or '13h29m52.7s +47d11m43s'.")
@click.option("--radius", default="3 arcmin", show_default=True, help="Greatest distance from the position.")
@click.option("--instrument", multiple=True, metavar="NAME", help="ACS, ACS/WFC, ... May be repeated.")
@click.option("--filters", "--filter", multiple=True, metavar="NAME", help="Filter or grating. May be repeated.")
@click.option("--proposal", multiple=True, metavar="ID", help="Proposal. May be repeated.")
@click.option("--since", metavar="DATE", help="The exposure starts at or after this time (UTC).")
@click.option("--until", metavar="DATE", help="The exposure starts before this time (UTC).")
@click.option("--exptime", metavar="LEAST..GREATEST", help="Exposure time in seconds.")
@click.option("--calib-level", type=int, multiple=True, help="1 raw, 2 calibrated, 3 combined. May be repeated.")
@click.option("--dataproduct-type", multiple=True, metavar="TYPE", help="image, spectrum, ... May be repeated.")
@click.option("--intent", type=click.Choice(["science", "calibration", "any"]), default="science", show_default=True)
@click.option("--planned", is_flag=True, help="Also observations that have not been taken.")
@click.option("--criteria", multiple=True, metavar="COLUMN=VALUE",
              help="Any other of MAST's columns: a value, or LEAST..GREATEST. May be repeated.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Greatest number of observations.")
@click.option("--deadline", type=float, metavar="SECONDS", help="Time for the whole command.")
@common
def search(
    *,
    output: Output,
    target: str | None,
    instrument: tuple[str, ...],
    filters: tuple[str, ...],
    proposal: tuple[str, ...],
    exptime: str | None,
    calib_level: tuple[int, ...],
    dataproduct_type: tuple[str, ...],
    intent: str,
    criteria: tuple[str, ...],
    **same: Any,
) -> int:
    """Find observations of TARGET, or by other conditions; all of them hold together."""
    with progress_line("asking MAST") as progress:
        table = hst.search(
            target,
            instrument=words_of(instrument),
            filters=words_of(filters),
            proposal=words_of(proposal),
            exptime=None if exptime is None else span_of(exptime),
            calib_level=list(calib_level) or None,
            dataproduct_type=words_of(dataproduct_type),
            intent=None if intent == "any" else intent,
            criteria=criteria_of(criteria),
            progress=progress,
            **same,
        )
    if not len(table):
        say("MAST has no observation that meets all of these conditions")
        return NOTHING
    emit(table, output, OBSERVATIONS)
    return DONE


@cli.command(short_help="List the files of observations.")
@click.argument("observations", nargs=-1, metavar="[OBSERVATION]...")
@click.option("--suffix", multiple=True, metavar="NAME", help="Kind of file: drc, x1d, ... May be repeated.")
@click.option("--calib-level", type=int, multiple=True, help="Of the product: 1, 2, 3. May be repeated.")
@click.option("--product-type", multiple=True, metavar="TYPE", help="SCIENCE, PREVIEW, ... May be repeated.")
@click.option("--collection", multiple=True, metavar="NAME",
              help="CAL, HAP, HLA, HLSP or all. May be repeated.  [default: CAL]")  # fmt: skip
@click.option("--deadline", type=float, metavar="SECONDS", help="Time for the whole command.")
@common
def products(
    *,
    output: Output,
    observations: tuple[str, ...],
    suffix: tuple[str, ...],
    calib_level: tuple[int, ...],
    product_type: tuple[str, ...],
    collection: tuple[str, ...],
    deadline: float | None,
) -> int:
    """List the files of each OBSERVATION: names, MAST's numbers, or what `search` wrote."""
    wanted = given(observations, "observations")
    if not len(wanted):
        return nothing_came()
    with progress_line("asking MAST") as progress:
        table = hst.products(
            wanted,
            suffix=words_of(suffix),
            calib_level=list(calib_level) or None,
            product_type=words_of(product_type),
            collection=words_of(collection) or "CAL",
            deadline=deadline,
            progress=progress,
        )
    if not len(table):
        say("no product of these observations is of that kind")
        return NOTHING
    emit(table, output, PRODUCTS)
    return DONE


@cli.command(short_help="Tell where products lie in the bucket.")
@click.argument("names", nargs=-1, metavar="[PRODUCT]...")
@click.option("--verify", is_flag=True, help="Look, by listing the bucket; else keys are told by rule.")
@click.option("--deadline", type=float, metavar="SECONDS", help="Time for MAST's answers.")
@common
def resolve(*, output: Output, names: tuple[str, ...], verify: bool, deadline: float | None) -> int:
    """Tell where each PRODUCT lies in the bucket: names, URIs, or what `products` wrote."""
    wanted = given(names, "products")
    if not len(wanted):
        return nothing_came()
    with progress_line("looking") as progress:
        table = hst.resolve(wanted, verify=verify, deadline=deadline, progress=progress)
    emit(table, output, PLACES)
    failed = [row for row in table if not row["key"] or (verify and row["status"] != "in_cloud")]
    for row in failed[:10] if output.form != "table" else ():
        say(f"{row['productFilename'] or row['obs_id'] or 'a name'}: {row['status']}: {row['reason']}")
    return SOME if failed else DONE


@cli.command(short_help="Open products and list their HDUs.")
@click.argument("names", nargs=-1, metavar="[PRODUCT]...")
@click.option("--source", type=click.Choice(["bucket", "mast"]), default="bucket", show_default=True,
              help="mast: read from MAST's Download service what the bucket does not hold.")  # fmt: skip
@common
def info(*, output: Output, names: tuple[str, ...], source: Literal["bucket", "mast"]) -> int:
    """Open each PRODUCT and list its HDUs, its key, and what that took."""
    wanted = given(names, "products")
    if not len(wanted):
        return nothing_came()
    failed = written = 0
    tables = []
    for number, product in enumerate(wanted, start=1):
        name = name_of(product)
        try:
            with progress_line(f"opening {plain(name)}, {number} of {len(wanted)}"):
                found = _headers(product, source)
        except HSTCloudError as error:
            say(f"{name}: {error}" if name not in str(error) else str(error))
            failed += 1
            continue
        if output.form == "ecsv":
            tables += found  # one header for all
        elif output.form == "table" and not output.columns:
            click.echo(opened(found, width=terminal_width()))
        else:
            emit(table_of(found), output, HDUS, header=not written)
        written += 1
    if tables:
        emit(table_of(tables), output, HDUS)
    return DONE if not failed else SOME if written else ERROR


def _headers(product: str | Row, source: Literal["bucket", "mast"]) -> list[dict[str, Value]]:
    """Return one record for each HDU of a product."""
    meter = Meter()
    known = as_product(product)
    with hst.open(product, store=meter, source=source, index=False) as hdul:  # it tells what is there now
        whole: dict[str, Value] = {
            "productFilename": known.filename,
            "key": known.key or None,
            "size": meter.size,
            "etag": meter.etag,
            "requests": meter.traffic.requests,
            "bytes_read": meter.traffic.bytes,
        }
        return [
            whole | dict(zip(HDUS, (number, name, ver, kind, cards, str(shape), str(form)), strict=True))
            for number, name, ver, kind, cards, shape, form, *_ in hdul.info(output=False)
        ]


@cli.command(short_help="Run the main job on invented data, offline.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default="hst-cloud-demo",
              show_default=True, help="Where the pictures go.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the archive's files, in the folder's subfolder 'archive'.")
@click.option("--scale", type=click.IntRange(min=1), default=8, show_default=True,
              help="Images have this many times fewer rows and columns than real ones.")  # fmt: skip
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, show_default=True, metavar="SECONDS",
              help="Time before the first byte of each answer.")  # fmt: skip
@click.option("--live", is_flag=True, help="Ask MAST and the public bucket instead of the embedded archive.")
@click.option("--instrument", multiple=True, metavar="NAME", help="This instrument alone. May be repeated.")
@common
def demo(
    *, output: Output, folder: Path, keep: bool, scale: int, latency: float, live: bool, instrument: tuple[str, ...]
) -> int:
    """Run the main job for each of the five instruments, without a network.

    A small archive of invented data is made and served on this machine. Each instrument's target is looked up, its
    products are found in the bucket, one is opened, a section or a table of it is read, and a picture is drawn.
    """
    from hst_cloud import demo as main_job  # noqa: PLC0415  # its data and pictures are slow to import

    wanted = main_job.jobs(tuple(words_of(instrument) or ()), live=live)
    done: list[dict[str, Value]] = []
    failed = 0
    # The sky of the embedded images fills nine tenths of them.
    pixels = 1000 if live else 3850 // scale
    with ExitStack() as stack:
        if not live:
            place, names = (folder / "archive" if keep else None), [job.instrument for job in wanted]
            with progress_line("making the archive"):
                stack.enter_context(main_job.demonstration(place, scale=scale, latency=latency, instruments=names))
        for job in wanted:
            try:
                with progress_line(f"{job.target} with {job.instrument}") as progress:
                    one = main_job.run(job, folder, pixels=pixels, progress=progress)
            except MissingExtraError:
                raise  # the others would miss it too
            except HSTCloudError as error:
                say(f"{job.instrument}: {error}")
                failed += 1
                continue
            done.append(asdict(one) | {"hdus": " ".join(one.hdus), "picture": str(one.picture)})
            if reports(output):
                click.echo(shown(done[-1]))
    if done and not reports(output):
        emit(table_of(done), output, ())
    return DONE if not failed else SOME if done else ERROR


@cli.command(short_help="Check what is assumed of the services.")
@common
def doctor(*, output: Output) -> int:
    """Check from here what this package assumes of MAST and of the bucket."""
    from hst_cloud.doctor import check, report  # noqa: PLC0415  # slow to import, and of use here alone

    with progress_line("checking") as progress:
        findings = check(progress=progress)
    if reports(output):
        write_clean(report(findings, width=terminal_width()) + "\n")
    else:
        emit(table_of([asdict(finding) for finding in findings]), output, ())
    statuses = {finding.status for finding in findings}
    return ERROR if "fails" in statuses else SOME if "unknown" in statuses else DONE
