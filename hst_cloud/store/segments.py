"""Bytes of an object that are in memory: pieces that came from here and there, found again by their place."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from hst_cloud.values import ByteRange

__all__ = ["Segments"]


class Segments:
    """Bytes of one object that are in memory: immutable, so threads may share it.

    What it is made of is kept as it is and neither copied nor changed; parts that touch or overlap are joined, which
    copies them.
    """

    __slots__ = ("_parts", "_starts")

    def __init__(self, parts: Iterable[tuple[int, bytes | memoryview]] = ()) -> None:
        self._parts = _joined(parts)
        self._starts = [start for start, _ in self._parts]

    def __add__(self, other: Segments) -> Segments:
        return Segments([*self._parts, *other._parts])

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(len(data) for _, data in self._parts)

    @property
    def ranges(self) -> list[ByteRange]:
        """Which bytes are held: sorted, and none touches another."""
        return [ByteRange(start, start + len(data)) for start, data in self._parts]

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

    def reach(self, start: int) -> int:
        """Return where the bytes end that are held without a gap from `start` on; `start` if there are none."""
        at = bisect_right(self._starts, start) - 1
        return max(start, self._starts[at] + len(self._parts[at][1])) if at >= 0 else start


def _joined(parts: Iterable[tuple[int, bytes | memoryview]]) -> list[tuple[int, bytes | memoryview]]:
    """Return sorted parts in which those that touch or overlap are one."""
    joined: list[tuple[int, list[bytes | memoryview], int]] = []  # start, pieces, stop
    for start, data in sorted(parts, key=lambda p: (p[0], -len(p[1]))):  # what holds another whole comes first
        if not data:
            continue
        if joined and start <= joined[-1][2]:
            first, pieces, stop = joined[-1]
            fresh = memoryview(data)[stop - start :]
            joined[-1] = (first, [*pieces, fresh] if fresh else pieces, stop + len(fresh))
        else:
            joined.append((start, [data], start + len(data)))
    return [(start, pieces[0] if len(pieces) == 1 else b"".join(pieces)) for start, pieces, _ in joined]
