"""The doctor against an archive where all holds, and against one that breaks each assumption in turn."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from rewriting import Answered, rewriting
from support import put

from hst_cloud.archive.names import key_of, parse_filename
from hst_cloud.doctor import ASSUMPTIONS, KNOWN_KEYS, Finding, check, document, report
from hst_cloud.doctor.values import JITTER, SUB_PRODUCT
from hst_cloud.store.adapters import FolderStore
from hst_cloud.testing import LocalArchive

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "assumptions.rst"

MODES = {
    "COS": {"DETECTOR": "FUV", "OPT_ELEM": "G130M", "EXPTYPE": "EXTERNAL/SCI"},
    "STIS": {"DETECTOR": "CCD", "OPT_ELEM": "G230LB", "OBSTYPE": "SPECTROSCOPIC"},
    "FGS": {},
    "ACS": {"DETECTOR": "WFC", "FILTER1": "F814W", "FILTER2": "CLEAR2L"},
    "WFC3": {"DETECTOR": "IR", "FILTER": "F160W"},
}


def product(instrument, obs_id):
    """Make the smallest file that a catalog can be made of."""
    primary = fits.PrimaryHDU(np.zeros(2000, dtype="u1"))
    primary.header.update(INSTRUME=instrument, ROOTNAME=obs_id, RA_TARG=210.8, DEC_TARG=54.3, TARGNAME="ANY")
    primary.header.update({"DATE-OBS": "2010-01-02", "TIME-OBS": "03:04:05", "EXPSTART": 55198.1, "EXPEND": 55198.2})
    primary.header.update(EXPTIME=100.0, PROPOSID=12345, **MODES[instrument])
    return primary


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of an archive that holds the known files, and little else."""
    folder = tmp_path_factory.mktemp("known")
    for known in (*KNOWN_KEYS, SUB_PRODUCT, JITTER):
        path = folder / known.key
        path.parent.mkdir(parents=True, exist_ok=True)
        product(known.instrument, known.obs_id).writeto(path)
    put(folder, "ib3p11010_asn.fits", product("WFC3", "ib3p11010"))  # so that a listing has two pages,
    put(folder, "j8pu0y010_asn.fits", product("ACS", "j8pu0y010"))  # whichever known file is taken away
    references = folder / "hst" / "public" / "references"
    references.mkdir()
    (references / "iref_pfl.fits").write_bytes(b"SIMPLE  =")
    return folder


@pytest.fixture(scope="module")
def archive(folder):
    """Run the archive without naming it in the environment, which is each test's own."""
    archive = LocalArchive(folder)
    archive.start()
    yield archive
    archive.stop()


def by_name(findings):
    return {finding.name: finding for finding in findings}


def dependents(name):
    """Return the assumptions that stand on `name`, directly or not."""
    found = {name}
    for one in ASSUMPTIONS:  # each stands below those that it stands on
        if found & set(one.after):
            found.add(one.name)
    return found - {name}


# --- where all holds -------------------------------------------------------------------------------------------------


def test_all_holds(archive):
    """Against an archive as it is assumed to be, every assumption holds, and says what was seen."""
    findings = check(mast=archive.endpoint, store=archive.endpoint)
    assert [f.name for f in findings] == [a.name for a in ASSUMPTIONS]
    assert [(f.name, f.found) for f in findings if f.status != "holds"] == []
    assert all(f.found for f in findings)


def test_archive_of_the_environment(archive, monkeypatch):
    """Without arguments the archive of HST_CLOUD_ENDPOINT is asked, and the report says so."""
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", archive.endpoint)
    archive.forget()
    findings = by_name(check())
    assert archive.endpoint in findings["address"].found
    assert "HST_CLOUD_ENDPOINT" in findings["address"].found
    assert {request.service for request in archive.requests} == {"s3", "mast"}


def test_requests_are_bounded(archive):
    """The whole costs less than a hundred requests and two megabytes."""
    archive.forget()
    check(mast=archive.endpoint, store=archive.endpoint)
    assert len(archive.requests) < 100
    assert sum(r.bytes for r in archive.requests) < 2e6


