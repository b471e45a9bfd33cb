"""Every real file at hand, served over sockets, is bit for bit what astropy reads from the disk."""

from __future__ import annotations

import warnings

import pytest
from astropy.io import fits
from support import SHARED_DATA, assert_same_hdulist

import hst_cloud as hst
from hst_cloud.errors import FormatError
from hst_cloud.testing import LocalArchive

FILES = sorted(
    p.relative_to(SHARED_DATA) for p in (SHARED_DATA / "fits").rglob("*") if p.is_file() and p.suffix != ".hdr"
)


@pytest.fixture(scope="module")
def archive(shared_data, tmp_path_factory):
    """Serve all files below one prefix of the bucket."""
    folder = tmp_path_factory.mktemp("real")
    for name in FILES:
        path = folder / "hst" / "public" / "real" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((shared_data / name).read_bytes())
    with LocalArchive(folder) as archive:
        yield archive


@pytest.fixture(params=FILES or ["none"], ids=str)
def name(request, shared_data):
    if request.param.suffix == ".Z":
        pytest.skip("Unix compress (.Z) is not read: astropy needs a package for it that is not a dependency")
    return request.param


@pytest.mark.filterwarnings("ignore")
def test_a_real_file_equals_what_astropy_reads(name, archive, shared_data):
    """The same HDUs, headers card for card and data bit for bit; what astropy rejects is a FormatError."""
    uri = f"s3://stpubdata/hst/public/real/{name.as_posix()}"
    archive.forget()
    try:
        local = fits.open(shared_data / name, memmap=False)
        len(local)
    except (OSError, ValueError, TypeError):
        with pytest.raises(FormatError, match=name.name.replace(".", r"\.")):
            hst.open(uri, store=archive.endpoint)
        return
    with local, hst.open(uri, store=archive.endpoint) as ours:
        if name.suffix in {".gz", ".bz2"}:
            assert sum(r.bytes for r in archive.requests) == (shared_data / name).stat().st_size
        else:
            assert len(archive.requests) <= len(local)
        assert {r.method for r in archive.requests} == {"GET"}
        assert_same_hdulist(ours, local)


def test_the_warning_says_the_bytes_of_a_compressed_file(archive, shared_data):
    """A real gzipped file is read whole, and says so."""
    name = "fits/hst/cos/ldfd01010_asn.fits.gz"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hst.open(f"s3://stpubdata/hst/public/real/{name}", store=archive.endpoint).close()
    assert any(f"all of its {(shared_data / name).stat().st_size} bytes" in str(w.message) for w in caught)
