"""What the answers of an S3 server mean, and which of them are believed. Nothing here sends or waits.

An answer that contradicts the question or itself is `Unusable`, whatever its status says: wrong bytes are worse than
an error. Whether the same request may be answered better is part of the verdict.

Sources: Amazon S3 API Reference (GetObject, ListObjectsV2, "Error responses");
RFC 9110 sections 8.8.3 (entity tags), 13 (conditions) and 14 (ranges).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast
from xml.etree import ElementTree as ET

from hst_cloud.errors import (
    AccessDeniedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StoreError,
    StoreUnavailableError,
    ThrottledError,
    WrongRegionError,
)
from hst_cloud.store.policy import RETRIED, THROTTLED
from hst_cloud.values import ByteRange

__all__ = [
    "Answer",
    "Body",
    "ListedObject",
    "Piece",
    "Question",
    "Span",
    "Unusable",
    "beyond_end",
    "checksum_of",
    "listing_page",
    "verdict",
]

OFFLINE = "Check the connection, or run 'hst-cloud doctor'; a downloaded copy is read with store= its folder."
AGAIN = "Open it again."
_MANY = 1000  # tries, of which a policy grants fewer

TRIM = 64 * 1024
"""Bytes before those asked for that are read over, where a server sends more than these."""


class Piece(NamedTuple):
    """The bytes of one range, and what the answer told of the whole object."""

    data: bytes
    """The bytes; fewer than asked for where the object ends earlier. Where the caller gave the buffer, a view of it."""
    size: int
    """Bytes of the whole object."""
    etag: str | None
    """The object's version, without quotes; None where the store has none."""
    checksum: str | None = None
    """The checksum of the whole object that is stored with it, such as ``crc32 nUqrZg==``; None where none was told."""


class ListedObject(NamedTuple):
    """One line of a listing."""

    key: str
    """Object key."""
    size: int
    """Bytes."""
    etag: str | None
    """The object's version, without quotes."""


class Question(NamedTuple):
    """What is asked of the server; its text stands in messages."""

    key: str
    """The object's key, or a listing's prefix."""
    url: str
    """The address that is asked."""
    wanted: ByteRange | None = None
    """The bytes; None for a listing."""

    def __str__(self) -> str:
        return f"{self.url} (bytes {self.wanted.start}-{self.wanted.stop - 1})" if self.wanted else self.url


class Answer(NamedTuple):
    """An answer that was read, wholly or as far as it matters."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Headers, their names in lower case."""
    body: bytes
    """The body, or its beginning."""


