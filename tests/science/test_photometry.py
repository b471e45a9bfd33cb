"""Photometry against photutils on the local files and against the stars that were put there, and what it costs."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from astropy.table import QTable
from astropy.time import Time
from astropy.timeseries import TimeSeries
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area
from support import RecordingStore, put

import hst_cloud as hst
from hst_cloud.errors import FormatError, HSTCloudWarning, MissingExtraError, ObjectNotFoundError, QueryError
from hst_cloud.fits.predict import siblings
from hst_cloud.science.photometry import light_curves, photometry
from hst_cloud.science.rates import area_correction, filter_of, pixel_area, rate_factor, reference_area, sky_of
from hst_cloud.testing.demo import targets
from hst_cloud.testing.demo.folder import SEED
from hst_cloud.testing.demo.geometry import unplane
from hst_cloud.testing.demo.imaging import acs_wfc_flc, wfc3_ir_flt, wfc3_uvis_flc
from hst_cloud.testing.demo.mosaics import wfc3_uvis_drc
from hst_cloud.testing.demo.scenes import scene

photutils = pytest.importorskip("photutils.aperture")

SCALE = 8
FIRST, SECOND = targets.CLUSTER_UVIS.members
FILES = {
    f"{FIRST.rootname}_flc.fits": (wfc3_uvis_flc, FIRST),
    f"{SECOND.rootname}_flc.fits": (wfc3_uvis_flc, SECOND),
    "izdm01010_drc.fits": (wfc3_uvis_drc, targets.CLUSTER_UVIS),
    "izdm02a1q_flt.fits": (wfc3_ir_flt, targets.CLUSTER_IR_FIRST),
}
FLC, LATER, DRC, IR = FILES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder laid out like the bucket: two exposures, their combination, and one of the infrared."""
    folder = tmp_path_factory.mktemp("bucket")
    for name, (build, exposure) in FILES.items():
        put(folder, name, build(exposure, scale=SCALE, seed=SEED))
    return folder


@pytest.fixture(scope="module")
def stars():
    """Return the positions and rates of bright stars away from the crowd, per full-size pixel's electrons."""
    view = scene(targets.CLUSTER_UVIS.target.name, (FIRST.target.ra, FIRST.target.dec), SEED)
    away = np.hypot(view.stars[:, 0], view.stars[:, 1])
    chosen = (view.stars[:, 2] > 1000) & (view.stars[:, 2] < 7000) & (view.stars[:, 3] == 0) & (away > 25) & (away < 70)
    found = view.stars[chosen]
    return SkyCoord(*unplane(found[:, 0], found[:, 1], view.center), unit="deg"), found[:, 2]


def local(folder, name):
    """Open the local file."""
    return fits.open(folder / "hst" / "public" / name[:4] / name[:9] / name)


def row_of(table, name, position=0):
    """Return the row of a file and a position."""
    (row,) = table[(table["file"] == name) & (table["position"] == position)]
    return row


def local_area(wcs, x, y):
    """Return a pixel's area from the sky positions of its corners, square arcsec."""
    corners = wcs.pixel_to_world(x + np.array([-0.5, 0.5, 0.5, -0.5]), y + np.array([-0.5, -0.5, 0.5, 0.5]))
    east, north = (part.to_value(u.arcsec) for part in wcs.pixel_to_world(x, y).spherical_offsets_to(corners))
    return 0.5 * abs(np.dot(east, np.roll(north, -1)) - np.dot(north, np.roll(east, -1)))


