"""From anything that names products to one row each: by rule without a request, or verified by a counted few."""

from __future__ import annotations

import csv
import doctest
import json
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

import hst_cloud as hst
from hst_cloud.archive import resolve as module
from hst_cloud.archive.resolve import resolve
from hst_cloud.errors import HSTCloudWarning, ProductNameError, QueryError, StoreUnavailableError
from hst_cloud.store.adapters import FolderStore
from hst_cloud.store.objects import HTTPStore, ListedObject, Traffic
from hst_cloud.store.policy import S3
from hst_cloud.testing import LocalArchive
from hst_cloud.values import ByteRange, Product, Progress

COLUMNS = ["productFilename", "dataURI", "obs_id", "key", "s3_uri", "https_url", "size", "etag", "status", "reason"]
NAME = "jbqf03gjq_flc.fits"
KEY = f"hst/public/jbqf/jbqf03gjq/{NAME}"
JITTER = "u4ge0106j_jit.fits"
JITTER_KEY = f"hst/public/u4ge/u4ge0106r/{JITTER}"
HAP = "hst_16912_02_acs_wfc_f606w_jety02_drc.fits"
HAP_PATH = f"hap/public/jety/hst_16912_02/{HAP}"


class Listings:
    """A store that only lists, and keeps a record of what was asked."""

    def __init__(self, *keys):
        self.objects = [ListedObject(key, 100 + number, f"etag{number}") for number, key in enumerate(keys)]
        self.batches = []
        self.traffic = Traffic()

    def read(self, *_, **__):
        raise AssertionError

    def address(self, key):
        return f"memory://{key}"

    def listings(self, prefixes):
        self.batches.append(list(prefixes))
        return [[each for each in self.objects if each.key.startswith(prefix)] for prefix in prefixes]


@pytest.fixture
def paths():
    """Serve path_lookup on loopback: yields the answers to give, by URI, and the address; the URIs asked are kept."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            address = urlsplit(self.path)
            assert address.path == "/api/v0.1/path_lookup/"
            uris = parse_qs(address.query)["uri"]
            asked.append(uris)
            found = {u: {"status_code": 200 if answers.get(u) else 404, "path": answers.get(u)} for u in uris}
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.answers, server.asked = answers, asked
    server.root = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def put(folder, key, size=3):
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def _plain(value):
    return value.decode() if isinstance(value, bytes) else value


def known_rows(shared_data):
    with (shared_data / "keys" / "known_s3_keys.tsv").open() as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


# --- By rule ---------------------------------------------------------------------------------------------------------


def test_rows_have_all_columns():
    """Where a product lies is told in three ways; what is not known is empty or masked."""
    table = resolve([NAME])
    assert table.colnames == COLUMNS
    (row,) = table
    assert row["key"] == KEY
    assert row["s3_uri"] == f"s3://stpubdata/{KEY}"
    assert row["https_url"] == f"https://stpubdata.s3.us-east-1.amazonaws.com/{KEY}"
    assert (row["productFilename"], row["dataURI"]) == (NAME, f"mast:HST/product/{NAME}")
    assert (row["obs_id"], row["etag"], row["status"], row["reason"]) == ("jbqf03gjq", "", "unverified", "")
    assert row["size"] is np.ma.masked
    assert str(table["size"].unit) == "byte"
    assert table["size"].dtype == np.int64


def test_meta_tells_what_was_asked():
    """As in the other tables: criteria, service, endpoint, time and versions."""
    meta = resolve([NAME]).meta
    assert meta["criteria"] == {"verify": False}
    assert meta["service"] == "by rule"
    assert meta["endpoint"] == "https://stpubdata.s3.us-east-1.amazonaws.com"
    assert meta["time"].endswith("+00:00")
    assert set(meta["versions"]) == {"hst_cloud", "astropy"}
    verified = resolve([NAME], verify=True, store=Listings()).meta
    assert verified["criteria"] == {"verify": True}
    assert verified["service"] == "ListObjectsV2"
    assert verified["endpoint"] == "memory:"


def test_known_keys_come_out_as_recorded(shared_data):
    """Given dataURI and obs_id, every row whose key others saw; HAP is not mirrored, the unknown unverified."""
    rows = known_rows(shared_data)
    table = resolve(Table({"dataURI": [r["dataURI"] for r in rows], "obs_id": [r["obs_id"] or "" for r in rows]}))
    assert len(table) == len(rows)
    for row, known in zip(table, rows, strict=True):
        if (known["s3_key"] or "").startswith("hst/public/"):
            assert (row["key"], row["status"], row["reason"]) == (known["s3_key"], "unverified", "")
        else:
            expected = "not_mirrored" if "hst_16912" in known["dataURI"] else "unverified"
            assert (row["key"], row["status"]) == ("", expected)
            assert row["reason"]


def test_known_keys_come_out_by_name_alone_but_for_jitter(shared_data):
    """A jitter file's row says that its name does not tell; the others are as recorded."""
    rows = known_rows(shared_data)
    for form in ("mast:HST/product/", ""):
        table = resolve([form + known["dataURI"].removeprefix("mast:HST/product/") for known in rows])
        for row, known in zip(table, rows, strict=True):
            jitter = known["dataURI"].endswith(JITTER)
            expected = known["s3_key"] if (known["s3_key"] or "").startswith("hst/") and not jitter else ""
            assert row["key"] == expected
            assert bool(row["reason"]) == (not expected)
            assert row["status"] == ("not_mirrored" if "hst_16912" in known["dataURI"] else "unverified")


