"""All reading verbs with the index and with siblings: exact requests and round trips, and no failure of the index."""

from __future__ import annotations

import inspect
import sqlite3
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from support import RecordingStore, put

import hst_cloud as hst
from hst_cloud.errors import HSTCloudWarning, ObjectNotFoundError
from hst_cloud.fits.index import Index
from hst_cloud.fits.predict import siblings
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo.imaging import acs_wfc_flc
from hst_cloud.values import ByteRange, Product

FLCS = ["jbqf03gjq_flc.fits", "jbqf03gmq_flc.fits", "jbqf03gpq_flc.fits"]
LARGE, SMALL = (acs_wfc_flc.to_bytes(rootname="jbqf03gjq", scale=scale) for scale in (4, 8))
VERBS = ["open", "headers", "cutout", "cutouts", "spectrum", "spectra", "table", "tables", "columns"]
X1D = "ld9m10ujq_x1dsum.fits"


def x1dsum(segments=("FUVA", "FUVB"), *, length=32768):
    """Return a COS x1dsum of 2 MB for 32768 pixels."""
    wavelength = np.arange(len(segments))[:, None] * 200 + np.linspace(1100, 1290, length)
    columns = [
        fits.Column("SEGMENT", "4A", array=list(segments)),
        fits.Column("WAVELENGTH", f"{length}D", unit="angstrom", array=wavelength),
        fits.Column("FLUX", f"{length}E", unit="erg /s /cm**2 /angstrom", array=wavelength * 1e-15),
        fits.Column("ERROR", f"{length}E", unit="erg /s /cm**2 /angstrom", array=wavelength * 1e-16),
        fits.Column("DQ_WGT", f"{length}E", array=np.ones(wavelength.shape)),
        fits.Column("NUMS", f"{length}D", array=np.ones(wavelength.shape)),
    ]
    primary = fits.PrimaryHDU(header=fits.Header({"INSTRUME": "COS", "DETECTOR": "FUV"}))
    return fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="SCI")])


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three flc of one shape, and a spectrum of 2 MB."""
    for name in FLCS:
        put(tmp_path / "archive", name, LARGE)
    put(tmp_path / "archive", X1D, x1dsum())
    return tmp_path / "archive"


@pytest.fixture
def store(folder):
    return RecordingStore(folder)


@pytest.fixture
def index(tmp_path):
    with Index(tmp_path / "cache") as index:
        yield index


def sky(folder, x=500, y=256):
    """Return the position of a pixel of the second chip."""
    with fits.open(next(folder.rglob(FLCS[0]))) as hdul:
        wcs = WCS(hdul["SCI", 2].header, hdul)
        wcs.wcs.fix()
        return wcs.pixel_to_world(x, y)


def shape(store):
    """Return how many requests each round trip had, and forget them."""
    sizes = [len(batch) for batch in store.batches]
    store.batches.clear()
    return sizes


# --- One file --------------------------------------------------------------------------------------------------------


def test_every_reading_verb_takes_an_index_and_uses_the_users_own():
    """By name alone, and described in the same words."""
    for name in VERBS:
        verb = getattr(hst, name)
        parameter = inspect.signature(verb).parameters["index"]
        assert (parameter.kind, parameter.default) == (parameter.KEYWORD_ONLY, True), name
        assert "index" in verb.__doc__, name
    for name in ("headers", "cutout", "spectrum", "table"):
        text = " ".join(getattr(hst, name).__doc__.split())
        assert "index : Index or bool, optional Where layouts and headers are kept, as for `~hst_cloud.open`." in text


def test_the_users_own_index_is_used_by_default(folder, tmp_path, monkeypatch):
    """Where HST_CLOUD_CACHE says; not for a folder, which costs nothing to read."""
    monkeypatch.setenv("HST_CLOUD_CACHE", str(tmp_path / "own"))
    hst.cutout(FLCS[0], (10, 10), 4, store=folder)
    assert not (tmp_path / "own").exists()
    with LocalArchive(folder) as archive:
        hst.cutout(FLCS[0], (10, 10), 4)
        archive.forget()
        with hst.open(FLCS[0]) as hdul:
            assert len(hdul) == 20
        assert archive.requests == []
        hst.open(FLCS[0], index=False).close()
        assert archive.requests != []
    assert [path.name for path in (tmp_path / "own").iterdir() if path.suffix == ".sqlite"] == ["layouts-2.sqlite"]


def test_a_cutout_of_a_known_file_is_one_round_trip(store, folder, index):
    """Pixels, errors and flags around a position on the sky: three ranges at once, tables of distortion included."""
    center = sky(folder)
    first = hst.cutout(FLCS[0], center, 100, store=store, index=index)
    assert shape(store) == [1, 6, 3]
    siblings.cache_clear()
    again = hst.cutout(FLCS[0], center, 100, store=store, index=index)
    assert shape(store) == [3]
    assert np.array_equal(again.data, first.data)
    assert np.array_equal(again.uncertainty.array, first.uncertainty.array)
    assert np.array_equal(again.wcs.all_pix2world(3, 4, 0), first.wcs.all_pix2world(3, 4, 0))
    assert again.meta["S3ETAG"] == first.meta["S3ETAG"]


def test_a_cutout_of_a_replaced_file_is_of_the_new_one(folder, index):
    """Pinned requests are refused, then everything is read anew; a position that the old one lacks is found."""
    with LocalArchive(folder) as archive:
        hst.cutout(FLCS[0], (100, 100), 10, index=index)
        put(folder, FLCS[0], SMALL)
        archive.forget()
        cut = hst.cutout(FLCS[0], (100, 100), 10, index=index)
        assert 1 <= [r.status for r in archive.requests].count(412) <= 3  # the first one ends the others
        with fits.open(next(folder.rglob(FLCS[0]))) as local:
            assert np.array_equal(cut.data, local["SCI", 1].data[95:105, 95:105])
        put(folder, FLCS[0], LARGE)
        assert hst.cutout(FLCS[0], (900, 500), 10, index=index).shape == (10, 10)  # outside of the smaller one


@pytest.mark.parametrize("verb", ["table", "spectrum", "columns"])
def test_a_known_table_is_one_round_trip(verb, store, index):
    """Of 2 MB of unknown size: two round trips without an index, one request with it."""
    read = {
        "table": lambda: hst.table(X1D, store=store, index=index)["FLUX"].value[1],
        "spectrum": lambda: hst.spectrum(X1D, segment="FUVB", store=store, index=index).flux.value,
        "columns": lambda: next(hst.columns(X1D, store=store, index=index))[1]["FLUX"][1],
    }[verb]
    first = read()
    assert shape(store) == [1, 1]
    siblings.cache_clear()
    assert np.array_equal(read(), first)
    assert shape(store) == [1]


def test_a_small_file_is_not_kept(tmp_path, index):
    """It comes whole as it is: nothing is looked up where its size is known, and nothing written."""
    put(tmp_path / "archive", X1D, x1dsum(length=64))
    size = next((tmp_path / "archive").rglob(X1D)).stat().st_size
    product = Product(filename=X1D, key=f"hst/public/ld9m/ld9m10ujq/{X1D}", size=size)
    store = RecordingStore(tmp_path / "archive")
    for _ in range(2):
        hst.spectra([product], store=store, index=index)
        list(hst.tables([product], "SCI", store=store, index=index))
        hst.open(product, store=store, index=index).close()
    assert not (tmp_path / "cache").exists()
    hst.spectra(X1D, store=store, index=index)
    assert [len(batch) for batch in store.batches] == [1] * 7
    assert index.get(store, product.key) is None


# --- Many files ------------------------------------------------------------------------------------------------------


def test_known_files_cost_what_their_pixels_do(folder, index):
    """Three files that an earlier call has read: three GETs each, and no more."""
    with LocalArchive(folder) as archive:
        first = hst.cutouts(FLCS, sky(folder), 100, index=index)
        archive.forget()
        again = hst.cutouts(FLCS, sky(folder), 100, index=index)
        assert [(r.method, r.status) for r in archive.requests] == [("GET", 206)] * 9
    assert [np.array_equal(one.data, other.data) for one, other in zip(first, again, strict=True)] == [True] * 3


def test_files_like_one_before_take_one_round_trip_for_their_headers(store):
    """Within a call, and from one call to the next, whichever verb it was."""
    hst.cutouts(FLCS, (500, 256), 100, store=store, in_flight=1)
    assert shape(store) == [1, 6, 3, 7, 3, 7, 3]
    siblings.cache_clear()
    hst.open(FLCS[0], store=store).close()
    shape(store)
    hst.cutout(FLCS[1], (500, 256), 100, store=store)
    assert shape(store) == [7, 3]
    list(hst.tables(FLCS[2], "WCSCORR", store=store))
    assert shape(store)[0] == 7
    siblings.cache_clear()
    hst.cutout(FLCS[1], (500, 256), 100, store=store)
    shape(store)
    hst.open(FLCS[2], store=store).close()
    assert shape(store) == [7]


def test_a_small_file_like_a_smaller_one_is_still_one_request(tmp_path):
    """Of kinds that are small, 1 MiB is asked for where the size is not known, whatever was seen before."""
    others = [X1D.replace("jq", letter + "q") for letter in "kl"]
    for name, length in zip(others, (64, 14000), strict=True):
        put(tmp_path, name, x1dsum(length=length))
    store = RecordingStore(tmp_path)
    assert [len(hst.spectra(name, store=store)) for name in others] == [2, 2]
    assert store.batches == [[ByteRange(0, 1024 * 1024)]] * 2


def test_headers_profit_from_files_that_other_calls_have_walked(store):
    """No more headers are asked for than those that are wanted, all of them at once."""
    hst.headers(FLCS[0], "SCI,2.PHOTFLAM", store=store)
    alone = shape(store)
    assert alone == [1, 1, 1, 1]
    hst.open(FLCS[0], store=store).close()
    shape(store)
    found = hst.headers(FLCS[1], ["SCI,2.EXTVER", "ERR,1.BITPIX"], store=store)
    assert shape(store) == [4]
    assert found["SCI,2.EXTVER"].tolist() == [2]
    assert hst.headers(FLCS[1], "NONE,1.BITPIX", store=store)["NONE,1.BITPIX"].mask.tolist() == [True]
    assert len(store.batches) == 1


def test_headers_come_from_the_index_where_a_listing_tells_the_version(folder, index):
    """Without one, or with that of another version, they are read: nothing else would prove them."""
    with LocalArchive(folder) as archive:
        hst.open(FLCS[0], index=index).close()
        listed = hst.resolve(FLCS[0], verify=True)
        archive.forget()
        known = hst.headers(listed, ["ROOTNAME", "SCI,2.NAXIS1", "NONE.BITPIX"], index=index)
        assert archive.requests == []
        assert known.meta["requests"] == 0
        hst.headers(FLCS[0], "SCI,2.NAXIS1", index=index)
        assert archive.requests != []
        put(folder, FLCS[0], SMALL)
        assert hst.headers(FLCS[0], "SCI,2.NAXIS1", index=index)["SCI,2.NAXIS1"][0] == 512
        replaced = hst.resolve(FLCS[0], verify=True)
        assert hst.headers(replaced, "SCI,2.NAXIS1", index=index)["SCI,2.NAXIS1"][0] == 512
        assert hst.headers(listed, "SCI,2.NAXIS1", index=False)["SCI,2.NAXIS1"][0] == 512
    assert known["SCI,2.NAXIS1"][0] == 1024
    assert known["NONE.BITPIX"].mask.tolist() == [True]


def test_what_a_truncated_file_may_lack_is_not_missing(folder, index):
    """The index does not know whether the headers behind the end exist: the file is asked, and the error is its own."""
    path = next(folder.rglob(FLCS[0]))
    path.write_bytes(LARGE[: 4 * 1024 * 1024])
    with LocalArchive(folder):
        with pytest.warns((HSTCloudWarning, AstropyUserWarning), match="truncated"):
            hst.open(FLCS[0], index=index).close()
        listed = hst.resolve(FLCS[0], verify=True)
        with pytest.raises(hst.errors.TruncatedFileError):
            hst.headers(listed, "SCI,2.NAXIS1", index=index)


def test_a_broken_product_is_forgotten_and_the_others_are_kept(folder, index, store):
    """What is gone is an error in its turn, and the index drops it."""
    hst.cutouts(FLCS, (500, 256), 10, store=store, index=index)
    keys = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*_flc.fits"))]
    (folder / keys[1]).unlink()
    with pytest.raises(ObjectNotFoundError):
        hst.cutouts(FLCS, (500, 256), 10, store=store, index=index)
    with pytest.warns(HSTCloudWarning, match="1 cutout was skipped"):
        found = hst.cutouts(FLCS, (500, 256), 10, store=store, index=index, on_error="skip")
    assert len(found) == 2
    assert [index.get(store, key) is None for key in keys] == [False, True, False]


# --- Where the index fails -------------------------------------------------------------------------------------------


def test_an_index_that_is_damaged_in_the_middle_costs_requests_alone(folder, store, index):
    """Results are those without an index, nothing is said, and the index is made anew."""
    names = [f"jbqf03g{letter}q_flc.fits" for letter in "abcdefgh"]
    for name in names:
        put(folder, name, LARGE)
    expected = [table["WCS_ID"].tolist() for _, table in hst.tables(names, "WCSCORR", store=store)]
    list(hst.tables(names, "WCSCORR", store=store, index=index))
    results = hst.tables(names, "WCSCORR", store=store, index=index, in_flight=1)
    found = [next(results)[1]["WCS_ID"].tolist()]
    index._database.close()
    with index._database._file.open("r+b") as file:
        file.write(b"\xff" * index._database._file.stat().st_size)
    found += [table["WCS_ID"].tolist() for _, table in results]
    assert found == expected
    siblings.cache_clear()
    store.batches.clear()
    list(hst.tables(names[-1], "WCSCORR", store=store, index=index))
    assert shape(store) == [1]


def test_without_a_place_for_the_index_one_warning_is_given(folder, store, tmp_path):
    """A folder that cannot be made: every verb works as without an index."""
    (tmp_path / "file").write_bytes(b"")
    nowhere = Index(tmp_path / "file" / "cache")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = hst.cutouts(FLCS, (500, 256), 10, store=store, index=nowhere)
        tables = list(hst.columns(X1D, store=store, index=nowhere))
        hst.open(FLCS[0], store=store, index=nowhere).close()
        hst.headers(FLCS, store=store, index=nowhere)
    assert ["layouts are not remembered" in str(one.message) for one in said] == [True]
    assert said[0].category is HSTCloudWarning
    assert len(found) == 3
    assert len(tables) == 1


def test_an_index_that_cannot_be_written_any_more_costs_requests_alone(folder, store, index):
    """Another process holds it for longer than anybody waits: nothing is kept, and nothing is said."""
    hst.open(FLCS[0], store=store, index=index).close()
    other = sqlite3.connect(index._database._file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert len(hst.cutouts(FLCS, (500, 256), 10, store=store, index=index)) == 3
    other.execute("ROLLBACK")
    other.close()
    store.batches.clear()
    hst.cutout(FLCS[0], (500, 256), 10, uncertainty=False, mask=False, store=store, index=index)
    assert shape(store) == [1]


def test_an_error_in_a_known_file_is_proven(folder, store, index):
    """That a position is outside, or an HDU missing, is the word of the file that is there now."""
    center = sky(folder)
    hst.cutout(FLCS[0], center, 10, store=store, index=index)
    store.batches.clear()
    with pytest.raises(hst.errors.QueryError, match="hdu='SCI,7' is not there"):
        hst.cutout(FLCS[0], center, 10, hdu="SCI,7", store=store, index=index)
    with pytest.raises(hst.errors.OutsideImageError):
        hst.cutout(FLCS[0], (5000, 5000), 10, store=store, index=index)
    assert store.batches == [[ByteRange(0, 1)]] * 2
