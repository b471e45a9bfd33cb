"""Mosaics against reproject on the local files, against flat skies and stars, and what they read."""

from __future__ import annotations

import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from support import RecordingStore, put

import hst_cloud as hst
from hst_cloud.errors import (
    HSTCloudWarning,
    MemoryLimitError,
    MissingExtraError,
    ObjectNotFoundError,
    OutsideImageError,
    QueryError,
)
from hst_cloud.fits.predict import siblings
from hst_cloud.science.mosaic import _field, _room, mosaic
from hst_cloud.science.rates import pixel_area
from hst_cloud.testing.demo import targets
from hst_cloud.testing.demo.folder import SEED
from hst_cloud.testing.demo.geometry import unplane
from hst_cloud.testing.demo.imaging import acs_wfc_flc, wfc3_ir_flt, wfc3_ir_ima, wfc3_uvis_flc
from hst_cloud.testing.demo.mosaics import wfc3_uvis_drc
from hst_cloud.testing.demo.scenes import scene

reproject = pytest.importorskip("reproject")

SCALE = 8
TARGET = targets.CLUSTER_UVIS.target
CENTER = SkyCoord(TARGET.ra, TARGET.dec, unit="deg")
FIRST, SECOND = targets.CLUSTER_UVIS.members
FLC, LATER, DRC, IR, RAMP = (
    f"{FIRST.rootname}_flc.fits", f"{SECOND.rootname}_flc.fits", "izdm01010_drc.fits", "izdm02a1q_flt.fits",
    "izdm02a1q_ima.fits",
)  # fmt: skip
ELSEWHERE = "jbqf03gjq_flc.fits"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder laid out like the bucket: two exposures, their combination, one of the infrared, another place."""
    folder = tmp_path_factory.mktemp("bucket")
    put(folder, FLC, wfc3_uvis_flc(FIRST, scale=SCALE, seed=SEED))
    put(folder, LATER, wfc3_uvis_flc(SECOND, scale=SCALE, seed=SEED))
    put(folder, DRC, wfc3_uvis_drc(targets.CLUSTER_UVIS, scale=SCALE, seed=SEED))
    put(folder, IR, wfc3_ir_flt(targets.CLUSTER_IR_FIRST, scale=SCALE, seed=SEED))
    put(folder, RAMP, wfc3_ir_ima(targets.CLUSTER_IR_FIRST, scale=SCALE))
    put(folder, ELSEWHERE, acs_wfc_flc(rootname=ELSEWHERE[:9], scale=16))
    return folder


def local(folder, name):
    """Open the local file."""
    return fits.open(folder / "hst" / "public" / name[:4] / name[:9] / name)


def changed(folder, to, name, change, new=None):
    """Copy a file with its chips changed."""
    with local(folder, name) as hdul:
        for number in range(1, 1 + sum(hdu.name == "SCI" for hdu in hdul)):
            change(hdul, number)
        return put(to, new or name, hdul)


def areas_of(wcs, shape):
    """Return the areas of all pixels, square arcsec."""
    y, x = np.indices(shape)
    return pixel_area(wcs, x.ravel(), y.ravel()).reshape(shape)


def test_flux_is_that_of_reproject_on_the_local_file(folder):
    """Each pixel is what reproject makes of the local chip, corrected by the map of its pixels' areas."""
    with local(folder, FLC) as hdul, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sci = hdul["SCI", 1]
        wcs = WCS(sci.header, hdul)
        middle = wcs.pixel_to_world(sci.shape[1] / 2, sci.shape[0] / 2)
        ours = mosaic([FLC], middle, "40 arcsec", good_bits=None, subtract_sky=False, store=folder)
        area = areas_of(wcs, sci.shape) / sci.header["IDCSCALE"] ** 2
        rate = sci.data * area / hdul[0].header["EXPTIME"]
        theirs, _ = reproject.reproject_adaptive(
            (rate, wcs), ours.wcs, shape_out=ours.shape, conserve_flux=True, kernel="gaussian"
        )
    assert not ours.mask.any()
    assert np.sum(ours.data) == pytest.approx(np.sum(theirs), rel=2e-4)
    assert ours.data == pytest.approx(theirs, rel=3e-3)


