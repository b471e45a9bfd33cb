"""Pictures of what the verbs return: cutouts, mosaics and spectra."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from hst_cloud import drawable
from hst_cloud.drawable import Floats
from hst_cloud.errors import QueryError
from hst_cloud.plots.canvas import COLORS, figure_of, fit_flux, sky_axes, stretch, titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from specutils import Spectrum

__all__ = ["cutout", "cutouts", "mosaic", "spectra"]

_MASKED = "#d9dde2"
_MOST = 100  # stamps in one picture: more would be too small to see


def cutout(image: CCDData) -> Figure:
    """Draw a cutout with its sky coordinates; masked pixels are left blank.

    Parameters
    ----------
    image : CCDData
        What `hst_cloud.cutout` returns, or any with two axes.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes and a color bar.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    figure = figure_of()
    axes = _panel(figure, image, _valid(image), (), unit=image.unit)
    masked = 0 if image.mask is None else np.count_nonzero(image.mask)
    titled(axes, _name(image), _size(image) + (f", {masked:,} masked" if masked else ""))
    return figure


def mosaic(image: CCDData) -> Figure:
    """Draw a mosaic, and beside it its weight.

    Parameters
    ----------
    image : CCDData
        What `hst_cloud.mosaic` returns, or a cutout of a drizzled product: one with an attribute ``weight``.

    Returns
    -------
    matplotlib.figure.Figure
        Two sets of axes, each with a color bar.

    Raises
    ------
    QueryError
        The image has no weight.
    MissingExtraError
        matplotlib is not installed.
    """
    weight = getattr(image, "weight", None)
    if weight is None:
        message = "this image has no attribute 'weight': draw it with hst_cloud.plots.cutout"
        raise QueryError(message)
    figure = figure_of(11.5, 5.4)
    axes = _panel(figure, image, _valid(image), (1, 2, 1), unit=image.unit)
    titled(axes, _name(image), _size(image))
    values = np.asarray(weight, dtype=np.float64)
    axes = _panel(figure, image, np.where(values > 0, values, np.nan), (1, 2, 2), unit=getattr(weight, "unit", None))
    titled(axes, "Weight", "blank where nothing was exposed")
    return figure


def cutouts(images: Iterable[CCDData], *, columns: int = 5) -> Figure:
    """Draw many cutouts as stamps, each with its own stretch, as its pixels lie.

    Parameters
    ----------
    images : iterable of CCDData
        What `hst_cloud.cutouts` returns. At most 100.
    columns : int, optional
        Stamps in a row.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes for each.

    Raises
    ------
    QueryError
        There are none, or too many.
    MissingExtraError
        matplotlib is not installed.
    """
    stamps = list(images)
    if not 0 < len(stamps) <= _MOST:
        message = f"{len(stamps)} cutouts cannot be drawn as stamps: expected 1 to {_MOST}; draw a part of them"
        raise QueryError(message)
    columns = min(columns, len(stamps))
    rows = -(-len(stamps) // columns)
    figure = figure_of(1.9 * columns, 2.1 * rows + 0.1)
    for number, image in enumerate(stamps, start=1):
        axes = figure.add_subplot(rows, columns, number)
        data = _valid(image)
        axes.imshow(data, origin="lower", norm=stretch(data), cmap="gray", interpolation="nearest")
        axes.set(xticks=[], yticks=[], facecolor=_MASKED)
        axes.set_title(_name(image).partition("  ")[0], fontsize=7.5).set_parse_math(False)
    return figure


def _panel(figure: Figure, image: CCDData, data: Floats, place: Sequence[int], *, unit: Any) -> Any:
    celestial = None if image.wcs is None else image.wcs.celestial
    axes = sky_axes(figure, celestial, *place)
    drawn = axes.imshow(data, origin="lower", norm=stretch(data), cmap="gray", interpolation="nearest", aspect="equal")
    axes.set_facecolor(_MASKED)
    label = _text(unit) or "value"
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.9, pad=0.03)
    return axes


def _text(unit: u.UnitBase | None) -> str:
    return "" if unit is None else str(unit.to_string("unicode", fraction="inline")).strip()


