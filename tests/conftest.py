"""What every test stands on: a scrubbed environment, loopback alone, and the folder of real files where there is one."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import SHARED_DATA

from hst_cloud.fits.predict import siblings

# A busy machine is slow now and then; what an example gives does not depend on it. Examples are the same each time: what
# fails has been changed.
settings.register_profile("patient", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
# Others, and more by orders of magnitude, for a night: make test ARGS="--hypothesis-profile soak tests/faults".
settings.register_profile(
    "soak", settings.get_profile("patient"), derandomize=False, max_examples=10_000, stateful_step_count=100
)
settings.load_profile("patient")


def pytest_configure():
    """Heed interrupts even where a shell started the tests in the background.

    There it has the interrupt ignored, which children inherit, so that none of them could be interrupted.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    """Leave out what asks the live services unless it is selected by its marker."""
    if "remote" in (config.getoption("-m") or ""):
        return
    skip = pytest.mark.skip(reason="asks the live services: give -m remote")
    for item in items:
        if "remote" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real files beside the checkout, or skip the test."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data with real files is not there")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _scrubbed_environment(monkeypatch, request):
    """Keep credentials, proxies and settings of the machine out of every test."""
    if "remote" in request.keywords:
        return
    for name in os.environ:
        if name.startswith(("AWS_", "HST_CLOUD_", "MAST_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("COLUMNS", "120")  # of the terminal, whatever that of the workers or of the person is


@pytest.fixture(autouse=True)
def _nothing_remembered(_scrubbed_environment, monkeypatch):
    """Write nothing into the home folder, and let a test's requests not depend on what was read before it.

    Tests of the index name a folder of their own.
    """
    monkeypatch.setenv("HST_CLOUD_CACHE", "off")
    siblings.cache_clear()


@pytest.fixture(autouse=True)
def _no_race(monkeypatch, request):
    """Race no request by a second one, as a busy machine would bring about: requests are counted. Some tests are of that."""
    if request.path.name not in {"test_policy.py", "test_pace.py", "test_engines.py"}:
        monkeypatch.setattr("hst_cloud.store.pace._KNOWN", 1_000_000)


@pytest.fixture(autouse=True)
def _loopback_alone(monkeypatch, request):
    """Refuse connections to anything but this machine."""
    if "remote" in request.keywords:
        return
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in {socket.AF_INET, socket.AF_INET6} and not ipaddress.ip_address(address[0]).is_loopback:
            message = f"a test tried to reach {address}"
            raise RuntimeError(message)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
