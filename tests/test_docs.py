"""What the documentation says is run: the README's code and its output, and every example of pages and docstrings."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import hst_cloud as hst
from benchmarks import cutout
from hst_cloud import errors, settings
from hst_cloud.archive.instruments import INSTRUMENTS
from hst_cloud.cost.prices import price_list
from hst_cloud.testing import LocalArchive, make_demo_archive

ROOT = Path(__file__).resolve().parent.parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

PAGES = sorted(path for path in (ROOT / "docs").rglob("*.rst") if ">>>" in path.read_text(encoding="utf-8"))
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(hst.__path__, "hst_cloud.")
    if not name.endswith(("__main__", "_version"))
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Return the folder of a small demonstration archive."""
    return make_demo_archive(tmp_path_factory.mktemp("archive"), scale=64)


# What a person's shell finds as hst-cloud, here in any environment.
PROGRAM = f'hst-cloud() {{ "{sys.executable}" -m hst_cloud.cli "$@"; }}; '


def commands(text):
    """Return the commands of this package on a page, each a line that a shell runs."""
    lines = [line for block in blocks(text, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ hst-cloud ")]


def blocks(text, language):
    """Return the code blocks of a page that are in a language."""
    pattern = rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)"
    return [textwrap.dedent(block) for block in re.findall(pattern, text, re.MULTILINE)]


def test_the_readme_says_what_its_code_prints(tmp_path, monkeypatch):
    """The eight lines on the first screen run as they stand, and print what stands below them."""
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    code, printed = blocks(text, "python")[0], blocks(text, "text")[0]
    assert len([line for line in code.splitlines() if line.strip()]) == 8
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "README.rst", "exec"), {})
    assert said.getvalue().strip() == printed.strip()


