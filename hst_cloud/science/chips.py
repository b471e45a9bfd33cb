"""The images of one file and where they lie on the sky: which chip holds a position, and the solution of a part of it.

A solution is an `astropy.wcs.WCS` made from the header and the tables of distortion of the file itself
(D2IMARR, WCSDVARR: 64 by 32 numbers that stand for the whole chip). Of a part of the chip, the tables are moved
rather than cut, so that every pixel of the part lies where it lies in the whole.
Sources: FITS WCS paper IV, draft; Hack et al. 2012, STScI TSR "Distortion Correction in HST FITS Files".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyDeprecationWarning
from astropy.wcs import WCS, DistortionLookupTable, NoConvergence, Sip
from astropy.wcs.utils import skycoord_to_pixel

from hst_cloud.errors import FormatError, QueryError, TruncatedFileError
from hst_cloud.fits.layout import HDUExtent, Layout
from hst_cloud.fits.pixels import Image, image_of
from hst_cloud.fits.structure import Cards
from hst_cloud.store.ranges import Segments
from hst_cloud.values import ByteRange

__all__ = ["Chip", "HDULike", "chips_of", "companion", "likely_first", "numbers_of", "part_of", "tables_of", "title"]

CARD = 80

HDULike: TypeAlias = str | int | tuple[str, int]
"""An HDU: its EXTNAME, with or without EXTVER (``("SCI", 2)`` or ``"SCI,2"``), or its number in the file."""

# DP1 = 'EXTVER: 1.0': the table that corrects axis 1. Source: FITS WCS paper IV, draft, record-valued keywords.
_TABLE = re.compile(rb"(DP|D2IM)[12] *= *'EXTVER: *(\d+)")
_TABLES = {b"DP": "WCSDVARR", b"D2IM": "D2IMARR"}


# What wcslib and astropy read of a header: FITS Standard 4.0, tables 22, 25, 27, 29 and 35; the papers named above.
# Most cards are something else, and every card costs more to parse than to look at.
_SOLVES = re.compile(
    rb"NAXIS\d*|WCS\w+|C(?:RPIX|RVAL|ROTA|RDER|TYPE|UNIT|NAME|DELT|SYER|ZPHS|PERI|PDIS|PERR|QDIS|QERR|D)\d\w*"
    rb"|P[CVS]\d\w+|D[PQ]\d|D2IM\w+|DVERR\w*|AXISCORR|[AB]P?_\w+|LONPOLE\w?|LATPOLE\w?|REST(?:FRQ|WAV|FREQ)\w?"
    rb"|VEL\w+|[VZ]SOUR\w+|SPECSYS\w?|SSYS\w+|TIM\w+|TREF\w+|PLEPHEM|DATE\S*|MJD\S*|[JB]?EPOCH|TSTART|TSTOP"
    rb"|XPOSURE|TELAPSE|OBS(?:GEO|ORB)\S+|RADE\w+|EQUINOX\w?|[A-Z]+_(?:REF|OBS)"
)


# What wcslib raises, and astropy of tables that are not there or of cards that cannot be read.
_UNSOLVED = (ValueError, KeyError, TypeError, IndexError, MemoryError, VerifyError)


@dataclass(slots=True)
class Chip:
    """One image of a file, and its solution once it was asked for."""

    number: int
    """Which HDU it is."""
    image: Image
    """How its pixels are stored."""
    header: bytes
    """Its header's blocks."""
    _solution: WCS | None = field(default=None, init=False)

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
        # Far from the image its polynomials mean nothing, so that their inverse may be anywhere: look without them.
        x, y = skycoord_to_pixel(center, solution, mode="wcs")
        reach = 2 * max(self.shape)
        if not (-reach <= x <= reach + self.shape[1] and -reach <= y <= reach + self.shape[0]):
            return None
        try:
            x, y = skycoord_to_pixel(center, solution, mode="all")  # as Cutout2D, to the last digit
        except NoConvergence:
            return None
        return (float(x), float(y)) if np.isfinite(x) and np.isfinite(y) else None


def title(extent: HDUExtent) -> str:
    """Return what an HDU is called in messages: ``SCI,2``."""
    return f"{extent.name},{extent.ver}"


