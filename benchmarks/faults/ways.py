"""The clients, each as its documentation has it and with its own settings for time-outs and retries."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.faults.scripts import KEY
from benchmarks.reading.peers import boto3_session, obstore_session
from hst_cloud.settings import BUCKET
from hst_cloud.values import ByteRange

Reader = Callable[[ByteRange], bytes]
PATH = f"{BUCKET}/{KEY}"


class _Setting:
    """Where the sessions of the reading benchmark read."""

    def __init__(self, root: str) -> None:
        self.root = root


def hst_cloud(root: str) -> Reader:
    """Return what every function of this package reads with."""
    from hst_cloud.store.objects import HTTPStore

    store = HTTPStore(f"{root}/{BUCKET}")
    return lambda wanted: bytes(store.read(KEY, [wanted])[0].data)


def _s3fs(root: str):
    import s3fs

    return s3fs.S3FileSystem(anon=True, endpoint_url=root, skip_instance_cache=True)


def s3fs_cat_file(root: str) -> Reader:
    """Return s3fs's call for one range."""
    fs = _s3fs(root)
    return lambda wanted: fs.cat_file(PATH, start=wanted.start, end=wanted.stop)


def s3fs_open(root: str) -> Reader:
    """Return a file of s3fs, as ``astropy.io.fits.open(..., use_fsspec=True)`` reads it."""
    fs = _s3fs(root)

    def read(wanted: ByteRange) -> bytes:
        with fs.open(PATH, "rb") as file:
            file.seek(wanted.start)
            return file.read(wanted.size)

    return read


def boto3(root: str) -> Reader:
    """Return ``get_object`` and its body."""
    client = boto3_session(_Setting(root), 10)

    def read(wanted: ByteRange) -> bytes:
        answer = client.get_object(Bucket=BUCKET, Key=KEY, Range=f"bytes={wanted.start}-{wanted.stop - 1}")
        return answer["Body"].read()

    return read


def obstore(root: str) -> Reader:
    """Return ``get_range``."""
    store = obstore_session(_Setting(root))
    return lambda wanted: bytes(store.get_range(KEY, start=wanted.start, end=wanted.stop))


WAYS: dict[str, Callable[[str], Reader]] = {
    "hst_cloud": hst_cloud,
    "s3fs cat_file": s3fs_cat_file,
    "astropy + s3fs": s3fs_open,
    "boto3": boto3,
    "obstore": obstore,
}
"""By what stands in the table."""
