"""Light curves and footprints show every exposure: which filter or epoch it is of, where, when, and how sure."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked

import hst_cloud as hst
from hst_cloud import plots
from hst_cloud.errors import QueryError

CHIPS = "POLYGON 10.0 -0.1 10.1 -0.1 10.1 0.0 10.0 0.0 POLYGON ICRS 10.0 0.01 10.1 0.01 10.1 0.1 10.0 0.1"


def measured(rates, *, filters=None, positions=None, masked=None, times=None):
    """Return a table as `hst.photometry` makes it; what is NaN is masked."""
    number = len(rates)
    rate = np.array(rates, float)
    mask = np.isnan(rate)
    magnitude = 25 - 2.5 * np.log10(np.where(mask, 1, rate))
    table = QTable()
    table["time"] = Time(np.arange(number) * 100.0 + 60000 if times is None else times, format="mjd", scale="utc")
    table["position"] = positions or [0] * number
    table["ra"], table["dec"] = np.full(number, 10.0) * u.deg, np.full(number, -72.0) * u.deg
    table["instrument"], table["detector"], table["filter"] = ["ACS"], ["WFC"], filters or ["F814W"] * number
    table["rate"] = Masked(rate, mask=mask) << (u.electron / u.s)
    table["rate_err"] = Masked(0.1 * rate, mask=mask) << (u.electron / u.s)
    for name, unit in (("abmag", u.ABmag), ("stmag", u.STmag), ("mag_err", u.mag)):
        table[name] = Masked(np.full(number, 0.1) if name == "mag_err" else magnitude, mask=mask) << unit
    table["masked"] = masked or [0.0] * number
    return table


def points(axes):
    """Return the x, y and error of each series of points, by what it is called, and whether it is hollow."""
    found = {}
    for one in axes.containers:
        line, _, (bars,) = one
        half = [float(abs(segment[1, 1] - segment[0, 1])) / 2 for segment in bars.get_segments()]
        hollow = line.get_markerfacecolor() == "white"
        found[one.get_label()] = (*(part.tolist() for part in line.get_data()), half, hollow)
    return found


# --- Light curves ---


def test_a_light_curve_has_magnitudes_downward_with_their_errors():
    """Time is said with its scale, the filters have colors of their own, and bright is up."""
    table = measured([100.0, 10.0, 100.0], filters=["F814W", "F814W", "F606W"])
    (axes,) = plots.light_curve(table).axes
    assert axes.yaxis_inverted()
    assert axes.get_ylabel() == "AB magnitude"
    assert axes.get_xlabel() == "Middle of the exposure (MJD, UTC)"
    shown = points(axes)
    assert shown["ACS/WFC F814W"] == ([60000.0, 60100.0], [20.0, 22.5], pytest.approx([0.1, 0.1]), False)
    assert shown["ACS/WFC F606W"][:2] == ([60200.0], [20.0])
    assert len({one[0].get_color() for one in axes.containers}) == 2
    assert axes.texts[0].get_text() == "RA 10.00000, Dec -72.00000 deg, 3 exposures"


def test_what_is_masked_in_part_is_hollow_and_what_has_no_value_is_at_the_foot(tmp_path):
    """Neither passes for a good point, and no exposure is lost."""
    figure = plots.light_curve(measured([5.0, 4.0, np.nan], masked=[0.0, 0.25, 1.0]), brightness="rate")
    (axes,) = figure.axes
    assert not axes.yaxis_inverted()
    shown = points(axes)
    assert shown["ACS/WFC F814W"] == ([60000.0], [5.0], pytest.approx([0.5]), False)
    assert shown["ACS/WFC F814W, partly masked"] == ([60100.0], [4.0], pytest.approx([0.4]), True)
    (foot,) = [line for line in axes.lines if line.get_label() == "ACS/WFC F814W, no value"]
    assert foot.get_xdata().tolist() == [60200.0]
    figure.savefig(tmp_path / "a.png")


def test_each_position_has_axes_of_its_own_and_a_short_curve_a_day_to_count_from():
    """A table, or the curves that are made of it, give the same picture."""
    table = measured([1.0, 2.0, 3.0, 4.0], positions=[3, 1, 3, 1], times=[60310.25, 60310.5, 60310.75, 60311.0])
    for given in (table, hst.light_curves(table)):
        first, second = plots.light_curve(given, brightness="rate").axes
        assert [axes.get_title(loc="left") for axes in (first, second)] == ["Position 1", "Position 3"]
        assert points(first)["ACS/WFC F814W"][:2] == ([0.5, 1.0], [2.0, 4.0])
        assert second.get_xlabel() == "Middle of the exposure (MJD - 60310, UTC)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: Table({"time": [1.0]}), "no column 'abmag'"),
        (lambda: measured([1.0])[:0], "0 positions cannot be drawn"),
        (lambda: measured([1.0] * 13, positions=list(range(13))), "13 positions cannot be drawn"),
    ],
)
def test_what_is_no_photometry_is_named(given, said):
    """The error says what is missing or too much."""
    with pytest.raises(QueryError, match=said):
        plots.light_curve(given())
    with pytest.raises(QueryError, match="brightness='vegamag'"):
        plots.light_curve(measured([1.0]), brightness="vegamag")


# --- Footprints ---


def observed(regions, **columns):
    number = len(regions)
    return Table(
        {"s_region": regions, "instrument_name": ["ACS/WFC"] * number, "target_name": ["M$51$"] * number} | columns
    )


def outlines(axes):
    return [[path.vertices for path in one.get_paths()] for one in axes.collections if len(one.get_paths())]


def test_footprints_lie_on_the_sky_with_east_to_the_left(tmp_path):
    """Each chip is an outline, north is up, and the position is in the middle, marked and named."""
    figure = plots.footprints(observed([CHIPS]), "10.05 0.0")
    (axes,) = figure.axes
    (chips,) = outlines(axes)
    assert len(chips) == 2
    low, high = (axes.wcs.pixel_to_world(*chips[0][corner]) for corner in (0, 2))
    assert [low.ra.deg, low.dec.deg, high.ra.deg, high.dec.deg] == pytest.approx([10.0, -0.1, 10.1, 0.0])
    assert chips[0][0, 0] > 0 > chips[0][2, 0]  # more right ascension is to the left
    assert chips[0][0, 1] < chips[0][2, 1]
    (mark,) = [line for line in axes.lines if line.get_marker() == "+"]
    assert axes.wcs.pixel_to_world(*(part[0] for part in mark.get_data())).ra.deg == pytest.approx(10.05)
    assert axes.get_title(loc="left") == "M$51$"
    assert axes.texts[0].get_text() == "1 observation, + at 00h40m12.0s +00d00m00.0s"
    figure.savefig(tmp_path / "a.png")


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_epochs_instruments_or_any_column_are_told_apart():
    """Epochs if there are any, else instruments, or what is asked; what cannot be told apart shares a line."""
    table = observed([CHIPS, CHIPS, ""], epoch=[0, 1, 1], obs_id=["a", "b", "c"])
    assert labels(plots.footprints(table)) == ["epoch 0 (1)", "epoch 1 (2)"]
    assert plots.footprints(table).axes[0].texts[0].get_text() == "3 observations, 1 without a footprint"
    assert labels(plots.footprints(table, by="instrument_name")) == ["ACS/WFC (3)"]
    many = observed([CHIPS] * 20, obs_id=[f"o{n}" for n in range(20)])
    assert labels(plots.footprints(many, by="obs_id")) == [*(f"o{n} (1)" for n in range(11)), "9 others (9)"]


@pytest.mark.parametrize(
    ("given", "center", "said"),
    [
        (Table({"obs_id": ["a"]}), None, "no column 's_region'"),
        (observed([]), None, "0 footprints cannot be drawn"),
        (observed([CHIPS] * 501), None, "501 footprints cannot be drawn: expected 1 to 500"),
        (observed(["", ""]), None, "none of 2 observations has a footprint"),
        (observed([CHIPS]), "190.05 0.0", "lies 180 degrees from"),
    ],
)
def test_what_cannot_be_drawn_on_one_sky_is_named(given, center, said):
    """The error says why, and what was expected."""
    with pytest.raises(QueryError, match=said):
        plots.footprints(given, center)
