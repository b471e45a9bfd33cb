"""Which fault a request meets: a script, and how far it has been used up."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import threading
from collections import Counter
from typing import Literal
from urllib.parse import unquote_plus

from hst_cloud.settings import BUCKET
from hst_cloud.testing.faults import Fault, Script
from hst_cloud.testing.mast import PATHS
from hst_cloud.testing.messages import Answer, Ask, FilePart

__all__ = ["Schedule", "key_of", "service_of"]

_BUCKET = f"/{BUCKET}/"


def service_of(path: str) -> Literal["s3", "mast"]:
    """Return ``mast`` or ``s3``: who answers at `path`."""
    return "mast" if path.startswith(PATHS) else "s3"


def key_of(path: str) -> str:
    """Return the object's key of a path in the bucket, else the path without its first slash."""
    if path == _BUCKET[:-1]:
        return ""
    return path.removeprefix(_BUCKET) if path.startswith(_BUCKET) else path[1:]


class Schedule:
    """A script that is being run. May be used by several threads.

    Parameters
    ----------
    script : Script
        What to begin with.
    """

    def __init__(self, script: Script) -> None:
        self._lock = threading.Lock()
        self.set(script)

    def set(self, script: Script) -> None:
        """Run another script, or the same one from its beginning."""
        with self._lock:
            self.script = script
            self._patterns = [None if f.key is None else re.compile(fnmatch.translate(f.key)) for f in script.faults]
            self._matched: Counter[int] = Counter()
            self._met: Counter[int] = Counter()
            self._come: Counter[tuple[str, ...]] = Counter()
            # What every request looks at, and so a plain attribute.
            self.active = bool(script.faults)

    def for_connection(self) -> Fault | None:
        """Return the fault that a new connection meets, and count it."""
        with self._lock:
            found = [n for n, fault in enumerate(self.script.faults) if fault.on == "connection"]
            return self._first(found, ("connection",)) if found else None

    def for_request(self, ask: Ask, answer: Answer) -> Fault | None:
        """Return the fault that a request and its true answer meet, and count it."""
        with self._lock:
            found = [n for n, fault in enumerate(self.script.faults) if self._matches(n, fault, ask, answer)]
            return (
                self._first(found, (ask.method, ask.path, ask.query, ask.headers.get("range", ""))) if found else None
            )

    def _first(self, found: list[int], what: tuple[str, ...]) -> Fault | None:
        come = self._come[what] = self._come[what] + 1
        for number in found:
            fault = self.script.faults[number]
            if fault.times is not None and self._met[number] >= fault.times:
                continue
            self._matched[number] += 1
            if self._matched[number] <= fault.skip:
                continue
            if fault.chance < 1 and self._drawn(number, what, come) >= fault.chance:
                continue
            self._met[number] += 1
            return fault
        return None

    def _drawn(self, number: int, what: tuple[str, ...], come: int) -> float:
        """Return a number in [0, 1) that the seed, the fault, the request and how often it has come decide.

        Requests of several connections come in any order; what each of them meets must not depend on it.
        """
        text = "\n".join((str(self.script.seed), str(number), str(come), *what))
        return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).digest(), "big") / 2**48

    def _matches(self, number: int, fault: Fault, ask: Ask, answer: Answer) -> bool:
        if fault.on != "request" or fault.method not in {None, ask.method}:
            return False
        if fault.service is not None and fault.service != service_of(ask.path):
            return False
        pattern = self._patterns[number]
        if pattern is not None and not pattern.match(key_of(ask.path)):
            return False
        if fault.query is not None and fault.query not in unquote_plus(f"{ask.query}\n{ask.body.decode('latin-1')}"):
            return False
        if fault.range is None:
            return True
        part, (start, stop) = answer.body, fault.range
        return isinstance(part, FilePart) and part.start < stop and start < part.stop
