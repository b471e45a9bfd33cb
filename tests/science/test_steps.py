"""Work in steps on threads: what is taken next, how much at a time, and how it ends."""

from __future__ import annotations

import threading
import time

import pytest

from hst_cloud.errors import StoreError
from hst_cloud.science.steps import run_steps


class Item:
    """Something with a first step that leads to others."""

    def __init__(self, name, log, count=0, fails=()):
        self.name, self.log, self.count, self.fails = name, log, count, fails
        self.begun = 0

    def first(self):
        self.begun += 1
        self.log.append(f"{self.name} begins")
        return [lambda number=number: self.step(number) for number in range(self.count)]

    def step(self, number):
        self.log.append(f"{self.name}{number}")
        if number in self.fails:
            message = f"{self.name}{number} failed"
            raise StoreError(message)
        return []


def done_with(_item, _error):
    """Settle everything as it is."""


def run(items, *, threads=1, settle=done_with, call_off=lambda: None):
    return [item.name for item in run_steps(items, lambda item: item.first, settle, threads=threads, call_off=call_off)]


def test_what_was_begun_is_ended_first():
    """One thing after the other is completed, so that few are open at a time."""
    log = []
    assert run([Item("a", log, 2), Item("b", log, 1), Item("c", log)]) == ["a", "b", "c"]
    assert log == ["a begins", "a0", "a1", "b begins", "b0", "c begins"]


def test_nothing_at_all():
    """No value, no step."""
    assert run([]) == []


def test_a_failure_ends_one_item():
    """Its other steps are not taken, the caller is told once, and the others go on."""
    log, told = [], []
    done = run(
        [Item("a", log, 4, fails={1}), Item("b", log, 1)],
        settle=lambda item, error: told.append((item.name, str(error))),
    )
    assert done == ["a", "b"]
    assert log == ["a begins", "a0", "a1", "b begins", "b0"]
    assert told == [("a", "a1 failed"), ("b", "None")]


def test_an_item_may_be_begun_anew():
    """What the caller does not settle comes again, when its time has come, after what need not wait."""
    log = []
    items = [Item("a", log), Item("b", log)]
    done = run(items, settle=lambda item, _error: 0.05 if item.name == "a" and item.begun < 3 else None)
    assert done == ["b", "a"]
    assert [line for line in log if line.startswith("a")] == ["a begins"] * 3


def test_no_more_than_so_many_at_a_time():
    """Steps wait for a thread, whatever is to be done."""
    inside, most, lock = [], [], threading.Lock()

    class Slow(Item):
        def step(self, number):
            with lock:
                inside.append(number)
                most.append(len(inside))
            time.sleep(0.005)
            with lock:
                inside.remove(number)
            return []

    run([Slow("a", [], 20), Slow("b", [], 20)], threads=3)
    assert max(most) == 3


def test_a_mistake_in_a_step_is_raised():
    """What is no error of this package ends everything, after what waits was called off."""
    called = []

    class Wrong(Item):
        def step(self, number):
            return number / 0

    with pytest.raises(ZeroDivisionError):
        run([Wrong("a", [], 1)], call_off=lambda: called.append(1))
    assert called == [1]


def test_leaving_calls_off_what_waits():
    """Who stops iterating has steps that wait ended, and no thread left."""
    ended = threading.Event()

    class Waiting(Item):
        def first(self):
            if self.name == "b":
                ended.wait(10)
            return []

    before = set(threading.enumerate())
    items = run_steps(
        [Waiting("a", []), Waiting("b", [])],
        lambda item: item.first,
        done_with,
        threads=2,
        call_off=ended.set,
    )
    assert next(items).name == "a"
    items.close()
    assert ended.is_set()
    assert set(threading.enumerate()) <= before
