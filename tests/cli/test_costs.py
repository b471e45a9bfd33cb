"""The commands that tell what reading costs and where this machine is."""

from __future__ import annotations

import json

import pytest
from commandline import run

from hst_cloud.cost import whereabouts
from hst_cloud.testing import LocalArchive, make_demo_archive


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_demo_archive(tmp_path_factory.mktemp("archive"), scale=64, instruments=["ACS"])


@pytest.fixture
def archive(folder):
    with LocalArchive(folder) as running:
        yield running


def test_an_estimate_takes_what_products_wrote(archive):
    """Sizes come through the pipe; nothing more is sent; a person gets a table of the paths."""
    code, files, _ = run("products", "jzdm01aaq", "--suffix", "flc,flt", "--format", "jsonl")
    assert code == 0
    size = sum(json.loads(line)["size"] for line in files.splitlines())
    archive.forget()
    code, out, err = run("estimate", stdin=files)
    assert (code, err) == (0, "")
    assert out.startswith("download of 2 products: exactly 2 requests")
    assert f"({size:,})" in out
    code, out, err = run("estimate", "--verb", "cutouts", "--center", "202.47 47.2", "--size", "5 arcsec",
                         "--format", "jsonl", stdin=files)  # fmt: skip
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [row["path"] for row in rows] == ["in region", "cross region", "internet"]
    assert {row["bound"] for row in rows} == {"at most"}
    assert archive.requests == []


def test_an_estimate_tells_what_it_does_not_count():
    """A name alone has no size: that is no success for a download, and enough for headers."""
    code, out, _ = run("estimate", "jbqf03gjq_flc.fits")
    assert code == 4
    assert "not counted: 1" in out
    code, out, _ = run("estimate", "jbqf03gjq_flc.fits", "--verb", "headers")
    assert code == 0
    assert "about 1 request, 32.8 kB" in out
    assert run("estimate", "jbqf03gjq_flc.fits", "--verb", "cutouts")[0] == 2
    assert run("estimate", "--format", "jsonl", stdin="")[0] == 3


def test_where_tells_a_person_and_a_program(monkeypatch):
    """The verdict and how it is known, in lines or as one object."""
    whereabouts._found.cache_clear()
    monkeypatch.setenv("HST_CLOUD_REGION", "us-east-1")
    code, out, err = run("where")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["in", "the", "bucket's", "region", "(us-east-1):", "yes"]
    code, out, _ = run("where", "--format", "jsonl")
    assert code == 0
    told = json.loads(out)
    assert (told["in_region"], told["path"], told["nat"]) == (True, "in region", None)
    monkeypatch.setenv("HST_CLOUD_REGION", "eu-west-1")
    whereabouts._warn.cache_clear()
    code, out, err = run("where")
    assert code == 0
    assert err.startswith("hst-cloud: warning: this machine is in eu-west-1")
    assert "HST_CLOUD_LINK=far" in out
