"""What a user asks for, as the filters of MAST's observation service; nothing is sent here.

The astronomer's words (``instrument``, ``since``, ``exptime``) become conditions on MAST's own columns, by name:
a tuple of words of which any may match, or a `Span` of numbers, both ends included. MAST's column configuration then
says which columns exist and which are continuous.

Source: "CAOM field descriptions" and "Mashup services" at mast.stsci.edu/api/v0; how ``astroquery`` 0.4.11 makes
filters of criteria, whose silent cases (a single value for a continuous column, a second wildcard) are errors here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple, TypeAlias

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.time import Time
from erfa import ErfaWarning  # type: ignore[import-untyped]  # has no types, as astropy

from hst_cloud.archive.instruments import INSTRUMENTS, LETTERS
from hst_cloud.errors import QueryError

__all__ = [
    "Conditions",
    "Span",
    "Wanted",
    "conditions",
    "instrument_patterns",
    "matches_instrument",
    "mjd",
    "nearest",
    "portal_filters",
    "radius_degrees",
    "sky_position",
]


class Span(NamedTuple):
    """Numbers from `low` to `high`, both included, in the column's unit."""

    low: float
    """Least."""
    high: float
    """Greatest."""


Wanted: TypeAlias = "Span | tuple[str, ...]"
"""What one column shall hold: a number within the span, or any of the words."""

Conditions: TypeAlias = dict[str, Wanted]
"""What each column shall hold, by MAST's name of the column."""

Words: TypeAlias = str | int | Sequence[str] | Sequence[int]

_OPEN = 1e12
"""Stands for an open end, which MAST's filter has no word for; beyond any number that it holds."""
_LEVELS = ("0", "1", "2", "3", "4")  # MAST's column configuration of calib_level; -1 is planned
_TYPES = (  # the same, of dataproduct_type
    "image",
    "spectrum",
    "sed",
    "timeseries",
    "visibility",
    "event",
    "eventlist",
    "cube",
    "catalog",
    "engineering",
    "measurements",
)
_OTHERS = ("HRS", *dict.fromkeys(LETTERS.values()))  # MAST's name of the GHRS, and instruments without registered modes
_NAMES = tuple(dict.fromkeys((*INSTRUMENTS, *_OTHERS)))
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
        -_OPEN if low is None else number(low, column),
        _OPEN if high is None else number(high, column),
    )
    if span.low > span.high:
        message = f"{column}={value!r} is empty: the least value comes first"
        raise QueryError(message)
    return span


def _instruments(value: Words) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(word.upper() for word in as_words(value, "instrument")))
    for name in names:
        stem, _, detector = name.partition("/")
        known = INSTRUMENTS.get(stem)
        if (known is None and stem in _OTHERS) or (known and (not detector or detector in known.detectors)):
            continue
        words = [*_NAMES, *(f"{i.name}/{d}" for i in INSTRUMENTS.values() for d in i.detectors)]
        message = f"instrument={name!r} is no instrument of HST; {nearest(name, words)}"
        raise QueryError(message)
    return names


def instrument_patterns(wanted: Wanted | None) -> list[tuple[str, ...] | None]:
    """Return the values of ``instrument_name`` to ask for, one query each; None stands for no such condition.

    MAST takes one pattern a query (``freeText``), and does not say how a pattern and words combine. So every
    instrument without a detector is a query of its own (``ACS*``, from which `matches_instrument` keeps ACS and
    ACS/...), and all with one are another.
    """
    if wanted is None:
        return [None]
    stems = [str(w) for w in wanted if "/" not in str(w)]
    exact = tuple(str(w) for w in wanted if "/" in str(w) and str(w).partition("/")[0] not in stems)
    return [*((f"{stem}*",) for stem in stems), *([exact] if exact else [])]


def matches_instrument(name: str, wanted: Iterable[str]) -> bool:
    """Tell whether MAST's ``instrument_name`` is one of `wanted`: ``ACS`` is also every ``ACS/...``."""
    name = name.upper()
    return any(name == w or ("/" not in w and name.startswith(f"{w}/")) for w in wanted)


def _levels(value: Words) -> tuple[str, ...]:
    levels = as_words(value, "calib_level")
    for level in levels:
        if level not in {"-1", *_LEVELS}:
            message = (
                f"calib_level={level!r} is none of MAST's: -1 planned, 0 and 1 raw, 2 calibrated, 3 and 4 combined"
            )
            raise QueryError(message)
    return levels


def _types(value: Words) -> tuple[str, ...]:
    types = tuple(word.lower() for word in as_words(value, "dataproduct_type"))
    for name in types:
        if name not in _TYPES:
            message = f"dataproduct_type={name!r} is none of MAST's; {nearest(name, _TYPES)}"
            raise QueryError(message)
    return types


