"""The audit of dependencies: a finding fails, and what was not audited is never called good."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parent.parent / ".ci" / "audit.py"
BAD = {"name": "left-pad", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
GOOD = {"name": "numpy", "version": "2.4", "vulns": []}
UNKNOWN = {"name": "mirrored", "skip_reason": "Dependency not found on PyPI"}
OURS = {"name": "hst-cloud", "skip_reason": "distribution marked as editable"}


@pytest.fixture
def audit(monkeypatch):
    """Return the program, with the report of each service to be set."""
    spec = importlib.util.spec_from_file_location("audit", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.reports = {}
    monkeypatch.setattr(module, "asked", module.reports.get)
    return module


@pytest.mark.parametrize(
    ("reports", "code", "said"),
    [
        ({"pypi": [GOOD, OURS]}, 0, "audited by pypi: 0 known"),
        ({"pypi": [GOOD, BAD]}, 1, "left-pad 1.0: PYSEC-1, mended in 1.1"),
        ({"pypi": [UNKNOWN, OURS], "osv": [BAD]}, 1, "audited by osv: 1 known"),
        ({"pypi": [GOOD, UNKNOWN]}, 0, "not audited, for pypi does not know them: mirrored"),
        ({"pypi": [UNKNOWN, OURS]}, 0, "SKIPPED: neither"),
        ({}, 0, "SKIPPED: neither"),
    ],
)
def test_what_an_audit_says(audit, capsys, reports, code, said):
    """Findings fail; a mirror that knows no package, or no network, is said to be no audit."""
    audit.reports |= {service: {"dependencies": rows} for service, rows in reports.items()}
    assert audit.main() == code
    assert said in capsys.readouterr().out


def test_an_audit_that_is_required(audit, monkeypatch):
    """Where there must be one, having none fails."""
    monkeypatch.setenv("AUDIT", "required")
    assert audit.main() == 1
