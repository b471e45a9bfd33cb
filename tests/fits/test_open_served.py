"""hst_cloud.open over real sockets: what MAST alone holds, how many requests, and an impatient user."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from sparse_files import Sparse
from support import RecordingStore, adapted, put

import hst_cloud as hst
from hst_cloud.errors import NotInCloudError, ObjectChangedError, ObjectNotFoundError, QueryError
from hst_cloud.fits.index import Index
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo.imaging import acs_wfc_flc
from hst_cloud.values import ByteRange

NAME = "jbqf03gjq_flc.fits"
HAP = "hst_16912_02_acs_wfc_f606w_jety02_drc.fits"


@pytest.fixture
def image():
    return np.arange(1000 * 500, dtype=">f4").reshape(500, 1000)


@pytest.fixture
def archive(tmp_path, image):
    content = fits.HDUList([fits.PrimaryHDU(), *[fits.ImageHDU(image, name="SCI", ver=i) for i in (1, 2, 3)]])
    put(tmp_path, NAME, content)
    (tmp_path / "mast-only").mkdir()
    content.writeto(tmp_path / "mast-only" / HAP)
    content.writeto(tmp_path / "mast-only" / "jbqf03gkq_flc.fits")
    products = [{"dataURI": f"mast:HST/product/{name}", "obs_id": name[:9]} for name in (HAP, "jbqf03gkq_flc.fits")]
    (tmp_path / "catalog.json").write_text(json.dumps({"products": products}))
    with LocalArchive(tmp_path) as archive:
        yield archive


def test_opening_and_reading_cost_what_is_promised(archive, image):
    """At most one GET an HDU, one for a section, none for a second look at headers, and never a HEAD."""
    with hst.open(NAME) as hdul:
        assert len(archive.requests) <= len(hdul)
        assert sum(r.bytes for r in archive.requests) <= 4 * 64 * 1024
        archive.forget()
        assert [h.header.get("EXTNAME") for h in hdul] == [None, "SCI", "SCI", "SCI"]
        assert archive.requests == []
        assert np.array_equal(hdul["SCI", 2].section[100:130, 100:130], image[100:130, 100:130])
        assert len(archive.requests) == 1
        assert archive.requests[0].bytes == 29 * 4000 + 30 * 4
        archive.forget()
        assert np.array_equal(hdul["SCI", 3].data, image)
        assert sum(r.bytes for r in archive.requests) <= image.nbytes
    assert {r.method for r in archive.requests} == {"GET"}


def test_mast_serves_what_the_bucket_does_not_hold_when_asked(archive, image):
    """A HAP product has no key; source='mast' reads it by ranges from the Download service, and only then."""
    with pytest.raises(NotInCloudError, match="source='mast'"):
        hst.open(HAP)
    assert archive.requests == []
    with hst.open(f"mast:HST/product/{HAP}", source="mast") as hdul:
        assert np.array_equal(hdul["SCI", 2].section[7:9], image[7:9])
    assert {r.service for r in archive.requests} == {"mast"}
    assert sum(r.bytes for r in archive.requests) < 1e6 < (archive.folder / "mast-only" / HAP).stat().st_size


def test_a_source_that_is_not_known_is_refused(archive):
    """It was read from the bucket without a word."""
    with pytest.raises(QueryError, match="source='aws' is not known: expected 'bucket' or 'mast'"):
        hst.open(NAME, source="aws")
    assert archive.requests == []


def test_with_mast_as_source_the_bucket_still_comes_first(archive, image):
    """What the bucket holds is read there; what it should hold and does not, from MAST."""
    with hst.open(NAME, source="mast") as hdul:
        assert len(hdul) == 4
    assert {r.service for r in archive.requests} == {"s3"}
    with pytest.raises(NotInCloudError, match="source='mast'"):
        hst.open("jbqf03gkq_flc.fits")
    archive.forget()
    with hst.open("jbqf03gkq_flc.fits", source="mast") as hdul:
        assert np.array_equal(hdul["SCI", 1].section[0], image[0])
    assert not any("path_lookup" in r.path for r in archive.requests)


def test_a_replaced_object_is_found_by_the_server(archive, image, tmp_path):
    """If-Match goes with every range: the answer is 412, and the error has the request's id."""
    with hst.open(NAME) as hdul:
        put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image + 1), fits.ImageHDU(image)]))
        archive.forget()
        with pytest.raises(ObjectChangedError, match="replaced") as caught:
            hdul[1].section[300]
    assert [r.status for r in archive.requests] == [412]
    assert caught.value.request_id


