"""Ranges are joined, split and found again without losing or doubling a byte."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import RecordingStore

from hst_cloud.errors import QueryError
from hst_cloud.store.link import FAR_AWAY, IN_REGION, Link, as_link
from hst_cloud.store.objects import HTTPStore
from hst_cloud.store.ranges import PART, arrange, coalesce, fetch, fill, split
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

RANGES = st.lists(st.builds(lambda a, n: ByteRange(a, a + n), st.integers(0, 5000), st.integers(0, 300)), max_size=30)


@given(RANGES, st.integers(0, 500))
def test_coalesced_ranges_cover_all_and_stay_apart(ranges, gap):
    """Every wanted byte is covered once, and no two results could have been joined."""
    merged = coalesce(ranges, gap=gap)
    for wanted in ranges:
        if wanted.size:
            assert sum(r.start <= wanted.start and wanted.stop <= r.stop for r in merged) == 1
    assert all(b.start - a.stop > gap for a, b in pairwise(merged))
    assert all(any(r.start == m.start for r in ranges) and any(r.stop == m.stop for r in ranges) for m in merged)


@given(st.integers(0, 10**10), st.integers(1, 10**9), st.integers(1000, 10**8))
def test_split_parts_follow_one_another(start, size, part):
    """The parts make up the range, are never empty, and none is longer than allowed."""
    parts = split(ByteRange(start, start + size), part=max(part, size // 1000))
    assert parts[0].start == start
    assert parts[-1].stop == start + size
    assert all(a.stop == b.start for a, b in pairwise(parts))
    assert all(0 < p.size <= max(part, size // 1000) for p in parts)


@given(RANGES, RANGES)
def test_segments_give_back_what_was_put_in(first, second):
    """Overlapping, touching and separate segments all answer with the object's own bytes, or not at all."""
    content = bytes(i * 7 % 251 for i in range(6000))
    cut = [[(r.start, content[r.start : r.stop]) for r in ranges] for ranges in (first, second)]
    held = Segments(cut[0]) + Segments(cut[1])
    covered = {i for r in first + second for i in range(r.start, min(r.stop, len(content)))}
    assert held.size == len(covered)
    for wanted in first + second:
        if wanted.size:
            assert held.find(*wanted) == content[wanted.start : wanted.stop]
    for at in (0, 17, 2999, 5999):
        run = bytes(held.run(at))
        assert run == content[at : at + len(run)]
        assert at + len(run) not in covered or not run
        assert (held.find(at, at + 1) is None) == (at not in covered)
        assert held.reach(at) == at + len(run)


LINKS = st.builds(
    lambda latency, bandwidth, times: Link(latency=latency, bandwidth=bandwidth, aggregate=bandwidth * times),
    st.floats(0, 0.5),
    st.floats(1e5, 1e9),
    st.floats(1, 40),
)
FAR_RANGES = st.lists(
    st.builds(lambda a, n: ByteRange(a, a + n), st.integers(0, 60_000_000), st.integers(0, 20_000_000)), max_size=12
) | st.builds(  # rows of an image
    lambda start, gap, size, count: [
        ByteRange(start + n * (gap + size), start + n * (gap + size) + size) for n in range(count)
    ],
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.integers(1, 10**5),
    st.integers(1, 200),
)


