"""A file whole: what is asked for, and where it goes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparse_files import Sparse, lengthened
from support import RecordingStore, put

from hst_cloud.fits import whole
from hst_cloud.fits.layout import Layout, Scan
from hst_cloud.fits.whole import receive, walk_or_all, walked_meanwhile
from hst_cloud.store.adapters import FolderStore, as_store
from hst_cloud.store.link import FAR_AWAY, IN_REGION
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import drive
from hst_cloud.store.ranges import PART
from hst_cloud.store.segments import Segments
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo.imaging import acs_wfc_flc
from hst_cloud.values import ByteRange

KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
CONTENT = np.random.default_rng(1).bytes(100_000)


@pytest.fixture(scope="module")
def content():
    return acs_wfc_flc.to_bytes(rootname="jbqf03gjq", scale=64)


def walked(file, **known):
    """Return what a walk found, and its batches."""
    batches = []

    def carry(ranges):
        batches.append(list(ranges))
        return [Piece(file.read(*r), file.size, "etag") for r in ranges]

    found = drive(walk_or_all(KEY, in_flight=64, **{"link": IN_REGION, **known}), carry)
    assert list(found.layout.hdus) == file.hdus
    asked = sorted(r for batch in batches for r in batch)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(asked))
    assert all(r.size <= PART for r in asked)
    return found, batches


@given(told=st.none() | st.integers(1, 3_000_000), limit=st.sampled_from([0, 500_000, 2**25]), far=st.booleans())
def test_whatever_is_told_of_a_file_no_byte_is_asked_for_twice(content, told, limit, far):
    """Its size may be unknown or wrong, and it may be small or large: the same HDUs, and all headers are held."""
    file = Sparse(content, (200, 300))
    before = whole.WHOLE
    whole.WHOLE = limit
    try:
        found, batches = walked(file, size=told, link=FAR_AWAY if far else IN_REGION)
    finally:
        whole.WHOLE = before
    for hdu in file.hdus:
        assert found.segments.find(*hdu.header) == file.read(*hdu.header)
    if file.size <= limit and told == file.size:
        assert len(batches) == 1
    if file.size <= limit:
        assert found.segments.find(0, file.size) == file.read(0, file.size)


def test_round_trips(content):
    """One for a small file of known size, two where nobody told it; a large one is walked."""
    small, large = Sparse(content, (500, 1000)), Sparse(content, (2048, 4096))
    assert [len(batch) for batch in walked(small, size=small.size)[1]] == [11]
    assert [len(batch) for batch in walked(small)[1]] == [1, 11]
    assert len(walked(large, size=large.size)[1]) == 2
    assert sum(r.size for batch in walked(large)[1] for r in batch) < 800_000


PIECES = st.lists(st.tuples(st.integers(0, 99_999), st.integers(1, 30_000)), max_size=5)
WANTED = st.lists(st.tuples(st.integers(0, 99_999), st.integers(0, 60_000)), max_size=4)


@given(held=PIECES, wanted=WANTED, sockets=st.booleans())
def test_what_is_held_is_not_read_again(tmp_path_factory, held, wanted, sockets):
    """Whatever is in memory: every range is told once, when it is complete, and only what was missing is read."""
    folder = tmp_path_factory.getbasetemp() / "whole"
    folder.mkdir(exist_ok=True)
    if not (folder / "object").exists():
        (folder / "object").write_bytes(CONTENT)
    store = RecordingStore(folder)
    etag = store.read("object", [ByteRange(0, 1)])[0].etag
    store.batches.clear()
    segments = Segments([(at, CONTENT[at : at + size]) for at, size in held])
    found = Scan(layout=Layout(key="object", size=len(CONTENT), etag=etag, hdus=()), segments=segments)
    ranges = [ByteRange(at, min(at + size, len(CONTENT))) for at, size in wanted]
    places = [np.zeros(r.size, np.uint8) for r in ranges]
    told = []
    for number in receive(store, found, list(zip(ranges, places, strict=True)), in_flight=4):
        told.append(number)
        assert places[number].tobytes() == CONTENT[slice(*ranges[number])]
    assert sorted(told) == list(range(len(ranges)))
    have = {byte for at, size in held for byte in range(at, at + size)}
    asked = [byte for batch in store.batches for r in batch for byte in range(*r)]
    assert not have & set(asked)
    assert len(store.batches) <= 1


def test_a_range_with_several_gaps_is_complete_once(tmp_path):
    """Over sockets each gap is a job of its own; the range is told when the last of them has come."""
    held = Segments([(at, CONTENT[at : at + 1000]) for at in range(0, 100_000, 10_000)])
    key = put(tmp_path, "jbqf03gjq_flc.fits", CONTENT)
    with LocalArchive(tmp_path) as archive:
        store = as_store(archive.endpoint)
        etag = store.read(key, [ByteRange(0, 1)])[0].etag
        archive.forget()
        found = Scan(layout=Layout(key=key, size=len(CONTENT), etag=etag, hdus=()), segments=held)
        place = np.zeros(len(CONTENT), np.uint8)
        complete = receive(store, found, [(ByteRange(0, len(CONTENT)), place)], in_flight=64)
        assert next(complete) == 0
        assert place.tobytes() == CONTENT
        assert list(complete) == []
        assert len(archive.requests) == 10


def test_files_of_a_folder_are_read_in_one_batch(tmp_path):
    """A store that is no loop's own is asked once."""
    (tmp_path / "object").write_bytes(CONTENT)
    store = FolderStore(tmp_path)
    found = Scan(layout=Layout(key="object", size=len(CONTENT), etag=None, hdus=()), segments=Segments())
    places = [(ByteRange(a, a + 10), np.zeros(10, np.uint8)) for a in (5, 500)]
    assert list(receive(store, found, places, in_flight=64)) == [0, 1]
    assert places[1][1].tobytes() == CONTENT[500:510]


