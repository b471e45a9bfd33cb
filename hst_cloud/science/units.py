"""The unit texts that HST's files carry, as astropy's units.

Most of them are not FITS's spelling (FITS Standard 4.0, sec. 4.3): plurals, capitals, blanks before slashes. The table
below names every text that public files of ACS, COS, FGS, STIS, WFC3 and their forerunners were seen to have; what
is not in it is left to astropy, and what astropy does not know either is an error, since a number without its unit
is a wrong number.
"""

from __future__ import annotations

import functools
import re

from astropy import units as u

from hst_cloud.errors import FormatError

__all__ = ["TEXTS", "unit_of"]

_FLAM = u.erg / (u.s * u.cm**2 * u.AA)

TEXTS: dict[str, u.UnitBase | None] = {
    # keywords BUNIT of images of ACS and WFC3, and of COS and STIS
    "electrons": u.electron,
    "electrons/s": u.electron / u.s,
    "electrons/sec": u.electron / u.s,
    "electron/s": u.electron / u.s,
    "counts": u.ct,
    "counts/s": u.ct / u.s,
    "counts/sec": u.ct / u.s,
    "count": u.ct,
    "count/s": u.ct / u.s,
    "count/s/pixel": u.ct / (u.s * u.pix),
    "ct/s": u.ct / u.s,
    "dn": u.adu,  # astropy's own DN is another unit, of the same meaning and no conversion: FITS has adu alone
    "dn/s": u.adu / u.s,
    "unitless": u.dimensionless_unscaled,
    "samples": u.dimensionless_unscaled,
    "seconds": u.s,
    "second": u.s,
    "sec": u.s,
    "s": u.s,
    # keywords TUNITn of the tables of COS, STIS and of jitter files
    "angstroms": u.AA,
    "angstrom": u.AA,
    "pixels": u.pix,
    "pixel": u.pix,
    "degrees": u.deg,
    "degree": u.deg,
    "arcsec": u.arcsec,
    "km/s": u.km / u.s,
    "gauss": u.G,
    "erg/s/cm**2/angstrom": _FLAM,
    "erg/cm**2/s/angstrom": _FLAM,
    "ergs/cm**2/s/a": _FLAM,  # the first instruments' A is Angstrom; astropy reads ampere
    # what stands for no unit at all: of columns of text, and of switches
    "": None,
    "none": None,
    "n/a": None,
    "logical-": None,
}
"""Units by text in lower case without blanks; None where the text says that there is none."""

_CHARACTERS = re.compile(r"ch(aracter)?\*\d+")  # text columns of the first instruments: CHARACTER*8, CH*8


def unit_of(text: str, *, file: str, keyword: str) -> u.UnitBase | None:
    """Return the unit that `text` names.

    Parameters
    ----------
    text : str
        Value of a keyword BUNIT or TUNITn.
    file, keyword : str
        Where it stands, for the error.

    Returns
    -------
    astropy.units.UnitBase or None
        None where the text says that there is no unit.

    Raises
    ------
    FormatError
        Neither this module nor astropy knows the text.

    Notes
    -----
    Requests: none.

    Examples
    --------
    >>> from hst_cloud.science.units import unit_of
    >>> unit_of("Counts/s", file="odbue5030_x1d.fits", keyword="TUNIT4")
    Unit("ct / s")
    """
    known, unit = _parsed(text)
    if not known:
        message = (
            f"{file} has {keyword} = {text!r}, which is no unit that is known here or to astropy. Read the values "
            "without units with hst_cloud.columns, or the file with hst_cloud.open."
        )
        raise FormatError(message)
    return unit


@functools.lru_cache(1024)
def _parsed(text: str) -> tuple[bool, u.UnitBase | None]:
    plain = "".join(text.split()).lower()
    if plain in TEXTS:
        return True, TEXTS[plain]
    if _CHARACTERS.fullmatch(plain):
        return True, None
    for form in ("fits", None):
        try:
            return True, u.Unit(text.strip(), format=form, parse_strict="raise")
        except (ValueError, TypeError):
            continue
    return False, None
