"""The embedded archive as S3, judged by moto, by AWS's documentation where moto departs from it, and by real clients."""

import hashlib
import http.client
import os
import re
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from hst_cloud.testing import LocalArchive

BUCKET = "stpubdata"
PAST = "Sat, 01 Jan 2000 00:00:00 GMT"
FUTURE = "Fri, 01 Jan 2100 00:00:00 GMT"
FLC = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
DATA = bytes(range(256)) * 100
OBJECTS = {
    FLC: DATA,
    "hst/public/jbqf/jbqf03gjq/jbqf03gjq_raw.fits": b"raw" * 1000,
    "hst/public/jbqf/jbqf03gmq/jbqf03gmq_flc.fits": b"flc" * 999,
    "hst/public/ld9m/ld9m10ujq/ld9m10ujq_x1d.fits": b"x1d",
    "hst/public/empty.fits": b"",
    "hst/odd name+plus&amp.fits": b"odd",
    "index.txt": b"top",
}
ETAG = '"' + hashlib.md5(DATA).hexdigest() + '"'
SIZE = len(DATA)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request of the table."""

    what: str
    method: str = "GET"
    target: str = f"/{BUCKET}/{FLC}"
    headers: dict[str, str] = field(default_factory=dict)
    aws: dict = field(default_factory=dict)
    """What AWS documents where moto answers otherwise: replaces those parts of moto's answer."""
    elements: dict[str, str | None] = field(default_factory=dict)
    """The same for elements of the XML; None removes one."""
    why: str = ""
    """Source and reason of `aws` and `elements`."""


WHOLE = {
    "etag": ETAG,
    "content-length": str(SIZE),
    "content-range": None,
    "accept-ranges": "bytes",
    "content-type": "binary/octet-stream",
    "last-modified": True,
    "body": DATA,
    "xml": None,
    "content": None,
}


def _list(query: str) -> str:
    return f"/{BUCKET}?{query}"


