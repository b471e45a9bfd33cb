"""Names to positions and URIs to paths, both at the MAST that is asked for all else."""

from __future__ import annotations

import json

import pytest
from archive.recording_mast import Reply, in_turn, recording_mast
from astropy import units as u
from astropy.coordinates import SkyCoord

from hst_cloud.archive.mast import lookup_name, lookup_paths
from hst_cloud.errors import ArchiveAnswerError, ArchiveUnavailableError, QueryError


def coordinate(name, ra=10.0, dec=20.0):
    return {"searchString": name, "resolver": "NED", "ra": ra, "decl": dec}


def test_a_name_becomes_a_position_in_one_request():
    """The first resolver of MAST's list is taken."""
    said = {"resolvedCoordinate": [coordinate("m 51", 202.5, 47.2), coordinate("m 51", 0, 0)], "status": ""}
    with recording_mast(in_turn(said)) as mast:
        assert lookup_name("M 51", mast=mast.root).separation(SkyCoord(202.5, 47.2, unit="deg")) == 0 * u.deg
        (asked,) = mast.asked
    assert (asked.method, asked.path, asked.service) == ("POST", "/api/v0/invoke", "Mast.Name.Lookup")
    assert asked.request["params"] == {"input": "M 51", "format": "json"}


def test_a_look_up_that_executes_is_polled():
    """As any other of the portal's services."""
    turns = [{"status": "EXECUTING"}, {"resolvedCoordinate": [coordinate("m 51")], "status": ""}]
    with recording_mast(in_turn(*turns)) as mast:
        lookup_name("M 51", mast=mast.root)
        assert mast.asked[0].body == mast.asked[1].body


@pytest.mark.parametrize("found", [[], [coordinate("m 5")]])
def test_an_unknown_name_is_a_query_error(found):
    """Never the position of another name."""
    with recording_mast(in_turn({"resolvedCoordinate": found})) as mast, pytest.raises(QueryError, match="'M 51'"):
        lookup_name("M 51", mast=mast.root)


@pytest.mark.parametrize(
    "said", [{}, [], {"resolvedCoordinate": "x"}, {"resolvedCoordinate": [{"searchString": "m 51"}]}, "<html>"]
)
def test_an_answer_without_coordinates_is_quoted(said):
    """Whatever its shape is."""
    with recording_mast(in_turn(said)) as mast, pytest.raises(ArchiveAnswerError, match=r"127\.0\.0\.1"):
        lookup_name("M 51", mast=mast.root)


def test_recorded_names_are_told_apart(shared_data):
    """One recorded answer holds several names and several resolvers of each."""
    recorded = json.loads((shared_data / "mast/astroquery/resolver.json").read_text())
    with recording_mast(in_turn(recorded)) as mast:
        for name, ra in (("TIC 307210830", 124.531756290083), ("M101", 210.802429), ("M8", 270.904)):
            assert lookup_name(name, mast=mast.root).ra.deg == pytest.approx(ra)


def paths(asked):
    return {uri: {"status_code": 200, "path": f"/hst/{uri[-3:]}"} for uri in asked.query["uri"]}


def test_paths_are_asked_for_forty_at_a_time():
    """Each URI once, in any number of requests, of which four are in flight at most."""
    uris = [f"mast:HST/product/{i:03d}" for i in range(205)]
    seen = []
    with recording_mast(paths) as mast:
        found = lookup_paths([*uris, uris[0]], mast=mast.root, progress=seen.append)
        assert [len(a.query["uri"]) for a in mast.asked].count(40) == 5
        assert len(mast.asked) == 6
        assert mast.most <= 4
        assert {a.path for a in mast.asked} == {"/api/v0.1/path_lookup/"}
        assert all(a.query["use_cloud_path"] == ["True"] for a in mast.asked)
    assert found == {uri: f"/hst/{uri[-3:]}" for uri in uris}
    assert list(found) == uris
    assert len(seen) == 6


def test_rows_that_the_answer_lacks_have_no_path():
    """Nor those of another shape, and URIs that were not asked for are no part of the answer."""
    said = {"a": {"status_code": 404, "path": None}, "b": None, "d": {"path": 7}, "z": {"path": "/x"}}
    with recording_mast(in_turn(said)) as mast:
        assert lookup_paths(["a", "b", "c", "d"], mast=mast.root) == dict.fromkeys("abcd")


def test_no_uris_send_nothing():
    """An empty answer for an empty question."""
    with recording_mast(paths) as mast:
        assert lookup_paths([], mast=mast.root) == {}
        assert mast.asked == []


def test_recorded_paths(shared_data):
    """One that is there and one that is not."""
    recorded = json.loads((shared_data / "mast/astroquery/mast_relative_path.json").read_text())
    with recording_mast(in_turn(recorded)) as mast:
        assert lookup_paths(list(recorded), mast=mast.root) == {u: r["path"] for u, r in recorded.items()}


def test_faults_of_path_lookup_are_ours():
    """A list for an answer, and a service that is down."""
    with recording_mast(in_turn([])) as mast, pytest.raises(ArchiveAnswerError, match="without paths"):
        lookup_paths(["a"], mast=mast.root)
    down = in_turn(Reply("", status=503))
    with recording_mast(down) as mast, pytest.raises(ArchiveUnavailableError, match="path_lookup"):
        lookup_paths(["a"], mast=mast.root, deadline=0.3)
