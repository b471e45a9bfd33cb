"""Fill a folder with what a person meets: the README, the start page, and the notebooks as .ipynb.

    fill.py FOLDER

The sources are Markdown; this runs when the container and the machine image are built, so that Lab opens them as
notebooks. The README lists them in order: those that are named here, then the others by name.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jupytext

HERE = Path(__file__).resolve().parent
FIRST = ("tour", "bulk")


def notebooks(folder: Path) -> list[Path]:
    """Return the notebooks' sources in the order in which they are read."""
    paths = {path.stem: path for path in folder.glob("*.md")}
    if not paths:
        raise SystemExit(f"no notebook (*.md) lies in {folder}")
    return [paths.pop(name) for name in FIRST if name in paths] + [paths[name] for name in sorted(paths)]


def entry(path: Path) -> str:
    """Return a notebook's line in the README: its title, and what it says of kind and time."""
    text = path.read_text(encoding="utf-8")
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    if not title:
        raise SystemExit(f"{path} has no title: a line that begins with '# '")
    kind = re.search(r"^\*(.+; .+?)\.?\*$", text, re.MULTILINE)
    return f"[{title[1]}](notebooks/{path.stem}.ipynb){f' ({kind[1]})' if kind else ''}"


def fill(target: Path, source: Path) -> None:
    """Write the README, the start page and the notebooks below a folder."""
    paths = notebooks(source)
    (target / "notebooks").mkdir(parents=True, exist_ok=True)
    for path in paths:
        jupytext.write(jupytext.read(path, fmt="md:myst"), target / "notebooks" / f"{path.stem}.ipynb")
    jupytext.write(jupytext.read(HERE / "start.md", fmt="md:myst"), target / "start.ipynb")
    listed = "\n".join(f"{number}. {entry(path)}" for number, path in enumerate(paths, 1))
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    (target / "README.md").write_text(readme.replace("<!-- notebooks -->", listed), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    fill(Path(sys.argv[1]), HERE.parents[1] / "notebooks")