def _dates(since: Time | str | None, until: Time | str | None) -> Span:
    low = -_OPEN if since is None else mjd(since, "since")
    # MAST includes both ends of a range; the number before `until` is the last of [since, until).
    high = _OPEN if until is None else math.nextafter(mjd(until, "until"), -math.inf)
    if low > high:
        message = f"since={since!s} is not before until={until!s}: exposures start in [since, until)"
        raise QueryError(message)
    return Span(low, high)


def conditions(
    *,
    instrument: Words | None = None,
    filters: Words | None = None,
    proposal: Words | None = None,
    since: Time | str | None = None,
    until: Time | str | None = None,
    exptime: object = None,
    calib_level: Words | None = None,
    dataproduct_type: Words | None = None,
) -> Conditions:
    """Return the conditions that the named arguments of a search stand for; see `hst_cloud.archive.mast.search`.

    Raises
    ------
    QueryError
        An argument makes no sense.
    """
    found: Conditions = {}
    if instrument is not None:
        found["instrument_name"] = _instruments(instrument)
    if filters is not None:
        found["filters"] = tuple(word.upper() for word in as_words(filters, "filters"))
    if proposal is not None:
        found["proposal_id"] = as_words(proposal, "proposal")
    if since is not None or until is not None:
        found["t_min"] = _dates(since, until)
    if exptime is not None:
        found["t_exptime"] = as_span(exptime, "t_exptime")
    if calib_level is not None:
        found["calib_level"] = _levels(calib_level)
    if dataproduct_type is not None:
        found["dataproduct_type"] = _types(dataproduct_type)
    return found


def defaults(*, intent: str | None, planned: bool) -> Conditions:
    """Return what every search asks for unless it is lifted: HST's science exposures that were taken.

    Raises
    ------
    QueryError
        The intent is neither of MAST's two.
    """
    found: Conditions = {"obs_collection": ("HST",)}
    if intent is not None:
        if intent not in {"science", "calibration"}:
            message = f"intent={intent!r} is none of MAST's: 'science', 'calibration', or None for both"
            raise QueryError(message)
        found["intentType"] = (intent,)
    if not planned:
        found["calib_level"] = _LEVELS
    return found


def portal_filters(
    asked: Mapping[str, Wanted],
    extra: Mapping[str, object],
    columns: Mapping[str, Mapping[str, object]],
) -> dict[str, list[str] | list[float]]:
    """Return the conditions as ``astroquery`` takes them, checked against MAST's column configuration.

    Parameters
    ----------
    asked : mapping
        Conditions by column.
    extra : mapping
        Values by column as the user gave them; each replaces the condition on the same column.
    columns : mapping
        MAST's column configuration.

    Raises
    ------
    QueryError
        No such column, no pair for a continuous column, or more than one wildcard for one column.
    """
    names = {name.lower(): name for name in columns if name != "_selected_"}
    result: dict[str, list[str] | list[float]] = {}
    for given, value in {**asked, **extra}.items():
        name = names.get(given.lower())
        if name is None:
            shown = [n for n in names.values() if not columns[n].get("remove")]
            message = f"MAST has no column {given!r}; {nearest(given, shown)}"
            raise QueryError(message)
        if _is_continuous(columns[name]):
            result[name] = list(_span_of(value, name, named=given not in extra))
        elif isinstance(value, Span):
            message = f"{name}={tuple(value)!r}: the column holds words, not numbers within a range"
            raise QueryError(message)
        else:
            result[name] = list(_one_pattern(as_words(value, name), name))
    return result


def _is_continuous(column: Mapping[str, object]) -> bool:
    kind = column.get("vot.datatype", column.get("type"))  # as astroquery's build_filter_set decides
    return kind in {"double", "float", "numeric"} or bool(column.get("treatNumeric"))


def _span_of(value: object, name: str, *, named: bool) -> Span:
    if isinstance(value, Span):
        return value
    if named and isinstance(value, tuple):  # words of ours for a column that this server has as numbers: calib_level
        numbers = [number(v, name) for v in value]
        return Span(min(numbers), max(numbers))
    return as_span(value, name)


def _one_pattern(words: tuple[str, ...], name: str) -> tuple[str, ...]:
    patterns = [w for w in words if "*" in w or "%" in w]
    if len(patterns) > 1:
        message = (
            f"{name}={list(words)!r} holds {len(patterns)} wildcards; MAST takes one a column: search once for each"
        )
        raise QueryError(message)
    return words


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
