"""How often, how long and how patiently a service is asked: one owner for every retry of this package.

The figures are of two kinds of service. S3 answers in milliseconds and tells clearly when it cannot
(AWS, "Performance design patterns for Amazon S3": time out and retry early). MAST runs database queries.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["MAST", "RETRIED", "S3", "THROTTLED", "Clock", "Policy"]

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""

THROTTLED = frozenset({429, 503})
"""Those of them that ask for fewer requests: S3's SlowDown is a 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one kind of service is granted."""

    connect: float
    """Seconds for a connection."""
    read: float
    """Seconds until the first byte of an answer."""
    tries: int
    """Requests sent for one question, the first included."""
    deadline: float
    """Seconds for one call of a verb, all tries and waits included; a large call has more: see `allowance`."""
    base: float
    """Seconds that the first wait is drawn from."""
    longest: float
    """Seconds that any wait is drawn from at most."""
    in_flight: int = 64
    """Requests at a time to one host, all calls and threads of the process together; the default is measured in
    ``docs/decisions/engine.rst``."""
    hedge: float | None = None
    """Seconds without a byte after which a second request may race a first, if that is ten times what is usual; None
    for never."""
    reserve: float = 500
    """Requests more than were asked for that a process may send to a host at most while it answers none well."""
    share: float = 0.2
    """Those that each good answer allows for: a tenth of all requests may fail, and twice in a row."""
    refill: float = 1
    """Those that each second allows for."""
    stall: float = 2.5
    """Seconds in which a body must bring something, once it has begun: see `hst_cloud.store.progress`."""
    bytes_per_second: float = 100e3
    """Bytes a second below which a call, or all of them together, makes no progress: 1 Mbit/s, less than any link worth
    streaming over."""
    requests_per_second: float = 20
    """Requests a second below which a call makes no progress: 64 in flight, each of them taking 3 s."""

    def allowance(self, *, requests: int, size: int) -> float:
        """Return the seconds that a call of so many requests and bytes may take on top of the deadline."""
        return requests / self.requests_per_second + size / self.bytes_per_second


S3 = Policy(connect=3, read=5, tries=6, deadline=120, base=0.1, longest=5, hedge=1)
# 600 s: MAST's own limit on a query. 4 in flight: a database is behind it, not a fleet.
MAST = Policy(connect=3, read=60, stall=60, tries=4, deadline=600, base=0.5, longest=10, in_flight=4)


@dataclass(slots=True)
class Clock:
    """The tries and the time that are left of one call; one object for each call."""

    policy: Policy
    """What is granted."""
    allowance: float = 0.0
    """Seconds granted on top of the deadline: see `Policy.allowance`."""
    now: Callable[[], float] = time.monotonic
    """Tells the time in seconds; only differences count."""
    draw: Callable[[float, float], float] = random.uniform
    """Draws a number between two."""
    started: float = field(init=False)
    """When the call began."""

    def __post_init__(self) -> None:
        self.started = self.now()

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self.now() - self.started

    @property
    def left(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, self.policy.deadline + self.allowance - self.elapsed)

    @property
    def attempt(self) -> float:
        """Seconds that one try may take: a body that drips is not waited for until the deadline."""
        return min(self.left, self.policy.connect + self.policy.read + self.allowance)

    def wait(self, tried: int, retry_after: str | None = None) -> float | None:
        """Return the seconds to wait before the next try, or None if there shall be none.

        Parameters
        ----------
        tried : int
            Requests that have been sent.
        retry_after : str, optional
            The header of the last answer, in seconds; a date is not understood and ignored.
        """
        if tried >= self.policy.tries:
            return None
        # Full jitter: AWS Architecture Blog, "Exponential backoff and jitter" (2015)
        seconds = self.draw(0, min(self.policy.longest, self.policy.base * 2 ** (tried - 1)))
        if retry_after is not None and retry_after.isascii() and retry_after.strip().isdigit():
            seconds = max(seconds, float(retry_after))
        return seconds if seconds < self.left else None
