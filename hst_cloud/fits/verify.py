"""Whether the bytes of a whole file are those that were meant: the checks that an object, or the file itself, allows.

That every byte is of one version, and that none is missing, is known before: reads are pinned to an ETag, and ranges
and lengths are compared with what was asked for. Here is what can be checked beyond that, the first that applies:

- the ETag of an object that was uploaded in one piece is the MD5 of its bytes;
- that of one uploaded in parts is the MD5 of the parts' MD5s, and can be compared where the size of the parts can be
  guessed (no guess that fits is no fault: the next check is tried);
- a FITS file may tell the sums of its HDUs (``DATASUM``, ``CHECKSUM``). The pipelines of HST write none.

S3 may also store a checksum with an object. It tells it in a header of an answer (``x-amz-checksum-...``) to requests
that have ``x-amz-checksum-mode: ENABLED``; what a `~hst_cloud.store.objects.Store` returns has no headers, so it is not
compared.

Sources: Amazon S3 API Reference, "Object" (ETag), and User Guide, "Checking object integrity"; FITS Standard 4.0,
sec. 4.4.2.7 and appendix J. Objects encrypted with SSE-KMS have ETags that look like an MD5 and are none; they cannot
be read anonymously.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np

from hst_cloud.errors import CorruptFileError, FormatError, HSTCloudWarning
from hst_cloud.fits.layout import Scan
from hst_cloud.fits.structure import BLOCK, LONGEST_HEADER, Cards, HDUExtent, extent, header_stop, plausible
from hst_cloud.store.objects import Store
from hst_cloud.store.ranges import fetch
from hst_cloud.values import ByteRange

__all__ = [
    "LENGTH",
    "LENGTH_AND_ETAG",
    "Read",
    "Verdict",
    "check",
    "etag_md5",
    "etag_parts",
    "fits_sums",
    "ones_complement",
    "part_sizes",
    "verified",
]

LENGTH_AND_ETAG = "length+etag only"
"""The check of a file whose content nothing tells."""

LENGTH = "length only"
"""The same, from a store that knows no versions."""

Read: TypeAlias = "Callable[[int, int], bytes | memoryview]"
"""Gives the bytes ``[start, stop)`` of a file; fewer where it ends earlier."""

_CHUNK = 4 * 1024 * 1024  # bytes read and summed at a time
_MIB = 1024 * 1024

# Sizes of parts in MiB that programs upload with, the usual ones first. AWS CLI and boto3: 8; others as their manuals
# say, or chosen so that a large object has no more than S3's 10,000 parts.
_USUAL = (8, 16, 5, 10, 15, 20, 25, 32, 50, 64, 100, 128, 256, 512, 1024)
_GUESSES = 4  # sizes that are tried: each takes an MD5 of the whole file


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check."""

    check: str
    """Which check it was: ``md5``, ``md5 of parts (8 MiB)``, ``FITS checksum (2 of 3 HDUs)``, or one of the two that
    say nothing of the content."""
    fault: str = ""
    """What was expected and what was found; empty where the bytes are the right ones as far as the check can tell."""

    @property
    def of_content(self) -> bool:
        """Whether every byte that the check covers was looked at."""
        return self.check not in {LENGTH, LENGTH_AND_ETAG}


def check(read: Read, size: int, etag: str | None) -> Verdict:
    """Compare the bytes of a whole file with what its object or the file itself tells of them.

    Parameters
    ----------
    read : callable
        Gives bytes of the file.
    size : int
        Bytes of the object; that the file has as many is for the caller to see to.
    etag : str or None
        The object's version, without quotes; None where the store has none.

    Returns
    -------
    Verdict
        Of the first check that applies.

    Notes
    -----
    Requests: none, unless `read` makes them. All bytes are read, once for each guess of the size of parts, 4 MiB at a
    time; without any check, the headers alone.
    """
    expected = etag_md5(etag)
    if expected is not None:
        found = _md5(read, 0, size).hex()
        return Verdict("md5", "" if found == expected else f"expected MD5 {expected}, as the ETag says, found {found}")
    parts = etag_parts(etag)
    if parts is not None:
        for part in part_sizes(size, parts.number):
            if _md5_of_parts(read, size, part) == parts.md5:
                return Verdict(f"md5 of parts ({part / _MIB:.10g} MiB)" if parts.number > 1 else "md5 of parts (one)")
    return _check_fits(read, size) or Verdict(LENGTH if etag is None else LENGTH_AND_ETAG)


def verified(store: Store, found: Scan) -> tuple[Scan, Verdict]:
    """Read all of a file into memory, and check it.

    Parameters
    ----------
    store : Store
        Where to read.
    found : Scan
        What a walk found.

    Returns
    -------
    tuple of (Scan, Verdict)
        The scan with all bytes, which are those that were checked; and what came of it.

    Raises
    ------
    CorruptFileError
        The bytes contradict the checksum.

    Warns
    -----
    HSTCloudWarning
        Nothing tells what the bytes ought to be.

    Notes
    -----
    Requests: one for each 8 MiB that was not read yet, many in flight. Memory: the file.
    """
    layout, address = found.layout, store.address(found.layout.key)
    everything = ByteRange(0, layout.size)
    held = fetch(store, layout.key, [everything], etag=layout.etag, held=found.segments)
    data = held.find(*everything) or memoryview(b"")
    verdict = check(lambda start, stop: data[start:stop], layout.size, layout.etag)
    if verdict.fault:
        message = f"the bytes of {address} are not the right ones: {verdict.fault}. Read it again, or from MAST"
        raise CorruptFileError(message, key=layout.key)
    if not verdict.of_content:
        message = f"{address} tells no checksum of its content: it was checked for {verdict.check}"
        warnings.warn(message, HSTCloudWarning, stacklevel=4)
    logging.getLogger("hst_cloud").debug("verified %s: %s", address, verdict.check)
    return replace(found, segments=held), verdict


