"""hst_cloud.open gives astropy's own HDUList, bit for bit, in few requests."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import pickle
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings
from hypothesis import strategies as st
from support import RecordingStore, assert_same_hdulist, hdulists, padded, put

from hst_cloud.errors import (
    FormatError,
    HSTCloudWarning,
    NotInCloudError,
    ObjectChangedError,
    ObjectNotFoundError,
    ProductNameError,
    TruncatedFileError,
)
from hst_cloud.fits import compressed
from hst_cloud.fits.reader import open as hst_open
from hst_cloud.fits.sections import section_ranges
from hst_cloud.store.ranges import coalesce
from hst_cloud.values import Product

NAME = "jbqf03gjq_flc.fits"


@pytest.fixture
def store(tmp_path):
    return RecordingStore(tmp_path)


@pytest.fixture
def image():
    """Return an image of 4 MB whose pixels tell where they are."""
    return np.arange(1000 * 1000, dtype=">f4").reshape(1000, 1000)


def image_file(store, image, **header):
    return put(store.folder, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]))


@settings(max_examples=40, deadline=None)
@given(hdulists())
def test_generated_files_equal_astropys(hdus):
    """Every kind of HDU has the same class, header and data as the local file, and opening costs one read an HDU."""
    with tempfile.TemporaryDirectory() as folder:
        store = RecordingStore(folder)
        put(store.folder, NAME, fits.HDUList(hdus))
        with hst_open(NAME, store=store) as ours, fits.open(next(store.folder.rglob(NAME)), memmap=False) as local:
            assert store.reads <= len(local)
            assert_same_hdulist(ours, local)


def random_groups(path):
    data = fits.GroupData(
        np.arange(60.0).reshape(5, 1, 3, 4), parnames=["a", "b"], pardata=[np.arange(5)] * 2, bitpix=-32
    )
    fits.HDUList([fits.GroupsHDU(data), fits.ImageHDU(np.ones(7))]).writeto(path)


def nonstandard(path):
    """Write an HDRLET between images, as stwcs does: XTENSION = 'HDRLET', the payload an embedded FITS file."""
    payload = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones(5))]).writeto(payload)
    hdu = fits.ImageHDU(np.frombuffer(payload.getvalue(), "u1"), name="HDRLET", ver=18)
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu, fits.ImageHDU(np.arange(9), name="SCI")]).writeto(content)
    path.write_bytes(content.getvalue().replace(b"XTENSION= 'IMAGE   '", b"XTENSION= 'HDRLET  '", 1))


def constant_arrays(path):
    """Write the ERR of a raw file: no data, but NPIX1, NPIX2 and PIXVALUE that stand for them."""
    header = fits.Header([("NPIX1", 62), ("NPIX2", 44), ("PIXVALUE", 0.5)])
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(header=header, name="ERR")]).writeto(path)


def scaled(path):
    """Write unsigned integers, and integers with a scale and blank pixels."""
    blank = fits.ImageHDU(np.arange(12, dtype="i2").reshape(3, 4), name="BLANKED")
    blank.header["BSCALE"], blank.header["BZERO"], blank.header["BLANK"] = 0.5, 10.0, 7
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.arange(12, dtype="u2").reshape(3, 4), name="RAW"), blank]
    fits.HDUList(hdus).writeto(path)


@pytest.mark.parametrize("write", [random_groups, nonstandard, constant_arrays, scaled])
def test_special_kinds_equal_astropys(store, tmp_path, write):
    """Random groups, headerlets, constant arrays and scaled integers are as astropy reads them."""
    write(tmp_path / "made.fits")
    put(store.folder, NAME, (tmp_path / "made.fits").read_bytes())
    with hst_open(NAME, store=store) as ours, fits.open(tmp_path / "made.fits", memmap=False) as local:
        assert_same_hdulist(ours, local)
        assert [type(h).__name__ for h in ours] == [type(h).__name__ for h in local]


def keys(length):
    """Make indices of one axis: integers, slices, lists, masks."""
    edge = st.none() | st.integers(-length - 2, length + 2)
    whole = st.integers(0, length - 1)
    step = st.none() | st.sampled_from([1, 2, 3, -1, -2])
    return st.one_of(
        st.integers(-length, length - 1),
        st.builds(slice, edge, edge, step),
        st.lists(whole, min_size=1, max_size=4),
        st.builds(np.array, st.lists(whole, min_size=1, max_size=4)),
        st.builds(np.array, st.lists(st.booleans(), min_size=length, max_size=length)),
    )


def emptied(key, length):
    """Return a slice that ends before it begins as an empty one: for it, astropy reads whatever lies behind."""
    if isinstance(key, slice) and key.step in {None, 1} and not range(*key.indices(length)):
        return slice(0, 0)
    return key


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_sections_equal_astropys_and_are_one_batch(data):
    """Whatever astropy's section takes, ours gives the same pixels, after at most one batch of reads."""
    shape = tuple(data.draw(st.lists(st.integers(2, 9), min_size=1, max_size=3)))
    pixels = np.arange(np.prod(shape), dtype=data.draw(st.sampled_from(["u1", "u2", "i4", "f4"]))).reshape(shape)
    count = data.draw(st.integers(1, len(shape)))
    key = tuple(data.draw(keys(shape[i])) for i in range(count))
    at = data.draw(st.integers(0, count) | st.none())
    axes = range(count) if at is None else [*range(at), *range(len(shape) - count + at, len(shape))]
    forward = tuple(emptied(k, shape[axis]) for k, axis in zip(key, axes, strict=True))
    if at is not None:
        key, forward = ((*one[:at], Ellipsis, *one[at:]) for one in (key, forward))
    fill = fits.ImageHDU(np.zeros((600, 1000), "f4"))  # keeps the image out of what opening reads
    with tempfile.TemporaryDirectory() as folder:
        store = RecordingStore(folder)
        put(
            store.folder, NAME, fits.HDUList([fits.PrimaryHDU(), fill, fits.ImageHDU(pixels), fill.copy(), fill.copy()])
        )
        with hst_open(NAME, store=store) as ours, fits.open(next(store.folder.rglob(NAME)), memmap=False) as local:
            file = ours._file._file  # of what opening read, keep the headers alone
            headers = [(hdu.header.start, bytes(file._held.find(*hdu.header))) for hdu in file.layout.hdus]
            file._held = type(file._held)(headers)
            store.batches.clear()
            try:
                expected = local[2].section[forward]
            except (IndexError, ValueError, TypeError):
                with pytest.raises((IndexError, ValueError, TypeError)):
                    ours[2].section[key]
                return
            found = ours[2].section[key]
            assert len(store.batches) <= 1
            assert np.asarray(found).dtype == np.asarray(expected).dtype
            assert np.array_equal(found, expected)
            assert np.shape(found) == np.shape(expected)


