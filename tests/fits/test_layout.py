"""The walk finds every HDU where astropy finds it, reads little, and survives any bytes."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from support import hdulists, padded

from hst_cloud.errors import FormatError
from hst_cloud.fits.layout import BLOCK, FIRST, FIRST_DRIZZLED, LONGEST_HEADER, SMALL, completed, header_stop, scan
from hst_cloud.store.link import FAR_AWAY, IN_REGION
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import drive
from hst_cloud.store.ranges import PART, Segments
from hst_cloud.values import ByteRange


def walk(content, key="hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits", **known):
    """Scan bytes in memory; return the scan and the batches that it asked for."""
    return driven(scan(key, **known), content)


def driven(plan, content):
    """Drive a plan with bytes in memory; return its result and the batches that it asked for."""
    batches = []

    def carry(ranges):
        batches.append(list(ranges))
        return [Piece(content[r.start : r.stop], len(content), "etag") for r in ranges]

    return drive(plan, carry), batches


def written(hdus):
    """Return the bytes of an HDUList."""
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


@settings(max_examples=60, deadline=None)
@given(hdulists())
def test_every_hdu_is_found_where_astropy_finds_it(hdus):
    """Names, versions, headers and data lie where astropy's own reader says."""
    content = written(hdus)
    found, batches = walk(content)
    with fits.open(io.BytesIO(content), disable_image_compression=True) as local:
        assert len(found.layout.hdus) == len(local)
        for extent, hdu in zip(found.layout.hdus, local, strict=True):
            where = hdu.fileinfo()
            assert extent.header == (where["hdrLoc"], where["datLoc"])
            assert extent.data.start == where["datLoc"]
            assert -(-extent.data.size // BLOCK) * BLOCK == where["datSpan"]
            assert extent.name in {hdu.name, hdu.header.get("EXTNAME", "").strip()}
            assert extent.ver == hdu.ver
            assert found.segments.find(*extent.header) is not None
    assert found.layout.size == len(content)
    assert found.layout.etag == "etag"
    assert found.layout.missing == 0
    assert sum(len(batch) for batch in batches) <= len(local)


def test_random_groups_have_their_own_size(tmp_path):
    """NAXIS1 = 0 and GROUPS = T count parameters and groups: FITS Standard 4.0, sec. 6.1."""
    data = fits.GroupData(np.zeros((5, 1, 3, 4), "f4"), parnames=["a", "b"], pardata=[np.arange(5)] * 2, bitpix=-32)
    path = tmp_path / "groups.fits"  # astropy writes groups to real files alone
    fits.HDUList([fits.GroupsHDU(data), fits.ImageHDU(np.ones(7))]).writeto(path)
    content = path.read_bytes()
    found, _ = walk(content)
    with fits.open(io.BytesIO(content)) as local:
        assert [h.data.start for h in found.layout.hdus] == [h.fileinfo()["datLoc"] for h in local]


def test_large_data_are_jumped_over():
    """Between two headers lie 8 MB that are not read; the short rest of the file comes in one range."""
    big = np.zeros((1024, 1024), "f8")
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(big), fits.ImageHDU(big), *[fits.ImageHDU(np.ones(9)) for _ in range(5)]]
    content = written(hdus)
    found, batches = walk(content)
    assert len(found.layout.hdus) == 8
    third = found.layout.hdus[2].header.start
    assert batches[:2] == [[ByteRange(0, FIRST)], [ByteRange(third, third + FIRST)]]
    assert batches[2:] == [[ByteRange(found.layout.hdus[3].header.start, len(content))]]
    assert len(content) - found.layout.hdus[3].header.start < SMALL


def test_a_drizzled_file_gets_a_larger_first_block():
    """The primary headers of drz and drc run past 64 KiB, so that 857 cards still come in one range."""
    content = written([fits.PrimaryHDU(header=padded(857))])
    _, batches = walk(content, key="hst/public/jbev/jbeveo010/jbeveo010_drz.fits")
    assert batches == [[ByteRange(0, FIRST_DRIZZLED)]]
    _, batches = walk(content)
    assert len(batches) == 2


def test_a_truncated_file_says_how_much_is_missing():
    """The headers promise more than the object has; the fill of the last block is nobody's loss."""
    content = written([fits.PrimaryHDU(np.zeros(1000, "u1"))])
    assert walk(content[: BLOCK + 1000])[0].layout.missing == 0
    assert walk(content[: BLOCK + 999])[0].layout.missing == 1


@pytest.mark.parametrize("content", [b"", b"SIMPLE", b"<html>" * 1000, b"SIMPLE  =" + b" " * 10**6, bytes(10**5)])
def test_what_is_no_fits_file_ends_the_walk(content):
    """No HDU, no error, and at most two reads: judging is astropy's business."""
    found, batches = walk(content)
    assert found.layout.hdus == ()
    assert len(batches) <= 2


