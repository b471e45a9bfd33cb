"""What bytes and requests cost, and whom: AWS's list prices as a dated file of data, and what follows for a reader.

Reading the public bucket is free for whoever reads it: its owner, whom AWS's open data program sponsors, pays for
requests and for what leaves S3. A reader pays for her own machine, and for a NAT gateway where one lies between it and
the bucket, in the bucket's region too. Of a bucket whose requester pays, all of it is the reader's.

A GB is taken as 10^9 bytes, AWS's has 2^30: dollars are told up to 7 percent too high, and never too low.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, TypeAlias

__all__ = ["PATHS", "Path", "Payer", "Price", "PriceList", "Rates", "Tariff", "price_list", "rates"]

Path: TypeAlias = Literal["in region", "cross region", "internet"]
"""The way from the bucket to this machine: within us-east-1, from another AWS region, or from outside AWS."""

PATHS: tuple[Path, ...] = ("in region", "cross region", "internet")

Payer: TypeAlias = Literal["owner", "reader", "other", "nobody"]
"""Who pays for what a source sends: the public bucket's owner; the reader; the owner of another service, whose prices
are not known here; or nobody, since it is on this machine."""

_OUT: dict[Path, str] = {"in region": "out-region", "cross region": "out-cross-region", "internet": "out-internet"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One line of a price list."""

    name: str
    """What it is called here."""
    what: str
    """What is paid for."""
    usd: float
    """Dollars for `per`."""
    per: str
    """What that is the price of, for a person: ``GB``."""
    units: int
    """The same as a number of bytes, requests or seconds."""
    payer: Literal["owner", "reader"]
    """Who pays it when the public bucket is read."""
    source: str
    """Where AWS publishes it."""
    seen: str
    """Where it was seen, and when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """The prices of one day."""

    as_of: str
    """The day, as ISO 8601 has it."""
    checked: str
    """Against what they were checked."""
    region: str
    """The region that they are of."""
    prices: tuple[Price, ...]
    """The lines."""

    def rate(self, name: str) -> float:
        """Return the dollars of one byte, request or second.

        Raises
        ------
        LookupError
            There is no such line.
        """
        for price in self.prices:
            if price.name == name:
                return price.usd / price.units
        message = f"there is no price {name!r}, but {', '.join(price.name for price in self.prices)}"
        raise LookupError(message)


@functools.cache
def price_list() -> PriceList:
    """Return the prices that this version of the package knows; they are never fetched from anywhere."""
    told = json.loads((files("hst_cloud.cost") / "prices.json").read_text(encoding="utf-8"))
    lines = tuple(Price(**line) for line in told["prices"])
    return PriceList(as_of=told["as_of"], checked=told["checked"], region=told["region"], prices=lines)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What requests and bytes cost one payer."""

    request: float = 0.0
    """Dollars for a request."""
    byte: float = 0.0
    """Dollars for a byte."""

    def usd(self, requests: int, size: int) -> float:
        """Return the dollars for so many requests and bytes."""
        return requests * self.request + size * self.byte

    def __add__(self, other: Tariff) -> Tariff:
        return Tariff(self.request + other.request, self.byte + other.byte)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What reading from one source by one path costs those concerned."""

    reader: Tariff
    """What the reader pays for certain."""
    most: Tariff
    """What the reader pays at most: with a NAT gateway where nobody said that there is none."""
    owner: Tariff
    """What the bucket's owner pays."""


@functools.lru_cache(maxsize=64)
def rates(payer: Payer, path: Path | None, *, nat: bool | None) -> Rates:
    """Return what reading costs.

    Parameters
    ----------
    payer : {"owner", "reader", "other", "nobody"}
        Who pays for what the source sends.
    path : str or None
        The way from there; None where nobody looked, and then `Rates.most` and `Rates.owner` are of the dearest.
    nat : bool or None
        Whether a NAT gateway lies between; None where nobody knows.
    """
    free = Tariff()
    if payer == "nobody":
        return Rates(reader=free, most=free, owner=free)
    if path is None:
        each = [rates(payer, one, nat=nat) for one in PATHS]
        return Rates(
            reader=min((one.reader for one in each), key=lambda tariff: tariff.byte),
            most=max((one.most for one in each), key=lambda tariff: tariff.byte),
            owner=max((one.owner for one in each), key=lambda tariff: tariff.byte),
        )
    known = price_list()
    sent = Tariff(known.rate("get"), known.rate(_OUT[path])) if payer != "other" else free
    gateway = Tariff(0.0, known.rate("nat")) if path != "internet" else free  # a gateway is something within AWS
    mine = sent if payer == "reader" else free
    return Rates(
        reader=mine + gateway if nat else mine,
        most=mine if nat is False else mine + gateway,
        owner=sent if payer == "owner" else free,
    )
