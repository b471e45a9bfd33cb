"""Alternate solutions: chosen by key or by name, equal to astropy's, and told where images have different ones."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from support import RecordingStore, put

from hst_cloud.errors import HSTCloudWarning, QueryError
from hst_cloud.science.cutouts import cutout, cutouts
from hst_cloud.science.provenance import mixed_solutions
from hst_cloud.science.solutions import key_of, solutions_named
from hst_cloud.testing.demo.imaging import acs_wfc_flc, wfc3_uvis_flc

NAMES = {"acs": "jbqf03gjq_flc.fits", "uvis": "icb701osq_flc.fits"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder laid out like the bucket, with exposures that have several solutions."""
    folder = tmp_path_factory.mktemp("bucket")
    put(folder, NAMES["acs"], acs_wfc_flc(rootname="jbqf03gjq", scale=16))
    put(folder, NAMES["uvis"], wfc3_uvis_flc(rootname="icb701osq", scale=16))
    return folder


@pytest.fixture(scope="module")
def local(folder):
    """Return a function that opens the local file of a kind."""

    def opened(kind):
        name = NAMES[kind]
        return fits.open(folder / "hst" / "public" / name[:4] / name[:9] / name)

    return opened


def solved(hdul, hdu, key):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy tells what it mends of dates
        return WCS(hdul[hdu].header, hdul, key=key)


@pytest.mark.parametrize("kind", ["acs", "uvis"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("key", [" ", "O", "A", "B"])
def test_a_key_selects_astropys_solution(kind, version, key, folder, local):
    """Pixels of a cutout lie where ``WCS(header, hdulist, key=...)`` puts them, distortion tables included."""
    with local(kind) as hdul:
        if f"WCSNAME{key}".strip() not in hdul["SCI", version].header:
            pytest.skip("this file has fewer solutions")
        theirs = solved(hdul, ("SCI", version), key)
        rows, columns = hdul["SCI", version].shape
        center = SkyCoord(*theirs.all_pix2world(columns / 2, rows / 2, 0), unit="deg")
        cut = cutout(NAMES[kind], center, 9, hdu=("SCI", version), wcs_key=key, store=RecordingStore(folder))
        assert cut.meta["WCSNAME"] == hdul["SCI", version].header[f"WCSNAME{key}".strip()]
    grid = np.meshgrid(np.arange(9.0), np.arange(9.0))
    whole = theirs.all_pix2world(grid[0] + cut.meta["CUTX0"], grid[1] + cut.meta["CUTY0"], 0)
    np.testing.assert_allclose(cut.wcs.all_pix2world(*grid, 0), whole, rtol=0, atol=1e-12)
    assert "CRPIX1" in cut.wcs.to_header(
        relax=True
    )  # whoever reads what is written of it finds one solution, the primary


def test_solutions_differ(folder):
    """The a priori solution puts the same pixel elsewhere, by the tenths of an arcsecond that the fit corrected."""
    place = (100.0, 50.0)
    ours, theirs = (
        cutout(NAMES["acs"], place, 5, wcs_key=key, store=RecordingStore(folder)).wcs.pixel_to_world(2, 2)
        for key in (" ", "B")
    )
    assert 0.05 < ours.separation(theirs).arcsec < 0.5


@pytest.mark.parametrize("name", ["idc_demo1536-gsc240", "*-GSC240", "IDC_*-GSC*"])
def test_a_name_or_a_pattern_selects_too(name, folder, local):
    """WCSNAME in any case, and ``*`` for the distortion model, which differs from file to file."""
    cut = cutout(NAMES["acs"], (100, 50), 5, wcs_key=name, store=RecordingStore(folder))
    assert cut.meta["WCSNAME"] == "IDC_demo1536-GSC240"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("Z", r"there is no solution wcs_key='Z'; it has primary: IDC_jbqf1536j-FIT_REL_GAIAeDR3, A: IDC_demo1536, "),
        ("AB", "there is no solution wcs_key='AB'"),
        ("", "there is no solution wcs_key=''"),
        ("IDC_*", "several solutions fit wcs_key='IDC_\\*'; it has primary: "),
    ],
)
def test_what_is_not_there_is_an_error_that_lists_what_is(wanted, said, folder):
    """A key or name that the image does not have, and a pattern that fits several names."""
    with pytest.raises(QueryError, match=f"SCI,1 of hst/public/.*{said}"):
        cutout(NAMES["acs"], (100, 50), 5, wcs_key=wanted, store=RecordingStore(folder))


@given(st.dictionaries(st.sampled_from(" ABCXYZ"), st.text("ABC-*", max_size=4).map(str.strip), max_size=7))
def test_every_solution_is_found_by_its_key_and_by_a_name_that_is_its_alone(named):
    """Whatever names a header has."""
    header = fits.Header([("CTYPE1" + key.strip(), "RA---TAN") for key in named])
    header.update({f"WCSNAME{key}".strip(): name for key, name in named.items()})
    cards = header.tostring().encode()
    assert solutions_named(cards) == dict(sorted(named.items()))
    for key, name in named.items():
        assert key_of(cards, key) == key
        if len(name) > 1 and "*" not in name:
            assert named[key_of(cards, name)] == name


def test_images_of_different_solutions_warn(folder, local, tmp_path):
    """A fitted and an unfitted image do not show a position in the same place; one key that both have ends it."""
    put(tmp_path, NAMES["acs"], (folder / "hst/public/jbqf/jbqf03gjq" / NAMES["acs"]).read_bytes())
    with local("acs") as hdul:
        for chip in (1, 2):
            hdul["SCI", chip].header["WCSNAME"] = "IDC_demo1536"
        put(tmp_path, "jbqf03gkq_flc.fits", hdul)
        center = SkyCoord(*solved(hdul, ("SCI", 1), " ").all_pix2world(100, 50, 0), unit="deg")
    files = [NAMES["acs"], "jbqf03gkq_flc.fits"]
    said = r"IDC_jbqf1536j-FIT_REL_GAIAeDR3 \(1\), IDC_demo1536 \(1\). wcs_key= selects one"
    with pytest.warns(HSTCloudWarning, match=said):
        assert len(cutouts(files, center, 5, store=tmp_path)) == 2
    names = [cut.meta["WCSNAME"] for cut in cutouts(files, center, 5, wcs_key="*-GSC240", store=tmp_path)]
    assert names == ["IDC_demo1536-GSC240"] * 2
    cutouts(files, (100, 50), 5, store=tmp_path)  # pixels are pixels


def test_distortion_models_and_ways_to_fit_may_differ():
    """What differs between instruments, or says how often and against what it was fitted, is no mixture."""
    fitted = ["IDC_4bb1536cj-FIT_IMG_GAIAeDR3", "IDC_2731450pi-FIT_REL_GAIAeDR3", "IDC_w3m18525i-FIT_SVM_GAIAeDR3"]
    assert mixed_solutions(fitted) == []
    assert mixed_solutions(["IDC_4bb1536cj-GSC240-1", "IDC_2731450pi-GSC240"]) == []
    assert mixed_solutions([]) == []
    for other in ("", "OPUS", "IDC_4bb1536cj", "IDC_4bb1536cj-HSC30", "IDC_4bb1536cj-FIT_REL_GAIADR2"):
        assert f"{other or '(none)'} (1)" in mixed_solutions([*fitted, other])[0]
