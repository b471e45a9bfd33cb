"""Arithmetic of byte ranges: which requests a set of wanted ranges becomes, and how the answers fit together again.

Ranges that lie close are read as one, since a request costs as much time as `GAP` bytes; long ones are split over
connections, since one connection carries only a part of the link.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from hst_cloud.store.objects import Store
from hst_cloud.values import ByteRange

__all__ = ["GAP", "PART", "Segments", "coalesce", "fetch", "split"]

GAP = 256 * 1024
"""Bytes between two ranges that cost less to read than to skip: 90 MB/s x 20 ms / 7 connections."""

PART = 8 * 1024 * 1024
"""Bytes that one request carries at most: AWS, "Performance guidelines for Amazon S3", recommends 8 to 16 MB."""


def coalesce(ranges: Iterable[ByteRange], *, gap: int = GAP) -> list[ByteRange]:
    """Return the sorted, disjoint ranges that cover `ranges`, joining those at most `gap` bytes apart."""
    merged: list[ByteRange] = []
    for wanted in sorted(r for r in ranges if r.size > 0):
        if merged and wanted.start - merged[-1].stop <= gap:
            merged[-1] = ByteRange(merged[-1].start, max(merged[-1].stop, wanted.stop))
        else:
            merged.append(wanted)
    return merged


def split(wanted: ByteRange, *, part: int = PART) -> list[ByteRange]:
    """Return consecutive ranges of at most `part` bytes, nearly equal in size, that make up `wanted`."""
    count = max(1, -(-wanted.size // part))
    edges = [wanted.start + wanted.size * i // count for i in range(count + 1)]
    return [ByteRange(a, b) for a, b in itertools.pairwise(edges)]


class Segments:
    """Bytes of one object that are in memory: immutable, so threads may share it."""

    __slots__ = ("_parts", "_starts")

    def __init__(self, parts: Iterable[tuple[int, bytes]] = ()) -> None:
        self._parts = _joined(parts)
        self._starts = [start for start, _ in self._parts]

    def __add__(self, other: Segments) -> Segments:
        return Segments([*self._parts, *other._parts])

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(len(data) for _, data in self._parts)

    def find(self, start: int, stop: int) -> memoryview | None:
        """Return the bytes ``[start, stop)``, or None unless all of them are held."""
        at = bisect_right(self._starts, start) - 1
        if at < 0:
            return None
        begin, data = self._parts[at]
        if stop > begin + len(data):
            return None
        return memoryview(data)[start - begin : stop - begin]

    def run(self, start: int) -> memoryview:
        """Return all bytes that are held without a gap from `start` on; empty if there are none."""
        at = bisect_right(self._starts, start) - 1
        if at < 0:
            return memoryview(b"")
        begin, data = self._parts[at]
        return memoryview(data)[max(0, start - begin) :]


def _joined(parts: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return sorted parts in which those that touch or overlap are one."""
    joined: list[tuple[int, list[bytes], int]] = []  # start, pieces, stop
    for start, data in sorted(parts, key=lambda p: p[0]):
        if not data:
            continue
        if joined and start <= joined[-1][2]:
            first, pieces, stop = joined[-1]
            fresh = data[stop - start :]
            joined[-1] = (first, [*pieces, fresh], stop + len(fresh))
        else:
            joined.append((start, [data], start + len(data)))
    return [(start, pieces[0] if len(pieces) == 1 else b"".join(pieces)) for start, pieces, _ in joined]


def fetch(store: Store, key: str, ranges: Sequence[ByteRange], *, etag: str | None, gap: int = GAP) -> Segments:
    """Read `ranges` of one version of an object in one batch: one round trip.

    Notes
    -----
    Requests: one for each run of ranges no further apart than `gap`, and one more for each further 8 MiB of it.
    """
    asks = [part for run in coalesce(ranges, gap=gap) for part in split(run)]
    pieces = store.read(key, asks, etag=etag) if asks else []
    return Segments((ask.start, piece.data) for ask, piece in zip(asks, pieces, strict=True))
