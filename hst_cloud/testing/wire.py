"""What a fault makes of an answer: the bytes that are sent, the pauses between them, and how the connection ends.

Nothing here sends or waits: the result is a list of steps, which `hst_cloud.testing.http` takes one after the other.

Sources: RFC 9110, RFC 9112; Amazon S3 API Reference, "Error responses".
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Literal, TypeAlias

from hst_cloud.testing.checks import PLACES, octets
from hst_cloud.testing.faults import Fault
from hst_cloud.testing.messages import Answer, Ask, FilePart, Memory, head_of

__all__ = ["End", "Scripted", "Send", "Step", "Wait", "scripted", "scripted_connection"]

# Seconds before a reset: it throws away what has not been sent and, on some systems, what has not been read.
_GRACE = 0.05

_OF_THE_OBJECT = frozenset({"accept-ranges", "content-range", "content-type", "etag", "last-modified"})

# S3's code and message for a status: Amazon S3 API Reference, "Error responses", "List of error codes".
_ERRORS = {
    301: ("PermanentRedirect", "The bucket you are attempting to access must be addressed using another endpoint."),
    307: ("TemporaryRedirect", "Please re-send this request to the specified temporary endpoint."),
    400: ("InvalidRequest", "The request is not valid."),
    403: ("AccessDenied", "Access Denied"),
    404: ("NoSuchKey", "The specified key does not exist."),
    412: ("PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
    416: ("InvalidRange", "The requested range is not satisfiable"),
    500: ("InternalError", "We encountered an internal error. Please try again."),
    503: ("SlowDown", "Please reduce your request rate."),
}
_MESSAGES = dict(_ERRORS.values())


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to be sent."""

    part: FilePart
    """The bytes."""
    rate: float | None = None
    """Bytes per second; None for the archive's own bandwidth."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause, in which nothing is sent and no request is taken."""

    seconds: float | None
    """How long; None for ever."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of the connection."""

    how: Literal["drop", "reset"]
    """By FIN or by RST."""


Step: TypeAlias = Send | Wait | End


@dataclass(frozen=True, slots=True)
class Scripted:
    """An answer as a fault has it."""

    fault: Fault
    """The fault."""
    status: int
    """The status that is sent; 0 where none is."""
    sent: int
    """Bytes sent behind the head."""
    steps: tuple[Step, ...]
    """What is done, in order."""
    close: bool = False
    """Whether the connection ends after the last step."""


def scripted_connection(fault: Fault) -> Scripted:
    """Return what becomes of a connection that meets `fault` when it is accepted."""
    body = [] if fault.raw is None else [_memory(octets(fault.raw))]
    return _staged(fault, 0, b"", body, close=fault.raw is not None)


def scripted(
    fault: Fault, ask: Ask, answer: Answer, *, other: Callable[[Ask], Answer], close: bool = False
) -> Scripted:
    """Return what becomes of the `answer` to `ask`.

    Parameters
    ----------
    fault : Fault
        What happens to it.
    ask, answer
        The request, and the true answer.
    other : callable
        Answers a request for another object.
    close : bool, optional
        Whether the connection ends with this answer anyway.

    Raises
    ------
    LookupError
        There is no such object as ``bytes_of`` names.
    """
    if fault.raw is not None:
        return _staged(fault, 0, b"", [_memory(octets(fault.raw))], close=True)
    numbers = _numbers(answer)
    answer = _changed(fault, ask, answer, other)
    silent = ask.method == "HEAD" or answer.status in {204, 304}
    lengthless = fault.chunked is None and any(
        name.lower() == "content-length" and value is None for name, value in fault.headers.items()
    )
    close = close or answer.close or fault.http == "1.0" or (lengthless and not silent)
    head = _head(fault, answer, {**numbers, "length": answer.length}, close=close)
    body = [] if silent else _body(fault, answer)
    return _staged(fault, answer.status, head, body, close=close)


# -- the answer


def _numbers(answer: Answer) -> dict[str, int]:
    """Return the first and the last byte of the object that the answer holds, and the object's size."""
    told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", ""))
    if told:
        return dict(zip(("start", "last", "size"), map(int, told.groups()), strict=True))
    return {"start": 0, "last": answer.length - 1, "size": answer.length}