@given(FAR_RANGES, LINKS, st.integers(1, 200), st.integers(1, 1000), st.tuples(st.integers(0, 10**9), st.booleans()))
def test_arranged_requests_keep_every_promise(ranges, link, in_flight, files, more):
    """Every wanted byte once, disjoint, none too long, within memory, and no dearer than either trivial plan."""
    memory, few = more
    requests = arrange(ranges, link=link, in_flight=in_flight, files=files, memory=memory, few=few)
    assert requests == sorted(requests)
    assert all(a.stop <= b.start for a, b in pairwise(requests))
    assert all(0 < r.size <= PART for r in requests)
    runs = coalesce(requests, gap=0)
    wanted = coalesce(ranges, gap=0)
    assert all(any(run.start <= w.start and w.stop <= run.stop for run in runs) for w in wanted)
    assert {run.start for run in runs} <= {w.start for w in wanted}  # no run begins or ends in a gap
    assert {run.stop for run in runs} <= {w.stop for w in wanted}
    exact = sum(w.size for w in wanted)
    assert sum(r.size for r in requests) <= max(memory, exact)

    def cost(asks):
        return link.seconds(asks, in_flight=in_flight, files=min(files, in_flight))

    for trivial in [wanted, coalesce(ranges, gap=10**12)]:
        if few:  # nothing is split that need not be
            assert len(requests) == sum(-(-run.size // PART) for run in runs)
        if trivial == wanted or sum(t.size for t in trivial) <= memory:
            assert cost(requests) <= cost([part for t in trivial for part in split(t)])


def rows(count, width, gap):
    return [ByteRange(n * (width + gap), n * (width + gap) + width) for n in range(count)]


def test_what_a_section_becomes():
    """A 100 x 100 box of a 4096-wide float image: a few pieces of one span for one file, one of it for many."""
    box = rows(100, 400, 16384 - 400)
    one = arrange(box, link=IN_REGION)
    assert 1 < len(one) <= 5
    assert len(coalesce(one, gap=0)) == 1
    assert len(arrange(box, link=IN_REGION, files=100)) == 1
    assert len(coalesce(arrange(box, link=FAR_AWAY), gap=0)) == 1
    mosaic = rows(100, 400, 160_000)  # 16 MB: worth its bytes only where they are cheap
    assert len(coalesce(arrange(mosaic, link=IN_REGION), gap=0)) == 1
    assert len(arrange(mosaic, link=FAR_AWAY)) == 100
    assert arrange(mosaic, link=IN_REGION, memory=10**6) == mosaic
    small = rows(50, 400, 100)  # a tiny file's section is one request everywhere
    assert len(arrange(small, link=IN_REGION)) == len(arrange(small, link=FAR_AWAY)) == 1


def test_a_long_read_is_split_until_the_link_is_full():
    """33 MB take as many connections as fill the link; 168 MB as many requests as 8 MiB allow."""
    assert len(arrange([ByteRange(0, 33_554_432)], link=IN_REGION)) == 12
    assert len(arrange([ByteRange(0, 168_000_000)], link=IN_REGION)) == 21
    assert len(arrange([ByteRange(0, 65536)], link=IN_REGION)) == 1
    assert len(arrange([ByteRange(0, 8 * 1024**2)], link=IN_REGION, files=64)) == 1


def test_the_fewest_requests_are_not_split():
    """Where fewest are wanted, no range of at most 8 MiB is split; whether gaps are read, the link decides."""
    box = rows(100, 400, 16384 - 400)
    assert arrange(box, link=IN_REGION, few=True) == [ByteRange(0, box[-1].stop)]
    assert len(arrange([ByteRange(0, 33_554_432)], link=IN_REGION, few=True)) == 4
    assert arrange([ByteRange(0, PART)], link=IN_REGION, few=True) == [ByteRange(0, PART)]
    fifty = rows(50, 400, 16384 - 400)
    assert arrange(fifty, link=FAR_AWAY, few=True) == fifty


def test_the_link_is_an_argument_or_a_setting(monkeypatch):
    """The region is the default; a name that means nothing is an error, and so is a link that carries nothing."""
    monkeypatch.delenv("HST_CLOUD_LINK", raising=False)
    assert as_link() == IN_REGION
    monkeypatch.setenv("HST_CLOUD_LINK", "far")
    assert as_link() == FAR_AWAY
    assert as_link(IN_REGION) == IN_REGION
    monkeypatch.setenv("HST_CLOUD_LINK", "moon")
    with pytest.raises(QueryError, match="HST_CLOUD_LINK is 'moon': expected 'region'"):
        as_link()
    with pytest.raises(ValueError, match="bandwidth=0"):
        Link(latency=0, bandwidth=0, aggregate=1)


@pytest.fixture(params=["folder", "served"])
def made(request, tmp_path, scripted):
    """Return a function that makes a store of one object, and says how many bytes it has given."""
    servers = []

    def make(content):
        if request.param == "folder":
            (tmp_path / "object").write_bytes(content)
            return RecordingStore(tmp_path)

        def behave(connection, request):
            inside = request.range[0] < len(content)
            refuse = scripted.reply(416, {"Content-Range": f"bytes */{len(content)}"})
            return (scripted.serve(content) if inside else refuse)(connection, request)

        server = scripted.Server(behave).__enter__()
        servers.append(server)
        return HTTPStore(server.root)

    yield make
    for server in servers:
        server.__exit__()


CONTENT = bytes(i * 7 % 251 for i in range(3 * 1024**2))


@pytest.mark.parametrize(
    "wanted",
    [
        [ByteRange(0, 3 * 1024**2)],
        [ByteRange(5, 5)],
        [ByteRange(100, 2_000_000), ByteRange(10, 70_000), ByteRange(2_999_000, 2_999_001)],
        [ByteRange(1_000_000, 9_000_000)],
        [ByteRange(50, 60), ByteRange(61, 90)],
        [],
    ],
)
def test_fetch_gives_the_object_s_own_bytes(made, wanted):
    """Whatever is wanted and held: equal bytes, none twice, and what is behind the end is not there."""
    store = made(CONTENT)
    held = Segments([(0, CONTENT[:65_536]), (1_500_000, CONTENT[1_500_000:1_500_010])])
    for known in (None, held):
        before = store.traffic.bytes
        found = fetch(store, "object", wanted, etag=None, held=known)
        for r in wanted:
            end = min(r.stop, len(CONTENT))
            if r.size:
                assert found.find(r.start, end) == CONTENT[r.start : end]
                assert len(found.run(r.start)) >= end - r.start
                assert found.find(r.start, end + 1) is None or end < len(CONTENT)
        fresh = store.traffic.bytes - before
        assert fresh <= max(0, found.size - (65_536 if known and found.find(0, 65_536) else 0))


def test_fill_receives_where_it_is_told(made):
    """Parts of a long range arrive in one buffer; the end of the object is told by what came."""
    store = made(CONTENT)
    buffers = [bytearray(2_000_000), bytearray(0), bytearray(2_000_000)]
    ranges = [ByteRange(10, 2_000_010), ByteRange(7, 7), ByteRange(2_000_000, 4_000_000)]
    wanted = [(r, memoryview(b)) for r, b in zip(ranges, buffers, strict=True)]
    came = dict(fill(store, "object", wanted, etag=None))
    sizes = {position: len(piece.data) for position, piece in came.items()}
    assert sizes == {0: 2_000_000, 1: 0, 2: len(CONTENT) - 2_000_000}
    assert came[0].data == buffers[0]
    assert {(came[n].size, came[n].etag) for n in (0, 2)} == {(len(CONTENT), came[0].etag)}
    assert buffers[0] == CONTENT[10:2_000_010]
    assert buffers[2][: len(CONTENT) - 2_000_000] == CONTENT[2_000_000:]
    assert list(fill(store, "object", [], etag=None)) == []


def test_a_long_run_is_one_buffer(scripted):
    """Twelve answers are received into one piece of memory, which nothing copies and nobody can write to."""
    with scripted.Server(scripted.serve(CONTENT)) as server:
        found = fetch(HTTPStore(server.root), "k", [ByteRange(0, len(CONTENT))], etag=None, link=IN_REGION)
    assert len(server.requests) > 1
    view = found.find(0, len(CONTENT))
    assert view == CONTENT
    assert view.readonly
    assert isinstance(view.obj, np.ndarray)


def test_fetch_asks_for_the_fewest(tmp_path):
    """A box is one request where few are wanted, and several where the link is to be filled."""
    (tmp_path / "object").write_bytes(bytes(2 * 1024**2))
    store = RecordingStore(tmp_path)
    box = rows(100, 400, 16384 - 400)
    for few, count in ((True, 1), (False, 4)):
        store.batches.clear()
        held = fetch(store, "object", box, etag=None, link=IN_REGION, few=few)
        assert [len(batch) for batch in store.batches] == [count]
        assert all(held.find(*row) is not None for row in box)


def test_fetch_joins_near_ranges_and_splits_long_ones(tmp_path):
    """Two near ranges are one request, a far one another, and 20 MiB fill the link: all in one batch."""
    (tmp_path / "object").write_bytes(bytes(30 * 1024**2))
    store = RecordingStore(tmp_path)
    far = 25 * 1024**2
    held = fetch(store, "object", [ByteRange(0, 10), ByteRange(100, 200), ByteRange(far, far + 10)], etag=None)
    assert store.batches == [[ByteRange(0, 200), ByteRange(far, far + 10)]]
    assert held.find(0, 200) is not None
    store.batches.clear()
    fetch(store, "object", [ByteRange(0, 20 * 1024**2)], etag=None, link=FAR_AWAY)
    assert [len(batch) for batch in store.batches] == [4]
    assert all(r.size <= PART for r in store.batches[0])
    store.batches.clear()
    assert fetch(store, "object", [ByteRange(5, 5)], etag=None).size == 0
    assert store.batches == []
