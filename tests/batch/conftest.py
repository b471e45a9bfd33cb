"""An archive of small files for calls over many products, and a cluster of two processes."""

from __future__ import annotations

import contextlib

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


@contextlib.contextmanager
def cluster_of(workers, threads, *, deaths=3):
    """Give a client of so many processes, where a task may be on so many that die before it is given up."""
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    pytest.importorskip("cloudpickle").register_pickle_by_value(batching)  # workers cannot import it
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": deaths}),
        distributed.LocalCluster(n_workers=workers, threads_per_worker=threads, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def client():
    """Return a client of two processes of two threads each.

    They have the environment of the first test: an archive's address must come with the task.
    """
    with cluster_of(2, 2) as client:
        yield client


@pytest.fixture
def doomed():
    """Return a client of four processes, three of which may die and not come back."""
    with cluster_of(4, 1, deaths=0) as client:
        yield client
