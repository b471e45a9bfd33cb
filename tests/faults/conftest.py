"""What the tests of faults share: an archive whose faults each test sets, and ways to read from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from astropy.io import fits
from leftovers import held, left
from support import put

from hst_cloud.errors import HSTCloudError
from hst_cloud.store import loop
from hst_cloud.store.objects import HTTPStore
from hst_cloud.store.policy import S3
from hst_cloud.testing import LocalArchive, Request
from hst_cloud.values import ByteRange

QUICK = replace(S3, connect=5, read=5, stall=5, base=0.01, longest=0.05, deadline=30)
"""The public bucket's policy with the patience of a test: as many tries, shorter waits between them.

No machine is so busy that an answer takes as long as that, so that requests can be counted.
"""
HASTY = replace(QUICK, read=0.4)
"""Where a request has no answer."""
BRISK = replace(QUICK, stall=1)
"""Where a body does not go on: as long as a machine stands still at most."""

CONTENT = np.random.default_rng(4).bytes(400_000)
NAME = "jbqf03gjq_flc.fits"
WANTED = (ByteRange(1000, 6000),)


@dataclass
class Read:
    """What became of one read."""

    pieces: list[bytes] | None
    """What was read; None after an error."""
    error: HSTCloudError | None
    """What was raised."""
    seconds: float
    """How long it took."""
    requests: list[Request] = field(repr=False)
    """What the archive was asked meanwhile."""

    @property
    def whole(self):
        """Whether every byte is there, and is right: what a read must give unless it raises."""
        assert self.error is None, self.error
        return True


@pytest.fixture(autouse=True)
def _nothing_left():
    """Whatever went wrong in a test: no thread, socket or open file outlives it."""
    loop._stop()
    before = held()
    yield
    assert not left(before)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """Serve one object of random bytes and one FITS file, for the whole session."""
    folder = tmp_path_factory.mktemp("faults")
    key = put(folder, NAME, CONTENT)
    with LocalArchive(folder) as archive:
        archive.stop()
        archive.key = key
        yield archive


@pytest.fixture
def archive(served, monkeypatch):
    """Return the archive, running, without faults, as the default of every verb."""
    served.faults = None
    served.start()
    served.forget()
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", served.endpoint)
    yield served
    served.stop()


@pytest.fixture
def read(archive):
    """Return a function that reads ranges under the faults that it is given, and checks every byte that comes."""

    def reading(*faults, wanted=WANTED, etag=None, policy=QUICK):
        archive.faults = list(faults)
        archive.forget()
        store = HTTPStore(f"{archive.endpoint}/stpubdata", policy=policy)
        began = time.monotonic()
        pieces = error = None
        try:
            pieces = [piece.data for piece in store.read(archive.key, list(wanted), etag=etag)]
        except HSTCloudError as raised:
            error = raised
        found = Read(pieces, error, time.monotonic() - began, archive.requests)
        archive.faults = None
        if pieces is not None:
            assert pieces == [CONTENT[start:stop] for start, stop in wanted], "wrong bytes"
        return found

    return reading


@pytest.fixture
def hdul():
    """Return a file of two images, too large for one range."""
    image = np.arange(400_000, dtype="f4").reshape(800, 500)
    flags = np.arange(2500, dtype="i2").reshape(50, 50)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI"), fits.ImageHDU(flags, name="DQ")]
    hdus[0].header["TARGNAME"] = "NGC 3603"
    return fits.HDUList(hdus)
