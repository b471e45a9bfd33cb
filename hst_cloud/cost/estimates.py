"""What a call will take, before anything is sent: requests, bytes, and by each path seconds and dollars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from hst_cloud.cost.limits import amount, dollars
from hst_cloud.cost.prices import Path, price_list
from hst_cloud.markup import html_table

__all__ = ["Bound", "Estimate", "PathCost"]

Bound: TypeAlias = Literal["exactly", "about", "at most"]
"""How the truth lies to the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCost:
    """What a call takes by one path from the public bucket."""

    path: Path
    """The way from the bucket."""
    seconds: float
    """Seconds, by the profile of the link: right to a factor of some."""
    usd: float
    """Dollars that the reader pays for certain, without the time of the machine."""
    usd_most: float
    """The same at most: through a NAT gateway where nobody said that there is none."""
    usd_owner: float
    """Dollars that the bucket's owner pays, at list prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call will take; printed, it is a table of the paths."""

    verb: str
    """The call."""
    products: int
    """Products that are counted in it."""
    unknown: int
    """Products that are not: nobody knows their place, or their size where it matters."""
    requests: int
    """Requests, if none has to be sent again."""
    bytes: int
    """Bytes received."""
    bound: Bound
    """How the truth lies to requests and bytes: ``exactly``, ``about``, or ``at most``."""
    paths: Sequence[PathCost]
    """The same in seconds and dollars, for each path."""

    def __repr__(self) -> str:
        return (
            f"Estimate({self.verb} of {self.products}: {self.bound} {amount('requests', self.requests)}, "
            f"{amount('bytes', self.bytes)}{f'; {self.unknown} unknown' if self.unknown else ''})"
        )

    def __str__(self) -> str:
        of = f"{self.verb} of {self.products:,} product{'' if self.products == 1 else 's'}"
        takes = f"{amount('requests', self.requests)}, {amount('bytes', self.bytes)} ({self.bytes:,})"
        lines = [f"{of}: {self.bound} {takes}"]
        if self.unknown:
            lines.append(f"not counted: {self.unknown:,} whose place or size is not known (resolve(..., verify=True))")
        lines.append(f"{'path':14}{'time':>12}{'you pay':>16}{'at most, by NAT':>18}{'the owner pays':>18}")
        lines += [
            f"{one.path:14}{amount('seconds', one.seconds):>12}{dollars(one.usd):>16}{dollars(one.usd_most):>18}"
            f"{dollars(one.usd_owner):>18}"
            for one in self.paths
        ]
        lines.append(f"prices of {price_list().as_of}; the time of your machine is not in them")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        title, *_ = str(self).split("\n")
        unknown = f"; not counted: {self.unknown:,}, of unknown place or size" if self.unknown else ""
        return html_table(
            f"{title}{unknown}",
            [
                (one.path, amount("seconds", one.seconds), *map(dollars, (one.usd, one.usd_most, one.usd_owner)))
                for one in self.paths
            ],
            head=("path", "time", "you pay", "at most, by NAT", "the owner pays"),
        )
