"""Rows 43 to 56 of the matrix of faults: this machine, its processes, and what must not leave it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support import put

import hst_cloud as hst
from hst_cloud.errors import HSTCloudWarning
from hst_cloud.fits.index import SCHEMA
from hst_cloud.testing import LocalArchive, make_demo_archive, random_faults

POSIX = pytest.mark.skipif(os.name == "nt", reason="there is neither fork nor SIGKILL")


@pytest.fixture
def files(tmp_path, hdul, monkeypatch):
    """Serve ten files, with a cache of their own."""
    names = [f"jbqf{n:02d}gjq_flc.fits" for n in range(10)]
    for name in names:
        put(tmp_path / "archive", name, hdul)
    monkeypatch.setenv("HST_CLOUD_CACHE", str(tmp_path / "cache"))
    with LocalArchive(tmp_path / "archive") as archive:
        archive.names = names
        archive.cache = tmp_path / "cache"
        yield archive


def read(name):
    with hst.open(name, index=True) as hdul:
        return hdul["SCI"].section[790:, :]


KILLED = """
import sys
import hst_cloud as hst
print("ready", flush=True)
while True:
    for name in sys.argv[1:]:
        with hst.open(name, index=True) as hdul:
            hdul["SCI"].section[790:, :]
        print(name, flush=True)
"""


@POSIX
def test_row_43_a_process_that_is_killed_while_it_remembers(files, hdul):
    """Whatever was being written, the next process reads every file rightly and remembers it."""
    for after in (0.0, 0.01, 0.03, 0.07):
        with subprocess.Popen([sys.executable, "-c", KILLED, *files.names], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            process.stdout.readline()
            time.sleep(after)
            process.kill()
        for name in files.names:
            np.testing.assert_array_equal(read(name), hdul["SCI"].data[790:])


def test_row_45_no_place_to_remember(files, hdul, monkeypatch):
    """Where nothing can be kept, files are read all the same, and one warning says so."""
    files.cache.write_text("a file where the folder should be")
    with pytest.warns(HSTCloudWarning) as said:
        found = [read(name) for name in files.names[:3]]
    assert len(said) == 1
    for each in found:
        np.testing.assert_array_equal(each, hdul["SCI"].data[790:])


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda data: data[: len(data) // 2], lambda data: b"\xa5" * len(data)]
)
def test_row_46_and_47_what_was_remembered_is_damaged(files, hdul, damage):
    """Emptied, cut or overwritten: it is made anew from the files, and nothing wrong is read."""
    read(files.names[0])
    kept = [path for path in files.cache.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    assert kept
    for path in kept:
        path.write_bytes(damage(path.read_bytes()))
    for name in files.names[:2]:
        np.testing.assert_array_equal(read(name), hdul["SCI"].data[790:])


SHARED = """
import os, sys
import hst_cloud as hst
with hst.open(sys.argv[1], index=True) as hdul:  # the file of the index is open from here on
    hdul["SCI"].section[790:, :]
shared = next(name for name in sys.argv[3:] if name.endswith("-shm"))
os.truncate(shared, int(sys.argv[2]))
for again in range(2):
    with hst.open(sys.argv[1], index=True) as hdul:
        assert hdul["SCI"].section[790:, :].size
