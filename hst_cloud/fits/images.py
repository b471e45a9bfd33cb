"""Image HDUs of astropy's, made of the headers that the walk found.

astropy asks each of its classes whether a header is its own, and parses a dozen cards of it by its general means: of a
file of twenty HDUs that takes as long as all else of opening it. Here the class is known, and the few cards are read
as `hst_cloud.fits.pixels` reads them. The HDU's header itself is astropy's, parsed when it is asked for.
"""

from __future__ import annotations

from typing import Any

from astropy.io import fits
from astropy.io.fits.hdu.base import DELAYED

from hst_cloud.errors import FormatError
from hst_cloud.fits.pixels import card_value, image_of
from hst_cloud.fits.structure import Cards, HDUExtent

__all__ = ["image_hdu"]


class _Keywords(fits.Header):
    """The values of a header, found and parsed when they are asked for: all that an image HDU asks when it is made."""

    def __init__(self, header: bytes) -> None:
        self._values = Cards(header)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self._values

    def get(self, keyword: str, default: Any = None) -> Any:
        card = self._values.card(keyword)
        if not card:
            return default
        value = card_value(card)
        if type(value) not in {int, float} or self._values.repeated(keyword):
            message = f"{keyword} of an image is {value!r}, or is there twice: astropy decides what that means"
            raise FormatError(message)
        return value


def image_hdu(file: Any, header: bytes, extent: HDUExtent) -> fits.ImageHDU | None:
    """Return the HDU with this header as astropy would make it; None if it is no image, or one for astropy to judge.

    Parameters
    ----------
    file : astropy's file
        What the HDU reads its data from, as ``HDUList._file`` has it.
    header : bytes
        All blocks of its header.
    extent : HDUExtent
        Where the HDU lies in the file.
    """
    plain = header.startswith(b"XTENSION= 'IMAGE   '") and header.endswith(b" ") and header.isascii()
    try:
        if not plain or image_of(header, extent) is None:
            return None
        hdu = fits.ImageHDU(DELAYED, _Keywords(header))
    except FormatError:
        return None
    # The rest is what astropy's own reader does: from now on the HDU's header is parsed when it is asked for.
    state = vars(hdu)
    del state["_header"]
    state.update(
        _header_str=header.decode("ascii"),
        _header_offset=extent.header.start,
        _data_offset=extent.data.start,
        _data_size=extent.stop - extent.data.start,
        _file=file,
        _new=False,
    )
    return hdu
