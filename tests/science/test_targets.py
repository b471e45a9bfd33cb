"""Where downloads go: names of the archive become paths in the folder, and nowhere else."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.errors import ProductNameError, QueryError
from hst_cloud.science.targets import as_layout, target_of, targets

KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"

HOSTILE = [
    "../../etc/passwd",
    "hst/public/../../../etc/passwd",
    "/etc/passwd",
    "hst//public/x.fits",
    "hst/public/.bashrc",
    "hst/public/..",
    "hst/public/",
    "hst\\public\\x.fits",
    "C:x.fits",
    "hst/public/x.fits\0.txt",
    "hst/public/x.fits\n",
    "hst/public/x\u2024fits",
    "hst/public/\u202ex.fits",
    "hst/public/~x.fits/../..",
    "",
]


def test_layouts():
    """Flat is the file's name, nested the folders of the key."""
    assert target_of(KEY, "flat") == PurePosixPath("jbqf03gjq_flc.fits")
    assert target_of(KEY, "nested") == PurePosixPath(KEY)
    with pytest.raises(QueryError, match="layout='deep' is not known: expected 'flat' or 'nested'"):
        as_layout("deep")


@pytest.mark.parametrize("key", HOSTILE)
@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_hostile_keys_are_refused(key, layout):
    """What no name of the archive holds becomes no path."""
    with pytest.raises(ProductNameError):
        target_of(key, layout)


@given(
    st.text() | st.lists(st.sampled_from(["..", ".", "", "hst", "~", "a.fits", "\0", "C:"])).map("/".join),
    st.booleans(),
)
def test_no_path_leaves_the_folder(key, nested):
    """A key is refused, or its path stays below the folder, in components that are no hidden files."""
    try:
        path = target_of(key, "nested" if nested else "flat")
    except ProductNameError:
        return
    assert not path.is_absolute()
    assert all(part not in {"", "..", "."} and not part.startswith((".", "~", "/")) for part in path.parts)
    assert Path("/folder", path).resolve().is_relative_to("/folder")


def test_two_objects_of_one_name_need_folders():
    """Side by side they would be one file; the message names both keys and what to do."""
    keys = ["hst/public/a/x.fits", "hst/public/b/X.fits"]
    with pytest.raises(QueryError, match=r"hst/public/a/x\.fits and hst/public/b/X\.fits; give layout='nested'"):
        targets(keys, "flat")
    assert len(set(targets(keys, "nested").values())) == 2


def test_one_object_twice_is_one():
    """A key that comes twice has one path."""
    assert targets([KEY, KEY], "flat") == {KEY: PurePosixPath("jbqf03gjq_flc.fits")}


def test_the_manifest_keeps_its_name():
    """An object of the manifest's name would take its place."""
    with pytest.raises(QueryError, match=r"would be the file manifest\.ecsv: the manifest\.ecsv of this call and hst/"):
        targets(["hst/public/manifest.ecsv"], "flat", reserved=["manifest.ecsv"])
