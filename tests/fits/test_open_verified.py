"""Files whose bytes are checked before they are believed, where somebody asks for it."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from support import put

import hst_cloud as hst
from hst_cloud.errors import CorruptFileError, HSTCloudWarning
from hst_cloud.testing import Fault, LocalArchive

NAME = "jbqf03gjq_flc.fits"
VERBS = pytest.mark.parametrize("verb", [hst.open, hst.read], ids=["open", "read"])


@pytest.fixture
def hdul():
    """Return a file that is too large for one range."""
    image = np.arange(600_000, dtype="f4").reshape(800, 750)
    return fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")])


@pytest.fixture
def archive(tmp_path, hdul):
    """Serve it."""
    put(tmp_path, NAME, hdul)
    with LocalArchive(tmp_path) as running:
        yield running


@VERBS
def test_bytes_that_are_the_right_ones(archive, hdul, verb):
    """The list says which check it was; what is read later are the bytes that were checked, and nothing is asked for."""
    with verb(NAME, verify=True) as ours:
        assert ours.verified == "md5"
        size = sum(request.bytes for request in archive.requests)
        assert size <= (archive.folder / "hst/public/jbqf/jbqf03gjq" / NAME).stat().st_size
        archive.forget()
        np.testing.assert_array_equal(ours["SCI"].data, hdul["SCI"].data)
    assert archive.requests == []


@VERBS
def test_row_27_a_bit_that_was_flipped(archive, verb):
    """It is noticed, and the error says what was expected and what was found."""
    archive.faults = Fault(service="s3", flip=1000, on="GET")
    with pytest.raises(CorruptFileError, match=rf"{NAME} are not the right ones: expected MD5 [0-9a-f]{{32}}.* found"):
        verb(NAME, verify=True)


@VERBS
@pytest.mark.parametrize(("sums", "said"), [(True, "FITS checksum (2 of 2 HDUs)"), (False, "length+etag only")])
def test_where_the_version_is_no_checksum(tmp_path, hdul, verb, sums, said):
    """Then the file's own sums are compared; where there are none, a warning says so."""
    path = tmp_path / put(tmp_path, NAME, hdul)
    hdul.writeto(path, checksum=sums, overwrite=True)
    if sums:
        assert verb(NAME, store=tmp_path, verify=True).verified == said
        content = path.read_bytes()
        path.write_bytes(content.replace(b"\x47\x12\x34\x00", b"\x47\x12\x34\x01"))
        with pytest.raises(CorruptFileError, match=r"HDU 1 .SCI.: expected DATASUM"):
            verb(NAME, store=tmp_path, verify=True)
        return
    with pytest.warns(HSTCloudWarning, match=r"tells no checksum of its content: it was checked for length\+etag only"):
        assert verb(NAME, store=tmp_path, verify=True).verified == said


@VERBS
def test_a_compressed_file(archive, hdul, verb):
    """The bytes that are checked are those of the object."""
    buffer = io.BytesIO()
    hdul.writeto(buffer)
    put(archive.folder, f"{NAME}.gz", gzip.compress(buffer.getvalue()))
    with pytest.warns(HSTCloudWarning, match="is compressed"):
        ours = verb(f"{NAME}.gz", verify=True)
    assert ours.verified == "md5"
    np.testing.assert_array_equal(ours["SCI"].data, hdul["SCI"].data)
