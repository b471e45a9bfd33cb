"""What several test modules share: a store that keeps a record, and equality of HDULists down to the bit."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import strategies as st

from hst_cloud.errors import FormatError
from hst_cloud.store.adapters import FolderStore

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
"""Real files beside the checkout, where there are any."""

DTYPES = ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]


class RecordingStore(FolderStore):
    """A folder whose reads are written down, batch by batch."""

    def __init__(self, folder):
        super().__init__(folder)
        self.batches = []

    def read(self, key, ranges, *, etag=None):
        self.batches.append(list(ranges))
        return super().read(key, ranges, etag=etag)

    @property
    def reads(self):
        return sum(len(batch) for batch in self.batches)


def adapted(over, archive):
    """Return s3fs or obstore on an archive, as a user may pass them."""
    if over == "s3fs":
        return pytest.importorskip("s3fs").S3FileSystem(
            anon=True, endpoint_url=archive.endpoint, skip_instance_cache=True
        )
    return pytest.importorskip("obstore.store").S3Store(
        "stpubdata", endpoint=archive.endpoint, region="us-east-1", skip_signature=True,
        client_options={"allow_http": True},
    )  # fmt: skip


def put(folder, name, content):
    """Write a file where the key rule expects it, and return its key."""
    root = name[:9]
    path = folder / "hst" / "public" / root[:4] / root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.writeto(path, overwrite=True)
    return path.relative_to(folder).as_posix()


def assert_same_hdulist(ours, local):
    """Compare all HDUs: kinds, headers card for card, data bit for bit; what raises there must raise here."""
    assert len(ours) == len(local)
    for mine, theirs in zip(ours, local, strict=True):
        assert isinstance(mine, type(theirs))
        assert mine.header.tostring(sep="\n", endcard=False) == theirs.header.tostring(sep="\n", endcard=False)
        assert mine.name == theirs.name
        assert mine.ver == theirs.ver
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_same_data(_data(mine), _data(theirs))


def _data(hdu):
    try:
        return hdu.data
    except (ValueError, TypeError, OSError) as error:
        return error


def assert_same_data(mine, theirs):
    if theirs is None or isinstance(theirs, Exception):
        assert repr(mine) == repr(theirs) or (isinstance(mine, FormatError) and str(mine).endswith(str(theirs)))
        return
    assert mine.dtype == theirs.dtype
    assert mine.shape == theirs.shape
    raw, expected = mine.view(np.ndarray), theirs.view(np.ndarray)
    for name in expected.dtype.names or [...]:  # by column: what lies between columns of an ASCII table is not data
        assert raw[name].tobytes() == expected[name].tobytes()
    if isinstance(theirs, fits.FITS_rec):
        for name in theirs.names:
            assert_same_column(mine, theirs, name)


def assert_same_column(mine, theirs, name):
    found, expected = _column(mine, name), _column(theirs, name)
    if isinstance(expected, str):
        assert found == expected
    elif expected.dtype == object:
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    else:
        assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()


def _column(table, name):
    """Return a column, or what astropy says of one that it cannot convert."""
    try:
        return table[name]
    except ValueError as error:
        return str(error)


def padded(cards):
    """Return a header of so many cards more than the mandatory ones."""
    header = fits.Header()
    for i in range(cards):
        header[f"KEY{i}"] = (i, "a comment that fills the card")
    return header


@st.composite
def hdulists(draw):
    """Make HDULists of every kind that has a size of its own."""
    hdus = [fits.PrimaryHDU(header=padded(draw(st.integers(0, 80))))]
    for i in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(["SCI", "ERR", "DQ", "o'clock", ""]))
        header = padded(draw(st.integers(0, 80)))
        match draw(st.sampled_from(["image", "table", "vla", "ascii", "compressed", "empty"])):
            case "image":
                shape = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
                data = np.arange(np.prod(shape)).reshape(shape).astype(draw(st.sampled_from(DTYPES)))
                hdus.append(fits.ImageHDU(data, header, name=name, ver=i + 1))
            case "table":
                rows = draw(st.integers(0, 50))
                columns = [fits.Column("A", "J", array=np.arange(rows)), fits.Column("B", "7A", array=["x"] * rows)]
                hdus.append(fits.BinTableHDU.from_columns(columns, name=name, ver=i + 1))
            case "vla":
                lengths = draw(st.lists(st.integers(0, 9), min_size=1))
                arrays = np.empty(len(lengths), dtype=object)
                arrays[:] = [np.arange(n) for n in lengths]
                hdus.append(fits.BinTableHDU.from_columns([fits.Column("V", "PJ()", array=arrays)], name=name))
            case "ascii":
                column = fits.Column("A", "I8", array=np.arange(draw(st.integers(1, 50))))
                hdus.append(fits.TableHDU.from_columns([column], name=name, ver=i + 1))
            case "compressed":
                data = np.arange(64 * 64, dtype="i4").reshape(64, 64)
                hdus.append(fits.CompImageHDU(data, name=name or "COMPRESSED_IMAGE", tile_shape=(16, 64)))
            case _:
                hdus.append(fits.ImageHDU(header=header, name=name, ver=i + 1))
    return hdus
