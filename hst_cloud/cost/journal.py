"""The meter of an installation: what this process has read, appended as JSON lines to the file that a setting names.

Each line tells what was added since the one before, so that the sum over all lines of all processes is what was read.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hst_cloud.cost.prices import rates
from hst_cloud.cost.whereabouts import known_path
from hst_cloud.settings import meter_file, nat_known

if TYPE_CHECKING:
    from hst_cloud.cost.ledger import Source, Tally

__all__ = ["EVERY", "Journal"]

EVERY = 10.0
"""Seconds between two lines of one source; the last ones come when the interpreter ends."""

_log = logging.getLogger("hst_cloud.cost")


class Journal:
    """What this process has told the meter."""

    def __init__(self) -> None:
        self.problem = ""
        """Why the last attempt to write failed; empty where it did not."""
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._written: dict[Source, tuple[int, int]] = {}
        self._last = time.monotonic()
        self._registered = False

    def note(self, tallies: Mapping[Source, Tally], *, now: bool = False) -> None:
        """Append what was added, if it is time to and there is a meter.

        A meter that cannot be written stops nobody from reading: it is logged, told by `hst_cloud.report`, and tried
        again; what was not told yet is told then.
        """
        if os.getpid() != self._process:  # at the end of a forked child: what the parent has read is its own to tell
            return
        if not self._registered:
            self._registered = True
            atexit.register(self.note, tallies, now=True)
        if not now and time.monotonic() - self._last < EVERY:
            return
        with self._lock:
            self._last = time.monotonic()
            path = meter_file()
            if path is None:
                return
            fresh = [
                (source, tally.requests, tally.bytes)
                for source, tally in list(tallies.items())
                if (tally.requests, tally.bytes) != self._written.get(source)
            ]
            if not fresh:
                return
            lines = "".join(self._line(*each) for each in fresh)
            try:
                # One write of a file that is opened to append: lines of several processes do not mix.
                file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    os.write(file, lines.encode())
                finally:
                    os.close(file)
            except OSError as error:
                self.problem = f"{path} cannot be written: {error}"
                _log.warning("the meter %s", self.problem)
                return
            self.problem = ""
            self._written.update((source, (requests, size)) for source, requests, size in fresh)

    def _line(self, source: Source, requests: int, size: int) -> str:
        before = self._written.get(source, (0, 0))
        added = requests - before[0], size - before[1]
        path = known_path()
        cost = rates(source.payer, path, nat=nat_known())
        told = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "source": source.address,
            "path": path,
            "requests": added[0],
            "bytes": added[1],
            "usd": cost.reader.usd(*added),
            "usd_most": cost.most.usd(*added),
            "usd_owner": cost.owner.usd(*added),
        }
        return json.dumps(told) + "\n"
