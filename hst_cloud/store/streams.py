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
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from urllib3.util import wait_for_read

from hst_cloud.store.exchange import CONSTANT, UNKNOWN, Receiver, Request, certificates, untrusted
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

    async def get(self, request: Request, receiver: Receiver) -> None:
        """Send one request: see `hst_cloud.store.exchange.Engine`."""
        stream = _Stream(request, receiver, self._connections)
        self._under_way.add(stream)
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

    def take(self, scheme: str, netloc: str, *, connect: float) -> http.client.HTTPConnection:
        """Return a connection, which may have to be opened still."""
        with self._lock:
            idle = self._idle.get((scheme, netloc), [])
            while idle:
                connection = idle.pop()
                # What can be read from a connection that owes no answer is its end.
                if connection.sock is not None and not wait_for_read(connection.sock, 0):
                    return connection
                connection.close()
        if scheme == "https":
            return http.client.HTTPSConnection(netloc, timeout=connect, context=_trusted())
        return http.client.HTTPConnection(netloc, timeout=connect)

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


class _Stream:
    """One request, run by one thread; another may abort it."""

    def __init__(self, request: Request, receiver: Receiver, connections: _Connections) -> None:
        self._request = request
        self._receiver = receiver
        self._connections = connections
        self._connection: http.client.HTTPConnection | None = None
        self._aborted = False

    def run(self) -> None:
        """Send the request and receive its answer."""
        parts = urlsplit(self._request.url)
        connection = self._connections.take(parts.scheme, parts.netloc, connect=self._request.connect)
        self._connection = connection
        again = False
        try:
            again = self._exchange(connection, parts.path + (f"?{parts.query}" if parts.query else ""))
        except ssl.SSLCertVerificationError as error:
            said = f"{type(error).__name__}: {error}"
            raise untrusted(said) from error
        except TimeoutError as error:
            late = f"no byte for {self._request.silence:g} s" if connection.sock else "no connection in time"
            text = f"gave no answer: {late}"
            raise Unusable(text, again=True) from error
        except (OSError, http.client.HTTPException) as error:
            said = (str(error).splitlines() or [""])[0]
            text = f"gave no answer: {type(error).__name__}: {said}"
            raise Unusable(text, again=UNKNOWN if isinstance(error, socket.gaierror) else True) from error
        finally:
            self._connection = None
            if again:
                self._connections.keep(parts.scheme, parts.netloc, connection)
            else:
                connection.close()

    def abort(self) -> None:
        """Have `run` end soon, wherever it is."""
        self._aborted = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, connection: http.client.HTTPConnection, target: str) -> bool:
        """Return whether the connection can carry another request."""
        if connection.sock is None:
            connection.connect()  # which asks for TCP_NODELAY
        connection.sock.settimeout(self._request.silence)
        if self._aborted:
            return False
        connection.putrequest("GET", target, skip_accept_encoding=True)
        for name, value in {**CONSTANT, **self._request.headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        self._receiver.begin(response.status, headers)
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


@functools.cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates())
