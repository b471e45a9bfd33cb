"""Ask MAST which observations there are, and which files they hold.

Before a question is sent its criteria are checked (`hst_cloud.archive.criteria`), because astroquery skips some of what
it does not understand; `hst_cloud.archive.portal` carries it; the answers become tables of one shape
(`hst_cloud.archive.tables`).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Row, Table
from astropy.time import Time

from hst_cloud.archive import criteria as asking
from hst_cloud.archive import selection
from hst_cloud.archive.lookups import lookup_name, lookup_paths, named_position
from hst_cloud.archive.portal import CONE, Found, columns_of, connected, pages, translating
from hst_cloud.archive.quantities import Span, radius_degrees, sky_position
from hst_cloud.archive.session import Watcher, clock_for, in_parallel
from hst_cloud.archive.tables import OBSERVATIONS, PRODUCTS, from_answers
from hst_cloud.cost.budgets import counted
from hst_cloud.errors import HSTCloudWarning, QueryError
from hst_cloud.settings import endpoints
from hst_cloud.store.policy import Clock

__all__ = ["lookup_name", "lookup_paths", "products", "search"]

BATCH = 500
"""Observations in one request for products: longer lists run into MAST's limit of 600 s."""

_FILTERED = "Mast.Caom.Filtered"
_POSITION = "Mast.Caom.Filtered.Position"
_PRODUCTS = "Mast.Caom.Products"


def search(
    target: str | SkyCoord | None = None,
    *,
    center: SkyCoord | str | None = None,
    radius: u.Quantity | str = "3 arcmin",
    instrument: str | Sequence[str] | None = None,
    filters: str | Sequence[str] | None = None,
    proposal: str | int | Sequence[str] | Sequence[int] | None = None,
    since: Time | str | None = None,
    until: Time | str | None = None,
    exptime: Sequence[object] | u.Quantity | None = None,
    calib_level: int | Sequence[int] | None = None,
    dataproduct_type: str | Sequence[str] | None = None,
    intent: str | None = "science",
    planned: bool = False,
    criteria: Mapping[str, object] | None = None,
    limit: int | None = None,
    deadline: float | str | u.Quantity | None = None,
    mast: str | None = None,
    progress: Watcher | None = None,
) -> Table:
    """Find observations: one row each, in MAST's columns.

    All conditions hold together. Without any, nothing is sent: that would be the whole archive.

    Parameters
    ----------
    target : str or SkyCoord, optional
        Name of an object, which MAST's name service resolves to a position.
    center : SkyCoord or str, optional
        Position instead of a name; a text without units is in degrees.
    radius : Quantity or str, optional
        Greatest distance from the position; 3 arcmin, about the field of HST's widest camera.
    instrument : str or list of str, optional
        ``"ACS/WFC"``, or ``"ACS"`` for all of its detectors.
    filters : str or list of str, optional
        Filters or gratings, any of them.
    proposal : str, int or list, optional
        Proposals, any of them.
    since, until : Time or str, optional
        The exposure starts in [since, until); a text is in UTC.
    exptime : pair, optional
        Least and greatest exposure time, both included, in seconds or as Quantity; None for an open end.
    calib_level : int or list of int, optional
        Calibration levels of the observation, any of them: 1 raw, 2 calibrated, 3 combined.
    dataproduct_type : str or list of str, optional
        ``"image"``, ``"spectrum"``, ``"timeseries"``, ...
    intent : str or None, optional
        ``"science"``, ``"calibration"``, or None for both.
    planned : bool, optional
        Also return observations that have not been taken (``calib_level`` -1).
    criteria : mapping, optional
        Conditions on any other of MAST's columns, by its name: words of which any may match (one may hold ``*``),
        or a pair (least, greatest) for a number. It replaces a default on the same column: ``obs_collection`` is HST.
    limit : int, optional
        Greatest number of rows; a warning tells when there are more. None for all.
    deadline : float, str or Quantity, optional
        Seconds for the whole call; 600 when not given.
    mast : str, optional
        Root address of another MAST; else that of ``HST_CLOUD_ENDPOINT``, else the public one.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` after each page of rows.

    Returns
    -------
    Table
        MAST's columns with units; ``distance`` with a position. ``meta`` holds the conditions (``criteria``),
        ``service``, ``endpoint``, ``time``, ``versions``, ``rows_total`` (MAST's count), ``requests`` and ``bytes``.

    Raises
    ------
    QueryError
        The conditions make no sense, or name a column that MAST does not have; the message names the nearest.
    ArchiveUnavailableError
        MAST gave no answer after all tries, or within the deadline.
    ArchiveAnswerError
        MAST answered with an error, or in a shape that can't be read.

    Notes
    -----
    Requests: one for the columns that MAST has, one for each 50,000 rows, one more for a target's name. Each
    instrument without a detector is a query of its own.

    Examples
    --------
    On the demonstration archive of `hst_cloud.testing`:

    >>> import hst_cloud as hst
    >>> found = hst.search("NGC 4151", instrument="COS/FUV", filters="G130M", exptime=(3000, None))
    >>> print(*found["obs_id"])
    lzdm01010 lzdm09010
    """
    named = asking.conditions(
        instrument=instrument,
        filters=filters,
        proposal=proposal,
        since=since,
        until=until,
        exptime=exptime,
        calib_level=calib_level,
        dataproduct_type=dataproduct_type,
    )
    extra = dict(criteria or {})
    wanted = _wanted(named, extra, intent=intent, planned=planned)
    if isinstance(target, SkyCoord) and center is None:
        target, center = None, target
    _check_question(target, center, named, extra, limit)
    degrees = radius_degrees(radius)
    position = None if center is None else sky_position(center)
    clock, root = clock_for(deadline), endpoints(mast).mast
    with counted() as spent, connected(root, clock) as portal:
        if isinstance(target, str):
            position = named_position(portal._session, root, target)  # noqa: SLF001 - astroquery has no other name for it
        where = "" if position is None else f"{float(position.ra.deg)}, {float(position.dec.deg)}, {degrees}"
        found = _observations(portal, wanted, extra, where, limit=limit, progress=progress)
    meta = _meta(root, _POSITION if where else _FILTERED, found.conditions | _place_words(target, where))
    fields = [replace(field, always=True) for field in OBSERVATIONS] if where else OBSERVATIONS
    table = from_answers(found.answers, fields, {**meta, "rows_total": found.total, **spent})
    if limit is not None and len(table) >= limit:
        table = table[:limit]
    for note in found.notes(limit):
        warnings.warn(note, HSTCloudWarning, stacklevel=2)
    return table


