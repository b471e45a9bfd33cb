"""The page of the documentation, made of the results of a run and of nothing else."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reading import plots
from benchmarks.reading.gates import Distance, Verdict, distances, verdicts
from benchmarks.reading.measure import BEHIND, Row
from benchmarks.reading.units import UNITS, Unit

NAME = "explanation/performance.rst"

INTRODUCTION = """\
How fast it reads
=================

Explanation; 10 minutes.

Seven units of work are done by this package, by today's ways at their best tuning, and by a client that receives the
same bytes over raw sockets and does nothing with them.
This page says what each takes, how many times as fast as the best of the others we are, and how far that is from what
the link allows.
It is written by ``make bench ARGS="--write docs"``; ``benchmarks/reading`` holds the program.

What these figures are
----------------------

They are of a server on the same machine that behaves like a link: it waits before the first byte of each answer, and
paces the bytes of each connection and of all together.
{profiles}

They are not of the bucket itself.
There is no TLS, no lost packet, and latency does not vary; client and server share {cores} cores.
Ratios of times from one run carry over to another place better than seconds do, and requests and bytes are exact.

Every way runs in a process of its own, whose connections and sessions are warm.
All ways of a unit give the same headers, keywords, pixels or columns, which is checked before anything is timed, and
again on the full amount of work.
Their times are taken in turn, in alternating order, {repeats}.
Where a peer takes some ten seconds, those that are behind it by more than {behind:.0%} are timed once.
A ratio is one of two times of the same turn, and what is told is the median of all turns of a run{runs}.

*Cold* is the first file of its kind that a process reads.
*Sibling seen* is one of which another of the same instrument, suffix and shape was read before: the one here has longer
headers and another headerlet.
*Index* is one that was read before, perhaps by another process, with ``index=True``.

