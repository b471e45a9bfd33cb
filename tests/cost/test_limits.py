"""Limits as people write them, and amounts as people read them."""

from __future__ import annotations

import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.cost.limits import Limits, Spent, amount, as_limits, ceilings, dollars
from hst_cloud.errors import QueryError


@pytest.mark.parametrize(
    ("text", "size"),
    [("20 GB", 20 * 10**9), ("64 MiB", 64 * 2**20), ("1.5kB", 1500), ("7", 7), ("1e3 B", 1000), (".5 TB", 5 * 10**11)],
)
def test_sizes_are_numbers_or_texts(text, size):
    """Powers of ten, and of two where the unit says so."""
    assert as_limits(bytes=text) == Limits(bytes=size)
    assert as_limits(bytes=size) == Limits(bytes=size)


def test_times_are_seconds_or_quantities():
    """A bare number is seconds; anything else says its unit."""
    for seconds in (90, "90", "1.5 min", 1.5 * u.min):
        assert as_limits(seconds=seconds).seconds == 90


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"bytes": "20 parsec"}, "bytes='20 parsec'.*'64 MiB'"),
        ({"bytes": -1}, "bytes=-1 .*a whole number, not negative"),
        ({"bytes": "1e999"}, "bytes='1e999'"),
        ({"requests": 1.5}, "requests=1.5.*a whole number"),
        ({"requests": True}, "requests=True"),
        ({"usd": float("nan")}, "usd=nan"),
        ({"usd": "much"}, "usd='much'.*dollars"),
        ({"seconds": "3 m"}, "seconds='3 m'.*'10 min'"),
        ({"seconds": float("inf")}, "seconds=inf"),
    ],
)
def test_what_is_no_limit_is_refused(limits, text):
    """The error says which limit, what was found, and what is expected."""
    with pytest.raises(QueryError, match=text):
        as_limits(**limits)


def test_an_installation_sets_ceilings(monkeypatch):
    """HST_CLOUD_BUDGET holds what budget() takes, in one line."""
    assert ceilings() == Limits()
    monkeypatch.setenv("HST_CLOUD_BUDGET", "requests=50000, bytes=20 GB; usd=1.50,seconds=1 h,")
    assert ceilings() == Limits(requests=50_000, bytes=20 * 10**9, usd=1.5, seconds=3600)
    assert str(ceilings()) == "50,000 requests, 20 GB, USD 1.50, 3,600 s"


@pytest.mark.parametrize("text", ["20 GB", "byte=3", "bytes=", "bytes=1,bytes=2", "bytes=x"])
def test_a_ceiling_that_makes_no_sense_is_told(monkeypatch, text):
    """A misspelled ceiling must not be no ceiling."""
    monkeypatch.setenv("HST_CLOUD_BUDGET", text)
    with pytest.raises(QueryError, match=r"bytes"):
        ceilings()


@given(st.text(max_size=40))
def test_any_text_is_limits_or_a_query_error(text):
    """Nothing else comes out, whatever goes in."""
    for name in ("requests", "bytes", "usd", "seconds"):
        try:
            value = getattr(as_limits(**{name: text}), name)
        except QueryError:
            continue
        assert value >= 0


@given(st.floats(0, 1e15))
def test_amounts_have_three_digits(size):
    """What a person reads of bytes is within a percent of them."""
    number, unit = amount("bytes", size).replace(",", "").split()
    power = {"bytes": 0, "kB": 3, "MB": 6, "GB": 9, "TB": 12}[unit]
    assert float(number) * 10**power == pytest.approx(size, rel=0.006, abs=0.5)


def test_amounts_are_read_by_people():
    """Cents where there are any, and no more digits than tell something."""
    assert [dollars(value) for value in (0, 0.045, 0.5, 1234.5, 0.00012, 2.4e-6, 1e-9)] == [
        "USD 0.00", "USD 0.045", "USD 0.50", "USD 1,234.50", "USD 0.00012", "USD 0.0000024",
        "< USD 0.000001",
    ]  # fmt: skip
    assert str(Spent(requests=1, bytes=168_000_000, seconds=3.14159)) == "1 request, 168 MB, USD 0.00, 3.14 s"
    assert str(Limits()) == "no limit"