TABLE = [
    # -- ranges
    Ask(what="whole object"),
    Ask(what="first bytes", headers={"Range": "bytes=0-9"}),
    Ask(what="one byte", headers={"Range": "bytes=5-5"}),
    Ask(what="from the middle", headers={"Range": "bytes=1000-1999"}),
    Ask(what="open end", headers={"Range": f"bytes={SIZE - 10}-"}),
    Ask(what="suffix", headers={"Range": "bytes=-100"}),
    Ask(what="suffix longer than the object", headers={"Range": f"bytes=-{SIZE * 2}"}),
    Ask(what="beyond the end", headers={"Range": f"bytes={SIZE - 5}-{SIZE + 500}"}),
    Ask(what="all by range", headers={"Range": "bytes=0-"}),
    Ask(what="begins at the end", headers={"Range": f"bytes={SIZE}-{SIZE + 9}"}),
    Ask(what="open range behind the end", headers={"Range": f"bytes={SIZE + 7}-"}),
    Ask(what="suffix of nothing", headers={"Range": "bytes=-0"}),
    Ask(what="turned around", headers={"Range": "bytes=9-5"}),
    Ask(what="no numbers", headers={"Range": "bytes=a-b"}),
    Ask(
        what="other unit",
        headers={"Range": "lines=0-9"},
        aws={"status": 200, "content-length": str(SIZE), "content-range": None, "body": DATA},
        why="GetObject refers Range to the HTTP standard: RFC 9110, 14.2, ignores units that are not understood; "
        "moto looks at what follows the equals sign alone",
    ),
    Ask(what="several ranges", headers={"Range": "bytes=0-9,20-29"}),
    Ask(what="range of the empty object", target=f"/{BUCKET}/hst/public/empty.fits", headers={"Range": "bytes=0-0"}),
    Ask(what="the empty object", target=f"/{BUCKET}/hst/public/empty.fits"),
    # -- conditions
    Ask(what="If-Match holds", headers={"If-Match": ETAG, "Range": "bytes=0-9"}),
    Ask(what="If-Match without quotes", headers={"If-Match": ETAG.strip('"')}),
    Ask(
        what="If-Match any",
        headers={"If-Match": "*"},
        aws={"status": 200, **WHOLE},
        why="RFC 9110, 13.1.1: an asterisk holds for any object that exists; moto compares it with the ETag",
    ),
    Ask(what="If-Match fails", headers={"If-Match": '"0123456789abcdef0123456789abcdef"'}),
    Ask(what="If-None-Match same", headers={"If-None-Match": ETAG}),
    Ask(what="If-None-Match other", headers={"If-None-Match": '"0123456789abcdef0123456789abcdef"'}),
    Ask(what="If-Modified-Since past", headers={"If-Modified-Since": PAST}),
    Ask(what="If-Unmodified-Since past", headers={"If-Unmodified-Since": PAST}),
    Ask(what="If-Unmodified-Since future", headers={"If-Unmodified-Since": FUTURE}),
    Ask(
        what="If-Match overrules the date",
        headers={"If-Match": ETAG, "If-Unmodified-Since": PAST},
        aws={"status": 200, **WHOLE},
        why="GetObject: where If-Match is true and If-Unmodified-Since is false, S3 returns 200 and the data",
    ),
    Ask(what="If-None-Match overrules the date", headers={"If-None-Match": ETAG, "If-Modified-Since": PAST}),
    Ask(
        what="condition before range",
        headers={"If-Match": '"0123456789abcdef0123456789abcdef"', "Range": f"bytes={SIZE}-"},
    ),
    # -- HEAD
    Ask(what="HEAD", method="HEAD"),
    Ask(what="HEAD of a range", method="HEAD", headers={"Range": "bytes=0-9"}),
    Ask(what="HEAD of nothing", method="HEAD", target=f"/{BUCKET}/nothing"),
    Ask(what="HEAD If-Match fails", method="HEAD", headers={"If-Match": '"0"'}),
    Ask(what="HEAD bucket", method="HEAD", target=f"/{BUCKET}"),
    Ask(what="HEAD other bucket", method="HEAD", target="/elsewhere"),
    # -- errors
    Ask(what="no key", target=f"/{BUCKET}/hst/public/nothing.fits"),
    Ask(what="a folder is no object", target=f"/{BUCKET}/hst/public"),
    Ask(what="no bucket", target="/elsewhere/key"),
    Ask(what="encoded key", target=f"/{BUCKET}/" + quote("hst/odd name+plus&amp.fits")),
    # -- listings
    Ask(what="location", target=f"/{BUCKET}?location"),
    Ask(what="list all", target=_list("list-type=2")),
    Ask(what="list a visit", target=_list("list-type=2&prefix=hst/public/jbqf/jbqf03")),
    Ask(what="list folders", target=_list("list-type=2&prefix=hst/public/&delimiter=/")),
    Ask(what="list the top", target=_list("list-type=2&delimiter=/")),
    Ask(
        what="list part of a name", target=_list("list-type=2&prefix=hst/public/jbqf/jbqf03gjq/jbqf03gjq_f&delimiter=/")
    ),
    Ask(what="list by another delimiter", target=_list("list-type=2&prefix=hst/public/&delimiter=q")),
    Ask(what="list nothing", target=_list("list-type=2&prefix=nothing/")),
    Ask(what="list two", target=_list("list-type=2&max-keys=2")),
    Ask(what="list none", target=_list("list-type=2&max-keys=0")),
    Ask(
        what="list more than there may be",
        target=_list("list-type=2&max-keys=5000"),
        elements={"MaxKeys": "1000"},
        why="ListObjectsV2: never more than 1,000 keys, and MaxKeys tells what was applied; moto repeats the request",
    ),
    Ask(what="list after a key", target=_list("list-type=2&start-after=" + FLC)),
    Ask(what="list encoded", target=_list("list-type=2&encoding-type=url&prefix=hst/odd")),
    Ask(what="list other bucket", target="/elsewhere?list-type=2"),
    Ask(
        what="max-keys no number",
        target=_list("list-type=2&max-keys=many"),
        aws={
            "status": 400,
            "body": None,
            "xml": "Error",
            "content": [("ArgumentName", "max-keys"), ("ArgumentValue", "many"), ("Code", "InvalidArgument")],
        },
        why="Error responses: InvalidArgument, status 400; moto fails with a server error",
    ),
    Ask(
        what="list as of old",
        target=_list("prefix=hst/public/jbqf/&max-keys=1"),
        elements={"NextMarker": None, "Marker": ""},
        why="ListObjects: NextMarker is returned only if the request has a delimiter; Marker is repeated, even if empty",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bucket")
    for key, data in OBJECTS.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return root


@pytest.fixture(scope="module")
def archive(folder):
    with LocalArchive(folder) as running:
        yield running


@pytest.fixture(scope="module")
def moto():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    client.create_bucket(Bucket=BUCKET, ACL="public-read")
    for key, data in OBJECTS.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=data, ACL="public-read")
    client.close()
    yield endpoint
    server.stop()


def _send(endpoint: str, ask: Ask) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=20)
    try:
        connection.request(ask.method, ask.target, headers=ask.headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _tree(element: ET.Element):
    """Return an element as names and texts: without namespace, dates, and what differs for each server and request."""
    volatile = {"RequestId", "HostId", "LastModified", "Owner", "NextContinuationToken", "Message"}
    children = [
        (child.tag.rpartition("}")[2], _tree(child))
        for child in element
        if child.tag.rpartition("}")[2] not in volatile
    ]
    return sorted(children, key=repr) if children else (element.text or "")


def _facts(ask: Ask, answer: tuple[int, dict[str, str], bytes]) -> dict:
    """Return of an answer what a client could rely on."""
    status, headers, body = answer
    found = {"status": status}
    if "?" not in ask.target and status < 400:
        for name in ("etag", "content-length", "content-range", "accept-ranges", "content-type"):
            if (status != 304 or name == "etag") and (name == "etag" or ask.target.count("/") > 1):
                found[name] = headers.get(name)
        found["last-modified"] = "last-modified" in headers or status == 304  # RFC 9110, 15.4.5, leaves it open
    if ask.method == "HEAD":
        return found | {"body": body, "xml": None, "content": None}
    try:
        root = ET.fromstring(body)
    except ET.ParseError:
        return found | {"body": body, "xml": None, "content": None}
    return found | {"body": None, "xml": root.tag.rpartition("}")[2], "content": _tree(root)}


def _corrected(ask: Ask, theirs: dict) -> dict:
    """Return moto's answer with what AWS documents otherwise."""
    found = theirs | ask.aws
    if ask.elements:
        kept = [pair for pair in found["content"] if pair[0] not in ask.elements]
        added = [(name, text) for name, text in ask.elements.items() if text is not None]
        found["content"] = sorted(kept + added, key=repr)
    return found


@pytest.mark.parametrize("ask", TABLE, ids=lambda ask: ask.what)
def test_answers_as_moto_does_or_as_aws_documents(ask, archive, moto):
    """Each request of the table gets the answer that the referee gives."""
    ours = _facts(ask, _send(archive.endpoint, ask))
    theirs = _facts(ask, _send(moto, ask))
    expected = _corrected(ask, theirs)
    if ask.aws or ask.elements:
        assert ask.why, "a row that departs from moto says why"
        assert theirs != expected, "moto agrees with AWS by now: the row's exception can go"
    assert ours == expected


def test_the_table_is_long_enough():
    """At least twenty requests, each of its own."""
    assert len({(ask.method, ask.target, repr(ask.headers)) for ask in TABLE}) == len(TABLE) >= 20


@pytest.mark.parametrize("query", ["list-type=2&max-keys=1", "list-type=2&max-keys=1&delimiter=/&prefix=hst/public/"])
def test_pages_of_a_listing_are_those_of_moto(query, archive, moto):
    """Every page has the same keys and prefixes, and the last page is the last."""

    def pages(endpoint: str) -> list:
        found, token = [], ""
        while True:
            ask = Ask(
                what="page", target=_list(query + (f"&continuation-token={quote(token, safe='')}" if token else ""))
            )
            body = _send(endpoint, ask)[2]
            rows = [
                e
                for e in _tree(ET.fromstring(body))
                if e[0] in {"Contents", "CommonPrefixes", "IsTruncated", "KeyCount"}
            ]
            found.append(rows)
            token = re.sub(r".*<NextContinuationToken>(.*?)</.*|.*", r"\1", body.decode(), count=1, flags=re.DOTALL)
            if not token:
                return found

    ours = pages(archive.endpoint)
    assert ours == pages(moto)
    assert len(ours) > 2


# What moto does not judge: it would have to be told to refuse, or answers with pages of its own.


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nothing_can_be_written(archive, folder, method):
    """The archive is read-only: methods that write are refused and change nothing."""
    status, headers, body = _send(archive.endpoint, Ask(what="write", method=method))
    assert status == 405
    assert headers["allow"] == "GET, HEAD"
    assert b"<Code>MethodNotAllowed</Code>" in body
    assert (folder / FLC).read_bytes() == DATA


@pytest.mark.parametrize("query", ["acl", "policy", "versions", "uploads"])
def test_what_is_not_public_is_denied(archive, query):
    """An anonymous reader may list and locate, and no more."""
    status, _, body = _send(archive.endpoint, Ask(what="private", target=_list(query)))
    assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("list-type=2&continuation-token=!!!", "continuation-token"),
        ("list-type=2&encoding-type=base64", "encoding-type"),
        ("list-type=2&max-keys=-1", "max-keys"),
        ("list-type=3", "list-type"),
    ],
)
def test_impossible_arguments_are_named(archive, query, name):
    """A wrong argument of a listing is an InvalidArgument that tells its name."""
    status, _, body = _send(archive.endpoint, Ask(what="wrong", target=_list(query)))
    assert status == 400
    assert b"<Code>InvalidArgument</Code>" in body
    assert f"<ArgumentName>{name}</ArgumentName>".encode() in body


