"""Which observations are asked for, and which of their products are kept."""

from __future__ import annotations

import pytest
from archive.recording_mast import answer
from astropy.table import MaskedColumn, Table

from hst_cloud.archive.selection import Asked, asked, check_suffixes, choice, chosen, deduplicated, placed, suffix_of
from hst_cloud.archive.tables import OBSERVATIONS, PRODUCTS, blank, from_answers
from hst_cloud.errors import QueryError


def product(name, **more):
    return {
        "obsID": "1",
        "obs_collection": "HST",
        "obs_id": name[:9],
        "dataURI": f"mast:HST/product/{name}",
        "productFilename": name,
        "productType": "SCIENCE",
        "project": "CALACS",
        "calib_level": 2,
        "parent_obsid": "1",
        "dataRights": "PUBLIC",
        **more,
    }


def table_of(*rows):
    return from_answers([answer(list(rows))], PRODUCTS)


def names(table):
    return table["productFilename"].tolist()


HLA = "hst_12058_01_acs_wfc_f606w_drc.fits"
OBSERVED = Table(
    {"obsid": [11, 12, 11], "obs_id": ["a", "b", "a"], "instrument_name": ["ACS/WFC", "WFC3/IR", "ACS/WFC"]}
)


@pytest.mark.parametrize(
    ("given", "obsids", "obs_ids"),
    [
        (OBSERVED, ("11", "12"), ()),
        (OBSERVED[1], ("12",), ()),
        ([OBSERVED[1], OBSERVED[0]], ("12", "11"), ()),
        ("24799697", ("24799697",), ()),
        (24799697, ("24799697",), ()),
        (OBSERVED["obsid"], ("11", "12"), ()),
        (["24799697", 5, "JBQF03GJQ"], ("24799697", "5"), ("jbqf03gjq",)),
        ("hst_12058_11_wfc3_uvis_f275w_ibf311", (), ("hst_12058_11_wfc3_uvis_f275w_ibf311",)),
        (Table({"sci_data_set_name": ["J8DM01ELQ "], "sci_instrume": ["ACS   "]}), (), ("j8dm01elq",)),
        (Table({"obsid": MaskedColumn(["", "7", "0"], mask=[True, False, False])}), ("7",), ()),
    ],
)
def test_observations_may_be_given_in_many_ways(given, obsids, obs_ids):
    """Each once, in the order given."""
    found = asked(given)
    assert (found.obsids, found.obs_ids) == (obsids, obs_ids)


def test_instruments_are_known_from_a_table():
    """So that words can be checked before anything is sent."""
    assert asked(OBSERVED).instruments == {"ACS", "WFC3"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "list of observations is empty"),
        ([""], "list of observations is empty"),
        (None, "None is no observation"),
        (1.5, "1.5 is no observation"),
        (True, "True is no observation"),
        ("0", "'0' is no observation"),
        ("M 51", "'M 51' is no observation"),
        (blank(PRODUCTS), "is a table of products already"),
        (Table({"x": [1]}), "has no obsid .*its columns: x"),
        (Table({"obsid": ["", "0"]}), "none of the 2 observations has an obsid"),
    ],
)
def test_what_is_no_observation_is_refused(given, text):
    """Nothing is sent for it; astroquery once returned 73 products for an empty list."""
    with pytest.raises(QueryError, match=text):
        asked(given)


def test_a_table_without_rows_asks_for_nothing():
    """An empty answer of search is a fine input."""
    assert asked(blank(OBSERVATIONS)) == Asked()


def test_products_are_kept_once_with_every_parent():
    """The first row stays; parents come in the order of the answers."""
    table = table_of(
        product("jbqf03gjq_flc.fits", parent_obsid="1"),
        product("jbqf03010_drc.fits", parent_obsid="1"),
        product("jbqf03gjq_flc.fits", parent_obsid="2", description="again"),
        product("jbqf03gjq_flc.fits", parent_obsid="1"),
    )
    unique = deduplicated(table, [(("1", "2"), 3), (("3",), 1)])
    assert names(unique) == ["jbqf03gjq_flc.fits", "jbqf03010_drc.fits"]
    assert unique["parent_obsids"].tolist() == ["1;2", "1"]
    assert unique["description"].tolist() == ["", ""]


