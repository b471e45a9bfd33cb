"""hst.read: a whole file in memory, as astropy reads a local copy, for as few requests and round trips as there are."""

from __future__ import annotations

import gzip
import io
import itertools
import pickle
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from hypothesis import given, settings
from sparse_files import Sparse
from support import SHARED_DATA, RecordingStore, assert_same_data, hdulists, put

import hst_cloud as hst
from hst_cloud.errors import (
    FormatError,
    HSTCloudWarning,
    MemoryLimitError,
    NotInCloudError,
    QueryError,
    TruncatedFileError,
)
from hst_cloud.fits.index import Index
from hst_cloud.fits.predict import siblings
from hst_cloud.store import memory
from hst_cloud.store.adapters import FolderStore
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo.imaging import acs_wfc_flc

NAME = "jbqf03gjq_flc.fits"
SIBLING = "jbqf03gkq_flc.fits"
PART = 8 * 1024 * 1024


def assert_same(ours, local):
    """Compare all HDUs with astropy's, whose data must have been touched: headers then say what was scaled."""
    assert len(ours) == len(local)
    for mine, theirs in zip(ours, local, strict=True):
        assert type(mine) is type(theirs)
        data = theirs.data
        assert mine.header.tostring(sep="\n", endcard=False) == theirs.header.tostring(sep="\n", endcard=False)
        if data is None or isinstance(data, fits.FITS_rec):
            assert_same_data(mine.data, data)
        else:
            assert mine.data.dtype == data.dtype.newbyteorder("=")
            assert mine.data.shape == data.shape
            assert mine.data.astype(data.dtype).tobytes() == data.tobytes()
            assert mine.data.flags.writeable
            assert mine.data.flags.aligned


@settings(max_examples=60)
@given(hdus=hdulists())
def test_it_is_what_astropy_reads_from_the_disk(tmp_path_factory, hdus):
    """Every kind of HDU: classes, headers card for card, and data bit for bit."""
    folder = tmp_path_factory.mktemp("any")
    key = put(folder, NAME, fits.HDUList(hdus))
    with fits.open(folder / key, memmap=False) as local:
        ours = hst.read(NAME, store=folder)
        assert_same(ours, local)
        assert_same(pickle.loads(pickle.dumps(ours)), local)


SCALED = [
    ({"BSCALE": 0.5, "BZERO": 10}, "i2"),
    ({"BSCALE": 0.1}, "i4"),
    ({"BZERO": 32768}, "i2"),
    ({"BZERO": 2147483648}, "i4"),
    ({"BZERO": 2**63}, "i8"),
    ({"BZERO": -128}, "u1"),
    ({"BLANK": 7}, "i2"),
    ({"BLANK": 7, "BSCALE": 3.0}, "i4"),
    ({"BLANK": 7, "BZERO": 32768}, "i2"),
    ({"BSCALE": 2.0, "BZERO": 1.5}, "f4"),
]


@pytest.mark.parametrize(("cards", "dtype"), SCALED, ids=str)
@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_scaled_images_are_what_astropy_makes_of_them(tmp_path, cards, dtype):
    """BSCALE, BZERO and BLANK: the same type, the same roundings, the same cards left in the header."""
    stored = np.arange(600).reshape(20, 30).astype(dtype)
    key = put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(stored, name="SCI"), fits.ImageHDU()]))
    with fits.open(tmp_path / key, mode="update", do_not_scale_image_data=True) as edited:
        edited[1].header.update(cards)
    with fits.open(tmp_path / key, memmap=False, do_not_scale_image_data=True) as edited:
        assert {name: edited[1].header[name] for name in cards} == cards
    with fits.open(tmp_path / key, memmap=False) as local:
        assert_same(hst.read(NAME, store=tmp_path), local)


@pytest.fixture
def flc(tmp_path):
    """Serve a small flc with everything that a real one has."""
    put(tmp_path, NAME, acs_wfc_flc(rootname=NAME[:9], scale=16))
    with LocalArchive(tmp_path) as archive:
        yield archive


