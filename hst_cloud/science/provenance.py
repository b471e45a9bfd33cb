"""What a cutout says of itself: the keywords of its file that still hold, its unit, and where it was taken from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from astropy import units as u
from astropy.io import fits

from hst_cloud.fits.layout import Layout
from hst_cloud.fits.structure import Cards
from hst_cloud.science import units
from hst_cloud.science.boxes import Window
from hst_cloud.science.chips import Chip, title

__all__ = ["keyword", "meta_of", "unit_of"]

CARD = 80

# Keywords that describe how the whole image is stored, or where all of it lies on the sky; a cutout's array and wcs
# tell that of the cutout. Sources: FITS Standard 4.0, tables 7 to 9 and 22; SIP (Shupe et al. 2005); the distortion
# keywords of FITS WCS paper IV, draft, and STScI TSR 2012 (D2IM); LTV and LTM are IRAF's.
_OF_THE_WHOLE = re.compile(
    rb"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|NEXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|NPIX\d|PIXVALUE|INHERIT"
    rb"|BUNIT|CHECKSUM|DATASUM|END"
    rb"|(?:WCSAXES|CRPIX\d|CRVAL\d|CTYPE\d|CUNIT\d|CDELT\d|CD\d_\d|PC\d_\d|PV\d_\d+|PS\d_\d+|CROTA\d|LONPOLE|LATPOLE)[A-Z]?"
    rb"|WCSNAME[A-Z]|[AB]P?_(?:ORDER|DMAX|\d_\d)|CPDIS\d|CPERR\d|DP\d|D2IM\d|D2IMDIS\d|D2IMERR\d|AXISCORR"
    rb"|LT[VM]\d(?:_\d)?|COMMENT|HISTORY|"
)


def keyword(headers: Sequence[bytes], name: str) -> bool | float | str | None:
    """Return the value of a keyword in the last of `headers` that has it; None if none has."""
    for header in reversed(headers):
        card = Cards(header).card(name)
        if card:
            value = fits.Card.fromstring(card).value
            return None if isinstance(value, fits.card.Undefined) else value
    return None


def unit_of(header: bytes, hdu: str, key: str) -> u.UnitBase:
    """Return the unit of an image, from BUNIT; dimensionless where there is none.

    Raises
    ------
    FormatError
        Nobody knows the unit.
    """
    text = str(keyword([header], "BUNIT") or "")
    return units.unit_of(text, file=f"{hdu} of {key}", keyword="BUNIT") or u.dimensionless_unscaled


def meta_of(layout: Layout, chip: Chip, window: Window, headers: tuple[bytes, bytes]) -> fits.Header:
    """Return the keywords of the file that hold for a part of it, those of the image first in rank, and its origin."""
    primary, own = (list(_kept(header)) for header in headers)
    if chip.number == 0:
        primary = []
    said = {name for name, _ in own}
    cards = [card for name, card in primary if name not in said] + [card for _, card in own]
    header = fits.Header.fromstring(b"".join(cards))
    (low_y, high_y), (low_x, high_x) = window.inside
    header["S3KEY"] = (layout.key, "object key")
    header["S3ETAG"] = (layout.etag or "", "version of the object")
    header["HDU"] = (title(chip.extent), "image that was cut")
    header["CUTOUT"] = (f"[{low_y}:{high_y},{low_x}:{high_x}]", "slice of it, zero-based, (y, x)")
    header["CUTX0"], header["CUTY0"] = window.origin
    return header


def _kept(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and cards of what holds for a part of an image; a long text's continuations stay with it."""
    cards = [header[at : at + CARD] for at in range(0, len(header), CARD)]
    at = 0
    while at < len(cards):
        name = cards[at][:8].rstrip()
        stop = at + 1
        while stop < len(cards) and cards[stop].startswith(b"CONTINUE"):
            stop += 1
        if name == b"END":
            return
        if _OF_THE_WHOLE.fullmatch(name) is None:
            yield cards[at].partition(b"=")[0].rstrip() if name == b"HIERARCH" else name, b"".join(cards[at:stop])
        at = stop
