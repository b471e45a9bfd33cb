"""The index of layouts: what is put comes back, what is damaged does not, and nothing that goes wrong with it is raised."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import os
import pickle
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from support import hdulists

from hst_cloud.errors import HSTCloudWarning, QueryError
from hst_cloud.fits.index import Index, as_index
from hst_cloud.fits.layout import Scan, scan
from hst_cloud.fits.structure import HDUExtent, Layout
from hst_cloud.settings import cache_folder
from hst_cloud.store.adapters import FolderStore, FsspecStore
from hst_cloud.store.meter import Meter
from hst_cloud.store.objects import HTTPStore, Piece, public_store
from hst_cloud.store.plan import drive
from hst_cloud.store.segments import Segments
from hst_cloud.testing.demo import imaging
from hst_cloud.values import ByteRange

STORE = FolderStore("/archive")
BUCKET = HTTPStore("http://127.0.0.1:1/stpubdata")
NAME = "layouts-2.sqlite"


def content(hdul):
    """Return an HDUList as the bytes of its file."""
    file = io.BytesIO()
    fits.HDUList(hdul).writeto(file)
    return file.getvalue()


def scanned(data, key="a.fits", etag="e1"):
    """Walk the headers of a file in memory."""
    return drive(scan(key), lambda ranges: [Piece(data[r.start : r.stop], len(data), etag) for r in ranges])


def made(number=0, *, etag="e1", size=2880):
    """Make a scan of one HDU."""
    hdu = HDUExtent(name="PRIMARY", ver=1, header=ByteRange(0, size), data=ByteRange(size, size))
    layout = Layout(key=f"k{number}.fits", size=size, etag=etag, hdus=(hdu,))
    return Scan(layout=layout, segments=Segments([(0, bytes([number % 256]) * size)]))


def same(found, expected):
    """Tell whether a scan has the layout and the headers of another."""
    return found.layout == expected.layout and all(
        found.segments.find(*hdu.header) == expected.segments.find(*hdu.header) for hdu in expected.layout.hdus
    )


@pytest.fixture(scope="module")
def flc():
    """Return an ACS/WFC flc with its distortion tables."""
    return content(imaging.acs_wfc_flc(rootname="jbqf03gjq", scale=64))


# --- What is put comes back ------------------------------------------------------------------------------------------


@given(hdulists())
@settings(max_examples=30)
def test_every_file_comes_back_as_it_was_scanned(hdul):
    """The layout is equal, and the headers are the file's own bytes."""
    found = scanned(content(hdul))
    with tempfile.TemporaryDirectory() as folder, Index(folder) as index:
        index.put(STORE, found)
        known = index.get(STORE, "a.fits")
    assert same(known, found)


@st.composite
def scans(draw):
    """Make scans of any names, versions and lengths."""
    hdus, parts, at = [], [], 0
    for _ in range(draw(st.integers(1, 5))):
        header = ByteRange(at, at + 2880 * draw(st.integers(1, 3)))
        data = ByteRange(header.stop, header.stop + draw(st.integers(0, 9000)))
        name = draw(st.sampled_from(["D2IMARR", "WCSDVARR"]) | st.text())
        bitpix, shape = draw(st.sampled_from([-64, -32, 0, 8, 16])), draw(st.lists(st.integers(0, 10**12), max_size=4))
        ver = draw(st.integers(-(10**18), 10**18))
        hdus.append(HDUExtent(name=name, ver=ver, header=header, data=data, bitpix=bitpix, shape=tuple(shape)))
        parts.append((header.start, draw(st.binary(min_size=1, max_size=9)).ljust(header.size, b"\0")))
        at = hdus[-1].stop
        if draw(st.booleans()):
            parts.append((data.start, b"\7" * (at - data.start)))
    key, etag = draw(st.text()), draw(st.text().filter(lambda text: not text.startswith("W/")))
    layout = Layout(key=key, size=at + draw(st.integers(0, 5000)), etag=etag, hdus=tuple(hdus))
    return Scan(layout=layout, segments=Segments(parts))


