"""Every kind of fault as a raw socket sees it: the bytes on the wire are those of the script."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.testing import Fault, LocalArchive, Script
from hst_cloud.testing.faults import as_script
from hst_cloud.testing.messages import Answer, Ask, FilePart, Memory
from hst_cloud.testing.wire import End, Send, Wait, scripted

KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
OTHER = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_raw.fits"
DATA, ELSE = bytes(range(256)) * 4000, b"other " * 100
SIZE = len(DATA)
GET = f"GET /stpubdata/{KEY} HTTP/1.1\r\nHost: x\r\nRange: bytes=100-1099\r\n\r\n".encode()
BODY = DATA[100:1100]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Serve two objects; each test sets its own faults."""
    folder = tmp_path_factory.mktemp("archive")
    for key, content in ((KEY, DATA), (OTHER, ELSE)):
        folder.joinpath(key).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(key).write_bytes(content)
    with LocalArchive(folder) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_faults(archive):
    archive.faults = None
    archive.forget()


class Line:
    """A connection, and what came out of it when."""

    def __init__(self, archive):
        self.socket = socket.create_connection(urlsplit(archive.endpoint).netloc.split(":"), timeout=10)
        self.began = time.monotonic()
        self.parts = []
        self.end = None

    def ask(self, sent=GET):
        self.socket.sendall(sent)
        return self

    def read(self, least=None, *, until=None):
        """Read until the end of the connection, until there are so many bytes of the body, or until a text."""
        while until not in self.got if until else least is None or not self.whole or len(self.body) < least:
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                self.end = "reset"
                break
            if not part:
                self.end = "closed"
                break
            self.parts.append((time.monotonic() - self.began, part))
        return self

    def quiet(self, seconds):
        """Tell whether nothing comes, not even an end, for so long."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)
        return False

    @property
    def got(self):
        return b"".join(part for _, part in self.parts)

    @property
    def whole(self):
        """Whether the head is."""
        return b"\r\n\r\n" in self.got

    @property
    def head(self):
        return self.got.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")

    @property
    def body(self):
        return self.got.partition(b"\r\n\r\n")[2]

    def fields(self, name):
        return [line.partition(": ")[2] for line in self.head[1:] if line.partition(":")[0].lower() == name.lower()]

    def close(self):
        self.socket.close()


@pytest.fixture
def line(archive):
    """Return a function that opens a connection, under the fault that it is given."""
    lines = []

    def opened(**fault):
        archive.faults = Fault(**fault)
        lines.append(Line(archive))
        return lines[-1]

    yield opened
    for each in lines:
        each.close()


def last(archive):
    return archive.requests[-1]


# -- the end of a connection


@pytest.mark.parametrize("how", ["drop", "reset"])
def test_the_end_before_an_answer(line, archive, how):
    """Not a byte comes."""
    one = line(**{how: "before"}).ask().read()
    assert (one.got, one.end) == (b"", {"drop": "closed", "reset": "reset"}[how])
    assert (last(archive).status, last(archive).bytes) == (0, 0)


@pytest.mark.parametrize("where", [0, 1, 700, 999])
@pytest.mark.parametrize("how", ["drop", "reset"])
def test_the_end_within_the_body(line, archive, how, where):
    """The head promises everything, and so many bytes come."""
    one = line(**{how: where}).ask().read()
    assert one.head[0] == "HTTP/1.1 206 Partial Content"
    assert one.fields("content-length") == ["1000"]
    assert one.body == BODY[:where]
    assert one.end == {"drop": "closed", "reset": "reset"}[how]
    assert (last(archive).status, last(archive).bytes) == (206, where)


def test_the_end_behind_the_body(line):
    """What ends later than the body ends with it, although the connection was said to be kept."""
    one = line(drop=10**9).ask().read()
    assert (one.body, one.end, one.fields("connection")) == (BODY, "closed", ["keep-alive"])


def test_a_kept_connection_hangs_up(line, archive):
    """After a while in which nothing is answered any more."""
    one = line(hangup=1.5).ask().read(1000)
    assert (one.body, one.fields("connection")) == (BODY, ["keep-alive"])
    one.ask().read()
    assert (one.body, one.end) == (BODY, "closed")
    assert time.monotonic() - one.began >= 1.5
    assert len(archive.requests) == 1


def test_connections_end_as_they_are_accepted(line, archive):
    """Before anything is asked; what follows is as ever."""
    with pytest.raises(ConnectionResetError):  # by connecting or by the first read, as it happens
        line(on="connection", reset="before", times=1).socket.recv(1)
    one = line(on="connection", drop="before", times=1).read()
    assert (one.got, one.end) == (b"", "closed")
    assert archive.requests == []
    again = Line(archive).ask().read(1000)
    assert again.body == BODY
    again.close()


def test_a_connection_that_speaks_first(line):
    """Something else listens there."""
    one = line(on="connection", raw="220 smtp.example.org ready\r\n").read()
    assert (one.got, one.end) == (b"220 smtp.example.org ready\r\n", "closed")


def test_a_connection_that_is_deaf_for_a_while(line, archive):
    """Requests wait until it hears again."""
    one = line(on="connection", stall="before", stall_for=2).ask()  # from when it was made, not from the request
    assert one.quiet(0.1)
    assert one.read(1000).body == BODY


# -- time


def test_an_answer_that_comes_late(line, archive):
    """Nothing before the delay has passed, then everything."""
    one = line(delay=0.2).ask().read(1000)
    assert one.parts[0][0] >= 0.2
    assert one.body == BODY


def test_a_black_hole(line, archive):
    """The request is taken and nothing ever comes, until the client gives up; then the archive forgets it, too."""
    one = line(stall="before").ask()
    assert one.quiet(0.3)
    assert (last(archive).status, last(archive).bytes) == (0, 0)
    one.close()
    archive.faults = None
    for _ in range(100):
        again = Line(archive).ask().read(1000)
        again.close()
        if last(archive).in_flight == 1:
            break
        time.sleep(0.02)
    assert last(archive).in_flight == 1


def test_a_connection_that_never_hears(line, archive):
    """It is accepted, and that is all."""
    assert line(on="connection", stall="before").ask().quiet(0.3)
    assert archive.requests == []


@pytest.mark.parametrize("where", [0, 400])
def test_a_body_that_stands_still(line, archive, where):
    """So many bytes, a pause, the rest: no byte is missing or sent twice."""
    one = line(stall=where, stall_for=1.5).ask().read(where)
    assert one.body == BODY[:where]
    assert one.parts[-1][0] < 1.5
    assert one.read(1000).body == BODY
    assert one.parts[-1][0] >= 1.5


def test_a_body_that_stands_still_for_ever(line, archive):
    """So many bytes, and neither the rest nor an end."""
    one = line(stall=400).ask().read(400)
    assert one.quiet(0.3)
    assert one.body == BODY[:400]
    assert last(archive).bytes == 400


def test_a_body_that_stands_still_and_ends(line):
    """Pause and end go together."""
    one = line(stall=400, stall_for=0.1, reset=500).ask().read()
    assert (one.body, one.end) == (BODY[:500], "reset")
    assert one.parts[-1][0] >= 0.1


def test_a_body_that_drips(line, archive):
    """The head at once, the body at its rate."""

    def dripped():
        one = line(drip=100.0, drop=30).ask().read()
        assert one.body == BODY[:30]
        assert one.parts[-1][0] >= 0.25
        return one.parts[0][0] < 0.1 and one.parts[-1][0] < 1 and len(one.parts) > 20

    def trickled():
        slow = line(drip=10.0).ask().read(2)
        return all(0.05 < after - before < 0.3 for (before, _), (after, _) in pairwise(slow.parts[1:]))

    for seen in (dripped, trickled):
        assert any(seen() for _ in range(9))  # a busy machine stands still now and then


def test_after_a_fault_the_connection_is_as_fast_as_before(line, archive):
    """The rate is that answer's alone, also where the next one is large."""
    one = line(drip=2000.0, times=1).ask().read(1000)
    assert one.parts[-1][0] > 0.4
    at = time.monotonic()
    one.parts.clear()
    whole = GET.replace(b"Range", b"X-Range")
    assert one.ask(whole).read(SIZE).body == DATA  # more than goes out with the head
    assert time.monotonic() - at < 60  # of the minutes that it would take


