"""Footprints on the sky: where observations lie, and of which epoch or instrument they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS

from hst_cloud.archive.footprints import Footprint, parse_footprint
from hst_cloud.archive.quantities import sky_position
from hst_cloud.archive.tables import texts
from hst_cloud.drawable import Floats
from hst_cloud.errors import QueryError
from hst_cloud.plots.canvas import COLORS, figure_of, sky_axes, titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["footprints"]

_MOST = 500  # observations in one picture: of more nothing would be told apart
_WIDEST = 10.0  # degrees from the middle: farther off, north is no longer up
_STYLES = ("solid", "dashed", "dotted")
_TOLD = len(_STYLES) * len(COLORS)  # lines that are told apart


def footprints(observations: Table, center: SkyCoord | str | None = None, *, by: str | None = None) -> Figure:
    """Draw where on the sky observations lie, north up and east to the left.

    Parameters
    ----------
    observations : Table
        What `hst_cloud.search` or `hst_cloud.epochs` returned, or a table with its column ``s_region``. At most 500
        rows.
    center : SkyCoord or str, optional
        A position that is marked, and lies in the middle; a text without units is in degrees.
    by : str, optional
        Column whose values are told apart by color and line: by default ``epoch`` if there is one, else
        ``instrument_name``. Values beyond the eleventh share one.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes, ICRS.

    Raises
    ------
    QueryError
        There are no footprints or too many, the table lacks a column, or they are on different parts of the sky.
    ArchiveAnswerError
        An ``s_region`` is no footprint.
    MissingExtraError
        matplotlib is not installed.

    Notes
    -----
    Requests: none.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> found = hst.search("47 Tuc", instrument="ACS/WFC")
    >>> figure = hst.plots.footprints(found, "6.04 -72.07", by="t_min")
    """
    names, shapes = _named(observations, by)
    place = None if center is None else sky_position(center)
    outlines = [outline for shape in shapes for outline in shape]
    figure = figure_of()
    wcs = _plane(_middle(outlines) if place is None else place)
    axes = sky_axes(figure, wcs)
    axes.coords.grid(color="#888888", alpha=0.25, linewidth=0.6)
    told = [*dict.fromkeys(names)]
    for number, name in enumerate(told[:_TOLD] if len(told) > _TOLD else told):
        mine = {name} if number < _TOLD - 1 or len(told) <= _TOLD else set(told[number:])
        some = [shape for one, shape in zip(names, shapes, strict=True) if one in mine]
        label = f"{name if len(mine) == 1 else f'{len(mine)} others'} ({len(some)})"
        _draw(axes, [_pixels(outline, wcs) for shape in some for outline in shape], number, label)
    if place is not None:
        axes.plot(0, 0, "+", color="black", markersize=11, markeredgewidth=1.4)
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    titled(axes, _targets(observations), _what(shapes, place))
    return figure


def _named(observations: Table, by: str | None) -> tuple[list[str], list[Footprint]]:
    """Return what each observation is told apart by, and its outlines."""
    column = by or ("epoch" if "epoch" in observations.colnames else "instrument_name")
    lacking = [name for name in ("s_region", column) if name not in observations.colnames]
    if lacking:
        message = f"the table of observations has no column {lacking[0]!r}: give what hst_cloud.search returned"
        raise QueryError(message)
    if not 0 < len(observations) <= _MOST:
        message = f"{len(observations)} footprints cannot be drawn: expected 1 to {_MOST}; draw a part of them"
        raise QueryError(message)
    shapes = [parse_footprint(region) for region in texts(observations, "s_region")]
    if not any(shapes):
        message = f"none of {len(shapes)} observations has a footprint: their s_region is empty"
        raise QueryError(message)
    said = [str(value) for value in observations[column]]
    return [f"epoch {value}" for value in said] if column == "epoch" else said, shapes


def _middle(outlines: Sequence[Floats]) -> SkyCoord:
    return _position(np.concatenate(outlines).sum(axis=0))


def _position(vectors: Floats) -> SkyCoord:
    """Return where vectors, of whatever length, point: shape (..., 3)."""
    x, y, z = vectors.T
    return SkyCoord(np.arctan2(y, x), np.arctan2(z, np.hypot(x, y)), unit=u.rad)


def _plane(middle: SkyCoord) -> WCS:
    """Return the plane that touches the sky there, in arcseconds: in it the sides of footprints are straight."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = [middle.ra.deg, middle.dec.deg]
    wcs.wcs.crpix = [1, 1]
    wcs.wcs.cdelt = [-1 / 3600, 1 / 3600]
    return wcs


def _pixels(outline: Floats, wcs: WCS) -> Floats:
    """Return the corners of an outline in the plane: shape (corners, 2)."""
    corners = _position(outline)
    middle = SkyCoord(*wcs.wcs.crval, unit=u.deg)
    away = corners.separation(middle).deg.max()
    if away > _WIDEST:
        message = (
            f"a footprint lies {away:.0f} degrees from {middle.to_string('hmsdms', precision=0)}: expected at most "
            f"{_WIDEST:.0f}; draw one part of the sky at a time"
        )
        raise QueryError(message)
    places: Floats = wcs.wcs_world2pix(np.column_stack([corners.ra.deg, corners.dec.deg]), 0)
    return places


def _draw(axes: Any, corners: Sequence[Floats], number: int, label: str) -> None:
    from matplotlib.collections import PolyCollection  # noqa: PLC0415  # an optional dependency

    color, style = COLORS[number % len(COLORS)], _STYLES[number // len(COLORS)]
    # filled so faintly that what lies on one another shows darker
    drawn = PolyCollection(corners, facecolors=(color, 0.07), edgecolors=color, linestyles=style, linewidths=0.9)
    axes.add_collection(drawn)
    axes.plot([], [], color=color, linestyle=style, label=label)


def _targets(observations: Table) -> str:
    names = [*dict.fromkeys(filter(None, texts(observations, "target_name")))]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "Footprints"


def _what(shapes: Sequence[Footprint], place: SkyCoord | None) -> str:
    number = f"{len(shapes)} observation{'' if len(shapes) == 1 else 's'}"
    empty = sum(not shape for shape in shapes)
    lacking = f"{empty} without a footprint" if empty else ""
    marked = "" if place is None else f"+ at {place.to_string('hmsdms', precision=1)}"
    return ", ".join(filter(None, (number, lacking, marked)))
