"""Sections of image HDUs: the byte ranges that hold them, and the arrays that those become, without an HDUList.

What a pixel is, astropy decides: the few keywords that scale it are read by astropy's own cards, and the arithmetic
is that of `~astropy.io.fits.ImageHDU` (FITS Standard 4.0, sec. 4.4.2.5 and 5), but for the byte order, which is the
machine's. Images that are one number have no data: the pipelines of HST write such an array as ``NAXIS = 0`` with
``NPIX1``, ``NPIX2`` and ``PIXVALUE`` (HST Data Handbooks, "null arrays"), and here it is filled.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from numpy.typing import NDArray

from hst_cloud.errors import FormatError
from hst_cloud.fits.structure import STORED, Cards, HDUExtent
from hst_cloud.store.memory import blank
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["STORED", "Box", "Image", "box_array", "box_ranges", "box_span", "card_value", "image_of", "scaled"]

Box: TypeAlias = "Sequence[tuple[int, int]]"
"""Half-open limits along each axis, in the order of numpy: ``((y0, y1), (x0, x1))``; zero-based, not empty."""

# A number as almost every card has it, 50 times faster than astropy's card, which reads the others.
_NUMBER = re.compile(rb"= *([+-]?[0-9]{1,18}(?:\.[0-9]*)?) *(?:/.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """How the pixels of one image HDU are stored, and what they mean."""

    extent: HDUExtent
    """Where the HDU lies."""
    shape: tuple[int, ...]
    """Shape of the array, in the order of numpy."""
    bitpix: int
    """Keyword BITPIX."""
    scale: float = 1
    """Keyword BSCALE."""
    zero: float = 0
    """Keyword BZERO."""
    blank: int | None = None
    """Keyword BLANK: the stored value of a pixel without one."""
    value: float | None = None
    """Keyword PIXVALUE: the value of every pixel of an array that is not stored; None where it is."""

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of the pixels in the file."""
        return np.dtype(STORED[self.bitpix])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels in memory, in the machine's byte order."""
        stored = self.stored.newbyteorder("=")
        if self.plain:
            return stored
        if self._offset:
            return np.dtype("i1") if self.bitpix == 8 else np.dtype(f"u{self.bitpix // 8}")
        if self.bitpix < 0:
            return stored
        return np.dtype("f8") if self.bitpix > 16 else np.dtype("f4")

    @property
    def plain(self) -> bool:
        """Tell whether the stored values are what they mean."""
        return self.scale == 1 and self.zero == 0 and self.blank is None

    @property
    def _offset(self) -> bool:
        """Tell whether BZERO only moves the sign: FITS Standard 4.0, table 11."""
        middle = -128 if self.bitpix == 8 else 2 ** (self.bitpix - 1) if self.bitpix > 0 else None
        return self.scale == 1 and self.zero == middle


def image_of(header: bytes | memoryview, extent: HDUExtent) -> Image | None:
    """Return how the image of this header is stored; None if the HDU is none, or one without pixels.

    Raises
    ------
    FormatError
        Its keywords make no sense.
    """
    cards = Cards(header)
    if "XTENSION" in cards and _value(cards, "XTENSION", "") != "IMAGE":
        return None
    if _value(cards, "GROUPS", False) is True:
        return None
    naxis, value, prefix = int(_value(cards, "NAXIS", 0)), None, "NAXIS"
    if naxis == 0:
        value = _value(cards, "PIXVALUE", None)
        if value is None:
            return None
        naxis, prefix = sum(f"NPIX{n}" in cards for n in (1, 2, 3)), "NPIX"
    shape = tuple(int(_value(cards, f"{prefix}{n}", 0)) for n in range(naxis, 0, -1))
    bitpix = int(_value(cards, "BITPIX", 0))
    if bitpix not in STORED:
        message = f"BITPIX of HDU {extent.name},{extent.ver} is {bitpix}: expected one of {sorted(STORED)}"
        raise FormatError(message)
    if not shape or math.prod(shape) <= 0:
        return None
    blank = _value(cards, "BLANK", None)
    return Image(
        extent=extent,
        shape=shape,
        bitpix=bitpix,
        scale=_value(cards, "BSCALE", 1),
        zero=_value(cards, "BZERO", 0),
        blank=blank if bitpix > 0 and isinstance(blank, int) else None,
        value=value,
    )