def slices(length):
    """Make slices of at least one of so many rows, counted from either end, forward or not."""
    return st.builds(
        lambda start, more, step, back: slice(start - back * length, min(start + more, length), step),
        st.integers(0, length - 1),
        st.integers(1, length),
        st.sampled_from([None, None, 1, 2]),
        st.booleans(),
    ) | st.just(slice(None, None, -1))


@given(data=st.data())
def test_boxes_equal_astropys(data):
    """Of all sections the most common: slices of rows and columns, forward or not, of one row, or whole."""
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    pixels = np.arange(np.prod(shape), dtype=data.draw(st.sampled_from(["u1", "u2", "i4", "f4"]))).reshape(shape)
    box = tuple(data.draw(slices(length)) for length in shape)  # of no row, astropy reads what lies behind
    with tempfile.TemporaryDirectory() as folder:
        key = put(Path(folder), NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels)]))
        with hst_open(NAME, store=folder) as ours, fits.open(Path(folder) / key, memmap=False) as local:
            expected, found = local[1].section[box], ours[1].section[box]
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("box", [np.s_[0:2, 1:3], np.s_[1:3, 0:4], np.s_[:, 3:], np.s_[2:3, 1:2], np.s_[-2:, -3:-1]])
def test_boxes_of_scaled_images_equal_astropys(store, tmp_path, box):
    """Unsigned integers, and integers with a scale and blank pixels: values, NaN and type."""
    scaled(tmp_path / "made.fits")
    put(store.folder, NAME, (tmp_path / "made.fits").read_bytes())
    with hst_open(NAME, store=store) as ours, fits.open(tmp_path / "made.fits", memmap=False) as local:
        for number in (1, 2):
            found, expected = ours[number].section[box], local[number].section[box]
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")
            assert found.flags.writeable


