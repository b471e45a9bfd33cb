"""A file whole: what to ask for when all of it is wanted, and the memory that it is received into.

Of a small file everything is asked for at once, and its headers are walked in memory. Of a large one the headers come
first, so that the data are received where they stay: a copy of 168 MB costs as much as reading it. Where a file like it
tells where its images lie to within some cards, they are asked for with the headers, into memory with a margin: an
image then begins some cards farther on in it, or before, and its first and last bytes come with the headers beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from hst_cloud.errors import StoreUnavailableError
from hst_cloud.fits.layout import Layout, Scan, scan
from hst_cloud.fits.predict import LARGE, SLACK, SMALL, without
from hst_cloud.fits.structure import HDUExtent
from hst_cloud.store.drive import run_one
from hst_cloud.store.link import Link
from hst_cloud.store.memory import blank
from hst_cloud.store.objects import Piece, Store, one_version
from hst_cloud.store.plan import Plan
from hst_cloud.store.ranges import arrange, fill, unwritten
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["NOTHING", "WHOLE", "Coming", "Early", "receive", "walk_or_all", "walked_meanwhile"]

T = TypeVar("T")

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


class Early(NamedTuple):
    """Data that are asked for before it is proven where they lie: an image of a file like this one."""

    asked: ByteRange
    """What is received: all of them but where headers are looked for."""
    room: ByteRange
    """What there is memory for: where the image may lie."""
    memory: NDArray[np.uint8]
    """The bytes of `room`, as far as they were received."""

    @property
    def place(self) -> memoryview:
        """Return where `asked` is received."""
        return self.memory.data[self.asked.start - self.room.start : self.asked.stop - self.room.start]

    def data(self, where: ByteRange) -> NDArray[np.uint8] | None:
        """Return the memory for the image at `where`; None if that is not where it was thought to be."""
        begin = where.start - self.room.start
        fits = begin >= 0 and where.stop <= self.room.stop
        fits = fits and where.start <= self.asked.start and self.asked.stop <= where.stop
        return self.memory[begin : begin + where.size] if fits else None


Coming: TypeAlias = "tuple[Sequence[Early], Iterator[int]]"
"""Data that are under way, and which of them has come, one after the other."""

NOTHING: Coming = ((), iter(()))
"""Of a file whose layout was known before anything was asked for."""


@contextlib.contextmanager
def walked_meanwhile(
    store: Store, key: str, *, size: int, like: Layout, wanted: Callable[[int, HDUExtent], bool], in_flight: int
) -> Generator[tuple[Scan, Coming]]:
    """Walk the headers of a large file while its images are received, whose places those of a file like it tell.

    Parameters
    ----------
    store, key, size, in_flight
        As for `walk_or_all` and `receive`.
    like : Layout
        Of a file that this one is probably like.
    wanted : callable
        Tells by its number and its place there whether the data of an HDU are wanted.

    Yields
    ------
    Scan
        Where everything lies in truth, by the headers, which need not be where they were looked for.
    Coming
        What is under way, for `receive`. Of images that lie elsewhere, it is what bytes are there.

    Notes
    -----
    Round trips: one, and those of the walk where the file is not like the other.
    """
    plan = scan(key, size=size, sibling=like)
    asks = list(next(plan))
    early = _early(like, asks, size, wanted)
    places = [(ask, unwritten(ask.size)) for ask in asks] + [(one.asked, one.place) for one in early]
    with contextlib.closing(fill(store, key, places, etag=None, in_flight=in_flight)) as coming:
        came: dict[int, Piece] = {}
        while not came.keys() >= set(range(len(asks))):
            position, piece = next(coming)
            came[position] = piece
        heads = one_version(key, [came.pop(position) for position in range(len(asks))], store.address(key))
        found = run_one(store, key, _gone_on(plan, heads), etag=heads[0].etag)
        yield found, (early, (position - len(asks) for position in chain(came, (position for position, _ in coming))))


def _early(
    like: Layout, headers: Sequence[ByteRange], size: int, wanted: Callable[[int, HDUExtent], bool]
) -> list[Early]:
    """Return what can be asked for of the images, beside `headers`, if they lie where they lie in a file like this."""
    early = []
    for number, hdu in enumerate(like.hdus):
        asked = without([hdu.data], headers)
        image = hdu.bitpix != 8 and hdu.data.size > LARGE
        if image and wanted(number, hdu) and len(asked) == 1 and asked[0].stop <= size:
            room = ByteRange(hdu.data.start - SLACK, hdu.data.stop + SLACK)
            early.append(Early(asked[0], room, blank(room.size)))
    return early


def _gone_on(plan: Plan[ByteRange, Piece, T], answers: Sequence[Piece]) -> Plan[ByteRange, Piece, T]:
    """Go on with a plan that has asked: `answers` are what it asked for."""
    try:
        while True:
            answers = yield plan.send(answers)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the value of a Plan[..., T] is T
    finally:
        plan.close()


def receive(
    store: Store,
    found: Scan,
    wanted: Sequence[tuple[ByteRange, NDArray[np.uint8]]],
    *,
    in_flight: int,
    coming: Coming = NOTHING,
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
    coming : Coming, optional
        What is under way to some of these arrays already.

    Yields
    ------
    int
        Which of `wanted` is complete, while others are under way.

    Notes
    -----
    Round trips: one, or none where everything is in memory. Requests: one for each range and for each 8 MiB.
    """
    layout, held, missing = found.layout, found.segments, []
    early, arriving = coming
    left = [0] * len(wanted)
    owners = {
        at: number
        for at, one in enumerate(early)
        for number, (_, place) in enumerate(wanted)
        if np.may_share_memory(one.memory, place)
    }
    strays = [one for at, one in enumerate(early) if at not in owners]
    if strays:  # what is nowhere where it was thought to be is bytes of the file all the same
        arriving = iter(list(arriving))
        held += Segments((one.asked.start, one.place[: max(0, layout.size - one.asked.start)]) for one in strays)
    for number, (where, place) in enumerate(wanted):
        mine = [early[at].asked for at, owner in owners.items() if owner == number]
        for have in held.ranges:
            start, stop = max(have.start, where.start), min(have.stop, where.stop)
            if start < stop:
                known = np.frombuffer(held.run(start)[: stop - start], np.uint8)
                place[start - where.start : stop - where.start] = known
        gaps = without([where], [*held.ranges, *mine])
        missing += [(number, gap, place.data[gap.start - where.start : gap.stop - where.start]) for gap in gaps]
        left[number] = len(gaps) + len(mine)
        if not left[number]:
            yield number
    parts = [(gap, place) for _, gap, place in missing]
    with contextlib.closing(fill(store, layout.key, parts, etag=layout.etag, in_flight=in_flight)) as came:
        for number in chain((owners[at] for at in arriving if at in owners), (missing[at][0] for at, _ in came)):
            left[number] -= 1
            if not left[number]:
                yield number
