"""Rows of the matrix of faults that are the one policy's: slow answers, refusals, and what this machine can bear."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace

import pytest
from faults.conftest import BRISK, CONTENT, NAME, QUICK
from support import put

import hst_cloud as hst
from hst_cloud.errors import HSTCloudWarning, ObjectChangedError, StoreUnavailableError, ThrottledError
from hst_cloud.store import objects
from hst_cloud.store.objects import HTTPStore
from hst_cloud.testing import Fault, LocalArchive
from hst_cloud.values import ByteRange

HEDGED = replace(QUICK, read=20, stall=20, hedge=0.1)
WARM = [ByteRange(n, n + 10) for n in range(16)]  # as many as it takes to know what is usual: none of them is raced


@pytest.fixture(params=["transfers", "streams"])
def engine(request, monkeypatch):
    """Have every range read by one of the two engines."""
    monkeypatch.setattr(objects, "LARGE", 1 if request.param == "streams" else 10**9)
    monkeypatch.setattr(objects, "WHOLE", 0)  # threads receive into memory, as they do of what is large


@pytest.fixture
def warm(archive):
    """Return a function that reads from a host that is known to answer soon, and tells requests and seconds."""

    def reading(*faults, policy=HEDGED):
        wanted = ByteRange(1000, 6000)
        store = HTTPStore(f"{archive.endpoint}/stpubdata", policy=policy)
        for each in WARM:
            store.read(archive.key, [each])
        archive.forget()
        archive.faults = list(faults)
        before, began = store.traffic.requests, time.monotonic()
        (piece,) = store.read(archive.key, [wanted])
        seconds = time.monotonic() - began
        assert piece.data == CONTENT[wanted.start : wanted.stop]
        assert store.traffic.requests - before == len(archive.requests)
        return len(archive.requests), seconds

    return reading


# --- Slow answers ----------------------------------------------------------------------------------------------------


def test_row_5_a_request_that_is_far_slower_than_usual_is_raced(warm, engine):
    """A second one is sent long before the first one's time is up, and its answer taken."""
    requests, seconds = warm(Fault(stall="before", times=1))
    assert requests == 2
    assert seconds < 10 < HEDGED.read


def test_row_5_the_first_request_may_still_win(warm, engine):
    """Whichever is answered first: no byte is taken from both."""
    requests, seconds = warm(Fault(delay=2, times=1), Fault(delay=15, times=1))
    assert requests == 2
    assert 2 < seconds < 15


def test_row_5_two_answers_at_the_same_time(warm, engine):
    """The one that begins second is refused, while bytes of the first still come."""
    requests, _ = warm(Fault(delay=2, drip=6000.0, times=1), Fault(delay=2, times=1))
    assert requests == 2


def test_row_5_a_second_request_that_breaks_off_is_gone_on_with(warm, engine):
    """It has won when it breaks off, and its bytes are kept."""
    requests, seconds = warm(Fault(stall="before", times=1), Fault(drop=1000, times=1))
    assert requests == 3
    assert seconds < 10 < HEDGED.read


def test_row_5_a_first_request_that_fails_leaves_it_to_the_second(warm):
    """A reset of the one is no reason to leave the other."""
    requests, _ = warm(Fault(stall="before", stall_for=2, reset=0, times=1), Fault(delay=3, times=1))
    assert requests == 2


def test_row_5_no_second_request_where_none_may_be_sent(warm):
    """Not beyond the bound on requests in flight, nor beyond a budget, nor where the policy wants none."""
    late = Fault(delay=0.4, times=1)
    assert warm(late, policy=replace(HEDGED, in_flight=1))[0] == 1
    assert warm(late, policy=replace(HEDGED, hedge=None))[0] == 1
    with hst.budget(requests=len(WARM) + 1) as spent:
        assert warm(late)[0] == 1
    assert spent.spent.requests == len(WARM) + 1


def test_row_5_a_second_request_counts(warm):
    """What it takes is taken from the budget that is in force."""
    with hst.budget(requests=100) as spent:
        assert warm(Fault(delay=3, times=1))[0] == 2
    assert spent.spent.requests == len(WARM) + 2


def test_row_5_no_request_is_raced_before_it_is_known_what_is_usual(read):
    """The first answers of a host may take their time."""
    assert len(read(Fault(delay=0.4), policy=HEDGED).requests) == 1


