"""What a user asks for becomes conditions on MAST's columns, or an error before anything is sent."""

from __future__ import annotations

import math

import pytest
from archive.recording_mast import COLUMNS
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.archive.criteria import (
    conditions,
    defaults,
    instrument_patterns,
    matches_instrument,
    portal_filters,
)
from hst_cloud.archive.instruments import INSTRUMENTS
from hst_cloud.archive.quantities import Span, radius_degrees, sky_position
from hst_cloud.errors import QueryError


def test_words_stand_for_mast_columns():
    """Each argument is a condition on the column that holds it."""
    found = conditions(
        instrument="acs/wfc", filters=["f814w", "F606W"], proposal=12058, calib_level=[2, 3], dataproduct_type="Image"
    )
    assert found == {
        "instrument_name": ("ACS/WFC",),
        "filters": ("F814W", "F606W"),
        "proposal_id": ("12058",),
        "calib_level": ("2", "3"),
        "dataproduct_type": ("image",),
    }


def test_science_that_was_taken_is_the_default_and_both_can_be_lifted():
    """Planned observations have level -1; calibrations another intent."""
    assert defaults(intent="science", planned=False) == {
        "obs_collection": ("HST",),
        "intentType": ("science",),
        "calib_level": ("0", "1", "2", "3", "4"),
    }
    assert defaults(intent=None, planned=True) == {"obs_collection": ("HST",)}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [((10, 20), (10, 20)), ((1 * u.min, None), (60, 1e12)), (("10 s", "1 h"), (10, 3600)), ([1, 2] * u.ks, (1e3, 2e3))],
)
def test_exposure_times_are_a_pair_in_any_unit_of_time(given, seconds):
    """An open end is beyond any exposure."""
    assert conditions(exptime=given)["t_exptime"] == pytest.approx(seconds)


@given(st.floats(48000, 62000), st.floats(0.001, 4000))
def test_the_end_of_the_dates_is_left_out(start, days):
    """MAST's range includes both ends, so the end sent is the number before."""
    span = conditions(since=Time(start, format="mjd"), until=Time(start + days, format="mjd"))["t_min"]
    assert span.low == Time(start, format="mjd").utc.mjd
    assert span.high < Time(start + days, format="mjd").utc.mjd
    assert math.nextafter(span.high, math.inf) == Time(start + days, format="mjd").utc.mjd


