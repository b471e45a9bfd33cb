"""Many plans at once: every result, every error, one bound, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace

import pytest

from hst_cloud.errors import HSTCloudError, ObjectChangedError, ObjectNotFoundError
from hst_cloud.store import loop
from hst_cloud.store.adapters import FolderStore
from hst_cloud.store.drive import Job, run_many, run_one
from hst_cloud.store.objects import Concurrent, HTTPStore
from hst_cloud.store.policy import S3, Policy
from hst_cloud.values import ByteRange

QUICK = Policy(connect=2, read=5, tries=2, deadline=20, base=0.01, longest=0.02)
PATIENT = replace(S3, connect=60, read=60)  # nothing is asked again while a test looks


def steps(*batches):
    """Ask for batches of ranges; return all bytes."""
    found = []
    for batch in batches:
        pieces = yield [ByteRange(*r) for r in batch]
        found += [bytes(piece.data) for piece in pieces]
    return b"".join(found)


@pytest.fixture(params=["folder", "served"])
def made(request, tmp_path, scripted):
    """Return a store that holds k0 to k39, of which k7 is missing; on the private loop and not."""
    for n in range(40):
        if n != 7:
            (tmp_path / f"k{n}").write_bytes(bytes([n]) * 1000)
    if request.param == "folder":
        yield FolderStore(tmp_path)
        return

    def behave(connection, request):
        path = tmp_path / request.target.rpartition("/")[2]
        answer = scripted.serve(path.read_bytes()) if path.exists() else scripted.error(404, "NoSuchKey")
        return answer(connection, request)

    with scripted.Server(behave) as server:
        yield HTTPStore(server.root)


def left():
    """Return how many tasks are on the private loop beside the one that asks."""

    async def count():
        return len(asyncio.all_tasks()) - 1

    return loop.run(count())


def waits_until(true):
    for _ in range(3000):  # a busy machine takes seconds to begin a process
        if true():
            return True
        time.sleep(0.01)
    return False


def test_what_is_a_store_on_the_loop(tmp_path):
    """The kind is told by what it can do."""
    assert isinstance(HTTPStore("http://127.0.0.1:9"), Concurrent)
    assert not isinstance(FolderStore(tmp_path), Concurrent)


@pytest.mark.parametrize("in_flight", [1, 3, 64])
def test_every_plan_has_one_result(made, in_flight):
    """In any order, with its position; a failure is one of them."""
    work = [(f"k{n}", steps([(0, 10), (20, 30)], [(500, 1010)], [])) for n in range(40)]
    found = dict(run_many(made, work, in_flight=in_flight))
    assert sorted(found) == list(range(40))
    assert isinstance(found[7], ObjectNotFoundError)
    assert all(found[n] == bytes([n]) * 520 for n in range(40) if n != 7)
    assert list(run_many(made, [], in_flight=in_flight)) == []
    assert made.traffic.requests == 39 * 3 + 2
    assert left() == 0


def test_one_plan(made):
    """The same rules for one: the result, or the error."""
    assert run_one(made, "k3", steps([(0, 5)], [(5, 8)])) == bytes([3]) * 8
    with pytest.raises(ObjectNotFoundError):
        run_one(made, "k7", steps([(0, 5)]))


def test_a_plan_without_questions(made):
    """It needs no request."""
    assert list(run_many(made, [("k0", steps())])) == [(0, b"")]
    assert made.traffic.requests == 0


def test_a_wrong_bound_is_refused(made):
    """Nobody waits for ever."""
    with pytest.raises(ValueError, match="in_flight must be at least 1, found 0"):
        run_many(made, [], in_flight=0)


@pytest.mark.parametrize("many", [True, False])
def test_later_batches_are_of_the_first_one_s_version(scripted, many):
    """The first goes unpinned, the second with If-Match; a given ETag pins the first as well."""
    with scripted.Server(scripted.serve()) as server:
        store = HTTPStore(server.root, policy=QUICK)

        def drive(plan, etag=None):
            return list(run_many(store, [Job("k", plan, etag)])) if many else run_one(store, "k", plan, etag=etag)

        drive(steps([(0, 5)], [(5, 8), (9, 12)]))
        assert [r.headers.get("if-match") for r in server.requests] == [None, '"one"', '"one"']
        drive(steps([(0, 5)]), "one")
        assert server.requests[-1].headers["if-match"] == '"one"'


@pytest.mark.parametrize("many", [True, False])
def test_a_replaced_object_is_told_to_the_plan(scripted, many):
    """Which may begin anew, with the version that is there now; one that does not is ended by the error."""

    def careful():
        try:
            yield [ByteRange(0, 5)]
        except ObjectChangedError:
            pieces = yield [ByteRange(0, 6)]
            more = yield [ByteRange(6, 9)]
            return pieces[0].etag, more[0].data

    gone = scripted.error(412, "PreconditionFailed")
    with scripted.Server(gone, scripted.serve(etag='"two"'), scripted.serve(etag='"two"'), gone) as server:
        store = HTTPStore(server.root, policy=QUICK)
        job = Job("k", careful(), "old")
        result = next(run_many(store, [job]))[1] if many else run_one(store, *job[:2], etag=job.etag)
        assert result == ("two", scripted.CONTENT[6:9])
        assert [r.headers.get("if-match") for r in server.requests] == ['"old"', None, '"two"']
        error = next(run_many(store, [("k", steps([(0, 5)]), "old")]))[1]
    assert isinstance(error, ObjectChangedError)
    assert "k" in str(error)


def test_an_error_in_a_plan_is_raised(made):
    """What is no error of ours is a mistake in the program: it is not a result, and ends everything."""

    def broken():
        yield [ByteRange(0, 1)]
        message = "thirteen"
        raise LookupError(message)

    with pytest.raises(LookupError, match="thirteen"):
        list(run_many(made, [("k0", broken()), *((f"k{n}", steps([(0, 9)])) for n in range(40))]))
    assert left() == 0


def test_no_more_in_flight_than_asked(scripted):
    """Over all plans and their batches, whether the bound is below or above the process's own."""
    now, most, lock = [0], [0], threading.Lock()

    def counted(connection, request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return scripted.serve()(connection, request)

    with scripted.Server(counted) as server:
        store = HTTPStore(server.root, policy=replace(QUICK, in_flight=6))
        for bound, low in [(3, 2), (6, 4), (20, 10), (3, 2)]:
            most[0] = 0
            work = ((f"k{n}", steps([(0, 5), (9, 12), (20, 30)], [(5, 8)])) for n in range(30))
            assert all(isinstance(r, bytes) for _, r in run_many(store, work, in_flight=bound))
            assert low <= most[0] <= bound


def test_work_is_drawn_as_there_is_room(made):
    """Work may be endless; what is begun and not taken is bounded."""
    drawn = itertools.count()
    work = ((f"k{n % 40}", steps([(0, 5)])) for n in drawn)
    results = run_many(made, work, in_flight=8)
    for taken, _ in enumerate(itertools.islice(results, 100), 1):
        assert next(drawn) - taken <= 30 + taken  # `next` draws one, too
    results.close()
    assert left() == 0


@pytest.mark.parametrize("leave", ["close", "garbage", "error"])
def test_who_leaves_early_leaves_nothing_running(scripted, leave):
    """Requests that nobody waits for are cancelled, every plan is closed, and the bound is what it was."""
    begun, closed = [], []

    def plan():
        begun.append(1)
        try:
            return (yield from steps([(0, 5)]))
        finally:
            closed.append(1)

    def work():
        yield from (("k", plan()) for _ in range(20))
        if leave == "error":
            while len(server.requests) < 20:
                time.sleep(0.01)
            message = "no more"
            raise LookupError(message)

    def first(connection, request):
        waits_until(lambda: len(server.requests) > 1)  # else it may be taken before anything else is begun
        return scripted.serve()(connection, request)

    with scripted.Server(first, scripted.silence) as server:
        results = run_many(HTTPStore(server.root, policy=PATIENT), work(), in_flight=70)
        if leave == "error":
            with pytest.raises(LookupError, match="no more"):
                list(results)
        else:
            assert len(next(results)[1]) == 5
            assert waits_until(lambda: 1 < len(begun) == len(server.requests))
            if leave == "close":
                results.close()
            del results
            gc.collect()
        assert left() == 0
        assert len(closed) == len(begun)
        assert server.hung_up.wait(30)


def test_an_iterator_that_nobody_begins_sends_nothing(scripted):
    """The first request goes with the first `next`."""
    with scripted.Server(scripted.serve()) as server:
        results = run_many(HTTPStore(server.root), [("k", steps([(0, 5)]))])
        del results
        assert server.requests == []


@pytest.mark.parametrize("ending", ["raise", "print('caught', loop.run(count())); print(read())"])
def test_ctrl_c_ends_all_of_it_at_once(scripted, ending):
    """While a hundred files are read, and no time-out is near; nothing is on the error channel but the traceback."""
    code = f"""
    import asyncio, sys
    from dataclasses import replace
    from hst_cloud.store import loop
    from hst_cloud.store.drive import run_many
    from hst_cloud.store.objects import HTTPStore
    from hst_cloud.store.policy import S3
    from hst_cloud.values import ByteRange
    store = HTTPStore(sys.argv[1], policy=replace(S3, connect=60, read=60))
    def plan():
        return len((yield [ByteRange(0, 1000)])[0].data)
    def read():
        return next(run_many(store, [("k", plan())]))
    async def count():
        return len(asyncio.all_tasks()) - 1
    try:
        for _ in run_many(store, [("k", plan()) for _ in range(100)]):
            pass
    except KeyboardInterrupt:
        {ending}
    """
    with scripted.Server(*[scripted.silence] * 64, scripted.serve()) as server:
        command = [sys.executable, "-u", "-W", "error", "-c", textwrap.dedent(code), server.root]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert waits_until(lambda: len(server.requests) == 64)
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 20 < PATIENT.read  # half a second, and the end of a process on a busy machine
    if ending == "raise":
        assert process.returncode == -signal.SIGINT
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert "never" not in err
        assert "destroyed" not in err
    else:
        assert (out, err) == ("caught 0\n(0, 1000)\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_its_parent_s_files(scripted):
    """It is told to read them itself, and the parent goes on."""
    with scripted.Server(scripted.serve()) as server:
        results = run_many(HTTPStore(server.root), [("k", steps([(0, 5)])) for _ in range(20)], in_flight=1)
        next(results)
        child = os.fork()
        if not child:
            try:
                next(results)
            except RuntimeError as error:
                os._exit(0 if "read them anew here" in str(error) else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(results)) == 19


def test_errors_keep_their_kind(made):
    """What is yielded can be raised as it is."""
    (_, error), *_ = run_many(made, [("k7", steps([(0, 5)]))])
    assert isinstance(error, HSTCloudError)
    assert error.key == "k7"
