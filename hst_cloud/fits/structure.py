"""What a FITS header says of the bytes behind it: where an HDU lies, and what it is called.

No more of a header is read than the keywords that say how long the data are (FITS Standard 4.0, sec. 4.4.1 and
6 to 7), its name, and its end.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from hst_cloud.errors import FormatError
from hst_cloud.markup import html_table
from hst_cloud.values import ByteRange

__all__ = [
    "BLOCK",
    "CARD",
    "LONGEST_HEADER",
    "STORED",
    "Cards",
    "HDUExtent",
    "Layout",
    "extent",
    "header_stop",
    "longer",
    "number",
    "plausible",
]

BLOCK = 2880  # FITS Standard 4.0, sec. 3.1
CARD = 80

LONGEST_HEADER = 16 * 1024 * 1024
"""Bytes after which a header without END is given up: two hundred times the longest of HST."""

STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""How the pixels of each BITPIX are stored: FITS Standard 4.0, table 8."""

_INTEGER = re.compile(rb"= *([+-]?\d{1,18}) *(?:/.*)?")
_NUMBER = re.compile(rb"= *([+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?) *(?:/.*)?")
_TEXT = re.compile(rb"= *'((?:[^']|'')*)'")
_END = b"END" + b" " * 77
_END_START = np.frombuffer(b"END ", np.uint32)[0]
_SEVERAL = 16 * BLOCK // CARD  # cards that are looked at together: more than most headers have
_NAME = 8  # bytes of a keyword, and of the machine word that names are compared by


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
    bitpix: int = 0
    """Keyword BITPIX; 0 where nobody looked."""
    shape: tuple[int, ...] = ()
    """Shape of the stored array, in the order of numpy; empty where there is none, or nobody looked."""

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

    def _repr_html_(self) -> str:
        rows = (
            (at, hdu.name, hdu.ver, " x ".join(map(str, hdu.shape)), hdu.header.start, hdu.header.size, hdu.data.size)
            for at, hdu in enumerate(self.hdus)
        )
        title = f"{self.key}: {self.size:,} bytes, version {self.etag or 'not known'}"
        head = ("HDU", "name", "version", "shape", "begins at", "bytes of header", "bytes of data")
        return html_table(title, rows, head=head, total=len(self.hdus))


