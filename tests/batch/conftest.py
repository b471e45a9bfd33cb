"""An archive of small files for calls over many products, and a cluster of two processes."""

from __future__ import annotations

import batching
import numpy as np
import pytest
from astropy.io import fits
from batching import NAMES
from support import put

from hst_cloud.testing import LocalArchive


@pytest.fixture
def archive(tmp_path):
    """Serve ten images whose pixels are the file's number."""
    for number, name in enumerate(NAMES):
        image = fits.ImageHDU(np.full((20, 30), number, "f4"), name="SCI")
        put(tmp_path / "archive", name, fits.HDUList([fits.PrimaryHDU(), image]))
    with LocalArchive(tmp_path / "archive") as archive:
        yield archive


@pytest.fixture(scope="session")
def client():
    """Return a client of two worker processes of two threads each, which forgive one death a task."""
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    cloudpickle = pytest.importorskip("cloudpickle")
    cloudpickle.register_pickle_by_value(batching)  # workers cannot import it
    # Workers inherit the environment of whoever starts the first test: the archive's address must come by the task.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