def test_row_6_a_body_that_drips(read, engine):
    """It is left within the window, whatever its size, and gone on with where it stood."""
    found = read(Fault(drip=200.0, times=1), wanted=[ByteRange(0, 300_000)], policy=BRISK)
    assert found.whole
    assert found.seconds < 10  # of the quarter of an hour that the body would take
    first, second = (int(request.range[6:].partition("-")[0]) for request in found.requests)
    assert first < second < 1000


def test_row_6_a_slow_link_is_no_drip(read, engine):
    """Eight bodies of 25 kB/s each are waited for: together they are what a slow link brings, which each alone is not."""
    wanted = [ByteRange(n * 50_000, (n + 1) * 50_000) for n in range(8)]
    found = read(Fault(drip=25_000.0), wanted=wanted, policy=replace(QUICK, stall=1.5, bytes_per_second=40e3))
    assert found.whole
    assert len(found.requests) == 8


def test_row_7_a_body_that_stands_still(read, engine):
    """It is left after the window, and not one byte is read twice."""
    found = read(Fault(stall=170_000, times=1), wanted=[ByteRange(1000, 301_000)], policy=BRISK)
    assert found.whole
    assert found.seconds < 10
    assert [request.range for request in found.requests] == ["bytes=1000-300999", "bytes=171000-300999"]


# --- Refusals --------------------------------------------------------------------------------------------------------


@pytest.fixture
def scripted():
    """Return the module of the scripted server."""
    from store import scripted

    return scripted


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (206, {"Content-Range": "bytes 7-11/100000", "ETag": '"one"'}, b"wrong"),
        (206, {}, b"wrong"),
        (200, {}, b"wrong"),
        (200, {}, b""),
        (400, {}, b"what"),
    ],
)
def test_row_9_an_answer_to_nothing_spoils_no_read(scripted, engine, status, headers, body):
    """What stood behind an answer is found out, and the question asked on another connection."""
    stray = scripted.reply(status, headers, body)
    with scripted.Server(scripted.serve(), stray, scripted.serve()) as server:
        store = HTTPStore(server.root, policy=QUICK)
        store.read("k", [ByteRange(0, 5)])
        assert store.read("k", [ByteRange(20, 25)])[0].data == scripted.CONTENT[20:25]
        assert len(server.requests) == 3


def test_row_16_fewer_requests_at_a_time_for_who_asks_for_fewer(scripted):
    """A server that bears four requests at a time is soon asked no more than it bears, and every byte comes."""
    now, most, refused, lock = [0], [], [], threading.Lock()

    def answer(connection, request):
        with lock:
            now[0] += 1
            most.append(now[0])
        time.sleep(0.02)
        with lock:
            over = now[0] > 4
            now[0] -= 1
            refused.append(over)
        return (scripted.error(503, "SlowDown") if over else scripted.serve())(connection, request)

    wanted = [ByteRange(n * 100, n * 100 + 100) for n in range(300)]
    policy = replace(QUICK, in_flight=32, tries=12, base=0.1, longest=1)
    with scripted.Server(answer) as server:
        pieces = HTTPStore(server.root, policy=policy).read("k", wanted)
    assert b"".join(piece.data for piece in pieces) == scripted.CONTENT[:30_000]
    assert max(most) > 8  # before it was told
    assert max(most[-100:]) <= 8
    assert sum(refused[-100:]) < 50


def test_row_16_a_budget_of_retries_for_all(archive):
    """A host that only refuses is asked a bounded number of times, by however many calls."""
    archive.faults = Fault(status=503)
    policy = replace(QUICK, reserve=7, refill=0.0)
    store = HTTPStore(f"{archive.endpoint}/stpubdata", policy=policy)
    for _ in range(5):
        with pytest.raises(ThrottledError, match=r"SlowDown"):
            store.read(archive.key, [ByteRange(0, 10)])
    assert len(archive.requests) == 5 + 7
    with pytest.raises(
        ThrottledError, match=r"Too many requests to this host have failed .* \[1 try|\[1 try.*Too many"
    ):
        store.read(archive.key, [ByteRange(0, 10)])


def test_row_19_three_reasons_of_a_refusal(read):
    """Exclusive data, a key that does not exist, something in between."""
    said = str(read(Fault(status=403)).error)
    for reason in ("Exclusive-access data", "keys that do not exist", "a proxy or a policy of this network"):
        assert reason in said


