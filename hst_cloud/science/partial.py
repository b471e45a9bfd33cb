"""A file that is not complete yet, and what of it is on disk: enough for another process to go on with it.

Beside its place, a file grows under a name of its own, ``.NAME.ETAG.part``; what consists of several parts has a
journal there too, ``.NAME.ETAG.part.log``. Its first line tells of which object and version the bytes are, each
further one which part has been written, and the CRC-32 of its bytes as they came from the network.

A part is written first and told of afterwards, so after a ``kill -9`` what the journal tells is there: the system keeps
what a process has written. After a loss of power that is not so, as nothing has been forced to the disk yet, and
forcing every part would make the disk the bound of every download. Therefore the journal is not believed: whoever goes
on reads every part that it tells of, compares the sum, and fetches again what differs.

A lock on the part file, which ends with the process that holds it, keeps two processes from writing one file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import threading
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from hst_cloud.store.ranges import PART
from hst_cloud.values import ByteRange

try:
    import fcntl
except ImportError:  # Windows: two processes are not kept apart there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Origin", "PartFile", "journal_line", "missing", "part_name", "read_journal", "span", "stem_of"]

_LONGEST = 255  # bytes in a file name on the file systems that people have
_LOG = ".log"
_FLAGS = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
_MODE = 0o666  # less what the umask takes away
_LARGEST = 64 * 1024 * 1024  # bytes of a journal: two million parts, of 16 TB; more is none
_FORMAT = 1
_OPENINGS = 100  # each but the last follows another process that has finished the file meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Of what the bytes of a part file are."""

    key: str
    """Object key."""
    etag: str | None
    """The object's version; None where the store has none, and then nobody can go on with the file."""
    size: int
    """Bytes of the object."""
    part: int = PART
    """Bytes of each part but the last."""

    @property
    def count(self) -> int:
        """Number of parts."""
        return -(-self.size // self.part)


# --- What is where: no file is touched -------------------------------------------------------------------------------


def span(origin: Origin, number: int) -> ByteRange:
    """Return the bytes of one part."""
    start = number * origin.part
    return ByteRange(start, min(start + origin.part, origin.size))


def missing(origin: Origin, held: Collection[int]) -> list[int]:
    """Return the parts that are not held, in order."""
    return [number for number in range(origin.count) if number not in held]


def stem_of(filename: str) -> str:
    """Return what the names of all part files of `filename` begin with, up to the version."""
    stem = f".{filename}."
    if len(stem.encode()) + 64 + len(".part" + _LOG) <= _LONGEST:
        return stem
    return f".{hashlib.sha256(filename.encode()).hexdigest()}."


def part_name(filename: str, etag: str | None) -> str:
    """Return the name of the part file of one version: no server decides on its characters."""
    told = etag or "none"
    tag = told if re.fullmatch(r"[0-9a-z-]{1,64}", told) else hashlib.sha256(told.encode()).hexdigest()[:32]
    return f"{stem_of(filename)}{tag}.part"


def journal_line(number: int, crc: int) -> bytes:
    """Return the line that tells that a part is written."""
    return b"%d %08x\n" % (number, crc)


def read_journal(data: bytes) -> tuple[Origin, dict[int, int]] | None:
    """Return what a journal tells: of what the bytes are, and the sum of each part that was written.

    Lines that are cut, damaged or out of range are passed over; without a first line that makes sense, it is None.
    """
    first, *lines = data.split(b"\n")[:-1] or [b""]  # what no newline ends was cut
    origin = _origin(first)
    if origin is None:
        return None
    parts = {}
    for line in lines:
        match = re.fullmatch(rb"([0-9]{1,9}) ([0-9a-f]{8})", line)
        if match is not None and int(match[1]) < origin.count:
            parts[int(match[1])] = int(match[2], 16)
    return origin, parts


def _origin(line: bytes) -> Origin | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    if not isinstance(told, dict) or told.pop("format", None) != _FORMAT:
        return None
    match told:
        case {"key": str(key), "etag": str(etag), "size": int(size), "part": int(part), **rest} if not rest:
            return Origin(key=key, etag=etag, size=size, part=part) if size > 0 and part > 0 else None
    return None


def _journal(origin: Origin, parts: Mapping[int, int]) -> bytes:
    first = json.dumps({"format": _FORMAT, **asdict(origin)}).encode() + b"\n"
    return first + b"".join(journal_line(number, crc) for number, crc in sorted(parts.items()))


# --- Files -----------------------------------------------------------------------------------------------------------


def leftovers(folder: Path) -> dict[str, list[Path]]:
    """Return the part files in a folder, by the stem of the file that they are parts of."""
    found: dict[str, list[Path]] = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(".part"):
                stem = entry.name.removesuffix(".part").rpartition(".")[0] + "."
                found.setdefault(stem, []).append(Path(entry.path))
    return found


def recorded(path: Path) -> tuple[Origin, dict[int, int]] | None:
    """Return what the journal of a part file tells; None where there is none that makes sense."""
    try:
        log = path.with_name(path.name + _LOG)
        return read_journal(log.read_bytes()) if path.is_file() and log.stat().st_size <= _LARGEST else None
    except OSError:
        return None


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove part files that nobody is writing, and their journals."""
    for path in paths:
        with contextlib.suppress(OSError):
            fd = os.open(path, _FLAGS & ~os.O_CREAT)
            try:
                if _locked(fd):
                    _remove(path)
            finally:
                os.close(fd)


class PartFile:
    """A part file that this process alone writes, until it is closed.

    Its parts may be written by several threads.

    Attributes
    ----------
    path : Path
        Where it is.
    origin : Origin
        Of what its bytes are.
    held : set of int
        The parts that were there, and whose sums were right, when it was opened.
    """

    def __init__(self, path: Path, origin: Origin, fd: int) -> None:
        self.path = path
        self.origin = origin
        self.held: set[int] = set()
        self._fd = fd
        self._log: int | None = None

    @classmethod
    def open(cls, folder: Path, filename: str, origin: Origin) -> Self | None:
        """Open the part file of one version, or make it; None while another process writes it.

        Raises
        ------
        OSError
            It can be neither opened nor made.
        """
        path = folder / part_name(filename, origin.etag)
        for _ in range(_OPENINGS):
            fd = os.open(path, _FLAGS, _MODE)
            try:
                if not _locked(fd):
                    os.close(fd)
                    return None
                if _is(path, fd):
                    break
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # whoever held the lock has finished the file, or given it up
        else:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))  # a link, where links are followed
        file = cls(path, origin, fd)
        try:
            file._resume()
        except BaseException:
            file.close()
            raise
        return file

    def _resume(self) -> None:
        known = recorded(self.path)
        parts: dict[int, int] = {}
        if known is not None and known[0] == self.origin and self.origin.etag is not None:
            parts = {n: crc for n, crc in known[1].items() if zlib.crc32(self.read(*span(self.origin, n))) == crc}
        self.held = set(parts)
        log = self._log_path
        if self.origin.count <= 1 or self.origin.etag is None:  # a kill loses one part at most, or nobody can go on
            log.unlink(missing_ok=True)
            return
        fresh = log.with_name(log.name + "~")
        self._log = os.open(fresh, _FLAGS | os.O_TRUNC | os.O_APPEND, _MODE)
        _write_all(self._log, _journal(self.origin, parts))
        fresh.replace(log)

    @property
    def _log_path(self) -> Path:
        return self.path.with_name(self.path.name + _LOG)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``, as far as they are there."""
        return _read_at(self._fd, start, stop - start)

    def write(self, number: int, data: bytes | memoryview) -> None:
        """Write one part, and tell of it in the journal."""
        view = memoryview(data)
        start, done = span(self.origin, number).start, 0
        while done < len(view):
            done += _write_at(self._fd, view[done:], start + done)
        if self._log is not None:
            _write_all(self._log, journal_line(number, zlib.crc32(view)))

    def sync(self) -> int:
        """Force all bytes to the disk; return the time of modification in ns since 1970."""
        if os.fstat(self._fd).st_size != self.origin.size:
            os.ftruncate(self._fd, self.origin.size)
        os.fsync(self._fd)
        return os.fstat(self._fd).st_mtime_ns

    def publish(self, path: Path, *, overwrite: bool) -> None:
        """Give the file its name, in one step, and close it.

        Raises
        ------
        FileExistsError
            There is a file of that name, and it is not to be overwritten; the part file stays open.
        OSError
            The name cannot be given.
        """
        if overwrite:
            self.path.replace(path)
        else:
            _rename_anew(self.path, path)
        self._log_path.unlink(missing_ok=True)
        self.close()

    def discard(self) -> None:
        """Remove the file and its journal, and close it."""
        _remove(self.path)
        self.close()

    def close(self) -> None:
        """Let go of the file, which stays as it is."""
        for fd in (self._fd, self._log):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._fd, self._log = -1, None


def _rename_anew(source: Path, target: Path) -> None:
    """Rename a file unless there is one of the new name.

    Raises
    ------
    FileExistsError
        There is.
    """
    try:
        os.link(source, target)  # unlike a rename, it fails where there is a file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.replace(target)
    else:
        source.unlink()


def _remove(path: Path) -> None:
    for each in (path.with_name(path.name + _LOG), path):
        each.unlink(missing_ok=True)


def _locked(fd: int) -> bool:
    """Lock a file for this process; False while another one has it locked."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network file systems have no locks: two processes are not kept apart there.
        return error.errno not in {errno.EWOULDBLOCK, errno.EACCES}
    return True


def _is(path: Path, fd: int) -> bool:
    """Tell whether an open file still has the name `path`."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


_moving = threading.Lock()


def _write_at(fd: int, data: memoryview, start: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, start)
    with _moving:  # Windows, where a position is the file's and not the call's
        os.lseek(fd, start, os.SEEK_SET)
        return os.write(fd, data)


def _read_at(fd: int, start: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, start)
    with _moving:
        os.lseek(fd, start, os.SEEK_SET)
        return os.read(fd, size)