def test_a_product_is_opened_by_another_process(archive, image):
    """A pickled product opens in a child that was told nothing but the environment."""
    product = pickle.dumps(hst.Product(filename=NAME, key=f"hst/public/jbqf/jbqf03gjq/{NAME}"))
    code = f"import pickle, hst_cloud; print(hst_cloud.open(pickle.loads({product!r}))['SCI', 1].section[3, 4])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) == image[3, 4]
    assert done.stderr == ""


def test_a_file_opened_before_a_fork_reads_after_it(archive, image):
    """The child makes connections of its own; the parent's go on."""
    code = f"""
import os, warnings, numpy, hst_cloud
warnings.simplefilter("ignore")
hdul = hst_cloud.open({NAME!r})
before = hdul["SCI", 1].section[10]
child = os.fork()
same = numpy.array_equal(hdul["SCI", 1].section[10], before) and hdul["SCI", 2].section[499, 999] == 499_999
if child == 0:
    os._exit(0 if same else 1)
assert same and os.waitpid(child, 0)[1] == 0
print("both")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "both\n"


def test_a_waiting_main_thread_answers_ctrl_c(tmp_path, image):
    """An archive that takes ten seconds for an answer does not keep the user."""
    put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]))
    code = f"""
import hst_cloud, time
print("ready", flush=True)
try:
    hst_cloud.open({NAME!r})
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
"""
    with LocalArchive(tmp_path, latency=10) as archive:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.7)  # by then it waits for the first byte
        sent = time.time()
        os.kill(child.pid, signal.SIGINT)
        word, when = child.stdout.readline().split()
        assert word == "interrupted"
        assert float(when) - sent < 4  # at once, if the machine is not busy
        assert child.wait(timeout=60) == 0
        child.stdout.close()
        archive.stop()


def test_ranges_are_exact(archive):
    """What goes over the wire is what was asked for, in S3's form."""
    with hst.open(NAME) as hdul:
        archive.forget()
        start = hdul[2]._data_offset + 4000 * 20
        hdul[2].section[20:22]
    assert archive.requests[0].range == f"bytes={start}-{ByteRange(start, start + 8000).stop - 1}"


def test_a_wcs_finds_its_distortion_tables(tmp_path):
    """WCS(header, hdul) reads D2IMARR and WCSDVARR through the open file, with the local file's result."""
    key = put(tmp_path, NAME, acs_wfc_flc(rootname=NAME[:9], scale=32))
    with LocalArchive(tmp_path), hst.open(NAME) as ours, fits.open(tmp_path / key) as local:
        assert len(ours) == 20
        for version in (1, 2):
            mine, theirs = (WCS(hdul["SCI", version].header, hdul) for hdul in (ours, local))
            assert mine.cpdis1 is not None
            assert mine.det2im1 is not None
            grid = np.meshgrid(np.linspace(0, 100, 7), np.linspace(0, 50, 7))
            assert np.array_equal(mine.all_pix2world(*grid, 0), theirs.all_pix2world(*grid, 0))


SIBLING = "jbqf03gkq_flc.fits"


@pytest.fixture
def full_size(tmp_path):
    """Write two flc of 168 MB, which take 1 MB of the disk."""
    for name in (NAME, SIBLING):
        file = Sparse(acs_wfc_flc.to_bytes(rootname=name[:9], scale=64), (2048, 4096))
        file.write(tmp_path / "hst" / "public" / name[:4] / name[:9] / name)
    return tmp_path


def test_an_flc_of_168_megabytes_costs_what_is_promised(full_size):
    """All headers: at most 8 GETs and 0.8 MB; known from the index: none; a section then one round trip; no HEAD."""
    with LocalArchive(full_size) as archive, Index(full_size / "index") as index:
        for name in (NAME, SIBLING):
            archive.forget()
            with hst.open(name, index=index) as hdul:
                assert len(hdul) == 20
                assert [h.name for h in hdul][15:] == ["HDRLET", "HDRLET", "WCSCORR", "HDRLET", "HDRLET"]
                assert len(archive.requests) <= 8
                assert sum(r.bytes for r in archive.requests) <= 800_000
                archive.forget()
                assert hdul["SCI", 1].section[1000:1100, 2000:2100].shape == (100, 100)
                assert 0 < sum(r.bytes for r in archive.requests) <= 100 * 4096 * 4
            assert {r.method for r in archive.requests} == {"GET"}
        archive.forget()
        with hst.open(NAME, index=index) as hdul:
            assert len(hdul) == 20
            assert hdul["SCI", 2].header["EXTVER"] == 2
            assert archive.requests == []


