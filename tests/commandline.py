"""Running the program: in this process, or in a shell with real pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

from click.testing import CliRunner

from hst_cloud.cli import main


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]


def run(*arguments, stdin=""):
    """Run the program in this process."""
    with CliRunner().isolation(input=stdin) as (out, err, _):
        try:
            main(arguments)
        except SystemExit as left:
            sys.stdout.flush()
            sys.stderr.flush()
            return Result(left.code, out.getvalue().decode(), err.getvalue().decode())


def shell(text, archive, *, extra=()):
    """Run a line of the shell with real pipes; the exit codes of all its commands come last."""
    env = os.environ | {"HST_CLOUD_ENDPOINT": archive.endpoint} | dict(extra)
    program = f'"{sys.executable}" -m hst_cloud.cli'
    line = text.replace("hst-cloud", program) + '; echo "${PIPESTATUS[@]}"'
    return subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=False)
