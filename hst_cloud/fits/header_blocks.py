"""The headers of a few HDUs of a file, and nothing else of it: how HDUs are named, and the plan that finds them.

`hst_cloud.fits.layout` walks a file to its end. Here the walk ends with the last header that is wanted: of most files
the first block holds it. Where headers lie in one file of an instrument and suffix, they probably lie in the next:
they are asked for at once, and each position is still proven by walking.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from hst_cloud.errors import FormatError, QueryError, TruncatedFileError
from hst_cloud.fits.layout import Scan, guessed
from hst_cloud.fits.predict import FIRST, FIRST_DRIZZLED, Guess, windows
from hst_cloud.fits.structure import LONGEST_HEADER, HDUExtent, Layout, extent, header_stop, longer, plausible
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["HDULike", "HDUName", "Kin", "as_hdu", "blocks_in", "header_blocks", "kind_of"]

PRIMARY = 32 * 1024
"""Bytes that hold the primary headers of HST's files: 285 cards of an ACS flc take 23 kB, 360 of an spt 29 kB.

Half of what `~hst_cloud.fits.predict.FIRST` has for the first extension's sake: of thousands of files, bytes count.
"""

NEXT = 32 * 1024
"""Bytes read at a header's beginning when nobody knows how long it is: those of SCI extensions take 14 to 23 kB."""

Kin: TypeAlias = "MutableMapping[tuple[str, str], tuple[HDUExtent, ...]]"
"""The HDUs of the file that was read last, of each instrument and suffix; one for each call, may be shared by plans."""

HDULike: TypeAlias = "int | str | tuple[str, int] | HDUName"
"""An HDU as astropy's ``hdul[...]`` takes it, or as a text: ``3``, ``"SCI"``, ``("SCI", 2)``, ``"SCI,2"``, ``"3"``."""

_HDU = re.compile(r"\s*(?:(\d{1,5})|([^,\s][^,]*?)\s*(?:,\s*(\d{1,9}))?)\s*")
# Compressed files cannot be read in parts: RFC 1952; the bzip2 and xz formats; Unix compress.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x1f\x9d", b"PK\x03\x04")


@dataclass(frozen=True, slots=True)
class HDUName:
    """Which HDU of a file is meant."""

    index: int | None = None
    """Its position, the primary's being zero; None where it is named."""
    name: str = ""
    """EXTNAME, upper case."""
    ver: int | None = None
    """EXTVER; None for the first of that name."""

    def __str__(self) -> str:
        if self.index is not None:
            return str(self.index)
        return self.name if self.ver is None else f"{self.name},{self.ver}"

    @property
    def primary(self) -> bool:
        """Whether it is the first HDU whatever is in the file."""
        return self.index == 0 or (self.name == "PRIMARY" and self.ver is None)

    def means(self, index: int, hdu: HDUExtent) -> bool:
        """Tell whether the HDU at `index` is meant, as `astropy.io.fits.HDUList.index_of` does."""
        if self.index is not None:
            return self.index == index
        named = hdu.name.upper() == self.name or (self.name == "PRIMARY" and index == 0)
        return named and self.ver in {None, hdu.ver}


def as_hdu(like: HDULike) -> HDUName:
    """Return the HDU that `like` names.

    Raises
    ------
    QueryError
        It names none; or counts from the end, which would need the whole file to be walked.
    """
    if isinstance(like, HDUName):
        return like
    match like:
        case np.integer():
            return as_hdu(int(like))
        case (str(name), np.integer() as ver):
            return as_hdu((name, int(ver)))
        case bool() | (str(), bool()):
            pass
        case int() if like >= 0:
            return HDUName(index=like)
        case (str(name), int(ver)) if name.strip():
            return HDUName(name=name.strip().upper(), ver=ver)
        case str() if (found := _HDU.fullmatch(like)) is not None:
            index, text, number = found.groups()
            if index is not None:
                return HDUName(index=int(index))
            return HDUName(name=text.upper(), ver=None if number is None else int(number))
        case _:
            pass
    message = f"hdu={like!r} names no HDU: expected a position from 0, or a name such as 'SCI', 'SCI,2' or ('SCI', 2)"
    raise QueryError(message)


def blocks_in(found: Scan, wanted: Sequence[HDUName]) -> list[bytes | None] | None:
    """Return the headers of some HDUs of a file that was walked; None if the walk may have missed one of them."""
    layout = found.layout
    if layout.missing:
        return None
    places = [next((hdu for i, hdu in enumerate(layout.hdus) if name.means(i, hdu)), None) for name in wanted]
    views = [None if hdu is None else found.segments.find(*hdu.header) for hdu in places]
    return [None if view is None else bytes(view) for view in views]


