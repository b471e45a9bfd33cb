"""All headers of a full frame come in one round trip, for its name and size tell where they lie to within some cards."""

from __future__ import annotations

import pytest
from sparse_files import Sparse, lengthened

from hst_cloud.fits.frames import expected, full_frame
from hst_cloud.fits.predict import siblings
from hst_cloud.testing.demo import imaging

CASES = {
    "jbqf03gjq_flc.fits": (imaging.acs_wfc_flc, (2048, 4096)),
    "jczgx1ppq_flt.fits": (imaging.acs_wfc_flt, (2048, 4096)),
    "icb701osq_flc.fits": (imaging.wfc3_uvis_flc, (2051, 4096)),
    "iczgs3ygq_flt.fits": (imaging.wfc3_ir_flt, (1014, 1014)),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """Return a key, and the content and shape of its file."""
    build, shape = CASES[request.param]
    return f"hst/public/x/y/{request.param}", build.to_bytes(scale=64), shape


@pytest.mark.parametrize(("more", "trips"), [(0, 1), (30, 1), (300, 3)])
def test_all_headers_come_in_one_round_trip(case, more, trips):
    """At most 8 GETs and 0.3 MB beside the tail; headers that are longer by many cards take three, as without a guess."""
    key, content, shape = case
    file = Sparse(lengthened(content, more), shape)
    guess = full_frame(key, file.size)
    assert [hdu.name for hdu in guess.hdus[:4]] == ["PRIMARY", "SCI", "ERR", "DQ"]
    assert {hdu.shape for hdu in guess.hdus[1:-1]} == {shape}
    _, batches = file.scan(key, size=file.size, sibling=guess)
    assert len(batches) <= trips
    if more == 0:
        assert len(batches[0]) <= 8
        assert file.bytes <= 300_000 + file.size - max(hdu.stop for hdu in file.hdus if hdu.shape == shape)


def test_a_file_that_is_no_full_frame_is_read_all_the_same(case):
    """Of a subarray whose size a product list has wrong, every HDU is found, in no more than three round trips."""
    key, content, shape = case
    full, part = Sparse(content, shape), Sparse(content, (512, 1024))
    _, batches = part.scan(key, size=full.size, sibling=full_frame(key, full.size))
    assert len(batches) <= 3


def test_what_is_no_full_frame_has_none(case):
    """Neither another size, nor one that nobody told, nor another kind or instrument."""
    key, content, shape = case
    size = Sparse(content, shape).size
    for other in (None, 0, 1_000_000, size // 2, size + 4_000_000):
        assert full_frame(key, other) is None
    for name in ("jbqf03gjq_raw.fits", "oblh01040_flt.fits", "jbqf03gjq_flc.fits.gz"):
        assert full_frame(f"hst/public/x/y/{name}", size) is None


def test_a_file_that_was_seen_goes_before_the_frame(case):
    """Its headers are those of a real one."""
    key, content, shape = case
    siblings.cache_clear()
    file = Sparse(content, shape)
    assert expected(key, file.size, place="here") == full_frame(key, file.size)
    seen = file.scan(key)[0].layout
    siblings().note(seen, place="here")
    assert expected(key, file.size, place="here") == seen
    assert expected(key, file.size, place="there") == full_frame(key, file.size)
    siblings.cache_clear()
