"""The notebooks are run from end to end, in a kernel of their own, against the demonstration archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from hst_cloud.testing import LocalArchive, make_demo_archive, random_faults

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.md"))
FEWEST_FIGURES = {
    "acs": 4, "bulk": 3, "cos": 2, "cost": 2, "cutouts": 5, "dask": 2, "fgs": 3, "keywords": 1, "stis": 3, "tour": 5,
    "wfc3": 2,
}  # fmt: skip
MOST_BYTES = {
    "acs": 6e6,
    "bulk": 12e6,
    "cos": 2e6,
    "cost": 10e6,
    "cutouts": 0.6e6,
    "dask": 32e6,
    "fgs": 0.4e6,
    "keywords": 1.5e6,
    "stis": 1e6,
    "tour": 8e6,
    "wfc3": 0.5e6,
}
REFUSED = {"dask": [404]}
"""Answers that a notebook means to get: a name of which there is no file."""


def read(path):
    return jupytext.read(path, fmt="md:myst")


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.fixture
def served(tmp_path):
    """Serve the demonstration archive, which the kernel finds by its environment."""
    with LocalArchive(make_demo_archive(tmp_path / "archive")) as archive:
        yield archive


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Return a function that runs a notebook in a kernel with settings of its own."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a kernel draws into its cells

    def run(notebook):
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()

    return run


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, served, execute):
    """Every cell runs without error or warning, draws what it says it draws, and reads no more than it says."""
    notebook = read(path)
    execute(notebook)
    said = outputs(notebook)
    assert [output.text for output in said if output.output_type == "stream" and output.name == "stderr"] == []
    figures = [output for output in said if "image/png" in output.get("data", {})]
    assert len(figures) >= FEWEST_FIGURES[path.stem]
    assert {request.status for request in served.requests} <= {200, 206, *REFUSED.get(path.stem, ())}
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


CELLS = """# %%
import asyncio, signal
import hst_cloud as hst
def rows(name):
    with hst.open(name, index=False) as hdul:
        return hdul["SCI", 1].section[:2].shape[0]
# %%
rows("jzdm01aaq_flc.fits")
# %%
await asyncio.gather(*[asyncio.to_thread(rows, "jzdm01acq_flc.fits") for _ in range(6)])
# %%
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    while True: rows("jzdm01aaq_flc.fits")
except KeyboardInterrupt:
    print("interrupted", end="")
# %%
asyncio.get_running_loop().is_running(), rows("jzdm01acq_flc.fits")
"""


def test_row_51_reading_while_the_loop_of_a_notebook_runs(served, execute):
    """Before, beside and after what is awaited, while connections break, and after an interrupt within a cell."""
    served.faults = random_faults(0.1, seed=5)
    notebook = jupytext.reads(CELLS, fmt="py:percent")
    execute(notebook)
    said = ["".join(out.get("text") or out["data"]["text/plain"] for out in cell.outputs) for cell in notebook.cells]
    assert said == ["", "2", str([2] * 6), "interrupted", "(True, 2)"]


BAR = """# %%
import time
import hst_cloud as hst
from hst_cloud.values import Progress
bar = hst.progress_bar("cutting", patience=0.0)
bar(Progress(what="products", done=1, total=2))
# %%
bar(Progress(what="products", done=2, total=2))
bar(Progress(what="products", done=1, total=2))
"""


def test_a_bar_in_a_notebook_is_one_line_of_the_cell(execute):
    """It is shown without a terminal, wiped when the call is done, and a later call has a line of its own."""
    notebook = jupytext.reads(BAR, fmt="py:percent")
    execute(notebook)
    said = [[output["data"]["text/plain"] for output in cell.outputs] for cell in notebook.cells]
    assert said == [[""], ["cutting: 1 of 2 products, 0 s"]]