def test_a_flat_sky_has_no_seams(folder, tmp_path):
    """Of equal counts in every pixel of both chips and exposures, though their areas differ, an even mosaic is made."""

    def flat(hdul, number):
        hdul["SCI", number].data = np.full(hdul["SCI", number].shape, 30.0, np.float32)

    for name in (FLC, LATER):
        changed(folder, tmp_path, name, flat)
    image = mosaic([FLC, LATER], CENTER, "150 arcsec", scale="0.5 arcsec", subtract_sky=False, store=tmp_path)
    expected = 30.0 / 300.0 * 0.5**2 / (0.0396 * SCALE) ** 2
    assert 0.05 < image.mask.mean() < 0.5
    assert image.data[~image.mask] == pytest.approx(expected, rel=1e-4)
    assert np.isnan(image.data[image.mask]).all()


def test_a_flat_sky_has_no_seams_on_real_distortions(shared_data, tmp_path):
    """Chips of ACS/WFC, whose pixels differ by 5 percent in area at the gap, in a file without IDCSCALE."""
    name = "j94f05bgq_flt.fits"
    with fits.open(shared_data / "fits/hst/acs" / name) as hdul, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gap = WCS(hdul["SCI", 1].header, hdul).pixel_to_world(2048, 2040)
        for number in (1, 2):
            hdul["SCI", number].data = np.full(hdul["SCI", number].shape, 40.0, np.float32)
        put(tmp_path, name, fits.HDUList([hdu for hdu in hdul if hdu.name not in {"ERR", "DQ"}]))
    image = mosaic([name], gap, "8 arcsec", subtract_sky=False, store=tmp_path)
    assert image.meta["NINPUT"] == 2
    assert image.uncertainty is None
    assert image.data[~image.mask] == pytest.approx(40 / 400, rel=1e-6)


def test_the_stars_that_were_put_there_are_found(folder):
    """A star's light, summed over the mosaic of a combined image or of exposures, is what was put there."""
    apertures = pytest.importorskip("photutils.aperture")
    view = scene(TARGET.name, (TARGET.ra, TARGET.dec), SEED)
    stars = view.stars[(view.stars[:, 2] > 1000) & (view.stars[:, 2] < 7000) & (view.stars[:, 3] == 0)]
    stars = stars[np.hypot(stars[:, 0], stars[:, 1]) < 60]
    away = np.hypot(*(stars[:, None, :2] - view.stars[None, :, :2]).transpose(2, 0, 1))
    others = np.sum(np.where((away < 5) & (away > 0), view.stars[:, 2], 0.0), axis=1)
    stars = stars[others < 0.03 * stars[:, 2]]
    assert len(stars) >= 3
    places = SkyCoord(*unplane(stars[:, 0], stars[:, 1], view.center), unit="deg")
    for names, tolerance in (([DRC], 0.02), ([FLC, LATER], 0.05)):  # the demonstration's stars know no pixel's area
        image = mosaic(names, CENTER, "140 arcsec", store=folder)
        pixel = image.wcs.wcs.cdelt[1] * 3600
        for place, rate in zip(places, stars[:, 2] / SCALE**2, strict=True):
            x, y = image.wcs.world_to_pixel(place)
            circle = apertures.CircularAperture((x, y), 2 / pixel)
            ring = apertures.CircularAnnulus((x, y), 2.5 / pixel, 3.5 / pixel)
            sky = apertures.ApertureStats(image.data, ring, mask=image.mask).median
            total = apertures.ApertureStats(image.data, circle, mask=image.mask).sum
            assert total - sky * circle.area == pytest.approx(rate, rel=tolerance)


