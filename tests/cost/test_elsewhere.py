"""What other processes spend and where they read: budgets that are charged, and an archive that holds in a context."""

from __future__ import annotations

import contextvars
import pickle

import pytest

import hst_cloud as hst
from hst_cloud.cost.budgets import charge, remaining
from hst_cloud.cost.ledger import ledger, source_of, spending
from hst_cloud.cost.limits import Limits
from hst_cloud.errors import BudgetExceededError
from hst_cloud.settings import endpoint_text, endpoints, served_from


def test_what_remains_is_the_least_that_any_budget_leaves(monkeypatch):
    """Of each kind by itself, and never less than nothing; a process's ceilings count."""
    assert remaining().limits == Limits()
    monkeypatch.setenv("HST_CLOUD_BUDGET", "usd=3")
    with hst.budget(requests=10, bytes=100), hst.budget(requests=4):
        charge(requests=3, bytes=130, usd=1.0)
        left = remaining().limits
        assert (left.requests, left.bytes, left.seconds) == (1, 0, None)
        assert left.usd == pytest.approx(2.0)


def test_what_remains_may_be_spent_where_the_requester_pays():
    """If any budget here says so; and it pickles, so that another process may enter it."""
    with hst.budget(usd=1, requester_pays=True), hst.budget(requests=9):
        left = pickle.loads(pickle.dumps(remaining()))
    with left:
        assert (left.limits.requests, left.limits.usd) == (9, 1)
        assert ledger().accounts()[-1].requester_pays
    assert left.spent.requests == 0


def test_what_is_charged_is_spent_and_counts_against_the_next_request():
    """A request here does not fit any more when others have spent the budget."""
    with hst.budget(requests=5) as budget:
        charge(requests=5, bytes=7, usd=0.5)
        with pytest.raises(BudgetExceededError, match="the budget of 5 requests"):
            spending(source_of("http://127.0.0.1:1"), size=1)
    assert (budget.spent.requests, budget.spent.bytes, budget.spent.usd) == (5, 7, 0.5)


def test_a_budget_that_is_stopped_lets_nothing_pass():
    """Whatever was left of it."""
    with hst.budget() as budget:
        with spending(source_of("http://127.0.0.1:1"), size=1):
            pass
        budget.stop()
        with pytest.raises(BudgetExceededError):
            spending(source_of("http://127.0.0.1:1"), size=1)


def test_an_address_holds_in_its_context_alone(monkeypatch):
    """It stands for the variable, also where that is to stand for nothing, and is gone behind the block."""
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", "http://127.0.0.1:1")
    other = contextvars.copy_context()
    with served_from("http://127.0.0.1:2"):
        assert endpoints().mast == "http://127.0.0.1:2"
        assert other.run(endpoints).mast == "http://127.0.0.1:1"
        with served_from(""):
            assert endpoints().public
    assert endpoint_text() == "http://127.0.0.1:1"
