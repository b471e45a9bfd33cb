"""The bound on requests in flight: one for each host and the whole process, however many files are read.

It follows what the host bears: halved when that asks for fewer, and grown by one for each round of good answers.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

if sys.platform != "win32":  # sockets are no descriptors there
    import resource

__all__ = ["Slots", "connections"]

_OTHERS = 24
"""Descriptors of a process that are none of our connections: its own files, an index, the loop's."""


def connections() -> float:
    """Return how many connections to a host this process can have, by its limit on open descriptors.

    A third of what it may open, since those that nobody uses at present are kept.
    """
    if sys.platform == "win32":
        return math.inf
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return math.inf if soft == resource.RLIM_INFINITY else max(1, (soft - _OTHERS) // 3)


class Slots:
    """So many may enter ``async with slots`` at a time; the others wait in the order in which they came.

    It is `asyncio.Semaphore` but for its limit, which calls may raise while they run. It lives on one loop.

    Parameters
    ----------
    limit : int
        How many may be inside where nobody asked for more.
    most : float, optional
        How many may be inside whoever asks.
    """

    def __init__(self, limit: int, *, most: float = math.inf) -> None:
        self.limit = limit
        self.busy = 0
        self._most = self._borne = most
        self._asked = [limit]
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._adjust()

    @property
    def free(self) -> bool:
        """Whether somebody who came now would be let in at once."""
        return self.busy < self.limit

    async def __aenter__(self) -> None:
        # Whoever waits is let in before anybody else can see a free slot, so that nobody overtakes.
        if self.busy < self.limit:
            self.busy += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in and cancelled in one breath
                self._leave()
            raise

    async def __aexit__(self, *error: object) -> None:
        self._leave()

    @contextmanager
    def raised(self, limit: int) -> Generator[None]:
        """Let at least `limit` in for as long as the block lasts."""
        self._asked.append(limit)
        self._adjust()
        try:
            yield
        finally:
            self._asked.remove(limit)
            self._adjust()

    def halve(self) -> None:
        """Let in half as many as may be now, and one at least."""
        self._borne = max(1, self.limit // 2)
        self._adjust()

    def grow(self) -> None:
        """Let in one more after as many calls of this as may be inside, until nothing is held back any more."""
        if self._borne < self._most:
            self._borne = self._borne + 1 / self._borne if self._borne < max(self._asked) else self._most
            self._adjust()

    def _leave(self) -> None:
        self.busy -= 1
        self._admit()

    def _adjust(self) -> None:
        self.limit = math.floor(min(max(self._asked), self._borne))
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.busy < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                self.busy += 1
                turn.set_result(None)
