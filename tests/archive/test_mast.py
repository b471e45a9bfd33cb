"""Search and products, over real sockets, against a MAST that answers from a script and writes everything down."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import warnings
from itertools import pairwise

import pytest
from archive.recording_mast import COLUMNS, Reply, answer, in_turn, recording_mast
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astroquery.exceptions import InvalidQueryError, RemoteServiceError
from astroquery.mast import Observations, ObservationsClass

from hst_cloud.archive.mast import products, search
from hst_cloud.archive.portal import set_endpoint, translating
from hst_cloud.archive.session import clock_for, patient
from hst_cloud.errors import ArchiveAnswerError, ArchiveUnavailableError, HSTCloudWarning, QueryError
from hst_cloud.testing import LocalArchive

M51 = {"searchString": "m 51", "resolver": "NED", "canonicalName": "MESSIER 051", "ra": 202.469629, "decl": 47.19526}


def observation(number, **more):
    return {
        "obsid": str(number),
        "obs_id": f"jbqf{number:05d}",
        "instrument_name": "ACS/WFC",
        "t_min": 57000.0 + number,
        "calib_level": 3,
        **more,
    }


def product(name, parent="1", **more):
    return {
        "obsID": parent,
        "obs_id": name[:9],
        "dataURI": f"mast:HST/product/{name}",
        "productFilename": name,
        "parent_obsid": parent,
        "dataRights": "PUBLIC",
        "size": 100,
        **more,
    }


def mast_of(rows=(), *, pages=None, columns=COLUMNS):
    """Return a script: the column configuration, M 51, and the same rows for every question about Caom."""

    def script(asked):
        if asked.path == "/portal/Mashup/Mashup.asmx/columnsconfig":
            return columns
        if asked.service == "Mast.Name.Lookup":
            known = asked.request["params"]["input"].lower() == "m 51"
            return {"resolvedCoordinate": [M51] if known else [], "status": ""}
        return pages(asked) if pages else answer(list(rows))

    return script


def paged(rows, size):
    """Return a script that gives `rows` in pages, `size` at most."""

    def script(asked):
        each = min(size, asked.request["pagesize"])
        page = asked.request["page"]
        part = rows[(page - 1) * each : page * each]
        fields = answer(rows)["fields"]
        return answer(part, fields, page=page, pages=-(-len(rows) // each), total=len(rows))

    return mast_of(pages=script)


# -- what astroquery does, on which all rests


def test_constructing_astroquery_sends_nothing(monkeypatch):
    """One is constructed for every thread."""
    with recording_mast(mast_of()) as mast:
        monkeypatch.setattr(ObservationsClass, "_caom_all", "x")  # nothing but an attribute is touched
        portal = set_endpoint(ObservationsClass(), mast.root)
        assert mast.asked == []
        assert f"{mast.root}/api/v0/invoke" == portal.MAST_REQUEST_URL
        assert f"{mast.root}/portal/Mashup/Mashup.asmx/columnsconfig" == portal.COLUMNS_CONFIG_URL


def test_the_endpoint_is_the_instances_own():
    """The class, the user's own `Observations` and other instances keep theirs, and their column configurations."""
    before = vars(Observations._portal_api_connection).copy()
    shared = type(Observations._portal_api_connection)._column_configs
    one, two = (set_endpoint(ObservationsClass(), f"http://127.0.0.1:{port}") for port in (1, 2))
    assert vars(Observations._portal_api_connection).keys() == before.keys()
    assert Observations._portal_api_connection.MAST_REQUEST_URL == "https://mast.stsci.edu/api/v0/invoke"
    assert one.MAST_REQUEST_URL != two.MAST_REQUEST_URL
    assert one._column_configs is not two._column_configs
    assert shared is not one._column_configs
    assert shared is not two._column_configs
    assert one._session is not two._session