def test_errors_carry_the_request_id_in_header_and_body(archive):
    """The id for the support desk is the same in both, and of each request its own."""
    answers = [_send(archive.endpoint, Ask(what="no key", target=f"/{BUCKET}/none")) for _ in range(2)]
    for _, headers, body in answers:
        assert f"<RequestId>{headers['x-amz-request-id']}</RequestId>".encode() in body
    assert answers[0][1]["x-amz-request-id"] != answers[1][1]["x-amz-request-id"]


# -- real clients


def test_boto3_reads_the_archive(archive):
    """Unsigned, as the public bucket is read: listing in pages, HEAD, ranges, conditions and errors."""
    client = boto3.client(
        "s3",
        endpoint_url=archive.endpoint,
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}),
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == sorted(OBJECTS)
    head = client.head_object(Bucket=BUCKET, Key=FLC)
    assert (head["ContentLength"], head["ETag"], head["AcceptRanges"]) == (SIZE, ETAG, "bytes")
    part = client.get_object(Bucket=BUCKET, Key=FLC, Range="bytes=10-19", IfMatch=ETAG)
    assert (part["Body"].read(), part["ContentRange"]) == (DATA[10:20], f"bytes 10-19/{SIZE}")
    assert client.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=BUCKET, Key="none")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.get_object(Bucket=BUCKET, Key=FLC, IfMatch='"0"')
    with pytest.raises(ClientError, match="InvalidRange"):
        client.get_object(Bucket=BUCKET, Key=FLC, Range=f"bytes={SIZE}-")
    client.close()