# --- ETags -----------------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """What the ETag of an object that was uploaded in parts tells."""

    md5: str
    """MD5 of the MD5s of all parts, in hexadecimal."""
    number: int
    """How many parts."""


def etag_md5(etag: str | None) -> str | None:
    """Return the MD5 of an object's bytes, in lower case, if its ETag has the form of one."""
    return etag.lower() if etag is not None and re.fullmatch(r"[0-9A-Fa-f]{32}", etag) else None


def etag_parts(etag: str | None) -> Parts | None:
    """Return what the ETag of an object that was uploaded in parts tells; None if it is no such ETag."""
    match = re.fullmatch(r"([0-9A-Fa-f]{32})-([1-9][0-9]{0,4})", etag or "")
    return Parts(match[1].lower(), int(match[2])) if match else None


def part_sizes(size: int, count: int) -> list[int]:
    """Return the sizes, in bytes, that the parts of an upload of `size` bytes in `count` parts may have had.

    The usual sizes that give so many parts come first, then the smallest whole number of MiB, and of bytes, that does.
    """
    if size < count:  # no part is empty
        return []
    if count == 1:
        return [size]
    least = -(-size // count)
    guesses = [*(mib * _MIB for mib in _USUAL), -(-least // _MIB) * _MIB, least]
    return list(dict.fromkeys(guess for guess in guesses if -(-size // guess) == count))[:_GUESSES]


def _md5(read: Read, start: int, stop: int) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for data in _chunks(read, start, stop):
        digest.update(data)
    return digest.digest()


def _md5_of_parts(read: Read, size: int, part: int) -> str:
    digests = (_md5(read, start, min(start + part, size)) for start in range(0, size, part))
    return hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()


def _chunks(read: Read, start: int, stop: int) -> Iterator[bytes | memoryview]:
    """Give the bytes ``[start, stop)``, or those that there are."""
    while start < stop:
        data = read(start, min(start + _CHUNK, stop))
        if not len(data):
            return
        start += len(data)
        yield data


# --- FITS ------------------------------------------------------------------------------------------------------------


class Sums(NamedTuple):
    """What a header says of the bytes of its HDU."""

    datasum: int | None
    """Sum of the data's 32-bit words; None where it is not told."""
    checksum: bool
    """Whether CHECKSUM makes the words of the whole HDU, header and data, sum up to zero."""


def fits_sums(header: bytes) -> Sums:
    """Return what a header, of whole blocks, says of the sums of its HDU."""
    cards = Cards(header)
    told = cards.text("DATASUM")
    return Sums(int(told) if re.fullmatch(r"[0-9]{1,10}", told) else None, bool(cards.text("CHECKSUM")))


def ones_complement(data: bytes | memoryview, start: int = 0) -> int:
    """Add the 32-bit words of `data` to `start`, in ones' complement: FITS Standard 4.0, appendix J.

    Parameters
    ----------
    data : bytes
        Of a length that is a multiple of 4, and no more than 16 GiB; what is missing counts as zeros.
    start : int, optional
        The sum of what came before.
    """
    if len(data) % 4:
        data = bytes(data) + bytes(-len(data) % 4)
    total = start + int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _check_fits(read: Read, size: int) -> Verdict | None:
    """Compare the sums of all HDUs that tell them; None where none does."""
    covered = total = at = 0
    faults: list[str] = []
    while at < size:
        header = _header(read, at, size)
        where = None
        if header is not None:
            with contextlib.suppress(FormatError):  # it is for readers to refuse it
                where = extent(header, at)
        if header is None or where is None:  # no FITS, or something behind the last HDU
            break
        told = fits_sums(header)
        if told.datasum is not None or told.checksum:
            covered += 1
            faults += _faults(read, header, where, told, total)
        total += 1
        at = where.stop
    if not covered:
        return None
    return Verdict(f"FITS checksum ({covered} of {total} HDUs)", "; ".join(faults[:3]))


def _faults(read: Read, header: bytes, where: HDUExtent, told: Sums, number: int) -> Iterator[str]:
    found = 0
    for data in _chunks(read, where.data.start, where.stop):
        found = ones_complement(data, found)  # chunks but the last are of whole words
    called = f"HDU {number} ({where.name or 'without a name'})"
    if told.datasum is not None and not _same(found, told.datasum):
        yield f"{called}: expected DATASUM {told.datasum}, found {found}"
    elif told.checksum and not _same(ones_complement(header, found), 0):
        yield f"{called}: its CHECKSUM does not hold: expected a sum of zero, found {ones_complement(header, found)}"


def _same(a: int, b: int) -> bool:
    return a % 0xFFFFFFFF == b % 0xFFFFFFFF  # in ones' complement, zero has two forms


def _header(read: Read, at: int, size: int) -> bytes | None:
    """Return the header that begins at `at`, of whole blocks; None if there is none."""
    buffer = b""
    while len(buffer) < min(LONGEST_HEADER, size - at):
        data = bytes(read(at + len(buffer), min(at + max(2 * len(buffer), 16 * BLOCK), size)))
        searched = len(buffer) // BLOCK * BLOCK
        buffer += data
        if not plausible(buffer, at):
            break
        stop = header_stop(memoryview(buffer)[searched:])
        if stop is not None:
            return buffer[: searched + stop]
        if not data:
            break
    return None
