"""Limits of a budget, as people write them, and amounts as people read them."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, NoReturn

from astropy import units as u

from hst_cloud.errors import QueryError
from hst_cloud.settings import budget_text

__all__ = ["Limits", "Spent", "amount", "as_limits", "ceilings", "dollars"]

_SIZE = re.compile(r"(\d+(?:\.\d*)?(?:e\d+)?|\.\d+)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was sent, received and paid."""

    requests: int = 0
    """Requests sent, retries included."""
    bytes: int = 0
    """Bytes of bodies received, those of failed tries included."""
    usd: float = 0.0
    """Dollars that it cost the reader at most."""
    seconds: float = 0.0
    """Seconds since it began."""

    def __str__(self) -> str:
        return ", ".join(amount(each.name, getattr(self, each.name)) for each in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be spent at most; None for what is not limited."""

    requests: int | None = None
    """Requests sent, retries included."""
    bytes: int | None = None
    """Bytes received, those of failed tries included."""
    usd: float | None = None
    """Dollars that it may cost the reader."""
    seconds: float | None = None
    """Seconds since it began."""

    def __str__(self) -> str:
        named = ((each.name, getattr(self, each.name)) for each in fields(self))
        return ", ".join(amount(name, value) for name, value in named if value is not None) or "no limit"


def as_limits(
    *,
    requests: object = None,
    bytes: object = None,  # noqa: A002  # what it limits
    usd: object = None,
    seconds: object = None,
) -> Limits:
    """Return limits from numbers and texts.

    Parameters
    ----------
    requests : int or str, optional
        A number.
    bytes : int or str, optional
        A number, or a text such as ``"20 GB"`` (10^9 bytes) or ``"64 MiB"`` (2^20 bytes).
    usd : float or str, optional
        Dollars.
    seconds : float, str or Quantity, optional
        Seconds, or a time such as ``"10 min"``.

    Raises
    ------
    QueryError
        One of them is no amount.
    """
    return Limits(
        requests=None if requests is None else _count(requests, "requests"),
        bytes=None if bytes is None else _size(bytes),
        usd=None if usd is None else _number(usd, "usd", "dollars, such as 1.50"),
        seconds=None if seconds is None else _seconds(seconds),
    )


def ceilings() -> Limits:
    """Return the limits that ``HST_CLOUD_BUDGET`` sets.

    Raises
    ------
    QueryError
        It makes no sense.
    """
    return _parsed(budget_text())


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> Limits:
    named: dict[str, Any] = {}
    for part in filter(str.strip, re.split(r"[,;]", text)):
        name, _, value = (each.strip() for each in part.partition("="))
        if name not in Limits.__slots__ or not value or name in named:
            message = (
                f"HST_CLOUD_BUDGET is {text!r}: expected limits such as 'requests=50000, bytes=20 GB, usd=1, "
                f"seconds=3600', each once; found {part.strip()!r}"
            )
            raise QueryError(message)
        named[name] = value
    return as_limits(**named)


def amount(name: str, value: float) -> str:
    """Return an amount of ``requests``, ``bytes``, ``usd`` or ``seconds`` as a person reads it: ``19.9 GB``."""
    match name:
        case "requests":
            return f"{value:,.0f} request{'' if value == 1 else 's'}"
        case "bytes":
            return _human(value)
        case "usd":
            return dollars(value)
        case _:
            return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s"


def dollars(value: float) -> str:
    """Return dollars as a person reads them: in cents, and of small sums the first three digits, never as powers."""
    if value >= 1 or value == round(value, 2):
        return f"USD {value:,.2f}"
    return f"USD {Decimal(f'{value:.3g}'):f}" if value >= 1e-6 else "< USD 0.000001"


def _human(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 999.5 else f"{size:,.0f} TB"


def _refused(value: object, name: str, expected: str) -> NoReturn:
    message = f"{name}={value!r} is no limit of a budget: expected {expected}"
    raise QueryError(message)


def _number(value: object, name: str, expected: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # or raises
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        _refused(value, name, expected)
    return number


def _count(value: object, name: str) -> int:
    number = _number(value, name, "a whole number, not negative")
    if number != int(number):
        _refused(value, name, "a whole number, not negative")
    return int(number)


def _size(value: object) -> int:
    if not isinstance(value, str):
        return _count(value, "bytes")
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        _refused(value, "bytes", "a number, or a text such as '20 GB' or '64 MiB'")
    number, power, binary = match.groups()
    size = float(number) * (1024 if binary else 1000) ** _POWERS[power.lower()]
    if size == math.inf:
        _refused(value, "bytes", "a number")
    return int(size)


def _seconds(value: object) -> float:
    expected = "seconds, or a time such as '10 min'"
    try:
        quantity = u.Quantity(value)
        seconds = float(quantity.value if quantity.unit == u.dimensionless_unscaled else quantity.to_value(u.s))
    except (TypeError, ValueError, u.UnitsError):
        _refused(value, "seconds", expected)
    if not 0 <= seconds < math.inf:
        _refused(value, "seconds", expected)
    return seconds
