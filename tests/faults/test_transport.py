"""Rows 1 to 15 of the matrix of faults: the network."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from faults.conftest import BRISK, CONTENT, HASTY, QUICK
from store.test_drive import waits_until

import hst_cloud as hst
from hst_cloud.errors import HSTCloudError, StoreUnavailableError
from hst_cloud.store.objects import HTTPStore
from hst_cloud.store.policy import S3
from hst_cloud.testing import Fault, random_faults
from hst_cloud.values import ByteRange

TRIES = QUICK.tries


def test_row_1_a_name_that_no_server_knows(monkeypatch):
    """It fails long before the deadline, and says what could not be found and what to do."""

    def unknown(host, *_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=r"nowhere\.invalid.*Check the connection"):
        HTTPStore("http://nowhere.invalid/bucket", policy=QUICK).read("k", [ByteRange(0, 5)])
    assert time.monotonic() - began < 10


def test_row_2_a_refused_connection():
    """The error names the address, and comes long before the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=rf"127\.0\.0\.1:{port}") as caught:
        HTTPStore(f"http://127.0.0.1:{port}/b", policy=QUICK).read("k", [ByteRange(0, 5)])
    assert caught.value.attempts == TRIES
    assert time.monotonic() - began < 10


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what Linux leaves waiting")
def test_row_2_a_connection_that_is_never_made():
    """Where nobody picks up, the time-out for connections ends each try."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        for _ in range(3):  # what the kernel takes before it lets others wait
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(listener.getsockname())
        store = HTTPStore("http://{}:{}/b".format(*listener.getsockname()), policy=replace(QUICK, connect=0.2, tries=2))
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            store.read("k", [ByteRange(0, 5)])
        assert 0.2 < time.monotonic() - began < 10


def test_row_3_a_reset_before_the_head(read):
    """One request more, and nobody notices."""
    found = read(Fault(reset="before", times=1))
    assert found.whole
    assert len(found.requests) == 2


@pytest.mark.parametrize("at", [0, 1, 1700, 4999])
@pytest.mark.parametrize("how", ["reset", "drop"])
def test_row_4_a_connection_that_breaks_within_the_body(read, archive, how, at):
    """The next request asks for the rest, of the same version."""
    found = read(Fault(**{how: at}, times=1))
    assert found.whole
    first, second = found.requests
    assert (first.range, second.range) == ("bytes=1000-5999", f"bytes={1000 + at}-5999")
    assert ("if-match" in second.headers) == (at > 0)


def test_row_5_a_black_hole(read):
    """A request that is never answered is left after the time-out for the first byte, and asked again."""
    found = read(Fault(stall="before", times=1), policy=HASTY)
    assert found.whole
    assert found.seconds < QUICK.read


def test_row_5_nothing_but_black_holes(read, archive):
    """They end in an error after all tries, which says how many there were."""
    found = read(Fault(stall="before"), policy=HASTY)
    assert isinstance(found.error, StoreUnavailableError)
    assert found.error.attempts == TRIES
    assert waits_until(lambda: len(archive.requests) == TRIES)  # the last of which may be heard after it was given up


def test_row_5_a_black_hole_under_the_users_own_patience(archive):
    """With the policy of the public bucket the second request is on its way after five seconds."""
    archive.faults = Fault(stall="before", times=1)
    store = HTTPStore(f"{archive.endpoint}/stpubdata")
    began = time.monotonic()
    assert store.read(archive.key, [ByteRange(0, 10)])[0].data == CONTENT[:10]
    assert S3.read == 5 <= time.monotonic() - began < 15


def test_row_6_a_body_that_drips(read):
    """A body of some bytes a second is given up, and gone on with on another connection."""
    found = read(Fault(drip=50.0, times=1), policy=BRISK)
    assert found.whole
    assert found.seconds < 10  # of a hundred that the body would take
    first, second = found.requests
    assert int(second.range[6:].partition("-")[0]) >= int(first.range[6:].partition("-")[0])


def test_row_7_a_body_that_stands_still_and_goes_on(read):
    """A short pause is waited for: no byte is missing or there twice."""
    found = read(Fault(stall=1700, stall_for=0.15))
    assert found.whole
    assert len(found.requests) == 1


def test_row_7_a_body_that_stands_still_for_ever(read):
    """It is given up, and gone on with where it stood."""
    found = read(Fault(stall=1700, times=1), policy=BRISK)
    assert found.whole
    assert [request.range for request in found.requests] == ["bytes=1000-5999", "bytes=2700-5999"]


def test_row_8_a_body_that_is_cut_short_again_and_again(read):
    """Each try brings something, so that a few of them bring everything; no byte is asked for twice."""
    found = read(Fault(drop=1000))
    assert found.whole
    assert [int(request.range[6:].partition("-")[0]) for request in found.requests] == [1000, 2000, 3000, 4000, 5000]
    empty = read(Fault(drop=0))
    assert isinstance(empty.error, StoreUnavailableError)
    assert f"{TRIES} tries" in str(empty.error)
    assert "bytes 1000-5999" in str(empty.error)


@pytest.mark.parametrize(
    "extra", [b"x", b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nwrong", b"\0" * 5000]
)
def test_row_9_more_bytes_than_were_announced(read, extra):
    """What stands behind an answer is never taken for a part of it, or for the next one."""
    for _ in range(3):
        found = read(Fault(extra=extra), wanted=[ByteRange(n, n + 5000) for n in (0, 9000, 27_000)])
        assert found.error is None or isinstance(found.error, StoreUnavailableError)
    assert any(read().error is None for _ in range(5))  # each of the three connections is left at the latest then


CONTRADICTIONS = {
    "two lengths": {"headers": {"Content-Length": ["{length}", "7"]}},
    "chunks and a length": {"chunked": 1000, "headers": {"Content-Length": "{length}"}},
    "chunks and a wrong length": {"chunked": 1000, "headers": {"Content-Length": "9"}},
    "a length that is no number": {"headers": {"Content-Length": "many"}},
    "a length below zero": {"headers": {"Content-Length": "-5"}},
    "two ranges, the first a lie": {"headers": {"Content-Range": ["bytes 0-4/5", "bytes {start}-{last}/{size}"]}},
}


@pytest.mark.parametrize("contradiction", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_row_10_heads_that_contradict_themselves(read, contradiction):
    """Such an answer is an error, or the right bytes; it spoils none of those that follow."""
    found = read(Fault(**contradiction))
    assert found.error is None or isinstance(found.error, StoreUnavailableError)
    again = read(Fault(**contradiction, times=1))
    assert again.error is None or isinstance(again.error, StoreUnavailableError)
    assert read().whole


@pytest.mark.parametrize("after", [0.0, 0.02])
def test_row_11_a_kept_connection_that_dies_while_it_waits(read, after):
    """Every read is right, and the user hears nothing of connections that were closed between them."""
    for _ in range(5):
        assert read(Fault(hangup=after)).whole
        time.sleep(0.03)


SECURE = """
import json, sys, time
from dataclasses import replace
from hst_cloud.errors import HSTCloudError
from hst_cloud.store.objects import HTTPStore
from hst_cloud.store.policy import S3
from hst_cloud.values import ByteRange
found = {}
for name, root in json.loads(sys.argv[1]).items():
    store = HTTPStore(root, policy=replace(S3, connect=20, read=20, base=0.01, longest=0.02))
    try:
        found[name] = store.read("k", [ByteRange(0, 5)])[0].data.decode()
    except HSTCloudError as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def certificates(folder):
    """Make an authority and certificates of it for this machine, for the past, and for somebody else."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(UTC)

    def certificate(common, names, start, stop, issuer=None):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
        by, signing = (issuer[0].subject, issuer[1]) if issuer else (name, key)
        builder = x509.CertificateBuilder(by, name, key.public_key(), x509.random_serial_number(), start, stop)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return builder.sign(signing, hashes.SHA256()), key

    def store(name, made):
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path = folder / f"{name}.pem"
        path.write_bytes(made[0].public_bytes(form[0]) + made[1].private_bytes(*form))
        return path

    here, day = [x509.IPAddress(ip_address("127.0.0.1"))], timedelta(days=1)
    authority = certificate("authority", here, now - 9 * day, now + 9 * day)
    return {
        "authority": store("authority", authority),
        "good": store("good", certificate("good", here, now - day, now + day, authority)),
        "expired": store("expired", certificate("expired", here, now - 3 * day, now - day, authority)),
        "wrong host": store("other", certificate("other", [x509.DNSName("x.org")], now - day, now + day, authority)),
        "self-signed": store("stranger", certificate("stranger", here, now - day, now + day)),
    }


class Secure:
    """Answers one range over TLS, and counts who came."""

    def __init__(self, path, *, old=False):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path)
        if old:
            self.context.set_ciphers("DEFAULT:@SECLEVEL=0")
            self.context.minimum_version = self.context.maximum_version = ssl.TLSVersion.TLSv1_1
        self.tried = 0
        self.plain = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.root = f"https://127.0.0.1:{self.listener.getsockname()[1]}/bucket"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def end(self):
        with contextlib.suppress(OSError):  # not connected, say systems where closing alone wakes who accepts
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.tried += 1
                with contextlib.suppress(OSError):
                    self.plain.append(connection.recv(5, socket.MSG_PEEK))
                    with self.context.wrap_socket(connection, server_side=True) as line:
                        line.recv(65536)
                        line.sendall(
                            b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n"
                            b"Connection: close\r\n\r\nright"
                        )
                connection.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # the old version is what is tested
def test_row_12_connections_that_cannot_be_trusted(tmp_path, monkeypatch):
    """Expired, made for another host, signed by nobody, too old: no bytes, no second way, and a hint at certificates.

    Which lie wherever they lie: not only in folders whose names are ASCII.
    """
    folder = tmp_path / "café"
    folder.mkdir()
    made = certificates(folder)
    servers = {name: Secure(path) for name, path in made.items() if name != "authority"}
    servers["old"] = Secure(made["good"], old=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(made["authority"]))  # read once in a process: hence one of its own
    try:
        roots = json.dumps({name: server.root for name, server in servers.items()})
        done = subprocess.run(
            [sys.executable, "-c", SECURE, roots], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
    finally:
        for server in servers.values():
            server.end()
    assert found.pop("good") == "right"
    for name, said in found.items():
        assert said.startswith("StoreUnavailableError: https://127.0.0.1"), (name, said)
        assert all(first[:1] == b"\x16" for first in servers[name].plain), "spoke without TLS"
    for name in ("expired", "wrong host", "self-signed"):
        assert "SSL_CERT_FILE" in found[name]
        assert servers[name].tried == 1


def test_row_13_a_hotels_page_instead_of_bytes(read, archive, monkeypatch):
    """HTML is never taken for a file, whatever its status; proxies of the environment are not used."""
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:9")
    page = {"body": "<html>Please log in</html>" + " " * 5000, "headers": {"Content-Type": "text/html"}}
    assert isinstance(read(Fault(status=200, **page)).error, StoreUnavailableError)
    refused = read(Fault(status=407, **page)).error
    assert isinstance(refused, StoreUnavailableError)
    assert "407" in str(refused)
    archive.faults = Fault(status=200, **page)
    with pytest.raises(HSTCloudError, match="ignored the range"):
        hst.open("jbqf03gjq_flc.fits")


def test_row_14_a_far_and_lossy_line(archive):
    """With a long way and a connection in fifty lost, reads are slower, and all are right."""
    archive.stop()
    archive.latency = 0.05
    archive.start()
    try:
        archive.faults = random_faults(0.02, seed=1, faults=[Fault(reset="before"), Fault(reset=500), Fault(drop=0)])
        store = HTTPStore(f"{archive.endpoint}/stpubdata", policy=QUICK)
        wanted = [ByteRange(n * 700, n * 700 + 600) for n in range(500)]
        pieces = store.read(archive.key, wanted)
        assert [piece.data for piece in pieces] == [CONTENT[start:stop] for start, stop in wanted]
        assert any(request.fault for request in archive.requests)
    finally:
        archive.latency = 0.0