# -- the head


def test_another_status(line):
    """The status alone is another; the rest stands."""
    one = line(status=200, times=1).ask().read(1000)
    assert one.head[0] == "HTTP/1.1 200 OK"
    assert one.body == BODY
    assert one.fields("content-range") == [f"bytes 100-1099/{SIZE}"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied"), (404, "NoSuchKey"), (502, "BadGateway")],
)
def test_an_error_of_s3(line, archive, status, code):
    """With the document that S3 sends, and nothing of the object."""
    archive.faults = Fault(status=status)
    answer = _http(archive)
    assert (answer.status, answer.headers["Content-Type"], answer.headers["ETag"]) == (status, "application/xml", None)
    text = answer.read().decode()
    assert f"<Error><Code>{code}</Code><Message>" in text
    assert f"<RequestId>{answer.headers['x-amz-request-id']}</RequestId>" in text
    assert (last(archive).status, last(archive).bytes) == (status, len(text))


def test_an_error_under_a_good_status(archive):
    """As S3 gives it where it finds out too late."""
    archive.faults = Fault(status=200, error="InternalError")
    answer = _http(archive)
    assert (answer.status, answer.headers["Content-Range"]) == (200, None)
    assert b"<Code>InternalError</Code><Message>We encountered an internal error." in answer.read()


