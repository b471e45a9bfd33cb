"""Co-added spectra: many exposures, segments or echelle orders as one spectrum for each target and grating.

Pixels are shared out over the new ones as a histogram is: the flux within a pixel is taken as uniform, so that the
integral over any new pixels is that of the old ones. It is what specutils' FluxConservingResampler does, by sums that
take a moment where that one builds a matrix, and it lets each pixel have its weight. Sources: weighting by exposure
time, as calcos makes x1dsum: COS Data Handbook 3.4.19.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from numpy.typing import NDArray

from hst_cloud.errors import HSTCloudWarning, QueryError
from hst_cloud.science.spectra import specutils_module

if TYPE_CHECKING:
    from specutils import Spectrum, SpectrumList

__all__ = ["coadd"]

Array: TypeAlias = NDArray[np.float64]

APART = ("heliocentric", "flux_calibrated", "frame")
"""What is never mixed: it changes what a wavelength or a flux is."""

HALF = 0.5
"""What part of a new pixel the good pixels of an input must cover to count there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bins:
    """A spectrum as a histogram, from short to long wavelengths."""

    edges: Array
    """Of its pixels, one more than these."""
    flux: Array
    variance: Array
    """Of the flux; NaN where nobody knows it."""
    weight: Array
    """0 where it is bad."""


def coadd(
    spectra: Spectrum | Iterable[Spectrum],
    *,
    by: Sequence[str] = ("TARGNAME", "INSTRUME", "OPT_ELEM"),
    weights: Literal["exposure", "inverse variance"] = "exposure",
    grid: u.Quantity | None = None,
) -> SpectrumList:
    """Combine spectra that overlap: exposures, segments, central wavelengths, and orders of an echelle.

    Parameters
    ----------
    spectra : SpectrumList or iterable of Spectrum
        As `hst_cloud.spectra` returns them.
    by : sequence of str, optional
        Keys of ``meta`` whose values are kept apart: by default targets, as they are called in the files, and gratings.
        Beyond these, heliocentric wavelengths are never mixed with others, nor fluxes with counts.
    weights : {"exposure", "inverse variance"}, optional
        Of a pixel: its exposure time, as the archive's own sums have it; or the inverse square of its error, which is
        better where orders overlap and errors are well known, and too low where they follow few counts, since the
        fainter of two pixels then counts more.
    grid : Quantity, optional
        Middles of the pixels to be, rising. By default pixels as wide as the widest of the inputs at each wavelength,
        so that nothing is oversampled; those of a single input are its own.

    Returns
    -------
    specutils.SpectrumList
        One spectrum for each combination of `by` that occurs, in the order of their first.

        ``flux``: the weighted mean; NaN where no input has a good pixel, as between the segments of COS, and ``mask``
        True. Pixels that are masked or whose flux is no number have no weight, nor has an error of 0 an inverse; an
        input counts where its good pixels cover half of the new one.
        ``uncertainty``: standard deviation, or None if an input has none. Errors are shared out as flux is, so that
        the error of a sum over pixels is right; where pixels do not match, neighbors are correlated.
        ``meta``: what all inputs agree on, and ``inputs`` (file, segment, order and etag of each), ``weights``,
        ``grid``, ``overlaps`` and ``exposure``, seconds in each pixel; where orders of one exposure overlap, it counts
        twice.

    Raises
    ------
    QueryError
        There are none, weights or grid make no sense, fluxes are of different units, or an exposure time is missing.
    MissingExtraError
        specutils is not installed.

    Warns
    -----
    HSTCloudWarning
        Sums of exposures (x1dsum) are added to exposures (x1d), which may be the same photons.

    Notes
    -----
    Requests: none.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> combined = hst.coadd(hst.spectra(files))  # doctest: +SKIP
    """
    made = specutils_module("co-adding needs")
    if weights not in {"exposure", "inverse variance"}:
        message = f"weights={weights!r}: expected 'exposure' or 'inverse variance'"
        raise QueryError(message)
    several = [spectra] if isinstance(spectra, made.Spectrum) else list(spectra)
    if not several:
        message = "there is no spectrum to co-add: see what hst_cloud.spectra returned"
        raise QueryError(message)
    for one in several:
        if not isinstance(one, made.Spectrum):
            message = f"a {type(one).__name__} is no spectrum: expected what hst_cloud.spectra returns for the products"
            raise QueryError(message)
    groups: dict[tuple[str, ...], list[Spectrum]] = {}
    for one in several:
        groups.setdefault(tuple(str(one.meta.get(name)) for name in (*by, *APART)), []).append(one)
    for group in groups.values():
        _warn_of_sums(group)
    return made.SpectrumList([_combined(group, weights, grid, made.Spectrum) for group in groups.values()])


