"""The registry of instruments: complete, without contradictions, and true to what services list."""

from __future__ import annotations

import json

import pytest

from hst_cloud.archive.instruments import INSTRUMENTS, LETTERS, instrument_of, suffixes_of
from hst_cloud.archive.names import parse_filename


def test_the_five_instruments_are_there():
    """ACS, COS, STIS, WFC3 and FGS, whose letters nobody else has."""
    assert list(INSTRUMENTS) == ["ACS", "COS", "STIS", "WFC3", "FGS"]
    letters = [letter for instrument in INSTRUMENTS.values() for letter in instrument.letters]
    assert sorted(letters) == sorted(set(letters)) == sorted("jloief")


@pytest.mark.parametrize(
    ("rootname", "name"),
    [
        ("jbqf03gjq", "ACS"),
        ("LDFD01010", "COS"),
        ("o6au01msq", "STIS"),
        ("ibxy07p9q", "WFC3"),
        ("f05i0201m", "FGS"),
        ("e05i0201m", "FGS"),
        ("u9o40504m", "WFPC2"),
        ("z14z0104t", "GHRS"),
        ("q0", ""),
        ("", ""),
    ],
)
def test_first_letter_tells_the_instrument(rootname, name):
    """As in table 2.1 of the HST Data Handbook."""
    assert instrument_of(rootname) == name


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_vocabulary_names_each_suffix_once_and_as_the_grammar_reads_it(name):
    """A suffix of the registry is what parsing a file name gives."""
    instrument = INSTRUMENTS[name]
    names = [suffix.name for suffix in instrument.suffixes]
    assert len(names) == len(set(names))
    for suffix in instrument.suffixes:
        parsed = parse_filename(f"{instrument.letters[0]}bqf03gjq_{suffix.name}.fits")
        assert parsed.suffix == suffix.name
        assert suffix.level in {1, 2, 3}
        assert suffix.meaning


def test_vocabularies_are_joined():
    """Asked for several instruments, each suffix of any; of none in particular, of all; of others, nothing."""
    assert set(suffixes_of(("ACS", "COS"))) == {s.name for n in ("ACS", "COS") for s in INSTRUMENTS[n].suffixes}
    assert set(suffixes_of()) >= {"flc", "x1dsum4", "sx1", "ima", "a1f", "log"}
    assert suffixes_of(("WFPC2",)) == {}
    assert "crj" not in suffixes_of(("COS", "WFPC2"))


def test_suffixes_of_recorded_products_are_known(shared_data):
    """Every pipeline product of COS and WFC3 in recorded lists has a suffix of the vocabulary, or is a picture."""
    seen = set()
    for recorded in ("hstnb_cos_products_partial.json", "tike_phat_products_head_tail.json"):
        rows = json.loads((shared_data / "mast" / "notebooks" / recorded).read_text())["data"]
        for row in rows:
            name = parse_filename(row["productFilename"])
            if name.collection == "CAL" and not name.filename.endswith(("jpg", "png")):
                assert name.suffix in suffixes_of((LETTERS[name.rootname[0]],)), row
                seen.add(name.suffix)
    assert seen >= {"x1dsum1", "asn", "log", "jit"}