def test_an_error_of_mast(archive):
    """A page, for S3's documents are S3's."""
    archive.faults = Fault(service="mast", status=503)
    answer = _http(archive, "/api/v0.1/path_lookup/?uri=mast:HST/product/x.fits")
    assert (answer.status, answer.read()) == (503, b"<html><body><h1>503 Service Unavailable</h1></body></html>")
    assert _http(archive).status == 206


def test_a_redirect(archive):
    """A status and a field."""
    archive.faults = Fault(status=307, headers={"Location": "http://127.0.0.1:1/elsewhere"})
    answer = _http(archive)
    assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:1/elsewhere")
    assert b"<Code>TemporaryRedirect</Code>" in answer.read()


LIES = {
    "another version": ({"ETag": '"two"'}, "etag", ['"two"']),
    "no version": ({"etag": None}, "etag", []),
    "other bytes": ({"Content-Range": "bytes {start+7}-{last+7}/{size}"}, "content-range", [f"bytes 107-1106/{SIZE}"]),
    "another size": (
        {"Content-Range": "bytes {start}-{last}/{size-1}"},
        "content-range",
        [f"bytes 100-1099/{SIZE - 1}"],
    ),
    "no range": ({"Content-Range": None}, "content-range", []),
    "another length": ({"Content-Length": "{length+5}"}, "content-length", ["1005"]),
    "two lengths": ({"Content-Length": ["{length}", "7"]}, "content-length", ["1000", "7"]),
    "something new": ({"X-Odd": "{size}"}, "x-odd", [str(SIZE)]),
    "another day": ({"Date": "Sat, 01 Jan 2000 00:00:00 GMT"}, "date", ["Sat, 01 Jan 2000 00:00:00 GMT"]),
    "a false coding": ({"Content-Encoding": "gzip"}, "content-encoding", ["gzip"]),
}


@pytest.mark.parametrize(("headers", "name", "found"), LIES.values(), ids=LIES.keys())
def test_a_head_that_lies(line, archive, headers, name, found):
    """One field is another, is gone, or is there twice; all others and the body are as they were."""
    true = Line(archive).ask().read(1000)
    true.close()
    one = line(headers=headers).ask().read(100)
    assert one.fields(name) == found
    volatile = re.compile(rf"(?i)(date|x-amz-[a-z0-9-]+|{name}):")
    assert [h for h in one.head if not volatile.match(h)] == [h for h in true.head if not volatile.match(h)]
    assert one.body[:100] == BODY[:100]


def test_a_field_stays_in_its_place(line):
    """Another ETag stands where the true one stood."""
    one = line(headers={"etag": ['"a"', '"b"']}).ask().read(1000)
    names = [h.partition(":")[0] for h in one.head]
    at = names.index("etag")
    assert one.head[at : at + 2] == ['etag: "a"', 'etag: "b"']
    assert at < names.index("Content-Length")


def test_a_body_without_a_length_ends_with_the_connection(line):
    """There is no other way to tell."""
    one = line(headers={"Content-Length": None}).ask().read()
    assert (one.body, one.end, one.fields("content-length"), one.fields("connection")) == (
        BODY,
        "closed",
        [],
        ["close"],
    )


def test_the_old_version(line):
    """HTTP/1.0 ends with its answer."""
    one = line(http="1.0").ask().read()
    assert (one.head[0], one.body, one.end) == ("HTTP/1.0 206 Partial Content", BODY, "closed")


