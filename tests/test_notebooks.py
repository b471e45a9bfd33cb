"""The notebooks are run from end to end, in a kernel of their own, against the demonstration archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from hst_cloud.testing import LocalArchive, make_demo_archive

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.md"))
FEWEST_FIGURES = {"bulk": 3, "cos": 2, "cost": 2, "fgs": 3, "keywords": 1, "stis": 3, "tour": 5, "wfc3": 2}
MOST_BYTES = {
    "bulk": 12e6,
    "cos": 2e6,
    "cost": 10e6,
    "fgs": 0.4e6,
    "keywords": 1.5e6,
    "stis": 1e6,
    "tour": 8e6,
    "wfc3": 0.5e6,
}


def read(path):
    return jupytext.read(path, fmt="md:myst")


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.fixture
def served(tmp_path):
    """Serve the demonstration archive, which the kernel finds by its environment."""
    with LocalArchive(make_demo_archive(tmp_path / "archive")) as archive:
        yield archive


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, served, tmp_path, monkeypatch):
    """Every cell runs without error or warning, draws what it says it draws, and reads no more than it says."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a kernel draws into its cells
    notebook = read(path)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = outputs(notebook)
    assert [output.text for output in said if output.output_type == "stream" and output.name == "stderr"] == []
    figures = [output for output in said if "image/png" in output.get("data", {})]
    assert len(figures) >= FEWEST_FIGURES[path.stem]
    assert {request.status for request in served.requests} <= {200, 206}
    assert {request.service for request in served.requests} == {"mast", "s3"}
    assert sum(request.bytes for request in served.requests if request.service == "s3") < MOST_BYTES[path.stem]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_states_the_cost(path):
    """Before any code a reader knows what the notebook costs on AWS, in dollars and in bytes."""
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    for word in ("costs", "nothing", "us-east-1", "MB"):
        assert word in first.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_as_text(path):
    """Their source is MyST Markdown with a kernel for anybody's Python 3, and holds no outputs."""
    notebook = read(path)
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert notebook.metadata["jupytext"]["text_representation"]["format_name"] == "myst"
    assert outputs(notebook) == []
    assert not list(path.parent.glob("*.ipynb")) or ".ipynb" in (path.parent.parent / ".gitignore").read_text()
