"""Loose input made strict, once and at the rim: words, numbers with units, times, positions.

Whatever does not fit is a `QueryError` that names the argument, what was found and what to give.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.time import Time
from erfa import ErfaWarning  # type: ignore[import-untyped]  # has no types, as astropy

from hst_cloud.errors import QueryError

__all__ = ["OPEN", "Span", "as_span", "as_words", "mjd", "nearest", "number", "radius_degrees", "sky_position"]

OPEN = 1e12
"""Stands for an open end, which MAST's filter has no word for; beyond any number that it holds."""
_UNITS = {
    "s_ra": u.deg,
    "s_dec": u.deg,
    "t_exptime": u.s,
    "em_min": u.nm,
    "em_max": u.nm,
    "wave_min": u.nm,
    "wave_max": u.nm,
    "distance": u.arcsec,
}


class Span(NamedTuple):
    """Numbers from `low` to `high`, both included, in the column's unit."""

    low: float
    """Least."""
    high: float
    """Greatest."""


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a few of `words` that `word` may have meant, as text for a message; some of them if none is near."""
    known = {w.lower(): w for w in sorted(set(words))}
    near = [known[w] for w in get_close_matches(word.lower(), known, n=3, cutoff=0.5)]
    if near:
        return "nearest: " + ", ".join(repr(w) for w in near)
    some = list(known.values())[:40]
    return "known: " + ", ".join(repr(w) for w in some) + (", ..." if len(known) > len(some) else "")


def as_words(value: object, name: str) -> tuple[str, ...]:
    """Return one word or several as a tuple of texts.

    Raises
    ------
    QueryError
        There is none, or one is empty.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        value = (value,)
    words = tuple(str(v).strip() for v in value)
    if not words or not all(words):
        message = f"{name}={value!r} holds no value; leave it out, or give at least one"
        raise QueryError(message)
    return words


def mjd(time: Time | str | object, name: str) -> float:
    """Return a time as MAST's columns have it: modified Julian days, UTC.

    Raises
    ------
    QueryError
        It is no single time that astropy parses.
    """
    try:
        with warnings.catch_warnings():
            # Leap seconds of years to come are unknown, and an end "2100-01-01" does not need them.
            warnings.simplefilter("ignore", ErfaWarning)
            days = Time(time).utc.mjd
    except (ValueError, TypeError) as err:
        message = f"{name}={time!r} is no time; give an astropy Time or a text such as '2015-01-01T12:00:00'"
        raise QueryError(message) from err
    if np.ndim(days) or not math.isfinite(days):
        message = f"{name}={time!r} is not one time; give a single one"
        raise QueryError(message)
    return float(days)


def number(value: object, column: str) -> float:
    """Return a value of a continuous column as the number that MAST compares, in the column's unit.

    Raises
    ------
    QueryError
        It is no finite number, or its unit does not fit.
    """
    if isinstance(value, Time):
        return mjd(value, column)
    unit = _UNITS.get(column)
    try:
        if isinstance(value, (str, u.Quantity)):
            quantity = u.Quantity(value)
            same = quantity.unit == u.dimensionless_unscaled or unit is None
            value = quantity.value if same else quantity.to_value(unit, u.spectral())
        result = float(value)  # type: ignore[arg-type]  # what is no number raises, which is the point
    except (TypeError, ValueError, u.UnitsError) as err:
        message = f"{column}={value!r} is no number{f' in {unit}' if unit else ''}: {err}"
        raise QueryError(message) from err
    if not math.isfinite(result):
        message = f"{column}={value!r} is not finite; give None for an open end"
        raise QueryError(message)
    return result


def as_span(value: object, column: str) -> Span:
    """Return a pair (least, greatest), of which one may be None, as a span.

    Raises
    ------
    QueryError
        It is no pair, or the wrong way round.
    """
    pair = list(value) if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else [value]
    if len(pair) != 2 or (pair[0] is None and pair[1] is None):
        message = (
            f"{column}={value!r}: the column is continuous and takes a pair (least, greatest), "
            "with None for an end that is open"
        )
        raise QueryError(message)
    low, high = pair
    span = Span(
        -OPEN if low is None else number(low, column),
        OPEN if high is None else number(high, column),
    )
    if span.low > span.high:
        message = f"{column}={value!r} is empty: the least value comes first"
        raise QueryError(message)
    return span


def sky_position(center: SkyCoord | str) -> SkyCoord:
    """Return one position on the sky in ICRS; a text of two numbers is in degrees.

    Raises
    ------
    QueryError
        It is no single position that astropy parses.
    """
    try:
        degrees = _two_numbers(center)
        position = (SkyCoord(*degrees, unit=u.deg) if degrees else SkyCoord(center)).icrs
    except (ValueError, TypeError, AttributeError) as err:
        message = f"center={center!r} is no position; give a SkyCoord or a text such as '13h29m52.7s +47d11m43s'"
        raise QueryError(message) from err
    if not position.isscalar or not (np.isfinite(position.ra.deg) and np.isfinite(position.dec.deg)):
        message = f"center={center!r} is not one position on the sky; search once for each"
        raise QueryError(message)
    return position


def _two_numbers(center: object) -> tuple[float, float] | None:
    """Return plain degrees; sexagesimal text without units could be hours or degrees, and is refused by astropy."""
    if not isinstance(center, str):
        return None
    parts = center.replace(",", " ").split()
    try:
        first, second = (float(part) for part in parts)
    except ValueError:
        return None
    return first, second


def radius_degrees(radius: u.Quantity | str) -> float:
    """Return the radius of a search in degrees.

    Raises
    ------
    QueryError
        It is no single positive angle.
    """
    try:
        degrees = Angle(radius).deg
    except (ValueError, TypeError, u.UnitsError) as err:
        message = f"radius={radius!r} is no angle; give a Quantity or a text such as '3 arcmin'"
        raise QueryError(message) from err
    if np.ndim(degrees) or not 0 < degrees <= 180:
        message = f"radius={radius!r} is not one angle between 0 and 180 degrees"
        raise QueryError(message)
    return float(degrees)
