"""A small HTTP/1.1 server on one event loop: what the embedded archive answers with.

It is written for one purpose, to be out of the way of a measurement: an `asyncio.Protocol` without tasks, streams or
middleware. A request is parsed and given to a function; what that returns is sent by `_Connection._begin` and
`_Connection._pump`, the one place where an answer becomes bytes on the wire. An answer that meets a fault takes
the same way in the steps that `hst_cloud.testing.wire` makes of it.

Connections are kept alive; pipelined requests are answered in their order; bodies carry a Content-Length.
A file's bytes are read when the socket can take them, never sooner, so a slow reader costs no memory.

Sources: RFC 9112 (HTTP/1.1), RFC 9110 (semantics).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hst_cloud.testing.faults import Script
from hst_cloud.testing.messages import Answer, Ask, FilePart, Memory, Work, head_of, parse_head
from hst_cloud.testing.schedule import Schedule
from hst_cloud.testing.wire import End, Scripted, Send, Step, Wait, scripted, scripted_connection

__all__ = ["Server"]

_LOG = logging.getLogger("hst_cloud.testing")

_CHUNK = 256 * 1024  # bytes read from a file and written at once; larger ones gained nothing in measurements
_LONGEST_HEAD = 64 * 1024
_LONGEST_BODY = 64 * 1024 * 1024
_DEBT = 0.002  # seconds that a paced connection may run ahead: timers of epoll tick in milliseconds
_STRIDE = 0.01  # seconds' worth of a paced body that are written at once
_NO_FAULTS = Schedule(Script())
_AT_ONCE = struct.pack("HH" if os.name == "nt" else "ii", 1, 0)  # SO_LINGER on, of no seconds: close by RST


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
    faults : Schedule, optional
        What goes wrong.
    seen : callable or None
        Told of each request, its answer and the form that a fault gives it, before the first byte is sent.
    """

    def __init__(
        self,
        handle: Callable[[Ask], Answer | Work],
        *,
        latency: float = 0.0,
        bandwidth: float | None = None,
        faults: Schedule = _NO_FAULTS,
        seen: Callable[[Ask, Answer, Scripted | None], None] | None = None,
    ) -> None:
        self.handle = handle
        self.latency = latency
        self.bandwidth = bandwidth
        self.faults = faults
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
        self._steps: deque[Step] = deque()  # what comes after it, where a fault says so
        self._rate = server.bandwidth
        self._mute = False  # whether it will never say anything again
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
        if self._server.faults.active:
            fault = self._server.faults.for_connection()
            if fault is not None:
                self._server.in_flight += 1
                self._ask = Ask("", "", "", {})  # what comes in meanwhile waits, as behind any other request
                self._begin_scripted(self._ask, scripted_connection(fault))

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
        return self._ask is not None and not self._mute

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
        """Take requests from what was received, as long as one is complete and is answered at once."""
        while self._ask is None and self._transport is not None:
            ask = self._partial or self._next_head()
            if ask is None:
                return
            size = int(ask.headers.get("content-length", "0"))
            if len(self._received) < size:
                self._partial = ask
                return
            self._partial = None
            if size:
                ask.body = bytes(self._received[:size])
                del self._received[:size]
            self._take(ask)

    def _next_head(self) -> Ask | None:
        """Take the next request's head from what was received; None if it is not there, or is refused."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if len(self._received) > _LONGEST_HEAD:
                self._refuse(431)
            return None
        ask = parse_head(bytes(self._received[:end]))
        if ask is None:
            self._refuse(400)
            return None
        del self._received[: end + 4]
        length = ask.headers.get("content-length", "0")
        if "transfer-encoding" in ask.headers or not length.isdecimal():
            self._refuse(411)
            return None
        if int(length) > _LONGEST_BODY:
            self._refuse(413)
            return None
        if ask.headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return ask

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
        form = None
        if server.faults.active and ask.method:
            fault = server.faults.for_request(ask, answer)
            if fault is not None:
                try:
                    form = scripted(fault, ask, answer, other=self._other, close=self._last(ask))
                except LookupError as error:
                    answer = _failure(error)
        if server.seen is not None and ask.method:
            server.seen(ask, answer, form)
        wait = self._arrived + server.latency - server.loop.time() if server.latency else 0.0
        if wait > 0:
            server.loop.call_later(wait, self._begin, ask, answer, form)
        else:
            self._begin(ask, answer, form)

    def _begin(self, ask: Ask, answer: Answer, form: Scripted | None) -> None:
        """Send the head and, where nothing paces it, a small body with it."""
        server, transport = self._server, self._transport
        if transport is None or self._ask is not ask:
            return
        if form is not None:
            self._begin_scripted(ask, form)
            return
        self._close = answer.close or self._last(ask)
        head = head_of(answer, close=self._close)
        body = answer.body
        part = FilePart(Memory(body), 0, len(body)) if isinstance(body, bytes) else body
        if ask.method == "HEAD" or answer.status in {204, 304}:
            part.start = part.stop
        elif server.bandwidth is None and part.stop - part.start <= _CHUNK:
            data = part.file.read(part.start, part.stop - part.start)
            part.start += len(data)
            head += data
        self._rest = part
        self._rate = server.bandwidth
        if server.bandwidth is not None:
            self._free = max(self._free, server.loop.time())
        transport.write(head)
        self._pump()

    def _pump(self) -> None:
        """Send the rest of the body as fast as the socket and the bandwidth allow; then take the next request.

        Every byte of every answer is sent by `_begin` or here.
        """
        transport = self._transport
        if transport is None or self._timer:
            return
        while (part := self._rest) is not None:
            while part.start < part.stop:
                size = self._allowed(part.stop - part.start)
                if size == 0 or transport.is_closing():  # the client went away
                    return
                data = part.file.read(part.start, size)
                if not data:  # the file has become shorter than it was: what was promised cannot be sent
                    self.abort()
                    return
                part.start += len(data)
                transport.write(data)
            if not self._writable:
                return
            if not self._steps:
                self._end(transport)
                return
            self._step(transport)

    def _end(self, transport: asyncio.Transport) -> None:
        """Be done with an answer, and take the next request."""
        self._finish()
        if self._close:
            transport.close()
            return
        if not self._reading:
            self._reading = True
            transport.resume_reading()
        if self._received:
            self._server.loop.call_soon(self._next)  # not at once: a long pipeline must not nest

    def _allowed(self, size: int) -> int:
        """Return how much of `size` may be sent now; after 0, `_pump` is called again in time."""
        if not self._writable:
            return 0  # resume_writing comes back
        bandwidth, loop = self._rate, self._server.loop
        if bandwidth is None:
            return min(size, _CHUNK)
        size = min(size, _CHUNK, max(1, int(bandwidth * _STRIDE)))
        due = self._free + size / bandwidth
        wait = due - loop.time()
        if wait > _DEBT:
            self._timer = True
            loop.call_later(wait, self._tick)
            return 0
        self._free = due
        return size

    def _tick(self) -> None:
        self._timer = False
        self._pump()

    # -- an answer that meets a fault

    def _begin_scripted(self, ask: Ask, form: Scripted) -> None:
        """Take the steps that a fault has made of the answer."""
        self._close = self._close or form.close
        self._steps = deque(form.steps)
        self._go_on(ask)

    def _go_on(self, ask: Ask | None) -> None:
        if self._ask is ask:  # else the client went away during a pause
            self._rest = FilePart(Memory(b""), 0, 0)
            self._pump()

    def _step(self, transport: asyncio.Transport) -> None:
        """Take the next step; `_rest` is None where that is no sending."""
        step, loop = self._steps.popleft(), self._server.loop
        self._rest = None
        match step:
            case Send():
                self._rest = FilePart(step.part.file, step.part.start, step.part.stop)
                rates = [rate for rate in (step.rate, self._server.bandwidth) if rate is not None]
                self._rate = min(rates, default=None)
                self._free = max(self._free, loop.time())
            case Wait(seconds=None):
                self._mute = True
            case Wait(seconds=float() | int() as seconds):
                loop.call_later(seconds, self._go_on, self._ask)
            case End(how="reset"):
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                transport.abort()
            case End():
                transport.close()

    def _last(self, ask: Ask) -> bool:
        """Tell whether the client wants no other answer."""
        return self._close or ask.headers.get("connection", "").lower() == "close"

    def _other(self, ask: Ask) -> Answer:
        """Answer a request that a fault makes; the hash of a large file holds everybody up, once."""
        found = self._server.handle(ask)
        return found if isinstance(found, Answer) else found()

    def _finish(self) -> None:
        if self._ask is not None:
            self._ask = self._rest = None
            self._server.in_flight -= 1


def _failure(error: BaseException) -> Answer:
    _LOG.error("the embedded archive failed to answer", exc_info=error)
    text = f"the embedded archive failed: {type(error).__name__}: {error}"
    return Answer(500, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())
