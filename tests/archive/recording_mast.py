"""A MAST on loopback that answers from a script and writes every request down."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COLUMNS = {
    "_selected_": {"text": "selected", "type": "boolean"},
    **{
        name: {"vot.datatype": "char"}
        for name in ("intentType", "instrument_name", "obs_id", "proposal_id", "proposal_pi", "dataproduct_type")
    },
    **{name: {"vot.datatype": "char", "separator": ";"} for name in ("obs_collection", "project", "filters")},
    **{name: {"vot.datatype": "double"} for name in ("s_ra", "s_dec", "t_min", "t_max", "t_exptime", "em_min")},
    "calib_level": {"vot.datatype": "int"},
    "obsid": {"vot.datatype": "long"},
}


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict
    body: str
    at: float

    @property
    def service(self):
        return self.request.get("service", "")

    @property
    def request(self):
        return json.loads(unquote(self.body.removeprefix("request="))) if self.body.startswith("request=") else {}

    @property
    def filters(self):
        return {f["paramName"]: f for f in self.request["params"]["filters"]}


@dataclass
class Reply:
    """What the server says: a body, or a status, or nothing for a while."""

    body: object = ""
    status: int = 200
    headers: dict = field(default_factory=dict)
    wait: float = 0.0
    length: int | None = None
    drip: float = 0.0


def answer(rows, fields=None, *, page=1, pages=1, total=None, status="COMPLETE"):
    """Return a Mashup answer of some rows."""
    names = dict.fromkeys(name for row in rows for name in row)
    kinds = {str: "string", int: "int", float: "float", bool: "boolean"}
    first = {name: next((row[name] for row in rows if row.get(name) is not None), "") for name in names}
    declared = fields or [{"name": name, "type": kinds[type(first[name])]} for name in names]
    total = len(rows) if total is None else total
    paging = {"page": page, "pagesFiltered": pages, "rows": len(rows), "rowsFiltered": total, "rowsTotal": total}
    return {"status": status, "msg": "", "data": rows, "fields": declared, "paging": paging}


def in_turn(*replies):
    """Return a script that answers with each reply in turn, and with the last from then on."""
    left = list(replies)

    def script(_asked):
        return left.pop(0) if len(left) > 1 else left[0]

    return script


class Mast:
    """The script and the record: `script` is called with each `Asked` and returns a body or a `Reply`."""

    def __init__(self, script):
        self.script = script
        self.asked = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    @property
    def services(self):
        return [a.service or a.path.rpartition("/")[2] or a.path for a in self.asked]

    def take(self, asked):
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            reply = self.script(asked)
            return reply if isinstance(reply, Reply) else Reply(reply)
        finally:
            with self._lock:
                self._now -= 1


@contextmanager
def recording_mast(script):
    """Serve `script` and yield the record, with its address as ``root``."""
    mast = Mast(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self):
            length = int(self.headers.get("Content-Length") or 0)
            parts = urlsplit(self.path)
            body = self.rfile.read(length).decode()
            reply = mast.take(Asked(self.command, parts.path, parse_qs(parts.query), body, time.monotonic()))
            time.sleep(reply.wait)
            said = reply.body if isinstance(reply.body, bytes) else None
            said = (
                said
                if said is not None
                else (reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode())
            )
            try:
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(said) if reply.length is None else reply.length))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if reply.drip:
                    for byte in said:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(reply.drip)
                else:
                    self.wfile.write(said)
                if reply.length is not None:
                    self.close_connection = True
            except ConnectionError:
                self.close_connection = True

        do_GET = _reply  # noqa: N815 - the name that http.server looks for
        do_POST = _reply  # noqa: N815 - the same

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    mast.root = f"http://127.0.0.1:{server.server_port}"
    try:
        yield mast
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
