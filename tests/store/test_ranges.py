"""Ranges are joined, split and found again without losing or doubling a byte."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from support import RecordingStore

from hst_cloud.store.ranges import PART, Segments, coalesce, fetch, split
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


def test_fetch_joins_near_ranges_and_splits_long_ones(tmp_path):
    """Two near ranges are one request, a far one another, and 20 MiB are three: all in one batch."""
    (tmp_path / "object").write_bytes(bytes(30 * 1024**2))
    store = RecordingStore(tmp_path)
    far = 25 * 1024**2
    held = fetch(store, "object", [ByteRange(0, 10), ByteRange(100, 200), ByteRange(far, far + 10)], etag=None)
    assert store.batches == [[ByteRange(0, 200), ByteRange(far, far + 10)]]
    assert held.find(0, 200) is not None
    store.batches.clear()
    fetch(store, "object", [ByteRange(0, 20 * 1024**2)], etag=None)
    assert [len(batch) for batch in store.batches] == [3]
    assert all(r.size <= PART for r in store.batches[0])
    store.batches.clear()
    assert fetch(store, "object", [ByteRange(5, 5)], etag=None).size == 0
    assert store.batches == []