def test_progress_counts_to_the_end(archive):
    """Progress is told as assumptions are settled, and ends with all of them."""
    told = []
    check(mast=archive.endpoint, store=archive.endpoint, progress=told.append)
    assert told[-1].done == told[-1].total == len(ASSUMPTIONS)
    assert [one.done for one in told] == sorted({one.done for one in told})


def test_a_store_that_is_not_asked_over_http(archive, folder):
    """Of a store that asks in its own way, what only HTTP shows is unknown, and the rest holds."""
    findings = by_name(check(mast=archive.endpoint, store=FolderStore(folder)))
    unknown = {name for name, finding in findings.items() if finding.status == "unknown"}
    assert unknown == {"suffix-ranges", "if-match", "bucket-pages", "bucket-region", "no-hap", "references"}
    assert {finding.status for name, finding in findings.items() if name not in unknown} == {"holds"}
    assert "FolderStore" in findings["suffix-ranges"].found


# --- each assumption broken in turn ----------------------------------------------------------------------------------

XML = {"Content-Type": "application/xml"}


def is_object(asked):
    return asked.path.startswith("/stpubdata/")


def is_listing(asked):
    return asked.path.startswith("/stpubdata?")


def error(status, code):
    return Answered(status, dict(XML), f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())


def refuse(chosen, status, code):
    return lambda asked: error(status, code) if chosen(asked) else None


def without(known):
    """Hide an object from listings and reads."""

    def before(asked):
        return error(404, "NoSuchKey") if asked.path == f"/stpubdata/{known.key}" else None

    def after(asked, answer):
        if is_listing(asked):
            answer.body = re.sub(rf"<Contents><Key>{known.key}</Key>.*?</Contents>".encode(), b"", answer.body)

    return {"before": before, "after": after}


def other_instrument(known):
    """Put a file of another instrument in the place of an object."""

    def after(asked, answer):
        if asked.path == f"/stpubdata/{known.key}":
            answer.body = answer.body.replace(f"'{known.instrument:8}'".encode(), b"'NICMOS  '")

    return {"after": after}


def answers(words, change):
    """Change the JSON of MAST's answers to requests that hold all of the words."""

    def after(asked, answer):
        if all(word in asked.plain for word in words) and answer.status == 200:
            content = json.loads(answer.body)
            answer.body = json.dumps(change(content) or content).encode()

    return {"after": after}


def rows(**changes):
    """Change columns of all rows of an answer; a value may be a function of the old one."""

    def change(content):
        for row in content["data"]:
            for name, value in changes.items():
                row[name] = value(row[name]) if callable(value) else value

    return change


def less(column):
    """Take a column out of an answer."""

    def change(content):
        content["fields"] = [field for field in content["fields"] if field["name"] != column]
        for row in content["data"]:
            row.pop(column)

    return change


def ignore(header, chosen=is_object):
    """Ask without a header."""

    def before(asked):
        if chosen(asked):
            asked.headers = {k: v for k, v in asked.headers.items() if k.lower() != header.lower()}

    return {"before": before}


def without_suffix_ranges():
    def before(asked):
        if asked.headers.get("Range", "").startswith("bytes=-"):
            del asked.headers["Range"]

    return {"before": before}


def without_etags():
    """Send no ETags with objects, and none in listings."""

    def after(asked, answer):
        if is_object(asked):
            answer.drop("ETag")

    return {"after": after}


def other_sizes():
    def after(asked, answer):
        if is_listing(asked):
            answer.body = re.sub(rb"<Size>(\d+)</Size>", rb"<Size>1\1</Size>", answer.body)

    return {"after": after}


def without_pages():
    """Begin each listing from the start, whatever token is given."""

    def before(asked):
        if is_listing(asked):
            asked.path = re.sub(r"&continuation-token=[^&]*", "", asked.path)

    return {"before": before}


def other_region():
    def after(asked, answer):
        answer.drop("x-amz-bucket-region")
        answer.put("x-amz-bucket-region", "us-west-2")

    return {"after": after}


def with_hap():
    def after(asked, answer):
        if "prefix=hap" in asked.path:
            item = b"<Contents><Key>hap/public/x.fits</Key><Size>1</Size></Contents></ListBucketResult>"
            answer.body = answer.body.replace(b"</ListBucketResult>", item)

    return {"after": after}