def test_astroquery_posts_an_executing_query_again_byte_for_byte():
    """By which the session knows a poll; and it takes no time-out of its own."""
    turns = [{"status": "EXECUTING"}, answer([observation(1)])]
    with recording_mast(in_turn(*turns)) as mast:
        portal = set_endpoint(ObservationsClass(), mast.root)
        portal._column_configs["x"] = {}
        with patient(portal._session, clock_for(10)):
            portal.service_request_async("x", {})
        assert mast.asked[0].body == mast.asked[1].body
        assert float("inf") == portal.TIMEOUT


# -- search


def test_a_target_is_resolved_at_the_same_mast():
    """Three requests: the name, the columns, the rows. The default radius is 3 arcmin."""
    with recording_mast(mast_of([observation(1, distance=2.0)])) as mast:
        table = search("M 51", mast=mast.root)
        assert mast.services == ["Mast.Name.Lookup", "columnsconfig", "Mast.Caom.Filtered.Position"]
        position = [float(x) for x in mast.asked[2].request["params"]["position"].split(", ")]
    assert position == [202.469629, 47.19526, 0.05]
    assert table["distance"].unit == u.arcsec
    assert table.meta["criteria"]["target"] == "M 51"


def test_the_environment_names_the_default_mast(monkeypatch):
    """As it does for every verb."""
    with recording_mast(mast_of([observation(1)])) as mast:
        monkeypatch.setenv("HST_CLOUD_ENDPOINT", mast.root)
        assert len(search(instrument="ACS/WFC")) == 1


def test_all_conditions_are_sent():
    """Under MAST's names, with the separators of its configuration, and the defaults beside them."""
    with recording_mast(mast_of([observation(1, filters="F814W")])) as mast:
        search(
            center=SkyCoord(10 * u.deg, 20 * u.deg),
            radius=18 * u.arcsec,
            instrument="ACS/WFC",
            filters=["F606W", "F814W"],
            proposal=[12058, "5371"],
            since="2015-01-01",
            until="2016-01-01",
            exptime=(10 * u.s, None),
            calib_level=3,
            dataproduct_type="image",
            criteria={"proposal_pi": "Ost*", "em_min": (300 * u.nm, 900 * u.nm)},
            mast=mast.root,
        )
        asked = mast.asked[-1]
    assert asked.request["params"]["position"] == "10.0, 20.0, 0.005"
    assert asked.filters["filters"] == {"paramName": "filters", "separator": ";", "values": ["F606W", "F814W"]}
    assert asked.filters["proposal_id"]["values"] == ["12058", "5371"]
    assert asked.filters["instrument_name"]["values"] == ["ACS/WFC"]
    assert asked.filters["t_min"]["values"][0]["min"] == 57023.0
    assert 57387.9999 < asked.filters["t_min"]["values"][0]["max"] < 57388.0
    assert asked.filters["t_exptime"]["values"] == [{"min": 10.0, "max": 1e12}]
    assert asked.filters["calib_level"]["values"] == ["3"]
    assert asked.filters["dataproduct_type"]["values"] == ["image"]
    assert asked.filters["proposal_pi"] == {"paramName": "proposal_pi", "values": [], "freeText": "Ost%"}
    assert asked.filters["em_min"]["values"] == [{"min": 300.0, "max": 900.0}]
    assert asked.filters["intentType"]["values"] == ["science"]
    assert asked.filters["obs_collection"] == {"paramName": "obs_collection", "separator": ";", "values": ["HST"]}


def test_the_defaults_can_be_lifted_and_replaced():
    """By arguments, and by criteria on their columns."""
    with recording_mast(mast_of([observation(1, calib_level=-1)])) as mast:
        assert len(search(proposal=1, intent=None, planned=True, mast=mast.root)) == 1
        assert set(mast.asked[-1].filters) == {"obs_collection", "proposal_id"}
        assert len(search(proposal=1, mast=mast.root)) == 0  # a server that returns what was not asked for
        assert mast.asked[-1].filters["calib_level"]["values"] == ["0", "1", "2", "3", "4"]
        search(criteria={"obs_collection": "HLA", "calib_level": [2]}, mast=mast.root)
        assert mast.asked[-1].filters["obs_collection"]["values"] == ["HLA"]
        assert mast.asked[-1].filters["calib_level"]["values"] == ["2"]


