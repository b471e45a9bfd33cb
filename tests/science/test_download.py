"""Whole files into a folder: what is there afterwards, what is asked for, and what survives which misfortune."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from rewriting import Answered, rewriting
from support import put

import hst_cloud as hst
from hst_cloud.errors import (
    CorruptFileError,
    DiskSpaceError,
    FileConflictError,
    FormatError,
    HSTCloudWarning,
    LocalDiskError,
    NotInCloudError,
    ObjectChangedError,
    ObjectNotFoundError,
    ProductNameError,
    QueryError,
)
from hst_cloud.science.manifest import read_manifest
from hst_cloud.science.partial import part_name, read_journal
from hst_cloud.testing import LocalArchive

PART = 8 * 1024 * 1024
NAMES = ["jabc01aaq_flc.fits", "jabc01abq_flc.fits", "jabc01acq_flc.fits"]


def content(size, seed=0):
    return np.random.default_rng([size, seed]).bytes(size)


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def archive(tmp_path):
    """Serve three small files."""
    folder = tmp_path / "archive"
    for i, name in enumerate(NAMES):
        put(folder, name, content(10_000 + i))
    with LocalArchive(folder) as running:
        yield running


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


def stored(archive, name):
    return (archive.folder / "hst/public" / name[:4] / name[:9] / name).read_bytes()


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def statuses(table):
    return dict(zip(table["productFilename"].tolist(), table["status"].tolist(), strict=True))


def quiet(*arguments, **options):
    """Download where some fail."""
    with pytest.warns(HSTCloudWarning, match="products are not in"):
        return hst.download(*arguments, **options)


def asked(archive, *, least=2):
    """Return the ranges that were asked for, of more than a byte."""
    spans = []
    for request in archive.requests:
        first, last = map(int, request.range.removeprefix("bytes=").split("-"))
        if last - first + 1 >= least:
            spans.append((first, last + 1))
    return sorted(spans)


# --- What comes of it ------------------------------------------------------------------------------------------------


def test_files_and_manifest(archive, work):
    """Each file has the object's bytes, and a row that tells version, size, check, and where it is."""
    table = hst.download(NAMES, work)
    assert type(table) is Table
    assert names_in(work) == [*NAMES, "manifest.ecsv"]
    for row, name in zip(table, NAMES, strict=True):
        data = stored(archive, name)
        assert (work / name).read_bytes() == data
        assert (row["productFilename"], row["path"], row["status"], row["check"]) == (name, name, "downloaded", "md5")
        assert (row["etag"], row["size"], row["reason"]) == (md5(data), len(data), "")
        assert row["modified"] == (work / name).stat().st_mtime_ns
    assert table["size"].unit == "byte"
    assert table.meta["requests"] == len(archive.requests) == 6  # a byte for the size, then all
    assert table.meta["criteria"] == {"layout": "flat", "overwrite": False}


def test_the_manifest_is_the_table(archive, work):
    """What is written is what is returned, and it can be read by itself."""
    table = hst.download(NAMES, work)
    again = read_manifest(work / "manifest.ecsv")
    assert again.colnames == table.colnames
    assert all(again[name].tolist() == table[name].tolist() for name in table.colnames)
    assert again.meta["criteria"] == table.meta["criteria"]


def test_a_known_size_saves_the_question(archive, work):
    """MAST tells the size, so that each small file takes one request, for no more than it has."""
    rows = hst.resolve(NAMES, verify=True)
    archive.forget()
    hst.download(rows, work)
    assert len(archive.requests) == 3
    assert sorted(asked(archive)) == sorted((0, size) for size in rows["size"].tolist())


def test_nested_keeps_the_folders_of_the_keys(archive, work):
    """The nested layout can be read as a store."""
    hst.download(NAMES, work, layout="nested")
    assert names_in(work)[0] == "hst/public/jabc/jabc01aaq/jabc01aaq_flc.fits"
    assert hst.download(NAMES, work / "flat", store=work)["status"].tolist() == ["downloaded"] * 3


def test_a_large_file_comes_in_parts(tmp_path, work):
    """Every byte is asked for once, in ranges of 8 MiB, all of one version."""
    data = content(3 * PART + 17)
    put(tmp_path / "archive", NAMES[0], data)
    with LocalArchive(tmp_path / "archive") as archive:
        rows = hst.resolve(NAMES[0], verify=True)
        archive.forget()
        table = hst.download(rows, work)
        assert asked(archive) == [(i * PART, min((i + 1) * PART, len(data))) for i in range(4)]
    assert (work / NAMES[0]).read_bytes() == data
    assert table["check"][0] == "md5"
    assert names_in(work) == [NAMES[0], "manifest.ecsv"]


def test_an_empty_object_is_an_empty_file(tmp_path, work):
    """No byte is a content too; S3 names no version where it refuses the range."""
    put(tmp_path / "archive", NAMES[0], b"")
    with LocalArchive(tmp_path / "archive"):
        table = hst.download(NAMES[0], work)
    assert (table["status"][0], table["size"][0], table["check"][0]) == ("downloaded", 0, "length only")
    assert (work / NAMES[0]).read_bytes() == b""


