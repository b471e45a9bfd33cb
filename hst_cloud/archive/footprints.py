"""Footprints on the sky: MAST's ``s_region`` read, what they hold, and the area that several have in common.

A footprint is one or more outlines, a chip each: ``POLYGON [frame] ra dec ra dec ...`` or ``CIRCLE [frame] ra dec r``,
one after the other, in degrees (STC-S, IVOA note 1.33, of which MAST's answers use no more; recorded answers have the
frames ICRS, J2000, GSC1 and none, last corners that repeat the first, and chips that were joined into outlines that are
not convex). All frames are taken for ICRS, from which they differ by far less than a pixel or, for GSC1, by what the
old guide star catalogs were off.

Sides are great circles. In the tangent plane (gnomonic projection: FITS WCS paper II, Calabretta & Greisen 2002, A&A
395, 1077, sec. 5.1.3) these are straight lines, so that plane geometry is exact there but for areas, which it stretches
by one part in a million at 2 arcmin from its center, and in two thousand at a degree.

Neither ``regions`` nor ``spherical_geometry`` is used: the former has no areas that several regions share, the latter
is a compiled package for what takes few lines here.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hst_cloud.errors import ArchiveAnswerError

__all__ = ["Footprint", "common_area", "holds", "parse_footprint"]

Outline: TypeAlias = NDArray[np.float64]
"""Corners on the unit sphere: shape (corners, 3), the first one not repeated."""

Footprint: TypeAlias = "tuple[Outline, ...]"
"""The outlines of one observation."""

_CORNERS = 64  # of a polygon that stands for a circle; its radius is such that the areas agree
_MANY = 600  # sides, whose crossings are too many to be looked at each;
_STRIPS = 1024  # then areas are right to a thousandth
_SHAPE = re.compile(r"(POLYGON|CIRCLE)\s+(?:[A-Z]\w*\s+)*((?:[-+.\dEe]+\s*)+)", re.IGNORECASE)
_BEYOND = math.radians(80)  # from the center of a tangent plane: farther than any footprint of HST reaches


def parse_footprint(text: str) -> Footprint:
    """Return the outlines that an ``s_region`` holds; none for an empty text.

    Raises
    ------
    ArchiveAnswerError
        It is none, or has a shape other than polygons and circles.
    """
    shapes = _SHAPE.findall(text)
    if "".join(_SHAPE.sub("", text).split()):
        raise _wrong(text)
    outlines = [_outline(kind.upper(), numbers, text) for kind, numbers in shapes]
    return tuple(outline for outline in outlines if len(outline) > 2)  # others hold nothing


def holds(footprint: Footprint, ra: float, dec: float) -> bool:
    """Tell whether a position, in degrees, lies within an outline."""
    (place,) = _vectors([ra], [dec])
    for outline in footprint:
        middle = _middle([outline])
        if middle @ place > math.cos(_BEYOND):
            x, y = _plane(place[None], middle)[0]
            edges = _edges(_plane(outline, middle))
            if np.count_nonzero(_at(edges[(edges[:, 1] > y) != (edges[:, 3] > y)], y) < x) % 2:
                return True
    return False


def common_area(groups: Sequence[Iterable[Footprint]]) -> float:
    """Return the area that all groups cover, in square degrees: within each, that of any outline.

    Notes
    -----
    The plane is cut along every corner and every crossing of two sides into strips, in which sides are apart from each
    other: there all that is covered are trapezoids, whose areas are exact.
    """
    outlines = [[outline for footprint in group for outline in footprint] for group in groups]
    if not outlines or not all(outlines):
        return 0.0
    middle = _middle([outline for group in outlines for outline in group])
    if any(np.min(outline @ middle) < math.cos(_BEYOND) for group in outlines for outline in group):
        return 0.0  # they are on different parts of the sky
    plane = [[_edges(_plane(outline, middle)) for outline in _unique(group)] for group in outlines]
    polygons = [edges for group in plane for edges in group]
    sides = np.concatenate(polygons)
    polygon = np.repeat(np.arange(len(polygons)), [len(edges) for edges in polygons])
    group = np.repeat(np.arange(len(plane)), [sum(map(len, edges)) for edges in plane])
    area = 0.0
    for low, high in itertools.pairwise(_levels(sides).tolist()):
        area += (high - low) * _common(sides, polygon, group, (low + high) / 2)
    return math.degrees(math.degrees(area))


# --- Reading ---------------------------------------------------------------------------------------------------------


def _outline(kind: str, numbers: str, text: str) -> Outline:
    try:
        values = [float(number) for number in numbers.split()]
    except ValueError as error:
        raise _wrong(text) from error
    if not np.isfinite(values).all():
        raise _wrong(text)
    if kind == "CIRCLE":
        if len(values) != 3 or not 0 < values[2] < 90 or abs(values[1]) > 90:
            raise _wrong(text)
        return _circle(*values)
    ra, dec = values[::2], values[1::2]
    if len(ra) != len(dec) or len(ra) < 3 or max(map(abs, dec)) > 90:
        raise _wrong(text)
    corners = _vectors(ra, dec)
    fresh = np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1) > 1e-12  # corners that are said twice
    outline: Outline = corners[fresh]
    return outline


def _circle(ra: float, dec: float, radius: float) -> Outline:
    (center,) = _vectors([ra], [dec])
    angle = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
    reach = math.tan(math.radians(radius)) * math.sqrt(2 * np.pi / _CORNERS / math.sin(2 * np.pi / _CORNERS))
    east, north = _axes(center)
    corners = center + reach * (np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * north)
    scaled: Outline = corners / np.linalg.norm(corners, axis=1)[:, None]
    return scaled


def _wrong(text: str) -> ArchiveAnswerError:
    message = (
        f"s_region {text[:100]!r} is no footprint: expected 'POLYGON [frame] ra dec ...' or 'CIRCLE [frame] ra dec r'"
    )
    return ArchiveAnswerError(message)


# --- The sphere and the plane ----------------------------------------------------------------------------------------


def _vectors(ra: Sequence[float], dec: Sequence[float]) -> Outline:
    lon, lat = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _middle(outlines: Sequence[Outline]) -> NDArray[np.float64]:
    total = np.concatenate(outlines).sum(axis=0)
    middle: NDArray[np.float64] = total / (np.linalg.norm(total) or 1.0)
    return middle


def _axes(center: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pole = np.array([0.0, 0.0, 1.0] if abs(center[2]) < 0.9 else [1.0, 0.0, 0.0])
    east = np.cross(pole, center)
    east /= np.linalg.norm(east)
    return east, np.cross(center, east)


def _plane(places: Outline, center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where places lie in the plane that touches the sphere at `center`, in radians: shape (places, 2)."""
    projected: NDArray[np.float64] = places @ np.column_stack(_axes(center)) / (places @ center)[:, None]
    return projected


