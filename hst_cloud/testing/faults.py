"""Faults as data: what goes wrong, with which requests, and how it looks on the wire.

A `Fault` says which requests it meets and what becomes of their answers; a `Script` is an ordered list of them, as a
value or as JSON. `hst_cloud.testing.LocalArchive` runs it: every request meets the first fault of the script that
matches it and is not used up, or none.

>>> script = Script((Fault(key="*_flc.fits", status=503, times=2), Fault(method="GET", reset=1000, times=1)))
>>> Script.from_json(script.to_json()) == script
True

As JSON, for ``python -m hst_cloud.testing FOLDER --faults script.json``, fields that say nothing are left out::

    {"seed": 0, "faults": [{"key": "*_flc.fits", "status": 503, "times": 2}, {"reset": 1000, "chance": 0.1}]}
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hst_cloud.testing.checks import check_fault

__all__ = ["Fault", "FaultsLike", "Position", "Script", "as_script", "random_faults"]

Position: TypeAlias = "int | Literal['before']"
"""So many bytes behind the head as they go over the wire, or before the answer's first byte."""

_BYTES = ("body", "extra", "raw")
_PAIRS = ("range", "slice", "twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Which requests it meets, and what becomes of their answers.

    What is not named stays as it is: a fault that names a ``delay`` alone gives the true answer late.

    Raises
    ------
    ValueError
        A field has an impossible value, two contradict each other, or the fault does nothing.

    Examples
    --------
    >>> Fault(status=503, times=2)
    Fault(times=2, status=503)
    >>> Fault(stal=100)
    Traceback (most recent call last):
    TypeError: ...
    """

    name: str = ""
    """What a person calls it."""

    on: Literal["request", "connection"] = "request"
    """What it meets: requests, or connections as they are accepted, before a word is said.

    For connections only ``raw``, ``delay``, ``stall``, ``drop`` and ``reset`` have a meaning.
    """
    method: str | None = None
    """``GET``, ``HEAD`` or ``POST``; None for any."""
    service: Literal["s3", "mast"] | None = None
    """Which of the two services is asked; None for either."""
    key: str | None = None
    """Pattern of the object's key, or of a path of MAST's without its first slash.

    ``*`` stands for any text and ``?`` for one character; the empty pattern is for the bucket itself, and so for
    listings.
    """
    query: str | None = None
    """Text that stands in the query or in what is posted, once they are decoded."""
    range: tuple[int, int] | None = None
    """Bytes ``[start, stop)`` of the object, some of which the answer must hold."""
    skip: int = 0
    """Matching requests that are let through first."""
    times: int | None = None
    """Requests that meet it, after which it is used up; None for all that come."""
    chance: float = 1.0
    """Probability that a request meets it."""

    status: int | None = None
    """Another HTTP status. Of 300 and more it brings an error document, unless there is another body."""
    error: str | None = None
    """Code of an error document of S3's, which is then the body, whatever the status."""
    headers: Mapping[str, str | Sequence[str] | None] = field(default_factory=dict, hash=False)
    """Header fields to set, also several of one name; None removes one.

    ``{start}``, ``{last}``, ``{size}`` (of the bytes sent and of the object) and ``{length}`` (of the body) stand for
    the true numbers, ``{size+1}`` and the like for lies.
    """
    body: bytes | str | None = None
    """Another body."""
    bytes_of: str | None = None
    """Key of another object, the same bytes of which are sent under the headers of this one."""
    whole: bool = False
    """Ignore the range: status 200 and the whole object."""
    slice: tuple[int, int] | None = None
    """Send only the bytes ``[start, stop)`` of the body, with a Content-Length that agrees."""
    gzip: bool = False
    """Compress the body, and say so in Content-Encoding."""
    flip: int | None = None
    """Byte of the body whose lowest bit is turned over; from the end where negative."""
    twice: tuple[int, int] | None = None
    """Bytes ``[start, stop)`` of the body that are sent twice, with the Content-Length of once."""
    extra: bytes | str | None = None
    """What is sent behind the end of the body, and not announced."""
    chunked: int | None = None
    """Send the body in chunks of so many bytes, without a Content-Length unless ``headers`` names one."""
    http: Literal["1.0"] | None = None
    """Speak the old version, in which the connection ends with the answer."""
    raw: bytes | str | None = None
    """What is sent instead of an answer, head and all; the connection then ends."""

    delay: float = 0.0
    """Seconds before the first byte, on top of the archive's latency."""
    drip: float | None = None
    """Bytes per second of the body."""
    stall: Position | None = None
    """Where the answer stands still."""
    stall_for: float | None = None
    """Seconds that it stands still; None for ever."""
    drop: Position | None = None
    """Where the connection is closed (FIN); at the end of the body where that comes earlier."""
    reset: Position | None = None
    """Where the connection is reset (RST)."""
    hangup: float | None = None
    """Seconds after the answer at which the connection, said to be kept, is closed without another word."""

    def __post_init__(self) -> None:
        check_fault(self.given(), everything=[each.name for each in fields(self)])

    def __repr__(self) -> str:
        return f"Fault({', '.join(f'{name}={value!r}' for name, value in self.given().items())})"

    def given(self) -> dict[str, Any]:
        """Return the fields that say something, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value != _NOTHING[name]}

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold of the fields that say something: bytes become ``{"base64": ...}``."""
        found = self.given()
        for name in found.keys() & set(_BYTES):
            value = found[name]
            if isinstance(value, bytes):
                found[name] = {"base64": base64.b64encode(value).decode()}
        for name in found.keys() & set(_PAIRS):
            found[name] = list(found[name])
        if "headers" in found:
            found["headers"] = {
                name: value if value is None or isinstance(value, str) else list(value)
                for name, value in found["headers"].items()
            }
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Fault:
        """Return the fault that `to_dict` would give as `found`.

        Raises
        ------
        ValueError
            A field is unknown, or what it holds makes no sense.
        """
        if not isinstance(found, Mapping):
            message = f"a fault is an object of named fields, found {found!r}"
            raise ValueError(message)  # noqa: TRY004  # every mistake in a script is a ValueError
        for name in found:
            if name not in _NOTHING:
                near = difflib.get_close_matches(str(name), _NOTHING, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_NOTHING)}"
                message = f"a fault has no field {name!r}: {hint}"
                raise ValueError(message)
        given = dict(found)
        for name in given.keys() & set(_BYTES):
            given[name] = _from_base64(name, given[name])
        for name in given.keys() & set(_PAIRS):
            given[name] = tuple(given[name]) if isinstance(given[name], list) else given[name]
        if isinstance(given.get("headers"), Mapping):
            given["headers"] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in given["headers"].items()
            }
        return cls(**given)


