"""The two figures of the page: cost against the number of files, and against latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.reading.measure import Row

COLORS = {"ours": ("#1f5fa8", "#53a3c9"), "peer": ("#c2571a",), "floor": ("#777777",)}
"""Of a side's ways: the next one where the styles of lines are used up."""
MARKERS = {"ours": "o", "peer": "s", "floor": "."}


def files_figure(path: Path, rows: Sequence[Row]) -> None:
    """Draw seconds, and requests, against the number of files."""
    figure, (left, right) = _figure()
    _lines(left, rows, lambda row: row.files, lambda row: row.median)
    left.set(xlabel="files", ylabel="seconds", xscale="log", yscale="log", title="ten keywords: time")
    _lines(right, rows, lambda row: row.files, lambda row: row.requests[-1])
    right.set(xlabel="files", ylabel="requests", xscale="log", yscale="log", title="ten keywords: requests")
    _legend(left)
    figure.savefig(path, dpi=110)


def latency_figure(path: Path, rows: Sequence[Row]) -> None:
    """Draw seconds against latency, for headers and for a section of one file."""
    figure, axes = _figure()
    for ax, unit, title in zip(axes, ("W1", "W2"), ("all headers of one flc", "a section of one flc"), strict=True):
        _lines(ax, [row for row in rows if row.unit == unit], lambda row: row.latency * 1000, lambda row: row.median)
        ax.set(xlabel="milliseconds to the first byte", ylabel="seconds", title=title, xlim=0, ylim=0)
        _legend(ax)
    figure.savefig(path, dpi=110)


def _figure():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    return figure, figure.subplots(1, 2)


def _legend(ax) -> None:
    """Name the lines below the axes, where they cover none of them."""
    ax.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)


def _lines(ax, rows: Sequence[Row], x: Callable[[Row], float], y: Callable[[Row], float]) -> None:
    styles = ("-", "--", ":")
    seen: dict[str, int] = {}
    for side, way in dict.fromkeys((row.side, row.way) for row in rows):
        points = sorted((x(row), y(row)) for row in rows if (row.side, row.way) == (side, way))
        turn, place = divmod(seen.setdefault(side, 0), len(styles))
        seen[side] += 1
        style, color = styles[place], COLORS[side][turn % len(COLORS[side])]
        label = f"hst_cloud, {way}" if side == "ours" else way
        ax.plot(*zip(*points, strict=True), style, color=color, marker=MARKERS[side], ms=4, lw=1.2, label=label)
    ax.grid(alpha=0.3)
