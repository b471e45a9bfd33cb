"""Rows 16 to 29 of the matrix of faults: what S3 says, and what it should not say."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from faults.conftest import CONTENT, NAME, QUICK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import put

import hst_cloud as hst
from hst_cloud.errors import (
    AccessDeniedError,
    NotInCloudError,
    ObjectChangedError,
    ObjectNotFoundError,
    StoreError,
    StoreUnavailableError,
    ThrottledError,
    WrongRegionError,
)
from hst_cloud.store.objects import HTTPStore
from hst_cloud.testing import Fault, LocalArchive
from hst_cloud.values import ByteRange

TRIES = QUICK.tries


def test_row_16_told_to_slow_down_for_a_while(read):
    """A burst of refusals is waited out."""
    found = read(Fault(status=503, times=3))
    assert found.whole
    assert len(found.requests) == 4


def test_row_16_told_to_slow_down_for_ever(read):
    """No more than seven requests, and an error of its own kind that carries the service's words."""
    found = read(Fault(status=503))
    assert isinstance(found.error, ThrottledError)
    assert len(found.requests) == found.error.attempts == TRIES <= 7
    assert "SlowDown: Please reduce your request rate." in str(found.error)
    assert found.error.request_id in str(found.error)


def test_row_16_told_when_to_come_back(read):
    """Nobody comes earlier than the service says."""
    found = read(Fault(status=503, headers={"Retry-After": "1"}, times=1))
    assert found.whole
    assert found.seconds >= 1


@pytest.mark.parametrize("status", [500, 502, 504])
def test_row_17_internal_errors(read, status):
    """Some are passed over, and no more requests than tries are sent."""
    assert read(Fault(status=status, times=TRIES - 1)).whole
    found = read(Fault(status=status))
    assert isinstance(found.error, StoreUnavailableError)
    assert len(found.requests) == TRIES


@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
def test_row_18_an_error_under_a_good_status(read, code):
    """The document is not taken for bytes, and the request is sent again."""
    found = read(Fault(status=200, error=code, times=1))
    assert found.whole
    assert len(found.requests) == 2
    assert isinstance(read(Fault(status=200, error=code)).error, StoreError)


def test_row_19_access_denied(read):
    """Asked once; the error says what it may mean."""
    found = read(Fault(status=403))
    assert isinstance(found.error, AccessDeniedError)
    assert len(found.requests) == 1
    assert "Exclusive-access data" in str(found.error)
    assert "keys that do not exist" in str(found.error)


@pytest.fixture
def moved(tmp_path, monkeypatch, hdul):
    """Serve two files that do not lie where their names say, but where MAST says, and two that do."""
    for name in MOVED:
        path = tmp_path / "hst" / "public" / "jbqf" / "jbqf03010" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hdul.writeto(path)
    for name in THERE:
        put(tmp_path, name, hdul)
    with LocalArchive(tmp_path) as archive:
        monkeypatch.setenv("HST_CLOUD_ENDPOINT", archive.endpoint)
        hst.resolve("mast:HLSP/none/hlsp_none.fits", verify=True)  # the archive looks through its folder once
        archive.forget()
        yield archive


MOVED = ["jbqf03021_drz.fits", "jbqf03031_drz.fits"]
THERE = ["jbqf03gjq_flc.fits", "jbqf03gmq_flc.fits"]
ABSENT = "jbqf03gkq_flc.fits"


def to_mast(archive):
    return [request for request in archive.requests if request.service == "mast"]


def target(hdul):
    return hdul[0].header["TARGNAME"]


READERS = {
    "open": lambda name: target(hst.open(name, index=False)),
    "read": lambda name: target(hst.read(name, index=False)),
    "cutout": lambda name: hst.cutout(name, (100, 100), 5, wcs=False, mask=False, uncertainty=False, index=False).meta[
        "TARGNAME"
    ],
    "cutouts": lambda name: hst.cutouts([name], (100, 100), 5, wcs=False, mask=False, uncertainty=False, index=False)[
        0
    ].meta["TARGNAME"],
    "headers": lambda name: hst.headers(name, "TARGNAME", index=False)["TARGNAME"][0],
    "to_dask": lambda name: "NGC 3603" if hst.to_dask(name, "SCI", index=False).shape == (800, 500) else "",
}


@pytest.mark.parametrize("reader", READERS)
def test_row_20_a_file_that_lies_elsewhere(moved, reader):
    """MAST is asked once where it is, and it is read there."""
    assert READERS[reader](MOVED[0]) == "NGC 3603"
    assert len(to_mast(moved)) == 1
    assert moved.requests[0].status == 404
    moved.forget()
    assert READERS[reader](THERE[0]) == "NGC 3603"
    assert to_mast(moved) == []


