"""How far a call has come, as one line in a notebook or on a terminal that is gone when the call is done."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from hst_cloud.errors import QueryError
from hst_cloud.values import Progress

__all__ = ["PATIENCE", "PERIOD", "human_size", "line_of", "progress_bar"]

PATIENCE = 1.0
"""Seconds without a word: what is done by then needs no progress."""
PERIOD = 0.2
"""Seconds from one line to the next: nobody reads faster."""


def progress_bar(what: str = "done", *, patience: float = PATIENCE) -> Callable[[Progress], None]:
    """Return what shows how far a call has come, to be given to a verb as ``progress``.

    It is a line of text in a notebook, or on standard error if that is a terminal, and nothing elsewhere. It keeps
    still on fast work, and is gone when the call is done; where a call ends by an error, it stays as it was.

    Parameters
    ----------
    what : str, optional
        What the line begins with.
    patience : float, optional
        Seconds from the call's first word before anything is shown.

    Returns
    -------
    callable
        It takes a `~hst_cloud.values.Progress`, on any thread, and may be used for one call after another.

    Raises
    ------
    QueryError
        Patience is negative.

    Notes
    -----
    Requests: none.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> table = hst.headers(["jzdm01aaq_flc.fits"], "EXPTIME", progress=hst.progress_bar("headers"))
    """
    if patience < 0:
        message = f"patience={patience!r} must not be negative: give seconds"
        raise QueryError(message)
    write = _in_notebook() or _on_terminal()
    lock = threading.Lock()
    began: list[float] = []  # when the call began, and when a line was written last

    def watch(message: Progress) -> None:
        with lock:
            now = time.monotonic()
            began[:] = began or [now]
            ended = message.done == message.total
            if ended and len(began) > 1:
                write("")
            elif not ended and now - began[0] >= patience and now - began[-1] >= PERIOD * (len(began) > 1):
                write(line_of(what, message, now - began[0]))
                began[1:] = [now]
            if ended:
                began.clear()

    return watch


def line_of(what: str, latest: Progress | None, seconds: float) -> str:
    """Return a message as a line of text."""
    if latest is None:
        return f"{what} ... {seconds:.0f} s"
    total = "" if latest.total is None else f" of {latest.total:,}"
    return f"{what}: {latest.done:,}{total} {latest.what}{_bytes(latest, seconds)}, {seconds:.0f} s"


def human_size(size: float) -> str:
    """Return bytes as a person reads them: ``168 MB``, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _bytes(latest: Progress, seconds: float) -> str:
    """Return how many bytes have come, of how many and how fast, where they are counted."""
    if latest.bytes is None:
        return ""
    total = f" of {human_size(latest.size)}" if latest.size else ""
    return f", {human_size(latest.bytes)}{total}, {human_size(latest.bytes / max(seconds, 1e-3))}/s"


def _in_notebook() -> Callable[[str], None] | None:
    """Return what shows a text in the cell that runs; None where no notebook runs."""
    ipython: Any = sys.modules.get("IPython")  # is imported where there is a notebook
    if ipython is None or not hasattr(ipython.get_ipython(), "kernel"):
        return None
    display: Any = sys.modules["IPython.display"].display
    shown: list[Any] = []

    def write(text: str) -> None:
        data = {"text/plain": text}
        if not shown:
            shown.append(display(data, raw=True, display_id=True))
        else:
            shown[0].update(data, raw=True)
        if not text:
            shown.clear()  # the next call may be in another cell

    return write


def _on_terminal() -> Callable[[str], None]:
    def write(text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()

    return write