def path_of(archive, name=NAME):
    return next(archive.folder.rglob(name))


def test_nothing_is_read_afterwards(flc):
    """The archive may be gone: data, headers, a WCS with its tables, a pickle and a file all come from memory."""
    ours = hst.read(NAME)
    flc.stop()
    with fits.open(path_of(flc), memmap=False) as local:
        assert_same(pickle.loads(pickle.dumps(ours)), local)
        written, expected = io.BytesIO(), io.BytesIO()
        ours.writeto(written)
        local.writeto(expected)
        assert written.getvalue() == expected.getvalue()
        mine, theirs = (WCS(hdul["SCI", 2].header, hdul) for hdul in (ours, local))
        assert np.array_equal(mine.all_pix2world([[5, 6]], 0), theirs.all_pix2world([[5, 6]], 0))
    ours.close()
    assert ours["SCI", 1].data is not None


def test_each_image_has_memory_of_its_own(flc):
    """To keep one array is not to keep the file."""
    ours = hst.read(NAME)
    images = [hdu.data for hdu in ours if hdu.name in {"SCI", "ERR", "DQ"}]
    assert len(images) == 6
    for data in images:
        whole = data
        while whole.base is not None:
            whole = whole.base
        assert isinstance(whole, np.ndarray)
        assert whole.nbytes == data.nbytes
    images[0][:] = 7
    assert not np.any(ours["SCI", 2].data == 7)


def test_chosen_hdus_come_with_the_primary_and_nothing_else(tmp_path):
    """Names mean all of the name; the bytes of the others are not read."""
    put(tmp_path, NAME, Sparse(acs_wfc_flc.to_bytes(rootname=NAME[:9], scale=64), (1024, 4096)).read(0, 2**62))
    with LocalArchive(tmp_path) as archive:
        ours = hst.read(NAME, hdus=["SCI", ("DQ", 2)])
        assert [(hdu.name, hdu.ver) for hdu in ours] == [("PRIMARY", 1), ("SCI", 1), ("SCI", 2), ("DQ", 2)]
        data = 2 * ours["SCI", 1].data.nbytes + ours["DQ", 2].data.nbytes
        assert data <= sum(r.bytes for r in archive.requests) <= data + 800_000
        assert [hdu.name for hdu in hst.read(NAME, hdus="DQ,1")] == ["PRIMARY", "DQ"]
        assert [hdu.name for hdu in hst.read(NAME, hdus=("DQ", 1))] == ["PRIMARY", "DQ"]
        assert [hdu.name for hdu in hst.read(NAME, hdus=0)] == ["PRIMARY"]
        assert [hdu.name for hdu in hst.read(NAME, hdus=np.int64(3))] == ["PRIMARY", "DQ"]
        names = [(hdu.name, hdu.ver) for hdu in hst.read(NAME, hdus=["ERR", 1])]
        assert names[1:] == [("SCI", 1), ("ERR", 1), ("ERR", 2)]
        with pytest.raises(QueryError, match=r"no HDU WHT: its HDUs are 0 PRIMARY,1, 1 SCI,1"):
            hst.read(NAME, hdus="WHT")
        with pytest.raises(QueryError, match="names no HDU"):
            hst.read(NAME, hdus=[-1])
        with pytest.raises(QueryError, match=r"hdu=1\.5 names no HDU"):
            hst.read(NAME, hdus=1.5)


# --- What it costs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """Write two flc of 168 MB, which take 1 MB of the disk."""
    folder = tmp_path_factory.mktemp("full")
    for name in (NAME, SIBLING):
        file = Sparse(acs_wfc_flc.to_bytes(rootname=name[:9], scale=64), (2048, 4096))
        file.write(folder / "hst" / "public" / name[:4] / name[:9] / name)
    return folder


def overlapping(ranges):
    return [(a, b) for a, b in itertools.pairwise(sorted(ranges)) if a.stop > b.start]


