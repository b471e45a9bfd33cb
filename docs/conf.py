"""Configuration of Sphinx. The reference is made from the code, so that it can't differ from it."""

from __future__ import annotations

import builtins
import re
import sys
from inspect import getdoc
from pathlib import Path

import click

import hst_cloud
from hst_cloud import errors as tree
from hst_cloud.archive.instruments import INSTRUMENTS
from hst_cloud.cli import EXIT_CODES, cli
from hst_cloud.cost.prices import price_list

sys.path.insert(0, str(Path(__file__).parent))  # Sphinx does not
from returned import page as returned

project = "hst_cloud"
author = "The hst_cloud developers"
copyright = author  # noqa: A001 - Sphinx gives the name
version = release = hst_cloud.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "reference/api"]
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections tell the types
numpydoc_show_class_members = False  # autodoc lists them, with the line below each field

html_theme = "alabaster"
html_theme_options = {
    "description": "The public Hubble archive, as if it were a local disk",
    "page_width": "72rem",  # with the size below, most lines of the examples are seen to their end
    "code_font_size": "0.8em",
}
html_show_sourcelink = False


def instruments(folder: Path) -> None:
    """Write the tables of instruments and suffixes below `folder`, one of each instrument."""
    lines: list[str] = []
    for instrument in INSTRUMENTS.values():
        letters = " or ".join(f"``{letter}``" for letter in instrument.letters)
        lines += [instrument.name, "-" * len(instrument.name), ""]
        lines += [f"Detectors {', '.join(instrument.detectors)}; rootnames begin with {letters}.", ""]
        lines += [".. list-table::", "   :header-rows: 1", "   :widths: 16 12 8 64", ""]
        rows = [(f"``{s.name}``", s.kind, str(s.level), s.meaning) for s in instrument.suffixes]
        for row in [("suffix", "holds", "level", "meaning"), *rows]:
            lines += [f"   {'* -' if cell is row[0] else '  -'} {cell}" for cell in row]
        lines.append("")
    write(folder / "instruments.inc", lines)


def commands(folder: Path) -> None:
    """Write below `folder` what each command says when it is asked for help, and the exit codes."""
    lines: list[str] = []
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=f"hst-cloud {name}", max_content_width=96, terminal_width=96)
        lines += [name, "-" * len(name), "", ".. code-block:: none", ""]
        lines += [f"   {line}".rstrip() for line in command.get_help(context).splitlines()] + [""]
    write(folder / "commands.inc", lines)
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 12 88", "", "   * - code", "     - meaning"]
    for code, meaning in EXIT_CODES.items():
        lines += [f"   * - {code}", f"     - {meaning}"]
    write(folder / "exit-codes.inc", [*lines, ""])


def prices(folder: Path) -> None:
    """Write the table of prices below `folder`, with the day that they are of."""
    known = price_list()
    lines = [f"As of {known.as_of}, {known.region}, US dollars.", f"Checked {known.checked}.", ""]
    lines += [".. list-table::", "   :header-rows: 1", "   :widths: 12 38 18 12 20", ""]
    rows = [
        (f"``{p.name}``", p.what, f"{p.usd:g} for {p.per}", p.payer, f"`AWS <{p.source}>`__; seen: {p.seen}")
        for p in known.prices
    ]
    for row in [("name", "for what", "dollars", "who pays", "source"), *rows]:
        lines += [f"   {'* -' if cell is row[0] else '  -'} {cell}" for cell in row]
    write(folder / "prices.inc", [*lines, ""])


def errors(folder: Path) -> None:
    """Write the table of errors below `folder`: what each is for a stranger, when it is raised, and what to do then."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 28 34 38", ""]
    lines += ["   * - error", "     - when", "     - what to do"]
    for name in tree.__all__:
        error = getattr(tree, name)
        doc = getdoc(error)
        if name == "HSTCloudError" or "\n\n" not in doc:
            continue  # a branch of the tree: its leaves are told
        also = next(each.__name__ for each in error.__mro__ if each.__name__ in vars(builtins))
        lines += [f"   * - .. py:exception:: hst_cloud.errors.{name}", "          :no-typesetting:", ""]
        lines += [f"       ``{name}``{'' if also == 'Exception' else f' (``{also}``)'}"]
        lines += [f"     - {' '.join(each.split())}" for each in doc.split("\n\n")]
    write(folder / "errors.inc", [*lines, ""])


def columns(folder: Path) -> None:
    """Write below `folder` the columns of every table that is returned."""
    write(folder / "columns.inc", returned())


def notebooks(folder: Path) -> None:
    """Write below `folder` the title of each notebook, how long it takes, and the question that it begins with."""
    paths = sorted(Path(__file__).parent.parent.glob("notebooks/*.md"), key=lambda path: (path.stem != "tour", path))
    lines: list[str] = []
    for path in paths:
        title, first = re.search(r"^# (.+)\n\n((?:.+\n)+)", path.read_text(encoding="utf-8"), re.MULTILINE).groups()
        lines += [title, "-" * len(title), "", f"``{path.name}``.", *first.replace("`", "``").splitlines(), ""]
    write(folder / "notebooks.inc", lines)


def write(path: Path, lines: list[str]) -> None:
    """Write a file unless it is there already: a newer one would have Sphinx read its page again."""
    path.parent.mkdir(exist_ok=True)
    text = "\n".join(lines)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: object) -> None:
    """Make what the pages include; Sphinx calls this."""
    del app
    made = Path(__file__).parent / "reference" / "api"
    instruments(made)
    commands(made)
    prices(made)
    errors(made)
    columns(made)
    notebooks(made)