def test_an_instrument_without_detector_is_a_pattern_of_its_own():
    """MAST takes one pattern a query; of its rows those stay whose instrument it is."""
    rows = {"ACS%": ["ACS", "ACS/WFC", "ACSX"], "COS%": ["COS-STIS", "COS/NUV"], None: ["WFC3/IR"]}

    def script(asked):
        found = rows[asked.filters["instrument_name"].get("freeText")]
        return answer([observation(i, instrument_name=name) for i, name in enumerate(found, 1)])

    with recording_mast(mast_of(pages=script)) as mast:
        table = search(instrument=["ACS", "COS", "WFC3/IR", "ACS/WFC"], mast=mast.root)
        assert mast.services == ["columnsconfig", *["Mast.Caom.Filtered"] * 3]
    assert table["instrument_name"].tolist() == ["ACS", "ACS/WFC", "COS/NUV", "WFC3/IR"]
    assert table.meta["criteria"]["instrument_name"] == ["ACS", "COS", "WFC3/IR", "ACS/WFC"]


def test_an_exposure_that_starts_at_the_end_is_left_out():
    """Even where a server rounds the end that it is sent."""
    rows = [observation(1, t_min=57023.0), observation(2, t_min=57388.0), observation(3, t_min=57387.99)]
    with recording_mast(mast_of(rows)) as mast:
        table = search(since="2015-01-01", until="2016-01-01", mast=mast.root)
    assert table["obsid"].tolist() == ["1", "3"]


def test_all_pages_are_read():
    """The pages of one question carry one id; progress is told after each."""
    rows, seen = [observation(i) for i in range(25)], []
    with recording_mast(paged(rows, 10)) as mast:
        table = search(instrument="ACS/WFC", mast=mast.root, progress=seen.append)
        asked = [a.request for a in mast.asked if a.service]
    assert table["obsid"].tolist() == [r["obsid"] for r in rows]
    assert table.meta["rows_total"] == 25
    assert [a["page"] for a in asked] == [1, 2, 3]
    assert len({a["cacheBreaker"] for a in asked}) == 1
    assert [(p.done, p.total, p.what) for p in seen] == [(n, 25, "observations") for n in (10, 20, 25)]


@pytest.mark.parametrize(("limit", "requests"), [(7, 1), (10, 1), (15, 2)])
def test_a_limit_says_what_it_cuts(limit, requests):
    """And asks for no more pages than it needs."""
    with recording_mast(paged([observation(i) for i in range(25)], 10)) as mast:
        with pytest.warns(HSTCloudWarning, match=rf"limit={limit} cuts the 25 rows") as caught:
            table = search(instrument="ACS/WFC", limit=limit, mast=mast.root)
        assert [a.request["pagesize"] for a in mast.asked if a.service] == [limit] * requests
    assert len(table) == limit
    assert caught[0].filename == __file__


def test_a_limit_that_is_reached_with_the_first_instrument_names_the_others():
    """Nobody knows how many rows they have."""
    with recording_mast(mast_of([observation(1, instrument_name="ACS")])) as mast:
        with pytest.warns(HSTCloudWarning, match="limit=1 is reached before COS, STIS/CCD was asked for"):
            assert len(search(instrument=["ACS", "COS", "STIS/CCD"], limit=1, mast=mast.root)) == 1
        assert mast.services == ["columnsconfig", "Mast.Caom.Filtered"]


def test_a_limit_that_cuts_nothing_is_silent():
    """25 of 25."""
    with recording_mast(paged([observation(i) for i in range(25)], 100)) as mast:
        assert len(search(instrument="ACS/WFC", limit=25, mast=mast.root)) == 25


