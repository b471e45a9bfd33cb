"""Many small answers at once: libcurl on the private loop.

libcurl tells the loop which sockets to watch and when to come back, and is told when a socket is ready; it never waits.
It costs a third of the processor time of the engines that are written in Python (``docs/decisions/engine.rst``).
Its own retries are limited to what RFC 9112, sec. 9.3.1, allows: a request on a connection that the server had closed
meanwhile, of which no byte was answered, is sent again on another.
"""

from __future__ import annotations

import asyncio
import os

import pycurl

from hst_cloud.store.exchange import CONSTANT, Receiver, Request, certificates, parse_head, unresolved, untrusted
from hst_cloud.store.progress import Flow, Progress
from hst_cloud.store.s3 import Unusable
from hst_cloud.store.slots import connections

__all__ = ["Transfers"]

# Bytes that libcurl receives at a time: a small range comes in one piece, which is then not copied again.
_BUFFER = 256 * 1024
# Connections that are kept while nobody needs them: as many as anybody has in flight.
_KEPT = 256
# Requests that are sent together: if all of those that wait were, all of their answers would come together as well, and
# the network would be idle while they are looked at.
_CONVOY = 16
# Seconds between two looks at which transfers have been silent for too long.
_TICK = 0.05
# Seconds between two of them after which it was this process that stood still, and no transfer.
_ASLEEP = 1

_UNTRUSTED = {
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_SSL_CERTPROBLEM,
    pycurl.E_SSL_ISSUER_ERROR,
}


