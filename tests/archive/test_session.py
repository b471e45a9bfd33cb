"""How MAST is asked: again where that helps, with pauses, and never past the deadline."""

from __future__ import annotations

import gzip
import threading
import time
from itertools import pairwise

import pytest
import requests
from archive.recording_mast import Reply, in_turn, recording_mast
from astropy import units as u
from astroquery.exceptions import RemoteServiceError

from hst_cloud.archive.session import POLL, answer_of, clock_for, excerpt, in_parallel, new_session, translated
from hst_cloud.errors import ArchiveAnswerError, ArchiveUnavailableError, QueryError


def get(root, **options):
    with new_session(clock_for(options.pop("deadline", 20))) as session:
        return answer_of(session.get(f"{root}/x", **options))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_asked_again(status):
    """And the answer that comes then is the answer."""
    with recording_mast(in_turn(Reply("busy", status=status), {"a": 1})) as mast:
        assert get(mast.root) == {"a": 1}
        assert len(mast.asked) == 2


def test_a_connection_that_breaks_within_the_body_is_asked_again():
    """The body is part of the try."""
    with recording_mast(in_turn(Reply("{}", length=1000), Reply({"a": 1}))) as mast:
        assert get(mast.root) == {"a": 1}
        assert len(mast.asked) == 2


def test_compressed_answers_are_read():
    """As requests would read them."""
    reply = Reply(gzip.compress(b'{"a": 1}'), headers={"Content-Encoding": "gzip"})
    with recording_mast(in_turn(reply)) as mast:
        assert get(mast.root) == {"a": 1}


def test_tries_are_bounded():
    """Four, after which the message says what works without MAST."""
    with recording_mast(in_turn(Reply("closed for today", status=503))) as mast:
        with pytest.raises(ArchiveUnavailableError, match=r"HTTP 503: closed for today; asked 4 times") as caught:
            get(mast.root)
        assert len(mast.asked) == 4
        assert caught.value.attempts == 4
        assert caught.value.url == f"{mast.root}/x"
        assert "hst_cloud.resolve" in str(caught.value)
        assert "hst_cloud.open" in str(caught.value)


def test_retry_after_is_honored():
    """Not before the time that the service names."""
    with recording_mast(in_turn(Reply("", status=429, headers={"Retry-After": "1"}), {"a": 1})) as mast:
        get(mast.root)
        assert mast.asked[1].at - mast.asked[0].at >= 1


def test_a_retry_after_past_the_deadline_ends_the_call():
    """Waiting for it would be of no use."""
    with recording_mast(in_turn(Reply("", status=429, headers={"Retry-After": "60"}))) as mast:
        with pytest.raises(ArchiveUnavailableError, match="HTTP 429"):
            get(mast.root, deadline=2)
        assert len(mast.asked) == 1


def test_nobody_listens():
    """A refused connection is tried again, then it is said."""
    with pytest.raises(
        ArchiveUnavailableError, match=r"127\.0\.0\.1:9/x is not available: .*Connection refused; asked"
    ):
        get("http://127.0.0.1:9")


@pytest.mark.parametrize("reply", [Reply("{}", wait=3), Reply(b'{"a": "' + b"x" * 1000 + b'"}', drip=0.05)])
def test_silence_and_a_drip_end_at_the_deadline(reply):
    """Whether no byte comes or one now and then."""
    with recording_mast(in_turn(reply)) as mast:
        began = time.monotonic()
        with pytest.raises(ArchiveUnavailableError):
            get(mast.root, deadline=0.5)
        assert time.monotonic() - began < 3


def test_an_identical_post_waits():
    """It is the poll of a query that executes; it counts against the deadline alone."""
    with recording_mast(in_turn({"status": "EXECUTING"})) as mast, new_session(clock_for(20)) as session:
        for _ in range(3):
            session.post(f"{mast.root}/x", data="request=same")
        session.get_adapter(mast.root).clock.policy = clock_for(0.001).policy
        with pytest.raises(ArchiveUnavailableError, match=r"within 0.001 s \(the query is still executing"):
            session.post(f"{mast.root}/x", data="request=same")
        pauses = [b.at - a.at for a, b in pairwise(mast.asked)]
        assert min(pauses) >= POLL * 0.9
        assert len(mast.asked) == 3


