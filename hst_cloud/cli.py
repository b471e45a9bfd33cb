"""``hst-cloud``: the verbs of this package as commands that pass tables to one another.

Tables go to standard output: for a person when that is a terminal, as JSON lines otherwise. Everything else, warnings,
errors and progress, goes to standard error. A command that is given no arguments reads what the former one wrote.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NoReturn, TextIO, TypeVar, cast

import click
from astropy.table import Row, Table

import hst_cloud as hst
from hst_cloud.archive.inputs import as_product
from hst_cloud.cli_io import (
    FORMATS,
    Format,
    Value,
    criteria_of,
    read_table,
    span_of,
    table_of,
    words_of,
    write,
)
from hst_cloud.cli_text import HDUS, opened, plain, render, shown
from hst_cloud.errors import HSTCloudError, MissingExtraError, QueryError
from hst_cloud.meter import Meter
from hst_cloud.progress import progress_line
from hst_cloud.settings import endpoints

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

# The columns that tell most, in that order, of each command's tables.
_OBSERVATIONS = (
    *("obs_id", "instrument_name", "target_name", "filters", "t_exptime", "t_min", "dataproduct_type", "calib_level"),
    *("proposal_id", "obsid", "distance", "s_ra", "s_dec", "dataRights", "obs_title"),
)
_PRODUCTS = ("productFilename", "size", "status", "calib_level", "obs_id", "description", "key", "reason")
_PLACES = ("productFilename", "obs_id", "size", "status", "key", "reason")

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How a command shall write its table."""

    form: Format
    """The form."""
    asked: bool
    """Whether somebody asked for that form."""
    columns: tuple[str, ...]
    """Columns to write, all of them; empty for the command's own choice."""
    rows: int
    """Greatest number of rows for a person; 0 for all."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and leave with one of `EXIT_CODES`.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those that the program was called with.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # of what this terminal's encoding lacks
    with warnings.catch_warnings(), _logging(debug=debug):
        warnings.showwarning = _show_warning
        warnings.simplefilter("always", hst.errors.HSTCloudWarning)
        code = _run(given, debug=debug)
    sys.exit(code)


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        code = cli.main(arguments, prog_name="hst-cloud", standalone_mode=False)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "hst-cloud"
        _say(f"{error.format_message()} See {command} --help.")
        return USAGE
    except click.ClickException as error:
        _say(error.format_message())
        return ERROR
    except Exception as error:  # noqa: BLE001  # the rim of the program: whatever happens, a person gets one line
        if debug:
            traceback.print_exc()
        _say(_line_of(error))
        return USAGE if isinstance(error, QueryError) else ERROR
    return code if isinstance(code, int) else DONE


def _line_of(error: Exception) -> str:
    said = str(error)
    if isinstance(error, HSTCloudError):
        return said
    if isinstance(error, OSError):
        return said or type(error).__name__
    return f"unexpected {type(error).__name__}: {said} (--debug shows where)"


def _say(text: str) -> None:
    click.echo(f"hst-cloud: {plain(text).strip()}", err=True)


def _show_warning(  # noqa: PLR0917  # as `warnings.showwarning` is called
    message: Warning | str,
    category: type[Warning],
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    ours = issubclass(category, hst.errors.HSTCloudWarning)
    _say(f"warning: {message}" if ours else f"warning: {category.__name__}: {message}")


@contextmanager
def _logging(*, debug: bool) -> Iterator[None]:
    """With ``--debug``, let this package's log appear on standard error."""
    logger = logging.getLogger("hst_cloud")
    handler = logging.StreamHandler()
    before = logger.level
    if debug:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def _archive(endpoint: str | None) -> Iterator[None]:
    """Make `endpoint` the default archive of every verb."""
    if endpoint is None:
        yield
        return
    endpoints(endpoint)  # complains
    before = os.environ.get("HST_CLOUD_ENDPOINT")
    os.environ["HST_CLOUD_ENDPOINT"] = endpoint
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("HST_CLOUD_ENDPOINT", None)
        else:
            os.environ["HST_CLOUD_ENDPOINT"] = before


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
            with _archive(endpoint):
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
    wrapped: Any = run
    for option in options:
        wrapped = option(wrapped)
    return cast("_Command", wrapped)


def _tells(output: Output) -> bool:
    """Tell whether a command that reports, rather than makes a table, shall write for a person: unless asked not to."""
    return not output.columns and (output.form == "table" or not output.asked)


def _emit(table: Table, output: Output, telling: Sequence[str], *, header: bool = True) -> None:
    """Write a table as the person or the program that reads it wants it."""
    if output.columns:
        unknown = [name for name in output.columns if name not in table.colnames]
        if unknown:
            message = f"there is no column {unknown[0]!r}; there are {', '.join(table.colnames)}."
            raise click.UsageError(message)
        table = table[list(output.columns)]
    if output.form == "table":
        rows = output.rows if sys.stdout.isatty() else 0
        text = render(table, output.columns or telling, width=_width(), rows=rows, every=bool(output.columns))
        click.echo(text, nl=False)
    else:
        write(table, output.form, _clean if sys.stdout.isatty() else _echo, header=header)


def _width() -> int:
    return shutil.get_terminal_size((120, 50)).columns


def _echo(text: str) -> None:
    click.echo(text, nl=False)


def _clean(text: str) -> None:
    _echo("\n".join(plain(line) for line in text.split("\n")))


def _given(names: Sequence[str], what: str) -> Table | list[str]:
    """Return what the command shall work on: its arguments, or what comes in."""
    if names:
        return list(names)
    if sys.stdin.isatty():
        message = f"Give {what}, or let a former command write into this one."
        raise click.UsageError(message, ctx=click.get_current_context())
    return read_table(sys.stdin.buffer.read().decode("utf-8", "replace"))


