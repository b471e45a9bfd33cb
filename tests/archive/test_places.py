"""Key, status and reason of a product, from what MAST says of it."""

from __future__ import annotations

import csv

import pytest

from hst_cloud.archive.places import collection_of, place

FLC = "mast:HST/product/jbqf03gjq_flc.fits"
KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"


@pytest.mark.parametrize("obs_id", ["", "jbqf03gjq", "JBQF03GJQ", "jbqf03010"])
def test_an_exposure_lies_in_its_own_folder(obs_id):
    """Whatever the case of obs_id, and under which observation MAST lists it."""
    assert place(FLC, obs_id, "PUBLIC") == (KEY, "unverified", "")


def test_exclusive_products_are_marked_and_keep_their_key():
    """They will lie there once they are public."""
    key, status, reason = place(FLC, "jbqf03gjq", "EXCLUSIVE_ACCESS")
    assert (key, status) == (KEY, "exclusive")
    assert "EXCLUSIVE_ACCESS" in reason


@pytest.mark.parametrize(
    ("uri", "maker"),
    [
        ("mast:HST/product/hst_12058_11_wfc3_uvis_f275w_ibf311_drc.fits", "Advanced"),
        ("mast:HLA/url/cgi-bin/getdata.cgi?dataset=hst_12058_01_wfc3_uvis_f275w_01_drz.fits", "Legacy"),
        ("mast:HLSP/phat/hlsp_phat_hst_wfc3-uvis_12058-m31_f275w_v1_drz.fits", "High Level"),
    ],
)
def test_what_others_made_is_not_mirrored(uri, maker):
    """The reason says who made it."""
    key, status, reason = place(uri, "whatever", "PUBLIC")
    assert (key, status) == ("", "not_mirrored")
    assert maker in reason


@pytest.mark.parametrize(
    ("uri", "obs_id"),
    [
        ("mast:HST/product/../../etc/passwd", "jbqf03gjq"),
        ("mast:HST/product/jbqf03gjq_flc.fits\r\nx", "jbqf03gjq"),
        ("mast:HST/product/i7k16544n_flt.fits", "ibqf03gjq"),
        ("mast:HST/product/x.fits", ""),
        ("mast:HST/product/u4ge0106j_jit.fits", ""),
        ("mast:JWST/product/jw01_cal.fits", ""),
        ("", ""),
    ],
)
def test_what_the_grammar_does_not_know_has_no_key(uri, obs_id):
    """It is unverified, and the reason holds no control character."""
    key, status, reason = place(uri, obs_id, "PUBLIC")
    assert (key, status) == ("", "unverified")
    assert reason
    assert reason.isprintable()


def test_known_keys_come_out(shared_data):
    """Every recorded key, but for those that are known to be absent."""
    with (shared_data / "keys" / "known_s3_keys.tsv").open() as file:
        rows = [r for r in csv.DictReader(file, delimiter="\t") if r["s3_key"].startswith("hst/public/")]
    assert len(rows) > 30
    assert [r for r in rows if place(r["dataURI"], r["obs_id"])[0] != r["s3_key"]] == []


@pytest.mark.parametrize(
    ("columns", "collection"),
    [
        ((FLC, "jbqf03gjq_flc.fits", "CALACS", "HST"), "CAL"),
        ((FLC,), "CAL"),
        (("mast:HST/product/hst_12058_11_wfc3_uvis_total_ibf311_trl.txt", "", "HAP-SVM", "HST"), "HAP"),
        (("", "hst_12058_11_wfc3_uvis_total_ibf311_trl.txt"), "HAP"),
        (
            ("mast:HLA/url/cgi-bin/preview.cgi?dataset=x", "hst_12058_01_wfc3_uvis_f275w_01_drz.jpg", "HLA", "HLA"),
            "HLA",
        ),
        (("mast:HLSP/phat/hlsp_phat.fits",), "HLSP"),
    ],
)
def test_who_made_a_product(columns, collection):
    """By URI, name, project or collection, whichever tells."""
    assert collection_of(*columns) == collection
