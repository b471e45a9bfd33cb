"""What the tests of stores share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scripted():
    """Return the module of the scripted server, which lies beside this file."""
    if "scripted" not in sys.modules:
        spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("scripted.py"))
        sys.modules["scripted"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["scripted"])
    return sys.modules["scripted"]