@pytest.mark.parametrize("annulus", [None, ("4 arcsec", "7 arcsec")])
@pytest.mark.parametrize("name", [FLC, IR])
def test_a_rate_is_what_photutils_makes_of_the_local_file(folder, stars, name, annulus):
    """Sum, error and sky are photutils' on the whole image, with the pixel's area from its corners on the sky."""
    place = stars[0][2]
    table = photometry([name], place, "2.5 arcsec", annulus=annulus, good_bits=16 + 256, store=folder)
    row = table[0]
    with local(folder, name) as hdul, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        number = int(str(row["hdu"]).partition(",")[2])
        sci, err, dq = (hdul[kind, number] for kind in ("SCI", "ERR", "DQ"))
        wcs = WCS(sci.header, hdul)
        x, y = (float(value) for value in wcs.world_to_pixel(place))
        area = local_area(wcs, x, y)
        bad = dq.data & ~(16 + 256) != 0
        aperture = photutils.CircularAperture((x, y), 2.5 / np.sqrt(area))
        total = photutils.ApertureStats(sci.data.astype(float), aperture, mask=bad).sum
        parts = aperture.to_mask(method="exact").to_image(bad.shape)
        error = np.sqrt(np.sum(((parts * err.data)[~bad].astype(float)) ** 2))  # photutils', from its 3.1 on
        good = photutils.ApertureStats((~bad).astype(float), aperture).sum  # it may reach beyond the image
        sky = 0.0
        if annulus:
            ring = photutils.CircularAnnulus((x, y), 4 / np.sqrt(area), 7 / np.sqrt(area))
            values = sci.data[(ring.to_mask(method="center").to_image(bad.shape) > 0) & ~bad]
            _, sky, deviation = sigma_clipped_stats(values.astype(float), sigma=3)
            error = np.hypot(error, good * deviation * np.sqrt(np.pi / 2 / len(values)))
        seconds = 1.0 if name == IR else hdul[0].header["EXPTIME"]
        per_area = area / sci.header["IDCSCALE"] ** 2
        assert row["x"].value == pytest.approx(x, abs=1e-6)
        assert row["y"].value == pytest.approx(y, abs=1e-6)
        assert row["area"] == pytest.approx(per_area, rel=1e-5)
        assert row["masked"] == pytest.approx(1 - good / aperture.area, abs=1e-6)
        if annulus:
            assert row["sky"].unmasked.value == pytest.approx(sky / seconds, rel=1e-6)
        else:
            assert row["sky"].mask
        assert row["rate_err"].unmasked.value == pytest.approx(error / seconds * per_area, rel=1e-5)
        assert row["rate"].unmasked.value == pytest.approx((total - sky * good) / seconds * per_area, rel=1e-5)
        seen = dq.data[aperture.to_mask().to_image(bad.shape) > 0]
        assert row["dq"] == np.bitwise_or.reduce(seen.astype(int))


def test_the_stars_that_were_put_there_are_found(folder, stars):
    """A combined image gives each star's own rate to 2 percent, and an exposure that times its pixel's area."""
    places, rates = stars
    table = photometry(
        [DRC, FLC, LATER], places, "1.5 arcsec", annulus=("2.5 arcsec", "4 arcsec"), good_bits=0, store=folder
    )
    checked = 0
    for row in table[table["masked"] == 0]:
        # A pixel scaled down holds the mean of those that it stands for; what falls on it does not know its area.
        expected = rates[row["position"]] / SCALE**2 * row["area"]
        noise = 0.0 if row["rate_err"].mask else 4 * row["rate_err"].unmasked.value
        assert row["rate"].unmasked.value == pytest.approx(expected, rel=0.02, abs=noise)
        checked += 1
    assert checked >= 6
    assert len(table) == 3 * len(places)
    assert {float(area) for area in table["area"][table["file"] == DRC]} == {1.0}
    assert table["rate_err"].mask[table["file"] == DRC].all()


def test_magnitudes_are_those_of_the_handbooks(folder, stars):
    """AB and ST magnitudes are astropy's of the flux that PHOTFLAM makes of the rate."""
    row = photometry([FLC], stars[0][2], "2.5 arcsec", store=folder)[0]
    with local(folder, FLC) as hdul:
        flam, pivot = hdul[1].header["PHOTFLAM"], hdul[1].header["PHOTPLAM"] * u.AA
    flux = row["rate"].unmasked.value * flam * u.erg / u.s / u.cm**2 / u.AA
    assert row["stmag"].unmasked.value == pytest.approx(flux.to_value(u.STmag), abs=2e-4)
    assert row["abmag"].unmasked.value == pytest.approx(flux.to_value(u.ABmag, u.spectral_density(pivot)), abs=2e-3)
    relative = row["rate_err"].unmasked.value / row["rate"].unmasked.value
    assert row["mag_err"].unmasked.value == pytest.approx(1.0857 * relative, rel=1e-4)


