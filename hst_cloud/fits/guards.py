"""What a header may claim: sizes, tables and tiles are weighed by arithmetic before anything is made of them.

Bytes of a bucket are trusted less than what reads them: astropy and the C code of its codecs believe a header. So the
walk over the headers calls `check_header` for each HDU, and whoever is about to have astropy decode a heap or tiles
calls `check_data` for it. No codec is switched off.

Sources: FITS Standard 4.0, sec. 4.4.1, 7.2, 7.3 and 10; RFC 1952; White (1992) on HCOMPRESS; the decoders of CFITSIO.
"""

from __future__ import annotations

import functools
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hst_cloud.errors import FormatError
from hst_cloud.fits.structure import CARD, STORED, Cards, HDUExtent

__all__ = ["ALLOWANCE", "RATIO", "check_data", "check_header", "has_heap", "most_inflated"]

RATIO = 200
"""What compressed bytes may become, times their number: real images become 2 to 10 times as many."""

ALLOWANCE = 192 * 1024 * 1024
"""Bytes that they may become in any case: an image of zeros compresses a thousandfold and is no bomb.

ldfd01vnq_counts_a.fits.gz, two images of COS with few counts, becomes 168 MB from 0.5 MB.
"""

TILE_ALLOWANCE = 16 * 1024 * 1024
"""Bytes that one tile may become unseen."""

FIELDS = 999  # columns at most: FITS Standard 4.0, sec. 7.3.1
_DEFLATE = 1032  # bytes that one byte of gzip becomes at most: https://zlib.net/zlib_tech.html
_GZIP = 31  # zlib's word for the header of gzip