def test_an_answer_with_fewer_rows_than_counted_warns():
    """A cap of the service must not pass for the whole."""
    rows = [observation(i) for i in range(5)]

    def script(asked):
        return answer(rows if asked.request["page"] == 1 else [], answer(rows)["fields"], total=9, pages=1)

    with recording_mast(mast_of(pages=script)) as mast, pytest.warns(HSTCloudWarning, match="counts 9 rows and gave 5"):
        assert len(search(instrument="ACS/WFC", mast=mast.root)) == 5


def test_nothing_found_is_an_empty_table_without_a_warning():
    """With all columns, their types and units."""
    with recording_mast(mast_of()) as mast:
        table = search(center="10 20", instrument="ACS/WFC", mast=mast.root)
    assert len(table) == 0
    assert (table["t_exptime"].unit, table["obsid"].dtype.kind) == (u.s, "U")
    assert "distance" in table.colnames


def test_meta_says_where_the_rows_are_from():
    """In plain values, which can be written."""
    with recording_mast(mast_of([observation(1)])) as mast:
        meta = search(instrument="ACS/WFC", mast=mast.root).meta
        assert meta["endpoint"] == mast.root
    assert meta["service"] == "Mast.Caom.Filtered"
    assert meta["criteria"]["instrument_name"] == ["ACS/WFC"]
    assert set(meta["versions"]) == {"hst_cloud", "astroquery", "astropy"}
    assert meta["time"].endswith("+00:00")
    assert json.loads(json.dumps(meta)) == meta


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "at least one condition"),
        ({"target": "M 51", "center": "1 2"}, "both positions"),
        ({"target": " "}, "is no name"),
        ({"instrument": "AXS"}, "nearest: 'ACS'"),
        ({"proposal": 1, "limit": 0}, "limit=0"),
        ({"proposal": 1, "criteria": {"Proposal_ID": "2"}}, "both ask for proposal_id"),
        ({"center": "1 2", "radius": "3"}, "radius='3'"),
        ({"proposal": 1, "mast": "ftp://x"}, "ftp://x"),
        ({"proposal": 1, "deadline": -1}, "deadline=-1"),
    ],
)
def test_a_question_that_makes_no_sense_is_not_sent(arguments, text, monkeypatch):
    """The error comes before any request."""
    with recording_mast(mast_of()) as mast:
        monkeypatch.setenv("HST_CLOUD_ENDPOINT", mast.root)
        with pytest.raises(QueryError, match=text):
            search(**arguments)
        assert mast.asked == []


def test_an_unknown_column_names_the_nearest():
    """Of those that MAST has; the question itself is not sent."""
    with recording_mast(mast_of()) as mast:
        with pytest.raises(QueryError, match=r"no column 'propsal_pi'; nearest: 'proposal_pi'"):
            search(criteria={"propsal_pi": "x"}, mast=mast.root)
        assert mast.services == ["columnsconfig"]


def test_an_unknown_target_is_said():
    """With what to do about it."""
    with (
        recording_mast(mast_of()) as mast,
        pytest.raises(QueryError, match=r"no resolver knows the target 'M 5l'.*center="),
    ):
        search("M 5l", mast=mast.root)


def test_two_masts_do_not_share_their_columns():
    """Each search reads those of the MAST that it asks."""
    other = {name: value for name, value in COLUMNS.items() if name != "proposal_pi"}
    with recording_mast(mast_of()) as one, recording_mast(mast_of(columns=other)) as two:
        search(criteria={"proposal_pi": "x"}, mast=one.root)
        with pytest.raises(QueryError, match="no column 'proposal_pi'"):
            search(criteria={"proposal_pi": "x"}, mast=two.root)


# -- faults


