"""The anonymous store against servers that answer well, badly, wrongly, slowly and not at all."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import pickle
import re
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from hst_cloud.errors import (
    AccessDeniedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StoreUnavailableError,
    ThrottledError,
    WrongRegionError,
)
from hst_cloud.store import objects
from hst_cloud.store.exchange import Request
from hst_cloud.store.objects import HTTPStore, ListedObject, Piece, one_version, public_store
from hst_cloud.store.policy import S3, Policy
from hst_cloud.store.receivers import Page
from hst_cloud.store.streams import Streams
from hst_cloud.values import ByteRange

QUICK = Policy(connect=5, read=5, stall=5, tries=3, deadline=30, base=0.01, longest=0.02)
HASTY = replace(QUICK, read=0.5)  # where there is no answer; on a busy machine one may take as long as that
RANGE = ByteRange(10, 5000)


@pytest.fixture(params=["transfers", "transfers, into memory", "streams"])
def ask(request, scripted, monkeypatch):
    """Return a function that reads one range from a server with the given script; its requests are in `ask.server`.

    The range is read as a small one is, as one of several pieces, and as a large one: by either engine.
    """
    if request.param == "streams":
        monkeypatch.setattr(objects, "LARGE", 1)
    if request.param == "transfers, into memory":
        monkeypatch.setattr(objects, "WHOLE", 1)
    servers = []

    def read(*script, key="hst/k.fits", wanted=RANGE, etag=None, policy=QUICK):
        server = scripted.Server(*script).__enter__()
        servers.append(server)
        read.server = server
        read.store = HTTPStore(server.root, policy=policy)
        return read.store.read(key, [wanted], etag=etag)[0]

    yield read
    for server in servers:
        server.__exit__()


# --- What is read ----------------------------------------------------------------------------------------------------


def test_pieces_come_in_the_order_asked_for_with_size_and_etag(scripted):
    """One request for each range; every answer tells the object's size and version."""
    ranges = [ByteRange(90_000, 90_010), ByteRange(0, 5), ByteRange(99_990, 100_500)]
    with scripted.Server(scripted.serve()) as server:
        store = HTTPStore(server.root)
        pieces = store.read("k", ranges)
    assert pieces == [Piece(scripted.CONTENT[r.start : r.stop], 100_000, "one") for r in ranges]
    assert store.traffic.requests == len(server.requests) == 3
    assert store.traffic.bytes == 25