def header_stop(buf: memoryview | bytes) -> int | None:
    """Return the offset just past the block that holds END, or None if there is none in `buf`."""
    # Four bytes of each card are looked at, without a copy: ten times faster than a search through all of them.
    starts = np.frombuffer(buf, np.uint32, len(buf) // BLOCK * BLOCK // 4)[:: CARD // 4]
    for first in range(0, len(starts), _SEVERAL):  # most of what is at hand may be data
        for card in np.flatnonzero(starts[first : first + _SEVERAL] == _END_START).tolist():
            at = (first + card) * CARD
            if bytes(buf[at : at + CARD]) == _END:
                return int(at // BLOCK + 1) * BLOCK
    return None


def longer(have: int, least: int) -> int:
    """Return how many bytes more to ask for of a header of which so many hold no END: as many again, within bounds."""
    return min(max(least, have), max(LONGEST_HEADER - have, BLOCK))


def plausible(buf: memoryview | bytes, at: int) -> bool:
    """Tell whether what begins with `buf` at the offset `at` of a file may be a header."""
    start = bytes(buf[:9])
    return start == b"SIMPLE  =" if at == 0 else start == b"XTENSION="


def number(card: bytes) -> float | None:
    """Return the value of a card that is a number as almost all are written; None where it is not."""
    match = _NUMBER.fullmatch(card, _NAME)
    return float(match[1]) if match else None


class Cards:
    """The cards of a header by their keywords, found when they are asked for: of several the first, as astropy has it.

    To find one takes a microsecond; to take all of them apart would take a hundred.

    Parameters
    ----------
    header : bytes or memoryview
        A header, or its blocks.
    """

    __slots__ = ("_header", "_names")

    def __init__(self, header: bytes | memoryview) -> None:
        self._header = header
        names = np.frombuffer(header, np.uint64, len(header) // CARD * CARD // _NAME)
        self._names = names[:: CARD // _NAME].tobytes()

    def __contains__(self, keyword: str) -> bool:
        return self._find(keyword) >= 0

    def card(self, keyword: str) -> bytes:
        """Return the card of a keyword; empty where there is none."""
        at = self._find(keyword)
        return bytes(self._header[at * CARD : (at + 1) * CARD]) if at >= 0 else b""

    def field(self, keyword: str) -> bytes:
        """Return what stands behind a keyword; empty where there is none."""
        return self.card(keyword)[_NAME:]

    def integer(self, keyword: str, default: int | None = None) -> int | None:
        """Return the value of a keyword that is an integer, or `default` where there is none."""
        match = _INTEGER.fullmatch(self.field(keyword))
        return int(match[1]) if match else default

    def number(self, keyword: str) -> float | None:
        """Return the value of a keyword that is a number, as `number` reads it; None where there is none."""
        return number(self.card(keyword))

    def text(self, keyword: str) -> str:
        """Return the value of a keyword that is a string, without blanks around it; empty where there is none."""
        match = _TEXT.match(self.field(keyword))
        return match[1].decode("ascii", "replace").replace("''", "'").strip() if match else ""

    def repeated(self, keyword: str) -> bool:
        """Tell whether a keyword may be there more than once; False where it is not."""
        return self._names.count(keyword.encode().ljust(_NAME)) > 1

    def _find(self, keyword: str) -> int:
        wanted = keyword.encode().ljust(_NAME)
        at = self._names.find(wanted)
        while at >= 0 and at % _NAME:
            at = self._names.find(wanted, at + 1)
        return at // _NAME


def extent(header: bytes, at: int, key: str = "it") -> HDUExtent | None:
    """Return where the HDU with this header at `at` lies, or None if this is no header.

    Raises
    ------
    FormatError
        It is a header, and tells nothing that can be true of the length of its data.
    """
    if not plausible(header, at):
        return None
    cards = Cards(header)
    bitpix, naxis = cards.integer("BITPIX"), cards.integer("NAXIS")
    if bitpix not in STORED:
        raise _impossible(cards, "BITPIX", at, key, f"one of {sorted(STORED)}")
    if naxis is None or not 0 <= naxis <= 999:  # FITS Standard, sec. 4.4.1.1
        raise _impossible(cards, "NAXIS", at, key, "0 to 999")
    lengths = []
    for axis in range(1, naxis + 1):
        length = cards.integer(f"NAXIS{axis}")
        if length is None or length < 0:
            raise _impossible(cards, f"NAXIS{axis}", at, key, "a length, 0 or more")
        lengths.append(length)
    pcount, gcount = cards.integer("PCOUNT", 0) or 0, cards.integer("GCOUNT", 1)
    groups = naxis > 0 and lengths[0] == 0 and cards.field("GROUPS").lstrip(b"= ").startswith(b"T")
    elements = math.prod(lengths[1:] if groups else lengths) if naxis else 0
    if at == 0 and not groups:
        pcount, gcount = 0, 1  # these mean something in extensions and random groups alone: sec. 4.4.1.1
    gcount = 1 if gcount is None else gcount
    if pcount < 0 or gcount < 0:
        raise _impossible(cards, "PCOUNT" if pcount < 0 else "GCOUNT", at, key, "a count, 0 or more")
    size = abs(bitpix) // 8 * gcount * (pcount + elements) if naxis else 0
    start = at + len(header)
    return HDUExtent(
        name=cards.text("EXTNAME") or ("PRIMARY" if at == 0 else ""),
        ver=_version(cards),
        header=ByteRange(at, start),
        data=ByteRange(start, start + size),
        bitpix=bitpix,
        shape=tuple(reversed(lengths)),
    )


def _version(cards: Cards) -> int:
    """Return EXTVER, which is 0 if it says so; 1 where there is none, or one that is no whole number of 32 bits."""
    value = cards.number("EXTVER")
    return int(value) if value is not None and value.is_integer() and abs(value) < 2**31 else 1


def _impossible(cards: Cards, keyword: str, at: int, key: str, expected: str) -> FormatError:
    found = cards.field(keyword).decode("ascii", "replace").partition("/")[0].strip("= ")[:30]
    message = f"{key} is no FITS file that can be read: its header at byte {at} has {keyword} = {found or 'nothing'}: "
    return FormatError(f"{message}expected {expected}", key=None if key == "it" else key)
