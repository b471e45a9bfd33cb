"""MAST's portal through ``astroquery``, which this module alone imports, when it is first used.

Below it lies the session of `hst_cloud.archive.session`, with the time-outs, retries and deadline that astroquery does
not have.

Facts about astroquery 0.4.11 that this module rests on, each pinned by a test: it reads its server's address at
import, so that an address is set on an instance; its cache of column configurations belongs to the class and does not
know the address; constructing it sends nothing; it sends all obsids in one request.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import requests

from hst_cloud.archive.session import Watcher, answer_of, excerpt, patient, translated
from hst_cloud.errors import ArchiveAnswerError, HSTCloudError, QueryError
from hst_cloud.store.policy import Clock
from hst_cloud.values import Progress

__all__ = ["CONE", "PAGE", "Answer", "Found", "columns_of", "connected", "pages", "set_endpoint", "translating"]

CONE = "Mast.Caom.Cone"
"""The service whose configuration of columns serves all of them."""

PAGE = 50_000
"""Rows a page: what astroquery asks for, and MAST gives."""

MOST_ROWS = 2_000_000
"""Rows of one answer at most: 40 pages, each of which is held until all have come."""

Answer = dict[str, Any]

_importing = threading.Lock()


class Found:
    """The pages of an answer, the number of rows that MAST counted, and the conditions that were sent."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.conditions: dict[str, object] = {}
        self.rows = 0
        self.total = 0
        self.unasked: list[str] = []

    def notes(self, limit: int | None) -> list[str]:
        """Return what the user should know of the completeness of the answer."""
        if self.unasked:
            return [f"limit={limit} is reached before {', '.join(self.unasked)} was asked for; raise it, or give None"]
        if self.rows >= self.total:
            return []
        if limit is not None and self.rows >= limit:
            return [f"limit={limit} cuts the {self.total} rows that MAST counts; raise it, or give None for all"]
        note = f"MAST counts {self.total} rows and gave {self.rows}: the answer is not complete. "
        return [note + "Ask again, or for less at a time, as by dates (since=, until=)"]


def _astroquery() -> Any:
    """Import astroquery, which takes half a second and reads its configuration, when it is first needed.

    Its logger takes over `warnings.showwarning`, which is the user's: that is undone.
    """
    with _importing:
        if "astroquery.mast" not in sys.modules:
            shown = warnings.showwarning  # not `catch_warnings`, which no two threads may be in at a time
            try:
                importlib.import_module("astroquery.mast")
            finally:
                warnings.showwarning = shown
    import astroquery  # noqa: PLC0415

    return astroquery


def set_endpoint(observations: Any, root: str) -> Any:
    """Point one instance of astroquery's class at a MAST, and return its connection to the portal.

    The one place that does so. The column configurations are the instance's own from here on: the class's are keyed by
    service alone, and another address may have other columns.
    """
    portal = observations._portal_api_connection  # noqa: SLF001 - the server's address can't be set otherwise
    portal.MAST_REQUEST_URL = f"{root}/api/v0/invoke"
    portal.COLUMNS_CONFIG_URL = f"{root}/portal/Mashup/Mashup.asmx/columnsconfig"
    portal._column_configs = {}  # noqa: SLF001 - see above
    portal.TIMEOUT = float("inf")  # the session's adapter has the deadline
    return portal


@contextmanager
def connected(root: str, clock: Clock, stop: threading.Event | None = None) -> Iterator[Any]:
    """Give a connection to the portal for one thread."""
    portal = set_endpoint(_astroquery().mast.ObservationsClass(), root)
    with patient(portal._session, clock, stop):  # noqa: SLF001 - astroquery has no other name for it
        yield portal