def test_many_more_ranges_than_slots(scripted):
    """All ranges arrive, and no more requests are under way at a time than the policy grants."""
    ranges = [ByteRange(n * 100, n * 100 + 100) for n in range(400)]
    now, most, lock = [0], [0], threading.Lock()

    def counted(connection, request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
        return scripted.serve()(connection, request)

    with scripted.Server(counted) as server:
        pieces = HTTPStore(server.root, policy=replace(QUICK, in_flight=7)).read("k", ranges)
    assert b"".join(p.data for p in pieces) == scripted.CONTENT[:40_000]
    assert 1 < most[0] <= 7


def test_no_ranges_no_request(scripted):
    """Nothing is asked where nothing is wanted."""
    with scripted.Server(scripted.serve()) as server:
        assert HTTPStore(server.root).read("k", []) == []
        assert HTTPStore(server.root).listings([]) == []
    assert server.requests == []


@pytest.mark.parametrize("wanted", [ByteRange(5, 5), ByteRange(5, 4), ByteRange(-1, 4)])
def test_an_empty_range_is_refused_before_anything_is_sent(ask, scripted, wanted):
    """Such a header would be ignored by the server, which then sends everything."""
    with pytest.raises(ValueError, match=re.escape(f"hst/k.fits must not be empty or negative, found [{wanted!r}]")):
        ask(scripted.serve(), wanted=wanted)
    assert ask.server.requests == []


def test_the_request_is_anonymous_and_bare(ask, scripted, monkeypatch, tmp_path):
    """Neither credentials, proxies nor a netrc of the environment are read or sent."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://user:secret@127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    ask(scripted.serve(Set_Cookie="tracked=1; Path=/"))
    ask.store.read("k", [RANGE])
    expected = {"host", "range", "accept", "accept-encoding", "user-agent"}
    by_name = HTTPStore(ask.server.root.replace("127.0.0.1", "localhost"))  # cookies are kept for names alone
    assert by_name.read("k", [RANGE]) == by_name.read("k", [RANGE])
    for request in ask.server.requests:
        assert set(request.headers) == expected
        assert request.headers["accept-encoding"] == "identity"
        assert "secret" not in str(request.headers).lower()


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits", "/bucket/hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"),
        ("a+b=c d.fits", "/bucket/a%2Bb%3Dc%20d.fits"),
        ("ü/%41?x#y&z", "/bucket/%C3%BC/%2541%3Fx%23y%26z"),
        ("a//b/./c", "/bucket/a//b/./c"),
    ],
)
def test_a_key_reaches_the_server_as_itself(ask, scripted, key, target):
    """Every character that means something in an address is quoted, and no path is tidied up."""
    ask(scripted.serve(), key=key)
    assert ask.server.requests[0].target == target
    assert ask.store.address(key) == ask.server.root.removesuffix("/bucket") + target


def test_another_way_to_make_addresses(scripted):
    """A service that names files in its query is read by the same rules."""
    with scripted.Server(scripted.serve()) as server:
        store = HTTPStore(server.root, url=lambda key: f"{server.root}?uri={key}", policy=QUICK)
        assert store.read("x", [RANGE])[0].data == scripted.CONTENT[10:5000]
    assert server.requests[0].target == "/bucket?uri=x"


@pytest.mark.parametrize("etag", ['"one"', '"0c2f-12"', "one"])
def test_an_etag_pins_the_next_read(ask, scripted, etag):
    """What came as ETag goes out as If-Match, also one of a multi-part upload or without its quotes."""
    found = ask(scripted.serve(etag=etag)).etag
    assert found == etag.strip('"')
    ask.store.read("k", [RANGE], etag=found)
    assert [r.headers.get("if-match") for r in ask.server.requests] == [None, f'"{found}"']


def test_a_weak_etag_is_compared_but_makes_no_condition(ask, scripted):
    """A weak tag never matches by If-Match; the answers are compared instead."""
    found = ask(scripted.serve(etag='W/"one"')).etag
    assert found == "W/one"
    assert ask.store.read("k", [RANGE], etag=found)[0].data == scripted.CONTENT[10:5000]
    assert ["if-match" in r.headers for r in ask.server.requests] == [False, False]
    with pytest.raises(ObjectChangedError, match="expected ETag W/other, found W/one"):
        ask.store.read("k", [RANGE], etag="W/other")


def test_a_server_without_etags_is_read(ask, scripted):
    """Where nothing is pinned, none is needed."""
    assert ask(scripted.serve(etag=None)).etag is None


def test_stored_encodings_are_left_alone(ask, scripted):
    """The bytes of an object are those stored, whatever encoding its metadata claim."""
    piece = ask(scripted.serve(Content_Encoding="gzip"))
    assert piece.data == scripted.CONTENT[10:5000]


def test_a_chunked_answer_is_as_good(ask, scripted):
    """The length may be told by the framing instead of by Content-Length."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (scripted.CONTENT[10:3000], scripted.CONTENT[3000:5000]))
    headers = {"Content-Range": "bytes 10-4999/100000", "Transfer-Encoding": "chunked", "ETag": '"one"'}
    assert ask(scripted.reply(206, headers, body + b"0\r\n\r\n", length=None)).data == scripted.CONTENT[10:5000]


# --- The end of the object -------------------------------------------------------------------------------------------


def test_a_range_behind_the_end_is_empty(ask, scripted):
    """The refusal tells the size."""
    piece = ask(scripted.error(416, "InvalidRange", Content_Range="bytes */7"))
    assert piece == Piece(b"", 7, None)


def test_s3_tells_the_size_in_the_body_of_a_refusal(ask, scripted):
    """Without Content-Range, ActualObjectSize is as good."""
    body = b"<Error><Code>InvalidRange</Code><ActualObjectSize>9</ActualObjectSize></Error>"
    assert ask(scripted.reply(416, {}, body), etag="one") == Piece(b"", 9, "one")


@pytest.mark.parametrize(
    ("headers", "found"),
    [({}, "unknown"), ({"Content-Range": "bytes */11"}, "11"), ({"Content-Range": "nonsense"}, "unknown")],
)
def test_a_refusal_that_makes_no_sense_is_an_error(ask, scripted, headers, found):
    """Neither a refusal without a size nor one of a range inside the object is the end of the object."""
    with pytest.raises(StoreUnavailableError, match=rf"bytes 10-4999\) refused .* 416.* object of {found} bytes"):
        ask(scripted.reply(416, headers))


def test_an_empty_object_is_empty_however_the_server_says_it(ask, scripted):
    """A range of nothing is refused by some servers and answered with nothing by others."""
    nothing = Piece(b"", 0, "one")
    assert ask(scripted.reply(416, {"Content-Range": "bytes */0", "ETag": '"one"'}), wanted=ByteRange(0, 5)) == nothing
    assert ask(scripted.reply(200, {"ETag": '"one"'}), wanted=ByteRange(0, 5)) == nothing


def test_an_object_emptied_underneath_has_changed(ask, scripted):
    """An empty answer is of a version, too."""
    with pytest.raises(ObjectChangedError, match="expected ETag one, found two"):
        ask(scripted.reply(200, {"ETag": '"two"'}), etag="one")


def test_ranges_around_the_end_are_of_one_version(scripted):
    """The refusal names no version, and does not make the object look replaced."""

    def answer(connection, request):
        inside = request.range[0] < 100_000
        refusal = scripted.error(416, "InvalidRange", Content_Range="bytes */100000")
        return (scripted.serve() if inside else refusal)(connection, request)

    with scripted.Server(answer) as server:
        pieces = HTTPStore(server.root).read("k", [ByteRange(0, 5), ByteRange(100_000, 100_005)])
    assert pieces == [Piece(scripted.CONTENT[:5], 100_000, "one"), Piece(b"", 100_000, "one")]


# --- Answers that are not believed -----------------------------------------------------------------------------------

LIES = {
    "shifted": "bytes 2890-7879/100000",
    "shorter than it could be": "bytes 10-4998/100000",
    "longer": "bytes 10-5000/100000",
    "of unknown size": "bytes 10-4999/*",
    "behind its own size": "bytes 10-4999/400",
    "in another unit": "lines 10-4999/100000",
    "with endless digits": "bytes 10-4999/" + "9" * 5000,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_another_range_than_asked_for_is_never_taken(ask, scripted, lie):
    """Wrong bytes are worse than an error; the message shows both ranges, and nobody asks again."""
    with pytest.raises(StoreUnavailableError, match=re.escape(f"found Content-Range {lie!r}")) as caught:
        ask(scripted.reply(206, {"Content-Range": lie, "ETag": '"one"'}, scripted.CONTENT[10:5000]))
    assert caught.value.attempts == len(ask.server.requests) == 1


@pytest.mark.parametrize("size", [300, 4989, 6000])
def test_a_body_of_another_length_than_its_range_is_never_taken(ask, scripted, size):
    """A page that somebody put in place of the bytes, under their headers, is asked for again, not completed."""
    page = scripted.reply(206, {"Content-Range": "bytes 10-4999/100000", "ETag": '"one"'}, b"<" * size)
    assert ask(page, scripted.serve()).data == scripted.CONTENT[10:5000]
    assert [request.headers["range"] for request in ask.server.requests] == ["bytes=10-4999"] * 2
    with pytest.raises(StoreUnavailableError, match=f"contradicts itself: .*10-4999/100000.*Content-Length {size}"):
        ask(page)


def test_a_partial_answer_without_a_range_is_never_taken(ask, scripted):
    """Nobody knows which bytes these are."""
    with pytest.raises(StoreUnavailableError, match=r"did not say which bytes, found Content-Range None"):
        ask(scripted.reply(206, {"ETag": '"one"'}, scripted.CONTENT[10:5000]))


def test_a_whole_object_is_not_a_range(ask, scripted):
    """A server that ignores ranges is an error at once, also where the length happens to fit."""
    with pytest.raises(StoreUnavailableError, match=r"ignored the range .*HTTP 200, Content-Length 4990"):
        ask(scripted.reply(200, {}, bytes(4990)))
    assert len(ask.server.requests) == 1


@pytest.mark.parametrize("status", [200, 404])
def test_a_body_without_end_is_not_read(ask, scripted, status):
    """What was not asked for does not fill the memory: reading stops, and the connection is closed."""
    sent = []
    with pytest.raises(OSError, match=str(status)):
        ask(scripted.endless(status, {}, sent))
    assert ask.store.traffic.bytes < 1_000_000
    assert sum(sent) < 50_000_000  # what fits into the buffers of the two sockets


def test_more_bytes_than_announced_are_not_read(ask, scripted):
    """An endless body behind an honest Content-Range is given up, not collected."""
    sent = []
    headers = {"Content-Range": "bytes 10-4999/100000", "ETag": '"one"'}
    with pytest.raises(StoreUnavailableError, match=r"sent more than its Content-Range says \[3 tries in"):
        ask(scripted.endless(206, headers, sent))
    assert ask.store.traffic.bytes < 3_000_000


def test_a_short_body_is_completed_from_where_it_ended(ask, scripted):
    """The next request asks for the rest, of the same version; nothing is read twice."""
    piece = ask(scripted.serve(cut=1000), scripted.serve(cut=500), scripted.serve())
    assert piece.data == scripted.CONTENT[10:5000]
    assert [(r.headers["range"], r.headers.get("if-match")) for r in ask.server.requests] == [
        ("bytes=10-4999", None),
        ("bytes=1010-4999", '"one"'),
        ("bytes=1510-4999", '"one"'),
    ]
    assert ask.store.traffic.bytes == 4990


def test_without_a_strong_version_a_short_body_is_read_anew(ask, scripted):
    """Two halves of perhaps two objects are not put together."""
    for etag in (None, 'W/"one"'):
        assert ask(scripted.serve(cut=1000, etag=etag), scripted.serve(etag=etag)).data == scripted.CONTENT[10:5000]
        assert [r.headers["range"] for r in ask.server.requests] == ["bytes=10-4999"] * 2


def test_an_object_replaced_between_two_halves_has_changed(ask, scripted):
    """Never mixed bytes: neither where the server minds the condition nor where it does not."""
    with pytest.raises(ObjectChangedError, match=r"expected ETag one, found another \[2 tries"):
        ask(scripted.serve(cut=1000), scripted.error(412, "PreconditionFailed"))
    with pytest.raises(ObjectChangedError, match="expected ETag one, found two"):
        ask(scripted.serve(cut=1000), scripted.serve(bytes(100_000), etag='"two"'))
    with pytest.raises(ObjectChangedError, match="expected ETag one, found none"):
        ask(scripted.serve(cut=1000), scripted.error(416, "InvalidRange", Content_Range="bytes */900"))


def test_an_object_replaced_before_its_first_byte_is_read_as_it_is(ask, scripted):
    """Where nothing is pinned and nothing has come in, the second answer is as good as the first."""
    piece = ask(scripted.serve(cut=0), scripted.serve(bytes(100_000), etag='"two"'))
    assert (piece.data, piece.etag) == (bytes(4990), "two")


def test_a_body_that_stays_short_is_an_error(ask, scripted):
    """After the tries are spent the message says what was asked, how often, and which request failed last."""
    with pytest.raises(StoreUnavailableError, match=r"/hst/k.fits \(bytes 10-4999\) .*3 tries in \d+\.\d s") as caught:
        ask(scripted.serve(cut=0))
    assert (caught.value.key, caught.value.attempts) == ("hst/k.fits", 3)
    assert caught.value.url == ask.store.address("hst/k.fits")


def test_a_version_other_than_the_pinned_one_is_refused_even_if_the_server_ignores_the_condition(ask, scripted):
    """The answer's own ETag is compared; none at all is no proof."""
    with pytest.raises(ObjectChangedError, match="expected ETag zero, found one"):
        ask(scripted.serve(), etag="zero")
    with pytest.raises(ObjectChangedError, match="expected ETag zero, found none"):
        ask(scripted.serve(etag=None), etag="zero")


def test_two_versions_in_one_batch_are_refused(scripted):
    """An object replaced while its ranges were being read never comes as a mixture."""
    with scripted.Server(scripted.serve(), scripted.serve(etag='"two"')) as server:
        store = HTTPStore(server.root, policy=replace(QUICK, in_flight=1))
        with pytest.raises(
            ObjectChangedError, match=r"k was replaced while .* ETag one and 100000 bytes with ETag two"
        ):
            store.read("k", [ByteRange(0, 5), ByteRange(5, 10)])


def test_one_version_compares_sizes_where_there_are_no_etags():
    """Two sizes are two versions."""
    with pytest.raises(ObjectChangedError, match="found 5 bytes with ETag None and 6 bytes"):
        one_version("k", [Piece(b"a", 5, None), Piece(b"b", 6, None)], "somewhere/k")


# --- Answers that say no ---------------------------------------------------------------------------------------------


def test_a_missing_object(ask, scripted):
    """The key, the service's own id and the next step are in the message and in the attributes."""
    with pytest.raises(FileNotFoundError, match=r"/hst/k.fits .*does not exist \(HTTP 404 NoSuchKey: gone\)") as caught:
        ask(scripted.error(404, "NoSuchKey", "gone"))
    error = caught.value
    assert isinstance(error, ObjectNotFoundError)
    assert re.search(r"\[1 try in \d+\.\d s, request id ID7\]\. hst_cloud\.resolve", str(error))
    assert (error.key, error.request_id, error.attempts) == ("hst/k.fits", "ID7", 1)
    assert pickle.loads(pickle.dumps(error)).request_id == "ID7"


def test_a_missing_bucket_is_another_thing(ask, scripted):
    """The address of the store is wrong, not the key."""
    with pytest.raises(ObjectNotFoundError, match=r"bucket that does not exist .*Check the store's address"):
        ask(scripted.error(404, "NoSuchBucket"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal(ask, scripted, status):
    """Asked once: being refused again helps nobody."""
    with pytest.raises(AccessDeniedError, match=rf"may not be read anonymously \(HTTP {status} AccessDenied\)"):
        ask(scripted.error(status, "AccessDenied"))
    assert len(ask.server.requests) == 1


def test_a_changed_object(ask, scripted):
    """The condition failed: the message names the version that was expected."""
    with pytest.raises(ObjectChangedError, match=r"replaced .* expected ETag one, found another .*Open it again"):
        ask(scripted.error(412, "PreconditionFailed"), etag="one")
    assert ask.server.requests[0].headers["if-match"] == '"one"'


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(ask, scripted, status):
    """The bytes of another host are not the bucket's; the region is named where S3 names it."""
    with scripted.Server(scripted.serve()) as other:
        with pytest.raises(WrongRegionError, match="is served from the region eu-west-1"):
            ask(scripted.error(status, "PermanentRedirect", Location=other.root, x_amz_bucket_region="eu-west-1"))
        with pytest.raises(WrongRegionError, match=f"is served from {other.root}"):
            ask(scripted.reply(status, {"Location": other.root}))
        assert other.requests == []
    assert len(ask.server.requests) == 1


@pytest.mark.parametrize("status", [400, 405, 501])
def test_any_other_refusal_names_its_status(ask, scripted, status):
    """Not retried, not guessed at."""
    with pytest.raises(StoreUnavailableError, match=f"HTTP {status} Odd: so it is"):
        ask(scripted.error(status, "Odd", "so it is"))
    assert len(ask.server.requests) == 1


def test_an_error_that_is_no_xml_is_still_an_error(ask, scripted):
    """A proxy's HTML page breaks nothing."""
    with pytest.raises(ObjectNotFoundError, match=r"does not exist \(HTTP 404\)"):
        ask(scripted.reply(404, {"Content-Type": "text/html"}, b"<html><p>nothing here"))


# --- Answers that pass -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_asked_again(ask, scripted, status):
    """Two failures and an answer are an answer."""
    fails = scripted.error(status, "InternalError")
    assert ask(fails, fails, scripted.serve()).data == scripted.CONTENT[10:5000]
    assert ask.store.traffic.requests == 3


def test_an_error_under_a_good_status_is_asked_again(ask, scripted):
    """S3 may find out that it fails after it has said 200."""
    assert ask(scripted.error(200, "InternalError"), scripted.serve()).data == scripted.CONTENT[10:5000]


def test_a_steady_failure_ends(ask, scripted):
    """After the tries are spent, with the last thing said."""
    with pytest.raises(StoreUnavailableError, match=r"no answer but HTTP 500 InternalError: oh \[3 tries in .*ID7\]"):
        ask(scripted.error(500, "InternalError", "oh"))
    assert len(ask.server.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_a_steady_request_to_slow_down_ends(ask, scripted, status):
    """It is told apart from a failure, and carries what the service said."""
    with pytest.raises(
        ThrottledError, match=rf"HTTP {status} SlowDown.*, Retry-After 0 \[3 tries.*Ask for less"
    ) as caught:
        ask(scripted.error(status, "SlowDown", "Please reduce your request rate.", Retry_After="0"))
    assert (caught.value.attempts, caught.value.request_id) == (3, "ID7")


def test_retry_after_is_waited_for(ask, scripted):
    """The server's number of seconds is the least that passes between two tries."""
    began = time.monotonic()
    ask(scripted.error(503, "SlowDown", Retry_After="1"), scripted.serve())
    assert time.monotonic() - began >= 1


def test_a_retry_after_beyond_the_deadline_ends_at_once(ask, scripted):
    """Nobody waits an hour in a call that promised seconds."""
    with pytest.raises(ThrottledError, match=r"Retry-After 3600 \[1 try"):
        ask(scripted.error(503, "SlowDown", Retry_After="3600"))


def test_a_reset_before_the_answer(ask, scripted):
    """Asked again, unseen."""
    assert ask(scripted.reset, scripted.serve()).data == scripted.CONTENT[10:5000]


def test_a_reset_in_the_middle_of_the_body(ask, scripted):
    """Asked again for what is missing."""
    assert ask(scripted.serve(cut=700, reset=True), scripted.serve()).data == scripted.CONTENT[10:5000]
    assert len(ask.server.requests) == 2


def test_something_that_is_no_http(ask, scripted):
    """Asked again, then an error that says so."""
    assert ask(scripted.garbage, scripted.serve()).data == scripted.CONTENT[10:5000]
    with pytest.raises(StoreUnavailableError, match=r"gave no answer: (Received HTTP/0.9|BadStatusLine: 220)"):
        ask(scripted.garbage)


def test_a_black_hole_is_left_after_the_first_byte_timeout(ask, scripted):
    """A connection that says nothing is closed and another one tried, within the deadline."""
    assert ask(scripted.silence, scripted.serve(), policy=HASTY).data == scripted.CONTENT[10:5000]
    assert ask.server.hung_up.wait(30)


def test_a_black_hole_is_left_as_soon_in_a_large_call(ask, scripted):
    """The time that a call has for its bytes is not time to wait for the first one."""
    piece = ask(
        scripted.silence, scripted.serve(), wanted=ByteRange(10, 100_000_000), policy=replace(HASTY, deadline=9)
    )
    assert piece.data == scripted.CONTENT[10:]


def test_a_steady_black_hole_ends_in_an_error(ask, scripted):
    """It says so, and how long it was waited for."""
    with pytest.raises(
        StoreUnavailableError, match=r"gave no answer: no byte for 0.5 s \[3 tries in \d+.\d s\]. Check"
    ):
        ask(scripted.silence, policy=HASTY)
    assert isinstance(ask.store, HTTPStore)


def test_a_body_that_drips_is_given_up_and_resumed(ask, scripted):
    """Bytes that trickle in do not hold a call until its deadline, and are not read twice."""
    piece = ask(scripted.drip, scripted.serve(), policy=replace(QUICK, stall=1))
    assert piece.data == scripted.CONTENT[10:5000]
    first, second = ask.server.requests
    assert first.range[0] == 10 < second.range[0]


def test_nobody_listens():
    """The message names the address and what to do."""
    store = HTTPStore("http://127.0.0.1:9/bucket", policy=QUICK)
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/bucket/k \(bytes 10-4999\) gave no answer.*Check the conn"):
        store.read("k", [RANGE])


@pytest.fixture
def untrusted(tmp_path):
    """Return a server-side TLS context whose certificate nobody vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stranger")])
    start = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = tmp_path / "stranger.pem"
    file.write_bytes(certificate.public_bytes(form[0]) + key.private_bytes(*form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_an_untrusted_certificate_ends_at_once(untrusted):
    """No second try, no fallback to an unsafe connection, and a hint where to look."""
    tried = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                tried.append(connection)
                with connection, contextlib.suppress(OSError):
                    untrusted.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        store = HTTPStore(f"https://127.0.0.1:{listener.getsockname()[1]}/bucket", policy=QUICK)
        with pytest.raises(StoreUnavailableError, match=r"no trusted connection: .*\[1 try .*SSL_CERT_FILE"):
            store.read("k", [RANGE])
        listener.shutdown(socket.SHUT_RDWR)
    assert len(tried) == 1


def test_the_first_failure_stops_the_others(scripted):
    """An object that is not there is not asked for a hundred times, and nothing is left running."""
    with scripted.Server(scripted.error(404, "NoSuchKey")) as server:
        store = HTTPStore(server.root, policy=replace(QUICK, in_flight=2))
        with pytest.raises(ObjectNotFoundError):
            store.read("k", [ByteRange(n, n + 1) for n in range(200)])
        assert len(server.requests) < 10


# --- Listings --------------------------------------------------------------------------------------------------------


def test_a_large_range_that_waits_for_a_thread_is_cancelled_as_anything_is(scripted):
    """More of them than threads: those that were not begun end in nothing but their cancellation."""

    async def cancelled(root):
        streams = Streams()
        request = Request(f"{root}/k", {}, 5, S3)
        tasks = [asyncio.ensure_future(streams.get(request, Page(1))) for _ in range(40)]
        await asyncio.sleep(0.2)
        for task in reversed(tasks):  # those that wait come first
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await streams.close()
        return results

    with scripted.Server(scripted.silence) as server:
        assert {type(result) for result in asyncio.run(cancelled(server.root))} == {asyncio.CancelledError}


def test_a_listing_over_pages(scripted):
    """Tokens lead from page to page; they and the prefix are quoted."""
    with scripted.Server(scripted.page("a+/x", "a+/y", token="t/1+="), scripted.page("a+/z")) as server:
        found = HTTPStore(server.root).listings(["a+/"])
    assert found == [[ListedObject("a+/x", 3, "e0"), ListedObject("a+/y", 3, "e1"), ListedObject("a+/z", 3, "e0")]]
    assert [r.target for r in server.requests] == [
        "/bucket?list-type=2&prefix=a%2B%2F",
        "/bucket?list-type=2&prefix=a%2B%2F&continuation-token=t%2F1%2B%3D",
    ]


def test_an_empty_listing_is_empty(scripted):
    """No object below a prefix is an answer, not a failure."""
    with scripted.Server(scripted.page()) as server:
        assert HTTPStore(server.root).listings(["a", "b"]) == [[], []]


def test_a_listing_that_turns_in_circles_ends(scripted):
    """A token that was seen before leads nowhere."""
    with scripted.Server(scripted.page("a", token="same")) as server:
        with pytest.raises(StoreUnavailableError, match="a listing without end: 2 keys on 2 pages"):
            HTTPStore(server.root, policy=QUICK).listings(["a"])
        assert len(server.requests) == 2


def test_a_listing_with_ever_new_tokens_ends(scripted, monkeypatch):
    """The number of pages is bounded."""
    monkeypatch.setattr("hst_cloud.store.objects.PAGES", 20)
    numbers = itertools.count()

    def turn(connection, request):
        return scripted.page("a", token=f"t{next(numbers)}")(connection, request)

    with scripted.Server(turn) as server, pytest.raises(StoreUnavailableError, match="20 keys on 20 pages"):
        HTTPStore(server.root, policy=QUICK).listings(["a"])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<ListBucketResult><Contents>", "no XML"),
        (b"", "no XML"),
        (b"<html><body>Log in to the hotel</body></html>", "expected ListBucketResult, found html"),
        (b"<Error><Code>InternalError</Code></Error>", "found Error"),
    ],
)
def test_what_is_no_listing_is_asked_for_again_and_then_an_error(scripted, body, told):
    """An unreadable answer is never an empty listing."""
    with scripted.Server(scripted.reply(200, {}, body), scripted.page("a")) as server:
        assert len(HTTPStore(server.root, policy=QUICK).listings(["a"])[0]) == 1
    with (
        scripted.Server(scripted.reply(200, {}, body)) as server,
        pytest.raises(StoreUnavailableError, match=f"{told}.*3 tries"),
    ):
        HTTPStore(server.root, policy=QUICK).listings(["a"])


@pytest.mark.parametrize(
    ("keys", "size", "told"),
    [
        (["b"], "3", "strange under 'a': key 'b'"),
        (["a"], "-1", "size '-1'"),
        (["a"], "9" * 5000, "size '999"),
        ([""], "1", "key ''"),
    ],
)
def test_a_listing_with_strange_lines_is_an_error(scripted, keys, size, told):
    """Keys of other prefixes and sizes that are no numbers are not passed on."""
    with scripted.Server(scripted.page(*keys, size=size)) as server, pytest.raises(StoreUnavailableError, match=told):
        HTTPStore(server.root, policy=QUICK).listings(["a"])


def test_a_listing_that_is_cut_off_is_an_error(scripted):
    """Truncated, and no token: the rest would silently be missing."""
    with (
        scripted.Server(scripted.page("a", more=True)) as server,
        pytest.raises(StoreUnavailableError, match="incomplete listing: 1 keys"),
    ):
        HTTPStore(server.root, policy=QUICK).listings(["a"])


def test_a_listing_that_is_refused(scripted):
    """Errors of a listing are those of a read; the key is the prefix."""
    with scripted.Server(scripted.error(403, "AccessDenied")) as server, pytest.raises(AccessDeniedError) as caught:
        HTTPStore(server.root, policy=QUICK).listings(["a/b"])
    assert caught.value.key == "a/b"
    assert "prefix=a%2Fb" in caught.value.url


# --- The store as a thing --------------------------------------------------------------------------------------------


def test_one_store_serves_many_threads(scripted):
    """Threads share connections and get their own bytes."""
    with scripted.Server(scripted.serve()) as server:
        store = HTTPStore(server.root)

        def read(n):
            return store.read("k", [ByteRange(n, n + 100), ByteRange(n + 1, n + 50)])

        with ThreadPoolExecutor(16) as threads:
            for n, (first, second) in enumerate(threads.map(read, range(200))):
                assert first.data == scripted.CONTENT[n : n + 100]
                assert second.data == scripted.CONTENT[n + 1 : n + 50]
        assert store.traffic.requests == 400
        assert server.connections <= 64


def test_stores_come_and_go_without_leaving_connections(scripted):
    """Connections are the process's: a thousand stores hold no more of them than one."""
    with scripted.Server(scripted.serve()) as server:
        for _ in range(50):
            HTTPStore(server.root).read("k", [RANGE])
        assert server.connections == 1


def test_what_was_read_is_freed_with_the_result(ask, scripted):
    """Nothing refers to itself: the memory of a range is free for the next one, without the collector of cycles."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        ask(scripted.error(500, "InternalError"), scripted.serve())
        gc.collect()
        left = [thing for thing in gc.garbage if type(thing).__module__.startswith("hst_cloud.")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


def test_a_store_pickles(scripted):
    """A worker process gets the address and makes its own connections."""
    store = HTTPStore("http://127.0.0.1:1/b", policy=QUICK)
    again = pickle.loads(pickle.dumps(store))
    assert (again.root, again.address("k")) == (store.root, "http://127.0.0.1:1/b/k")


def test_the_public_store_is_one_for_each_address(monkeypatch):
    """No request, no session; the environment is asked each time, and the answer kept."""
    public = public_store()
    assert repr(public) == "HTTPStore('https://stpubdata.s3.us-east-1.amazonaws.com')"
    assert public_store() is public
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", "http://127.0.0.1:5/")
    assert public_store().root == "http://127.0.0.1:5/stpubdata"
    assert public_store().traffic.requests == 0


def test_each_request_is_one_line_of_debugging(ask, scripted, caplog):
    """With the address, the range and the status."""
    with caplog.at_level(logging.DEBUG, "hst_cloud"):
        ask(scripted.error(500, "InternalError"), scripted.serve())
    lines = [r.getMessage() for r in caplog.records if r.name == "hst_cloud.store"]
    assert [re.search(r"HTTP \d+", line)[0] for line in lines] == ["HTTP 500", "HTTP 206"]
    assert "/hst/k.fits (bytes 10-4999)" in lines[0]
