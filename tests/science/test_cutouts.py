"""Cutouts against astropy's on the local file: pixels, place on the sky, errors, flags, and what they cost."""

from __future__ import annotations

import math
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D, InverseVariance, StdDevUncertainty
from astropy.nddata.bitmask import bitfield_to_boolean_mask
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from support import RecordingStore, put

from hst_cloud.errors import (
    FormatError,
    HSTCloudWarning,
    NotInCloudError,
    OutsideImageError,
    ProductNameError,
    QueryError,
    TruncatedFileError,
)
from hst_cloud.fits.layout import scan
from hst_cloud.science.chips import chips_of, likely_first
from hst_cloud.science.cutouts import cutout, cutouts
from hst_cloud.science.cuts import Wanted, cuts
from hst_cloud.science.solutions import part_of
from hst_cloud.store.link import IN_REGION
from hst_cloud.store.plan import drive
from hst_cloud.store.segments import Segments
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo.imaging import acs_wfc_flc, acs_wfc_raw, wfc3_ir_flt, wfc3_ir_ima, wfc3_uvis_flc
from hst_cloud.testing.demo.mosaics import acs_wfc_drc
from hst_cloud.values import Product

FILES = {
    "acs_flc": ("jbqf03gjq_flc.fits", acs_wfc_flc, 8),
    "uvis_flc": ("icb701osq_flc.fits", wfc3_uvis_flc, 16),
    "ir_flt": ("iczgs3ygq_flt.fits", wfc3_ir_flt, 8),
    "acs_drc": ("jbeveo010_drc.fits", acs_wfc_drc, 16),
    "ir_ima": ("iczgs3yhq_ima.fits", wfc3_ir_ima, 16),
    "acs_raw": ("jbqf03gkq_raw.fits", acs_wfc_raw, 16),
}
CHIPS = [("acs_flc", 1), ("acs_flc", 2), ("uvis_flc", 1), ("uvis_flc", 2), ("ir_flt", 1), ("acs_drc", 1)]
NAMES = {kind: name for kind, (name, _, _) in FILES.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder laid out like the bucket, with one file of each kind."""
    folder = tmp_path_factory.mktemp("bucket")
    for name, build, scale in FILES.values():
        put(folder, name, build(rootname=name[:9], scale=scale))
    # at right ascension 0, where degrees begin anew
    near = acs_wfc_flc.default
    wrapped = replace(near, rootname="jbqf03gmq", target=replace(near.target, ra=0.0, dec=-30.0))
    put(folder, "jbqf03gmq_flc.fits", acs_wfc_flc(wrapped, scale=16))
    return folder


@pytest.fixture(scope="module")
def local(folder):
    """Return a function that opens the local file of a kind."""
    opened = {}
    for name in [*NAMES.values(), "jbqf03gmq_flc.fits"]:
        opened[name] = fits.open(folder / "hst" / "public" / name[:4] / name[:9] / name)
    yield lambda kind: opened[NAMES.get(kind, kind)]
    for hdul in opened.values():
        hdul.close()


@pytest.fixture
def store(folder):
    return RecordingStore(folder)


def solved(hdul, hdu):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy tells what it mends of dates
        return WCS(hdul[hdu].header, hdul)


def expected(hdul, hdu, center, size, wcs):
    return Cutout2D(hdul[hdu].data, center, size, wcs=wcs, mode="partial", fill_value=np.nan)


def assert_same_place(cut, wcs):
    """Compare with all of the file's own solution, tables included, to a millionth of a pixel."""
    rows, columns = cut.shape
    x, y = np.meshgrid(np.linspace(0, columns - 1, 7), np.linspace(0, rows - 1, 7))
    ours = SkyCoord(*cut.wcs.all_pix2world(x, y, 0), unit="deg")
    theirs = SkyCoord(*wcs.all_pix2world(x + cut.meta["CUTX0"], y + cut.meta["CUTY0"], 0), unit="deg")
    pixel = math.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * u.deg
    assert (ours.separation(theirs) / pixel).to_value(1).max() < 1e-6
    assert cut.wcs.array_shape == cut.shape


# --- Pixels and place ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "version"), CHIPS)
@pytest.mark.parametrize("where", ["middle", "left", "top", "corner"])
def test_pixels_and_place_are_those_of_the_file(kind, version, where, local, store):
    """Around sky positions in the middle and near edges of every chip; what lies outside is NaN and masked."""
    hdul, hdu = local(kind), ("SCI", version)
    wcs = solved(hdul, hdu)
    rows, columns = hdul[hdu].shape
    x, y = {
        "middle": (columns / 2 + 0.3, rows / 2 - 0.2),
        "left": (2.0, rows / 2),
        "top": (columns / 2, rows - 3.4),
        "corner": (columns - 1.0, 0.0),
    }[where]
    center = wcs.pixel_to_world(x, y)
    cut = cutout(NAMES[kind], center, (21, 32), store=store)
    theirs = expected(hdul, hdu, center, (21, 32), wcs)
    assert isinstance(cut, CCDData)
    assert cut.meta["HDU"] == f"SCI,{version}"
    assert np.array_equal(cut.data, theirs.data, equal_nan=True)
    assert cut.data.dtype == np.float32
    assert cut.data.dtype.isnative
    assert cut.mask[np.isnan(cut.data)].all()
    assert np.isnan(cut.data).any() == (where != "middle")
    assert_same_place(cut, wcs)
    (y0, y1), (x0, x1) = theirs.bbox_original
    assert cut.meta["CUTOUT"] == f"[{y0}:{y1 + 1},{x0}:{x1 + 1}]"


def test_a_pixel_on_the_very_edge_lies_outside(store):
    """Half a pixel before the first one, a box of one pixel has none of the image, as astropy rounds."""
    with pytest.raises(OutsideImageError, match=r"1 pixels nearer"):
        cutout(NAMES["ir_flt"], (0.0, -0.5), 1, store=store)


@given(data=st.data())
def test_any_box_is_astropys(data, folder, local):
    """Centers in and about the image, odd and even sides: the same pixels, or both find none."""
    hdul = local("ir_flt")
    rows, columns = hdul["SCI"].shape
    x = data.draw(st.floats(-30, columns + 30))
    y = data.draw(st.floats(-30, rows + 30))
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    try:
        theirs = expected(hdul, "SCI", (x, y), size, None).data
    except ValueError:
        with pytest.raises(OutsideImageError):
            cutout(NAMES["ir_flt"], (x, y), size, store=folder)
        return
    cut = cutout(NAMES["ir_flt"], (x, y), size, store=folder)
    assert np.array_equal(cut.data, theirs, equal_nan=True)
    assert np.array_equal(cut.mask | np.isnan(theirs), cut.mask)


def test_a_sky_box_has_astropys_size(local, store):
    """An angle becomes pixels as Cutout2D has it, for a text, a Quantity and a pair."""
    hdul = local("acs_flc")
    wcs = solved(hdul, ("SCI", 1))
    center = wcs.pixel_to_world(200, 100)
    for size in (8 * u.arcsec, u.Quantity([8, 12], "arcsec"), (8 * u.arcsec, 20 * u.pix)):
        theirs = expected(hdul, ("SCI", 1), center, size, wcs)
        cut = cutout(NAMES["acs_flc"], center, size, store=store)
        assert np.array_equal(cut.data, theirs.data)
    text = cutout(NAMES["acs_flc"], center.to_string("hmsdms", precision=8), "8 arcsec", store=store)
    assert np.array_equal(text.data, expected(hdul, ("SCI", 1), center, 8 * u.arcsec, wcs).data)


def test_pixels_are_of_the_hdu_that_is_named(local, store):
    """Pixels mean the first EXTVER unless one is given, in any spelling; other images are cut without companions."""
    hdul = local("acs_flc")
    for hdu, index in (("SCI", 1), ("SCI,2", 4), (("SCI", 2), 4), (4, 4), ("dq,2", 6), ("ERR", 2)):
        cut = cutout(NAMES["acs_flc"], (30, 40), 12, hdu=hdu, store=store)
        assert np.array_equal(cut.data, hdul[index].data[34:46, 24:36]), hdu
    assert cut.uncertainty is None
    assert cut.mask is None
    assert cut.flags is None


def test_right_ascension_zero_is_no_border(local, store):
    """Pixels on both sides of it lie where the file has them, and a center may be given from either side."""
    name = "jbqf03gmq_flc.fits"
    hdul = local(name)
    found = 0
    for version in (1, 2):
        wcs = solved(hdul, ("SCI", version))
        rows, columns = hdul["SCI", version].shape
        ra = wcs.all_pix2world(np.arange(columns), np.full(columns, rows // 2), 0)[0]
        edges = np.flatnonzero(np.abs(np.diff(ra)) > 300)
        for x in edges:
            found += 1
            for shift in (-1.2, 1.2):
                center = wcs.pixel_to_world(x + shift, rows // 2)
                cut = cutout(name, center, 14, store=store)
                assert np.array_equal(cut.data, expected(hdul, ("SCI", version), center, 14, wcs).data)
                assert_same_place(cut, wcs)
                ras = cut.wcs.all_pix2world(np.arange(14), np.full(14, 7), 0)[0]
                assert np.ptp(ras) > 300
    assert found


def test_the_solution_is_the_files_own(local, folder):
    """Leaving out the cards that solve nothing changes nothing; nor does mending without a warning."""
    for kind in ("acs_flc", "uvis_flc", "ir_flt", "acs_drc"):
        hdul, name = local(kind), NAMES[kind]
        key = f"hst/public/{name[:4]}/{name[:9]}/{name}"
        store = RecordingStore(folder)
        found = drive(scan(key), lambda asks, key=key, store=store: store.read(key, asks))
        chip = chips_of(found.layout, found.segments, ("SCI", 1))[0]
        ours, theirs = chip.solution(found.layout, found.segments), solved(hdul, ("SCI", 1))
        assert ours.wcs.compare(theirs.wcs)
        assert repr(ours.to_header(relax=True)) == repr(theirs.to_header(relax=True))
        assert ours.pixel_shape == theirs.pixel_shape
        moved = part_of(ours, -7, 11, (5, 5))
        assert np.allclose(moved.all_pix2world(3, 4, 0), theirs.all_pix2world(-4, 15, 0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["acs_flc", "uvis_flc", "jbqf03gmq_flc.fits"])
def test_the_likely_chip_is_solved_first(kind, local, folder):
    """Positions on the second chip need no solution of the first; reads of one chip stay in their order."""
    name = NAMES.get(kind, kind)
    key = f"hst/public/{name[:4]}/{name[:9]}/{name}"
    store = RecordingStore(folder)
    found = drive(scan(key), lambda asks: store.read(key, asks))
    chips = chips_of(found.layout, found.segments, "SCI")
    for version in (1, 2):
        hdu = local(kind)["SCI", version]
        wcs = solved(local(kind), ("SCI", version))
        rows, columns = hdu.shape
        for x, y in ((columns / 2, rows / 2), (5, rows / 2), (columns - 5, rows / 3)):
            first = likely_first(chips, wcs.pixel_to_world(x, y))[0]
            assert first.extent.ver == version
    key = f"hst/public/iczg/iczgs3yhq/{NAMES['ir_ima']}"
    ramp = drive(scan(key), lambda asks: store.read(key, asks))
    reads = chips_of(ramp.layout, ramp.segments, "SCI")
    center = solved(local("ir_ima"), ("SCI", 1)).pixel_to_world(20, 30)
    assert [chip.extent.ver for chip in likely_first(reads, center)] == [1, 2, 3, 4]
    assert len(likely_first(reads, SkyCoord(0, -89, unit="deg"))) == 4


@pytest.mark.parametrize(
    "axes", [("RA---TAN", "DEC--TAN"), ("DEC--TAN", "RA---TAN"), ("GLON-TAN", "GLAT-TAN"), ("RA---SIN", "DEC--SIN")]
)
@pytest.mark.parametrize("frame", ["icrs", "fk5", "galactic"])
def test_positions_of_any_frame_are_found(axes, frame, tmp_path):
    """Whatever the frames of position and image, in whichever order its axes are: the pixel that astropy names."""
    header = fits.Header({"CRPIX1": 12, "CRPIX2": 9, "CRVAL1": 30.0, "CRVAL2": 40.0})
    header.update({"CD1_1": -1e-5, "CD1_2": 2e-6, "CD2_1": 2e-6, "CD2_2": 1e-5, "CTYPE1": axes[0], "CTYPE2": axes[1]})
    data = np.arange(600, dtype="f4").reshape(20, 30)
    put(tmp_path, "jbqf03gjq_flt.fits", fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, header, name="SCI")]))
    center = WCS(header).pixel_to_world(17.2, 6.9).transform_to(frame)
    cut = cutout("jbqf03gjq_flt.fits", center, (3, 5), store=tmp_path)
    assert np.array_equal(cut.data, data[6:9, 15:20])


def test_the_chip_with_most_of_the_box_stands_in(local, store):
    """A center in the gap between the chips is cut from the chip that most of the box lies on."""
    wcs = solved(local("acs_flc"), ("SCI", 1))
    rows, columns = local("acs_flc")["SCI", 1].shape
    found = cutout(NAMES["acs_flc"], wcs.pixel_to_world(columns / 2, rows + 1.0), 20, store=store)
    assert found.meta["HDU"] == "SCI,1"
    assert np.isnan(found.data).any()


def test_the_old_table_of_the_detector_is_read(tmp_path):
    """Before 2012, AXISCORR named one row of corrections: it is moved with the box as its successors are."""
    hdul = acs_wfc_flc(scale=16)
    header = hdul["SCI", 1].header
    for name in [n for n in header if n.startswith(("D2IM", "DP", "CPDIS"))]:
        header.remove(name, ignore_missing=True)
    header["AXISCORR"], header["D2IMEXT"] = 1, "wref$demo_d2i.fits"
    row = fits.ImageHDU(np.linspace(-0.1, 0.1, 256, dtype="f4"), name="D2IMARR", ver=1)
    put(tmp_path, NAMES["acs_flc"], fits.HDUList([hdul[0], hdul["SCI", 1], row]))
    with fits.open(tmp_path / "hst/public/jbqf/jbqf03gjq" / NAMES["acs_flc"]) as local:
        wcs = solved(local, "SCI")
        assert wcs.det2im1 is not None
        cut = cutout(NAMES["acs_flc"], wcs.pixel_to_world(100.2, 60.7), 15, store=tmp_path)
        assert np.array_equal(cut.data, expected(local, "SCI", wcs.pixel_to_world(100.2, 60.7), 15, wcs).data)
    assert_same_place(cut, wcs)


@pytest.mark.parametrize(
    "path", ["wfc3/ibxy07p9q_ima.fits", "stis/o4sp040b0_raw.fits", "drizzlepac_samples/sample_ipppssoot_flc.fits"]
)
def test_real_files_are_cut_as_astropy_cuts_them(path, shared_data):
    """Ramps, raw files and files with tables of distortion, by whoever made them."""
    file = shared_data / "fits" / "hst" / path
    if not file.is_file():
        pytest.skip(f"{path} is not there")
    product = Product(filename=file.name, key=file.name)
    with fits.open(file) as hdul:
        for n, hdu in enumerate(hdul):
            if hdu.name == "SCI" and hdu.data is not None:
                center = (hdu.shape[1] * 0.6, hdu.shape[0] * 0.3)
                cut = cutout(product, center, (5, 7), hdu=n, store=file.parent)
                theirs = Cutout2D(hdu.data, center, (5, 7), mode="trim")
                (y0, y1), (x0, x1) = theirs.bbox_original
                inside = cut.data[y0 - cut.meta["CUTY0"] :, x0 - cut.meta["CUTX0"] :][: y1 - y0 + 1, : x1 - x0 + 1]
                assert np.array_equal(inside, theirs.data)
                assert_same_place(cut, solved(hdul, n))


# --- Errors, flags, weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "good"), [("acs_flc", 336), ("uvis_flc", 336), ("ir_flt", 528)])
def test_errors_and_flags_come_with_science(kind, good, local, store):
    """ERR is a standard deviation; DQ stays in flags and masks by the instrument's good bits, or by those given."""
    hdul = local(kind)
    cut = cutout(NAMES[kind], (30, 40), 40, store=store)
    where = (slice(20, 60), slice(10, 50))
    assert isinstance(cut.uncertainty, StdDevUncertainty)
    assert np.array_equal(cut.uncertainty.array, hdul["ERR", 1].data[where])
    assert np.array_equal(cut.flags, hdul["DQ", 1].data[where])
    assert np.array_equal(cut.mask, bitfield_to_boolean_mask(hdul["DQ", 1].data[where], good))
    assert cut.weight is None
    for bits in (0, "16,64", "~4096", [4096], None):
        other = cutout(NAMES[kind], (30, 40), 40, good_bits=bits, store=store)
        assert np.array_equal(other.mask, bitfield_to_boolean_mask(hdul["DQ", 1].data[where], bits))
    with pytest.raises(QueryError, match=r"good_bits='rubbish' are no bits"):
        cutout(NAMES[kind], (30, 40), 40, good_bits="rubbish", store=store)


def test_what_lies_outside_is_flagged(store):
    """All bits are set there, errors are NaN, and the mask is True whatever bits are good."""
    cut = cutout(NAMES["ir_flt"], (0, 0), 10, good_bits=None, store=store)
    outside = np.isnan(cut.data)
    assert outside.sum() == 100 - 25
    assert np.array_equal(cut.mask, outside)
    assert np.array_equal(np.isnan(cut.uncertainty.array), outside)
    assert (cut.flags[outside] == -1).all()


def test_the_weight_of_a_drizzled_file_is_no_error(local, store):
    """WHT is the attribute `weight`; it is an uncertainty only if it is said to be inverse variance."""
    hdul = local("acs_drc")
    rows, columns = hdul["SCI"].shape
    where = (slice(rows // 2 - 5, rows // 2 + 5), slice(columns // 2 - 5, columns // 2 + 5))
    center = (columns // 2, rows // 2)
    cut = cutout(NAMES["acs_drc"], center, 10, store=store)
    assert np.array_equal(cut.weight, hdul["WHT"].data[where])
    assert cut.uncertainty is None
    assert cut.flags is None
    inverse = cutout(NAMES["acs_drc"], center, 10, weight="inverse variance", store=store)
    assert isinstance(inverse.uncertainty, InverseVariance)
    assert inverse.uncertainty.unit == (u.electron / u.s) ** -2
    assert np.array_equal(inverse.uncertainty.array, cut.weight)
    y, x = np.argwhere(hdul["WHT"].data == 0)[0]
    edge = cutout(NAMES["acs_drc"], (x, y), 9, store=store)
    assert edge.mask[4, 4]
    assert np.array_equal(edge.mask, ~(edge.weight > 0))
    assert not edge.mask.all()


def test_raw_files_have_no_errors_yet(local, store):
    """ERR is zero for every pixel, DQ a constant: no uncertainty, nothing masked; counts stay integers inside."""
    hdul = local("acs_raw")
    cut = cutout(NAMES["acs_raw"], (20, 20), 10, store=store)
    assert np.array_equal(cut.data, hdul["SCI"].data[15:25, 15:25])
    assert cut.data.dtype == np.uint16
    assert cut.unit == u.count
    assert cut.uncertainty is None
    assert not cut.mask.any()
    edge = cutout(NAMES["acs_raw"], (0, 20), 10, store=store)
    assert edge.data.dtype == np.float32
    assert np.array_equal(edge.data[:, 5:], hdul["SCI"].data[15:25, :5].astype("f4"))
    assert np.isnan(edge.data[:, :5]).all()


def test_a_ramp_is_cut_at_its_last_read(local, store):
    """The first EXTVER that holds the position is taken; SAMP is one number for all pixels."""
    hdul = local("ir_ima")
    cut = cutout(NAMES["ir_ima"], solved(hdul, ("SCI", 1)).pixel_to_world(20, 30), 8, store=store)
    assert cut.meta["HDU"] == "SCI,1"
    samples = cutout(NAMES["ir_ima"], (20, 30), 8, hdu="SAMP,2", store=store)
    assert (samples.data == hdul["SAMP", 2].header["PIXVALUE"]).all()
    assert samples.unit == u.dimensionless_unscaled
    assert_same_place(samples, solved(hdul, ("SCI", 2)))


# --- What it says of itself ------------------------------------------------------------------------------------------


def test_meta_tells_where_it_is_from(local, store, folder):
    """Key, version, image, slice, name of the solution; keywords of both headers; nothing of the whole image."""
    cut = cutout(NAMES["acs_flc"], (30, 40), (10, 20), hdu="SCI,2", store=store)
    hdul = local("acs_flc")
    key = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
    assert cut.meta["S3KEY"] == key
    assert cut.meta["S3ETAG"] == store.listings([key])[0][0].etag
    assert cut.meta["HDU"] == "SCI,2"
    assert cut.meta["CUTOUT"] == "[35:45,20:40]"
    assert (cut.meta["CUTX0"], cut.meta["CUTY0"]) == (20, 35)
    assert cut.meta["WCSNAME"] == hdul["SCI", 2].header["WCSNAME"]
    assert cut.meta["EXPTIME"] == hdul[0].header["EXPTIME"]
    assert cut.meta["CCDCHIP"] == hdul["SCI", 2].header["CCDCHIP"]
    assert cut.meta["EXTVER"] == 2
    for name in ("CRPIX1", "CD1_1", "A_0_2", "CPDIS1", "DP1.EXTVER", "NAXIS1", "BITPIX", "SIMPLE", "NEXTEND", "LTV1"):
        assert name not in cut.meta
    assert cut.unit == u.electron


def test_meta_has_each_keyword_once_and_long_texts_whole(tmp_path):
    """The image's own goes before the primary header's; continuations and long keywords come along."""
    primary, sci = fits.PrimaryHDU(), fits.ImageHDU(np.ones((20, 30), "f4"), name="SCI")
    text = "a text that is longer than a card " * 5
    for header, value in ((primary.header, 1), (sci.header, 2)):
        header["BOTH"] = value
        header["HIERARCH something long"] = value
    primary.header["LONG"], primary.header["FIRST"], sci.header["LONGTOO"] = text, 3, text + "too"
    put(tmp_path, "jbqf03gjq_flt.fits", fits.HDUList([primary, sci]))
    meta = cutout("jbqf03gjq_flt.fits", (5, 5), 4, store=tmp_path).meta
    assert [meta.count(name) for name in ("BOTH", "something long", "LONG", "FIRST", "S3KEY")] == [1] * 5
    assert (meta["BOTH"], meta["something long"], meta["FIRST"]) == (2, 2, 3)
    assert (meta["LONG"], meta["LONGTOO"]) == (text.rstrip(), text + "too")
    put(tmp_path, "jbqf03gkq_flt.fits", fits.HDUList([fits.PrimaryHDU(np.ones((20, 30), "f4"), primary.header)]))
    alone = cutout("jbqf03gkq_flt.fits", (5, 5), 4, hdu=0, store=tmp_path).meta
    assert alone.count("BOTH") == alone.count("LONG") == 1


def test_a_cutout_can_be_written_and_pickled(store, tmp_path):
    """CCDData writes it with mask, uncertainty and keywords; another process gets it whole."""
    cut = cutout(NAMES["ir_flt"], (30, 40), 12, store=store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keywords that FITS's verification mends
        cut.write(tmp_path / "cut.fits")
        back = CCDData.read(tmp_path / "cut.fits")
    assert np.array_equal(back.data, cut.data)
    assert np.array_equal(back.mask, cut.mask)
    assert np.array_equal(back.uncertainty.array, cut.uncertainty.array)
    assert back.unit == cut.unit == u.electron / u.s
    assert back.meta["S3KEY"] == cut.meta["S3KEY"]
    assert np.allclose(back.wcs.all_pix2world(3, 4, 0), cut.wcs.all_pix2world(3, 4, 0), rtol=0, atol=1e-10)
    copied = pickle.loads(pickle.dumps(cut))
    assert np.array_equal(copied.data, cut.data)
    assert copied.meta["CUTOUT"] == cut.meta["CUTOUT"]


# --- What it costs ---------------------------------------------------------------------------------------------------


def headers_cost(folder, name):
    """Return the batches of the headers alone."""
    store = RecordingStore(folder)
    key = f"hst/public/{name[:4]}/{name[:9]}/{name}"
    drive(scan(key), lambda asks: store.read(key, asks))
    return store.batches


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return a folder with an flc whose images are too large to come with the headers, or with one another."""
    folder = tmp_path_factory.mktemp("large")
    put(folder, NAMES["acs_flc"], acs_wfc_flc(scale=4))
    return folder


def test_pixels_errors_and_flags_are_one_round_trip(large, local):
    """Three ranges after those of the headers, one for the pixels alone, and of no more rows than the box has.

    The headers of a file like one that was read before take one round trip.
    """
    store = RecordingStore(large)
    before = headers_cost(large, NAMES["acs_flc"])
    with fits.open(large / "hst" / "public" / "jbqf" / "jbqf03gjq" / NAMES["acs_flc"]) as hdul:
        center = solved(hdul, ("SCI", 2)).pixel_to_world(500, 256)
        length = hdul["SCI", 2].shape[1]
    cutout(NAMES["acs_flc"], center, 100, store=store)
    assert store.batches[:-1] == before
    assert [r.size for r in store.batches[-1]] == [(99 * length + 100) * size for size in (4, 4, 2)]
    store.batches.clear()
    cutout(NAMES["acs_flc"], center, 100, uncertainty=False, mask=False, store=store)
    assert [len(batch) for batch in store.batches] == [sum(len(batch) for batch in before), 1]
    store.batches.clear()
    cutout(NAMES["acs_flc"], (500, 256), 100, uncertainty=False, store=store)
    assert [len(batch) for batch in store.batches[1:]] == [2]


def test_what_is_known_is_not_read_again(large):
    """With layout, headers and tables in hand, one batch is left; without the tables, a sky position costs one more."""
    name, store = NAMES["acs_flc"], RecordingStore(large)
    key = f"hst/public/{name[:4]}/{name[:9]}/{name}"
    found = drive(scan(key), lambda asks: store.read(key, asks))
    content = (large / key).read_bytes()
    bare = replace(
        found, segments=Segments((h.header.start, content[h.header.start : h.header.stop]) for h in found.layout.hdus)
    )
    tables = [h for h in found.layout.hdus if h.name in {"D2IMARR", "WCSDVARR"} and h.ver in {3, 4}]
    with fits.open(large / key) as hdul:
        sky = solved(hdul, ("SCI", 2)).pixel_to_world(500.3, 256.3)
    results = []
    for known, center, sizes in ((found, sky, [3]), (bare, sky, [1, 3]), (bare, (500.3, 256.3), [4])):
        store.batches.clear()
        wanted = Wanted(
            centers=(center,),
            size=(100, 100),
            hdu="SCI,2",
            good_bits=0,
            uncertainty=True,
            mask=True,
            weight="exposure",
            wcs=True,
            link=IN_REGION,
            files=1,
        )
        plan = cuts(known, wanted, key)
        (cut,) = drive(plan, lambda asks: store.read(key, asks, etag=found.layout.etag))
        assert [len(batch) for batch in store.batches] == sizes
        results.append(cut)
        if known is bare:
            read = [r for batch in store.batches for r in batch]
            assert all(any(r.start <= t.data.start and t.data.stop <= r.stop for r in read) for t in tables)
    for cut in results[1:]:
        assert np.array_equal(cut.planes["ERR"], results[0].planes["ERR"])
        assert np.array_equal(cut.solution.all_pix2world(30, 40, 0), results[0].solution.all_pix2world(30, 40, 0))


def test_served_cutouts_cost_the_same(large):
    """Over HTTP: the requests are GETs of ranges, pinned to the version that the headers were read of."""
    before = headers_cost(large, NAMES["acs_flc"])
    with LocalArchive(large) as archive:
        cut = cutout(NAMES["acs_flc"], (500, 256), 100)
        assert len(archive.requests) == sum(len(batch) for batch in before) + 3
        assert {r.method for r in archive.requests} == {"GET"}
        assert {r.status for r in archive.requests} == {206}
        assert cut.meta["S3ETAG"]
    assert np.array_equal(cut.data, cutout(NAMES["acs_flc"], (500, 256), 100, store=large).data)


# --- Many ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("served", [False, True])
def test_many_come_in_order(served, folder, local):
    """By product, then by center; the headers of a product are read once."""
    names = [NAMES["acs_flc"], "jbqf03gmq_flc.fits", NAMES["ir_flt"]]
    centers = [(20, 30), (40.2, 10.9)]
    said = []
    if served:
        with LocalArchive(folder) as archive:
            found = cutouts(Table({"productFilename": names}), centers, 15, progress=said.append)
            starts = [r.path for r in archive.requests if (r.range or "").startswith("bytes=0-")]
            assert sorted(starts) == sorted(set(starts))
    else:
        found = cutouts(names, centers, 15, store=folder, progress=said.append)
    assert [p.done for p in said] == [1, 2, 3]
    assert {p.total for p in said} == {3}
    for n, cut in enumerate(found):
        name, center = names[n // 2], centers[n % 2]
        assert cut.meta["S3KEY"].endswith(name)
        assert np.array_equal(
            cut.data, expected(local(name if "gmq" in name else kind_of(name)), "SCI", center, 15, None).data
        )
    assert len(found) == 6


def kind_of(name):
    return next(kind for kind, its in NAMES.items() if its == name)


def test_centers_may_be_an_array_of_the_sky(local, store):
    """A SkyCoord of several positions stands for each of them; one is one."""
    wcs = solved(local("ir_flt"), "SCI")
    sky = wcs.pixel_to_world([20, 60, 90], [30, 70, 20])
    found = cutouts(NAMES["ir_flt"], sky, 9, store=store)
    assert [(c.meta["CUTX0"], c.meta["CUTY0"]) for c in found] == [(16, 26), (56, 66), (86, 16)]
    assert len(cutouts([NAMES["ir_flt"]], sky[0], 9, store=store)) == 1
    with pytest.raises(QueryError, match="centers is empty"):
        cutouts(NAMES["ir_flt"], [], 9, store=store)


def test_failures_are_raised_or_listed(store):
    """By default the first error is raised; with 'skip' one warning lists every cutout that is missing."""
    names = [NAMES["ir_flt"], "iczgs3yzq_flt.fits", "not a name!", NAMES["acs_drc"]]
    centers = [(20, 30), (5000, 30)]
    with pytest.raises(ProductNameError, match="'not a name!' names no file"):
        cutouts(names, centers, 9, store=store)
    with pytest.warns(HSTCloudWarning, match="4 cutouts were skipped") as caught:
        found = cutouts(names, centers, 9, store=store, on_error="skip")
    assert [c.meta["S3KEY"].rpartition("/")[2] for c in found] == [NAMES["ir_flt"], NAMES["acs_drc"]]
    assert len(caught) == 1
    text = str(caught[0].message)
    assert caught[0].filename == __file__
    for part in ("iczgs3ygq_flt.fits: pixel (5000", "iczgs3yzq_flt.fits: ", "product 2: ", "jbeveo010_drc.fits: pixel"):
        assert part in text
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip', found 'ignore'"):
        cutouts(names, centers, 9, store=store, on_error="ignore")


# --- What goes wrong -------------------------------------------------------------------------------------------------


def test_a_box_outside_says_by_how_much(local, store):
    """In pixels of the nearest chip; far away, no distance is invented."""
    wcs = solved(local("acs_flc"), ("SCI", 1))
    with pytest.raises(
        OutsideImageError, match=r"SCI,1, whose shape is \(256, 512\).* \(10, 10\) .* 56 pixels nearer"
    ) as caught:
        cutout(NAMES["acs_flc"], wcs.pixel_to_world(200, -60.0), 10, store=store)
    assert caught.value.key == "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
    assert isinstance(caught.value, ValueError)
    with pytest.raises(OutsideImageError, match=r"pixel \(-6\.0, 5\.0\).* 2 pixels nearer"):
        cutout(NAMES["acs_flc"], (-6, 5), 10, store=store)
    for there in (
        SkyCoord(10, -80, unit="deg"),
        wcs.pixel_to_world(0, 0).directional_offset_by(0 * u.deg, 170 * u.deg),
    ):
        with pytest.raises(OutsideImageError, match="more than two images away from SCI,1, SCI,2"):
            cutout(NAMES["acs_flc"], there, 10, store=store)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"center": (1, 2, 3)}, r"center=\(1, 2, 3\) is no position"),
        ({"center": (math.nan, 2)}, "is no position"),
        ({"center": "somewhere"}, "center='somewhere' is no position"),
        ({"size": 0}, "size=0 is no size"),
        ({"size": "10 s"}, "size='10 s' is no size"),
        ({"size": (1, 2, 3)}, r"size=\(1, 2, 3\) has 3 sides"),
        ({"size": 0.2}, "0 by 0 pixels"),
        ({"size": 1e6}, "1000000 by 1000000 pixels"),
        ({"size": -1 * u.arcsec}, "is no size"),
        ({"hdu": "SCI,7"}, "hdu='SCI,7' is not there in .*: it holds PRIMARY,1, SCI,1"),
        ({"hdu": "WCSCORR"}, "is no two-dimensional image"),
        ({"hdu": 99}, "hdu=99 is not there"),
        ({"hdu": "SCI,x"}, "hdu='SCI,x' names no HDU"),
        ({"hdu": "SCI,-1"}, "hdu='SCI,-1' names no HDU"),
        ({"hdu": True}, "hdu=True names no HDU"),
        ({"hdu": None}, "hdu=None names no HDU"),
        ({"hdu": ("SCI",)}, "names no HDU"),
        ({"wcs_key": 5}, "wcs_key=5 names no solution"),
    ],
)
def test_what_makes_no_sense_is_named(given, message, store):
    """Each message names the argument and what was found."""
    arguments = {"center": (10, 10), "size": 10} | given
    with pytest.raises(QueryError, match=message):
        cutout(NAMES["ir_flt"], **arguments, store=store)


def test_products_without_a_file_are_refused(store):
    """An observation has several files; what is no name names nothing."""
    with pytest.raises(NotInCloudError, match="names an observation with several files"):
        cutout("jbqf03gjq", (10, 10), 10, store=store)
    with pytest.raises(ProductNameError):
        cutout("not a name!", (10, 10), 10, store=store)


def test_a_truncated_file_gives_what_it_has(tmp_path):
    """Pixels before the end are read; those behind raise."""
    flt = wfc3_ir_flt.to_bytes(scale=2)
    put(tmp_path, NAMES["ir_flt"], flt[: 1024 * 1024])
    assert cutout(NAMES["ir_flt"], (10, 10), 6, uncertainty=False, mask=False, store=tmp_path).shape == (6, 6)
    with pytest.raises(TruncatedFileError, match="ends after 1048576 bytes"):
        cutout(NAMES["ir_flt"], (10, 500), 6, hdu="SCI", store=tmp_path)
    with pytest.warns(HSTCloudWarning, match="1 cutout was skipped"):
        found = cutouts(
            NAMES["ir_flt"], [(10, 10), (10, 500)], 6, on_error="skip", uncertainty=False, mask=False, store=tmp_path
        )
    assert [cut.meta["CUTX0"] for cut in found] == [7]
    put(tmp_path, NAMES["acs_flc"], acs_wfc_flc.to_bytes(scale=4)[: 2 * 1024 * 1024])
    with pytest.raises(TruncatedFileError, match=r"D2IMARR.* not found.* lacks \d+ bytes or more"):
        cutout(NAMES["acs_flc"], (10, 10), 6, uncertainty=False, mask=False, store=tmp_path)


def test_contradictions_of_a_file_are_named(tmp_path):
    """A companion of another shape, a table that is not there, a unit that nobody knows."""
    sci, err = np.ones((20, 30), "f4"), np.ones((20, 31), "f4")
    put(
        tmp_path,
        "jbqf03gjq_flt.fits",
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sci, name="SCI"), fits.ImageHDU(err, name="ERR")]),
    )
    with pytest.raises(FormatError, match=r"ERR,1 of .* has shape \(20, 31\): expected that of SCI,1, \(20, 30\)"):
        cutout("jbqf03gjq_flt.fits", (5, 5), 4, store=tmp_path)
    hdul = acs_wfc_flc(scale=64)
    put(tmp_path, "jbqf03gkq_flt.fits", fits.HDUList([h for h in hdul if h.name != "WCSDVARR"]))
    with pytest.raises(FormatError, match=r"SCI,1 of .* has no solution that astropy can read: .*WCSDVARR"):
        cutout("jbqf03gkq_flt.fits", (5, 5), 4, store=tmp_path)
    strange = fits.ImageHDU(sci, fits.Header({"BUNIT": "bananas"}), name="SCI")
    put(tmp_path, "jbqf03glq_flt.fits", fits.HDUList([fits.PrimaryHDU(), strange]))
    with pytest.raises(FormatError, match="BUNIT = 'bananas'"):
        cutout("jbqf03glq_flt.fits", (5, 5), 4, store=tmp_path)


def test_an_image_without_sky_is_cut_by_pixels(tmp_path):
    """A sky position or an angle means nothing there; pixels do."""
    data = np.arange(600, dtype="f4").reshape(20, 30)
    put(tmp_path, "obx801010_flt.fits", fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI")]))
    assert np.array_equal(cutout("obx801010_flt.fits", (10, 8), 4, store=tmp_path).data, data[6:10, 8:12])
    with pytest.raises(QueryError, match="SCI,1 is no image of the sky"):
        cutout("obx801010_flt.fits", "10 20", 4, store=tmp_path)
    with pytest.raises(QueryError, match="is an angle, but the image shows no sky"):
        cutout("obx801010_flt.fits", (10, 8), "4 arcsec", store=tmp_path)
