"""The semantics of MAST's ``Mast.Caom`` services: filters, positions, columns and pages, on rows in memory.

Values of one filter are alternatives, filters must all hold; ranges include their ends; ``%`` in free text stands
for anything; a column with a separator matches by any of its parts; case does not matter; an empty cell matches
nothing.

Source: recorded requests and answers of astroquery.mast; https://mast.stsci.edu/api/v0/_services.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from hst_cloud.testing.columns import DISTANCE, Cell, Column, Row

__all__ = ["QueryMistake", "around", "filtered", "page_of", "select", "separation"]

Json: TypeAlias = dict[str, Any]  # what a client has sent, or is sent
Test: TypeAlias = Callable[[Cell], bool]


class QueryMistake(ValueError):  # noqa: N818  # a client's, told in the answer
    """The query can't be answered; its text is MAST's ``msg``."""


def filtered(rows: Iterable[Row], filters: Any, columns: dict[str, Column]) -> list[Row]:
    """Return the rows that pass all of `filters`.

    Raises
    ------
    QueryMistake
        A filter is of an unknown column, or none at all.
    """
    if not isinstance(filters, list):
        message = f"Error converting 'filters': expected a list, found {filters!r}"
        raise QueryMistake(message)
    tests: list[tuple[str, list[Test]]] = []
    for one in filters:
        if not isinstance(one, dict) or not isinstance(one.get("paramName"), str):
            message = f"Error converting filter: expected an object with 'paramName', found {one!r}"
            raise QueryMistake(message)
        column = _column(one["paramName"], columns)
        any_of = [_test(value, column) for value in one.get("values") or []]
        if one.get("freeText"):
            any_of.append(_like(str(one["freeText"]), column))
        if any_of:
            tests.append((column.name, any_of))
    return [row for row in rows if all(any(test(row[name]) for test in any_of) for name, any_of in tests)]


def _column(name: str, columns: dict[str, Column]) -> Column:
    found = next((column for key, column in columns.items() if key.lower() == name.lower()), None)
    if found is None:
        message = f"Invalid column name '{name}'."
        raise QueryMistake(message)
    return found


def _parts(cell: Cell, column: Column) -> list[str]:
    """Return the whole cell and its parts, in lower case."""
    if cell is None:
        return []
    whole = str(cell).casefold()
    return [whole, *(part.strip() for part in whole.split(column.separator))] if column.separator else [whole]


def _test(value: Any, column: Column) -> Test:
    if isinstance(value, dict):
        low, high = value.get("min"), value.get("max")
        try:
            lowest = -math.inf if low is None else float(low)
            highest = math.inf if high is None else float(high)
        except (TypeError, ValueError) as error:
            message = f"Error converting the range {value!r} of column '{column.name}' to numbers."
            raise QueryMistake(message) from error

        def within(cell: Cell) -> bool:
            number = _float(cell)
            return number is not None and lowest <= number <= highest

        return within
    text, number = str(value).casefold(), _float(value)
    if column.kind in {"int", "float"} and number is not None:
        return lambda cell: _float(cell) == number
    return lambda cell: text in _parts(cell, column)


def _float(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _like(text: str, column: Column) -> Test:
    pattern = re.compile(".*".join(re.escape(part) for part in text.casefold().split("%")), re.DOTALL)
    return lambda cell: any(pattern.fullmatch(part) for part in _parts(cell, column))


def around(rows: Iterable[Row], ra: float, dec: float, radius: float) -> list[Row]:
    """Return copies of the rows within `radius` of a position, the nearest first, with ``distance`` in arcsec.

    Parameters
    ----------
    rows : iterable of Row
        Observations; those without a position are left out.
    ra, dec, radius : float
        Degrees.
    """
    found = []
    for row in rows:
        at, above = _float(row["s_ra"]), _float(row["s_dec"])
        if at is None or above is None:
            continue
        distance = separation(ra, dec, at, above)
        if distance <= radius:
            found.append(row | {"distance": distance * 3600})
    return sorted(found, key=lambda row: float(row["distance"] or 0))


def separation(ra: float, dec: float, other_ra: float, other_dec: float) -> float:
    """Return the angle between two positions; all in degrees. Vincenty's formula, exact at any angle."""
    turn = math.radians(other_ra - ra)
    a, b = math.radians(dec), math.radians(other_dec)
    x = math.cos(b) * math.sin(turn)
    y = math.cos(a) * math.sin(b) - math.sin(a) * math.cos(b) * math.cos(turn)
    return math.degrees(
        math.atan2(math.hypot(x, y), math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(turn))
    )


def select(wanted: Any, columns: dict[str, Column]) -> dict[str, Column] | None:
    """Return the columns asked for, in that order; None where the rows are to be counted.

    Raises
    ------
    QueryMistake
        One of them is unknown.
    """
    if wanted in (None, "*", ["*"]):
        return columns
    names = wanted if isinstance(wanted, list) else str(wanted).split(",")
    if len(names) == 1 and str(names[0]).replace(" ", "").upper().startswith("COUNT"):
        return None
    chosen = [_column(str(name).strip(), columns | {DISTANCE.name: DISTANCE}) for name in names]
    return {column.name: column for column in chosen}


def page_of(rows: Sequence[Row], columns: dict[str, Column] | None, page: int, size: int) -> Json:
    """Return one page of an answer, in the shape of MAST's.

    Parameters
    ----------
    rows : sequence of Row
        The whole result.
    columns : dict or None
        What is shown; None for the number of rows.
    page : int
        Number of the page; the first is 1.
    size : int
        Rows in a page.
    """
    if columns is None:
        fields = [{"name": "Column1", "type": "string"}]  # so MAST declares a count
        return _answer([{"Column1": len(rows)}], fields, 1, 1, size)
    shown = rows[(page - 1) * size : page * size]
    fields = [{"name": column.name, "type": column.kind} for column in columns.values()]
    data = [{name: row.get(name) for name in columns} | {"_selected_": None} for row in shown]
    return _answer(data, [*fields, {"name": "_selected_", "type": "boolean"}], len(rows), page, size)


def _answer(data: list[Json], fields: list[dict[str, str]], total: int, page: int, size: int) -> Json:
    paging = {
        "page": page,
        "pageSize": size,
        "pagesFiltered": max(1, -(-total // size)),
        "rows": len(data),
        "rowsFiltered": total,
        "rowsTotal": total,
    }
    return {"status": "COMPLETE", "msg": "", "data": data, "fields": fields, "paging": paging}
