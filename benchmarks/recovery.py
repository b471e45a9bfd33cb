"""How long a read takes that meets one fault: ``python -m benchmarks.recovery 30``.

Each read is of a range that either engine reads, from a host that is known to answer within milliseconds; its first
request meets the fault, and every one that follows is answered.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

from hst_cloud.store.objects import HTTPStore
from hst_cloud.store.policy import S3
from hst_cloud.testing import Fault, LocalArchive
from hst_cloud.values import ByteRange

KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
SIZES = {"16 KiB": 16 * 1024, "4 MiB": 4 * 1024 * 1024}


def faults(size: int) -> dict[str, Fault]:
    """Return the faults by name, those within the body in the middle of it."""
    half = size // 2
    return {
        "none": Fault(delay=0.001, times=1),
        "reset before the answer": Fault(reset="before", times=1),
        "reset in the body": Fault(reset=half, times=1),
        "black hole": Fault(stall="before", times=1),
        "stall": Fault(stall=half, times=1),
        "drip": Fault(drip=1000.0, times=1),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repeats", type=int, nargs="?", default=30)
    repeats = parser.parse_args().repeats
    content = random.Random(0).randbytes(8 * 1024 * 1024)
    print(f"{'fault':26}{'range':>8}{'p50':>9}{'p95':>9}{'longest':>9}   requests a read")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, KEY)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with LocalArchive(folder) as archive:
            store = HTTPStore(f"{archive.endpoint}/stpubdata", policy=S3)
            for n in range(50):
                store.read(KEY, [ByteRange(n, n + 100)])
            for label, size in SIZES.items():
                for name, fault in faults(size).items():
                    taken, before = [], store.traffic.requests
                    for n in range(repeats):
                        archive.faults = fault
                        began = time.monotonic()
                        (piece,) = store.read(KEY, [ByteRange(n, n + size)])
                        taken.append(time.monotonic() - began)
                        assert piece.data == content[n : n + size], "wrong bytes"
                    taken.sort()
                    p50, p95 = taken[len(taken) // 2], taken[min(len(taken) - 1, int(0.95 * len(taken)))]
                    asked = (store.traffic.requests - before) / repeats
                    print(f"{name:26}{label:>8}{p50:8.3f}s{p95:8.3f}s{taken[-1]:8.3f}s   {asked:.2f}", flush=True)


if __name__ == "__main__":
    os.environ.pop("HST_CLOUD_ENDPOINT", None)
    main()
