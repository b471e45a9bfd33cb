"""A proxy before an archive that rewrites answers: the services as they might become."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Asked:
    """A request on its way to the archive; may be changed."""

    method: str
    path: str
    """Path and query, as sent."""
    headers: dict[str, str]
    body: bytes

    @property
    def plain(self):
        """Path, query and body without escapes, to look for words in."""
        return unquote(self.path) + unquote(self.body.decode("utf-8", "replace"))


@dataclass
class Answered:
    """An answer on its way back; may be changed."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def drop(self, name):
        self.headers = {key: value for key, value in self.headers.items() if key.lower() != name.lower()}

    def put(self, name, value):
        self.drop(name)
        self.headers[name] = value


def _unchanged(asked, answer=None):
    """Leave it as it is."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    before = staticmethod(_unchanged)

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, dict(self.headers.items()), body)
        answer = type(self).before(asked) or self._forward(asked)
        type(self).after(asked, answer)
        self.send_response_only(answer.status)
        answer.drop("Transfer-Encoding")
        if self.command != "HEAD":
            answer.put("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _forward(self, asked):
        upstream = http.client.HTTPConnection(urlsplit(type(self).upstream).netloc, timeout=30)
        try:
            upstream.request(asked.method, asked.path, asked.body or None, asked.headers)
            answer = upstream.getresponse()
            return Answered(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            upstream.close()

    do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - http.server's names

    def log_message(self, *args):
        """Say nothing."""


class Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *arguments):
        self.lines = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.lines.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.lines.discard(request)
        super().shutdown_request(request)

    def server_close(self):
        """Hang up as well: clients keep connections, and each of these a thread and two open files of the tests."""
        super().server_close()
        for line in list(self.lines):
            with suppress(OSError):  # it has just ended by itself
                line.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """A client that went away is no error of the server's."""


@contextmanager
def rewriting(upstream, *, before=_unchanged, after=_unchanged):
    """Serve what `upstream` serves, and give the address.

    `before` may change a request or answer it; `after` may change an answer.
    """
    handler = type(
        "Handler", (Handler,), {"upstream": upstream, "before": staticmethod(before), "after": staticmethod(after)}
    )
    server = Quiet(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
