"""Sections as byte ranges: the same pixels as astropy's, whatever the header says of them."""

from __future__ import annotations

import io
import itertools
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.errors import FormatError
from hst_cloud.fits.layout import scan
from hst_cloud.fits.pixels import box_array, box_ranges, image_of
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import drive
from hst_cloud.store.segments import Segments
from hst_cloud.testing.demo.imaging import acs_wfc_raw, wfc3_ir_ima

STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def content_of(hdul):
    out = io.BytesIO()
    hdul.writeto(out)
    return out.getvalue()


def images(content):
    """Return the image of every HDU of a file, None for those without."""
    found = drive(scan("x_raw.fits"), lambda asks: [Piece(content[a.start : a.stop], len(content), None) for a in asks])
    return [image_of(found.segments.find(*hdu.header), hdu) for hdu in found.layout.hdus]


def read(image, box, content):
    ranges = box_ranges(image, box)
    return box_array(image, box, Segments((r.start, content[r.start : r.stop]) for r in ranges)), ranges


def stored(data, bitpix, cards, *, extension=True):
    """Return a file of one image with exactly these stored values and cards, which no writer would leave alone."""
    header = fits.Header()
    header["XTENSION" if extension else "SIMPLE"] = "IMAGE" if extension else True
    header["BITPIX"] = bitpix
    header["NAXIS"] = data.ndim
    for n, length in enumerate(reversed(data.shape), 1):
        header[f"NAXIS{n}"] = length
    if extension:
        header["PCOUNT"], header["GCOUNT"] = 0, 1
    for name, value in cards.items():
        header[name] = value
    body = data.astype(STORED[bitpix]).tobytes()
    image = header.tostring().encode() + body + bytes(-len(body) % 2880)
    return (fits.PrimaryHDU().header.tostring().encode() if extension else b"") + image


@st.composite
def files(draw):
    bitpix = draw(st.sampled_from(sorted(STORED)))
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    dtype = np.dtype(STORED[bitpix])
    size = int(np.prod(shape))
    raw = draw(st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize))
    data = np.frombuffer(raw, dtype=dtype).reshape(shape)
    cards = {}
    middle = -128 if bitpix == 8 else 2.0 ** (abs(bitpix) - 1)
    if draw(st.booleans()):
        cards["BSCALE"] = draw(st.sampled_from([1, 1.0, 2, 0.1, -3.5]))
    if draw(st.booleans()):
        cards["BZERO"] = draw(st.sampled_from([0, 0.0, 32768, middle, 12.25, -7]))
    if bitpix > 0 and draw(st.booleans()):
        cards["BLANK"] = draw(st.sampled_from([0, 1, int(data.flat[0])]))
    box = []
    for length in shape:
        start = draw(st.integers(0, length - 1))
        box.append((start, draw(st.integers(start + 1, length))))
    return stored(data, bitpix, cards, extension=draw(st.booleans())), tuple(box)


@given(files())
def test_a_section_is_what_astropy_reads(file):
    """BITPIX, BSCALE, BZERO and BLANK of every kind: type, values and NaN are astropy's, in native byte order."""
    content, box = file
    image = images(content)[-1]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found, ranges = read(image, box, content)
        with fits.open(io.BytesIO(content)) as hdul:
            try:
                expected = hdul[-1].data[tuple(slice(*limits) for limits in box)]
            except (ValueError, TypeError):
                return  # astropy cannot put NaN into its signed bytes
    assert found.dtype == expected.dtype.newbyteorder("=")
    assert found.dtype.isnative
    assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")
    assert found.flags.writeable
    assert image.dtype == found.dtype
    assert sum(r.size for r in ranges) == found.size * abs(image.bitpix) // 8


def test_rows_come_from_scattered_bytes_and_from_one_span():
    """Whether the gaps between the rows were read does not matter to the pixels."""
    data = np.arange(40 * 30, dtype="f4").reshape(40, 30)
    content = content_of(fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data)]))
    image, box = images(content)[1], ((10, 20), (5, 9))
    ranges = box_ranges(image, box)
    assert [r.size for r in ranges] == [16] * 10
    assert {b.start - a.start for a, b in itertools.pairwise(ranges)} == {120}
    scattered, _ = read(image, box, content)
    spanned = box_array(image, box, Segments([(0, content)]))
    assert np.array_equal(scattered, data[10:20, 5:9])
    assert np.array_equal(spanned, scattered)
    assert spanned.flags.owndata


def test_whole_rows_are_one_range():
    """Rows that touch are asked for together, and so are planes."""
    data = np.arange(4 * 6 * 5, dtype="i2").reshape(4, 6, 5)
    content = content_of(fits.HDUList([fits.PrimaryHDU(data)]))
    image = images(content)[0]
    assert [r.size for r in box_ranges(image, ((0, 4), (0, 6), (0, 5)))] == [240]
    assert [r.size for r in box_ranges(image, ((1, 3), (0, 6), (0, 5)))] == [120]
    assert [r.size for r in box_ranges(image, ((1, 3), (2, 4), (0, 5)))] == [20, 20]
    found, _ = read(image, ((1, 3), (2, 4), (0, 5)), content)
    assert np.array_equal(found, data[1:3, 2:4])


def test_bytes_that_were_not_read_are_no_zeros():
    """An array is made of all its bytes or not at all."""
    content = content_of(fits.HDUList([fits.PrimaryHDU(np.ones((5, 5), "f4"))]))
    image = images(content)[0]
    with pytest.raises(LookupError, match="bytes 2920 to 2927"):
        box_array(image, ((0, 5), (0, 2)), Segments([(2880, content[2880:2920])]))


def test_arrays_that_are_one_number_are_filled():
    """Raw files of ACS have no ERR and DQ, ramps of WFC3/IR no SAMP and TIME: PIXVALUE stands for every pixel."""
    content = content_of(acs_wfc_raw(scale=64))
    found = images(content)
    assert found[0] is None
    assert found[1].dtype == np.uint16
    err, ranges = read(found[2], ((1, 3), (0, 4)), content)
    assert ranges == []
    assert found[2].shape == found[1].shape
    assert np.array_equal(err, np.zeros((2, 4)))
    ramp = wfc3_ir_ima(scale=64)
    time = images(content_of(ramp))[5]
    filled = box_array(time, ((0, 2), (0, 2)), Segments())
    assert filled.dtype == np.float32
    assert np.array_equal(filled, np.full((2, 2), ramp[5].header["PIXVALUE"], np.float32))


def test_a_value_with_a_fraction_is_kept():
    """PIXVALUE 0.5 of an integer image is no 0."""
    header = fits.Header({"NPIX1": 3, "NPIX2": 2, "PIXVALUE": 0.5})
    content = content_of(fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(header=header)]))
    found = box_array(images(content)[1], ((0, 2), (0, 3)), Segments())
    assert np.array_equal(found, np.full((2, 3), 0.5))


def test_what_is_no_image_is_none():
    """Tables, tile-compressed images and HDUs without pixels have none."""
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=[1])])
    packed = fits.CompImageHDU(np.ones((32, 32), "f4"))
    content = content_of(fits.HDUList([fits.PrimaryHDU(), table, packed, fits.ImageHDU()]))
    assert images(content) == [None] * 4


def test_a_keyword_without_sense_is_named():
    """BITPIX 7 is no format of pixels."""
    content = stored(np.zeros((2, 2), "u1"), 8, {}).replace(
        b"BITPIX  =                    8", b"BITPIX  =                    7"
    )
    with pytest.raises(FormatError, match=r"has BITPIX = 7: expected one of \[-64, -32, 8, 16, 32, 64\]"):
        images(content)
