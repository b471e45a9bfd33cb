"""What a way of doing some work is given, what it gives, and when two ways have given the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reading.files import File, Files

TEN = (
    "ROOTNAME", "TARGNAME", "RA_TARG", "DEC_TARG", "PROPOSID", "DATE-OBS", "EXPSTART", "EXPTIME", "FILTER1", "FILTER2",
)  # fmt: skip
"""Ten keywords of the primary header: what a table of observations is made of."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a way reads, and what."""

    root: str
    """Address of the server."""
    files: Files
    """What there is."""
    scratch: Path
    """A folder in memory, for what is downloaded; empty, and the way's own."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A way that is ready to go: its modules are imported, and its sessions made."""

    run: Callable[[Sequence[File]], Any]
    """Does the work for some files; it is what is timed."""
    plain: Callable[[Any], Any]
    """Turns what `run` returns into arrays, texts, numbers, and lists and dicts of these: the same for all ways."""
    before: Callable[[], object] = lambda: None
    """Is called before each `run`, and not timed."""


Make = Callable[[Setting], Ready]
"""Makes a way ready; raises ImportError where its client is not installed."""


def as_is(result: Any) -> Any:
    """Return what is plain already."""
    return result


def texts(headers: Iterable[Any]) -> list[str]:
    """Return astropy's headers as their cards."""
    return [header.tostring() for header in headers]


def keywords(values: Mapping[str, Any]) -> dict[str, str]:
    """Return keywords with their values as texts that are the same whatever type a column has; none without a value."""
    return {name: _said(value) for name, value in sorted(values.items()) if name and _there(value)}


def _there(value: Any) -> bool:
    return not (value is None or value is np.ma.masked or type(value).__name__ == "Undefined")


def _said(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "T" if value else "F"
    if isinstance(value, int | float | np.number):
        return repr(float(value))
    return str(value).rstrip()


def native(array: np.ndarray) -> np.ndarray:
    """Return a copy of an array in the machine's byte order: what work with it needs."""
    return array.astype(array.dtype.newbyteorder("="))


def digest(plain: Any) -> str:
    """Return a text that differs where two plain results differ."""
    hashed = hashlib.blake2b(digest_size=16)
    _feed(hashed, plain)
    return hashed.hexdigest()


def _feed(hashed: Any, plain: Any) -> None:
    match plain:
        case np.ndarray():
            hashed.update(f"{plain.dtype.newbyteorder('=').str}{plain.shape}".encode())
            data = np.ascontiguousarray(plain)
            hashed.update(data if data.dtype.isnative else data.byteswap())
        case dict():
            for name, value in plain.items():
                hashed.update(f"{name}:".encode())
                _feed(hashed, value)
        case list() | tuple():
            hashed.update(f"[{len(plain)}".encode())
            for value in plain:
                _feed(hashed, value)
        case _:
            hashed.update(f"{type(plain).__name__} {plain!r};".encode())
