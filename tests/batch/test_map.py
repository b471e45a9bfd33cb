"""`hst_cloud.map` on this machine: outcomes, budgets, what an abandoned iteration leaves, and the manifest."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from batching import NAMES, total

import hst_cloud as hst
from hst_cloud.cli.progress import progress_line
from hst_cloud.errors import BudgetExceededError, FormatError, LocalDiskError, NotInCloudError, QueryError


def of_map_left():
    """Return the names of threads of `map` that are still there."""
    return [each.name for each in threading.enumerate() if each.name.startswith("hst_cloud map")]


# --- Outcomes --------------------------------------------------------------------------------------------------------


def test_each_product_has_one_outcome_with_its_value_and_its_traffic(archive):
    """The value is what the function returned with its arguments; each call's requests and bytes are its own."""
    seen = {o.product.filename: o for o in hst.map(total, [*NAMES, NAMES[0]], factor=2)}
    assert {name: seen[name].value for name in NAMES} == {name: 1200.0 * n for n, name in enumerate(NAMES)}
    assert len(seen) == len(NAMES)
    assert all(o.ok and not o.reason and o.seconds > 0 for o in seen.values())
    assert sum(o.requests for o in seen.values()) == len(archive.requests)
    assert {(o.requests, o.bytes) for o in seen.values()} == {(1, 8640)}


def test_a_failure_is_an_outcome_with_its_reason(archive):
    """What is missing, what cannot be named and what the function itself raises do not disturb the others."""

    def half(product):
        if product.filename == NAMES[2]:
            message = "the second is odd"
            raise ArithmeticError(message)
        return total(product)

    outcomes = list(hst.map(half, [*NAMES[:3], "jbqf03gzq_flt.fits", "no name"]))
    reasons = sorted(o.reason.partition(":")[0] for o in outcomes)
    assert reasons == ["", "", "ArithmeticError", "NotInCloudError", "ProductNameError"]
    odd = next(o for o in outcomes if isinstance(o.error, ArithmeticError))
    assert (odd.reason, odd.value, odd.ok) == ("ArithmeticError: the second is odd", None, False)
    assert "ArithmeticError: the second is odd" in repr(odd)


def test_a_failure_may_end_all(archive):
    """With on_error="raise" the first error is raised as itself."""
    with pytest.raises(NotInCloudError, match="jbqf03gzq"):
        list(hst.map(total, ["jbqf03gzq_flt.fits"], on_error="raise"))
    assert of_map_left() == []


def test_an_outcome_pickles(archive):
    """An outcome is a value."""
    (outcome,) = hst.map(total, NAMES[1])
    assert pickle.loads(pickle.dumps(outcome)) == outcome


def test_arguments_that_make_no_sense_are_refused_at_once():
    """Before anything is called."""
    with pytest.raises(QueryError, match="workers must be at least 1, found 0"):
        hst.map(total, NAMES, workers=0)
    with pytest.raises(QueryError, match="must be 'outcome' or 'raise', found 'skip'"):
        hst.map(total, NAMES, on_error="skip")


def test_no_more_calls_run_than_workers():
    """And no more are begun than half as many again, however slow the caller is."""
    lock, running, most, begun = threading.Lock(), 0, 0, 0

    def slow(product):
        nonlocal running, most, begun
        with lock:
            running, begun = running + 1, begun + 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    outcomes = hst.map(slow, [f"jbqf03g{i:02d}_flt.fits" for i in range(60)], workers=4)
    next(outcomes)
    time.sleep(0.3)
    assert begun <= 4 + 2 + 4
    assert len(list(outcomes)) == 59
    assert most == 4


def test_progress_counts_products_and_bytes(archive):
    """One message for each outcome."""
    told = []
    list(hst.map(total, NAMES[:3], progress=told.append))
    assert [(p.what, p.done, p.total, p.bytes) for p in told] == [("products", n, 3, 8640 * n) for n in (1, 2, 3)]


