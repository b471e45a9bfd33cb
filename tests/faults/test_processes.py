"""Rows 43, 44 and 50 of the matrix of faults: processes of every kind, interrupts, and sudden ends.

What needs a process of its own is a program in a file, since spawned processes import it again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from support import put

import hst_cloud as hst
from hst_cloud.testing import Fault, LocalArchive, random_faults

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is neither fork nor SIGKILL")

PRELUDE = """
import sys
import numpy as np
import hst_cloud as hst

EXPECTED = np.arange(400_000, dtype="f4").reshape(800, 500)[790:]

def right(name):
    with hst.open(name, index=True) as hdul:
        return bool(np.array_equal(hdul["SCI"].section[790:, :], EXPECTED))
"""


@pytest.fixture
def files(tmp_path, hdul, monkeypatch):
    """Serve six files, with a cache of their own, and let children find the tests' modules."""
    names = [f"jbqf{n:02d}gjq_flc.fits" for n in range(6)]
    for name in names:
        put(tmp_path / "archive", name, hdul)
    monkeypatch.setenv("HST_CLOUD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]))
    with LocalArchive(tmp_path / "archive") as archive:
        archive.names = names
        yield archive


@pytest.fixture
def program(tmp_path):
    """Return a function that starts a program that may read the archive."""
    started = []

    def start(code, *arguments):
        path = tmp_path / f"program{len(started)}.py"
        path.write_text(PRELUDE + textwrap.dedent(code))
        command = [sys.executable, "-u", path, *arguments]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def printed(process):
    """Return what a program has printed, after it ended well and without a word on the error channel."""
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out


# --- Many processes --------------------------------------------------------------------------------------------------

MANY = """
    import multiprocessing, threading, warnings

    def work(name):
        sys.exit(0 if right(name) else 1)

    if __name__ == "__main__":
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: 3.12 and later
        name = sys.argv[1]
        ways = ["spawn"] * 2 + ["forkserver"] * 10 + ["fork"] * 20
        multiprocessing.get_context("forkserver").set_forkserver_preload(["hst_cloud"])
        found = [right(name)]  # before any fork: engines, the private loop and the index are in use
        threads = [threading.Thread(target=lambda: found.append(right(name))) for _ in range(8)]
        processes = [multiprocessing.get_context(way).Process(target=work, args=(name,)) for way in ways]
        for each in [*processes, *threads]:
            each.start()
        for each in [*processes, *threads]:
            each.join()
        print(sum(found), [process.exitcode for process in processes], right(name))
"""


def test_row_44_thirty_two_processes_at_one_file(files, program):
    """Forked after use, spawned, and of a fork server, beside eight threads: one file, one cache, a line that breaks."""
    files.faults = random_faults(0.05, seed=3)
    assert printed(program(MANY, files.names[0])) == f"9 {[0] * 32} True\n"


POOL = """
    import multiprocessing, warnings
    from concurrent.futures import ProcessPoolExecutor

    if __name__ == "__main__":
        warnings.simplefilter("ignore", DeprecationWarning)
        used = right(sys.argv[1])
        for way in ("fork", "forkserver"):
            multiprocessing.get_context(way).set_forkserver_preload(["hst_cloud"])
            with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context(way)) as workers:
                print(way, used, list(workers.map(right, sys.argv[1:] * 3)).count(True))
"""


def test_row_50_pools_of_processes(files, program):
    """Workers of an executor read again and again, each with a loop, connections and a look at the index of its own."""
    assert printed(program(POOL, *files.names)) == "fork True 18\nforkserver True 18\n"


DASK = """
    def main():
        from distributed import Client, LocalCluster

        used = right(sys.argv[1])
        options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": ":0", "silence_logs": 50}
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            products = [hst.Product(filename=name, key=hst.resolve(name)["key"][0]) for name in sys.argv[1:]]
            print(used, client.gather(client.map(right, products)).count(True))

    if __name__ == "__main__":
        main()
"""


def test_row_50_workers_of_dask(files, program):
    """Products travel, and are read by two threads of each worker process."""
    pytest.importorskip("distributed")
    assert printed(program(DASK, *files.names)).splitlines()[-1] == "True 6"


# --- Ends ------------------------------------------------------------------------------------------------------------

INTERRUPTED = """
    import os, time
    from leftovers import held, left
    from hst_cloud.store import loop
    import hst_cloud.science.transfer  # whatever is imported late is there

    CALLS = {
        "open": lambda: hst.open(sys.argv[2]),
        "headers": lambda: hst.headers(sys.argv[2:]),
        "cutouts": lambda: hst.cutouts(sys.argv[2:], (250, 400), size=9),
        "read": lambda: hst.read(sys.argv[2]),
        "download": lambda: hst.download(sys.argv[2:], "work"),
    }
    before = held()
    print("ready")
    try:
        CALLS[sys.argv[1]]()
    except KeyboardInterrupt:
        print("interrupted")
    print(dict(left(before)), [name for name in os.listdir(".") if name not in {"work", "cache", "archive"} and ".py" not in name])
"""


@pytest.mark.parametrize(
    ("verb", "fault"),
    [
        ("open", Fault(stall="before")),
        ("headers", Fault(drip=20.0)),
        ("cutouts", Fault(stall=100)),
        ("read", Fault(stall=100)),
        ("download", Fault(stall=100)),
    ],
)
def test_row_50_ctrl_c_leaves_nothing(files, program, verb, fault):
    """The call ends soon; no thread, socket or open file is left of it, nor a file where none was asked for."""
    files.faults = fault
    process = program(INTERRUPTED, verb, *files.names)
    assert process.stdout.readline() == "ready\n"
    while not files.requests:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    assert time.monotonic() - began < 5  # at once, if the machine is not busy; else many tries are waited for
    assert process.stdout.readline() == "{} []\n"
    assert printed(process) == ""


AT_THE_END = """
    import threading, time
    reading = [threading.Thread(target=hst.open, args=(name,), daemon=True) for name in sys.argv[1:]]
    for thread in reading:
        thread.start()
    time.sleep(0.5)
    print("end")
"""


@pytest.mark.parametrize("fault", [Fault(stall="before"), Fault(drip=20.0)], ids=repr)
def test_row_50_the_interpreter_ends_while_daemon_threads_read(files, program, fault):
    """It does not wait for servers that keep silent, and ends well."""
    files.faults = fault
    process = program(AT_THE_END, *files.names)
    assert process.stdout.readline() == "end\n"
    began = time.monotonic()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert time.monotonic() - began < 5


KILLED = """
    print("ready")
    hst.download(sys.argv[1:], "work", in_flight=2)
"""


def test_row_43_downloads_that_are_killed_again_and_again(files, program, tmp_path, hdul):
    """What has its name is whole at any time, and at last everything is there and nothing else."""
    files.faults = random_faults(0.1, seed=4)
    work = tmp_path / "work"
    whole = (tmp_path / "archive/hst/public/jbqf/jbqf00gjq" / files.names[0]).read_bytes()
    for after in (0.0, 0.02, 0.05, 0.1):
        process = program(KILLED, *files.names)
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        process.kill()
        process.wait()
        assert all(path.read_bytes() == whole for path in work.glob("*_flc.fits"))
    assert set(hst.download(files.names, work)["status"]) <= {"downloaded", "present"}
    assert sorted(path.name for path in work.iterdir() if not path.name.startswith(".hst")) == [
        *files.names,
        "manifest.ecsv",
    ]
    np.testing.assert_array_equal(hst.read(files.names[3], store=work)["SCI"].data, hdul["SCI"].data)
