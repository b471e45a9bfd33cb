"""Two of MAST's services that astroquery asks at addresses of its own: where a name lies, and where a file.

Names are resolved by ``Mast.Name.Lookup`` and paths by ``path_lookup``, both at the same MAST as everything else.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterable, Sequence
from urllib.parse import quote

import requests
from astropy import units as u
from astropy.coordinates import SkyCoord

from hst_cloud.archive.session import Watcher, answer_of, clock_for, excerpt, in_parallel, new_session, translated
from hst_cloud.errors import ArchiveAnswerError, QueryError
from hst_cloud.settings import endpoints
from hst_cloud.store.policy import Clock

__all__ = ["lookup_name", "lookup_paths", "named_position"]

PATHS = 40
"""URIs in one look-up of paths: what keeps the address below the length that MAST accepts (status 414)."""


def lookup_name(name: str, *, deadline: float | str | u.Quantity | None = None, mast: str | None = None) -> SkyCoord:
    """Return the position of a named object, by MAST's name service.

    Raises
    ------
    QueryError
        None of the resolvers that MAST asks knows the name.
    ArchiveUnavailableError
        MAST gave no answer after all tries, or within the deadline.
    ArchiveAnswerError
        MAST answered with an error, or in a shape that can't be read.

    Notes
    -----
    Requests: one.
    """
    root = endpoints(mast).mast
    with new_session(clock_for(deadline)) as session:
        return named_position(session, root, name)


def lookup_paths(
    uris: Iterable[str],
    *,
    deadline: float | str | u.Quantity | None = None,
    mast: str | None = None,
    progress: Watcher | None = None,
) -> dict[str, str | None]:
    """Ask MAST where files lie: the path of each ``mast:`` URI, None for those that it does not tell.

    A path comes from a server and is as hostile as a name until it has been checked.

    Raises
    ------
    ArchiveUnavailableError
        MAST gave no answer after all tries, or within the deadline.
    ArchiveAnswerError
        MAST answered with an error, or in a shape that can't be read.

    Notes
    -----
    Requests: one for each 40 URIs, 4 at a time.
    """
    unique = list(dict.fromkeys(uris))
    clock, url = clock_for(deadline), f"{endpoints(mast).mast}/api/v0.1/path_lookup/"
    batches = [unique[i : i + PATHS] for i in range(0, len(unique), PATHS)]
    answers = in_parallel(
        lambda batch, stop: _paths(url, clock, batch, stop), batches, progress=progress, what="look-ups of paths"
    )
    found = {uri: path for answer in answers for uri, path in answer.items()}
    return {uri: found.get(uri) for uri in unique}


def named_position(session: requests.Session, root: str, name: str) -> SkyCoord:
    """Ask MAST's name service. Not through astroquery, which asks another service, at an address that is fixed."""
    url = f"{root}/api/v0/invoke"
    request = {
        "service": "Mast.Name.Lookup",
        "params": {"input": name, "format": "json"},
        "format": "json",
        "cacheBreaker": str(uuid.uuid4()),
    }
    body, headers = f"request={quote(json.dumps(request))}", {"Content-type": "application/x-www-form-urlencoded"}
    answer: object = {"status": "EXECUTING"}
    while isinstance(answer, dict) and answer.get("status") == "EXECUTING":
        answer = _asked(session, "POST", url, data=body, headers=headers)
    found = answer.get("resolvedCoordinate") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        message = f"MAST's name service at {url} answered without coordinates: {excerpt(json.dumps(answer))!r}"
        raise ArchiveAnswerError(message, url=url)
    # An answer may hold several names and several resolvers; the order of resolvers is MAST's.
    own = [
        c
        for c in found
        if isinstance(c, dict) and str(c.get("searchString", name)).strip().lower() == name.strip().lower()
    ]
    if not own:
        message = f"no resolver knows the target {name!r}; check its spelling, or give its position as center="
        raise QueryError(message)
    try:
        return SkyCoord(float(own[0]["ra"]), float(own[0]["decl"]), unit="deg")
    except (LookupError, TypeError, ValueError) as err:
        raise translated(err, url) from err


def _paths(url: str, clock: Clock, uris: Sequence[str], stop: threading.Event) -> dict[str, str | None]:
    with new_session(clock, stop) as session:
        answer = _asked(session, "GET", url, params={"uri": list(uris), "use_cloud_path": "True"})
    if not isinstance(answer, dict):
        message = f"MAST at {url} answered without paths: {excerpt(json.dumps(answer))!r}"
        raise ArchiveAnswerError(message, url=url)
    rows = {uri: row for uri, row in answer.items() if isinstance(row, dict)}
    return {uri: row["path"] for uri, row in rows.items() if isinstance(row.get("path"), str)}


def _asked(
    session: requests.Session,
    method: str,
    url: str,
    *,
    data: str | None = None,
    params: dict[str, object] | None = None,
    headers: dict[str, str] | None = None,
) -> object:
    try:
        return answer_of(session.request(method, url, data=data, params=params, headers=headers))  # type: ignore[arg-type]  # a list of texts is a value, too
    except requests.RequestException as err:
        raise translated(err, url) from err
