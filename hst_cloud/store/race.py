"""One try of a question: a request, and a second one where no byte comes long after it should.

A request that is much slower than others mostly met a bad machine or path, and another one is answered sooner than it.
The first of the two that is answered wins, and the other is left; nothing is read twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
from collections.abc import Coroutine, Mapping
from typing import Any, Generic, Protocol, TypeVar

from hst_cloud.store.pace import Pace
from hst_cloud.store.receivers import Page
from hst_cloud.store.s3 import Unusable
from hst_cloud.store.slots import Slots

__all__ = ["Race", "Send"]

P = TypeVar("P", bound=Page)


class Send(Protocol):
    """Sends one request."""

    def __call__(self, headers: Mapping[str, str], page: Page, *, fresh: bool) -> Coroutine[Any, Any, None]:
        """Have the answer received by `page`; with `fresh`, on a new connection."""


class Race(Generic[P]):
    """The requests of one try.

    Parameters
    ----------
    headers : Mapping
        Those of either.
    page : Page
        What receives the answer to the first.
    send : callable
        Sends a request.
    pace : Pace
        Says when an answer is late, and whether a second request may be sent.
    bound : Slots or None
        The caller's own bound on requests in flight, which holds for the second one, too.
    """

    __slots__ = ("_bound", "_context", "_headers", "_pace", "_runner", "_second", "_send", "_twin", "page", "sent")

    def __init__(self, headers: Mapping[str, str], page: P, send: Send, pace: Pace, bound: Slots | None) -> None:
        self.page = page
        """What receives the answer; at the end, of the request that won."""
        self.sent = 1
        """Requests that have been sent."""
        self._headers = headers
        self._send = send
        self._pace = pace
        self._bound = bound
        self._runner: asyncio.Task[Any] | None = None  # waits for the first request
        self._twin: P | None = None
        self._second: asyncio.Task[None] | None = None

    async def run(self, *, fresh: bool) -> P:
        """Return what has received the answer.

        Raises
        ------
        Unusable
            There was none, or it is refused.
        """
        if self._pace.patience == math.inf:  # nobody knows what is slow
            await self._send(self._headers, self.page, fresh=fresh)
            return self.page
        self._context = contextvars.copy_context()
        self._pace.watch(self)
        runner = self._runner = asyncio.current_task()
        assert runner is not None
        try:
            await self._send(self._headers, self.page, fresh=fresh)
        except (Unusable, asyncio.CancelledError) as error:
            beaten = self._runner is None
            self._runner = None
            if isinstance(error, asyncio.CancelledError) and (not beaten or runner.uncancel()):
                raise  # somebody else has cancelled it
            if self._second is None or self.page.begun or not await self._second_won():
                raise
        finally:
            self._runner = None
            self._pace.unwatch(self)
            if self._second is not None:
                self._second.cancel()
                if not self.page.begun:  # it may have begun, and writes into memory that is the caller's
                    await asyncio.wait([self._second])
        return self.page

    def late(self) -> None:
        """Send a second request, if that may be."""
        self._pace.unwatch(self)
        twin = None if self.page.begun else self.page.twin()
        free = self._pace.slots.free and (self._bound is None or self._bound.free)
        if twin is None or not free or not self._pace.spend(hedge=True):
            return
        self.sent += 1
        self._twin = twin
        run = self._run_second(twin)
        self._second = asyncio.get_running_loop().create_task(run, context=self._context)  # with the caller's budgets
        self._pace.racing.add(self._second)
        self._second.add_done_callback(self._second_ended)

    async def _run_second(self, twin: P) -> None:
        async with self._bound or contextlib.nullcontext(), self._pace.slots:
            await self._send(self._headers, twin, fresh=True)

    def _second_ended(self, second: asyncio.Task[None]) -> None:
        self._pace.racing.discard(second)
        if not second.cancelled():
            second.exception()  # it is told if the request won
        if self._runner is not None and self._twin is not None and self._twin.begun:
            runner, self._runner = self._runner, None
            runner.cancel()

    async def _second_won(self) -> bool:
        """Wait for the second request, and tell whether it won; if so, raise what it came to."""
        assert self._second is not None
        assert self._twin is not None
        await asyncio.wait([self._second])
        if not self._twin.begun:
            return False
        self.page = self._twin
        self._second.result()
        return True