def _nothing_came() -> int:
    _say("nothing came in on standard input")
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
        _say("MAST has no observation that meets all of these conditions")
        return NOTHING
    _emit(table, output, _OBSERVATIONS)
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
    given = _given(observations, "observations")
    if not len(given):
        return _nothing_came()
    with progress_line("asking MAST") as progress:
        table = hst.products(
            given,
            suffix=words_of(suffix),
            calib_level=list(calib_level) or None,
            product_type=words_of(product_type),
            collection=words_of(collection) or "CAL",
            deadline=deadline,
            progress=progress,
        )
    if not len(table):
        _say("no product of these observations is of that kind")
        return NOTHING
    _emit(table, output, _PRODUCTS)
    return DONE


@cli.command(short_help="Tell where products lie in the bucket.")
@click.argument("names", nargs=-1, metavar="[PRODUCT]...")
@click.option("--verify", is_flag=True, help="Look, by listing the bucket; else keys are told by rule.")
@click.option("--deadline", type=float, metavar="SECONDS", help="Time for MAST's answers.")
@_common
def resolve(*, output: Output, names: tuple[str, ...], verify: bool, deadline: float | None) -> int:
    """Tell where each PRODUCT lies in the bucket: names, URIs, or what `products` wrote."""
    given = _given(names, "products")
    if not len(given):
        return _nothing_came()
    with progress_line("looking") as progress:
        table = hst.resolve(given, verify=verify, deadline=deadline, progress=progress)
    _emit(table, output, _PLACES)
    failed = [row for row in table if not row["key"] or (verify and row["status"] != "in_cloud")]
    for row in failed[:10] if output.form != "table" else ():
        _say(f"{row['productFilename'] or row['obs_id'] or 'a name'}: {row['status']}: {row['reason']}")
    return SOME if failed else DONE


@cli.command(short_help="Open products and list their HDUs.")
@click.argument("names", nargs=-1, metavar="[PRODUCT]...")
@click.option("--source", type=click.Choice(["bucket", "mast"]), default="bucket", show_default=True,
              help="mast: read from MAST's Download service what the bucket does not hold.")  # fmt: skip
@_common
def info(*, output: Output, names: tuple[str, ...], source: Literal["bucket", "mast"]) -> int:
    """Open each PRODUCT and list its HDUs, its key, and what that took."""
    given = _given(names, "products")
    if not len(given):
        return _nothing_came()
    failed = written = 0
    tables = []
    for number, product in enumerate(given, start=1):
        name = _name_of(product)
        try:
            with progress_line(f"opening {plain(name)}, {number} of {len(given)}"):
                found = _headers(product, source)
        except HSTCloudError as error:
            _say(f"{name}: {error}" if name not in str(error) else str(error))
            failed += 1
            continue
        if output.form == "ecsv":
            tables += found  # one header for all
        elif output.form == "table" and not output.columns:
            click.echo(opened(found, width=_width()))
        else:
            _emit(table_of(found), output, HDUS, header=not written)
        written += 1
    if tables:
        _emit(table_of(tables), output, HDUS)
    return SOME if failed else DONE


def _name_of(product: str | Row) -> str:
    if isinstance(product, str):
        return product
    columns = ("productFilename", "key", "s3_uri", "dataURI", "filename", "obs_id")
    named = (str(product[c]) for c in columns if c in product.colnames and product[c] and str(product[c]) != "--")
    return next(named, "a row without a name")


def _headers(product: str | Row, source: Literal["bucket", "mast"]) -> list[dict[str, Value]]:
    """Return one record for each HDU of a product."""
    meter = Meter()
    known = as_product(product)
    with hst.open(product, store=meter, source=source) as hdul:
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
    with _demonstration(wanted, folder / "archive" if keep else None, scale=scale, latency=latency, live=live):
        for job in wanted:
            try:
                with progress_line(f"{job.target} with {job.instrument}") as progress:
                    one = main_job.run(job, folder, pixels=pixels, progress=progress)
            except MissingExtraError:
                raise  # the others would miss it too
            except HSTCloudError as error:
                _say(f"{job.instrument}: {error}")
                failed += 1
                continue
            done.append(asdict(one) | {"hdus": " ".join(one.hdus), "picture": str(one.picture)})
            if _tells(output):
                click.echo(shown(done[-1]))
    if done and not _tells(output):
        _emit(table_of(done), output, ())
    return DONE if not failed else SOME if done else ERROR


@contextmanager
def _demonstration(jobs: Sequence[Any], folder: Path | None, *, live: bool, **made: Any) -> Iterator[None]:
    from hst_cloud import demo as main_job  # noqa: PLC0415  # see above

    with ExitStack() as stack:
        if not live:
            with progress_line("making the archive"):
                stack.enter_context(main_job.demonstration(folder, instruments=[j.instrument for j in jobs], **made))
        yield


@cli.command(short_help="Check what is assumed of the services.")
@_common
def doctor(*, output: Output) -> int:
    """Check from here what this package assumes of MAST and of the bucket."""
    from hst_cloud.doctor import check, report  # noqa: PLC0415  # slow to import, and of use here alone

    with progress_line("checking") as progress:
        findings = check(progress=progress)
    if _tells(output):
        _clean(report(findings, width=_width()) + "\n")
    else:
        _emit(table_of([asdict(finding) for finding in findings]), output, ())
    statuses = {finding.status for finding in findings}
    return ERROR if "fails" in statuses else SOME if "unknown" in statuses else DONE


if __name__ == "__main__":
    main()
