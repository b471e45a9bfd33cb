"""One lock holds for everything that is delivered, and the check of an environment sees what differs from it."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "deploy" / "environment"


def script(path):
    """Import a script by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check = script(ENVIRONMENT / "check.py")


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    """Let kernels neither read nor write the home folder, and what a check takes out of the environment be there again."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("MPLBACKEND", "agg")


def lock(name):
    return (ENVIRONMENT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["full.txt", "minimal.txt", "test.txt"])
def test_every_pin_has_hashes_and_no_host(name):
    """A lock names versions and hashes of files, and nothing of the machine or registry that made it."""
    entries = re.split(r"^(?=[a-z0-9])", lock(name), flags=re.MULTILINE)[1:]
    assert len(entries) == len(check.pins(lock(name))) > 10
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert not re.search(r"://|--index|--find-links|^#.*/", lock(name), re.MULTILINE)


def test_the_sets_agree():
    """What is in the minimal set is in the full one in the same version; the tests' needs come on top of it."""
    full = check.pins(lock("full.txt"))
    assert check.pins(lock("minimal.txt")).items() <= full.items()
    assert not check.pins(lock("test.txt")).keys() & full.keys()


@pytest.mark.parametrize("name", ["full", "minimal"])
def test_what_is_asked_for_is_locked(name):
    """Each requirement has its pin."""
    wanted = check.requested((ENVIRONMENT / f"{name}.in").read_text(encoding="utf-8"))
    assert len(wanted) > 3
    assert [each for each in wanted if each not in check.pins(lock(f"{name}.txt"))] == []


def test_what_the_library_asks_for_is_locked():
    """Each dependency and each extra of pyproject.toml has a pin that it admits; where not, `make lock` is due."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [
        Requirement(text) for text in sum((extras[name] for name in extras if name != "all"), project["dependencies"])
    ]
    pinned = check.pins(lock("full.txt"))
    assert [each for each in map(str, wanted) if pinned.get(Requirement(each).name) is None] == []
    assert [str(each) for each in wanted if pinned[each.name] not in each.specifier] == []


def test_a_version_that_differs_is_named():
    """Another version, and none, are told with the one that is locked."""
    found = check.differences({"pytest": "0.1", "no-such-thing": "1.0"})
    assert re.fullmatch(r"pytest: 0\.1 is locked, [1-9]\S* is installed", found[0])
    assert found[1:] == ["no-such-thing: 1.0 is locked, nothing is installed"]


def test_the_check_ends_at_a_difference(tmp_path):
    """A lock that the environment does not match ends the check with what differs."""
    (tmp_path / "lock.txt").write_text("no-such-thing==1.0\n")
    with pytest.raises(SystemExit, match=r"no-such-thing: 1\.0 is locked"):
        check.main(["versions", str(tmp_path / "lock.txt")])
    with pytest.raises(SystemExit, match="versions LOCK"):
        check.main(["something else"])


def test_versions_and_imports_are_told(tmp_path, capsys):
    """Each thing that was asked for is imported, and its version told."""
    (tmp_path / "lock.txt").write_text("")
    (tmp_path / "some.in").write_text("-r other.in\njupytext>=1  # a reason\n")
    check.main(["versions", str(tmp_path / "lock.txt"), str(tmp_path / "some.in")])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["hst-cloud", "jupytext"]


def notebook(tmp_path, *sources):
    nbformat = pytest.importorskip("nbformat")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "some.ipynb")


def test_a_notebook_that_fails_fails_the_check(tmp_path):
    """An error in a cell ends the check; a folder without notebooks does too."""
    pytest.importorskip("nbclient")
    with pytest.raises(SystemExit, match="no notebook"):
        check.main(["notebooks", str(tmp_path)])
    notebook(tmp_path, "1 / 0")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        check.main(["notebooks", str(tmp_path)])


def test_notebooks_below_a_folder_are_run_too(tmp_path, capsys):
    """The home's own and those in its folders are run."""
    pytest.importorskip("nbclient")
    (tmp_path / "below").mkdir()
    notebook(tmp_path, "1 + 1")
    notebook(tmp_path / "below", "1 + 1")
    check.main(["notebooks", str(tmp_path)])
    assert capsys.readouterr().out.count("some.ipynb") == 2


def test_a_notebook_that_is_named_shows_what_it_prints(tmp_path, capsys):
    """Of all of them only the figures and the seconds are told."""
    pytest.importorskip("nbclient")
    notebook(tmp_path, "print(6 * 7)")
    check.main(["notebooks", str(tmp_path)])
    assert "42" not in capsys.readouterr().out.splitlines()
    check.main(["notebooks", str(tmp_path), "some.ipynb"])
    assert "42" in capsys.readouterr().out.splitlines()


def test_the_minimal_set_has_what_the_notebooks_import():
    """Each notebook runs in either set: what its cells import is in the smaller one."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.md"))
    cells = "\n".join(re.findall(r"^```\{code-cell\}.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    names = set(re.findall(r"^ *(?:import|from) (\w+)", cells, re.MULTILINE)) - set(sys.stdlib_module_names)
    assert {"hst_cloud", "numpy", "dask", "photutils"} <= names
    assert names - {"hst_cloud"} - check.pins(lock("minimal.txt")).keys() == set()


def test_the_home_has_every_notebook_in_order(tmp_path):
    """The README lists all notebooks, the tour first, and each of them lies beside it."""
    pytest.importorskip("jupytext")
    fill = script(ROOT / "deploy" / "home" / "fill.py")
    fill.fill(tmp_path, ROOT / "notebooks")
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    listed = [
        each for each, _ in re.findall(r"^\d+\. \[.+\]\(notebooks/(\w+)\.ipynb\)( \(.+; .+\))?$", readme, re.MULTILINE)
    ]
    assert listed[:2] == ["tour", "bulk"]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.md"))
    assert {path.stem for path in (tmp_path / "notebooks").iterdir()} == set(listed)
    assert (tmp_path / "start.ipynb").exists()


def test_lab_begins_with_the_readme():
    """Alone, where Lab's own setting holds, and below a hub, where the server's does."""
    settings = json.loads((ROOT / "deploy" / "home" / "jupyter_server_config.json").read_text(encoding="utf-8"))
    assert {settings[app]["default_url"] for app in ("LabApp", "ServerApp")} == {"/lab/tree/README.md"}


def test_the_first_cell_tells_where_and_what_it_costs(tmp_path, monkeypatch, capsys):
    """The start page's first cell tells the region, what the tutorials read, and the price of an hour of the machine."""
    jupytext = pytest.importorskip("jupytext")
    monkeypatch.setenv("HST_CLOUD_REGION", "us-east-1")
    source = jupytext.read(ROOT / "deploy" / "home" / "start.md", fmt="md:myst")
    first = next(cell.source for cell in source.cells if cell.cell_type == "code")
    exec(compile(first, "start.md", "exec"), {})
    said = capsys.readouterr().out
    assert re.search(r"in the bucket's region \(us-east-1\): yes", said)
    assert "the machine  about USD 0.03 for a quarter of an hour, USD 0.11 an hour" in said
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.md"))
    read = re.findall(r"^On the real archive about ([\d.]+) ([MG]B)", text, re.MULTILINE)
    least, *_, most = sorted(read, key=lambda amount: float(amount[0]) * (1000 if amount[1] == "GB" else 1))
    assert f"USD 0.00 for the {' '.join(least)} to {' '.join(most)} of a tutorial" in said
    assert "through NAT  at most USD 0.09, if" in said
