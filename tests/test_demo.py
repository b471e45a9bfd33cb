"""The main job, from a target's name to a picture, for each of the five instruments."""

import os
import re
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from cli.test_commands import run

from hst_cloud import demo
from hst_cloud.errors import NotInCloudError, QueryError

INSTRUMENTS = ["ACS/WFC", "COS/FUV", "STIS/NUV-MAMA", "WFC3/UVIS", "FGS"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("archive")


@pytest.fixture
def archive(folder):
    with demo.demonstration(folder, scale=32) as running:
        yield running


@pytest.mark.parametrize("job", demo.EMBEDDED, ids=lambda job: job.instrument)
def test_every_instrument_has_its_picture(archive, job, tmp_path):
    """What is told to have been read is what the archive has sent, and the picture shows something."""
    archive.forget()
    shown = demo.run(job, tmp_path / "new", pixels=100)
    ranges = [r for r in archive.requests if r.service == "s3" and r.path.endswith(shown.key)]
    assert shown.requests == len(ranges)
    assert shown.bytes_read == sum(r.bytes for r in ranges)
    assert shown.size == (archive.folder / shown.key).stat().st_size
    assert shown.hdus[0] == "PRIMARY"
    assert shown.picture == tmp_path / "new" / f"{shown.product.partition('.')[0]}.png"
    pixels = matplotlib.image.imread(shown.picture)[..., :3]
    assert min(pixels.shape[:2]) >= 600
    assert (pixels.min(axis=2) < 0.9).mean() > 0.01  # not blank
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_a_section_is_less_than_the_file(tmp_path):
    """Of an image, only what is drawn is read, and the headers."""
    with demo.demonstration(scale=8, instruments=["ACS"]):
        shown = demo.run(demo.EMBEDDED[0], tmp_path, pixels=50)
    assert shown.bytes_read < shown.size / 4


def test_jobs_are_chosen_by_instrument():
    """With or without the detector, in any case."""
    assert [job.instrument for job in demo.jobs()] == INSTRUMENTS
    assert [job.instrument for job in demo.jobs(("wfc3", "ACS/WFC"))] == ["ACS/WFC", "WFC3/UVIS"]
    assert [job.instrument for job in demo.jobs(live=True)] == INSTRUMENTS
    with pytest.raises(QueryError, match="no instrument 'NICMOS'; it has ACS/WFC, COS/FUV"):
        demo.jobs(("NICMOS",))


def test_what_is_not_there_is_told(tmp_path):
    """An archive without the target, and a bucket without the file, are errors with names."""
    with demo.demonstration(tmp_path, scale=32, instruments=["COS"]):
        with pytest.raises(NotInCloudError, match="no observation of NGC 4151 with COS G140L"):
            demo.run(demo.Job(instrument="COS", target="NGC 4151", filters="G140L", suffix="x1dsum"), tmp_path)
        next(tmp_path.rglob("lzdm01010_x1dsum.fits")).unlink()
        with pytest.raises(NotInCloudError, match=r"holds no x1dsum of NGC 4151 with COS/FUV: .*EXCLUSIVE_ACCESS"):
            demo.run(demo.EMBEDDED[1], tmp_path)


def test_the_command_tells_what_was_read(tmp_path):
    """One paragraph an instrument: key, requests, bytes against the size of the file, picture; the archive is gone."""
    found = run("demo", "--folder", str(tmp_path), "--scale", "32", "--instrument", "FGS,STIS")
    assert (found.code, found.err) == (0, "")
    assert re.findall(r"^(\S+)  ", found.out, re.MULTILINE) == ["STIS/NUV-MAMA", "FGS"]
    assert len(re.findall(r"^  read +\d+ requests?, \d\S* kB of \S+ [kM]B \(\d+ %\)$", found.out, re.MULTILINE)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fzdm0101m_a1f.png", "ozdm01010_x1d.png"]
    assert "HST_CLOUD_ENDPOINT" not in os.environ


def test_the_command_keeps_the_archive_if_asked(tmp_path):
    """Its files may be served again."""
    found = run(
        "demo", "--folder", str(tmp_path), "--scale", "32", "--instrument", "FGS", "--keep", "--format", "jsonl"
    )
    (row,) = found.rows
    assert (tmp_path / "archive" / row["key"]).stat().st_size == row["size"]


def test_without_matplotlib_the_command_says_what_to_install(tmp_path):
    """The error names the command that helps."""
    program = "import sys; sys.modules['matplotlib'] = None\nfrom hst_cloud.cli import main; main()"
    arguments = ["demo", "--folder", str(tmp_path), "--scale", "32", "--instrument", "FGS,STIS"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("hst-cloud: Pictures need matplotlib")
    assert done.stderr.endswith("pip install 'hst-cloud[plot]'\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.remote
@pytest.mark.parametrize("job", demo.LIVE, ids=lambda job: job.instrument)
def test_live(job, tmp_path):
    """The same job on the live archive."""
    shown = demo.run(job, tmp_path)
    assert shown.picture.stat().st_size > 10_000
    assert shown.bytes_read < 1e8
