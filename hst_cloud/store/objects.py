"""From keys to bytes: what a store is, and the public bucket as one.

A store reads batches of byte ranges and lists batches of prefixes; one batch is one round trip.
`HTTPStore` sends anonymous, unsigned HTTPS requests, which is all that the public bucket asks for.
It is the only thing in this package that knows the HTTP engine (``docs/decisions/engine.rst`` says why this one).

Sources: Amazon S3 API Reference (GetObject, ListObjectsV2, "Error responses"); RFC 9110 sections 13 and 14.
"""

from __future__ import annotations

import asyncio
import functools
import re
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote
from xml.etree import ElementTree as ET

import aiohttp
from yarl import URL

from hst_cloud.errors import (
    AccessDeniedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StoreError,
    StoreUnavailableError,
    ThrottledError,
    WrongRegionError,
)
from hst_cloud.settings import endpoints
from hst_cloud.store import loop
from hst_cloud.store.policy import RETRIED, S3, Clock, Policy
from hst_cloud.values import ByteRange

__all__ = ["HTTPStore", "ListedObject", "Piece", "Store", "Traffic", "public_store"]

T = TypeVar("T")

# Requests of one store at a time; docs/decisions/engine.rst.
IN_FLIGHT = 64


class Piece(NamedTuple):
    """The bytes of one range, and what the answer told of the whole object."""

    data: bytes
    """The bytes; fewer than asked for where the object ends earlier."""
    size: int
    """Bytes of the whole object."""
    etag: str | None
    """The object's version, without quotes; None where the store has none."""


class ListedObject(NamedTuple):
    """One line of a listing."""

    key: str
    """Object key."""
    size: int
    """Bytes."""
    etag: str | None
    """The object's version, without quotes."""


@dataclass(slots=True)
class Traffic:
    """What went over the wire."""

    requests: int = 0
    """Requests sent, retries included."""
    bytes: int = 0
    """Bytes of bodies received, those of failed tries included."""


class Store(Protocol):
    """Where bytes come from."""

    @property
    def traffic(self) -> Traffic:
        """What this store has sent and received since it was made."""

    def address(self, key: str) -> str:
        """Return where `key` lies, for messages: an ``s3://`` or ``https://`` address or a path."""

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[Piece]:
        """Return the bytes of every range, all asked for at once and in the order given.

        Parameters
        ----------
        key : str
            Object key.
        ranges : sequence of ByteRange
            What to read; none may be empty. A range may reach beyond the end of the object.
        etag : str, optional
            The version that must be read. Without it, all pieces are still of one version.

        Raises
        ------
        ObjectNotFoundError, ObjectChangedError, AccessDeniedError, StoreUnavailableError
            As the names say; in each case no bytes are returned.

        Notes
        -----
        Requests: one for each range.
        """

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        """Return the objects whose keys begin with each prefix, all prefixes asked for at once.

        Notes
        -----
        Requests: one for each prefix, and one more for each further 1,000 keys, in sequence.
        """


def one_version(key: str, pieces: Sequence[Piece], address: str) -> list[Piece]:
    """Return `pieces` if they are all of one version of the object.

    Raises
    ------
    ObjectChangedError
        They are not.
    """
    seen = {(piece.size, piece.etag) for piece in pieces}
    if len(seen) > 1:
        found = " and ".join(f"{size} bytes with ETag {etag}" for size, etag in sorted(seen, key=str))
        message = f"{address} was replaced while it was being read: found {found}. Open it again."
        raise ObjectChangedError(message, key=key)
    return list(pieces)


