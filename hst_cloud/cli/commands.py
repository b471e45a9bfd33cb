"""``hst-cloud``: the verbs of this package as commands that pass tables to one another.

Tables go to standard output: for a person when that is a terminal, as JSON lines otherwise. Everything else, warnings,
errors and progress, goes to standard error. A command that is given no arguments reads what the former one wrote.
"""

from __future__ import annotations

import functools
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, cast

import click
from astropy.table import Row

import hst_cloud as hst
from hst_cloud.archive.inputs import as_product
from hst_cloud.cli.progress import progress_line
from hst_cloud.cli.streams import (
    Output,
    archive_at,
    emit,
    given,
    line_of,
    log_shown,
    name_of,
    reports,
    say,
    show_warning,
    terminal_width,
    write_clean,
)
from hst_cloud.cli.tables import FORMATS, Format, Value, criteria_of, span_of, table_of, words_of
from hst_cloud.cli.text import HDUS, OBSERVATIONS, PLACES, PRODUCTS, opened, plain, shown
from hst_cloud.errors import HSTCloudError, MissingExtraError, QueryError
from hst_cloud.store.meter import Meter

__all__ = ["cli", "main"]

DONE, ERROR, USAGE, NOTHING, SOME, INTERRUPTED, CLOSED = 0, 1, 2, 3, 4, 130, 141

EXIT_CODES = {
    DONE: "done",
    ERROR: "an error: nothing, or not all, was done",
    USAGE: "wrong usage: an option, a column, a target or a condition that makes no sense",
    NOTHING: "nothing was found, or nothing came in",
    SOME: "some of the products failed; the others were done",
    INTERRUPTED: "interrupted",
    CLOSED: "whoever read the output went away",
}
"""What the program's exit codes mean."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and leave with one of `EXIT_CODES`.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those that the program was called with.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # of what this terminal's encoding lacks
    with warnings.catch_warnings(), log_shown(debug=debug):
        warnings.showwarning = show_warning
        warnings.simplefilter("always", hst.errors.HSTCloudWarning)
        code = _run(words, debug=debug)
    sys.exit(code)


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        code = cli.main(arguments, prog_name="hst-cloud", standalone_mode=False)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "hst-cloud"
        say(f"{error.format_message()} See {command} --help.")
        return USAGE
    except click.ClickException as error:
        say(error.format_message())
        return ERROR
    except Exception as error:  # noqa: BLE001  # the rim of the program: whatever happens, a person gets one line
        if debug:
            traceback.print_exc()
        say(line_of(error))
        return USAGE if isinstance(error, QueryError) else ERROR
    return code if isinstance(code, int) else DONE


# --- What the commands share -----------------------------------------------------------------------------------------


def _common(command: _Command) -> _Command:
    """Add the options that every command has, and let the command see them as one `Output`."""

    @functools.wraps(command)
    def run(*, form: str | None, columns: str, rows: int, endpoint: str | None, debug: bool, **own: Any) -> int:  # noqa: ARG001  # main looks at debug
        chosen = form or ("table" if sys.stdout.isatty() else "jsonl")
        output = Output(
            form=cast("Format", chosen), asked=form is not None, columns=tuple(words_of((columns,)) or ()), rows=rows
        )
        try:
            with archive_at(endpoint):
                code = command(output=output, **own)
            sys.stdout.flush()
        except BrokenPipeError:
            # Nothing more is wanted; without this, the interpreter would complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return CLOSED
        return int(code)

    options: tuple[Callable[[Any], Any], ...] = (
        click.option("--debug", is_flag=True, help="Show tracebacks, and log every request."),
        click.option("--endpoint", metavar="URL", help="Ask the archive at this address instead of the public one."),
        click.option("--rows", type=click.IntRange(min=0), default=50, metavar="N",
                     help="Rows shown on a terminal; 0 for all.  [default: 50]"),
        click.option("--columns", default="", metavar="A,B,...", help="Write these columns."),
        click.option("--format", "form", type=click.Choice(FORMATS),
                     help="How to write.  [default: table on a terminal, else jsonl]"),
    )  # fmt: skip
    return cast("_Command", functools.reduce(lambda wrapped, option: option(wrapped), options, cast("Any", run)))


def _nothing_came() -> int:
    say("nothing came in on standard input")
    return NOTHING


# --- The commands ----------------------------------------------------------------------------------------------------

_HELP = """Find products of the Hubble Space Telescope, and read them from the public bucket.

Commands pass tables to one another, as JSON lines or CSV:

\b
  hst-cloud search "M 51" --instrument ACS/WFC | hst-cloud products --suffix drc \\
      | hst-cloud resolve --verify | hst-cloud info
"""
_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:3}  {meaning}" for code, meaning in EXIT_CODES.items())


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=_HELP,
    epilog=_EPILOG,
)
@click.version_option(version("hst-cloud"), prog_name="hst-cloud")
def cli() -> None:
    """Find products of the Hubble Space Telescope, and read them from the public bucket."""


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
@_common
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
@_common
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
        return _nothing_came()
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
@_common
def resolve(*, output: Output, names: tuple[str, ...], verify: bool, deadline: float | None) -> int:
    """Tell where each PRODUCT lies in the bucket: names, URIs, or what `products` wrote."""
    wanted = given(names, "products")
    if not len(wanted):
        return _nothing_came()
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
@_common
def info(*, output: Output, names: tuple[str, ...], source: Literal["bucket", "mast"]) -> int:
    """Open each PRODUCT and list its HDUs, its key, and what that took."""
    wanted = given(names, "products")
    if not len(wanted):
        return _nothing_came()
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
    return SOME if failed else DONE


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
@_common
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
@_common
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