def test_an_executing_query_is_polled_and_its_polls_are_no_tries():
    """More of them than tries are granted."""
    polls = [{"status": "EXECUTING"}] * 6

    def script(asked):
        return polls.pop() if polls else answer([observation(1)])

    with recording_mast(mast_of(pages=script)) as mast:
        assert len(search(instrument="ACS/WFC", mast=mast.root)) == 1
        times = [a.at for a in mast.asked if a.service]
    assert len(times) == 7
    assert min(b - a for a, b in pairwise(times)) > 0.2


def test_a_query_that_executes_for_ever_ends_at_the_deadline():
    """The message says what still works."""
    with recording_mast(mast_of(pages=in_turn({"status": "EXECUTING"}))) as mast:
        began = time.monotonic()
        with pytest.raises(ArchiveUnavailableError, match=r"within 3 s .*still executing.*hst_cloud.open"):
            search(instrument="ACS/WFC", mast=mast.root, deadline=3)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("status", [502, 429])
def test_a_busy_service_is_asked_again(status):
    """Once is enough here."""
    turns = [Reply("busy", status=status), answer([observation(1)])]
    with recording_mast(mast_of(pages=in_turn(*turns))) as mast:
        assert len(search(instrument="ACS/WFC", mast=mast.root)) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<html>Maintenance until noon</html>", "no JSON: '<html>Maintenance until noon</html>'"),
        ({"status": "ERROR", "msg": "Invalid column x"}, "an error: 'Invalid column x'"),
        ({"status": "ERROR", "msg": "half of it", "data": [], "fields": []}, "ERROR: 'half of it'"),
        ({"status": "COMPLETE"}, "no rows"),
        ([1, 2], "can't be read"),
        ("7", "can't be read"),
        ({"status": "COMPLETE", "data": [{"s_ra": "x"}], "fields": [{"name": "s_ra", "type": "float"}]}, "'s_ra'"),
        (Reply("forbidden", status=403), "HTTP 403: 'forbidden'"),
    ],
)
def test_an_answer_that_cannot_be_read_is_quoted(body, text):
    """Never a traceback of a JSON parser's, nor an empty table."""
    with recording_mast(mast_of(pages=in_turn(body))) as mast, pytest.raises(ArchiveAnswerError, match=text):
        search(instrument="ACS/WFC", mast=mast.root)


@pytest.mark.parametrize("columns", [{}, [], {"a": 1}, {"status": "ERROR", "msg": "x"}, "<html>"])
def test_columns_that_cannot_be_read_are_an_error(columns):
    """Without them no condition can be checked."""
    with recording_mast(mast_of(columns=columns)) as mast, pytest.raises(ArchiveAnswerError, match="columnsconfig"):
        search(instrument="ACS/WFC", mast=mast.root)


def test_a_service_that_is_down_says_what_works_without_it():
    """After four tries."""
    with recording_mast(in_turn(Reply("down", status=503))) as mast:
        with pytest.raises(ArchiveUnavailableError, match=r"HTTP 503: down; asked 4 times.*resolve by rule"):
            search(instrument="ACS/WFC", mast=mast.root)
        assert len(mast.asked) == 4


@pytest.mark.parametrize(
    ("foreign", "ours"), [(InvalidQueryError("x"), QueryError), (RemoteServiceError("x"), ArchiveAnswerError)]
)
def test_errors_of_astroquery_become_ours(foreign, ours):
    """The others are those of the session."""
    with pytest.raises(ours, match="x"), translating("http://a"):
        raise foreign


# -- products