def test_one_product_twice_is_one(archive, work):
    """Whatever it is called."""
    key = f"s3://stpubdata/hst/public/jabc/jabc01aaq/{NAMES[0]}"
    table = hst.download([NAMES[0], f"mast:HST/product/{NAMES[0]}", key], work)
    assert statuses(table) == {NAMES[0]: "downloaded"}
    assert len(archive.requests) == 2


def test_two_products_of_one_name(archive, work):
    """Side by side they would be one file: nothing is asked, and the message says what to do."""
    keys = [f"s3://stpubdata/hst/public/jabc/jabc01aaq/{NAMES[0]}", f"s3://stpubdata/hst/public/jabc/other/{NAMES[0]}"]
    with pytest.raises(QueryError, match="layout='nested'"):
        hst.download(keys, work)
    assert archive.requests == []
    assert not work.exists()


def test_progress(archive, work):
    """Files and bytes are counted up to what there is, and nothing is told twice."""
    told = []
    hst.download(NAMES, work, progress=told.append)
    size = sum(10_000 + i for i in range(3))
    last = told[-1]
    assert (last.what, last.done, last.total, last.bytes, last.size) == ("files", 3, 3, size, size)
    assert all(a.bytes <= b.bytes and a.done <= b.done for a, b in itertools.pairwise(told))
    assert len(set(told)) == len(told)


def test_arguments_that_make_no_sense(archive, work):
    """They are refused before anything is asked or written."""
    for options in [{"layout": "deep"}, {"in_flight": 0}, {"on_error": "mask"}]:
        with pytest.raises(QueryError):
            hst.download(NAMES, work, **options)
    for name in ["../manifest.ecsv", "manifest.csv", ".ecsv", "/tmp/m.ecsv"]:
        with pytest.raises(ProductNameError, match="names no file in the folder"):
            hst.download(NAMES, work, manifest=name)
    assert archive.requests == []
    assert not work.exists()


def test_other_stores(archive, work):
    """What is no store of ours on the private loop is read in threads; its versions may be no MD5."""
    table = hst.download(NAMES, work, store=archive.folder)
    assert table["check"].tolist() == ["length+etag only"] * 3
    assert (work / NAMES[2]).read_bytes() == stored(archive, NAMES[2])


# --- What is there already -------------------------------------------------------------------------------------------


def test_a_second_call_asks_nothing(archive, work):
    """What the manifest knows and nobody has touched is there: no request, and the file is the same."""
    hst.download(NAMES, work)
    before = (work / NAMES[0]).stat()
    archive.forget()
    table = hst.download(NAMES, work)
    assert set(statuses(table).values()) == {"present"}
    assert table["check"].tolist() == ["md5"] * 3
    assert archive.requests == []
    assert (work / NAMES[0]).stat().st_ino == before.st_ino


def test_files_of_another_origin_are_checked(archive, work):
    """A file that no manifest tells of is compared with the object, for a request of one byte."""
    hst.download(NAMES, work, manifest=None)
    assert names_in(work) == NAMES
    archive.forget()
    table = hst.download(NAMES, work)
    assert set(statuses(table).values()) == {"present"}
    assert [request.bytes for request in archive.requests] == [1, 1, 1]


@pytest.mark.parametrize("other", [b"mine", content(10_000, seed=1)])
def test_a_different_file_is_left_alone(archive, work, other):
    """Of another size or content, it stays; the row tells the difference, and the others are downloaded."""
    work.mkdir()
    (work / NAMES[0]).write_bytes(other)
    table = quiet(NAMES, work)
    assert statuses(table) == dict(zip(NAMES, ["conflict", "downloaded", "downloaded"], strict=True))
    assert (work / NAMES[0]).read_bytes() == other
    expected = "expected 10000 bytes, found 4" if len(other) == 4 else f"found {md5(other)}"
    assert expected in table["reason"][0]
    assert "overwrite=True" in table["reason"][0]
    with pytest.raises(FileConflictError, match=expected):
        hst.download(NAMES, work, on_error="raise")


def test_a_different_file_is_replaced_when_asked(archive, work):
    """`overwrite` replaces what differs, and that alone."""
    hst.download(NAMES, work)
    (work / NAMES[0]).write_bytes(b"mine")
    archive.forget()
    table = hst.download(NAMES, work, overwrite=True)
    assert statuses(table) == dict(zip(NAMES, ["downloaded", "present", "present"], strict=True))
    assert (work / NAMES[0]).read_bytes() == stored(archive, NAMES[0])
    assert len(archive.requests) == 2


def test_without_a_checksum_a_file_of_another_origin_is_no_proof(archive, work):
    """The size alone does not tell the version: a reprocessed file has the same."""
    work.mkdir()
    (work / NAMES[0]).write_bytes(content(10_000, seed=1))
    table = quiet(NAMES[0], work, store=archive.folder)
    assert table["status"][0] == "conflict"
    assert "nothing tells whether it is of the same version" in table["reason"][0]


