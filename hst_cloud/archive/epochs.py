"""Observations of one field at different times: which ones, how far apart, and how much of the sky they share."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, Table
from astropy.time import Time

from hst_cloud.archive.footprints import Footprint, common_area, holds, parse_footprint
from hst_cloud.archive.quantities import sky_position
from hst_cloud.archive.tables import texts
from hst_cloud.errors import ArchiveAnswerError, HSTCloudWarning, QueryError

__all__ = ["epochs"]

_NEEDED = ("filters", "t_min", "t_max", "s_region")
_NAMED = 10  # observations that a warning spells out


class _Row(NamedTuple):
    number: int
    """Of the row in the table given."""
    time: float
    """Middle of the exposure, MJD."""
    footprint: Footprint


def epochs(
    observations: Table,
    center: SkyCoord | str | None = None,
    *,
    within: u.Quantity | str = "30 day",
    min_baseline: u.Quantity | str = "1 yr",
) -> Table:
    """Choose the observations that show a field at several times through one filter, and number the epochs.

    Parameters
    ----------
    observations : Table
        What `search` returned, or a table with its columns.
    center : SkyCoord or str, optional
        A position that footprints must hold; a text without units is in degrees. By default they may be anywhere.
    within : Quantity or str, optional
        Longest time from the first to the last observation of one epoch. Stars of the Bulge that move by 3 mas a year
        stay within a two-hundredth of a pixel in 30 days.
    min_baseline : Quantity or str, optional
        Shortest time from the first to the last epoch of a filter; others are left out.

    Returns
    -------
    Table
        The rows of `observations` that remain, by filter and time, with all their columns, so that `products` takes it,
        and

        ``epoch``
            number of the epoch among those of the filter, from 0.
        ``baseline``
            years from the filter's first epoch to this one, between the means of the exposures' middles.
        ``overlap``
            square arcminutes of sky that every epoch of the filter shows.

        Filters are compared without clear elements of the other wheel (``F606W;CLEAR2L`` is ``F606W``).

    Raises
    ------
    QueryError
        The table lacks a column, or an argument makes no sense.

    Warns
    -----
    HSTCloudWarning
        Nothing remains; the text says what epochs there are. Or observations were left out, which the text names: their
        ``s_region`` is no footprint.

    Notes
    -----
    Requests: none.

    Footprints are MAST's outlines of the detectors, whose solutions may be off by some tenths of an arcsecond. Whether
    the images of several epochs lie on the sky by one kind of solution, their WCSNAME tells: `hst_cloud.cutouts` warns,
    and its ``wcs_key`` selects one that all have.

    Examples
    --------
    On the demonstration archive of `hst_cloud.testing`:

    >>> import hst_cloud as hst
    >>> found = hst.epochs(hst.search("47 Tuc", instrument="ACS/WFC"), "6.04 -72.07", min_baseline="5 yr")
    >>> for row in found:
    ...     print(row["obs_id"], row["epoch"], round(row["baseline"], 2), round(row["overlap"], 1))
    jzdm06a1q 0 0.0 ...
    jzdm07a1q 1 17.85 ...
    """
    lacking = [name for name in _NEEDED if name not in observations.colnames]
    if lacking:
        message = f"the table of observations has no column {lacking[0]!r}: give what hst_cloud.search returned"
        raise QueryError(message)
    longest, shortest = _days(within, "within"), _days(min_baseline, "min_baseline")
    place = None if center is None else sky_position(center)
    groups: dict[str, list[list[_Row]]] = {}
    for name, rows in _by_filter(observations, place).items():
        groups[name] = _split(rows, longest)
    kept = {name: found for name, found in groups.items() if len(found) > 1 and _baseline(found) >= shortest}
    if not kept:
        warnings.warn(_nothing(groups, shortest, place), HSTCloudWarning, stacklevel=2)
    return _table(observations, kept, place, (longest, shortest))


def _days(length: u.Quantity | str, name: str) -> float:
    try:
        days = float(u.Quantity(length).to_value(u.day))
    except (TypeError, ValueError) as error:  # UnitConversionError is both
        message = f"{name}={length!r} is no length of time: expected a Quantity or a text such as '1 yr'"
        raise QueryError(message) from error
    if not days >= 0:
        message = f"{name}={length!r} must not be negative"
        raise QueryError(message)
    return days


def _by_filter(observations: Table, place: SkyCoord | None) -> dict[str, list[_Row]]:
    """Return the observations that were taken and hold the position, by filter in order of time."""
    times = [np.ma.filled(np.ma.masked_array(observations[name], dtype=float), np.nan) for name in ("t_min", "t_max")]
    middles = np.where(np.isnan(times[1]), times[0], (times[0] + times[1]) / 2)
    regions: dict[str, Footprint | None] = {}
    unread: list[int] = []
    found: dict[str, list[_Row]] = {}
    columns = zip(texts(observations, "filters"), texts(observations, "s_region"), middles.tolist(), strict=True)
    for number, (filters, region, time) in enumerate(columns):
        if region not in regions:
            regions[region] = _footprint(region)
        footprint = regions[region]
        if footprint is None:
            unread.append(number)
            continue
        row = _Row(number, time, footprint)
        if np.isfinite(time) and (place is None or holds(row.footprint, float(place.ra.deg), float(place.dec.deg))):
            found.setdefault(_opaque(filters), []).append(row)
    if unread:
        warnings.warn(_unread(observations, unread), HSTCloudWarning, stacklevel=3)
    return {name: sorted(found[name], key=lambda row: row.time) for name in sorted(found)}


def _footprint(region: str) -> Footprint | None:
    """Return what a row shows of the sky; None where that can't be read."""
    try:
        return parse_footprint(region)
    except ArchiveAnswerError:
        return None


