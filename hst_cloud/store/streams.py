"""A few large answers at once: the standard library's client on threads, received where the bytes are to stay.

A thread waits in the system, which releases the interpreter, so that several cores take bytes from the network and
decrypt them; and no byte is copied on its way. For small answers the switches of threads cost too much:
`hst_cloud.store.transfers` is for those. ``docs/decisions/engine.rst`` has the measurements.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from urllib3.util import wait_for_read

from hst_cloud.store.exchange import CONSTANT, Receiver, Request, certificates, unresolved, untrusted
from hst_cloud.store.progress import Flow, Progress
from hst_cloud.store.s3 import Unusable

__all__ = ["Streams"]

# Requests at a time: 11 connections of 90 MB/s make 1 GB/s; more threads contend for one interpreter.
_THREADS = 16
# Bytes that are received by one call.
_CHUNK = 1024 * 1024


class Streams:
    """Requests on threads, awaited on the running event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="hst_cloud streams")
        self._connections = _Connections()
        self._under_way: set[_Stream] = set()
        self._flow = Flow()

    async def get(self, request: Request, receiver: Receiver) -> None:
        """Send one request: see `hst_cloud.store.exchange.Engine`."""
        stream = _Stream(request, receiver, self._connections, self._flow)
        self._under_way.add(stream)
        self._flow.bodies = min(_THREADS, len(self._under_way))
        work = self._threads.submit(stream.run)
        ended = asyncio.wrap_future(work)
        try:
            async with asyncio.timeout(request.total):
                await asyncio.shield(ended)
        except TimeoutError:
            text = "gave no answer: it took too long"
            raise Unusable(text, again=True) from None
        finally:
            if not work.cancel():
                stream.abort()
            await asyncio.wait([ended])  # the thread writes into memory that is the receiver's
            if not ended.cancelled():
                ended.exception()  # it was told already, or nobody waits for it
            self._under_way.discard(stream)
            self._flow.bodies = min(_THREADS, len(self._under_way))

    async def close(self) -> None:
        """Close every connection."""
        for stream in self._under_way:
            stream.abort()
        self._connections.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Connections:
    """Connections that nobody uses at present; shared by threads."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()

    def take(self, scheme: str, netloc: str, *, connect: float, fresh: bool) -> http.client.HTTPConnection:
        """Return a connection, which may have to be opened still; with `fresh`, it has to be."""
        with self._lock:
            idle = self._idle.get((scheme, netloc), [])
            while idle and not fresh:
                connection = idle.pop()
                # What can be read from a connection that owes no answer is its end.
                if connection.sock is not None and not wait_for_read(connection.sock, 0):
                    return connection
                connection.close()
        made = http.client.HTTPConnection(netloc, timeout=connect)
        if scheme == "https":
            made = http.client.HTTPSConnection(netloc, timeout=connect, context=_trusted())
        made.response_class = _Response
        return made

    def keep(self, scheme: str, netloc: str, connection: http.client.HTTPConnection) -> None:
        """Take a connection back."""
        with self._lock:
            self._idle.setdefault((scheme, netloc), []).append(connection)

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            for connection in [connection for idle in self._idle.values() for connection in idle]:
                connection.close()
            self._idle.clear()


class _Response(http.client.HTTPResponse):
    """Gives what has come, where its like waits until a buffer is full: a body that drips is to be noticed."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer; here it is always this one
        if self.isclosed() or self.chunked or not self.length:
            return super().readinto(buffer)
        size = self.fp.readinto1(buffer[: self.length])
        self.length -= size
        if not self.length:
            super().readinto(bytearray())  # lets go of the connection
        return size


class _Stream:
    """One request, run by one thread; another may abort it."""

    def __init__(self, request: Request, receiver: Receiver, connections: _Connections, flow: Flow) -> None:
        self._request = request
        self._progress = Progress(flow)
        self._begun = False
        self._line: socket.socket | None = None
        self._receiver = receiver
        self._connections = connections
        self._aborted = False

    def run(self) -> None:
        """Send the request and receive its answer."""
        parts = urlsplit(self._request.url)
        request = self._request
        connection = self._connections.take(
            parts.scheme, parts.netloc, connect=request.policy.connect, fresh=request.fresh
        )
        self._receiver.kept = connection.sock is not None
        self._receiver.sent = time.monotonic()
        again = False
        try:
            again = self._exchange(connection, parts.path + (f"?{parts.query}" if parts.query else ""))
        except ssl.SSLCertVerificationError as error:
            said = f"{type(error).__name__}: {error}"
            raise untrusted(said) from error
        except TimeoutError as error:
            text = (
                f"gave no answer: no byte for {request.policy.read:g} s" if self._line else "gave no connection in time"
            )
            if self._begun:
                text = f"broke off: no byte for {request.policy.stall:g} s"
            raise Unusable(text, again=True) from error
        except socket.gaierror as error:
            raise unresolved(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            said = (str(error).splitlines() or [""])[0]
            text = f"gave no answer: {type(error).__name__}: {said}"
            raise Unusable(text, again=True) from error
        finally:
            self._line = None
            if again:
                self._connections.keep(parts.scheme, parts.netloc, connection)
            else:
                connection.close()

    def abort(self) -> None:
        """Have `run` end soon, wherever it is."""
        self._aborted = True
        line = self._line
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _exchange(self, connection: http.client.HTTPConnection, target: str) -> bool:
        """Return whether the connection can carry another request."""
        if connection.sock is None:
            connection.connect()  # which asks for TCP_NODELAY
        policy = self._request.policy
        line = self._line = connection.sock  # which the answer takes over if it is the connection's last
        line.settimeout(policy.read)
        if self._aborted:
            return False
        connection.putrequest("GET", target, skip_accept_encoding=True)
        for name, value in {**CONSTANT, **self._request.headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        self._receiver.begin(response.status, headers)
        self._begun = True
        self._progress.begin(policy, time.monotonic())
        line.settimeout(policy.stall)
        looked = time.monotonic()
        while True:
            place = self._receiver.place()
            if place is not None:
                size = response.readinto(place[:_CHUNK])
                self._receiver.placed(size)
            else:
                chunk = response.read1(_CHUNK)
                size = len(chunk)
                if size and not self._receiver.take(chunk):
                    return False
            if not size:
                return response.isclosed() and not response.will_close
            self._progress.add(size)
            before, looked = looked, time.monotonic()
            if looked - before > policy.stall:  # the system waits no longer: it was this process that stood still
                self._progress.begin(policy, looked)
            trouble = self._progress.trouble(looked)
            if trouble:
                raise Unusable(trouble, again=True)


@functools.cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates())