def test_row_22_a_refused_range_of_an_object_that_was_larger(archive):
    """A server that looks at no condition shows by the size it tells that the object was replaced."""
    store = HTTPStore(f"{archive.endpoint}/stpubdata", policy=QUICK)
    etag = store.read(archive.key, [ByteRange(0, 10)])[0].etag
    archive.faults = Fault(status=416, headers={"Content-Range": "bytes */500"})
    with pytest.raises(ObjectChangedError, match="expected 400000 bytes, found 500"):
        store.read(archive.key, [ByteRange(1000, 1010)], etag=etag)


@pytest.mark.parametrize("wanted", [ByteRange(10, 5000), ByteRange(0, 100), ByteRange(99_000, 100_500)])
@pytest.mark.parametrize("around", [(0, 100_000), (5, 4), (0, 1)])
def test_row_24_more_than_was_asked_for(scripted, engine, wanted, around):
    """Of an answer that provably holds what was asked for, only that is taken."""
    start, stop = max(0, wanted.start - around[0]), min(100_000, wanted.stop + around[1])
    headers = {"Content-Range": f"bytes {start}-{stop - 1}/100000", "ETag": '"one"'}
    with scripted.Server(scripted.reply(206, headers, scripted.CONTENT[start:stop])) as server:
        store = HTTPStore(server.root, policy=QUICK)
        if wanted.start - start > 64 * 1024:
            with pytest.raises(StoreUnavailableError, match="answered with other bytes"):
                store.read("k", [wanted])
            return
        for _ in range(2):  # what is left of the answer is not taken for the next one
            assert store.read("k", [wanted])[0].data == scripted.CONTENT[wanted.start : wanted.stop]


@pytest.mark.parametrize("length", [None, "6000"])
def test_row_24_more_than_was_asked_for_without_proof(scripted, length):
    """Where the length does not agree, or is not told, nothing is taken."""
    headers = {"Content-Range": "bytes 0-5000/100000", "ETag": '"one"'} | ({"Content-Length": length} if length else {})
    answer = scripted.reply(206, headers, scripted.CONTENT[:5001], length=None)
    with scripted.Server(answer) as server, pytest.raises(StoreUnavailableError, match="other bytes"):
        HTTPStore(server.root, policy=QUICK).read("k", [ByteRange(10, 5000)])


# --- What this machine can bear --------------------------------------------------------------------------------------

LIMITED = """
import resource, sys
resource.setrlimit(resource.{limit}, ({value}, {value}))
from hst_cloud.store.objects import HTTPStore
from hst_cloud.store.drive import run_many
from hst_cloud.values import ByteRange

def plan(start):
    pieces = yield [ByteRange(start, start + 100)]
    return bytes(pieces[0].data)

store = HTTPStore(sys.argv[1])
{body}
"""

CUTOUTS = """
found = dict(run_many(store, ((sys.argv[2], plan(n)) for n in range(1000)), in_flight=200))
print(sum(isinstance(each, bytes) and len(each) == 100 for each in found.values()))
large = store.read(sys.argv[2], [ByteRange(n << 21, (n + 1) << 21) for n in range(30)])
print(sum(len(piece.data) == 1 << 21 for piece in large))
"""

TOO_MUCH = """
from hst_cloud.store.memory import available
available.__globals__["_LARGE"] = {large}
try:
    store.read(sys.argv[2], [ByteRange(0, 8_000_000_000)])
except MemoryError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Serve a file of 64 MiB."""
    folder = tmp_path_factory.mktemp("large")
    key = put(folder, NAME, bytes(64 * 1024 * 1024))
    with LocalArchive(folder) as archive:
        archive.key = key
        yield archive


def limited(archive, limit, value, body):
    code = LIMITED.format(limit=limit, value=value, body=body)
    command = [sys.executable, "-c", code, f"{archive.endpoint}/stpubdata", archive.key]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_row_15_few_descriptors(large):
    """A thousand reads, and large ones, where a process may have 64 files open."""
    done = limited(large, "RLIMIT_NOFILE", 64, CUTOUTS)
    assert done.stdout.split() == ["1000", "30"], done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="others do not keep to this limit")
@pytest.mark.parametrize("large_from", [1, 10**12])
def test_row_52_more_than_the_memory_holds(large, large_from):
    """It is refused before it is asked for, whether the machine tells its memory or not, and the size is named."""
    done = limited(large, "RLIMIT_AS", 3_000_000_000, TOO_MUCH.format(large=large_from))
    assert done.stdout.startswith("MemoryLimitError 8,000,000,000 bytes are to be read at once"), done.stderr
    assert "Nothing was read" in done.stdout


