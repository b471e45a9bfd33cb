"""One private event loop on one thread, for stores that speak asyncio.

The user's own event loop is never touched. The thread starts with the first request, is made anew after a fork
(threads do not survive one), and ends with the interpreter. The calling thread waits in short turns and so answers
Ctrl-C on every platform; what it waited for is then cancelled.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from typing import Any, Protocol, TypeVar, cast

__all__ = ["inside", "post", "resource", "run", "running", "take"]

T = TypeVar("T")

# Seconds of one turn of waiting: Windows delivers Ctrl-C only between two turns, and a turn notices a dead thread.
_TURN = 0.25
# Seconds that the interpreter waits at its end for connections to close.
_FAREWELL = 2


class Closable(Protocol):
    """Something that lives on a loop and is closed with it."""

    async def close(self) -> None:
        """Let go of connections and files."""


C = TypeVar("C", bound=Closable)


class _Loop:
    """The loop, its thread, and what lives on it: made once for each process."""

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop()  # it watches sockets, which Windows' own does not
        self.resources: dict[Callable[[], Closable], Closable] = {}
        self.thread = threading.Thread(target=self._serve, name="hst_cloud", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        _here.current = self
        self.loop.run_forever()

    def check(self) -> None:
        if not self.thread.is_alive():
            message = "the thread of the stores ended while bytes were awaited; the interpreter is ending"
            raise RuntimeError(message)

    def stop(self) -> None:
        with contextlib.suppress(TimeoutError):  # a server that does not let go must not keep the interpreter
            asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(timeout=_FAREWELL)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=_FAREWELL)
        if not self.thread.is_alive():
            self.loop.close()

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for held in self.resources.values():
            await held.close()
        self.resources.clear()


_lock = threading.Lock()
_current: _Loop | None = None
_here = threading.local()
_left_behind: list[_Loop] = []


def _get() -> _Loop:
    global _current  # noqa: PLW0603  # the one loop of the process
    with _lock:
        if _current is None or not _current.thread.is_alive():
            _current = _Loop()
        return _current


def _forget() -> None:
    # In a forked child: the thread is gone, and the parent's sockets are not ours to close. What is kept is never
    # collected, for a collected client says good-bye on connections (and an epoll) that the parent goes on using.
    global _current, _lock  # noqa: PLW0603
    if _current is not None:
        _left_behind.append(_current)
    _current = None
    _lock = threading.Lock()


def _stop() -> None:
    global _current
    with _lock:
        current, _current = _current, None
    if current is not None:
        current.stop()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
atexit.register(_stop)


def resource(make: Callable[[], C]) -> C:
    """Return what `make` made on the private loop: once for each loop, and closed when the loop ends.

    To be called by work that `run` runs.
    """
    held = cast("_Loop", _here.current).resources
    if make not in held:
        held[make] = make()
    return cast("C", held[make])


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the private loop and wait for its result; an interrupt of the wait cancels the work.

    Raises
    ------
    RuntimeError
        It is called by work that is running there, which would wait for itself, or the interpreter is ending.
    """
    current = _get()
    if current.thread is threading.current_thread():
        work.close()
        message = "a store was asked to read by something that runs on the thread of the stores; use another thread"
        raise RuntimeError(message)
    future = asyncio.run_coroutine_threadsafe(work, current.loop)
    try:
        while not wait([future], timeout=_TURN).done:
            current.check()
        return future.result()
    except BaseException:
        future.cancel()
        raise
    finally:
        del future  # its exception refers to this frame


def post(function: Callable[..., object], *arguments: object) -> None:
    """Have `function` called on the private loop soon; nobody waits for it."""
    _get().loop.call_soon_threadsafe(function, *arguments)


def running() -> bool:
    """Return whether there is a private loop; asking does not start one."""
    current = _current
    return current is not None and current.thread.is_alive()


def inside() -> bool:
    """Return whether the caller is on the private loop's own thread, which must not wait for the loop."""
    return getattr(_here, "current", None) is not None


def take(results: queue.SimpleQueue[T]) -> T:
    """Wait for what work on the private loop puts into `results`; an interrupt of the wait is answered.

    Raises
    ------
    RuntimeError
        The interpreter is ending.
    """
    current = _get()
    while True:
        try:
            return results.get(timeout=_TURN)
        except queue.Empty:
            current.check()
