"""A request and its answer as values, and as the text that HTTP makes of their heads.

Sources: RFC 9112 (HTTP/1.1), RFC 9110 (semantics).
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import unquote

__all__ = ["Answer", "Ask", "FilePart", "Memory", "OpenFile", "Work", "head_of", "parse_head"]

_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Ask:
    """One request as received."""

    method: str
    """In capitals."""
    path: str
    """Decoded path; empty where it is no UTF-8."""
    query: str
    """What follows the question mark, not decoded."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""
    """The request's body."""
    in_flight: int = 1
    """Requests that were being answered when this one came, itself included."""


class OpenFile:
    """A file open for reading, closed when nobody holds it any more."""

    __slots__ = ("_fd",)

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def read(self, start: int, size: int) -> bytes:
        """Return up to `size` bytes from `start`; fewer at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self._fd, size, start)
        os.lseek(self._fd, start, os.SEEK_SET)  # Windows; only the loop's thread reads bodies
        return os.read(self._fd, size)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)


@dataclass(slots=True)
class Memory:
    """Bytes that are read as a file is."""

    data: bytes
    """The bytes."""

    def read(self, start: int, size: int) -> bytes:
        """Return up to `size` bytes from `start`."""
        return self.data[start : start + size]


@dataclass(slots=True)
class FilePart:
    """The bytes ``[start, stop)`` of a file as a body."""

    file: OpenFile | Memory
    """The file."""
    start: int
    """First byte."""
    stop: int
    """One past the last byte."""


@dataclass(slots=True)
class Answer:
    """What shall be sent back. Date, Content-Length and Connection are added on the way."""

    status: int
    """HTTP status."""
    headers: dict[str, str] = field(default_factory=dict)
    """Header fields in the order in which they are sent."""
    body: bytes | FilePart = b""
    """The body, also of an answer to HEAD: its length is told, its bytes are not sent."""
    close: bool = False
    """Whether the connection ends with this answer."""

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stop - self.body.start


Work: TypeAlias = Callable[[], Answer]
"""An answer that takes time, to be worked out on another thread."""


def parse_head(head: bytes) -> Ask | None:
    """Read a request's head, or return None if it is none; RFC 9112, sections 3 and 5."""
    first, *lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not version.startswith("HTTP/1.") or " " in target:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        headers[name.lower()] = value.strip()
    path, _, query = target.partition("?")
    if not path.startswith("/"):  # the absolute form, which proxies are sent
        path = "/" + path.partition("://")[2].partition("/")[2]
    if "%" in path or not path.isascii():
        try:
            path = unquote(path.encode("latin-1").decode("utf-8"), errors="strict")
        except UnicodeDecodeError:
            path = ""
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return Ask(method.upper(), path, query, headers)


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def head_of(answer: Answer, *, close: bool) -> bytes:
    """Return the status line and the header fields as they are sent."""
    status = answer.status
    fields = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
    length = "" if status in {204, 304} else f"Content-Length: {answer.length}\r\n"
    line = f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nDate: {_date(int(time.time()))}\r\nServer: hst_cloud\r\n"
    end = "Connection: close\r\n\r\n" if close else "Connection: keep-alive\r\n\r\n"
    return (line + fields + length + end).encode("latin-1", "replace")
