"""Reading with what is known: what it saves, and that nothing of a version that is gone is ever given."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from support import RecordingStore, hdulists, put

import hst_cloud as hst
from hst_cloud.errors import FormatError, HSTCloudError, ObjectChangedError, ObjectNotFoundError, QueryError
from hst_cloud.fits.index import Index
from hst_cloud.fits.layout import scan
from hst_cloud.fits.predict import siblings
from hst_cloud.fits.recall import keeping, known_or_scan, read_one, remembered
from hst_cloud.store.objects import HTTPStore, Piece
from hst_cloud.store.plan import drive
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo import imaging
from hst_cloud.values import ByteRange, Product

NAME, OTHER = "jbqf03gjq_flc.fits", "jbqf03gmq_flc.fits"
FLC, SMALLER = (imaging.acs_wfc_flc.to_bytes(rootname="jbqf03gjq", scale=scale) for scale in (4, 8))


def product(key, **known):
    return Product(filename=key.rpartition("/")[2], key=key, **known)


def section(start, stop, hdu=1):
    """Return a maker of plans that read bytes of an HDU's data."""

    def work(found):
        at = found.layout.hdus[hdu].data.start
        answers = yield [ByteRange(at + start, at + stop)]
        return bytes(answers[0].data)

    return work


def pixels(content, start, stop, hdu=1):
    """Return the same bytes from the content of a file."""
    layout = scanned(content).layout
    return content[layout.hdus[hdu].data.start :][start:stop]


def carry(content, etag="e1"):
    return lambda ranges: [Piece(content[r.start : r.stop], len(content), etag) for r in ranges]


