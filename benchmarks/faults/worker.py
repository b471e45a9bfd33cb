"""One client under all faults at once, in a process of its own: ``python -m benchmarks.faults.worker WAY FOLDER``.

Each fault has an archive and a session of its own, whose connection is warm; most of the time everybody waits. Every
outcome is a line of JSON as soon as it is there, and the process ends without waiting for what has no end.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.scripts import FAULTS, KEY, WANTED
from benchmarks.faults.ways import WAYS, Reader
from hst_cloud.testing import LocalArchive
from hst_cloud.values import ByteRange

WARM = ByteRange(0, 1000)


def trial(name: str, read: Reader, archive: LocalArchive, expected: bytes) -> None:
    """Read under one fault, and print what came of it."""
    fault = FAULTS[name]
    archive.forget()
    archive.faults = None if fault is None else replace(fault, method="GET")
    began = time.monotonic()
    try:
        data = read(WANTED)
    except Exception as error:  # noqa: BLE001  # whatever a client raises is what is to be told
        outcome = type(error).__name__
    else:
        outcome = "right" if data == expected else f"wrong: {len(data)} bytes"
    seconds = time.monotonic() - began
    gets = sum(request.method == "GET" for request in archive.requests)
    line = json.dumps({"fault": name, "outcome": outcome, "gets": gets, "seconds": seconds}) + "\n"
    os.write(sys.stdout.fileno(), line.encode())  # at once: other threads tell theirs


def main(way: str, folder: str, limit: str) -> None:
    """Run all trials at once; end at `limit` seconds."""
    expected = Path(folder, KEY).read_bytes()[WANTED.start : WANTED.stop]
    threads = []
    for name in FAULTS:
        archive = LocalArchive(folder).start()
        read = WAYS[way](archive.endpoint)
        read(WARM)
        threads.append(threading.Thread(target=trial, args=(name, read, archive, expected), daemon=True))
    ends = time.monotonic() + float(limit)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
