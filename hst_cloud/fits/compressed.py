"""Compressed files, which can only be read whole: gzip, bzip2 and xz, within bounds."""

from __future__ import annotations

import bz2
import lzma
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

from hst_cloud.errors import FormatError, HSTCloudWarning
from hst_cloud.fits.guards import check_data, has_heap, most_inflated
from hst_cloud.fits.layout import Scan, scan
from hst_cloud.store.objects import Piece, Store
from hst_cloud.store.plan import drive
from hst_cloud.store.ranges import fetch
from hst_cloud.values import ByteRange

__all__ = ["inflated"]

_PIECE = 4 * 1024 * 1024

MAX_COMPRESSED = 1024**3
"""Bytes of a compressed file that are read at most: it can only be read whole."""

MAX_INFLATED = 4 * 1024**3
"""Bytes that a compressed file may become: the largest uncompressed HST products are below 2 GB."""


def inflated(store: Store, found: Scan, *, stacklevel: int) -> bytes | None:
    """Read a compressed file whole and decompress it; None if it is not compressed.

    Parameters
    ----------
    store : Store
        Where to read.
    found : Scan
        What a walk found: no HDU, but the first bytes.
    stacklevel : int
        Of the warning, counted from the caller of this function.

    Raises
    ------
    FormatError
        It is compressed in a way that is not read, is larger than the bounds, or is damaged.

    Warns
    -----
    HSTCloudWarning
        All of it is read.
    """
    layout = found.layout
    address = store.address(layout.key)
    head = bytes(found.segments.run(0)[:6])
    if head.startswith((b"\x1f\x9d", b"PK\x03\x04")):
        kind = "Unix compress (.Z)" if head.startswith(b"\x1f\x9d") else "ZIP"
        message = f"{address} is compressed with {kind}, which is not read: expected FITS, gzip, bzip2 or xz"
        raise FormatError(message, key=layout.key)
    if not head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")):
        return None
    if layout.size > MAX_COMPRESSED:
        message = (
            f"{address} is compressed and has {layout.size} bytes: expected at most {MAX_COMPRESSED}. Download it."
        )
        raise FormatError(message, key=layout.key)
    message = f"{address} is compressed and cannot be read in parts: all of its {layout.size} bytes are read"
    warnings.warn(message, HSTCloudWarning, stacklevel=stacklevel + 1)
    rest = ByteRange(len(found.segments.run(0)), layout.size)
    segments = found.segments + fetch(store, layout.key, [rest], etag=layout.etag)
    most = min(MAX_INFLATED, most_inflated(layout.size))
    try:
        data = _decompressed(bytes(segments.run(0)), head, most)
    except OverflowError:
        message = f"{address} inflates from {layout.size} to more than {most} bytes: expected no more. Download it."
        raise FormatError(message, key=layout.key) from None
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        message = f"{address} cannot be decompressed: {error}"
        raise FormatError(message, key=layout.key) from error
    _check(data, address)
    return data


def _check(data: bytes, address: str) -> None:
    """Raise unless headers and heaps of a file in memory may be believed."""
    plan = scan(address, size=len(data), first=len(data))
    hdus = drive(plan, lambda asks: [Piece(data[a:b], len(data), None) for a, b in asks]).layout.hdus
    for hdu in hdus:
        header = data[slice(*hdu.header)]
        if has_heap(header) and hdu.data.stop <= len(data):
            check_data(header, hdu, memoryview(data)[slice(*hdu.data)], address)


def _decompressed(data: bytes, head: bytes, most: int) -> bytes:
    """Decompress every member of `data`; an OverflowError tells that there are more than `most` bytes."""
    out = bytearray()
    while data:  # members follow one another: RFC 1952, sec. 2.2
        machine = _machine(head)
        for piece in _pieces(machine, data):
            out += piece
            if len(out) > most:
                raise OverflowError
        data = machine.unused_data if machine.unused_data.startswith(head[:2]) else b""
    return bytes(out)


def _pieces(machine: Any, data: bytes) -> Iterator[bytes]:
    """Give what one member becomes, piece by piece."""
    while True:
        piece = machine.decompress(data, _PIECE)
        yield piece
        if machine.eof:
            return
        # zlib gives back what it has not read; the others keep it.
        data = getattr(machine, "unconsumed_tail", b"")
        if not piece and not data:
            early = "the compressed data end too early"
            raise EOFError(early)


def _machine(head: bytes) -> Any:  # the three have one shape and no common type
    if head.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(wbits=31)
    return bz2.BZ2Decompressor() if head.startswith(b"BZh") else lzma.LZMADecompressor()