@pytest.mark.parametrize("reader", READERS)
def test_row_20_a_file_that_is_nowhere(moved, reader):
    """The error says that the bucket has it not, that MAST knows no place, and how MAST itself is asked for it."""
    text = r"jbqf03gkq_flc\.fits is not in the bucket: .*jbqf03gkq/jbqf03gkq_flc\.fits does not exist, and MAST's "
    with pytest.raises(NotInCloudError, match=text + r"path_lookup tells no place for it\..*source='mast'"):
        READERS[reader](ABSENT)
    assert [request.status for request in moved.requests] == [404, 200]


def test_row_20_many_files_that_are_not_there(moved):
    """One question for all of them, however they are mixed with others."""
    names = [THERE[0], MOVED[0], ABSENT, THERE[1], MOVED[1], "jbqf03goq_flc.fits"]
    with pytest.warns(hst.errors.HSTCloudWarning, match=r"2 of 6 products"):
        table = hst.headers(names, "TARGNAME", index=False, on_error="mask")
    assert table["TARGNAME"].mask.tolist() == [False, False, True, False, False, True]
    assert "tells no place" in table.meta["errors"][ABSENT]
    assert len(to_mast(moved)) == 1


def test_row_20_mast_cannot_be_asked(moved, monkeypatch):
    """The error is the bucket's, says so, and does not wait for long."""
    monkeypatch.setattr("hst_cloud.archive.elsewhere.PATIENCE", 1.5)
    moved.faults = [Fault(service="mast", status=503)]
    text = r"jbqf03gkq_flc\.fits.* does not exist.*MAST, which may know another place, could not be asked: .*HTTP 503"
    with pytest.raises(ObjectNotFoundError, match=text) as caught:
        hst.open(ABSENT)
    assert caught.value.request_id
    moved.forget()
    with hst.budget(requests=1), pytest.raises(ObjectNotFoundError, match=r"could not be asked: .*budget"):
        hst.open(ABSENT)
    assert to_mast(moved) == []


def test_row_20_a_path_of_masts_that_is_none(moved):
    """What MAST tells is read only if it is a key of that file."""
    uri = f"mast:HST/product/{ABSENT}"
    for path, told in [
        ("/../etc/passwd", "an unacceptable place"),
        (f"/hst/public/jbqf/jbqf03gkq/{ABSENT}", "the same"),
    ]:
        moved.faults = [Fault(service="mast", status=200, body=json.dumps({uri: {"path": path}}))]
        with pytest.raises(NotInCloudError, match=told):
            hst.open(ABSENT)


def test_row_20_places_that_nobody_asks_mast_about(moved, tmp_path):
    """A folder, another bucket, and what a listing has shown to be there."""
    (shown,) = hst.resolve(THERE[0], verify=True)
    moved.forget()
    (tmp_path / shown["key"]).unlink()
    with pytest.raises(ObjectNotFoundError, match="does not exist"):
        hst.open(shown)
    for store in (tmp_path, HTTPStore(f"{moved.endpoint}/elsewhere")):
        with pytest.raises(ObjectNotFoundError):
            hst.open(ABSENT, store=store)
    assert to_mast(moved) == []


