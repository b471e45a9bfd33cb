"""What the container does when it starts, and what its files promise; building and running it is `make container-test`."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

CONTAINER = Path(__file__).resolve().parents[2] / "deploy" / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the container's command in a made-up installation, and returns what it did."""
    there = tmp_path / "deploy" / "container"
    there.mkdir(parents=True)
    shutil.copy(CONTAINER / "start", there)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "README.md").write_text("new")
    (tmp_path / "home" / "start.ipynb").write_text("new")
    (tmp_path / "bin").mkdir()
    for name in ("jupyter", "jupyterhub-singleuser"):
        (tmp_path / "bin" / name).write_text('#!/bin/sh\necho "$(basename "$0") $* in $PWD"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "user").mkdir()

    def run(*arguments, home="user", **environment):
        given = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path / home)} | environment
        command = [str(there / "start"), *arguments]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=30)

    return run


def test_it_starts_lab_a_hubs_server_or_a_command(start, tmp_path):
    """Alone it is JupyterLab; with a hub's token the hub's server; and a command that is given goes first."""
    home = tmp_path / "user"
    assert start().stdout == f"jupyter lab --ip=0.0.0.0 --port=8888 in {home}\n"
    assert start(JUPYTERHUB_API_TOKEN="t").stdout == f"jupyterhub-singleuser  in {home}\n"
    assert start("echo", "a b", JUPYTERHUB_API_TOKEN="t").stdout == "a b\n"


def test_the_home_is_filled_and_what_is_there_is_kept(start, tmp_path):
    """A volume that is mounted over the home gets what it lacks, and loses nothing."""
    (tmp_path / "user" / "README.md").write_text("mine")
    assert start("true").returncode == 0
    assert (tmp_path / "user" / "README.md").read_text() == "mine"
    assert (tmp_path / "user" / "start.ipynb").read_text() == "new"


def test_a_home_that_cannot_be_written_is_told(start):
    """The message names the folder and the user, and what to do."""
    done = start("true", home="no/such/folder")
    assert done.returncode == 1
    message = (
        rf"The home folder /.+/no/such/folder can't be written: mount a volume there that belongs to uid {os.getuid()}"
    )
    assert re.search(message, done.stderr)


@pytest.fixture
def server():
    """Serve /user/ada/api and nothing else."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/user/ada/api" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made.server_port
    made.shutdown()
    made.server_close()


def test_health_asks_below_a_hubs_prefix(server):
    """The check follows the port and the prefix that a hub gives, and fails where nothing answers so."""
    url = f"http://0.0.0.0:{server}/user/ada/"
    for prefix, code in (("/user/ada/", 0), ("/user/eve/", 1)):
        given = {"JUPYTERHUB_SERVICE_URL": url, "JUPYTERHUB_SERVICE_PREFIX": prefix}
        done = subprocess.run([sys.executable, str(CONTAINER / "health")], env=given, capture_output=True, check=False)
        assert done.returncode == code


def test_the_image_has_no_root_and_no_token():
    """Both targets end as uid 1000, and no token, password or key stands in the file."""
    assert DOCKERFILE.startswith("#")
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    last = {stage.split(" AS ")[1].split()[0]: re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1:] for stage in stages}
    assert [last[target] for target in ("minimal", "full", "test")] == [["1000"]] * 3
    assert not re.search(r"token=|password|BEGIN .*KEY", DOCKERFILE, re.IGNORECASE)


def test_the_default_base_is_public_and_of_the_locks_python():
    """Debian 12 has the Python 3.11 that the lock was made for."""
    assert re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE) == ["docker.io/library/debian:bookworm-slim"]
    lock = (CONTAINER.parent / "environment" / "full.txt").read_text(encoding="utf-8")
    assert "for Python 3.11 on Linux" in lock.splitlines()[0]


def test_the_settings_for_hubs_mount_the_home():
    """What the page tells to write for DockerSpawner and KubeSpawner names the image, and a volume at the home."""
    config = pytest.importorskip("traitlets.config").Config()
    page = (CONTAINER.parents[1] / "docs" / "platform" / "laptop.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", page, re.MULTILINE)
    for block in blocks:
        exec(textwrap.dedent(block), {"c": config})
    home = re.findall(r"HOME=(\S+)", DOCKERFILE)
    assert list(config.DockerSpawner.volumes.values()) == home
    assert [mount["mountPath"] for mount in config.KubeSpawner.volume_mounts] == home
    (volume,) = config.KubeSpawner.volumes
    assert volume["persistentVolumeClaim"]["claimName"] == config.KubeSpawner.pvc_name_template
    assert "hst-cloud:" in config.DockerSpawner.image
    assert "hst-cloud:" in config.KubeSpawner.image
