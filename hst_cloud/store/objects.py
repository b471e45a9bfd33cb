"""From keys to bytes: what a store is, and the public bucket as one.

A store reads batches of byte ranges and lists batches of prefixes; one batch is one round trip.
`HTTPStore` sends anonymous, unsigned HTTPS requests, which is all that the public bucket asks for.
It is the only thing in this package that knows the HTTP engine (``docs/decisions/engine.rst`` says why this one);
what the answers mean is `hst_cloud.store.s3`'s knowledge, how often to ask that of `hst_cloud.store.policy`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import quote

import aiohttp
from yarl import URL

from hst_cloud.cost.ledger import Receipt, admitted, allow, patience, source_of
from hst_cloud.errors import ObjectChangedError
from hst_cloud.settings import endpoints
from hst_cloud.store import loop
from hst_cloud.store.policy import S3, Clock, Policy
from hst_cloud.store.s3 import Answer, Body, ListedObject, Piece, Question, Unusable, beyond_end, listing_page, verdict
from hst_cloud.store.slots import Slots
from hst_cloud.values import ByteRange

__all__ = ["Concurrent", "HTTPStore", "ListedObject", "Piece", "Store", "Traffic", "one_version", "public_store"]

T = TypeVar("T")

_log = logging.getLogger("hst_cloud.store")

# Bytes of an answer without the bytes asked for that are looked at: S3's errors have some hundreds.
ERROR_SIZE = 64 * 1024
# Bytes of a page of a listing: 1,000 keys of 1,024 bytes at most, their other fields, and escapes.
PAGE_SIZE = 16 * 1024 * 1024
# Pages of one listing: a million keys below one prefix are no visit, but a server that turns in circles.
PAGES = 1000

_UNBOUND = nullcontext()


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


@runtime_checkable
class Concurrent(Store, Protocol):
    """A store that is read on the private loop, so that many files need no thread each."""

    async def pieces(
        self,
        key: str,
        ranges: Sequence[ByteRange],
        *,
        etag: str | None = None,
        into: Sequence[memoryview | None] | None = None,
        bound: Slots | None = None,
    ) -> list[Piece]:
        """Return what `Store.read` returns, to be awaited on the private loop.

        Parameters
        ----------
        key, ranges, etag
            As in `Store.read`.
        into : sequence of memoryview, optional
            A buffer for each range and of its size, which its bytes are received into; the piece is then a view of
            it. After a failure they hold anything. None for a range whose bytes are kept as they come.
        bound : Slots, optional
            The caller's own bound on requests in flight, within that of the process.
        """

    def read_into(
        self, key: str, ranges: Sequence[ByteRange], into: Sequence[memoryview | None], *, etag: str | None = None
    ) -> list[Piece]:
        """Read every range into its buffer: see `pieces`."""

    def room(self, in_flight: int) -> AbstractContextManager[None]:
        """Let at least so many of the process's requests be in flight while the block lasts, on the private loop."""


def one_version(key: str, pieces: Sequence[Piece], address: str) -> list[Piece]:
    """Return `pieces` if they are all of one version of the object.

    Raises
    ------
    ObjectChangedError
        They are not.
    """
    # A range behind the end is refused, and a refusal may name no version; the size must agree all the same.
    versions = {piece.etag for piece in pieces if piece.data or piece.etag is not None}
    if len(versions) > 1 or len({piece.size for piece in pieces}) > 1:
        seen = sorted({(piece.size, piece.etag) for piece in pieces}, key=str)
        found = " and ".join(f"{size} bytes with ETag {etag}" for size, etag in seen)
        message = f"{address} was replaced while it was being read: found {found}. Open it again."
        raise ObjectChangedError(message, key=key)
    etag = next(iter(versions), None)
    return [piece._replace(etag=etag) for piece in pieces]