_TABLES = (b"BINTABLE", b"TABLE   ", b"A3DTABLE")
# Bytes of an element: FITS Standard 4.0, table 18; bits are counted in eights.
_SIZES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_FORM = re.compile(r"(\d{0,10})([LXBIJKAEDCMPQ])([LXBIJKAEDCM]?)")
_CODECS = frozenset({"GZIP_1", "GZIP_2", "RICE_1", "RICE_ONE", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS"})

_Heap: TypeAlias = "NDArray[np.uint8]"
_Numbers: TypeAlias = "NDArray[np.int64]"


class _Column(NamedTuple):
    """One column of a binary table."""

    name: str
    code: str
    offset: int
    """First byte within a row."""
    element: int
    """Bytes of an element, of a column of variable length of one in the heap; an eighth of one for bits is 0."""


def most_inflated(size: int) -> int:
    """Return how many bytes `size` compressed ones may become."""
    return max(ALLOWANCE, RATIO * size)


# --- Headers ---------------------------------------------------------------------------------------------------------


def check_header(header: bytes, hdu: HDUExtent, key: str) -> None:
    """Raise unless the table, or the image in tiles, that a header describes can be what the data hold.

    Parameters
    ----------
    header : bytes
        The header's blocks. Of images nothing is looked at: `~hst_cloud.fits.structure.extent` has judged them.
    hdu : HDUExtent
        Where the HDU lies.
    key : str
        Object key, for the message.

    Raises
    ------
    FormatError
        TFIELDS, TFORMn, TBCOLn, THEAP, or the geometry of tiles make no sense.

    Notes
    -----
    Requests: none. Time: 20 us for a table if one of the same columns was seen before; nothing for other HDUs.
    """
    if header[11:19] not in _TABLES or not header.startswith(b"XTENSION"):
        return
    cards = Cards(header)
    count = cards.integer("TFIELDS")
    if count is None or not 0 <= count <= FIELDS:
        _refuse(key, hdu, f"TFIELDS is {_shown(cards, 'TFIELDS')}: expected 0 to {FIELDS}")
    if len(hdu.shape) != 2 or hdu.bitpix != 8 or cards.integer("GCOUNT", 1) != 1:
        _refuse(key, hdu, f"a table has NAXIS = {len(hdu.shape)} and BITPIX = {hdu.bitpix}: expected 2, 8, GCOUNT = 1")
    if header[11:19] == b"TABLE   ":
        _check_text(cards, count, hdu, key)
        return
    heap = cards.integer("THEAP", math.prod(hdu.shape))
    if heap is None or not math.prod(hdu.shape) <= heap <= max(hdu.data.size, math.prod(hdu.shape)):
        _refuse(key, hdu, f"THEAP is {heap}: expected {math.prod(hdu.shape)} to {hdu.data.size}, within the data")
    try:
        width = _layout(_shaping(header), count)[1]
    except ValueError as error:
        _refuse(key, hdu, str(error))
    if width != hdu.shape[1]:
        _refuse(key, hdu, f"NAXIS1 is {hdu.shape[1]}, but the TFORMn of its {count} columns add up to {width} bytes")
    if cards.field("ZIMAGE").lstrip(b"= ").startswith(b"T"):
        _check_geometry(cards, hdu, key)


def _shaping(header: bytes) -> bytes:
    """Return the cards that say what a row is made of: the same in all files of one kind."""
    cards: list[bytes] = np.frombuffer(header, f"V{CARD}", len(header) // CARD).tolist()
    return b"".join([card for card in cards if card[:5] in {b"TFORM", b"TTYPE"}])


@functools.lru_cache(512)
def _layout(shaping: bytes, count: int) -> tuple[tuple[_Column, ...], int]:
    """Return the columns of a binary table, and the bytes of a row.

    Raises
    ------
    ValueError
        A column is of no form.
    """
    cards = Cards(shaping)
    columns, offset = [], 0
    for number in range(1, count + 1):
        form = cards.text(f"TFORM{number}")
        match = _FORM.match(form)
        if match is None or (match[2] in "PQ" and (match[1] not in {"", "0", "1"} or not match[3])):
            message = f"TFORM{number} is {form[:40]!r}: expected a form such as '1J', '16A' or '1PE(100)'"
            raise ValueError(message)
        repeat = int(match[1] or 1)
        size = -(-repeat // 8) if match[2] == "X" else repeat * _SIZES[match[2]]
        element = match[3] if match[2] in "PQ" and repeat else match[2]
        code = match[2] if repeat else "0"
        columns.append(_Column(cards.text(f"TTYPE{number}"), code, offset, _SIZES.get(element, 0)))
        offset += size
    return tuple(columns), offset


def _check_text(cards: Cards, count: int, hdu: HDUExtent, key: str) -> None:
    """Raise unless the columns of a table of text lie within its rows."""
    for number in range(1, count + 1):
        start, form = cards.integer(f"TBCOL{number}"), cards.text(f"TFORM{number}")
        match = re.match(r"[AIFED](\d{1,9})", form)
        if start is None or match is None or not 1 <= start <= hdu.shape[1] - int(match[1]) + 1:
            place = f"TBCOL{number} = {_shown(cards, f'TBCOL{number}')}, TFORM{number} = {form[:40]!r}"
            _refuse(key, hdu, f"{place}: expected a field within the {hdu.shape[1]} bytes of a row")


def _check_geometry(cards: Cards, hdu: HDUExtent, key: str) -> None:
    """Raise unless the rows of a table are the tiles of an image that it may well be."""
    codec, bitpix = cards.text("ZCMPTYPE"), cards.integer("ZBITPIX")
    if codec not in _CODECS or bitpix not in STORED:
        found = f"ZCMPTYPE = {codec[:40]!r} and ZBITPIX = {bitpix}"
        _refuse(key, hdu, f"{found}: expected one of {', '.join(sorted(_CODECS))}, and one of {sorted(STORED)}")
    shape, tile = _shapes(cards)
    if min(shape, default=-1) < 0 or min(tile) < 1:
        _refuse(key, hdu, f"an image in tiles has ZNAXISn = {shape} and ZTILEn = {tile}: expected positive numbers")
    tiles = math.prod(-(-n // t) for n, t in zip(shape, tile, strict=True))
    if tiles != hdu.shape[0]:
        _refuse(key, hdu, f"NAXIS2 is {hdu.shape[0]}: expected {tiles}, one row for each tile of {tile} of {shape}")
    size = math.prod(shape) * abs(bitpix) // 8
    if size > most_inflated(hdu.data.size):
        _refuse(key, hdu, f"{hdu.data.size} bytes claim to become {size}: expected at most {RATIO} times as many")
    block, pixel = _setting(cards, "BLOCKSIZE", 32), _setting(cards, "BYTEPIX", 4)
    if codec.startswith("RICE") and (block not in {16, 32} or pixel not in {1, 2, 4}):  # sec. 10.4.1
        _refuse(key, hdu, f"RICE has BLOCKSIZE = {block} and BYTEPIX = {pixel}: expected 16 or 32, and 1, 2 or 4")


def _shapes(cards: Cards) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape of an image and of its tiles, in the order of numpy; -1 for what is missing."""
    axes = range(min(cards.integer("ZNAXIS") or 0, FIELDS), 0, -1)
    return (
        tuple(_integer(cards, f"ZNAXIS{axis}") for axis in axes),
        tuple(_integer(cards, f"ZTILE{axis}") for axis in axes),
    )


def _integer(cards: Cards, keyword: str) -> int:
    found = cards.integer(keyword)
    return -1 if found is None else found


def _setting(cards: Cards, name: str, default: int) -> int | None:
    for number in range(1, 10):
        if cards.text(f"ZNAME{number}").upper() == name:
            return cards.integer(f"ZVAL{number}")
    return default


def _shown(cards: Cards, keyword: str) -> str:
    return cards.field(keyword).decode("ascii", "replace").partition("/")[0].lstrip("= ").rstrip()[:30] or "missing"


# --- Data ------------------------------------------------------------------------------------------------------------


def has_heap(header: bytes) -> bool:
    """Tell whether the table with this header has columns of variable length, which `check_data` looks at."""
    if header[11:19] not in {b"BINTABLE", b"A3DTABLE"}:
        return False
    return any(column.code in "PQ" for column in _columns(header))


def _columns(header: bytes) -> tuple[_Column, ...]:
    return _layout(_shaping(header), min(max(Cards(header).integer("TFIELDS") or 0, 0), FIELDS))[0]


def check_data(header: bytes, hdu: HDUExtent, data: bytes | memoryview, key: str) -> None:
    """Raise unless all that the rows of a table say of its heap is true, so that decoding it is safe.

    Parameters
    ----------
    header : bytes
        The header, which `check_header` has passed.
    hdu : HDUExtent
        Where the HDU lies.
    data : bytes
        All of its data, those of the heap included.
    key : str
        Object key, for the message.

    Raises
    ------
    FormatError
        A descriptor points outside the heap, or they tell of more than there is; or a tile is none of its codec, or
        would become more than its image has room for.

    Notes
    -----
    Requests: none. Time: 10 ns a row and column. Tiles of gzip of more than 16 kB are inflated once for it.
    """
    cards = Cards(header)
    rows, width = hdu.shape
    start = cards.integer("THEAP", rows * width) or 0
    everything = np.frombuffer(data, np.uint8)[: hdu.data.size]  # without the fill
    table, heap = everything[: rows * width].reshape(rows, width), everything[start:]
    places = {}
    for column in _columns(header):
        if column.code not in "PQ" or not rows:
            continue
        kind = ">i4" if column.code == "P" else ">i8"
        pairs = np.ascontiguousarray(table[:, column.offset : column.offset + 2 * int(kind[-1])]).view(kind)
        counts, offsets = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
        offsets[counts == 0] = 0  # of nothing, the place is not defined: FITS Standard 4.0, sec. 7.3.5
        sizes = _sizes(counts, column.element, heap.size)
        outside = (counts < 0) | (offsets < 0) | (offsets > heap.size - sizes)
        if outside.any():
            row = int(np.argmax(outside))
            place = f"row {row} of column {column.name[:40]!r} has {counts[row]} elements at byte {offsets[row]}"
            _refuse(key, hdu, f"{place}: expected them within the {heap.size} bytes of the heap")
        if int(sizes.sum()) > heap.size:
            found = f"the rows of column {column.name[:40]!r} have {int(sizes.sum())} bytes in a heap of {heap.size}"
            _refuse(key, hdu, f"{found}: expected that they do not overlap")
        places[column.name] = (offsets, sizes)
    if cards.field("ZIMAGE").lstrip(b"= ").startswith(b"T"):
        fault = _tiles_fault(cards, heap, places)
        if fault:
            _refuse(key, hdu, fault)


def _sizes(counts: _Numbers, element: int, most: int) -> _Numbers:
    """Return the bytes of so many elements; more than there are where that is so, whatever the product."""
    counts = np.minimum(counts, most + 1)
    eighths: _Numbers = -(-counts // 8) if not element else np.minimum(counts * element, most + 1)
    return eighths


def _tiles_fault(cards: Cards, heap: _Heap, places: Mapping[str, tuple[_Numbers, _Numbers]]) -> str:
    """Return what is wrong with a tile, for its decoder would not see it; empty where nothing is."""
    shape, tile = _shapes(cards)
    elements = _elements(shape, tile)
    codec = cards.text("ZCMPTYPE")
    fault = ""
    if "COMPRESSED_DATA" in places:
        offsets, sizes = places["COMPRESSED_DATA"]
        if codec == "HCOMPRESS_1":
            fault = _hcompress_fault(heap, offsets, sizes, elements)
        elif codec == "PLIO_1":
            fault = _plio_fault(heap, offsets, sizes)
        elif codec.startswith("GZIP"):
            fault = _gzip_fault(heap, offsets, sizes, elements)
    if not fault and "GZIP_COMPRESSED_DATA" in places:
        offsets, sizes = places["GZIP_COMPRESSED_DATA"]
        fault = _gzip_fault(heap, offsets, sizes, elements)
    return fault


def _elements(shape: Sequence[int], tile: Sequence[int]) -> _Numbers:
    """Return the pixels of each tile; those at the edges have fewer."""
    counts = np.ones(1, np.int64)
    for length, step in zip(shape, tile, strict=True):
        along = np.minimum(step, length - np.arange(0, length, step, dtype=np.int64))
        counts = np.multiply.outer(counts, along).reshape(-1)
    return counts


def _beginnings(heap: _Heap, offsets: _Numbers, sizes: _Numbers, count: int) -> _Heap:
    """Return the first bytes of each tile, zeros where it has fewer."""
    at = offsets[:, None] + np.arange(count)
    inside = np.arange(count) < sizes[:, None]
    return np.where(inside, heap[np.where(inside, at, 0)], 0).astype(np.uint8)


def _hcompress_fault(heap: _Heap, offsets: _Numbers, sizes: _Numbers, elements: _Numbers) -> str:
    # Two bytes of magic, nx, ny and scale in four, the sum of all pixels in eight, three numbers of bit planes.
    used = sizes > 0
    heads = _beginnings(heap, offsets, sizes, 25)
    numbers = np.ascontiguousarray(heads[:, 2:10]).view(">i4").astype(np.int64)
    good = (sizes >= 25) & (heads[:, 0] == 0xDD) & (heads[:, 1] == 0x99) & (numbers > 0).all(axis=1)
    good &= (numbers[:, 0] * numbers[:, 1] == elements) & (heads[:, 22:25] <= 63).all(axis=1)
    bad = used & ~good
    if not bad.any():
        return ""
    row = int(np.argmax(bad))
    found = f"{numbers[row, 0]} x {numbers[row, 1]} pixels in {sizes[row]} bytes"
    return f"tile {row} of HCOMPRESS_1 has {found}: expected the {elements[row]} pixels of its place"


def _plio_fault(heap: _Heap, offsets: _Numbers, sizes: _Numbers) -> str:
    # Line lists of IRAF: with a positive third word it is their length, and they begin with the fourth; else the second
    # word is the length of their header, and the fourth and fifth their length.
    used = sizes > 0
    words = _beginnings(heap, offsets, sizes, 14).view(">i2").astype(np.int64)
    old = words[:, 2] > 0
    length = np.where(old, words[:, 2], (words[:, 4] << 15) + words[:, 3])
    good = (length >= 0) & (2 * length <= sizes) & (old | ((words[:, 1] >= 0) & (sizes >= 10))) & (sizes >= 6)
    bad = used & ~good
    if not bad.any():
        return ""
    row = int(np.argmax(bad))
    return f"tile {row} of PLIO_1 tells of {length[row]} words: expected at most the {sizes[row] // 2} that it has"


def _gzip_fault(heap: _Heap, offsets: _Numbers, sizes: _Numbers, elements: _Numbers) -> str:
    for row in np.flatnonzero(sizes * _DEFLATE > TILE_ALLOWANCE).tolist():
        most = int(elements[row]) * 8
        packed = heap[offsets[row] : offsets[row] + sizes[row]]
        machine = zlib.decompressobj(_GZIP)
        try:
            inflated = len(machine.decompress(packed.data, most + 1))
        except zlib.error as error:
            return f"tile {row} is no gzip: {error}"
        if inflated > most or machine.unused_data:
            return f"tile {row} of gzip becomes more than {most} bytes: expected {elements[row]} pixels"
    return ""


def _refuse(key: str, hdu: HDUExtent, fault: str) -> NoReturn:
    which = f"HDU {hdu.name or '(no name)'},{hdu.ver} at byte {hdu.header.start}"
    message = f"{key} is no FITS file that can be read, for its {which} contradicts itself: {fault}"
    raise FormatError(message, key=key)
