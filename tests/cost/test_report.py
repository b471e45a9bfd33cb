"""What the session read, from where, and what it cost; and the lines that an installation collects."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from astropy import units as u

import hst_cloud as hst
from hst_cloud.cost.journal import Journal
from hst_cloud.cost.ledger import Source, Tally, ask, ledger
from hst_cloud.store.adapters import FolderStore
from hst_cloud.testing import LocalArchive, make_demo_archive
from hst_cloud.values import ByteRange

PUBLIC = Source("https://stpubdata.s3.us-east-1.amazonaws.com", "owner")
GB = 10**9


@pytest.fixture(autouse=True)
def _fresh():
    """Begin each test with an empty ledger, as a process does."""
    book = ledger()
    before = book.tallies, book.journal
    book.tallies, book.journal = {}, Journal()
    yield
    book.tallies, book.journal = before


def paid(source, size, requests=1):
    with ask(source, size=size, requests=requests) as receipt:
        receipt.got(size)


def summed(requests, service):
    sizes = [request.bytes for request in requests if request.service == service]
    return len(sizes), sum(sizes)


def test_a_report_tells_what_was_read_from_where(tmp_path):
    """To the request and the byte, as the archive itself saw it."""
    make_demo_archive(tmp_path, scale=64, instruments=["ACS"])
    with LocalArchive(tmp_path) as archive:
        files = hst.products(hst.search("M 51", instrument="ACS/WFC"), suffix="drc")
        with hst.open(files[0]) as hdul:
            assert hdul["SCI"].section[3, 4] is not None
        hst.resolve(files, verify=True)
        hst.open(files[0], store=tmp_path).close()
        report, seen, root = hst.report(), archive.requests, archive.endpoint
    by_source = {row["source"]: (row["requests"], row["bytes"]) for row in report}
    folder = by_source.pop(str(tmp_path))
    assert folder[0] > 0
    assert by_source == {root: summed(seen, "mast"), f"{root}/stpubdata": summed(seen, "s3")}
    assert report["bytes"].unit == u.byte
    assert list(report["usd_most"]) == [0, 0, 0]  # all of it is on this machine


def test_a_report_tells_dollars_of_the_path(monkeypatch):
    """For certain, at most, and to the owner; the dearest where nobody knows the path."""
    paid(PUBLIC, GB, requests=1000)
    row = hst.report()[0]
    assert (row["usd"], row["usd_most"], row["usd_owner"]) == pytest.approx((0, 0.045, 0.0904))
    assert hst.report().meta["path"] is None
    monkeypatch.setenv("HST_CLOUD_REGION", "us-east-1")
    monkeypatch.setenv("HST_CLOUD_NAT", "no")
    report = hst.report()
    assert tuple(report[0])[3:] == pytest.approx((0, 0, 0.0004))
    assert report.meta["path"] == "in region"
    assert report.meta["prices"] == "2026-11-25"
    monkeypatch.setenv("HST_CLOUD_BUDGET", "bytes=5 TB")
    assert hst.report().meta["ceilings"] == "5 TB"


def test_an_empty_report_is_a_table():
    """Whoever has read nothing is told so."""
    report = hst.report()
    assert len(report) == 0
    assert report.colnames == ["source", "requests", "bytes", "usd", "usd_most", "usd_owner"]


# --- The meter -------------------------------------------------------------------------------------------------------


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_meter_tells_what_was_added(tmp_path, monkeypatch):
    """The sum over all lines is what was read; a line is not written for each request."""
    path = tmp_path / "meter.jsonl"
    monkeypatch.setenv("HST_CLOUD_METER", str(path))
    monkeypatch.setenv("HST_CLOUD_REGION", "us-east-1")
    book = ledger()
    for size in (1000, 2000):
        paid(PUBLIC, size)
    assert not path.exists()
    book.journal.note(book.tallies, now=True)
    book.journal.note(book.tallies, now=True)  # nothing was added
    paid(PUBLIC, 4000)
    paid(Source("/data", "nobody"), 10)
    book.journal.note(book.tallies, now=True)
    told = lines(path)
    assert [(t["source"], t["requests"], t["bytes"]) for t in told] == [
        (PUBLIC.address, 2, 3000), (PUBLIC.address, 1, 4000), ("/data", 1, 10),
    ]  # fmt: skip
    assert told[0]["pid"] == os.getpid()
    assert told[0]["path"] == "in region"
    assert told[0]["usd_most"] == pytest.approx(3000 * 0.045 / GB)
    assert told[0]["usd_owner"] == pytest.approx(2 * 0.0004 / 1000)


def test_the_meter_is_written_now_and_then(tmp_path, monkeypatch):
    """As long as something is read, a line comes every few seconds."""
    path = tmp_path / "meter.jsonl"
    monkeypatch.setenv("HST_CLOUD_METER", str(path))
    book = ledger()
    paid(PUBLIC, 1000)
    book.journal._last -= 11  # seconds ago
    paid(PUBLIC, 1000)
    paid(PUBLIC, 1000)
    assert [line["requests"] for line in lines(path)] == [2]


def test_a_meter_that_cannot_be_written_stops_nobody(tmp_path, monkeypatch, caplog):
    """It is logged and reported, and told later."""
    monkeypatch.setenv("HST_CLOUD_METER", str(tmp_path / "nowhere" / "meter.jsonl"))
    book = ledger()
    paid(PUBLIC, 1000)
    book.journal.note(book.tallies, now=True)
    assert "nowhere" in hst.report().meta["meter"]
    assert "cannot be written" in caplog.text
    (tmp_path / "nowhere").mkdir()
    book.journal.note(book.tallies, now=True)
    assert hst.report().meta["meter"] == ""
    assert [line["bytes"] for line in lines(tmp_path / "nowhere" / "meter.jsonl")] == [1000]


def test_processes_share_a_meter(tmp_path):
    """The last lines come when the interpreter ends, a forked child's too, and none is told twice."""
    (tmp_path / "k").write_bytes(bytes(1000))
    path = tmp_path / "meter.jsonl"
    code = f"""
import os, sys
from hst_cloud.store.adapters import FolderStore
from hst_cloud.values import ByteRange
store = FolderStore({str(tmp_path)!r})
store.read("k", [ByteRange(0, 100)])
child = os.fork()
store.read("k", [ByteRange(0, 10 if child else 1)])
if child:
    os.waitpid(child, 0)
"""
    env = os.environ | {"HST_CLOUD_METER": str(path)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True, timeout=60)
    told = lines(path)
    assert sorted(line["bytes"] for line in told) == [1, 110]
    assert len({line["pid"] for line in told}) == 2