@given(scans())
def test_every_scan_comes_back(found):
    """Also of names and versions that no file has; data come back of the small tables that were in memory, alone."""
    with tempfile.TemporaryDirectory() as folder, Index(folder) as index:
        index.put(STORE, found)
        known = index.get(STORE, found.layout.key)
    assert same(known, found)
    for hdu in found.layout.hdus:
        if hdu.data.size:
            held = found.segments.find(hdu.data.start, hdu.stop) if hdu.name in {"D2IMARR", "WCSDVARR"} else None
            assert known.segments.find(*hdu.data) == (held[: hdu.data.size] if held else None)


def test_the_small_tables_are_kept_and_no_other_data(flc, tmp_path):
    """64 kB of distortion tables come with the headers; the images do not, although the scan had read them."""
    whole = Scan(layout=scanned(flc).layout, segments=Segments([(0, flc)]))
    with Index(tmp_path) as index:
        index.put(STORE, whole)
        known = index.get(STORE, "a.fits")
    kept = [hdu.name for hdu in known.layout.hdus if hdu.data.size and known.segments.find(*hdu.data)]
    assert kept == ["D2IMARR"] * 4 + ["WCSDVARR"] * 4
    for hdu in known.layout.hdus:
        if hdu.name in kept:
            assert known.segments.find(*hdu.data) == flc[hdu.data.start : hdu.data.stop]
    headers = sum(hdu.header.size for hdu in known.layout.hdus)
    assert known.segments.size == headers + 8 * 8640


