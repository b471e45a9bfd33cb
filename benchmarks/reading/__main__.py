"""Run the benchmark: ``python -m benchmarks.reading``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.reading.files import FULL, QUICK, files
from benchmarks.reading.measure import Bench, measure
from benchmarks.reading.server import FAR, REGION, serve
from benchmarks.reading.units import UNITS

def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--units", nargs="*", default=[])
    parser.add_argument("--profile", default="region")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--build", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--ways", nargs="*", default=[])
    chosen = parser.parse_args()
    t = time.perf_counter()
    known = files(chosen.build / "files", QUICK if chosen.quick else FULL)
    print("files", time.perf_counter() - t)
    with serve(known.folder, chosen.build) as server, tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        bench = Bench(server, known, Path(scratch), print)
        for unit in UNITS:
            if chosen.units and unit.name not in chosen.units: continue
            print(unit.name, unit.title)
            measure(bench, unit, {"region": REGION, "far": FAR}[chosen.profile], repeats=chosen.repeats, count=chosen.count, names=chosen.ways)
    print(time.perf_counter() - t)
    return 0

if __name__ == "__main__":
    sys.exit(main())
