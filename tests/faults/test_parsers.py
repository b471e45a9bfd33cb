"""Every parser of ours, with hostile bytes: a result, or an error of ours, and never more than was asked for."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from faults.bombs import HEADERS, HEAPS, STREAMS, TABLES, TILES
from hypothesis import given, settings
from hypothesis import strategies as st

from hst_cloud.archive.tables import OBSERVATIONS, PRODUCTS, from_answers
from hst_cloud.errors import ArchiveAnswerError, FormatError, HSTCloudError
from hst_cloud.fits.columns import form_of
from hst_cloud.fits.guards import check_data, check_header
from hst_cloud.fits.header_blocks import as_hdu, header_blocks
from hst_cloud.fits.keywords import Memo, every
from hst_cloud.fits.layout import Scan, scan
from hst_cloud.fits.records import Record, as_blob, packed, unpacked
from hst_cloud.fits.structure import BLOCK, HDUExtent, Layout, extent
from hst_cloud.fits.verify import check
from hst_cloud.science.manifest import known_files, read_manifest
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import drive
from hst_cloud.store.s3 import Unusable, listing_page
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

ALL = [*HEADERS.values(), *TABLES.values(), *HEAPS.values(), *TILES.values(), *STREAMS.values()]
SEEDS = [content[:60_000] for content in ALL]


@st.composite
def contents(draw):
    """Make the bytes of a file: an odd one of which some bytes have changed, or a part is missing or there twice."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    numbers = st.sampled_from([b"-1", b"0", b"9" * 18, b"9" * 25, b"1E9", b"'x'", b"T"])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, min(len(content), 4 * BLOCK) - 1))
        if draw(st.booleans()):  # in the place of a value
            at = at // 80 * 80 + 10
        junk = draw(st.binary(min_size=1, max_size=30) | numbers.map(lambda text: text.rjust(20)))
        content[at : at + len(junk)] = junk
    cut = draw(st.integers(0, len(content)))
    return bytes(draw(st.sampled_from([content, content[:cut], content[:cut] + content])))


def answered(plan, content):
    """Drive a plan with the bytes of a file, and see that it asks for no more than twice the file's size."""
    asked = []

    def carry(ranges):
        asked.extend(ranges)
        return [Piece(content[r.start : r.stop], len(content), "e") for r in ranges]

    found = drive(plan, carry)
    assert len(asked) < 100
    return found


@settings(max_examples=80, deadline=None)
@given(contents())
def test_layouts(content):
    """HDUs follow one another, and lie where astropy finds them as far as it reads them."""
    try:
        found = answered(scan("k", size=len(content)), content)
    except FormatError:
        return
    at = 0
    for hdu in found.layout.hdus:
        assert hdu.header.start == at
        at = hdu.stop
    assert unpacked_again(found) is None or unpacked_again(found).layout == found.layout
    for number, hdu in enumerate(found.layout.hdus):
        header = bytes(found.segments.find(*hdu.header))
        with contextlib.suppress(FormatError):
            every(header, Memo())
        with contextlib.suppress(FormatError):
            form_of(header, "k")
        with contextlib.suppress(ValueError, KeyError, fits.VerifyError), warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # of damaged cards, which astropy reads all the same
            read = fits.Header.fromstring(header.decode("latin1"))
            expected = tuple(read[f"NAXIS{n}"] for n in range(read["NAXIS"], 0, -1))
            assert hdu.shape == expected, number


def unpacked_again(found):
    record = packed(found, "a")
    return None if record is None else unpacked(record, "k", "a", b"e")


@settings(max_examples=50, deadline=None)
@given(contents(), st.sampled_from([0, 1, "SCI", "SCI,2", 7]))
def test_header_blocks(content, hdu):
    """A header that the file has, None, or an error."""
    try:
        (found,) = answered(header_blocks("k", [as_hdu(hdu)], {}), content)
    except HSTCloudError:
        return
    assert found is None or found in content


@settings(max_examples=50, deadline=None)
@given(contents())
def test_sums(content):
    """Any file can be checked for what its headers tell."""
    assert check(lambda a, b: content[a:b], len(content), None).check


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([*HEAPS.values(), *STREAMS.values()]), st.data())
def test_heaps(content, data):
    """What passes has every element of every row within its heap."""
    start = BLOCK * 2
    head = content[BLOCK:start]
    hdu = extent(head, BLOCK)
    if hdu.data.size > 100_000:
        return
    body = bytearray(content[start : hdu.data.stop])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, min(len(body), 100) - 8)))
        pair = data.draw(st.tuples(*[st.integers(-(2**31), 2**31 - 1) | st.integers(0, 120)] * 2))
        body[at : at + 8] = np.array(pair, ">i4").tobytes()
    body = body[: hdu.data.size]
    check_header(head, hdu, "k")
    try:
        check_data(head, hdu, bytes(body), "k")
    except FormatError:
        return
    rows, width = hdu.shape
    pairs = np.frombuffer(bytes(body[: rows * width]), ">i4").reshape(rows, -1)[:, :2].astype(int)
    assert (pairs[:, 0] >= 0).all()
    used = pairs[pairs[:, 0] > 0]
    assert (used[:, 1] >= 0).all()
    assert (used.sum(axis=1) <= hdu.data.size - rows * width).all()


