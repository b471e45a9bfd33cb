"""What a notebook shows of a value: one small table of HTML, in which every text is escaped.

Nothing is fetched for it, nothing in it runs, and it has 30 rows at most: texts may come from a server, and a value
may be of thousands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice

__all__ = ["MOST", "html_table"]

MOST = 30
"""Rows that are shown."""

_LONGEST = 500  # characters of a cell: a reason may quote a server's whole answer


def html_table(title: str, rows: Iterable[Sequence[object]], *, head: Sequence[str] = (), total: int = 0) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    title : str
        What it is of.
    rows : iterable of sequences
        The cells; a number below a name is set to the right. No more of them are looked at than are shown.
    head : sequence of str, optional
        Names of the columns; without it, the first cell of each row is the name of the second.
    total : int, optional
        Rows that there are, to say how many are not shown.
    """
    shown = [list(row) for row in islice(rows, MOST)]
    lines = [f"<table><caption>{_text(title)}</caption>"]
    if head:
        lines.append(f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in head)}</tr>")
    lines += [
        f"<tr>{''.join(_cell(cell, first=not head and not at, right=bool(head)) for at, cell in enumerate(row))}</tr>"
        for row in shown
    ]
    if total > len(shown):
        lines.append(f'<tr><td colspan="{len(head) or 2}">... and {total - len(shown):,} more</td></tr>')
    return "\n".join([*lines, "</table>"])


def _cell(value: object, *, first: bool, right: bool) -> str:
    if first:
        return f"<th>{_text(value)}</th>"
    if isinstance(value, int):
        return f'<td style="text-align: {"right" if right else "left"}">{value:,}</td>'
    return f'<td style="text-align: left">{_text(value)}</td>'


def _text(value: object) -> str:
    text = str(value)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    # What HTML cannot hold, an escape cannot help either: HTML Living Standard, sec. 13.2.3.5.
    return escape("".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in text))
