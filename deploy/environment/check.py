"""Check what is installed: its versions against the lock, its imports, and the notebooks from end to end.

    check.py versions LOCK [REQUIREMENTS ...]
    check.py notebooks FOLDER [NOTEBOOK ...]
    check.py section NOTEBOOK

Of notebooks that are named, what they print is shown.
It runs in the environment that it checks: where a new lock is tried, in the container, and on the machine image.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

OURS = "hst-cloud"
"""Built from the checkout, and so in no lock."""


def pins(lock: str) -> dict[str, str]:
    """Return the version of each distribution that a lock's text names."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==(\S+)", lock, re.MULTILINE))


def requested(requirements: str) -> list[str]:
    """Return the names in the text of a file of requirements, without those that it includes."""
    return re.findall(r"^([a-z0-9][a-z0-9-]*)", requirements, re.MULTILINE)


def differences(wanted: dict[str, str]) -> list[str]:
    """Return a line for each distribution that is not installed in the version that is wanted."""
    found = []
    for name, pin in wanted.items():
        try:
            there = version(name)
        except PackageNotFoundError:
            there = "nothing"
        if there != pin:
            found.append(f"{name}: {pin} is locked, {there} is installed")
    return found


def check_versions(lock: Path, requirements: list[Path]) -> None:
    """Compare with the lock, then import what was asked for, and tell the version and seconds of each."""
    wrong = differences(pins(lock.read_text(encoding="utf-8")))
    if wrong:
        raise SystemExit("\n".join(wrong))
    for name in [OURS, *(name for path in requirements for name in requested(path.read_text(encoding="utf-8")))]:
        began = time.perf_counter()
        importlib.import_module(name.replace("-", "_"))  # each of them installs the module of its name
        print(f"{name:24} {version(name):24} imported in {time.perf_counter() - began:6.2f} s", flush=True)


def run(path: Path, *, whole: bool) -> str:
    """Run a notebook, or its first section alone, in a kernel and a folder of its own; tell figures and seconds.

    What it printed is returned.
    """
    import nbformat  # noqa: PLC0415 - versions are checked where these are perhaps broken
    from nbclient import NotebookClient  # noqa: PLC0415

    os.environ.pop("MPLBACKEND", None)  # a kernel draws into its cells
    began = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    heads = [i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## ")]
    if not whole:
        notebook.cells = notebook.cells[: heads[1]]
    with tempfile.TemporaryDirectory() as work:
        NotebookClient(notebook, timeout=600, startup_timeout=300, resources={"metadata": {"path": work}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = sum("image/png" in output.get("data", {}) for output in outputs)
    print(f"{path.name:24} {figures} figures, {time.perf_counter() - began:.1f} s", flush=True)
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def main(arguments: list[str]) -> None:
    """Do what the first argument names."""
    match arguments:
        case ["versions", lock, *requirements]:
            check_versions(Path(lock), [Path(path) for path in requirements])
        case ["notebooks", folder, *names]:
            paths = [Path(folder) / name for name in names] or sorted(Path(folder).rglob("*.ipynb"))
            if not paths:
                raise SystemExit(f"no notebook (*.ipynb) lies in or below {folder}")
            for path in paths:
                said = run(path, whole=True)
                if names:
                    print(said)
        case ["section", notebook]:
            run(Path(notebook), whole=False)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
