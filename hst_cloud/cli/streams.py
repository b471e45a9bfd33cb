"""What the commands share that is no option: standard input, output and error, and the archive that is asked."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from astropy.table import Row, Table

from hst_cloud.cli.tables import Format, read_table, write
from hst_cloud.cli.text import plain, render
from hst_cloud.errors import HSTCloudError, HSTCloudWarning, QueryError
from hst_cloud.settings import endpoints

__all__ = [
    "Output",
    "archive_at",
    "emit",
    "given",
    "line_of",
    "log_shown",
    "name_of",
    "reports",
    "say",
    "show_warning",
    "terminal_width",
    "write_clean",
]


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


# --- Output ----------------------------------------------------------------------------------------------------------


def reports(output: Output) -> bool:
    """Tell whether a command that reports, rather than makes a table, shall write for a person: unless asked not to."""
    return not output.columns and (output.form == "table" or not output.asked)


def emit(table: Table, output: Output, telling: Sequence[str], *, header: bool = True) -> None:
    """Write a table as the person or the program that reads it wants it.

    Raises
    ------
    QueryError
        It has no column of a name that was asked for.
    """
    if output.columns:
        unknown = [name for name in output.columns if name not in table.colnames]
        if unknown:
            message = f"there is no column {unknown[0]!r}; there are {', '.join(table.colnames)}"
            raise QueryError(message)
        table = table[list(output.columns)]
    if output.form == "table":
        rows = output.rows if sys.stdout.isatty() else 0
        text = render(table, output.columns or telling, width=terminal_width(), rows=rows, every=bool(output.columns))
        sys.stdout.write(text)
    else:
        write(table, output.form, write_clean if sys.stdout.isatty() else sys.stdout.write, header=header)


def terminal_width() -> int:
    """Return how many characters fit into a line."""
    return shutil.get_terminal_size((120, 50)).columns


def write_clean(text: str) -> None:
    """Write lines to a terminal, without anything that it would obey."""
    sys.stdout.write("\n".join(plain(line) for line in text.split("\n")))


def given(names: Sequence[str], what: str) -> Table | list[str]:
    """Return what the command shall work on: its arguments, or what comes in; ``-`` alone stands for the latter.

    Raises
    ------
    QueryError
        There is neither.
    FormatError
        What comes in cannot be read.
    """
    if names and tuple(names) != ("-",):
        return list(names)
    if sys.stdin.isatty():
        message = f"give {what}, or let a former command write into this one"
        raise QueryError(message)
    return read_table(sys.stdin.buffer.read().decode("utf-8", "replace"))


def name_of(product: str | Row) -> str:
    """Return what a product is called in messages, whatever it was given as."""
    if isinstance(product, str):
        return product
    columns = ("productFilename", "key", "s3_uri", "dataURI", "filename", "obs_id")
    named = (str(product[c]) for c in columns if c in product.colnames and product[c] and str(product[c]) != "--")
    return next(named, "a row without a name")


# --- Standard error --------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Say something on standard error, in one line."""
    sys.stderr.write(f"hst-cloud: {plain(text).strip()}\n")
    sys.stderr.flush()


def line_of(error: Exception) -> str:
    """Return what a person is told of an error; of one that nobody foresaw, that it is one."""
    said = str(error)
    if isinstance(error, HSTCloudError):
        return said
    if isinstance(error, OSError):
        return said or type(error).__name__
    return f"unexpected {type(error).__name__}: {said} (--debug shows where)"


def show_warning(  # noqa: PLR0917  # as `warnings.showwarning` is called
    message: Warning | str,
    category: type[Warning],
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Show a warning in one line; in place of `warnings.showwarning`."""
    ours = issubclass(category, HSTCloudWarning)
    say(f"warning: {message}" if ours else f"warning: {category.__name__}: {message}")


@contextmanager
def log_shown(*, debug: bool) -> Iterator[None]:
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


# --- The archive -----------------------------------------------------------------------------------------------------


@contextmanager
def archive_at(endpoint: str | None) -> Iterator[None]:
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
