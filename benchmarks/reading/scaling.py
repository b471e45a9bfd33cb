"""What the work costs as there is more of it, and as the bucket is farther away."""

from __future__ import annotations

from benchmarks.reading.measure import Bench, Row, measure
from benchmarks.reading.server import REGION, Profile
from benchmarks.reading.units import HEADERS, LADDER, SECTION

COUNTS = (1, 10, 100, 1000, 10_000)
LATENCIES = (1, 5, 20, 50, 100, 200)
"""Milliseconds to the first byte."""
LARGE = 1000
"""Files above which work is timed once: it takes a peer half a minute."""


def by_files(bench: Bench, *, repeats: int) -> list[Row]:
    """Time the reading of ten keywords of more and more files."""
    there = len(bench.files.more)
    found = []
    for count in [n for n in COUNTS if n < there] + [min(there, COUNTS[-1])]:
        bench.say(f"{count} files")
        rows, _ = measure(bench, LADDER, REGION, repeats=1 if count > LARGE else repeats, count=count)
        found += rows
    return found


def by_latency(bench: Bench, *, repeats: int, latencies: tuple[int, ...] = LATENCIES) -> list[Row]:
    """Time the reading of headers, and of a section, from farther and farther away."""
    found = []
    for latency in latencies:
        profile = Profile(f"{latency} ms", latency / 1000, REGION.connection, REGION.aggregate)
        bench.say(f"{latency} ms to the first byte")
        for unit in (HEADERS, SECTION):
            rows, _ = measure(bench, unit, profile, repeats=repeats)
            found += rows
    return found