def _changed(fault: Fault, ask: Ask, answer: Answer, other: Callable[[Ask], Answer]) -> Answer:
    """Return the answer with the status and the body that the fault wants."""
    headers, body, status = dict(answer.headers), answer.body, answer.status
    if fault.whole and isinstance(body, FilePart):
        status = 200
        headers.pop("Content-Range", None)
        body = FilePart(body.file, 0, _numbers(answer)["size"])
    if fault.bytes_of is not None:
        body = _other(fault.bytes_of, ask, other)
    if fault.status is not None:
        status = fault.status
    document = _document(fault, answer)
    if document is not None:
        headers = {name: value for name, value in headers.items() if name.lower() not in _OF_THE_OBJECT}
        kind, body = document
        headers["Content-Type"] = kind
    elif fault.body is not None:
        body = octets(fault.body)
        if fault.status is not None:
            headers = {name: value for name, value in headers.items() if name.lower() not in _OF_THE_OBJECT}
    if fault.slice is not None:
        body = _cut(body, *fault.slice)
    if fault.gzip:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(_read(body), mtime=0)
    return Answer(status, headers, body, close=answer.close)


def _other(key: str, ask: Ask, other: Callable[[Ask], Answer]) -> bytes | FilePart:
    wanted = {"range": ask.headers["range"]} if "range" in ask.headers else {}
    bucket = ask.path[1:].partition("/")[0]
    found = other(Ask("GET", f"/{bucket}/{key}", "", wanted))
    if found.status == 416:  # it ends before the range begins
        return b""
    if found.status not in {200, 206}:
        message = f"a fault sends the bytes of {key!r}, which the archive does not hold (HTTP {found.status})"
        raise LookupError(message)
    return found.body


def _document(fault: Fault, answer: Answer) -> tuple[str, bytes] | None:
    """Return the kind and the text of the error document that the fault brings, if it does."""
    status = fault.status or answer.status
    if fault.error is None and (fault.status is None or status < 300 or fault.body is not None or fault.bytes_of):
        return None
    reason = next((each.phrase for each in HTTPStatus if each == status), "Error")
    if fault.error is None and "x-amz-request-id" not in answer.headers:  # MAST
        return "text/html; charset=utf-8", f"<html><body><h1>{status} {reason}</h1></body></html>".encode()
    code, message = _ERRORS.get(status, (reason.replace(" ", "").replace("-", ""), reason))
    if fault.error is not None:
        code, message = fault.error, _MESSAGES.get(fault.error, reason)
    ids = f"<RequestId>{answer.headers.get('x-amz-request-id', '')}</RequestId>"
    ids += f"<HostId>{answer.headers.get('x-amz-id-2', '')}</HostId>"
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{ids}</Error>'
    )
    return "application/xml", text.encode()


def _head(fault: Fault, answer: Answer, numbers: Mapping[str, int], *, close: bool) -> bytes:
    """Return the head with the fields that the fault wants; a field that is changed stays in its place."""
    status, *lines = head_of(answer, close=close).decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    rows = [(line.partition(":")[0], line) for line in lines]
    if fault.http is not None:
        status = status.replace("HTTP/1.1", f"HTTP/{fault.http}", 1)
    if fault.chunked is not None:
        rows = [row for row in rows if row[0] != "Content-Length"]
        rows.append(("Transfer-Encoding", "Transfer-Encoding: chunked"))
    for name, value in fault.headers.items():
        texts = [] if value is None else [value] if isinstance(value, str) else value
        new = [(name, f"{name}: {_filled(text, numbers)}") for text in texts]
        at = next((n for n, row in enumerate(rows) if row[0].lower() == name.lower()), len(rows))
        others = [row for row in rows[at:] if row[0].lower() != name.lower()]
        rows = [*rows[:at], *new, *others]
    return "\r\n".join([status, *(line for _, line in rows), "", ""]).encode("latin-1", "replace")


def _filled(text: str, numbers: Mapping[str, int]) -> str:
    return PLACES.sub(lambda place: str(numbers[place[1]] + int(place[2] or 0)), text)


