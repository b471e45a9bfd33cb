"""How bright a pixel of an image is: in electrons per second, for the area that its sensitivity holds for.

The flat field of a calibrated exposure makes a uniform sky uniform although its pixels differ in area by several
percent, so that a star's counts depend on where it fell. They are corrected by the pixel's area over that of the pixel
for which PHOTFLAM holds, which keyword IDCSCALE tells: the pixel area maps of ACS Data Handbook 5.1.3 and WFC3 Data
Handbook 9.1.11, here from the solution of each image. The pixels of drizzled images are of one area.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units as u
from astropy.wcs import WCS
from numpy.typing import NDArray

from hst_cloud.errors import FormatError

__all__ = ["area_correction", "exposure_time", "filter_of", "pixel_area", "rate_factor", "reference_area", "sky_of"]

PHOTON_COUNTERS = {"SBC", "FUV-MAMA", "NUV-MAMA"}
"""Keyword DETECTOR of those without a converter: a count is an event (ACS and STIS Data Handbooks)."""

SCALES = {
    ("ACS", "WFC"): 0.05,
    ("ACS", "HRC"): 0.025,
    ("ACS", "SBC"): 0.025,
    ("WFC3", "UVIS"): 0.03962,
    ("WFC3", "IR"): 0.12825,
}
"""Keyword IDCSCALE, arcsec, where a header has none, by INSTRUME and DETECTOR: from public files, of HRC and SBC the
scale of their pixel area maps (ACS Data Handbook 5.1.3)."""

_GAINS = ("ATODGNA", "ATODGNB", "ATODGNC", "ATODGND")


def rate_factor(meta: Mapping[str, Any], unit: u.UnitBase) -> float:
    """Return what makes electrons per second of the pixels of an image.

    Parameters
    ----------
    meta : Mapping
        Keywords of its file: EXPTIME and, of images in counts, DETECTOR and the gain.
    unit : Unit
        Of its pixels.

    Raises
    ------
    FormatError
        The unit is no count, or the exposure time or the gain is not told.
    """
    gain = 1.0
    per_second = unit * u.s if unit in {u.electron / u.s, u.ct / u.s, u.adu / u.s} else None
    counted = per_second or unit
    if counted in {u.ct, u.adu} and str(meta.get("DETECTOR")).strip() not in PHOTON_COUNTERS:
        told = [meta.get(name) for name in _GAINS]
        amplifiers = [value for value in told if isinstance(value, int | float) and value > 0]
        mean = sum(amplifiers) / len(amplifiers) if amplifiers else None
        gain = _positive(meta, "ATODGAIN", mean or meta.get("CCDGAIN"))
    elif counted not in {u.electron, u.ct, u.adu}:
        message = (
            f"{_file(meta)} has pixels in {unit.to_string() or 'no unit'}: expected electrons or counts, or a rate"
        )
        raise FormatError(message, key=meta.get("S3KEY"))
    return gain if per_second is not None else gain / exposure_time(meta)


def exposure_time(meta: Mapping[str, Any]) -> float:
    """Return EXPTIME, seconds.

    Raises
    ------
    FormatError
        It is not told, or not positive.
    """
    return _positive(meta, "EXPTIME")


def pixel_area(solution: WCS, x: NDArray[np.float64] | float, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return the area of pixels on the sky, square arcseconds: the Jacobian of the solution, distortion included.

    Parameters
    ----------
    solution : WCS
        Of the image.
    x, y : float or array
        Middles of the pixels, zero-based.
    """
    x, y = np.broadcast_arrays(np.atleast_1d(x).astype(float), np.atleast_1d(y).astype(float))
    ends = [solution.pix2foc(x + dx, y + dy, 0) for dx, dy in ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5))]
    left, right, low, high = (np.array(end) for end in ends)
    (xx, yx), (xy, yy) = right - left, high - low
    return np.asarray(np.abs(xx * yy - xy * yx) * _linear_area(solution))


def reference_area(meta: Mapping[str, Any], solution: WCS) -> float:
    """Return the area, square arcseconds, of the pixel for which counts and sensitivity hold.

    It is the same for all chips of a detector: that of IDCSCALE, or of `SCALES` where the keyword is missing, times the
    number of pixels that were binned. In drizzled images, and of other detectors, it is the pixels' own.
    """
    own = _linear_area(solution)
    usual = SCALES.get((str(meta.get("INSTRUME")).strip(), str(meta.get("DETECTOR")).strip()))
    scale = meta.get("IDCSCALE", usual)
    if _drizzled(meta) or not isinstance(scale, int | float) or scale <= 0:
        return own
    binned = max(1, round(math.sqrt(own) / scale))
    return float(scale * binned) ** 2


def area_correction(meta: Mapping[str, Any], solution: WCS, x: float, y: float) -> float:
    """Return what a star's counts at a pixel (x, y), zero-based, are multiplied by: 1 in drizzled images."""
    if _drizzled(meta):
        return 1.0
    return float(pixel_area(solution, x, y)[0]) / reference_area(meta, solution)


def sky_of(meta: Mapping[str, Any]) -> float:
    """Return the sky that AstroDrizzle found in an exposure, in the unit of its pixels: MDRIZSKY, or 0.

    Drizzled images carry the keyword of their first input, and have no sky any more.
    """
    sky = meta.get("MDRIZSKY")
    return float(sky) if isinstance(sky, int | float) and not _drizzled(meta) else 0.0


def filter_of(meta: Mapping[str, Any]) -> str:
    """Return the filter of an exposure, of several all: ``F814W``."""
    names = [str(meta.get(name) or "").strip() for name in ("FILTER", "FILTER1", "FILTER2", "OPT_ELEM")]
    return ";".join(name for name in names if name and not name.startswith(("CLEAR", "N/A")))


def _drizzled(meta: Mapping[str, Any]) -> bool:
    return "NDRIZIM" in meta  # the number of inputs: AstroDrizzle writes it into the primary header of its products


def _linear_area(solution: WCS) -> float:
    return float(abs(np.linalg.det(solution.pixel_scale_matrix))) * 3600**2


def _positive(meta: Mapping[str, Any], name: str, default: Any = None) -> float:
    value = meta.get(name) or default
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        message = f"{_file(meta)} has {name} = {value!r}: expected a positive number, of which the rate is made"
        raise FormatError(message, key=meta.get("S3KEY"))
    return float(value)


def _file(meta: Mapping[str, Any]) -> str:
    return f"{meta.get('HDU', 'the image')} of {meta.get('S3KEY', 'a file')}"
