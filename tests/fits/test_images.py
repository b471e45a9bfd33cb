"""Image HDUs that are made without astropy's reader are as it makes them, or are left to it."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from support import put

import hst_cloud as hst
from hst_cloud.fits.images import image_hdu
from hst_cloud.fits.structure import BLOCK, extent, header_stop


def header_of(*cards, bitpix=-32, axes=(3, 2)):
    """Return the blocks of a header of an image with these cards more."""
    lines = ["XTENSION= 'IMAGE   '           / image extension", f"BITPIX  = {bitpix:20}", f"NAXIS   = {len(axes):20}"]
    lines += [f"NAXIS{n}  = {size:20}" for n, size in enumerate(axes, 1)]
    lines += [f"PCOUNT  = {0:20}", f"GCOUNT  = {1:20}", *cards, "END"]
    text = "".join(line.ljust(80) for line in lines).encode("latin-1")
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def both(header):
    """Return our HDU, and the one that astropy makes of the same file."""
    primary = fits.PrimaryHDU().header.tostring().encode()
    data = bytes(range(200)) + bytes(BLOCK - 200)
    content = primary + header + data
    hdul = fits.open(io.BytesIO(content))
    place = extent(header, len(primary))
    assert header_stop(header) == len(header)
    return image_hdu(hdul._file, header, place), hdul[1]


PLAIN = [
    (),
    ("BSCALE  =                  2.5", "BZERO   =                 10.0"),
    ("BZERO   =                32768",),
    ("BLANK   =                -3276",),
    ("EXTNAME = 'SCI     '           / it's name", "EXTVER  =                    2"),
    ("HIERARCH ESO DET = 3", "COMMENT BSCALE  = 3", "HISTORY a", ""),
    ("BZERO   =              1.0E+02 / as a power", "CHECKSUM= 'abc'", "DATASUM = '0'"),
]


@pytest.mark.parametrize("cards", PLAIN)
@pytest.mark.parametrize(("bitpix", "axes"), [(-32, (3, 2)), (16, (3, 2)), (8, (10, 2, 2)), (-64, (5,))])
def test_it_is_as_astropy_makes_it(cards, bitpix, axes):
    """Every attribute is the same, and so are the header, card for card, and the data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of BLANK for numbers that have none
        ours, theirs = both(header_of(*cards, bitpix=bitpix, axes=axes))
        assert type(ours) is type(theirs) is fits.ImageHDU
        assert vars(ours) == vars(theirs)
        assert ours.header.tostring() == theirs.header.tostring()
        assert ours.fileinfo() == theirs.fileinfo()
        assert ours.data.dtype == theirs.data.dtype
        assert np.array_equal(ours.data, theirs.data, equal_nan=True)


@pytest.mark.parametrize(
    "header",
    [
        header_of("BZERO   = 'ten     '"),
        header_of("BSCALE  ="),
        header_of("BSCALE  =                    T"),
        header_of("BSCALE  =                  2.0", "BSCALE  =                  3.0"),
        header_of("OBJECT  = 'M\xe9ssier'"),
        header_of(axes=()),
        header_of(axes=(0, 2)),
        header_of()[:-1] + b"\0",
        header_of().replace(b"'IMAGE   '", b"'A3DTABLE'"),
        header_of("ZIMAGE  =                    T").replace(b"'IMAGE   '", b"'BINTABLE'"),
    ],
)
def test_what_is_unusual_is_left_to_astropy(header):
    """Nothing is made of a header that is no plain image's."""
    assert image_hdu(None, header, extent(header, 2880)) is None


NUMBERS = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False, width=32)
CARDS = st.tuples(st.sampled_from(["BSCALE", "BZERO", "BLANK", "EXTVER"]), NUMBERS)


@settings(max_examples=100, deadline=None)
@given(st.lists(CARDS, max_size=4), st.sampled_from([8, 16, 32, 64, -32, -64]))
def test_any_numbers_are_as_astropy_reads_them(cards, bitpix):
    """However they are written."""
    header = header_of(*(str(fits.Card(*card)) for card in cards), bitpix=bitpix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = both(header)
        assert ours is None or vars(ours) == vars(theirs)


@pytest.mark.parametrize("extend", ["", "EXTEND  =                    T"])
def test_every_hdu_is_there_once(tmp_path, extend):
    """astropy reads one more than the primary where that does not say that there are more."""
    cards = ["SIMPLE  =                    T", f"BITPIX  = {8:20}", f"NAXIS   = {0:20}", extend, "END"]
    primary = "".join(card.ljust(80) for card in cards if card).encode().ljust(BLOCK)
    key = put(tmp_path, "jbqf03gjq_flc.fits", primary + (header_of() + bytes(BLOCK)) * 3)
    with fits.open(tmp_path / key) as local, hst.open("jbqf03gjq_flc.fits", store=tmp_path, index=False) as ours:
        assert [hdu.fileinfo()["hdrLoc"] for hdu in ours] == [hdu.fileinfo()["hdrLoc"] for hdu in local]
