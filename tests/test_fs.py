"""The file system ``hst://``: fsspec's own tests of it, s3fs as the referee, and what astropy and pandas make of it."""

from __future__ import annotations

import io
import pickle
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import fsspec
import numpy as np
import pytest
from astropy.io import fits
from fsspec.tests import abstract
from support import put

from hst_cloud.errors import NotInCloudError, ObjectChangedError, ObjectNotFoundError, QueryError
from hst_cloud.fs import HSTFileSystem
from hst_cloud.testing import LocalArchive

ROOT = Path(__file__).resolve().parent.parent
NAME = "jbqf03gjq_flc.fits"
KEY = f"hst/public/jbqf/jbqf03gjq/{NAME}"


@pytest.fixture
def folder(tmp_path):
    """Return a folder with an image of 1 MB, a text, an empty file and a large one."""
    folder = tmp_path / "archive"
    image = fits.ImageHDU(np.arange(500 * 500, dtype="f4").reshape(500, 500), name="SCI")
    put(folder, NAME, fits.HDUList([fits.PrimaryHDU(), image]))
    put(folder, "jbqf03gjq_trl.txt", b"x,y\n1,2\n3,4\n")
    put(folder, "jbqf03gjq_log.txt", b"")
    put(folder, "jbqf03gkq_raw.fits", np.arange(9_000_000, dtype="u1").tobytes())
    return folder


@pytest.fixture
def archive(folder):
    with LocalArchive(folder) as archive:
        yield archive


@pytest.fixture
def hst(archive):
    """Return the file system, registered as the entry point does it."""
    fsspec.register_implementation("hst", HSTFileSystem, clobber=True)
    return fsspec.filesystem("hst")


@pytest.fixture
def referee(archive):
    """Return s3fs on the same objects."""
    s3fs = pytest.importorskip("s3fs")
    return s3fs.S3FileSystem(anon=True, endpoint_url=archive.endpoint, skip_instance_cache=True)


# --- fsspec's own tests ----------------------------------------------------------------------------------------------


class _Filled(HSTFileSystem):
    """The file system, with what fsspec's tests fill it by: that goes to the archive's folder behind its back."""

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)

    def mkdir(self, path, **_):
        (self.folder / path).mkdir(parents=True, exist_ok=True)

    makedirs = mkdir

    def touch(self, path, **_):
        self.pipe_file(path, b"")

    def pipe_file(self, path, value, **_):
        self.mkdir(str(Path(path).parent))
        (self.folder / path).write_bytes(value)

    def rm(self, path, **_):
        shutil.rmtree(self.folder / path)


class TestGet(abstract.AbstractFixtures, abstract.AbstractGetTests):
    """What fsspec expects of ``get``."""

    @pytest.fixture
    def fs(self, tmp_path):
        (tmp_path / "archive").mkdir()
        with LocalArchive(tmp_path / "archive"):
            yield _Filled(str(tmp_path / "archive"))

    @pytest.fixture
    def fs_path(self):
        return "hst/public/test"

    @pytest.fixture
    def local_path(self, tmp_path):
        return str(tmp_path / "local")

    @pytest.fixture
    def supports_empty_directories(self):
        return False


# --- s3fs as the referee ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [(None, None), (0, 10), (5, None), (-7, None), (None, -7), (10, 99)])
def test_cat_gives_what_s3fs_gives(hst, referee, limits):
    """Whole, parts, from the end, and beyond the end."""
    ours, theirs = "jbqf03gjq_trl.txt", "stpubdata/hst/public/jbqf/jbqf03gjq/jbqf03gjq_trl.txt"
    assert hst.cat_file(ours, *limits) == referee.cat_file(theirs, start=limits[0], end=limits[1])


def test_cat_gives_nothing_where_there_is_nothing(hst):
    """Of an empty range, and behind the end, as a local file does; s3fs gives what the server makes of it."""
    assert hst.cat_file("jbqf03gjq_trl.txt", 3, 3) == b""
    assert hst.cat_file("jbqf03gjq_trl.txt", 50, 60) == b""
    content = b"x,y\n1,2\n3,4\n"
    for start in (None, -20, -5, 0, 4, 20):
        for stop in (None, -20, -9, 0, 6, 20):
            assert hst.cat_file("jbqf03gjq_trl.txt", start, stop) == content[start:stop]