def test_something_that_is_no_http(line, archive):
    """Neither head nor length: what is sent is what the script holds, byte for byte."""
    raw = b"HTTP/1.1 206 Par\0\xff"
    one = line(raw=raw).ask().read()
    assert (one.got, one.end) == (raw, "closed")
    assert (last(archive).status, last(archive).bytes) == (0, len(raw))
    one = line(raw=raw, reset=4).ask().read()
    assert (one.got, one.end) == (raw[:4], "reset")


# -- the body


def test_another_body(line):
    """Under the head of the true one, with a length that agrees."""
    one = line(body="<html>Log in</html>").ask().read(19)
    assert one.body == b"<html>Log in</html>"
    assert (one.fields("content-length"), one.fields("content-range")) == (["19"], [f"bytes 100-1099/{SIZE}"])


def test_another_body_of_another_status(line):
    """Then nothing of the object is in the head."""
    one = line(status=200, body=b"\x89", headers={"Content-Type": "image/png"}).ask().read(1)
    assert (one.head[0], one.body) == ("HTTP/1.1 200 OK", b"\x89")
    assert one.fields("content-range") == one.fields("etag") == []
    assert one.fields("content-type") == ["image/png"]


def test_the_bytes_of_another_object(line, archive):
    """The same range of it, under this object's head."""
    one = line(bytes_of=OTHER).ask().read(500)
    assert one.body == ELSE[100:]
    assert one.fields("content-range") == [f"bytes 100-1099/{SIZE}"]
    far = GET.replace(b"100-1099", b"5000-5999")
    one = line(bytes_of=OTHER).ask(far).read(0)
    assert (one.body, one.fields("content-length")) == (b"", ["0"])


def test_another_object_that_is_not_there(archive):
    """The archive says what is wrong with the script."""
    archive.faults = Fault(bytes_of="hst/public/nowhere")
    answer = _http(archive)
    assert answer.status == 500
    assert (
        b"a fault sends the bytes of 'hst/public/nowhere', which the archive does not hold (HTTP 404)" in answer.read()
    )


def test_the_whole_object_for_a_range(line, archive):
    """As a server answers that has never heard of ranges."""
    one = line(whole=True).ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).read()
    assert (one.head[0], one.body) == ("HTTP/1.1 200 OK", DATA)
    assert one.fields("content-range") == []
    assert one.fields("content-length") == [str(SIZE)]


def test_a_slice_of_the_body(line, archive):
    """With a length that agrees, and a range that does not."""
    one = line(slice=(10, 40)).ask().read(28)
    assert (one.body, one.fields("content-length")) == (BODY[10:40], ["30"])
    assert one.fields("content-range") == [f"bytes 100-1099/{SIZE}"]
    one.parts.clear()
    assert one.ask().read(30).body == BODY[10:40]  # the connection goes on


@pytest.mark.parametrize(("at", "place"), [(0, 0), (500, 500), (999, 999), (-1, 999), (1000, None), (-1001, None)])
def test_a_flipped_bit(line, archive, at, place):
    """One bit of one byte; none where there is no such byte."""
    one = line(flip=at).ask().read(1000)
    wrong = [(n, a ^ b) for n, (a, b) in enumerate(zip(one.body, BODY, strict=True)) if a != b]
    assert wrong == ([] if place is None else [(place, 1)])


def test_bytes_that_come_twice(line, archive):
    """The end of the body spills over the announced length."""
    one = line(twice=(10, 14)).ask().read(1004)
    assert one.body == BODY[:14] + BODY[10:]
    assert one.fields("content-length") == ["1000"]


def test_bytes_that_were_not_announced(line, archive):
    """They stand where the next answer would begin."""
    one = line(extra="surplus").ask().read(1007)
    assert (one.body, one.fields("content-length")) == (BODY + b"surplus", ["1000"])
    one.ask().read(until=BODY + b"surplusHTTP/1.1 206")


def test_a_chunked_body(line, archive):
    """Chunks of the size asked for, the last one smaller, and no length."""
    one = line(chunked=300).ask().read(until=b"\r\n0\r\n\r\n")
    chunks = [BODY[n : n + 300] for n in range(0, 1000, 300)]
    assert one.body == b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"
    assert (one.fields("transfer-encoding"), one.fields("content-length")) == (["chunked"], [])
    archive.faults = Fault(chunked=7)
    assert _http(archive).read() == BODY