def test_the_time_is_the_middle_of_the_exposure(folder, stars):
    """Time is UTC, halfway between EXPSTART and EXPEND."""
    table = photometry([FLC], stars[0][2], "2.5 arcsec", store=folder)
    with local(folder, FLC) as hdul:
        middle = (hdul[0].header["EXPSTART"] + hdul[0].header["EXPEND"]) / 2
    assert isinstance(table, QTable)
    assert isinstance(table["time"], Time)
    assert table["time"].scale == "utc"
    assert table["time"].mjd[0] == pytest.approx(middle, abs=1e-9)


def test_a_position_off_the_image_has_no_row(folder, stars):
    """Of what an exposure does not show there is no row, and a warning names what none shows."""
    far = SkyCoord(FIRST.target.ra, FIRST.target.dec + 1, unit="deg")
    both = SkyCoord([stars[0][2].ra, far.ra], [stars[0][2].dec, far.dec])
    with pytest.warns(HSTCloudWarning, match=r"1 of 2 positions lie on none of 2 images: 1 \(11h15m"):
        table = photometry([FLC, LATER], both, 3.0, store=folder)
    assert table["position"].tolist() == [0, 0]
    assert table["file"].tolist() == [FLC, LATER]
    assert table["ra"].value == pytest.approx(stars[0][2].ra.deg)


def test_a_position_in_the_gap_between_chips_has_no_row(folder):
    """Though its aperture reaches a chip."""
    with local(folder, FLC) as hdul, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sci = hdul["SCI", 1]
        gap = WCS(sci.header, hdul).pixel_to_world(sci.shape[1] / 2, sci.shape[0] + 0.5)
    with pytest.warns(HSTCloudWarning, match="1 of 1 positions lie on none of 1 images"):
        assert len(photometry([FLC], gap, 3.0, store=folder)) == 0


def test_of_good_pixels_alone_nothing_is_masked(folder, stars):
    """Rounding left 1.1e-16 of many apertures, which then were not those without a bad pixel."""
    places = stars[0][2].directional_offset_by(np.arange(0, 360, 15) * u.deg, 0.7 * u.arcsec)
    for radius in (1.3, 1.7, 2.2, 2.6):
        assert set(photometry([FLC], places, radius, good_bits=None, store=folder)["masked"]) == {0.0}


def test_pixels_that_are_masked_add_nothing(folder, stars):
    """Where every flag is bad, the masked part tells what is missing from the rate; where all is, the rate is masked."""
    place = stars[0][2]
    with local(folder, FLC) as hdul:
        header = hdul[1].header
    some = photometry([FLC], place, "6 arcsec", good_bits=0, store=folder)[0]
    assert 0 < some["masked"] < 1
    assert (
        some["rate"].unmasked < photometry([FLC], place, "6 arcsec", good_bits=None, store=folder)["rate"].unmasked[0]
    )
    assert header["EXTNAME"] == "SCI"


def test_a_position_whose_pixels_are_all_bad_has_no_rate(tmp_path, stars):
    """A rate of no pixel is masked, and so are its magnitudes."""
    hdul = wfc3_ir_flt(targets.CLUSTER_IR_FIRST, scale=16)
    hdul["DQ"].data = np.full_like(hdul["DQ"].data, 4)
    put(tmp_path, IR, hdul)
    row = photometry([IR], stars[0][2], 2.0, store=tmp_path)[0]
    assert row["masked"] == 1.0
    assert all(row[name].mask for name in ("rate", "rate_err", "abmag", "stmag", "mag_err"))


def test_light_curves_are_time_series_in_order(folder, stars):
    """Each position has a TimeSeries, earliest first, with everything that the table has."""
    table = photometry([LATER, FLC], stars[0][:2], "2.5 arcsec", store=folder)
    curves = light_curves(table)
    assert list(curves) == [0, 1]
    assert all(isinstance(curve, TimeSeries) for curve in curves.values())
    assert curves[1]["file"].tolist() == [FLC, LATER]
    assert curves[0]["rate"].unmasked[1] == row_of(table, LATER)["rate"].unmasked
    with pytest.raises(QueryError, match=r"a table with ra is none of hst_cloud\.photometry"):
        light_curves(QTable({"ra": [1.0]}))