# --- Received while it is walked -------------------------------------------------------------------------------------


def stored(folder, content, shape):
    """Write a file of this shape whose pixels are noise; return its key, bytes and layout."""
    file = Sparse(content, shape)
    noise = bytearray(np.random.default_rng(len(content)).bytes(file.size))
    for at, data in file.parts:
        noise[at : at + len(data)] = data
    key = put(folder, "jbqf03gjq_flc.fits", bytes(noise))
    return key, bytes(noise), Layout(key=key, size=file.size, etag=None, hdus=tuple(file.hdus))


@pytest.mark.parametrize("sockets", [False, True])
@pytest.mark.parametrize("shapes", [((500, 700), (500, 700)), ((500, 700), (450, 700)), ((450, 700), (500, 700))])
@pytest.mark.parametrize("cards", [(0, 0), (0, 20), (20, 0), (0, 60), (300, 0)])
@pytest.mark.parametrize("names", [{"SCI", "ERR", "DQ"}, {"SCI"}])
def test_images_are_received_before_it_is_proven_where_they_lie(content, tmp_path, *, sockets, shapes, cards, names):
    """Whatever a file like it told: every image is complete, in one round trip if it is like it, no byte read twice."""
    like = Sparse(lengthened(content, cards[0]), shapes[0])
    guess = Layout(key=KEY, size=like.size, etag=None, hdus=tuple(like.hdus))
    key, noise, layout = stored(tmp_path, lengthened(content, cards[1]), shapes[1])
    with LocalArchive(tmp_path) as archive:
        store = as_store(archive.endpoint) if sockets else RecordingStore(tmp_path)
        walking = walked_meanwhile(
            store, key, size=layout.size, like=guess, wanted=lambda _, hdu: hdu.name in names, in_flight=16
        )
        with walking as (found, coming):
            assert found.layout.hdus == layout.hdus
            where = [hdu.data for hdu in layout.hdus if hdu.name in names]
            early = [[one.data(at) for one in coming[0] if one.data(at) is not None] for at in where]
            alike = shapes[0] == shapes[1] and abs(cards[0] - cards[1]) <= 20
            assert any(early) or not alike
            places = [at[0] if at else np.zeros(w.size, np.uint8) for at, w in zip(early, where, strict=True)]
            told = []
            wanted = list(zip(where, places, strict=True))
            for number in receive(store, found, wanted, in_flight=16, coming=coming):
                told.append(number)
                assert places[number].tobytes() == noise[slice(*where[number])]
        assert sorted(told) == list(range(len(where)))
        if not sockets:
            asked = sorted(r for batch in store.batches for r in batch)
            assert not alike or len(store.batches) == 1
            assert not alike or all(a.stop <= b.start for a, b in itertools.pairwise(asked))
