"""What lies between this machine and the bucket, and what requests cost in seconds there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hst_cloud.settings import link_name
from hst_cloud.store.policy import S3
from hst_cloud.values import ByteRange

__all__ = ["FAR_AWAY", "IN_REGION", "REQUEST", "Link", "as_link"]

REQUEST = 1e-3
"""Seconds that a request more has to save: it takes 0.3 ms of a core (``docs/decisions/engine.rst``), a share of the
5,500 a second that S3 grants a prefix (AWS, "Best practices design patterns"), and, from elsewhere, money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What lies between this machine and the bucket."""

    latency: float
    """Seconds from a request to the first byte of its answer."""
    bandwidth: float
    """Bytes a second of one connection."""
    aggregate: float
    """Bytes a second of all connections together."""

    def __post_init__(self) -> None:
        if not (self.latency >= 0 and 0 < self.bandwidth <= self.aggregate < math.inf):
            message = f"a link has latency >= 0 and 0 < bandwidth <= aggregate, found {self}"
            raise ValueError(message)

    def seconds(self, requests: Sequence[ByteRange], *, in_flight: int = S3.in_flight, files: int = 1) -> float:
        """Return what `requests` cost in seconds, when `files` such calls share the link and the requests in flight.

        The model: as many waits as there are rounds of requests, then the bytes at the rate that so many connections
        have, and `REQUEST` for each.
        """
        if not requests:
            return 0.0
        sizes = [wanted.size for wanted in requests]
        return self.estimate(len(sizes), sum(sizes), max(sizes), in_flight=in_flight, files=files)

    def estimate(self, count: int, size: int, largest: float, *, in_flight: int, files: int) -> float:
        """Return the same for `count` requests of `size` bytes in all, the largest of which has `largest`."""
        slots = max(1.0, in_flight / files)
        share = self.aggregate / files
        carried = max(size / min(min(count, slots) * self.bandwidth, share), largest / min(self.bandwidth, share))
        return math.ceil(count / slots) * self.latency + carried + count * REQUEST


# The profiles that the simulated measurements behind this library's design were made with. Latency of the first: AWS,
# "Performance design patterns for Amazon S3", gives 100 to 200 ms for small objects as an upper figure; within a
# region 10 to 30 ms are usual. AWS gives 85 to 90 MB/s for one connection, in "Performance guidelines for Amazon S3".
IN_REGION = Link(latency=0.020, bandwidth=90e6, aggregate=1e9)
FAR_AWAY = Link(latency=0.100, bandwidth=12e6, aggregate=40e6)


def as_link(link: Link | None = None) -> Link:
    """Return `link`, or the profile that ``HST_CLOUD_LINK`` names: ``region``, the default, or ``far``."""
    if link is not None:
        return link
    return FAR_AWAY if link_name() == "far" else IN_REGION