def test_a_replaced_object_is_seen_where_the_etag_is_told(archive, work):
    """A listing tells the new version, so that the old file is a conflict and can be replaced."""
    hst.download(NAMES[0], work)
    put(archive.folder, NAMES[0], content(10_000, seed=1))
    assert hst.download(NAMES[0], work)["status"][0] == "present"
    rows = hst.resolve(NAMES[0], verify=True)
    table = quiet(rows, work)
    assert table["status"][0] == "conflict"
    assert md5(content(10_000)) in table["reason"][0]
    assert hst.download(rows, work, overwrite=True)["status"][0] == "downloaded"
    assert (work / NAMES[0]).read_bytes() == content(10_000, seed=1)


def test_a_folder_in_the_way(archive, work):
    """A folder of the file's name is never replaced."""
    (work / NAMES[0]).mkdir(parents=True)
    assert quiet(NAMES, work, overwrite=True)["status"][0] == "conflict"


def test_the_manifest_keeps_what_it_knows(archive, work):
    """A second call for other products adds its rows."""
    hst.download(NAMES[0], work)
    table = hst.download(NAMES[1:], work)
    assert len(table) == 2
    assert statuses(read_manifest(work / "manifest.ecsv")) == dict.fromkeys(NAMES, "downloaded")


def test_something_else_of_the_manifests_name(archive, work):
    """It is neither believed nor replaced."""
    work.mkdir()
    (work / "manifest.ecsv").write_text("my list\n")
    with pytest.raises(FormatError, match=r"manifest\.ecsv is no manifest of a download"):
        hst.download(NAMES, work)
    assert names_in(work) == ["manifest.ecsv"]
    hst.download(NAMES, work, manifest="files.ecsv")
    assert (work / "manifest.ecsv").read_text() == "my list\n"


# --- The manifest run again ------------------------------------------------------------------------------------------


def test_a_manifest_is_run_again(archive, work):
    """What failed is tried again, what is done is not; given as a table or as a path."""
    wanted = [*NAMES, "jabc01adq_flc.fits"]
    first = quiet(wanted, work)
    assert statuses(first)[wanted[3]] == "missing"
    put(archive.folder, wanted[3], content(500))
    archive.forget()
    table = hst.download(work / "manifest.ecsv", work)
    assert statuses(table) == dict(zip(wanted, ["present", "present", "present", "downloaded"], strict=True))
    assert len(archive.requests) == 2
    assert set(hst.download(first, work)["status"]) == {"present"}
    assert set(hst.download(str(work / "manifest.ecsv"), work)["status"]) == {"present"}


def test_a_manifest_brings_the_same_versions_elsewhere(archive, work, tmp_path):
    """Another folder gets the very files, and is told where one is gone."""
    hst.download(NAMES, work, layout="nested")
    put(archive.folder, NAMES[0], content(10_000, seed=1))
    table = quiet(work / "manifest.ecsv", tmp_path / "other")
    assert statuses(table) == dict(zip(NAMES, ["failed", "downloaded", "downloaded"], strict=True))
    assert "was replaced" in table["reason"][0]
    assert table["path"][1] == f"hst/public/jabc/jabc01abq/{NAMES[1]}"


def test_a_path_that_is_no_manifest(archive, work, tmp_path):
    """Neither is a missing file an empty list, nor another table a manifest."""
    with pytest.raises(LocalDiskError, match="nowhere"):
        hst.download(tmp_path / "nowhere.ecsv", work)
    hst.resolve(NAMES).write(tmp_path / "rows.ecsv")
    with pytest.raises(FormatError, match="expected the columns productFilename"):
        hst.download(str(tmp_path / "rows.ecsv"), work)


# --- One broken product ----------------------------------------------------------------------------------------------


def test_what_is_not_there_has_a_row(archive, work):
    """Each has its status and reason, in order; one warning lists them, and the others are there."""
    exclusive = hst.Product(filename="jabc01axq_flc.fits", key="hst/public/jabc/jabc01axq/jabc01axq_flc.fits",
                            status="exclusive", reason="MAST says 'EXCLUSIVE_ACCESS'")  # fmt: skip
    wanted = [NAMES[0], "jabc01adq_flc.fits", "mast:HLA/url/x.fits", exclusive, "jabc01010", "../evil.fits", NAMES[1]]
    with pytest.warns(
        HSTCloudWarning, match=r"5 of 7 products are not in .*work:\njabc01adq_flc\.fits: missing"
    ) as said:
        table = hst.download(wanted, work)
    assert len(said) == 1
    assert said[0].filename == __file__
    outcomes = ["downloaded", "missing", "not_mirrored", "exclusive", "failed", "failed", "downloaded"]
    assert table["status"].tolist() == outcomes
    assert "HTTP 404" in table["reason"][1]
    assert "EXCLUSIVE_ACCESS" in table["reason"][3]
    assert "several files" in table["reason"][4]
    assert "no file name of the archive" in table["reason"][5] or "names no file" in table["reason"][5]
    assert all(reason for status, reason in zip(outcomes, table["reason"], strict=True) if status != "downloaded")
    assert names_in(work) == [*NAMES[:2], "manifest.ecsv"]
    assert [request.path for request in archive.requests if "axq" in request.path] == []


