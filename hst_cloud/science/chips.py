"""The images of one file: which are meant, which of them holds a position, and what goes with it.

A solution is made from the header and the tables of distortion of the file itself (D2IMARR, WCSDVARR: 64 by 32 numbers
that stand for the whole chip), see `hst_cloud.science.solutions`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import TypeAlias

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io.fits.verify import VerifyError
from astropy.wcs import WCS, NoConvergence
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray

from hst_cloud.errors import FormatError, QueryError, TruncatedFileError
from hst_cloud.fits.header_blocks import HDULike, as_hdu
from hst_cloud.fits.layout import HDUExtent, Layout
from hst_cloud.fits.pixels import Image, image_of
from hst_cloud.fits.structure import Cards
from hst_cloud.science.solutions import key_of, solution_of, tables_named
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["Chip", "chips_of", "companion", "likely_first", "numbers_of", "tables_of", "title"]

Linear: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]"
"""Reference pixel, reference position in radians, and the matrix that makes pixels of degrees."""

# What wcslib raises, and astropy of tables that are not there, of cards that cannot be read, and, by a slip of its own
# (NameError), of a D2IMDIS that is no table.
_UNSOLVED = (ValueError, KeyError, TypeError, IndexError, MemoryError, NameError, VerifyError)


@dataclass(slots=True)
class Chip:
    """One image of a file, and its solution once it was asked for."""

    number: int
    """Which HDU it is."""
    image: Image
    """How its pixels are stored."""
    header: bytes
    """Its header's blocks."""
    wcs_key: str = " "
    """Which of its solutions: as `hst_cloud.science.solutions.key_of` takes it."""
    _solution: WCS | None = field(default=None, init=False)
    _linear: Linear | EllipsisType | None = field(default=..., init=False)

    @property
    def extent(self) -> HDUExtent:
        """Where it lies in the file."""
        return self.image.extent

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.image.shape
        return rows, columns

    def solution(self, layout: Layout, held: Segments) -> WCS:
        """Return where the pixels of the whole image lie; the tables of distortion must be among the bytes held.

        Raises
        ------
        FormatError
            The header has no solution that astropy can read, or lacks a table that it names.
        """
        if self._solution is None:
            self._solution = _solution(self, layout, held)
        return self._solution

    def place(self, center: SkyCoord, solution: WCS) -> tuple[float, float] | None:
        """Return the pixel (x, y) at which a position lies, zero-based; None if it is nowhere near the image.

        Raises
        ------
        QueryError
            The image shows no sky.
        """
        if not solution.has_celestial or solution.naxis != 2:
            axes = ", ".join(solution.wcs.ctype) or "none"
            message = f"{title(self.extent)} is no image of the sky: its axes are {axes}. Give center as pixels (x, y)."
            raise QueryError(message)
        frame = wcs_to_celestial_frame(solution)
        at = center if center.is_equivalent_frame(frame) else center.transform_to(frame)
        sky = [value.to_value("deg") for value in (at.spherical.lon, at.spherical.lat)]  # wcslib's unit
        if solution.wcs.lng > solution.wcs.lat:
            sky.reverse()
        # Far from the image its polynomials mean nothing, so that their inverse may be anywhere: look without them.
        x, y = solution.wcs_world2pix(*sky, 0)
        reach = 2 * max(self.shape)
        if not (-reach <= x <= reach + self.shape[1] and -reach <= y <= reach + self.shape[0]):
            return None
        try:
            x, y = solution.all_world2pix(*sky, 0)  # as Cutout2D, to the last digit
        except NoConvergence:
            return None
        return (float(x), float(y)) if np.isfinite(x) and np.isfinite(y) else None

    @property
    def linear(self) -> Linear | None:
        """Where a position roughly lies; None where the header does not tell it in the usual way."""
        if isinstance(self._linear, EllipsisType):  # nobody has looked
            self._linear = _linear(Cards(self.header))
        return self._linear


def title(extent: HDUExtent) -> str:
    """Return what an HDU is called in messages: ``SCI,2``."""
    return f"{extent.name},{extent.ver}"


def chips_of(layout: Layout, held: Segments, hdu: HDULike, wcs_key: str = " ") -> list[Chip]:
    """Return the two-dimensional images that `hdu` names, in the order of the file.

    Raises
    ------
    QueryError
        There is none; the message lists what there is.
    """
    wanted = numbers_of(layout.hdus, hdu)
    chips = []
    for number in wanted:
        chip = _chip(layout, held, number, wcs_key)
        if chip is not None and len(chip.image.shape) == 2:
            chips.append(chip)
    if not chips:
        there = ", ".join(title(extent) for extent in layout.hdus)
        found = "is no two-dimensional image" if wanted else "is not there"
        there = there or "none that is read in parts (it may be compressed: see hst_cloud.read)"
        message = f"hdu={hdu!r} {found} in {layout.key}: it holds {there}"
        raise QueryError(message, key=layout.key)
    return chips


