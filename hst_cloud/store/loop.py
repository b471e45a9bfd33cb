"""One private event loop on one thread, for stores that speak asyncio.

The user's own event loop is never touched. The thread starts with the first request, is made anew after a fork
(threads do not survive one), and ends with the interpreter. The calling thread waits on a lock and so answers Ctrl-C
at once; what it waited for is then cancelled.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["at_exit", "run"]

T = TypeVar("T")


class _Loop:
    """The loop, its thread, and what is to be closed on it: made once for each process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.closers: list[Callable[[], Awaitable[object]]] = []
        self.thread = threading.Thread(target=self.loop.run_forever, name="hst_cloud", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        async def close() -> None:
            for closer in self.closers:
                await closer()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        with contextlib.suppress(TimeoutError):  # a server that does not let go must not keep the interpreter
            asyncio.run_coroutine_threadsafe(close(), self.loop).result(timeout=2)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=2)
        if not self.thread.is_alive():
            self.loop.close()


_lock = threading.Lock()
_current: _Loop | None = None


def _get() -> _Loop:
    global _current  # noqa: PLW0603  # the one loop of the process
    with _lock:
        if _current is None or not _current.thread.is_alive():
            _current = _Loop()
        return _current


def _forget() -> None:
    # In a forked child: the thread is gone and the parent's sockets are not ours to close.
    global _current, _lock  # noqa: PLW0603
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


def at_exit(closer: Callable[[], Awaitable[object]]) -> None:
    """Have `closer` awaited on the current loop before the interpreter ends. To be called from that loop."""
    _get().closers.append(closer)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the private loop and wait for its result; an interrupt of the wait cancels the work."""
    future = asyncio.run_coroutine_threadsafe(work, _get().loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
