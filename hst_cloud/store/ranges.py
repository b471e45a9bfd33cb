"""Arithmetic of byte ranges: which requests a set of wanted ranges becomes, and how the answers fit together again.

A request takes the latency before its first byte, whatever it asks for, but many can wait at the same time; and one
connection carries only a part of the link. So ranges that lie close are read as one, with the gap between them; long
ones are split over connections; and what lies far apart is asked for by itself, all at once.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Generator, Iterable, Sequence

from hst_cloud.errors import HSTCloudError
from hst_cloud.store.drive import Job, run_many
from hst_cloud.store.link import REQUEST, Link, as_link
from hst_cloud.store.memory import unwritten
from hst_cloud.store.objects import Concurrent, Piece, Store, one_version
from hst_cloud.store.plan import Plan
from hst_cloud.store.policy import S3
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["GAP", "MEMORY", "PART", "arrange", "coalesce", "fetch", "fill", "split", "unwritten"]

GAP = 256 * 1024
"""Bytes between two ranges that cost less to read than to skip where 64 connections share a link of 1 GB/s with 20 ms
of latency, each of which could have carried 300 kB in that time."""

PART = 8 * 1024 * 1024
"""Bytes that one request carries at most: AWS, "Performance guidelines for Amazon S3", recommends 8 to 16 MB."""

STREAMS = 16
"""Large requests that the store has under way at a time: `hst_cloud.store.streams`."""

MEMORY = 256 * 1024 * 1024
"""Bytes of the requests of one call, gaps included, above which no gap is read."""


def arrange(
    ranges: Iterable[ByteRange],
    *,
    link: Link | None = None,
    in_flight: int = S3.in_flight,
    files: int = 1,
    few: bool = False,
    memory: int = MEMORY,
) -> list[ByteRange]:
    """Return the requests that bring `ranges` soonest: one span, a few, or many, long ones split.

    Parameters
    ----------
    ranges : iterable of ByteRange
        What is wanted, in any order; they may overlap, and empty ones are dropped.
    link : Link, optional
        What lies between here and the bucket; by default what ``HST_CLOUD_LINK`` names.
    in_flight : int, optional
        Requests in flight at a time.
    files : int, optional
        Objects that are read like this at the same time: they share the link and the requests in flight, so that the
        more there are, the less a split gains and the less a gap may cost.
    few : bool, optional
        Split nothing of at most 8 MiB: the fewest requests, although more of them were sooner done.
    memory : int, optional
        Bytes of the requests, gaps included. No gap is read that leads beyond it.

    Returns
    -------
    list of ByteRange
        Sorted and disjoint; together they hold every wanted byte once, and none has more than 8 MiB. By
        `Link.seconds` they cost no more than the wanted ranges by themselves, nor than one span where that fits into
        `memory`, either of them split or not.
    """
    link = as_link(link)
    files = max(1, min(files, in_flight))  # more are not read at a time
    exact = coalesce(ranges, gap=0)
    if not exact:
        return []
    candidates = {len(exact): exact}  # by their number: they differ in which gaps are closed
    closed = _closed(exact, link, in_flight, files, memory)
    candidates.setdefault(len(closed), closed)
    if exact[-1].stop - exact[0].start <= memory:
        candidates.setdefault(1, [ByteRange(exact[0].start, exact[-1].stop)])
    best: list[list[ByteRange]] = []
    least = math.inf
    for runs in candidates.values():
        sizes = [stop - start for start, stop in runs]
        size = sum(sizes)
        part = PART if few else min(PART, -(-size // _useful(size, link, in_flight, files)))
        for counts in _counts(sizes, part):
            largest = max(-(-one // count) for one, count in zip(sizes, counts, strict=True))
            cost = link.estimate(sum(counts), size, largest, in_flight=in_flight, files=files)
            if cost < least:
                best, least = [_parts(run, count) for run, count in zip(runs, counts, strict=True)], cost
    return [piece for pieces in best for piece in pieces]


def _counts(sizes: Sequence[int], part: int) -> list[list[int]]:
    """Return how many requests each of `sizes` may be: as few as may be, and of about `part` bytes."""
    if max(sizes) <= part:
        return [[1] * len(sizes)]
    return [[-(-size // PART) for size in sizes], [-(-size // _near(size, part)) for size in sizes]]


def _closed(exact: Sequence[ByteRange], link: Link, in_flight: int, files: int, memory: int) -> list[ByteRange]:
    """Return `exact` with the gaps up to a size closed: the size that makes them cheapest and fits into `memory`."""
    gaps = sorted(b.start - a.stop for a, b in itertools.pairwise(exact))
    size, count = sum(wanted.size for wanted in exact), len(exact)
    best, widest = math.inf, 0
    for gap, equal in itertools.groupby([0, *gaps]):
        closed = len(list(equal)) if gap else 0
        size, count = size + gap * closed, count - closed
        if size > memory:
            break
        requests = max(count, _useful(size, link, in_flight, files))
        cost = link.estimate(requests, size, size / requests, in_flight=in_flight, files=files)
        if cost < best:
            best, widest = cost, gap
    return coalesce(exact, gap=widest)


def _useful(size: int, link: Link, in_flight: int, files: int) -> int:
    """Return how many requests for `size` bytes pay: each one more saves more than it costs, until the link is full."""
    # The derivative of size / (n * bandwidth) + n * REQUEST is zero here.
    best = math.sqrt(size / (link.bandwidth * REQUEST))
    most = min(link.aggregate / files / link.bandwidth, in_flight / files)
    return max(1, min(round(best), math.ceil(most)))


def _near(size: int, part: int) -> int:
    """Return the size of parts, nearest to `part`, that `size` is a whole number of."""
    return min(PART, -(-size // max(1, round(size / part))))


def coalesce(ranges: Iterable[ByteRange], *, gap: int = GAP) -> list[ByteRange]:
    """Return the sorted, disjoint ranges that cover `ranges`, joining those at most `gap` bytes apart."""
    merged: list[ByteRange] = []
    reach = -math.inf
    for wanted in sorted(ranges):
        start, stop = wanted
        if stop <= start:
            continue
        if start <= reach:
            if stop > merged[-1].stop:
                merged[-1] = ByteRange(merged[-1].start, stop)
        else:
            merged.append(wanted)
        reach = merged[-1].stop + gap
    return merged


def split(wanted: ByteRange, *, part: int = PART) -> list[ByteRange]:
    """Return consecutive ranges of at most `part` bytes, nearly equal in size, that make up `wanted`."""
    return _parts(wanted, max(1, -(-wanted.size // part)))


def _parts(wanted: ByteRange, count: int) -> list[ByteRange]:
    if count == 1:
        return [wanted]
    edges = [wanted.start + wanted.size * i // count for i in range(count + 1)]
    return [ByteRange(a, b) for a, b in itertools.pairwise(edges)]


def fetch(
    store: Store,
    key: str,
    ranges: Sequence[ByteRange],
    *,
    etag: str | None,
    held: Segments | None = None,
    link: Link | None = None,
    in_flight: int = S3.in_flight,
    few: bool = False,
) -> Segments:
    """Read `ranges` of one version of an object in one batch: one round trip.

    Parameters
    ----------
    store : Store
        Where to read.
    key : str
        Object key.
    ranges : sequence of ByteRange
        What is wanted, as `arrange` takes it.
    etag : str or None
        The version that must be read; None for the one that is there.
    held : Segments, optional
        What is in memory of that version: the beginning of a range that it has is not read again. The result holds
        these bytes, too.
    link : Link, optional
        What the requests are arranged for.
    in_flight : int, optional
        Requests in flight at a time that they are arranged for.
    few : bool, optional
        As for `arrange`.

    Notes
    -----
    Requests: as `arrange` says, and none for what is held. Bytes are received where they stay: the largest copy that
    is made is of what is held.
    """
    held = held or Segments()
    known = [(wanted, held.run(wanted.start)[: wanted.size]) for wanted in ranges if wanted.size > 0]
    parts: list[tuple[int, bytes | memoryview]] = [(wanted.start, have) for wanted, have in known]
    ends = {start + len(have): have for start, have in sorted(parts, key=lambda part: len(part[1]))}
    missing = [ByteRange(wanted.start + len(have), wanted.stop) for wanted, have in known]
    asks = arrange(missing, link=link, in_flight=in_flight, few=few)
    places: list[memoryview | None] = []
    runs: list[tuple[list[ByteRange], memoryview | None, int]] = []
    for run in _runs(asks):
        have = ends.get(run[0].start, b"")
        if len(run) == 1 and not have:  # one answer: it is kept as it comes
            runs.append((run, None, 0))
            places.append(None)
            continue
        begin = run[0].start - len(have)
        buffer = unwritten(run[-1].stop - begin)
        buffer[: len(have)] = have
        runs.append((run, buffer, len(have)))
        places += [buffer[ask.start - begin : ask.stop - begin] for ask in run]
    came = iter(_receive(store, key, asks, places, etag))
    for run, whole, had in runs:
        pieces = [next(came) for _ in run]
        size = had + sum(len(piece) for piece in pieces)  # the object may end within the run
        parts.append((run[0].start - had, pieces[0] if whole is None else whole[:size].toreadonly()))
    return Segments(parts)


def fill(
    store: Store,
    key: str,
    wanted: Sequence[tuple[ByteRange, memoryview]],
    *,
    etag: str | None,
    link: Link | None = None,
    in_flight: int = S3.in_flight,
) -> Generator[tuple[int, Piece]]:
    """Read ranges of one version of an object into buffers of their sizes, with all connections at work.

    Parameters
    ----------
    store, key, etag, link
        As in `fetch`.
    wanted : sequence of (ByteRange, memoryview)
        What to read, and the writable bytes that it is received into, such as
        ``memoryview(numpy.empty(shape, ">f4")).cast("B")``. Nothing is joined: gaps are not read.
    in_flight : int, optional
        Requests in flight at a time, as for `hst_cloud.store.drive.run_many`.

    Yields
    ------
    position : int
        Which of `wanted` has come, while others are under way.
    piece : Piece
        What came: a view of its buffer, shorter than that where the object ends earlier. Of nothing, nothing is known.

    Raises
    ------
    StoreError
        As `Store.read` does. The buffers then hold anything. With no `etag`, that they are of one version is told
        at the end.

    Notes
    -----
    Requests: one for each range, and more for a long one, none of more than 8 MiB.
    """
    size = sum(where.size for where, _ in wanted)
    count = max(_useful(size, as_link(link), in_flight, 1), -(-size // PART))
    # As many as fit into whole turns of the store's threads: else most of these are idle in the last one.
    turns = -(-count // STREAMS)
    part = max(1, -(-size // (count if turns == 1 else turns * STREAMS)))
    asks = [split(where, part=_near(where.size, part)) if where.size > 0 else [] for where, _ in wanted]
    some = [position for position, parts in enumerate(asks) if parts]
    yield from ((position, Piece(b"", 0, None)) for position, parts in enumerate(asks) if not parts)
    # Of what a thread reads, a batch is a batch of the store's own; what the loop reads is all sent at once anyway.
    batches = [[position] for position in some] if isinstance(store, Concurrent) else [some] * bool(some)
    jobs = [
        Job(
            key,
            _answers([ask for position in batch for ask in asks[position]]),
            etag,
            [place for position in batch for place in _places(*wanted[position], asks[position])],
        )
        for batch in batches
    ]
    first: list[Piece] = []
    with contextlib.closing(run_many(store, jobs, in_flight=in_flight)) as results:  # type: ignore[type-var, arg-type]
        for at, result in results:
            if isinstance(result, HSTCloudError):
                raise result
            first.append(result[0])
            came = iter(result)
            for position in batches[at]:
                size = sum(len(next(came).data) for _ in asks[position])
                data = wanted[position][1][:size].toreadonly()
                yield position, result[0]._replace(data=data)  # type: ignore[arg-type]  # a view serves
    one_version(key, first, store.address(key))


def _places(where: ByteRange, place: memoryview, asks: Iterable[ByteRange]) -> list[memoryview]:
    return [place[ask.start - where.start : ask.stop - where.start] for ask in asks]


def _answers(asks: Sequence[ByteRange]) -> Plan[ByteRange, Piece, Sequence[Piece]]:
    return (yield asks)


def _runs(asks: Iterable[ByteRange]) -> list[list[ByteRange]]:
    """Return sorted ranges in groups of those that follow one another without a gap."""
    runs: list[list[ByteRange]] = []
    for ask in asks:
        if runs and runs[-1][-1].stop == ask.start:
            runs[-1].append(ask)
        else:
            runs.append([ask])
    return runs


def _receive(
    store: Store, key: str, asks: Sequence[ByteRange], places: Sequence[memoryview | None], etag: str | None
) -> list[bytes | memoryview]:
    """Return the bytes of every ask, in its place where it has one."""
    if not asks:
        return []
    if isinstance(store, Concurrent):
        return [piece.data for piece in store.read_into(key, asks, places, etag=etag)]
    pieces = [piece.data for piece in store.read(key, asks, etag=etag)]
    for piece, place in zip(pieces, places, strict=True):
        if place is not None:
            place[: len(piece)] = piece
    return list(pieces)