_NOTHING: dict[str, Any] = {each.name: {} if each.name == "headers" else each.default for each in fields(Fault)}


@dataclass(frozen=True, slots=True)
class Script:
    """Faults in the order in which a request is held against them.

    Raises
    ------
    ValueError
        Something in it is no `Fault`, or the seed is no whole number.
    """

    faults: tuple[Fault, ...] = ()
    """The first that matches and is not used up is the one that a request meets."""
    seed: int = 0
    """Decides what ``chance`` means: the same request gets the same draw in every run, in whatever order they come."""

    def __post_init__(self) -> None:
        faults, seed = _anything(self.faults), _anything(self.seed)
        if not isinstance(faults, tuple) or not all(isinstance(each, Fault) for each in faults):
            message = f"a script is a tuple of Fault, found {self.faults!r}"
            raise ValueError(message)
        if not isinstance(seed, int) or isinstance(seed, bool):
            message = f"the seed of a script is a whole number, found {self.seed!r}"
            raise ValueError(message)  # noqa: TRY004  # every mistake in a script is a ValueError

    def __bool__(self) -> bool:
        return bool(self.faults)

    def to_json(self) -> str:
        """Return the script as JSON, one fault a line."""
        lines = ",\n  ".join(json.dumps(fault.to_dict(), ensure_ascii=False) for fault in self.faults)
        return f'{{"seed": {self.seed}, "faults": [\n  {lines}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> Script:
        """Return the script that is written in `text`: an object of ``faults`` and ``seed``, or a list of faults.

        Raises
        ------
        ValueError
            It is no JSON, or no script; the message says which fault is wrong, and how.
        """
        try:
            found = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            message = f"a script of faults must be JSON: {error}"
            raise ValueError(message) from error
        if isinstance(found, list):
            found = {"faults": found}
        if (
            not isinstance(found, dict)
            or not isinstance(found.get("faults"), list)
            or found.keys() - {"faults", "seed"}
        ):
            message = f"a script of faults is {{'faults': [...], 'seed': 0}} or a list of faults, found {text[:80]!r}"
            raise ValueError(message)
        faults = []
        for number, each in enumerate(found["faults"], 1):
            try:
                faults.append(Fault.from_dict(each))
            except ValueError as error:
                message = f"fault {number} of {len(found['faults'])}: {error}"
                raise ValueError(message) from error
        return cls(tuple(faults), found.get("seed", 0))


