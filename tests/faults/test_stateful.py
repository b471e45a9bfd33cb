"""Any sequence of faults, reads and replacements: the right bytes or one error of ours, and few requests."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faults.conftest import NAME, QUICK
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support import put

from hst_cloud.errors import HSTCloudError, ObjectChangedError
from hst_cloud.store.objects import HTTPStore
from hst_cloud.testing import Fault, LocalArchive, random_faults
from hst_cloud.values import ByteRange

SIZE = 60_000
VERSIONS = [np.random.default_rng(n).bytes(SIZE) for n in range(3)]
PATIENT = replace(QUICK, tries=3, base=0.001, longest=0.005)
HASTY = replace(PATIENT, connect=0.2, read=0.1, stall=0.4, deadline=5)

# Of connections that were kept and have died meanwhile libcurl tries up to five others by itself, once: its
# CONN_MAX_RETRIES. What follows goes on new ones. Row 11 of the matrix.
MOST = PATIENT.tries + 5

positions = st.just("before") | st.integers(0, 9000)
lies = st.integers(-9000, 9000).map("{:+d}".format)
errors = st.sampled_from([301, 307, 400, 403, 404, 408, 412, 429, 500, 502, 503, 504])

broken = st.one_of(
    st.builds(lambda at: {"reset": at}, positions),
    st.builds(lambda at: {"drop": at}, positions),
    st.builds(lambda at: {"stall": at}, positions),
    st.builds(lambda at, seconds: {"stall": at, "stall_for": seconds}, positions, st.floats(0, 0.3)),
    st.builds(lambda seconds: {"hangup": seconds}, st.sampled_from([0.0, 0.01])),
    st.builds(lambda rate: {"drip": rate}, st.sampled_from([100.0, 1e6])),
)
said = st.one_of(
    st.builds(lambda status: {"status": status}, errors),
    st.builds(lambda code: {"status": 200, "error": code}, st.sampled_from(["InternalError", "SlowDown", "Odd"])),
    st.just({"status": 200, "body": "<html>Log in</html>"}),
    st.just({"whole": True}),
    st.just({"raw": b"\x16\x03\x01 no HTTP"}),
)
told = st.one_of(
    st.builds(lambda a, b, c: {"Content-Range": f"bytes {{start{a}}}-{{last{b}}}/{{size{c}}}"}, lies, lies, lies),
    st.sampled_from([{"Content-Range": None}, {"ETag": None}, {"ETag": 'W/"a"'}, {"ETag": '"a"'}]),
    st.sampled_from(
        [{"Content-Length": None}, {"Content-Length": ["1", "2"]}, {"Date": None}, {"Connection": "close"}]
    ),
)
framed = st.sampled_from([{}, {"extra": b"HTTP/1.1 200 OK\r\n\r\n"}, {"chunked": 999}, {"http": "1.0"}])


@st.composite
def faults(draw):
    """Draw a fault of which no answer can be mistaken for the truth: a flipped bit, for one, nobody can see."""
    deed = draw(st.one_of(broken, said, st.builds(lambda headers: {"headers": headers}, told)))
    if "status" not in deed and "raw" not in deed:
        deed = {**draw(framed), **deed}
    return Fault(**deed, times=draw(st.none() | st.integers(1, 3)), skip=draw(st.integers(0, 2)))


@st.composite
def ranges(draw):
    start = draw(st.integers(0, SIZE - 1))
    return ByteRange(start, draw(st.integers(start + 1, min(SIZE, start + 9000))))


class Reading(RuleBasedStateMachine):
    """A reader, a network and somebody who replaces the object now and then."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.key = put(self.folder, NAME, VERSIONS[0])
        self.archive = LocalArchive(self.folder).start()
        bucket = f"{self.archive.endpoint}/stpubdata"
        self.hasty, self.patient = (HTTPStore(bucket, policy=policy) for policy in (HASTY, PATIENT))
        self.version = 0
        self.known = {}

    @rule(script=st.lists(faults(), max_size=4))
    def go_wrong(self, script):
        self.archive.faults = script

    @rule(chance=st.floats(0, 0.5), seed=st.integers(0, 99))
    def have_a_bad_day(self, chance, seed):
        self.archive.faults = random_faults(chance, seed=seed)

    @rule()
    def recover(self):
        self.archive.faults = None

    @rule(version=st.integers(0, len(VERSIONS) - 1))
    def replace_the_object(self, version):
        put(self.folder, NAME, VERSIONS[version])
        self.version = version

    @rule(wanted=st.lists(ranges(), min_size=1, max_size=5))
    def read(self, wanted):
        self.check(wanted, self.version, None)

    @rule(wanted=st.lists(ranges(), min_size=1, max_size=3), version=st.integers(0, len(VERSIONS) - 1))
    def read_what_was_seen(self, wanted, version):
        if version in self.known:
            self.check(wanted, version, self.known[version])

    def check(self, wanted, version, etag):
        self.archive.forget()
        harmless = not self.archive.faults
        pieces, error = None, None
        try:
            # Where nothing goes wrong a read must not fail, however busy the machine is.
            pieces = (self.patient if harmless else self.hasty).read(self.key, wanted, etag=etag)
        except HSTCloudError as raised:
            error = raised
        if pieces is None:
            assert error.key == self.key
            assert not harmless or (isinstance(error, ObjectChangedError) and version != self.version), error
        else:
            assert [piece.data for piece in pieces] == [VERSIONS[version][start:stop] for start, stop in wanted]
            if harmless:
                self.known[version] = pieces[0].etag
        assert len(self.archive.requests) <= MOST * len(wanted)

    def teardown(self):
        if hasattr(self, "archive"):
            self.archive.stop()
            shutil.rmtree(self.folder)


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=max(10, settings.default.max_examples // 8), stateful_step_count=12)
if settings.default.max_examples > 1000:  # the profile "soak"
    TestReading.settings = settings.default
    TestReading.pytestmark = pytest.mark.timeout(0)
