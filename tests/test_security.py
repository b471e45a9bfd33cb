"""SECURITY.md proves what it claims: every test and row that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

from faults.test_matrix import DEBT, rows_with_tests

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_claim_names_a_test_that_is_there():
    """By its name."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert named
    assert {name for name in named if f"def {name}(" not in code} == set()


def test_every_row_that_is_named_has_tests():
    """By its number, alone or from the first to the last."""
    named = set()
    for numbers in re.findall(r"rows?\s+((?:\d+(?:,\s+|\s+and\s+|\s+to\s+)?)+)", TEXT):
        for first, last in re.findall(r"(\d+)(?:\s+to\s+(\d+))?", numbers):
            named |= set(range(int(first), int(last or first) + 1))
    assert {9, 10, 24, 38, 47, 53} <= named
    assert named - rows_with_tests() <= DEBT


def test_every_claim_has_proof():
    """A paragraph about what holds names a row or a test."""
    holds = TEXT.split("## What holds")[1].split("## What does not")[0]
    paragraphs = holds.split("\n\n**")[1:]
    assert [each.partition("**")[0] for each in paragraphs if not re.search(r"\brows? \d|`test_", each)] == []