def test_other_posts_do_not_wait():
    """Pages of an answer differ in their body."""
    with recording_mast(in_turn({})) as mast, new_session(clock_for(20)) as session:
        for page in range(8):
            session.post(f"{mast.root}/x", data=f"request={page}")
        assert min(b.at - a.at for a, b in pairwise(mast.asked)) < POLL * 0.9


def test_a_call_that_was_given_up_sends_nothing_more():
    """Threads of a call that has failed end at their next request."""
    stop = threading.Event()
    stop.set()
    with recording_mast(in_turn({})) as mast, new_session(clock_for(20), stop) as session:
        with pytest.raises(ArchiveUnavailableError):
            session.get(f"{mast.root}/x")
        assert mast.asked == []


def test_an_error_status_is_not_asked_again():
    """The excerpt of its body is in the message."""
    with recording_mast(in_turn(Reply("no such thing", status=404))) as mast:
        with pytest.raises(ArchiveAnswerError, match=r"HTTP 404: 'no such thing'"):
            get(mast.root)
        assert len(mast.asked) == 1


def test_a_page_in_place_of_json_is_quoted():
    """Services under maintenance answer with a page and status 200."""
    page = Reply("<html><body>Down\nfor maintenance</body></html>")
    with recording_mast(in_turn(page)) as mast, pytest.raises(ArchiveAnswerError, match="<html><body>Down for maint"):
        get(mast.root)


def test_the_deadline_is_a_time():
    """In seconds, or with a unit; the policy's own when there is none."""
    assert clock_for(None).policy.deadline == 600
    assert clock_for(2).policy.deadline == 2
    assert clock_for(2 * u.min).policy.deadline == 120
    assert clock_for("3 s").policy.deadline == 3
    for wrong in (0, -1, "soon", 1 * u.m, float("nan")):
        with pytest.raises(QueryError, match="deadline="):
            clock_for(wrong)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (requests.ConnectionError("x"), ArchiveUnavailableError),
        (requests.Timeout("x"), ArchiveUnavailableError),
        (requests.exceptions.SSLError("x"), ArchiveUnavailableError),
        (requests.exceptions.InvalidURL("x"), ArchiveUnavailableError),
        (TimeoutError("x"), ArchiveUnavailableError),
        (requests.exceptions.JSONDecodeError("x", "<html>", 0), ArchiveAnswerError),
        (KeyError("data"), ArchiveAnswerError),
        (RemoteServiceError("x"), ArchiveAnswerError),
    ],
)
def test_foreign_errors_become_ours(foreign, ours):
    """One function translates them all."""
    assert type(translated(foreign, "http://a/b")) is ours
    assert translated(foreign, "http://a/b").url == "http://a/b"


def test_our_errors_pass():
    """They know more already."""
    mine = ArchiveAnswerError("mine")
    assert translated(mine, "http://a/b") is mine


def test_an_excerpt_is_one_printable_line():
    """Whatever a server sends."""
    assert excerpt("a\nb\x1b[31mc" + "x" * 500).startswith("a b [31mcxxx")
    assert len(excerpt("x" * 500)) == 200
    assert excerpt(b"\xff") == "\ufffd"


def test_jobs_run_four_at_a_time_in_order():
    """Answers come in the order of the jobs, progress as they are done."""
    now, most, seen, lock, gate = 0, 0, [], threading.Lock(), threading.Barrier(4)

    def work(job, stop):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if job < 4:
            gate.wait(30)  # only passes with four jobs at a time
        time.sleep(0.02 * (10 - job) / 10)
        with lock:
            now -= 1
        return job * 2

    assert in_parallel(work, list(range(10)), progress=seen.append, what="jobs") == [2 * i for i in range(10)]
    assert most == 4
    assert [(p.done, p.total, p.what) for p in seen] == [(i, 10, "jobs") for i in range(1, 11)]


def test_the_first_failure_ends_all_jobs():
    """Nothing is started after it, and those that run are told."""
    started, told = [], threading.Event()

    def work(job, stop):
        started.append(job)
        if job == 0:
            message = "broken"
            raise ArchiveAnswerError(message)
        if stop.wait(5):
            told.set()

    with pytest.raises(ArchiveAnswerError, match="broken"):
        in_parallel(work, list(range(100)), progress=None, what="jobs")
    assert told.wait(30)
    assert len(started) < 10
