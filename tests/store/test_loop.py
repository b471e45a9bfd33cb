"""The private loop: threads, forks, notebooks, interrupts, and the interpreter's end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from store.test_drive import waits_until

from hst_cloud.errors import ObjectNotFoundError
from hst_cloud.store import loop
from hst_cloud.store.objects import HTTPStore
from hst_cloud.values import ByteRange

RANGE = ByteRange(0, 1000)

PRELUDE = """
import logging, os, signal, sys, threading, time
from hst_cloud.store import loop
from hst_cloud.store.objects import HTTPStore
from hst_cloud.values import ByteRange
from hst_cloud.store.policy import S3
from dataclasses import replace
logging.getLogger("asyncio").addFilter(lambda record: "took" not in record.msg)  # that a machine is slow is no leak
store = HTTPStore(sys.argv[1], policy=replace(S3, read=60))  # longer than any test waits
def read():
    return len(store.read("k", [ByteRange(0, 1000)])[0].data)
"""


@pytest.fixture
def script():
    """Return a function that starts Python code that may read from the server at a root; `-X dev` shows every leak."""
    started = []

    def start(code, root):
        command = [sys.executable, "-X", "dev", "-u", "-c", PRELUDE + textwrap.dedent(code), root]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for channel in (process.stdin, process.stdout, process.stderr):
            channel.close()


def finished(process, said=None):
    """Return what it printed, after it has ended well and said nothing on the error channel."""
    out, err = process.communicate(said, timeout=60)
    assert (process.returncode, err) == (0, "")
    return out


def interrupted(process, server):
    """Send Ctrl-C once the server has been asked."""
    while not server.requests:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)


def tasks():
    """Return how many tasks are on the loop beside the one that asks, once those that are ending have ended."""

    async def count():
        for _ in range(100):
            left = len(asyncio.all_tasks()) - 1
            if not left:
                break
            await asyncio.sleep(0.01)
        return left

    return loop.run(count())


# --- In one process --------------------------------------------------------------------------------------------------


def test_run_returns_and_raises_what_the_work_does():
    """From any thread, on one thread."""

    async def work(n):
        await asyncio.sleep(0)
        if n == 13:
            message = "thirteen"
            raise ValueError(message)
        return n, threading.current_thread().name

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: loop.run(work(n)), range(12)))
    assert found == [(n, "hst_cloud") for n in range(12)]
    with pytest.raises(ValueError, match="thirteen"):
        loop.run(work(13))


def test_run_inside_a_running_loop(scripted):
    """In a notebook the user's own loop runs, and stays untouched."""
    with scripted.Server(scripted.serve()) as server:

        async def cell():
            mine = asyncio.get_running_loop()
            data = HTTPStore(server.root).read("k", [RANGE])[0].data
            assert asyncio.get_running_loop() is mine
            return data

        assert asyncio.run(cell()) == scripted.CONTENT[:1000]


def test_work_that_would_wait_for_itself_is_refused():
    """A deadlock is an error instead."""

    async def inner():
        pytest.fail("ran")

    async def outer():
        loop.run(inner())

    with pytest.raises(RuntimeError, match="runs on the thread of the stores; use another thread"):
        loop.run(outer())


def test_resources_are_made_once():
    """Many that ask for the same thing get the same thing."""

    class Thing:
        async def close(self):
            """Nothing to let go of."""

    async def work():
        return loop.resource(Thing)

    assert loop.run(work()) is loop.run(work())


def test_nothing_is_left_after_failures_and_success(scripted):
    """Neither tasks nor garbage that complains: the other requests of a failed batch end with it."""

    def late(connection, request):
        waits_until(lambda: len(server.requests) > 2)  # others are on their way by then
        return scripted.error(404, "NoSuchKey")(connection, request)

    with scripted.Server(scripted.serve(), late, scripted.silence) as server:
        store = HTTPStore(server.root)
        assert store.read("k", [RANGE])[0].size == 100_000
        with pytest.raises(ObjectNotFoundError):
            store.read("k", [RANGE] * 20)
        assert server.hung_up.wait(30)
    assert tasks() == 0
    gc.collect()


# --- Interrupts ------------------------------------------------------------------------------------------------------