def test_the_readme_begins_with_the_two_commands():
    """The first screen gives one sentence, the two commands, the installation, and code."""
    screen = (ROOT / "README.rst").read_text(encoding="utf-8").splitlines()[:36]
    order = ["make demo", "make test", "pip install hst-cloud", "import hst_cloud as hst", "ELECTRONS/S"]
    found = [next(i for i, line in enumerate(screen) if words in line) for words in order]
    assert found == sorted(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_tell_the_truth(page, archive, tmp_path, monkeypatch):
    """Every example on a page gives what the page says, against the demonstration archive; commands run before them."""
    text = page.read_text(encoding="utf-8")
    for verb, extra in (("spectra", "specutils"), ("mosaic", "reproject"), ("photometry", "photutils")):
        if f"hst.{verb}(" in text:
            pytest.importorskip(extra)
    if "hst.plots." in text:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(text, {"hst": hst}, page.name, str(page), 0)
    runner, report = doctest.DocTestRunner(optionflags=FLAGS), []
    with LocalArchive(archive):
        for line in commands(text):
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", PROGRAM + line], capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), line
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_code_on_howto_pages_is_run():
    """No page of recipes holds Python that the test above does not see."""
    pages = [path for path in (ROOT / "docs" / "howto").glob("*.rst") if path.name != "index.rst"]
    assert {path.name for path in pages if blocks(path.read_text(encoding="utf-8"), "python")} == set()
    assert [path.name for path in pages if ">>>" not in path.read_text(encoding="utf-8")] == []


def run(text):
    """Return the lines of the examples in a text that are run."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith((">>>", "...")) and not re.search(r"\+(SKIP|REMOTE_DATA)", line)]


@pytest.mark.parametrize("module", ["hst", "hst.plots", "hst.testing"])
def test_every_public_function_has_an_example_that_runs(module):
    """Each is used in its own docstring or on a page, in a line that one of the tests here runs."""
    public = {"hst": hst, "hst.plots": hst.plots, "hst.testing": hst.testing}[module]
    shown = "\n".join(line for page in PAGES for line in run(page.read_text(encoding="utf-8")))
    functions = {name: value for name in public.__all__ if inspect.isfunction(value := getattr(public, name))}
    lacking = [
        name
        for name, function in functions.items()
        if not re.search(rf"\b{module}\.{name}\b", shown)
        and not any(re.search(rf"\b{name}\(", line) for line in run(inspect.getdoc(function)))
    ]
    assert functions
    assert lacking == []


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_tell_the_truth(name, archive, tmp_path, monkeypatch):
    """Every example in a docstring gives what the docstring says, against the demonstration archive."""
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    runner, report = doctest.DocTestRunner(optionflags=FLAGS), []
    with LocalArchive(archive):
        for test in doctest.DocTestFinder().find(module, extraglobs={"hst": hst}):
            runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_every_page_says_what_kind_it_is():
    """A page begins, below its title, with its kind; indexes are told by their folder."""
    kinds = {"tutorials": "Tutorial", "howto": "How-to", "reference": "Reference", "explanation": "Explanation"}
    for folder, kind in [*kinds.items(), ("decisions", "Decision"), ("platform", "(How-to|Reference)")]:
        pages = [path for path in (ROOT / "docs" / folder).glob("*.rst") if path.name != "index.rst"]
        assert pages
        wrong = [path.name for path in pages if not re.search(rf"\n[=*]+\n+\*?{kind}[;.]", path.read_text("utf-8"))]
        assert wrong == []


def test_every_setting_is_in_the_table():
    """The variables that the code names are those that the table of settings explains."""
    named = {
        name
        for path in (ROOT / "hst_cloud").rglob("*.py")
        for name in re.findall(r"HST_CLOUD_[A-Z]+", path.read_text(encoding="utf-8"))
    }
    assert named == set(re.findall(r"^(HST_CLOUD_[A-Z]+)", settings.__doc__, re.MULTILINE))


def test_the_table_of_suffixes_is_made_from_the_code(tmp_path, monkeypatch):
    """The reference shows every suffix of every instrument, and what the code knows of it."""
    pytest.importorskip("numpydoc")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    importlib.import_module("conf").instruments(tmp_path)
    text = (tmp_path / "instruments.inc").read_text(encoding="utf-8")
    for instrument in INSTRUMENTS.values():
        assert f"\n{instrument.name}\n---" in f"\n{text}"
        for suffix in instrument.suffixes:
            assert f"``{suffix.name}``\n     - {suffix.kind}\n     - {suffix.level}\n     - {suffix.meaning}" in text


def test_the_table_of_prices_is_made_from_the_data(tmp_path, monkeypatch):
    """The reference shows every price, its day, its payer and its source."""
    pytest.importorskip("numpydoc")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    importlib.import_module("conf").prices(tmp_path)
    text = (tmp_path / "prices.inc").read_text(encoding="utf-8")
    assert f"As of {price_list().as_of}" in text
    for price in price_list().prices:
        assert (
            f"``{price.name}``\n     - {price.what}\n     - {price.usd:g} for {price.per}\n     - {price.payer}" in text
        )
        assert price.source in text


def test_the_table_of_errors_is_made_from_the_code(tmp_path, monkeypatch):
    """The reference shows every error that is raised, what a stranger catches it by, when it is, and what to do."""
    pytest.importorskip("numpydoc")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    importlib.import_module("conf").errors(tmp_path)
    text = (tmp_path / "errors.inc").read_text(encoding="utf-8")
    named = set(re.findall(r"``(\w+)``(?: \(``\w+``\))?\n     - \S.*\n     - \S", text))
    assert named == set(errors.__all__) - {"HSTCloudError", "ArchiveError", "StoreError", "LocalDiskError"}
    assert "``ObjectNotFoundError`` (``FileNotFoundError``)\n     - The store holds no object of that key." in text


def test_the_columns_of_tables_are_made_by_asking(tmp_path, monkeypatch):
    """The reference shows every column of whatever returns a table, and each says what it means."""
    for extra in ("numpydoc", "photutils"):
        pytest.importorskip(extra)
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    returned = importlib.import_module("returned")
    tables = {name: returned.columns(table) for name, (_, table) in returned.tables().items()}
    returning = {
        name
        for name in hst.__all__
        if inspect.isfunction(value := getattr(hst, name)) and re.search(r"\bQ?Table$", value.__annotations__["return"])
    }
    assert returning - {"table"} == set(tables) | {"parents"}  # of `table`, the columns are the file's own
    assert [(name, column) for name, found in tables.items() for column, *_, meaning in found if not meaning] == []
    assert ("s_ra", "number", "deg", "Right ascension, ICRS") in tables["search"]
    assert ("time", "`~astropy.time.Time`, UTC", "") in [row[:3] for row in tables["photometry"]]
    assert [row[0] for row in tables["epochs"]] == ["epoch", "baseline", "overlap"]


def test_what_the_page_on_reading_says_is_measured(tmp_path):
    """Its table is what reading a file of true size takes, to the request and the kilobyte."""
    pytest.importorskip("matplotlib")
    rows = [(case, summary) for case, summary, _ in cutout.measured(tmp_path)]
    shown = ROOT / "docs" / "explanation" / "reading.inc"
    assert cutout.table(rows) == shown.read_text(encoding="utf-8")
    assert {summary[3] for _, summary in rows} == {"168 MB"}
    assert {f"reading-{name}.png" for name in cutout.PICTURES.values()} == {
        p.name for p in shown.parent.glob("reading-*")
    }


def test_the_makefile_lists_its_targets():
    """Each target that a person calls has its line in what `make` alone prints."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: ([\w-]+)$", text, re.MULTILINE)
    listed = re.findall(r"^([\w-]+):.*## \S", text, re.MULTILINE)
    assert phony == listed
    assert set(listed) >= {"setup", "demo", "test", "lint", "types", "docs", "notebooks", "bench", "resolve", "clean"}