class HTTPStore:
    """Objects below one address, read by anonymous HTTP range requests.

    Constructing one sends nothing. It may be shared by threads, and used after a fork.

    Parameters
    ----------
    root : str
        Address of a bucket, as in `hst_cloud.settings.Endpoints`.
    url : callable, optional
        Makes the address of a key; by default the key is appended to `root`.
    policy : Policy, optional
        Time-outs and tries.
    """

    def __init__(self, root: str, *, url: Callable[[str], str] | None = None, policy: Policy = S3) -> None:
        self.root = root.rstrip("/")
        self.traffic = Traffic()
        self._url = url or (lambda key: f"{self.root}/{quote(key)}")
        self._policy = policy
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Session] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"HTTPStore({self.root!r})"

    def address(self, key: str) -> str:
        """Return the URL of `key`."""
        return self._url(key)

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[Piece]:
        """Return the bytes of every range: see `Store.read`."""
        clock = Clock(self._policy)

        async def read_all() -> list[Piece]:
            return await _together([self._read(key, r, etag, clock) for r in ranges])

        return one_version(key, loop.run(read_all()), self.address(key))

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        """Return the objects below every prefix: see `Store.listings`."""
        clock = Clock(self._policy)

        async def list_all() -> list[list[ListedObject]]:
            return await _together([self._list(prefix, clock) for prefix in prefixes])

        return loop.run(list_all())

    async def _read(self, key: str, wanted: ByteRange, etag: str | None, clock: Clock) -> Piece:
        headers = {"Range": f"bytes={wanted.start}-{wanted.stop - 1}"}
        if etag is not None:
            headers["If-Match"] = f'"{etag}"'
        answer = await self._ask(self.address(key), headers, clock, key=key, expected=wanted)
        if answer.status == 416:  # the range begins at or behind the end
            match = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
            if match is None:
                # S3 tells the size in the error's body: <ActualObjectSize>
                return Piece(b"", int(_s3_field(answer.body, "ActualObjectSize") or 0), etag)
            return Piece(b"", int(match[1]), _unquoted(answer.headers.get("ETag")) or etag)
        start, stop, size = _content_range(answer.headers.get("Content-Range", ""))
        if (start, stop) != (wanted.start, min(wanted.stop, size)):
            message = (
                f"{self.address(key)} answered with other bytes than asked for: expected "
                f"{wanted.start}-{min(wanted.stop, size) - 1}, found {answer.headers.get('Content-Range')!r}"
            )
            raise StoreUnavailableError(message, key=key)
        found = _unquoted(answer.headers.get("ETag"))
        if etag is not None and found is not None and found != etag:  # a server that ignores If-Match
            raise _changed(self.address(key), key, etag, found)
        return Piece(answer.body, size, found)

    async def _list(self, prefix: str, clock: Clock) -> list[ListedObject]:
        found: list[ListedObject] = []
        token = ""
        while True:
            url = f"{self.root}?list-type=2&prefix={quote(prefix, safe='')}"
            if token:
                url += f"&continuation-token={quote(token, safe='')}"
            answer = await self._ask(url, {}, clock, key=prefix)
            page, token = _listing(answer.body, url)
            found += page
            if not token:
                return found

    async def _ask(
        self, url: str, headers: dict[str, str], clock: Clock, *, key: str, expected: ByteRange | None = None
    ) -> _Answer:
        """Send one request until it is answered for good: a 206 (200 for a listing), or a 416."""
        session = await self._session()
        good = 200 if expected is None else 206
        tried = 0
        while True:
            tried += 1
            answer: _Answer | None = None
            failure = ""
            cause: Exception | None = None
            try:
                async with session.slots:
                    answer = await self._send(session.client, url, headers, clock.left)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure, cause = _first_line(error), error
            if answer is not None:
                if answer.status == good or (answer.status == 416 and expected is not None):
                    return answer
                if answer.status not in RETRIED:
                    raise _error_of(answer, url, key, headers, tried)
                failure = f"HTTP {answer.status} {_s3_field(answer.body, 'Code')}".rstrip()
            pause = clock.wait(tried, answer.headers.get("Retry-After") if answer else None)
            if pause is None:
                what = f" bytes {expected.start}-{expected.stop - 1}" if expected else ""
                message = (
                    f"no answer from {url}{what} after {tried} tries in {clock.elapsed:.1f} s (last: {failure}). "
                    "Check the connection, or run 'hst-cloud doctor'."
                )
                kind = ThrottledError if answer is not None and answer.status in {429, 503} else StoreUnavailableError
                request_id = answer.headers.get("x-amz-request-id") if answer else None
                raise kind(message, key=key, url=url, attempts=tried, request_id=request_id) from cause
            await asyncio.sleep(pause)

    async def _send(self, client: aiohttp.ClientSession, url: str, headers: dict[str, str], seconds: float) -> _Answer:
        self.traffic.requests += 1
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=self._policy.connect, sock_read=self._policy.read)
        # No redirect is followed: bytes of another host are not the bucket's.
        async with client.get(
            URL(url, encoded=True), headers=headers, allow_redirects=False, timeout=timeout
        ) as response:
            body = await response.read()
            self.traffic.bytes += len(body)
            return _Answer(response.status, response.headers, body)

    async def _session(self) -> _Session:
        running = asyncio.get_running_loop()
        session = self._sessions.get(running)
        if session is None:
            session = self._sessions[running] = _Session()
            loop.at_exit(session.client.close)
        return session