def _warn_of_sums(group: Sequence[Spectrum]) -> None:
    files = [str(one.meta.get("file", "")) for one in group]
    sums = sorted({name for name in files if "_x1dsum" in name})
    if sums and any("_x1d." in name for name in files):
        message = f"{', '.join(sums[:5])} may hold the exposures that are added to it (x1d): give one or the other"
        warnings.warn(message, HSTCloudWarning, stacklevel=3)


def _combined(
    group: Sequence[Spectrum], weights: Literal["exposure", "inverse variance"], grid: u.Quantity | None, kind: Any
) -> Spectrum:
    wave, unit = group[0].spectral_axis.unit, group[0].flux.unit
    inputs = [_bins(one, wave, unit, weights) for one in group]
    edges = _common_edges([one.edges for one in inputs]) if grid is None else _edges(_rising(grid, wave))
    seconds, weight, flux, variance = (np.zeros(len(edges) - 1) for _ in range(4))
    for one, spectrum in zip(inputs, group, strict=True):
        width = np.diff(one.edges)
        covered = _shared(one.edges, (one.weight > 0) * width, edges) / np.diff(edges)
        there = covered >= HALF
        weight += there * _shared(one.edges, one.weight * width, edges)
        flux += there * _shared(one.edges, one.weight * one.flux * width, edges)
        variance += there * _shared(one.edges, one.weight**2 * one.variance * width**2, edges)
        seconds += there * covered * _seconds(spectrum, math.nan)
    empty = weight <= 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, error = flux / weight, np.sqrt(variance) / weight
    mean[empty] = error[empty] = np.nan
    return kind(
        flux=mean * unit,
        spectral_axis=(edges[1:] + edges[:-1]) / 2 * wave,
        uncertainty=StdDevUncertainty(error, unit=unit) if np.isfinite(error[~empty]).all() else None,
        mask=empty,
        meta=_meta(group)
        | {
            "weights": "exposure time" if weights == "exposure" else "inverse variance",
            "grid": "given" if grid is not None else "the widest pixel of the inputs at each wavelength",
            "overlaps": "weighted mean of all inputs that have a good pixel, orders of an echelle as any other",
            "exposure": seconds * u.s,
        },
    )  # fmt: skip


def _bins(one: Spectrum, wave: u.UnitBase, unit: u.UnitBase, weights: str) -> _Bins:
    if not one.flux.unit.is_equivalent(unit) or one.flux.ndim != 1:
        message = f"{_name(one)} has flux in {one.flux.unit}, shape {one.flux.shape}: expected one spectrum in {unit}"
        raise QueryError(message)
    wavelength, flux = np.asarray(one.spectral_axis.to_value(wave)), one.flux.to_value(unit).astype(float)
    variance = np.full(flux.shape, np.nan)
    if one.uncertainty is not None:
        variance = one.uncertainty.represent_as(StdDevUncertainty).quantity.to_value(unit).astype(float) ** 2
    good = np.isfinite(flux)
    if one.mask is not None:
        good &= ~one.mask
    if weights == "exposure":
        weight = np.full(flux.shape, _seconds(one))
    elif one.uncertainty is None:
        message = f"{_name(one)} has no errors, of which weights could be made: give weights='exposure'"
        raise QueryError(message)
    else:  # an error of 0 is none: nothing was counted there
        good &= np.isfinite(variance) & (variance > 0)
        weight = 1 / np.where(good, variance, 1.0)
    order = slice(None) if wavelength[0] <= wavelength[-1] else slice(None, None, -1)
    clean = [np.where(good, values, 0.0)[order] for values in (flux, variance, weight)]
    return _Bins(edges=_edges(wavelength[order]), flux=clean[0], variance=clean[1], weight=clean[2])


