"""Faults as values: what they may say, how they are written down, and which request meets which."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.testing import Fault, LocalArchive, Script, random_faults
from hst_cloud.testing.faults import as_script
from hst_cloud.testing.messages import Answer, Ask, FilePart, Memory
from hst_cloud.testing.schedule import Schedule

COUNTS = st.integers(0, 10**12)
SECONDS = st.floats(0, 1e6) | st.integers(0, 10**6)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OCTETS = TEXT | st.binary(max_size=20)
SPANS = st.tuples(COUNTS, COUNTS).map(lambda pair: (min(pair), max(pair)))
POSITIONS = st.just("before") | COUNTS
LINES = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="{}"), max_size=20)
VALUES = LINES | st.sampled_from(["bytes {start+1}-{last}/{size-7}", "{length}"])
HEADERS = st.dictionaries(
    st.sampled_from(["ETag", "Content-Length", "X-Odd"]),
    st.none() | VALUES | st.lists(VALUES, min_size=1, max_size=3).map(tuple),
    max_size=3,
)

MATCH = {
    "name": TEXT,
    "method": st.sampled_from(["GET", "HEAD", "POST"]),
    "service": st.sampled_from(["s3", "mast"]),
    "key": TEXT,
    "query": TEXT,
    "range": SPANS,
    "skip": COUNTS,
    "times": st.integers(1, 10**6),
    "chance": st.floats(0, 1),
}
TRANSPORT = {
    "delay": SECONDS,
    "drip": st.floats(0, 1e9, exclude_min=True),
    "stall": POSITIONS,
    "drop": POSITIONS,
    "reset": POSITIONS,
    "hangup": SECONDS,
}
CONTENT = {
    "status": st.integers(200, 999),
    "headers": HEADERS,
    "body": OCTETS,
    "error": st.sampled_from(["SlowDown", "InternalError", "Odd1"]),
    "whole": st.booleans(),
    "bytes_of": TEXT.filter(bool),
    "slice": SPANS,
    "gzip": st.booleans(),
    "flip": st.integers(-(10**9), 10**9),
    "twice": SPANS,
    "extra": OCTETS,
    "chunked": st.integers(1, 10**6),
    "http": st.just("1.0"),
}
NOTHING = {field.name: {} if field.name == "headers" else field.default for field in fields(Fault)}
BODIES = ["body", "error", "whole", "bytes_of"]
ENDS = ["drop", "reset", "hangup"]


@st.composite
def faults(draw):
    """Make any fault that makes sense."""
    one = draw(st.sampled_from(BODIES)), draw(st.sampled_from(ENDS))
    content = (
        {"raw": OCTETS} if draw(st.booleans()) else {k: v for k, v in CONTENT.items() if k not in {*BODIES} - {one[0]}}
    )
    transport = {
        k: v for k, v in TRANSPORT.items() if k not in {*ENDS} - {one[1]} and not (k == "hangup" and "raw" in content)
    }
    found = draw(st.fixed_dictionaries({}, optional={**MATCH, **content, **transport}))
    if "stall" in found and draw(st.booleans()):
        found["stall_for"] = draw(SECONDS)
    if found.get("whole"):
        found.pop("status", None)
    if not {k for k, v in found.items() if k not in MATCH and v not in (False, 0.0, {})}:
        found["delay"] = 1.0
    return Fault(**found)


SCRIPTS = st.builds(Script, st.lists(faults(), max_size=4).map(tuple), st.integers(-(10**9), 10**9))


# -- values


@given(SCRIPTS)
def test_a_script_survives_json(script):
    """What is written down is read as the same script, with the same text and the same hash."""
    again = Script.from_json(script.to_json())
    assert again == script
    assert again.to_json() == script.to_json()
    assert hash(again) == hash(script)
    assert pickle.loads(pickle.dumps(script)) == script


@given(faults())
def test_a_fault_says_only_what_it_was_given(fault):
    """Its repr makes it anew, and its dictionary leaves out what says nothing."""
    assert eval(repr(fault), {"Fault": Fault}) == fault
    assert fault.to_dict().keys() == fault.given().keys()
    assert fault.given().keys() == {name for name in NOTHING if getattr(fault, name) != NOTHING[name]}


def test_a_script_is_a_list_or_an_object():
    """A list needs no seed; each fault is an object of its fields, bytes are in base64."""
    text = '[{"status": 503, "times": 2}, {"raw": {"base64": "AP8="}}, {"twice": [1, 4], "headers": {"A": ["1", "2"]}}]'
    expected = (Fault(status=503, times=2), Fault(raw=b"\0\xff"), Fault(twice=(1, 4), headers={"A": ("1", "2")}))
    assert Script.from_json(text) == Script(expected)
    assert Script.from_json('{"faults": [], "seed": 4}') == Script((), 4)


def test_values_cannot_be_changed():
    """A fault and a script are values; a changed one is another one."""
    fault = Fault(delay=1)
    with pytest.raises(FrozenInstanceError):
        fault.delay = 2
    assert replace(fault, delay=2) == Fault(delay=2)
    assert replace(fault, name="slow") != fault


def test_what_counts_as_a_script(tmp_path):
    """None, one fault, some, a script, and the path of a file are all one thing."""
    fault = Fault(delay=1)
    path = tmp_path / "script.json"
    path.write_text(Script((fault,)).to_json())
    for like in (fault, [fault], iter([fault]), Script((fault,)), path, str(path)):
        assert as_script(like) == Script((fault,))
    assert as_script(None) == Script()
    assert not Script()
    path.write_text('[{"delay": -1}]')
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: fault 1 of 1: delay is -1: expected seconds"):
        as_script(path)
    with pytest.raises(FileNotFoundError):
        as_script(tmp_path / "nowhere.json")


# -- what makes no sense

WRONG = [
    ({"status": 99}, "status is 99: expected an HTTP status from 200"),
    ({"status": True}, "status is True"),
    ({"status": "503"}, "status is '503'"),
    ({"on": "answer", "delay": 1}, "on is 'answer': expected 'request' or 'connection'"),
    ({"method": "get", "delay": 1}, "method is 'get': expected a method in capitals"),
    ({"service": "S3", "delay": 1}, "service is 'S3': expected 's3' or 'mast'"),
    ({"service": [], "delay": 1}, r"service is \[\]"),
    ({"key": 5, "delay": 1}, "key is 5: expected a pattern"),
    ({"range": (5, 4), "delay": 1}, r"range is \(5, 4\): expected two whole numbers"),
    ({"range": (-1, 4), "delay": 1}, r"range is \(-1, 4\)"),
    ({"skip": -1, "delay": 1}, "skip is -1: expected a whole number, 0 or more"),
    ({"times": 0, "delay": 1}, "times is 0: expected a whole number, 1 or more"),
    ({"chance": 1.5, "delay": 1}, "chance is 1.5: expected a probability"),
    ({"delay": float("inf")}, "delay is inf: expected seconds"),
    ({"delay": float("nan")}, "delay is nan"),
    ({"drip": -1}, "drip is -1: expected bytes per second"),
    ({"stall": "after"}, "stall is 'after': expected a number of bytes, or 'before'"),
    ({"drop": -3}, "drop is -3"),
    ({"headers": {"A B": "x"}}, "headers is .*expected names of fields"),
    ({"headers": {"A": "x\r\nB: y"}}, "headers is "),
    ({"headers": {"A": "€"}}, "headers is "),
    ({"headers": {"A": "{begin+1}"}}, "in braces only start, last, size, length"),
    ({"headers": {"A": ()}}, "headers is "),
    ({"headers": {"A": 5}}, "headers is "),
    ({"headers": "A"}, "headers is 'A'"),
    ({"body": 5}, "body is 5: expected text or bytes"),
    ({"body": "\ud800"}, "body is "),
    ({"chunked": 0}, "chunked is 0"),
    ({"http": "2"}, "http is '2': expected '1.0'"),
    ({"error": "Slow Down"}, "error is 'Slow Down': expected a code"),
    ({"bytes_of": ""}, "bytes_of is '': expected the key of an object"),
    ({}, "a fault must do something: give one of status, error, headers, body"),
    ({"key": "*", "times": 3}, "a fault must do something"),
    ({"raw": "x", "status": 500}, "raw and status contradict each other: raw is all that is sent"),
    ({"body": "x", "error": "SlowDown"}, "body and error contradict each other: there is one body"),
    ({"whole": True, "status": 206}, "whole and status contradict"),
    ({"drop": 1, "reset": 1}, "drop and reset contradict each other: a connection ends once"),
    ({"delay": 1, "stall_for": 1}, "stall_for needs stall"),
    ({"on": "connection", "status": 500}, "a fault of connections cannot have status"),
    ({"on": "connection", "key": "k", "delay": 1}, "a fault of connections cannot have key"),
    ({"on": "connection", "reset": 10}, "a fault of connections stalls, drops or resets 'before'"),
]


@pytest.mark.parametrize(("given", "told"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_makes_no_sense_is_refused(given, told):
    """The message names the field, what was found, and what is expected."""
    with pytest.raises(ValueError, match=told):
        Fault(**given)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "must be JSON: "),
        ('{"faults": 5}', r"or a list of faults, found '\{\"faults\": 5\}'"),
        ('{"fault": []}', "or a list of faults"),
        ('{"faults": [], "sed": 1}', "or a list of faults"),
        ('{"faults": [], "seed": "x"}', "seed of a script is a whole number, found 'x'"),
        ("5", "or a list of faults, found '5'"),
        ("[5]", "fault 1 of 1: a fault is an object of named fields, found 5"),
        ('[{"delay": 1}, {"statut": 503}]', "fault 2 of 2: a fault has no field 'statut': did you mean 'status'"),
        ('[{"qqqqqq": 1}]', "known are name, on, method"),
        ('[{"status": 5}]', "fault 1 of 1: status is 5"),
        ('[{"delay": Infinity}]', "must be JSON: Infinity is no number"),
        ('[{"raw": {"base64": "?"}}]', "raw is .*expected text, or bytes as"),
        ('[{"raw": {"hex": "00"}}]', "raw is .*expected text, or bytes as"),
        ('[{"raw": {"base64": 5}}]', "raw is .*expected text, or bytes as"),
        ('[{"raw": {}}]', "raw is .*expected text, or bytes as"),
        ("[" * 100_000, "must be JSON"),
    ],
)
def test_what_is_no_script_is_refused(text, told):
    """The message says which fault of how many is wrong, and how."""
    with pytest.raises(ValueError, match=told):
        Script.from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["status", "headers", "range", "raw", "on", "stall", "key", "flip", "times"]), JSON)
)
def test_whatever_json_holds_is_a_fault_or_a_valueerror(found):
    """No value of any field is an error of another kind, or a fault that cannot be written down."""
    text = json.dumps([found])
    try:
        script = Script.from_json(text)
    except ValueError:
        return
    assert Script.from_json(script.to_json()) == script


def test_a_script_holds_faults():
    """Neither lists nor dictionaries slip in."""
    for wrong in ([Fault(delay=1)], ({"delay": 1},), None):
        with pytest.raises(ValueError, match="a script is a tuple of Fault"):
            Script(wrong)


# -- who meets what


def ask(method="GET", path="/stpubdata/hst/public/k.fits", query="", body=b"", **headers):
    return Ask(method, path, query, headers, body)


ANSWER = Answer(206, {"Content-Range": "bytes 10-19/100"}, FilePart(Memory(bytes(100)), 10, 20))


def meets(fault, request=None, answer=ANSWER):
    return Schedule(Script((fault,))).for_request(request or ask(), answer) is fault


@pytest.mark.parametrize(
    ("given", "met"),
    [
        ({}, True),
        ({"method": "GET"}, True),
        ({"method": "HEAD"}, False),
        ({"service": "s3"}, True),
        ({"service": "mast"}, False),
        ({"key": "hst/public/k.fits"}, True),
        ({"key": "*.fits"}, True),
        ({"key": "hst/public/?.fits"}, True),
        ({"key": "k.fits"}, False),
        ({"key": "HST/*"}, False),
        ({"key": ""}, False),
        ({"range": (0, 10)}, False),
        ({"range": (0, 11)}, True),
        ({"range": (19, 20)}, True),
        ({"range": (20, 99)}, False),
        ({"on": "connection", "delay": 1}, False),
        ({"query": "x"}, False),
    ],
)
def test_a_fault_meets_what_it_matches(given, met):
    """Each criterion is held against the request, and all of them must hold."""
    assert meets(Fault(**{"delay": 1, **given})) is met


def test_listings_and_queries_can_be_told_apart():
    """The bucket has the empty key, MAST's services their paths; queries and posted text are decoded."""
    listing = ask(path="/stpubdata", query="list-type=2&prefix=hst%2Fpublic")
    assert meets(Fault(delay=1, key="", query="prefix=hst/public"), listing, Answer(200))
    assert not meets(Fault(delay=1, range=(0, 10)), listing, Answer(200, body=b"long enough"))
    post = ask("POST", "/api/v0/invoke", body=b"request=%7B%22service%22%3A+%22Mast.Name.Lookup%22")
    assert meets(Fault(delay=1, service="mast", key="api/v0/*", query='"service": "Mast.Name'), post, Answer(200))