def products(
    observations: Table | Row | str | int | Sequence[object],
    *,
    suffix: str | Sequence[str] | None = None,
    calib_level: int | Sequence[int] | None = None,
    product_type: str | Sequence[str] | None = None,
    collection: str | Sequence[str] | None = "CAL",
    deadline: float | str | u.Quantity | None = None,
    mast: str | None = None,
    progress: Watcher | None = None,
) -> Table:
    """List the files of observations: one row each, in MAST's columns, with the key of each in the public bucket.

    Parameters
    ----------
    observations : Table, Row, str, int or list
        What `search` returned, or a table of astroquery's, or some of their rows; MAST's ``obsid``; an ``obs_id``.
    suffix : str or list of str, optional
        Kinds of file, any of them: ``"drc"``, ``["x1d", "x1dsum"]``. Files of data alone: a preview of the same name
        comes with ``product_type="PREVIEW"``.
    calib_level : int or list of int, optional
        Calibration levels of the product (not of its observation): 1 raw, 2 calibrated, 3 combined.
    product_type : str or list of str, optional
        ``"SCIENCE"``, ``"PREVIEW"``, ``"AUXILIARY"``, ``"INFO"``, ...
    collection : str, list of str or None, optional
        ``"CAL"``, the products of the calibration pipelines; ``"HAP"``, ``"HLA"``, ``"HLSP"``; None or ``"all"`` for
        all of them. The public bucket holds the first alone.
    deadline : float, str or Quantity, optional
        Seconds for the whole call; 600 when not given.
    mast : str, optional
        Root address of another MAST; else that of ``HST_CLOUD_ENDPOINT``, else the public one.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` after each batch of observations.

    Returns
    -------
    Table
        MAST's columns, each file once; ``parent_obsids`` (every observation given that lists the file, ``;``
        between), and ``key``, ``status`` and ``reason`` by rule. ``meta`` as that of `search`.

    Raises
    ------
    QueryError
        There are no observations, or a word is not in MAST's or the instruments' vocabulary.
    ArchiveUnavailableError
        MAST gave no answer after all tries, or within the deadline.
    ArchiveAnswerError
        MAST answered with an error, or in a shape that can't be read.

    Warns
    -----
    HSTCloudWarning
        No product matches; the text lists what there is.

    Notes
    -----
    Requests: one for each 500 observations and 50,000 products, 4 at a time. Observations given by ``obs_id`` need two
    more for each 500.

    Examples
    --------
    On the demonstration archive of `hst_cloud.testing`:

    >>> import hst_cloud as hst
    >>> observations = hst.search("M 51", instrument="ACS/WFC", filters="F814W")
    >>> print(*hst.products(observations, suffix="drc")["key"])
    hst/public/jzdm/jzdm01010/jzdm01011_drc.fits
    """
    wanted = selection.choice(suffix, calib_level, product_type, collection)
    asked = selection.asked(observations)
    selection.check_suffixes(wanted, asked.instruments)
    clock, root = clock_for(deadline), endpoints(mast).mast
    obsids = asked.obsids
    notes: list[str] = []
    with counted() as spent:
        if asked.obs_ids:
            more, notes = _obsids(root, clock, asked.obs_ids)
            obsids = tuple(dict.fromkeys((*obsids, *more)))
        batches = [obsids[i : i + BATCH] for i in range(0, len(obsids), BATCH)]
        answers = in_parallel(
            lambda ids, stop: _product_list(root, clock, ids, stop),
            batches,
            progress=progress,
            what="lists of products",
        )
    words = {"obsid": f"{len(obsids)} observations"} | _filter_words(wanted)
    rows = [sum(len(page["data"]) for page in found.answers) for found in answers]
    table = from_answers(
        [page for found in answers for page in found.answers],
        PRODUCTS,
        {**_meta(root, _PRODUCTS, words), "rows_total": sum(found.total for found in answers), **spent},
    )
    unique = selection.deduplicated(table, list(zip(batches, rows, strict=True)))
    result, note = selection.chosen(selection.placed(unique), wanted)
    if obsids and not len(unique):
        note = f"MAST lists no products for the {len(obsids)} observations"
    for text in [*notes, *(n for found in answers for n in found.notes(None)), *([note] if note else [])]:
        warnings.warn(text, HSTCloudWarning, stacklevel=2)
    return result


