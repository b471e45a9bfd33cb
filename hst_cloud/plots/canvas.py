"""What all pictures share: a figure that belongs to nobody, two lines of title, the stretch and the sky's axes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.wcs import WCS, FITSFixedWarning

from hst_cloud.drawable import Floats
from hst_cloud.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "figure_of", "fit_flux", "quiet_wcs", "sky_axes", "stretch", "titled"]

COLORS = ("#1f5f8b", "#b8472b", "#5a7d2a", "#7b5aa6")
"""Colors that are told apart in gray and by the colorblind."""

_SIZE = (7.2, 5.4)  # inches
_DPI = 150


def figure_of(width: float = _SIZE[0], height: float = _SIZE[1]) -> Figure:
    """Return an empty figure of so many inches.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as New  # noqa: PLC0415  # an optional dependency
    except ImportError as error:
        message = "Pictures need matplotlib, which is not installed: pip install 'hst-cloud[plot]'"
        raise MissingExtraError(message) from error
    return New(figsize=(width, height), dpi=_DPI, layout="constrained")


def titled(axes: Any, first: str, second: str) -> None:
    """Write a title, and below it, in small, what of it was drawn."""
    title = axes.set_title(first, fontsize=11, loc="left", pad=20)
    note = axes.text(0, 1.015, second, transform=axes.transAxes, fontsize=8.5, color="#555555", va="bottom")
    for text in (title, note):
        text.set_parse_math(False)  # a dollar in a target's name is a dollar


def stretch(data: Floats) -> Any:
    """Return an asinh stretch in which faint and bright parts both show.

    It ends at the 99.7th percentile, and begins at the 1st or, where dead pixels drag that down, at three standard
    deviations of the noise below the median. What is not finite does not count.
    """
    from astropy.visualization import AsinhStretch, ImageNormalize  # noqa: PLC0415  # imports matplotlib

    good = data[np.isfinite(data)]
    low, middle, high = np.percentile(good, [1.0, 50.0, 99.7]) if good.size else (0.0, 0.0, 1.0)
    noise = 1.4826 * np.median(np.abs(good - middle)) if good.size else 0.0  # of a normal distribution
    low = max(low, middle - 3 * noise)
    return ImageNormalize(vmin=low, vmax=high if high > low else low + 1.0, stretch=AsinhStretch(0.08), clip=False)


def quiet_wcs(header: Any, hdul: Any) -> WCS | None:
    """Return the celestial WCS of a header; None where it has none that makes sense."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # old dates that astropy repairs; the sky is not touched
        try:
            return WCS(header, hdul).celestial
        except (ValueError, KeyError, MemoryError):  # what astropy and wcslib raise on a WCS that makes no sense
            return None


def sky_axes(figure: Figure, wcs: WCS | None, *place: int) -> Any:
    """Return axes with right ascension and declination, or with pixels where there is no sky.

    Parameters
    ----------
    figure : Figure
        Where they are added.
    wcs : WCS or None
        A celestial one.
    *place : int
        Rows, columns and number, as `matplotlib.figure.Figure.add_subplot` takes them; by default the whole figure.
    """
    from astropy.visualization.wcsaxes import WCSAxes  # noqa: PLC0415  # imports matplotlib

    if wcs is None or wcs.pixel_n_dim != 2 or not wcs.has_celestial or wcs.wcs.lngtyp != "RA":
        axes: Any = figure.add_subplot(*place)
        axes.set(xlabel="x (pixels, from 0)", ylabel="y (pixels, from 0)")
        return axes
    axes = figure.add_subplot(*place, axes_class=WCSAxes, wcs=wcs)
    for coordinate, label in zip(axes.coords, ("Right ascension", "Declination"), strict=True):
        coordinate.set_axislabel(f"{label} ({wcs.wcs.radesys or 'ICRS'})", minpad=0.7)
        coordinate.set_ticklabel(size=9, exclude_overlapping=True)
        coordinate.set_ticks(number=5)
    axes.coords.grid(color="white", alpha=0.18, linewidth=0.6)
    return axes


def fit_flux(axes: Axes, values: Floats) -> None:
    """Fit the axis of the flux to all but the most extreme values, with zero in sight."""
    good = values[np.isfinite(values)]
    if good.size:
        low, high = np.percentile(good, [0.5, 99.5])
        if high > low:
            axes.set_ylim(min(0.0, low) - 0.06 * (high - low), high + 0.15 * (high - low))