def test_it_outlives_its_object(tmp_path):
    """Another process finds what one has put."""
    with Index(tmp_path) as index:
        index.put(STORE, made())
    code = (
        "import sys; from hst_cloud.fits.index import Index; from hst_cloud.store.adapters import FolderStore\n"
        "print(Index(sys.argv[1]).get(FolderStore('/archive'), 'k0.fits').layout)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == repr(made().layout)


def test_two_archives_share_nothing(tmp_path):
    """The same key elsewhere is another file."""
    with Index(tmp_path) as index:
        index.put(HTTPStore("http://127.0.0.1:1/stpubdata"), made())
        assert index.get(HTTPStore("http://127.0.0.1:2/stpubdata"), "k0.fits") is None
        assert index.get(HTTPStore("http://127.0.0.1:1/stpubdata"), "k0.fits").layout == made().layout


def test_one_version_is_known(tmp_path):
    """A later one replaces it; who names another gets nothing; a version that is gone is forgotten by its name."""
    with Index(tmp_path) as index:
        index.put(STORE, made(etag="old"))
        index.put(STORE, made(etag="new"))
        assert index.get(STORE, "k0.fits").layout.etag == "new"
        assert index.get(STORE, "k0.fits", etag="old") is None
        index.forget(STORE, "k0.fits", etag="old")
        assert index.get(STORE, "k0.fits", etag="new").layout.etag == "new"
        index.forget(STORE, "k0.fits", etag="new")
        assert index.get(STORE, "k0.fits") is None
        index.put(STORE, made())
        index.forget(STORE, "k0.fits")
        assert index.get(STORE, "k0.fits") is None


@pytest.mark.parametrize("etag", [None, 'W/"e1"'])
def test_what_cannot_be_pinned_is_not_kept(tmp_path, etag):
    """Without a strong version, nothing would tell when the layout is out of date."""
    with Index(tmp_path) as index:
        index.put(STORE, made(etag=etag))
        assert index.get(STORE, "k0.fits") is None


def test_what_has_no_headers_is_not_kept(tmp_path):
    """A compressed file has no HDUs, and a scan without its headers' bytes is none."""
    found = scanned(b"\x1f\x8b" + bytes(5000))
    bare = dataclasses.replace(made(), segments=Segments())
    with Index(tmp_path) as index:
        index.put(STORE, found)
        index.put(STORE, bare)
        assert index.get(STORE, "a.fits") is None
        assert index.get(STORE, "k0.fits") is None


# --- The file --------------------------------------------------------------------------------------------------------


def test_nothing_happens_before_the_first_use(tmp_path):
    """Construction makes no folder; the first use makes it for its owner alone."""
    folder = tmp_path / "some" / "cache"
    index = Index(folder)
    assert not folder.parent.exists()
    index.put(STORE, made())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    index.close()


def test_after_closing_it_opens_again(tmp_path):
    """An index that was closed, pickled, or whose file was removed goes on."""
    index = Index(tmp_path)
    index.put(STORE, made())
    index.close()
    assert index.get(STORE, "k0.fits").layout == made().layout
    with pickle.loads(pickle.dumps(index)) as again:
        assert repr(again) == repr(index) == f"Index({str(tmp_path)!r}, max_bytes={2**30})"
        assert again.get(STORE, "k0.fits").layout == made().layout
    shutil.rmtree(tmp_path)
    assert index.get(STORE, "k0.fits") is None
    index.put(STORE, made())
    assert index.get(STORE, "k0.fits").layout == made().layout
    index.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Return the bytes of an index of ten files."""
    folder = tmp_path_factory.mktemp("filled")
    with Index(folder) as index:
        for number in range(10):
            index.put(STORE, made(number))
    return (folder / NAME).read_bytes()


@given(
    patches=st.lists(st.tuples(st.integers(0, 2**24), st.binary(min_size=1, max_size=40)), min_size=1, max_size=8),
    cut=st.none() | st.integers(0, 2**24),
)
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_gives_no_wrong_layout(filled, patches, cut):
    """Whatever the disk did to the file: what comes back is what was put, or nothing; and the index works on."""
    damaged = bytearray(filled)
    for number, patch in patches:
        at = number % len(damaged)
        damaged[at : at + len(patch)] = patch[: len(damaged) - at]
    if cut is not None:
        del damaged[cut % len(damaged) :]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, NAME).write_bytes(damaged)
        with Index(folder) as index:
            for number in range(10):
                known = index.get(STORE, f"k{number}.fits")
                assert known is None or same(known, made(number))
            index.put(STORE, made(3, etag="new"))
            known = index.get(STORE, "k3.fits")
            assert known is None or same(known, made(3, etag="new"))


def test_damage_that_says_read_only(filled, tmp_path):
    """A byte of the file tells SQLite by what version it may be written: damaged, the file is made anew."""
    (tmp_path / NAME).write_bytes(filled[:18] + b"\x03" + filled[19:])
    with Index(tmp_path) as index:
        index.put(STORE, made())
        assert index.get(STORE, "k0.fits").layout == made().layout


def test_damage_of_which_sqlite_speaks_in_no_text(filled, tmp_path):
    """What it says of a damaged table may quote the damage: bytes that are no UTF-8."""
    at = filled.index(b"CREATE TABLE files (") + 8
    (tmp_path / NAME).write_bytes(filled[:at] + b"\x80" + filled[at + 1 :])
    with Index(tmp_path) as index:
        assert index.get(STORE, "k1.fits") is None
        index.put(STORE, made())
        assert index.get(STORE, "k0.fits").layout == made().layout


@given(column=st.sampled_from(["etag", "layout", "headers", "tables", "checksum"]), data=st.data())
@settings(max_examples=60)
def test_a_changed_row_is_no_layout(filled, column, data):
    """A row of which one column has changed, be it to another type, is dropped."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, NAME).write_bytes(filled)
        value = data.draw(st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.binary())
        value = data.draw(st.just(value) | st.text(st.characters(codec="utf-8")))
        connection = sqlite3.connect(Path(folder, NAME))
        before = connection.execute(f"SELECT {column} FROM files WHERE address = ?", (b"/archive/k3.fits",)).fetchone()
        connection.execute(f"UPDATE files SET {column} = ? WHERE address = ?", (value, b"/archive/k3.fits"))
        connection.commit()
        connection.close()
        with Index(folder) as index:
            known = index.get(STORE, "k3.fits")
            assert (known is None) == ((value,) != before)
            assert index.get(STORE, "k4.fits").layout == made(4).layout


@pytest.mark.parametrize("junk", [b"", b"\0", b"SIMPLE  =" * 5000, b"SQLite format 3\0" + bytes(20000)])
def test_what_is_no_database_is_made_anew(tmp_path, junk):
    """A file of other bytes is put away, and nothing is left of it."""
    (tmp_path / NAME).write_bytes(junk)
    with Index(tmp_path) as index:
        assert index.get(STORE, "k0.fits") is None
        index.put(STORE, made())
        assert index.get(STORE, "k0.fits").layout == made().layout
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "change", ["PRAGMA user_version = 7", "DROP TABLE files", "ALTER TABLE files DROP COLUMN tables"]
)
def test_another_schema_is_made_anew(tmp_path, filled, change):
    """Tables of another version, or none, are not read."""
    (tmp_path / NAME).write_bytes(filled)
    connection = sqlite3.connect(tmp_path / NAME)
    connection.execute(change)
    connection.close()
    with Index(tmp_path) as index:
        assert index.get(STORE, "k0.fits") is None
        index.put(STORE, made())
        assert index.get(STORE, "k0.fits").layout == made().layout


