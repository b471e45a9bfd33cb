"""Memory for bytes that are to be received, or an error that says why there is none.

A system that promises more memory than it has ends a process that believes it, without a word. So a large buffer is
held against what is there before it is asked for.

Sources: Linux, ``Documentation/filesystems/proc.rst`` (MemAvailable) and ``admin-guide/cgroup-v2.rst`` (memory.max).
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hst_cloud.errors import MemoryLimitError

__all__ = ["available", "blank", "check_room", "unwritten"]

# Bytes from which on it is looked what is there, which takes a tenth of a millisecond.
_LARGE = 64 * 1024 * 1024
_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # a container sees its own here


def unwritten(size: int) -> memoryview:
    """Return writable memory that nobody has touched: a `bytearray` would be written with zeros first.

    Its pages come from the system as the bytes arrive, large ones where it has them (numpy asks for these); reusing a
    buffer through `hst_cloud.store.ranges.fill` saves that: 80 to 320 ms for 168 MB, measured on a virtual machine.

    Raises
    ------
    MemoryLimitError
        There is no such memory.
    """
    return blank(size).data


def blank(size: int) -> NDArray[np.uint8]:
    """Return the same as an array, which is nobody else's.

    Raises
    ------
    MemoryLimitError
        There is no such memory.
    """
    check_room(size)
    try:
        return np.empty(size, np.uint8)
    except MemoryError as error:
        raise _none(size, "the system gave none") from error


def check_room(size: int) -> None:
    """Raise if there is no memory for so many bytes, in however many pieces they are to be taken.

    Raises
    ------
    MemoryLimitError
        So it is.
    """
    left = available() if size >= _LARGE else math.inf
    if size > left:
        raise _none(size, f"{left / 1e6:,.0f} MB are available")


def available() -> float:
    """Return the bytes of memory that this process may still take; infinite where nothing tells."""
    return min(_of_machine(), _of_group())


def _none(size: int, why: str) -> MemoryLimitError:
    message = (
        f"{size:,} bytes are to be read at once, for which there is no memory: {why}. Nothing was read. Read less at a "
        "time: sections of an image, cutouts, or hst_cloud.download."
    )
    return MemoryLimitError(message)


def _of_machine() -> float:
    told = _numbers(_MEMINFO)
    return 1024 * (told["MemAvailable:"] + told.get("SwapFree:", 0)) if "MemAvailable:" in told else math.inf


def _of_group() -> float:
    with contextlib.suppress(OSError, ValueError):
        most = int((_GROUP / "memory.max").read_text())  # "max" where there is none
        used = int((_GROUP / "memory.current").read_text())
        return most - used + _numbers(_GROUP / "memory.stat").get("file", 0)  # which can be dropped
    return math.inf


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file that has one on each line, behind its name."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        rows = [line.split() for line in path.read_text().splitlines()]
        return {row[0]: int(row[1]) for row in rows}
    return {}