def test_errors_are_raised_when_asked(archive, work):
    """The first that fails ends the call; what is known to be absent, before anything is written."""
    with pytest.raises(ObjectNotFoundError, match="jabc01adq"):
        hst.download([*NAMES, "jabc01adq_flc.fits"], work, on_error="raise")
    with pytest.raises(NotInCloudError, match="several files"):
        hst.download([*NAMES, "jabc01010"], work / "other", on_error="raise")
    assert not (work / "other").exists()


def test_a_truncated_answer_is_no_file(archive, work):
    """A body that ends too early, again and again, fails that file alone."""

    def cut(asked, answer):
        if NAMES[1] in asked.path:
            answer.body = answer.body[:-1]

    with rewriting(archive.endpoint, after=cut) as proxy:
        table = quiet(
            [hst.Product(filename=n, key=f"hst/public/jabc/{n[:9]}/{n}", size=10) for n in NAMES], work, store=proxy
        )
    assert statuses(table) == dict(zip(NAMES, ["downloaded", "failed", "downloaded"], strict=True))
    assert "contradicts itself" in table["reason"][1]
    assert NAMES[1] not in names_in(work)


def test_a_flipped_bit_is_found(archive, work):
    """What contradicts the MD5 never has the file's name: it is set aside, and the next call brings the file."""

    def flip(asked, answer):
        if NAMES[1] in asked.path and len(answer.body) > 1:
            answer.body = answer.body[:100] + bytes([answer.body[100] ^ 1]) + answer.body[101:]

    data = stored(archive, NAMES[1])
    with rewriting(archive.endpoint, after=flip) as proxy:
        table = quiet(NAMES, work, store=proxy)
        with pytest.raises(CorruptFileError, match=f"expected MD5 {md5(data)}"):
            hst.download(NAMES, work, store=proxy, on_error="raise")
    assert statuses(table) == dict(zip(NAMES, ["downloaded", "corrupt", "downloaded"], strict=True))
    assert (table["path"][1], table["check"][1]) == (f"{NAMES[1]}.corrupt", "md5")
    assert f"expected MD5 {md5(data)}" in table["reason"][1]
    assert names_in(work) == [NAMES[0], f"{NAMES[1]}.corrupt", NAMES[2], "manifest.ecsv"]
    assert hst.download(NAMES, work)["status"].tolist() == ["present", "downloaded", "present"]
    assert (work / NAMES[1]).read_bytes() == data


def relabeled(etag):
    """Give hooks of a proxy that shows another ETag than the archive's."""

    def before(asked):
        asked.headers.pop("If-Match", None)

    def after(asked, answer):
        answer.put("ETag", f'"{etag}"')

    return {"before": before, "after": after}


def test_parts_of_an_upload_are_checked(tmp_path, work):
    """The usual size of parts is tried."""
    data = content(PART + 1000)
    put(tmp_path / "archive", NAMES[0], data)
    digests = [hashlib.md5(each, usedforsecurity=False).digest() for each in (data[:PART], data[PART:])]
    with (
        LocalArchive(tmp_path / "archive") as archive,
        rewriting(archive.endpoint, **relabeled(md5(b"".join(digests)) + "-2")) as proxy,
    ):
        assert hst.download(NAMES[0], work, store=proxy)["check"][0] == "md5 of parts (8 MiB)"


@pytest.mark.parametrize("broken", [False, True])
def test_sums_in_the_file_are_checked(tmp_path, work, broken):
    """Where no ETag is a checksum, the file's own are compared."""
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.arange(900), name="SCI")]).writeto(buffer, checksum=True)
    data = buffer.getvalue()
    data = data.replace(np.arange(900).astype(">i8").tobytes()[:80], b"\xff" * 80) if broken else data
    put(tmp_path / "archive", NAMES[0], data)
    get = quiet if broken else hst.download
    with LocalArchive(tmp_path / "archive") as archive, rewriting(archive.endpoint, **relabeled("opaque")) as proxy:
        row = get(NAMES[0], work, store=proxy)[0]
    assert row["check"] == "FITS checksum (2 of 2 HDUs)"
    assert row["status"] == ("corrupt" if broken else "downloaded")
    assert ("HDU 1 (SCI): expected DATASUM" in row["reason"]) == broken


# --- An object that changes ------------------------------------------------------------------------------------------


def test_an_object_that_is_replaced_meanwhile_is_begun_anew(tmp_path, work):
    """What has come of the old version is dropped, and the file is wholly of the new one."""
    old, new = content(3 * PART), content(3 * PART + 5, seed=1)
    put(tmp_path / "archive", NAMES[0], old)
    count = []

    def replace(asked):
        count.append(asked.path)
        if len(count) == 3:
            put(tmp_path / "archive", NAMES[0], new)

    with LocalArchive(tmp_path / "archive") as archive, rewriting(archive.endpoint, before=replace) as proxy:
        told = []
        table = hst.download(NAMES[0], work, store=proxy, in_flight=1, progress=told.append)
    assert (table["status"][0], table["etag"][0], table["size"][0]) == ("downloaded", md5(new), len(new))
    assert told[-1].bytes == len(new)
    assert (work / NAMES[0]).read_bytes() == new
    assert names_in(work) == [NAMES[0], "manifest.ecsv"]


