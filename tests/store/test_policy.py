"""How often and how long a service is asked; no test here waits."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.store.policy import MAST, RETRIED, S3, Clock, Policy

POLICY = Policy(connect=1, read=2, tries=4, deadline=100, base=1, longest=3)


class Time:
    """A clock that stands until it is set."""

    def __init__(self):
        self.reading = 1000.0

    def __call__(self):
        return self.reading


def longest(low, high):
    """Draw the upper bound."""
    return max(low, high)


def clock(policy=POLICY, *, allowance=0.0, draw=longest):
    """Return a Clock of a standing time whose waits are the longest that may be drawn."""
    return Clock(policy, allowance, now=Time(), draw=draw)


def test_waits_are_drawn_from_doubling_intervals_up_to_the_longest():
    """Full jitter between nothing and base times two to the tries, capped."""
    drawn = []
    asked = clock(draw=lambda low, high: drawn.append((low, high)) or low)
    assert [asked.wait(tried) for tried in (1, 2, 3)] == [0, 0, 0]
    assert drawn == [(0, 1), (0, 2), (0, 3)]


def test_no_wait_after_the_last_try():
    """Four tries are four requests."""
    assert clock().wait(3) is not None
    assert clock().wait(4) is None


def test_no_wait_beyond_the_deadline():
    """A wait that would end behind the deadline is not begun."""
    asked = clock()
    asked.now.reading += 98
    assert asked.wait(1) == 1
    asked.now.reading += 1
    assert asked.wait(1) is None


def test_time_left_is_never_negative_and_bounds_an_attempt():
    """An attempt has its time-outs, but no more than what is left of the call."""
    asked = clock()
    assert (asked.elapsed, asked.left, asked.attempt) == (0, 100, 3)
    asked.now.reading += 98.5
    assert (asked.elapsed, asked.left, asked.attempt) == (98.5, 1.5, 1.5)
    asked.now.reading += 10
    assert (asked.left, asked.attempt) == (0, 0)


def test_a_large_call_has_more_time():
    """168 MB at 1 MB/s take longer than the deadline for small calls, and are progress all the same."""
    more = S3.allowance(requests=21, size=168_000_000)
    assert more == pytest.approx(21 / 20 + 1680)
    asked = clock(S3, allowance=more)
    assert asked.left == S3.deadline + more
    assert asked.attempt == S3.connect + S3.read + more


def test_retry_after_is_honored():
    """The server's own number of seconds wins over a shorter draw."""
    assert clock(draw=min).wait(1, "7") == 7
    assert clock().wait(1, " 0 ") == 1


def test_a_retry_after_behind_the_deadline_ends_the_call():
    """Waiting an hour is not what the caller was promised."""
    assert clock().wait(1, "3600") is None


@pytest.mark.parametrize(
    "text", ["", "Wed, 21 Oct 2026 07:28:00 GMT", "-5", "1.5", "\N{SUPERSCRIPT TWO}", "1e3", "nan"]
)
def test_a_retry_after_that_is_no_number_of_seconds_is_ignored(text):
    """Strange headers neither stop nor prolong the tries."""
    assert clock().wait(1, text) == 1


@given(st.text(), st.integers(1, 10))
def test_any_retry_after_gives_a_wait_within_the_deadline_or_none(text, tried):
    """No header of a server makes a call raise or wait longer than it may."""
    wait = clock().wait(tried, text)
    assert wait is None or 0 <= wait < POLICY.deadline


def test_policies_are_values():
    """They compare and hash by their figures, since the bound on requests in flight is found by them."""
    assert dataclasses.replace(S3) == S3
    assert hash(dataclasses.replace(S3)) == hash(S3)
    assert S3.in_flight > MAST.in_flight


def test_what_is_retried_excludes_what_will_not_change():
    """Refusals, absences and changed versions are final."""
    assert {429, 500, 503} <= RETRIED
    assert not RETRIED & {200, 206, 301, 307, 400, 401, 403, 404, 412, 416}
