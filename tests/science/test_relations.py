"""Relations of associations and exposures: what names, association tables, headers and MAST's lists tell."""

from __future__ import annotations

import gzip

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from store.test_drive import left
from support import put

import hst_cloud as hst
from hst_cloud.errors import HSTCloudWarning
from hst_cloud.testing import Fault, LocalArchive, make_demo_archive


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_demo_archive(tmp_path_factory.mktemp("demo"), scale=64, instruments=["ACS", "COS", "STIS"])


@pytest.fixture
def archive(folder):
    with LocalArchive(folder) as running:
        yield running


def statuses(table):
    return [(row["association"], row["member"], row["status"]) for row in table]


def test_members_are_those_of_the_association_table(folder, archive):
    """As astropy reads it, products of the pipeline left out; one request for each association, however it is named."""
    names = ["jzdm01010", "lzdm01010", "ozdm01010"]
    table = hst.members(["jzdm01011_drc.fits", "JZDM01010", *names[1:]])
    assert (table.meta["requests"], len(archive.requests)) == (3, 3)
    local = []
    for name in names:
        with fits.open(folder / "hst/public" / name[:4] / name / f"{name}_asn.fits") as hdul:
            local += [(name, row["MEMNAME"].lower(), row["MEMTYPE"]) for row in hdul["ASN"].data if row["MEMPRSNT"]]
    assert [(r["association"], r["member"], r["role"]) for r in table] == [r for r in local if r[2][:4] != "PROD"]
    assert set(table["status"]) == {"listed"}
    assert set(hst.products(table[:2], suffix="flc")["obs_id"]) == set(table["member"][:2])


def test_an_error_of_the_caller_s_ends_the_reading(archive):
    """What is under way is cancelled, although whoever keeps the traceback keeps its frames."""
    archive.faults = Fault(key="*/ozdm01010_asn.fits", stall="before")

    def stop(_):
        message = "enough"
        raise LookupError(message)

    with pytest.raises(LookupError, match="enough") as caught:
        hst.members(["jzdm01010", "ozdm01010"], progress=stop)
    assert left() == 0
    assert caught.traceback


def test_what_has_no_members_says_why(archive, tmp_path):
    """Each input has its row, and its status is never empty."""
    table = hst.members(["jzdm01aaq_flc.fits", "jzdm99010", "hst_99101_01_acs_wfc_f814w_jzdm01_drc.fits", "no name"])
    assert statuses(table) == [("", "jzdm01aaq", "none"), ("jzdm99010", "", "unknown"), *[("", "", "unknown")] * 2]
    assert table["reason"][0] == "jzdm01aaq is an exposure; hst_cloud.parents tells its association"
    assert "jzdm99010_asn.fits is not in the bucket" in table["reason"][1]
    assert all(table["reason"])
    assert len(hst.products(hst.members(["jzdm01010", "jzdm01aaq"]), suffix="flc")) == 2  # empty names are passed over


def test_a_member_that_was_not_taken_is_absent(tmp_path):
    """MEMPRSNT is false; and a table without exposures, or without its columns, is told."""
    columns = [("MEMNAME", "14A"), ("MEMTYPE", "14A"), ("MEMPRSNT", "L")]
    for name, rows in {
        "jabc01010": [("JABC01AAQ", "EXP-CRJ", False)],
        "jabc02010": [("JABC02010", "PROD-CRJ", True)],
    }.items():
        arrays = [fits.Column(n, f, array=[row[i] for row in rows]) for i, (n, f) in enumerate(columns)]
        put(tmp_path, f"{name}_asn.fits", fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(arrays)]))
    put(tmp_path, "jabc03010_asn.fits", fits.HDUList([fits.PrimaryHDU()]))
    table = hst.members(["jabc01010", "jabc02010", "jabc03010"], store=tmp_path)
    assert table["status"].tolist() == ["absent", "none", "unknown"]
    assert table["reason"].tolist()[1:] == [
        "the association table lists no exposure",
        "hst/public/jabc/jabc03010/jabc03010_asn.fits holds no association table",
    ]