def test_damage_under_the_hands_of_others(tmp_path):
    """Two have the file open when it is overwritten: both go on, with one new file between them."""
    with Index(tmp_path) as one, Index(tmp_path) as two:
        for number in range(50):
            one.put(STORE, made(number))
        assert two.get(STORE, "k7.fits").layout == made(7).layout
        one.close()
        size = (tmp_path / NAME).stat().st_size
        with (tmp_path / NAME).open("r+b") as file:
            file.write(b"\xff" * size)
        for index in [one, two, one, two]:
            known = index.get(STORE, "k9.fits")
            assert known is None or same(known, made(9))
        one.put(STORE, made(1, etag="new"))
        two.put(STORE, made(2, etag="new"))
        two.put(STORE, made(2, etag="newer"))
        assert one.get(STORE, "k2.fits").layout.etag == "newer"
        assert two.get(STORE, "k1.fits").layout.etag == "new"


# --- Where it cannot be kept -----------------------------------------------------------------------------------------


def test_without_a_place_nothing_is_kept_and_one_warning_says_so(tmp_path):
    """A folder that cannot be made switches the index off."""
    (tmp_path / "file").write_bytes(b"")
    index = Index(tmp_path / "file" / "cache")
    with pytest.warns(HSTCloudWarning, match="layouts are not remembered") as said:
        index.put(STORE, made())
    assert str(tmp_path / "file" / "cache" / NAME) in str(said[0].message)
    assert "HST_CLOUD_CACHE" in str(said[0].message)
    index.put(STORE, made())  # a second warning would be an error here
    assert index.get(STORE, "k0.fits") is None
    index.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_no_error(tmp_path, filled):
    """An index that cannot be written warns once."""
    (tmp_path / NAME).write_bytes(filled)
    (tmp_path / NAME).chmod(0o400)
    tmp_path.chmod(0o500)
    index = Index(tmp_path)
    with pytest.warns(HSTCloudWarning, match="layouts are not remembered"):
        index.put(STORE, made(20))
    index.put(STORE, made(20))
    tmp_path.chmod(0o700)


FULL = """
import resource, signal, sys, warnings
sys.path.insert(0, sys.argv[2])
from test_index import STORE, made
from hst_cloud.fits.index import Index
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
index = Index(sys.argv[1])
index.put(STORE, made())
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for number in range(100):
        index.put(STORE, made(number, size=28800))
        known = index.get(STORE, "k5.fits")
    print(len(said), said[0].category.__name__, known)
"""