def chips_of(layout: Layout, held: Segments, hdu: HDULike) -> list[Chip]:
    """Return the two-dimensional images that `hdu` names, in the order of the file.

    Raises
    ------
    QueryError
        There is none; the message lists what there is.
    """
    wanted = numbers_of(layout.hdus, hdu)
    chips = []
    for number in wanted:
        chip = _chip(layout, held, number)
        if chip is not None and len(chip.image.shape) == 2:
            chips.append(chip)
    if not chips:
        there = ", ".join(title(extent) for extent in layout.hdus)
        found = "is no two-dimensional image" if wanted else "is not there"
        message = f"hdu={hdu!r} {found} in {layout.key}: it holds {there or 'no HDU that can be read'}"
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
    names = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
    cards = Cards(chip.header)
    try:
        values = [float(fits.Card.fromstring(cards.card(name)).value) for name in names]
        inverse = np.linalg.inv(np.array(values[4:]).reshape(2, 2))
    except (TypeError, ValueError, VerifyError, np.linalg.LinAlgError):
        return False
    ra0, dec0 = np.radians(values[2:4])
    # Gnomonic projection: FITS WCS paper II, Calabretta & Greisen 2002, A&A 395, 1077, sec. 5.1.3.
    depth = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    if depth <= 0:
        return True
    east = np.cos(dec) * np.sin(ra - ra0) / depth
    north = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)) / depth
    place = inverse @ np.degrees([east, north]) + values[:2]
    margin = max(chip.shape) / 10  # the polynomials move a pixel by 4% of the image at most
    rows, columns = chip.shape
    return not bool(-margin < place[0] < columns + margin and -margin < place[1] < rows + margin)


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


def part_of(solution: WCS, x: int, y: int, shape: tuple[int, int]) -> WCS:
    """Return the solution of the part of an image whose first pixel is (`x`, `y`) of it, which may lie outside."""
    part = solution.deepcopy()
    origin = np.array([x, y], dtype=float)
    part.wcs.crpix -= origin
    if part.sip is not None:
        sip = part.sip
        part.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix - origin)
    for name in ("cpdis1", "cpdis2", "det2im1", "det2im2"):
        table = getattr(part, name)
        if table is not None:
            # crval is the pixel of the image at which the table has its own reference pixel.
            moved = (table.crval[0] - x, table.crval[1] - y)
            setattr(part, name, DistortionLookupTable(table.data, table.crpix, moved, table.cdelt))
    part.array_shape = shape
    part.wcs.set()
    return part


def numbers_of(hdus: Sequence[HDUExtent], hdu: HDULike) -> list[int]:
    """Return which of `hdus` are meant, in their order."""
    if isinstance(hdu, int):
        return [hdu] if 0 <= hdu < len(hdus) else []
    if isinstance(hdu, tuple):
        name, version = hdu
    else:
        name, _, number = hdu.partition(",")
        version = int(number) if number.strip().isdigit() else None  # type: ignore[assignment]  # None is any
    name = name.strip().upper()
    return [
        number for number, extent in enumerate(hdus) if extent.name.upper() == name and version in {None, extent.ver}
    ]


def _chip(layout: Layout, held: Segments, number: int) -> Chip | None:
    extent = layout.hdus[number]
    header = held.find(*extent.header)
    assert header is not None  # a scan holds all headers
    image = image_of(header, extent)
    return None if image is None else Chip(number, image, bytes(header))


def _tables(chip: Chip, layout: Layout) -> list[HDUExtent]:
    wanted = {(_TABLES[kind], int(version)) for kind, version in _TABLE.findall(chip.header)}
    if "AXISCORR" in Cards(chip.header):  # the form before 2012: one row or column for both axes
        wanted.add(("D2IMARR", 1))
    return [hdu for hdu in layout.hdus if (hdu.name, hdu.ver) in wanted]


def _solution(chip: Chip, layout: Layout, held: Segments) -> WCS:
    tables = fits.HDUList([fits.PrimaryHDU()])
    for extent in _tables(chip, layout):
        data = held.find(extent.header.start, extent.data.stop)
        assert data is not None  # asked for by tables_of
        tables.append(fits.ImageHDU.fromstring(bytes(data)))
    header = fits.Header.fromstring(b"".join(_solving(chip.header)))
    if chip.image.value is not None:  # an image that is one number has its shape in other keywords
        header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, *reversed(chip.shape)
    try:
        # What is mended is mended below, without a warning for each: it concerns dates and spellings.
        with warnings.catch_warnings() if "AXISCORR" in header else nullcontext():
            if "AXISCORR" in header:  # astropy warns of this form, which nobody but the archive can change
                warnings.simplefilter("ignore", AstropyDeprecationWarning)
            solution = WCS(header, tables, fix=False)
        solution.wcs.fix()
        solution.wcs.set()
    except _UNSOLVED as error:
        said = (str(error).splitlines() or [""])[0]
        message = f"{title(chip.extent)} of {layout.key} has no solution that astropy can read: {said}"
        if layout.missing:
            message += f". The object is truncated: it lacks {layout.missing} bytes or more."
            raise TruncatedFileError(message, key=layout.key) from error
        raise FormatError(message, key=layout.key) from error
    return solution


def _solving(header: bytes) -> Iterator[bytes]:
    """Yield the cards that tell where the pixels lie, long texts with their continuations."""
    kept = False
    for at in range(0, len(header), CARD):
        name = header[at : at + 8].rstrip()
        kept = kept if name == b"CONTINUE" else _SOLVES.fullmatch(name) is not None
        if kept:
            yield header[at : at + CARD]
