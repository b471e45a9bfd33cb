"""The embedded archive as a server: its life, what it keeps of requests, and HTTP as it is spoken in the wild."""

import gc
import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.testing import LocalArchive, Request
from hst_cloud.testing.s3 import span_of

KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
PATH = f"/stpubdata/{KEY}"
DATA = os.urandom(3_000_000)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    return tmp_path


def _get(archive, path=PATH, method="GET", **headers):
    connection = http.client.HTTPConnection(urlsplit(archive.endpoint).netloc, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def _talk(archive, sent: bytes, *, shut: bool = False) -> bytes:
    """Send raw bytes and return everything until the archive closes the connection."""
    with socket.create_connection(urlsplit(archive.endpoint).netloc.split(":"), timeout=20) as line:
        line.sendall(sent)
        if shut:
            line.shutdown(socket.SHUT_WR)
        parts = []
        while part := line.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)


# -- its life


def test_construction_touches_nothing(tmp_path):
    """No thread, no socket and no look at the folder before it starts."""
    threads = set(threading.enumerate())
    archive = LocalArchive(tmp_path / "not there")
    assert set(threading.enumerate()) <= threads
    assert "stopped" in repr(archive)
    with pytest.raises(RuntimeError, match="start it"):
        archive.endpoint  # noqa: B018  # raises
    with pytest.raises(NotADirectoryError, match=r"not there.*hst/public"):
        archive.start()


def test_nothing_is_left_behind(folder):
    """On exit threads, sockets and open files are gone, with connections open and workers used."""
    _descriptors()  # what the first look opens
    before, threads = _descriptors(), set(threading.enumerate())
    for _ in range(3):
        with LocalArchive(folder) as archive:
            line = http.client.HTTPConnection(urlsplit(archive.endpoint).netloc, timeout=20)
            line.request("GET", PATH)  # hashed by a worker, left unread
            answer = line.getresponse()
            assert len(set(threading.enumerate()) - threads) > 0
            answer.close()
            line.close()
    assert set(threading.enumerate()) <= threads
    assert not Counter(_descriptors()) - Counter(before)