"""


def write(docs: Path, results: dict[str, Any]) -> None:
    """Write the page and its figures below the folder of the documentation."""
    path = docs / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, draw in (("files", plots.files_figure), ("latency", plots.latency_figure)):
        rows = [Row(**row) for row in results["scaling"][name]]
        if rows:
            draw(path.with_name(f"performance-{name}.png"), rows)
    path.write_text(page(results), encoding="utf-8")
    print(f"page: {path}")


def page(results: dict[str, Any]) -> str:
    """Return the page."""
    rows = [Row(**row) for row in results["rows"]]
    found, far = verdicts(rows), distances(rows)
    parts = [
        _introduction(results),
        _heading("The work"),
        *_list(_work(unit, rows) for unit in UNITS if _of(rows, unit.name)),
        _heading("Against the best of the others"),
        DEMANDS,
        _judged(found),
        _heading("What is missed"),
        *_list(_missed(found, far, results["absent"])),
        _heading("How far from the limit"),
        LIMIT,
        _limits(far),
        _heading("Everything that was timed"),
        EVERYTHING,
    ]
    for unit in UNITS:
        for profile in unit.profiles:
            part = _of(rows, unit.name, profile)
            if part:
                away = "" if profile == "region" else ", far away"
                parts += [_heading(f"{unit.name}: {_title(unit, rows)}{away}", "~"), _ways(part)]
    parts += _scaling({name: [Row(**row) for row in found] for name, found in results["scaling"].items()})
    parts += [_heading("Where it was measured"), _machine(results)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


DEMANDS = """\
*Demanded* is what was set before this package was written, from what a prototype reached.
Where nothing is demanded, the ratio is there for comparison; *both* means as many requests in flight on either side.
"""

_SAID = {True: "met", False: "**missed**", None: ""}

LIMIT = """\
The *floor* is measured in the same run: the same bytes in as few round trips, over raw sockets and into a buffer that
is there already.
*Computed* is what arithmetic says of it: the round trips that must follow one another times the latency, and the bytes
at the rate of the link.
Where the two agree, neither the server nor this machine is what limits anybody.
"""

EVERYTHING = """\
Seconds are medians over all turns of all runs, and the fastest in brackets.
Requests and bytes are what the server counted, its own seconds of CPU are in the column *server*.
Memory is the most that a process held while it worked beyond what it held before; what programs write to a file in
memory is counted there as far as it is mapped.
"""


# --- Sentences -------------------------------------------------------------------------------------------------------


def sentence(verdict: Verdict) -> str:
    """Say what became of a demand."""
    what = f"{verdict.unit} {verdict.gate.says} ({verdict.gate.profile})"
    if verdict.ours is None:
        return f"{what}: not measured"
    end = "nothing demanded"
    if verdict.gate.least is not None:
        end = f"{'met' if verdict.met else 'MISSED'}: {verdict.gate.least:g} demanded"
    both = ", ".join(f"{ratio:.2f}" for ratio in verdict.ratios)
    return f"{what}: {verdict.ratio:.2f} times as fast as {verdict.peer} (runs: {both}); {end}"


def sentence_of_distance(distance: Distance) -> str:
    """Say how far from the floor one of our ways is."""
    end = "nothing aimed at"
    if distance.aim.most is not None:
        end = f"{'met' if distance.met else 'MISSED'}: at most {distance.aim.most:g} aimed at"
    return f"{distance.unit} {distance.aim.ours}: {distance.ratio:.2f} times the floor ({distance.aim.floor}); {end}"


def _missed(found: Sequence[Verdict], far: Sequence[Distance], absent: dict[str, dict[str, str]]) -> Iterable[str]:
    some = False
    for verdict in found:
        if verdict.met is False:
            some = True
            yield (
                f"{verdict.unit}, {verdict.gate.says}{_away(verdict.gate.profile)}: {_times(verdict.ratio)} as fast as "
                f"{verdict.peer}, and {verdict.gate.least:g} times is demanded."
            )
        elif verdict.ours is None and verdict.gate.least is not None:
            some = True
            yield f"{verdict.unit}, {verdict.gate.says}{_away(verdict.gate.profile)}: not measured."
    for distance in far:
        if distance.met is False:
            some = True
            yield (
                f"{distance.unit}, {distance.aim.ours}: {_times(distance.ratio)} the time of the floor, and at most "
                f"{distance.aim.most:g} times is aimed at."
            )
    for unit, ways in absent.items():
        for way, reason in ways.items():
            some = True
            yield f"{unit}, {way}: left out, because {reason}."
    if not some:
        yield "Nothing."


# --- Tables ----------------------------------------------------------------------------------------------------------


def _judged(found: Sequence[Verdict]) -> str:
    head = ("work", "ours", "s", "best of the others", "s", "times as fast", "demanded", "")
    lines = []
    for verdict in found:
        gate = verdict.gate
        wanted = "" if gate.least is None else f"{gate.least:g}"
        where = f"{verdict.unit}{_away(gate.profile)}"
        if verdict.ours is None:
            lines.append((where, gate.says, "", "", "", "", wanted, "not measured"))
            continue
        lines.append((
            where, gate.says, _s(verdict.ours), verdict.peer, _s(verdict.theirs), _n(verdict.ratio), wanted,
            _SAID[verdict.met],
        ))  # fmt: skip
    return _table(head, lines, (12, 18, 8, 26, 8, 10, 10, 8))


def _limits(far: Sequence[Distance]) -> str:
    head = ("work", "ours", "s", "floor, s", "computed, s", "ours / floor", "aimed at", "")
    lines = [
        (
            d.unit, d.aim.ours, _s(d.ours), _s(d.floor), _s(d.physics), _n(d.ratio),
            "" if d.aim.most is None else f"{d.aim.most:g}", _SAID[d.met],
        )
        for d in far
    ]  # fmt: skip
    return _table(head, lines, (10, 24, 9, 10, 12, 13, 10, 12))


def _ways(rows: Sequence[Row]) -> str:
    head = ("who", "way", "s", "requests", "MB", "CPU s", "server", "memory MB")
    lines = []
    for side, way in dict.fromkeys((row.side, row.way) for row in rows):
        same = [row for row in rows if (row.side, row.way) == (side, way)]
        wall, cpu, server, peak = (
            [x for row in same for x in getattr(row, name)] for name in ("wall", "cpu", "server", "peak")
        )
        lines.append((
            {"ours": "hst_cloud", "peer": "", "floor": "floor"}[side],
            way,
            f"{_s(statistics.median(wall))} ({_s(min(wall))})",
            f"{same[-1].requests[-1]:,}",
            f"{same[-1].bytes[-1] / 1e6:,.1f}",
            f"{statistics.median(cpu):.2f}",
            f"{statistics.median(server):.2f}",
            f"{max(peak) / 1e6:,.0f}",
        ))  # fmt: skip
    return _table(head, lines, (10, 32, 16, 9, 9, 8, 8, 8))


def _scaling(found: dict[str, list[Row]]) -> list[str]:
    parts = []
    if found.get("files"):
        parts += [
            _heading("As there are more files"),
            "Ten keywords of one file and of thousands: a request each, and a time that follows their number.\n",
            _figure(
                "performance-files.png",
                "Seconds and requests against the number of files, for us, a peer, and the floor.",
            ),
            _series(found["files"], lambda row: f"{row.files:,}", "way"),
        ]
    if found.get("latency"):
        parts += [
            _heading("As the bucket is farther away"),
            "What counts is how many round trips follow one another: that is the slope of each line.\n",
            _figure("performance-latency.png", "Seconds against latency, for headers and for a section of one file."),
        ]
        for unit in ("W1", "W2"):
            rows = [row for row in found["latency"] if row.unit == unit]
            parts.append(_series(rows, lambda row: f"{row.latency * 1000:g} ms", f"{unit}, seconds at"))
    return parts


def _series(rows: Sequence[Row], column, corner: str) -> str:
    columns = list(dict.fromkeys(map(column, rows)))
    lines = []
    for side, way in dict.fromkeys((row.side, row.way) for row in rows):
        cells = {column(row): _s(row.median) for row in rows if (row.side, row.way) == (side, way)}
        name = f"hst_cloud, {way}" if side == "ours" else way
        lines.append((name, *(cells.get(one, "") for one in columns)))
    return _table((corner, *columns), lines, (40, *([max(60 // len(columns), 8)] * len(columns))))


# --- The rest --------------------------------------------------------------------------------------------------------


def _introduction(results: dict[str, Any]) -> str:
    profiles = "\n".join(
        f"*{ {'region': 'In the region', 'far': 'Far away'}[p['name']] }*, that is {p['latency'] * 1000:g} ms, "
        f"{p['connection'] / 1e6:g} MB/s a connection and {p['aggregate'] / 1e6:,.0f} MB/s together."
        for p in results["profiles"]
    )
    repeats = "once"
    if results["repeats"] > 1:
        repeats = f"{results['repeats']} times in a run or as often as {results['longest']} s allow, but at least twice"
    runs = f"; of {results['runs']} runs, the one with the lower ratio counts" if results["runs"] > 1 else ""
    text = INTRODUCTION.format(
        profiles=profiles, cores=results["machine"]["cores"], repeats=repeats, runs=runs, behind=BEHIND - 1
    )
    if results["quick"]:
        text += "These figures are of a trial with few and small files, and mean nothing.\n"
    return text


def _machine(results: dict[str, Any]) -> str:
    where, versions = results["machine"], results["versions"]
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"{where['cores']} cores of {where['model']}, {where['memory']} GB of memory, {where['system']}, "
        f"Python {where['python']}; {results['date'][:10]}; {results['seconds'] / 60:.0f} minutes for all of it.\n"
        f"{listed}.\n"
    )


def _title(unit: Unit, rows: Sequence[Row]) -> str:
    counts = {row.files for row in rows if row.unit == unit.name}
    return unit.title.format(files=f"{max(counts):,}")


def _work(unit: Unit, rows: Sequence[Row]) -> str:
    return f"**{unit.name}**: {_title(unit, rows)}." + (f"\n  {unit.note}." if unit.note else "")


def _of(rows: Iterable[Row], unit: str, profile: str | None = None) -> list[Row]:
    return [row for row in rows if row.unit == unit and profile in {None, row.profile}]


def _away(profile: str) -> str:
    return "" if profile == "region" else ", far away"


def _s(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.2f}"


def _n(ratio: float) -> str:
    return f"{math.floor(ratio * 100) / 100:.2f}" if ratio < 10 else f"{ratio:.1f}"


def _times(ratio: float) -> str:
    return f"{_n(ratio)} times"


def _heading(text: str, line: str = "-") -> str:
    return f"{text}\n{line * len(text)}\n"


def _list(items: Iterable[str]) -> list[str]:
    return ["\n".join(f"- {item}" for item in items)]


def _figure(name: str, alt: str) -> str:
    return f".. figure:: {name}\n   :alt: {alt}\n"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    made = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for line in (head, *lines):
        made += [f"   {'*' if n == 0 else ' '} - {cell}".rstrip() for n, cell in enumerate(line)]
    return "\n".join(made) + "\n"