def test_a_chunked_body_with_a_length(line, archive):
    """Two framings that contradict each other."""
    one = line(chunked=5000, headers={"Content-Length": "9"}).ask().read(until=b"\r\n0\r\n\r\n")
    assert (one.fields("transfer-encoding"), one.fields("content-length")) == (["chunked"], ["9"])
    assert one.body == b"3e8\r\n" + BODY + b"\r\n0\r\n\r\n"


def test_many_small_chunks_do_not_nest(archive):
    """A body of tens of thousands of parts is sent from a loop."""
    archive.faults = Fault(chunked=100)
    assert _http(archive, Range=None).read() == DATA


def test_a_compressed_body(line):
    """Compressed in truth, and so announced."""
    one = line(gzip=True).ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).read()
    assert gzip.decompress(one.body) == BODY
    assert one.fields("content-encoding") == ["gzip"]
    assert one.fields("content-length") == [str(len(one.body))]


def test_a_listing_that_is_cut_short(archive):
    """Half of an XML document, whose length agrees."""
    archive.faults = Fault(key="", slice=(0, 200))
    text = _http(archive, "/stpubdata?list-type=2&prefix=hst").read()
    assert len(text) == 200
    assert text.startswith(b"<?xml")


def test_an_answer_without_a_body_has_none(line, archive):
    """HEAD is answered by a head, whatever happens to the body."""
    head = GET.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    one = line(flip=0, body="x", chunked=4).ask(head).read()
    assert one.body == b""
    assert one.fields("transfer-encoding") == ["chunked"]
    one = line(whole=True).ask(head).read()
    assert (one.body, one.fields("content-length")) == (b"", [str(SIZE)])
    assert last(archive).bytes == 0
    assert line(status=304).ask(head.replace(b"HEAD", b"GET")).read().body == b""


# -- which request


def _http(archive, path=f"/stpubdata/{KEY}", **headers):
    connection = http.client.HTTPConnection(urlsplit(archive.endpoint).netloc, timeout=10)
    wanted = {"Range": "bytes=100-1099", "Connection": "close"} | headers
    connection.request("GET", path, headers={name: value for name, value in wanted.items() if value})
    return connection.getresponse()


def test_rows_tell_the_fault(archive):
    """Each request names the fault that it met, and none where it met none."""
    busy, cut = Fault(status=503, times=1), Fault(drop=10, times=1)
    archive.faults = [busy, cut]
    for _ in range(3):
        _http(archive)
    assert [(r.status, r.bytes, r.fault) for r in archive.requests] == [
        (503, last_bytes := archive.requests[0].bytes, busy),
        (206, 10, cut),
        (206, 1000, None),
    ]
    assert last_bytes > 100
    assert archive.requests[0].headers["range"] == "bytes=100-1099"


def test_a_script_begins_anew_when_it_is_set(archive):
    """Also where it is the same one."""
    archive.faults = Fault(status=503, times=1)
    assert [_http(archive).status for _ in range(2)] == [503, 206]
    archive.faults = archive.faults
    assert [_http(archive).status for _ in range(2)] == [503, 206]


def test_faults_hold_with_latency_and_bandwidth(archive):
    """They come on top of what the archive does anyway."""
    with LocalArchive(archive.folder, latency=0.1, bandwidth=10_000, faults=Fault(delay=0.1, drop=500)) as slow:
        one = Line(slow).ask().read()
        one.close()
    assert one.parts[0][0] >= 0.2
    assert one.parts[-1][0] >= 0.22
    assert (one.body, one.end) == (BODY[:500], "closed")


