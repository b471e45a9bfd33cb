"""`hst_cloud.to_dask`: astropy's values, by ranges for each chunk, wherever it is computed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from support import DTYPES, RecordingStore, put

import hst_cloud as hst
from hst_cloud.errors import ObjectChangedError, QueryError, TruncatedFileError
from hst_cloud.testing import LocalArchive

pytest.importorskip("dask")

NAME = "jbqf03gjq_flc.fits"


def image(shape=(200, 300), dtype="f4", **cards):
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    made = fits.ImageHDU(data, name="SCI")
    made.header.update(cards)
    return fits.HDUList([fits.PrimaryHDU(), made])


@given(
    shape=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    dtype=st.sampled_from(DTYPES),
    rows=st.none() | st.integers(1, 40),
)
@settings(max_examples=60)
def test_the_values_are_those_of_astropy(tmp_path_factory, shape, dtype, rows):
    """Of every type and dimension, chunk by chunk."""
    folder = tmp_path_factory.mktemp("archive")
    put(folder, NAME, image(shape, dtype))
    array = hst.to_dask(NAME, "SCI", rows=rows, store=folder, index=False)
    with fits.open(next(folder.rglob(NAME))) as local:
        expected = local["SCI"].data
        assert array.shape == expected.shape
        computed = array.compute(scheduler="synchronous")
        assert computed.dtype == array.dtype == expected.dtype.newbyteorder("=")
        assert np.array_equal(computed, expected)


def test_each_chunk_is_one_batch_of_its_own_rows(tmp_path):
    """Nothing is read before it is computed, and then no rows but those that are wanted."""
    put(tmp_path, NAME, image())
    store = RecordingStore(tmp_path)
    array = hst.to_dask(NAME, rows=50, store=store, index=False)
    assert array.chunks == ((50, 50, 50, 50), (300,))
    headers = len(store.batches)
    array[60:90].compute(scheduler="synchronous")
    (batch,) = store.batches[headers:]
    (wanted,) = batch
    assert (wanted.size, wanted.start % 2880) == (50 * 300 * 4, 50 * 300 * 4 % 2880)


def test_chunks_are_sixteen_mebibytes(tmp_path):
    """By default, and whole rows."""
    put(tmp_path, NAME, image((5000, 2000)))
    array = hst.to_dask(NAME, store=tmp_path, index=False)
    assert array.chunks == ((2097, 2097, 806), (2000,))


def test_an_array_that_is_one_number_is_filled(tmp_path):
    """The pipelines' null arrays have no bytes to read."""
    primary = fits.PrimaryHDU()
    null = fits.ImageHDU(name="ERR")
    null.header.update(NPIX1=7, NPIX2=5, PIXVALUE=3, BITPIX=16)
    put(tmp_path, NAME, fits.HDUList([primary, null]))
    assert np.array_equal(hst.to_dask(NAME, "ERR", store=tmp_path, index=False).compute(), np.full((5, 7), 3))


def test_it_pickles_and_is_computed_elsewhere(tmp_path, client):
    """A worker reads from the archive that the array was made of, whatever its own environment says."""
    put(tmp_path / "archive", NAME, image())
    with LocalArchive(tmp_path / "archive") as archive:
        array = pickle.loads(pickle.dumps(hst.to_dask(NAME, rows=50, index=False)))
        headers = len(archive.requests)
        total = client.compute(array.sum(dtype="f8")).result(timeout=60)
        assert total == np.arange(60000).sum()
        assert len(archive.requests) - headers == 4


def test_all_chunks_are_of_one_version(tmp_path):
    """A file that is replaced between two of them is an error, and no mixture."""
    put(tmp_path / "archive", NAME, image())
    with LocalArchive(tmp_path / "archive"):
        array = hst.to_dask(NAME, rows=50, index=False)
        array[:50].compute()
        put(tmp_path / "archive", NAME, image(dtype="i4"))
        with pytest.raises(ObjectChangedError, match=NAME):
            array[50:].compute()


def test_what_cannot_be_read_in_parts_is_said_so(tmp_path):
    """No such HDU, a table, a tile-compressed image, a truncated file, rows that make no sense."""
    hdul = image()
    hdul.append(fits.CompImageHDU(np.zeros((20, 20), "i2"), name="TILES"))
    put(tmp_path, NAME, hdul)
    for hdu in ("DQ", "TILES", 0):
        with pytest.raises(QueryError, match=rf"hdu={hdu!r} of .* holds PRIMARY,1, SCI,1, TILES,1"):
            hst.to_dask(NAME, hdu, store=tmp_path, index=False)
    with pytest.raises(QueryError, match="rows must be at least 1, found 0"):
        hst.to_dask(NAME, rows=0, store=tmp_path)
    put(tmp_path, "jbqf03gkq_flc.fits", next(tmp_path.rglob(NAME)).read_bytes()[:100_000])
    with pytest.raises(TruncatedFileError, match=r"HDU SCI of .*jbqf03gkq_flc.fits ends at byte \d+"):
        hst.to_dask("jbqf03gkq_flc.fits", store=tmp_path, index=False)