def header_blocks(
    key: str, wanted: Sequence[HDUName], kin: Kin, sibling: Layout | None = None
) -> Plan[ByteRange, Piece, list[bytes | None]]:
    """Read the headers of some HDUs.

    Parameters
    ----------
    key : str
        Object key.
    wanted : sequence of HDUName
        Which HDUs.
    kin : Kin
        What other files of the call were like; what this one is like is added.
    sibling : Layout, optional
        What this one may be like as long as `kin` knows of none.

    Returns
    -------
    list of bytes or None
        The blocks of each header; None where the file has no such HDU.

    Raises
    ------
    FormatError
        The object is no FITS file, or is compressed.
    TruncatedFileError
        The object ends before an HDU that is wanted may begin.

    Notes
    -----
    Requests and round trips: one if the first block holds all that is wanted, as it does for the primary header and in
    most files for the first extension's. Else one more for each HDU up to the last one that is wanted, all of them in
    the first round trip if another file of its kind was read before. To find that there is no such HDU, all are read.
    """
    kind = kind_of(key)
    like = kin.get(kind) or (() if sibling is None else _as_far_as(sibling.hdus, wanted))
    asked = _first(key, wanted, like)
    asked, answers = yield from guessed(asked, None if len(asked) == 1 else _first(key, wanted, ()))
    size = answers[0].size
    held = Segments((one.start, answer.data) for one, answer in zip(asked, answers, strict=True))
    found: list[bytes | None] = [None] * len(wanted)
    hdus: list[HDUExtent] = []
    at = 0
    while None in found and at < size:
        run = held.run(at)
        stop = header_stop(run)
        have = len(run)
        if stop is None and at + have < size and have < LONGEST_HEADER and (not have or plausible(run, at)):
            answers = yield [ByteRange(at + have, min(at + have + longer(have, NEXT), size))]
            held += Segments([(at + have, answers[0].data)])
            continue
        if stop is None and have >= LONGEST_HEADER and plausible(run, at):
            message = f"{key} has a header at byte {at} without END in its {have} bytes: it is not read any further"
            raise FormatError(message, key=key)
        if stop is None or not plausible(run, at):
            _check(key, run, at, size)
            break  # what is behind the last HDU is none of FITS's: Standard 4.0, sec. 3.5
        header = bytes(run[:stop])
        if not hdus and all(hdu.primary for hdu in wanted):  # how long its data are does not matter
            return [header] * len(wanted)
        hdu = extent(header, at, key)
        if hdu is None:
            _check(key, run, at, size)
            break
        found = [
            header if old is None and name.means(len(hdus), hdu) else old
            for old, name in zip(found, wanted, strict=True)
        ]
        hdus.append(hdu)
        at = hdu.stop
    if None in found and (not hdus or hdus[-1].data.stop > size):
        raise _truncated(key, size, hdus)
    kin[kind] = tuple(hdus)
    return found


def _as_far_as(hdus: Sequence[HDUExtent], wanted: Sequence[HDUName]) -> Sequence[HDUExtent]:
    """Return `hdus` up to the last one that is wanted; all of them where one is not there."""
    places = [next((i for i, hdu in enumerate(hdus) if name.means(i, hdu)), len(hdus)) for name in wanted]
    return hdus[: max(places) + 1]


def kind_of(key: str) -> tuple[str, str]:
    """Return what files that are alike have in common: the instrument's letter, and the suffix with the extension."""
    name = key.rpartition("/")[2]
    return name[:1], name.rpartition("_")[2]


def _first(key: str, wanted: Sequence[HDUName], kin: Sequence[HDUExtent]) -> list[ByteRange]:
    drizzled = kind_of(key)[1].startswith(("drz", "drc"))
    if all(hdu.primary for hdu in wanted):
        return [ByteRange(0, FIRST_DRIZZLED if drizzled else PRIMARY)]
    if len(kin) > 1:
        return windows(Guess(headers=tuple(hdu.header for hdu in kin)), 0, None)
    return [ByteRange(0, FIRST_DRIZZLED if drizzled else FIRST)]


def _check(key: str, run: memoryview, at: int, size: int) -> None:
    """Raise if the file has not even a primary header."""
    if at:
        return
    start = bytes(run[:30])
    if start.startswith(_COMPRESSED):
        message = f"{key} is compressed and cannot be read in parts. hst_cloud.open reads it whole."
        raise FormatError(message, key=key)
    if plausible(run, 0) and len(run) >= size:
        raise _truncated(key, size, ())
    message = f"{key} ({size} bytes) is no FITS file: expected a header that begins with 'SIMPLE  =', found {start!r}"
    raise FormatError(message, key=key)


def _truncated(key: str, size: int, hdus: Sequence[HDUExtent]) -> TruncatedFileError:
    where = f"within HDU {len(hdus) - 1} ({hdus[-1].name})" if hdus else "within its first header"
    message = (
        f"{key} is truncated: the object ends after {size} bytes, {where}, and what is wanted may lie behind. "
        "The copy in the bucket is incomplete; MAST's may not be: try hst_cloud.open(..., source='mast')."
    )
    return TruncatedFileError(message, key=key)
