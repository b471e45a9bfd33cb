"""The command line ``hst-cloud``: it uses the public verbs; `program` and the modules of commands alone know click."""

from hst_cloud.cli import commands as commands
from hst_cloud.cli import costs as costs
from hst_cloud.cli import get as get
from hst_cloud.cli import reading as reading  # the modules register their commands
from hst_cloud.cli.program import EXIT_CODES, cli, main

__all__ = ["EXIT_CODES", "cli", "main"]