def test_an_flc_of_168_megabytes(full_size):
    """Each byte once, at most 37 requests of at most 8 MiB; three round trips, two after a sibling, one by the index."""
    store = RecordingStore(full_size)
    with Index(full_size / "index") as index:
        for name, trips in ((NAME, 3), (SIBLING, 2), (NAME, 1)):
            store.batches.clear()
            ours = hst.read(name, store=store, index=index)
            size = (full_size / "hst" / "public" / name[:4] / name[:9] / name).stat().st_size
            asked = [r for batch in store.batches for r in batch]
            assert len(store.batches) == trips
            assert len(asked) <= 37
            assert max(r.size for r in asked) <= PART
            assert overlapping(asked) == []
            assert sum(min(r.stop, size) - r.start for r in asked) <= size
            assert len(ours) == 20
            assert ours["SCI", 2].data.shape == (2048, 4096)


def test_an_flc_of_known_size_is_one_round_trip(full_size):
    """Its size tells that it is a full frame: its images are asked for with its headers; some HDUs alone, too."""
    path = next(full_size.rglob(NAME))
    product = hst.Product(filename=NAME, key=path.relative_to(full_size).as_posix(), size=path.stat().st_size)
    for wanted, most in ((None, product.size), (["SCI,1", "DQ,1"], 51_500_000)):
        siblings.cache_clear()
        store = RecordingStore(full_size)
        ours = hst.read(product, hdus=wanted, store=store, index=False)
        (asked,) = store.batches
        assert len(asked) <= 37
        assert overlapping(asked) == []
        assert sum(r.size for r in asked) <= most
        assert ours["DQ", 1].data.shape == (2048, 4096)


def test_an_flc_over_sockets(full_size):
    """What the server counts is no more than the file, and all of it is GET."""
    with LocalArchive(full_size) as archive:
        ours = hst.read(NAME)
        assert sum(r.bytes for r in archive.requests) <= next(full_size.rglob(NAME)).stat().st_size
        assert len(archive.requests) <= 37
        assert {r.method for r in archive.requests} == {"GET"}
    assert ours["ERR", 2].data.dtype == np.dtype("f4")


def test_a_small_file_is_one_request(tmp_path):
    """One of at most 1 MiB whose size is told: one request for it all; where nobody told, two round trips."""
    key = put(tmp_path, NAME, acs_wfc_flc(rootname=NAME[:9], scale=32))
    size = (tmp_path / key).stat().st_size
    assert 2**17 < size <= 2**20
    store = RecordingStore(tmp_path)
    hst.read(NAME, store=store)
    assert [len(batch) for batch in store.batches] == [1, 1]
    assert store.batches[0][0].stop == store.batches[1][0].start
    store.batches.clear()
    hst.read(hst.Product(filename=NAME, key=key, size=size), store=store)
    assert store.batches == [[(0, size)]]


@pytest.mark.parametrize("told", [20_000_000, 30_000_000, 100])
def test_a_size_that_is_wrong_does_no_harm(tmp_path, told):
    """A product list may be older than the file."""
    image = np.arange(6_000_000, dtype="f4").reshape(2000, 3000)
    key = put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]))
    store = RecordingStore(tmp_path)
    ours = hst.read(hst.Product(filename=NAME, key=key, size=told), store=store)
    assert np.array_equal(ours["SCI"].data, image)
    assert overlapping([r for batch in store.batches for r in batch]) == []


# --- What goes wrong -------------------------------------------------------------------------------------------------


def test_what_the_index_knew_of_a_file_that_was_replaced_is_read_anew(tmp_path):
    """Nobody holds anything of the old version, so there is no error, and no mixture."""
    old = np.zeros((3000, 3000), "f4")
    put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(old, name="SCI")]))
    with LocalArchive(tmp_path) as archive, Index(tmp_path / "index") as index:
        hst.read(NAME, index=index)
        put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(old[:2900] + 1, name="SCI")]))
        archive.forget()
        ours = hst.read(NAME, index=index)
        assert 412 in {r.status for r in archive.requests}
        assert np.array_equal(ours["SCI"].data, old[:2900] + 1)