def test_a_mix_has_one_row_each_in_the_order_given():
    """Whatever it is, and however unreadable, nothing moves and nothing is lost."""
    observations = Table({"obs_id": ["IBF302040"], "dataURL": ["mast:HST/product/ibf302040_drz.fits"]})
    products = Table({"obs_id": ["U4GE0106R"], "dataURI": [f"mast:HST/product/{JITTER}"], "size": [7]})
    table = resolve([HAP, observations, "jbqf03010", products[0], "../x", NAME, None, f"s3://stpubdata/{KEY}"])
    assert table["key"].tolist() == [
        "",
        "hst/public/ibf3/ibf302040/ibf302040_drz.fits",
        "hst/public/jbqf/jbqf03010/",
        JITTER_KEY,
        "",
        KEY,
        "",
        KEY,
    ]
    assert table["status"].tolist() == ["not_mirrored", *["unverified"] * 7]
    assert table["size"].tolist() == [None, None, None, 7, None, None, None, None]
    assert "'../x'" in table["reason"][4]
    assert "names nothing" in table["reason"][6]
    assert all(table["s3_uri"][i] == (f"s3://stpubdata/{key}" if key else "") for i, key in enumerate(table["key"]))


def test_one_input_has_one_row():
    """Also where it can't be read: a reason is more use than half a script."""
    assert resolve(NAME)["key"].tolist() == [KEY]
    assert resolve("nonsense")["status"].tolist() == ["unverified"]
    assert "'nonsense'" in resolve("nonsense")["reason"][0]


def test_nothing_has_no_rows_but_all_columns():
    """An empty search resolves to an empty table of the same types."""
    table = resolve([])
    assert (len(table), table.colnames) == (0, COLUMNS)
    assert {table[name].dtype.kind for name in COLUMNS if name != "size"} == {"U"}
    assert len(resolve([], verify=True, store=Listings())) == 0


def test_wrong_types_are_refused():
    """A mistake in a program is raised, not hidden in a row."""
    with pytest.raises(ProductNameError, match="item 1, 3 of type int"):
        resolve([NAME, 3])
    with pytest.raises(ProductNameError, match="no column tells a product"):
        resolve(Table({"ra": [1.0]}))


def test_ten_thousand_products_take_no_request_and_under_a_second(tmp_path):
    """The best of a few runs, on a table as MAST gives it."""
    roots = [f"jb{n:05d}{'qrst'[n % 4]}q" for n in range(10_000)]
    table = Table(
        {
            "obs_id": roots,
            "dataURI": [f"mast:HST/product/{root}_flc.fits" for root in roots],
            "productFilename": [f"{root}_flc.fits" for root in roots],
            "size": MaskedColumn(np.arange(10_000), mask=np.arange(10_000) % 3 == 0),
            "dataRights": ["PUBLIC"] * 10_000,
        }
    )
    seconds = []
    with LocalArchive(tmp_path) as archive:
        for _ in range(4):
            started = time.thread_time()
            found = resolve(table)
            seconds.append(time.thread_time() - started)
        assert archive.requests == []
    assert found["key"].tolist() == [f"hst/public/{root[:4]}/{root}/{root}_flc.fits" for root in roots]
    if sys.gettrace() is None:  # neither a debugger nor the measuring of coverage looks on
        assert min(seconds) < 1


