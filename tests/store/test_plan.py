"""Plans ask in batches; drivers answer."""

from __future__ import annotations

import pytest

from hst_cloud.store.plan import drive

STORE = {"a": ["b", "c"], "b": ["d"], "c": [], "d": []}


def walk(key):
    """Collect everything below a key, one batch for each level."""
    found, level = [], [key]
    while level:
        answers = yield level
        found += level
        level = [child for answer in answers for child in answer]
    return found


def test_drive_answers_each_batch_and_returns_the_result():
    """A dict is enough of a world; one call of it is one round trip."""
    batches = []

    def carry(asks):
        batches.append(list(asks))
        return [STORE[ask] for ask in asks]

    assert drive(walk("a"), carry) == ["a", "b", "c", "d"]
    assert batches == [["a"], ["b", "c"], ["d"]]


def test_a_plan_that_asks_nothing_needs_no_world():
    """What can be known without asking is returned at once."""

    def plan():
        return 7
        yield []

    assert drive(plan(), lambda asks: pytest.fail(f"asked {asks}")) == 7


def test_a_failure_of_the_world_ends_the_plan():
    """What the driver's carrier raises comes out as itself, and the plan's own clean-up has run."""
    ended = []

    def plan():
        try:
            yield ["a"]
        finally:
            ended.append(True)

    with pytest.raises(KeyError, match="a"):
        drive(plan(), lambda asks: [{}[ask] for ask in asks])
    assert ended == [True]


def test_a_failure_of_the_plan_comes_out_as_itself():
    """A plan that finds nonsense in an answer raises from `drive`."""

    def plan():
        (answer,) = yield ["a"]
        message = f"cannot read {answer}"
        raise ValueError(message)

    with pytest.raises(ValueError, match="cannot read nonsense"):
        drive(plan(), lambda asks: ["nonsense" for _ in asks])
