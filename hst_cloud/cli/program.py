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
from importlib.metadata import version
from typing import Any, NoReturn, TypeVar, cast

import click

import hst_cloud as hst
from hst_cloud.cli.streams import Output, archive_at, line_of, log_shown, say, show_warning
from hst_cloud.cli.tables import FORMATS, Format, rows_of, words_of
from hst_cloud.errors import QueryError

__all__ = [
    "DONE", "ERROR", "EXIT_CODES", "NOTHING", "SOME", "cli", "common", "main", "nothing_came",
]  # fmt: skip

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
    if sys.stdout is None:  # a shell's >&-
        say("standard output is closed: send it to a file, or to /dev/null")
        sys.exit(ERROR)
    with warnings.catch_warnings(), log_shown(debug=debug):
        warnings.showwarning = show_warning
        warnings.simplefilter("always", hst.errors.HSTCloudWarning)
        code = _run(words, debug=debug)
    sys.exit(code)


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        code = cli.main(arguments or ["--help"], prog_name="hst-cloud", standalone_mode=False)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "hst-cloud"
        say(f"{error.format_message().rstrip('.')}. See {command} --help.")
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


def common(command: _Command, *, spans: bool = False) -> _Command:
    """Add the options that every command has, and let the command see them as one `Output`.

    With `spans`, ``--rows A:B`` names rows to be read, which the command is given as `span`.
    """

    @functools.wraps(command)
    def run(*, form: str | None, columns: str, rows: str, endpoint: str | None, debug: bool, **own: Any) -> int:  # noqa: ARG001  # main looks at debug
        chosen = form or ("table" if sys.stdout.isatty() else "jsonl")
        shown, span = rows_of(rows)
        if spans:
            own["span"] = span
        elif span is not None:
            message = f"--rows {rows}: expected the number of rows to show; 0 for all"
            raise QueryError(message)
        output = Output(
            form=cast("Format", chosen), asked=form is not None, columns=tuple(words_of((columns,)) or ()), rows=shown
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
        click.option("--rows", default="50", metavar="N|A:B" if spans else "N",
                     help=("Read rows A to B alone, zero-based, without B; or: rows" if spans else "Rows")
                     + " shown on a terminal; 0 for all.  [default: 50]"),
        click.option("--columns", default="", metavar="A,B,...", help="Write these columns."),
        click.option("--format", "form", type=click.Choice(FORMATS),
                     help="How to write.  [default: table on a terminal, else jsonl]"),
    )  # fmt: skip
    return cast("_Command", functools.reduce(lambda wrapped, option: option(wrapped), options, cast("Any", run)))


def nothing_came() -> int:
    """Say that there is nothing to work on, and return the exit code for it."""
    say("nothing came in on standard input")
    return NOTHING


# --- The program -----------------------------------------------------------------------------------------------------

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
