"""Aperture photometry of positions in many exposures: a row for each exposure and position, a light curve for each.

Sources: magnitudes, ACS Data Handbook 5.1.1 and WFC3 Data Handbook 9.1.1; what a star's counts are corrected by for the
pixel's area, `hst_cloud.science.rates`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.time import Time
from astropy.utils.masked import Masked

from hst_cloud.archive.inputs import ProductsLike, as_products
from hst_cloud.errors import (
    FormatError,
    HSTCloudError,
    HSTCloudWarning,
    OutsideImageError,
    QueryError,
)
from hst_cloud.fits.index import IndexLike, as_index
from hst_cloud.fits.keywords import Memo
from hst_cloud.science import boxes
from hst_cloud.science.apertures import Apertures, RadiusLike, measured_in, photutils_module, radius_of, ring_of
from hst_cloud.science.cutouts import ccddata_of
from hst_cloud.science.cuts import Outcome, Wanted, cuts
from hst_cloud.science.flags import BitFlags, mask_of
from hst_cloud.science.many import OnError, as_on_error, read_each, recalled
from hst_cloud.science.provenance import mixed_solutions
from hst_cloud.science.rates import area_correction, filter_of, pixel_area, rate_factor
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.link import as_link
from hst_cloud.store.policy import S3
from hst_cloud.values import Product, Progress

if TYPE_CHECKING:
    from astropy.timeseries import TimeSeries

__all__ = ["light_curves", "photometry"]

RATE = u.electron / u.s
# numpy's type, unit and meaning of each column; what may be missing is masked there.
_COLUMNS: dict[str, tuple[Any, u.UnitBase | None, str]] = {
    "file": (str, None, "Name of the file"),
    "position": (int, None, "Number of the position, from 0"),
    "ra": (float, u.deg, "Right ascension of the position, ICRS"),
    "dec": (float, u.deg, "Declination of the position, ICRS"),
    "instrument": (str, None, "Instrument"),
    "detector": (str, None, "Detector"),
    "filter": (str, None, "Filter"),
    "hdu": (str, None, "Image that shows the position, such as SCI,1"),
    "exptime": (float, u.s, "Exposure time"),
    "x": (float, u.pix, "Pixel along a row, zero-based"),
    "y": (float, u.pix, "Row, zero-based"),
    "area": (float, None, "Area of the pixel over that for which PHOTFLAM holds"),
    "rate": (float, RATE, "Rate in the good pixels of the aperture, less the sky, times area"),
    "rate_err": (float, RATE, "Standard deviation of rate"),
    "sky": (float, RATE / u.pix**2, "Median in the ring"),
    "abmag": (float, u.ABmag, "AB magnitude of rate, without aperture correction"),
    "stmag": (float, u.STmag, "ST magnitude of rate, without aperture correction"),
    "mag_err": (float, u.mag, "Standard deviation of either magnitude"),
    "masked": (float, None, "Part of the aperture that is masked, 0 to 1"),
    "dq": (int, None, "All flags of the pixels in the aperture"),
    "wcsname": (str, None, "Name of the solution that tells where the position lies"),
}
_MASKABLE = ("rate", "rate_err", "sky", "abmag", "stmag", "mag_err")


def photometry(
    products: ProductsLike,
    positions: SkyCoord | str | Iterable[SkyCoord | str],
    r: RadiusLike,
    *,
    annulus: tuple[RadiusLike, RadiusLike] | None = None,
    good_bits: BitFlags | Literal["default"] = "default",
    wcs_key: str = " ",
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    on_error: OnError = "raise",
    progress: Callable[[Progress], None] | None = None,
) -> QTable:
    """Measure how bright positions are in every exposure.

    Parameters
    ----------
    products : Table, iterable, or anything that `hst_cloud.cutout` takes
        Images: flt, flc, crj, drz, drc and their like.
    positions : SkyCoord, str or iterable of these
        On the sky; a SkyCoord may hold an array of them. Nothing is centered: an aperture lies where it is told.
    r : Quantity, str or float
        Radius of the circular aperture: an angle, which becomes pixels by the pixel's area there, or pixels.
    annulus : (inner, outer), optional
        Radii of a ring, as `r`, whose median after clipping at three standard deviations is the local sky. By default
        no sky is subtracted, of exposures neither their MDRIZSKY.
    good_bits, wcs_key : optional
        Bits of DQ that a good pixel may have, and which solution tells where it lies, as for `hst_cloud.cutout`.
    store, index
        As for `hst_cloud.open`.
    in_flight : int, optional
        Requests in flight at a time.
    on_error : {"raise", "skip"}, optional
        With ``"skip"``, a broken product is left out, and one warning at the end lists them.
    progress : callable, optional
        Given a `~hst_cloud.values.Progress` for each file.

    Returns
    -------
    QTable
        One row for each product and position that it shows, in their order; a position off the image has no row.

        ``file``, ``position`` (its number, from 0), ``ra``, ``dec``, ``instrument``, ``detector``, ``filter``, ``hdu``
        (the chip: ``SCI,1``), ``exptime``, ``wcsname``; ``x``, ``y``: the pixel, zero-based. ``time``: the middle of
        EXPSTART and EXPEND, UTC, at the telescope.
        ``rate``, ``rate_err``: electrons per second in the good pixels of the aperture, sky subtracted, times ``area``,
        the pixel's area over that for which PHOTFLAM holds (1 in drizzled images). The error has ERR and the sky's; it
        is masked where the file has no ERR, as drizzled ones.
        ``sky``: of a pixel, before that correction; masked without `annulus`.
        ``abmag``, ``stmag``, ``mag_err``: of that rate, from PHOTFLAM and PHOTPLAM, without aperture correction;
        masked where the rate is not positive or the image is not calibrated.
        ``masked``: which part of the aperture is masked, 0 to 1, and adds nothing to the rate. ``dq``: all flags of the
        pixels in the aperture, good ones included; 0 where there are none. Where all is masked, so is the rate.

    Raises
    ------
    QueryError
        A position or a radius makes no sense, or the file has no image.
    FormatError
        Exposure time, gain or unit cannot be told.
    MissingExtraError
        photutils is not installed.
    HSTCloudError
        As for `hst_cloud.cutouts`.

    Warns
    -----
    HSTCloudWarning
        Products were skipped; a position lies on none of the images; their WCSNAMEs differ, so that one position may
        be two places.

    Notes
    -----
    Requests: those of `hst_cloud.cutouts` of boxes around the apertures.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> table = hst.photometry(files, "13h29m52.7s +47d11m43s", "0.2 arcsec")  # doctest: +SKIP
    """
    photutils_module()
    as_on_error(on_error)
    places = [_on_sky(place) for place in boxes.as_centers(positions)]
    wide = Apertures(radius=radius_of(r, "r"), annulus=None if annulus is None else ring_of(annulus))
    known, bucket = as_products(products), as_store(store)
    if good_bits != "default":
        mask_of(np.zeros(1, np.int32), good_bits)  # raises before anything is sent
    wanted = Wanted(
        centers=tuple(places), size=(wide.size, wide.size), hdu="SCI", good_bits=good_bits, uncertainty=True, mask=True,
        weight="exposure", wcs=True, wcs_key=wcs_key, link=as_link(), files=len(known),
    )  # fmt: skip
    memo = Memo()

    def finish(product: Product, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        return [
            {"file": product.filename, "position": number, "ra": place.ra.deg, "dec": place.dec.deg} | row
            for number, (place, outcome) in enumerate(zip(places, outcomes, strict=True))
            if (row := _row(outcome, wanted, wide, memo)) is not None
        ]

    results = recalled(
        known,
        lambda product: lambda found: cuts(found, wanted, bucket.address(product.key)),
        store=bucket,
        index=as_index(index, bucket),
        in_flight=in_flight,
    )
    rows: list[dict[str, Any]] = []
    for _, some in read_each(results, finish, total=len(known), on_error=on_error, progress=progress, stacklevel=3):
        rows += some
    _warn(rows, places, len(known))
    return _table(rows, {"r": str(r), "annulus": str(annulus), "time": "middle of the exposure, UTC, at the telescope"})


def light_curves(table: QTable) -> dict[int, TimeSeries]:
    """Return the light curve of each position in a table of photometry.

    Parameters
    ----------
    table : QTable
        As `hst_cloud.photometry` returns it, or a part of its rows: of one filter, say.

    Returns
    -------
    dict of int to astropy.timeseries.TimeSeries
        By the position's number, its rows in the order of time: the middles of exposures, UTC, at the telescope.

    Raises
    ------
    QueryError
        The table is none of photometry.

    Notes
    -----
    Requests: none.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> curve = hst.light_curves(table[table["filter"] == "F814W"])[0]  # doctest: +SKIP
    """
    if not {"time", "position", "rate"} <= set(table.colnames):
        message = (
            f"a table with {', '.join(table.colnames)} is none of hst_cloud.photometry: expected time, position, rate"
        )
        raise QueryError(message)
    from astropy.timeseries import TimeSeries  # noqa: PLC0415  # slow to import

    curves = {}
    for number in sorted(set(table["position"].tolist())):
        rows = table[table["position"] == number]
        rows = rows[np.argsort(rows["time"])]
        columns = {name: rows[name] for name in rows.colnames if name != "time"}
        curves[number] = TimeSeries(time=rows["time"], data=columns, meta=dict(table.meta))
    return curves


# --- What is asked ---------------------------------------------------------------------------------------------------


def _on_sky(place: boxes.Center) -> SkyCoord:
    if not isinstance(place, SkyCoord):
        message = f"position {place} is a pixel, which is another place in every exposure: expected one on the sky"
        raise QueryError(message)
    return place.icrs


def _warn(rows: Sequence[Mapping[str, Any]], places: Sequence[SkyCoord], files: int) -> None:
    seen = {row["position"] for row in rows}
    missing = [f"{n} ({place.to_string('hmsdms')})" for n, place in enumerate(places) if n not in seen]
    if missing:
        message = f"{len(missing)} of {len(places)} positions lie on none of {files} images: {', '.join(missing[:10])}"
        warnings.warn(message, HSTCloudWarning, stacklevel=3)
    for mixed in mixed_solutions(row["wcsname"] for row in rows):
        warnings.warn(mixed, HSTCloudWarning, stacklevel=3)


# --- One position in one exposure ------------------------------------------------------------------------------------


def _row(outcome: Outcome, wanted: Wanted, wide: Apertures, memo: Memo) -> dict[str, Any] | None:
    """Return what was measured; None where the position is off the image."""
    if isinstance(outcome, OutsideImageError):
        return None
    if isinstance(outcome, HSTCloudError):
        raise outcome
    if not outcome.window.holds_center:
        return None
    image = ccddata_of(outcome, wanted, memo)
    meta, (x, y) = image.meta, outcome.window.place
    assert outcome.solution is not None  # it was wanted
    area = area_correction(meta, outcome.solution, x, y)
    scale = math.sqrt(pixel_area(outcome.solution, x, y)[0])
    measured = measured_in(image, outcome, wide, scale)
    factor = rate_factor(meta, image.unit)
    for name, times in (("rate", factor * area), ("rate_err", factor * area), ("sky", factor)):
        measured[name] *= times
    return {
        **measured,
        **_magnitudes(measured["rate"], measured["rate_err"], meta),
        "time": _middle(meta), "exptime": float(meta.get("EXPTIME", math.nan)),
        "instrument": str(meta.get("INSTRUME", "")), "detector": str(meta.get("DETECTOR", "")),
        "filter": filter_of(meta), "hdu": meta["HDU"], "wcsname": str(meta.get("WCSNAME", "")),
        "x": x, "y": y, "area": area,
    }  # fmt: skip


def _magnitudes(rate: float, error: float, meta: Mapping[str, Any]) -> dict[str, float]:
    """Return magnitudes of a rate in electrons per second."""
    flam, pivot = (meta.get(name) for name in ("PHOTFLAM", "PHOTPLAM"))
    if not all(isinstance(value, int | float) and value > 0 for value in (rate, flam, pivot)):
        return {"abmag": math.nan, "stmag": math.nan, "mag_err": math.nan}
    assert flam is not None
    assert pivot is not None
    stmag = -2.5 * math.log10(rate * flam) - 21.10
    return {
        "stmag": stmag,
        "abmag": stmag - 5 * math.log10(pivot) + 18.6921,
        "mag_err": 2.5 / math.log(10) * error / rate,
    }


def _middle(meta: Mapping[str, Any]) -> float:
    start, end = (meta.get(name) for name in ("EXPSTART", "EXPEND"))
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        message = (
            f"{meta.get('S3KEY')} has EXPSTART = {start!r}, EXPEND = {end!r}: expected days, for the time of its rows"
        )
        raise FormatError(message, key=meta.get("S3KEY"))
    return (start + end) / 2


def _table(rows: Sequence[Mapping[str, Any]], meta: dict[str, str]) -> QTable:
    table = QTable(meta=meta)
    table["time"] = Time(np.array([row["time"] for row in rows], dtype=float), format="mjd", scale="utc")
    table["time"].info.description = "Middle of the exposure, UTC, at the telescope"
    for name, (kind, unit, description) in _COLUMNS.items():
        values: Any = np.array([row[name] for row in rows], dtype=kind)
        if name in _MASKABLE:
            values = Masked(values, mask=np.isnan(values))
        table[name] = values if unit is None else values << unit
        table[name].info.description = description
    return table
