"""How often, how long and how patiently a service is asked: one owner for every retry of this package.

The figures are of two kinds of service. S3 answers in milliseconds and tells clearly when it cannot
(AWS, "Performance design patterns for Amazon S3": time out and retry early). MAST runs database queries.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

__all__ = ["MAST", "RETRIED", "S3", "Clock", "Policy"]

RETRIED = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one kind of service is granted."""

    connect: float
    """Seconds for a connection."""
    read: float
    """Seconds without a byte."""
    tries: int
    """Requests sent for one question, the first included."""
    deadline: float
    """Seconds for one call of a verb, all tries and waits included."""
    base: float
    """Seconds that the first wait is drawn from."""
    longest: float
    """Seconds that any wait is drawn from at most."""


S3 = Policy(connect=3, read=10, tries=6, deadline=120, base=0.1, longest=5)
MAST = Policy(connect=3, read=60, tries=4, deadline=600, base=0.5, longest=10)  # 600 s: MAST's own limit on a query


@dataclass(slots=True)
class Clock:
    """The tries and the time that are left of one call; one object for each call."""

    policy: Policy
    """What is granted."""
    started: float = field(default_factory=time.monotonic)
    """Reading of the monotonic clock at the start of the call."""

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, self.policy.deadline - self.elapsed)

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
        seconds = random.uniform(0, min(self.policy.longest, self.policy.base * 2 ** (tried - 1)))  # noqa: S311
        if retry_after is not None and retry_after.strip().isdigit():
            seconds = max(seconds, float(retry_after))
        return seconds if seconds < self.left else None