def test_later_parts_are_asked_of_the_version_that_answered_first(tmp_path, work):
    """The condition goes with the request, so that another version sends no byte."""
    data, conditions = content(3 * PART), {}
    put(tmp_path / "archive", NAMES[0], data)

    def listen(asked):
        conditions[asked.headers["Range"]] = asked.headers.get("If-Match")

    wanted = hst.Product(filename=NAMES[0], key=f"hst/public/jabc/jabc01aaq/{NAMES[0]}", size=len(data))
    with LocalArchive(tmp_path / "archive") as archive, rewriting(archive.endpoint, before=listen) as proxy:
        hst.download(wanted, work, store=proxy)
    assert list(conditions.values()) == [None, f'"{md5(data)}"', f'"{md5(data)}"']


def test_without_etags_the_size_must_stay(tmp_path, work):
    """A store that names no versions has changed the object if it has another size."""
    put(tmp_path / "archive", NAMES[0], content(3 * PART))
    count = []

    def replace(asked):
        count.append(asked.path)
        if len(count) == 3:
            put(tmp_path / "archive", NAMES[0], content(3 * PART + 5, seed=1))

    def forget(asked, answer):
        answer.drop("ETag")

    proxy = {"before": replace, "after": forget}
    with LocalArchive(tmp_path / "archive") as archive, rewriting(archive.endpoint, **proxy) as store:
        table = hst.download(NAMES[0], work, store=store, in_flight=1)
    assert (table["status"][0], table["check"][0]) == ("downloaded", "length only")
    assert (work / NAMES[0]).read_bytes() == content(3 * PART + 5, seed=1)


def test_an_object_that_never_stays_is_given_up(tmp_path, work):
    """After two new beginnings the row says so."""
    count = []

    def replace(asked):
        count.append(asked.path)
        put(tmp_path / "archive", NAMES[0], content(2 * PART, seed=len(count)))

    put(tmp_path / "archive", NAMES[0], content(2 * PART))
    with LocalArchive(tmp_path / "archive") as archive, rewriting(archive.endpoint, before=replace) as proxy:
        table = quiet(NAMES[0], work, store=proxy, in_flight=1)
    assert table["status"][0] == "failed"
    assert "was replaced" in table["reason"][0]
    assert names_in(work) == ["manifest.ecsv"]


def test_a_version_that_was_listed_is_the_one_that_comes(archive, work):
    """An ETag in the product's row is a promise: another version is an error, and no file."""
    rows = hst.resolve(NAMES, verify=True)
    put(archive.folder, NAMES[0], content(10_000, seed=1))
    table = quiet(rows, work)
    assert statuses(table) == dict(zip(NAMES, ["failed", "downloaded", "downloaded"], strict=True))
    assert md5(content(10_000)) in table["reason"][0]
    with pytest.raises(ObjectChangedError):
        hst.download(rows, work, on_error="raise")


# --- Killed, interrupted, resumed ------------------------------------------------------------------------------------

DOWNLOAD = """
import sys, json, os
os.umask(int(sys.argv[4], 8))
import hst_cloud as hst
options = json.loads(sys.argv[3])
table = hst.download(json.loads(sys.argv[1]), sys.argv[2], **options)
print(json.dumps(table["status"].tolist()))
"""


@pytest.fixture
def process():
    """Return what starts a download in a process of its own; none outlives the test."""
    children = []

    def start(archive, names, folder, *, umask="022", **options):
        command = [sys.executable, "-c", DOWNLOAD, json.dumps(names), str(folder), json.dumps(options), umask]
        env = os.environ | {"HST_CLOUD_ENDPOINT": archive.endpoint}
        child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def until(true, seconds=60):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def journals(folder):
    return list(folder.glob(".*.part.log"))


