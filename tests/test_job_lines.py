"""The jobs that are to be short: the first example of each page does one, in no more lines than it may take."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

HOWTO = Path(__file__).resolve().parent.parent / "docs" / "howto"

JOBS = [
    ("open.rst", "hdul = ", 1),
    ("keywords.rst", "files = ", 2),
    ("cutouts.rst", "files = ", 3),
    ("staging.rst", "files = ", 2),
    ("mosaics.rst", "files = ", 3),
    ("spectra.rst", "exposures = ", 3),
    ("photometry.rst", "files = ", 4),
    ("staging.rst", "pairs = ", 3),
    ("epochs.rst", "center = ", 4),
    ("batch.rst", "files = ", 4),
]
"""Page, how the first line of the job begins, and the most lines that it may have."""


@pytest.mark.parametrize(("page", "first", "most"), JOBS)
def test_jobs_are_short(page, first, most):
    """Statements that follow one another without a word between, up to what only shows; `tests/test_docs.py` runs them."""
    text = (HOWTO / page).read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_examples(text)
    start = next(number for number, example in enumerate(examples) if example.source.startswith(first))
    job = [examples[start]]
    for example in examples[start + 1 :]:
        if example.lineno != job[-1].lineno + 1 or not re.match(r"(\w+ = |with |\w+\.update)", example.source):
            break
        job.append(example)
    lines = [line for example in job for line in example.source.splitlines()]
    assert len(lines) <= most
    assert all(len(line) <= 120 for line in lines)
