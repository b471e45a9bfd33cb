"""The ways of a unit, timed in alternating order after all of them have given the same."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reading import floor
from benchmarks.reading.files import File, Files
from benchmarks.reading.server import Profile, Server
from benchmarks.reading.units import Unit, Way
from benchmarks.reading.values import Setting
from benchmarks.reading.worker import Worker

SAMPLE = 24
"""Files of a slow unit that are read to warm up, and compared before anything is timed. All are compared in the first
turn of the first run."""
LONGEST = 40
"""Seconds after which no further turn is begun, unless it is the second."""
BEHIND = 1.15
"""A peer of a slow unit that takes so many times as long as the best of its kind is timed once."""


class DifferentError(Exception):
    """Two ways gave different results."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one way took in one run of the benchmark."""

    unit: str
    way: str
    side: str
    gives: str
    profile: str
    run: int
    files: int
    """How many were read."""
    latency: float
    """Seconds."""
    wall: list[float] = field(default_factory=list)
    """Seconds, of each repeat."""
    cpu: list[float] = field(default_factory=list)
    """Seconds of a core, of the way's process and those that it starts."""
    server: list[float] = field(default_factory=list)
    """Seconds of a core, of the server."""
    peak: list[float] = field(default_factory=list)
    """Bytes of memory."""
    requests: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    physics: float | None = None
    """Of a floor: what arithmetic says, in seconds."""

    @property
    def median(self) -> float:
        """Seconds, the median of all repeats."""
        return statistics.median(self.wall)


@dataclass(frozen=True, slots=True)
class Bench:
    """What everything is measured with."""

    server: Server
    files: Files
    scratch: Path
    say: Callable[[str], None]

    @property
    def setting(self) -> Setting:
        """What the ways are given."""
        return Setting(self.server.root, self.files, self.scratch)


def measure(
    bench: Bench, unit: Unit, profile: Profile, *, repeats: int, run: int = 1, names: Sequence[str] = (), count: int = 0
) -> tuple[list[Row], dict[str, str]]:
    """Time the ways of a unit.

    Parameters
    ----------
    bench : Bench
        Server and files.
    unit : Unit
        Which unit.
    profile : Profile
        How far away the server is.
    repeats : int
        How often each way is timed, if that does not take too long.
    run : int, optional
        Which run of the whole benchmark it is.
    names : sequence of str, optional
        Which ways; all by default.
    count : int, optional
        Of how many files; by default, all that the unit has.

    Returns
    -------
    rows : list of Row
        What the ways took.
    absent : dict of str to str
        Ways that could not be gone, and why.

    Raises
    ------
    DifferentError
        Two ways that should give the same do not. Nothing is timed then.
    """
    there = getattr(bench.files, unit.files)
    files = there[: count or None] if unit.many else there[:1]
    bench.server.set(profile)
    with contextlib.ExitStack() as stack:
        ways = [way for way in unit.ways if not names or way.name in names]
        started = [stack.enter_context(Worker(way, bench.setting, unit.files, profile.link)) for way in ways]
        workers, absent = _warmed(unit, started, min(len(files), SAMPLE) if unit.slow else len(files))
        rows = [_row(worker.way, unit, profile, bench, run=run, files=files) for worker in workers]
        _take_turns(bench, unit, list(zip(workers, rows, strict=True)), repeats, len(files))
    for way, reason in absent.items():
        bench.say(f"  left out: {way} ({reason})")
    for row in rows:
        bench.say(
            f"  {row.side:5} {row.way:42} {row.median:8.3f} s {row.requests[-1]:6} requests"
            f" {row.bytes[-1] / 1e6:8.1f} MB  CPU {statistics.median(row.cpu):6.2f} s"
            f" (server {statistics.median(row.server):5.2f} s)  {max(row.peak) / 1e6:6.0f} MB"
        )
    return rows, absent


def _warmed(unit: Unit, started: Sequence[Worker], count: int) -> tuple[list[Worker], dict[str, str]]:
    """Have every way go once, compare what they give, and return those that can be timed, and why the others cannot."""
    workers, absent, seen = [], {}, []
    for worker in started:
        reason = worker.ready()
        if not reason:
            worker.prepare()
            try:
                seen.append((worker.way, worker.run(count, digest=True).digest))
            except RuntimeError as error:
                print(error, file=sys.stderr)
                reason = f"it failed: {str(error).splitlines()[-1]}"
        if reason:
            absent[worker.way.name] = reason
        else:
            workers.append(worker)
    _compare(unit, seen)
    return workers, absent


def _take_turns(bench: Bench, unit: Unit, left: list[tuple[Worker, Row]], repeats: int, count: int) -> None:
    """Time every way several times, now from the first to the last, now the other way round."""
    rows = [row for _, row in left]
    began = time.monotonic()
    for turn in range(repeats):
        first = turn == 0 and rows[0].run == 1
        seen = []
        for worker, row in left if turn % 2 == 0 else reversed(left):
            worker.prepare()
            bench.server.reset()
            cost = worker.run(count, digest=first)
            traffic = bench.server.stats()
            row.wall.append(cost.wall)
            row.cpu.append(cost.cpu)
            row.peak.append(cost.peak)
            row.server.append(traffic.cpu)
            row.requests.append(traffic.requests)
            row.bytes.append(traffic.bytes)
            seen.append((worker.way, cost.digest))
        if first:
            _compare(unit, seen)
        if turn == 0:
            left = [pair for pair in left if not (unit.slow and is_behind(pair[1], rows))]
        elif (time.monotonic() - began) * (turn + 2) / (turn + 1) > LONGEST:
            break


def _row(way: Way, unit: Unit, profile: Profile, bench: Bench, *, run: int, files: Sequence[File]) -> Row:
    physics = None
    if way.side == "floor":
        trips, size, connections = floor.physics(way.work, bench.setting, files, in_flight=way.in_flight)
        physics = profile.seconds(trips, size, connections)
    return Row(
        unit=unit.name, way=way.name, side=way.side, gives=way.gives, profile=profile.name, run=run,
        files=len(files), latency=profile.latency, physics=physics,
    )  # fmt: skip


def _compare(unit: Unit, seen: Sequence[tuple[Way, str]]) -> None:
    """Raise unless all ways that should give the same have given the same."""
    first: dict[str, tuple[Way, str]] = {}
    for way, digest in seen:
        if way.side == "floor":
            continue
        other, expected = first.setdefault(way.gives, (way, digest))
        if digest != expected:
            message = f"{unit.name}: {other.name} ({other.side}) and {way.name} ({way.side}) give different results"
            raise DifferentError(message)


def is_behind(row: Row, rows: Sequence[Row]) -> bool:
    """Tell whether a peer need not be timed again: it is not the best."""
    like = [r for r in rows if (r.side, r.unit, r.profile, r.gives) == ("peer", row.unit, row.profile, row.gives)]
    best = min((other.wall[0] for other in like), default=0)
    return row.side == "peer" and row.wall[0] > BEHIND * best
