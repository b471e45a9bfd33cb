"""Which pixels of a file fall into a box on the sky, on any of its chips, and how they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from numpy.typing import NDArray

from hst_cloud.errors import MemoryLimitError, QueryError
from hst_cloud.fits.layout import Scan
from hst_cloud.science.boxes import Window, length_of
from hst_cloud.science.chips import Chip, chips_of, tables_of
from hst_cloud.science.cuts import Outcome, Wanted, fetched, taken
from hst_cloud.store.memory import available
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.values import ByteRange

__all__ = ["Field", "overlaps", "pixels_of", "places_on", "scale_of"]

MARGIN = 3
"""Pixels that are read beyond the box, for what resampling takes from them."""

_PLANES = 5
"""Numbers that are held for each pixel of a mosaic: its sums, and what is made of them."""

_STEPS = 32
"""Points along the shorter side of a chip, or of the box, at which it is looked where the box lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A box on the sky, north up."""

    center: SkyCoord
    """Its middle, ICRS."""
    size: tuple[u.Quantity, u.Quantity]
    """Its sides along declination and right ascension, angles."""

    def grid(self, scale: float) -> WCS:
        """Return a gnomonic grid of pixels of `scale` arcsec that covers it, its middle in theirs."""
        rows, columns = (max(1, round(float(side.to_value(u.arcsec)) / scale)) for side in self.size)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [self.center.ra.deg, self.center.dec.deg]
        wcs.wcs.crpix = [(columns + 1) / 2, (rows + 1) / 2]
        wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.radesys = "ICRS"
        wcs.array_shape = (rows, columns)
        return wcs

    def canvas(self, scale: float) -> WCS:
        """Return the grid of a mosaic, for which there is room.

        Raises
        ------
        MemoryLimitError
            There is no memory for its sums.
        """
        grid = self.grid(scale)
        size, left = _PLANES * 8 * math.prod(grid.array_shape), available()
        if size > left:
            message = (
                f"a box of {self.size[0]} by {self.size[1]} in pixels of {scale:.3g} arcsec takes {size:,} bytes of "
                f"memory: {left / 1e6:,.0f} MB are available. Give a smaller size, or a larger scale."
            )
            raise MemoryLimitError(message)
        return grid


def overlaps(found: Scan, wanted: Wanted, field: Field, address: str) -> Plan[ByteRange, Piece, list[Outcome]]:
    """Read what every chip of a file has in a box on the sky.

    Parameters
    ----------
    found, wanted, address
        As for `hst_cloud.science.cuts.cuts`; its centers and its size are not looked at.
    field : Field
        The box.

    Returns
    -------
    list of Outcome
        What was read of each chip that has a part in it, in the order of the file: none, if the file shows other sky.

    Raises
    ------
    QueryError
        An image shows no sky.

    Notes
    -----
    Round trips: one; one more where the tables of distortion are not held.
    """
    layout = found.layout
    chips = chips_of(layout, found.segments, wanted.hdu, wanted.wcs_key)
    held = yield from fetched(tables_of(chips, layout), found, found.segments, address, wanted)
    windows = [(chip, window) for chip in chips if (window := _window(chip, chip.solution(layout, held), field))]
    return (yield from taken(windows, found, held, wanted, address))


def scale_of(scale: u.Quantity | str | None) -> float | None:
    """Return the side of a grid's pixel in arcsec; None where none is given.

    Raises
    ------
    QueryError
        It is no positive angle.
    """
    if scale is None:
        return None
    side = length_of(scale)
    if not isinstance(side, u.Quantity):
        message = f"scale={scale!r} is no angle: expected the side of a pixel, such as '0.05 arcsec'"
        raise QueryError(message)
    return float(side.to_value(u.arcsec))


def places_on(grid: WCS, solution: WCS, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return where points all over an image lie on a grid: pixels (x, y), shape (2, n)."""
    rows, columns = shape
    x, y = np.meshgrid(np.linspace(0, columns - 1, 9), np.linspace(0, rows - 1, 9))
    return np.array(grid.wcs_world2pix(*solution.all_pix2world(x.ravel(), y.ravel(), 0), 0))


def pixels_of(solution: WCS, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pixels (x, y), shape (2, n), at positions in degrees; NaN where the solution does not tell them."""
    with np.errstate(all="ignore"):  # of points that do not converge, which are NaN or far off
        return np.array(solution.all_world2pix(ra, dec, 0, quiet=True))


def _window(chip: Chip, solution: WCS, field: Field) -> Window | None:
    """Return the part of a chip that a box on the sky covers; None if there is none."""
    if not solution.has_celestial or solution.naxis != 2:
        message = f"{chip.extent.name},{chip.extent.ver} is no image of the sky: its axes are {solution.wcs.ctype}"
        raise QueryError(message)
    rows, columns = chip.shape
    pixel = math.sqrt(abs(np.linalg.det(solution.pixel_scale_matrix))) * 3600
    shortest = min(rows * pixel, columns * pixel, *(float(side.to_value(u.arcsec)) for side in field.size))
    grid = field.grid(shortest / _STEPS)
    step = math.ceil(shortest / _STEPS / pixel) + MARGIN
    edges = _edges_near(chip.shape, solution, grid, margin=2 * step * pixel * _STEPS / shortest)
    x, y = np.meshgrid(*edges)
    ra, dec = grid.wcs_pix2world(x.ravel(), y.ravel(), 0)
    # Far from the chip its polynomials mean nothing: take the points that lie near it without them.
    near = _within(np.array(solution.wcs_world2pix(ra, dec, 0)), chip.shape, max(rows, columns) / 10 + step)
    places = pixels_of(solution, ra[near], dec[near])
    inside = places[:, _within(places, chip.shape, step)]
    if not inside.size:
        return None
    low = np.maximum(np.floor(inside.min(axis=1)).astype(int) - step, 0)
    high = np.minimum(np.ceil(inside.max(axis=1)).astype(int) + step + 1, (columns, rows))
    if (high <= low).any():
        return None
    return Window(
        place=(float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2),
        origin=(int(low[0]), int(low[1])),
        shape=(int(high[1] - low[1]), int(high[0] - low[0])),
        image=chip.shape,
    )


def _edges_near(shape: tuple[int, int], solution: WCS, grid: WCS, *, margin: float) -> list[NDArray[np.float64]]:
    """Return the edges of the grid's pixels, along x and y, that a chip may reach: the box may be far larger."""
    edges = [np.arange(length + 1) - 0.5 for length in reversed(grid.array_shape)]
    with np.errstate(invalid="ignore"):  # a chip that lies behind the horizon of the grid has no place there
        return [
            edge[(edge >= at.min() - margin) & (edge <= at.max() + margin)]
            for edge, at in zip(edges, places_on(grid, solution, shape), strict=True)
        ]


def _within(places: NDArray[np.float64], shape: tuple[int, int], margin: float) -> NDArray[np.bool_]:
    rows, columns = shape
    x, y = places
    with np.errstate(invalid="ignore"):
        inside: NDArray[np.bool_] = (x > -margin) & (x < columns + margin) & (y > -margin) & (y < rows + margin)
    return inside
