"""What a file's name and size tell before anything is read: the full frames of the detectors that have most files.

The size of an object that holds whole frames of a detector is that of their pixels and little more, so it tells the
detector and that nothing is missing. Headers differ by some cards from file to file, so where they lie is known to
within `~hst_cloud.fits.predict.SLACK`: near enough to ask for all of them at once.
Like everything in `hst_cloud.fits.predict` this is a guess, which the walk proves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hst_cloud.fits.predict import SMALL, USUAL, siblings, suffix_of
from hst_cloud.fits.structure import BLOCK, HDUExtent, Layout
from hst_cloud.values import ByteRange

__all__ = ["expected", "full_frame"]


class _Frame(NamedTuple):
    """Files of one detector's full frame: sets of images of one shape, and small HDUs behind them."""

    letter: str
    suffixes: frozenset[str]
    shape: tuple[int, int]
    sets: int
    images: tuple[tuple[str, int], ...]
    """Names and BITPIX of the images of a set."""
    primary: int
    """Blocks of the primary header, as a rule."""
    science: int
    """Blocks of a header of SCI; those of the other images have two."""


_CHIP = (("SCI", -32), ("ERR", -32), ("DQ", 16))
# Headers by public listings: jbqf03gjq_flc has 8 blocks and 7, jczgx1ppq_flc 8 and 6, icb701osq_flc 9 and 7,
# iczgs3ygq_flt 8 and 4.
_FRAMES = (
    _Frame("j", frozenset({"flt", "flc"}), (2048, 4096), 2, _CHIP, 8, 7),  # ACS/WFC
    _Frame("i", frozenset({"flt", "flc"}), (2051, 4096), 2, _CHIP, 9, 7),  # WFC3/UVIS
    _Frame("i", frozenset({"flt"}), (1014, 1014), 1, (*_CHIP, ("SAMP", 16), ("TIME", -32)), 8, 4),  # WFC3/IR
)


def expected(key: str, size: int | None, *, place: str = "") -> Layout | None:
    """Return the layout that a file is most likely to have; None if nothing is known of files like it.

    That of a file like it which this process has seen at the same `place`, or that of a full frame of its detector.
    """
    return siblings().find(key, size, place=place) or full_frame(key, size)


def full_frame(key: str, size: int | None) -> Layout | None:
    """Return where everything usually lies in a file whose name and size tell that it is a full frame; else None.

    The last HDU stands for all the small ones behind the images.
    """
    if size is None or not key.endswith(".fits"):
        return None
    letter, suffix = key.rpartition("/")[2][:1], suffix_of(key)
    for frame in _FRAMES:
        pixels = math.prod(frame.shape)
        least = frame.sets * pixels * sum(abs(bitpix) // 8 for _, bitpix in frame.images)
        # Headers, tables of distortion and headerlets take 0.2 to 1.2 MB in public listings.
        if letter == frame.letter and suffix in frame.suffixes and 0 < size - least < 2 * SMALL:
            return Layout(key=key, size=size, etag=None, hdus=_hdus(frame, size))
    return None


def _hdus(frame: _Frame, size: int) -> tuple[HDUExtent, ...]:
    empty = ByteRange(frame.primary * BLOCK, frame.primary * BLOCK)
    hdus = [HDUExtent(name="PRIMARY", ver=1, header=ByteRange(0, empty.start), data=empty, bitpix=8)]
    for ver in range(1, frame.sets + 1):
        for name, bitpix in frame.images:
            at = hdus[-1].stop
            header = ByteRange(at, at + (frame.science * BLOCK if name == "SCI" else USUAL))
            data = ByteRange(header.stop, header.stop + abs(bitpix) // 8 * math.prod(frame.shape))
            hdus.append(HDUExtent(name=name, ver=ver, header=header, data=data, bitpix=bitpix, shape=frame.shape))
    end = max(size, hdus[-1].stop)
    behind = HDUExtent(name="", ver=1, header=ByteRange(hdus[-1].stop, end), data=ByteRange(end, end))
    return (*hdus, behind)