def test_pipelined_requests_meet_their_own_faults(line, archive):
    """Requests that wait behind a stalled one are answered after it, in order."""
    script = (Fault(stall=3, stall_for=0.1, times=1), Fault(status=404, times=1))
    one = line(delay=1)
    archive.faults = script
    one.ask(GET * 2 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", one.got) == [b"206", b"404", b"206"]
    assert one.got.count(BODY) == 2


def test_faults_may_be_changed_while_requests_come(archive):
    """From any thread: no answer is mixed, and none fails."""
    stop = threading.Event()
    scripts = [None, Fault(status=503), [Fault(flip=0)]]

    def change():
        n = 0
        while not stop.is_set():
            archive.faults = scripts[(n := n + 1) % 3]

    changing = threading.Thread(target=change)
    changing.start()
    try:
        kinds = set()
        for _ in range(300):
            answer = _http(archive)
            body = answer.read()
            kinds.add((answer.status, body == BODY))
            assert (answer.status == 503) == (b"<Code>SlowDown" in body)
    finally:
        stop.set()
        changing.join()
    assert kinds <= {(206, True), (206, False), (503, False)}


def test_stalled_connections_do_not_outlive_the_archive(archive):
    """It stops at once, whatever it is in the middle of."""
    with LocalArchive(archive.folder, faults=[Fault(stall=5, times=1), Fault(delay=60)]) as other:
        lines = [Line(other).ask().read(5)]
        lines.append(Line(other).ask())
        assert lines[1].quiet(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 20
    for each in lines:
        each.close()


def test_a_process_with_a_script(archive, tmp_path):
    """A script of JSON is run by a process of its own, and a mistake in it is one line on stderr."""
    path = tmp_path / "script.json"
    path.write_text(Script((Fault(status=503, times=1), Fault(flip=0))).to_json())
    command = [sys.executable, "-m", "hst_cloud.testing", str(archive.folder), "--faults", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        endpoint = process.stdout.readline().strip()
        netloc = urlsplit(endpoint).netloc
        found = []
        for _ in range(2):
            connection = http.client.HTTPConnection(netloc, timeout=10)
            connection.request("GET", f"/stpubdata/{KEY}", headers={"Range": "bytes=0-0"})
            answer = connection.getresponse()
            found.append((answer.status, answer.read()[:1]))
            connection.close()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert found == [(503, b"<"), (206, b"\x01")]
    assert (process.returncode, errors) == (0, "")
    path.write_text(json.dumps([{"statut": 503}]))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "script.json: fault 1 of 1: a fault has no field 'statut': did you mean 'status'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- properties of the steps

CONTENT = os.urandom(500)


@given(
    start=st.integers(0, 400),
    size=st.integers(0, 100),
    flip=st.none() | st.integers(-120, 120),
    twice=st.none() | st.tuples(st.integers(0, 60), st.integers(60, 120)),
    extra=st.none() | st.binary(max_size=5),
    slice=st.none() | st.tuples(st.integers(0, 50), st.integers(50, 120)),
    drop=st.none() | st.integers(0, 150),
    stall=st.none() | st.integers(0, 150),
    forever=st.booleans(),
)
def test_the_steps_send_what_counting_byte_by_byte_sends(*, start, size, forever, **given):
    """Any body under any fault is what plain lists of bytes make of it, and its length is told truly."""
    given = {name: value for name, value in given.items() if value is not None}
    flip, twice, extra, cut, drop, stall = map(given.get, ["flip", "twice", "extra", "slice", "drop", "stall"])
    if stall is not None and not forever:
        given["stall_for"] = 1.0
    fault = Fault(delay=1.0, **given)
    headers = {"Content-Range": f"bytes {start}-{start + size - 1}/500"}
    answer = Answer(206, headers, FilePart(Memory(CONTENT), start, start + size))
    form = scripted(fault, Ask("GET", "/stpubdata/k", "", {}), answer, other=lambda _: answer)
    sent = b"".join(
        s.part.file.read(s.part.start, s.part.stop - s.part.start) for s in form.steps if isinstance(s, Send)
    )
    head, _, body = sent.partition(b"\r\n\r\n")
    expected = list(CONTENT[start : start + size])
    if cut:
        expected = expected[cut[0] : cut[1]]
    assert f"Content-Length: {len(expected)}\r\n".encode() in head
    if flip is not None and -len(expected) <= flip < len(expected):
        expected[flip] ^= 1
    if twice:
        expected = expected[: twice[1]] + expected[twice[0] :]
    expected += list(extra or b"")
    whole = len(expected)
    if drop is not None:
        expected = expected[:drop]
    if stall is not None and forever and not (drop is not None and drop < min(whole, stall)):
        expected = expected[:stall]
    assert list(body) == expected
    ends = drop is not None
    hangs = stall is not None and forever and not (ends and drop < min(whole, stall))
    assert (Wait(None) in form.steps) == hangs
    assert (End("drop") in form.steps) == (ends and not hangs)
    assert form.sent == len(expected)


def test_scripts_of_files_are_read_when_they_are_given(tmp_path):
    """What is changed in the file afterwards is not seen."""
    path = tmp_path / "script.json"
    path.write_text('[{"delay": 1}]')
    script = as_script(path)
    path.unlink()
    assert script == Script((Fault(delay=1),))