class HTTPStore:
    """Objects below one address, read by anonymous HTTP range requests.

    Constructing one sends nothing. It may be shared by threads, pickled, and used after a fork.
    Connections and the bound on requests in flight are the process's: all stores share them.

    Parameters
    ----------
    root : str
        Address of a bucket, as in `hst_cloud.settings.Endpoints`.
    url : callable, optional
        Makes the address of a key; by default the key is appended to `root`.
    policy : Policy, optional
        Time-outs, tries, and requests in flight.

    Notes
    -----
    Neither credentials nor proxies are taken from the environment, and no redirect is followed.
    """

    def __init__(self, root: str, *, url: Callable[[str], str] | None = None, policy: Policy = S3) -> None:
        self.root = root.rstrip("/")
        self.traffic = Traffic()
        self._url = url
        self._policy = policy
        self._source = source_of(self.root)

    def __repr__(self) -> str:
        return f"HTTPStore({self.root!r})"

    def address(self, key: str) -> str:
        """Return the URL of `key`."""
        return self._url(key) if self._url else f"{self.root}/{quote(key)}"

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[Piece]:
        """Return the bytes of every range: see `Store.read`."""
        return loop.run(self.pieces(key, ranges, etag=etag))

    def read_into(
        self, key: str, ranges: Sequence[ByteRange], into: Sequence[memoryview | None], *, etag: str | None = None
    ) -> list[Piece]:
        """Read every range into the buffer of its size that stands for it in `into`; the pieces are views of them."""
        return loop.run(self.pieces(key, ranges, etag=etag, into=into))

    async def pieces(
        self,
        key: str,
        ranges: Sequence[ByteRange],
        *,
        etag: str | None = None,
        into: Sequence[memoryview | None] | None = None,
        bound: Slots | None = None,
    ) -> list[Piece]:
        """Return the bytes of every range; to be awaited on the private loop. See `Concurrent.pieces`."""
        if any(not 0 <= wanted.start < wanted.stop for wanted in ranges):
            message = f"ranges of {key} must not be empty or negative, found {list(ranges)}"
            raise ValueError(message)
        size = sum(wanted.size for wanted in ranges)
        clock = Clock(self._policy, self._policy.allowance(requests=len(ranges), size=size))
        url = self.address(key)
        allow(self._source, requests=len(ranges), size=size, what=url)
        places: Sequence[memoryview | None] = into or [None] * len(ranges)
        asked = [
            self._read(Question(key, url, wanted), Body(wanted, etag, place), clock, bound)
            for wanted, place in zip(ranges, places, strict=True)
        ]
        if len(asked) == 1:  # a task would cost more than the request's own logic
            return [await asked[0]]
        return one_version(key, await _together(asked), url)

    def room(self, in_flight: int) -> AbstractContextManager[None]:
        """Let at least so many of the process's requests be in flight, on the private loop, while the block lasts."""
        return loop.resource(_Session).slots(self._policy).raised(in_flight)

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        """Return the objects below every prefix: see `Store.listings`."""
        clock = Clock(self._policy, self._policy.allowance(requests=len(prefixes), size=0))

        async def list_all() -> list[list[ListedObject]]:
            return await _together([self._list(prefix, clock) for prefix in prefixes])

        return loop.run(list_all())

    async def _read(self, question: Question, body: Body, clock: Clock, bound: Slots | None) -> Piece:
        async def take(response: aiohttp.ClientResponse, paid: Receipt) -> Piece:
            if response.status != 206:
                answer = await self._answer(response, paid, ERROR_SIZE)
                nothing = beyond_end(answer, body)
                if nothing is None:
                    raise verdict(answer, body)
                return nothing
            missing = body.begin(response.headers)
            async for chunk in response.content.iter_any():
                self.traffic.bytes += len(chunk)
                paid.got(len(chunk))
                missing -= len(chunk)
                if missing < 0:
                    break
                body.add(chunk)
            if missing:
                if missing < 0:
                    body.drop()
                text = f"sent {'more' if missing < 0 else f'{missing} bytes less'} than its Content-Range says"
                raise Unusable(text, again=True, headers=response.headers)
            return body.piece()

        try:
            return await self._ask(question, body, take, clock, bound)
        finally:
            body.drop()

    async def _list(self, prefix: str, clock: Clock) -> list[ListedObject]:
        async def take(response: aiohttp.ClientResponse, paid: Receipt) -> tuple[list[ListedObject], str]:
            answer = await self._answer(response, paid, PAGE_SIZE)
            if answer.status != 200:
                raise verdict(answer)
            return listing_page(answer.body, prefix)

        first = f"{self.root}?list-type=2&prefix={quote(prefix, safe='')}"
        found: list[ListedObject] = []
        url, tokens = first, {""}
        while True:
            page, token = await self._ask(Question(prefix, url), None, take, clock)
            found += page
            if not token:
                return found
            if token in tokens or len(tokens) >= PAGES:
                trouble = Unusable(f"gave a listing without end: {len(found)} keys on {len(tokens)} pages")
                raise trouble.as_error(Question(prefix, url), tried=len(tokens), elapsed=clock.elapsed)
            tokens.add(token)
            url = f"{first}&continuation-token={quote(token, safe='')}"

    async def _ask(
        self,
        question: Question,
        body: Body | None,
        take: Callable[[aiohttp.ClientResponse, Receipt], Awaitable[T]],
        clock: Clock,
        bound: Slots | None = None,
    ) -> T:
        """Send one request until `take` is content with an answer, the tries are spent, or time is up."""
        session = loop.resource(_Session)
        tried = 0
        while True:
            try:
                async with bound or _UNBOUND, session.slots(self._policy):
                    tried += 1
                    return await self._send(session.client, question, body, take, clock)
            except (Unusable, aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble = error if isinstance(error, Unusable) else _trouble(error)
                pause = clock.wait(tried, trouble.headers.get("Retry-After")) if trouble.again else None
                if pause is None:
                    raise trouble.as_error(question, tried=tried, elapsed=clock.elapsed) from (
                        None if trouble is error else error
                    )
            await asyncio.sleep(min(pause, patience()))

    async def _send(
        self,
        client: aiohttp.ClientSession,
        question: Question,
        body: Body | None,
        take: Callable[[aiohttp.ClientResponse, Receipt], Awaitable[T]],
        clock: Clock,
    ) -> T:
        headers, began, status = body.headers() if body else {}, clock.elapsed, 0
        with await admitted(self._source, size=body.missing if body else None, what=str(question)) as paid:
            self.traffic.requests += 1
            policy, whole = self._policy, min(clock.attempt, paid.seconds)
            limits = aiohttp.ClientTimeout(total=whole, sock_connect=policy.connect, sock_read=policy.read)
            # No redirect is followed: bytes of another host are not the bucket's.
            try:
                url = URL(question.url, encoded=True)
                async with client.get(url, headers=headers, allow_redirects=False, timeout=limits) as response:
                    status = response.status
                    return await take(response, paid)
            finally:
                _log.debug("GET %s: HTTP %d after %.0f ms", question, status, (clock.elapsed - began) * 1000)

    async def _answer(self, response: aiohttp.ClientResponse, paid: Receipt, most: int) -> Answer:
        """Read an answer as far as `most` bytes; what lies behind is never received."""
        parts: list[bytes] = []
        left = paid.room(most)
        while left > 0 and (chunk := await response.content.read(left)):
            self.traffic.bytes += len(chunk)
            paid.got(len(chunk))
            parts.append(chunk)
            left -= len(chunk)
        return Answer(response.status, response.headers, b"".join(parts))


@functools.lru_cache(maxsize=16)
def _store_at(bucket: str) -> HTTPStore:
    return HTTPStore(bucket)


def public_store() -> HTTPStore:
    """Return the anonymous public bucket, or the one that ``HST_CLOUD_ENDPOINT`` names. Sends nothing."""
    return _store_at(endpoints().bucket)


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),  # the slots bound the connections
        headers={"Accept-Encoding": "identity", "User-Agent": "hst_cloud"},
        auto_decompress=False,  # an object is what is stored, whatever Content-Encoding its metadata name
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


@dataclass(slots=True)
class _Session:
    """The connections of one event loop, and the bounds on requests in flight: one for each kind of service."""

    client: aiohttp.ClientSession = field(default_factory=_client)
    bounds: dict[Policy, Slots] = field(default_factory=dict)

    def slots(self, policy: Policy) -> Slots:
        if policy not in self.bounds:
            self.bounds[policy] = Slots(policy.in_flight)
        return self.bounds[policy]

    async def close(self) -> None:
        await self.client.close()


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all of `work` at once; the first failure cancels the rest, waits for it, and is raised as itself."""
    tasks = [asyncio.ensure_future(w) for w in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _trouble(error: Exception) -> Unusable:
    """Translate what the engine raises; the first line of its text is kept."""
    said = (str(error).splitlines() or [""])[0]
    name = type(error).__name__
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        advice = "The address or this machine's certificates (SSL_CERT_FILE) are wrong; nothing was read."
        return Unusable(f"gave no trusted connection: {name}: {said}", advice=advice)
    if isinstance(error, TimeoutError):
        said = said or "took too long"
    return Unusable(f"gave no answer: {name}: {said}", again=True)
