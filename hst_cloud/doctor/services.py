"""How a probe asks: single requests to the bucket and to MAST, each bounded in time, and never more than it needs.

What the `hst_cloud.store.objects.Store` protocol can express is asked through it. The rest (suffix ranges, conditions
that must fail, headers) are unsigned requests of their own, with the same time-outs: neither credentials nor proxies
are taken from the environment, and no redirect is followed.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from hst_cloud.archive.session import answer_of, cause_of, excerpt, new_session, translated
from hst_cloud.doctor.values import KNOWN_KEYS, BrokenError, UnaskedError
from hst_cloud.settings import endpoints
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.objects import HTTPStore, ListedObject, Store
from hst_cloud.store.policy import MAST, RETRIED, S3, Clock
from hst_cloud.store.s3 import Unusable, error_field, listing_page

__all__ = [
    "ASK_MAST",
    "BLOCK",
    "Reply",
    "Services",
    "ask",
    "ask_object",
    "bucket_of",
    "invoke",
    "list_some",
    "mast_json",
    "rows_of",
    "sample",
]

BLOCK = 2880  # FITS Standard 4.0, section 3.1
MOST = 256 * 1024
"""Bytes of one answer that are read; a server that ignores ranges would send the whole file."""

ASK_S3 = replace(S3, tries=2, deadline=8)
ASK_MAST = replace(MAST, read=12, tries=2, deadline=18)


class Reply(NamedTuple):
    """What a server said."""

    status: int
    """HTTP status."""
    headers: CaseInsensitiveDict[str]
    """Headers."""
    body: bytes
    """The first bytes of the body."""

    def __str__(self) -> str:
        code = error_field(self.body, "Code") if self.status >= 300 else ""
        return f"HTTP {self.status} {code}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What is asked; addresses are worked out when they are needed, and what is wrong with them is raised then."""

    given_mast: str | None = None
    """Root address of MAST as the caller gave it."""
    given_store: StoreLike = None
    """The store as the caller gave it."""

    @property
    def mast(self) -> str:
        """Root of MAST's services."""
        return endpoints(self.given_mast).mast

    @property
    def store(self) -> Store:
        """Where bytes come from; over HTTP with the patience of a probe."""
        store = as_store(self.given_store)
        return HTTPStore(store.root, policy=ASK_S3) if isinstance(store, HTTPStore) else store

    @property
    def bucket(self) -> str | None:
        """Address of the bucket, or None for a store that this package does not ask over HTTP itself."""
        store = self.store
        return store.root if isinstance(store, HTTPStore) else None


def bucket_of(services: Services) -> str:
    """Return the bucket's address.

    Raises
    ------
    UnaskedError
        The store is not asked over HTTP by this package.
    """
    if services.bucket is None:
        message = f"{services.store!r} asks in its own way; this can be seen only over HTTP"
        raise UnaskedError(message)
    return services.bucket