def test_the_grid_is_north_up(folder):
    """The middle is the center, north is up and east left, and pixels are the detector's or as wide as asked."""
    image = mosaic([FLC], CENTER, ("30 arcsec", "50 arcsec"), store=folder)
    assert isinstance(image, CCDData)
    assert list(image.wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN"]
    assert image.wcs.wcs.cdelt * 3600 == pytest.approx([-0.0396 * SCALE, 0.0396 * SCALE])
    assert image.shape == (round(30 / 0.0396 / SCALE), round(50 / 0.0396 / SCALE))
    rows, columns = image.shape
    assert image.wcs.pixel_to_world((columns - 1) / 2, (rows - 1) / 2).separation(CENTER) < 1e-6 * u.arcsec
    assert image.unit == u.electron / u.s
    wide = mosaic([FLC], CENTER, "30 arcsec", scale=1 * u.arcsec, store=folder)
    assert wide.shape == (30, 30)
    assert mosaic([DRC], CENTER, "30 arcsec", store=folder).wcs.wcs.cdelt[1] * 3600 == pytest.approx(0.0396 * SCALE)


def test_sky_is_subtracted_of_exposures_alone(folder):
    """MDRIZSKY goes from an exposure, and stays what it is in a drizzled image, which has lost its sky before."""
    with local(folder, FLC) as hdul:
        sky = hdul["SCI", 1].header["MDRIZSKY"] / hdul[0].header["EXPTIME"]
    with_sky, without = (
        mosaic([FLC], CENTER, "20 arcsec", scale="0.3168 arcsec", subtract_sky=wish, store=folder)
        for wish in (False, True)
    )
    difference = (with_sky.data - without.data)[~without.mask]
    assert difference == pytest.approx(sky, rel=1e-3)  # pixels are the detector's
    assert without.meta["SK00001"] == pytest.approx(sky * 300)
    assert mosaic([DRC], CENTER, "20 arcsec", store=folder).meta["SK00001"] == 0.0


def test_bad_pixels_give_way_to_those_of_another_exposure(folder, tmp_path):
    """Weights are seconds of good pixels; where all are bad there is nothing, and what is flagged never shows."""

    def bright(hdul, number):
        hdul["DQ", number].data = np.full(hdul["DQ", number].shape, 4, np.int16)
        hdul["SCI", number].data = np.full(hdul["SCI", number].shape, 1e6, np.float32)

    changed(folder, tmp_path, FLC, bright)
    changed(folder, tmp_path, LATER, lambda *_: None)
    both = mosaic([LATER, FLC], CENTER, "60 arcsec", store=tmp_path)
    alone = mosaic([LATER], CENTER, "60 arcsec", store=folder)
    assert np.array_equal(both.data, alone.data, equal_nan=True)
    assert np.array_equal(both.weight, alone.weight)
    assert both.weight.max() == pytest.approx(300.0)
    assert (both.mask == (both.weight == 0)).all()
    assert both.meta["NINPUT"] == 2
    assert "izdm01aaq" not in str(both.meta)
    with pytest.raises(OutsideImageError, match="none of 1 images has a good pixel within 60 arcsec of"):
        mosaic([FLC], CENTER, "60 arcsec", store=tmp_path)


def test_a_mean_is_weighted_by_exposure_time(folder, tmp_path):
    """An exposure that is three times as long counts three times as much."""

    def level(value, seconds):
        def change(hdul, number):
            hdul[0].header["EXPTIME"] = seconds
            hdul["SCI", number].data = np.full(hdul["SCI", number].shape, value * seconds, np.float32)

        return change

    changed(folder, tmp_path, FLC, level(1.0, 300.0))
    changed(folder, tmp_path, LATER, level(5.0, 100.0))
    image = mosaic([FLC, LATER], CENTER, "20 arcsec", good_bits=None, subtract_sky=False, store=tmp_path)
    deep = image.weight > 399.99
    assert deep.mean() > 0.4
    assert image.data[deep] == pytest.approx(2.0, rel=1e-4)


def test_the_error_of_a_sum_is_that_of_the_pixels(folder):
    """Errors are shared out as flux is: in quadrature, over many pixels of any size, they are the exposure's own."""
    with local(folder, IR) as hdul:
        wcs = WCS(hdul["SCI"].header)
        area = areas_of(wcs, hdul["SCI"].shape) / hdul["SCI"].header["IDCSCALE"] ** 2
        own = np.sqrt(np.sum((hdul["ERR"].data * area) ** 2))
    for scale in ("1.026 arcsec", "2.5 arcsec", "0.7 arcsec"):
        image = mosaic([IR], CENTER, "200 arcsec", scale=scale, good_bits=None, store=folder)
        total = np.sqrt(np.nansum(image.uncertainty.array**2))
        assert total == pytest.approx(own, rel=0.02)
    assert mosaic([DRC], CENTER, "20 arcsec", store=folder).uncertainty is None


def test_what_went_in_is_told(folder, tmp_path):
    """Every chip that was used is in the header, which goes into a file."""
    image = mosaic([FLC, LATER], CENTER, "60 arcsec", store=folder)
    assert [image.meta[f"IN{n:05d}"] for n in (1, 2, 3, 4)] == [
        f"{FLC}[SCI,1]", f"{FLC}[SCI,2]", f"{LATER}[SCI,1]", f"{LATER}[SCI,2]"
    ]  # fmt: skip
    assert image.meta["WN00001"] == "IDC_izdm1536i-FIT_REL_GAIAeDR3"
    assert (image.meta["EX00003"], image.meta["FILTER"], image.meta["WEIGHTS"]) == (300.0, "F555W", "EXPTIME")
    image.write(tmp_path / "mosaic.fits")
    again = CCDData.read(tmp_path / "mosaic.fits")
    assert again.meta["ET00001"] == image.meta["ET00001"]
    assert np.array_equal(again.data, image.data, equal_nan=True)


def test_only_what_falls_on_the_grid_is_read(folder):
    """As many round trips as cutouts take, a little more than their bytes, and of other sky none but headers."""
    records = []
    for read in (
        lambda store: hst.cutouts([FLC, ELSEWHERE], CENTER, "12 arcsec", on_error="skip", store=store),
        lambda store: mosaic([FLC, ELSEWHERE], CENTER, "12 arcsec", store=store),
    ):
        siblings.cache_clear()
        records.append(RecordingStore(folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(records[-1])
    cut, made = records
    assert len(made.batches) == len(cut.batches)
    read = [sum(r.size for batch in one.batches for r in batch) for one in records]
    assert read[1] < 1.25 * read[0]


def test_memory_does_not_grow_with_files(folder, tmp_path):
    """Twelve exposures take as much memory as four."""
    names = [f"izdm01a{letter}q_flc.fits" for letter in "bcdefghijklm"]
    for name in names:
        changed(folder, tmp_path, FLC, lambda *_: None, name)

    def peak(files):
        tracemalloc.start()
        try:
            mosaic(files, CENTER, "140 arcsec", scale="0.5 arcsec", in_flight=1, store=tmp_path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(names[:1])
    assert peak(names) < 1.5 * peak(names[:4])


def test_light_of_different_kinds_is_not_mixed(folder):
    """Rates of two detectors or filters are no one mosaic."""
    with pytest.raises(QueryError, match=r"izdm01aaq_flc\.fits\[SCI,1\] \(WFC3 UVIS F555W\) and izdm02a1q_flt\.fits"):
        mosaic([FLC, IR], CENTER, "20 arcsec", store=folder)


def test_a_drizzled_image_beside_exposures_warns(folder):
    """It may hold them, and their photons would count twice, as those of x1dsum beside x1d."""
    with pytest.warns(
        HSTCloudWarning, match=r"izdm01010_drc\.fits may hold the exposures that are added to it"
    ) as all_of:
        mosaic([FLC, DRC], CENTER, "20 arcsec", store=folder)
    assert len(all_of) == 1


def test_solutions_of_different_kinds_warn_and_can_be_chosen(folder, tmp_path):
    """Mixed WCSNAMEs warn; an alternate solution moves the sky by what it differs."""

    def unfitted(hdul, number):
        hdul["SCI", number].header["WCSNAME"] = "IDC_izdm1536i"

    changed(folder, tmp_path, FLC, unfitted)
    changed(folder, tmp_path, LATER, lambda *_: None)
    with pytest.warns(HSTCloudWarning, match=r"different kinds of solution.*IDC_izdm1536i \(2\)"):
        mosaic([FLC, LATER], CENTER, "60 arcsec", store=tmp_path)
    image = mosaic([FLC], CENTER, "60 arcsec", wcs_key="A", store=folder)
    assert image.meta["WN00001"] == "IDC_demo1536"


def test_a_broken_product_is_skipped_or_raises(folder):
    """With "skip" the others are combined and a warning names the broken one."""
    with pytest.raises(ObjectNotFoundError, match=r"izdm99aaq_flc\.fits"):
        mosaic([FLC, "izdm99aaq_flc.fits"], CENTER, "20 arcsec", store=folder)
    with pytest.warns(HSTCloudWarning, match=r"1 of 2 products were skipped:\nizdm99aaq_flc\.fits"):
        image = mosaic(["izdm99aaq_flc.fits", FLC], CENTER, "20 arcsec", store=folder, on_error="skip")
    assert image.meta["IN00001"].startswith(FLC)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"size": 30}, r"size=30: expected a position on the sky and angles"),
        ({"center": (1, 2)}, r"center=\(1, 2\)"),
        ({"scale": "2 pix"}, r"scale='2 pix' is no angle"),
        ({"scale": "2 kg"}, r"scale='2 kg' is no angle: expected the side of a pixel"),
        ({"scale": "0 arcsec"}, r"scale='0 arcsec' is no angle"),
        ({"good_bits": "x"}, "good_bits='x' are no bits"),
        ({"products": [RAMP]}, r"izdm02a1q_ima\.fits: neither raw files nor single reads"),
        ({"on_error": "ignore"}, "on_error must be"),
    ],
)
def test_what_makes_no_sense_is_refused(folder, arguments, text):
    """An argument that cannot be meant is an error before anything is sent."""
    store = RecordingStore(folder)
    with pytest.raises(QueryError, match=text):
        mosaic(**{"products": [FLC], "center": CENTER, "size": "20 arcsec"} | arguments, store=store)
    assert store.reads == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"size": "60 deg"}, r"60\.0 deg by 60\.0 deg in pixels of .* arcsec takes [\d,]+ bytes"),
        ({"size": "20 arcsec", "scale": 1e-4 * u.arcsec}, r"20\.0 arcsec in pixels of 0\.0001 arcsec"),
    ],
)
def test_a_mosaic_that_no_memory_holds_is_refused(folder, arguments, text):
    """The message says what it would take, and what to change; no pixels are read for a box that is too large."""
    with pytest.raises(MemoryLimitError, match=f"{text}.* MB are available. Give a smaller size, or a larger scale"):
        mosaic([FLC], CENTER, **arguments, store=folder)