def likely_first(chips: Sequence[Chip], center: SkyCoord) -> list[Chip]:
    """Return `chips` with those last that a position can hardly lie on: a solution costs more than all else.

    The order is else that of the file, since the several reads of one chip show the same sky.
    """
    if len(chips) == 1:
        return list(chips)
    ra, dec = np.radians([center.icrs.ra.deg, center.icrs.dec.deg])
    return sorted(chips, key=lambda chip: _hardly_on(chip, float(ra), float(dec)))


def _hardly_on(chip: Chip, ra: float, dec: float) -> bool:
    """Tell whether the linear terms alone put a position far outside; False where they cannot be told."""
    if chip.linear is None:
        return False
    crpix, (ra0, dec0), inverse = chip.linear
    # Gnomonic projection: FITS WCS paper II, Calabretta & Greisen 2002, A&A 395, 1077, sec. 5.1.3.
    depth = math.sin(dec0) * math.sin(dec) + math.cos(dec0) * math.cos(dec) * math.cos(ra - ra0)
    if depth <= 0:
        return True
    east = math.cos(dec) * math.sin(ra - ra0) / depth
    north = (math.cos(dec0) * math.sin(dec) - math.sin(dec0) * math.cos(dec) * math.cos(ra - ra0)) / depth
    place = inverse @ np.degrees([east, north]) + crpix
    margin = max(chip.shape) / 10  # the polynomials move a pixel by 4% of the image at most
    rows, columns = chip.shape
    return not bool(-margin < place[0] < columns + margin and -margin < place[1] < rows + margin)


def _linear(cards: Cards) -> Linear | None:
    names = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
    values = np.array([cards.number(name) for name in names], dtype=float)  # NaN for None
    matrix = values[4:].reshape(2, 2)
    if not np.isfinite(values).all() or np.linalg.det(matrix) == 0:
        return None
    return values[:2], np.radians(values[2:4]), np.linalg.inv(matrix)


def companion(chip: Chip, layout: Layout, held: Segments, name: str) -> Image | None:
    """Return the image that goes with a science image: ERR, DQ or WHT of its EXTVER; None if there is none.

    Raises
    ------
    FormatError
        It is of another shape.
    """
    number = next((n for n, hdu in enumerate(layout.hdus) if (hdu.name, hdu.ver) == (name, chip.extent.ver)), None)
    found = None if number is None else _chip(layout, held, number)
    if found is None:
        return None
    if found.image.shape != chip.image.shape:
        message = (
            f"{title(found.extent)} of {layout.key} has shape {found.image.shape}: expected that of "
            f"{title(chip.extent)}, {chip.image.shape}"
        )
        raise FormatError(message, key=layout.key)
    return found.image


def tables_of(chips: Sequence[Chip], layout: Layout) -> list[ByteRange]:
    """Return the bytes of the tables of distortion that these images name, headers included."""
    return [ByteRange(hdu.header.start, hdu.data.stop) for chip in chips for hdu in _tables(chip, layout)]


def numbers_of(hdus: Sequence[HDUExtent], hdu: HDULike) -> list[int]:
    """Return which of `hdus` are meant, in their order."""
    wanted = as_hdu(hdu)
    return [number for number, extent in enumerate(hdus) if wanted.means(number, extent)]


def _chip(layout: Layout, held: Segments, number: int, wcs_key: str = " ") -> Chip | None:
    extent = layout.hdus[number]
    header = held.find(*extent.header)
    assert header is not None  # a scan holds all headers
    image = image_of(header, extent)
    return None if image is None else Chip(number, image, bytes(header), wcs_key)


def _tables(chip: Chip, layout: Layout) -> list[HDUExtent]:
    wanted = tables_named(chip.header)
    return [hdu for hdu in layout.hdus if (hdu.name, hdu.ver) in wanted]


def _solution(chip: Chip, layout: Layout, held: Segments) -> WCS:
    try:
        key = " " if chip.wcs_key == " " else key_of(chip.header, chip.wcs_key)
    except LookupError as error:
        message = f"{title(chip.extent)} of {layout.key}: {error}"
        raise QueryError(message, key=layout.key) from error
    try:
        return solution_of(chip.header, chip.shape, _tables(chip, layout), held, key)
    except _UNSOLVED as error:
        said = (str(error).splitlines() or [""])[0]
        message = f"{title(chip.extent)} of {layout.key} has no solution that astropy can read: {said}"
        if layout.missing:
            message += f". The object is truncated: it lacks {layout.missing} bytes or more."
            raise TruncatedFileError(message, key=layout.key) from error
        raise FormatError(message, key=layout.key) from error
