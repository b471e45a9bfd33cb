"""What a user asks for, as the filters of MAST's observation service; nothing is sent here.

The astronomer's words (``instrument``, ``since``, ``exptime``) become conditions on MAST's own columns, by name:
a tuple of words of which any may match, or a `Span` of numbers, both ends included. MAST's column configuration then
says which columns exist and which are continuous.

Source: "CAOM field descriptions" and "Mashup services" at mast.stsci.edu/api/v0; how ``astroquery`` 0.4.11 makes
filters of criteria, whose silent cases (a single value for a continuous column, a second wildcard) are errors here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from astropy.time import Time

from hst_cloud.archive.instruments import INSTRUMENTS, LETTERS
from hst_cloud.archive.quantities import OPEN, Span, as_span, as_words, mjd, nearest, number
from hst_cloud.errors import QueryError

__all__ = [
    "Conditions",
    "Wanted",
    "conditions",
    "defaults",
    "instrument_patterns",
    "matches_instrument",
    "portal_filters",
]


Wanted: TypeAlias = "Span | tuple[str, ...]"
"""What one column shall hold: a number within the span, or any of the words."""

Conditions: TypeAlias = dict[str, Wanted]
"""What each column shall hold, by MAST's name of the column."""

Words: TypeAlias = str | int | Sequence[str] | Sequence[int]

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
    low = -OPEN if since is None else mjd(since, "since")
    # MAST includes both ends of a range; the number before `until` is the last of [since, until).
    high = OPEN if until is None else math.nextafter(mjd(until, "until"), -math.inf)
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
        found["proposal_id"] = _proposals(proposal)
    if since is not None or until is not None:
        found["t_min"] = _dates(since, until)
    if exptime is not None:
        found["t_exptime"] = as_span(exptime, "t_exptime")
    if calib_level is not None:
        found["calib_level"] = _levels(calib_level)
    if dataproduct_type is not None:
        found["dataproduct_type"] = _types(dataproduct_type)
    return found


def _proposals(proposal: Words) -> tuple[str, ...]:
    words = as_words(proposal, "proposal")
    for word in words:
        if not set(word) <= set("0123456789*%"):
            message = f"proposal={word!r} is no number of a proposal: expected one such as 12058, without GO before it"
            raise QueryError(message)
    return words


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
