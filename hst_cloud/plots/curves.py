"""Light curves: what photometry of many exposures found, against time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from astropy.table import QTable

from hst_cloud.drawable import Floats
from hst_cloud.errors import QueryError
from hst_cloud.plots.canvas import COLORS, figure_of, titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["light_curve"]

Brightness: TypeAlias = Literal["abmag", "stmag", "rate"]

_MOST = 12  # positions in one picture
_LABELS = {"abmag": "AB magnitude", "stmag": "ST magnitude", "rate": "Rate (e⁻ / s)"}
_ERRORS = {"abmag": "mag_err", "stmag": "mag_err", "rate": "rate_err"}
_MARKERS = "osD^vP"
_LITTLE = 1e-6  # of an aperture: less is rounding
_SHORT = 2.0  # days: of a shorter curve the whole days are no news


def light_curve(curves: QTable | Mapping[int, QTable], *, brightness: Brightness = "abmag") -> Figure:
    """Draw how bright positions were, against time, each filter in a color of its own.

    Parameters
    ----------
    curves : QTable, TimeSeries or dict of these
        What `hst_cloud.photometry` or `hst_cloud.light_curves` returned, one of the latter's, or a part of their rows.
        At most 12 positions.
    brightness : {"abmag", "stmag", "rate"}, optional
        What is drawn. Magnitudes grow downward.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes for each position. A point whose aperture is masked in part is hollow: it is too faint by what
        is masked. A mark at the foot tells when there was an exposure without a value, as where all is masked or a
        rate that is not positive has no magnitude.

    Raises
    ------
    QueryError
        The table is none of photometry, is empty, or has too many positions.
    MissingExtraError
        matplotlib is not installed.

    Notes
    -----
    Requests: none.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> table = hst.photometry("jzdm06a1q_flc.fits", "6.04 -72.07", "2 arcsec")
    >>> figure = hst.plots.light_curve(table, brightness="rate")
    """
    if brightness not in _LABELS:
        message = f"brightness={brightness!r}: expected one of {', '.join(_LABELS)}"
        raise QueryError(message)
    positions = _by_position(curves)
    figure = figure_of(7.2, 1.4 + 2.4 * len(positions))
    panels = figure.subplots(len(positions), squeeze=False, sharex=True)[:, 0]
    times = {number: np.asarray(rows["time"].utc.mjd, dtype=float) for number, rows in positions.items()}
    every = np.concatenate([*times.values()])
    zero = float(np.floor(every.min())) if np.ptp(every) < _SHORT else 0.0
    elements = sorted({_element(row) for rows in positions.values() for row in rows})
    for axes, (number, rows) in zip(panels, positions.items(), strict=True):
        of = np.array([_element(row) for row in rows])
        for order, element in enumerate(elements):
            chosen = of == element
            if chosen.any():
                look = {
                    "color": COLORS[order % len(COLORS)],
                    "marker": _MARKERS[order % len(_MARKERS)],
                    "label": element,
                }
                _points(axes, times[number][chosen] - zero, rows[chosen], brightness, look)
        axes.set_ylabel(_LABELS[brightness])
        if brightness != "rate":
            axes.yaxis.set_inverted(True)
        axes.ticklabel_format(useOffset=False)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        titled(axes, f"Position {number}", _what(rows))
    panels[-1].set_xlabel(f"Middle of the exposure (MJD{f' - {zero:.0f}' if zero else ''}, UTC)")
    return figure


def _by_position(curves: QTable | Mapping[int, QTable]) -> dict[int, QTable]:
    tables = list(curves.values()) if isinstance(curves, Mapping) else [curves]
    needed = {"time", "position", "filter", "masked", *_LABELS, *_ERRORS.values()}
    found: dict[int, QTable] = {}
    for table in tables:
        lacking = needed - set(table.colnames)
        if lacking:
            message = f"the table has no column {min(lacking)!r}: give what hst_cloud.photometry returned"
            raise QueryError(message)
        numbers = np.asarray(table["position"])
        found |= {int(number): table[numbers == number] for number in np.unique(numbers)}
    if not 0 < len(found) <= _MOST:
        message = f"{len(found)} positions cannot be drawn: expected 1 to {_MOST}; draw a part of the rows"
        raise QueryError(message)
    return found


def _element(row: Any) -> str:
    return f"{row['instrument']}/{row['detector']} {row['filter']}" if "instrument" in row.colnames else row["filter"]


def _values(column: Any) -> Floats:
    """Return numbers without unit, NaN where they are masked."""
    plain = getattr(column, "unmasked", column)
    values = np.array(getattr(plain, "value", plain), dtype=np.float64)
    values[np.asarray(getattr(column, "mask", np.zeros(len(values), bool)))] = np.nan
    return values


def _points(axes: Any, time: Floats, rows: QTable, brightness: Brightness, look: dict[str, str]) -> None:
    values, errors = _values(rows[brightness]), _values(rows[_ERRORS[brightness]])
    there, partly = np.isfinite(values), _values(rows["masked"]) > _LITTLE
    for chosen, hollow in (
        (there & ~partly, {}),
        (there & partly, {"mfc": "white", "label": _also(look, "partly masked")}),
    ):
        if chosen.any():
            bars = np.nan_to_num(errors[chosen])  # where a file has no errors there are no bars
            axes.errorbar(time[chosen], values[chosen], bars, fmt="", ls="", ms=5, elinewidth=0.9, **(look | hollow))
    if not there.all():
        foot = np.full(np.count_nonzero(~there), 0.03)
        lost = {"color": look["color"], "label": _also(look, "no value")}
        axes.plot(time[~there], foot, "|", ms=9, transform=axes.get_xaxis_transform(), **lost)


def _also(look: Mapping[str, str], what: str) -> str:
    return f"{look['label']}, {what}"


def _what(rows: QTable) -> str:
    place = ""
    if {"ra", "dec"} <= set(rows.colnames):
        place = f"RA {_values(rows['ra'])[0]:.5f}, Dec {_values(rows['dec'])[0]:+.5f} deg, "
    return f"{place}{len(rows)} exposure{'' if len(rows) == 1 else 's'}"
