"""HDUs that read an open file of ours: sections in one batch, and tables that are checked before they are decoded.

They are astropy's own classes but for that, and private: astropy does not know them, so that files that are opened
elsewhere are not touched.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.hdu.compressed.compbintable import _CompBinTableHDU as TheirCompBinTableHDU
from astropy.io.fits.hdu.compressed.section import CompImageSection
from astropy.io.fits.hdu.image import Section

from hst_cloud.errors import FormatError, HSTCloudError
from hst_cloud.fits.guards import REJECTED
from hst_cloud.fits.pixels import Box, box_array, box_ranges
from hst_cloud.fits.rangefile import RangeFile
from hst_cloud.values import ByteRange

__all__ = ["adopt", "section_ranges"]


def adopt(hdu: Any) -> None:
    """Make an HDU of astropy's, of a file that is a `RangeFile`, one of ours; of other kinds leave it as it is."""
    hdu.__class__ = _OURS.get(type(hdu), type(hdu))
    if isinstance(hdu, _CompImageHDU):
        hdu._bintable.__class__ = _CompBinTableHDU  # noqa: SLF001


def _file_of(hdu: Any) -> RangeFile | None:
    file = getattr(getattr(hdu, "_file", None), "_file", None)
    return file if isinstance(file, RangeFile) else None


def _indices(key: Any, length: int) -> range:
    """Return the indices along one axis that `key` selects, or all that it may select."""
    if isinstance(key, slice):
        return range(*key.indices(length))
    if hasattr(key, "__index__") and not np.iterable(key):
        at = key.__index__()
        return range(at % length, at % length + 1) if -length <= at < length else range(0)
    return range(length)  # an array of integers or booleans


def _aligned(key: Any, shape: Sequence[int]) -> tuple[Any, ...]:
    """Return `key` as one index for each axis, as far as it names them."""
    keys = key if isinstance(key, tuple) else (key,)
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    return keys[:at] + (slice(None),) * (len(shape) - len(keys) + 1) + keys[at + 1 :] if at < len(keys) else keys


def _forward(key: Any, shape: Sequence[int]) -> Any:
    """Return `key` with slices that end before they begin made empty: for them astropy reads whatever lies behind."""
    keys = _aligned(key, shape)
    backward = [_is_backward(k, n) for k, n in zip(keys, shape, strict=False)]
    if not any(backward) or len(keys) > len(shape):
        return key
    return tuple(slice(0, 0) if empty else k for k, empty in zip(keys, backward, strict=True))


def _is_backward(key: Any, length: int) -> bool:
    if not isinstance(key, slice):
        return False
    start, stop, step = key.indices(length)
    return step == 1 and stop < start


def section_ranges(key: Any, shape: Sequence[int], itemsize: int, offset: int) -> list[ByteRange]:
    """Return the byte ranges that hold ``array[key]`` of an array that is stored at `offset` in C order.

    One range for each run of rows along the last axis that is not wholly selected.
    """
    picks = [_indices(k, n) for k, n in zip(_aligned(key, shape), shape, strict=False)]
    picks += [range(n) for n in shape[len(picks) :]]
    if not picks or any(len(p) == 0 for p in picks):
        return []
    strides = [itemsize * math.prod(shape[i + 1 :]) for i in range(len(shape))]
    # Axes from the end on that are wholly selected are one with the axis before them.
    axis = len(shape) - 1
    while axis > 0 and len(picks[axis]) == shape[axis]:
        axis -= 1
    low, high = min(picks[axis]) * strides[axis], (max(picks[axis]) + 1) * strides[axis]
    starts = (
        offset + sum(i * s for i, s in zip(index, strides, strict=False)) for index in itertools.product(*picks[:axis])
    )
    return [ByteRange(start + low, start + high) for start in starts]


