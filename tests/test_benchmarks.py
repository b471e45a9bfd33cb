"""The benchmark of reading: its server is a bucket, its ways give the same, and it judges without favor."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import put

from benchmarks.reading import gates, page
from benchmarks.reading.measure import Row
from benchmarks.reading.server import FAR, REGION, Profile, compiler, serve
from benchmarks.reading.units import Aim, Gate, Unit
from hst_cloud.testing import LocalArchive

ROOT = Path(__file__).resolve().parent.parent

needs_compiler = pytest.mark.skipif(compiler() is None, reason="the server is a program in C")


# --- The server ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """Return a folder with one object, its key, and the object."""
    folder = tmp_path_factory.mktemp("bucket")
    content = bytes(range(256)) * 40
    return folder, put(folder, "jbqf03gjq_flc.fits", content), content


@pytest.fixture(scope="module")
def server(bucket, tmp_path_factory):
    with serve(bucket[0], tmp_path_factory.mktemp("build")) as running:
        yield running


def ask(port, method, path, headers):
    """Return status, headers and body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


QUESTIONS = [
    ("GET", "{key}", {}),
    ("HEAD", "{key}", {}),
    ("GET", "{key}", {"Range": "bytes=0-0"}),
    ("GET", "{key}", {"Range": "bytes=100-199"}),
    ("GET", "{key}", {"Range": "bytes=10000-99999"}),
    ("GET", "{key}", {"Range": "bytes=10200-"}),
    ("GET", "{key}", {"Range": "bytes=-300"}),
    ("GET", "{key}", {"Range": "bytes=-99999"}),
    ("GET", "{key}", {"Range": "bytes=-0"}),
    ("GET", "{key}", {"Range": "bytes=10240-10300"}),
    ("GET", "{key}", {"Range": "bytes=9-3"}),
    ("GET", "{key}", {"Range": "bytes=1-2,4-5"}),
    ("HEAD", "{key}", {"Range": "bytes=5-9"}),
    ("GET", "{key}", {"If-Match": '"0123"'}),
    ("GET", "{key}", {"If-Match": "*"}),
    ("GET", "hst/public/jbqf/jbqf03gjq/none.fits", {}),
    ("HEAD", "hst/public/jbqf/jbqf03gjq/none.fits", {}),
    ("GET", "hst/public/jbqf", {}),
]
TOLD = ("content-length", "content-range", "content-type", "accept-ranges", "last-modified")


@needs_compiler
@pytest.mark.parametrize(("method", "path", "headers"), QUESTIONS, ids=str)
def test_the_server_answers_as_the_embedded_archive_does(bucket, server, method, path, headers):
    """Status, what the headers say of the object, its bytes, and the code of an error are those of the other bucket."""
    folder, key, _ = bucket
    path = f"/stpubdata/{path.format(key=key)}"
    with LocalArchive(folder) as archive:
        other = int(archive.endpoint.rpartition(":")[2])
        expected, found = ask(other, method, path, headers), ask(server.port, method, path, headers)
    assert found[0] == expected[0]
    if found[0] < 300:
        assert {n: found[1].get(n) for n in TOLD} == {n: expected[1].get(n) for n in TOLD}
        assert found[2] == expected[2]
        assert re.fullmatch('"[0-9a-f]{32}"', found[1]["etag"])
    else:
        codes = [re.findall(b"<Code>.*</Code>", body) for body in (found[2], expected[2])]
        assert codes[0] == codes[1]
        assert found[1].get("content-range") == expected[1].get("content-range")
    assert found[1]["x-amz-request-id"]


@needs_compiler
def test_the_server_gives_the_version_that_is_named(bucket, server):
    """An ETag that it gave is one that it takes, with quotes and without."""
    path = f"/stpubdata/{bucket[1]}"
    etag = ask(server.port, "HEAD", path, {})[1]["etag"]
    for said in (etag, etag.strip('"')):
        assert ask(server.port, "GET", path, {"If-Match": said, "Range": "bytes=0-9"})[0] == 206


@needs_compiler
def test_the_server_stays_below_its_bucket(bucket, server):
    """No path leads out of the folder, and another bucket is none."""
    (bucket[0].parent / "secret").write_text("beside the bucket")
    assert ask(server.port, "GET", "/stpubdata/../secret", {})[0] == 404
    assert ask(server.port, "GET", "/stpubdata/%2e%2e/secret", {})[0] == 404
    assert ask(server.port, "GET", f"/another/{bucket[1]}", {})[0] == 404
    assert ask(server.port, "PUT", f"/stpubdata/{bucket[1]}", {})[0] == 405


@needs_compiler
def test_the_server_counts_and_waits(bucket, server):
    """It counts requests and bytes, waits before the first byte, and gives no more bytes a second than it should."""
    server.set(Profile("slow", 0.05, 100e3, 1e9))
    server.reset()
    began = time.monotonic()
    ask(server.port, "GET", f"/stpubdata/{bucket[1]}", {})
    took = time.monotonic() - began
    ask(server.port, "HEAD", f"/stpubdata/{bucket[1]}", {})
    server.set(Profile("near", 0, 0, 0))
    stats = server.stats()
    assert (stats.requests, stats.bytes) == (2, len(bucket[2]))
    assert 0.05 + len(bucket[2]) / 100e3 <= took < 5
    assert stats.cpu < took


# --- The verdicts ----------------------------------------------------------------------------------------------------


def row(way, wall, *, side="peer", run=1, unit="W"):
    return Row(
        unit, way, side, "result", "region", run, 1, 0.02, wall=wall, cpu=wall, server=wall, peak=wall,
        requests=[1], bytes=[2_000_000], physics=0.5 if side == "floor" else None,
    )  # fmt: skip