def test_a_table_can_be_written_and_read(folder, stars, tmp_path):
    """ECSV keeps times, units and what is masked."""
    table = photometry([FLC, DRC], stars[0][:2], "2.5 arcsec", store=folder)
    table.write(tmp_path / "table.ecsv")
    again = QTable.read(tmp_path / "table.ecsv")
    assert again.colnames == table.colnames
    assert (again["rate"].unmasked == table["rate"].unmasked).all()
    assert again["rate_err"].mask.tolist() == table["rate_err"].mask.tolist()


def test_only_boxes_around_the_positions_are_read(folder, stars):
    """What is read is what the cutouts of boxes around the apertures take, in as few round trips."""
    batches = []
    for read in (
        lambda store: hst.cutouts([FLC, IR], stars[0][2], "3.5 arcsec", store=store),
        lambda store: photometry([FLC, IR], stars[0][2], "1 arcsec", store=store),
    ):
        siblings.cache_clear()
        batches.append(RecordingStore(folder))
        read(batches[-1])
    cut, measured = (sorted(store.batches) for store in batches)
    assert measured == cut


def test_a_broken_product_is_skipped_or_raises(folder, stars):
    """With "skip" the others are measured and a warning names the broken one."""
    with pytest.raises(ObjectNotFoundError, match=r"izdm99aaq_flc\.fits"):
        photometry([FLC, "izdm99aaq_flc.fits"], stars[0][2], 3.0, store=folder)
    with pytest.warns(HSTCloudWarning, match=r"1 of 2 products were skipped:\nizdm99aaq_flc\.fits"):
        table = photometry(["izdm99aaq_flc.fits", FLC], stars[0][2], 3.0, store=folder, on_error="skip")
    assert table["file"].tolist() == [FLC]


def test_mixed_solutions_warn(folder, stars, tmp_path):
    """Positions of exposures that were fitted to a catalog and of others are not the same places."""
    with local(folder, LATER) as hdul:
        for number in (1, 2):
            hdul["SCI", number].header["WCSNAME"] = "IDC_izdm1536i"
        put(tmp_path, LATER, hdul)
    with local(folder, FLC) as hdul:
        put(tmp_path, FLC, hdul)
    with pytest.warns(HSTCloudWarning, match=r"different kinds of solution.*IDC_izdm1536i-FIT_REL_GAIAeDR3 \(1\)"):
        photometry([FLC, LATER], stars[0][2], 3.0, store=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"r": "2 km"}, "r='2 km' is no radius"),
        ({"r": -1}, "r=-1 is no radius"),
        ({"r": 2, "annulus": (3, "x")}, "annulus='x' is no radius"),
        ({"r": 2, "annulus": "5 arcsec"}, "annulus='5 arcsec' is no ring: expected inner and outer radius"),
        ({"r": 2, "annulus": ("5 arcsec", "3 arcsec")}, r"annulus=\('5 arcsec', '3 arcsec'\) is no ring"),
        ({"r": 2, "annulus": (3, 4, 5)}, r"annulus=\(3, 4, 5\) is no ring"),
        ({"r": 2, "annulus": (5,)}, r"annulus=\(5,\) is no ring"),
        ({"r": 2, "annulus": 5}, "annulus=5 is no ring"),
        ({"r": 2, "positions": [(1, 2)]}, r"position \(1.0, 2.0\) is a pixel"),
        ({"r": 2, "on_error": "ignore"}, "on_error must be"),
        ({"r": 2, "good_bits": "x"}, "good_bits='x' are no bits"),
    ],
)
def test_what_makes_no_sense_is_refused(folder, arguments, text):
    """An argument that cannot be meant is an error before anything is sent."""
    store = RecordingStore(folder)
    with pytest.raises(QueryError, match=text):
        photometry([FLC], **{"positions": "168.77 -61.26"} | arguments, store=store)
    assert store.reads == 0


def test_without_photutils_the_error_names_the_extra(folder, monkeypatch):
    """Who lacks photutils is told what to install."""
    monkeypatch.setitem(sys.modules, "photutils", None)
    with pytest.raises(MissingExtraError, match=r"hst-cloud\[photometry\]"):
        photometry([FLC], "168.77 -61.26", 2, store=folder)