print("alive", os.stat(shared).st_size % 32768)
"""


@POSIX
@pytest.mark.parametrize("left", [0, 3, 100, 32767])
def test_row_47_memory_that_is_shared_is_cut(files, left):
    """To touch what is gone of it would end the process (SIGBUS); it is given back its length, and filled anew."""
    read(files.names[0])
    paths = [str(path) for path in files.cache.iterdir()]
    command = [sys.executable, "-c", SHARED, files.names[0], str(left), *paths]
    if not any(path.endswith("-shm") for path in paths):
        command += [f"{next(path for path in paths if path.endswith('.sqlite'))}-shm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("alive 0\n", 0), done.stderr


@POSIX
def test_row_47_another_holds_the_lock(files, hdul):
    """Who cannot write reads all the same, and says nothing."""
    read(files.names[0])
    (path,) = files.cache.glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        np.testing.assert_array_equal(read(files.names[1]), hdul["SCI"].data[790:])
        other.execute("ROLLBACK")


def test_row_48_two_versions_share_a_folder(files, hdul):
    """Each has a file of its own, whose tables the other neither reads nor undoes."""
    other = files.cache / "layouts-1.sqlite"
    other.parent.mkdir(mode=0o700)
    other.write_bytes(b"of a version that is older")
    np.testing.assert_array_equal(read(files.names[0]), hdul["SCI"].data[790:])
    assert other.read_bytes() == b"of a version that is older"
    assert (files.cache / f"layouts-{SCHEMA}.sqlite").exists()


@POSIX
@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_row_49_a_link_is_not_followed(files, hdul, end):
    """What a planted link points to stays as it is."""
    precious = files.cache.parent / "precious"
    precious.write_bytes(b"do not touch")
    files.cache.mkdir(mode=0o700)
    (files.cache / f"layouts-{SCHEMA}.sqlite{end}").symlink_to(precious)
    with pytest.warns(HSTCloudWarning, match="is a link or something else that is no file"):
        found = read(files.names[0])
    np.testing.assert_array_equal(found, hdul["SCI"].data[790:])
    assert precious.read_bytes() == b"do not touch"


@POSIX
def test_row_49_a_folder_in_which_everybody_may_write(files, hdul):
    """What lies there may be anybody's: nothing of it is believed."""
    files.cache.mkdir()
    files.cache.chmod(0o777)
    with pytest.warns(HSTCloudWarning, match="everybody may write in"):
        found = read(files.names[0])
    np.testing.assert_array_equal(found, hdul["SCI"].data[790:])
    assert list(files.cache.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("given", ["", "layouts.sqlite"])
def test_row_49_what_belongs_to_somebody_else(files, hdul, given):
    """It is neither read nor written."""
    files.cache.mkdir(mode=0o700)
    path = files.cache / f"layouts-{SCHEMA}.sqlite" if given else files.cache
    path.touch()
    os.chown(path, 12345, -1)
    with pytest.warns(HSTCloudWarning, match="belongs to another user, number 12345"):
        found = read(files.names[0])
    np.testing.assert_array_equal(found, hdul["SCI"].data[790:])


def test_row_49_nothing_is_unpickled():
    """What lies in a cache cannot run: no module reads pickles."""
    text = {path.name: path.read_text("utf-8") for path in Path(hst.__file__).parent.rglob("*.py")}
    found = [
        name
        for name, code in text.items()
        if re.search(r"^\s*(import|from) (pickle|marshal|shelve)\b", code, re.MULTILINE)
    ]
    assert found == []


@POSIX
def test_row_49_the_cache_is_the_users_own(files):
    """Nobody else may look into what is remembered."""
    read(files.names[0])
    assert files.cache.stat().st_mode & 0o077 == 0


def test_row_51_inside_a_running_event_loop(files, hdul):
    """The sync verbs work in a notebook, also while connections break, and leave its loop alone."""
    files.faults = random_faults(0.3, seed=5)

    async def cell():
        found = read(files.names[0])
        await asyncio.sleep(0)
        return found

    np.testing.assert_array_equal(asyncio.run(cell()), hdul["SCI"].data[790:])


SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAHIDDEN",
    "AWS_SECRET_ACCESS_KEY": "hidden/secret",
    "AWS_SESSION_TOKEN": "hidden-session",
    "MAST_API_TOKEN": "hidden-mast",
    "http_proxy": "http://hidden:hidden@127.0.0.1:9",
    "https_proxy": "http://hidden:hidden@127.0.0.1:9",
}


def test_row_53_to_56_what_never_leaves(tmp_path, monkeypatch, caplog):
    """Credentials of the environment, a token of MAST's and the offer to pay are neither sent nor logged."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # for astroquery, which a proxy of the environment is meant for
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HST_CLOUD_CACHE", "off")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))  # which requests reads for MAST
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login hidden password hidden")
    caplog.set_level(logging.DEBUG)
    with LocalArchive(make_demo_archive(tmp_path, scale=64)) as archive:
        files = hst.products(hst.search(instrument="WFC3/UVIS"), suffix="flc")
        archive.faults = random_faults(0.2, seed=1)
        with hst.open(files[0]) as hdul:
            assert hdul["SCI"].data.size
        hst.resolve(files, verify=True)
        spent = hst.report()
        requests = archive.requests
    assert "hidden" not in str(spent)
    assert {request.service for request in requests} == {"s3", "mast"}
    for request in requests:
        sent = f"{request.headers}{request.query}{request.body}".lower()
        assert "hidden" not in sent
        assert not {"authorization", "cookie", "x-amz-request-payer", "x-amz-security-token"} & request.headers.keys()
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "hst_cloud" in logged or "GET" in logged
    assert "hidden" not in logged.lower()
    assert "authorization" not in logged.lower()
    assert str(Path.home()) not in logged