@functools.lru_cache(maxsize=16)
def _store_at(bucket: str) -> HTTPStore:
    return HTTPStore(bucket)


def public_store() -> HTTPStore:
    """Return the anonymous public bucket, or the one that ``HST_CLOUD_ENDPOINT`` names. Sends nothing."""
    return _store_at(endpoints().bucket)


class _Answer(NamedTuple):
    status: int
    headers: Any  # aiohttp's case-insensitive mapping
    body: bytes


@dataclass(slots=True)
class _Session:
    """A client of one event loop. Neither proxies nor credentials are taken from the environment."""

    client: aiohttp.ClientSession = field(
        default_factory=lambda: aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=IN_FLIGHT, ttl_dns_cache=60),
            headers={"Accept-Encoding": "identity", "User-Agent": "hst_cloud"},
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
    )
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all of `work` at once; the first failure cancels the rest and is raised as itself."""
    tasks = [asyncio.ensure_future(w) for w in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _unquoted(etag: str | None) -> str | None:
    return etag.removeprefix("W/").strip('"') if etag else None


def _content_range(text: str) -> tuple[int, int, int]:
    """Return start, stop (exclusive) and the object's size of a Content-Range header; RFC 9110, 14.4."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", text)
    if match is None:
        return -1, -1, -1
    return int(match[1]), int(match[2]) + 1, int(match[3])


def _listing(body: bytes, url: str) -> tuple[list[ListedObject], str]:
    """Return the objects of one page of ListObjectsV2 and the token of the next page, empty at the end."""
    try:
        root = ET.fromstring(body)  # noqa: S314  # expat 2.4.1 and later bound entity expansion
    except ET.ParseError as error:
        message = f"the listing at {url} is no XML: {error}; found {body[:80]!r}"
        raise StoreUnavailableError(message, url=url) from error
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    page = [
        ListedObject(
            entry.findtext(f"{space}Key") or "",
            int(entry.findtext(f"{space}Size") or 0),
            _unquoted(entry.findtext(f"{space}ETag")),
        )
        for entry in root.iter(f"{space}Contents")
    ]
    return page, root.findtext(f"{space}NextContinuationToken") or ""


def _s3_field(body: bytes, name: str) -> str:
    """Return one field of S3's XML error, empty where there is none."""
    try:
        return ET.fromstring(body).findtext(name) or ""  # noqa: S314
    except ET.ParseError:
        return ""


def _changed(address: str, key: str, expected: str, found: str | None) -> ObjectChangedError:
    message = (
        f"{address} was replaced since it was first read: expected ETag {expected}, "
        f"found {found or 'another'}. Open it again."
    )
    return ObjectChangedError(message, key=key)


def _error_of(answer: _Answer, url: str, key: str, headers: dict[str, str], tried: int) -> StoreError:
    """Translate an answer that no retry will mend."""
    code, text = _s3_field(answer.body, "Code"), _s3_field(answer.body, "Message")
    request_id = answer.headers.get("x-amz-request-id")
    said = f"HTTP {answer.status} {code or ''}{': ' + text if text else ''}".strip()
    known = {"key": key, "url": url, "request_id": request_id}
    match answer.status:
        case 404 if code == "NoSuchBucket":
            return ObjectNotFoundError(f"there is no bucket at {url} ({said})", attempts=tried, **known)
        case 404:
            return ObjectNotFoundError(
                f"{url} does not exist ({said}). hst_cloud.resolve(..., verify=True) looks what there is.",
                attempts=tried,
                **known,
            )
        case 401 | 403:
            return AccessDeniedError(
                f"{url} may not be read anonymously ({said}); S3 says so too of keys that do not exist where "
                "listing is not allowed. Exclusive-access data are not in the public bucket.",
                attempts=tried,
                **known,
            )
        case 412:
            error = _changed(url, key, headers.get("If-Match", "").strip('"'), None)
            error.url, error.request_id, error.attempts = url, request_id, tried
            return error
        case 301 | 302 | 307 | 308:
            region = answer.headers.get("x-amz-bucket-region") or "another region"
            return WrongRegionError(f"{url} is served from {region} ({said})", attempts=tried, **known)
        case 200:
            return StoreUnavailableError(
                f"{url} ignored the byte range and sent the whole object ({len(answer.body)} bytes)",
                attempts=tried,
                **known,
            )
        case _:
            return StoreUnavailableError(f"{url} answered with {said}", attempts=tried, **known)
