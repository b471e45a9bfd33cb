"""A small HTTP/1.1 server on one event loop: what the embedded archive answers with.

It is written for one purpose, to be out of the way of a measurement: an `asyncio.Protocol` without tasks, streams or
middleware. A request is parsed, given to a function, and its answer is sent by `_Connection._pump`, the one place
where an answer becomes bytes on the wire (and so the place for delays and faults).

Connections are kept alive; pipelined requests are answered in their order; bodies carry a Content-Length.
A file's bytes are read when the socket can take them, never sooner, so a slow reader costs no memory.

Sources: RFC 9112 (HTTP/1.1), RFC 9110 (semantics).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import unquote

__all__ = ["Answer", "Ask", "FilePart", "OpenFile", "Server", "Work"]

_LOG = logging.getLogger("hst_cloud.testing")

_CHUNK = 256 * 1024  # bytes read from a file and written at once; larger ones gained nothing in measurements
_LONGEST_HEAD = 64 * 1024
_LONGEST_BODY = 64 * 1024 * 1024
_DEBT = 0.002  # seconds that a paced connection may run ahead: timers of epoll tick in milliseconds
_STRIDE = 0.01  # seconds' worth of a paced body that are written at once

_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Ask:
    """One request as received."""

    method: str
    """In capitals."""
    path: str
    """Decoded path; empty where it is no UTF-8."""
    query: str
    """What follows the question mark, not decoded."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""
    """The request's body."""
    in_flight: int = 1
    """Requests that were being answered when this one came, itself included."""


