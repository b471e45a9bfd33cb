"""The embedded archive as Amazon S3: a public bucket, read-only, addressed by path.

What anonymous readers of a public bucket meet: GetObject, HeadObject, ListObjects (1 and 2), HeadBucket and
GetBucketLocation, with S3's conditions, ranges and XML errors. Anything that would write is refused.

Sources: Amazon S3 API Reference (GetObject, HeadObject, ListObjects, ListObjectsV2, "Error responses");
RFC 9110, sections 13 (conditions) and 14 (ranges).
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from hst_cloud.archive.references import REFERENCES, crds_path
from hst_cloud.settings import BUCKET, REGION
from hst_cloud.testing.files import Folder, Listed, Stored
from hst_cloud.testing.messages import Answer, Ask, FilePart, Work

__all__ = ["object_answer", "s3_answer", "span_of"]

_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_MOST = 1000  # keys in one listing: ListObjectsV2, max-keys

# What may be asked of an object beside its bytes, and is not for the public.
_PRIVATE = frozenset({"acl", "attributes", "legal-hold", "retention", "tagging", "torrent", "uploadId"})

_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CRDS = crds_path("")
_numbers = itertools.count(1)  # of requests, in this process


def s3_answer(ask: Ask, folder: Folder) -> Answer | Work:
    """Return what S3 would answer to `ask`; what needs a walk or the hash of a large file is work."""
    answer = _route(ask, folder)
    return _signed(answer) if isinstance(answer, Answer) else lambda: _signed(answer())


def _signed(answer: Answer) -> Answer:
    """Add what every answer of S3 carries."""
    number = f"{next(_numbers):016X}"
    answer.headers["x-amz-id-2"] = f"hst-cloud-{number}"
    answer.headers["x-amz-request-id"] = number
    if answer.status >= 400 and isinstance(answer.body, bytes):
        ids = f"<RequestId>{number}</RequestId><HostId>hst-cloud-{number}</HostId></Error>"
        answer.body = answer.body.removesuffix(b"</Error>") + ids.encode()
    return answer


def _route(ask: Ask, folder: Folder) -> Answer | Work:
    if not ask.path or "\0" in ask.path:
        return _error(400, "InvalidURI", "Couldn't parse the specified URI.", URI=ask.path)
    path = ask.path[1:]
    if path.startswith(_CRDS):  # the reference files of the folder, as CRDS serves them
        path = f"{BUCKET}/{REFERENCES}{path.removeprefix(_CRDS)}"
    bucket, _, key = path.partition("/")
    if ask.method not in {"GET", "HEAD"}:
        message = "The specified method is not allowed against this resource."
        refusal = _error(
            405, "MethodNotAllowed", message, Method=ask.method, ResourceType="OBJECT" if key else "BUCKET"
        )
        refusal.headers["Allow"] = "GET, HEAD"
        return refusal
    if not bucket:
        return _error(403, "AccessDenied", "Access Denied")  # a list of buckets is their owner's
    if bucket != BUCKET:
        return _error(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=bucket)
    if key:
        if ask.query and _PRIVATE & dict(parse_qsl(ask.query, keep_blank_values=True)).keys():
            return _error(403, "AccessDenied", "Access Denied")
        return _object(ask, folder, key)
    return _bucket(ask, folder)


# -- objects


def _object(ask: Ask, folder: Folder, key: str) -> Answer | Work:
    path = folder.path_of(key)
    try:
        stored = folder.find(path, wait=False) if path is not None else None
    except FileNotFoundError:
        path = stored = None
    if path is None:
        return _error(404, "NoSuchKey", "The specified key does not exist.", Key=key)
    if stored is not None:
        return object_answer(ask, stored)
    known = path  # a large file that has not been hashed

    def work() -> Answer:
        found = folder.find(known)
        assert found is not None
        return object_answer(ask, found)

    return work


def object_answer(ask: Ask, stored: Stored) -> Answer:
    """Return the object or the part of it that `ask` wants, if its conditions hold."""
    asked = ask.headers
    if (
        "if-match" in asked
        or "if-none-match" in asked
        or "if-modified-since" in asked
        or "if-unmodified-since" in asked
    ):
        status, condition = _condition(asked, stored)
        if status == 412:
            message = "At least one of the pre-conditions you specified did not hold"
            return _error(412, "PreconditionFailed", message, Condition=condition)
        if status == 304:
            return Answer(304, {name: stored.headers[name] for name in ("Last-Modified", "ETag")})
    size = stored.size
    wanted = asked.get("range", "")
    span = span_of(wanted, size) if wanted and _still(asked.get("if-range"), stored) else None
    if span is None:
        return Answer(200, dict(stored.headers), FilePart(stored.file, 0, size))
    start, stop = span
    if start >= stop:
        message = "The requested range is not satisfiable"
        refusal = _error(416, "InvalidRange", message, RangeRequested=wanted, ActualObjectSize=str(size))
        refusal.headers["Content-Range"] = f"bytes */{size}"  # RFC 9110, 14.4
        return refusal
    headers = {**stored.headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Answer(206, headers, FilePart(stored.file, start, stop))


def span_of(text: str, size: int) -> tuple[int, int] | None:
    """Return the bytes ``[start, stop)`` that a Range header means for an object of `size` bytes.

    None means the whole object: the header is malformed, or names several ranges, which S3 does not support;
    both are ignored. An empty span means that the range cannot be satisfied.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start = int(first)
        if last and int(last) < start:
            return None  # RFC 9110, 14.1.1: invalid, hence ignored
        return start, min(int(last) + 1 if last else size, size)
    if not last:
        return None
    return max(0, size - int(last)), size