def test_s3fs_reads_the_archive(archive):
    """Anonymous: folders, sizes, globbing, a file opened and sought in, and many ranges at once."""
    import s3fs

    files = s3fs.S3FileSystem(
        anon=True,
        endpoint_url=archive.endpoint,
        skip_instance_cache=True,
        config_kwargs={"s3": {"addressing_style": "path"}},
    )
    assert sorted(files.find(BUCKET)) == sorted(f"{BUCKET}/{key}" for key in OBJECTS)
    assert files.ls(f"{BUCKET}/hst/public/jbqf") == [
        f"{BUCKET}/hst/public/jbqf/{v}" for v in ("jbqf03gjq", "jbqf03gmq")
    ]
    assert files.glob(f"{BUCKET}/hst/public/*/*/*_x1d.fits") == [
        f"{BUCKET}/hst/public/ld9m/ld9m10ujq/ld9m10ujq_x1d.fits"
    ]
    assert files.size(f"{BUCKET}/{FLC}") == SIZE
    with files.open(f"{BUCKET}/{FLC}", "rb") as file:
        file.seek(1000)
        assert file.read(10) == DATA[1000:1010]
    path = f"{BUCKET}/{FLC}"
    assert files.cat_ranges([path] * 3, [0, 5, 300], [5, 9, 310]) == [DATA[0:5], DATA[5:9], DATA[300:310]]
    with pytest.raises(FileNotFoundError):
        files.cat_file(f"{BUCKET}/none")


