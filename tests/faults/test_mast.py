"""Rows 30 to 34 of the matrix of faults: MAST."""

from __future__ import annotations

import json
import urllib.request
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hst_cloud as hst
from hst_cloud.errors import ArchiveAnswerError, ArchiveError, ArchiveUnavailableError, QueryError
from hst_cloud.testing import Fault, LocalArchive, make_demo_archive


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Serve the demonstration archive."""
    with LocalArchive(make_demo_archive(tmp_path_factory.mktemp("demo"), scale=64)) as running:
        yield running


@pytest.fixture
def mast(demo, monkeypatch):
    """Return the archive without faults, as the default one; its columns are known already."""
    demo.faults = None
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", demo.endpoint)
    hst.search(instrument="WFC3/UVIS")
    demo.forget()
    return demo


def found():
    return len(hst.search(instrument="WFC3/UVIS"))


PASSING = {
    "unavailable": {"status": 503},
    "too many": {"status": 429, "body": "{}"},
    "reset": {"reset": "before"},
    "reset within": {"reset": 100},
    "closed within": {"drop": 100},
    "closed behind": {"hangup": 0.0},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_row_30_what_passes(mast, fault):
    """One failure of MAST's is asked over, and nobody notices."""
    rows = found()
    mast.faults = Fault(service="mast", times=1, **fault)
    assert found() == rows > 0
    assert sum(request.fault is not None for request in mast.requests) == 1


def test_row_30_a_page_about_maintenance(mast):
    """It is quoted, and never an error of a JSON parser; what works without MAST is said."""
    mast.faults = Fault(service="mast", status=200, body="<html>Down for maintenance</html>")
    with pytest.raises(ArchiveAnswerError, match=r"no JSON: '<html>Down for maintenance.*hst_cloud.resolve"):
        found()


def test_row_30_without_mast(mast):
    """Known names still have their keys and are read, and not one request goes to MAST."""
    mast.faults = Fault(service="mast", status=503)
    with pytest.raises(ArchiveUnavailableError, match="asked 4 times"):
        found()
    mast.forget()
    table = hst.resolve(["jbqf03gjq_flc.fits"], verify=True)
    name = next(iter(table["productFilename"]))
    assert name == "jbqf03gjq_flc.fits"
    assert {request.service for request in mast.requests} == {"s3"}


URIS = [f"mast:HLSP/survey/hlsp_survey_hst_{n}.fits" for n in range(4)]


def told(rows):
    """Return MAST's answer about paths."""
    return json.dumps({uri: {"status_code": 200, "path": path} for uri, path in rows.items()})


def test_row_31_paths_that_are_missing_strange_or_in_another_order(mast):
    """Each is told by its URI; what there is none of has a reason, and what was not asked for is ignored."""
    names = [uri.rpartition("/")[2] for uri in URIS]
    for name in names:
        path = mast.folder / "mast/hlsp/survey" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"SIMPLE")
    good = {uri: f"/hlsp_local/public/hlsp/survey/{name}" for uri, name in zip(URIS, names, strict=True)}
    rows = {"mast:HLSP/unasked.fits": "/x.fits", URIS[3]: good[URIS[3]], URIS[1]: None, URIS[0]: good[URIS[0]]}
    mast.faults = Fault(key="api/v0.1/path_lookup/", body=told(rows))
    table = hst.resolve(URIS, verify=True)
    assert list(table["dataURI"]) == URIS
    assert [str(key) for key in table["key"]] == [
        f"mast/hlsp/survey/{names[0]}",
        "",
        "",
        f"mast/hlsp/survey/{names[3]}",
    ]
    assert all("has none for it" in reason for reason in table["reason"][1:3])


@pytest.mark.parametrize("body", ["null", "[]", "5", '{"a": 5}', "{", ""])
def test_row_31_an_answer_in_another_shape(mast, body):
    """Every product still has its row, and says why it has no key."""
    mast.faults = Fault(key="api/v0.1/path_lookup/", body=body)
    table = hst.resolve(URIS, verify=True)
    assert list(table["dataURI"]) == URIS
    assert not any(table["key"])
    assert all("path_lookup" in reason for reason in table["reason"])