def _value(cards: Cards, keyword: str, default: Any) -> Any:
    card = cards.card(keyword)
    value = card_value(card) if card else None
    return default if value is None else value


def card_value(card: bytes) -> Any:
    """Return the value of a card, as astropy reads it; None where it has none.

    Raises
    ------
    FormatError
        astropy cannot read it.
    """
    plain = _NUMBER.fullmatch(card, 8)
    if plain:
        return float(plain[1]) if b"." in plain[1] else int(plain[1])
    try:
        value = fits.Card.fromstring(card).value
    except (VerifyError, ValueError) as error:
        message = f"the card {card.decode('ascii', 'replace').rstrip()!r} has no value that astropy can read"
        raise FormatError(message) from error
    return None if isinstance(value, fits.card.Undefined) else value


def box_ranges(image: Image, box: Box) -> list[ByteRange]:
    """Return the bytes that hold `box`: one range for each of its rows, or for all of them where they touch."""
    if image.value is not None:
        return []
    strides = _strides(image)
    # Axes from the end on that are wholly inside are one with the axis before them.
    axis = len(box) - 1
    while axis > 0 and tuple(box[axis]) == (0, image.shape[axis]):
        axis -= 1
    low, high = box[axis]
    starts = [image.extent.data.start + low * strides[axis]]
    for (first, last), stride in zip(box[:axis], strides, strict=False):
        starts = [at for start in starts for at in range(start + first * stride, start + last * stride, stride)]
    size = (high - low) * strides[axis]
    return [ByteRange(start, start + size) for start in starts]


def box_span(image: Image, box: Box) -> ByteRange:
    """Return the bytes from the first pixel of `box` to its last one, those of other pixels between them included."""
    strides = _strides(image)
    corners = [low for low, _ in box], [high - 1 for _, high in box]
    first, last = (image.extent.data.start + sum(map(operator.mul, corner, strides)) for corner in corners)
    return ByteRange(first, last + image.stored.itemsize)


def _strides(image: Image) -> list[int]:
    size = abs(image.bitpix) // 8
    return [size * math.prod(image.shape[axis + 1 :]) for axis in range(len(image.shape))]


def box_array(image: Image, box: Box, held: Segments) -> NDArray[Any]:
    """Return the pixels of `box`, in the machine's byte order, from the bytes that `box_ranges` asked for.

    Raises
    ------
    LookupError
        Not all of them are held.
    """
    shape = tuple(stop - start for start, stop in box)
    if image.value is not None:
        # The value is that of the pixels: it is stored for no pixel, and so neither scaled nor shifted.
        exact = image.dtype.kind == "f" or float(image.value).is_integer()
        return np.full(shape, image.value, dtype=image.dtype if exact else "f4")
    stored, strides = image.stored, _strides(image)
    whole = held.find(*box_span(image, box))
    if whole is not None:
        return scaled(image, np.ndarray(shape, dtype=stored, buffer=whole, strides=strides))
    raw = blank(math.prod(shape) * stored.itemsize).view(stored).reshape(shape)
    flat, at = raw.reshape(-1), 0
    for start, stop in box_ranges(image, box):
        view = held.find(start, stop)
        if view is None:
            message = f"bytes {start} to {stop - 1} were not read"
            raise LookupError(message)
        part = np.frombuffer(view, dtype=stored)
        flat[at : at + part.size] = part
        at += part.size
    return scaled(image, raw)


def scaled(image: Image, raw: NDArray[Any]) -> NDArray[Any]:
    """Return what stored values mean, always in memory of its own."""
    dtype = image.dtype
    if image.plain:
        return raw.astype(dtype)
    if image._offset and dtype.kind == "u":  # noqa: SLF001  # of this module's own class
        # Addition of half the range is the same as turning the highest bit.
        turned: NDArray[Any] = raw.astype(dtype) ^ dtype.type(1 << (image.bitpix - 1))
        return turned
    data: NDArray[Any] = raw.astype(dtype)
    # In place and in this order, as astropy, so that the roundings are the same.
    if image.scale != 1:
        np.multiply(data, image.scale, data)
    if image.zero != 0:
        data += dtype.type(image.zero)
    if image.blank and dtype.kind == "f":  # astropy lets a BLANK of 0 pass, and hst_cloud.open shows what it shows
        data[raw == image.blank] = np.nan
    return data
