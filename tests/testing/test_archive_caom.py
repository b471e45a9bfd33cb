"""Filters, positions, pages and names of the embedded archive's MAST, by themselves."""

import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.testing.caom import QueryMistake, filtered, page_of, separation
from hst_cloud.testing.catalog import plain_name
from hst_cloud.testing.columns import OBSERVATION

ROWS = [dict.fromkeys(OBSERVATION) | row for row in (
    {"obs_id": "a", "filters": "F606W;POL0V", "calib_level": 2, "t_min": 1.0, "mtFlag": True, "target_name": "M 51"},
    {"obs_id": "b", "filters": "F814W", "calib_level": 3, "t_min": 2.0, "mtFlag": False, "target_name": "100%"},
    {"obs_id": "c"},
)]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([{"paramName": "filters", "values": ["f606w"], "separator": ";"}], "a"),
        ([{"paramName": "filters", "values": ["POL0V", "F814W"]}], "ab"),
        ([{"paramName": "filters", "values": ["F606W;POL0V"]}], "a"),
        ([{"paramName": "filters", "values": ["F606"]}], ""),
        ([{"paramName": "filters", "values": [], "freeText": "%06%"}], "a"),
        ([{"paramName": "filters", "values": ["F814W"], "freeText": "pol%"}], "ab"),
        ([{"paramName": "obs_id", "values": [], "freeText": "_"}], ""),
        ([{"paramName": "calib_level", "values": ["3"]}], "b"),
        ([{"paramName": "calib_level", "values": [3, 2]}], "ab"),
        ([{"paramName": "T_MIN", "values": [{"min": 2, "max": 9}]}], "b"),
        ([{"paramName": "t_min", "values": [{"min": 1, "max": 2}]}], "ab"),
        ([{"paramName": "t_min", "values": [{"max": "1.5"}]}], "a"),
        ([{"paramName": "mtFlag", "values": ["true"]}], "a"),
        ([{"paramName": "obs_id", "values": ["a", "b"]}, {"paramName": "t_min", "values": [{"min": 2}]}], "b"),
        ([{"paramName": "obs_id", "values": []}], "abc"),
        ([], "abc"),
    ],
)
def test_filters_select_as_caom_does(filters, found):
    """Alternatives within a filter, all filters together, inclusive ranges, parts of lists, no regard to case."""
    assert "".join(row["obs_id"] for row in filtered(ROWS, filters, OBSERVATION)) == found


@pytest.mark.parametrize(
    "filters", [[{"paramName": "x"}], [{}], "x", [1], [{"paramName": "t_min", "values": [{"min": "x"}]}]]
)
def test_filters_that_make_no_sense_are_mistakes(filters):
    """Each says what it met."""
    with pytest.raises(QueryMistake, match=r"'x'|\{\}|1|paramName"):
        filtered(ROWS, filters, OBSERVATION)


@given(st.integers(0, 50), st.integers(1, 20))
def test_pages_put_together_are_the_whole(rows, size):
    """Every row is on one page, and the number of pages is told."""
    everything = [dict.fromkeys(OBSERVATION) | {"obs_id": str(i)} for i in range(rows)]
    first = page_of(everything, OBSERVATION, 1, size)
    pages = [page_of(everything, OBSERVATION, number + 1, size) for number in range(first["paging"]["pagesFiltered"])]
    assert [row["obs_id"] for page in pages for row in page["data"]] == [row["obs_id"] for row in everything]


longitudes, latitudes = st.floats(0, 360), st.floats(-90, 90)


@given(longitudes, latitudes, longitudes, latitudes)
def test_separations_are_astropys(ra, dec, other_ra, other_dec):
    """Angles agree with astropy everywhere, at the poles and at opposite points too."""
    expected = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(other_ra, other_dec, unit="deg")).deg
    assert separation(ra, dec, other_ra, other_dec) == pytest.approx(expected, abs=1e-9)


def test_plain_names_keep_different_targets_apart():
    """Spaces, hyphens, zeros and case do not matter; digits and signs do."""
    assert plain_name("NGC-0224") == plain_name("ngc 224") != plain_name("NGC2240")
    assert plain_name("BD+28D4211") == plain_name("bd +28d4211") != plain_name("BD28D4211")
