"""The command line ``hst-cloud``: it uses the public verbs, and no module but `commands` and `get` knows click."""

from hst_cloud.cli.commands import EXIT_CODES, cli, main
from hst_cloud.cli.get import get

__all__ = ["EXIT_CODES", "cli", "main"]

cli.add_command(get)