@pytest.mark.parametrize("form", ["ascii.ecsv", "votable", "parquet"])
def test_tables_survive_being_written(form, tmp_path):
    """Written and read again, they resolve to what they were."""
    if form == "parquet":
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")  # astropy reads with it what it writes without
    store = Listings(KEY)
    given = [NAME, HAP, "jbqf03010", "../x"]
    with pytest.warns(HSTCloudWarning, match="MAST could not be asked"):
        table = resolve(given, verify=True, store=store, mast="http://127.0.0.1:1", deadline=0.1)
    table.write(tmp_path / "table", format=form)
    read = Table.read(tmp_path / "table", format=form)
    again = resolve(read)
    for name in COLUMNS:
        assert [_plain(value) for value in read[name].tolist()] == table[name].tolist()
        assert again[name].tolist() == table[name].tolist()
    assert again["size"].unit == table["size"].unit
    assert again["size"].tolist() == [100, None, None, None]


def test_addresses_are_those_of_the_archive_in_use(tmp_path):
    """Of the one that the environment names, or that is given by its address."""
    with LocalArchive(tmp_path) as archive:
        url = f"{archive.endpoint}/stpubdata/{KEY}"
        assert resolve(NAME)["https_url"][0] == url
    assert resolve(NAME, store="http://127.0.0.1:9")["https_url"][0] == f"http://127.0.0.1:9/stpubdata/{KEY}"
    assert "%2B" in resolve("s3://stpubdata/mast/hlsp/a+b.fits")["https_url"][0]  # S3 reads + as a blank


# --- Verified by listings --------------------------------------------------------------------------------------------


def test_listing_tells_size_and_etag():
    """What the visit's listing shows is in the cloud; MAST's size gives way to the bucket's."""
    (row,) = resolve({"dataURI": f"mast:HST/product/{NAME}", "size": 5}, verify=True, store=Listings("hst/x", KEY))
    assert (row["status"], row["size"], row["etag"], row["reason"]) == ("in_cloud", 101, "etag1", "")


def test_what_the_listing_lacks_is_missing():
    """With what was listed, and where else it may be."""
    other = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_raw.fits"
    (row,) = resolve(NAME, verify=True, store=Listings(other))
    assert (row["status"], row["key"], row["etag"]) == ("missing", KEY, "")
    assert row["reason"] == (
        "not among the 1 objects of the bucket whose keys begin with 'hst/public/jbqf/jbqf03'. "
        "MAST may hold it: hst_cloud.open(..., source='mast')"
    )


def test_exclusive_products_stay_so_unless_they_are_there():
    """A release that the row did not know of yet is told by the listing."""
    rows = [
        {"dataURI": f"mast:HST/product/{name}", "dataRights": "EXCLUSIVE_ACCESS"}
        for name in (NAME, "jbqf04gjq_flc.fits")
    ]
    table = resolve(rows, verify=True, store=Listings(KEY))
    assert table["status"].tolist() == ["in_cloud", "exclusive"]
    assert "EXCLUSIVE_ACCESS" in table["reason"][1]


def test_jitter_file_is_found_in_its_visit():
    """By name it has no key until the listing of its visit shows its folder."""
    store = Listings("hst/public/u4ge/u4ge0106r/u4ge0106r_c0m.fits", JITTER_KEY)
    (row,) = resolve(JITTER, verify=True, store=store)
    assert (row["key"], row["obs_id"], row["status"], row["reason"]) == (JITTER_KEY, "u4ge0106r", "in_cloud", "")
    assert store.batches == [["hst/public/u4ge/u4ge01"]]
    (row,) = resolve(JITTER, verify=True, store=Listings("hst/public/u4ge/u4ge0106r/u4ge0106r_c0m.fits"))
    assert (row["key"], row["status"]) == ("", "missing")


def test_two_files_of_one_jitter_name_are_not_guessed_between():
    """Neither folder is taken."""
    store = Listings(JITTER_KEY, f"hst/public/u4ge/u4ge0106m/{JITTER}")
    assert resolve(JITTER, verify=True, store=store)["status"].tolist() == ["missing"]


def test_product_in_another_folder_than_the_rule_tells_is_found():
    """The listing decides, and the row says that the rule was wrong."""
    key = "hst/public/j8ck/j8ck01041/j8ck01041_drz.fits"
    (row,) = resolve("j8ck01041_drz.fits", verify=True, store=Listings(key))
    assert (row["key"], row["status"], row["obs_id"]) == (key, "in_cloud", "j8ck01041")
    assert "another folder" in row["reason"]
    assert "hst/public/j8ck/j8ck01040/j8ck01041_drz.fits" in row["reason"]


