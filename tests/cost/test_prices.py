"""Prices: dated data with sources, and what follows from them for a reader."""

from __future__ import annotations

from datetime import date

import pytest

from hst_cloud.cost.prices import PATHS, Tariff, price_list, rates

GB = 10**9


def test_prices_are_dated_and_sourced():
    """Every line says of what, who pays, where AWS publishes it, and where and when it was seen."""
    known = price_list()
    assert date(2026, 11, 1) <= date.fromisoformat(known.as_of)
    assert known.region == "us-east-1"
    assert "not against AWS's own" in known.checked
    assert len({price.name for price in known.prices}) == len(known.prices)
    for price in known.prices:
        assert price.source.startswith("https://aws.amazon.com/")
        assert "2026" in price.seen
        assert price.payer in {"owner", "reader"}
        assert price.usd >= 0
        assert price.units in {1000, GB, 3600}
    with pytest.raises(LookupError, match="'gold', but get"):
        known.rate("gold")


def test_the_public_bucket_costs_its_reader_nothing_but_a_gateway():
    """In the region and elsewhere S3's bill is the owner's; a NAT gateway is the reader's, unless she has none."""
    for path in PATHS:
        for nat in (None, True, False):
            cost = rates("owner", path, nat=nat)
            gateway = 0.045 if path != "internet" else 0
            assert cost.reader.usd(1000, GB) == pytest.approx(gateway if nat else 0)
            assert cost.most.usd(1000, GB) == pytest.approx(0 if nat is False else gateway)
    owner = [rates("owner", path, nat=None).owner.usd(1000, GB) for path in PATHS]
    assert owner == pytest.approx([0.0004, 0.0204, 0.0904])


def test_where_the_requester_pays_all_of_it_is_the_readers():
    """Nothing is left for the owner."""
    for path, bill in zip(PATHS, (0.0004, 0.0204, 0.0904), strict=True):
        cost = rates("reader", path, nat=False)
        assert cost.reader == cost.most
        assert cost.most.usd(1000, GB) == pytest.approx(bill)
        assert cost.owner == Tariff()


@pytest.mark.parametrize("payer", ["owner", "reader", "other", "nobody"])
@pytest.mark.parametrize("nat", [None, True, False])
def test_an_unknown_path_costs_as_much_as_the_dearest(payer, nat):
    """What is not known is never told too low."""
    unknown = rates(payer, None, nat=nat)
    for path in PATHS:
        cost = rates(payer, path, nat=nat)
        assert cost.reader.byte <= cost.most.byte <= unknown.most.byte
        assert cost.owner.byte <= unknown.owner.byte
        assert unknown.reader.byte <= cost.reader.byte
    if payer == "nobody":
        assert unknown.most == unknown.owner == Tariff()