def _valid(image: CCDData) -> Floats:
    """Return the pixels, NaN where they are masked."""
    data = np.asarray(image.data, dtype=np.float64)
    return data if image.mask is None else np.where(image.mask, np.nan, data)


def _name(image: CCDData) -> str:
    """Return what to call an image: its file, and what it is of."""
    key = str(image.meta.get("S3KEY", ""))
    said = (key.rpartition("/")[2], image.meta.get("TARGNAME", ""), drawable.element_of(image.meta))
    return "  ".join(str(part).strip() for part in said if str(part).strip()) or "Image"


def _size(image: CCDData) -> str:
    rows, columns = image.shape
    hdu, box = image.meta.get("HDU", ""), image.meta.get("CUTOUT", "")
    return f"{hdu} {box}, {rows} x {columns} pixels".strip(" ,")


def spectra(spectra: Spectrum | Iterable[Spectrum]) -> Figure:
    """Draw spectra with their units; marks at the foot tell where pixels are masked and left out.

    Parameters
    ----------
    spectra : Spectrum or iterable of Spectrum
        What `hst_cloud.spectrum`, `hst_cloud.spectra` or `hst_cloud.coadd` return. They are drawn in the units of the
        first.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes.

    Raises
    ------
    QueryError
        There are none, or their units do not convert into one another.
    MissingExtraError
        matplotlib is not installed.
    """
    several = list(spectra) if isinstance(spectra, Iterable) else [spectra]
    if not several:
        message = "there is no spectrum to draw: the list is empty"
        raise QueryError(message)
    figure = figure_of()
    axes = figure.add_subplot()
    wavelength, unit = several[0].spectral_axis.unit, several[0].flux.unit
    curves = [_curve(one, wavelength, unit) for one in several]
    clean = np.concatenate([flux[~drawable.airglow(x)] if wavelength == u.AA else flux for x, flux in curves])
    power = drawable.power_of_ten(clean)
    for number, ((x, flux), label) in enumerate(zip(curves, _labels(several), strict=True)):
        color = COLORS[number % len(COLORS)]
        axes.plot(x, flux / 10.0**power, color=color, linewidth=0.8, label=label)
        gaps = x[np.isnan(flux)]
        axes.plot(gaps, np.full(gaps.size, 0.012), "|", color=color, markersize=4, transform=axes.get_xaxis_transform())
    fit_flux(axes, clean / 10.0**power)
    scale = f"$10^{{{power}}}$ " if power else ""
    axes.set(
        xlabel=f"Wavelength ({_text(wavelength)})",
        ylabel=f"Flux ({scale}{_text(unit) or 'no unit'})",
    )
    if 1 < len(several) <= 12:
        axes.legend(frameon=False, fontsize=8)
    titled(axes, str(several[0].meta.get("TARGNAME", "")) or "Spectra", _what(several))
    return figure


def _curve(spectrum: Spectrum, wavelength: Any, unit: Any) -> tuple[Floats, Floats]:
    """Return wavelength and flux in the units given, NaN where the flux is masked."""
    try:
        x = np.asarray(spectrum.spectral_axis.to_value(wavelength), dtype=np.float64)
        flux = np.array(spectrum.flux.to_value(unit), dtype=np.float64)
    except u.UnitConversionError as error:
        message = f"spectra of different units cannot share axes: {error}"
        raise QueryError(message) from error
    if spectrum.mask is not None:
        flux[np.asarray(spectrum.mask)] = np.nan
    return x, flux


def _labels(several: Sequence[Spectrum]) -> list[str]:
    """Return what tells the spectra apart: of the keywords that differ between them."""
    said = [{key: str(one.meta.get(key) or "") for key in ("file", "segment", "order", "OPT_ELEM")} for one in several]
    telling = [key for key in said[0] if len({one[key] for one in said}) > 1]
    return [" ".join(one[key] for key in telling if one[key]) for one in said]


def _what(several: Sequence[Spectrum]) -> str:
    meta = several[0].meta
    instrument = "/".join(str(meta[key]) for key in ("INSTRUME", "DETECTOR") if meta.get(key))
    number = f"{len(several)} {'spectrum' if len(several) == 1 else 'spectra'}"
    return "  ".join(filter(None, (number, instrument, str(meta.get("OPT_ELEM", "") or ""))))