def test_observation_is_there_when_files_of_it_are():
    """Its size is their sum; the marks that consoles leave for folders are no files."""
    folder = "hst/public/jbqf/jbqf03010/"
    store = Listings(folder, f"{folder}jbqf03010_drc.fits", f"{folder}jbqf03010_asn.fits", KEY)
    table = resolve(["jbqf03010", "jbqf03020"], verify=True, store=store)
    assert table["status"].tolist() == ["in_cloud", "missing"]
    assert table["size"].tolist() == [203, None]
    assert "2 files" in table["reason"][0]
    assert store.batches == [["hst/public/jbqf/jbqf03"]]


def test_one_listing_answers_for_a_visit_and_one_batch_for_all():
    """Products, jitter files, observations and S3 URIs of one visit share its listing; unreadable names have none."""
    visit = ["jbqf03gjq_flc.fits", "jbqf03gjq_raw.fits", "jbqf03010", "jbqf03gkj_jit.fits", f"s3://stpubdata/{KEY}"]
    store = Listings(KEY)
    resolve([*visit, "../x", "jbqf04abq_flc.fits", "ibf302040_drz.fits"], verify=True, store=store)
    assert store.batches == [["hst/public/jbqf/jbqf03", "hst/public/jbqf/jbqf04", "hst/public/ibf3/ibf302"]]


def test_other_keys_are_listed_by_what_they_have_in_common():
    """A folder that is no visit may hold anything, so no more of it is listed than is needed."""
    keys = ["hst/public/references/a1_x.fits", "hst/public/references/a1_y.fits", "mast/hlsp/z/v1/q.fits", "readme.txt"]
    store = Listings(*keys, "hst/public/references/b.fits")
    table = resolve([f"s3://stpubdata/{key}" for key in [*keys, "mast/hlsp/z/v2/q.fits"]], verify=True, store=store)
    assert table["status"].tolist() == ["in_cloud"] * 4 + ["missing"]
    assert store.batches == [
        ["hst/public/references/a1_", "mast/hlsp/z/v1/q.fits", "readme.txt", "mast/hlsp/z/v2/q.fits"]
    ]


def test_what_was_verified_once_is_looked_for_anew():
    """An object that is gone by now is missing, whatever the earlier table says."""
    before = resolve(NAME, verify=True, store=Listings(KEY))
    assert resolve(before)["etag"].tolist() == ["etag0"]
    after = resolve(before, verify=True, store=Listings())
    assert (after["status"][0], after["etag"][0]) == ("missing", "")
    assert resolve(after, verify=True, store=Listings(KEY))["status"].tolist() == ["in_cloud"]


def test_progress_is_told():
    """Before and after the listings, as small messages."""
    told = []
    resolve([NAME, "jbqf04abq_flc.fits"], verify=True, store=Listings(), progress=told.append)
    assert told == [Progress(what="listings", done=0, total=2), Progress(what="listings", done=2, total=2)]


def test_failing_listing_is_raised():
    """Without the bucket's word nothing is verified: no row says missing."""
    store = HTTPStore("http://127.0.0.1:1/stpubdata", policy=replace(S3, tries=1))
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1"):
        resolve(NAME, verify=True, store=store)


def test_requests_over_real_sockets(tmp_path):
    """One LIST for each visit and one more for further 1,000 keys, no HEAD, nothing of MAST."""
    for number in range(1001):
        put(tmp_path, f"hst/public/jbqf/jbqf03gjq/jbqf03gjq_{number:04d}.fits", 1)
    put(tmp_path, JITTER_KEY, 2880)
    put(tmp_path, "hst/public/j8ck/j8ck01040/j8ck01041_drz.fits", 5)
    wanted = ["jbqf03gjq_0000.fits", JITTER, "jbqf03gjq_1000.fits", "j8ck01041_drz.fits", "j8ck01042_drz.fits"]
    with LocalArchive(tmp_path) as archive:
        table = hst.resolve(wanted, verify=True)
        assert table["status"].tolist() == ["in_cloud"] * 4 + ["missing"]
        assert table["size"].tolist() == [1, 2880, 1, 5, None]
        assert table["key"][1] == JITTER_KEY
        assert all(table["etag"][:4])
        assert {(r.method, r.path.rstrip("/"), r.service) for r in archive.requests} == {("GET", "/stpubdata", "s3")}
        asked = sorted(parse_qs(r.query)["prefix"][0] for r in archive.requests)
        assert asked == [
            "hst/public/j8ck/j8ck01",
            *["hst/public/jbqf/jbqf03"] * 2,
            "hst/public/u4ge/u4ge01",
        ]
        archive.forget()
        resolve(wanted)
        assert archive.requests == []


