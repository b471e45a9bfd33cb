"""What a fault may say: each field by itself, and the fields together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["PLACES", "check_fault", "octets"]

PLACES = re.compile(r"\{([a-z]+)([+-][0-9]{1,18})?\}")
"""A place in the text of a header for a true number, or one that differs from it by so much."""

NUMBERS = ("start", "last", "size", "length")
"""What may stand in such a place."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2

_MATCH = {"name", "on", "method", "service", "key", "query", "range", "skip", "times", "chance"}
_TRANSPORT = {"delay", "drip", "stall", "stall_for", "drop", "reset"}
_CONNECTION = {"name", "on", "skip", "times", "chance", "raw"} | _TRANSPORT - {"drip"}


def octets(value: bytes | str) -> bytes:
    """Return text as UTF-8, and bytes as they are."""
    return value.encode() if isinstance(value, str) else value


def check_fault(given: Mapping[str, Any], *, everything: Iterable[str]) -> None:
    """Raise a ValueError unless the fields that a fault was given make sense, each and together."""
    for name, value in given.items():
        fits, expected = _CHECKS[name]
        if not fits(value):
            message = f"{name} is {value!r}: expected {expected}"
            raise ValueError(message)
    if not given.keys() - _MATCH:
        deeds = ", ".join(name for name in everything if name not in _MATCH)
        message = f"a fault must do something: give one of {deeds}"
        raise ValueError(message)
    for first, others, why in _EXCLUSIVE:
        for other in others:
            if first in given and other in given:
                message = f"{first} and {other} contradict each other: {why}"
                raise ValueError(message)
    if "stall_for" in given and "stall" not in given:
        message = "stall_for needs stall, which says where"
        raise ValueError(message)
    if given.get("on") == "connection" and given.keys() - _CONNECTION:
        strange = ", ".join(sorted(given.keys() - _CONNECTION))
        message = f"a fault of connections cannot have {strange}: nothing has been asked yet"
        raise ValueError(message)
    if given.get("on") == "connection" and {given.get(name) for name in ("stall", "drop", "reset")} - {None, "before"}:
        message = "a fault of connections stalls, drops or resets 'before' anything is sent"
        raise ValueError(message)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _text(value: object) -> bool:
    return isinstance(value, str)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _data(value: object) -> bool:
    try:
        return isinstance(value, bytes) or (isinstance(value, str) and value.encode() is not None)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _span(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and _whole(value[0], 0) and _whole(value[1], value[0])


def _position(value: object) -> bool:
    return value == "before" or _whole(value, 0)


def _header(value: object) -> bool:
    """Tell whether `value` may be sent as the text of a header field; RFC 9110, 5.5."""
    if not isinstance(value, str) or not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
        return False
    return all(place[1] in NUMBERS for place in PLACES.finditer(value))


def _headers(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(
        isinstance(name, str)
        and _TOKEN.fullmatch(name) is not None
        and (
            text is None
            or _header(text)
            or (isinstance(text, tuple | list) and len(text) > 0 and all(map(_header, text)))
        )
        for name, text in value.items()
    )


_COUNT = "a whole number, 0 or more"
_WHERE = "a number of bytes, or 'before'"
_BYTES = "text or bytes"
_SPAN = "two whole numbers (start, stop) in order"

_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_text, "text"),
    "on": (lambda value: value in ("request", "connection"), "'request' or 'connection'"),
    "method": (lambda value: _text(value) and value.isascii() and value.isupper(), "a method in capitals: 'GET'"),
    "service": (lambda value: value in ("s3", "mast"), "'s3' or 'mast'"),
    "key": (_text, "a pattern, such as '*_flc.fits'"),
    "query": (_text, "text"),
    "range": (_span, _SPAN),
    "skip": (lambda value: _whole(value, 0), _COUNT),
    "times": (lambda value: _whole(value, 1), "a whole number, 1 or more"),
    "chance": (lambda value: _seconds(value) and value <= 1, "a probability from 0 to 1"),
    "status": (lambda value: _whole(value, 200) and value <= 999, "an HTTP status from 200 on"),
    "error": (lambda value: _text(value) and value.isalnum() and value.isascii(), "a code of S3's: 'SlowDown'"),
    "headers": (
        _headers,
        f"names of fields, each with a line of text, several, or None; in braces only {', '.join(NUMBERS)} (+n, -n)",
    ),
    "body": (_data, _BYTES),
    "bytes_of": (lambda value: _text(value) and value, "the key of an object"),
    "whole": (_flag, "True or False"),
    "slice": (_span, _SPAN),
    "gzip": (_flag, "True or False"),
    "flip": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "twice": (_span, _SPAN),
    "extra": (_data, _BYTES),
    "chunked": (lambda value: _whole(value, 1), "the bytes of a chunk, 1 or more"),
    "http": (lambda value: value == "1.0", "'1.0'"),
    "raw": (_data, _BYTES),
    "delay": (_seconds, "seconds, 0 or more"),
    "drip": (lambda value: _seconds(value) and value > 0, "bytes per second, more than 0"),
    "stall": (_position, _WHERE),
    "stall_for": (_seconds, "seconds, 0 or more"),
    "drop": (_position, _WHERE),
    "reset": (_position, _WHERE),
    "hangup": (_seconds, "seconds, 0 or more"),
}

_EXCLUSIVE = (
    ("raw", set(_CHECKS) - _MATCH - _TRANSPORT - {"raw"}, "raw is all that is sent"),
    ("body", {"error", "bytes_of", "whole"}, "there is one body"),
    ("error", {"bytes_of", "whole"}, "there is one body"),
    ("whole", {"bytes_of", "status"}, "whole is status 200 and the whole of this object"),
    ("drop", {"reset", "hangup"}, "a connection ends once"),
    ("reset", {"hangup"}, "a connection ends once"),
)
