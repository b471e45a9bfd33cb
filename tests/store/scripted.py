"""A server on loopback that answers each request as a script says, over raw sockets: also what no HTTP server would say.

A behavior is a function of the socket and the request; it returns whether the connection may carry another request.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

CONTENT = bytes(itertools.islice(itertools.cycle(range(251)), 100_000))


@dataclass(frozen=True)
class Request:
    """What was asked."""

    target: str
    headers: dict[str, str]

    @property
    def range(self) -> tuple[int, int]:
        """First byte and one past the last."""
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"]).groups()
        return int(first), int(last) + 1


Behavior = Callable[[socket.socket, Request], bool]


class Server:
    """Answers the first request with the first behavior and so on; the last one answers all that follow."""

    def __init__(self, *script: Behavior) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.hung_up = threading.Event()  # the client closed while `silence` kept it waiting
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.root = f"http://127.0.0.1:{self._listener.getsockname()[1]}/bucket"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                while (request := _head(connection)) is not None:
                    with self._lock:
                        behave = self.script[min(len(self.requests), len(self.script) - 1)]
                        self.requests.append(request)
                    if behave is silence:
                        while connection.recv(1):
                            pass
                        self.hung_up.set()
                        return
                    if not behave(connection, request):
                        return
        finally:
            self._open.discard(connection)


def _head(connection: socket.socket) -> Request | None:
    got = b""
    while b"\r\n\r\n" not in got:
        more = connection.recv(65536)
        if not more:
            return None
        got += more
    first, *lines = got.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Request(first.split(" ")[1], {name.lower(): value for name, value in headers.items()})


def silence(connection: socket.socket, request: Request) -> bool:
    """Accept the request and never answer: a black hole. The server knows it by name."""
    raise NotImplementedError


def reply(
    status: int, headers: dict[str, str] | None = None, body: bytes = b"", *, length: int | None = -1
) -> Behavior:
    """Answer so. `length` is what Content-Length claims: the truth by default, None for no such header."""

    def behave(connection: socket.socket, request: Request) -> bool:
        lines = [f"HTTP/1.1 {status} Said", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        if length is not None:
            lines.append(f"Content-Length: {len(body) if length < 0 else length}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return length is not None and length < 0

    return behave


def serve(
    content: bytes = CONTENT, *, etag: str | None = '"one"', cut: int | None = None, reset: bool = False, **headers: str
) -> Behavior:
    """Answer a range of `content` as S3 does; of the body only `cut` bytes, then the end, or a reset."""

    def behave(connection: socket.socket, request: Request) -> bool:
        start, stop = request.range
        stop = min(stop, len(content))
        known = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}", "x-amz-request-id": "ID7"}
        if etag is not None:
            known["ETag"] = etag
        known |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = content[start:stop]
        known["Content-Length"] = str(len(body))
        head = "\r\n".join(["HTTP/1.1 206 Partial Content", *(f"{k}: {v}" for k, v in known.items()), "", ""])
        connection.sendall(head.encode("latin-1") + body[:cut])
        if reset:
            time.sleep(0.05)  # lets the client see the bytes before the reset throws them away
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return cut is None and not reset

    return behave


def reset(connection: socket.socket, request: Request) -> bool:
    """Reset the connection before a word is said."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def garbage(connection: socket.socket, request: Request) -> bool:
    """Say something that is no HTTP."""
    connection.sendall(b"220 smtp.example.org ready\r\n\r\n")
    return False


def endless(status: int, headers: dict[str, str], sent: list[int]) -> Behavior:
    """Send a body that has no end; what the client's side took is added to `sent`."""

    def behave(connection: socket.socket, request: Request) -> bool:
        lines = [f"HTTP/1.1 {status} Said", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        while True:
            sent.append(connection.send(bytes(65536)))

    return behave


def drip(connection: socket.socket, request: Request) -> bool:
    """Announce the whole range and send a byte of it every tenth of a second."""
    start, stop = request.range
    head = f'HTTP/1.1 206 P\r\nETag: "one"\r\nContent-Range: bytes {start}-{stop - 1}/{len(CONTENT)}\r\n'
    connection.sendall(f"{head}Content-Length: {stop - start}\r\n\r\n".encode())
    for position in range(start, stop):
        connection.sendall(CONTENT[position : position + 1])
        time.sleep(0.1)
    return True


def error(status: int, code: str, text: str = "", **headers: str) -> Behavior:
    """Answer with S3's XML error."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{text}</Message></Error>'
    known = {"Content-Type": "application/xml", "x-amz-request-id": "ID7"}
    return reply(status, known | {name.replace("_", "-"): v for name, v in headers.items()}, body.encode())


def page(*keys: str, token: str = "", more: bool | None = None, size: str = "3") -> Behavior:
    """Answer with a page of ListObjectsV2."""
    lines = "".join(
        f"<Contents><Key>{key}</Key><ETag>&quot;e{n}&quot;</ETag><Size>{size}</Size></Contents>"
        for n, key in enumerate(keys)
    )
    more = bool(token) if more is None else more
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{lines}{following}</ListBucketResult>"
    )
    return reply(200, {"Content-Type": "application/xml"}, xml.encode())
