"""Read random ranges over a line on which everything goes wrong, as often as you like, and count what came of it.

``python tests/soak.py 100000`` (or ``make soak ARGS=100000``) reads that many ranges of one object, several at a time,
with the patience that users have, under faults drawn from a seed. It prints how many bytes were wrong and what is left of
threads and sockets (one is too many, and the exit code 1), which errors came how often, and how long reads took that met
a fault.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from leftovers import held, left

from hst_cloud.errors import HSTCloudError
from hst_cloud.store.objects import HTTPStore
from hst_cloud.testing import Fault, LocalArchive, Script, random_faults
from hst_cloud.values import ByteRange

KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
BATCH = 2000
LONGEST = 64 * 1024

SLOW = (
    Fault(name="black hole", stall="before"),
    Fault(name="standing still", stall=300),
    Fault(name="dripping", drip=30.0),
)
LIES = (
    Fault(name="range ignored", whole=True),
    Fault(name="other bytes announced", headers={"Content-Range": "bytes {start+2880}-{last+2880}/{size}"}),
    Fault(name="another version", headers={"ETag": '"another"'}),
    Fault(name="chunks and a length", chunked=1000, headers={"Content-Length": "{length}"}),
    Fault(name="more than announced", extra="HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore"),
)


@dataclass
class Outcome:
    """What became of one read."""

    wanted: ByteRange
    seconds: float
    wrong: int = 0
    """Bytes that differ, or are missing."""
    error: str = ""


def script(chance: float, seed: int) -> Script:
    """Return what goes wrong: what can be waited out often, what takes seconds rarely, lies in between."""
    usual = random_faults(chance).faults
    slow = [replace(fault, chance=chance / 100) for fault in SLOW]
    lies = [replace(fault, chance=chance / 50) for fault in LIES]
    return Script((*slow, *lies, *usual), seed)


def ranges(count: int, size: int, seed: int) -> Iterator[ByteRange]:
    """Draw ranges, no two of them alike, so that each request tells whose it is."""
    draw, seen = random.Random(seed), set()
    while len(seen) < count:
        start = draw.randrange(size - 1)
        wanted = ByteRange(start, min(size, start + 1 + int(LONGEST ** draw.random())))
        if wanted not in seen:
            seen.add(wanted)
            yield wanted


def read(store: HTTPStore, content: bytes, wanted: ByteRange) -> Outcome:
    """Read one range, and compare it byte by byte."""
    began = time.monotonic()
    try:
        (piece,) = store.read(KEY, [wanted])
    except HSTCloudError as error:
        return Outcome(wanted, time.monotonic() - began, error=type(error).__name__)
    expected = content[wanted.start : wanted.stop]
    wrong = 0
    if piece.data != expected:
        wrong = sum(a != b for a, b in zip(piece.data, expected, strict=False)) + abs(len(piece.data) - len(expected))
    return Outcome(wanted, time.monotonic() - began, wrong)


def met(archive: LocalArchive) -> tuple[dict[str, set[str]], Counter[str]]:
    """Return the faults that the requests of each read met, and how many requests it took, by its last byte.

    A read that is gone on with asks for a later start, and so does another read of the same end.
    """
    faults: dict[str, set[str]] = defaultdict(set)
    requests: Counter[str] = Counter()
    for request in archive.requests:
        last = (request.range or "").rpartition("-")[2]
        requests[last] += 1
        if request.fault is not None:
            faults[last].add(request.fault.name)
    return faults, requests


def at(values: list[float], share: float) -> float:
    """Return the value below which so many of them lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> int:
    """Run the program; return 1 if a byte was wrong, or a thread or socket is left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reads", type=int, nargs="?", default=100_000, help="how many ranges are read")
    parser.add_argument("--seed", type=int, default=0, help="decides ranges and faults")
    parser.add_argument("--chance", type=float, default=0.1, help="probability that a request meets a fault")
    parser.add_argument("--jobs", type=int, default=16, help="reads at a time")
    wanted = parser.parse_args()
    content = random.Random(wanted.seed).randbytes(8_000_000)
    outcomes: list[Outcome] = []
    failed: Counter[str] = Counter()
    by_fault: dict[str, list[float]] = defaultdict(list)
    most = total = 0
    before, began = held(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, KEY)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        faults = script(wanted.chance, wanted.seed)
        with LocalArchive(folder, faults=faults) as archive, ThreadPoolExecutor(wanted.jobs) as threads:
            store = HTTPStore(f"{archive.endpoint}/stpubdata")
            every = list(ranges(wanted.reads, len(content), wanted.seed))
            for n in range(0, len(every), BATCH):
                archive.forget()
                done = list(threads.map(lambda each: read(store, content, each), every[n : n + BATCH]))
                outcomes += done
                found, requests = met(archive)
                total += requests.total()
                most = max(most, *requests.values())
                for outcome in done:
                    for name in found.get(str(outcome.wanted.stop - 1), {"none"}):
                        by_fault[name].append(outcome.seconds)
                        failed[name] += bool(outcome.error)
                print(f"\r{len(outcomes)} reads, {time.monotonic() - began:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    errors = Counter(outcome.error for outcome in outcomes if outcome.error)
    wrong = sum(outcome.wrong for outcome in outcomes)
    print(f"{len(outcomes)} reads, seed {wanted.seed}, {total} requests, at most {most} for one range")
    print(f"{wrong} wrong bytes in {sum(outcome.wrong > 0 for outcome in outcomes)} reads")
    print("errors: " + (", ".join(f"{count} {name}" for name, count in errors.most_common()) or "none"))
    leaks = left(before)
    print(
        "left of threads and descriptors: " + (", ".join(f"{count} {name}" for name, count in leaks.items()) or "none")
    )
    print(f"{'fault met':30}{'reads':>8}{'errors':>8}{'median':>10}{'p95':>10}{'longest':>10}")
    for name, seconds in sorted(by_fault.items()):
        print(
            f"{name:30}{len(seconds):8}{failed[name]:8}{at(seconds, 0.5):9.3f}s{at(seconds, 0.95):9.3f}s{max(seconds):9.3f}s"
        )
    return 1 if wrong or leaks else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.pop("HST_CLOUD_ENDPOINT", None)
    sys.exit(main())