def test_round_trips_of_an_flc(full_size):
    """Two for the headers, one for them when a sibling was opened before, and one for a section."""
    store = RecordingStore(full_size)
    for name, trips in ((NAME, 2), (SIBLING, 1)):
        store.batches.clear()
        with hst.open(name, store=store) as hdul:
            assert len(store.batches) == trips
            hdul["SCI", 2].section[1000:1100, 2000:2100]
            assert len(store.batches) == trips + 1 <= 3


def test_a_product_with_a_size_is_opened_in_one_round_trip(tmp_path):
    """Of a file of at most 1 MB all is read at once, data too; its size comes from the product list."""
    key = put(tmp_path, NAME, acs_wfc_flc(rootname=NAME[:9], scale=64))
    size = (tmp_path / key).stat().st_size
    store = RecordingStore(tmp_path)
    with hst.open(hst.Product(filename=NAME, key=key, size=size), store=store) as hdul:
        assert hdul["SCI", 2].data is not None
    assert store.batches == [[ByteRange(0, size)]]


def test_a_replaced_object_that_the_index_knew_is_found_and_forgotten(archive, image, tmp_path):
    """The open list raises at its first data, since it is of the old version; opened again it is the new one."""
    with Index(tmp_path / "index") as index:
        hst.open(NAME, index=index).close()
        put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), *[fits.ImageHDU(image + 1, name="SCI", ver=1)] * 3]))
        archive.forget()
        with hst.open(NAME, index=index) as hdul:
            assert archive.requests == []
            with pytest.raises(ObjectChangedError, match="replaced"):
                hdul["SCI", 1].section[300]
        with hst.open(NAME, index=index) as hdul:
            assert np.array_equal(hdul["SCI", 1].section[300], image[300] + 1)


@pytest.mark.parametrize("over", ["s3fs", "obstore"])
def test_a_larger_sibling_does_no_harm_over_other_stores(over, full_size):
    """Where a store refuses ranges behind the end, the first block is asked for instead."""
    put(full_size, SIBLING, acs_wfc_flc(rootname=SIBLING[:9], scale=4))
    with LocalArchive(full_size) as archive:
        store = adapted(over, archive)
        with hst.open(NAME, store=store) as hdul:
            assert hdul["SCI", 1].shape == (2048, 4096)
        with hst.open(SIBLING, store=store) as hdul:
            assert len(hdul) == 20
            assert hdul["SCI", 1].shape == (512, 1024)


def test_an_exclusive_product_says_that_it_is(archive):
    """What the table marks as exclusive and the bucket does not hold is told so, not just as missing."""
    product = hst.Product(
        filename="jbqf03gkq_flc.fits",
        key="hst/public/jbqf/jbqf03gkq/jbqf03gkq_flc.fits",
        status="exclusive",
        reason="MAST says 'EXCLUSIVE_ACCESS': not public before its release date",
    )
    verbs = (hst.open, lambda file: hst.cutout(file, (10, 10), 3), lambda file: hst.headers([file], "EXPTIME"))
    for verb in verbs:
        with pytest.raises(NotInCloudError, match="is not in the public bucket: MAST says 'EXCLUSIVE_ACCESS'"):
            verb(product)


def test_a_path_is_opened_whatever_the_file_is_called(tmp_path, image):
    """The archive's names are for what lies in it: a HAP product that was downloaded, or a result, has others."""
    for name in (HAP, "m51.fits"):
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]).writeto(tmp_path / name)
        with hst.open(tmp_path / name) as hdul:
            assert np.array_equal(hdul["SCI"].section[7:9], image[7:9])
    with pytest.raises(ObjectNotFoundError, match=r"m52\.fits does not exist"):
        hst.open(tmp_path / "m52.fits")
