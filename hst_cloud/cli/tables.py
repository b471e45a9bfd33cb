"""Tables as text: what a command prints, and what the next one reads.

Two forms travel through pipes: JSON lines, one object a row, and CSV with a line of names. Values are those of the
table in MAST's names and units; what is masked, missing or not finite is ``null`` in the one and nothing in the other.
ECSV keeps units and ``meta`` as well. What a person sees is made in `hst_cloud.cli.text`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from astropy.table import MaskedColumn, Table

from hst_cloud.errors import FormatError, QueryError

__all__ = [
    "FORMATS",
    "Format",
    "Value",
    "criteria_of",
    "plain_values",
    "read_table",
    "records",
    "rows_of",
    "span_of",
    "table_of",
    "words_of",
    "write",
]

Format: TypeAlias = Literal["table", "jsonl", "csv", "ecsv"]
"""How a table is written."""

FORMATS: tuple[Format, ...] = get_args(Format)

Value: TypeAlias = "str | int | float | bool | list[Value] | None"
"""What stands in one cell; a list where a row has an array."""

# A line of names has at least one of these: the columns by which the commands know what a row is.
_TELLING = frozenset({"obsid", "obs_id", "datauri", "productfilename", "filename", "key", "s3_uri", "dataset", "obsID"})


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_table(text: str) -> Table | list[str]:
    """Return what a former command, or a person, has written.

    Parameters
    ----------
    text : str
        JSON lines, CSV, ECSV, or names one a line; which of them is seen from the first line.

    Returns
    -------
    Table or list of str
        A table, or the names where there was no table; an empty list for an empty text.

    Raises
    ------
    FormatError
        A line is not of the form of the first one; the message says which.
    """
    text = text.removeprefix("\ufeff")
    first = text.lstrip().partition("\n")[0].strip()
    if not first:
        return []
    if first.startswith("{"):
        return table_of(_json_lines(text))
    if first.startswith("# %ECSV"):
        return _ecsv(text)
    names = next(csv.reader([first]))
    if {name.strip().lower() for name in names} & _TELLING:
        return _csv(text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _json_lines(text: str) -> Iterator[Mapping[str, Value]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            message = f"line {number} of the input is no JSON, unlike the first: {error}; found {line[:60]!r}"
            raise FormatError(message) from error
        if not isinstance(row, dict):
            message = f"line {number} of the input is no JSON object: expected a row, found {line[:60]!r}"
            raise FormatError(message)
        yield row


def _ecsv(text: str) -> Table:
    try:
        return Table.read(text.splitlines(), format="ascii.ecsv")
    except (ValueError, TypeError, KeyError, IndexError) as error:  # what astropy raises on broken ECSV
        said = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"the input begins as ECSV and cannot be read as such: {said}"
        raise FormatError(message) from error


def _csv(text: str) -> Table:
    lines = csv.reader(io.StringIO(text.lstrip(), newline=""))
    names = [name.strip() for name in next(lines)]
    rows = []
    for row in lines:
        if not row:
            continue
        if len(row) != len(names):
            message = f"line {lines.line_num} of the input has {len(row)} values: expected {len(names)}, as the first"
            raise FormatError(message)
        rows.append(dict(zip(names, row, strict=True)))
    return table_of(rows, names=names)


def table_of(rows: Iterable[Mapping[str, Value]], *, names: Sequence[str] = ()) -> Table:
    """Return rows as a table, masked where a row has no value, with columns of one type each."""
    rows = list(rows)
    names = list(names) or list(dict.fromkeys(name for row in rows for name in row))
    return Table([_column(name, [row.get(name) for row in rows]) for name in names])


def _column(name: str, values: Sequence[Any]) -> MaskedColumn:
    present = [value for value in values if value is not None]
    kind: type = str
    if present and all(isinstance(value, bool) for value in present):
        kind = bool
    elif present and all(isinstance(value, int) and not isinstance(value, bool) for value in present):
        kind = np.int64 if all(abs(value) < 2**63 for value in present) else str
    elif present and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        kind = np.float64
    filled = [(str(value) if kind is str else value) if value is not None else kind() for value in values]
    return MaskedColumn(np.array(filled, dtype=kind), name=name, mask=np.array([v is None for v in values], dtype=bool))


# --- Writing ---------------------------------------------------------------------------------------------------------


def records(table: Table) -> Iterator[dict[str, Value]]:
    """Return the rows as plain values; None for what is masked or not finite."""
    columns = [plain_values(table[name]) for name in table.colnames]
    for row in zip(*columns, strict=True):
        yield dict(zip(table.colnames, row, strict=True))


def plain_values(column: Any) -> list[Value]:
    """Return a column's values as Python's own; None for what is masked or not finite."""
    masked = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None
    values = np.ma.getdata(np.asarray(column) if masked is None else column).tolist()
    if masked is not None:
        values = [None if m else value for value, m in zip(values, masked.tolist(), strict=True)]
    return [_plain_value(value) for value in values]


def _plain_value(value: Any) -> Value:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | np.ndarray):
        return [_plain_value(one) for one in (value if isinstance(value, list) else value.tolist())]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def write(table: Table, form: Format, out: Callable[[str], object], *, header: bool = True) -> None:
    """Write `table` in one of the forms for programs.

    Parameters
    ----------
    table : Table
        What to write.
    form : {"jsonl", "csv", "ecsv"}
        How.
    out : callable
        Receives the text, in pieces.
    header : bool, optional
        Whether CSV begins with its line of names: not, for what continues a table.
    """
    if form == "jsonl":
        for row in records(table):
            out(json.dumps(row, allow_nan=False) + "\n")
    elif form == "csv":
        buffer = io.StringIO()
        lines = csv.writer(buffer, lineterminator="\n")
        if header:
            lines.writerow(table.colnames)
        lines.writerows([_cell(value) for value in row.values()] for row in records(table))
        out(buffer.getvalue())
    else:
        buffer = io.StringIO()
        table.write(buffer, format="ascii.ecsv")
        out(buffer.getvalue() + ("" if buffer.getvalue().endswith("\n") else "\n"))


def _cell(value: Value) -> Value:
    if isinstance(value, list):
        return json.dumps(value, allow_nan=False)
    return str(value).lower() if isinstance(value, bool) else value


# --- Options ---------------------------------------------------------------------------------------------------------


def words_of(values: Iterable[str]) -> list[str] | None:
    """Return the words of an option that may be repeated or hold commas; None where it was not given."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()] or None