def test_a_connection_that_comes_as_it_stops_is_closed(tmp_path, monkeypatch):
    """asyncio forgets a connection whose listener was closed before it was served; the collector complained of it."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for _ in range(20):
        archive = LocalArchive(tmp_path).start()
        host, port = urlsplit(archive.endpoint).netloc.split(":")
        with socket.create_connection((host, int(port))):
            archive.stop()
    gc.collect()
    assert told == []


def _descriptors() -> list[str]:
    """Return what the open descriptors of this process are, or nothing where that cannot be told."""
    folder = Path("/proc/self/fd")
    # The one that lists is gone when it is looked at.
    return sorted(str(link.readlink()) for link in folder.iterdir() if link.is_symlink()) if folder.is_dir() else []


def test_entering_makes_it_the_default_and_leaving_restores(folder, monkeypatch):
    """HST_CLOUD_ENDPOINT is set inside and as before outside, also when one archive stands within another."""
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", "http://127.0.0.1:1")
    with LocalArchive(folder) as outer:
        assert os.environ["HST_CLOUD_ENDPOINT"] == outer.endpoint
        with LocalArchive(folder) as inner:
            assert os.environ["HST_CLOUD_ENDPOINT"] == inner.endpoint != outer.endpoint
        assert os.environ["HST_CLOUD_ENDPOINT"] == outer.endpoint
    assert os.environ["HST_CLOUD_ENDPOINT"] == "http://127.0.0.1:1"
    monkeypatch.delenv("HST_CLOUD_ENDPOINT")
    with LocalArchive(folder):
        pass
    assert "HST_CLOUD_ENDPOINT" not in os.environ


def test_start_and_stop_leave_the_environment_alone(folder):
    """An archive that is started by hand can be stopped twice, and started again."""
    archive = LocalArchive(folder)
    for _ in range(2):
        assert archive.start() is archive.start()
        assert _get(archive)[0] == 200
        assert "HST_CLOUD_ENDPOINT" not in os.environ
        archive.stop()
        archive.stop()


def test_a_taken_port_is_an_error_of_the_caller(folder):
    """The port is bound before the thread starts, so that the error is raised where it can be caught."""
    with LocalArchive(folder) as archive:
        port = int(archive.endpoint.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            LocalArchive(folder, port=port).start()


# -- what it keeps


def test_requests_are_kept_in_order(folder):
    """Each request is a record with what was asked, what was answered, and of which service."""
    with LocalArchive(folder) as archive:
        _get(archive, Range="bytes=0-99")
        _get(archive, method="HEAD")
        _get(archive, "/api/v0.1/path_lookup/?uri=mast:HST/product/x.fits")
        first, second, third = archive.requests
        assert first == Request("GET", PATH, "", "bytes=0-99", 206, 100, "s3")
        assert (second.method, second.status, second.bytes) == ("HEAD", 200, 0)
        assert (third.service, third.query) == ("mast", "uri=mast:HST/product/x.fits")
        archive.forget()
        assert archive.requests == []


def test_waiting_requests_overlap(folder):
    """With latency, requests of several connections wait together: all are in flight at once."""
    with LocalArchive(folder, latency=0.3) as archive, ThreadPoolExecutor(8) as pool:
        begun = time.monotonic()
        answers = list(pool.map(lambda _: _get(archive, Range="bytes=0-9"), range(8)))
        assert time.monotonic() - begun >= 0.3
        assert {answer[2] for answer in answers} == {DATA[:10]}
        assert max(request.in_flight for request in archive.requests) == 8


def test_bandwidth_holds_a_connection_back(folder):
    """A body takes at least its size over the bandwidth, and arrives whole."""
    with LocalArchive(folder, bandwidth=6_000_000) as archive:
        begun = time.monotonic()
        assert _get(archive, Range="bytes=0-1199999")[2] == DATA[:1_200_000]
        assert time.monotonic() - begun >= 0.2 - 0.02  # less the 2 ms that it may run ahead, and the clock's grain


# -- files change


def test_a_replaced_file_is_another_object(folder):
    """New content at the same name has a new ETag at once, even of the same size and within one tick of the clock."""
    path = folder / KEY
    with LocalArchive(folder) as archive:
        for content in (b"a" * 100, b"b" * 100, b"c" * 100, DATA, DATA[::-1]):
            path.write_bytes(content)
            status, headers, body = _get(archive)
            assert (status, body) == (200, content)
            assert headers["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
            assert _get(archive, If_Match='"0"')[0] == 412
        path.unlink()
        assert _get(archive)[0] == 404


def test_an_answer_under_way_is_of_one_version(folder):
    """A file that is replaced by another while it is sent arrives as it was when the answer began."""
    with LocalArchive(folder) as archive:
        line = http.client.HTTPConnection(urlsplit(archive.endpoint).netloc, timeout=20)
        line.request("GET", PATH)
        answer = line.getresponse()
        begin = answer.read(1000)
        other = folder / "other"
        other.write_bytes(b"x" * len(DATA))
        other.replace(folder / KEY)
        assert begin + answer.read() == DATA
        line.close()


def test_a_file_that_shrinks_cuts_the_connection(folder):
    """What was promised can no longer be sent: the client sees a broken answer, not a short one."""
    path = folder / KEY
    path.write_bytes(b"x" * 50_000_000)
    with LocalArchive(folder) as archive:
        line = http.client.HTTPConnection(urlsplit(archive.endpoint).netloc, timeout=20)
        line.request("GET", PATH)
        answer = line.getresponse()
        os.truncate(path, 1000)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
        line.close()


@pytest.mark.parametrize(
    "path",
    [
        "/stpubdata/../secret",
        "/stpubdata/%2e%2e/secret",
        "/stpubdata/..%2fsecret",
        "/stpubdata/hst/public/../../../secret",
        "/stpubdata//etc/passwd",
        "/stpubdata/%2fetc/passwd",
        "/stpubdata/hst/%00",
        "/stpubdata/hst/%ff",
        "/stpubdata/catalog.json",
        "/stpubdata/mast-only/hidden.fits",
        "/api/v0.1/Download/file?uri=mast:HST/product/../../secret",
    ],
)
def test_nothing_outside_the_bucket_is_served(folder, path):
    """No spelling of a path leaves the folder or reaches what is not an object."""
    bucket = folder / "bucket"
    (bucket / "mast-only").mkdir(parents=True)
    for name in ("bucket/catalog.json", "bucket/mast-only/hidden.fits", "secret"):
        (folder / name).write_text("{}")
    with LocalArchive(bucket) as archive:
        assert _get(archive, path)[0] in {400, 404}
        assert b"hidden" not in _get(archive, "/stpubdata?list-type=2")[2]


# -- HTTP in the wild


def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(folder):
    """Requests sent without waiting for answers, with bodies and large answers among them, come back in order."""
    get = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nRange: bytes={{}}\r\n\r\n"
    post = "POST /api/v0/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nrequest={"
    sent = get.format("0-9") + get.format("10-1999999") + post + get.format("5-6")
    last = f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with LocalArchive(folder) as archive:
        received = _talk(archive, (sent + last).encode())
        assert [request.bytes for request in archive.requests][:2] == [10, 1_999_990]
    heads = received.split(b"HTTP/1.1 ")
    assert [head[:3] for head in heads[1:]] == [b"206", b"206", b"200", b"206", b"200"]
    assert DATA[10:2_000_000] in received
    assert heads[4].endswith(DATA[5:7])


def test_a_hundred_pipelined_requests_do_not_nest(folder):
    """A long pipeline is answered from the loop, however many requests there are."""
    get = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n".encode()
    with LocalArchive(folder) as archive:
        received = _talk(archive, get * 3000 + get.replace(b"Host: x", b"Connection: close"))
        assert received.count(b"HTTP/1.1 206 ") == 3001


def test_a_request_may_come_byte_by_byte(folder):
    """Heads and bodies that arrive in pieces are put together."""
    sent = b"POST /api/v0/invoke HTTP/1.1\r\nConnection: close\r\nContent-Length: 9\r\n\r\nrequest={"
    with LocalArchive(folder) as archive:
        with socket.create_connection(urlsplit(archive.endpoint).netloc.split(":"), timeout=20) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in sent:
                line.sendall(bytes([byte]))
            assert line.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        assert archive.requests[0].body == "request={"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST /api/v0/invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /api/v0/invoke HTTP/1.1\r\nContent-Length: many\r\n\r\n", 411),
        (b"POST /api/v0/invoke HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET /" + b"x" * 70_000, 431),
    ],
)
def test_what_is_no_request_is_refused(folder, sent, status):
    """A refusal closes the connection, and the archive goes on serving others."""
    with LocalArchive(folder) as archive:
        assert _talk(archive, sent).startswith(f"HTTP/1.1 {status} ".encode())
        assert archive.requests == []
        assert _get(archive)[0] == 200


def test_old_and_half_closed_clients_get_their_answer(folder):
    """HTTP/1.0 ends with its answer; a client that shuts its side down is still answered in full."""
    with LocalArchive(folder, latency=0.05) as archive:
        assert _talk(archive, f"GET {PATH} HTTP/1.0\r\n\r\n".encode()).endswith(DATA)
        assert _talk(archive, f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), shut=True).endswith(DATA)


def test_a_client_that_waits_to_send_its_body_is_told_to_continue(folder):
    """Expect: 100-continue is answered before the body comes."""
    head = b"POST /api/v0/invoke HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
    with (
        LocalArchive(folder) as archive,
        socket.create_connection(urlsplit(archive.endpoint).netloc.split(":"), timeout=20) as line,
    ):
        line.sendall(head)
        assert line.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b"request={")
        assert line.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_a_slow_reader_gets_everything(folder):
    """The archive waits for the socket, serves others meanwhile, and what was read late is what was asked for."""
    path = folder / KEY
    with path.open("r+b") as file:
        file.truncate(60_000_000)  # more than the sockets of both sides hold
    with LocalArchive(folder) as archive:
        line = http.client.HTTPConnection(urlsplit(archive.endpoint).netloc, timeout=20)
        line.request("GET", PATH)
        answer = line.getresponse()
        time.sleep(0.1)
        assert _get(archive, Range="bytes=0-0")[2] == DATA[:1]
        assert answer.read() == DATA + bytes(60_000_000 - len(DATA))
        line.close()


def test_a_failure_of_the_archive_is_an_answer(folder):
    """A broken catalog.json is told to the client with its reason, and objects are served as before."""
    (folder / "catalog.json").write_text("{nonsense")
    with LocalArchive(folder) as archive:
        status, _, body = _get(archive, "/api/v0.1/path_lookup/?uri=mast:HST/product/x.fits")
        assert status == 500
        assert b"catalog.json is no JSON" in body
        assert _get(archive)[0] == 200


# -- a process of its own


def test_served_from_a_process_of_its_own(folder):
    """The first line of output is the address; an interrupt or a termination ends it quietly."""
    command = [sys.executable, "-m", "hst_cloud.testing", str(folder), "--latency", "0.01", "--bandwidth", "90e6"]
    for end in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            endpoint = process.stdout.readline().strip()
            line = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=20)
            line.request("GET", PATH)
            assert line.getresponse().read() == DATA
            line.close()
            process.send_signal(end)
            _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")


def test_a_process_without_a_folder_says_so(tmp_path):
    """A folder that is not there is one line on stderr and exit code 1."""
    command = [sys.executable, "-m", "hst_cloud.testing", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- ranges


@given(st.integers(0, 50), st.none() | st.integers(0, 60), st.none() | st.integers(0, 60))
def test_ranges_mean_what_the_standard_says(size, first, last):
    """Any well-formed range selects the bytes that counting them one by one selects; RFC 9110, 14.1.2."""
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    span = span_of(text, size)
    if first is None and last is None:
        assert span is None
    elif first is None:
        assert span == (max(0, size - last), size)
    elif last is not None and last < first:
        assert span is None
    else:
        selected = [i for i in range(size) if first <= i and (last is None or i <= last)]
        assert list(range(*span)) == selected


@given(st.text(max_size=20))
def test_no_text_breaks_the_range_parser(text):
    """Anything is a span within the object, empty, or ignored."""
    span = span_of("bytes=" + text, 100)
    assert span is None or span[1] <= 100