def ask(url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Reply:
    """Send one unsigned request, once more where that may help, and read no more than `MOST` bytes of the answer.

    Raises
    ------
    UnaskedError
        There was no answer, or none but that the service is busy.
    """
    clock = Clock(ASK_S3)
    for tried in count(1):
        try:
            reply = _sent(method, url, headers or {}, clock)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            problem = f"no answer from {url}: {type(error).__name__}: {cause_of(error)}"
        else:
            if reply.status not in RETRIED:
                return reply
            problem = f"{url} answered {reply}"
        wait = clock.wait(tried)
        if wait is None:
            raise UnaskedError(problem)
        time.sleep(wait)
    raise AssertionError  # count() does not end


def _sent(method: str, url: str, headers: Mapping[str, str], clock: Clock) -> Reply:
    with requests.Session() as session:
        session.trust_env = False
        with session.request(
            method,
            url,
            headers={"Accept-Encoding": "identity", "User-Agent": "hst_cloud"} | dict(headers),
            timeout=(clock.policy.connect, clock.policy.read),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = response.raw.read(MOST, decode_content=False) if method != "HEAD" else b""
            return Reply(response.status_code, response.headers, body)


def ask_object(services: Services, key: str, headers: Mapping[str, str]) -> Reply:
    """Ask for an object of the bucket in the words of `headers`."""
    return ask(f"{bucket_of(services)}/{quote(key)}", headers)


def list_some(services: Services, prefix: str, *, most: int, token: str = "") -> tuple[list[ListedObject], str]:
    """Return the first objects below `prefix`, and the token of the next page.

    Raises
    ------
    BrokenError
        The answer is no listing.
    """
    words = {"list-type": "2", "prefix": prefix, "max-keys": str(most)}
    reply = ask(f"{bucket_of(services)}?{urlencode(words | ({'continuation-token': token} if token else {}))}")
    if reply.status != 200:
        message = f"a listing of {prefix!r} was answered with {reply}"
        raise BrokenError(message)
    try:
        return listing_page(reply.body, prefix)
    except Unusable as error:
        raise BrokenError(str(error)) from error


def sample(services: Services) -> ListedObject:
    """Return the smallest FITS file of two blocks or more that one of the known visits lists.

    Raises
    ------
    UnaskedError
        None of them lists any.
    """
    for known in reversed(KNOWN_KEYS):  # those whose keys have been seen come first
        [found] = services.store.listings([known.visit])
        fits = [one for one in found if one.key.endswith(".fits") and one.size >= 2 * BLOCK]
        if fits:
            return min(fits, key=lambda one: one.size)
    message = f"none of the visits {', '.join(known.visit for known in KNOWN_KEYS)} lists a FITS file to read from"
    raise UnaskedError(message)


def mast_json(services: Services, method: str, path: str, **what: Any) -> Any:
    """Return MAST's answer to one request, sent as the library sends its own.

    Raises
    ------
    ArchiveUnavailableError
        No answer.
    ArchiveAnswerError
        An error, or no JSON.
    """
    url = f"{services.mast}/{path}"
    try:
        with new_session(Clock(ASK_MAST)) as session:
            return answer_of(session.request(method, url, **what))
    except requests.RequestException as error:
        raise translated(error, url) from error


def invoke(
    services: Services,
    service: str,
    params: Mapping[str, object],
    *,
    size: int = 100,
    page: int = 1,
    question: str | None = None,
) -> Any:
    """Return the answer of one of the portal's services, asked for until it is complete.

    Pages of one `question`, any text that is used once, share MAST's answer.

    Raises
    ------
    BrokenError
        It is not the object with ``status``, ``data``, ``fields`` and ``paging`` that it was when it was recorded.
    UnaskedError
        The query is still executing.
    """
    request = {"service": service, "params": dict(params), "format": "json", "pagesize": size, "page": page}
    request |= {"removenullcolumns": False, "timeout": 10, "cacheBreaker": question or str(uuid.uuid4())}
    body = f"request={quote(json.dumps(request))}"
    headers = {"Content-type": "application/x-www-form-urlencoded", "Accept": "text/plain"}
    clock = Clock(ASK_MAST)
    while clock.left:
        answer = mast_json(services, "POST", "api/v0/invoke", data=body, headers=headers)
        if not isinstance(answer, dict):
            message = f"{service} answered with {type(answer).__name__} where an object was expected"
            raise BrokenError(message)
        if answer.get("status") != "EXECUTING":
            return answer
        time.sleep(0.25)
    message = f"{service} is still executing after {clock.elapsed:.0f} s"
    raise UnaskedError(message)


def rows_of(answer: Mapping[str, Any], service: str, needed: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the rows of a portal's answer, each with the columns `needed`.

    Raises
    ------
    BrokenError
        It has no rows in the recorded shape, or lacks a column.
    """
    if answer.get("status") != "COMPLETE":
        message = f"{service} answered {answer.get('status')!r}: {excerpt(str(answer.get('msg')))}"
        raise BrokenError(message)
    data, fields = answer.get("data"), answer.get("fields")
    if not isinstance(data, list) or not isinstance(fields, list) or not all(isinstance(row, dict) for row in data):
        message = f"{service} answered without 'data' and 'fields' of rows: it has {', '.join(sorted(answer))}"
        raise BrokenError(message)
    declared = {str(field.get("name")) for field in fields if isinstance(field, dict)}
    missing = sorted(set(needed) - declared)
    if missing:
        message = f"{service} answered with {len(declared)} columns, and without {', '.join(missing)}"
        raise BrokenError(message)
    return data
