"""The bound on requests in flight: one for the whole process and each kind of service, however many files are read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["Slots"]


class Slots:
    """So many may enter ``async with slots`` at a time; the others wait in the order in which they came.

    It is `asyncio.Semaphore` but for its limit, which calls may raise while they run. It lives on one loop.

    Parameters
    ----------
    limit : int
        How many may be inside where nobody asked for more.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.busy = 0
        self._asked = [limit]
        self._waiting: deque[asyncio.Future[None]] = deque()

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
        self._admit()
        try:
            yield
        finally:
            self._asked.remove(limit)
            self._admit()

    def _leave(self) -> None:
        self.busy -= 1
        self._admit()

    def _admit(self) -> None:
        self.limit = max(self._asked)
        while self._waiting and self.busy < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                self.busy += 1
                turn.set_result(None)
