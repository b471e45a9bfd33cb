"""What a process has learnt of a host: how soon it answers, how many requests it bears, and whether to ask it again.

The private loop has one `Pace` for each host and policy. All calls and threads share it, so that together they are as
considerate as one.

Sources: AWS Builders' Library, "Timeouts, retries, and backoff with jitter" (a budget of retries, as a bucket of
tokens); Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance" (1989); Dean and
Barroso, "The tail at scale" (2013), on hedged requests.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from hst_cloud.store.policy import Policy
from hst_cloud.store.receivers import Page
from hst_cloud.store.slots import Slots

__all__ = ["Pace"]

_KNOWN = 16  # answers after which it is known what is usual
_REMEMBERED = 64  # answers that are looked at
_REFRESH = 16  # answers between two looks

_TICK = 0.05  # seconds between two looks at which requests are late
_ASLEEP = 1  # seconds between two of them after which it was this process that stood still: answers may be there


class Late(Protocol):
    """A request that may be late: `hst_cloud.store.race.Race`."""

    @property
    def page(self) -> Page:
        """What receives its answer."""

    def late(self) -> None:
        """Hear that it is."""


class Pace:
    """What is known of one host; it lives on one loop.

    Parameters
    ----------
    policy : Policy
        What the host is granted.
    most : float, optional
        Requests in flight that this machine can bear.
    now : callable, optional
        Tells the time in seconds.
    """

    def __init__(self, policy: Policy, *, most: float = math.inf, now: Callable[[], float] = time.monotonic) -> None:
        self.slots = Slots(policy.in_flight, most=most)
        """The bound on requests in flight."""
        self.patience = math.inf
        """Seconds without a byte after which a request is far slower than usual; infinite until that is known."""
        self.racing: set[asyncio.Task[None]] = set()
        """Second requests that are under way; a loop itself holds tasks but weakly."""
        self._watched: set[Late] = set()
        self._looking = False
        self._looked = 0.0
        self._policy = policy
        self._now = now
        self._waits: deque[float] = deque(maxlen=_REMEMBERED)
        self._unseen = _KNOWN
        self._tokens = policy.reserve
        self._counted = self._slowed = now()

    def answered(self, wait: float) -> None:
        """Note that a request was answered well, `wait` seconds after it was sent."""
        self._waits.append(wait)
        self._unseen -= 1
        if self._unseen <= 0 and self._policy.hedge is not None:
            self._unseen = _REFRESH
            self.patience = max(self._policy.hedge, 10 * statistics.median(self._waits))
        self._tokens = min(self._policy.reserve, self._tokens + self._policy.share)
        self.slots.grow()

    def watch(self, race: Late) -> None:
        """Have `race` told when it is late."""
        self._watched.add(race)
        if not self._looking:  # one timer for all: each would cost more than all else that is learnt here
            self._looking = True
            self._looked = self._now()
            asyncio.get_running_loop().call_later(_TICK, self._look)

    def unwatch(self, race: Late) -> None:
        """Stop that."""
        self._watched.discard(race)

    def _look(self) -> None:
        before, self._looked = self._looked, self._now()
        since = self._looked - self.patience
        if self._looked - before < _ASLEEP:
            for race in [each for each in self._watched if each.page.sent < since]:
                race.late()
        self._looking = bool(self._watched)
        if self._looking:
            asyncio.get_running_loop().call_later(_TICK, self._look)

    def throttled(self, sent: float) -> None:
        """Note that the host refused a request that was sent then: half as many are in flight, until it bears more.

        Those that were in flight before that was known are refused together, and count as one.
        """
        if sent >= self._slowed:
            self._slowed = self._now()
            self.slots.halve()

    def spend(self, *, hedge: bool = False) -> bool:
        """Take one more request than was asked for out of the budget that all share, if there is one.

        What only saves time, a `hedge`, leaves half of the budget to what is needed.
        """
        now = self._now()
        self._tokens = min(self._policy.reserve, self._tokens + (now - self._counted) * self._policy.refill)
        self._counted = now
        if self._tokens < 1 + hedge * self._policy.reserve / 2:
            return False
        self._tokens -= 1
        return True