def _seconds(one: Spectrum, missing: float | None = None) -> float:
    seconds = one.meta.get("EXPTIME", missing)
    if not isinstance(seconds, int | float) or seconds <= 0:
        message = f"{_name(one)} has EXPTIME = {seconds!r}: expected seconds, for its weight"
        raise QueryError(message)
    return float(seconds)


def _name(one: Spectrum) -> str:
    return " ".join(str(one.meta[name]) for name in ("file", "segment", "order") if one.meta.get(name) is not None)


# --- Pixels ----------------------------------------------------------------------------------------------------------


def _edges(middles: Array) -> Array:
    """Return the edges of pixels, halfway between their middles."""
    if len(middles) < 2:
        message = f"a spectrum of {len(middles)} pixels does not tell how wide they are: expected two or more"
        raise QueryError(message)
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])


def _rising(grid: u.Quantity, wave: u.UnitBase) -> Array:
    try:
        middles = np.asarray(grid.to_value(wave, u.spectral()), dtype=float)
    except (AttributeError, u.UnitsError):
        message = f"grid={grid!r:.80} has no wavelengths: expected a Quantity, the middles of the pixels to be"
        raise QueryError(message) from None
    if middles.ndim != 1 or not (np.diff(middles) > 0).all():
        message = f"grid, of shape {middles.shape}, does not rise throughout: expected wavelengths, each once, in order"
        raise QueryError(message)
    return middles


def _common_edges(several: Sequence[Array]) -> Array:
    """Return the edges of pixels that are at each wavelength as wide as the widest there."""
    union = np.unique(np.concatenate(several))
    narrowest = min(float(np.diff(edges).min()) for edges in several)
    union = union[np.diff(union, prepend=-np.inf) > 1e-6 * narrowest]  # edges that differ by rounding are one
    middles = (union[1:] + union[:-1]) / 2
    widest = np.zeros(len(middles))
    for edges in several:
        place = np.searchsorted(edges, middles) - 1
        covered = (place >= 0) & (place < len(edges) - 1)
        widest[covered] = np.maximum(widest[covered], np.diff(edges)[place[covered]])
    # Between inputs nothing is known, and pixels are as wide as the last ones before.
    widest = widest[np.maximum.accumulate(np.where(widest > 0, np.arange(len(widest)), 0))]
    numbers = np.concatenate([[0.0], np.cumsum(np.diff(union) / widest)])
    count = max(1, round(numbers[-1]))
    return np.interp(np.linspace(0.0, numbers[-1], count + 1), numbers, union)


def _shared(edges: Array, amounts: Array, new: Array) -> Array:
    """Return how much of what is in each pixel falls into each new one; it is spread evenly over the pixel."""
    summed = np.concatenate([[0.0], np.cumsum(amounts)])
    return np.diff(np.interp(new, edges, summed))


def _meta(group: Sequence[Spectrum]) -> dict[str, Any]:
    """Return what all agree on, and which they are."""
    first = group[0].meta
    common = {
        name: value
        for name, value in first.items()
        if isinstance(value, str | int | float | bool) and all(one.meta.get(name) == value for one in group)
    }
    told = ("file", "segment", "order", "etag", "EXPTIME")
    return common | {"inputs": [{name: one.meta.get(name) for name in told} for one in group]}