def test_what_astropy_cannot_decode_is_no_box(store):
    """NaN does not go into signed bytes: what raises there raises here."""
    header = fits.Header.fromstring(fits.ImageHDU(np.ones((5, 6), "u1")).header.tostring())
    header["BZERO"], header["BLANK"] = -128, 1
    content = fits.PrimaryHDU().header.tostring().encode() + header.tostring().encode() + b"\1" * 30 + bytes(2850)
    key = put(store.folder, NAME, content)
    with hst_open(NAME, store=store) as ours, fits.open(store.folder / key, memmap=False) as local:
        for hdul in (ours, local):
            with pytest.raises(ValueError, match="NaN"):
                hdul[1].section[0:2, 0:2]


def test_a_section_reads_its_rows_alone(store, image):
    """A box of 10 rows is one request for the run of those rows, 3 MB of the image stay unread."""
    image_file(store, image)
    with hst_open(NAME, store=store) as hdul:
        store.batches.clear()
        box = hdul["SCI"].section[100:110, 20:30]
    assert np.array_equal(box, image[100:110, 20:30])
    assert len(store.batches) == 1
    assert sum(r.size for r in store.batches[0]) == 9 * 4000 + 40


def test_section_ranges_merge_whole_axes():
    """Whole trailing axes are one range; a column is one range a row; nothing selected is nothing read."""
    assert section_ranges(np.s_[2:4], (10, 10), 4, 1000) == [(1080, 1160)]
    assert section_ranges(np.s_[:, 3], (3, 10), 4, 0) == [(12, 16), (52, 56), (92, 96)]
    assert section_ranges(np.s_[5:5], (10, 10), 4, 0) == []
    assert section_ranges(np.s_[99], (10, 10), 4, 0) == []
    assert section_ranges(np.s_[-1, -1], (10, 10), 4, 0) == [(396, 400)]
    assert section_ranges(np.s_[...], (3, 10), 4, 0) == [(0, 120)]


def test_data_come_in_several_ranges_of_one_batch(store):
    """20 MB of one HDU are three requests or more at once, and no byte is read twice."""
    big = np.arange(20 * 1024**2 // 8, dtype=">f8").reshape(-1, 1024)
    put(store.folder, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(big)]))
    with hst_open(NAME, store=store) as hdul:
        store.batches.clear()
        assert np.array_equal(hdul[1].data, big)
    assert len(store.batches) == 1
    assert len(store.batches[0]) >= 3
    assert len(coalesce(store.batches[0], gap=0)) == 1
    assert sum(r.size for r in store.batches[0]) <= big.nbytes


def test_no_byte_of_the_first_block_is_read_again(store, image):
    """What came with the headers serves the data too."""
    key = image_file(store, image)
    with hst_open(NAME, store=store) as hdul:
        assert np.array_equal(hdul["SCI"].section[:20], image[:20])
        assert np.array_equal(hdul["SCI"].data, image)
        (first,), (part,), (whole,) = (coalesce(batch, gap=0) for batch in store.batches)
    assert first.stop == part.start == whole.start
    assert whole.stop == hdul["SCI"]._data_offset + image.nbytes <= (store.folder / key).stat().st_size


def test_opening_reads_headers_alone(store, image):
    """Six HDUs with 4 MB each are opened by six reads or fewer of 64 KiB."""
    hdus = [fits.PrimaryHDU(header=padded(280)), *[fits.ImageHDU(image, padded(200)) for _ in range(5)]]
    put(store.folder, NAME, fits.HDUList(hdus))
    with hst_open(NAME, store=store):
        assert store.reads <= 6
        assert store.traffic.bytes <= 6 * 64 * 1024


@pytest.mark.parametrize(
    ("extension", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_files_are_read_whole_with_a_warning(store, image, extension, compress):
    """The warning says the bytes; the file is read once, the HDUs are astropy's."""
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(content)
    packed = compress(content.getvalue())
    put(store.folder, f"{NAME}.{extension}", packed)
    with pytest.warns(HSTCloudWarning, match=f"all of its {len(packed)} bytes"):
        ours = hst_open(f"{NAME}.{extension}", store=store)
    assert sum(r.size for batch in store.batches for r in batch) <= len(packed) + 64 * 1024
    with ours, fits.open(io.BytesIO(content.getvalue())) as local:
        assert_same_hdulist(ours, local)


def test_concatenated_gzip_members_are_one_file(store):
    """RFC 1952, 2.2: members follow one another."""
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(np.arange(100))]).writeto(content)
    whole = content.getvalue()
    put(store.folder, f"{NAME}.gz", gzip.compress(whole[:1000]) + gzip.compress(whole[1000:]))
    with pytest.warns(HSTCloudWarning, match="compressed"), hst_open(f"{NAME}.gz", store=store) as hdul:
        assert hdul[0].data.sum() == 4950