def test_observations_are_asked_for_in_batches_of_500_and_4_at_a_time():
    """2,600 of them: six requests, each id once, at most four in flight and four used."""
    table = Table({"obsid": [str(i) for i in range(1, 2601)] + ["1"]})
    lists, gate, seen = [], threading.Barrier(4), []

    def script(asked):
        ids = asked.request["params"]["obsid"].split(",")
        lists.append(ids)
        if len(lists) <= 4:
            gate.wait(10)  # only passes with four requests in flight
        return answer([product(f"jbqf{int(i):04d}q_flc.fits", i) for i in ids])

    with recording_mast(script) as mast:
        found = products(table, mast=mast.root, progress=seen.append)
        assert mast.services == ["Mast.Caom.Products"] * 6
        assert mast.most == 4
    assert max(map(len, lists)) == 500
    assert sorted(int(i) for ids in lists for i in ids) == list(range(1, 2601))
    assert found["parent_obsids"].tolist() == [str(i) for i in range(1, 2601)]
    assert [(p.done, p.total) for p in seen] == [(i, 6) for i in range(1, 7)]


def test_a_product_of_several_observations_is_one_row():
    """Every parent is kept, also across batches."""

    def script(asked):
        ids = asked.request["params"]["obsid"].split(",")
        return answer([product("jbqf03010_drc.fits", ids[0]), product("jbqf03010_drc.fits", ids[-1])])

    with recording_mast(script) as mast:
        found = products([str(i) for i in range(1, 502)], mast=mast.root)
    assert found["parent_obsids"].tolist() == ["1;500;501"]
    assert found["key"].tolist() == ["hst/public/jbqf/jbqf03010/jbqf03010_drc.fits"]
    assert (found["size"].unit, found["size"].tolist()) == (u.byte, [100])
    assert found.meta["rows_total"] == 4


def test_pages_of_products_are_read():
    """More products than a page holds."""
    rows = [product(f"jbqf{i:04d}q_flc.fits") for i in range(25)]
    with recording_mast(paged(rows, 10)) as mast:
        assert len(products("1", mast=mast.root)) == 25
        assert [a.request["page"] for a in mast.asked] == [1, 2, 3]


def test_no_observations_send_nothing():
    """An empty table gives an empty table; an empty list is a mistake."""
    with recording_mast(mast_of()) as mast:
        found = products(Table({"obsid": []}), mast=mast.root)
        assert len(found) == 0
        assert {"key", "status", "reason", "size", "parent_obsids", "dataURI"} <= set(found.colnames)
        with pytest.raises(QueryError, match="empty"):
            products([], mast=mast.root)
        assert mast.asked == []


def test_no_match_warns_at_the_line_of_the_user():
    """With what there is, and a table that has all columns."""
    with recording_mast(mast_of([product("jbqf03gjq_flc.fits")])) as mast:
        with pytest.warns(HSTCloudWarning, match=r"suffix='drc'; there are suffix: flc \(1\)") as caught:
            found = products("1", suffix="drc", mast=mast.root)
        assert caught[0].filename == __file__
    assert (len(found), found["size"].unit) == (0, u.byte)


def test_no_products_at_all_warns():
    """Observations without products are rare enough to say so."""
    with recording_mast(mast_of()) as mast, pytest.warns(HSTCloudWarning, match="no products for the 2 observations"):
        assert len(products(["1", "2"], mast=mast.root)) == 0


def test_an_unknown_suffix_is_refused_before_anything_is_sent():
    """Where the table of observations tells their instruments."""
    table = Table({"obsid": ["1"], "instrument_name": ["COS/FUV"]})
    with recording_mast(mast_of()) as mast:
        with pytest.raises(QueryError, match=r"suffix='flc' is no kind of file of COS"):
            products(table, suffix="flc", mast=mast.root)
        assert mast.asked == []


def test_observations_by_name_are_looked_up():
    """Two requests more; names that MAST does not know are told."""

    def script(asked):
        if asked.service == "Mast.Caom.Products":
            return answer([product("jbqf03010_drc.fits", "7")])
        return answer([observation(7, obs_id="JBQF03010")])

    with recording_mast(mast_of(pages=script)) as mast:
        with pytest.warns(HSTCloudWarning, match="does not know 1 of the observations: jbqf99010"):
            found = products(["jbqf03010", "jbqf99010"], mast=mast.root)
        assert mast.services == ["columnsconfig", "Mast.Caom.Filtered", "Mast.Caom.Products"]
        assert mast.asked[1].filters["obs_id"]["values"] == ["jbqf03010", "jbqf99010"]
        assert mast.asked[2].request["params"]["obsid"] == "7"
    assert len(found) == 1


