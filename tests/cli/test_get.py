"""``hst-cloud get``: what it writes, where files go, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from support import put

from hst_cloud.bars import line_of
from hst_cloud.cli import main
from hst_cloud.testing import LocalArchive
from hst_cloud.values import Progress

NAMES = ["jabc01aaq_flc.fits", "jabc01abq_flc.fits"]
KEY = "hst/public/jabc/jabc01aaq/jabc01aaq_flc.fits"


@pytest.fixture
def archive(tmp_path):
    for name in NAMES:
        put(tmp_path / "archive", name, name.encode() * 100)
    with LocalArchive(tmp_path / "archive") as running:
        yield running


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments, stdin=""):
    """Run the program in this process; return its exit code, rows, and what it said."""
    with CliRunner().isolation(input=stdin) as (out, err, _):
        try:
            main(["get", *arguments])
        except SystemExit as left:
            sys.stdout.flush()
            sys.stderr.flush()
            rows = [json.loads(line) for line in out.getvalue().decode().splitlines()]
            return left.code, rows, err.getvalue().decode()


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_names_become_files(archive, work):
    """Side by side in the working folder, and a row each on standard output."""
    code, rows, said = run(*NAMES)
    assert (code, said) == (0, "")
    assert [(row["path"], row["status"], row["check"]) for row in rows] == [(n, "downloaded", "md5") for n in NAMES]
    assert files(work) == [*NAMES, "manifest.ecsv"]


@pytest.mark.parametrize("dash", [[], ["-"]])
def test_names_come_in(archive, work, dash):
    """Without arguments, or with a dash, from standard input."""
    assert run(*dash, stdin="\n".join(NAMES))[0] == 0
    assert files(work) == [*NAMES, "manifest.ecsv"]
    assert run(*dash, stdin="") == (3, [], "hst-cloud: nothing came in on standard input\n")


def test_options(archive, work):
    """The folder, its layout, and whether other files are replaced."""
    assert run(NAMES[0], "-d", "deep/down", "--nested")[0] == 0
    assert files(work) == [f"deep/down/{KEY}", "deep/down/manifest.ecsv"]
    (work / NAMES[0]).write_bytes(b"mine")
    code, rows, said = run(NAMES[0])
    assert (code, rows[0]["status"]) == (1, "conflict")
    assert "(--overwrite)" in said
    assert run(NAMES[0], "--overwrite", "--in-flight", "2")[1][0]["status"] == "downloaded"


def test_some_fail(archive, work):
    """The others are there; the exit code and standard error tell."""
    code, rows, said = run(*NAMES, "jabc01adq_flc.fits")
    assert (code, [row["status"] for row in rows]) == (4, ["downloaded", "downloaded", "missing"])
    assert "1 of 3 products are not in" in said
    assert "jabc01adq_flc.fits: missing:" in said


def test_the_manifest_again(archive, work):
    """What was missing is tried again, as it lay; the manifest and names exclude each other."""
    assert run("jabc01adq_flc.fits", NAMES[0], "--nested")[0] == 4
    put(archive.folder, "jabc01adq_flc.fits", b"data")
    code, rows, _ = run("--from-manifest")
    assert (code, [row["status"] for row in rows]) == (0, ["downloaded", "present"])
    assert "hst/public/jabc/jabc01adq/jabc01adq_flc.fits" in files(work)
    code, _, said = run("--from-manifest", NAMES[0])
    assert (code, said) == (2, "hst-cloud: give products, or --from-manifest: not both\n")
    code, _, said = run("--from-manifest", "-d", "nowhere")
    assert (code, said.partition(":")[2]) == (2, (
        " nowhere/manifest.ecsv is not there: --from-manifest goes on with a folder that a former call began to fill\n"
    ))  # fmt: skip


def test_rows_travel_through_pipes(archive, work):
    """What `get` writes can be read by itself and by other commands."""
    env = os.environ | {"HST_CLOUD_ENDPOINT": archive.endpoint}
    program = f'"{sys.executable}" -m hst_cloud.cli'
    line = f"{program} resolve {' '.join(NAMES)} --verify | {program} get -d a | {program} get -d b | {program} resolve"
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [json.loads(row)["productFilename"] for row in done.stdout.splitlines()] == NAMES
    assert files(work) == [f"{folder}/{name}" for folder in "ab" for name in [*NAMES, "manifest.ecsv"]]


def test_progress_in_bytes():
    """Where bytes are counted, the line tells how many, of how many, and how fast."""
    told = Progress(what="files", done=3, total=16, bytes=1_200_000_000, size=2_500_000_000)
    assert line_of("downloading", told, 12.0) == "downloading: 3 of 16 files, 1.2 GB of 2.5 GB, 100 MB/s, 12 s"
    assert line_of("asking MAST", Progress(what="rows", done=3), 1.0) == "asking MAST: 3 rows, 1 s"