class Transfers:
    """Requests on the running event loop, which must be able to watch sockets; to be made and used on it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._come_back)
        self._multi.setopt(pycurl.M_MAXCONNECTS, int(min(_KEPT, connections())))
        self._watched: dict[int, int] = {}
        self._soon = self._closed = False
        self._added = 0  # since libcurl was last told to go on
        self._timer: asyncio.Handle | None = None
        self._clock: asyncio.Handle | None = None
        self._looked = 0.0
        self._idle: list[_Transfer] = []
        self._busy: dict[pycurl.Curl, _Transfer] = {}
        self._flow = Flow()

    async def get(self, request: Request, receiver: Receiver) -> None:
        """Send one request: see `hst_cloud.store.exchange.Engine`."""
        transfer = self._idle.pop() if self._idle else _Transfer(self._loop, self._flow)
        done = transfer.begin(request, receiver)
        self._busy[transfer.curl] = transfer
        self._multi.add_handle(transfer.curl)
        self._added += 1
        if self._added >= _CONVOY:
            self._act()
        if self._clock is None:
            self._looked = self._loop.time()
            self._clock = self._loop.call_later(_TICK, self._look)
        try:
            await done
        finally:
            if self._busy.pop(transfer.curl, None) is not None:  # cancelled, or silent for too long
                self._multi.remove_handle(transfer.curl)
            receiver.kept = transfer.curl.getinfo(pycurl.NUM_CONNECTS) == 0
            transfer.end()
            self._idle.append(transfer)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for handle in (self._timer, self._clock):
            if handle is not None:
                handle.cancel()
        for curl in list(self._busy):
            self._multi.remove_handle(curl)
        self._busy.clear()
        self._multi.close()
        for transfer in self._idle:
            transfer.curl.close()
        self._idle.clear()
        for socket in list(self._watched):
            self._unwatch(socket)

    # -- libcurl's side: it calls these from within its own calls, so they only take notes

    def _watch(self, what: int, socket: int, multi: object, data: object) -> None:  # noqa: ARG002  # libcurl's signature
        if what == pycurl.POLL_REMOVE:
            self._unwatch(socket)
            return
        before = self._watched.get(socket, 0)
        self._watched[socket] = what
        if what & pycurl.POLL_IN and not before & pycurl.POLL_IN:
            self._loop.add_reader(socket, self._act, socket, pycurl.CSELECT_IN)
        elif before & pycurl.POLL_IN and not what & pycurl.POLL_IN:
            self._loop.remove_reader(socket)
        if what & pycurl.POLL_OUT and not before & pycurl.POLL_OUT:
            self._loop.add_writer(socket, self._act, socket, pycurl.CSELECT_OUT)
        elif before & pycurl.POLL_OUT and not what & pycurl.POLL_OUT:
            self._loop.remove_writer(socket)

    def _unwatch(self, socket: int) -> None:
        before = self._watched.pop(socket, 0)
        if before & pycurl.POLL_IN:
            self._loop.remove_reader(socket)
        if before & pycurl.POLL_OUT:
            self._loop.remove_writer(socket)

    def _come_back(self, milliseconds: int) -> None:
        if milliseconds == 0:
            if not self._soon:  # many requests begin at once
                self._soon = True
                self._loop.call_soon(self._now)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(milliseconds / 1000, self._act) if milliseconds > 0 else None

    # -- the loop's side

    def _now(self) -> None:
        self._soon = False
        if not self._closed:
            self._act()

    def _act(self, socket: int = pycurl.SOCKET_TIMEOUT, ready: int = 0) -> None:
        """Have libcurl do what can be done now, and wake those whose answers ended."""
        if socket == pycurl.SOCKET_TIMEOUT:
            self._added = 0
        self._multi.socket_action(socket, ready)
        more = 1
        while more:
            more, ended, failed = self._multi.info_read()
            for curl in ended:
                self._ended(curl, pycurl.E_OK, "")
            for curl, code, text in failed:
                self._ended(curl, code, text)

    def _ended(self, curl: pycurl.Curl, code: int, text: str) -> None:
        transfer = self._busy.pop(curl)
        self._multi.remove_handle(curl)
        transfer.ended(code, text)

    def _look(self) -> None:
        """End the transfers that have taken too long."""
        now, before = self._loop.time(), self._looked
        self._looked = now
        self._flow.bodies = len(self._busy)
        for transfer in self._busy.values():
            transfer.check(now, asleep=now - before > _ASLEEP)
        self._clock = self._loop.call_later(_TICK, self._look) if self._busy else None


class _Transfer:
    """One of libcurl's handles, and what it is busy with; used again and again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, flow: Flow) -> None:
        self._loop = loop
        self._progress = Progress(flow)
        self._lines: list[bytes] = []
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)  # signals are for the main thread
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)  # S3 speaks no other
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.PATH_AS_IS, 1)  # a key is no path: "a//b/./c" is not "a/b/c"
        curl.setopt(pycurl.PROXY, "")  # neither from the environment
        curl.setopt(pycurl.BUFFERSIZE, _BUFFER)
        curl.setopt(pycurl.CAINFO, os.fsencode(certificates()))  # texts may be ASCII alone, which homes are not
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)

    def begin(self, request: Request, receiver: Receiver) -> asyncio.Future[None]:
        """Make ready for `request`, and return what its end will be known by."""
        self._receiver = receiver
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._lines.clear()
        self._begun = self._content = False
        self._place: memoryview | None = None
        self._at = self._told = 0
        self._error: Exception | None = None
        self._policy = policy = request.policy
        self._sent = receiver.sent = self._loop.time()  # which is `time.monotonic`
        self._ends = self._sent + request.total
        self.curl.setopt(pycurl.URL, request.url)
        headers = {**CONSTANT, **request.headers}
        self.curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
        self.curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(policy.connect * 1000)))
        self.curl.setopt(pycurl.FRESH_CONNECT, request.fresh)
        return self._done

    def end(self) -> None:
        """Let go of who was served."""
        self._tell()
        del self._receiver, self._done, self._error, self._place

    def ended(self, code: int, text: str) -> None:
        """Tell who waits how the transfer ended."""
        if self._done.done():
            return
        whole = code in {pycurl.E_OK, pycurl.E_PARTIAL_FILE} or self._content
        if whole and not self._begun:  # there was no body
            self._begin()
        if self._error is not None:
            self._done.set_exception(self._error)
        elif whole:
            self._done.set_result(None)
        else:
            self._done.set_exception(_trouble(code, text))

    def check(self, now: float, *, asleep: bool) -> None:
        """End the transfer if it has been silent or has lasted for too long; begin to look anew after a sleep."""
        if self._done.done():
            return
        self._tell()
        trouble = ""
        if self._begun and asleep:
            self._progress.begin(self._policy, now)
        elif self._begun:
            trouble = self._progress.trouble(now)
        elif now > self._sent + self._policy.read:
            trouble = f"gave no answer: no byte for {self._policy.read:g} s"
        if now > self._ends:
            trouble = "gave no answer: it took too long"
        if trouble:
            self._done.set_exception(Unusable(trouble, again=True))

    def _begin(self) -> None:
        self._begun = True
        self._progress.begin(self._policy, self._loop.time())
        try:
            self._receiver.begin(*parse_head(b"".join(self._lines).decode("latin-1")))
            self._place = self._receiver.place()
        except Exception as error:  # noqa: BLE001  # raised to who waits: libcurl cannot carry it
            self._error = error

    def _tell(self) -> None:
        """Tell what has come since this was last done: of a large range, once for many of its pieces."""
        size, self._told = self._at - self._told, self._at
        if size:
            self._progress.add(size)
            self._receiver.placed(size)

    def _write(self, chunk: bytes) -> int:
        if not self._begun:
            self._begin()
        stop = self._at + len(chunk)
        if self._place is not None and stop <= len(self._place):
            self._place[self._at : stop] = chunk  # libcurl brings at most 16 KiB at a time
            self._at = stop
            return len(chunk)
        self._tell()
        self._progress.add(len(chunk))
        if self._error is None:
            try:
                if self._receiver.take(chunk):
                    return len(chunk)
                self._content = True
            except Exception as error:  # noqa: BLE001  # as above
                self._error = error
        return -1


def _trouble(code: int, text: str) -> Unusable:
    """Translate an error of libcurl's; the first line of its text is kept."""
    said = (text.splitlines() or [""])[0] or f"error {code}"
    if code in _UNTRUSTED:
        return untrusted(said)
    if code == pycurl.E_COULDNT_RESOLVE_HOST:
        return unresolved(said)
    return Unusable(f"gave no answer: {said}", again=True)
