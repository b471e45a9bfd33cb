"""The headers of real structures at their true size come in the round trips and bytes that are promised."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_files import Sparse, edited, lengthened
from support import padded

from hst_cloud.errors import StoreUnavailableError
from hst_cloud.fits.layout import scan
from hst_cloud.fits.predict import FIRST, SMALL, Siblings, without
from hst_cloud.fits.structure import BLOCK, HDUExtent, Layout, extent, header_stop
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import drive
from hst_cloud.store.ranges import coalesce
from hst_cloud.testing.demo import cos, imaging, mosaics, stis, support
from hst_cloud.values import ByteRange


def requests(batches):
    return sum(len(batch) for batch in batches)


CASES = {
    "flc": (imaging.acs_wfc_flc, {"shape": (2048, 4096)}, "jbqf03gjq_flc.fits"),  # A1
    "flt": (imaging.acs_wfc_flt, {"shape": (2048, 4096)}, "jczgx1ppq_flt.fits"),  # A2
    "drz": (mosaics.acs_wfc_drz, {"shape": (4240, 4313)}, "jbeveo010_drz.fits"),  # A4
    "uvis flc": (imaging.wfc3_uvis_flc, {"shape": (2051, 4096)}, "icb701osq_flc.fits"),  # A5
    "uvis drc": (mosaics.wfc3_uvis_drc, {"shape": (2058, 2176)}, "ifry01e10_drc.fits"),  # A6
    "ir flt": (imaging.wfc3_ir_flt, {"shape": (1014, 1014)}, "iczgs3ygq_flt.fits"),  # A7
    "ir ima": (imaging.wfc3_ir_ima, {"shape": (1024, 1024)}, "ibxy07p9q_ima.fits"),
    "ir ima subarray": (imaging.wfc3_ir_ima, {"shape": (266, 266)}, "ibxy07p9q_ima.fits"),
    "ir raw": (imaging.wfc3_ir_raw, {"shape": (1024, 1024)}, "ibxy07p9q_raw.fits"),
    "acs raw": (imaging.acs_wfc_raw, {"shape": (2068, 4144)}, "jbqf03gjq_raw.fits"),
    "uvis raw": (imaging.wfc3_uvis_raw, {"shape": (2070, 4206)}, "icb701osq_raw.fits"),
    "stis flt": (stis.stis_ccd_flt, {"shape": (1024, 1024)}, "oblh01040_flt.fits"),
    "stis raw": (stis.stis_ccd_raw, {"shape": (1024, 1024)}, "oblh01040_raw.fits"),
    "stis x1d": (stis.stis_ccd_x1d, {}, "odj102010_x1d.fits"),  # A10
    "stis echelle x1d": (stis.stis_echelle_x1d, {"rows": 40}, "oblh01040_x1d.fits"),
    "cos x1d": (cos.cos_x1d, {"rows": 2}, "ld9m10ujq_x1d.fits"),
    "corrtag": (cos.cos_corrtag_a, {"rows": 400_000}, "ld9m10ujq_corrtag_a.fits"),
    "jit": (support.jit, {"rows": 800}, "jbqf03010_jit.fits"),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """Return a content, the file of true size, and its key."""
    build, size, name = CASES[request.param]
    content = build.to_bytes(scale=64)
    return content, size, f"hst/public/{name[:4]}/{name[:9]}/{name}"


@pytest.fixture(scope="module")
def flc():
    """Return the content of A1, and its key."""
    return imaging.acs_wfc_flc.to_bytes(scale=64), "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"


FULL = (2048, 4096)


def test_without_knowledge_two_round_trips(case):
    """The first block, and then all that the grammar says: every HDU is found, no byte is read twice."""
    content, size, key = case
    _, batches = Sparse(content, **size).scan(key)
    assert len(batches) <= 2


@pytest.mark.parametrize(("more", "trips"), [(0, 1), (5, 1), (100, 3)])
def test_with_a_sibling_one_round_trip(case, more, trips):
    """A file of another program, whose headers are longer by a block or so, is known from one of the same shape."""
    content, size, key = case
    seen = Siblings()
    seen.note(Sparse(content, **size).scan(key)[0].layout)
    other = key.replace(key.rpartition("/")[2][:9], key.rpartition("/")[2][0] + "zzz99xyq")
    file = Sparse(lengthened(content, more), **size)
    for known in ({}, {"size": file.size}):
        sibling = seen.find(other, **known)
        assert sibling is not None
        _, batches = file.scan(other, sibling=sibling, **known)
        assert len(batches) <= trips


def test_the_headers_of_an_flc_cost_what_is_promised(flc):
    """The primary header: 1 GET and at most 66 kB. All 20: at most 8 GETs and 0.8 MB, the tail as one range."""
    content, key = flc
    file = Sparse(content, FULL)
    assert file.size > 168e6
    found, batches = file.scan(key)
    assert batches[0] == [ByteRange(0, FIRST)]
    assert found.layout.hdus[0].header.stop <= FIRST <= 66_000
    assert requests(batches) == 7
    assert file.bytes <= 800_000
    tail = batches[1][-1]
    assert tail.start <= found.layout.hdus[7].header.start
    assert tail.stop == file.size
    _, batches = file.scan(key, size=file.size, sibling=found.layout)
    assert requests(batches) == 7
    assert file.bytes <= 800_000


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 13))
def test_a_tail_may_have_any_order_and_number(flc, random, count):
    """HDRLET, D2IMARR, WCSDVARR and WCSCORR are one range, however they lie."""
    content, key = flc
    small = Sparse(content)
    tail = [data for _, data in small.parts[7:]]
    random.shuffle(tail)
    file = Sparse(b"".join([data for _, data in small.parts[:7]] + tail[:count]), FULL)
    _, batches = file.scan(key)
    assert len(batches) == 2
    assert requests(batches) <= 7


def test_a_primary_that_exceeds_the_block_costs_a_third_round_trip(flc):
    """Of 800 cards more, the rest is read first."""
    content, key = flc
    with fits.open(io.BytesIO(content)) as hdul:
        start = hdul[1].fileinfo()["hdrLoc"]
    primary = lengthened(content[:start], 800)
    assert len(primary) > FIRST
    _, batches = Sparse(primary + content[start:], FULL).scan(key)
    assert len(batches) == 3
    assert len(batches[1]) == 1


@pytest.mark.parametrize("bytes_more", [0, 1])
def test_a_file_of_a_megabyte_comes_whole_in_one(bytes_more):
    """If its size is known, nothing else is asked for; 1 MiB and a byte is no small file."""
    header = padded(10).tostring().encode()
    assert len(header) == BLOCK
    size = SMALL + bytes_more
    content = fits.PrimaryHDU(np.zeros(size - BLOCK, "u1")).header.tostring().encode()
    file = Sparse(content)
    file.size = size
    file.hdus = [extent(content, 0)]
    _, batches = file.scan("a_flc.fits", size=size)
    assert batches == [[ByteRange(0, size if bytes_more == 0 else FIRST)]]


@pytest.mark.parametrize("said", [1, 2880, 500_000, 2_000_000, 10**10])
def test_a_size_that_is_not_true_does_no_harm(flc, said):
    """What a product list says is where to begin, and no more than that."""
    content, key = flc
    assert len(Sparse(content, FULL).scan(key, size=said)[1]) <= 4
    assert len(Sparse(content).scan(key, size=said)[1]) <= 3


@pytest.mark.parametrize(
    "constant",
    [
        {("TIME", 4)},
        {("ERR", 4), ("DQ", 4)},
        {("DQ", 1), ("ERR", 2), ("DQ", 3)},
        {("ERR", i) for i in range(1, 5)},
        {(name, i) for name in ("ERR", "DQ") for i in range(1, 5)},
    ],
)
def test_constant_arrays_in_any_place(constant):
    """Wherever an image has no data, all HDUs are found; if all of a name have none, in two round trips."""
    file = Sparse(imaging.wfc3_ir_ima.to_bytes(scale=64), (1024, 1024), constant=constant)
    _, batches = file.scan("hst/public/ibxy/ibxy07p9q/ibxy07p9q_ima.fits")
    assert len(batches) <= (2 if len(constant) in {4, 8} else len(constant) * 3 + 2)


def test_a_wrong_sibling_costs_no_more_than_a_round_trip(flc):
    """A subarray after a full frame, and the other way round, are read in two or three."""
    content, key = flc
    full, part = Sparse(content, FULL), Sparse(content, (512, 1024))
    for file, sibling in ((full, part), (part, full)):
        _, batches = file.scan(key, sibling=sibling.scan(key)[0].layout)
        assert len(batches) <= 3


def test_a_store_that_cannot_read_behind_the_end_is_asked_again(flc):
    """A sibling that is larger leads behind the end; a store that refuses that is asked for the first block."""
    content, key = flc
    small, large = Sparse(content, (512, 1024)), Sparse(content, FULL)
    plan = scan(key, sibling=large.scan(key)[0].layout)
    assert max(r.start for r in next(plan)) > small.size
    assert plan.throw(StoreUnavailableError("416")) == [ByteRange(0, FIRST)]
    plan = scan(key)
    next(plan)
    with pytest.raises(StoreUnavailableError):
        plan.throw(StoreUnavailableError("503"))


SIZES = st.sampled_from([0, 1, 2880, 8192, 100_000, 300_000, 2_000_000, 30_000_000])
NAMES = st.sampled_from(["SCI", "ERR", "DQ", "SAMP", "TIME", "WHT", "CTX", "HDRTAB", "HDRLET", "WCSCORR", "EVENTS", ""])
STRUCTURES = st.lists(st.tuples(NAMES, SIZES, st.sampled_from([0, 20, 40, 60, 200])), max_size=12)


def made(hdus, nextend, detector):
    """Return a file of images of so many bytes and so many cards more."""
    header = padded(hdus[0][2] if hdus else 3)
    header["NEXTEND"], header["INSTRUME"], header["DETECTOR"] = nextend, "WFC3", detector
    parts = [fits.PrimaryHDU(header=header).header.tostring().encode()]
    for name, size, cards in hdus:
        hdu = fits.ImageHDU(np.zeros(1, "u1") if size else None, padded(cards), name=name)
        parts.append(edited(hdu.header.tostring().encode(), NAXIS1=size) + bytes(BLOCK if size else 0))
    file = Sparse(b"")
    at = 0
    for part in parts:
        file.parts.append((at, part))
        file.hdus.append(extent(part[: header_stop(part)], at))
        at = file.hdus[-1].stop
    file.size = at
    return file


@settings(max_examples=50, deadline=None)
@given(
    STRUCTURES,
    STRUCTURES | st.none(),
    st.integers(-1, 30) | st.just(10**18),
    st.tuples(st.sampled_from(["IR", "UVIS"]), st.sampled_from(["flc", "raw", "drz", "ima", "x1d", "rawtag_a"])),
    st.none() | st.integers(0, 10**8),
)
def test_any_structure_is_found_whatever_was_guessed(hdus, sibling, nextend, kind, said):
    """Against the grammar, with a sibling of another shape and a size that lies: a position is proven or not known."""
    key = f"hst/public/ibxy/ibxy07p9q/ibxy07p9q_{kind[1]}.fits"
    file = made(hdus, nextend, kind[0])
    like = None if sibling is None else made(sibling, 0, "IR").scan(key)[0].layout
    _, batches = file.scan(key, sibling=like, size=said)
    assert len(batches) <= len(file.hdus) + 2


@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 9)), max_size=8),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 9)), max_size=8),
)
def test_what_is_left_is_what_was_not_read(wanted, read):
    """Every wanted byte is either read or left, none is both."""
    asked = coalesce((ByteRange(a, a + n) for a, n in wanted), gap=0)
    known = [ByteRange(a, a + n) for a, n in read]
    left = without(asked, known)
    bytes_of = [{i for r in ranges for i in range(*r)} for ranges in (asked, known, left)]
    assert bytes_of[2] == bytes_of[0] - bytes_of[1]
    assert sum(r.size for r in left) == len(bytes_of[2])
    assert all(r.size for r in left)


def layout(name, size=BLOCK, *, data=0):
    header = HDUExtent(name="PRIMARY", ver=1, header=ByteRange(0, BLOCK), data=ByteRange(BLOCK, BLOCK + data))
    return Layout(key=f"hst/public/x/y/{name}", size=max(size, header.stop), etag="etag", hdus=(header,))


def test_siblings_are_found_by_name_place_and_size():
    """The same visit first, then the same program, then any of the instrument's kind; never another kind or place."""
    seen = Siblings()
    for name in ("jbqf03gjq_flc.fits", "jbqf04gjq_flc.fits", "jzzz01aaq_flc.fits"):
        seen.note(layout(name, data=len(seen) * BLOCK))
    assert seen.find("a/jbqf03zzq_flc.fits").key.endswith("jbqf03gjq_flc.fits")
    assert seen.find("a/jbqf99zzq_flc.fits").key.endswith("jbqf04gjq_flc.fits")
    assert seen.find("a/jyyy99zzq_flc.fits").key.endswith("jzzz01aaq_flc.fits")
    assert seen.find("a/jbqf03zzq_flt.fits") is None
    assert seen.find("a/ibqf03zzq_flc.fits") is None
    assert seen.find("a/jbqf03zzq_flc.fits.gz") is None
    assert seen.find("a/jbqf03zzq_flc.fits", place="elsewhere") is None
    assert seen.find("a/jbqf03zzq_flc.fits", size=10**8) is None
    assert seen.find("a/lbqf03zzq_corrtag_a.fits") is None
    seen.note(layout("lbqf03gjq_flt_a.fits"))
    assert seen.find("a/lbqf03zzq_corrtag_a.fits") is None


def test_siblings_are_few_and_whole():
    """One for each shape, no more than were allowed, and none of a file that is cut off."""
    seen = Siblings(most=3)
    for _ in range(2):
        for count in range(5):
            seen.note(layout("jbqf03gjq_flc.fits", data=count * BLOCK))
    assert len(seen) == 3
    seen.note(layout("jbqf03gjq_flc.fits", data=4 * BLOCK))
    assert len(seen) == 3
    fresh = Siblings()
    cut = layout("jbqf03gjq_flc.fits", data=BLOCK)
    fresh.note(dataclasses.replace(cut, size=cut.size - 1))
    fresh.note(dataclasses.replace(cut, size=cut.size + 1))
    fresh.note(dataclasses.replace(cut, hdus=()))
    assert len(fresh) == 0


def test_a_store_that_gives_too_little_ends_the_walk(flc):
    """What is proven is returned; nothing is asked for again and again."""
    content, key = flc
    file = Sparse(content, FULL)
    batches = []

    def carry(ranges):
        batches.append(ranges)
        assert len(batches) < 10
        return [Piece(file.read(*r)[:BLOCK], file.size, "etag") for r in ranges]

    found = drive(scan(key), carry)
    assert found.layout.hdus == ()
