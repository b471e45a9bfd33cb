"""The matrix of faults is whole: every row is on its page, and has a test that bears its number."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = set(range(1, 57))
NAMED = re.compile(r"^(?:async )?def test_\w*?row_(\d+)(?:_(and|to)_(\d+))?", re.MULTILINE)
DEBT: frozenset[int] = frozenset()
"""Rows without a test: to be emptied, never to grow."""


def rows_with_tests():
    """Return the rows that the names of tests give, as ``row_46_and_47`` and ``row_53_to_56`` give several."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for first, word, last in NAMED.findall(path.read_text(encoding="utf-8")):
            span = range(int(first), int(last or first) + 1)
            found |= {int(first), int(last)} if word == "and" else set(span)
    return found


def test_every_row_has_a_test():
    """A row whose last test is renamed or removed is noticed here."""
    assert ROWS - rows_with_tests() <= DEBT


def test_the_page_has_every_row():
    """In order, each once."""
    text = (ROOT / "docs" / "reference" / "faults.rst").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^(\d+) ", text, re.MULTILINE)] == sorted(ROWS)