def _condition(asked: dict[str, str], stored: Stored) -> tuple[int, str]:
    """Return 412 or 304 and the condition that decided so, or 0.

    A condition on the ETag overrules the one on the date (GetObject, "Additional considerations about request
    headers"; RFC 9110, 13.2.2).
    """
    match, unmodified = asked.get("if-match"), _seconds(asked.get("if-unmodified-since"))
    if match is not None:
        if not _matches(match, stored.etag):
            return 412, "If-Match"
    elif unmodified is not None and stored.modified > unmodified:
        return 412, "If-Unmodified-Since"
    none_match, since = asked.get("if-none-match"), _seconds(asked.get("if-modified-since"))
    if none_match is not None:
        return (304, "If-None-Match") if _matches(none_match, stored.etag) else (0, "")
    if since is not None and stored.modified <= since:
        return 304, "If-Modified-Since"
    return 0, ""


def _matches(condition: str, etag: str) -> bool:
    """Tell whether a list of ETags holds `etag`; S3 takes them with and without quotes."""
    bare = etag.strip('"')
    return any(
        one == "*" or one.removeprefix("W/").strip('"') == bare for one in (c.strip() for c in condition.split(","))
    )


def _still(condition: str | None, stored: Stored) -> bool:
    """Tell whether If-Range lets a range through; RFC 9110, 13.1.5."""
    if condition is None:
        return True
    seconds = _seconds(condition)
    return stored.modified == seconds if seconds is not None else condition.strip() == stored.etag


def _seconds(date: str | None) -> int | None:
    if not date:
        return None
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None  # RFC 9110, 13.1.3: a date that is none is ignored


# -- the bucket