UNIT = Unit("W", "some work", "flc", (), (Gate("cold", "cold", ("a", "b"), 4),), (Aim("cold", "sockets", 1.3),))
ROWS = [
    row("cold", [1.0, 1.0, 1.0], side="ours"),
    row("a", [5.0, 9.0, 9.0]),
    row("b", [6.0, 6.0, 6.0]),
    row("sockets", [0.8, 0.8, 0.8], side="floor"),
    row("cold", [2.0, 2.0, 2.0], side="ours", run=2),
    row("a", [7.0, 7.0, 7.0], run=2),
    row("b", [9.0, 9.0, 9.0], run=2),
    row("sockets", [0.8, 0.8, 0.8], side="floor", run=2),
]


def test_a_demand_is_judged_on_the_worse_run():
    """Of each run the peer with the best median counts, and of all runs the lower ratio."""
    (verdict,) = gates.verdicts(ROWS, [UNIT])
    assert verdict.ratios == (6.0, 3.5)
    assert (verdict.ratio, verdict.peer, verdict.met) == (3.5, "a", False)
    assert "3.50 times as fast as a (runs: 6.00, 3.50); MISSED: 4 demanded" in page.sentence(verdict)
    (met,) = gates.verdicts(ROWS[:4], [UNIT])
    assert (met.ratio, met.peer, met.met) == (6.0, "b", True)


def test_what_is_absent_is_not_measured():
    """A way that could not be gone meets no demand, and misses none."""
    (verdict,) = gates.verdicts([r for r in ROWS if r.side != "ours"], [UNIT])
    assert verdict.met is None
    assert page.sentence(verdict) == "W cold (region): not measured"


def test_the_distance_is_that_of_the_worse_run():
    """The floor of the same run counts, and of all runs the higher ratio."""
    (distance,) = gates.distances(ROWS, [UNIT])
    assert (distance.ratio, distance.met) == (2.5, False)
    told = replace(distance, aim=Aim("cold", "sockets"))
    assert told.met is None


def test_physics_is_round_trips_and_bytes():
    """Ten round trips and 90 MB over one connection take 0.2 s and a second; more connections share what there is."""
    assert REGION.seconds(10, 90_000_000, 1) == pytest.approx(1.2)
    assert REGION.seconds(1, 1_000_000_000, 64) == pytest.approx(1.02)
    assert FAR.seconds(1, 40_000_000, 2) == pytest.approx(0.1 + 40 / 24)


# --- All of it -------------------------------------------------------------------------------------------------------


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks.reading", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.slow
@needs_compiler
def test_the_ways_give_the_same_and_the_page_tells(tmp_path):
    """On small files every way that is there gives what ours does; requests are what they should be."""
    done = run("--quick", "--build", tmp_path, "--write", tmp_path / "docs")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    rows = [Row(**one) for one in results["rows"]]
    for unit in ("W1", "W2", "W3", "W4", "W4, ten", "W5", "W6, STIS", "W6, COS", "W7"):
        assert {r.side for r in rows if r.unit == unit} == {"ours", "peer", "floor"}
    sent = {(r.unit, r.way): r.requests for r in rows if r.profile == "region" and r.side == "ours"}
    assert sent["W1", "index"] == [0]
    assert (
        sent["W4", "24 in flight"]
        == sent["W4, ten", "128 in flight"]
        == sent["W6, STIS", "tables, 24 in flight"]
        == [12]
    )
    assert sent["W7", "index"] == [1]
    assert sent["W3", "index, 64 in flight"] == [6]
    text = (tmp_path / "docs" / page.NAME).read_text(encoding="utf-8")
    assert "These figures are of a trial" in text
    for heading in ("Against the best of the others", "What is missed", "W6, COS: tables of 6 COS x1dsum"):
        assert f"\n{heading}\n" in text


DIFFERENT = """
import sys, tempfile
from functools import partial
from pathlib import Path
from benchmarks.reading import ours
from benchmarks.reading.files import QUICK, files
from benchmarks.reading.measure import Bench, DifferentError, measure
from benchmarks.reading.server import REGION, serve
from benchmarks.reading.units import Unit, Way

build = Path(sys.argv[1])
ways = tuple(Way(make.__name__, "ours", partial(make, in_flight=24)) for make in (ours.tables, ours.columns))
with serve(files(build, QUICK).folder, build) as server:
    bench = Bench(server, files(build, QUICK), build, print)
    try:
        measure(bench, Unit("W", "some work", "stis", ways, many=True), REGION, repeats=1)
    except DifferentError as error:
        print(error)
"""


@pytest.mark.slow
@needs_compiler
def test_a_way_that_gives_something_else_ends_the_benchmark(tmp_path):
    """Nothing is timed where two ways differ."""
    command = [sys.executable, "-c", DIFFERENT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "W: tables (ours) and columns (ours) give different results", done.stderr


def test_the_same_jobs_in_other_ways_give_the_same(tmp_path):
    """The ways of a job agree, and the page has their lines, requests and bytes."""
    docs = tmp_path / "docs"
    docs.joinpath("explanation").mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.jobs", "--quick", "--repeats", "1", "--jobs", "keywords"]
    done = subprocess.run(
        [*command, "--files", tmp_path, "--write", docs],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = docs.joinpath("explanation/comparison.rst").read_text(encoding="utf-8")
    ours = page[page.index("``hst_cloud``") :].split("     - ")[1:6]
    assert [cell.split()[0] for cell in ours[:3]] == ["2", "0", "5"]
    assert page.count("   * - ") == 5