def test_headers_alone_are_proven_as_well(tmp_path):
    """Where nothing but headers is wanted, one byte is asked for: those of a version that is gone are not returned."""
    image = np.zeros((3000, 3000), "f4")
    put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]))
    with LocalArchive(tmp_path) as archive, Index(tmp_path / "index") as index:
        hst.read(NAME, index=index)
        archive.forget()
        hst.read(NAME, index=index, hdus=0)
        assert [r.range for r in archive.requests] == ["bytes=0-0"]
        put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="ERR")]))
        assert hst.read(NAME, index=index, hdus="ERR")["ERR"].data.shape == (3000, 3000)
        with pytest.raises(QueryError, match="no HDU SCI"):
            hst.read(NAME, index=index, hdus="SCI")
        put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(header=fits.Header({"NEW": 1})), fits.ImageHDU(image)]))
        assert hst.read(NAME, index=index, hdus=0)[0].header["NEW"] == 1


def test_what_the_index_says_is_missing_may_be_there_now(tmp_path):
    """A truncated file that was mended is read, and one that still is truncated is told so."""
    content = io.BytesIO()
    image = np.ones((3000, 3000), "f4")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]).writeto(content)
    put(tmp_path, NAME, content.getvalue()[:35_000_000])
    with LocalArchive(tmp_path), Index(tmp_path / "index") as index:
        for _ in range(2):
            with pytest.raises(TruncatedFileError, match="the object ends after 35000000"):
                hst.read(NAME, index=index)
        put(tmp_path, NAME, content.getvalue())
        assert np.array_equal(hst.read(NAME, index=index)["SCI"].data, image)


def test_an_object_that_is_gone_is_not_found(tmp_path):
    """Whatever the index knows."""
    image = np.zeros((3000, 3000), "f4")
    key = put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]))
    with LocalArchive(tmp_path), Index(tmp_path / "index") as index:
        hst.read(NAME, index=index)
        (tmp_path / key).unlink()
        with pytest.raises(NotInCloudError, match=NAME):
            hst.read(NAME, index=index)


@pytest.mark.parametrize("in_flight", [0, -1])
def test_requests_in_flight_are_a_number(in_flight):
    """None at a time would take for ever."""
    with pytest.raises(QueryError, match=f"in_flight must be at least 1, found {in_flight}"):
        hst.read(NAME, in_flight=in_flight)


def test_requests_in_flight_are_bounded(tmp_path):
    """As many as are asked for, and no more."""
    put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((6000, 3000), "f4"), name="SCI")]))
    with LocalArchive(tmp_path, latency=0.05) as archive:
        hst.read(NAME, in_flight=2)
        assert max(r.in_flight for r in archive.requests) == 2


def test_more_than_the_memory_holds_is_an_error(tmp_path, monkeypatch):
    """Of the system's promises none is believed: it would end this process later."""
    told = tmp_path / "meminfo"
    told.write_text("MemAvailable: 1 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", told)
    monkeypatch.setattr(memory, "_LARGE", 2000)
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(np.ones((100, 100), "f4"))]).writeto(content)
    put(tmp_path, NAME, content.getvalue())
    with pytest.raises(MemoryLimitError, match=r"40,000 bytes .*: 0 MB are available"):
        hst.read(NAME, store=tmp_path)


def test_a_truncated_file_is_an_error_unless_the_rest_is_not_wanted(tmp_path):
    """The message says how many bytes were wanted, and how many there are."""
    image = np.zeros((1000, 1000), "f4")
    hdus = fits.HDUList([fits.PrimaryHDU(), *[fits.ImageHDU(image, name="SCI", ver=v) for v in (1, 2)]])
    content = io.BytesIO()
    hdus.writeto(content)
    put(tmp_path, NAME, content.getvalue()[:5_000_000])
    with pytest.raises(TruncatedFileError, match=r"up to 80\d+ were wanted, but the object ends after 5000000"):
        hst.read(NAME, store=tmp_path)
    with pytest.warns(AstropyUserWarning, match="truncated"):
        ours = hst.read(NAME, store=tmp_path, hdus=("SCI", 1))
    assert np.array_equal(ours["SCI"].data, image)


