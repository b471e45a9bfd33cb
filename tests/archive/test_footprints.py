"""Footprints against independent geometry: spherical excess, matplotlib's paths, and counting points."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib.path import Path

from hst_cloud.archive import footprints
from hst_cloud.archive.footprints import common_area, holds, parse_footprint
from hst_cloud.errors import ArchiveAnswerError

PLACES = st.tuples(st.floats(0, 360, exclude_max=True), st.floats(-89.9, 89.9))
FRAMES = st.sampled_from(["", "ICRS ", "J2000 ", "GSC1  ", "UNION ICRS "])


@st.composite
def stars(draw):
    """Return a center and the corners of a polygon around it, convex or not, a degree from it at most."""
    center, count, radius = draw(PLACES), draw(st.integers(3, 9)), draw(st.floats(0.01, 1.0))
    steps = np.cumsum([draw(st.floats(0.5, 1.5)) for _ in range(count)])
    angles = (360 * steps / steps[-1]) % 360
    distances = [radius * draw(st.floats(0.3, 1.0)) for _ in range(count)]
    assume(np.diff(np.sort(angles), append=np.sort(angles)[0] + 360).max() < 170)
    middle = SkyCoord(*center, unit="deg")
    places = middle.directional_offset_by(np.sort(angles) * u.deg, np.array(distances) * u.deg)
    return middle, places


def text_of(places, frame="", *, closed=True):
    around = [*range(len(places)), 0] if closed else range(len(places))
    return f"POLYGON {frame}" + " ".join(f"{float(places[i].ra.deg)!r} {float(places[i].dec.deg)!r}" for i in around)


def excess(middle, places):
    """Return the area of a polygon around a center, in square degrees: L'Huilier's triangles from the center."""
    total = 0.0
    for at in range(len(places)):
        one, other = places[at], places[(at + 1) % len(places)]
        a, b, c = (x.rad for x in (middle.separation(one), middle.separation(other), one.separation(other)))
        s = (a + b + c) / 2
        product = math.tan(s / 2) * math.tan((s - a) / 2) * math.tan((s - b) / 2) * math.tan((s - c) / 2)
        total += 4 * math.atan(math.sqrt(max(product, 0)))
    return math.degrees(math.degrees(total))


@given(stars(), FRAMES, st.booleans())
def test_the_area_of_an_outline_is_that_of_its_triangles(star, frame, closed):
    """Anywhere on the sky, at the poles and at right ascension 0, convex or not, whether the first corner is repeated."""
    middle, places = star
    footprint = parse_footprint(text_of(places, frame, closed=closed))
    assert [len(outline) for outline in footprint] == [len(places)]
    assert common_area([[footprint]]) == pytest.approx(excess(middle, places), rel=2e-3, abs=1e-9)


@given(stars(), st.lists(st.tuples(st.floats(0, 360), st.floats(0, 1.2)), min_size=1, max_size=20))
def test_what_an_outline_holds_is_what_matplotlib_says_it_holds(star, around):
    """Of points in the plane that touches the sky at the center, where sides are straight."""
    middle, places = star
    footprint = parse_footprint(text_of(places))
    flat = middle.skyoffset_frame()

    def plane(coordinates):
        offset = coordinates.transform_to(flat).cartesian
        return np.column_stack([offset.y / offset.x, offset.z / offset.x])

    points = middle.directional_offset_by([a for a, _ in around] * u.deg, [r for _, r in around] * u.deg)
    path = plane(places)
    ends = list(zip(path, np.roll(path, -1, axis=0), strict=True))
    for point, place in zip(points, plane(points), strict=True):
        # the distance to the nearest side: on a side nobody is right
        along = [np.clip((place - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1) for a, b in ends]
        if min(np.linalg.norm(a + part * (b - a) - place) for part, (a, b) in zip(along, ends, strict=True)) > 1e-9:
            assert holds(footprint, point.ra.deg, point.dec.deg) == Path(path).contains_point(place)


def square(east, north, side, frame=""):
    """Return a square on the equator, where degrees are as good as plane."""
    corners = [(east, north), (east + side, north), (east + side, north + side), (east, north + side)]
    return f"POLYGON {frame}" + " ".join(f"{x % 360:.9f} {y:.9f}" for x, y in corners)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-8, 8), st.integers(-8, 8), st.integers(1, 8)), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_common_areas_are_counted_squares(groups):
    """Of groups of squares, several of one group overlapping: what each group covers, all of them together."""
    cells = [{(x + i, y + j) for x, y, side in group for i in range(side) for j in range(side)} for group in groups]
    step = 0.001
    parsed = [[parse_footprint(square(x * step, y * step, side * step)) for x, y, side in group] for group in groups]
    assert common_area(parsed) == pytest.approx(len(set.intersection(*cells)) * step**2, rel=1e-5, abs=1e-12)


@given(st.integers(11, 19))
def test_sides_that_cross_cut_corners_off(reach):
    """A square and a diamond: what both have is the square without its corners."""
    square_of_two = parse_footprint(square(-0.01, -0.01, 0.02))
    r = reach / 1000
    diamond = parse_footprint(f"POLYGON {r} 0 0 {r} {360 - r} 0 0 {-r}")
    expected = 0.02**2 - 4 * (0.02 - r) ** 2 / 2
    assert common_area([[square_of_two], [diamond]]) == pytest.approx(expected, rel=1e-5)


def test_very_many_sides_are_cut_into_even_strips(monkeypatch):
    """To a thousandth of the area."""
    parsed = [[parse_footprint(square(0.001 * n, 0.002 * n, 0.05)) for n in range(6)] for _ in range(2)]
    exact = common_area(parsed)
    monkeypatch.setattr(footprints, "_MANY", 10)
    assert common_area(parsed) == pytest.approx(exact, rel=1e-3)


def test_circles_have_their_area_and_hold_what_is_near():
    """A circle is a polygon of 64 corners, of the same area."""
    circle = parse_footprint("CIRCLE ICRS 359.999 -30.0 0.05")
    assert common_area([[circle]]) == pytest.approx(math.pi * 0.05**2, rel=1e-5)
    center = SkyCoord(359.999, -30, unit="deg")
    for angle in (0, 77, 200):
        inside, outside = (center.directional_offset_by(angle * u.deg, r * u.deg) for r in (0.0499, 0.0502))
        assert holds(circle, inside.ra.deg, inside.dec.deg)
        assert not holds(circle, outside.ra.deg, outside.dec.deg)


def test_several_outlines_are_one_footprint():
    """The chips of a camera: the gap between them is no part of it, nor counted in the area."""
    both = parse_footprint(square(0, 0, 0.02) + " " + square(0.03, 0, 0.02, "ICRS ") + " CIRCLE 0.1 0 0.001")
    assert len(both) == 3
    assert [holds(both, x, 0.01) for x in (0.01, 0.025, 0.04)] == [True, False, True]
    assert common_area([[both]]) == pytest.approx(2 * 0.02**2 + math.pi * 1e-6, rel=1e-4)
    assert common_area([[both], [parse_footprint(square(0.01, 0, 0.03))]]) == pytest.approx(2 * 0.01 * 0.02, rel=1e-5)


def test_nothing_in_common_is_zero():
    """No footprint, none in one of the groups, and opposite sides of the sky."""
    one = parse_footprint(square(0, 0, 0.1))
    assert parse_footprint("") == ()
    assert common_area([]) == common_area([[one], []]) == common_area([[one], [()]]) == 0
    assert common_area([[one], [parse_footprint(square(180, 0, 0.1))]]) == 0
    assert common_area([[one], [parse_footprint(square(90, 0, 0.1))]]) == 0
    assert not holds(one, 180.05, 0.05)
    assert parse_footprint("POLYGON 1 2 1 2 3 4 1 2") == ()  # an outline of two corners


@pytest.mark.parametrize(
    "text",
    ["BOX ICRS 1 2 3 4", "POLYGON", "POLYGON 1 2 3 4", "POLYGON 1 2 3 4 5", "CIRCLE 1 2", "CIRCLE 1 2 -1", "CIRCLE 1 99 1",
     "POLYGON 1 2 3 4 5 91", "POLYGON 1 2 3 4 5 6 x", "POLYGON 1 2 3 4 5 --6", "POLYGON 1 2 3 4 5 1e999", "nonsense"],
)  # fmt: skip
def test_what_is_no_footprint_is_an_error(text):
    """With the text, and what was expected."""
    with pytest.raises(ArchiveAnswerError, match=r"is no footprint: expected 'POLYGON \[frame\]"):
        parse_footprint(text)


@given(st.text("POLYGNCIRE 0123456789.-+eE\n", max_size=60))
def test_any_text_is_a_footprint_or_an_error(text):
    """And nothing else is raised."""
    with contextlib.suppress(ArchiveAnswerError):
        footprint = parse_footprint(text)
        assert all(len(outline) >= 3 for outline in footprint)
        assert common_area([[footprint]]) >= 0


def test_recorded_footprints_are_read(shared_data):
    """Of all that MAST's recorded answers have: they hold what is within, and have areas of detectors of HST."""
    recorded = json.loads((shared_data / "mast/notebooks/tike_phat_observations.json").read_text(encoding="utf-8"))
    seen = 0
    for row in recorded["data"]:
        footprint = parse_footprint(row["s_region"])
        corners = np.concatenate(footprint)
        middle = corners.sum(axis=0)
        ra, dec = (
            math.degrees(math.atan2(middle[1], middle[0])),
            math.degrees(math.asin(middle[2] / np.linalg.norm(middle))),
        )
        assert 3.69 < common_area([[footprint]]) * 3600 < 3.79  # of one chip of WFC3/UVIS, 162 by 81 arcsec
        assert holds(footprint, ra % 360, dec)
        seen += 1
    assert seen > 15
    old = json.loads((shared_data / "mast/astroquery/caom.json").read_text(encoding="utf-8"))
    regions = {row.get("s_region") for row in old["data"]} - {None}
    assert regions
    assert all(common_area([[parse_footprint(region)]]) > 0 for region in regions)