def scanned(content):
    return drive(scan("a.fits"), carry(content))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with an flc of 11 MB."""
    put(tmp_path / "archive", NAME, FLC)
    return tmp_path / "archive"


@pytest.fixture
def index(tmp_path):
    with Index(tmp_path / "cache") as index:
        yield index


KEY = f"hst/public/jbqf/jbqf03gjq/{NAME}"


# --- What it saves ---------------------------------------------------------------------------------------------------


def test_what_is_known_is_not_asked_for(folder, index):
    """The first time it is scanned, then not; one of another size or version than a listing told is scanned again."""
    store = RecordingStore(folder)
    found = known_or_scan(store, product(KEY), index)
    assert len(store.batches) == 2
    store.batches.clear()
    known = known_or_scan(store, product(KEY, size=len(FLC), etag=found.layout.etag), index)
    assert known.layout == found.layout
    assert store.batches == []
    for other in ({"size": len(FLC) + 1}, {"etag": "another"}):
        known_or_scan(store, product(KEY, **other), index)
        assert len(store.batches) == 1  # the file itself is the sibling that it is like
        store.batches.clear()
    known_or_scan(store, product(KEY), None)
    assert len(store.batches) == 1


def test_opening_a_known_file_costs_nothing_and_its_pixels_one_request(folder, index):
    """Over real sockets: none for all headers, one GET for a section, and none of them a HEAD."""
    with LocalArchive(folder) as archive:
        hst.open(NAME, index=index).close()
        archive.forget()
        with hst.open(NAME, index=index) as hdul, fits.open(folder / KEY) as local:
            assert [hdu.header.tostring() for hdu in hdul] == [hdu.header.tostring() for hdu in local]
            assert archive.requests == []
            assert np.array_equal(hdul["SCI", 2].section[10:20, 5:9], local["SCI", 2].section[10:20, 5:9])
        assert [(r.method, r.status) for r in archive.requests] == [("GET", 206)]


def test_the_work_of_a_known_file_is_all_that_is_asked_for(folder, index):
    """One GET, and the result is that of the first time."""
    with LocalArchive(folder) as archive:
        store = HTTPStore(f"{archive.endpoint}/stpubdata")
        first = read_one(store, product(KEY), section(0, 400), index=index)
        archive.forget()
        assert read_one(store, product(KEY), section(0, 400), index=index) == first == pixels(FLC, 0, 400)
        assert [(r.method, r.status) for r in archive.requests] == [("GET", 206)]


def test_what_comes_whole_is_neither_kept_nor_looked_up(tmp_path, index):
    """A file of at most 1 MiB of known size, or of a kind that is small, is one request as it is."""
    small = imaging.acs_wfc_flc.to_bytes(rootname="jbqf03gjq", scale=64)
    key = put(tmp_path / "archive", NAME, small)
    table = put(tmp_path / "archive", "ld9m10ujq_x1d.fits", fits.HDUList([fits.PrimaryHDU()]))
    store = RecordingStore(tmp_path / "archive")
    for wanted in (product(key, size=len(small)), product(table)):
        known_or_scan(store, wanted, index)
        known_or_scan(store, wanted, index)
    assert [len(batch) for batch in store.batches] == [1] * 4
    assert index.get(store, table) is None
    known_or_scan(store, product(key), None)
    siblings.cache_clear()
    index.forget(store, key)
    known_or_scan(store, product(key), index)  # of unknown size it takes two round trips, so it is kept
    assert index.get(store, key) is not None


def test_files_like_those_that_are_known_take_one_round_trip(folder, index):
    """Neither was read in this process; one of them is in the index, and tells where the headers of the other are."""
    key = put(folder, OTHER, FLC)
    store = RecordingStore(folder)
    known_or_scan(store, product(KEY), index)
    siblings.cache_clear()
    known_or_scan(store, product(KEY), index)
    store.batches.clear()
    known_or_scan(store, product(key), index)
    assert len(store.batches) == 1


# --- What it never gives ---------------------------------------------------------------------------------------------


def test_a_replaced_file_is_walked_once_more(folder, index):
    """One refusal tells; then the headers and the data are those of the new version, which the index has from then on."""
    with LocalArchive(folder) as archive:
        store = HTTPStore(f"{archive.endpoint}/stpubdata")
        read_one(store, product(KEY), section(0, 400), index=index)
        put(folder, NAME, SMALLER)
        archive.forget()
        assert read_one(store, product(KEY), section(0, 400), index=index) == pixels(SMALLER, 0, 400)
        assert [r.status for r in archive.requests if r.status == 412] == [412]
        assert index.get(store, KEY).layout.size == len(SMALLER)


def test_what_is_replaced_all_the_time_is_an_error():
    """One more walk is tried, not two."""
    known = scanned(FLC)
    plan = remembered(known, section(0, 10), lambda: scan("a.fits", size=len(SMALLER)))
    at = known.layout.hdus[1].data.start
    assert next(plan) == [ByteRange(at, at + 10)]
    asks = plan.throw(ObjectChangedError("gone"))
    while asks[0].start == 0 or len(asks) > 1 or asks[0].size != 10:
        asks = plan.send(carry(SMALLER, "e2")(asks))
    with pytest.raises(ObjectChangedError, match="gone again"):
        plan.throw(ObjectChangedError("gone again"))


def nothing(found):
    """Ask for nothing, and give how many HDUs there are."""
    yield from ()
    return len(found.layout.hdus)


def failing(found):
    """Find a fault in the headers of all but the smaller file."""
    yield from ()
    if found.layout.size != len(SMALLER):
        message = "no such HDU"
        raise QueryError(message)
    return "found"


def test_what_was_not_asked_for_is_proven_by_one_byte(folder, index):
    """A result or an error from headers alone costs one request of one byte if they are of the index."""
    store = RecordingStore(folder)
    count = read_one(store, product(KEY), nothing, index=index)
    store.batches.clear()
    assert read_one(store, product(KEY), nothing, index=index) == count
    with pytest.raises(QueryError, match="no such HDU"):
        read_one(store, product(KEY), failing, index=index)
    assert store.batches == [[ByteRange(0, 1)]] * 2


def test_no_result_and_no_error_is_of_a_version_that_is_gone(folder, index):
    """Headers of the index that are out of date are not believed, be it good or bad what they say."""
    store = RecordingStore(folder)
    read_one(store, product(KEY), nothing, index=index)
    put(folder, NAME, SMALLER)
    assert read_one(store, product(KEY), failing, index=index) == "found"
    put(folder, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((1000, 1000)))]))
    assert read_one(store, product(KEY), nothing, index=index) == 2


def test_errors_of_the_store_reach_the_work(folder, index):
    """Work that goes on after an error does so with what is known as well."""

    def work(found):
        try:
            yield [ByteRange(0, 1)]
        except HSTCloudError as error:
            return str(error)

    store = RecordingStore(folder)
    known = known_or_scan(store, product(KEY), index)
    plan = remembered(known, work, lambda: scan(KEY))
    next(plan)
    assert plan.throw(FormatError("broken")) == [ByteRange(0, 1)]
    with pytest.raises(StopIteration) as stopped:
        plan.send([Piece(b"S", len(FLC), "e")])
    assert stopped.value.value == (None, "broken")


def opened_section(store, index):
    return hst.open(NAME, store=store, index=index)["SCI", 1].section[0]


def read_section(store, index):
    return read_one(store, product(KEY), section(0, 1), index=index)


@pytest.mark.parametrize("opened", [False, True])
def test_a_file_that_is_gone_is_forgotten(folder, index, opened):
    """It is an error, and the index does not know it any more."""
    store = RecordingStore(folder)
    known_or_scan(store, product(KEY), index)
    (folder / KEY).unlink()
    read = opened_section if opened else read_section
    with pytest.raises(ObjectNotFoundError):
        read(store, index)
    assert index.get(store, KEY) is None


def test_headers_of_another_version_than_a_listing_told_are_read(folder, index):
    """open trusts the index for headers, unless the product tells that the object is another one."""
    with LocalArchive(folder):
        hst.open(NAME, index=index).close()
        put(folder, NAME, SMALLER)
        with hst.open(NAME, index=index) as hdul:
            assert hdul["SCI", 1].header["NAXIS1"] == 1024  # out of date, as the documentation says
            with pytest.raises(ObjectChangedError):
                hdul["SCI", 1].section[0]
        with hst.open(NAME, index=index) as hdul:
            assert hdul["SCI", 1].header["NAXIS1"] == 512
        put(folder, NAME, FLC)
        with hst.open(hst.resolve(NAME, verify=True)[0], index=index) as hdul:
            assert hdul["SCI", 1].header["NAXIS1"] == 1024


@given(hdulists(), hdulists(), st.lists(st.integers(0, 7), min_size=1, max_size=3))
@settings(max_examples=25)
def test_whatever_was_known_the_file_that_is_there_is_read(before, after, numbers):
    """With an index, the data of any HDUs are those that are read without one, also after the file was replaced."""

    def work(found):
        wanted = [found.layout.hdus[n].data for n in numbers if n < len(found.layout.hdus)]
        asks = [data for data in wanted if data.size]
        answers = (yield asks) if asks else ()
        return [hdu.name for hdu in found.layout.hdus], [bytes(answer.data) for answer in answers]

    with tempfile.TemporaryDirectory() as place, Index(Path(place, "cache")) as index:
        folder = Path(place, "archive")
        for content in (before, after):
            key = put(folder, NAME, fits.HDUList(content))
            store = RecordingStore(folder)
            expected = read_one(store, product(key), work, index=None)
            with keeping(index, store) as keep:
                assert read_one(store, product(key), work, index=index) == expected
                index.put(store, known_or_scan(store, product(key), None))  # also what would not be worth it
            assert callable(keep)
            assert read_one(store, product(key), work, index=index) == expected