def without_references():
    def after(asked, answer):
        if "prefix=hst%2Fpublic%2Freferences" in asked.path:
            answer.body = re.sub(rb"<Contents>.*</Contents>", b"", answer.body)

    return {"after": after}


def pages_ignored():
    """Answer with the first page, whatever page is asked for."""

    def before(asked):
        asked.body = asked.body.replace(b"%22page%22%3A%202", b"%22page%22%3A%201")

    return {"before": before}


def flat_columns(content):
    content["t_min"]["vot.datatype"] = "char"


def moved(content):
    for place in content["resolvedCoordinate"]:
        place["decl"] += 1


def elsewhere(content):
    for answer in content.values():
        if answer["path"]:
            answer["path"] = answer["path"].replace("/hst/public/l", "/hst/private/l")


def hap_is_hst(content):
    for uri, answer in content.items():
        if "hst_16912" in uri:
            answer |= {"status_code": 200, "path": "/hst/public/jety/jety02/x_drc.fits"}


def no_count(content):
    content["data"] = [{"count": row["Column1"]} for row in content["data"]]


def nothing(content):
    content["data"] = []


def no_total(content):
    return {name: value for name, value in content.items() if name != "totalResults"}


def no_sizes(content):
    for row in content["products"]:
        del row["size"]


FILTERED, PRODUCTS = '"Mast.Caom.Filtered"', '"Mast.Caom.Products"'