# -- the body, as parts of files and of memory


def _body(fault: Fault, answer: Answer) -> list[FilePart]:
    """Return what is sent behind the head."""
    body, length = answer.body, answer.length
    parts = [_memory(body) if isinstance(body, bytes) else FilePart(body.file, body.start, body.stop)]
    if fault.flip is not None:
        at = fault.flip + length if fault.flip < 0 else fault.flip
        if 0 <= at < length:
            before, (byte, after) = _split(parts, at)[0], _split(_split(parts, at)[1], 1)
            parts = [*before, _memory(bytes([_read(byte[0])[0] ^ 1])), *after]
    if fault.twice is not None:
        start, stop = fault.twice
        parts = [*_split(parts, stop)[0], *_split(parts, start)[1]]
    if fault.chunked is not None:
        parts = list(_chunks(parts, fault.chunked))
    if fault.extra is not None:
        parts.append(_memory(octets(fault.extra)))
    return parts


def _memory(data: bytes) -> FilePart:
    return FilePart(Memory(data), 0, len(data))


def _size(parts: Iterable[FilePart]) -> int:
    return sum(part.stop - part.start for part in parts)


def _cut(body: bytes | FilePart, start: int, stop: int) -> bytes | FilePart:
    if isinstance(body, bytes):
        return body[start:stop]
    first = min(body.start + start, body.stop)
    return FilePart(body.file, first, max(first, min(body.start + stop, body.stop)))


def _read(body: bytes | FilePart) -> bytes:
    return body if isinstance(body, bytes) else body.file.read(body.start, body.stop - body.start)


def _split(parts: Iterable[FilePart], at: int) -> tuple[list[FilePart], list[FilePart]]:
    """Return the first `at` bytes of `parts` and the rest; no part of either is empty."""
    before, after = [], []
    for part in parts:
        middle = min(max(part.start, part.start + at), part.stop)
        at -= part.stop - part.start
        before.append(replace(part, stop=middle))
        after.append(replace(part, start=middle))
    return [p for p in before if p.start < p.stop], [p for p in after if p.start < p.stop]


def _chunks(parts: list[FilePart], size: int) -> Iterable[FilePart]:
    """Give the parts in the chunked coding: RFC 9112, 7.1."""
    while parts:
        chunk, parts = _split(parts, size)
        yield _memory(b"%x\r\n" % _size(chunk))
        yield from chunk
        yield _memory(b"\r\n")
    yield _memory(b"0\r\n\r\n")


# -- the steps


def _staged(fault: Fault, status: int, head: bytes, body: list[FilePart], *, close: bool) -> Scripted:
    """Return the steps in which head and body are sent, held up and cut short."""
    steps: list[Step] = [Wait(fault.delay)] if fault.delay else []
    how: Literal["drop", "reset"] | None = (
        "drop" if fault.drop is not None else "reset" if fault.reset is not None else None
    )
    at = fault.drop if fault.drop is not None else fault.reset
    if fault.stall == "before":
        steps.append(Wait(fault.stall_for))
        if fault.stall_for is None:
            return Scripted(fault, 0, 0, tuple(steps))
    if at == "before" and how is not None:
        return Scripted(fault, 0, 0, (*steps, End(how)))
    body, after = _split(body, at) if isinstance(at, int) else (body, [])
    stalled = fault.stall if isinstance(fault.stall, int) and (not after or fault.stall <= _size(body)) else None
    first, second = _split(body, stalled) if stalled is not None else (body, [])
    steps += [Send(part) for part in ([_memory(head)] if head else [])]
    steps += [Send(part, fault.drip) for part in first]
    if stalled is not None:
        steps.append(Wait(fault.stall_for))
        if fault.stall_for is None:
            return Scripted(fault, status, _size(first), tuple(steps))
        steps += [Send(part, fault.drip) for part in second]
    if how == "reset":
        steps.append(Wait(_GRACE))
    if how is not None:
        steps.append(End(how))
    elif fault.hangup is not None:
        steps += [Wait(fault.hangup), End("drop")]
    return Scripted(fault, status, _size(first) + _size(second), tuple(steps), close)