def span_of(text: str) -> tuple[float | None, float | None]:
    """Return the two ends of ``LEAST..GREATEST``; None for one that is left out.

    Raises
    ------
    QueryError
        It is no range.
    """
    low, dots, high = text.partition("..")
    ends = [low.strip(), high.strip()]
    try:
        least, greatest = (float(end) if end else None for end in ends)
    except ValueError:
        dots = ""
    if not dots or not any(ends):
        message = f"{text!r} is no range; give one such as 100..500, 100.. or ..500"
        raise QueryError(message)
    return least, greatest


def rows_of(text: str) -> tuple[int, slice | None]:
    """Return the number of rows to show that ``N`` stands for, or all and the rows to read that ``A:B`` does.

    Raises
    ------
    QueryError
        It is neither.
    """
    start, colon, stop = (part.strip() for part in text.partition(":"))
    try:
        if colon:
            return 0, slice(*(int(end) if end else None for end in (start, stop)))
        shown = int(start)
    except ValueError:
        shown = -1
    if shown < 0:
        message = f"{text!r} names no rows; give a number, or a range such as 0:1000, 5000: or -10:"
        raise QueryError(message)
    return shown, None


def criteria_of(texts: Iterable[str]) -> dict[str, object] | None:
    """Return the conditions that ``COLUMN=VALUE`` and ``COLUMN=LEAST..GREATEST`` stand for; None where there are none.

    Raises
    ------
    QueryError
        A text is no condition, or one column has two that cannot hold together.
    """
    words: dict[str, list[str]] = {}
    spans: dict[str, object] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or not value:
            message = f"{text!r} is no condition; give one such as 'proposal_pi=Riess*' or 't_exptime=100..500'"
            raise QueryError(message)
        if name in spans or (".." in value and name in words):
            message = f"{name} is given a range and something else; give one of them"
            raise QueryError(message)
        if ".." in value:
            spans[name] = span_of(value)
        else:
            words.setdefault(name, []).append(value)
    return {**words, **spans} or None