def run(script, requests):
    schedule = Schedule(script)
    return [schedule.for_request(request, ANSWER) for request in requests]


def test_the_first_that_is_not_used_up_is_met():
    """Faults follow each other as a script says, request by request."""
    first, second = Fault(status=503, times=2), Fault(reset=5, skip=1, times=1)
    assert run(Script((first, second)), [ask()] * 6) == [first, first, None, second, None, None]


def test_a_fault_counts_only_what_it_matches():
    """Requests of other objects do not use it up."""
    fault = Fault(status=503, key="a", skip=1, times=1)
    requests = [ask(path=f"/stpubdata/{key}") for key in "babab"]
    assert run(Script((fault,)), requests) == [None, None, None, fault, None]


def test_chances_are_kept_and_repeated():
    """About the share that was asked for, the same for the same seed, in whatever order the requests come."""
    fault = Fault(status=503, chance=0.3)
    requests = [ask(range=f"bytes={n}-") for n in range(2000)]
    met = run(Script((fault,), 1), requests)
    assert 500 < met.count(fault) < 700
    assert run(Script((fault,), 1), requests) == met
    assert run(Script((fault,), 2), requests) != met
    assert run(Script((fault,), 1), requests[::-1]) == met[::-1]
    same = run(Script((fault,), 1), [ask()] * 2000)
    assert 500 < same.count(fault) < 700


def test_random_faults_are_equally_likely():
    """Each of them meets its share of all requests, and their sum is the chance."""
    script = random_faults(0.6, seed=3)
    assert len({fault.name for fault in script.faults}) == len(script.faults) >= 10
    met = Counter(fault and fault.name for fault in run(script, [ask(range=f"bytes={n}-") for n in range(12_000)]))
    assert 4500 < met[None] < 5100
    for fault in script.faults:
        assert 450 < met[fault.name] < 750
    assert random_faults(0, seed=3).faults[0].chance == 0
    assert None not in run(random_faults(1), [ask(range=str(n)) for n in range(300)])
    assert random_faults(0.5, faults=[]) == Script()
    with pytest.raises(ValueError, match="chance is 2: expected a probability"):
        random_faults(2)


def test_an_archive_has_its_script(tmp_path):
    """It is given as anything that is a script, read as a script, and checked when it is set."""
    archive = LocalArchive(tmp_path, faults=[Fault(delay=1)])
    assert archive.faults == Script((Fault(delay=1),))
    archive.faults = None
    assert archive.faults == Script()
    with pytest.raises(ValueError, match="a script is a tuple of Fault"):
        archive.faults = [5]
    assert archive.faults == Script()
