"""The folder behind the embedded archive: keys to files, with what an object store knows of each.

A file is opened, hashed and described once, and again when it is replaced: every look costs one `os.stat`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

from hst_cloud.testing.messages import OpenFile

__all__ = ["CATALOG", "ELSEWHERE", "Facts", "Folder", "Listed", "Stored"]

CATALOG = "catalog.json"
"""Rows that the catalog shall have beside those of the files; at the top of the folder, not an object."""

ELSEWHERE = "mast-only"
"""Folder of files that MAST's Download service has and the bucket has not; not objects."""

_QUICK = 1 << 20  # bytes that are hashed while the caller waits (2 ms); more goes to another thread
_OPEN = 256  # files kept open; a process may usually have 1,024
_REMEMBERED = 100_000  # keys whose paths are remembered
_TICK = 50_000_000  # ns; file systems of Linux stamp with the kernel's tick, 4 ms or less


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a file."""

    file: OpenFile
    """The file, open."""
    size: int
    """Bytes."""
    etag: str
    """MD5 of the content in hexadecimal, in quotes, as S3 has it for objects uploaded whole."""
    modified: int
    """Seconds since 1970; S3 keeps no fraction in Last-Modified."""
    headers: dict[str, str]
    """What every answer about it says."""


class Listed(NamedTuple):
    """A key and its file."""

    key: str
    """Object key."""
    path: str
    """Path of the file."""


class Facts(NamedTuple):
    """What a listing tells of a file."""

    size: int
    """Bytes."""
    modified: int
    """Seconds since 1970."""
    etag: str
    """In quotes."""


class _Known(NamedTuple):
    stamp: tuple[int, int, int, int]
    stored: Stored


class Folder:
    """A folder laid out like the bucket. May be used by several threads."""

    def __init__(self, root: Path) -> None:
        self.root = str(root.absolute())
        self._paths: dict[str, str | None] = {}
        self._known: dict[str, _Known] = {}
        self._hashes: dict[str, tuple[tuple[int, int, int, int], str]] = {}
        self._hashing = threading.Lock()
        self._changing = threading.Lock()

    def path_of(self, key: str) -> str | None:
        """Return where the object `key` would lie, or None for a key that no file of the folder can have.

        Links within the folder are followed: who can place them owns the folder.
        """
        if key in self._paths:
            return self._paths[key]
        parts = key.split("/")
        strange = any(part in {"", ".", ".."} for part in parts) or "\0" in key or parts[0] in {CATALOG, ELSEWHERE}
        windows = os.sep != "/" and (os.sep in key or ":" in key)
        path = None if strange or windows else f"{self.root}/{key}"
        if len(self._paths) > _REMEMBERED:
            self._paths.clear()
        self._paths[key] = path
        return path

    def find(self, path: str, *, wait: bool = True) -> Stored | None:
        """Return the file at `path` as it is now.

        With ``wait=False`` the answer is None where it takes more than a moment, for a large file has to be hashed.

        Raises
        ------
        FileNotFoundError
            There is no file.
        """
        try:
            status = os.stat(path)  # noqa: PTH116  # a Path for each request costs more than the request
        except (OSError, ValueError) as error:
            raise FileNotFoundError(path) from error
        stamp = _stamp(status)
        known = self._known.get(path)
        if known is not None and known.stamp == stamp:
            return known.stored
        if not wait and status.st_size > _QUICK and self._hashes.get(path, ((), ""))[0] != stamp:
            return None
        return self._read(path)

    def facts(self, path: str) -> Facts:
        """Return what a listing tells of the file at `path`, hashing it if it is not known.

        Raises
        ------
        FileNotFoundError
            There is no file.
        """
        status = os.stat(path)  # noqa: PTH116  # as above
        known = self._hashes.get(path)
        if known is not None and known[0] == _stamp(status):
            return Facts(status.st_size, int(status.st_mtime), known[1])
        stored = self._read(path)
        return Facts(stored.size, stored.modified, stored.etag)

    def walk(self, prefix: str = "") -> Iterator[Listed]:
        """Yield every object whose key begins with `prefix`, in no order."""
        yield from _walk(self.root, "", prefix)

    def close(self) -> None:
        """Let go of every open file."""
        self._known.clear()

    def _read(self, path: str) -> Stored:
        """Open, hash and describe a file, and remember that if it can be relied on."""
        try:
            file = OpenFile(path)
        except OSError as error:
            raise FileNotFoundError(path) from error
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)
        stamp = _stamp(status)
        with self._hashing if status.st_size > _QUICK else contextlib.nullcontext():  # many may ask for one at once
            known = self._hashes.get(path)
            etag = known[1] if known is not None and known[0] == stamp else _md5(file, status.st_size)
            # A file that was written this very moment may be written again without its stamp showing it.
            settled = time.time_ns() - status.st_mtime_ns > _TICK
            if settled:
                self._hashes[path] = (stamp, etag)
        modified = int(status.st_mtime)
        stored = Stored(file, status.st_size, etag, modified, _headers(etag, modified))
        if settled:
            with self._changing:
                while len(self._known) >= _OPEN:
                    del self._known[next(iter(self._known))]
                self._known[path] = _Known(stamp, stored)
        return stored


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns


def _md5(file: OpenFile, size: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    start = 0
    while start < size:
        data = file.read(start, 1 << 20)
        if not data:
            break
        digest.update(data)
        start += len(data)
    return f'"{digest.hexdigest()}"'


@functools.lru_cache(maxsize=1024)
def _headers(etag: str, modified: int) -> dict[str, str]:
    return {
        "Last-Modified": formatdate(modified, usegmt=True),
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",  # what S3 gives to an upload that names no type
    }


def _walk(folder: str, key: str, prefix: str) -> Iterator[Listed]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not key and entry.name in {CATALOG, ELSEWHERE}:
                continue
            name = key + entry.name
            if entry.is_dir():
                below = name + "/"
                if below.startswith(prefix) or prefix.startswith(below):
                    yield from _walk(entry.path, below, prefix)
            elif name.startswith(prefix) and entry.is_file():
                yield Listed(name, entry.path)