def test_dates_may_be_open_and_in_years_to_come():
    """No warning about leap seconds that nobody knows yet."""
    assert conditions(since="2015-01-01")["t_min"] == Span(57023.0, 1e12)
    assert conditions(until="2100-01-01T00:00:00")["t_min"].low == -1e12


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"instrument": "AXS"}, r"instrument='AXS' .*nearest: 'ACS'"),
        ({"instrument": "ACS/WFC3"}, r"'ACS/WFC3' .*'ACS/WFC'"),
        ({"instrument": []}, r"instrument=\[\] holds no value"),
        ({"filters": ["F814W", " "]}, r"holds no value"),
        ({"since": "2015-13-01"}, r"since='2015-13-01' is no time"),
        ({"since": 57000.5}, r"since=57000.5 is no time"),
        ({"since": "2015-01-01", "until": "2015-01-01"}, r"since=2015-01-01 is not before until=2015-01-01"),
        ({"since": Time(["2015-01-01", "2016-01-01"])}, r"is not one time"),
        ({"exptime": 100}, r"t_exptime=100: .*pair"),
        ({"exptime": (None, None)}, r"pair"),
        ({"exptime": (20, 10)}, r"t_exptime=\(20, 10\) is empty"),
        ({"exptime": (1 * u.m, 2 * u.m)}, r"no number in s"),
        ({"exptime": (math.nan, 2)}, r"not finite"),
        ({"proposal": "GO-12058"}, r"proposal='GO-12058' is no number of a proposal: expected one such as 12058"),
        ({"proposal": [12058, "x3"]}, r"proposal='x3' is no number of a proposal"),
        ({"calib_level": 7}, r"calib_level='7' is none"),
        ({"dataproduct_type": "images"}, r"dataproduct_type='images' .*nearest: 'image'"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_sent(arguments, text):
    """The message holds the value and the nearest that would do."""
    with pytest.raises(QueryError, match=text):
        conditions(**arguments)


def test_an_unknown_intent_is_refused():
    """MAST has two."""
    with pytest.raises(QueryError, match="intent='sciense'"):
        defaults(intent="sciense", planned=False)


def test_an_instrument_is_also_all_of_its_detectors():
    """Each is asked for by a pattern of its own; detectors are asked for together."""
    assert instrument_patterns(("ACS", "WFC3/IR", "ACS/WFC", "COS/FUV")) == [("ACS*",), ("WFC3/IR", "COS/FUV")]
    assert instrument_patterns(None) == [None]
    assert [matches_instrument(n, ("ACS",)) for n in ("ACS", "ACS/WFC", "acs/hrc", "ACSX", "WFC3/IR")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not matches_instrument("ACS", ("ACS/WFC",))
    assert not matches_instrument("COS-STIS", ("COS",))


@pytest.mark.parametrize("name", [n for i in INSTRUMENTS.values() for n in (i.name, f"{i.name}/{i.detectors[0]}")])
def test_every_instrument_of_the_five_is_known(name):
    """With and without a detector."""
    assert conditions(instrument=name.lower()) == {"instrument_name": (name,)}


def test_older_instruments_are_known_without_their_detectors():
    """The archive has them though the registry of open data does not promise them."""
    assert conditions(instrument=["WFPC2", "wfpc2/wfc", "HRS"])["instrument_name"] == ("WFPC2", "WFPC2/WFC", "HRS")


def test_conditions_become_filters_by_the_columns_that_mast_has():
    """A continuous column gets a pair, another its words; names are matched in any case."""
    sent = portal_filters(
        {"t_min": Span(1, 2), "filters": ("F814W",)}, {"Proposal_PI": "Ost*", "s_dec": (None, 5)}, COLUMNS
    )
    assert sent == {"t_min": [1, 2], "filters": ["F814W"], "proposal_pi": ["Ost*"], "s_dec": [-1e12, 5]}


def test_criteria_take_quantities_and_times():
    """They are sent in the column's unit."""
    sent = portal_filters({}, {"em_min": (0.3 * u.um, 4000 * u.AA), "t_max": (Time("2015-01-01"), None)}, COLUMNS)
    assert sent["em_min"] == pytest.approx([300, 400])
    assert sent["t_max"] == [57023.0, 1e12]


def test_levels_become_a_pair_where_a_server_has_them_as_numbers():
    """MAST's configuration decides which kind a column is."""
    columns = COLUMNS | {"calib_level": {"vot.datatype": "int", "treatNumeric": True}}
    assert portal_filters({"calib_level": ("2", "3")}, {}, columns) == {"calib_level": [2, 3]}


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({"propsal_id": "1"}, r"no column 'propsal_id'; nearest: 'proposal_id'"),
        ({"zzzzzz": "1"}, r"no column 'zzzzzz'; known: "),
        ({"s_ra": 10.0}, r"s_ra=10.0: the column is continuous and takes a pair"),
        ({"s_ra": (1, 2, 3)}, r"pair"),
        ({"s_ra": ("a", 2)}, r"s_ra='a' is no number in deg"),
        ({"obs_id": ["j*", "i*"]}, r"holds 2 wildcards"),
        ({"obs_id": []}, r"holds no value"),
        ({"_selected_": "1"}, r"no column '_selected_'"),
    ],
)
def test_criteria_that_astroquery_would_skip_are_errors(extra, text):
    """A condition that is left out without a word gives other data than those asked for."""
    with pytest.raises(QueryError, match=text):
        portal_filters({}, extra, COLUMNS)


def test_a_range_of_a_column_of_words_is_refused():
    """A server whose t_min is a word can't be asked for a range."""
    with pytest.raises(QueryError, match="holds words, not numbers"):
        portal_filters({"t_min": Span(1, 2)}, {}, {"t_min": {"vot.datatype": "char"}})


@pytest.mark.parametrize(
    "given", ["202.47 47.195", "202.47, +47.195", "13h29m52.8s +47d11m42s", SkyCoord(202.47, 47.195, unit="deg")]
)
def test_positions_are_what_astropy_parses(given):
    """A text without units is in degrees."""
    assert sky_position(given).separation(SkyCoord(202.47, 47.195, unit="deg")) < 1 * u.arcsec


@pytest.mark.parametrize(
    "given", ["M 51", "202.47", "13 29 52.8 +47 11 42", SkyCoord([1, 2], [3, 4], unit="deg"), 12, "nan nan"]
)
def test_what_is_no_position_is_refused(given):
    """Names go through target=."""
    with pytest.raises(QueryError, match="center="):
        sky_position(given)


def test_a_radius_is_a_positive_angle():
    """Of any unit of angle, but of one."""
    assert radius_degrees("3 arcmin") == pytest.approx(0.05)
    assert radius_degrees(18 * u.arcsec) == pytest.approx(0.005)
    for wrong in (0.1, "-1 deg", 3 * u.s, [1, 2] * u.deg, "many"):
        with pytest.raises(QueryError, match="radius="):
            radius_degrees(wrong)
