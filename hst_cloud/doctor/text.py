"""The findings for a terminal, and the assumptions for the documentation."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from hst_cloud.doctor.values import Assumption, Finding, Place

__all__ = ["document", "report"]

_TITLES: dict[Place, str] = {"here": "This machine", "bucket": "The bucket", "mast": "MAST"}
_MARKS = {"holds": "holds", "fails": "FAILS", "unknown": "unknown"}


def report(findings: Sequence[Finding], *, width: int = 100) -> str:
    """Return the findings as a text of lines: what holds, what does not and what that breaks.

    Parameters
    ----------
    findings : sequence of Finding
        As `hst_cloud.doctor.check` returns them.
    width : int, optional
        Columns of the terminal; a word that is longer, such as a key, is not broken.
    """
    names = max((len(finding.name) for finding in findings), default=0)
    lines: list[str] = []
    for place, group in groupby(findings, key=lambda finding: finding.of):
        lines += [*([""] if lines else []), _TITLES[place]]
        for finding in group:
            lines += _lines(finding, names, width)
    counts = Counter(finding.status for finding in findings)
    return "\n".join([*lines, "", f"{counts['holds']} hold, {counts['fails']} fail, {counts['unknown']} are unknown."])


def _lines(finding: Finding, names: int, width: int) -> list[str]:
    head = f"  {_MARKS[finding.status]:8}{finding.name:{names}}  "
    if finding.status != "fails":
        return _wrapped(head, finding.found, width)
    lines = _wrapped(head, finding.statement, width)
    for word, text in (("found", finding.found), ("breaks", finding.breaks)):
        lines += _wrapped(f"{'':{len(head)}}{word + ':':8}", text, width)
    return lines


def _wrapped(head: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, len(head) + 40),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]


def document(assumptions: Sequence[Assumption]) -> str:
    """Return the assumptions in reStructuredText: what stands in ``docs/explanation/assumptions.rst``."""
    lines: list[str] = []
    for place, group in groupby(assumptions, key=lambda one: one.of):
        title = _TITLES[place]
        lines += [title, "-" * len(title), ""]
        for one in group:
            lines += [f"``{one.name}``", *_indented(one.statement), "", *_indented(f"Breaks: {one.breaks}")]
            if one.after:
                lines += ["", *_indented("Asked after " + ", ".join(f"``{name}``" for name in one.after) + ".")]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _indented(text: str) -> list[str]:
    return ["   " + text.replace("*", "\\*")]
