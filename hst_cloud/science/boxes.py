"""Where and how large: centers and sizes as people give them, and the pixels that a box then covers.

A box has the pixels that `astropy.nddata.Cutout2D` gives it, so that both agree on every rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeGuard

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from hst_cloud.archive.quantities import sky_position
from hst_cloud.errors import QueryError

__all__ = [
    "Center",
    "Extent",
    "Window",
    "as_center",
    "as_centers",
    "as_extent",
    "is_several",
    "length_of",
    "needs_sky",
    "pixels",
]

Center: TypeAlias = "SkyCoord | tuple[float, float]"
"""A position on the sky, or a pixel (x, y), zero-based."""

Extent: TypeAlias = "tuple[float | u.Quantity, float | u.Quantity]"
"""Sides along y and x: numbers of pixels, or angles."""

LARGEST = 2**30
"""Pixels of a box: four times the largest mosaic of the archive, and 4 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A box on an image, of which a part may lie outside."""

    place: tuple[float, float]
    """Its center (x, y), a pixel of the image."""
    origin: tuple[int, int]
    """The pixel (x, y) of the image that is the first of the box; it may lie outside."""
    shape: tuple[int, int]
    """Rows and columns of the box."""
    image: tuple[int, int]
    """Rows and columns of the image."""

    @classmethod
    def around(cls, place: tuple[float, float], shape: tuple[int, int], image: tuple[int, int]) -> Self:
        """Return the box of `shape` around a pixel (x, y) of an image."""
        # The rounding of astropy.nddata.overlap_slices.
        x, y = (math.ceil(at - side / 2) for at, side in zip(place, reversed(shape), strict=True))
        return cls(place=place, origin=(x, y), shape=shape, image=image)

    @property
    def inside(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of the image that the box covers, half-open."""
        x, y = self.origin
        (low_y, high_y), (low_x, high_x) = (
            (max(0, start), min(length, start + side))
            for start, side, length in zip((y, x), self.shape, self.image, strict=True)
        )
        return (low_y, high_y), (low_x, high_x)

    @property
    def area(self) -> int:
        """How many pixels the box shares with the image."""
        return math.prod(max(0, stop - start) for start, stop in self.inside)

    @property
    def distance(self) -> int:
        """How many pixels the box would have to be nearer to share one with the image; 0 if it does."""
        return max(0, *(start - stop + 1 for start, stop in self.inside))

    @property
    def holds_center(self) -> bool:
        """Tell whether the image has the pixel that the center lies on."""
        return all(-0.5 <= at < length - 0.5 for at, length in zip(self.place, reversed(self.image), strict=True))

    def filled(self, plane: NDArray[Any], *, bits: bool = False) -> NDArray[Any]:
        """Return the pixels of the box, of which `plane` has those inside; the others are NaN, False, or all bits."""
        if plane.shape == self.shape:
            return plane
        fill: Any
        if plane.dtype.kind == "b":
            dtype, fill = plane.dtype, False
        elif bits and plane.dtype.kind in "iu":
            dtype, fill = plane.dtype, np.invert(plane.dtype.type(0))
        elif plane.dtype.kind == "f":
            dtype, fill = plane.dtype, np.nan
        else:  # integers have no NaN: floats that hold each of them exactly
            dtype, fill = np.dtype("f4" if plane.dtype.itemsize <= 2 else "f8"), np.nan
        whole = np.full(self.shape, fill, dtype=dtype)
        (low_y, high_y), (low_x, high_x) = self.inside
        x, y = self.origin
        whole[low_y - y : high_y - y, low_x - x : high_x - x] = plane
        return whole


def as_center(center: object) -> Center:
    """Return one position.

    Raises
    ------
    QueryError
        It is none, or several.
    """
    if isinstance(center, SkyCoord | str):
        return sky_position(center)
    pair = _pixel(center)
    if pair is None:
        message = (
            f"center={center!r} is no position: expected a SkyCoord, a text such as '13h29m52.7s +47d11m43s', "
            "or a pixel (x, y)"
        )
        raise QueryError(message)
    return pair


def as_centers(centers: object) -> list[Center]:
    """Return one position or several as a list.

    Raises
    ------
    QueryError
        One of them is none, or there is none at all.
    """
    if isinstance(centers, str) or (isinstance(centers, SkyCoord) and centers.isscalar) or _pixel(centers) is not None:
        return [as_center(centers)]
    if not isinstance(centers, Iterable):
        return [as_center(centers)]  # which says what is wrong
    found = [as_center(center) for center in centers]
    if not found:
        message = "centers is empty: expected at least one position"
        raise QueryError(message)
    return found


def _pixel(center: object) -> tuple[float, float] | None:
    try:
        pair = [float(u.Quantity(value, u.pix).value) for value in center]  # type: ignore[attr-defined]  # or raises
    except (TypeError, ValueError, u.UnitsError):
        return None
    if len(pair) != 2 or not all(math.isfinite(value) for value in pair):
        return None
    return pair[0], pair[1]


def as_extent(size: object) -> Extent:
    """Return the sides of a box along y and x.

    Raises
    ------
    QueryError
        They are no positive lengths.
    """
    sides: list[object] = list(size) if is_several(size) else [size, size]
    if len(sides) != 2:
        message = f"size={size!r} has {len(sides)} sides: expected one, or two (along y, along x)"
        raise QueryError(message)
    return _side(sides[0], size), _side(sides[1], size)


def _side(side: object, size: object) -> float | u.Quantity:
    length = length_of(side)
    if length is None:
        message = (
            f"size={size!r} is no size of a box: expected an angle such as '10 arcsec', a number of pixels, or two of "
            "these along y and x"
        )
        raise QueryError(message)
    return length


def is_several(value: object) -> TypeGuard[Iterable[object]]:
    """Tell whether an argument that may be one length has several: a tuple, a list, or an array that is no scalar."""
    return isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim > 0)


def length_of(value: object) -> float | u.Quantity | None:
    """Return a positive length as a number of pixels or an angle; None if it is none."""
    try:
        length = u.Quantity(value)
        number = float((length if length.unit in {u.pix, u.dimensionless_unscaled} else length.to(u.arcsec)).value)
    except (TypeError, ValueError, u.UnitsError):
        return None
    if not 0 < number < math.inf:
        return None
    return number if length.unit in {u.pix, u.dimensionless_unscaled} else length


def needs_sky(centers: Sequence[Center], size: Extent) -> bool:
    """Tell whether the box is known only once the solution is."""
    return any(isinstance(value, SkyCoord | u.Quantity) for value in (*centers, *size))


def pixels(size: Extent, solution: WCS | None) -> tuple[int, int]:
    """Return rows and columns of a box of this size.

    Raises
    ------
    QueryError
        It has no pixel, or too many, or is an angle where the image shows no sky.
    """
    shape = []
    for axis, side in enumerate(size):
        if isinstance(side, u.Quantity):
            if solution is None or not solution.has_celestial:
                message = f"size={side} is an angle, but the image shows no sky: give it in pixels"
                raise QueryError(message)
            # The axis is numpy's and the scale is that of FITS's: so does Cutout2D, and the two differ by 2% at most.
            scale = u.Quantity(proj_plane_pixel_scales(solution)[axis], solution.wcs.cunit[axis])
            shape.append(round(float((side / scale).decompose())))
        else:
            shape.append(round(side))
    rows, columns = shape
    if min(shape) < 1 or rows * columns > LARGEST:
        message = f"size={size} is a box of {rows} by {columns} pixels: expected from 1 to {LARGEST} pixels in all"
        raise QueryError(message)
    return rows, columns