def test_ctrl_c_is_answered_at_once(scripted, script):
    """A main thread that waits for a black hole stops at once, the request with it, and the store goes on working."""
    code = """
    print("waiting")
    try:
        read()
    except KeyboardInterrupt:
        print("interrupted")
    input()
    print(read())
    """
    with scripted.Server(scripted.silence, scripted.serve()) as server:
        process = script(code, server.root)
        assert process.stdout.readline() == "waiting\n"
        interrupted(process, server)
        sent = time.monotonic()
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - sent < 10  # of the 60 that the store would wait; a busy machine is slow now and then
        assert server.hung_up.wait(30)
        assert finished(process, "go on\n") == "1000\n"


def test_ctrl_c_that_nobody_catches_ends_the_program(scripted, script):
    """With Python's own traceback and nothing of ours behind it."""
    with scripted.Server(scripted.silence) as server:
        process = script("read()", server.root)
        interrupted(process, server)
        _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "Unclosed" not in err
    assert "never" not in err


# --- The interpreter's end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio; HTTPStore(sys.argv[1]).read('k', [ByteRange(0, 9)]); asyncio.run(asyncio.sleep(0)); print(read())",
        "import atexit; print(read()); atexit.register(read)",
        "t = threading.Thread(target=lambda: (time.sleep(0.3), print(read()))); t.start()",
    ],
    ids=["end", "atexit", "thread"],
)
def test_the_interpreter_ends_in_silence(scripted, script, code):
    """Connections are closed, the loop too; not a word on the error channel."""
    with scripted.Server(scripted.serve()) as server:
        assert finished(script(code, server.root)) == "1000\n"


def test_the_interpreter_does_not_wait_for_a_black_hole(scripted, script):
    """What a daemon thread still waits for is given up."""
    code = """
    threading.Thread(target=lambda: store.read("k", [ByteRange(0, 9)]), daemon=True).start()
    time.sleep(0.5)
    print("end")
    """
    with scripted.Server(scripted.silence) as server:
        process = script(code, server.root)
        assert process.stdout.readline() == "end\n"
        _, err = process.communicate(timeout=30)  # which is less than the store would wait
        assert process.returncode == 0, err


# --- Other processes -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
def test_a_forked_child_reads_on_its_own(scripted, script, leave):
    """It makes its own thread and connections; the parent's still work, however the child ends."""
    code = f"""
    import warnings; warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: 3.12 and later
    print(read())
    child = os.fork()
    if not child:
        import gc; gc.collect()
        print(read())
        {leave}
    assert os.waitpid(child, 0)[1] == 0
    print(read())
    """
    with scripted.Server(scripted.serve()) as server:
        assert finished(script(code, server.root)) == "1000\n" * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_in_the_middle_of_a_read(scripted, script):
    """What the parent waits for in another thread is the parent's alone."""
    code = """
    import warnings; warnings.simplefilter("ignore", DeprecationWarning)
    reader = threading.Thread(target=lambda: print("parent", read()))
    reader.start()
    while not store.traffic.requests:
        time.sleep(0.01)
    time.sleep(0.1)
    child = os.fork()
    if not child:
        print("child", read())
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    reader.join()
    """

    def slow(connection, request):
        time.sleep(1)
        return scripted.serve()(connection, request)

    with scripted.Server(slow, scripted.serve()) as server:
        assert sorted(finished(script(code, server.root)).splitlines()) == ["child 1000", "parent 1000"]


def _read(store):
    return store.read("k", [RANGE])[0].data


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_process_gets_the_store_by_pickle(scripted, method):
    """A store travels as its address; nothing of the parent's connections does."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    with scripted.Server(scripted.serve()) as server:
        store = HTTPStore(server.root)
        assert _read(store) == scripted.CONTENT[:1000]
        code = f"""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        if __name__ == "__main__":
            read()
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r})) as workers:
                jobs = [workers.submit(store.read, "k", [ByteRange(0, 1000)]) for _ in range(4)]
                print(*[len(job.result()[0].data) for job in jobs])
        """
        command = [sys.executable, "-c", PRELUDE + textwrap.dedent(code), server.root]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert (done.stdout, done.stderr) == ("1000 1000 1000 1000\n", "")


def test_work_sees_the_context_of_its_caller():
    """Budgets are in a context variable: what is run or posted there must find the caller's, not the loop's own."""
    told = contextvars.ContextVar("told", default="nobody")
    heard = queue.SimpleQueue()

    async def ask():
        return told.get()

    def spawn():
        tasks.append(asyncio.ensure_future(tell()))

    async def tell():
        heard.put(told.get())

    tasks = []
    for name in ("one", "two"):
        token = told.set(name)
        assert loop.run(ask()) == name
        loop.post(spawn)
        assert loop.take(heard) == name
        told.reset(token)
    assert loop.run(ask()) == "nobody"
