"""The container engine, for the tests of the container: run a command, or a server, and wait until it answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent


def engine() -> str:
    """Return docker where its engine answers, else podman, with what a bare machine needs."""
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return "docker"
    if not Path("/run/systemd/system").is_dir():
        os.environ.setdefault("CONTAINERS_CONF", str(HERE / "containers.conf"))
    return "podman"


ENGINE = engine()


def call(*arguments: str, code: int = 0, show: bool = False) -> str:
    """Run the engine, expect an exit code, and return what it printed."""
    done = subprocess.run([ENGINE, *arguments], capture_output=not show, text=True, check=False)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(arguments)}\nexit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
    return (done.stdout or "").strip()


def status(url: str, token: str = "") -> int:
    """Return the status that a URL answers to who gives a token; 0 while nothing listens."""
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"} if token else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def start_page(url: str) -> str:
    """Return the path to which a server sends who asks for its root, or nothing."""
    where = urlsplit(url)
    connection = HTTPConnection(where.netloc, timeout=30)
    connection.request("GET", f"{where.path}?{where.query}")
    found = connection.getresponse().getheader("Location") or ""
    connection.close()
    return urlsplit(found).path


def wait_for(url: str, seconds: float = 120) -> float:
    """Wait until a URL answers 200, and return how long that took in seconds."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if status(url) == 200:
            return time.monotonic() - began
        time.sleep(0.1)
    raise SystemExit(f"{url} did not answer 200 within {seconds} s, but {status(url)}")


@contextmanager
def started(image: str, *options: str) -> Iterator[str]:
    """Run a container in the background, show its log where something fails, and remove it."""
    name = call("run", "--detach", *options, image)
    try:
        yield name
    except BaseException:
        print(subprocess.run([ENGINE, "logs", name], capture_output=True, text=True, check=False).stderr[-3000:])
        raise
    finally:
        call("rm", "--force", "--volumes", name)
