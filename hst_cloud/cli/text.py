"""What the commands tell a person: aligned tables, and short reports.

A person at a terminal gets the few columns that tell most and fit. Nothing that a server wrote reaches the terminal as
a control character.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, cast

from astropy.table import Column, Table
from astropy.time import Time

from hst_cloud.bars import human_size
from hst_cloud.cli.tables import Value, plain_values, table_of

__all__ = ["HDUS", "OBSERVATIONS", "PLACES", "PRODUCTS", "opened", "plain", "render", "shown"]

# The columns that tell most, in that order, of each command's tables.
OBSERVATIONS = (
    *("obs_id", "instrument_name", "target_name", "filters", "t_exptime", "t_min", "dataproduct_type", "calib_level"),
    *("proposal_id", "obsid", "distance", "s_ra", "s_dec", "dataRights", "obs_title"),
)
PRODUCTS = ("productFilename", "size", "status", "calib_level", "obs_id", "description", "key", "reason")
PLACES = ("productFilename", "obs_id", "size", "status", "key", "reason")

HDUS = ("hdu", "name", "ver", "type", "cards", "dimensions", "format")
"""What is told of one HDU, in the order of astropy's ``info``."""


def plain(text: str) -> str:
    """Return `text` on one line without anything that a terminal would obey: a blank for each such character."""
    return "".join(c if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029" else " " for c in text)


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
    return [_shown(value, name) for value in plain_values(column)]


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
    return _in_short(value) if isinstance(value, list) else plain(value)


def _in_short(values: list[Value]) -> str:
    """Return an array's ends, and how many values lie between them."""
    if len(values) <= 4:
        return "[" + ", ".join(_shown(value, "") for value in values) + "]"
    first, second, *_, last = (_shown(value, "") for value in values)
    return f"[{first}, {second}, ... {last}] ({len(values):,})"


def _date(mjd: float) -> str:
    """Return a modified Julian date as a calendar's, to the minute."""
    try:
        return str(Time(mjd, format="mjd").to_value("iso", subfmt="date_hm"))
    except ValueError:  # beyond any calendar
        return f"{mjd:g}"


# --- Reports ---------------------------------------------------------------------------------------------------------


def opened(found: Sequence[Mapping[str, Value]], *, width: int) -> str:
    """Return what is known of one product, from the records of its HDUs, for a person."""
    whole = found[0]
    size = cast("int", whole["size"] or 0)
    lines = [
        plain(str(whole["productFilename"])),
        f"  key   {plain(str(whole['key'] or 'none'))}",
        f"  size  {human_size(size)} ({size:,} bytes), ETag {plain(str(whole['etag'] or 'unknown'))}",
        f"  read  {_cost(whole['requests'], whole['bytes_read'], size)}",
        "",
    ]
    table = table_of([{name: row[name] for name in HDUS} for row in found])
    return "\n".join(lines) + "\n" + render(table, HDUS, width=width)


def _cost(requests: Any, read: Any, size: int) -> str:
    percent = 100 * read / size if size else 0.0
    share = f" of {human_size(size)} ({percent:.{0 if percent >= 10 else 1}f} %)" if size else ""
    return f"{requests} request{'' if requests == 1 else 's'}, {human_size(read)}{share}"


def shown(row: Mapping[str, Value]) -> str:
    """Return what came of one instrument's job, for a person."""
    size = cast("int", row["size"])
    lines = (
        f"{row['instrument']}  {row['target']}",
        f"  observations  {row['observations']}",
        f"  products      {row['products']}",
        f"  key           {row['key']}",
        f"  HDUs          {row['hdus']}",
        f"  read          {_cost(row['requests'], row['bytes_read'], size)}",
        f"  picture       {row['picture']}",
    )
    return "\n".join(plain(line) for line in lines) + "\n"