def _wanted(
    named: asking.Conditions, extra: Mapping[str, object], *, intent: str | None, planned: bool
) -> asking.Conditions:
    """Return the conditions of a search with its defaults, less those that `extra` replaces."""
    own = {name.lower() for name in extra}
    twice = sorted(name for name in named if name.lower() in own)
    if twice:
        message = f"criteria and an argument both ask for {', '.join(twice)}; give one of them"
        raise QueryError(message)
    wanted = asking.defaults(intent=intent, planned=planned) | named
    return {name: value for name, value in wanted.items() if name.lower() not in own}


def _check_question(
    target: object, center: object, named: Mapping[str, object], extra: Mapping[str, object], limit: int | None
) -> None:
    if target is not None and center is not None:
        message = f"target={target!r} and center={center!r} are both positions; give one of them"
        raise QueryError(message)
    if target is not None and (not isinstance(target, str) or not target.strip()):
        message = f"target={target!r} is no name; give one such as 'M 51', or a position as center="
        raise QueryError(message)
    if target is None and center is None and not named and not extra:
        message = "search needs a target, a center, or at least one condition such as instrument='ACS/WFC'"
        raise QueryError(message)
    if limit is not None and limit < 1:
        message = f"limit={limit} is no number of rows; give 1 or more, or None for all"
        raise QueryError(message)


def _place_words(target: str | SkyCoord | None, where: str) -> dict[str, object]:
    name: dict[str, object] = {"target": target} if isinstance(target, str) else {}
    return {**name, "position": where} if where else name


