"""Every unit text that HST's files carry is a unit of astropy's, and none is guessed."""

from __future__ import annotations

import warnings

import pytest
from astropy import units as u
from astropy.io import fits
from support import SHARED_DATA

from hst_cloud.errors import FormatError
from hst_cloud.science.units import TEXTS, unit_of

FILES = sorted(SHARED_DATA.glob("fits/hst/**/*.fits*"))


def unit(text):
    return unit_of(text, file="a.fits", keyword="TUNIT1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Angstroms", u.AA),
        ("angstrom", u.AA),
        ("Counts/s", u.ct / u.s),
        ("count /s", u.ct / u.s),
        ("count /s /pixel", u.ct / u.s / u.pix),
        ("COUNTS", u.ct),
        ("ELECTRONS", u.electron),
        ("ELECTRONS/S", u.electron / u.s),
        ("UNITLESS", u.dimensionless_unscaled),
        ("SECONDS", u.s),
        ("seconds", u.s),
        ("degrees", u.deg),
        ("Gauss", u.G),
        ("km /s", u.km / u.s),
        ("erg /s /cm**2 /angstrom", u.erg / u.s / u.cm**2 / u.AA),
        ("erg/s/cm**2/Angstrom", u.erg / u.s / u.cm**2 / u.AA),
        ("ERGS/CM**2/S/A", u.erg / u.s / u.cm**2 / u.AA),
        ("DN", u.adu),
        ("mJy", u.mJy),
        ("m/s", u.m / u.s),
    ],
)
def test_a_text_is_a_unit(text, expected):
    """Those of HST's own spelling, and those that astropy knows."""
    assert unit(text) == expected


@pytest.mark.parametrize("text", ["", "  ", "LOGICAL-", "CHARACTER*8", "CH*8", "CHARACTER*24"])
def test_a_text_that_says_nothing_is_no_unit(text):
    """Columns of text and of switches name their kind where a unit would stand."""
    assert unit(text) is None


@pytest.mark.parametrize("text", ["furlongs", "erg/s/cm^", "counts per fortnight"])
def test_an_unknown_text_is_an_error(text):
    """With the file, the keyword and the text."""
    with pytest.raises(FormatError, match=rf"a\.fits has TUNIT7 = {text!r}".replace("^", r"\^")):
        unit_of(text, file="a.fits", keyword="TUNIT7")


def test_the_table_needs_no_capitals_or_blanks():
    """Its texts are as the look-up makes them."""
    assert all(text == "".join(text.lower().split()) for text in TEXTS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES or [None], ids=lambda p: p.name if p else "none")
def test_every_unit_of_real_files_is_known(path, shared_data):
    """All BUNIT and TUNITn of all the files at hand."""
    if path.suffix == ".Z":
        pytest.skip("Unix compress (.Z) is not read")
    with warnings.catch_warnings(), fits.open(path) as hdul:
        warnings.simplefilter("ignore")
        for hdu in hdul:
            for keyword, text in hdu.header.items():
                if keyword == "BUNIT" or (keyword.startswith("TUNIT") and isinstance(text, str)):
                    unit_of(text, file=path.name, keyword=keyword)