def test_obstore_reads_the_archive(archive):
    """Unsigned and path-style: listing, ranges, conditions and errors."""
    import obstore
    from obstore.exceptions import PreconditionError
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=archive.endpoint,
        region="us-east-1",
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    listed = [entry for chunk in obstore.list(store, prefix="hst/public/jbqf") for entry in chunk]
    assert {entry["path"]: entry["size"] for entry in listed} == {
        key: len(data) for key, data in OBJECTS.items() if key.startswith("hst/public/jbqf/")
    }
    assert [entry["path"] for entry in obstore.list_with_delimiter(store, "hst")["objects"]] == [
        "hst/odd name+plus&amp.fits"
    ]
    assert obstore.head(store, FLC)["e_tag"] == ETAG
    assert bytes(obstore.get_range(store, FLC, start=7, end=77)) == DATA[7:77]
    parts = obstore.get_ranges(store, FLC, starts=[0, 20_000], ends=[4, 20_004], coalesce=0)
    assert [bytes(part) for part in parts] == [DATA[0:4], DATA[20_000:20_004]]
    assert bytes(obstore.get(store, FLC, options={"range": {"suffix": 8}}).bytes()) == DATA[-8:]
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "none")
    with pytest.raises(PreconditionError):
        obstore.get(store, FLC, options={"if_match": '"0"'})


def test_the_library_itself_reads_the_archive(archive, monkeypatch):
    """The package's own store gets ranges pinned to one version, and whole listings."""
    from hst_cloud.store.objects import public_store
    from hst_cloud.values import ByteRange

    monkeypatch.setenv("HST_CLOUD_ENDPOINT", archive.endpoint)
    store = public_store()
    pieces = store.read(FLC, [ByteRange(0, 4), ByteRange(SIZE - 4, SIZE + 99), ByteRange(SIZE, SIZE + 9)])
    assert [piece.data for piece in pieces] == [DATA[:4], DATA[-4:], b""]
    assert {(piece.size, piece.etag) for piece in pieces} == {(SIZE, ETAG.strip('"'))}
    assert [entry.key for entry in store.listings(["hst/public/"])[0]] == sorted(
        k for k in OBJECTS if k.startswith("hst/p")
    )
