"""Spectra without slits and the direct images that tell where their wavelengths begin."""

from __future__ import annotations

import warnings

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from hst_cloud.archive.quantities import radius_degrees
from hst_cloud.archive.tables import text_column, texts
from hst_cloud.errors import HSTCloudWarning, QueryError

__all__ = ["DISPERSERS", "pairs"]

DISPERSERS = frozenset({"G102", "G141", "G280", "G800L", "PR110L", "PR130L", "PR200L"})
"""Grisms of WFC3/IR and UVIS and of ACS/WFC and HRC, prisms of ACS/SBC and HRC: the instruments' handbooks."""

_NEEDED = ("obs_id", "instrument_name", "filters", "s_ra", "s_dec", "t_min")


def pairs(observations: Table, *, radius: u.Quantity | str = "30 arcsec") -> Table:
    """Pair dispersed observations (grisms and prisms of WFC3 and ACS) with their direct images.

    Its direct image is the one of the same visit and detector that points within `radius` of it, and of several the one
    that is nearest in time.

    Parameters
    ----------
    observations : Table
        What `search` returned, or a table with its columns; with both images and spectra.
    radius : Quantity or str, optional
        Greatest distance of the two pointings. Dithers and the offset that centers spectra are smaller than 30 arcsec.

    Returns
    -------
    Table
        The rows of direct images that are paired and of all dispersed observations, with all their columns, so that
        `products` takes it, and

        ``role``
            ``direct`` or ``dispersed``.
        ``direct``
            ``obs_id`` of the direct image, by which the table can be grouped; empty where there is none.
        ``separation``, ``delay``
            arcseconds and minutes from the direct image's pointing and start to this one's; masked where there is none.

        Pairs are in order of time, in each the direct image first.

    Raises
    ------
    QueryError
        The table lacks a column, or has no dispersed observation.

    Warns
    -----
    HSTCloudWarning
        Some dispersed observations have no direct image.

    Notes
    -----
    Requests: none.

    Examples
    --------
    On the demonstration archive of `hst_cloud.testing`:

    >>> import hst_cloud as hst
    >>> for row in hst.pairs(hst.search("HUDF", instrument="WFC3/IR")):
    ...     print(row["direct"], row["role"], row["filters"], row["obs_id"])
    izdm08a1q direct F140W izdm08a1q
    izdm08a1q dispersed G141 izdm08a2q
    izdm08a1q dispersed G141 izdm08a3q
    izdm08a5q direct F105W izdm08a5q
    izdm08a5q dispersed G102 izdm08a6q
    """
    lacking = [name for name in _NEEDED if name not in observations.colnames]
    if lacking:
        message = f"the table of observations has no column {lacking[0]!r}: give what hst_cloud.search returned"
        raise QueryError(message)
    reach, names = radius_degrees(radius), texts(observations, "obs_id")
    places = SkyCoord(*(np.ma.filled(observations[name], np.nan) for name in ("s_ra", "s_dec")), unit="deg")
    starts = np.ma.filled(np.ma.masked_array(observations["t_min"], dtype=float), np.nan)
    settings = [
        (name[:6].lower(), instrument)
        for name, instrument in zip(names, texts(observations, "instrument_name"), strict=True)
    ]
    dispersed = [bool(DISPERSERS & set(one.upper().split(";"))) for one in texts(observations, "filters")]
    if not any(dispersed):
        message = f"none of the {len(observations)} observations is through one of {', '.join(sorted(DISPERSERS))}"
        raise QueryError(message)
    found = {}
    for at in np.flatnonzero(dispersed).tolist():
        near = places.separation(places[at]).deg <= reach
        candidates = [i for i in np.flatnonzero(near).tolist() if not dispersed[i] and settings[i] == settings[at]]
        found[at] = min(candidates, key=lambda i: abs(starts[i] - starts[at]), default=-1)
    lost = [names[at] for at, direct in found.items() if direct < 0]
    if lost:
        message = f"{len(lost)} of {len(found)} dispersed observations have no direct image: {', '.join(lost[:10])}"
        warnings.warn(message, HSTCloudWarning, stacklevel=2)
    of = found | {direct: direct for direct in found.values() if direct >= 0}
    order = sorted(of, key=lambda at: (of[at] < 0, starts[of[at]], of[at], dispersed[at], starts[at]))
    rows, direct = np.array(order), np.array([of[at] for at in order])
    table = observations[rows]
    table["role"] = text_column(np.where(rows == direct, "direct", "dispersed"), "role", "What the observation is")
    table["direct"] = text_column(["" if at < 0 else names[at] for at in direct], "direct", "Its direct image")
    for name, values, unit, what in (
        ("separation", places[rows].separation(places[direct]).arcsec, u.arcsec, "Distance from the direct image"),
        ("delay", (starts[rows] - starts[direct]) * 1440, u.min, "Time since the direct image began"),
    ):
        table[name] = MaskedColumn(values, mask=direct < 0, unit=unit, description=what)
    return table
