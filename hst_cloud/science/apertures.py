"""What lies within apertures on a cutout: the sum, its error, the local sky, and what of it is bad."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData
from numpy.typing import NDArray

from hst_cloud.errors import MissingExtraError, QueryError
from hst_cloud.science.boxes import is_several, length_of
from hst_cloud.science.cuts import Cut

__all__ = ["Apertures", "RadiusLike", "measured_in", "photutils_module", "radius_of", "ring_of"]

RadiusLike: TypeAlias = "u.Quantity | str | float"
"""A length on the sky: an angle, a text such as ``"0.2 arcsec"``, or a number of pixels."""

FEWEST = 10
"""Pixels of which a local sky is made at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apertures:
    """A circle, and the ring around it that tells the sky."""

    radius: float | u.Quantity
    """Of the circle: pixels or an angle."""
    annulus: tuple[float | u.Quantity, float | u.Quantity] | None
    """Inner and outer radius of the ring; None where there is none."""

    @property
    def size(self) -> float | u.Quantity:
        """Side of the box that holds them, with a margin of 4 pixels of the coarsest detector."""
        outer = self.annulus[1] if self.annulus else self.radius
        return 2.5 * outer + (1 * u.arcsec if isinstance(outer, u.Quantity) else 8)


def photutils_module() -> Any:
    """Return the module of apertures."""
    try:
        from photutils import aperture  # noqa: PLC0415  # an extra, and slow to import
    except ImportError as error:
        message = "photometry needs photutils, which is not installed: pip install 'hst-cloud[photometry]'"
        raise MissingExtraError(message) from error
    return aperture


def radius_of(value: RadiusLike, name: str) -> float | u.Quantity:
    """Return the argument `name` as a number of pixels or an angle.

    Raises
    ------
    QueryError
        It is no positive length.
    """
    length = length_of(value)
    if length is None:
        message = f"{name}={value!r} is no radius: expected an angle such as '0.2 arcsec', or a number of pixels"
        raise QueryError(message)
    return length


def ring_of(annulus: object) -> tuple[float | u.Quantity, float | u.Quantity]:
    """Return the inner and the outer radius of a ring.

    Raises
    ------
    QueryError
        They are no two radii, or the first is not the smaller one.
    """
    radii = [radius_of(value, "annulus") for value in annulus] if is_several(annulus) else []
    alike = len(radii) == 2 and isinstance(radii[0], u.Quantity) == isinstance(radii[1], u.Quantity)
    if len(radii) != 2 or (alike and radii[0] >= radii[1]):
        message = f"annulus={annulus!r} is no ring: expected inner and outer radius, such as ('3 arcsec', '5 arcsec')"
        raise QueryError(message)
    return radii[0], radii[1]


def measured_in(image: CCDData, cut: Cut, wide: Apertures, scale: float) -> dict[str, Any]:
    """Return the sum within the circle and what belongs to it, in the image's unit; NaN where there is none.

    Parameters
    ----------
    image : CCDData
        What was cut out.
    cut : Cut
        What it was made of; its window's place is the middle of the apertures.
    wide : Apertures
        How wide they are.
    scale : float
        Side of a pixel there, arcsec.

    Returns
    -------
    dict
        ``rate``, ``rate_err``, ``sky`` (of a pixel), ``masked`` (the part that is) and ``dq``.
    """
    apertures = photutils_module()
    x, y = (at - origin for at, origin in zip(cut.window.place, cut.window.origin, strict=True))
    radius, *ring = (_pixels(value, scale) for value in (wide.radius, *(wide.annulus or ())))
    aperture = apertures.CircularAperture((x, y), radius)
    bad = ~np.isfinite(image.data) if image.mask is None else image.mask | ~np.isfinite(image.data)
    error = None if image.uncertainty is None else image.uncertainty.array
    parts = _parts(aperture, bad.shape, "exact")
    there = (parts > 0) & ~bad
    weights = parts[there]
    good = float(weights.sum())
    # A part of a pixel has that part of its error, as in photutils from 3.1 on; before, its variance had that part.
    sky, variance = 0.0, math.nan if error is None else float(np.sum((weights * error[there]) ** 2))
    if ring:
        around = _parts(apertures.CircularAnnulus((x, y), *ring), bad.shape, "center") > 0
        sky, noise = _sky(image.data[around & ~bad])
        variance += (good * noise) ** 2
    nothing = good < 1e-6 * aperture.area
    return {
        "rate": math.nan if nothing else float(np.sum(weights * image.data[there])) - sky * good,
        "rate_err": math.nan if nothing else math.sqrt(variance),
        "sky": sky if ring else math.nan,
        "masked": min(1.0, max(0.0, round(1 - good / aperture.area, 12))),  # 0 where no pixel is, not almost 0
        "dq": _flags(cut, parts > 0),
    }


def _pixels(value: float | u.Quantity, scale: float) -> float:
    return float(value.to_value(u.arcsec)) / scale if isinstance(value, u.Quantity) else value


def _parts(aperture: Any, shape: tuple[int, int], method: str) -> NDArray[np.float64]:
    """Return what part of each pixel lies in an aperture (``exact``), or whether its middle does (``center``)."""
    return np.asarray(aperture.to_mask(method=method).to_image(shape))


def _sky(values: NDArray[Any]) -> tuple[float, float]:
    """Return the sky of a pixel and its error; NaN where too few pixels tell it."""
    if values.size < FEWEST:
        return math.nan, math.nan
    from astropy.stats import sigma_clipped_stats  # noqa: PLC0415  # slow to import

    _, median, deviation = sigma_clipped_stats(values.astype(float), sigma=3.0)
    # A median is less certain than a mean by pi / 2 in variance.
    return float(median), float(deviation) * math.sqrt(math.pi / 2 / values.size)


def _flags(cut: Cut, inside: NDArray[np.bool_]) -> int:
    if "DQ" not in cut.planes:
        return 0
    there = cut.window.filled(np.ones(cut.planes["DQ"].shape, dtype=bool)) & inside
    flags = cut.window.filled(cut.planes["DQ"], bits=True)[there]
    return int(np.bitwise_or.reduce(flags.astype(np.int64) & 0xFFFF, initial=0))