def test_a_full_disk_is_no_error(tmp_path):
    """Once nothing more fits, one warning says so, and reading goes on without an index."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", FULL, str(tmp_path), str(here)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here.parent)])}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert said.stdout == "1 HSTCloudWarning None\n", said.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000


def test_while_another_writes_nothing_is_kept_and_nothing_is_said(tmp_path):
    """A writer that does not come to an end is not waited for beyond a second."""
    with Index(tmp_path) as index:
        index.put(STORE, made(1))
        other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        index.put(STORE, made(2))
        assert index.get(STORE, "k1.fits").layout == made(1).layout
        assert index.get(STORE, "k2.fits") is None
        other.execute("ROLLBACK")
        other.close()
        index.put(STORE, made(2))
        assert index.get(STORE, "k2.fits").layout == made(2).layout


# --- Its size --------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    """The file stays within its bound, and what was asked for lately stays in it."""
    bound = 2 * 1024**2
    with Index(tmp_path, max_bytes=bound) as index:
        for number in range(20):
            index.put(STORE, made(number, size=28800))
        index.close()
        connection = sqlite3.connect(tmp_path / NAME)
        connection.execute("UPDATE files SET used = used - 7200")
        connection.commit()
        connection.close()
        assert index.get(STORE, "k0.fits") is not None
        for number in range(100, 250):
            index.put(STORE, made(number, size=28800))
            assert index.get(STORE, f"k{number}.fits") is not None
            if number % 30 == 0:
                index._database.close()
                assert (tmp_path / NAME).stat().st_size <= bound
            if number == 145:
                assert index.get(STORE, "k0.fits") is not None
                assert index.get(STORE, "k1.fits") is None
    assert (tmp_path / NAME).stat().st_size <= bound


def test_a_lower_bound_shrinks_the_file(tmp_path):
    """The next put cuts it down."""
    with Index(tmp_path) as index:
        for number in range(150):
            index.put(STORE, made(number, size=28800))
    assert (tmp_path / NAME).stat().st_size > 4 * 1024**2
    with Index(tmp_path, max_bytes=1024**2) as index:
        index.put(STORE, made(200))
        index.put(STORE, made(201))
        assert index.get(STORE, "k200.fits") is not None
    assert (tmp_path / NAME).stat().st_size <= 1024**2


def test_a_bound_has_a_least_value():
    """Below one mebibyte nothing of use fits in."""
    with pytest.raises(QueryError, match="at least 1048576, found 1000"):
        Index(max_bytes=1000)


def test_what_is_too_large_is_not_kept(tmp_path):
    """No file takes more than an eighth of the index."""
    with Index(tmp_path, max_bytes=1024**2) as index:
        index.put(STORE, made(size=2880 * 60))
        assert index.get(STORE, "k0.fits") is None


# --- Many together ---------------------------------------------------------------------------------------------------


def test_many_are_put_in_few_transactions(tmp_path):
    """130 files take three; what is not yet written is not yet known."""
    said = []
    with Index(tmp_path) as index:
        index.put(STORE, made(999))
        index._database._connection.set_trace_callback(said.append)
        with index.together(STORE) as put:
            for number in range(130):
                put(made(number))
                assert (index.get(STORE, f"k{number}.fits") is not None) == (number in {63, 127})
        assert sum(line.startswith("BEGIN") for line in said) == 3
        assert all(same(index.get(STORE, f"k{number}.fits"), made(number)) for number in range(130))


def test_what_was_found_before_an_error_is_kept(tmp_path):
    """However the block ends; what has no version is left out."""
    with Index(tmp_path) as index:
        with contextlib.suppress(KeyError), index.together(STORE) as put:
            put(made(1))
            put(made(2, etag=None))
            raise KeyError
        assert index.get(STORE, "k1.fits") is not None
        assert index.get(STORE, "k2.fits") is None


def test_many_together_keep_the_bound(tmp_path):
    """However many and however large they are, the file does not grow beyond its size, and the last ones are there."""
    bound = 1024**2
    with Index(tmp_path, max_bytes=bound) as index:
        for size in (14400, 115200):
            with index.together(STORE) as put:
                for number in range(60):
                    put(made(number, size=size))
            assert index.get(STORE, "k59.fits").layout.size == size
            index.close()
            assert (tmp_path / NAME).stat().st_size <= bound


# --- Many at once ----------------------------------------------------------------------------------------------------


def in_children(works):
    """Do each work in a process of its own, all at once, and return their exit codes."""
    children = []
    for work in works:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is part of what is tested
            child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if work() else 2
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


def write(folder, first):
    """Put and get sixty files, one that all others put too, and some that others have put."""
    with warnings.catch_warnings(), Index(folder) as index:
        warnings.simplefilter("error")
        for number in range(first, first + 60):
            index.put(STORE, made(number))
            index.put(STORE, made(7000, etag=str(first)))
            shared = index.get(STORE, "k7000.fits")
            other = index.get(STORE, f"k{(number * 37) % 480}.fits")
            if not (
                same(index.get(STORE, f"k{number}.fits"), made(number))
                and same(shared, made(7000, etag=shared.layout.etag))
                and (other is None or same(other, made((number * 37) % 480)))
            ):
                return False
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_eight_processes_write_at_once(tmp_path):
    """None fails, none reads what was not put, and all that was put is there in the end."""
    works = [functools.partial(write, tmp_path, 60 * n) for n in range(8)]
    assert in_children(works) == [0] * 8
    with Index(tmp_path) as index:
        for number in range(480):
            assert same(index.get(STORE, f"k{number}.fits"), made(number))


def test_threads_share_it(tmp_path):
    """Eight threads put and get at once."""
    wrong = []

    def work(first):
        for number in range(first, first + 40):
            index.put(STORE, made(number))
            if not same(index.get(STORE, f"k{number}.fits"), made(number)):
                wrong.append(number)

    with Index(tmp_path) as index:
        threads = [threading.Thread(target=work, args=(40 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_it_survives_a_fork(tmp_path):
    """Parent and child go on, also where other threads of the parent were using it at that moment."""
    with Index(tmp_path) as index:
        index.put(STORE, made(0))
        ended = threading.Event()

        def work():
            for number in itertools.count(100):
                if ended.is_set():
                    return
                index.put(STORE, made(number % 200))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()

        def child(number):
            index.put(STORE, made(number))
            return same(index.get(STORE, f"k{number}.fits"), made(number)) and index.get(STORE, "k0.fits")

        codes = [in_children([functools.partial(child, number)]) for number in range(1, 9)]
        ended.set()
        for thread in threads:
            thread.join()
        assert codes == [[0]] * 8
        for number in range(9):
            assert same(index.get(STORE, f"k{number}.fits"), made(number))


# --- Settings --------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_users_own(monkeypatch, tmp_path):
    """XDG's folder, or else the one in the home folder; HST_CLOUD_CACHE names another or none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HST_CLOUD_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "hst_cloud"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "hst_cloud"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "hst_cloud"
    monkeypatch.setenv("HST_CLOUD_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    assert as_index(True, BUCKET).path == tmp_path / "mine"
    assert as_index(True, BUCKET) is as_index(True, BUCKET)
    with Index() as index:
        index.put(STORE, made())
    assert (tmp_path / "mine" / NAME).exists()


@pytest.mark.parametrize("word", ["", "off", "OFF"])
def test_it_can_be_switched_off(monkeypatch, word):
    """By the setting and by the argument; then nothing is kept, and nothing said."""
    monkeypatch.setenv("HST_CLOUD_CACHE", word)
    assert cache_folder() is None
    assert as_index(True, BUCKET) is None
    assert as_index(False, BUCKET) is None
    index = Index()
    assert as_index(index, BUCKET) is index
    index.put(STORE, made())
    assert index.get(STORE, "k0.fits") is None


def test_the_users_own_is_for_what_lies_elsewhere(monkeypatch, tmp_path):
    """Not for a folder, the memory or a port of this machine; an index that is named is used for anything."""
    monkeypatch.setenv("HST_CLOUD_CACHE", str(tmp_path))
    fsspec = pytest.importorskip("fsspec")
    local = [STORE, FsspecStore(fsspec.filesystem("file")), FsspecStore(fsspec.filesystem("memory"))]
    assert [as_index(True, store) for store in local] == [None] * 3
    assert as_index(True, Meter(STORE)) is None
    assert as_index(True, Meter(BUCKET)) is as_index(True, BUCKET) is not None
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "mine"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HST_CLOUD_CACHE")
    served = [BUCKET, HTTPStore("http://localhost:9000/stpubdata"), HTTPStore("http://[::1]:9000/stpubdata")]
    assert [as_index(True, store) for store in served] == [None] * 3  # no folder is named, and the home is not for it
    assert as_index(True, public_store()).path == tmp_path / "mine" / ".cache" / "hst_cloud"
    assert as_index(False, public_store()) is None
    named = Index(tmp_path)
    assert [as_index(named, store) for store in served] == [named] * 3
    assert [as_index(named, store) for store in local] == [named] * 3
    assert list((tmp_path / "mine").iterdir()) == []
