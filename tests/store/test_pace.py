"""What is learnt of a host, and what follows from it; no test here waits."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.test_policy import Time

from hst_cloud.store.pace import Pace
from hst_cloud.store.policy import MAST, S3
from hst_cloud.store.progress import Flow, Progress
from hst_cloud.store.receivers import Page
from hst_cloud.store.slots import Slots


def pace(**figures):
    """Return the Pace of a host nothing is known of, at a standing time."""
    return Pace(replace(S3, **figures), now=Time())


def answered(host, times, wait=0.01):
    """Have the host answer so many times."""
    for _ in range(times):
        host.answered(wait)
    return host


def test_a_request_is_late_only_where_it_is_known_what_is_usual():
    """After sixteen answers, ten times the median is late, but never less than a second."""
    host = answered(pace(), 15)
    assert host.patience == math.inf
    assert answered(host, 1).patience == 1
    assert answered(host, 64, wait=0.3).patience == pytest.approx(3)
    assert answered(Pace(MAST), 100).patience == math.inf


def test_one_slow_answer_does_not_change_what_is_usual():
    """A median is not moved by what is to be noticed."""
    host = answered(pace(), 40, wait=0.2)
    assert answered(host, 16, wait=60).patience == pytest.approx(2)


def test_no_request_is_late_because_this_process_stood_still():
    """Its answer may be there, and was only not looked at."""

    class Late:
        page, told = Page(1), False

        def late(self):
            self.told = True

    async def looks():
        host, race = answered(pace(), 16), Late()
        race.page.sent = host._now.reading
        host.watch(race)
        for seconds in (2, 0.05):
            host._now.reading += seconds
            host._look()
            yield race.told

    async def seen():
        return [told async for told in looks()]

    assert asyncio.run(seen()) == [False, True]


def test_half_as_many_requests_when_told_to_slow_down():
    """All refusals of one wave count as one; then good answers let one more in a round."""
    host = pace(in_flight=64)
    sent = host._now.reading
    host._now.reading += 1
    for _ in range(64):
        host.throttled(sent)
    assert host.slots.limit == 32
    host.throttled(host._now.reading)
    assert host.slots.limit == 16
    assert answered(host, 17).slots.limit == 17
    assert answered(host, 3000).slots.limit == 64


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 40))
def test_there_is_always_a_slot_and_never_one_too_many(steps, limit):
    """Whatever the host says, the bound is between one and what was granted."""
    slots = Slots(limit)
    for grow in steps:
        slots.grow() if grow else slots.halve()
        assert 1 <= slots.limit <= limit


def test_no_more_than_the_machine_can_bear():
    """Whoever asks for more is given what there is."""
    slots = Slots(64, most=13)
    assert slots.limit == 13
    with slots.raised(500):
        assert slots.limit == 13


def test_a_host_that_answers_nothing_is_soon_asked_no_more():
    """The budget of retries is spent, and comes back with time and with good answers."""
    host = pace(reserve=10, refill=1, share=0.5)
    assert [host.spend() for _ in range(12)] == [True] * 10 + [False] * 2
    host._now.reading += 2
    assert [host.spend() for _ in range(3)] == [True, True, False]
    answered(host, 4)
    assert [host.spend() for _ in range(3)] == [True, True, False]


def test_what_saves_time_leaves_half_of_the_budget_to_what_is_needed():
    """Second requests end before retries do."""
    host = pace(reserve=10, refill=0)
    assert sum(host.spend(hedge=True) for _ in range(20)) == 5
    assert sum(host.spend() for _ in range(20)) == 5


FLOOR = replace(S3, stall=2, bytes_per_second=1000)


def body(flow=None, *, bodies=1):
    """Return a body that has begun at zero seconds."""
    flow = flow or Flow()
    flow.bodies = bodies
    found = Progress(flow)
    found.begin(FLOOR, 0.0)
    return found


def test_a_body_has_a_window_of_seconds_to_bring_something():
    """Before it ends nothing is said; then what came is."""
    one = body()
    one.add(1999)
    assert one.trouble(1.9) == ""
    assert one.trouble(2.0) == "broke off: 1999 bytes in 2.0 s"


def test_every_window_is_looked_at_by_itself():
    """What came early does not excuse what does not come later."""
    one = body()
    one.add(10**9)
    assert one.trouble(2.1) == ""
    assert one.trouble(4.0) == ""
    assert one.trouble(4.2) == "broke off: 0 bytes in 2.1 s"


def test_bodies_share_a_slow_link():
    """What all of them must bring, none must bring by itself."""
    one = body(bodies=10)
    one.add(200)
    assert one.trouble(2.0) == ""


def test_bodies_that_end_before_the_window_had_their_part_of_the_link():
    """Who is left alone at its end has brought what it could: nothing of it is blamed on the others' going."""
    flow = Flow()
    one = body(flow, bodies=64)
    assert one.trouble(1.0) == ""
    one.add(1000)
    flow.bytes += 63 * 1000
    flow.bodies = 1
    assert one.trouble(2.0) == ""
    assert one.trouble(4.0) == "broke off: 0 bytes in 2.0 s"


def test_a_body_that_falls_far_behind_the_others():
    """On a fast link a rate is too slow that is none on a slow one."""
    flow = Flow()
    one = body(flow, bodies=2)
    flow.bytes += 10**8
    one.add(10**6)
    assert "broke off" in one.trouble(2.0)
