"""What one command writes is what the next one reads, whatever stands in the cells."""

import json
import math

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.cli.tables import criteria_of, read_table, records, rows_of, span_of, table_of, words_of, write
from hst_cloud.errors import FormatError, QueryError

# Zeros at the end of a text are fill to numpy.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(lambda text: text.rstrip("\0"))
CELLS = {
    "text": TEXTS,
    "whole": st.integers(-(2**53), 2**53),
    "real": st.floats(allow_nan=False, allow_infinity=False),
    "truth": st.booleans(),
}


def written(table, form):
    pieces = []
    write(table, form, pieces.append)
    return "".join(pieces)


@given(st.data(), st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4), st.integers(1, 5))
def test_json_lines_come_back_as_they_were(data, kinds, length):
    """Numbers, truths, texts with any character, and nulls survive; only a column of nulls has no type to keep."""
    cells = [st.none() | CELLS[kind] for kind in kinds]
    rows = [{f"c{i}": data.draw(cell) for i, cell in enumerate(cells)} for _ in range(length)]
    assert list(records(read_table(written(table_of(rows), "jsonl")))) == rows


@given(
    st.lists(
        st.tuples(TEXTS.map(lambda t: t.replace("\0", "").replace("\r", "")), st.integers() | st.none()), min_size=1
    )
)
def test_csv_comes_back_as_text(rows):
    """CSV keeps every text, line breaks and quotes too; a null is an empty cell."""
    table = table_of([{"obs_id": text, "size": None if size is None else size % 10**15} for text, size in rows])
    found = read_table(written(table, "csv"))
    assert list(found["obs_id"]) == [text for text, _ in rows]
    assert list(found["size"]) == ["" if size is None else str(size % 10**15) for _, size in rows]


def test_ecsv_keeps_units_and_meta():
    """ECSV carries what the other forms leave behind."""
    table = Table({"obs_id": ["j8xi01010"], "t_exptime": [360.0] * u.s}, meta={"criteria": {"a": 1}})
    found = read_table(written(table, "ecsv"))
    assert found["t_exptime"].unit == u.s
    assert found.meta["criteria"] == {"a": 1}


def test_masked_and_nan_become_null():
    """JSON has no NaN, and a masked number is no number."""
    table = Table({"a": MaskedColumn([1, 2], mask=[False, True]), "b": [np.nan, math.inf], "c": [b"x", b"y"]})
    assert [json.loads(line) for line in written(table, "jsonl").splitlines()] == [
        {"a": 1, "b": None, "c": "x"},
        {"a": None, "b": None, "c": "y"},
    ]


def test_control_characters_are_escaped_in_json():
    """What a server wrote cannot reach a terminal as a command through JSON lines."""
    assert "\x1b" not in written(Table({"target_name": ["M51\x1b[2J\x9b"]}), "jsonl")


def test_names_one_a_line_are_read():
    """A list of names that somebody typed is accepted too, and blank lines do not count."""
    assert read_table("jbqf03gjq_flc.fits\n\n mast:HST/product/x_raw.fits \n") == [
        "jbqf03gjq_flc.fits",
        "mast:HST/product/x_raw.fits",
    ]


@pytest.mark.parametrize("text", ["", " \n\n", "\ufeff"])
def test_nothing_is_an_empty_list(text):
    """A former command that found nothing leaves nothing."""
    assert read_table(text) == []


def test_csv_of_a_spreadsheet_is_read():
    """A byte order mark, Windows' line ends and quoted names do not matter."""
    assert list(read_table('\ufeff"productFilename",size\r\na_raw.fits,3\r\n')["productFilename"]) == ["a_raw.fits"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"obs_id": "a"}\nplain', "line 2 of the input is no JSON"),
        ('{"obs_id": "a"}\n[1]', "line 2 of the input is no JSON object"),
        ("obs_id,size\na,1\nb", "line 3 of the input has 1 values: expected 2"),
        ("# %ECSV 1.0\n# ---\nobs_id\n", "begins as ECSV and cannot be read"),
    ],
)
def test_a_broken_line_is_named(text, says):
    """The message tells the line and what was expected there."""
    with pytest.raises(FormatError, match=says):
        read_table(text)


def test_words_are_repeated_or_separated_by_commas():
    """An option may be given either way; not at all is None."""
    assert words_of(["ACS, WFC3", "COS"]) == ["ACS", "WFC3", "COS"]
    assert words_of([]) is None
    assert words_of([","]) is None


@pytest.mark.parametrize(
    ("text", "span"), [("100..500", (100, 500)), ("1e2..", (100, None)), ("..5.5", (None, 5.5)), ("-5..-1", (-5, -1))]
)
def test_ranges(text, span):
    """One end of a range may be open."""
    assert span_of(text) == span


@pytest.mark.parametrize("text", ["", "..", "5", "a..b", "1..2..3"])
def test_no_range(text):
    """What is no range is quoted in the message."""
    with pytest.raises(QueryError, match=r"is no range; give one such as 100\.\.500"):
        span_of(text)


def test_criteria():
    """A column has words, or a range."""
    assert criteria_of(["proposal_pi=Riess*", "sequence_number=1", "sequence_number=2", "em_min=1..2"]) == {
        "proposal_pi": ["Riess*"],
        "sequence_number": ["1", "2"],
        "em_min": (1.0, 2.0),
    }
    assert criteria_of([]) is None


@pytest.mark.parametrize("texts", [["a"], ["=1"], ["a="], ["a=1", "a=1..2"], ["a=1..2", "a=1"], ["a=1..2", "a=1..3"]])
def test_criteria_that_make_no_sense(texts):
    """They are refused before anything is sent."""
    with pytest.raises(QueryError, match=r"a is given a range|is no condition"):
        criteria_of(texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50", (50, None)),
        ("0", (0, None)),
        ("0:1000", (0, slice(0, 1000))),
        ("5:", (0, slice(5, None))),
        (" :-2 ", (0, slice(None, -2))),
        (":", (0, slice(None, None))),
    ],
)
def test_rows_are_a_number_or_a_range(text, expected):
    """A number is how many are shown; a range is what is read, and all of that is shown."""
    assert rows_of(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1.5", "a:b", "1:2:3", "1-2"])
def test_other_rows_are_named(text):
    """What is neither is told, with an example."""
    with pytest.raises(QueryError, match=r"names no rows; give a number, or a range such as 0:1000"):
        rows_of(text)


def test_arrays_are_lists():
    """JSON has a list for them, with null for what is not finite; in CSV, that stands in the cell."""
    table = Table({"flux": np.array([[1.5, np.nan], [np.inf, 2.0]]), "n": [1, 2]})
    assert [json.loads(line) for line in written(table, "jsonl").splitlines()] == [
        {"flux": [1.5, None], "n": 1},
        {"flux": [None, 2.0], "n": 2},
    ]
    assert written(table, "csv").splitlines() == ["flux,n", '"[1.5, null]",1', '"[null, 2.0]",2']
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.arange(2), np.arange(0)]
    assert [row["v"] for row in records(Table({"v": ragged}))] == [[0, 1], []]