def test_a_header_without_end_is_given_up():
    """A hostile object of endless cards costs a bounded number of bytes, asked for in steps that grow."""
    content = b"SIMPLE  =                    T".ljust(80) + b"A".ljust(80) * (2 * LONGEST_HEADER // 80)
    asked = []
    with pytest.raises(FormatError, match=rf"x has a header at byte 0 without END in its {LONGEST_HEADER} bytes"):
        drive(
            scan("x"),
            lambda batch: [asked.append(r) or Piece(content[r.start : r.stop], len(content), "1") for r in batch],
        )
    assert sum(r.size for r in asked) <= LONGEST_HEADER
    assert len(asked) <= 10


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_hostile_headers_end_the_walk(data):
    """Whatever sizes a header states, the walk ends, and never reads beyond the object."""
    content = bytearray(written([fits.PrimaryHDU(np.zeros((20, 20))), fits.ImageHDU(np.zeros(5)), fits.ImageHDU()]))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        junk = data.draw(st.binary(min_size=1, max_size=30))
        content[at : at + len(junk)] = junk
    try:
        found, batches = walk(bytes(content))
    except FormatError:
        return
    starts = [h.header.start for h in found.layout.hdus]
    assert starts == sorted(set(starts))
    assert all(r.start < max(1, len(content)) for batch in batches for r in batch)


@given(st.integers(0, 200))
def test_the_end_of_a_header_is_on_a_card(cards):
    """END within a comment or a string is not the end."""
    header = padded(cards)
    header["COMMENT"] = "END" + " " * 60
    text = header.tostring().encode()
    assert header_stop(text) == len(text)
    assert header_stop(text[:-BLOCK]) is None


# --- No farther than is wanted ---------------------------------------------------------------------------------------


def three_images():
    """Return a file of three images of 4 MB, each with a header in its first block."""
    big = np.arange(1024 * 1024, dtype="f4").reshape(1024, 1024)
    return written([fits.PrimaryHDU(), *[fits.ImageHDU(big, name="SCI", ver=n) for n in (1, 2, 3)], fits.ImageHDU()])


@pytest.mark.parametrize("enough", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("known", [False, True])
def test_a_walk_ends_where_it_is_told(enough, known):
    """Its layout has the HDUs as far as were wanted; with a sibling, all of them come in one batch."""
    content = three_images()
    full, batches = walk(content)
    sibling = full.layout if known else None
    found, less = walk(content, until=lambda hdus: len(hdus) >= enough, sibling=sibling)
    assert found.layout.hdus == full.layout.hdus[:enough]
    assert found.layout.size == len(content)
    assert len(less) <= len(batches)
    if known:
        assert len(less) == 1
        assert sum(r.size for r in less[0]) <= FIRST + enough * 10 * BLOCK
    if enough == 2:
        assert less == [[ByteRange(0, FIRST)]]


def test_a_walk_for_what_is_not_there_is_a_whole_walk():
    """Nothing is enough: every HDU is proven, and the layout is that of any walk."""
    content = three_images()
    full, _ = walk(content)
    for sibling in (None, full.layout):
        found, _ = walk(content, until=lambda _: False, sibling=sibling)
        assert found.layout == full.layout


def test_what_is_probably_wanted_comes_with_the_first_batch():
    """Ranges beside the headers are read with them, what the headers' own range has of them once."""
    content = three_images()
    also = [ByteRange(100, 200), ByteRange(FIRST - 10, FIRST + 10), ByteRange(2_000_000, 2_000_500)]
    found, batches = walk(content, also=also, until=lambda hdus: len(hdus) == 2)
    assert batches == [[ByteRange(0, FIRST), ByteRange(FIRST, FIRST + 10), ByteRange(2_000_000, 2_000_500)]]
    for wanted in also:
        assert found.segments.find(*wanted) == content[wanted.start : wanted.stop]
    full, rest = walk(content, also=also)
    asked = sorted(r for batch in rest for r in batch)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(asked))
    assert full.layout == walk(content)[0].layout


def test_what_is_held_is_not_completed():
    """Of ranges that are held in part their ends are read; of those that are held nothing, without a batch."""
    content = bytes(i * 7 % 251 for i in range(3_000_000))
    held = Segments([(0, content[:1000]), (5000, content[5000:6000])])
    for link in (None, IN_REGION, FAR_AWAY):
        found, batches = driven(completed(held, [ByteRange(0, 1000), ByteRange(5100, 5200)], link=link), content)
        assert batches == []
        assert found is held
        found, batches = driven(completed(held, [ByteRange(500, 1500), ByteRange(900, 950)], link=link), content)
        assert batches == [[ByteRange(1000, 1500)]]
        assert found.find(500, 1500) == content[500:1500]
    close = [ByteRange(n * 4096, n * 4096 + 400) for n in range(10)]
    for link in (None, IN_REGION):
        assert driven(completed(Segments(), close, link=link), content)[1] == [[ByteRange(0, close[-1].stop)]]
    rows = [ByteRange(n * 16384, n * 16384 + 400) for n in range(50)]
    assert driven(completed(Segments(), rows, link=FAR_AWAY), content)[1] == [rows]
    assert driven(completed(Segments(), rows, link=IN_REGION), content)[1] == [[ByteRange(0, rows[-1].stop)]]
    long = [ByteRange(0, PART)]
    assert driven(completed(Segments(), long, link=IN_REGION), bytes(PART))[1] == [long]
