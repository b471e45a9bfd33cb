"""Rows 30 to 34 of the matrix of faults: MAST."""

from __future__ import annotations

import json
import urllib.request
import warnings
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hst_cloud as hst
from hst_cloud.archive.portal import MOST_ROWS
from hst_cloud.archive.session import clock_for, new_session
from hst_cloud.errors import ArchiveAnswerError, ArchiveError, ArchiveUnavailableError, HSTCloudWarning, QueryError
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


def test_row_30_a_page_that_passes(mast):
    """A page for people is no answer: the question is asked again."""
    rows = found()
    mast.faults = Fault(service="mast", times=2, status=200, body="\n<!DOCTYPE html><p>Down for maintenance")
    assert found() == rows > 0


def test_row_30_what_is_left_without_mast(mast):
    """Names and URIs have their keys by rule; the warning says what has none, and why."""
    mast.faults = Fault(service="mast", status=503)
    given = ["jbqf03gjq_flc.fits", "mast:HST/product/jbqf03gjq_raw.fits", URIS[0]]
    with pytest.warns(HSTCloudWarning, match=rf"could not be asked: .*503.*1 of 3 products have no place, .*{URIS[0]}"):
        table = hst.resolve(given, verify=True)
    assert [bool(key) for key in table["key"]] == [True, True, False]
    assert "could not be asked" in table["reason"][2]


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
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = hst.resolve(URIS, verify=True)
    assert (body == '{"a": 5}') != any("could not be asked" in str(warning.message) for warning in said)
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
    """Only http and https addresses that somebody named are asked, and the error says what was given, and where."""
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", root)
    for verb in (found, lambda: hst.open("jbqf03gjq_flc.fits")):
        with pytest.raises(QueryError, match=r"^HST_CLOUD_ENDPOINT='.*' is not the address of an archive"):
            verb()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/latest", "//other.example/x", "file:///etc/passwd", "https://127.0.0.1:1/x"]
)
def test_row_33_a_redirect_to_somebody_else(mast, status, place):
    """MAST sends us to nobody else: what was asked is not told there, and nothing is believed that comes from there."""
    mast.faults = Fault(service="mast", status=status, headers={"Location": place})
    with pytest.raises(ArchiveAnswerError, match=rf"redirects to another place, '{place}', which is not asked"):
        found()
    assert len(mast.requests) == 1


def test_row_33_a_redirect_within_mast(mast):
    """It may tell of another path of its own."""
    there = f"{mast.endpoint}/api/v0.1/path_lookup/?uri={URIS[0]}"
    mast.faults = Fault(service="mast", times=1, status=302, headers={"Location": there})
    with new_session(clock_for(5)) as session:
        assert session.get(f"{mast.endpoint}/api/v0.1/elsewhere").status_code == 200


@pytest.mark.parametrize("name", ["Authorization", "Cookie"])
def test_row_55_a_token_goes_to_mast_alone(mast, name):
    """Whoever sets one, be it astroquery or a .netrc: neither another server nor a line that can be read has it."""
    with new_session(clock_for(5)) as session:
        session.headers[name] = "hidden"
        session.get(f"{mast.endpoint}/api/v0.1/path_lookup/?uri={URIS[0]}")
    assert name.lower() not in mast.requests[-1].headers
    assert "hidden" not in str(mast.requests[-1].headers)


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
    "a row that is a list": lambda said: said.update(data=[*said["data"], [1, 2]]),
    "fields that are numbers": lambda said: said.update(fields=[1, 2]),
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


def test_row_34_the_row_is_named(mast, answer):
    """Of many rows, the error says which is strange, and what it holds."""
    answer["data"][1]["t_exptime"] = "long"
    mast.faults = Fault(key="api/v0/invoke", body=json.dumps(answer))
    with pytest.raises(ArchiveAnswerError, match=r"'t_exptime' holds something in row 1 that is no float: .*'long'"):
        found()


def test_row_34_pages_without_end(mast, answer):
    """A MAST that counts a million million rows, and gives some of them for ever, is not listened to for ever."""
    answer["paging"] = {"pagesFiltered": 10**9, "rowsTotal": 10**12, "rows": 5, "page": 1}
    mast.faults = Fault(key="api/v0/invoke", body=json.dumps({**answer, "data": [{"obs_id": "x"}] * 700_000}))
    with pytest.raises(ArchiveAnswerError, match=f"gave 2100000 rows: expected at most {MOST_ROWS}"):
        found()
