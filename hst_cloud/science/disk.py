"""The disk of this machine: whether there is room, that nothing leaves the folder, and what its errors mean here."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hst_cloud.errors import DiskSpaceError, HSTCloudError, LocalDiskError
from hst_cloud.fits.verify import Read
from hst_cloud.store.ranges import PART

__all__ = ["check_space", "inside", "local", "made", "read_of", "same_bytes"]


def check_space(folder: Path, need: int) -> None:
    """Look whether the disk of a folder, which need not exist yet, has room.

    Raises
    ------
    DiskSpaceError
        It has not.
    """
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if need > free:
        message = (
            f"{need} bytes more are needed for {folder}, whose disk has {free} left: make room, choose another folder, "
            "or download fewer products"
        )
        raise DiskSpaceError(message)


def read_of(fd: int) -> Read:
    """Return what reads an open file."""

    def read(start: int, stop: int) -> bytes:
        os.lseek(fd, start, os.SEEK_SET)
        return os.read(fd, stop - start)

    return read


def same_bytes(read: Read, size: int, path: Path) -> bool:
    """Tell whether a file has the bytes that `read` gives, `size` in all."""
    at = 0
    with path.open("rb") as file:
        while True:
            theirs = file.read(PART)
            if theirs != read(at, min(at + PART, size)):
                return False
            if not theirs:
                return True
            at += len(theirs)


def inside(path: Path, folder: Path) -> None:
    """See to it that no link leads out of the folder.

    Raises
    ------
    LocalDiskError
        One does.
    """
    found = path.resolve()
    if not found.is_relative_to(folder):
        message = f"{path} leads out of the folder, to {found}: remove the link, or download there"
        raise LocalDiskError(message)


def made(path: Path, folder: Path) -> Path:
    """Make `path` below `folder`, and return it; no folder is made behind a link that leads out."""
    at = folder
    for name in path.relative_to(folder).parts:
        at /= name
        at.mkdir(exist_ok=True)
        inside(at, folder)
    return path


@contextlib.contextmanager
def local(path: Path) -> Iterator[None]:
    """Translate what goes wrong on this machine's disk."""
    try:
        yield
    except HSTCloudError:
        raise
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            message = (
                f"the disk became full while {path} was being written ({said}). Make room and call again: "
                "what has come so far is kept"
            )
            raise DiskSpaceError(message) from error
        message = f"{error.filename or path} could not be written or read ({said})"
        raise LocalDiskError(message) from error
