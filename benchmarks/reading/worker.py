"""A way of doing work in a process of its own, which lives as long as its unit: sessions and connections are warm.

Its seconds of CPU are those of all its threads and of the programs that it runs; its peak of memory is what it held at
most while it worked, beyond what it held before.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from benchmarks.reading.units import Way
from benchmarks.reading.values import Setting, digest

SLOW = ("s3fs", "boto3", "obstore", "awscrt.s3")
"""What takes long to import, where it is installed."""
SECONDS = 600
"""After which a way is given up."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of a core."""
    peak: float
    """Bytes."""
    digest: str = ""
    """Of what it gave, where that was asked for."""


class Worker:
    """A process that goes one way whenever it is told to.

    Parameters
    ----------
    way : Way
        Which.
    setting : Setting
        Where, and what.
    files : str
        Which of the setting's files.
    link : str
        What ``HST_CLOUD_LINK`` is set to.
    """

    def __init__(self, way: Way, setting: Setting, files: str, link: str) -> None:
        self.way = way
        # A server that has imported everything forks the processes: each is fresh, and none waits for imports.
        fresh = multiprocessing.get_context("forkserver")
        fresh.set_forkserver_preload([__name__, *SLOW])
        self._pipe, theirs = fresh.Pipe()
        self._process = fresh.Process(target=_work, args=(way, setting, files, link, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ready(self) -> str:
        """Wait until it is ready; return why it cannot be, or an empty text."""
        return self._received()

    def prepare(self) -> None:
        """Bring about what the way knows before it begins, which costs requests but is not part of the work."""
        self._pipe.send("prepare")
        self._received()

    def run(self, count: int, *, digest: bool = False) -> Cost:
        """Do the work for the first `count` files; `prepare` goes before."""
        self._pipe.send((count, digest))
        return self._received()

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _received(self) -> Any:
        if not self._pipe.poll(SECONDS):
            message = f"{self.way.name}: no answer within {SECONDS} s"
            raise TimeoutError(message)
        try:
            got = self._pipe.recv()
        except EOFError:
            message = f"{self.way.name}: its process ended"
            raise RuntimeError(message) from None
        if isinstance(got, BaseException):
            raise got
        return got


def _work(way: Way, setting: Setting, kind: str, link: str, pipe: Any) -> None:
    """Make a way ready and go it as often as `pipe` says; what it raises is sent back."""
    os.environ |= {
        "HST_CLOUD_ENDPOINT": setting.root,
        "HST_CLOUD_LINK": link,
        "HST_CLOUD_CACHE": "off",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    warnings.simplefilter("ignore")  # units as HST writes them are none that astropy knows
    gc.freeze()  # what was imported before the fork: to look through it copies it, and takes 0.1 s each time
    scratch = Path(tempfile.mkdtemp(prefix="reading-", dir=setting.scratch))
    try:
        setting = replace(setting, scratch=scratch)
        try:
            ready = way.make(setting)
        except ImportError as error:
            pipe.send(str(error))
            return
        pipe.send("")
        files = getattr(setting.files, kind)
        while (asked := pipe.recv()) is not None:
            if asked == "prepare":
                ready.before()
                gc.collect()
                pipe.send("")
                continue
            count, wanted = asked
            cost, result = _timed(ready.run, files[:count])
            if wanted:
                cost = replace(cost, digest=digest(ready.plain(result)))
            del result
            pipe.send(cost)
    except EOFError:
        pass
    except BaseException as error:  # noqa: BLE001  # the other process raises it
        said = "".join(traceback.format_exception(error))
        pipe.send(RuntimeError(f"{way.name} failed:\n{said}"))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        pipe.close()
        os._exit(0)  # some clients' threads never end


def _timed(run, files) -> tuple[Cost, Any]:
    _forget_peak()
    held = _memory("VmRSS")
    cpu, began = _cpu(), time.perf_counter()
    result = run(files)
    wall = time.perf_counter() - began
    return Cost(wall, _cpu() - cpu, max(0, _memory("VmHWM") - held)), result


def _cpu() -> float:
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # not on Linux
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory(which: str) -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(next(line for line in status.splitlines() if line.startswith(which)).split()[1]) * 1024
