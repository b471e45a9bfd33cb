"""The command line ``hst-cloud``: it uses the public verbs, and no module but `commands` knows click."""

from hst_cloud.cli.commands import EXIT_CODES, cli, main

__all__ = ["EXIT_CODES", "cli", "main"]
