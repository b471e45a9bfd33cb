"""Check that pip settles on recent versions whatever the order in which it meets our dependencies.

aiobotocore, below s3fs, pins botocore, and so does boto3. Asked for ``boto3 s3fs`` without bounds, pip takes the newest
boto3 first and then walks back to an s3fs of 2020, the last without aiobotocore. The lower bounds in pyproject.toml
prevent it; this asks pip, which installs nothing, for our dependencies in their order and in the reverse of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = 2025
"""Year of the oldest s3fs that is right."""
SECONDS = 240
"""For each resolution; it takes about 15."""
SHOWN = ("s3fs", "aiobotocore", "botocore", "boto3")


def resolved(requirements: list[str]) -> dict[str, str]:
    """Return the version of each package that pip would install."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    command = [*pip, "install", "--dry-run", "--ignore-installed", "--report", "-", *requirements]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)  # noqa: S603 - ours
    report = json.loads(done.stdout[done.stdout.index("{") :])
    return {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in report["install"]}


def main() -> int:
    """Ask for both orders; return 1 if either gives an old s3fs."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    orders = {"in order": wanted, "reversed": wanted[::-1]}
    with ThreadPoolExecutor() as pool:
        answers = dict(zip(orders, pool.map(resolved, orders.values()), strict=True))
    for order, found in answers.items():
        print(f"{order:9}", *(f"{name} {found[name]}" for name in SHOWN))
    old = {found["s3fs"] for found in answers.values() if int(found["s3fs"].partition(".")[0]) < OLDEST}
    if old:
        print(f"pip settled on s3fs {', '.join(sorted(old))}: expected {OLDEST} or newer", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
