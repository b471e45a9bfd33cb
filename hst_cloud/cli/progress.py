"""How far a call has come, as one line on a terminal that is gone when the call is done."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

from hst_cloud.bars import PATIENCE, PERIOD, line_of
from hst_cloud.values import Progress

__all__ = ["Watcher", "progress_line"]

Watcher: TypeAlias = Callable[[Progress], None]
"""What is told how far a call has come."""


@contextmanager
def progress_line(what: str, *, stream: TextIO | None = None, patience: float = PATIENCE) -> Iterator[Watcher]:
    """Show on `stream`, if it is a terminal, how far the body of the ``with`` has come.

    Parameters
    ----------
    what : str
        What is being done, for as long as nothing better is known: ``asking MAST``.
    stream : file, optional
        By default standard error.
    patience : float, optional
        Seconds before anything is shown.

    Yields
    ------
    callable
        To be given to a verb as ``progress``. It may be called on any thread.
    """
    stream = stream or sys.stderr
    latest: list[Progress] = []
    if not stream.isatty():
        yield lambda _message: None
        return
    ended = threading.Event()
    began = time.monotonic()

    def show() -> None:
        shown = False
        wait = patience
        while not ended.wait(wait):
            wait = PERIOD
            shown = True
            text = line_of(what, latest[-1] if latest else None, time.monotonic() - began)
            stream.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
            stream.flush()
        if shown:
            stream.write("\r\x1b[K")
            stream.flush()

    thread = threading.Thread(target=show, name="hst_cloud progress", daemon=True)
    thread.start()
    try:
        yield lambda message: latest.__setitem__(slice(None), [message])
    finally:
        ended.set()
        thread.join()