class OpenFile:
    """A file open for reading, closed when nobody holds it any more."""

    __slots__ = ("_fd",)

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def read(self, start: int, size: int) -> bytes:
        """Return up to `size` bytes from `start`; fewer at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self._fd, size, start)
        os.lseek(self._fd, start, os.SEEK_SET)  # Windows; only the loop's thread reads bodies
        return os.read(self._fd, size)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)


@dataclass(slots=True)
class _Memory:
    """Bytes that are read as a file is."""

    data: bytes

    def read(self, start: int, size: int) -> bytes:
        return self.data[start : start + size]


@dataclass(slots=True)
class FilePart:
    """The bytes ``[start, stop)`` of a file as a body."""

    file: OpenFile | _Memory
    """The file."""
    start: int
    """First byte."""
    stop: int
    """One past the last byte."""


@dataclass(slots=True)
class Answer:
    """What shall be sent back. Date, Content-Length and Connection are added on the way."""

    status: int
    """HTTP status."""
    headers: dict[str, str] = field(default_factory=dict)
    """Header fields in the order in which they are sent."""
    body: bytes | FilePart = b""
    """The body, also of an answer to HEAD: its length is told, its bytes are not sent."""
    close: bool = False
    """Whether the connection ends with this answer."""

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stop - self.body.start


Work: TypeAlias = Callable[[], Answer]
"""An answer that takes time, to be worked out on another thread."""


class Server:
    """Answers requests on the running event loop; to be made and used on it.

    Parameters
    ----------
    handle : callable
        Takes an `Ask`; returns its `Answer` at once, or a `Work` that will take time.
    latency : float
        Seconds from the arrival of a request to the first byte of its answer.
    bandwidth : float or None
        Bytes per second of each connection.
    seen : callable or None
        Told of each request and its answer before the first byte is sent.
    """

    def __init__(
        self,
        handle: Callable[[Ask], Answer | Work],
        *,
        latency: float = 0.0,
        bandwidth: float | None = None,
        seen: Callable[[Ask, Answer], None] | None = None,
    ) -> None:
        self.handle = handle
        self.latency = latency
        self.bandwidth = bandwidth
        self.seen = seen
        self.loop = asyncio.get_running_loop()
        self.workers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="hst_cloud archive")
        self.connections: set[_Connection] = set()
        self.in_flight = 0

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(self)

    def close(self) -> None:
        """Drop every connection and end the workers."""
        for connection in list(self.connections):
            connection.abort()
        self.workers.shutdown(wait=True, cancel_futures=True)


class _Connection(asyncio.Protocol):
    """One client. At any time it either waits for a request or answers one."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._ask: Ask | None = None  # the request that is being answered
        self._partial: Ask | None = None  # a request whose body has not all come
        self._arrived = 0.0  # when the request was complete
        self._rest: FilePart | None = None  # what is still to be sent of the answer that has begun
        self._close = False
        self._reading = True
        self._writable = True
        self._timer = False  # whether the paced line will come back by itself
        self._free = 0.0  # when the paced line will have carried what was sent

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._transport = None
        self._server.connections.discard(self)
        self._finish()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._ask is None:
            self._next()
        elif len(self._received) > _LONGEST_HEAD and self._transport is not None and self._reading:
            self._reading = False  # a client that pipelines without end waits for its answers
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._close = True  # a client that will ask no more still gets its answer
        return self._ask is not None

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._free = max(self._free, self._server.loop.time())
        self._pump()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    # -- from bytes to a request

    def _next(self) -> None:
        """Take the next request from what was received, if it is complete."""
        while self._ask is None and self._transport is not None:
            ask = self._partial
            if ask is None:
                end = self._received.find(b"\r\n\r\n")
                if end < 0:
                    if len(self._received) > _LONGEST_HEAD:
                        self._refuse(431)
                    return
                ask = _parse(bytes(self._received[:end]))
                if ask is None:
                    self._refuse(400)
                    return
                del self._received[: end + 4]
                length = ask.headers.get("content-length", "0")
                if "transfer-encoding" in ask.headers or not length.isdecimal():
                    self._refuse(411)
                    return
                if int(length) > _LONGEST_BODY:
                    self._refuse(413)
                    return
                if ask.headers.get("expect", "").lower() == "100-continue":
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            length = int(ask.headers.get("content-length", "0"))
            if len(self._received) < length:
                self._partial = ask
                return
            self._partial = None
            if length:
                ask.body = bytes(self._received[:length])
                del self._received[:length]
            self._take(ask)

    def _refuse(self, status: int) -> None:
        self._received.clear()
        self._take(Ask("", "", "", {"connection": "close"}), Answer(status, close=True))

    # -- from a request to its answer

    def _take(self, ask: Ask, answer: Answer | None = None) -> None:
        server = self._server
        server.in_flight += 1
        ask.in_flight = server.in_flight
        self._ask = ask
        self._arrived = server.loop.time()
        try:
            found = answer if answer is not None else server.handle(ask)
        except Exception as error:  # noqa: BLE001  # whatever fails is an answer of status 500, not a dead server
            found = _failure(error)
        if isinstance(found, Answer):
            self._answer(found)
        else:
            server.loop.run_in_executor(server.workers, found).add_done_callback(self._worked)

    def _worked(self, future: asyncio.Future[Answer]) -> None:
        if future.cancelled() or self._ask is None:
            return
        error = future.exception()
        self._answer(_failure(error) if error is not None else future.result())

    def _answer(self, answer: Answer) -> None:
        """Tell of the answer, then send it when its time has come."""
        server, ask = self._server, self._ask
        if ask is None or self._transport is None:
            return
        if server.seen is not None and ask.method:
            server.seen(ask, answer)
        wait = self._arrived + server.latency - server.loop.time() if server.latency else 0.0
        if wait > 0:
            server.loop.call_later(wait, self._begin, ask, answer)
        else:
            self._begin(ask, answer)

    def _begin(self, ask: Ask, answer: Answer) -> None:
        """Send the head and, where nothing paces it, a small body with it."""
        server, transport = self._server, self._transport
        if transport is None or self._ask is not ask:
            return
        self._close = self._close or answer.close or ask.headers.get("connection", "").lower() == "close"
        head = _head(answer, close=self._close)
        body = answer.body
        part = FilePart(_Memory(body), 0, len(body)) if isinstance(body, bytes) else body
        if ask.method == "HEAD" or answer.status in {204, 304}:
            part.start = part.stop
        elif server.bandwidth is None and part.stop - part.start <= _CHUNK:
            data = part.file.read(part.start, part.stop - part.start)
            part.start += len(data)
            head += data
        self._rest = part
        if server.bandwidth is not None:
            self._free = max(self._free, server.loop.time())
        transport.write(head)
        self._pump()

    def _pump(self) -> None:
        """Send the rest of the body as fast as the socket and the bandwidth allow; then take the next request.

        Every byte of every answer is sent by `_begin` or here.
        """
        server, transport, part = self._server, self._transport, self._rest
        if transport is None or part is None or self._timer:
            return
        while part.start < part.stop:
            if not self._writable:
                return  # resume_writing comes back
            size = min(_CHUNK, part.stop - part.start)
            if server.bandwidth is not None:
                size = min(size, max(1, int(server.bandwidth * _STRIDE)))
                due = self._free + size / server.bandwidth
                wait = due - server.loop.time()
                if wait > _DEBT:
                    self._timer = True
                    server.loop.call_later(wait, self._tick)
                    return
                self._free = due
            data = part.file.read(part.start, size)
            if not data:  # the file has become shorter than it was: what was promised cannot be sent
                self.abort()
                return
            part.start += len(data)
            transport.write(data)
        if not self._writable:
            return
        self._finish()
        if self._close:
            transport.close()
            return
        if not self._reading:
            self._reading = True
            transport.resume_reading()
        if self._received:
            server.loop.call_soon(self._next)  # not at once: a long pipeline must not nest

    def _tick(self) -> None:
        self._timer = False
        self._pump()

    def _finish(self) -> None:
        if self._ask is not None:
            self._ask = self._rest = None
            self._server.in_flight -= 1


def _parse(head: bytes) -> Ask | None:
    """Read a request's head, or return None if it is none; RFC 9112, sections 3 and 5."""
    first, *lines = head.lstrip(b"\r\n").decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        headers[name.lower()] = value.strip()
    target, _, query = words[1].partition("?")
    if not target.startswith("/"):  # the absolute form, which proxies are sent
        target = "/" + target.partition("://")[2].partition("/")[2]
    path = target
    if "%" in target or not target.isascii():
        try:
            path = unquote(target, errors="strict")
        except UnicodeDecodeError:
            path = ""
    if words[2] == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return Ask(words[0].upper(), path, query, headers)


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _head(answer: Answer, *, close: bool) -> bytes:
    """Return the status line and the header fields as they are sent."""
    status = answer.status
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nDate: {_date(int(time.time()))}\r\nServer: hst_cloud"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if status not in {204, 304}:
        lines.append(f"Content-Length: {answer.length}")
    lines.append("Connection: close\r\n\r\n" if close else "Connection: keep-alive\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace")


def _failure(error: BaseException) -> Answer:
    _LOG.error("the embedded archive failed to answer", exc_info=error)
    text = f"the embedded archive failed: {type(error).__name__}: {error}"
    return Answer(500, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())
