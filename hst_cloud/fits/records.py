"""What the index keeps of a file, as bytes: the format of one record, and its way back.

A record has three parts. *layout* is JSON in UTF-8::

    {"size": 168000000, "hdus": [["SCI", 1, 23040, 46080, 46080, 33600512, -32, [2048, 4096]], ...], "tables": [7, 8]}

with name, version, the four offsets of header and data, BITPIX and the shape of each HDU, and the numbers of the HDUs
whose data are kept.
*headers* is the headers of all HDUs, one after another; *tables* the data of those HDUs, with their fill. Both are the
file's own bytes: to compress them would save six parts of seven, and take four times as long to read as all the rest.

A checksum of all three, and of what they are filed under, makes sure that nothing is taken for a layout but what was
written as one: SHA-256 of the layout and of the CRC-32 of the two long parts, for which SHA-256 would take three times
as long.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from hst_cloud.fits.layout import Scan
from hst_cloud.fits.structure import HDUExtent, Layout
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["SMALL_TABLES", "Record", "as_blob", "packed", "unpacked"]

SMALL_TABLES = ("D2IMARR", "WCSDVARR")
"""Names of the HDUs whose data are kept: the distortion tables, which every WCS of ACS/WFC and WFC3/UVIS needs.

FITS WCS Paper IV draft, as `astropy.wcs` reads it; 64 x 32 float32 each: DrizzlePac Handbook 1.4.
"""

LARGEST_TABLE = 64 * 1024
"""Bytes of the largest of them that is kept: eight times what they have been seen to have."""


class Record(NamedTuple):
    """What is kept of one version of one file."""

    layout: bytes
    headers: bytes
    tables: bytes
    checksum: bytes

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self))


def packed(found: Scan, address: str) -> Record | None:
    """Return the record of what a scan found at `address`; None if it cannot be kept.

    It cannot where the store names no version, or a weak one (RFC 9110, sec. 8.8.1: its bytes may differ), since
    nothing would tell when it is out of date; or where no HDU was found, as in a compressed file.
    """
    layout = found.layout
    if layout.etag is None or layout.etag.startswith("W/") or not layout.hdus:
        return None
    headers = [found.segments.find(*hdu.header) for hdu in layout.hdus]
    small = [
        (number, found.segments.find(*_filled(hdu, layout.size)))
        for number, hdu in enumerate(layout.hdus)
        if hdu.name in SMALL_TABLES and 0 < hdu.data.size <= LARGEST_TABLE
    ]
    tables = [(number, data) for number, data in small if data]
    if not all(headers):
        return None
    text = {
        "size": layout.size,
        "hdus": [[hdu.name, hdu.ver, *hdu.header, *hdu.data, hdu.bitpix, hdu.shape] for hdu in layout.hdus],
        "tables": [number for number, _ in tables],
    }
    parts = (
        json.dumps(text, separators=(",", ":")).encode(),
        b"".join(data for data in headers if data),
        b"".join(data for _, data in tables),
    )
    return Record(*parts, _checksum(parts, as_blob(address), as_blob(layout.etag)))


def unpacked(record: Record, key: str, address: str, etag: bytes) -> Scan | None:
    """Return the scan that a record was made of, less the bytes that are not kept; None if the record is damaged.

    Parameters
    ----------
    record : Record
        What was kept. A damaged one may hold anything.
    key : str
        Object key.
    address : str
        Where the object lies.
    etag : bytes
        The version that it was kept for, as `as_blob` gives it.
    """
    if not all(isinstance(part, bytes) for part in (*record, etag)):  # a damaged row may have numbers and texts
        return None
    *parts, checksum = record
    if _checksum(parts, as_blob(address), etag) != checksum:
        return None
    text = json.loads(record.layout)
    hdus = tuple(
        HDUExtent(
            name=name,
            ver=ver,
            header=ByteRange(begin, start),
            data=ByteRange(data, stop),
            bitpix=bits,
            shape=tuple(shape),
        )
        for name, ver, begin, start, data, stop, bits, shape in text["hdus"]
    )
    ranges = [hdu.header for hdu in hdus]
    kept = [_filled(hdus[number], text["size"]) for number in text["tables"]]
    segments = Segments([*_pieces(record.headers, ranges), *_pieces(record.tables, kept)])
    version = etag.decode("utf-8", "surrogatepass")
    return Scan(layout=Layout(key=key, size=text["size"], etag=version, hdus=hdus), segments=segments, known=True)


def as_blob(text: str) -> bytes:
    """Return any string as bytes: paths may hold what UTF-8 does not."""
    return text.encode("utf-8", "surrogatepass")


def _filled(hdu: HDUExtent, size: int) -> ByteRange:
    """Return where the data and their fill lie: with it, they and the headers around them are one piece."""
    return ByteRange(hdu.data.start, min(hdu.stop, size))


def _pieces(stored: bytes, ranges: Sequence[ByteRange]) -> list[tuple[int, bytes | memoryview]]:
    data = memoryview(stored)
    edges = pairwise(accumulate((wanted.size for wanted in ranges), initial=0))
    return [(wanted.start, data[a:b]) for wanted, (a, b) in zip(ranges, edges, strict=True)]


def _checksum(parts: Sequence[bytes], address: bytes, etag: bytes) -> bytes:
    layout, *long = parts
    sums = repr([len(address), len(etag), *[(len(part), zlib.crc32(part)) for part in long]])
    return hashlib.sha256(b"".join([sums.encode(), address, etag, layout])).digest()
