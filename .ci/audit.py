"""Ask for known vulnerabilities of everything that is installed here; a finding fails.

pip-audit takes its advisories from PyPI or from OSV. Where PyPI is a mirror without them it finds nothing, and says
that all is well; where there is no network it fails. Neither is an audit: without advisories this says that it was
skipped, and fails where ``AUDIT=required`` says that there must be one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

SERVICES = ("pypi", "osv")
SECONDS = 120
"""For each service; PyPI takes about 20 for all packages."""
OURS = "hst-cloud"


def asked(service: str) -> dict[str, Any] | None:
    """Return pip-audit's report on this environment; None where the service could not be asked."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "-s", service]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603 - ours
        report: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None
    return report


def verdict(report: dict[str, Any] | None) -> tuple[list[str], list[str]] | None:
    """Return what was found, and what was not audited; None where nothing was."""
    packages = [one for one in (report or {}).get("dependencies", []) if one["name"] != OURS]
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    if len(unknown) == len(packages):
        return None
    found = [
        f"{one['name']} {one['version']}: {bug['id']}, mended in {', '.join(bug['fix_versions']) or 'no version'}"
        for one in packages
        for bug in one.get("vulns", [])
    ]
    return found, unknown


def main() -> int:
    """Run the program; return 1 for a finding, and where an audit that is required was not possible."""
    for service in SERVICES:
        told = verdict(asked(service))
        if told is not None:
            found, unknown = told
            for line in found:
                print(line)
            if unknown:
                print(f"not audited, for {service} does not know them: {', '.join(unknown)}")
            print(f"audited by {service}: {len(found)} known vulnerabilities")
            return 1 if found else 0
    print("SKIPPED: neither PyPI's advisories nor OSV could be reached; nothing was audited (AUDIT=required fails)")
    return 1 if os.environ.get("AUDIT") == "required" else 0


if __name__ == "__main__":
    sys.exit(main())