@pytest.mark.parametrize("block_size", [None, 1000, 5_000_000])
def test_an_open_file_reads_as_that_of_s3fs(hst, referee, block_size):
    """Any mixture of seek, read and tell gives the same, and at the end nothing."""
    ours, theirs = hst.open(KEY, block_size=block_size), referee.open(f"stpubdata/{KEY}", block_size=block_size)
    assert ours.size == theirs.size
    moves = [(0, 0, 100), (50_000, 0, 70_000), (-100, 1, 300), (-10, 2, 100), (0, 2, 5), (123_456, 0, 500_000)]
    for offset, whence, size in moves:
        assert ours.seek(offset, whence) == theirs.seek(offset, whence)
        assert ours.read(size) == theirs.read(size)
        assert ours.tell() == theirs.tell()
    ours.seek(0)
    theirs.seek(0)
    assert ours.read() == theirs.read()
    assert ours.read() == b""


@pytest.mark.parametrize("name", ["jbqf03gjq_log.txt", "jbqf03gkq_raw.fits", NAME])
def test_whole_files_are_the_files(hst, folder, name):
    """An empty one, one of several parts, and a usual one."""
    local = next(folder.rglob(name)).read_bytes()
    assert hst.cat_file(name) == local
    assert hst.info(name)["size"] == len(local)
    with hst.open(name) as file:
        assert file.read() == local


def test_listings_agree_with_s3fs(hst, referee):
    """Names, sizes and kinds of ls, find, glob and info are s3fs's but for the bucket's name and their extras."""

    def told(entries):
        return sorted((e["name"].removeprefix("stpubdata/"), e["type"], e["size"]) for e in entries)

    for path in ("hst/public/jbqf", "hst/public/jbqf/jbqf03gjq", KEY):
        assert told(hst.ls(path)) == told(referee.ls(f"stpubdata/{path}", detail=True))
        assert told([hst.info(path)]) == told([referee.info(f"stpubdata/{path}")])
        assert told(hst.find(path, detail=True).values()) == told(
            referee.find(f"stpubdata/{path}", detail=True).values()
        )
    for pattern in ("*_flc.fits", "*.txt", "*.nothing"):
        theirs = referee.glob(f"stpubdata/hst/public/jbqf/*/{pattern}")
        assert hst.glob(f"hst/public/jbqf/*/{pattern}") == [name.removeprefix("stpubdata/") for name in theirs]


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [NAME, NAME.upper(), f"hst://{NAME}", f"hst://{KEY}", KEY, f"hst://jbqf03gjq/{NAME}"])
def test_names_and_keys_mean_the_same_file(hst, path):
    """A file's name, in any case, its key, and its place below its exposure."""
    assert hst._strip_protocol(path) == KEY
    assert hst.exists(path)
    assert hst.unstrip_protocol(hst.info(path)["name"]) == f"hst://{KEY}"


def test_an_exposure_is_a_folder(hst):
    """Its name lists its files, with patterns too."""
    assert hst.isdir("hst://JBQF03GJQ")
    assert [name.rpartition("/")[2] for name in hst.ls("jbqf03gjq", detail=False)] == [
        NAME,
        "jbqf03gjq_log.txt",
        "jbqf03gjq_trl.txt",
    ]
    assert hst.glob("hst://jbqf03gjq/*_flc.fits") == [KEY]


def test_what_is_not_there_is_said_so(hst):
    """Missing files and folders, names without a rule, and folders too large to be listed."""
    with pytest.raises(ObjectNotFoundError, match="jbqf03gzq_flc"):
        hst.open("jbqf03gzq_flc.fits")
    with pytest.raises(ObjectNotFoundError, match="hst/public/jbqg is neither a file nor a folder"):
        hst.ls("hst/public/jbqg")
    with pytest.raises(NotInCloudError, match=r"u4ge0106j_jit.fits has no known place"):
        hst.cat_file("u4ge0106j_jit.fits")
    for path in ("", "hst/public", "hst/public/j"):
        with pytest.raises(QueryError, match="is not listed, as it may hold millions of keys"):
            hst.ls(path)
    assert [hst.isdir(path) for path in ("", "hst", "hst/public", "hst/pub", "hst/public/j")] == [True] * 3 + [
        False
    ] * 2
    assert not hst.exists("jbqf03gzq_flc.fits")


def test_it_is_read_only(hst):
    """Writing is refused, in words."""
    with pytest.raises(io.UnsupportedOperation, match="mode 'wb': the archive is read-only"):
        hst.open(NAME, "wb")


# --- Cost, versions, processes ---------------------------------------------------------------------------------------


