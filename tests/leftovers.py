"""What a call may leave behind: threads, sockets and open files of this process, told by name."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from pathlib import Path

from hst_cloud.store import loop

PATIENCE = 5.0
"""Seconds in which threads that were told to end have ended, on a busy machine."""


def held() -> Counter[str]:
    """Return the threads that run and the descriptors that are open, but for what stays as long as it is used.

    That are SQLite files, and the workers and files of an archive that serves several tests.
    """
    threads = [thread.name for thread in threading.enumerate()]
    found = Counter(f"thread {name}" for name in threads if not name.startswith("hst_cloud archive_"))
    folder = Path("/proc/self/fd")
    for link in folder.iterdir() if folder.is_dir() else ():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # the one that lists
            continue
        if ".sqlite" not in target and "/hst/public/" not in target and "/mast/hlsp/" not in target:
            found[target.partition("[")[0]] += 1  # every socket has a number of its own
    return found


def left(before: Counter[str]) -> Counter[str]:
    """Return what is held now and was not `before`, once the private loop and what nobody refers to are gone."""
    loop._stop()
    latest = time.monotonic() + PATIENCE
    while (more := held() - before) and time.monotonic() < latest:
        gc.collect()
        time.sleep(0.02)
    return more
