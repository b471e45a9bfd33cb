"""A FITS file as byte ranges: where each HDU's header and data lie, found by walking the headers alone.

The walk reads no more of a header than the keywords that say how long the data are (FITS Standard 4.0, sec. 4.4.1 and
6 to 7), proves each HDU's position by the one before, and stops where the bytes no longer look like FITS:
judging them is astropy's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.store.ranges import Segments
from hst_cloud.values import ByteRange

__all__ = ["BLOCK", "HDUExtent", "Layout", "Scan", "header_stop", "scan"]

BLOCK = 2880  # FITS Standard 4.0, sec. 3.1
CARD = 80

FIRST = 64 * 1024
"""Bytes that hold almost every HST header: 285 cards of an ACS flc take 23 kB, 595 of a drizzled HDRTAB 48 kB."""

FIRST_DRIZZLED = 128 * 1024
"""The same for primary headers of drizzled products, which list their inputs: 857 cards, 69 kB."""

SMALL = 1024 * 1024
"""Bytes of a file's remainder that are read at once rather than walked: less than one more round trip costs."""

LONGEST_HEADER = 4 * 1024 * 1024
"""Bytes after which a header without END is given up: fifty times the longest of HST."""

_INTEGER = re.compile(rb"= *([+-]?\d{1,18}) *(?:/.*)?")
_END = b"END" + b" " * 77


@dataclass(frozen=True, slots=True, kw_only=True)
class HDUExtent:
    """Where one HDU lies."""

    name: str
    """EXTNAME, or PRIMARY, or empty."""
    ver: int
    """EXTVER; 1 where there is none."""
    header: ByteRange
    """The header's blocks."""
    data: ByteRange
    """The data without the fill of the last block; empty where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything of one version of one file lies."""

    key: str
    """Object key."""
    size: int
    """Bytes of the object."""
    etag: str | None
    """The version; None where the store has none."""
    hdus: tuple[HDUExtent, ...]
    """The HDUs, in order, as far as the walk came."""

    @property
    def missing(self) -> int:
        """Bytes of data that the headers promise beyond the end of the object."""
        return max(0, self.hdus[-1].data.stop - self.size) if self.hdus else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A walk's result: the layout, and the bytes that were read for it."""

    layout: Layout
    """Where everything lies."""
    segments: Segments
    """What was read: all headers, and what came with them."""


def scan(key: str) -> Plan[ByteRange, Piece, Scan]:
    """Walk the headers of a file.

    Notes
    -----
    Round trips: one for each HDU that is not already in memory, and at most one in all for a remainder of 1 MiB.
    """
    drizzled = re.search(r"_dr[zc]\.fits", key) is not None
    answers = yield [ByteRange(0, FIRST_DRIZZLED if drizzled else FIRST)]
    size, etag = answers[0].size, answers[0].etag
    held = Segments([(0, answers[0].data)])
    hdus: list[HDUExtent] = []
    at = 0
    while at < size:
        stop = header_stop(held.run(at))
        if stop is None:
            have = len(held.run(at))
            if have >= LONGEST_HEADER or at + have >= size or (have >= BLOCK and not _plausible(held.run(at), at)):
                break
            answers = yield [_window(at + have, size)]
            held += Segments([(at + have, answers[0].data)])
            continue
        extent = _extent(bytes(held.run(at)[:stop]), at)
        if extent is None:
            break
        hdus.append(extent)
        at = extent.data.start + -(-extent.data.size // BLOCK) * BLOCK
    return Scan(layout=Layout(key=key, size=size, etag=etag, hdus=tuple(hdus)), segments=held)


def header_stop(buf: Sequence[int] | memoryview | bytes) -> int | None:
    """Return the offset just past the block that holds END, or None if there is none in `buf`."""
    view = memoryview(buf) if not isinstance(buf, memoryview) else buf  # type: ignore[arg-type]
    for block in range(0, len(view) - BLOCK + 1, BLOCK):
        cards = bytes(view[block : block + BLOCK])
        at = cards.find(_END)
        while at > 0 and at % CARD:
            at = cards.find(_END, at + 1)
        if at >= 0:
            return block + BLOCK
    return None


def _window(start: int, size: int) -> ByteRange:
    """Return what to read next at `start`: a header's worth, or all that is left of a file when that is little."""
    return ByteRange(start, size if size - start <= SMALL else start + FIRST)


def _plausible(buf: memoryview, at: int) -> bool:
    start = bytes(buf[:9])
    return start == b"SIMPLE  =" if at == 0 else start == b"XTENSION="


def _extent(header: bytes, at: int) -> HDUExtent | None:
    """Return where the HDU with this header at `at` lies, or None if the header does not tell."""
    if not _plausible(memoryview(header), at):
        return None
    cards = {header[i : i + 8].rstrip(): header[i + 8 : i + CARD] for i in range(len(header) - CARD, -1, -CARD)}

    def integer(keyword: str, default: int | None = None) -> int | None:
        match = _INTEGER.fullmatch(cards.get(keyword.encode(), b""))
        return int(match[1]) if match else default

    bitpix, naxis = integer("BITPIX"), integer("NAXIS")
    if bitpix is None or naxis is None or not 0 <= naxis <= 999:  # FITS Standard, sec. 4.4.1.1
        return None
    axes = [integer(f"NAXIS{i}") for i in range(1, naxis + 1)]
    lengths = [n for n in axes if n is not None and n >= 0]
    if len(lengths) != naxis:
        return None
    pcount, gcount = integer("PCOUNT", 0) or 0, integer("GCOUNT", 1)
    groups = naxis > 0 and lengths[0] == 0 and cards.get(b"GROUPS", b"").lstrip(b"= ").startswith(b"T")
    elements = math.prod(lengths[1:] if groups else lengths) if naxis else 0
    if at == 0 and not groups:
        pcount, gcount = 0, 1  # these mean something in extensions and random groups alone: sec. 4.4.1.1
    size = abs(bitpix) // 8 * (1 if gcount is None else gcount) * (pcount + elements) if naxis else 0
    if size < 0:
        return None
    start = at + len(header)
    return HDUExtent(
        name=_text(cards.get(b"EXTNAME")) or ("PRIMARY" if at == 0 else ""),
        ver=integer("EXTVER", 1) or 1,
        header=ByteRange(at, start),
        data=ByteRange(start, start + size),
    )


def _text(card: bytes | None) -> str:
    match = re.match(rb"= *'((?:[^']|'')*)'", card or b"")
    return match[1].decode("ascii", "replace").replace("''", "'").strip() if match else ""