def _filter_words(wanted: selection.Choice) -> dict[str, object]:
    words = {
        "suffix": wanted.suffix,
        "calib_level": wanted.calib_level,
        "product_type": wanted.product_type,
        "collection": wanted.collection,
    }
    return {name: list(value) for name, value in words.items() if value is not None}


def _meta(root: str, service: str, words: Mapping[str, object]) -> dict[str, object]:
    packages = {"hst_cloud": "hst-cloud", "astroquery": "astroquery", "astropy": "astropy"}
    return {
        "criteria": dict(words),
        "service": service,
        "endpoint": root,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(package) for name, package in packages.items()},
    }


def _observations(
    portal: Any,
    wanted: asking.Conditions,
    extra: Mapping[str, object],
    where: str,
    *,
    limit: int | None,
    progress: Watcher | None,
) -> Found:
    """Ask for observations, once for each instrument pattern, and keep the rows that truly match."""
    service = _POSITION if where else _FILTERED
    columns = columns_of(portal, service)
    result = Found()
    names = wanted.get("instrument_name")
    for pattern in asking.instrument_patterns(names):
        left = None if limit is None else limit - result.rows
        if left is not None and left <= 0:
            result.unasked += [word.rstrip("*") for word in pattern or ()]
            continue
        one = wanted if pattern is None else wanted | {"instrument_name": pattern}
        sent = asking.portal_filters(one, extra, columns)
        with translating(portal.MAST_REQUEST_URL):
            filters = portal.build_filter_set(CONE, service, **sent)
        params = {"columns": "*", "filters": filters} | ({"position": where} if where else {})
        found = pages(portal, service, params, limit=left, progress=progress, before=result.rows)
        for answer in found.answers:
            answer["data"] = [row for row in answer["data"] if _fits(row, wanted, pattern)]
        result.answers += found.answers
        result.rows += found.rows
        result.total += found.total
        result.conditions |= sent
    if names is not None:
        result.conditions["instrument_name"] = list(names)
    return result


def _fits(row: Mapping[str, Any], wanted: asking.Conditions, pattern: tuple[str, ...] | None) -> bool:
    """Tell whether a row is asked for, where MAST's filters can only ask for more."""
    name = row.get("instrument_name")
    if pattern is not None and name is not None:
        stems = [word.rstrip("*") for word in pattern]
        if not asking.matches_instrument(str(name), stems):
            return False
    start, span = row.get("t_min"), wanted.get("t_min")
    if isinstance(span, Span) and isinstance(start, (int, float)) and not span.low <= start <= span.high:
        return False
    level, levels = row.get("calib_level"), wanted.get("calib_level")
    return levels is None or level is None or str(level) in levels


def _product_list(root: str, clock: Clock, obsids: Sequence[str], stop: threading.Event) -> Found:
    with connected(root, clock, stop) as portal:
        portal._column_configs[_PRODUCTS] = {}  # noqa: SLF001 - nothing of it is used: spare the request
        return pages(portal, _PRODUCTS, {"obsid": ",".join(obsids)})


def _obsids(root: str, clock: Clock, obs_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return MAST's ids of observations given by name, and a note for those that it does not know."""
    with connected(root, clock) as portal:
        columns = columns_of(portal, _FILTERED)
        rows: list[Mapping[str, Any]] = []
        for start in range(0, len(obs_ids), BATCH):
            sent = asking.portal_filters({"obs_id": tuple(obs_ids[start : start + BATCH])}, {}, columns)
            with translating(portal.MAST_REQUEST_URL):
                filters = portal.build_filter_set(CONE, _FILTERED, **sent)
            found = pages(portal, _FILTERED, {"columns": "*", "filters": filters})
            rows += [row for answer in found.answers for row in answer["data"]]
    known = {str(row.get("obs_id")).lower() for row in rows}
    unknown = [name for name in obs_ids if name not in known]
    if not rows:
        message = f"MAST knows none of the {len(obs_ids)} observations given by name, such as {unknown[0]!r}"
        raise QueryError(message)
    notes = [f"MAST does not know {len(unknown)} of the observations: {', '.join(unknown[:10])}"] if unknown else []
    return [str(row["obsid"]) for row in rows if row.get("obsid")], notes