@pytest.mark.parametrize(
    ("said", "own", "ids", "parents"),
    [("0", "5", ("5", "6"), "5"), ("0", "9", ("6",), "6"), ("", "9", ("5", "6"), ""), ("7", "9", ("5", "6"), "7")],
)
def test_a_parent_of_zero_is_put_right_where_that_can_be_known(said, own, ids, parents):
    """By the product's own observation, or by the only one asked for; MAST's column stays as it came."""
    table = table_of(product("jbqf03gjq_flc.fits", parent_obsid=said, obsID=own))
    unique = deduplicated(table, [(ids, 1)])
    assert unique["parent_obsids"].tolist() == [parents]
    assert unique["parent_obsid"].tolist() == [said]


def test_rows_without_a_uri_are_all_kept():
    """Nothing tells that they are the same."""
    table = table_of(product("a_x.fits", dataURI=None), product("a_x.fits", dataURI=None))
    assert len(deduplicated(table, [(("1",), 2)])) == 2


def test_places_are_by_rule():
    """Also for names that do not match the grammar, rights that are not public, and products of others."""
    table = placed(
        table_of(
            product("jbqf03gjq_flc.fits", obs_id="JBQF03GJQ"),
            product("jbqf03gjq_flc.fits", dataRights="EXCLUSIVE_ACCESS"),
            product("../../x.fits"),
            product("hst_1_2_acs_wfc_f606w_jety02_drc.fits", project="HAP-SVM"),
            product("jbqf03gjq_flc.fits", dataURI="https://hla.stsci.edu/x", obs_collection="HLA"),
        )
    )
    assert table["key"].tolist()[0] == table["key"].tolist()[1] == "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
    assert table["key"].tolist()[2:] == ["", "", ""]
    assert table["status"].tolist()[:4] == ["unverified", "exclusive", "unverified", "not_mirrored"]
    assert table["reason"].tolist()[0] == ""
    assert all(table["reason"].tolist()[1:])


MIXED = table_of(
    product("jbqf03gjq_flc.fits"),
    product("jbqf03gjq_flc.jpg", productType="PREVIEW"),
    product("jbqf03gjq_raw.fits", calib_level=1),
    product("jbqf03010_drc.fits", calib_level=3),
    product("jbqf03010_spt.fits", calib_level=None, productType="AUXILIARY"),
    product("hst_12058_11_acs_wfc_f606w_jbqf03_drc.fits", project="HAP-SVM", calib_level=3),
    product(HLA, dataURI=f"mast:HLA/url/cgi-bin/getdata.cgi?dataset={HLA}", project="HLA"),
    product("hlsp_a_drc.fits", dataURI="mast:HLSP/a/hlsp_a_drc.fits", obs_collection="HLSP"),
)


