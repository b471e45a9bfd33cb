"""From keys to bytes: what a store is, and the public bucket as one.

A store reads batches of byte ranges and lists batches of prefixes; one batch is one round trip.
`HTTPStore` sends anonymous, unsigned HTTPS requests, which is all that the public bucket asks for.
It is the only thing in this package that knows the HTTP engines (``docs/decisions/engine.rst`` says why these two);
what the answers mean is `hst_cloud.store.s3`'s knowledge, how often to ask that of `hst_cloud.store.policy`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import quote, urlsplit

from hst_cloud.cost.ledger import admitted, allow, source_of
from hst_cloud.errors import ObjectChangedError
from hst_cloud.settings import endpoints
from hst_cloud.store import loop
from hst_cloud.store.asking import ask
from hst_cloud.store.exchange import Engine, Request
from hst_cloud.store.memory import unwritten
from hst_cloud.store.pace import Pace
from hst_cloud.store.policy import S3, Clock, Policy
from hst_cloud.store.receivers import Page, Part
from hst_cloud.store.s3 import Body, ListedObject, Piece, Question, Unusable, listing_page, verdict
from hst_cloud.store.slots import Slots, connections
from hst_cloud.store.streams import Streams
from hst_cloud.store.transfers import Transfers
from hst_cloud.values import ByteRange

__all__ = ["Concurrent", "HTTPStore", "ListedObject", "Piece", "Store", "Traffic", "one_version", "public_store"]

T = TypeVar("T")
P = TypeVar("P", bound=Page)

_log = logging.getLogger("hst_cloud.store")

# Bytes of a range that mostly come in one piece: the buffer of `hst_cloud.store.transfers`.
WHOLE = 256 * 1024
# Bytes from which on a range is read by a thread, into memory of its own: ``docs/decisions/engine.rst``.
LARGE = 2 * 1024 * 1024
# Bytes of a page of a listing: 1,000 keys of 1,024 bytes at most, their other fields, and escapes.
PAGE_SIZE = 16 * 1024 * 1024
# Pages of one listing: a million keys below one prefix are no visit, but a server that turns in circles.
PAGES = 1000

# Versions whose sizes are remembered.
SIZES = 4096


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
        self._sizes: dict[tuple[str, str], int] = {}
        self._host = f"{urlsplit(self.root).netloc} {policy}"  # a text, since it is looked up for each request

    def __repr__(self) -> str:
        return f"HTTPStore({self.root!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sizes": {}}  # another process learns its own

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
        known = None if etag is None else self._sizes.get((key, etag))
        places: Sequence[memoryview | None] = into or [None] * len(ranges)
        asked = [
            self._read(Question(key, url, wanted), Body(wanted, etag, known, place or _room(wanted)), clock, bound)
            for wanted, place in zip(ranges, places, strict=True)
        ]
        # Of one, a task would cost more than the request's own logic.
        pieces = [await asked[0]] if len(asked) == 1 else one_version(key, await _together(asked), url)
        if pieces:
            self._remember(key, pieces[0])
        return pieces

    def _remember(self, key: str, piece: Piece) -> None:
        """Remember the size of a version: by it, a refused range shows an object that was replaced meanwhile."""
        if piece.etag is not None:
            self._sizes[key, piece.etag] = piece.size
            if len(self._sizes) > SIZES:
                del self._sizes[next(iter(self._sizes))]

    def room(self, in_flight: int) -> AbstractContextManager[None]:
        """Let at least so many of the process's requests be in flight, on the private loop, while the block lasts."""
        return self._pace().slots.raised(in_flight)

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        """Return the objects below every prefix: see `Store.listings`."""
        clock = Clock(self._policy, self._policy.allowance(requests=len(prefixes), size=0))

        async def list_all() -> list[list[ListedObject]]:
            return await _together([self._list(prefix, clock) for prefix in prefixes])

        return loop.run(list_all())

    async def _read(self, question: Question, body: Body, clock: Clock, bound: Slots | None) -> Piece:
        def part() -> tuple[Mapping[str, str], Part]:
            return body.headers(), Part(body)

        try:
            return await self._ask(question, part, Part.piece, clock, bound)
        finally:
            body.drop()

    async def _list(self, prefix: str, clock: Clock) -> list[ListedObject]:
        def page() -> tuple[Mapping[str, str], Page]:
            return {}, Page(PAGE_SIZE)

        def entries(page: Page) -> tuple[list[ListedObject], str]:
            if page.status != 200:
                raise verdict(page.answer)
            return listing_page(page.answer.body, prefix)

        first = f"{self.root}?list-type=2&prefix={quote(prefix, safe='')}"
        found: list[ListedObject] = []
        url, tokens = first, {""}
        while True:
            question = Question(prefix, url)
            listed, token = await self._ask(question, page, entries, clock)
            found += listed
            if not token:
                return found
            if token in tokens or len(tokens) >= PAGES:
                trouble = Unusable(f"gave a listing without end: {len(found)} keys on {len(tokens)} pages")
                raise trouble.as_error(question, tried=len(tokens), elapsed=clock.elapsed)
            tokens.add(token)
            url = f"{first}&continuation-token={quote(token, safe='')}"

    async def _ask(
        self,
        question: Question,
        attempt: Callable[[], tuple[Mapping[str, str], P]],
        read: Callable[[P], T],
        clock: Clock,
        bound: Slots | None = None,
    ) -> T:
        """Send requests until `read` makes something of an answer: see `hst_cloud.store.asking.ask`."""
        session, policy = loop.resource(_Session), self._policy

        async def send(headers: Mapping[str, str], page: Page, *, fresh: bool) -> None:
            with await admitted(self._source, size=page.expected, what=str(question)) as paid:
                self.traffic.requests += 1
                began = time.monotonic()
                total = min(clock.attempt, paid.seconds)
                request = Request(question.url, headers, total, policy, fresh)
                try:
                    await session.engine(question.wanted).get(request, page)
                except Unusable:
                    if not page.whole:  # the last bytes may come while a request is given up as too slow
                        raise
                finally:
                    if page.sent == math.inf:  # it waited for a thread in vain
                        self.traffic.requests -= 1
                        paid.unsent()
                    self.traffic.bytes += page.came
                    paid.bytes += page.came
                    spent = (time.monotonic() - began) * 1000
                    _log.debug("GET %s: HTTP %d after %.0f ms", question, page.status, spent)

        return await ask(question, attempt, read, send=send, clock=clock, pace=self._pace(), bound=bound)

    def _pace(self) -> Pace:
        """Return what is known of the host; on the private loop."""
        paces = loop.resource(_Session).paces
        if self._host not in paces:
            paces[self._host] = Pace(self._policy, most=connections())
        return paces[self._host]


@functools.lru_cache(maxsize=16)
def _store_at(bucket: str) -> HTTPStore:
    return HTTPStore(bucket)


def public_store() -> HTTPStore:
    """Return the anonymous public bucket, or the one that ``HST_CLOUD_ENDPOINT`` names. Sends nothing."""
    return _store_at(endpoints().bucket)


@dataclass(slots=True)
class _Session:
    """The connections of one event loop, and what has been learnt of each host."""

    transfers: Engine = field(default_factory=Transfers)
    streams: Engine = field(default_factory=Streams)
    paces: dict[str, Pace] = field(default_factory=dict)

    def engine(self, wanted: ByteRange | None) -> Engine:
        """Return what reads so much fastest."""
        return self.streams if wanted is not None and wanted.size >= LARGE else self.transfers

    async def close(self) -> None:
        await self.transfers.close()
        await self.streams.close()


def _room(wanted: ByteRange) -> memoryview | None:
    """Return memory for a range that comes in several pieces; another is kept as it comes."""
    return unwritten(wanted.size) if wanted.size > WHOLE else None


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all of `work` at once; the first failure cancels the rest, waits for it, and is raised as itself."""
    tasks = [asyncio.ensure_future(w) for w in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