def test_stores_of_other_kinds_are_listed(tmp_path):
    """A folder laid out like the bucket does as well."""
    put(tmp_path, KEY, 5)
    table = resolve([NAME, "jbqf04gjq_flc.fits"], verify=True, store=tmp_path)
    assert table["status"].tolist() == ["in_cloud", "missing"]
    assert table["size"][0] == 5


# --- What MAST is asked ----------------------------------------------------------------------------------------------


def test_mast_is_asked_of_those_without_rule_alone(paths):
    """Neither by default nor of what the rule or a listing tells; each URI once."""
    inputs = [NAME, JITTER, HAP, "does_not_exist.fits", HAP, "../x", f"s3://stpubdata/{KEY}", "hlsp_x.fits"]
    resolve(inputs, store=Listings(), mast=paths.root)
    assert paths.asked == []
    store = Listings()
    paths.answers[f"mast:HST/product/{HAP}"] = f"/{HAP_PATH}"
    table = resolve(inputs, verify=True, store=store, mast=paths.root)
    assert paths.asked == [[f"mast:HST/product/{HAP}", "mast:HST/product/does_not_exist.fits"]]
    assert store.batches == [["hst/public/jbqf/jbqf03", "hst/public/u4ge/u4ge01", HAP_PATH]]
    assert table["status"].tolist() == [
        "missing",
        "missing",
        "not_mirrored",
        "unverified",
        "not_mirrored",
        "unverified",
        "missing",
        "not_mirrored",
    ]
    assert (table["key"][2], table["key"][3]) == ("", "")
    assert f"MAST's place {HAP_PATH} is not in the bucket" in table["reason"][2]
    assert "MAST's path_lookup has none for it" in table["reason"][3]


def test_the_archive_in_use_is_asked(tmp_path):
    """Bucket and MAST are those that the environment names, both or neither."""
    with LocalArchive(tmp_path) as archive:
        table = resolve([HAP, "does_not_exist.fits", NAME], verify=True)
        assert [(r.service, r.method) for r in archive.requests] == [("mast", "GET"), ("s3", "GET")]
    assert table["status"].tolist() == ["not_mirrored", "unverified", "missing"]
    assert all(table["reason"])


def test_product_of_others_that_is_in_the_bucket_is_found(paths):
    """Should the bucket come to hold it, or should it lie with the science teams' products, the listing shows it."""
    hlsp = "mast:HLSP/team/hlsp_x_v1.fits"
    paths.answers |= {f"mast:HST/product/{HAP}": f"/{HAP_PATH}", hlsp: "/hlsp_local/public/hlsp/team/hlsp_x_v1.fits"}
    store = Listings(HAP_PATH, "mast/hlsp/team/hlsp_x_v1.fits")
    row = {"dataURI": f"mast:HST/product/{HAP}", "obs_id": HAP.removesuffix("_drc.fits")}
    table = resolve([row, hlsp], verify=True, store=store, mast=paths.root)
    assert table["status"].tolist() == ["in_cloud"] * 2
    assert table["key"].tolist() == [HAP_PATH, "mast/hlsp/team/hlsp_x_v1.fits"]
    assert table["obs_id"].tolist() == [HAP.removesuffix("_drc.fits"), ""]


@pytest.mark.parametrize(
    "path",
    ["/../../etc/does_not_exist.fits", "/hst/public/%2e%2e/does_not_exist.fits", "/a/other.fits", "s3://other/x", "/"],
)
def test_hostile_paths_are_not_followed(paths, path):
    """A path is a key only if it matches the grammar and is of that file."""
    paths.answers["mast:HST/product/does_not_exist.fits"] = path
    store = Listings()
    (row,) = resolve("does_not_exist.fits", verify=True, store=store, mast=paths.root)
    assert (row["key"], row["status"]) == ("", "unverified")
    assert f"an unacceptable place, {path!r}" in row["reason"]
    assert store.batches == []