PATHS = [
    "/hst/../../etc/{name}",
    "../{name}",
    "/hst/./{name}",
    "//{name}",
    "/hst//{name}",
    "/hst/\0/{name}",
    "/hst/a\r\nX-Evil: 1/{name}",
    "/hst/\u2024\u2024/{name}",
    "/hst/%2e%2e/{name}",
    "s3://other/{name}",
    "http://169.254.169.254/{name}",
    "file:///etc/{name}",
    "/hst/other_name.fits",
    "/hst/\\..\\{name}",
    "",
]


@pytest.mark.parametrize("path", PATHS)
def test_row_32_paths_that_lead_astray(mast, path):
    """None becomes a key that leaves the bucket's grammar, whatever MAST says; nothing outside is asked for."""
    name = URIS[0].rpartition("/")[2]
    mast.faults = Fault(key="api/v0.1/path_lookup/", body=told({URIS[0]: path.format(name=name)}))
    assert_sober(mast, hst.resolve(URIS[:1], verify=True))


def assert_sober(mast, table):
    """Neither the key nor what was listed on the way to it leads out of the bucket."""
    listed = [prefix for r in mast.requests for prefix in parse_qs(r.query).get("prefix", [])]
    for key in [table["key"][0] or "", *listed]:
        assert key.isprintable()
        assert key == "" or not set(key.split("/")) & {"", ".", ".."}
        assert ":" not in key
        assert "%" not in key
    assert {request.path for request in mast.requests} <= {"/stpubdata", "/api/v0.1/path_lookup/"}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(max_size=40))
def test_row_32_any_path(mast, path):
    """Whatever MAST says."""
    mast.faults = Fault(key="api/v0.1/path_lookup/", body=told({URIS[0]: path}).encode("ascii"))
    mast.forget()
    assert_sober(mast, hst.resolve(URIS[:1], verify=True))


@pytest.mark.parametrize(
    "root", ["file:///etc", "ftp://127.0.0.1", "169.254.169.254", "http://", "javascript:alert(1)"]
)
def test_row_33_addresses_that_are_none(monkeypatch, root):
    """Only http and https addresses that somebody named are asked, and the error says what was given."""
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", root)
    for verb in (found, lambda: hst.open("jbqf03gjq_flc.fits")):
        with pytest.raises(QueryError, match="is not the address of an archive"):
            verb()


@pytest.fixture
def answer(mast):
    """Return the true answer to a search, as JSON."""
    found()
    request = mast.requests[-1]
    sent = urllib.request.Request(mast.endpoint + request.path, data=request.body.encode())
    with urllib.request.urlopen(sent) as said:
        return json.loads(said.read())


STRANGE = {
    "a number that is text": lambda said: said["data"][0].update(t_exptime="long"),
    "a number that is a list": lambda said: said["data"][0].update(s_ra=[1, 2]),
    "no rows": lambda said: said.update(data={}),
    "a service in trouble": lambda said: said.update(status="ERROR", msg="out of memory", data=None),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE.keys())
def test_row_34_answers_of_the_wrong_types(mast, answer, change):
    """They are an error of MAST's side that quotes them."""
    change(answer)
    mast.faults = Fault(key="api/v0/invoke", body=json.dumps(answer))
    with pytest.raises(ArchiveError, match="MAST"):
        found()


@pytest.mark.parametrize("value", [None, float("nan")])
def test_row_34_values_that_are_missing(mast, answer, value):
    """They are masked or not a number, and no row is lost."""
    rows = len(answer["data"])
    answer["data"][0]["s_ra"] = value
    mast.faults = Fault(key="api/v0/invoke", body=json.dumps(answer))
    assert found() == rows


def test_row_34_products_that_are_listed_many_times(mast):
    """A file is one row, however often MAST names it."""
    observations = hst.search(instrument="WFC3/UVIS")
    true = hst.products(observations)
    request = mast.requests[-1]
    sent = urllib.request.Request(mast.endpoint + request.path, data=request.body.encode())
    with urllib.request.urlopen(sent) as said:
        answer = json.loads(said.read())
    answer["data"] *= 5
    mast.faults = Fault(key="api/v0/invoke", body=json.dumps(answer))
    assert sorted(hst.products(observations)["dataURI"]) == sorted(true["dataURI"])