# --- Rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "keywords", "factor"),
    [
        (u.electron, {"EXPTIME": 200.0}, 1 / 200),
        (u.electron / u.s, {"EXPTIME": 200.0}, 1.0),
        (u.ct, {"EXPTIME": 200.0, "DETECTOR": "CCD", "ATODGAIN": 4.0}, 4 / 200),
        (u.ct, {"EXPTIME": 200.0, "DETECTOR": "IR", "ATODGNA": 2.0, "ATODGNB": 3.0, "CCDGAIN": 9.0}, 2.5 / 200),
        (u.ct / u.s, {"EXPTIME": 200.0, "DETECTOR": "UVIS", "CCDGAIN": 1.5}, 1.5),
        (u.ct, {"EXPTIME": 200.0, "DETECTOR": "SBC", "CCDGAIN": 9.0}, 1 / 200),
    ],
)
def test_units_become_electrons_per_second(unit, keywords, factor):
    """Electrons and counts are divided by time, and counts of a converter are multiplied by its gain."""
    assert rate_factor(keywords, unit) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("unit", "keywords", "text"),
    [
        (u.electron, {"EXPTIME": 0.0, "S3KEY": "k", "HDU": "SCI,1"}, r"SCI,1 of k has EXPTIME = None"),
        (u.ct, {"EXPTIME": 1.0, "DETECTOR": "CCD"}, r"has ATODGAIN = None"),
        (u.Jy, {"EXPTIME": 1.0}, r"has pixels in Jy: expected electrons or counts"),
    ],
)
def test_what_has_no_rate_is_an_error(unit, keywords, text):
    """Nothing is guessed of a time or a gain that is not told."""
    with pytest.raises(FormatError, match=text):
        rate_factor(keywords, unit)


def test_areas_are_those_of_the_corners(folder):
    """The Jacobian has the polynomials and the tables, and an undistorted image has one area everywhere."""
    hdul = acs_wfc_flc(scale=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(hdul[1].header, hdul)
    places = [(10.0, 20.0), (500.0, 250.0), (1000.0, 500.0)]
    areas = [pixel_area(wcs, x, y)[0] for x, y in places]
    assert areas == pytest.approx([local_area(wcs, x, y) for x, y in places], rel=1e-4)
    assert max(areas) / min(areas) > 1.05
    with local(folder, DRC) as hdul:
        wcs, meta = WCS(hdul[1].header), {**hdul[0].header, **hdul[1].header}
    assert pixel_area(wcs, 3, 4)[0] == pytest.approx(proj_plane_pixel_area(wcs) * 3600**2)
    assert area_correction(meta, wcs, 3, 4) == 1.0
    assert reference_area(meta, wcs) == pytest.approx(proj_plane_pixel_area(wcs) * 3600**2)
    assert sky_of(meta) == 0.0  # though MDRIZSKY is there
    assert meta["MDRIZSKY"] > 0


@pytest.mark.parametrize(
    ("keywords", "pixel", "expected"),
    [
        ({"IDCSCALE": 0.05}, 0.0488, 0.05),
        ({}, 0.0488, 0.05),  # as files of before 2010
        ({}, 0.0977, 0.1),  # binned two by two
        ({"NDRIZIM": 4}, 0.03, 0.03),
        ({"DETECTOR": "CCD"}, 0.0507, 0.0507),
    ],
)
def test_all_chips_of_a_detector_have_one_reference(keywords, pixel, expected):
    """What counts hold for is no chip's own, or there would be a seam between two."""
    wcs = WCS(naxis=2)
    wcs.wcs.cdelt = [-pixel / 3600, pixel / 3600]
    area = reference_area({"INSTRUME": "ACS", "DETECTOR": "WFC"} | keywords, wcs)
    assert area == pytest.approx(expected**2)


def test_the_filter_is_what_is_not_clear():
    """ACS has two wheels, of which one is clear."""
    assert filter_of({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}) == "F814W"
    assert filter_of({"FILTER": "F110W"}) == "F110W"
    assert filter_of({"FILTER1": "F606W", "FILTER2": "POL0V"}) == "F606W;POL0V"


def test_warnings_point_to_the_line_of_the_caller(folder, stars):
    """Who asked sees where."""
    with pytest.warns(HSTCloudWarning) as caught:
        photometry(["izdm99aaq_flc.fits"], stars[0][2], 3.0, store=folder, on_error="skip")
    assert {warning.filename for warning in caught} == {__file__}
