"""Whether what is demanded of our ways is met, and how near they come to what the link allows.

A ratio is taken of two times of the same turn, and its median over the turns; a demand is judged on the lower of the
medians of all runs of the benchmark, so that luck does not meet it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.reading.measure import Row
from benchmarks.reading.units import UNITS, Aim, Gate, Unit


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a demand."""

    unit: str
    gate: Gate
    ours: float | None = None
    """Seconds, the median of all turns; None if our way or its peers were not gone."""
    peer: str = ""
    """The best peer."""
    theirs: float = 0.0
    """Its seconds, the median of all turns."""
    ratios: tuple[float, ...] = ()
    """Of each run."""

    @property
    def ratio(self) -> float:
        """The lower of all runs."""
        return min(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether it is met; None where nothing is demanded, or nothing was measured."""
        return None if self.ours is None or self.gate.least is None else self.ratio >= self.gate.least


@dataclass(frozen=True, slots=True)
class Distance:
    """How far one of our ways is from the least that is possible."""

    unit: str
    aim: Aim
    ours: float
    """Seconds."""
    floor: float
    """Seconds over raw sockets."""
    physics: float
    """Seconds that arithmetic gives."""
    ratio: float
    """Ours in units of the raw sockets', the higher of all runs."""

    @property
    def met(self) -> bool | None:
        """Whether it is as near as it should be; None where nothing is aimed at."""
        return None if self.aim.most is None else self.ratio <= self.aim.most


def verdicts(rows: Sequence[Row], units: Iterable[Unit] = UNITS) -> list[Verdict]:
    """Return what became of every demand on the units that were measured."""
    return [_verdict(rows, unit, gate) for unit in units if _of(rows, unit.name) for gate in unit.gates]


def distances(rows: Sequence[Row], units: Iterable[Unit] = UNITS) -> list[Distance]:
    """Return how far from the floor our ways are that were measured."""
    found = []
    for unit in units:
        for aim in unit.aims:
            ours, floors = (_of(rows, unit.name, way) for way in (aim.ours, aim.floor))
            if ours and floors:
                pairs = [(a, b) for a in ours for b in floors if a.run == b.run]
                worst = max(statistics.median(_ratios(a, b)) for a, b in pairs)
                found.append(Distance(unit.name, aim, _all(ours), _all(floors), floors[0].physics, worst))
    return found


def _verdict(rows: Sequence[Row], unit: Unit, gate: Gate) -> Verdict:
    ours = _of(rows, unit.name, gate.ours, profile=gate.profile)
    peers = [row for name in gate.peers for row in _of(rows, unit.name, name, profile=gate.profile)]
    if not ours or not peers:
        return Verdict(unit.name, gate)
    ratios, best = [], []
    for row in ours:
        best.append(min((peer for peer in peers if peer.run == row.run), key=lambda peer: peer.median))
        ratios.append(statistics.median(_ratios(best[-1], row)))
    name = best[ratios.index(min(ratios))].way
    theirs = _all([peer for peer in peers if peer.way == name])
    return Verdict(unit.name, gate, _all(ours), name, theirs, tuple(ratios))


def _ratios(one: Row, other: Row) -> list[float]:
    return [a / b for a, b in zip(one.wall, other.wall, strict=False)]


def _all(rows: Iterable[Row]) -> float:
    return statistics.median([second for row in rows for second in row.wall])


def _of(rows: Iterable[Row], unit: str, way: str | None = None, *, profile: str = "region") -> list[Row]:
    return [row for row in rows if (row.unit, row.profile) == (unit, profile) and way in {None, row.way}]
