"""Headers of a few HDUs are found wherever they are, and whatever the file before was like."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from hst_cloud.errors import QueryError
from hst_cloud.fits.header_blocks import HDUName, as_hdu, header_blocks
from hst_cloud.store.plan import drive
from hst_cloud.store.s3 import Piece

KEY = "hst/public/jabc/jabc01aaq/jabc01aaq_flt.fits"


@st.composite
def files(draw):
    """Make the bytes of a file of images with headers and data of many lengths."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for ver in range(1, draw(st.integers(1, 5))):
        header = fits.Header({f"K{k}": k for k in range(draw(st.sampled_from([0, 30, 100, 900])))})
        data = np.zeros(draw(st.sampled_from([0, 10, 5000, 100_000])), "u1")
        hdus.append(
            fits.ImageHDU(data if data.size else None, header, name=draw(st.sampled_from(["SCI", "ERR"])), ver=ver)
        )
    file = io.BytesIO()
    hdus.writeto(file)
    return file.getvalue()


def headers_in(data, wanted, kin):
    """Drive the plan with the bytes of a file; return the headers, and what was read."""
    batches = []

    def carry(ranges):
        batches.append(ranges)
        return [Piece(data[r.start : r.stop], len(data), "e") for r in ranges]

    return drive(header_blocks(KEY, wanted, kin), carry), batches


@settings(max_examples=30)  # files are slow to make
@given(files(), files(), st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_any_other_file_may_have_been_read_before(first, second, indices):
    """What a file was like tells where to look in the next, and never what is found there."""
    wanted = [HDUName(index=i) for i in indices]
    kin = {}
    headers_in(first, wanted, kin)
    found, batches = headers_in(second, wanted, kin)
    with fits.open(io.BytesIO(second)) as hdul:
        places = [hdul[i].fileinfo() if i < len(hdul) else None for i in indices]
        expected = [None if p is None else second[p["hdrLoc"] : p["datLoc"]] for p in places]
    assert found == expected
    assert all(r.start < r.stop for batch in batches for r in batch)


@settings(max_examples=30)
@given(files())
def test_a_file_like_the_one_before_takes_one_round_trip(data):
    """Everything that is wanted of a file with the layout of the one before comes at once."""
    kin = {}
    with fits.open(io.BytesIO(data)) as hdul:
        wanted = [HDUName(index=len(hdul) - 1)]
    first, _ = headers_in(data, wanted, kin)
    again, batches = headers_in(data, wanted, kin)
    assert again == first
    assert len(batches) == 1 or wanted[0].index == 0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (0, "0"),
        ("3", "3"),
        ("sci", "SCI"),
        ("SCI , 2", "SCI,2"),
        (("err", 1), "ERR,1"),
        (HDUName(index=1), "1"),
        (np.int16(2), "2"),
    ],
)
def test_names_of_hdus(given, text):
    """Positions and names, as texts and as astropy takes them."""
    assert str(as_hdu(given)) == text


@pytest.mark.parametrize("given", [-1, True, "", "SCI,", ",1", "SCI,x", ("SCI", "1"), ("SCI", True), None, 1.0])
def test_what_names_no_hdu(given):
    """Nothing else is guessed at."""
    with pytest.raises(QueryError, match="names no HDU: expected a position from 0, or a name such as 'SCI'"):
        as_hdu(given)