@contextmanager
def translating(url: str) -> Iterator[None]:
    """Let no error of astroquery's or of those that it lets through reach the user; the question was checked before."""
    foreign = _astroquery().exceptions
    try:
        yield
    except HSTCloudError:
        raise
    except foreign.InvalidQueryError as err:
        raise QueryError(str(err)) from err
    except foreign.RemoteServiceError as err:
        message = f"MAST at {url} answered with an error: {excerpt(str(err))!r}"
        raise ArchiveAnswerError(message, url=url) from err
    except (requests.RequestException, TimeoutError, AttributeError, LookupError, TypeError, ValueError) as err:
        raise translated(err, url) from err


def columns_of(portal: Any, service: str) -> dict[str, dict[str, object]]:
    """Return MAST's column configuration, which filters are checked against."""
    url = portal.COLUMNS_CONFIG_URL
    with translating(url):
        portal._get_col_config(service, fetch_name=CONE)  # noqa: SLF001 - what build_filter_set calls
    columns = portal._column_configs[service]  # noqa: SLF001 - where it leaves the answer
    if not isinstance(columns, dict) or not columns or not all(isinstance(c, dict) for c in columns.values()):
        message = f"MAST at {url} gave no configuration of columns: {excerpt(json.dumps(columns))!r}"
        raise ArchiveAnswerError(message, url=url)
    return columns


def pages(
    portal: Any,
    service: str,
    params: Mapping[str, object],
    *,
    limit: int | None = None,
    progress: Watcher | None = None,
    before: int = 0,
) -> Found:
    """Ask one question, page by page, until MAST has no more rows or `limit` is reached."""
    found = Found()
    size = PAGE if limit is None else min(limit, PAGE)
    question = str(uuid.uuid4())  # the pages of one question share MAST's answer
    for page in count(1):
        with translating(portal.MAST_REQUEST_URL):
            responses = portal.service_request_async(
                service, dict(params), pagesize=size, page=page, cacheBreaker=question
            )
            answer = _complete(answer_of(responses[0]), portal.MAST_REQUEST_URL)
        rows, pages, total = len(answer["data"]), *_counts(answer)
        found.answers.append(answer)
        found.rows += rows
        found.total = max(total, found.rows)
        if found.rows > MOST_ROWS:
            url = portal.MAST_REQUEST_URL
            message = (
                f"MAST at {url} gave {found.rows} rows: expected at most {MOST_ROWS}. Ask by dates (since=, until=)"
            )
            raise ArchiveAnswerError(message, url=url)
        if progress:
            progress(Progress(what="observations", done=before + found.rows, total=before + found.total))
        if not rows or (limit is not None and found.rows >= limit) or (page >= pages and found.rows >= found.total):
            return found
    raise AssertionError  # count() does not end


def _complete(answer: object, url: str) -> Answer:
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
        said = answer.get("msg") if isinstance(answer, dict) else answer
        what = "an error" if isinstance(answer, dict) and answer.get("status") == "ERROR" else "no rows"
        message = f"MAST at {url} answered with {what}: {excerpt(str(said))!r}"
        raise ArchiveAnswerError(message, url=url)
    strange = next((n for n, row in enumerate(answer["data"]) if not isinstance(row, dict)), None)
    if strange is not None:
        found = excerpt(json.dumps(answer["data"][strange]))
        message = f"MAST at {url} answered with {found!r} as row {strange}: expected one value for each column"
        raise ArchiveAnswerError(message, url=url)
    if answer.get("status") not in {"COMPLETE", "", None}:
        message = f"MAST at {url} answered with {answer.get('status')!s}: {excerpt(str(answer.get('msg')))!r}"
        raise ArchiveAnswerError(message, url=url)
    return answer


def _counts(answer: Answer) -> tuple[int, int]:
    """Return how many pages and rows MAST says that there are."""
    paging = answer.get("paging")
    if not isinstance(paging, dict):
        return 1, len(answer["data"])
    pages, total = paging.get("pagesFiltered"), paging.get("rowsTotal")
    return (pages if isinstance(pages, int) else 1), (total if isinstance(total, int) else len(answer["data"]))
