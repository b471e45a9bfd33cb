"""`hst_cloud.map` over the workers of a Dask cluster: addresses travel, workers die, budgets are charged here."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest
from batching import NAMES, alive, total
from store.test_drive import waits_until

import hst_cloud as hst
from hst_cloud.errors import BudgetExceededError, QueryError

pytestmark = pytest.mark.timeout(180)


def test_workers_open_files_at_the_clients_archive(archive, client):
    """The address travels with the task; values and traffic come back; this process sends nothing."""
    before = hst.report()
    outcomes = {o.product.filename: o for o in hst.map(total, NAMES, dask_client=client, factor=2)}
    assert {name: o.value for name, o in outcomes.items()} == {name: 1200.0 * n for n, name in enumerate(NAMES)}
    assert sum(o.requests for o in outcomes.values()) == len(archive.requests) == 10
    assert sum(o.bytes for o in outcomes.values()) == 86400
    assert sum(hst.report()["requests"]) == sum(before["requests"])


def test_workers_read_the_folder_that_the_client_reads(archive, client, monkeypatch):
    """What ``HST_CLOUD_STORE`` names here is read there, too, and nobody asks the archive."""
    client.run(os.getpid)  # the workers are there before the setting, and do not inherit it
    monkeypatch.setenv("HST_CLOUD_STORE", str(archive.folder))
    outcomes = list(hst.map(total, NAMES[:4], dask_client=client))
    assert sorted(o.value for o in outcomes) == [0.0, 600.0, 1200.0, 1800.0]
    assert archive.requests == []


def test_failures_and_what_cannot_travel_are_outcomes(archive, client):
    """Each with its reason, and the others as they are."""

    class ForeignError(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    def mixed(product):
        match NAMES.index(product.filename) if product.filename in NAMES else -1:
            case 0:
                return hst.open(product)
            case 1:
                raise ForeignError(1, 2)
        return total(product)

    outcomes = list(hst.map(mixed, [*NAMES[:3], "jbqf03gzq_flt.fits"], dask_client=client))
    reasons = sorted(o.reason for o in outcomes)
    assert [o.value for o in outcomes if o.ok] == [1200.0]
    assert reasons[1].startswith("NotInCloudError: ")
    assert reasons[2].startswith("TypeError: ForeignError: 1 and 2 cannot be handed to another process")
    assert reasons[3].startswith("TypeError: the value cannot be handed to another process")


@pytest.mark.slow
def test_a_worker_that_is_killed_is_survived(archive, doomed, tmp_path):
    """Its batch is run again, and every product has one outcome."""
    mark = tmp_path / "killed"

    def deadly(product):
        if product.filename == NAMES[5] and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return total(product)

    outcomes = list(hst.map(deadly, NAMES, dask_client=doomed))
    assert mark.exists()
    assert sorted(o.product.filename for o in outcomes) == NAMES
    assert all(o.ok for o in outcomes)


@pytest.mark.slow
def test_a_product_that_kills_each_worker_fails_alone(archive, doomed):
    """Its batch is taken apart, so that the others are done; its outcome says what happened."""

    def poison(product):
        if product.filename == NAMES[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return total(product)

    many = NAMES + [f"jbqf03g{i:02d}_flt.fits" for i in range(10)]
    outcomes = list(hst.map(poison, many, dask_client=doomed, workers=1))
    assert len(outcomes) == len(many)
    assert {o.product.filename for o in outcomes if o.ok} == set(NAMES[1:])
    (dead,) = [o for o in outcomes if isinstance(o.error, RuntimeError)]
    assert dead.product.filename == NAMES[0]
    assert f"each worker that was given {NAMES[0]} died" in dead.reason


def test_a_budget_is_charged_here_and_stops_it(archive, client, tmp_path):
    """Tasks under way may pass it by what was left when they were sent; nothing is begun after it is spent."""
    with hst.budget(requests=3) as budget, pytest.raises(BudgetExceededError, match="budget"):
        list(hst.map(total, NAMES, dask_client=client, workers=1))
    assert 3 <= budget.spent.requests <= len(archive.requests) < 10 + 1
    with hst.budget(requests=100) as budget:
        assert len(list(hst.map(total, NAMES, dask_client=client))) == 10
    assert (budget.spent.requests, budget.spent.bytes) == (10, 86400)


def test_a_manifest_resumes_on_a_cluster(archive, client, tmp_path):
    """What was done here is not done there."""
    manifest = tmp_path / "run.jsonl"
    list(hst.map(total, NAMES[:6], manifest=manifest))
    rest = list(hst.map(total, NAMES, dask_client=client, manifest=manifest))
    assert sorted(o.product.filename for o in rest) == NAMES[6:]


def test_an_interrupt_leaves_nothing_running_there(archive, client):
    """What waits for a worker is cancelled, and what runs on one sends no further request, and ends."""

    def endless(product):
        while True:
            total(product)
            time.sleep(0.05)

    outcomes = hst.map(endless, NAMES, dask_client=client, workers=1)

    def interrupt():
        if waits_until(lambda: archive.requests):
            os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    other.join()
    assert archive.requests
    deadline = time.monotonic() + 60
    while any(client.run(alive).values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    asked = len(archive.requests)
    time.sleep(1)
    assert len(archive.requests) == asked
    assert len(list(hst.map(total, NAMES, dask_client=client))) == 10


def test_a_client_that_waits_for_nobody_is_refused(client):
    """An asynchronous client cannot be waited for here."""
    import distributed

    async def ask():
        async with distributed.Client(client.scheduler.address, asynchronous=True) as unfit:
            list(hst.map(total, NAMES, dask_client=unfit))

    with pytest.raises(QueryError, match="asynchronous=False"):
        asyncio.run(ask())