BREAKS: dict[str, dict[str, Callable[..., object]]] = {
    "bucket-answers": {"before": refuse(lambda a: a.path.startswith("/stpubdata"), 503, "SlowDown")},
    "bucket-lists": {"before": refuse(is_listing, 403, "AccessDenied")},
    **{f"key-{known.instrument.lower()}": without(known) for known in KNOWN_KEYS},
    "key-sub-product": without(SUB_PRODUCT),
    "key-jitter": without(JITTER),
    "bucket-public": {"before": refuse(is_object, 403, "AccessDenied")},
    "ranges": ignore("Range"),
    "suffix-ranges": without_suffix_ranges(),
    "etags": without_etags(),
    "if-match": ignore("If-Match"),
    "totals": other_sizes(),
    "bucket-pages": without_pages(),
    "bucket-missing": {"before": refuse(lambda a: is_object(a) and "none" in a.path, 403, "AccessDenied")},
    "bucket-region": other_region(),
    "no-hap": with_hap(),
    "references": without_references(),
    "mast-answers": {"before": refuse(lambda a: not a.path.startswith("/stpubdata"), 500, "Maintenance")},
    "mast-names": answers(["Mast.Name.Lookup"], moved),
    "mast-columns": answers(["columnsconfig"], flat_columns),
    "mast-observations": answers([FILTERED, '"*"'], less("dataRights")),
    "mast-instruments": answers([FILTERED, '"*"'], rows(instrument_name=lambda name: name.replace("COS", "HST-COS"))),
    "mast-patterns": answers([FILTERED, "freeText"], nothing),
    "mast-count": answers([FILTERED, "COUNT_BIG"], no_count),
    "mast-pages": pages_ignored(),
    "mast-products": answers([PRODUCTS], less("dataURI")),
    "mast-product-keys": answers(
        [PRODUCTS], rows(obs_id=lambda obs_id: "lbnm02020" if obs_id == "lbnm01020" else obs_id)
    ),
    "mast-paths": answers(["path_lookup"], elsewhere),
    "mast-hap-paths": answers(["path_lookup"], hap_is_hst),
    "mast-download": ignore("Range", lambda a: "Download/file" in a.path),
    "missions-search": answers(["api/v0.1/search"], no_total),
    "missions-products": answers(["post_list_products"], no_sizes),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_assumption_broken(archive, name):
    """An archive that breaks one assumption is told from one that breaks another, and what stands on it is not called true."""
    with rewriting(archive.endpoint, **BREAKS[name]) as address:
        findings = by_name(check(mast=address, store=address))
    assert findings[name].status == "fails", findings[name]
    allowed = dependents(name) | {name}
    others = [(f.name, f.status, f.found) for f in findings.values() if f.status != "holds" and f.name not in allowed]
    assert others == []
    direct = [one.name for one in ASSUMPTIONS if name in one.after]
    assert {findings[one].status for one in direct} <= {"unknown"}


def fake(folder, name, version, monkeypatch):
    """Install a package of that name and version, in front of the real one."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(folder))


HERE = {"packages", "s3fs", "address"}


def test_old_s3fs(archive, tmp_path, monkeypatch):
    """The s3fs of 2020 that pip settles on is told, with the line that repairs it, and nothing else suffers."""
    fake(tmp_path, "s3fs", "0.4.2", monkeypatch)
    findings = by_name(check(mast=archive.endpoint, store=archive.endpoint))
    assert findings["s3fs"].status == "fails"
    assert "s3fs 0.4.2" in findings["s3fs"].found
    [wanted] = [each for each in requires("hst-cloud") if each.startswith("s3fs")]
    assert f"pip install --upgrade '{wanted}'" in findings["s3fs"].found
    assert {f.name for f in findings.values() if f.status != "holds"} == {"s3fs"}


def test_old_package(archive, tmp_path, monkeypatch):
    """An astroquery older than the bound is named with both versions."""
    fake(tmp_path, "astroquery", "0.4.6", monkeypatch)
    findings = by_name(check(mast=archive.endpoint, store=archive.endpoint))
    assert findings["packages"].status == "fails"
    assert "astroquery 0.4.6 (needed >=0.4.11)" in findings["packages"].found
    assert {f.name for f in findings.values() if f.status != "holds"} == {"packages"}


def test_senseless_address(monkeypatch):
    """A HST_CLOUD_ENDPOINT that is no address fails; nothing is sent, and nothing is raised."""
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", "localhost:8000")
    findings = by_name(check())
    assert findings["address"].status == "fails"
    assert "'localhost:8000'" in findings["address"].found
    assert {f.status for f in findings.values() if f.name not in HERE} == {"unknown"}


def test_no_assumption_lacks_a_breaking_case():
    """Each assumption has an archive or an environment that breaks it."""
    assert BREAKS.keys() | HERE == {one.name for one in ASSUMPTIONS}
    assert not BREAKS.keys() & HERE


@pytest.mark.parametrize("known", [*KNOWN_KEYS, SUB_PRODUCT], ids=lambda known: known.filename)
def test_wrong_instrument(archive, known):
    """An object of another instrument under a known key fails, and says which it is."""
    with rewriting(archive.endpoint, **other_instrument(known)) as address:
        findings = by_name(check(mast=archive.endpoint, store=address))
    name = "key-sub-product" if known is SUB_PRODUCT else f"key-{known.instrument.lower()}"
    assert findings[name].status == "fails"
    assert "INSTRUME='NICMOS'" in findings[name].found


def test_a_missing_key_tells_what_is_there(archive):
    """Where a known key is absent, the finding lists FITS files of the visit: the rule and the file differ."""
    known = KNOWN_KEYS[-1]
    with rewriting(archive.endpoint, **without(known)) as address:
        found = by_name(check(mast=archive.endpoint, store=address))["key-wfc3"].found
    assert "1 objects" in found
    assert "ib3p/ib3p11010/ib3p11010_asn.fits" in found


def test_recorded_columns_are_as_assumed(archive, shared_data):
    """The configuration of columns that was recorded from MAST passes."""
    recorded = (shared_data / "mast" / "astroquery" / "columnsconfig.json").read_bytes()

    def before(asked):
        return Answered(200, {}, recorded) if "columnsconfig" in asked.path else None

    with rewriting(archive.endpoint, before=before) as address:
        finding = by_name(check(mast=address, store=archive.endpoint))["mast-columns"]
    assert finding.status == "holds", finding.found


# --- services that do not answer -------------------------------------------------------------------------------------


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_no_network():
    """Where nothing answers, both services fail, everything else is unknown, and no error is raised."""
    address = f"http://127.0.0.1:{free_port()}"
    findings = by_name(check(mast=address, store=address))
    assert {f.name for f in findings.values() if f.status == "fails"} == {"bucket-answers", "mast-answers"}
    assert {f.status for f in findings.values() if f.name not in HERE | {"bucket-answers", "mast-answers"}} == {
        "unknown"
    }
    assert findings["ranges"].found == "not asked: bucket-answers fails"


def test_a_service_that_hangs_is_not_waited_for():
    """A server that takes connections and says nothing ends the check when its time is up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "http://127.0.0.1:{1}".format(*server.getsockname())
        began = time.monotonic()
        findings = by_name(check(mast=address, store=address, seconds=3))
        assert time.monotonic() - began < 20  # of the 60 that the probes may take
    assert findings["mast-answers"].status == "unknown"
    assert findings["mast-answers"].found == "no answer within 3 s"
    assert findings["mast-names"].status == "unknown"


def test_garbage_is_a_finding(archive):
    """Answers that are neither XML nor JSON are findings, never errors."""

    def after(asked, answer):
        answer.status, answer.body = 200, b"<html>maintenance</html>"

    with rewriting(archive.endpoint, after=after) as address:
        findings = check(mast=address, store=address)
    assert len(findings) == len(ASSUMPTIONS)
    assert "holds" not in {f.status for f in findings if f.name in {"bucket-lists", "mast-names", "mast-columns"}}


def test_a_watcher_that_fails_is_heard(archive):
    """What the caller's own progress function raises reaches the caller."""

    def watch(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(mast=archive.endpoint, store=archive.endpoint, progress=watch)


# --- what is written -------------------------------------------------------------------------------------------------


def test_assumptions_stand_below_those_they_stand_on():
    """Names are unique, and each assumption comes after those that must be asked before it."""
    seen = set()
    for one in ASSUMPTIONS:
        assert one.name not in seen
        assert set(one.after) <= seen
        assert one.statement.endswith(".")
        assert one.breaks
        seen.add(one.name)


def test_known_keys_follow_the_rule():
    """The keys that are written down are those that the rule makes of the names; of jitter files, with the obs_id."""
    for known in (*KNOWN_KEYS, SUB_PRODUCT):
        assert key_of(parse_filename(known.filename)) == known.key
    assert key_of(parse_filename(JITTER.filename)) == ""
    assert key_of(parse_filename(JITTER.filename), JITTER.obs_id) == JITTER.key
    assert [known.instrument for known in KNOWN_KEYS] == ["COS", "STIS", "FGS", "ACS", "WFC3"]


def test_known_keys_are_those_recorded(shared_data):
    """Keys of ACS and WFC3 are in the list of those that were seen; for COS and STIS none was, and FGS is not listed."""
    recorded = (shared_data / "keys" / "known_s3_keys.tsv").read_text()
    for known in (*KNOWN_KEYS[3:], SUB_PRODUCT, JITTER):
        assert f"{known.uri}\t{known.obs_id}\t{known.key}\t" in recorded


def finding(name, of, status):
    return Finding(name=name, of=of, statement="It is so.", status=status, found="42 bytes", breaks="A thing. " * 20)


def test_report():
    """The report groups by service, aligns, tells of what fails what was seen and what it breaks, and counts."""
    text = report(
        [
            finding("s3fs", "here", "holds"),
            finding("ranges", "bucket", "fails"),
            finding("mast-names", "mast", "unknown"),
        ],
        width=80,
    )
    lines = text.splitlines()
    assert lines[:2] == ["This machine", "  holds   s3fs        42 bytes"]
    assert "  FAILS   ranges      It is so." in lines
    assert "                      found:  42 bytes" in lines
    assert any(line.startswith("                      breaks: A thing.") for line in lines)
    assert "  unknown mast-names  42 bytes" in lines
    assert lines[-1] == "1 hold, 1 fail, 1 are unknown."
    assert max(map(len, lines)) <= 80


def test_the_page_is_that_of_the_code():
    """docs/explanation/assumptions.rst holds what the code assumes, word for word."""
    text = PAGE.read_text(encoding="utf-8")
    assert document(ASSUMPTIONS) in text, "write it anew: see the comment at the top of the page"


def test_threads_end(archive):
    """No thread of a check outlives it where the services answer."""
    check(mast=archive.endpoint, store=archive.endpoint)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any("doctor" in thread.name for thread in threading.enumerate()):
        time.sleep(0.01)
    assert not [thread.name for thread in threading.enumerate() if "doctor" in thread.name]