@pytest.mark.parametrize(
    ("asked_for", "kept"),
    [
        (
            {},
            [
                "jbqf03gjq_flc.fits",
                "jbqf03gjq_flc.jpg",
                "jbqf03gjq_raw.fits",
                "jbqf03010_drc.fits",
                "jbqf03010_spt.fits",
            ],
        ),
        ({"suffix": "flc"}, ["jbqf03gjq_flc.fits"]),
        ({"suffix": "_FLC.fits"}, ["jbqf03gjq_flc.fits"]),
        ({"suffix": "flc", "product_type": "preview"}, ["jbqf03gjq_flc.jpg"]),
        ({"suffix": ["raw", "drc"]}, ["jbqf03gjq_raw.fits", "jbqf03010_drc.fits"]),
        ({"calib_level": 1}, ["jbqf03gjq_raw.fits"]),
        ({"calib_level": [1, 3]}, ["jbqf03gjq_raw.fits", "jbqf03010_drc.fits"]),
        ({"product_type": "AUXILIARY"}, ["jbqf03010_spt.fits"]),
        ({"collection": "hap"}, ["hst_12058_11_acs_wfc_f606w_jbqf03_drc.fits"]),
        ({"collection": ["HLA", "HLSP"]}, [HLA, "hlsp_a_drc.fits"]),
        (
            {"collection": "all", "suffix": "drc"},
            ["jbqf03010_drc.fits", "hst_12058_11_acs_wfc_f606w_jbqf03_drc.fits", HLA, "hlsp_a_drc.fits"],
        ),
    ],
)
def test_products_are_chosen(asked_for, kept):
    """By suffix, level, type and maker; the pipelines' are the default, and previews are no data."""
    options = {"suffix": None, "calib_level": None, "product_type": None, "collection": "CAL"} | asked_for
    table, note = chosen(MIXED, choice(**options))
    assert names(table) == kept
    assert note == ""


def test_no_match_lists_what_there_is():
    """So that the next call finds it."""
    table, note = chosen(MIXED, choice("crj", 3, None, "CAL"))
    assert len(table) == 0
    assert table.colnames == MIXED.colnames
    assert "none of the 5 products matches suffix='crj' and calib_level=3" in note
    assert "drc (1), flc (1), raw (1), spt (1)" in note
    assert "1 (1), 2 (2), 3 (1)" in note
    assert "SCIENCE (3)" in note


def test_no_product_of_the_collection_says_which_there_are():
    """A HAP observation has no products of the pipelines."""
    table, note = chosen(MIXED[5:7], choice(None, None, None, "CAL"))
    assert len(table) == 0
    assert "no product is of collection CAL; there are HAP (1), HLA (1)" in note


def test_an_unknown_suffix_names_the_nearest_of_the_instrument():
    """Before the answer where the instruments are known, after it otherwise."""
    with pytest.raises(QueryError, match=r"suffix='flx' is no kind of file of ACS; nearest: .*'flc'"):
        chosen(MIXED, choice("flx", None, None, "CAL"))
    with pytest.raises(QueryError, match=r"suffix='flc' is no kind of file of COS; nearest"):
        check_suffixes(choice("flc", None, None, "CAL"), {"COS"})
    check_suffixes(choice("flx", None, None, "CAL"), {"COS", "WFPC2"})  # whose words nobody wrote down here
    check_suffixes(choice("point-cat", None, None, "HAP"), {"ACS"})
    check_suffixes(choice("flt", None, None, "CAL"), set())


def test_a_suffix_that_is_there_is_known():
    """Whatever the vocabulary says."""
    table, note = chosen(table_of(product("jbqf03gjq_new.fits")), choice("new", None, None, "CAL"))
    assert (names(table), note) == (["jbqf03gjq_new.fits"], "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((None, 9, None, "CAL"), "calib_level='9'"),
        ((None, None, "SCIENSE", "CAL"), "product_type='SCIENSE' .*nearest: 'SCIENCE'"),
        ((None, None, None, "HAPP"), "collection='HAPP' .*nearest: 'HAP'"),
        (([], None, None, "CAL"), r"suffix=\[\] holds no value"),
    ],
)
def test_words_that_mast_does_not_have_are_refused(arguments, text):
    """Before anything is sent."""
    with pytest.raises(QueryError, match=text):
        choice(*arguments)


def test_suffixes_are_those_of_the_grammar():
    """And none where a name is no name."""
    assert [suffix_of(n) for n in ("ldfd01010_x1dsum.fits", "jbqf03gjq_flt_hlet.fits", "../x", "x.fits")] == [
        "x1dsum",
        "flt_hlet",
        "",
        "",
    ]