def test_a_box_of_many_degrees_is_looked_at_near_the_chip_alone(folder):
    """Points as dense as a chip's own size demands, all over such a box, would be more than memory holds."""
    tracemalloc.start()
    with pytest.raises(MemoryLimitError):
        mosaic([FLC], CENTER, "60 deg", store=folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_a_place_that_nothing_shows_is_an_error(folder):
    """No mosaic is made of nothing."""
    with pytest.raises(OutsideImageError, match=r"none of 2 images has a good pixel within 20 arcsec of 11h15m"):
        mosaic([FLC, IR], SkyCoord(TARGET.ra, TARGET.dec + 1, unit="deg"), "20 arcsec", store=folder)


def test_without_reproject_the_error_names_the_extra(folder, monkeypatch):
    """Who lacks reproject is told what to install."""
    monkeypatch.setitem(sys.modules, "reproject", None)
    with pytest.raises(MissingExtraError, match=r"hst-cloud\[mosaic\]"):
        mosaic([FLC], CENTER, "20 arcsec", store=folder)


@pytest.mark.parametrize(("size", "expected"), [("5 arcsec", 64), ("60 arcsec", 15), ("300 arcsec", 4)])
def test_fewer_files_are_read_ahead_where_each_is_large(size, expected):
    """What is read ahead stays within a GiB, and requests are never fewer than four."""
    assert _room(_field(CENTER, size)) == expected