def _bucket(ask: Ask, folder: Folder) -> Answer | Work:
    query = dict(parse_qsl(ask.query, keep_blank_values=True))
    if ask.method == "HEAD":
        headers = {"x-amz-bucket-region": REGION, "x-amz-access-point-alias": "false"}
        return Answer(200, {**headers, "Content-Type": "application/xml"})
    if "location" in query:  # us-east-1 is told by saying nothing: GetBucketLocation
        return _xml(200, f'<LocationConstraint xmlns="{_SPACE}"/>')
    listing = {"list-type", "prefix", "delimiter", "max-keys", "marker", "start-after", "encoding-type"}
    known = listing | {"continuation-token", "fetch-owner", "x-id"}
    if query.keys() - known:  # ?acl, ?policy, ?versions ...: not for the public
        return _error(403, "AccessDenied", "Access Denied")
    try:
        wanted = _wanted(query)
    except ValueError as error:
        name, value = error.args[1:]
        return _error(400, "InvalidArgument", str(error.args[0]), ArgumentName=name, ArgumentValue=value)
    return lambda: _list(wanted, folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    version: Literal[1, 2]
    prefix: str
    delimiter: str
    most: int
    after: str  # begin behind this key, or behind all keys of this common prefix
    encoded: bool
    echo: dict[str, str]  # arguments that the answer repeats


def _wanted(query: dict[str, str]) -> _Wanted:
    """Read the arguments of a listing.

    Raises
    ------
    ValueError
        An argument has an impossible value; with S3's message, its name and the value.
    """
    version: Literal[1, 2] = 2 if "list-type" in query else 1
    if query.get("list-type", "2") != "2":
        raise ValueError("Invalid List Type specified in Request", "list-type", query["list-type"])  # noqa: TRY003, EM101  # S3's words
    text = query.get("max-keys", str(_MOST))
    if not re.fullmatch(r"-?\d{1,10}", text) or not 0 <= int(text) <= 2**31 - 1:
        raise ValueError("Argument maxKeys must be an integer between 0 and 2147483647", "max-keys", text)  # noqa: TRY003, EM101
    encoding = query.get("encoding-type")
    if encoding not in {None, "url"}:
        raise ValueError("Invalid Encoding Method specified in Request", "encoding-type", encoding)  # noqa: TRY003, EM101
    echo = {}
    if version == 1:
        after = echo["Marker"] = query.get("marker", "")
    else:
        after = query.get("start-after", "")
        if after:
            echo["StartAfter"] = after
        token = query.get("continuation-token")
        if token is not None:
            echo["ContinuationToken"] = token
            try:
                after = base64.urlsafe_b64decode(token).decode() if token else ""
            except (binascii.Error, UnicodeDecodeError):
                after = ""
            if not after:
                message = "The continuation token provided is incorrect"
                raise ValueError(message, "continuation-token", token)
    return _Wanted(
        version=version,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        most=min(int(text), _MOST),
        after=after,
        encoded=encoding == "url",
        echo=echo,
    )


def _list(wanted: _Wanted, folder: Folder) -> Answer:
    """Return one page of a listing, in the order of the keys' UTF-8 bytes, which is that of Python's strings."""
    rows, truncated = _page(wanted, sorted(folder.walk(wanted.prefix)))
    coded: Callable[[str], str] = quote if wanted.encoded else str
    fields = {"Name": BUCKET, "Prefix": coded(wanted.prefix)}
    fields |= {name: value if name == "ContinuationToken" else coded(value) for name, value in wanted.echo.items()}
    if truncated and wanted.version == 2:
        fields["NextContinuationToken"] = base64.urlsafe_b64encode(rows[-1][0].encode()).decode()
    elif truncated and wanted.delimiter:
        fields["NextMarker"] = coded(rows[-1][0])  # ListObjects: only where a delimiter is given
    if wanted.version == 2:
        fields["KeyCount"] = str(len(rows))
    fields["MaxKeys"] = str(wanted.most)
    if wanted.delimiter:
        fields["Delimiter"] = coded(wanted.delimiter)
    if wanted.encoded:
        fields["EncodingType"] = "url"
    fields["IsTruncated"] = "true" if truncated else "false"
    body = [f"<{name}>{escape(value)}</{name}>" for name, value in fields.items()]
    for _, listed in rows:
        if listed is None:
            continue
        facts = folder.facts(listed.path)
        when = datetime.fromtimestamp(facts.modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        body.append(
            f"<Contents><Key>{escape(coded(listed.key))}</Key><LastModified>{when}</LastModified>"
            f"<ETag>{escape(facts.etag, {chr(34): '&quot;'})}</ETag><Size>{facts.size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )
    body += [
        f"<CommonPrefixes><Prefix>{escape(coded(name))}</Prefix></CommonPrefixes>"
        for name, listed in rows
        if listed is None
    ]
    return _xml(200, f'<ListBucketResult xmlns="{_SPACE}">{"".join(body)}</ListBucketResult>')


def _page(wanted: _Wanted, found: list[Listed]) -> tuple[list[tuple[str, Listed | None]], bool]:
    """Return the keys and common prefixes (without an object) of one page, and whether there are more."""
    rows: list[tuple[str, Listed | None]] = []
    skipped = wanted.delimiter and wanted.after.endswith(wanted.delimiter)
    last = ""
    for listed in found:
        key = listed.key
        if key <= wanted.after or (skipped and key.startswith(wanted.after)):
            continue
        end = key.find(wanted.delimiter, len(wanted.prefix)) if wanted.delimiter else -1
        common = key[: end + len(wanted.delimiter)] if end >= 0 else ""
        if common and common == last:
            continue
        if len(rows) == wanted.most:
            return rows, wanted.most > 0  # ListObjectsV2 with max-keys=0 says that there is no more
        last = common
        rows.append((common, None) if common else (key, listed))
    return rows, False


# -- XML


def _xml(status: int, body: str) -> Answer:
    return Answer(status, {"Content-Type": "application/xml"}, (_XML + body).encode())


def _error(status: int, code: str, message: str, **details: str) -> Answer:
    fields = {"Code": code, "Message": message, **details}
    inner = "".join(f"<{name}>{escape(_printable(value))}</{name}>" for name, value in fields.items())
    return _xml(status, f"<Error>{inner}</Error>")


def _printable(text: str) -> str:
    """Return `text` without what XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
