"""The page of the documentation, made of the results of a run and of nothing else."""

from __future__ import annotations

from typing import Any

from benchmarks.faults.scripts import FAULTS, SIZE, WANTED

NAME = "explanation/faults.rst"

INTRODUCTION = """\
What becomes of a read when something goes wrong
================================================

Explanation; 5 minutes.

One range of {wanted:,} bytes, of an object of {size:,}, is read by this package and by today's clients, while the same
faults happen to the requests of each.
This page says what came of it: the right bytes, wrong bytes that nobody complained of, or an error, and after how many
GET requests and seconds.
It is written by ``python -m benchmarks.faults --write docs``; ``benchmarks/faults`` holds the program, and
`hst_cloud.testing` what makes the faults.

Every client has the settings that it comes with, and a connection that is warm.
*astropy + s3fs* is a file of ``s3fs`` that is opened, positioned and read, as ``astropy.io.fits.open`` does it.
The server is on the same machine, so seconds are those of time-outs and of waits between tries, and not of a network.
Whoever has not come to an end after {limit:.0f} s is not waited for.

"""

CONCLUSIONS = """
What to take from it
--------------------

- A fault that passes costs a request or two, and as many seconds as an answer or the next byte of it is waited for.
- One that stays is an error of `hst_cloud.errors` that names the object, the bytes, the tries, the time and the
  service's own id of the request; see :doc:`../reference/errors`.
- What an answer says of itself is compared with what was asked, so bytes of another place are never taken for these.
- A flipped bit shows in none of the headers.
  `hst_cloud.download` and ``hst_cloud.open(..., verify=True)`` compare the bytes with the object's MD5 or with the
  file's own sums where there are any, and say which; a range alone cannot be compared with anything.

Versions: {versions}.
"""


def page(results: dict[str, Any]) -> str:
    """Return the page."""
    introduction = INTRODUCTION.format(wanted=WANTED.size, size=SIZE, limit=results["limit"])
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if name != "hst-cloud")
    return introduction + table(results["rows"], results["limit"]) + CONCLUSIONS.format(versions=versions)


def table(rows: dict[str, dict[str, Any]], limit: float) -> str:
    """Return the outcomes as a table, a row for each fault and a column for each way."""
    lines = [["Fault", *rows]]
    lines += [[fault, *(cell(rows[way].get(fault), limit) for way in rows)] for fault in FAULTS]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    rule = " ".join("=" * width for width in widths)
    text = [" ".join(each.ljust(width) for each, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([rule, text[0], rule, *text[1:], rule, ""])


def cell(found: dict[str, Any] | None, limit: float) -> str:
    """Return what came of one read."""
    if found is None:
        return f"no end in {limit:.0f} s"
    outcome = found["outcome"]
    bold = f"**{outcome}**" if outcome.startswith("wrong") else outcome
    return f"{bold}, {found['gets']} GET{'s' if found['gets'] != 1 else ''}, {found['seconds']:.1f} s"
