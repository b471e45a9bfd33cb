"""Row 1 of the matrix of faults, and what works without a network: what is here opens, and errors say what would."""

from __future__ import annotations

import errno
import socket
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from support import put

import hst_cloud as hst
from hst_cloud.errors import (
    ArchiveUnavailableError,
    ObjectChangedError,
    ObjectNotFoundError,
    ProductNameError,
    StoreUnavailableError,
)
from hst_cloud.store.adapters import FolderStore
from hst_cloud.store.objects import HTTPStore
from hst_cloud.testing import LocalArchive, make_demo_archive
from hst_cloud.values import ByteRange

NAME = "jzdm01aaq_flc.fits"
OTHER = "jzdm01acq_flc.fits"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a small demonstration archive."""
    return make_demo_archive(tmp_path_factory.mktemp("offline"), scale=16, instruments=["ACS"])


@pytest.fixture
def work(folder, tmp_path):
    """Return a folder into which one product was downloaded."""
    with LocalArchive(folder):
        hst.download(NAME, tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def no_network(monkeypatch):
    """Take every name away, as a laptop on an airplane does, and let nothing connect."""

    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def unreachable(*_, **__):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", "http://archive.invalid")


def sky(work):
    with hst.open(work / NAME) as hdul:
        return hdul["SCI", 1].data


def test_a_downloaded_product_opens_by_path(work, no_network):
    """No server is asked, and the file is the one that was named."""
    with hst.open(work / NAME) as hdul:
        assert hdul["SCI", 1].header["EXTNAME"] == "SCI"
        assert hdul["SCI", 1].section[5:9, 5:9].shape == (4, 4)


@pytest.mark.parametrize("how", ["argument", "setting"])
def test_a_downloaded_product_opens_by_name(work, no_network, monkeypatch, how):
    """Its folder stands for the bucket, by argument or for a whole notebook, in every function that reads."""
    expected = sky(work)
    store = work if how == "argument" else None
    if how == "setting":
        monkeypatch.setenv("HST_CLOUD_STORE", str(work))
    for name in (NAME, f"mast:HST/product/{NAME}", f"s3://stpubdata/hst/public/jzdm/jzdm01aaq/{NAME}"):
        with hst.open(name, store=store) as hdul:
            np.testing.assert_array_equal(hdul["SCI", 1].data, expected)
    cut = hst.cutout(NAME, (20, 20), size=5, store=store)
    np.testing.assert_array_equal(cut.data, expected[18:23, 18:23])
    assert len(hst.headers([NAME], ["EXPTIME"], store=store)) == 1


def test_what_was_not_downloaded_is_an_error_that_says_where_it_was_looked_for(work, monkeypatch):
    """The folder is read and nothing else: no other server unasked."""
    monkeypatch.setenv("HST_CLOUD_STORE", str(work))
    with pytest.raises(ObjectNotFoundError, match=rf"{work}.*{OTHER} does not exist"):
        hst.open(OTHER)


def test_files_of_the_buckets_layout_come_before_those_beside_them(tmp_path):
    """A folder that mirrors the bucket is read as it was; a name leads nowhere else."""
    key = put(tmp_path, "jbqf03gjq_flc.fits", b"nested")
    (tmp_path / "jbqf03gjq_flc.fits").write_bytes(b"flat")
    (tmp_path / "jbqf03gmq_flc.fits").symlink_to("/etc/passwd")
    store = FolderStore(tmp_path)
    assert store.read(key, [ByteRange(0, 9)])[0].data == b"nested"
    with pytest.raises(ProductNameError, match="leads out of the folder"):
        store.read("hst/public/jbqf/jbqf03gmq/jbqf03gmq_flc.fits", [ByteRange(0, 9)])


def test_a_downloaded_product_that_is_edited_while_it_is_open(work):
    """Also a local file is read in one version."""
    with hst.open(work / NAME) as hdul:
        assert hdul[0].header["TELESCOP"] == "HST"
        content = bytearray((work / NAME).read_bytes())
        (work / NAME).write_bytes(content + b"\0" * 2880)
        with pytest.raises(ObjectChangedError, match=f"{NAME} was replaced"):
            hdul["SCI", 1].data  # noqa: B018  # the access is what reads


def test_headers_that_are_known_are_read_without_a_network(folder, tmp_path, monkeypatch):
    """The layout is here and the pixels are not: headers open, and pixels say what is missing and what would help."""
    monkeypatch.setenv("HST_CLOUD_CACHE", str(tmp_path / "cache"))
    with LocalArchive(folder) as archive:
        monkeypatch.setenv("HST_CLOUD_ENDPOINT", archive.endpoint)
        hst.open(NAME).close()
        archive.stop()
        with hst.open(NAME) as hdul:
            assert hdul["SCI", 1].header["EXTNAME"] == "SCI"
            with pytest.raises(StoreUnavailableError, match=r"downloaded copy is read with store="):
                hdul["SCI", 1].data  # noqa: B018  # the access is what reads


def test_row_1_no_network(no_network):
    """Bucket and MAST fail within seconds and say what works all the same; names still have their keys."""
    for size in (1000, 4 * 2**20):  # each engine
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"archive\.invalid.*doctor.*store= its folder") as caught:
            HTTPStore("http://archive.invalid/stpubdata").read("k", [ByteRange(0, size)])
        assert time.monotonic() - began < 10  # a second or so where the machine is not busy
        assert caught.value.attempts == 5
    began = time.monotonic()
    with pytest.raises(ArchiveUnavailableError, match="Without MAST, file names, rootnames and mast: URIs") as caught:
        hst.search("M 51")
    assert time.monotonic() - began < 10
    assert caught.value.attempts == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = hst.resolve([NAME, "jbqf03gjq", f"mast:HST/product/{OTHER}"])
    assert [Path(key).name for key in table["key"]] == [NAME, "jbqf03gjq", OTHER]
