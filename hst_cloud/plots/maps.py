"""The map of a file: where its HDUs lie, and which of their bytes a work has read, round trip by round trip."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hst_cloud.archive.inputs import as_product
from hst_cloud.archive.places import placed
from hst_cloud.cost.limits import amount
from hst_cloud.fits.layout import Layout
from hst_cloud.fits.reader import open as open_product
from hst_cloud.fits.recall import known_or_scan
from hst_cloud.plots.canvas import COLORS, figure_of, titled
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.objects import ListedObject, Piece, Store, Traffic
from hst_cloud.values import ByteRange, ProductLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Reading", "layout"]

Reading: TypeAlias = "Callable[[ProductLike, Store], object]"
"""A work on a product: it is given the product, and the store to read it from."""

_HEADER = 0.12  # of the width of the data: headers would not be seen at their true size
_GAP = 0.015
_THINNEST = 0.004  # what is narrower would not be seen


class _Recorder:
    """A store that writes down which ranges are asked of another one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.trips: list[tuple[str, tuple[ByteRange, ...]]] = []

    @property
    def traffic(self) -> Traffic:
        return self._store.traffic

    def address(self, key: str) -> str:
        return self._store.address(key)

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[Piece]:
        with self._lock:
            self.trips.append((key, tuple(ranges)))
        return self._store.read(key, ranges, etag=etag)

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        return self._store.listings(prefixes)


class Part(NamedTuple):
    """A part of a header or of data that was read."""

    hdu: int
    """Number of the HDU."""
    header: bool
    """Whether it is of the header; of the data otherwise."""
    start: float
    """Where it begins, as a fraction of the header or data."""
    stop: float
    """Where it ends."""
    trip: int
    """In which round trip it came, counted from 0."""


def layout(product: ProductLike, reading: Reading | None = None, *, store: StoreLike = None) -> Figure:
    """Draw where a file's headers and data lie, and which of their bytes a work reads.

    Each HDU is a line: its header to the left, not to scale, and its data to the right, all drawn as long as one
    another. What was read is filled with the color of the round trip in which it came.

    Parameters
    ----------
    product : Product, Row or str
        What `hst_cloud.open` takes.
    reading : callable, optional
        What is done with the product: it is called with the product and with a store to read from. By default the
        product is opened, which reads its headers.
    store : optional
        Where to read, as in `hst_cloud.open`.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes; its height grows with the number of HDUs.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    HSTCloudError
        The product cannot be opened or read.

    Notes
    -----
    Requests: those of `reading`, and those of opening the product, which are not drawn unless they are the reading.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> def box(product, store):
    ...     return hst.cutout(product, (2000, 1000), 100, store=store)
    >>> figure = hst.plots.layout("jbqf03gjq_flc.fits", box)  # doctest: +SKIP
    """
    known, real = placed(as_product(product)), as_store(store)
    recorder = _Recorder(real)
    (reading or _opened)(known, recorder)
    found = known_or_scan(real, known, None).layout
    trips = [ranges for key, ranges in recorder.trips if key == found.key]
    figure = figure_of(7.2, 1.5 + 0.24 * len(found.hdus))
    axes = figure.add_subplot()
    _draw(axes, found, parts(found, trips))
    titled(axes, known.filename, summary(found, trips))
    return figure


def _opened(product: ProductLike, store: Store) -> None:
    with open_product(product, store=store):
        pass


def parts(found: Layout, trips: Sequence[Sequence[ByteRange]]) -> list[Part]:
    """Return what of each header and of all data was read, by round trip and position."""
    result = []
    for trip, ranges in enumerate(trips):
        for number, hdu in enumerate(found.hdus):
            for header, whole in ((True, hdu.header), (False, hdu.data)):
                for one in ranges:
                    start, stop = max(one.start, whole.start), min(one.stop, whole.stop)
                    if start < stop:
                        size, at = whole.size, whole.start
                        result.append(Part(number, header, (start - at) / size, (stop - at) / size, trip))
    return result


def summary(found: Layout, trips: Sequence[Sequence[ByteRange]]) -> str:
    """Return how much was read: round trips, requests and bytes."""
    ranges = [one for trip in trips for one in trip]
    size = sum(min(one.stop, found.size) - one.start for one in ranges if one.start < found.size)
    share = f"{size / found.size:.2%}" if found.size else "all"
    count = len(trips)
    return (
        f"{count} round trip{'' if count == 1 else 's'}, {amount('requests', len(ranges))}: "
        f"{amount('bytes', size)} of {amount('bytes', found.size)} ({share})"
    )


def _draw(axes: Axes, found: Layout, read: Sequence[Part]) -> None:
    from matplotlib.collections import PatchCollection  # noqa: PLC0415  # an optional dependency
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    def bar(line: int, *, header: bool, start: float = 0.0, stop: float = 1.0) -> Any:
        left, width = (0.0, _HEADER) if header else (_HEADER + _GAP, 1.0)
        length = max((stop - start) * width, _THINNEST)
        return Rectangle((left + min(start * width, width - length), line - 0.36), length, 0.72)

    lines = range(len(found.hdus))
    empty = [bar(n, header=True) for n in lines] + [bar(n, header=False) for n in lines if found.hdus[n].data.size]
    axes.add_collection(PatchCollection(empty, facecolor="#e3e7ec", edgecolor="none"))
    trips = sorted({part.trip for part in read})
    for trip in trips:
        mine = [bar(p.hdu, header=p.header, start=p.start, stop=p.stop) for p in read if p.trip == trip]
        color = COLORS[min(trip, len(COLORS) - 1)]
        axes.add_collection(PatchCollection(mine, facecolor=color, edgecolor="none"))
        if trip < len(COLORS):
            more = " and later" if trip == len(COLORS) - 1 and trips[-1] > trip else ""
            axes.plot([], [], "s", color=color, label=f"round trip {trip + 1}{more}")
    names = [f"{n}  {hdu.name},{hdu.ver}" if n else "0  PRIMARY" for n, hdu in enumerate(found.hdus)]
    axes.set(xlim=(0, 1 + _HEADER + _GAP), ylim=(len(found.hdus) - 0.4, -0.6))
    axes.set_yticks(list(lines), names, fontsize=8)
    axes.set_xticks([_HEADER / 2, 0.5 + _HEADER + _GAP], ["header", "data, from first byte to last"], fontsize=8.5)
    sizes = axes.twinx()
    sizes.set(ylim=axes.get_ylim())
    sizes.set_yticks(list(lines), [amount("bytes", hdu.data.size) for hdu in found.hdus], fontsize=8)
    for each in (axes, sizes):
        each.tick_params(length=0)
        each.spines[:].set_visible(False)
    if trips:
        axes.legend(
            frameon=False, fontsize=8.5, ncols=len(trips), loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=2.2
        )
