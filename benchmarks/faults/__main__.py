"""Let all clients meet the same faults, and write the page of the documentation: ``python -m benchmarks.faults``."""

from __future__ import annotations

import argparse
import functools
import json
import random
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.faults import page
from benchmarks.faults.scripts import KEY, SHIFTED, SIZE
from benchmarks.faults.ways import WAYS

LIMIT = 70.0
"""Seconds after which nobody waits any longer: the longest time-out of a client is 60."""
PACKAGES = ("hst-cloud", "s3fs", "aiobotocore", "boto3", "obstore", "astropy")


def main(arguments: list[str] | None = None) -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds that a read may take (default 70)")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="clients (default: all)")
    parser.add_argument("--build", type=Path, default=Path("build/faults.json"), help="file of the results")
    parser.add_argument("--write", type=Path, metavar="DOCS", help="write the page below this folder of documentation")
    chosen = parser.parse_args(arguments)
    results = {"limit": chosen.limit, "versions": {name: version(name) for name in PACKAGES}}
    results["rows"] = run(chosen.ways, chosen.limit)
    chosen.build.parent.mkdir(parents=True, exist_ok=True)
    chosen.build.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(page.table(results["rows"], chosen.limit))
    if chosen.write:
        path = chosen.write / page.NAME
        path.write_text(page.page(results), encoding="utf-8")
        print(f"page: {path}")
    return 0


def run(ways: list[str], limit: float) -> dict[str, dict[str, dict[str, object]]]:
    """Return the outcome of each way under each fault that came to an end; all clients wait at once."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        content = random.Random(4).randbytes(SIZE + 2880)
        for key, start in ((KEY, 0), (SHIFTED, 2880)):
            path = Path(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content[start : start + SIZE])
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.faults.worker"]
        start = functools.partial(subprocess.Popen, stdout=subprocess.PIPE, text=True)
        workers = {way: start([*command, way, folder, str(limit)]) for way in ways}
        try:
            for way, worker in workers.items():
                lines = [json.loads(line) for line in worker.communicate()[0].splitlines()]
                found[way] = {line.pop("fault"): line for line in lines}
                print(f"{way}: {len(lines)} faults, {time.monotonic() - began:.0f} s", file=sys.stderr)
        finally:
            for worker in workers.values():
                worker.kill()
    return found


if __name__ == "__main__":
    sys.exit(main())