def test_the_progress_of_the_command_line_shows_it(archive):
    """As for downloads: nothing while it is fast, one line that is gone at the end where it is slow."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for patience, shown in [(60, False), (0.0, True)]:
        terminal = Terminal()
        with progress_line("mapping", stream=terminal, patience=patience) as watch:
            for _ in hst.map(total, NAMES[:3], progress=watch):
                time.sleep(0.3 if shown else 0)
        assert ("of 3 products" in terminal.getvalue()) is shown


# --- What ends it ----------------------------------------------------------------------------------------------------


def test_a_budget_stops_it_whole(archive):
    """No request beyond the budget is sent, no call is begun after that, and what was done before is given."""
    called, taken = [], []

    def counted(product):
        called.append(product)
        return total(product)

    outcomes = hst.map(counted, NAMES, workers=1)
    with hst.budget(requests=4), pytest.raises(BudgetExceededError, match="the budget of 4 requests"):
        taken.extend(outcomes)
    assert len(archive.requests) == 4
    assert [o.ok for o in taken] == [True] * 4
    assert len(called) <= 6
    assert of_map_left() == []


def test_an_abandoned_iteration_leaves_nothing_running(archive):
    """Calls that are under way send no more requests, and their threads are gone when the iterator is."""
    sent = threading.Event()

    def endless(product):
        while True:
            total(product)
            sent.set()

    outcomes = hst.map(endless, NAMES[1:], workers=3)

    def interrupt():
        if sent.wait(60):
            os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    other.join()
    assert sent.is_set()
    assert of_map_left() == []
    asked = len(archive.requests)
    time.sleep(0.3)
    assert len(archive.requests) == asked


def test_leaving_the_loop_ends_it(archive):
    """Closing the iterator after the first outcome waits for what is under way, and begins nothing new."""
    outcomes = hst.map(total, NAMES, workers=2)
    next(outcomes)
    outcomes.close()
    assert of_map_left() == []
    assert len(archive.requests) <= 5


# --- The manifest ----------------------------------------------------------------------------------------------------


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def test_a_second_call_does_what_the_first_left(archive, tmp_path):
    """Products that are done are skipped, without a request; those that failed are tried again."""
    manifest = tmp_path / "run.jsonl"
    first = list(hst.map(total, [*NAMES[:3], "jbqf03gzq_flt.fits"], manifest=manifest))
    assert len(first) == 4
    before = len(archive.requests)
    again = list(hst.map(total, [*NAMES[:4], "jbqf03gzq_flt.fits"], manifest=manifest))
    assert sorted(o.product.filename for o in again) == [NAMES[3], "jbqf03gzq_flt.fits"]
    assert {r.path.rpartition("/")[2] for r in archive.requests[before:] if r.service == "s3"} == {
        NAMES[3],
        "jbqf03gzq_flt.fits",
    }
    kept = {line["product"]: line.get("value") for line in lines(manifest) if line["status"] == "done"}
    assert kept == {name: 600.0 * n for n, name in enumerate(NAMES[:4])}


def test_a_version_that_was_replaced_is_done_again(archive, tmp_path):
    """What the manifest has of another ETag than the one that is meant is not done."""
    rows = hst.resolve(NAMES[:2], verify=True)
    manifest = tmp_path / "run.jsonl"
    assert len(list(hst.map(total, rows, manifest=manifest))) == 2
    rows["etag"][1] = "0123"
    again = list(hst.map(lambda _: None, rows, manifest=tmp_path / "other.jsonl"))
    assert len(again) == 2
    assert [o.product.filename for o in hst.map(total, rows, manifest=manifest)] == [NAMES[1]]


def test_an_outcome_is_noted_when_it_was_taken(archive, tmp_path):
    """Whoever stops in the middle of an outcome is given it again."""
    manifest = tmp_path / "run.jsonl"
    outcomes = hst.map(total, NAMES[:3], manifest=manifest, workers=1)
    first, second = next(outcomes), next(outcomes)
    outcomes.close()
    assert [line["product"] for line in lines(manifest)] == [first.product.filename]
    assert second.product.filename in {o.product.filename for o in hst.map(total, NAMES[:3], manifest=manifest)}


def test_values_that_json_has_not_are_left_out(archive, tmp_path):
    """Numbers of numpy's are numbers; an array is for the caller to keep."""
    manifest = tmp_path / "run.jsonl"
    list(hst.map(lambda _: np.float32(1.5), NAMES[:1], manifest=manifest))
    assert lines(manifest)[0]["value"] == 1.5
    other = tmp_path / "other.jsonl"
    list(hst.map(lambda _: np.zeros(3), NAMES[:1], manifest=other))
    assert "value" not in lines(other)[0]
    assert lines(other)[0]["status"] == "done"


def test_a_manifest_of_another_call_is_refused(archive, tmp_path):
    """The values of one function are not taken for those of another, nor those of other arguments."""
    manifest = tmp_path / "run.jsonl"
    list(hst.map(total, NAMES[:1], manifest=manifest, factor=2))
    with pytest.raises(QueryError, match=r"expected total, factor=3, found total, factor=2 in line 1"):
        list(hst.map(total, NAMES[:1], manifest=manifest, factor=3))


def test_a_file_that_is_no_manifest_is_left_alone(tmp_path):
    """It is named in the error, and not appended to."""
    for content in ("# %ECSV 1.0\n", '{"a": 1}\n', '"a text"\n'):
        manifest = tmp_path / "notes"
        manifest.write_text(content)
        with pytest.raises(FormatError, match=r"notes is no manifest of hst_cloud.map: line 1"):
            list(hst.map(total, NAMES[:1], manifest=manifest))
        assert manifest.read_text() == content


def test_a_manifest_has_one_writer(archive, tmp_path):
    """A second call that would write it is refused; one that cannot be written is said to be so."""
    pytest.importorskip("fcntl")
    manifest = tmp_path / "run.jsonl"
    outcomes = hst.map(total, NAMES[:3], manifest=manifest)
    next(outcomes)
    with pytest.raises(LocalDiskError, match=r"another call is writing the manifest .*run.jsonl"):
        list(hst.map(total, NAMES[:3], manifest=manifest))
    outcomes.close()
    with pytest.raises(LocalDiskError, match="cannot be written"):
        list(hst.map(total, NAMES[:3], manifest=tmp_path / "nowhere" / "run.jsonl"))


KILLED = """
import os, signal, sys
import hst_cloud as hst

def first(product):
    with hst.open(product, index=False) as hdul:
        return float(hdul["SCI"].data[0, 0])

for number, outcome in enumerate(hst.map(first, sys.argv[3:], manifest=sys.argv[1], workers=2)):
    print(outcome.product.filename, flush=True)
    if number == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_goes_on(archive, tmp_path):
    """After kill -9 each product is done once, but for the one in hand; a line that was cut costs its product alone."""
    manifest = tmp_path / "run.jsonl"

    def run(stop):
        command = [sys.executable, "-c", KILLED, str(manifest), str(stop), *NAMES]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    first = run(4)
    assert first.returncode == -signal.SIGKILL
    taken = first.stdout.split()
    assert [line["product"] for line in lines(manifest)] == taken[:4]
    manifest.write_bytes(manifest.read_bytes()[:-20])  # as if the power had gone
    second = run(99)
    assert second.returncode == 0, second.stderr
    assert sorted(second.stdout.split()) == sorted(set(NAMES) - set(taken[:3]))
    assert run(99).stdout == ""