def _unread(observations: Table, numbers: Sequence[int]) -> str:
    regions = texts(observations, "s_region")
    names = texts(observations, "obs_id") if "obs_id" in observations.colnames else [""] * len(observations)
    lines = [f"{names[number] or f'row {number}'}: {regions[number][:60]!r}" for number in numbers[:_NAMED]]
    more = [f"... and {len(numbers) - _NAMED} more"] if len(numbers) > _NAMED else []
    head = f"{len(numbers)} of {len(observations)} observations are left out, as their s_region is no footprint:"
    return "\n".join([head, *lines, *more])


def _opaque(filters: str) -> str:
    """Return the elements that are not clear."""
    return ";".join(one for one in filters.split(";") if not one.strip().upper().startswith("CLEAR"))


def _split(rows: Sequence[_Row], longest: float) -> list[list[_Row]]:
    found: list[list[_Row]] = []
    for row in rows:
        if not found or row.time - found[-1][0].time > longest:
            found.append([])
        found[-1].append(row)
    return found


def _mean(rows: Iterable[_Row]) -> float:
    return float(np.mean([row.time for row in rows]))


def _baseline(found: Sequence[Sequence[_Row]]) -> float:
    return _mean(found[-1]) - _mean(found[0])


def _table(
    observations: Table,
    kept: Mapping[str, Sequence[Sequence[_Row]]],
    place: SkyCoord | None,
    days: tuple[float, float],
) -> Table:
    numbers, epoch, baseline, overlap = [], [], [], []
    for found in kept.values():
        shared = common_area([[row.footprint for row in rows] for rows in found]) * 3600
        for number, rows in enumerate(found):
            numbers += [row.number for row in rows]
            epoch += [number] * len(rows)
            baseline += [(_mean(rows) - _mean(found[0])) / 365.25] * len(rows)
            overlap += [shared] * len(rows)
    table = observations[np.array(numbers, dtype=int)]
    table["epoch"] = Column(epoch, dtype=int, description="Number of the epoch among those of the filter")
    table["baseline"] = Column(baseline, dtype=float, unit=u.yr, description="Time since the filter's first epoch")
    table["overlap"] = Column(overlap, dtype=float, unit=u.arcmin**2, description="Sky that all its epochs show")
    table.meta["epochs"] = {
        "center": "" if place is None else place.to_string("decimal", precision=7),
        "within": f"{days[0]} d",
        "min_baseline": f"{days[1]} d",
    }
    return table


def _nothing(groups: Mapping[str, Sequence[Sequence[_Row]]], shortest: float, place: SkyCoord | None) -> str:
    if not groups:
        where = "" if place is None else f" holds {place.to_string('decimal')}"
        return f"no observation{where or ' was taken'}, so that there are no epochs"
    lines = [
        f"{name or '(no filter)'}: "
        + ", ".join(Time(_mean(rows), format="mjd").to_value("iso", "date") for rows in found)
        for name, found in groups.items()
    ]
    return f"no filter has epochs that are {shortest / 365.25:.3g} yr apart; there are " + "; ".join(lines)