def _edges(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sides of a polygon: x0, y0, x1, y1."""
    return np.hstack([corners, np.roll(corners, -1, axis=0)])


def _at(edges: NDArray[np.float64], y: float) -> NDArray[np.float64]:
    """Return where a line of constant y meets sides that it crosses."""
    x0, y0, x1, y1 = edges.T
    met: NDArray[np.float64] = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return met


# --- Areas -----------------------------------------------------------------------------------------------------------


def _unique(outlines: Iterable[Outline]) -> list[Outline]:
    return list({outline.tobytes(): outline for outline in outlines}.values())


def _levels(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return every y at which a side begins, ends, or crosses another; of very many, evenly spaced ones."""
    if len(edges) > _MANY:
        return np.linspace(edges[:, 1].min(), edges[:, 1].max(), _STRIPS + 1)
    start, side = edges[:, :2], edges[:, 2:] - edges[:, :2]
    cross = side[:, None, 0] * side[None, :, 1] - side[:, None, 1] * side[None, :, 0]
    apart = start[None] - start[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):  # parallel sides
        along, across = (
            (apart[..., 0] * of[..., 1] - apart[..., 1] * of[..., 0]) / cross for of in (side, side[:, None])
        )
    first, second = np.nonzero((along > 0) & (along < 1) & (across > 0) & (across < 1))
    crossed = start[first, 1] + along[first, second] * side[first, 1]
    return np.unique(np.concatenate([edges[:, 1], crossed]))


def _common(sides: NDArray[np.float64], polygon: NDArray[np.int_], group: NDArray[np.int_], y: float) -> float:
    """Return the length that all groups cover of a line of constant y."""
    crossed = (sides[:, 1] > y) != (sides[:, 3] > y)
    x, owner = _at(sides[crossed], y), group[crossed]
    by_polygon = np.lexsort((x, polygon[crossed]))
    step = np.empty(len(x), int)
    step[by_polygon] = np.resize([1, -1], len(x))  # the line enters each polygon, leaves it, enters it, ...
    along = np.argsort(x)
    x, owner, step = x[along], owner[along], step[along]
    depth = np.cumsum(np.where(owner == np.unique(group)[:, None], step, 0), axis=1)  # shape (groups, crossings)
    return float(np.diff(x) @ (depth[:, :-1] > 0).all(axis=0))