FILE_TOO_MUCH = """
import hst_cloud as hst
from hst_cloud.fits.pixels import box_array, image_of
from hst_cloud.fits.structure import extent
from hst_cloud.store.memory import available
from hst_cloud.store.segments import Segments
available.__globals__["_LARGE"] = {large}
try:
    hst.read({name!r}, store={folder!r}, index=False)
except MemoryError as error:
    print(type(error).__name__, error)
header = open(sys.argv[2], "rb").read(2880)
image = image_of(header, extent(header, 0))
try:
    box_array(image, ((0, 50_000), (0, 30_000)), Segments())
except MemoryError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others do not keep to this limit")
@pytest.mark.parametrize("large_from", [1, 10**12])
def test_row_52_an_image_that_is_larger_than_the_memory(large, tmp_path, large_from):
    """A whole file, and a part that is put together, are refused before memory is asked for."""
    key = put(tmp_path, NAME, b"")
    cards = ["SIMPLE  = T", "BITPIX  = -32", "NAXIS   = 2", "NAXIS1  = 40000", "NAXIS2  = 50000", "END"]
    with (tmp_path / key).open("r+b") as file:  # of which the disk holds the header alone
        file.write("".join(card.ljust(80) for card in cards).ljust(2880).encode())
        file.truncate(2880 * (1 + -(-8_000_000_000 // 2880)))
    body = FILE_TOO_MUCH.format(large=large_from, name=NAME, folder=str(tmp_path))
    code = LIMITED.format(limit="RLIMIT_AS", value=3_000_000_000, body=body)
    command = [sys.executable, "-c", code, f"{large.endpoint}/stpubdata", str(tmp_path / key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    first, second = done.stdout.splitlines() or ("", "")
    assert first.startswith("MemoryLimitError 8,000,000,000 bytes are to be read at once"), done.stderr
    assert second.startswith("MemoryLimitError 6,000,000,000 bytes are to be read at once"), done.stderr


# --- Checksums -------------------------------------------------------------------------------------------------------

CRC = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()
MULTIPART = {"ETag": '"d41d8cd98f00b204e9800998ecf8427e-12"'}


def test_row_27_a_checksum_that_is_stored_is_asked_for_and_compared(archive, tmp_path):
    """A bit that flips on the way is found where the ETag says nothing, and the file is set aside."""
    product = hst.Product(filename=NAME, key=archive.key, status="in_cloud", size=len(CONTENT))
    told = {**MULTIPART, "x-amz-checksum-crc32": CRC, "x-amz-checksum-type": "FULL_OBJECT"}
    archive.faults = Fault(key="hst/*", headers=told)
    assert list(hst.download(product, tmp_path / "good")["check"]) == ["crc32"]
    assert [request.headers.get("x-amz-checksum-mode") for request in archive.requests] == ["ENABLED"]
    archive.faults = Fault(key="hst/*", headers=told, flip=1234)
    with pytest.warns(HSTCloudWarning):
        table = hst.download(product, tmp_path / "bad")
    assert list(table["status"]) == ["corrupt"]
    assert f"expected crc32 {CRC}" in table["reason"][0]


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"x-amz-checksum-crc32": CRC}, f"crc32 {CRC}"),
        ({"x-amz-checksum-crc32": f"{CRC}-12", "x-amz-checksum-type": "COMPOSITE"}, None),
        ({"x-amz-checksum-crc32": f"{CRC}-12"}, None),
        ({"x-amz-checksum-type": "FULL_OBJECT"}, None),
    ],
)
def test_row_27_which_checksums_say_something(archive, headers, told):
    """Only those of the whole object; a part of it has none unless it says so."""
    archive.faults = Fault(headers=headers)
    store = HTTPStore(f"{archive.endpoint}/stpubdata", policy=QUICK)
    assert store.read(archive.key, [ByteRange(0, 400_000)])[0].checksum == told
    assert store.read(archive.key, [ByteRange(0, 10)])[0].checksum is None
    assert store.read(archive.key, [ByteRange(5, 10)])[0].checksum is None
    assert [("x-amz-checksum-mode" in request.headers) for request in archive.requests] == [True, True, False]
