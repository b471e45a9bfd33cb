"""Whatever store a user passes, the same bytes come, pinned to one version, and its errors are ours."""

from __future__ import annotations

import os

import boto3
import fsspec
import numpy as np
import obstore.store
import pytest
import s3fs
from astropy.io import fits
from botocore import UNSIGNED
from botocore.config import Config
from support import assert_same_hdulist, put

from hst_cloud.errors import (
    NotInCloudError,
    ObjectChangedError,
    ObjectNotFoundError,
    ProductNameError,
    StoreUnavailableError,
)
from hst_cloud.fits.reader import open as hst_open
from hst_cloud.store.adapters import FolderStore, FsspecStore, ObstoreStore, as_store
from hst_cloud.store.objects import HTTPStore, public_store
from hst_cloud.testing import LocalArchive
from hst_cloud.values import ByteRange

NAME = "jbqf03gjq_flc.fits"
KEY = f"hst/public/jbqf/jbqf03gjq/{NAME}"


@pytest.fixture
def image():
    return np.arange(500 * 1000, dtype=">f4").reshape(500, 1000)


@pytest.fixture
def folder(tmp_path, image):
    put(tmp_path, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI"), fits.ImageHDU(image)]))
    put(tmp_path, "jbqf03gkq_spt.fits", fits.HDUList([fits.PrimaryHDU()]))
    return tmp_path


@pytest.fixture
def archive(folder):
    with LocalArchive(folder) as archive:
        yield archive


def over_s3fs(archive, folder):
    return s3fs.S3FileSystem(anon=True, endpoint_url=archive.endpoint, skip_instance_cache=True)


def over_obstore(archive, folder):
    return obstore.store.S3Store(
        "stpubdata",
        endpoint=archive.endpoint,
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def over_local_fsspec(archive, folder):
    return FsspecStore(fsspec.filesystem("file"), str(folder))


def over_dir_fsspec(archive, folder):
    return FsspecStore(fsspec.filesystem("dir", path=str(folder), fs=fsspec.filesystem("file")), "")


def over_folder(archive, folder):
    return folder


def over_folder_text(archive, folder):
    return str(folder)


def over_address(archive, folder):
    return archive.endpoint


def over_default(archive, folder):
    return None


STORES = [
    over_s3fs,
    over_obstore,
    over_local_fsspec,
    over_dir_fsspec,
    over_folder,
    over_folder_text,
    over_address,
    over_default,
]
WITH_CONDITIONS = [over_s3fs, over_obstore, over_local_fsspec, over_folder, over_address]


@pytest.fixture(params=STORES, ids=lambda f: f.__name__)
def store(request, archive, folder):
    return request.param(archive, folder)


def test_every_store_opens_the_same_file(store, folder, image):
    """Headers, sections and data are those of the local file."""
    with hst_open(NAME, store=store) as ours, fits.open(folder / KEY, memmap=False) as local:
        assert np.array_equal(ours["SCI"].section[100:103, 5:9], image[100:103, 5:9])
        assert_same_hdulist(ours, local)


def test_every_store_reads_batches_in_order(store, folder):
    """The pieces are in the order asked for; a range beyond the end is cut, one behind it is empty."""
    content = (folder / KEY).read_bytes()
    adapted = as_store(store)
    size = len(content)
    wanted = [ByteRange(100, 200), ByteRange(0, 10), ByteRange(size - 5, size + 100)]
    pieces = adapted.read(KEY, wanted)
    assert [bytes(p.data) for p in pieces] == [content[100:200], content[:10], content[-5:]]
    assert {p.size for p in pieces} == {size}
    assert len({p.etag for p in pieces}) == 1
    assert bytes(adapted.read(KEY, wanted[:1], etag=pieces[0].etag)[0].data) == content[100:200]
    assert adapted.traffic.requests >= 4
    assert adapted.traffic.bytes == 215
    assert NAME in adapted.address(KEY)


def test_every_store_lists_prefixes_within_a_name(store, folder):
    """A prefix may end anywhere, as in S3; one below which there is nothing gives an empty listing."""
    found = as_store(store).listings(["hst/public/jbqf/jbqf03", "hst/public/jbqf/jbqf03gjq/", "hst/public/nono/nono01"])
    assert [[o.key for o in page] for page in found] == [
        [KEY, "hst/public/jbqf/jbqf03gkq/jbqf03gkq_spt.fits"],
        [KEY],
        [],
    ]
    assert found[0][0].size == (folder / KEY).stat().st_size


def test_every_store_names_what_is_missing(store):
    """A missing object is a FileNotFoundError that names it."""
    with pytest.raises((ObjectNotFoundError, NotInCloudError), match=r"jbqf03gjq_raw\.fits") as caught:
        hst_open("jbqf03gjq_raw.fits", store=store)
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("make", WITH_CONDITIONS)
def test_every_store_finds_that_an_object_was_replaced(make, archive, folder, image):
    """After a replacement no byte is returned."""
    with hst_open(NAME, store=make(archive, folder)) as hdul:
        put(folder, NAME, fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image + 1), fits.ImageHDU(image)]))
        with pytest.raises(ObjectChangedError, match="replaced"):
            hdul[1].section[300:302]


def test_the_etag_of_s3_stores_is_the_buckets(archive, folder):
    """All ways to S3 tell the same version, so that what one learns serves the other."""
    client = boto3.client(
        "s3", endpoint_url=archive.endpoint, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
    )
    etag = client.head_object(Bucket="stpubdata", Key=KEY)["ETag"].strip('"')
    for make in (over_s3fs, over_obstore, over_address):
        adapted = as_store(make(archive, folder))
        assert adapted.read(KEY, [ByteRange(0, 10)])[0].etag == etag
        assert adapted.listings([KEY])[0][0].etag == etag


def test_stores_are_told_apart(archive, folder, monkeypatch):
    """Each kind of input becomes its adapter; a Store passes through; anything else is refused."""
    assert isinstance(as_store(over_s3fs(archive, folder)), FsspecStore)
    assert isinstance(as_store(over_obstore(archive, folder)), ObstoreStore)
    assert isinstance(as_store(folder), FolderStore)
    assert isinstance(as_store("http://127.0.0.1:1"), HTTPStore)
    given = FolderStore(folder)
    assert as_store(given) is given
    assert as_store(None) is public_store()
    assert as_store(None).address("k").startswith(archive.endpoint)
    monkeypatch.delenv("HST_CLOUD_ENDPOINT")
    assert as_store(None).address("k") == "https://stpubdata.s3.us-east-1.amazonaws.com/k"
    with pytest.raises(ProductNameError, match="42 is nothing to read from"):
        as_store(42)


def test_a_folder_keeps_to_itself(folder):
    """No key leads out of the folder."""
    with pytest.raises(ProductNameError, match="leads out of the folder"):
        FolderStore(folder).read("../secret", [ByteRange(0, 1)])


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_an_obstore_store_refuses_to_work_after_a_fork(archive, folder):
    """It would wait for ever there; the error says what to do."""
    adapted = as_store(over_obstore(archive, folder))
    child = os.fork()
    if child == 0:
        try:
            adapted.read(KEY, [ByteRange(0, 1)])
        except StoreUnavailableError as error:
            os._exit(0 if "make it anew in this process" in str(error) else 2)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
