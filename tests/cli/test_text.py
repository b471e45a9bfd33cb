"""What a person sees fits the terminal, counts honestly, and holds nothing that a terminal would obey."""

import unicodedata

import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.bars import human_size
from hst_cloud.cli.text import plain, render


@given(st.text())
def test_plain_has_no_control_characters(text):
    """Escape sequences, line breaks and marks that turn the direction of writing become blanks."""
    found = plain(text)
    assert len(found) == len(text)
    assert not any(unicodedata.category(c).startswith("C") for c in found)
    assert len(found.splitlines()) <= 1


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (168_300_000, "168 MB"), (999_600, "1.0 MB"), (2.5e12, "2.5 TB")],
)  # fmt: skip
def test_sizes(size, text):
    """Powers of ten, with two or three digits."""
    assert human_size(size) == text


def observations(rows=3):
    return Table(
        {
            "obs_id": [f"jbqf{i:02}gjq" for i in range(rows)],
            "filters": MaskedColumn([""] * rows),
            "t_min": [60310.25] * rows,
            "t_exptime": MaskedColumn([360.0] * rows, mask=[True] + [False] * (rows - 1)),
            "obs_title": ["A long title of a program about a spiral galaxy"] * rows,
            "obsid": ["1"] * rows,
        }
    )


NAMES = ("obs_id", "filters", "t_exptime", "t_min", "obs_title", "obsid", "absent")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_table_fits_the_terminal(width):
    """No line is longer than the terminal is wide; what is left out is counted."""
    lines = render(observations(), NAMES, width=width).splitlines()
    assert all(len(line) <= width for line in lines[:-1])
    assert lines[0].startswith("obs_id")
    assert lines[-1].startswith("3 rows; ")


def test_cells_are_for_a_person():
    """Dates are dates, masked cells are empty, and columns without a value are left out."""
    lines = render(observations(), NAMES, width=200).splitlines()
    assert lines[0].split() == ["obs_id", "t_exptime", "t_min", "obs_title", "obsid"]
    assert "2024-01-01 06:00" in lines[2]
    assert "360" not in lines[2]
    assert "360" in lines[3]


def test_hostile_text_is_shown_harmless():
    """A target's name cannot clear the screen or break the table's lines."""
    table = Table({"obs_id": ["a\x1b[2J\nb"]})
    assert render(table, ("obs_id",), width=80).splitlines()[2] == "a [2J b"


def test_rows_that_are_not_shown_are_counted():
    """A table that is cut says so."""
    text = render(observations(1200), NAMES, width=80, rows=50)
    assert len(text.splitlines()) == 53
    assert "1,200 rows, the first 50 shown (--rows 0 shows all)" in text


def test_an_empty_table_has_its_names():
    """No rows are 0 rows."""
    assert "0 rows" in render(observations(0), NAMES, width=80)
