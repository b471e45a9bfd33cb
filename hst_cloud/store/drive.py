"""Drive plans to their results: one, or many at once with a bound on the requests of all of them together.

Every batch that a plan asks for is sent at once. The first batch is answered by whatever version the store holds,
unless the plan was given an ETag; all later ones are pinned to the version that answered first.

A store on the private loop is read there, every plan being a coroutine, and the thread that asked only takes results;
any other store is read by a few threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from hst_cloud.errors import BudgetExceededError, HSTCloudError, ObjectChangedError
from hst_cloud.store import loop
from hst_cloud.store.objects import Concurrent, Piece, Store
from hst_cloud.store.plan import Plan
from hst_cloud.store.policy import S3
from hst_cloud.store.slots import Slots
from hst_cloud.values import ByteRange

__all__ = ["Job", "Work", "run_many", "run_one"]

T = TypeVar("T")

# Threads that read from a store that is not on the private loop: more would contend for one interpreter.
_THREADS = 16
# Seconds of one turn of waiting for threads: as in `hst_cloud.store.loop`.
_TURN = 0.25


class Job(NamedTuple, Generic[T]):
    """One object to be read by one plan."""

    key: str
    """Object key."""
    plan: Plan[ByteRange, Piece, T]
    """What asks for ranges and is sent their pieces; it runs on another thread and must not read by itself."""
    etag: str | None = None
    """The version that must be read from the first batch on; None for the one that is there."""
    into: Sequence[memoryview] | None = None
    """A buffer for each range of the first batch and of its size, which its bytes are received into."""


Work: TypeAlias = "Job[T] | tuple[str, Plan[ByteRange, Piece, T]] | tuple[str, Plan[ByteRange, Piece, T], str | None]"
"""A `Job`, or the plain tuple of one."""


def run_one(store: Store, key: str, plan: Plan[ByteRange, Piece, T], *, etag: str | None = None) -> T:
    """Drive one plan to its result.

    Parameters
    ----------
    store : Store
        Where to read.
    key : str
        Object key.
    plan : Plan
        What asks. Errors of the store are thrown into it, so that it may go on otherwise: after an
        `ObjectChangedError` its next batch is answered by the version that is there then. What it does not catch ends
        it and is raised.
    etag : str, optional
        The version that must be read from the first batch on.

    Raises
    ------
    HSTCloudError
        What the plan raises, and what the store raises and the plan does not catch.

    Notes
    -----
    Requests: one for each range that the plan asks for. Round trips: one for each batch.
    """
    return _walk(store, Job(key, plan, etag), threading.Event())


def run_many(
    store: Store, work: Iterable[Work[T]], *, in_flight: int = S3.in_flight
) -> Iterator[tuple[int, T | HSTCloudError]]:
    """Drive many plans at once, and give their results as they come.

    Parameters
    ----------
    store : Store
        Where to read.
    work : iterable of (key, plan) or (key, plan, etag)
        What to read: see `Job`. It is drawn from as there is room, by the thread that iterates, so it may be endless
        and may itself read.
    in_flight : int, optional
        Requests in flight at a time. The process's own bound (64) is raised to it where it is lower, for as long as
        the iterator is open. A store that is not on the private loop is read by at most 16 threads.

    Yields
    ------
    position : int
        Which item of `work` it is, from zero.
    result : T or HSTCloudError
        What the plan returned, or the error that ended it.

    Notes
    -----
    Requests: one for each range that the plans ask for. Results that nobody has taken are held, and no more than half
    as many again as `in_flight` plans are begun and not taken. A budget that is spent ends all of them: its error is
    raised and not yielded. Closing the iterator, leaving the loop, an error or
    Ctrl-C cancels every request and waits until none is left.
    """
    if in_flight < 1:
        message = f"in_flight must be at least 1, found {in_flight}"
        raise ValueError(message)
    jobs = (Job(*item) for item in work)
    return (
        _on_the_loop(store, jobs, in_flight) if isinstance(store, Concurrent) else _in_threads(store, jobs, in_flight)
    )


# --- On the private loop ---------------------------------------------------------------------------------------------


def _on_the_loop(store: Concurrent, jobs: Iterator[Job[T]], in_flight: int) -> Iterator[tuple[int, T | HSTCloudError]]:
    crew: _Crew[T] = _Crew(store, in_flight)
    numbered = enumerate(jobs)
    # Plans wait in line beside those that are being answered, so that no slot is free while this thread is busy.
    window = in_flight + -(-in_flight // 2)
    left, more = 0, True
    came: deque[tuple[int, T | BaseException]] = deque()
    try:
        while left or more:
            room = more and left < window
            if room:
                job = next(numbered, None)
                more = job is not None
                if job is not None:
                    left += 1
                    crew.add(*job)
            if not came and left:
                came.extend(crew.results(patient=not room))
            if not came:
                continue
            position, result = came.popleft()
            left -= 1
            if isinstance(result, BudgetExceededError) or (
                isinstance(result, BaseException) and not isinstance(result, HSTCloudError)
            ):
                raise result
            yield position, result
    finally:
        crew.dismiss()


class _Crew(Generic[T]):
    """The plans of one call that are under way on the private loop."""

    def __init__(self, store: Concurrent, in_flight: int) -> None:
        self._store = store
        self._in_flight = in_flight
        self._done: queue.SimpleQueue[list[tuple[int, T | BaseException]]] = queue.SimpleQueue()
        self._drawn: deque[tuple[int, Job[T], contextvars.Context]] = deque()
        self._called = False
        self._gone = threading.Event()
        self._process = os.getpid()
        # What follows is touched on the private loop alone.
        self._ended: list[tuple[int, T | BaseException]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._bound = Slots(in_flight)
        self._room: contextlib.ExitStack | None = None

    # -- on the caller's thread

    def add(self, position: int, job: Job[T]) -> None:
        """Have the plan of `job` driven."""
        self._drawn.append((position, job, contextvars.copy_context()))  # with the budgets that hold as it is drawn
        if not self._called:  # else the loop has not come to those before: the two threads need not meet again
            self._called = True
            loop.post(self._begin)

    def results(self, *, patient: bool) -> list[tuple[int, T | BaseException]]:
        """Take what has come; nothing if there is nothing yet and the caller would not wait."""
        if os.getpid() != self._process:
            message = "these files are being read by the process that forked this one; read them anew here"
            raise RuntimeError(message)
        if patient:
            return loop.take(self._done)
        return [] if self._done.empty() else self._done.get_nowait()

    def dismiss(self) -> None:
        """Cancel what is under way, and wait until nothing is left unless that would block the loop itself."""
        if os.getpid() != self._process or not loop.running():
            return
        loop.post(self._end)
        while not loop.inside() and not self._gone.wait(_TURN) and loop.running():
            pass

    # -- on the private loop

    def _begin(self) -> None:
        self._called = False
        if self._room is None:
            self._room = contextlib.ExitStack()
            self._room.enter_context(self._store.room(self._in_flight))
        while self._drawn:
            position, job, context = self._drawn.popleft()
            task = asyncio.get_running_loop().create_task(self._follow(position, job), context=context)
            self._tasks.add(task)  # the loop itself holds tasks but weakly
            task.add_done_callback(self._tasks.discard)

    async def _follow(self, position: int, job: Job[T]) -> None:
        try:
            result: T | BaseException = await self._drive(job)
        except BaseException as error:  # noqa: BLE001  # raised by the thread that takes it
            result = error
        if not self._ended:  # what ends in this turn of the loop is handed over at once
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._ended.append((position, result))

    def _hand_over(self) -> None:
        self._done.put(self._ended)
        self._ended = []

    async def _drive(self, job: Job[T]) -> T:
        plan, pin, into = job.plan, job.etag, job.into
        try:
            asks = next(plan)
            while True:
                places, into = into, None
                try:
                    pieces = await self._store.pieces(job.key, asks, etag=pin, into=places, bound=self._bound)
                except HSTCloudError as error:
                    pin = None if isinstance(error, ObjectChangedError) else pin
                    asks = plan.throw(error)
                else:
                    pin = pin or _version(pieces)
                    await self._others_first()
                    asks = plan.send(pieces)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the value of a Plan[..., T] is T
        finally:
            plan.close()

    async def _others_first(self) -> None:
        """Let those that wait for a slot send, and the engine with them: their answers come while this plan works."""
        for _ in range(2):
            await asyncio.sleep(0)

    def _end(self) -> None:
        self._ending = asyncio.ensure_future(self._cancel())

    async def _cancel(self) -> None:
        try:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._room is not None:
                self._room.close()
        finally:
            self._gone.set()


# --- In threads ------------------------------------------------------------------------------------------------------


def _in_threads(store: Store, jobs: Iterator[Job[T]], in_flight: int) -> Iterator[tuple[int, T | HSTCloudError]]:
    count = min(in_flight, _THREADS)
    numbered = enumerate(jobs)
    stopped = threading.Event()
    under_way: dict[Future[T], int] = {}
    threads = ThreadPoolExecutor(count, thread_name_prefix="hst_cloud files")
    try:
        while True:
            for position, job in itertools.islice(numbered, count + -(-count // 2) - len(under_way)):
                context = contextvars.copy_context()  # which holds the caller's budgets
                under_way[threads.submit(context.run, _walk, store, job, stopped)] = position
            if not under_way:
                return
            done, _ = wait(under_way, timeout=_TURN, return_when=FIRST_COMPLETED)
            for future in done:
                position = under_way.pop(future)
                try:
                    result: T | HSTCloudError = future.result()
                except BudgetExceededError:
                    raise  # the others would be refused, too
                except HSTCloudError as error:
                    result = error
                yield position, result
    finally:
        stopped.set()
        threads.shutdown(cancel_futures=True)


def _walk(store: Store, job: Job[T], stopped: threading.Event) -> T:
    """Drive one plan on this thread, until `stopped`."""
    plan, pin, into = job.plan, job.etag, job.into or ()
    try:
        asks = next(plan)
        while not stopped.is_set():
            places, into = into, ()
            try:
                pieces = store.read(job.key, asks, etag=pin)
                for piece, place in zip(pieces, places, strict=False):  # there are none but for the first batch
                    place[: len(piece.data)] = piece.data
            except HSTCloudError as error:
                pin = None if isinstance(error, ObjectChangedError) else pin
                asks = plan.throw(error)
            else:
                pin = pin or _version(pieces)
                asks = plan.send(pieces)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the value of a Plan[..., T] is T
    finally:
        plan.close()
    message = f"nobody waits for {job.key} any more"
    raise CancelledError(message)


def _version(pieces: Sequence[Piece]) -> str | None:
    return pieces[0].etag if pieces else None
