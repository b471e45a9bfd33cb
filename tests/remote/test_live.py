"""Ask the live services whether they still are as this package assumes: what ``hst-cloud doctor`` asks, as tests."""

from __future__ import annotations

import pytest

from hst_cloud.doctor import ASSUMPTIONS, check, report

pytestmark = pytest.mark.remote


@pytest.fixture(scope="module")
def findings():
    """Ask once for all tests, within a minute or so."""
    return {finding.name: finding for finding in check()}


@pytest.mark.parametrize("name", [one.name for one in ASSUMPTIONS])
def test_assumption_holds(findings, name):
    """The assumption holds from here; where it could not be asked, the test is skipped and says why."""
    finding = findings[name]
    if finding.status == "unknown":
        pytest.skip(finding.found)
    assert finding.status == "holds", report([finding])
