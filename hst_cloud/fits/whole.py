"""A file whole: what to ask for when all of it is wanted, and the memory that it is received into.

Of a small file everything is asked for at once, and its headers are walked in memory. Of a large one the headers come
first, so that the data are received where they stay: a copy of 168 MB costs as much as reading it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from hst_cloud.errors import StoreUnavailableError
from hst_cloud.fits.layout import Layout, Scan, scan
from hst_cloud.fits.predict import SMALL, without
from hst_cloud.store.link import Link
from hst_cloud.store.objects import Piece, Store
from hst_cloud.store.plan import Plan
from hst_cloud.store.ranges import arrange, fill
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["WHOLE", "receive", "walk_or_all"]

WHOLE = 32 * 1024 * 1024
"""Bytes of a file that are read at once: to copy them out costs less than the round trips of a walk."""


def walk_or_all(
    key: str, *, link: Link, in_flight: int, size: int | None = None, sibling: Layout | None = None
) -> Plan[ByteRange, Piece, Scan]:
    """Walk the headers of a file of which all is wanted; of a file of at most 32 MiB, read everything meanwhile.

    Parameters
    ----------
    key, size, sibling
        As for `~hst_cloud.fits.layout.scan`.
    link, in_flight
        What lies between here and the bucket, and requests at a time: what the parts of a file are made for.

    Notes
    -----
    Requests: one for a file, or a remainder, of at most 1 MiB; else as `~hst_cloud.store.ranges.arrange` says.
    Round trips: one for a file of at most 32 MiB of known size; two where nobody told the size; else those of the
    walk. No byte is asked for twice.
    """
    plan = scan(key, size=size, sibling=sibling)
    held, read = Segments(), list[ByteRange]()
    told: Piece | None = None
    try:
        asks = next(plan)
        while True:
            if told is None and size is not None and 0 < size <= WHOLE:
                wanted = _parts([ByteRange(0, size)], link, in_flight)
            elif told is not None and told.size <= WHOLE:
                wanted = _parts(without([ByteRange(0, told.size)], read), link, in_flight)
            else:
                wanted = without(sorted(asks), read)
            if wanted:
                try:
                    pieces = yield wanted
                except StoreUnavailableError as error:
                    asks = plan.throw(error)
                    continue
                told, read = pieces[0], read + wanted
                held += Segments((one.start, piece.data) for one, piece in zip(wanted, pieces, strict=True))
            assert told is not None
            asks = plan.send([told._replace(data=_held(held, ask, told.size)) for ask in asks])
    except StopIteration as stop:
        found: Scan = stop.value
        return Scan(layout=found.layout, segments=held)
    finally:
        plan.close()


def _parts(wanted: list[ByteRange], link: Link, in_flight: int) -> list[ByteRange]:
    if sum(each.size for each in wanted) <= SMALL:
        return wanted
    return [part for each in wanted for part in arrange([each], link=link, in_flight=in_flight)]


def _held(held: Segments, ask: ByteRange, size: int) -> bytes:
    """Return the bytes of `ask`, as far as the object goes, without a copy."""
    return held.run(ask.start)[: max(0, min(ask.stop, size) - ask.start)]  # type: ignore[return-value]  # a view serves


def receive(
    store: Store, found: Scan, wanted: Sequence[tuple[ByteRange, NDArray[np.uint8]]], *, in_flight: int
) -> Generator[int]:
    """Read ranges of a file into arrays of bytes of their sizes, and of them only what is not in memory.

    Parameters
    ----------
    store : Store
        Where to read.
    found : Scan
        The version to read, and the bytes of it that are in memory.
    wanted : sequence of (ByteRange, ndarray)
        What to read, and where to.
    in_flight : int
        Requests in flight at a time.

    Yields
    ------
    int
        Which of `wanted` is complete, while others are under way.

    Notes
    -----
    Round trips: one, or none where everything is in memory. Requests: one for each range and for each 8 MiB.
    """
    held, missing = found.segments, []
    left = [0] * len(wanted)
    for number, (where, place) in enumerate(wanted):
        at = where.start
        for gap in [*without([where], held.ranges), ByteRange(where.stop, where.stop)]:
            place[at - where.start : gap.start - where.start] = np.frombuffer(held.run(at)[: gap.start - at], np.uint8)
            if gap.size:
                missing.append((number, gap, place.data[gap.start - where.start : gap.stop - where.start]))
                left[number] += 1
            at = gap.stop
        if not left[number]:
            yield number
    parts = [(gap, place) for _, gap, place in missing]
    layout = found.layout
    with contextlib.closing(fill(store, layout.key, parts, etag=layout.etag, in_flight=in_flight)) as came:
        for at, _ in came:
            number = missing[at][0]
            left[number] -= 1
            if not left[number]:
                yield number