UNSEEN = [name for name in STREAMS if name not in {"RICE of zeros", "gzip of another size"}]


@pytest.mark.parametrize("name", UNSEEN)
def test_row_38_streams_are_refused_before_they_are_decoded(name):
    """Whether or not the decoder would have noticed; RICE checks itself, and a small size is wrong harmlessly."""
    content = STREAMS[name]
    found = answered(scan("k", size=len(content)), content)
    hdu = found.layout.hdus[1]
    header, data = bytes(found.segments.find(*hdu.header)), content[hdu.data.start : hdu.data.stop]
    with pytest.raises(FormatError, match=r"contradicts itself: tile 0 (of|is) "):
        check_data(header, hdu, data, "k")


# --- What is kept on disk --------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=40))
def test_records(layout, headers, tables, checksum):
    """Bytes that nobody wrote as one are no record."""
    assert unpacked(Record(layout, headers, tables, checksum), "k", "a", b"e") is None


@given(st.lists(st.tuples(*[st.none() | st.integers(0, 9) | st.binary(max_size=30) | st.text(max_size=9)] * 5)))
@settings(max_examples=30, deadline=None)
def test_rows_of_an_index(rows):
    """Whatever the rows of its database hold."""
    hdu = HDUExtent(name="", ver=1, header=ByteRange(0, BLOCK), data=ByteRange(BLOCK, BLOCK))
    found = Scan(layout=Layout(key="k", size=BLOCK, etag="e", hdus=(hdu,)), segments=Segments([(0, bytes(BLOCK))]))
    record = packed(found, "a")
    for row in rows:
        assert unpacked(Record(*row[:4]), "k", "a", as_blob("e")) is None
    assert unpacked(record, "k", "a", b"e").layout == found.layout


LINES = st.lists(
    st.sampled_from(["# %ECSV 1.0", "# ---", "# datatype:", "# - {name: key, datatype: string}", "key", "a,b", '"', ""])
    | st.text(max_size=40)
)


@settings(max_examples=30, deadline=None)
@given(LINES, st.binary(max_size=200))
def test_manifests(lines, journal):
    """No file of a manifest's name, and no journal beside it, is an error of another kind."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "manifest.ecsv").write_text("\n".join(lines), encoding="utf-8", newline="\n")
        Path(folder, ".manifest.ecsv.log").write_bytes(journal)
        with contextlib.suppress(FormatError):
            read_manifest(Path(folder, "manifest.ecsv"))
        with contextlib.suppress(FormatError):
            known_files(Path(folder), "manifest.ecsv")


# --- What servers say ------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([field.name for field in (*OBSERVATIONS, *PRODUCTS)]) | st.text(max_size=9)
FIELDS = st.lists(st.fixed_dictionaries({"name": NAMES, "type": st.sampled_from(["int", "string", "float", "x"])}))
ROWS = st.lists(st.dictionaries(NAMES, JSON, max_size=6) | JSON, max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries({}, optional={"fields": FIELDS | JSON, "data": ROWS | JSON}), st.booleans())
def test_answers_of_mast(answer, products):
    """A table with a row for each of the answer's, or an error that quotes it."""
    answer = json.loads(json.dumps(answer))  # with NaN, as Python's JSON has it
    try:
        found = from_answers([answer], PRODUCTS if products else OBSERVATIONS)
    except ArchiveAnswerError:
        return
    assert len(found) == len(answer["data"])


PARTS = [f"<{more}{name}>" for more in ("", "/") for name in ("ListBucketResult", "Contents", "Key", "Size", "ETag")]
PARTS += ["hst/public/a", "5", "-1", '"e"', "<IsTruncated>true</IsTruncated>", "&lol;", "\0"]
XML = st.lists(st.sampled_from(PARTS) | st.text(max_size=9))


@settings(max_examples=50, deadline=None)
@given(XML)
def test_listings(parts):
    """Objects with a key and a size, or no listing."""
    body = "".join(parts).encode("utf-8", "surrogatepass")
    try:
        objects, _ = listing_page(body, "hst/public/")
    except (Unusable, HSTCloudError):
        return
    for one in objects:
        assert one.size >= 0
        assert one.key


LAUGHS = "<!DOCTYPE l [<!ENTITY a0 'lol'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))


def test_a_listing_that_laughs_a_thousand_million_times():
    """Entities are none of a listing's business."""
    body = f"{LAUGHS}]><ListBucketResult><Contents><Key>&a9;</Key><Size>1</Size></Contents></ListBucketResult>"
    with pytest.raises(Unusable):
        listing_page(body.encode(), "")


def test_real_bytes_pass():
    """The seeds differ from files by what is wrong with them alone."""
    file = io.BytesIO()
    column = fits.Column("C1", "PJ()", array=np.array([np.arange(3), np.arange(0), np.arange(9)], object))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(file)
    content = file.getvalue()
    (_, hdu) = answered(scan("k", size=len(content)), content).layout.hdus
    check_data(content[hdu.header.start : hdu.header.stop], hdu, content[hdu.data.start : hdu.data.stop], "k")
