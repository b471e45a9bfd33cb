"""What a table says that it took is what its own call took, whoever else reads at the same time."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from astropy.io import fits
from support import put

import hst_cloud as hst
from hst_cloud.store.adapters import FolderStore
from hst_cloud.values import ByteRange

NAMES = ["jbqf03gjq_flc.fits", "jbqf03gmq_flc.fits", "jbqf03gpq_flc.fits"]


@pytest.mark.parametrize("verb", ["headers", "download", "members"])
def test_others_are_not_counted(tmp_path, verb):
    """Another thread reads through the same store in the midst of it; requests and bytes are as without it."""
    table = fits.BinTableHDU(np.array([(b"JBQF03GJQ", b"EXP-DTH", True)], "S14,S14,?"), name="ASN")
    table.columns.names = ["MEMNAME", "MEMTYPE", "MEMPRSNT"]
    for name in [*NAMES, "jbqf03010_asn.fits"]:
        key = put(tmp_path / "archive", name, fits.HDUList([fits.PrimaryHDU(), table]))
    store = FolderStore(tmp_path / "archive")

    def call(folder, progress):
        match verb:
            case "headers":
                return hst.headers(NAMES, "SIMPLE", store=store, index=False, progress=progress)
            case "download":
                return hst.download(NAMES, tmp_path / folder, store=store, progress=progress)
        return hst.members("jbqf03010", store=store, index=False, progress=progress)

    def meanwhile(_):
        other = threading.Thread(target=store.read, args=(key, [ByteRange(0, 100)]))
        other.start()
        other.join()

    alone, beside = call("a", None).meta, call("b", meanwhile).meta
    before = store.traffic.requests
    assert alone["requests"] > 0
    assert [beside[name] for name in ("requests", "bytes")] == [alone[name] for name in ("requests", "bytes")]
    call("c", meanwhile)
    assert store.traffic.requests - before > alone["requests"]
