"""The soak in short: ``make soak`` reads 100,000 ranges in the same way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_thousand_reads_over_a_line_on_which_everything_goes_wrong():
    """Not one wrong byte, and no thread or socket left; whatever is no success is an error of ours."""
    program = Path(__file__).resolve().parents[1] / "soak.py"
    done = subprocess.run(
        [sys.executable, program, "1000", "--seed", "7"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 wrong bytes in 0 reads\n" in done.stdout
    assert "\nleft of threads and descriptors: none\n" in done.stdout