def test_reference_file_listed_with_an_observation_is_looked_up(paths):
    """The rule can't know where it lies, and its row keeps the reason."""
    paths.answers["mast:HST/product/i7k16544n_flt.fits"] = "/hst/public/references/i7k16544n_flt.fits"
    row = {"filename": "i7k16544n_flt.fits", "dataset": "N43C05030"}
    found = resolve(row, verify=True, store=Listings("hst/public/references/i7k16544n_flt.fits"), mast=paths.root)
    assert found["status"].tolist() == ["in_cloud"]
    lost = resolve(row, verify=True, store=Listings(), mast=paths.root)
    assert (lost["status"][0], lost["key"][0]) == ("missing", "hst/public/references/i7k16544n_flt.fits")


def test_rows_without_rule_say_so_when_mast_is_down():
    """What the bucket tells is told all the same."""
    with pytest.warns(HSTCloudWarning, match=rf"1 of 2 products have no place, such as 'mast:.*{HAP}'"):
        table = resolve([NAME, HAP], verify=True, store=Listings(KEY), mast="http://127.0.0.1:1", deadline=0.2)
    assert table["status"].tolist() == ["in_cloud", "not_mirrored"]
    assert "MAST's path_lookup could not be asked" in table["reason"][1]
    assert "127.0.0.1:1" in table["reason"][1]


def test_deadline_must_be_a_time():
    """A slip of the pen is no reason to ask without limit."""
    with pytest.raises(QueryError, match="no time"):
        resolve(HAP, verify=True, store=Listings(), deadline="soon")


# --- Properties ------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["jbqf03gjq", "jbqf03gjj", "jbqf03010", "jbqf03011", "u4ge0106r", "u4ge0106j"])
FILES = st.builds("{}_{}.fits".format, NAMES, st.sampled_from(["flc", "jit"]))


@given(st.lists(FILES | NAMES | st.just("../x") | st.none()), st.sets(st.builds("{}/{}".format, NAMES, FILES)))
def test_rows_tell_the_truth_of_the_bucket(likes, stored):
    """In the cloud is what the bucket holds, with its size; missing what it does not; all with one listing a visit."""
    keys = [f"hst/public/{place[:4]}/{place}" for place in sorted(stored)]
    store = Listings(*keys)
    table = resolve(likes, verify=True, store=store)
    sizes = {each.key: each.size for each in store.objects}
    assert len(table) == len(likes)
    for like, row in zip(likes, table, strict=True):
        if row["key"].endswith("/"):
            inside = [size for key, size in sizes.items() if key.startswith(row["key"])]
            assert row["status"] == ("in_cloud" if inside else "missing")
            assert not inside or row["size"] == sum(inside)
        elif row["status"] == "in_cloud":
            assert row["size"] == sizes[row["key"]]
            assert row["key"].endswith(f"/{like}")
        else:
            assert row["key"] not in sizes
            assert row["status"] == ("missing" if like and "_" in like else "unverified")
    asked = [prefix for batch in store.batches for prefix in batch]
    assert len(store.batches) <= 1
    assert len(asked) == len(set(asked)) <= 2


def test_examples_of_the_docstrings_run():
    """They need no network."""
    from hst_cloud.archive import inputs

    for each in (module, inputs):
        results = doctest.testmod(each)
        assert results.attempted
        assert not results.failed


def test_rows_open_as_products():
    """A row of the table is what other verbs take."""
    from hst_cloud.archive.inputs import as_product

    table = resolve(NAME, verify=True, store=Listings(KEY))
    uri = f"mast:HST/product/{NAME}"
    expected = Product(filename=NAME, uri=uri, obs_id="jbqf03gjq", key=KEY, size=100, etag="etag0", status="in_cloud")
    assert as_product(table[0]) == expected
    buffer = BytesIO()
    table.write(buffer, format="votable")
    assert buffer.getvalue()


def test_files_side_by_side_are_in_their_folder(tmp_path):
    """A folder that download has filled: files are found by their names, as they are when they are opened."""
    for name in (NAME, "jbqf03gmq_flc.fits", "manifest.ecsv"):
        (tmp_path / name).write_bytes(b"12345")
    missing = "jbqf03gpq_flc.fits"
    table = resolve([NAME, missing, NAME[:9]], verify=True, store=tmp_path)
    assert table["status"].tolist() == ["in_cloud", "missing", "in_cloud"]
    assert table["key"].tolist() == resolve([NAME, missing, NAME[:9]])["key"].tolist()
    assert table["size"].tolist() == [5, None, 5]
    assert table["reason"][0] == ""
    assert (
        resolve(NAME, verify=True, store=tmp_path)["etag"][0]
        == FolderStore(tmp_path).read(KEY, [ByteRange(0, 1)])[0].etag
    )