def test_a_file_without_its_last_fill_is_read(tmp_path):
    """astropy reads it, too."""
    rows = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.arange(9))], name="EVENTS")
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), rows]).writeto(content)
    put(tmp_path, NAME, content.getvalue()[: -2880 + 36])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(hst.read(NAME, store=tmp_path)["EVENTS"].data["A"]) == list(range(9))


def test_what_is_no_fits_file_is_a_format_error(tmp_path):
    """As for open."""
    put(tmp_path, NAME, b"<html>" * 1000)
    with pytest.raises(FormatError, match=rf"{NAME} \(6000 bytes\) is no FITS file"):
        hst.read(NAME, store=tmp_path)


def test_a_table_that_astropy_cannot_read_is_a_format_error(tmp_path):
    """The message names the file and the HDU."""
    rows = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.arange(9))], name="EVENTS")
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), rows]).writeto(content)
    put(tmp_path, NAME, content.getvalue().replace(b"TTYPE1  = 'A       '", b"TFORM9  = 'A       '"))
    with pytest.raises(FormatError, match=rf"{NAME} has data in HDU EVENTS,1 that astropy cannot read"):
        hst.read(NAME, store=tmp_path)


def test_a_compressed_file_is_inflated(tmp_path):
    """It says so, and reads it once."""
    image = np.arange(5000, dtype="i2").reshape(50, 100)
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]).writeto(content)
    put(tmp_path, NAME + ".gz", gzip.compress(content.getvalue()))
    store = RecordingStore(tmp_path)
    with pytest.warns(HSTCloudWarning, match="compressed and cannot be read in parts") as caught:
        ours = hst.read(NAME + ".gz", store=store)
    assert caught[0].filename == __file__
    assert np.array_equal(ours["SCI"].data, image)
    assert ours["SCI"].data.dtype == np.dtype("i2")
    assert overlapping([r for batch in store.batches for r in batch]) == []


def test_a_product_without_a_place_is_not_in_the_cloud():
    """Nothing is sent."""
    with pytest.raises(NotInCloudError, match="hst_16912_02"):
        hst.read("hst_16912_02_acs_wfc_f606w_jety02_drc.fits")


# --- Real files ------------------------------------------------------------------------------------------------------


FILES = sorted(
    p.relative_to(SHARED_DATA) for p in (SHARED_DATA / "fits").rglob("*") if p.is_file() and p.suffix != ".hdr"
)


@pytest.fixture(params=FILES or ["none"], ids=str)
def real(request, shared_data, tmp_path):
    """Return a real file's path, and its place in a folder laid out like the bucket."""
    if request.param.suffix == ".Z":
        pytest.skip("Unix compress (.Z) is not read: astropy needs a package for it that is not a dependency")
    path = tmp_path / "hst" / "public" / "real" / request.param
    path.parent.mkdir(parents=True)
    path.write_bytes((shared_data / request.param).read_bytes())
    return path


@pytest.mark.filterwarnings("ignore")
def test_a_real_file_is_what_astropy_reads(real, tmp_path):
    """Bit for bit, and through a pickle; what astropy rejects is a FormatError."""
    uri = f"s3://stpubdata/{real.relative_to(tmp_path).as_posix()}"
    try:
        local = fits.open(real, memmap=False)
        for hdu in local:
            hdu.data  # noqa: B018  # some are rejected only when they are touched
    except (OSError, ValueError, TypeError):
        with pytest.raises(FormatError, match=real.name.replace(".", r"\.")):
            hst.read(uri, store=FolderStore(tmp_path))
        return
    with local:
        assert_same(pickle.loads(pickle.dumps(hst.read(uri, store=FolderStore(tmp_path)))), local)
