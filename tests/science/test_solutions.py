"""Solutions are astropy's to the last digit, whichever way they are made."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from hst_cloud.fits.layout import scan
from hst_cloud.science.solutions import _assembled, _solving, part_of, solution_of, tables_named
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import drive
from hst_cloud.store.ranges import Segments
from hst_cloud.testing.demo.imaging import acs_wfc_flc, wfc3_ir_flt, wfc3_uvis_flc
from hst_cloud.testing.demo.mosaics import acs_wfc_drc

BUILD = {"acs": acs_wfc_flc, "uvis": wfc3_uvis_flc, "infrared": wfc3_ir_flt, "drizzled": acs_wfc_drc}
UNSOLVED = (ValueError, KeyError, TypeError, IndexError, MemoryError, NameError, VerifyError)


def opened(content):
    """Return the scan of a file in memory with all its bytes held, and astropy's list of it."""
    found = drive(scan("x_flc.fits"), lambda asks: [Piece(content[a.start : a.stop], len(content), "e") for a in asks])
    return found.layout, Segments([(0, content)]), fits.open(io.BytesIO(content))


@pytest.fixture(scope="module")
def files():
    return {kind: opened(build.to_bytes(scale=64)) for kind, build in BUILD.items()}


def assert_same(ours, theirs, shape):
    assert ours.wcs.compare(theirs.wcs)
    assert repr(ours.to_header(relax=True)) == repr(theirs.to_header(relax=True))
    assert ours.pixel_shape == theirs.pixel_shape
    assert ours.naxis == theirs.naxis
    if ours.naxis == 2:
        grid = np.meshgrid(np.linspace(-5, shape[1] + 5, 9), np.linspace(-5, shape[0] + 5, 9))
        assert np.array_equal(ours.all_pix2world(*grid, 0), theirs.all_pix2world(*grid, 0), equal_nan=True)
    for name in ("cpdis1", "cpdis2", "det2im1", "det2im2"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (other is None)
        if mine is not None:
            assert np.array_equal(mine.data, other.data)
            for place in ("crpix", "crval", "cdelt"):
                assert np.array_equal(getattr(mine, place), getattr(other, place))


@pytest.mark.parametrize("kind", BUILD)
def test_what_the_pipelines_write_is_astropys_and_quick(kind, files):
    """Every image's solution is made without astropy's parser, and no number of it differs."""
    layout, held, local = files[kind]
    for number, extent in enumerate(layout.hdus):
        if extent.name != "SCI":
            continue
        header = bytes(held.find(*extent.header))
        tables = [hdu for hdu in layout.hdus if (hdu.name, hdu.ver) in tables_named(header)]
        assert len(tables) == {"acs": 4, "uvis": 4}.get(kind, 0)
        _assembled(list(_solving(header)), tables, held)  # or it raises that it is of another form
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy tells what it mends of dates
            theirs = WCS(local[number].header, local)
        ours = solution_of(header, extent.shape, tables, held)
        assert_same(ours, theirs, extent.shape)
        assert_same(part_of(ours, 0, 0, extent.shape), theirs, extent.shape)


SIP, TAN = "'RA---TAN-SIP'", "'RA---TAN'"
CHANGES = [
    *[("CTYPE1", value) for value in (SIP, TAN, "'RA---TPV'", "'ra---tan-sip'", "'GLON-TAN'", "'DEC--TAN-SIP'", None)],
    *[("CTYPE2", value) for value in ("'DEC--TAN-SIP'", "'DEC--TAN'", None)],
    *[(f"{axis}_ORDER", value) for axis in "AB" for value in ("1", "2", "4", "4.0", "0", "-1", "99", "'x'", None)],
    *[("A_0_2", value) for value in ("1.5E-5", "1.5D-5", "1e-5", "'x'", "T", None)],
    *[(name, "1E-6") for name in ("A_3_3", "A_9_9", "A_0_0", "A_1_0", "A_10_2", "A_0_2A", "AP_0_1", "A_DMAX", "PV1_1")],
    *[(name, "2") for name in ("AP_ORDER", "BP_ORDER", "A_ORDERA", "WCSAXES", "AXISCORR", "D2IM1", "DP1")],
    *[(name, "'LOOKUP'") for name in ("CPDIS1", "CPDIS2", "D2IMDIS2", "CPDIS3", "CQDIS1", "CPDIS1A")],
    *[(name, "'lookup  ' / as well") for name in ("CPDIS1", "D2IMDIS1")],
    *[(name, value) for name in ("CPDIS1", "D2IMDIS2") for value in ("'POLYNOMIAL'", "''", None)],
    *[(name, value) for name in ("CPERR1", "D2IMERR2") for value in ("-1.0", "0.0", "5", "'x'", None)],
    *[(name, f"'{value}'") for name in ("DP1", "D2IM2") for value in ("EXTVER: 1", "EXTVER: 2.0", "EXTVER: 9.0")],
    *[(name, f"'{value}'") for name in ("DP1", "D2IM2") for value in ("EXTVER: 1.5", "AXIS.1: 1", "AXIS.1: 2.0")],
    *[(name, None) for name in ("DP1", "D2IM2", "CRPIX1", "CRVAL2", "CD1_1", "CD2_1", "RADESYS")],
    *[("CRPIX1", value) for value in ("12.5", "12.5D0", "'x'", "1")],
    *[("CD1_1", value) for value in ("1.1E-5", "0.0", "1.1d-5")],
    *[(name, value) for name in ("NAXIS", "WCSAXES") for value in ("1", "3")],
    ("PV1_5", "1E-6"), ("PC1_1", "1.0"), ("CDELT1", "1E-5"), ("CTYPE3", "'WAVE'"), ("CUNIT1", "'arcsec'"), ("CROTA2", "3"),
    ("NAXIS3", "4"), ("LONPOLE", "170.0"), ("MJD-OBS", "'x'"), ("DATE-OBS", "'2011-01-01'"), ("DATE-OBS", "'31/12/99'"),
    ("EQUINOX", "1950.0"), ("RADESYS", "'FK4'"), ("DVERR1", "1.0"), ("WCSNAMEA", "'x'"), ("CRPIX1A", "3.0"),
]  # fmt: skip


def changed(header, name, value, how):
    """Return a header in which the first card of a keyword has another value, or is gone, or of which there are two."""
    cards = [header[at : at + 80] for at in range(0, len(header), 80)]
    at = next((n for n, card in enumerate(cards) if card[:8].rstrip() == name.encode()), None)
    fresh = [] if value is None else [f"{name:8}= {value:>20}".ljust(80).encode()]
    if at is None or how == "before":
        cards[8:8] = fresh
    elif how == "instead":
        cards[at : at + 1] = fresh
    else:
        cards[at + 1 : at + 1] = fresh
    text = b"".join(cards[: cards.index(b"END".ljust(80)) + 1])
    return text + b" " * (-len(text) % 2880)


def assert_solved_alike(header, layout, held, local, shape):
    """Give both the same header and all tables: the same solution, or neither has one."""
    tables = [hdu for hdu in layout.hdus if hdu.name in {"D2IMARR", "WCSDVARR"}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = WCS(fits.Header.fromstring(header), local, fix=False)
            theirs.wcs.fix()
            theirs.wcs.set()
        except UNSOLVED:
            with pytest.raises(UNSOLVED):
                solution_of(header, shape, tables, held)
            return
        assert_same(solution_of(header, shape, tables, held), theirs, shape)


@pytest.mark.parametrize("kind", ["acs", "infrared"])
def test_every_change_is_read_as_astropy_reads_it(kind, files):
    """One card left out, written otherwise, twice, or of another convention, before or after the others."""
    layout, held, local = files[kind]
    extent = next(hdu for hdu in layout.hdus if hdu.name == "SCI")
    header = bytes(held.find(*extent.header))
    for name, value in CHANGES:
        for how in ("instead", "before", "after"):
            assert_solved_alike(changed(header, name, value, how), layout, held, local, extent.shape)


@pytest.mark.parametrize("field", [b"AXIS.1: 1", b"AXIS.2: 2", b"EXTVER: 1", b"NAXES: 2"])
def test_fields_of_tables_are_astropys(field, files):
    """A table that is turned, one of another version, and one whose field is not there."""
    layout, held, local = files["acs"]
    extent = next(hdu for hdu in layout.hdus if hdu.name == "SCI")
    header = bytes(held.find(*extent.header))
    other = field[:-1] + (b"1" if field.endswith(b"2") else b"2")
    assert field in header
    for fresh in (other, b"X" + field[1:]):
        assert_solved_alike(header.replace(field, fresh, 1), layout, held, local, extent.shape)
        assert_solved_alike(header.replace(field, fresh), layout, held, local, extent.shape)


@settings(max_examples=60)
@given(data=st.data())
def test_any_changes_are_read_as_astropy_reads_them(data, files):
    """Several of them, in any kind of file."""
    layout, held, local = files[data.draw(st.sampled_from(sorted(BUILD)))]
    extent = next(hdu for hdu in layout.hdus if hdu.name == "SCI")
    header = bytes(held.find(*extent.header))
    for _ in range(data.draw(st.integers(2, 3))):
        name, value = data.draw(st.sampled_from(CHANGES))
        header = changed(header, name, value, data.draw(st.sampled_from(["instead", "before", "after"])))
    assert_solved_alike(header, layout, held, local, extent.shape)
