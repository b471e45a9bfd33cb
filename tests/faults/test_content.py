"""Rows 35 to 42 of the matrix of faults: bytes that claim to be FITS."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import warnings

import numpy as np
import pytest
from astropy.io import fits
from faults.conftest import NAME
from support import put

import hst_cloud as hst
from hst_cloud.errors import FormatError, HSTCloudWarning, TruncatedFileError
from hst_cloud.science.solutions import solving_header
from hst_cloud.testing import LocalArchive

SHORT = pytest.mark.filterwarnings("ignore:File may have been truncated")  # what astropy says to the user


@pytest.fixture
def serve(tmp_path):
    """Return a function that serves a file with the given content, under one name."""
    with LocalArchive(tmp_path) as archive:

        def serving(content):
            put(tmp_path, NAME, content)
            archive.forget()
            return archive

        yield serving


def header(*cards):
    return "".join(card.ljust(80) for card in (*cards, "END")).encode().ljust(2880)


PRIMARY = header("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0")


def image(*axes, pcount=0, gcount=1, bitpix=-64):
    return header(
        "XTENSION= 'IMAGE   '",
        f"BITPIX  = {bitpix:20d}",
        f"NAXIS   = {len(axes):20d}",
        *(f"NAXIS{n}".ljust(8) + f"= {axis:20d}" for n, axis in enumerate(axes, 1)),
        f"PCOUNT  = {pcount:20d}",
        f"GCOUNT  = {gcount:20d}",
    )


BOMBS = {
    "two axes": image(2_000_000, 2_000_000),
    "three axes": image(99_999_999_999, 99_999_999_999, 99_999_999_999),
    "groups": image(2000, 2000, gcount=9_999_999_999_999),
    "heap": image(10, 10, pcount=9_999_999_999_999),
}


@SHORT
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_row_35_sizes_beyond_the_object(serve, bomb):
    """Arithmetic refuses them before memory is taken; the error says how much was promised and how much is there."""
    archive = serve(PRIMARY + bomb)
    tracemalloc.start()
    try:
        with pytest.warns(HSTCloudWarning, match="is truncated: HDU 1"):
            opened = hst.open(NAME)
        with opened as hdul:
            assert len(hdul) == 2
            with pytest.raises(TruncatedFileError, match=r"object ends after 5760 bytes"):
                _ = hdul[1].data
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert sum(request.bytes for request in archive.requests) <= 2 * 65_536


@pytest.mark.parametrize(
    "content",
    [b"", b"SIMPLE", b"<html>Down for maintenance</html>" * 200, b"\0" * 100_000, PRIMARY.replace(b"END", b"   ")],
)
def test_row_36_what_is_no_fits_file(serve, content):
    """Nothing, HTML, zeros, a header that does not end: an error that names the object and its size."""
    archive = serve(content)
    with pytest.raises(FormatError, match=rf"{NAME} \({len(content)} bytes\) is no FITS file"):
        hst.open(NAME)
    assert len(archive.requests) < 10


def test_row_39_a_file_that_is_compressed_as_a_whole(serve, hdul):
    """It is read as what it is, or refused; what unpacks to no FITS file is refused."""
    buffer = io.BytesIO()
    hdul.writeto(buffer)
    serve(gzip.compress(buffer.getvalue()))
    with pytest.warns(HSTCloudWarning, match="is compressed and cannot be read in parts"):
        ours = hst.open(NAME)
    np.testing.assert_array_equal(ours["SCI"].data, hdul["SCI"].data)
    ours.close()
    serve(gzip.compress(bytes(10_000_000)))
    with pytest.warns(HSTCloudWarning), pytest.raises(FormatError):
        hst.open(NAME)


def test_row_40_values_that_are_markup(serve, hdul):
    """What a notebook shows of a header is text."""
    hdul[0].header["TARGNAME"] = "<script>alert(1)</script>"
    serve(hdul)
    shown = hst.headers(NAME, ["TARGNAME"])._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


@SHORT
def test_row_40_values_that_are_not_ascii(serve, hdul):
    """They are an error where they are asked for, which quotes them, and nothing where they are not."""
    buffer = io.BytesIO()
    hdul.writeto(buffer)
    serve(buffer.getvalue().replace(b"'NGC 3603'", b"'\xff\xfe\x1b[2J<b>'"[:10]))
    with pytest.raises(
        FormatError, match=r"value of TARGNAME cannot be read: .*found .TARGNAME= 'ÿþ\\x1b\[2J"
    ) as error:
        hst.headers(NAME, ["TARGNAME"])
    assert str(error.value).isprintable()
    assert hst.headers(NAME, ["BITPIX"])["BITPIX"][0] == 8


def test_row_41_what_wcslib_is_given(hdul):
    """Keywords that say where pixels lie alone, whatever else is in a header."""
    header = hdul["SCI"].header
    header.update({"CTYPE1": "RA---TAN", "CRVAL1": 5.0, "TABLE1": "x" * 60, "HIERARCH evil twin": 5, "TTYPE1": "X"})
    header["HISTORY"] = "CTYPE1  = 'x'"
    assert {"TABLE1", "TTYPE1", "HISTORY", "XTENSION", "EVIL TWIN"}.isdisjoint(solving_header(header))
    assert {"CTYPE1": "RA---TAN", "CRVAL1": 5.0, "NAXIS1": 500}.items() <= dict(solving_header(header)).items()


def test_row_41_a_hostile_solution(serve, hdul):
    """Nobody builds it unasked, and whoever asks for it gets an error of ours."""
    hostile = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 99, "CRVAL1": 1e300, "CD1_1": 0.0}
    hdul["SCI"].header.update({**hostile, "CD2_2": 0.0, "EQUINOX": "x", "PV1_99": 5.0})
    serve(hdul)
    with hst.open(NAME) as ours:
        assert ours["SCI"].section[0:2, 0:2].shape == (2, 2)
    with pytest.raises(FormatError, match="no solution that astropy can read"):
        hst.cutout(NAME, center="10d 20d", size="1 arcsec")


@SHORT
@pytest.mark.parametrize("missing", [3000, 9000])
def test_row_42_a_file_that_is_cut_short(serve, hdul, missing):
    """What is whole can be read; what is not says how much there is, and where another copy may be."""
    buffer = io.BytesIO()
    hdul.writeto(buffer)
    serve(buffer.getvalue()[:-missing])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ours = hst.open(NAME)
    assert any("truncated" in str(warning.message) for warning in said)
    with ours:
        np.testing.assert_array_equal(ours["SCI"].data, hdul["SCI"].data)
        assert ours[0].header["TARGNAME"] == "NGC 3603"
        with pytest.raises((TruncatedFileError, KeyError)):
            _ = ours["DQ"].data


@SHORT
def test_row_42_padding_that_is_missing_or_strange(serve, hdul):
    """The fill behind the last data belongs to nobody: neither its loss nor its content is an error."""
    buffer = io.BytesIO()
    hdul.writeto(buffer)
    whole = buffer.getvalue()
    start = whole.index(b"EXTNAME = 'DQ") // 2880 * 2880 + 2880  # the data begin on the block behind their header
    end = start + hdul["DQ"].data.nbytes
    for content in (whole[:end], whole[:end] + b"\xff" * (len(whole) - end)):
        serve(content)
        with hst.open(NAME) as ours:
            np.testing.assert_array_equal(ours["DQ"].data, hdul["DQ"].data)


def test_the_files_of_these_tests_are_fits(hdul):
    """Astropy itself reads the headers that are made here."""
    assert fits.Header.fromstring(PRIMARY.decode())["BITPIX"] == 8
    assert fits.Header.fromstring(image(3, 4).decode())["NAXIS2"] == 4
    assert hdul["SCI"].data.nbytes > 2**20
