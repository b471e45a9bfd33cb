"""Epochs of a field: which observations, in which order, how far apart, and what they share."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

import hst_cloud as hst
from hst_cloud.errors import HSTCloudWarning, QueryError
from hst_cloud.testing import LocalArchive, make_demo_archive

YEAR = 365.25


def square(east, north, side=0.1):
    corners = [(east, north), (east + side, north), (east + side, north + side), (east, north + side)]
    return "POLYGON ICRS " + " ".join(f"{x:.6f} {y:.6f}" for x, y in corners)


def observed(*rows):
    """Return observations: filters, middle in days, footprint."""
    filters, days, regions = zip(*rows, strict=True)
    middles = np.array([np.nan if day is None else 55000 + day for day in days])
    return Table(
        {
            "obs_id": [f"j00000{number:03d}" for number in range(len(rows))],
            "filters": filters,
            "t_min": MaskedColumn(middles - 0.01, mask=np.isnan(middles), unit=u.d),
            "t_max": MaskedColumn(middles + 0.01, mask=np.isnan(middles), unit=u.d),
            "s_region": regions,
        },
        meta={"criteria": {"a": 1}},
    )


def test_epochs_are_numbered_by_filter_in_order_of_time():
    """Whatever the order given; clear elements are no filter; a filter of one epoch, and what was not taken, is left out."""
    table = observed(
        ("F606W", 3 * YEAR, square(10, 0)),
        ("F814W", 0, square(10, 0)),
        ("F606W;CLEAR2L", 0, square(10.02, 0)),
        ("F606W", 20, square(10, 0.04)),
        ("F606W", None, square(10, 0)),
        ("F606W", 3 * YEAR + 31, square(10, 0)),
    )
    found = hst.epochs(table, "10.05 0.05")
    assert found["obs_id"].tolist() == ["j00000002", "j00000003", "j00000000", "j00000005"]
    assert found["epoch"].tolist() == [0, 0, 1, 2]
    np.testing.assert_allclose(found["baseline"], [0, 0, (3 * YEAR - 10) / YEAR, (3 * YEAR + 21) / YEAR], atol=1e-9)
    # the first epoch shows both of its squares, of which the later ones show but their own
    np.testing.assert_allclose(found["overlap"], (0.1 * 0.1 - 0.02 * 0.04) * 3600, rtol=1e-5)
    assert (found["baseline"].unit, found["overlap"].unit) == (u.yr, u.arcmin**2)
    assert found.meta["criteria"] == {"a": 1}
    assert found.meta["epochs"]["within"] == "30.0 d"
    assert "epoch" not in table.colnames


def test_footprints_must_hold_the_position():
    """A text, a SkyCoord of another frame, or nothing, which leaves the choice to `search`."""
    table = observed(("F606W", 0, square(10, 0)), ("F606W", 800, square(10.05, 0)), ("F606W", 900, square(10.2, 0)))
    for center in ("10.07 0.05", SkyCoord(10.07, 0.05, unit="deg").galactic):
        assert hst.epochs(table, center)["obs_id"].tolist() == ["j00000000", "j00000001"]
    assert len(hst.epochs(table)) == 3
    assert set(hst.epochs(table)["overlap"]) == {0.0}


@given(st.lists(st.integers(0, 2000), min_size=2, max_size=12), st.integers(1, 400), st.integers(1, 900))
def test_epochs_are_short_and_far_apart(days, within, baseline):
    """None is longer than `within`, each begins later than that after the one before began, and no row is lost."""
    table = observed(*[("F606W", day, square(10, 0)) for day in days])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = hst.epochs(table, within=within * u.day, min_baseline=f"{baseline} day")
    if said:
        assert len(found) == 0
        return
    assert len(found) == len(days)
    times = np.array(found["t_min"]) - 55000
    assert (np.diff(times) >= 0).all()
    starts = [times[found["epoch"] == number].min() for number in range(max(found["epoch"]) + 1)]
    assert (np.diff(starts) > within).all()
    assert all(np.ptp(times[found["epoch"] == number]) <= within for number in range(len(starts)))
    assert found["baseline"].max() * YEAR >= baseline - 1e-6


def test_nothing_found_warns_of_what_there_is():
    """The table has its columns and no rows; the text tells the epochs that are too near, or that nothing is there."""
    table = observed(("F606W", 0, square(10, 0)), ("F606W", 60, square(10, 0)))
    with pytest.warns(
        HSTCloudWarning, match="no filter has epochs that are 1 yr apart; there are F606W: 2009-06-18, 2009-"
    ):
        found = hst.epochs(table)
    assert (len(found), found.colnames[:2]) == (0, ["obs_id", "filters"])
    with pytest.warns(HSTCloudWarning, match=r"no observation holds 50 50, so that there are no epochs"):
        hst.epochs(table, "50 50")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"within": "3 arcmin"}, "within='3 arcmin' is no length of time"),
        ({"min_baseline": -1 * u.yr}, "must not be negative"),
        ({"center": "nowhere at all"}, "is no position"),
    ],
)
def test_mistakes_are_told(arguments, said):
    """Before anything is computed."""
    with pytest.raises(QueryError, match=said):
        hst.epochs(observed(("F606W", 0, square(10, 0))), **arguments)


def test_other_tables_are_told():
    """Such as one of products."""
    with pytest.raises(QueryError, match="has no column 'filters'"):
        hst.epochs(Table({"dataURI": ["x"]}))


def test_what_shows_nobody_knows_what_is_left_out():
    """One warning names the rows whose footprint cannot be read; the others have their epochs."""
    good = [("F606W", 0, square(10, 0)), ("F606W", 3 * YEAR, square(10, 0))]
    table = observed(good[0], ("F606W", 1, "BOX 1 2 3 4"), good[1], ("F814W", 2, "BOX 1 2 3 4"))
    text = r"2 of 4 observations are left out, .*:\nj00000001: 'BOX 1 2 3 4'\nj00000003: 'BOX 1 2 3 4'$"
    with pytest.warns(HSTCloudWarning, match=text) as caught:
        found = hst.epochs(table, "10.05 0.05")
    assert found["obs_id"].tolist() == ["j00000000", "j00000002"]
    assert (len(caught), caught[0].filename) == (1, __file__)


def test_epochs_of_the_archive_are_products_and_cutouts(tmp_path):
    """From a search to cutouts of each epoch, whose solutions agree."""
    with LocalArchive(make_demo_archive(tmp_path, scale=64, instruments="ACS")):
        found = hst.epochs(hst.search("47 Tuc", instrument="ACS/WFC"), "6.04 -72.07", min_baseline="10 yr")
        cuts = hst.cutouts(hst.products(found, suffix="flc"), "6.04 -72.07", "20 arcsec")
    assert found["epoch"].tolist() == [0, 1]
    assert len({cut.meta["WCSNAME"] for cut in cuts}) == 1