def test_without_a_meter_nothing_is_written(tmp_path, monkeypatch):
    """Reading leaves no file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k").write_bytes(bytes(1000))
    FolderStore(tmp_path).read("k", [ByteRange(0, 100)])
    book = ledger()
    book.journal.note(book.tallies, now=True)
    assert [p.name for p in tmp_path.iterdir()] == ["k"]
    assert book.tallies == {Source(str(tmp_path), "nobody"): Tally(1, 100)}


def test_tables_tell_what_they_took(tmp_path):
    """Each of its own call, to the request, also while another thread reads; of anything else a budget tells it."""
    make_demo_archive(tmp_path, scale=64, instruments=["ACS"])
    with LocalArchive(tmp_path) as archive:
        hst.search("M 51", instrument="ACS/WFC")  # which asks for the columns once
        found = {}
        for name, call in {
            "search": lambda: hst.search("M 51", instrument="ACS/WFC"),
            "products": lambda: hst.products(found["search"], suffix="flc"),
            "resolve": lambda: hst.resolve(found["products"], verify=True),
            "by rule": lambda: hst.resolve(["jzdm01aaq_flc.fits"]),
            "headers": lambda: hst.headers(found["products"], ["EXPTIME"]),
            "download": lambda: hst.download(found["products"], tmp_path / "work"),
        }.items():
            archive.forget()
            with hst.budget() as budget:
                found[name] = call()
            seen = found[name].meta["requests"]
            assert seen == len(archive.requests) == budget.spent.requests, name
            assert found[name].meta["bytes"] == sum(request.bytes for request in archive.requests), name
    assert found["search"].meta["requests"] > 0
    assert found["by rule"].meta["requests"] == 0
