"""The manifest of a call over many products: one line of JSON for each that was dealt with, which a later call reads.

A line is appended by one write when the outcome has been taken, so that ``kill -9`` costs no more than the outcomes
that nobody had taken; a last line that was cut is passed over. Each line says of which function with which arguments
it is: values of another function are not taken for those of this one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hst_cloud.batch.calls import Call
from hst_cloud.errors import DiskSpaceError, FormatError, LocalDiskError, QueryError
from hst_cloud.values import Outcome, Product

try:
    import fcntl
except ImportError:  # Windows: two processes are not kept apart there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Journal", "identity", "journal"]

_BEGINNING = b'{"product": '


def identity(product: Product) -> str:
    """Return what a product is told apart by."""
    return product.key or product.uri or product.filename or product.reason


class Journal:
    """What is known of earlier calls, and where to note what becomes of this one."""

    def __init__(self, fd: int, path: Path, told: str) -> None:
        self._fd = fd
        self._path = path
        self._told = told
        self._done: dict[str, str | None] = {}
        self._read()

    def has(self, product: Product) -> bool:
        """Tell whether the function has returned for a product, of the version that is meant."""
        name = identity(product)
        return name in self._done and product.etag in {None, self._done[name]}

    def note(self, outcome: Outcome[Any]) -> None:
        """Append what became of a product."""
        product = outcome.product
        line: dict[str, object] = {
            "product": product.filename,
            "identity": identity(product),
            "etag": product.etag,
            "status": "done" if outcome.ok else "failed",
            "reason": outcome.reason,
            "seconds": round(outcome.seconds, 3),
            "requests": outcome.requests,
            "bytes": outcome.bytes,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "call": self._told,
        }
        with contextlib.suppress(TypeError, ValueError):  # a value that is none of JSON's: the function keeps it itself
            json.dumps(outcome.value, default=_bare)
            line["value"] = outcome.value
        self._append(json.dumps(line, default=_bare).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            message = f"the manifest {self._path} cannot be written: {error}"
            raise LocalDiskError(message) from error
        if written < len(line):
            message = f"the manifest {self._path} has no room: {written} of {len(line)} bytes of a line were written"
            raise DiskSpaceError(message)

    def _read(self) -> None:
        content = self._path.read_bytes()
        for number, line in enumerate(content.splitlines(), 1):
            try:
                told = json.loads(line)
            except ValueError:
                if not _BEGINNING.startswith(line[: len(_BEGINNING)]):
                    message = f"{self._path} is no manifest of hst_cloud.map: line {number} is {line[:60]!r}"
                    raise FormatError(message) from None
                continue  # it was cut
            self._take(told, number)
        if content and not content.endswith(b"\n"):
            self._append(b"\n")

    def _take(self, told: object, number: int) -> None:
        if not isinstance(told, dict) or not {"identity", "status", "call"} <= told.keys():
            message = f"{self._path} is no manifest of hst_cloud.map: line {number} lacks identity, status and call"
            raise FormatError(message)
        if told["call"] != self._told:
            message = (
                f"the manifest {self._path} is of another call: expected {self._told}, found {told['call']} in line "
                f"{number}. Name another manifest for this one."
            )
            raise QueryError(message)
        if told["status"] == "done":
            self._done[told["identity"]] = told.get("etag")
        else:
            self._done.pop(told["identity"], None)


@contextlib.contextmanager
def journal(path: Path, call: Call[Any]) -> Generator[Journal]:
    """Open a manifest to read and append to, which no other process may do meanwhile.

    Raises
    ------
    LocalDiskError
        It cannot be written, or another process is writing it.
    FormatError
        The file is none.
    QueryError
        It is of another function, or of other arguments.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        message = f"the manifest {path} cannot be written: {error}"
        raise LocalDiskError(message) from error
    try:
        _lock(fd, path)
        yield Journal(fd, path, _told(call))
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"another call is writing the manifest {path}: wait for it, or name another one"
        raise LocalDiskError(message) from error
    except OSError:  # some network file systems have no locks
        return


def _told(call: Call[Any]) -> str:
    """Return a function and its arguments as a text that is the same in another process."""
    inner: Callable[..., Any] = getattr(call.fn, "func", call.fn)  # of a partial function
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    given = {**getattr(call.fn, "keywords", {}), **call.kwargs}
    text = ", ".join([name, *(f"{key}={given[key]!r}" for key in sorted(given))])
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _bare(value: object) -> object:
    """Return a number of numpy's as one of Python's."""
    if isinstance(value, np.generic):
        return value.item()
    message = f"{type(value).__name__} is no value of JSON"
    raise TypeError(message)