def test_requests(hst, archive):
    """One to open, none for what came with it; one listing for whatever is below; one for each range."""

    def sent(action):
        before = len(archive.requests)
        action()
        return len(archive.requests) - before

    assert sent(lambda: hst.open(NAME)) == 1
    assert sent(lambda: hst.open(NAME).read(2880)) == 1
    assert sent(lambda: hst.info(NAME)) == 1
    assert sent(lambda: hst.glob("hst/public/jbqf/*/*.txt")) <= 2
    assert sent(lambda: hst.find("hst/public/jbqf")) == 1
    assert sent(lambda: hst.cat_file(NAME, 10, 20)) == 1
    assert sent(lambda: hst.cat_ranges([NAME, NAME, "jbqf03gkq_raw.fits"], [0, 900_000, 5], [9, 900_009, 9])) == 3


def test_ranges_of_many_files_come_in_order(hst, folder):
    """Each is that of the local file; one that is missing is its error, or raised."""
    local = {name: next(folder.rglob(name)).read_bytes() for name in (NAME, "jbqf03gkq_raw.fits")}
    paths, starts, ends = [NAME, "jbqf03gkq_raw.fits", NAME], [100, 8_999_999, 0], [200, 9_000_100, 0]
    expected = [local[path][a:b] for path, a, b in zip(paths, starts, ends, strict=True)]
    assert hst.cat_ranges(paths, starts, ends) == expected
    assert hst.cat_ranges([NAME], [-10], [None]) == [local[NAME][-10:]]
    missing = hst.cat_ranges([NAME, "jbqf03gzq_flc.fits"], 0, 4)
    assert missing[0] == b"SIMP"
    assert isinstance(missing[1], ObjectNotFoundError)
    with pytest.raises(ObjectNotFoundError, match="jbqf03gzq"):
        hst.cat_ranges([NAME, "jbqf03gzq_flc.fits"], 0, 4, on_error="raise")


def test_an_open_file_is_of_one_version(hst, folder):
    """A file that is replaced while it is open is an error at the next read, here and where it was pickled to."""
    file = hst.open(NAME)
    parcel = pickle.dumps(file)
    moved = pickle.loads(parcel)
    moved.seek(1000)
    assert moved.read(10) == next(folder.rglob(NAME)).read_bytes()[1000:1010]
    put(folder, NAME, np.ones(2_000_000, "u1").tobytes())
    file.seek(900_000)
    with pytest.raises(ObjectChangedError, match=NAME):
        file.read(10)
    with pytest.raises(ObjectChangedError, match=NAME):
        pickle.loads(parcel)


def test_it_pickles(hst, monkeypatch):
    """A file system is a value for other processes, which read the archive that this one reads."""
    told, parcel = hst.info(NAME), pickle.dumps(hst)
    monkeypatch.delenv("HST_CLOUD_ENDPOINT")
    assert pickle.loads(parcel).info(NAME) == told


def test_another_store(folder):
    """A folder is one, too."""
    assert HSTFileSystem(store=str(folder)).cat_file(NAME, 0, 6) == b"SIMPLE"


# --- Who takes such names --------------------------------------------------------------------------------------------


def test_astropy_takes_such_names(hst, folder, archive):
    """fits.open reads a section of the file, and not all of it."""
    with fits.open(f"hst://{NAME}", use_fsspec=True) as hdul, fits.open(next(folder.rglob(NAME))) as local:
        before = sum(r.bytes for r in archive.requests)
        assert before < 400_000
        assert np.array_equal(hdul["SCI"].section[490:, :10], local["SCI"].data[490:, :10])
        assert sum(r.bytes for r in archive.requests) < 700_000


def test_pandas_takes_such_names(hst):
    """read_csv of a text."""
    pandas = pytest.importorskip("pandas")
    assert pandas.read_csv("hst://jbqf03gjq_trl.txt").to_dict("list") == {"x": [1, 3], "y": [2, 4]}


def test_dask_takes_such_names(hst):
    """read_bytes of a pattern, in blocks."""
    pytest.importorskip("dask")
    import dask.bytes

    _, blocks = dask.bytes.read_bytes("hst://jbqf03gjq/*_flc.fits", blocksize=500_000)
    (parts,) = blocks
    assert sum(len(part.compute()) for part in parts) == 1_008_000


def test_fsspec_finds_it_by_its_entry_point(archive, tmp_path):
    """Where the package is installed, nobody needs to import it."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["fsspec.specs"]
    info = tmp_path / "lib" / "installed_for_a_test-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-for-a-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fsspec.specs]\n" + "".join(f"{a} = {b}\n" for a, b in points.items()))
    code = f"import sys; sys.path[:0] = {[str(ROOT), str(info.parent)]!r}; import fsspec; "
    code += f"print(len(fsspec.open('hst://{NAME}').open().read()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "1008000", done.stderr