def durable(folder):
    """Return the parts that the journal of the only part file tells of."""
    found = [read_journal(path.read_bytes()) for path in journals(folder)]
    return set(found[0][1]) if found and found[0] else set()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_killed_download_is_gone_on_with(tmp_path, work, process):
    """After kill -9, no byte that was written is fetched again, and no more than the parts in flight were lost."""
    data, in_flight = content(12 * PART + 100), 3
    put(tmp_path / "archive", NAMES[0], data)
    with LocalArchive(tmp_path / "archive", bandwidth=40e6) as archive:
        hst.resolve(NAMES[0], verify=True)  # hashes the file
        archive.forget()
        child = process(archive, NAMES[:1], work, in_flight=in_flight)
        until(lambda: len(durable(work)) >= 4)
        child.kill()
        child.communicate()
        held = durable(work)
        began = {start // PART for start, _ in asked(archive)}
        assert not (work / NAMES[0]).exists()
        assert 4 <= len(held) < 13
        assert len(began - held) <= in_flight
        archive.bandwidth = None
        archive.forget()
    with LocalArchive(tmp_path / "archive") as archive:
        table = hst.download(NAMES[0], work)
        again = {start // PART for start, _ in asked(archive, least=1)}
        assert again == set(range(13)) - held
        assert sum(request.bytes for request in archive.requests) == len(data) - sum(
            min((n + 1) * PART, len(data)) - n * PART for n in held
        )
    assert (table["status"][0], table["check"][0]) == ("downloaded", "md5")
    assert (work / NAMES[0]).read_bytes() == data
    assert names_in(work) == [NAMES[0], "manifest.ecsv"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_files_that_were_done_before_the_kill_are_known(tmp_path, work, process):
    """The journal of the manifest tells of them, also where no checksum could: none is fetched again or a conflict."""
    names = [f"jabc{i:02}aaq_flc.fits" for i in range(20)]
    for i, name in enumerate(names):
        put(tmp_path / "archive", name, content(2_000_000, seed=i))
    slow = LocalArchive(tmp_path / "archive", bandwidth=4e6)
    with slow as archive, rewriting(archive.endpoint, **relabeled("opaque")) as proxy:
        child = process(archive, names, work, in_flight=2, store=proxy)
        until(lambda: len(list(work.glob("*.fits"))) >= 5)
        child.kill()
        child.communicate()
        there = {path.name for path in work.glob("*.fits")}
        assert not (work / "manifest.ecsv").exists()
    with LocalArchive(tmp_path / "archive") as archive, rewriting(archive.endpoint, **relabeled("opaque")) as proxy:
        table = hst.download(names, work, store=proxy)
        assert {name for name, status in statuses(table).items() if status == "present"} == there
        assert not [request for request in archive.requests if request.path.rpartition("/")[2] in there]
    assert names_in(work) == [*names, "manifest.ecsv"]


@pytest.mark.parametrize("change", ["lost", "replaced"])
def test_what_a_kill_left_is_not_believed(tmp_path, work, change):
    """Bytes that the disk lost are fetched again; a part file of another version is dropped."""
    data = content(3 * PART)
    put(tmp_path / "archive", NAMES[0], data)
    with LocalArchive(tmp_path / "archive") as archive:

        def fail(asked):
            return Answered(404) if f"{2 * PART}-" in asked.headers.get("Range", "") else None

        with rewriting(archive.endpoint, before=fail) as proxy:
            assert quiet(NAMES[0], work, store=proxy)["status"][0] == "missing"
        assert durable(work) == {0, 1}
        part = next(work.glob(".*.part"))
        if change == "lost":
            with part.open("r+b") as file:
                file.write(bytes(1000))
        else:
            data = content(3 * PART, seed=1)
            put(tmp_path / "archive", NAMES[0], data)
        archive.forget()
        assert hst.download(NAMES[0], work)["status"][0] == "downloaded"
        starts = [start // PART for start, _ in asked(archive)]
        assert starts == ([0, 2] if change == "lost" else [0, 1, 2, 2])
    assert (work / NAMES[0]).read_bytes() == data
    assert names_in(work) == [NAMES[0], "manifest.ecsv"]


def test_part_files_of_older_versions_are_removed(archive, work):
    """What a version left that is gone is of no use; other files' parts are not ours."""
    work.mkdir()
    (work / part_name(NAMES[0], "older")).write_bytes(b"old")
    (work / part_name(NAMES[1], "older")).write_bytes(b"old")
    hst.download(NAMES[0], work)
    assert names_in(work) == sorted([part_name(NAMES[1], "older"), NAMES[0], "manifest.ecsv"])


def test_bytes_are_on_the_disk_before_the_name(archive, work, monkeypatch):
    """What has its name survives a loss of power: all bytes are forced out first, and the name afterwards."""
    forced, fsync = [], os.fsync

    def watch(fd):
        forced.append((os.path.isdir(fd), os.fstat(fd).st_size, (work / NAMES[0]).exists()))  # noqa: PTH112 - of a descriptor
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watch)
    hst.download(NAMES[0], work, manifest=None)
    assert forced[0] == (False, 10_000, False)
    assert [(folder, named) for folder, _, named in forced[1:]] == [(True, True)]


def test_an_interrupt_is_heard(tmp_path, work, process):
    """Ctrl-C ends the call soon, says so in the manifest, and leaves what a later call goes on from."""
    put(tmp_path / "archive", NAMES[0], content(6 * PART))
    put(tmp_path / "archive", NAMES[1], content(1000))
    with LocalArchive(tmp_path / "archive", bandwidth=1e6) as archive:
        hst.resolve(NAMES, verify=True)
        archive.forget()
        child = process(archive, NAMES[:2], work, in_flight=4)
        until(lambda: (work / NAMES[1]).exists() and len(asked(archive)) >= 3)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, said = child.communicate()
        assert time.monotonic() - began < 5  # a part takes 8 s here
        assert "KeyboardInterrupt" in said
    table = read_manifest(work / "manifest.ecsv")
    assert statuses(table) == {NAMES[0]: "pending", NAMES[1]: "downloaded"}
    with LocalArchive(tmp_path / "archive"):
        assert hst.download(work / "manifest.ecsv", work)["status"].tolist() == ["downloaded", "present"]
    assert names_in(work) == [*NAMES[:2], "manifest.ecsv"]


def test_two_processes_share_the_work(tmp_path, work, process):
    """Both have every file in the end, whole, and large files crossed the wire once."""
    names = NAMES[:2]
    for i, name in enumerate(names):
        put(tmp_path / "archive", name, content(3 * PART, seed=i))
    with LocalArchive(tmp_path / "archive", bandwidth=40e6) as archive:
        hst.resolve(names, verify=True)
        archive.forget()
        rows = [f"s3://stpubdata/hst/public/jabc/{name[:9]}/{name}" for name in names]
        both = [process(archive, rows, work, in_flight=2) for _ in range(2)]
        said = [json.loads(child.communicate()[0]) for child in both]
        sent = sum(request.bytes for request in archive.requests)
    assert all(set(each) <= {"downloaded", "present"} for each in said)
    assert [status for each in said for status in each].count("downloaded") == 2
    assert 6 * PART <= sent <= 6 * PART + 4  # and each may have asked for the sizes, with a byte
    for i, name in enumerate(names):
        assert (work / name).read_bytes() == content(3 * PART, seed=i)
    assert names_in(work) == [*names, "manifest.ecsv"]
    assert set(statuses(read_manifest(work / "manifest.ecsv")).values()) <= {"downloaded", "present"}


def test_many_processes_at_once(archive, work, process):
    """However many want the same small files: all are whole, nothing is left, and none fails."""
    children = [process(archive, NAMES, work) for _ in range(4)]
    said = [child.communicate() for child in children]
    assert [error for _, error in said] == [""] * 4
    assert all(set(json.loads(out)) <= {"downloaded", "present"} for out, _ in said)
    assert names_in(work) == [*NAMES, "manifest.ecsv"]
    assert all((work / name).read_bytes() == stored(archive, name) for name in NAMES)


# --- The disk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o644), ("027", 0o640), ("077", 0o600)])
def test_modes_are_the_umasks(archive, work, process, umask, mode):
    """Files and manifest may be read by whom the umask lets."""
    child = process(archive, NAMES, work, umask=umask)
    assert json.loads(child.communicate()[0]) == ["downloaded"] * 3
    assert {path.stat().st_mode & 0o777 for path in work.iterdir()} == {mode}


def test_room_is_looked_for_first(archive, work):
    """Sizes that are known do not fit: nothing is asked or written, and the message tells both numbers."""
    huge = hst.Product(filename=NAMES[1], key=f"hst/public/jabc/jabc01abq/{NAMES[1]}", size=10**18)
    with pytest.raises(
        DiskSpaceError, match=r"1000000000000000010 bytes more are needed .*work, whose disk has \d+ left"
    ):
        hst.download([hst.Product(filename=NAMES[0], key=f"hst/public/jabc/jabc01aaq/{NAMES[0]}", size=10), huge], work)
    assert archive.requests == []
    assert not work.exists()


def test_sizes_that_are_not_known_are_asked_first(archive, work):
    """The first answers tell them, before anything is written."""

    def enlarge(asked, answer):
        if NAMES[2] in asked.path:
            answer.put("Content-Range", f"bytes 0-0/{10**18}")

    with rewriting(archive.endpoint, after=enlarge) as proxy, pytest.raises(DiskSpaceError):
        hst.download(NAMES, work, store=proxy)
    assert [request.bytes for request in archive.requests] == [1, 1, 1]
    assert not work.exists()


def test_a_size_that_was_wrong_is_noticed(archive, work):
    """The table may tell of an older version; the answer's size must fit too."""

    def enlarge(asked, answer):
        answer.put("Content-Range", f"bytes 0-9/{10**18}")
        answer.body = bytes(10)

    wanted = hst.Product(filename=NAMES[0], key=f"hst/public/jabc/jabc01aaq/{NAMES[0]}", size=10)
    with rewriting(archive.endpoint, after=enlarge) as proxy, pytest.raises(DiskSpaceError):
        hst.download(wanted, work, store=proxy)
    assert statuses(read_manifest(work / "manifest.ecsv")) == {NAMES[0]: "pending"}


def test_a_file_that_is_larger_than_was_told_comes_whole(tmp_path, work):
    """What came first is no whole part then, and is read again."""
    data = content(PART + 3)
    key = put(tmp_path / "archive", NAMES[0], data)
    with LocalArchive(tmp_path / "archive") as archive:
        done = hst.download(hst.Product(filename=NAMES[0], key=key, size=10), work)
        assert sorted(asked(archive)) == [(0, 10), (0, PART), (PART, PART + 3)]
    assert done["status"].tolist() == ["downloaded"]
    assert (work / NAMES[0]).read_bytes() == data


def test_a_disk_that_becomes_full(tmp_path, work, monkeypatch):
    """It ends the call, keeps what has come, and a later call goes on."""
    put(tmp_path / "archive", NAMES[0], content(3 * PART))
    write, count = os.pwrite, []

    def full(fd, data, at):
        count.append(at)
        if len(count) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data, at)

    with LocalArchive(tmp_path / "archive") as archive:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(DiskSpaceError, match=r"became full while .*jabc01aaq_flc\.fits was being written"):
            hst.download(NAMES[0], work, in_flight=1)
        assert statuses(read_manifest(work / "manifest.ecsv")) == {NAMES[0]: "pending"}
        archive.forget()
        assert hst.download(NAMES[0], work)["status"][0] == "downloaded"
        assert len(archive.requests) == 1
    assert (work / NAMES[0]).read_bytes() == content(3 * PART)


LIMITED = """
import resource, sys, warnings, json
import hst_cloud as hst
resource.setrlimit(resource.RLIMIT_FSIZE, (12_000_000, 12_000_000))
warnings.simplefilter("ignore")
table = hst.download(json.loads(sys.argv[1]), sys.argv[2])
print(json.dumps([table["status"].tolist(), table["reason"].tolist()]))
"""


def test_a_file_that_the_disk_refuses(tmp_path, work):
    """Trouble with one file on this machine is that file's row."""
    pytest.importorskip("resource")
    put(tmp_path / "archive", NAMES[0], content(2 * PART))
    put(tmp_path / "archive", NAMES[1], content(1000))
    with LocalArchive(tmp_path / "archive") as archive:
        command = [sys.executable, "-c", LIMITED, json.dumps(NAMES[:2]), str(work)]
        env = os.environ | {"HST_CLOUD_ENDPOINT": archive.endpoint}
        out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    status, reason = json.loads(out)
    assert status == ["failed", "downloaded"]
    assert "could not be written" in reason[0]
    assert "File too large" in reason[0]


@pytest.mark.parametrize("place", ["hst", "hst/public/jabc/jabc01aaq"])
def test_links_do_not_lead_out_of_the_folder(archive, work, tmp_path, place):
    """Neither a folder nor a file is made behind a link that somebody planted."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (work / place).parent.mkdir(parents=True)
    (work / place).symlink_to(outside)
    table = quiet(NAMES[:2], work, layout="nested")
    assert table["status"][0] == "failed"
    assert "leads out of the folder" in table["reason"][0]
    assert list(outside.iterdir()) == []


def test_a_link_of_the_files_name(archive, work, tmp_path):
    """It is a conflict; overwriting replaces the link, not what it points to."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    work.mkdir()
    (work / NAMES[0]).symlink_to(precious)
    assert "no regular file" in quiet(NAMES[0], work)["reason"][0]
    assert hst.download(NAMES[0], work, overwrite=True)["status"][0] == "downloaded"
    assert precious.read_bytes() == b"mine"
    assert not (work / NAMES[0]).is_symlink()


def test_a_folder_that_is_a_link_is_the_users(archive, tmp_path):
    """Where the files go may be a link; and ``~`` and relative paths mean what they mean elsewhere."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "disk")
    assert hst.download(NAMES[0], tmp_path / "work")["status"][0] == "downloaded"
    assert names_in(tmp_path / "disk") == [NAMES[0], "manifest.ecsv"]


def test_a_folder_that_is_a_file(archive, work):
    """It is an error that names it."""
    work.write_bytes(b"")
    with pytest.raises(LocalDiskError, match="work"):
        hst.download(NAMES, work)


# --- Many, and large -------------------------------------------------------------------------------------------------


def test_a_thousand_small_files(tmp_path, work):
    """One request each, no part files or journals left, and none the second time."""
    names = [f"j{i:03}01aaq_flc.fits" for i in range(1000)]
    for i, name in enumerate(names):
        put(tmp_path / "archive", name, content(3000, seed=i))
    with LocalArchive(tmp_path / "archive") as archive:
        rows = hst.resolve(names)
        rows["size"] = [3000] * 1000
        table = hst.download(rows, work)
        assert len(archive.requests) == 1000
        assert set(table["status"]) == {"downloaded"}
        assert max(request.in_flight for request in archive.requests) <= 32
        archive.forget()
        assert set(hst.download(rows, work)["status"]) == {"present"}
        assert archive.requests == []
    assert names_in(work) == sorted([*names, "manifest.ecsv"])
    assert all((work / name).read_bytes() == content(3000, seed=i) for i, name in enumerate(names))


MEMORY = """
import resource, sys
import hst_cloud as hst
hst.download(sys.argv[1], sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
hst.download(sys.argv[2], sys.argv[3], in_flight=4)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="units of ru_maxrss")
def test_memory_is_bounded_by_the_parts_in_flight(tmp_path, work):
    """A file of 300 MB with four requests in flight takes no more memory than four parts and some change."""
    put(tmp_path / "archive", NAMES[0], content(1000))
    key = put(tmp_path / "archive", NAMES[1], b"")
    os.truncate(tmp_path / "archive" / key, 300_000_000)
    with LocalArchive(tmp_path / "archive") as archive:
        command = [sys.executable, "-c", MEMORY, *NAMES[:2], str(work)]
        env = os.environ | {"HST_CLOUD_ENDPOINT": archive.endpoint}
        out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert int(out) < 4 * PART + 30e6
    assert (work / NAMES[1]).stat().st_size == 300_000_000