def _box(key: Any, shape: Sequence[int]) -> Box | None:
    """Return the box that `key` selects, if it is several rows of a part of an image: what is asked for most."""
    if len(shape) != 2 or not (isinstance(key, tuple) and len(key) == 2):
        return None
    if not all(isinstance(one, slice) and one.step in {None, 1} for one in key):
        return None
    (y0, y1, _), (x0, x1, _) = (one.indices(length) for one, length in zip(key, shape, strict=True))
    return ((y0, y1), (x0, x1)) if y1 - y0 > 1 and 0 < x1 - x0 < shape[1] else None


class _OneBatch(Section):
    """astropy's section, for which all rows are read ahead in one batch.

    astropy reads and decodes row by row, in 5 ms for a hundred; boxes are made of all rows at once, in one, and are
    equal to the last bit and in their type.
    """

    def __getitem__(self, key: Any) -> Any:
        file = _file_of(self.hdu)
        if file is None:
            return super().__getitem__(key)
        key = _forward(key, self.hdu.shape)
        box = _box(key, self.hdu.shape)
        image = None if box is None else file.image(self.hdu.fileinfo()["hdrLoc"])
        if box is not None and image is not None and image.shape == self.hdu.shape:
            ranges = box_ranges(image, box)
            if ranges[-1].stop <= file.layout.size:
                return box_array(image, box, file.fetch(ranges))
        ranges = section_ranges(key, self.hdu.shape, abs(self.hdu._orig_bitpix) // 8, self.hdu._data_offset)  # noqa: SLF001
        with file.ahead(ranges):
            return Section(self.hdu)[key]  # which asks itself for every row


class _OneBatchCompressed(CompImageSection):
    """astropy's section of a tile-compressed image, for which the table and its heap are read ahead in one batch."""

    def __getitem__(self, key: Any) -> Any:
        table = self.hdu._bintable  # noqa: SLF001
        file = _file_of(table)
        if file is None:
            return super().__getitem__(key)
        with _decoding(self.hdu, file, also=IndexError):  # an index is the caller's
            return super().__getitem__(key)


@contextmanager
def _decoding(hdu: Any, file: RangeFile, *, also: type[Exception] = HSTCloudError) -> Generator[None]:
    """Read what astropy is about to decode and check it; let no error of astropy's but `also` reach the user."""
    try:
        with file.table(hdu.fileinfo()["hdrLoc"]):
            yield
    except (HSTCloudError, also):
        raise
    except REJECTED as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{file.name} has data in HDU {hdu.name},{hdu.ver} that cannot be decoded: {said}"
        raise FormatError(message, key=file.layout.key) from error


class _Decoded:
    """A table whose rows are checked before astropy makes anything of them."""

    def _get_tbdata(self) -> Any:  # astropy's one place where the rows of a table are read
        file = _file_of(self)
        if file is None:
            return super()._get_tbdata()  # type: ignore[misc]  # of astropy's class, which follows this one
        with _decoding(self, file):
            return super()._get_tbdata()  # type: ignore[misc]  # as above


class _BinTableHDU(_Decoded, fits.BinTableHDU):
    pass


class _TableHDU(_Decoded, fits.TableHDU):
    pass


class _CompBinTableHDU(_Decoded, TheirCompBinTableHDU):
    pass


class _PrimaryHDU(fits.PrimaryHDU):
    @property
    def section(self) -> Section:
        return _OneBatch(self)


class _ImageHDU(fits.ImageHDU):
    @property
    def section(self) -> Section:
        return _OneBatch(self)


class _CompImageHDU(fits.CompImageHDU):
    @property
    def section(self) -> CompImageSection:
        return _OneBatchCompressed(self)


_OURS: dict[type, type] = {
    fits.PrimaryHDU: _PrimaryHDU,
    fits.ImageHDU: _ImageHDU,
    fits.CompImageHDU: _CompImageHDU,
    fits.BinTableHDU: _BinTableHDU,
    fits.TableHDU: _TableHDU,
}
for _theirs, _ours in _OURS.items():
    # hdul.info() prints the name of the class, and a pickle or copy of an HDU is astropy's.
    _ours.__name__ = _theirs.__name__
