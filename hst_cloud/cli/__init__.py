"""The command line ``hst-cloud``: it uses the public verbs, and no modules but `commands` and `costs` know click."""

from hst_cloud.cli import costs as costs  # registers its commands
from hst_cloud.cli.commands import EXIT_CODES, cli, main

__all__ = ["EXIT_CODES", "cli", "main"]