class Unusable(Exception):  # noqa: N818  # a verdict that never leaves the store
    """An answer that is not what was asked for, or none at all."""

    def __init__(
        self,
        text: str,
        *,
        kind: type[StoreError] = StoreUnavailableError,
        again: bool = False,
        tries: int = _MANY,
        advice: str = OFFLINE,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.again = again
        self.tries = tries
        self.advice = advice
        self.headers = headers or {}

    def as_error(self, question: Question, *, tried: int, elapsed: float) -> StoreError:
        """Return the error for the user: what happened, to what, after how much, and what to do."""
        request_id = self.headers.get("x-amz-request-id")
        tries = "1 try" if tried == 1 else f"{tried} tries"
        known = f"{tries} in {elapsed:.1f} s" + (f", request id {request_id}" if request_id else "")
        message = f"{question} {self.text} [{known}]. {self.advice}"
        return self.kind(message, key=question.key, url=question.url, request_id=request_id, attempts=tried)


class Span(NamedTuple):
    """What of the body of an answer is wanted."""

    skip: int
    """Bytes that come before."""
    size: int
    """Bytes that are wanted."""
    exact: bool
    """Whether no others come."""


@dataclass(slots=True)
class Body:
    """The bytes of one range as they come in, over several tries where one does not bring them all."""

    wanted: ByteRange
    """What is read."""
    pinned: str | None
    """The version that must be read; None where any will do, and then all tries are of one."""
    known: int | None = None
    """Bytes of that version, where they have been told before."""
    into: memoryview | None = None
    """Where the bytes go, of the size of `wanted`; None to keep them as they come."""
    chunks: list[bytes] = field(default_factory=list)
    got: int = 0
    """Bytes in `chunks`."""
    size: int = 0
    """Bytes of the whole object, as the last answer said."""
    etag: str | None = None
    """The version that the last answer named."""
    checksum: str | None = None
    """The checksum that it told: see `Piece`."""

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return self.wanted.size - self.got

    def headers(self) -> dict[str, str]:
        """Return the headers of the next request: for what is missing, of the version that the rest is of."""
        if not _strong(self.pinned or self.etag):
            self.drop()  # what a failed try brought cannot be gone on with
        headers = {"Range": f"bytes={self.wanted.start + self.got}-{self.wanted.stop - 1}"}
        if self.wanted.start == 0:  # the answer may be the whole object: S3 tells no checksum of less
            headers["x-amz-checksum-mode"] = "ENABLED"
        version = self.pinned or (self.etag if self.got else None)
        if _strong(version):
            headers["If-Match"] = f'"{version}"'
        return headers

    def begin(self, headers: Mapping[str, str]) -> Span:
        """Return what is to come, after the headers of a 206.

        Raises
        ------
        Unusable
            They announce other bytes than were asked for, or another version.
        """
        etag = unquoted(headers.get("etag"))
        expected = self.pinned or (self.etag if self.got else None)
        if expected is not None and _opaque(etag) != _opaque(expected):  # the server ignores If-Match
            raise changed(expected, etag, headers)
        start, stop, size = content_range(headers.get("content-range", ""))
        asked = self.wanted.start + self.got
        end = min(self.wanted.stop, size)
        length = headers.get("content-length", str(stop - start))
        exact = (start, stop) == (asked, end)
        # Others are believed if they provably hold these, and if not many come before them.
        holds = asked - TRIM <= start <= asked < end <= stop <= size and "content-length" in headers
        if not exact and not (holds and length == str(stop - start)):
            text = f"answered with other bytes: expected {asked}-{end - 1}" if size >= 0 else "did not say which bytes"
            text += f", found Content-Range {headers.get('content-range')!r}"
            raise Unusable(text, headers=headers)
        if length != str(stop - start):  # the body is something else: its bytes must not be taken for a part of these
            text = f"contradicts itself: Content-Range {headers.get('content-range')!r}, but Content-Length {length}"
            raise Unusable(text, again=True, headers=headers)
        if self.got and size != self.size:
            raise _resized(self.size, size, headers)
        self.size, self.etag = size, etag
        if self.wanted.start == 0:
            self.checksum = checksum_of(headers, whole=(start, stop) == (0, size)) or self.checksum
        return Span(asked - start, end - asked, exact=exact)

    def add(self, chunk: bytes) -> None:
        """Take what has come in."""
        if self.into is None:
            self.chunks.append(chunk)
        else:
            self.into[self.got : self.got + len(chunk)] = chunk
        self.got += len(chunk)

    def place(self, size: int) -> memoryview | None:
        """Return where the next `size` bytes belong; None where no buffer was given."""
        return None if self.into is None else self.into[self.got : self.got + size]

    def drop(self) -> None:
        """Forget what has come in."""
        self.chunks.clear()
        self.got = 0

    def piece(self) -> Piece:
        """Return the bytes."""
        # Of a single chunk, which a small range comes in, this makes no copy.
        data = b"".join(self.chunks) if self.into is None else cast("bytes", self.into[: self.got])
        self.chunks.clear()
        return Piece(data, self.size, self.etag, self.checksum)


def beyond_end(answer: Answer, body: Body) -> Piece | None:
    """Return the empty piece that an answer without bytes stands for: the range begins at or behind the end.

    None if the answer says no such thing.

    Raises
    ------
    Unusable
        It refuses the range without saying how large the object is, or although the object is large enough.
    """
    etag = unquoted(answer.headers.get("etag"))
    empty = answer.status == 200 and answer.headers.get("content-length") == "0"
    if not empty and answer.status != 416:
        return None
    if body.got:  # it was larger a moment ago
        raise changed(body.etag, etag, answer.headers)
    if empty:  # servers differ on ranges of an empty object: RFC 9110, 14.2
        if body.pinned is not None and etag != body.pinned:
            raise changed(body.pinned, etag, answer.headers)
        return Piece(b"", 0, etag)
    told = re.fullmatch(r"bytes \*/([0-9]+)", answer.headers.get("content-range", ""))
    size = told[1] if told else error_field(answer.body, "ActualObjectSize")
    if not _is_number(size) or int(size) > body.wanted.start:
        text = f"refused the range (HTTP 416) of an object of {size or 'unknown'} bytes"
        raise Unusable(text, headers=answer.headers)
    if body.known is not None and int(size) != body.known:
        raise _resized(body.known, int(size), answer.headers)
    return Piece(b"", int(size), etag or body.pinned)


def changed(expected: str | None, found: str | None, headers: Mapping[str, str]) -> Unusable:
    """Return the verdict on an answer of another version than the one that was read first."""
    text = f"was replaced since it was first read: expected ETag {expected or 'unknown'}, found {found or 'none'}"
    return Unusable(text, kind=ObjectChangedError, advice=AGAIN, headers=headers)


def _resized(expected: int, found: int, headers: Mapping[str, str]) -> Unusable:
    text = f"was replaced since it was first read: expected {expected} bytes, found {found}"
    return Unusable(text, kind=ObjectChangedError, advice=AGAIN, headers=headers)


def verdict(answer: Answer, body: Body | None = None) -> Unusable:
    """Return what an answer without the bytes or the listing means."""
    code, said = error_field(answer.body, "Code"), error_field(answer.body, "Message")
    text = f"HTTP {answer.status} {code}".rstrip() + (f": {said}" if said else "")
    kind: type[StoreError] = StoreUnavailableError
    again, advice = False, OFFLINE
    match answer.status:
        case status if status in RETRIED or code in {"InternalError", "SlowDown", "ServiceUnavailable"}:
            kind = ThrottledError if status in THROTTLED or code == "SlowDown" else StoreUnavailableError
            after = answer.headers.get("retry-after")
            text = f"gave no answer but {text}" + (f", Retry-After {after}" if after else "")
            again, advice = True, "Try again later." if kind is StoreUnavailableError else "Ask for less at a time."
        case 404 if code == "NoSuchBucket":
            kind, text = ObjectNotFoundError, f"lies in a bucket that does not exist ({text})"
            advice = "Check the store's address."
        case 404:
            kind, text = ObjectNotFoundError, f"does not exist ({text})"
            advice = "hst_cloud.resolve(..., verify=True) looks what there is."
        case 401 | 403:
            kind, text = AccessDeniedError, f"may not be read anonymously ({text})"
            advice = "Exclusive-access data are not in the public bucket; where listing is forbidden, S3 says the same "
            advice += (
                "of keys that do not exist; and a proxy or a policy of this network may refuse what S3 would not. "
            )
            advice += "hst_cloud.resolve tells what MAST knows of it."
        case 412 if body is not None:
            return changed(body.pinned or body.etag, unquoted(answer.headers.get("etag")) or "another", answer.headers)
        case status if 300 <= status < 400:
            kind, text = WrongRegionError, f"is served from {_elsewhere(answer)} ({text}), where nobody followed"
            advice = "Name the right endpoint, or check what stands between here and the bucket."
        case 200 | 206:
            length = answer.headers.get("content-length", "unknown")
            text = f"ignored the range and sent something else ({text}, Content-Length {length})"
    return Unusable(text, kind=kind, again=again, advice=advice, headers=answer.headers)


def listing_page(body: bytes, prefix: str) -> tuple[list[ListedObject], str]:
    """Return the objects of one page of ListObjectsV2 and the token of the next page, empty at the end.

    Raises
    ------
    Unusable
        It is no listing, or not of `prefix`.
    """
    try:
        root = ET.fromstring(body)  # noqa: S314  # expat 2.4.1 and later bound entity expansion
    except ET.ParseError as error:
        text = f"gave a listing that is no XML ({error}): found {body[:80]!r}"
        raise Unusable(text, again=True) from error
    space, name = re.fullmatch(r"(\{[^}]*\})?(.*)", root.tag, re.DOTALL).groups("")  # type: ignore[union-attr]  # matches
    if name != "ListBucketResult":
        text = f"gave no listing: expected ListBucketResult, found {name} in {body[:80]!r}"
        raise Unusable(text, again=True)
    page = []
    for entry in root.iter(f"{space}Contents"):
        key, size = entry.findtext(f"{space}Key") or "", entry.findtext(f"{space}Size") or ""
        if not key.startswith(prefix) or not _is_number(size):
            text = f"lists something strange under {prefix!r}: key {key!r}, size {size!r}"
            raise Unusable(text)
        page.append(ListedObject(key, int(size), unquoted(entry.findtext(f"{space}ETag"))))
    token = root.findtext(f"{space}NextContinuationToken") or ""
    if root.findtext(f"{space}IsTruncated") == "true" and not token:
        text = f"gave an incomplete listing: {len(page)} keys, and no token that leads on"
        raise Unusable(text)
    return page, token


def unquoted(etag: str | None) -> str | None:
    """Return an ETag without quotes; a weak one keeps its ``W/``, since no condition may be made of it."""
    return etag.strip().replace('"', "") or None if etag else None


def checksum_of(headers: Mapping[str, str], *, whole: bool) -> str | None:
    """Return the checksum of the whole object that an answer tells, as `Piece` has it; None if it tells none.

    That of an object that was uploaded in parts may be one of the parts' checksums. It ends in their number, and says
    nothing of the bytes to who doesn't know the parts. Of a part of the object, the type must say what it is of.
    """
    if headers.get("x-amz-checksum-type", "FULL_OBJECT" if whole else "") != "FULL_OBJECT":
        return None
    for name, value in headers.items():
        if name.startswith("x-amz-checksum-") and name != "x-amz-checksum-type" and "-" not in value:
            return f"{name.removeprefix('x-amz-checksum-')} {value}"
    return None


def _strong(etag: str | None) -> bool:
    # RFC 9110, 13.1.1: If-Match compares strongly, so that a weak tag never matches.
    return etag is not None and not etag.startswith("W/")


def _opaque(etag: str | None) -> str | None:
    return etag.removeprefix("W/") if etag else None


def content_range(text: str) -> tuple[int, int, int]:
    """Return start, stop (exclusive) and the object's size of a Content-Range header, all -1 where it is none."""
    match = re.fullmatch(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", text)  # RFC 9110, 14.4
    if match is None:
        return -1, -1, -1
    return int(match[1]), int(match[2]) + 1, int(match[3])


def error_field(body: bytes, name: str) -> str:
    """Return one field of S3's XML error, empty where there is none."""
    try:
        return ET.fromstring(body).findtext(name) or ""  # noqa: S314  # as above
    except ET.ParseError:
        return ""


def _elsewhere(answer: Answer) -> str:
    region = answer.headers.get("x-amz-bucket-region")
    return f"the region {region}" if region else answer.headers.get("location") or "elsewhere"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,19}", text) is not None
