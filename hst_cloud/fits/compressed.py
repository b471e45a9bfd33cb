"""Compressed files, which can only be read whole: gzip, bzip2 and xz, within bounds."""

from __future__ import annotations

import bz2
import lzma
import warnings
import zlib
from typing import Any

from hst_cloud.errors import FormatError, HSTCloudWarning
from hst_cloud.fits.layout import Scan
from hst_cloud.store.objects import Store
from hst_cloud.store.ranges import fetch
from hst_cloud.values import ByteRange

__all__ = ["inflated"]

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
    try:
        data = _decompressed(bytes(segments.run(0)), head)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        message = f"{address} cannot be decompressed: {error}"
        raise FormatError(message, key=layout.key) from error
    if len(data) > MAX_INFLATED:
        message = f"{address} inflates to more than {MAX_INFLATED} bytes"
        raise FormatError(message, key=layout.key)
    return data


def _decompressed(data: bytes, head: bytes) -> bytes:
    """Decompress every member of `data`, to at most one byte more than is allowed."""
    out = bytearray()
    while data and len(out) <= MAX_INFLATED:  # members follow one another: RFC 1952, sec. 2.2
        machine = _machine(head)
        out += machine.decompress(data, MAX_INFLATED + 1 - len(out))
        if not machine.eof and len(out) <= MAX_INFLATED:
            early = "the compressed data end too early"
            raise EOFError(early)
        data = machine.unused_data if machine.unused_data.startswith(head[:2]) else b""
    return bytes(out)


def _machine(head: bytes) -> Any:  # the three have one shape and no common type
    if head.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(wbits=31)
    return bz2.BZ2Decompressor() if head.startswith(b"BZh") else lzma.LZMADecompressor()
