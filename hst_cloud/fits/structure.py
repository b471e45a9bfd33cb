"""What a FITS header says of the bytes behind it: where an HDU lies, and what it is called.

No more of a header is read than the keywords that say how long the data are (FITS Standard 4.0, sec. 4.4.1 and
6 to 7), its name, and its end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hst_cloud.values import ByteRange

__all__ = ["BLOCK", "CARD", "HDUExtent", "Layout", "cards_of", "extent", "header_stop", "integer", "plausible", "text"]

BLOCK = 2880  # FITS Standard 4.0, sec. 3.1
CARD = 80

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

    @property
    def stop(self) -> int:
        """Where the next HDU begins: just past the fill of the last block."""
        return self.data.start + -(-self.data.size // BLOCK) * BLOCK


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


def plausible(buf: memoryview | bytes, at: int) -> bool:
    """Tell whether what begins with `buf` at the offset `at` of a file may be a header."""
    start = bytes(buf[:9])
    return start == b"SIMPLE  =" if at == 0 else start == b"XTENSION="


def cards_of(header: bytes) -> dict[bytes, bytes]:
    """Return what stands behind each keyword; of keywords that are repeated, the first."""
    return {header[i : i + 8].rstrip(): header[i + 8 : i + CARD] for i in range(len(header) - CARD, -1, -CARD)}


def integer(cards: Mapping[bytes, bytes], keyword: str, default: int | None = None) -> int | None:
    """Return the integer value of a keyword, or `default` where there is none."""
    match = _INTEGER.fullmatch(cards.get(keyword.encode(), b""))
    return int(match[1]) if match else default


def text(cards: Mapping[bytes, bytes], keyword: str) -> str:
    """Return the value of a keyword that is a string, without trailing blanks; empty where there is none."""
    match = re.match(rb"= *'((?:[^']|'')*)'", cards.get(keyword.encode(), b""))
    return match[1].decode("ascii", "replace").replace("''", "'").strip() if match else ""


def extent(header: bytes, at: int) -> HDUExtent | None:
    """Return where the HDU with this header at `at` lies, or None if the header does not tell."""
    if not plausible(header, at):
        return None
    cards = cards_of(header)
    bitpix, naxis = integer(cards, "BITPIX"), integer(cards, "NAXIS")
    if bitpix is None or naxis is None or not 0 <= naxis <= 999:  # FITS Standard, sec. 4.4.1.1
        return None
    axes = [integer(cards, f"NAXIS{i}") for i in range(1, naxis + 1)]
    lengths = [n for n in axes if n is not None and n >= 0]
    if len(lengths) != naxis:
        return None
    pcount, gcount = integer(cards, "PCOUNT", 0) or 0, integer(cards, "GCOUNT", 1)
    groups = naxis > 0 and lengths[0] == 0 and cards.get(b"GROUPS", b"").lstrip(b"= ").startswith(b"T")
    elements = math.prod(lengths[1:] if groups else lengths) if naxis else 0
    if at == 0 and not groups:
        pcount, gcount = 0, 1  # these mean something in extensions and random groups alone: sec. 4.4.1.1
    size = abs(bitpix) // 8 * (1 if gcount is None else gcount) * (pcount + elements) if naxis else 0
    if size < 0:
        return None
    start = at + len(header)
    return HDUExtent(
        name=text(cards, "EXTNAME") or ("PRIMARY" if at == 0 else ""),
        ver=integer(cards, "EXTVER", 1) or 1,
        header=ByteRange(at, start),
        data=ByteRange(start, start + size),
    )