def test_real_association_tables_are_read(shared_data, tmp_path):
    """Of ACS and COS."""
    real = shared_data / "fits" / "hst"
    put(tmp_path, "jcmc11010_asn.fits", (real / "acs" / "jcmc11010_asn.fits").read_bytes())
    put(tmp_path, "ldfd01010_asn.fits", gzip.decompress((real / "cos" / "ldfd01010_asn.fits.gz").read_bytes()))
    table = hst.members(["jcmc11010", "ldfd01010"], store=tmp_path)
    assert table["member"].tolist() == ["jcmc11ctq", "jcmc11e6q", "ldfd01vnq", "ldfd01vpq", "ldfd01vrq", "ldfd01vtq"]
    put(tmp_path, "ldfd01vnq_spt.fits", gzip.decompress((real / "cos" / "ldfd01vnq_spt.fits.gz").read_bytes()))
    put(tmp_path, "ibxy07p9q_ima.fits", (real / "wfc3" / "ibxy07p9q_ima.fits").read_bytes())
    table = hst.parents(["ldfd01vnq", "ibxy07p9q_ima.fits"], store=tmp_path)
    assert table["association"].tolist() == ["ldfd01010", "ibxy07010"]


def test_parents_come_from_the_name_or_the_header(archive):
    """No request for a product within an association; one for each exposure; what has none says so."""
    asked = ["jzdm01011_drc.fits", "jzdm01010_asn.fits", "jzdm01aaq_flc.fits", "jzdm01aaq", "jzdm02c1q_flt.fits", "acq"]
    table = hst.parents(asked)
    assert statuses(table) == [
        ("jzdm01010", "jzdm01011", "name"),
        ("", "jzdm01010", "none"),
        ("jzdm01010", "jzdm01aaq", "header"),
        ("", "jzdm02c1q", "none"),
        ("", "", "unknown"),
    ]
    assert table["role"][2] == "EXP-DTH"
    assert table["obs_id"].tolist() == table["association"].tolist()
    assert table.meta["requests"] == len(archive.requests) == 2


def test_an_exposure_that_cannot_be_read_is_unknown(archive):
    """With the reason, and a warning that names it."""
    with pytest.warns(HSTCloudWarning, match="jzdm99a1q_spt.fits"):
        table = hst.parents("jzdm99a1q")
    assert statuses(table) == [("", "jzdm99a1q", "unknown")]
    assert "jzdm99a1q_spt.fits is not in the bucket" in table["reason"][0]


def test_lists_of_products_tell_parents_where_they_hold_the_association(archive):
    """Without any request; a list without it leaves the exposures' headers to tell."""
    observations = hst.search("M 51", instrument="ACS/WFC", filters="F814W")
    products = hst.products(observations, suffix=["flc", "drc"])
    before = len(archive.requests)
    table = hst.parents(products)
    assert statuses(table) == [
        ("jzdm01010", "jzdm01011", "name"),
        ("jzdm01010", "jzdm01aaq", "mast"),
        ("jzdm01010", "jzdm01acq", "mast"),
    ]
    assert len(archive.requests) == before
    alone = hst.parents(hst.products(observations, suffix="flc"))
    assert set(alone["status"]) == {"header"}
    assert alone["association"].tolist() == table["association"].tolist()[1:]


@given(st.from_regex(r"[ijlo][a-z0-9]{7}[1-9a-e]", fullmatch=True))
def test_products_within_associations_need_no_request(name):
    """Whatever their names: the last character gives way to a 0."""
    table = hst.parents(f"{name}_drz.fits", store="/nowhere")
    assert statuses(table) == [(f"{name[:8]}0", name, "name")]
    assert table.meta["requests"] == 0