FaultsLike: TypeAlias = "Script | Fault | Iterable[Fault] | str | Path | None"
"""A script, its faults, one fault, the path of a file of JSON, or None for no faults."""


def as_script(faults: FaultsLike) -> Script:
    """Return `faults` as a script.

    Raises
    ------
    ValueError
        They are none; of a file, the message names it.
    OSError
        The file cannot be read.
    """
    match faults:
        case None:
            return Script()
        case Script():
            return faults
        case Fault():
            return Script((faults,))
        case str() | Path():
            try:
                return Script.from_json(Path(faults).read_text(encoding="utf-8"))
            except ValueError as error:
                message = f"{faults}: {error}"
                raise ValueError(message) from error
    return Script(tuple(faults))


_USUAL = (
    Fault(name="reset before the answer", reset="before"),
    Fault(name="reset in the body", reset=700),
    Fault(name="closed before the answer", drop="before"),
    Fault(name="body cut short", drop=300),
    Fault(name="closed after the answer", hangup=0.0),
    Fault(name="internal error", status=500),
    Fault(name="bad gateway", status=502, body="<html><h1>502 Bad Gateway</h1></html>"),
    Fault(name="slow down", status=503),
    Fault(name="error under a good status", status=200, error="InternalError"),
    Fault(name="no HTTP at all", raw="220 smtp.example.org ready\r\n\r\n"),
    Fault(name="late", delay=0.2),
    Fault(name="standing still for a while", stall=500, stall_for=0.2),
)


def random_faults(chance: float = 0.1, *, seed: int = 0, faults: Sequence[Fault] = _USUAL) -> Script:
    """Return a script in which a request meets one of `faults` with a probability of `chance`, all equally likely.

    Parameters
    ----------
    chance : float, optional
        From 0 to 1.
    seed : int, optional
        Of the script.
    faults : sequence of Fault, optional
        What may happen; by default what a network and S3 show on a bad day: connections that break before, within and
        after an answer, errors that pass, and short delays. All of it can be recovered from.

    Raises
    ------
    ValueError
        The chance is no probability.

    Examples
    --------
    >>> script = random_faults(0.5, seed=7, faults=[Fault(status=503), Fault(reset=100)])
    >>> [fault.chance for fault in script.faults]  # the second meets a third of those that passed the first
    [0.25, 0.333...]
    """
    if not 0 <= chance <= 1:
        message = f"chance is {chance!r}: expected a probability from 0 to 1"
        raise ValueError(message)
    share = chance / len(faults) if faults else 0.0
    rest = [1 - share * n for n in range(len(faults))]
    return Script(
        tuple(replace(fault, chance=min(1.0, share / r)) for fault, r in zip(faults, rest, strict=True)), seed
    )


def _anything(value: object) -> object:
    """Return `value` as something that was perhaps not type-checked."""
    return value


def _from_base64(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    try:
        (encoded,) = (value["base64"] for _ in value)
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, KeyError, TypeError, ValueError) as error:
        message = f'{name} is {value!r}: expected text, or bytes as {{"base64": "AAEC"}}'
        raise ValueError(message) from error


def _no_number(text: str) -> float:
    message = f"{text} is no number of JSON's"
    raise ValueError(message)