@pytest.mark.filterwarnings("ignore::hst_cloud.errors.HSTCloudWarning")
def test_compressed_files_are_bounded(store, monkeypatch):
    """Neither a large compressed file nor a bomb is read into memory."""
    put(store.folder, f"{NAME}.gz", gzip.compress(bytes(10**6)))
    monkeypatch.setattr(compressed, "MAX_INFLATED", 10**5)
    with pytest.raises(FormatError, match=r"inflates from \d+ to more than 100000 bytes"):
        hst_open(f"{NAME}.gz", store=store)
    monkeypatch.setattr(compressed, "MAX_COMPRESSED", 500)
    with pytest.raises(FormatError, match="expected at most 500"):
        hst_open(f"{NAME}.gz", store=store)


@pytest.mark.filterwarnings("ignore::hst_cloud.errors.HSTCloudWarning")
@pytest.mark.parametrize(
    "packed", [gzip.compress(b"SIMPLE" * 10000, mtime=0)[:-100], b"\x1f\x8b" + bytes(100), b"BZh9" + bytes(99)]
)
def test_broken_compressed_files_are_a_format_error(store, packed):
    """Cut or corrupt compressed data never give part of a file."""
    put(store.folder, NAME, packed)
    with pytest.raises(FormatError, match="cannot be decompressed"):
        hst_open(NAME, store=store)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes.* is no FITS file"),
        (b"../x/j6gp02lzq_raw.fits", "23 bytes.* is no FITS file"),
        (b"<html>Access Denied</html>" * 300, "is no FITS file"),
        (b"\x1f\x9d" + bytes(100), r"Unix compress \(.Z\)"),
        (b"PK\x03\x04" + bytes(100), "ZIP"),
        (fits.PrimaryHDU().header.tostring().encode().replace(b"T /", b"F /", 1), "it says so itself, by SIMPLE = F"),
    ],
)
def test_what_is_no_fits_file_is_a_format_error(store, content, said):
    """The error is of one type, and says what was found."""
    put(store.folder, NAME, content)
    with pytest.raises(FormatError, match=said) as caught:
        hst_open(NAME, store=store)
    assert caught.value.key == f"hst/public/jbqf/jbqf03gjq/{NAME}"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_hostile_bytes_open_or_are_a_format_error(data):
    """Junk in a file is read as astropy reads it, or refused with one type of error; it never hangs."""
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(np.zeros((20, 20))), fits.ImageHDU(np.zeros(5)), fits.ImageHDU()]).writeto(content)
    junked = bytearray(content.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(junked) - 1))
        junk = data.draw(st.binary(min_size=1, max_size=20))
        junked[at : at + len(junk)] = junk
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        put(Path(folder), NAME, bytes(junked))
        with contextlib.suppress(FormatError):
            hst_open(NAME, store=folder).close()


def truncated(store, image, bytes_kept):
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]).writeto(content)
    put(store.folder, NAME, content.getvalue()[:bytes_kept])


@pytest.mark.filterwarnings("ignore:File may have been truncated:astropy.utils.exceptions.AstropyUserWarning")
def test_a_truncated_file_warns_and_raises_when_the_end_is_touched(store, image):
    """Rows that are there are read; those beyond the end raise, in a section and in the whole."""
    truncated(store, image, 2_000_000)
    with pytest.warns(HSTCloudWarning, match=r"HDU 1 \(SCI\) lacks its last 2005760 bytes"):
        hdul = hst_open(NAME, store=store)
    with hdul:
        assert np.array_equal(hdul["SCI"].section[:400], image[:400])
        with pytest.raises(TruncatedFileError, match="ends after 2000000 bytes"):
            hdul["SCI"].section[400:600, 3:5]
        with pytest.raises(TruncatedFileError, match="ends after 2000000 bytes"):
            hdul["SCI"].data  # noqa: B018
        with pytest.raises(EOFError):
            hdul["SCI"].section[-1, -1]


def test_missing_fill_of_the_last_block_is_no_loss(store):
    """A file cut right behind its last datum gives all its data."""
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(np.arange(100, dtype="u1"))]).writeto(content)
    put(store.folder, NAME, content.getvalue()[: 2880 + 100])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        hdul = hst_open(NAME, store=store)
    with hdul:
        assert hdul[0].data.sum() == 4950