def test_row_20_a_key_that_is_not_there(archive):
    """What is exclusive is said to be so, and MAST is not asked."""
    exclusive = hst.Product(filename="jbqf03gkq_flc.fits", key=archive.key.replace("gjq", "gkq"), status="exclusive")
    with pytest.raises(NotInCloudError, match="MAST serves those with rights"):
        hst.open(exclusive)
    assert len(archive.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_row_21_a_redirect(read, tmp_path, status):
    """With an address or without: nobody follows, and the error says where it pointed."""
    put(tmp_path, NAME, CONTENT)
    elsewhere = LocalArchive(tmp_path).start()
    try:
        to = f"{elsewhere.endpoint}/stpubdata/hst/public/jbqf/jbqf03gjq/{NAME}"
        found = read(Fault(status=status, headers={"Location": to}))
        assert isinstance(found.error, WrongRegionError)
        assert elsewhere.endpoint in str(found.error)
        found = read(Fault(status=status, headers={"x-amz-bucket-region": "eu-west-1"}))
        assert isinstance(found.error, WrongRegionError)
        assert "eu-west-1" in str(found.error)
        assert elsewhere.requests == []
    finally:
        elsewhere.stop()


def opened(archive, hdul, meanwhile):
    """Open a file, let something happen, and return what reading its last rows gives."""
    path = archive.folder / put(archive.folder, "jbqf04gjq_flc.fits", hdul)
    try:
        with hst.open("jbqf04gjq_flc.fits") as ours:
            assert ours["SCI"].shape == (800, 500)
            meanwhile(path)
            archive.forget()
            return ours["SCI"].section[790:, :]
    finally:
        path.unlink(missing_ok=True)


def test_row_22_an_object_that_has_become_smaller(archive, hdul):
    """The bytes that are no longer there are an error of the kind that says so."""
    with pytest.raises(ObjectChangedError, match="was replaced"):
        opened(archive, hdul, lambda path: path.write_bytes(path.read_bytes()[:300_000]))


@pytest.mark.parametrize("wanted", [ByteRange(0, 10), ByteRange(1000, 6000), ByteRange(0, 400_000)])
def test_row_23_a_server_that_ignores_ranges(read, wanted):
    """The whole object is never taken for a part of it, nor read to its end."""
    found = read(Fault(whole=True), wanted=[wanted])
    assert found.error is None or isinstance(found.error, StoreUnavailableError)
    assert len(found.requests) == 1
    if wanted.size < 400_000:
        assert "ignored the range" in str(found.error)


numbers = st.integers(-(10**6), 10**6).map(lambda n: f"{n:+d}")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(start=numbers, last=numbers, size=numbers)
def test_row_24_a_range_that_lies(read, start, last, size):
    """Whatever Content-Range says: the right bytes or an error."""
    lie = f"bytes {{start{start}}}-{{last{last}}}/{{size{size}}}"
    found = read(Fault(headers={"Content-Range": lie}))
    assert found.error is None or isinstance(found.error, StoreUnavailableError)


@pytest.mark.parametrize(
    "said", [None, "", "bytes", "bytes */400000", "bytes 1000-5999/*", "lines {start}-{last}/{size}"]
)
def test_row_24_no_range(read, said):
    """A part that does not say which is none."""
    found = read(Fault(headers={"Content-Range": said}))
    assert isinstance(found.error, StoreUnavailableError)
    assert len(found.requests) == 1


def test_row_25_an_object_that_is_replaced(archive, hdul):
    """Nothing of the new version is mixed with the old one."""
    with pytest.raises(ObjectChangedError, match=r"expected ETag \w+, found another.*Open it again"):
        opened(archive, hdul, lambda path: path.write_bytes(path.read_bytes()[::-1]))
    assert [request.status for request in archive.requests] == [412]
    found = opened(archive, hdul, lambda _: None)
    np.testing.assert_array_equal(found, hdul["SCI"].data[790:])


def test_row_25_a_server_that_ignores_conditions(archive, hdul):
    """The version that an answer names is compared, whatever the condition was."""

    def another(_):
        archive.faults = Fault(headers={"ETag": '"another"'})

    with pytest.raises(ObjectChangedError, match="found another"):
        opened(archive, hdul, another)
    archive.faults = None


def test_row_25_a_version_that_changes_between_two_tries(read):
    """The rest of a broken answer is taken from the same version, or not at all."""
    found = read(Fault(drop=1000, times=1), Fault(headers={"ETag": '"another"'}, times=1))
    assert isinstance(found.error, ObjectChangedError)
    assert len(found.requests) == 2


@pytest.mark.parametrize("etag", [None, 'W/"weak"', '"d41d8cd98f00b204e9800998ecf8427e-12"'])
def test_row_26_versions_of_every_kind(read, etag):
    """Missing, weak or of many parts: what is read is right, and two answers are joined only where that is safe."""
    assert read(Fault(headers={"ETag": etag})).whole
    if etag is None or etag.startswith("W/"):  # no condition can be made of it: nothing is put together
        found = read(Fault(headers={"ETag": etag}, drop=1000, times=1), Fault(headers={"ETag": etag}))
        assert found.whole
        assert [request.range for request in found.requests] == ["bytes=1000-5999"] * 2


@pytest.mark.parametrize("date", ["Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 31 Dec 2099 23:59:59 GMT", "yesterday", None])
def test_row_28_a_clock_that_is_wrong(read, date):
    """Nothing is signed and nothing depends on the server's time."""
    found = read(Fault(headers={"Date": date, "Last-Modified": date}))
    assert found.whole
    assert len(found.requests) == 1


PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<IsTruncated>true</IsTruncated>{token}</ListBucketResult>"
)


@pytest.mark.parametrize(
    ("token", "told"),
    [("<NextContinuationToken>t</NextContinuationToken>", "a listing without end"), ("", "an incomplete listing")],
)
def test_row_29_a_listing_without_end(archive, token, told):
    """A token that leads in a circle, and one that is missing, end in an error and in few requests."""
    archive.faults = Fault(key="", status=200, body=PAGE.format(token=token))
    with pytest.raises(StoreUnavailableError, match=told):
        HTTPStore(f"{archive.endpoint}/stpubdata", policy=QUICK).listings(["hst/"])
    assert len(archive.requests) <= 2


def test_row_29_a_listing_that_is_cut_short(archive):
    """Half a document is never half a listing."""
    store = HTTPStore(f"{archive.endpoint}/stpubdata", policy=QUICK)
    ((listed,),) = store.listings(["hst/"])
    archive.faults = Fault(key="", slice=(0, 300), times=1)
    assert store.listings(["hst/"]) == [[listed]]
    archive.faults = Fault(key="", drop=300)
    with pytest.raises(StoreUnavailableError):
        store.listings(["hst/"])
    assert re.fullmatch(r"[0-9a-f]{32}", listed.etag)
