"""Work in steps that wait, for the network or for the disk, on a bounded number of threads.

A plan cannot write to a disk, as it runs where nothing may wait. So each thread here takes a step at a time: it reads
one range into a buffer of its own and writes it where it belongs. There are as many buffers as threads, which bounds
the memory, and a slow disk slows the requests down.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from typing import Generic, TypeAlias, TypeVar

from hst_cloud.errors import BudgetExceededError, HSTCloudError
from hst_cloud.store import loop
from hst_cloud.store.objects import Concurrent, Piece, Store
from hst_cloud.store.ranges import PART, unwritten
from hst_cloud.values import ByteRange

__all__ = ["Reads", "Step", "run_steps"]

T = TypeVar("T")

Step: TypeAlias = "Callable[[], Sequence[Step]]"
"""Something to do on a thread; it returns what is to be done next, in any order."""

# Seconds of one turn of waiting: as in `hst_cloud.store.loop`.
_TURN = 0.25


class Reads:
    """Reads of one range each, into the buffer of the thread that asks, which can be called off from another one.

    Parameters
    ----------
    store : Store
        Where to read.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._off = threading.Event()
        self._here = threading.local()
        self._tasks: set[asyncio.Task[list[Piece]]] = set()  # touched on the private loop alone

    def read(self, key: str, wanted: ByteRange, *, etag: str | None) -> Piece:
        """Return the bytes of a range of at most 8 MiB, which are good until this thread reads again.

        Raises
        ------
        CancelledError
            The reads have been called off.
        StoreError
            As `Store.read` does.
        """
        if self._off.is_set():
            raise CancelledError
        if not isinstance(self.store, Concurrent):
            return self.store.read(key, [wanted], etag=etag)[0]
        if not hasattr(self._here, "buffer"):
            self._here.buffer = unwritten(PART)
        return loop.run(self._read(self.store, key, wanted, self._here.buffer[: wanted.size], etag))[0]

    async def _read(
        self, store: Concurrent, key: str, wanted: ByteRange, into: memoryview, etag: str | None
    ) -> list[Piece]:
        task = asyncio.ensure_future(store.pieces(key, [wanted], etag=etag, into=[into]))
        self._tasks.add(task)
        try:
            if self._off.is_set():
                task.cancel()
            return await task
        finally:
            self._tasks.discard(task)

    def call_off(self) -> None:
        """Have all reads end soon, those that are under way by `CancelledError`; of a store in threads, as they can."""
        self._off.set()
        if loop.running():
            loop.post(self._cancel)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


@dataclass(slots=True, eq=False)
class _Item(Generic[T]):
    """One thing that is worked on."""

    value: T
    left: int = 0
    """Steps that wait or are under way."""
    trouble: HSTCloudError | None = None
    """What the first of its steps that failed has raised."""


def run_steps(
    values: Iterable[T],
    begin: Callable[[T], Step],
    settle: Callable[[T, HSTCloudError | None], float | None],
    *,
    threads: int,
    call_off: Callable[[], None],
    idle: Callable[[], None] = lambda: None,
) -> Generator[T]:
    """Take the steps of many things, and give each of them when it is settled.

    Parameters
    ----------
    values : iterable
        What is worked on; the next one is begun when a thread has nothing else to do.
    begin : callable
        Gives the first step of one.
    settle : callable
        Is told, on the caller's thread, that no step of it is left, or that one failed and those that were under way
        have ended. It returns None if it is done with, or after how many seconds it is begun anew.
    threads : int
        How many steps are taken at a time.
    call_off : callable
        Makes steps that wait end soon; it is called when the caller stops iterating, is interrupted, or anything but
        an `HSTCloudError` is raised; that a budget is spent ends all.
    idle : callable, optional
        Called, on the caller's thread, after every step and several times a second.
    """
    work = _Work(values, begin)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="hst_cloud steps")
    try:
        while True:
            while work.busy < threads and (pair := work.next()) is not None:
                context = contextvars.copy_context()  # which holds the caller's budgets
                pool.submit(functools.partial(context.run, work.take, *pair))
            if work.over:
                return
            idle()
            item = work.result()
            if item is None or item.left:
                continue
            wait = settle(item.value, item.trouble)
            if wait is None:
                yield item.value
            else:
                work.again(item.value, wait)
    except BaseException:
        call_off()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Work(Generic[T]):
    """What is to be done, what is being done, and what has come of it."""

    def __init__(self, values: Iterable[T], begin: Callable[[T], Step]) -> None:
        self.busy = 0
        self._begin = begin
        self._fresh = deque(_Item(value) for value in values)
        self._ready: deque[tuple[_Item[T], Step]] = deque()
        self._later: list[tuple[float, _Item[T]]] = []
        self._results: queue.SimpleQueue[tuple[_Item[T], Sequence[Step] | BaseException]] = queue.SimpleQueue()

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return not (self.busy or self._ready or self._fresh or self._later)

    def next(self) -> tuple[_Item[T], Step] | None:
        """Take a step that is to be done; None if there is none now. What has been begun comes first."""
        if not self._ready:
            item = self._due() or (self._fresh.popleft() if self._fresh else None)
            if item is None:
                return None
            item.left = 1
            self._ready.append((item, self._begin(item.value)))
        self.busy += 1
        return self._ready.popleft()

    def take(self, item: _Item[T], step: Step) -> None:
        """Take a step, on any thread."""
        try:
            self._results.put((item, step()))
        except BaseException as error:  # noqa: BLE001  # raised by the thread that waits for it
            self._results.put((item, error))

    def result(self) -> _Item[T] | None:
        """Wait for the result of a step; None if there is none for some time."""
        try:
            item, result = self._results.get(timeout=_TURN)
        except queue.Empty:
            return None
        self.busy -= 1
        item.left -= 1
        if isinstance(result, BaseException):
            if not isinstance(result, HSTCloudError) or isinstance(result, BudgetExceededError):
                raise result
            item.trouble = item.trouble or result
            before = len(self._ready)
            self._ready = deque(pair for pair in self._ready if pair[0] is not item)
            item.left -= before - len(self._ready)
        elif item.trouble is None:
            item.left += len(result)
            self._ready.extend((item, step) for step in result)
        return item

    def again(self, value: T, wait: float) -> None:
        """Begin anew with a value, in so many seconds."""
        self._later.append((time.monotonic() + wait, _Item(value)))

    def _due(self) -> _Item[T] | None:
        """Take what has waited longest, if its time has come."""
        first = min(self._later, key=itemgetter(0), default=None)
        if first is None or first[0] > time.monotonic():
            return None
        self._later.remove(first)
        return first[1]