def test_a_replaced_object_is_an_error_and_never_mixed_bytes(store, image):
    """After the file is replaced under an open handle, every read raises."""
    image_file(store, image)
    with hst_open(NAME, store=store) as hdul:
        hdul["SCI"].section[:2]
        image_file(store, image + 1)
        with pytest.raises(ObjectChangedError, match=r"was replaced since it was first read.*Open it again"):
            hdul["SCI"].section[500:502]
        with pytest.raises(ObjectChangedError):
            hdul["SCI"].data  # noqa: B018


def test_the_users_own_fits_open_is_unchanged(store, image, tmp_path):
    """The private subclasses are not registered: astropy still makes its own HDUs elsewhere."""
    key = image_file(store, image)
    with hst_open(NAME, store=store) as ours:
        assert isinstance(ours[0], fits.PrimaryHDU)
        assert isinstance(ours["SCI"], fits.ImageHDU)
        with fits.open(tmp_path / key) as theirs:
            assert [type(h) for h in theirs] == [fits.PrimaryHDU, fits.ImageHDU]
            assert type(theirs[1].section).__module__.startswith("astropy.")
    assert type(fits.HDUList.fromstring((tmp_path / key).read_bytes())[1]) is fits.ImageHDU


def test_it_behaves_as_an_hdulist(store, image, tmp_path, capsys):
    """Info, copies, and writing give what a local file gives."""
    key = image_file(store, image)
    with hst_open(NAME, store=store) as ours, fits.open(tmp_path / key) as local:
        assert ours.info(output=False) == local.info(output=False)
        ours.info()
        assert "ImageHDU" in capsys.readouterr().out
        copied = ours["SCI"].copy()
        assert np.array_equal(copied.data, image)
        ours.writeto(tmp_path / "copy.fits")
        assert (tmp_path / "copy.fits").read_bytes() == (tmp_path / key).read_bytes()
        assert ours.filename().endswith(NAME)


def test_a_closed_file_reads_no_more(store, image):
    """The context manager closes; data that were read stay."""
    image_file(store, image)
    with hst_open(NAME, store=store) as hdul:
        pixels = hdul["SCI"].data
    assert pixels[999, 999] == 999_999
    with pytest.raises(ValueError, match="closed"):
        hdul["SCI"].section[0, 0]


def test_a_product_pickles_and_an_open_file_does_not(store, image):
    """What travels to another process is the product; the error says so."""
    image_file(store, image)
    product = Product(filename=NAME, key=f"hst/public/jbqf/jbqf03gjq/{NAME}")
    with hst_open(pickle.loads(pickle.dumps(product)), store=store) as hdul:
        with pytest.raises(TypeError, match="pass the product on and open it there"):
            pickle.dumps(hdul)
        with pytest.raises(TypeError, match="pass the product on"):
            pickle.dumps(hdul["SCI"])


def test_threads_may_share_one_open_file(store):
    """Sixteen threads read sections and data of different HDUs at once, each getting its own bytes."""
    images = [np.full((300, 300), i, dtype=">i4") + np.arange(300, dtype=">i4") for i in range(8)]
    put(store.folder, NAME, fits.HDUList([fits.PrimaryHDU(), *[fits.ImageHDU(i) for i in images]]))

    def read(n):
        hdu = hdul[n % 8 + 1]
        expected = images[n % 8]
        return np.array_equal(hdu.section[n : n + 20, 5:9], expected[n : n + 20, 5:9]) and (
            n % 16 or np.array_equal(hdu.data, expected)
        )

    with hst_open(NAME, store=store) as hdul, ThreadPoolExecutor(16) as threads:
        assert all(threads.map(read, range(200)))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_an_open_file_is_usable_after_fork(store, image):
    """A child reads from the file that its parent opened."""
    image_file(store, image)
    with hst_open(NAME, store=store) as hdul:
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(hdul["SCI"].section[7:9], image[7:9]) else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("product", "error", "said"),
    [
        ("jbqf03gjq", NotInCloudError, "several files"),
        ("hst_16912_02_acs_wfc_f606w_jety02_drc.fits", NotInCloudError, "source='mast'"),
        ("u4ge0106j_jit.fits", NotInCloudError, "verify=True"),
        ("jbqf03gjq_raw.fits", ObjectNotFoundError, "jbqf03gjq_raw.fits does not exist"),
        ("../../etc/passwd", ProductNameError, "passwd"),
    ],
)
def test_what_cannot_be_opened_says_why(store, product, error, said):
    """Each reason has its own error, and a next step."""
    with pytest.raises(error, match=said):
        hst_open(product, store=store)