def test_names_that_mast_does_not_know_are_an_error():
    """There is nothing to list."""
    with (
        recording_mast(mast_of()) as mast,
        pytest.raises(QueryError, match=r"none of the 1 observations .*'jbqf03010'"),
    ):
        products("jbqf03010", mast=mast.root)


def test_one_batch_that_fails_fails_the_call():
    """Part of the products must not pass for all."""

    def script(asked):
        return Reply("no", status=400) if "501" in asked.request["params"]["obsid"] else answer([product("a_x.fits")])

    with recording_mast(script) as mast, pytest.raises(ArchiveAnswerError, match="HTTP 400"):
        products([str(i) for i in range(1, 2000)], mast=mast.root)


def test_verbs_may_be_called_from_several_threads():
    """Each call has its own session and columns."""
    found = []
    with recording_mast(paged([observation(i) for i in range(25)], 10)) as mast:
        threads = [
            threading.Thread(target=lambda: found.append(len(search(instrument="ACS/WFC", mast=mast.root))))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [25] * 6


# -- the recorded answers of the real service


def load(shared_data, name):
    return json.loads((shared_data / "mast" / name).read_text())


def recorded(shared_data, observations, files):
    """Return a script of recorded bodies alone."""

    def script(asked):
        if asked.path.endswith("columnsconfig"):
            return load(shared_data, "astroquery/columnsconfig.json")
        if asked.service == "Mast.Name.Lookup":
            return load(shared_data, "astroquery/resolver.json")
        return load(shared_data, files if asked.service == "Mast.Caom.Products" else observations)

    return script


@pytest.mark.parametrize(
    "files", ["products.json", "hstnb_cos_products_partial.json", "tike_phat_products_head_tail.json"]
)
@pytest.mark.parametrize(
    ("observations", "rows"), [("caom", 19), ("advSearch", 3), ("advSearchPos", 12), ("tike_phat_observations", 19)]
)
def test_recorded_answers_pass_through_search_and_products(shared_data, observations, rows, files):
    """Every row of both, with all types, and with keys for the products of the pipelines."""
    folder = "notebooks" if observations.startswith("tike") else "astroquery"
    where = "astroquery" if files == "products.json" else "notebooks"
    with recording_mast(recorded(shared_data, f"{folder}/{observations}.json", f"{where}/{files}")) as mast:
        table = search("M101", intent=None, planned=True, criteria={"obs_collection": "*"}, mast=mast.root)
        found = products(table, collection="all", mast=mast.root)
    assert len(table) == rows
    assert {c.dtype.kind for c in [*table.columns.values(), *found.columns.values()]} <= set("Uifb")
    assert len(found) == len(load(shared_data, f"{where}/{files}")["data"])
    made = ["not_mirrored" if n.startswith("hst_") else "unverified" for n in found["productFilename"]]
    assert found["status"].tolist() == made
    assert all(bool(key) == (status == "unverified") for key, status in found["key", "status"].iterrows())


def test_recorded_products_are_chosen_by_words(shared_data):
    """The real suffixes, levels and makers."""
    script = recorded(shared_data, "astroquery/caom.json", "notebooks/tike_phat_products_head_tail.json")
    with recording_mast(script) as mast:
        assert len(products("24799727", collection="HAP", suffix="drc", mast=mast.root)) == 2
        assert len(products("24799727", collection="HLA", product_type="SCIENCE", mast=mast.root)) == 4
        with pytest.warns(HSTCloudWarning, match=r"no product is of collection CAL; there are HAP \(10\), HLA \(9\)"):
            products("24799727", mast=mast.root)
    script = recorded(shared_data, "astroquery/caom.json", "notebooks/hstnb_cos_products_partial.json")
    with recording_mast(script) as mast:
        found = products("24843884", suffix="x1dsum1", mast=mast.root)
        assert found["productFilename"].tolist() == ["lbnm01020_x1dsum1.fits"]


def test_recorded_missions_rows_are_observations(shared_data):
    """A table of MAST's Missions search, whose names are padded and in upper case."""
    results = load(shared_data, "astroquery/mission_results.json")["results"]
    table = Table({name: [str(row[name]) for row in results] for name in ("sci_data_set_name", "sci_instrume")})
    names = [name.strip().lower() for name in table["sci_data_set_name"]]

    def script(asked):
        if asked.service == "Mast.Caom.Products":
            return answer([product(f"{names[0]}_raw.fits", "1")])
        return answer([observation(i, obs_id=name) for i, name in enumerate(names, 1)])

    with recording_mast(mast_of(pages=script)) as mast:
        assert len(products(table, mast=mast.root)) == 1
        assert mast.asked[1].filters["obs_id"]["values"] == list(dict.fromkeys(names))


def test_no_warning_of_astroquerys_leaks():
    """Neither of empty answers nor of values that it skips."""
    with recording_mast(mast_of()) as mast, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search(criteria={"proposal_pi": ["A*", "B"], "s_ra": (1, 2)}, mast=mast.root)
    assert caught == []


# -- the embedded archive


def exposure(folder, name, **cards):
    """Put a small file where the key rule expects it."""
    path = folder / "hst" / "public" / name[:4] / name[:9] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    header = fits.Header({"ROOTNAME": name[:9], "EXPTIME": 100.0, "RA_TARG": 10.0, "DEC_TARG": 41.0, **cards})
    fits.PrimaryHDU(header=header).writeto(path)
    return f"hst/public/{name[:4]}/{name[:9]}/{name}"


def test_the_embedded_archive_is_searched_like_mast(tmp_path):
    """Through its own column configuration, polls and pages; from criteria to keys that are there."""
    acs = {"INSTRUME": "ACS", "DETECTOR": "WFC", "FILTER1": "CLEAR1L", "FILTER2": "F814W"}
    keys = [exposure(tmp_path, f"jbqf0{i}gjq_flt.fits", EXPSTART=57000.0 + i, **acs) for i in range(1, 6)]
    exposure(tmp_path, "ld9m10ujq_x1d.fits", INSTRUME="COS", DETECTOR="FUV", OPT_ELEM="G130M", EXPSTART=58000.0)
    with LocalArchive(tmp_path, executing=1, largest_page=2) as archive:
        table = search(instrument="ACS", filters="F814W", since=Time(57002, format="mjd"))
        assert sorted(table["t_min"].tolist()) == pytest.approx([57002, 57003, 57004, 57005])
        assert len(search(instrument=["ACS", "COS/FUV"])) == 6
        assert len(search(center="10 41", radius="1 arcmin", proposal=None)) == 6
        assert len(search(instrument="ACS", until=Time(57002, format="mjd"))) == 1
        found = products(table, suffix="flt")
        assert all(request.service == "mast" for request in archive.requests)
        with pytest.raises(QueryError, match="nearest: 'proposal_pi'"):
            search(criteria={"proposal_pl": "x"})
    assert sorted(found["key"]) == keys[1:]
    assert found["size"].tolist() == [2880 * 1] * 4


def test_the_users_way_of_showing_warnings_stays():
    """Asking MAST imports astroquery, whose logger would take over `warnings.showwarning`."""
    code = """
import hst_cloud, warnings
before = warnings.showwarning = lambda *words: None
try:
    hst_cloud.search("M 51", mast="http://127.0.0.1:1", deadline=0.1)
except hst_cloud.errors.ArchiveUnavailableError:
    print("asked", warnings.showwarning is before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "asked True\n"
