"""Tables as text: what a command prints, and what the next one reads.

Two forms travel through pipes: JSON lines, one object a row, and CSV with a line of names. Values are those of the
table in MAST's names and units; what is masked, missing or not finite is ``null`` in the one and nothing in the other.
ECSV keeps units and ``meta`` as well. A person at a terminal gets the few columns that tell most and fit, and nothing
that a server wrote reaches the terminal as a control character.
"""

from __future__ import annotations

import csv
import io
import json
import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from astropy.table import Column, MaskedColumn, Table
from astropy.time import Time

from hst_cloud.errors import FormatError

__all__ = ["FORMATS", "Format", "Value", "human_size", "plain", "read_table", "records", "render", "table_of", "write"]

Format: TypeAlias = Literal["table", "jsonl", "csv", "ecsv"]
"""How a table is written."""

FORMATS: tuple[Format, ...] = get_args(Format)

Value: TypeAlias = str | int | float | bool | None
"""What stands in one cell."""

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
    columns = [_plain_values(table[name]) for name in table.colnames]
    for row in zip(*columns, strict=True):
        yield dict(zip(table.colnames, row, strict=True))


def _plain_values(column: Any) -> list[Value]:
    masked = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None
    values = np.ma.getdata(np.asarray(column) if masked is None else column).tolist()
    if masked is not None:
        values = [None if m else value for value, m in zip(values, masked.tolist(), strict=True)]
    return [_plain_value(value) for value in values]


def _plain_value(value: Any) -> Value:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
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
    return str(value).lower() if isinstance(value, bool) else value


# --- For a person ----------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Return `text` on one line without anything that a terminal would obey: a blank for each such character."""
    return "".join(c if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029" else " " for c in text)


def human_size(size: float) -> str:
    """Return bytes as a person reads them: ``168 MB``, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def render(table: Table, columns: Sequence[str], *, width: int, rows: int = 0, every: bool = False) -> str:
    """Return the telling columns as aligned text, as many as fit, and a line that counts the rows.

    Parameters
    ----------
    table : Table
        What to show.
    columns : sequence of str
        The columns by what they tell, the most telling first. Those that the table lacks, and those without any
        value, are left out.
    width : int
        Characters of a line.
    rows : int, optional
        Greatest number of rows; 0 for all.
    every : bool, optional
        Show all of `columns`, whatever the width.
    """
    shown = table if rows == 0 else table[:rows]
    cells = {name: _cells(shown[name], name) for name in columns if name in table.colnames}
    if not every:
        cells = {name: texts for name, texts in cells.items() if any(texts)} or cells
    widths = {name: max([len(name), *(len(text) for text in texts)]) for name, texts in cells.items()}
    names = list(cells) if every else _fitting(widths, width)
    lines = ["  ".join(name.ljust(widths[name]) for name in names)]
    lines.append("  ".join("-" * widths[name] for name in names))
    right = {name for name in names if table[name].dtype.kind in "iuf"}
    for i in range(len(shown)):
        texts = (_cut(cells[name][i], widths[name]) for name in names)
        lines.append(
            "  ".join(
                text.rjust(widths[name]) if name in right else text.ljust(widths[name])
                for name, text in zip(names, texts, strict=True)
            )
        )
    return "\n".join(line.rstrip() for line in lines) + "\n" + _count(len(table), len(shown), len(names), table)


def _count(total: int, shown: int, columns: int, table: Table) -> str:
    text = f"{total:,} row{'' if total == 1 else 's'}"
    if shown < total:
        text += f", the first {shown:,} shown (--rows 0 shows all)"
    if columns < len(table.colnames):
        text += f"; {columns} of {len(table.colnames)} columns (--columns, --format)"
    return text + "\n"


def _fitting(widths: dict[str, int], width: int) -> list[str]:
    """Return the names that fit into `width`, narrowing the widest where the first ones alone do not."""
    names: list[str] = []
    used = 0
    for name, wide in widths.items():
        if names and used + 2 + wide > width:
            room = width - used - 2
            # A long text is worth showing in part.
            if room >= max(20, len(name)):
                widths[name] = room
                names.append(name)
            break
        widths[name] = min(wide, max(width, 20))
        used += widths[name] + (2 if names else 0)
        names.append(name)
    return names


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _cells(column: Column, name: str) -> list[str]:
    return [_shown(value, name) for value in _plain_values(column)]


def _shown(value: Value, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if name in {"t_min", "t_max", "t_obs_release"}:
            return _date(value)
        if name in {"size", "bytes_read"}:
            return human_size(value)
        return f"{value:,}" if isinstance(value, int) else f"{value:.8g}"
    return plain(value)


def _date(mjd: float) -> str:
    """Return a modified Julian date as a calendar's, to the minute."""
    try:
        return str(Time(mjd, format="mjd").to_value("iso", subfmt="date_hm"))
    except ValueError:  # beyond any calendar
        return f"{mjd:g}"
