"""Try the built images as their users do: alone, below a hub, read-only, with little memory, in a browser.

    test.py VERSION-TAG [--skip-tests]

Needs docker or podman, and what browse.py needs. Each check prints a line; the first that fails ends it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHECK = "/opt/hst-cloud/deploy/environment/check.py"
MOST = {"minimal": 800_000_000, "full": 2_000_000_000}
TOKEN = "a-token-for-the-test"  # noqa: S105 - of a server that lives for a minute


def engine() -> str:
    """Return docker where its engine answers, else podman, with what a bare machine needs."""
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return "docker"
    if not Path("/run/systemd/system").is_dir():
        os.environ.setdefault("CONTAINERS_CONF", str(HERE / "containers.conf"))
    return "podman"


def call(*arguments: str, code: int = 0, show: bool = False) -> str:
    """Run the engine, expect an exit code, and return what it printed."""
    done = subprocess.run([ENGINE, *arguments], capture_output=not show, text=True, check=False)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(arguments)}\nexit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
    return (done.stdout or "").strip()


def status(url: str) -> int:
    """Return the status that a URL answers; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


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


def sizes(image: str, target: str) -> None:
    """Compare the image's size, as the engine lists it, with what was promised; tell what weighs."""
    size = int(call("image", "inspect", "--format", "{{.Size}}", image))
    if size > MOST[target]:
        raise SystemExit(f"{image} has {size:,} bytes, more than {MOST[target]:,}")
    weights = call("run", "--rm", image, "sh", "-c", "du -sm /usr /opt/venv/lib/python3*/site-packages/* | sort -rn")
    heaviest = [f"{Path(path).name} {mb}" for mb, path in (line.split("\t") for line in weights.splitlines()[:8])]
    print(f"{target}: {size / 1e6:.0f} MB; what weighs (MiB): {', '.join(heaviest)}", flush=True)


def contents(image: str, target: str) -> None:
    """Compare versions with the lock, import all, and run each notebook, read-only but for the home."""
    requirements = [f"/opt/hst-cloud/deploy/environment/{name}.in" for name in dict.fromkeys(["minimal", target])]
    call("run", "--rm", image, CHECK_PYTHON, CHECK, "versions", "/opt/hst-cloud/lock.txt", *requirements, show=True)
    home = ("--read-only", "--tmpfs", "/tmp", "--volume", "/home/hst")  # noqa: S108 - the container's own
    call("run", "--rm", *home, image, CHECK_PYTHON, CHECK, "notebooks", "/home/hst/notebooks", show=True)


def lab(image: str, target: str) -> None:
    """Start Lab with a token, refuse others, use it in a browser, and stop it."""
    options = ("--read-only", "--tmpfs", "/tmp", "--volume", "/home/hst", "--memory", "2g")  # noqa: S108
    began = time.monotonic()
    with started(image, *options, "--env", f"JUPYTER_TOKEN={TOKEN}", "--publish", "127.0.0.1::8888") as name:
        url = "http://" + call("port", name, "8888")
        wait_for(f"{url}/api")
        print(f"{target}: Lab answers {time.monotonic() - began:.1f} s after 'run'", flush=True)
        found = [status(f"{url}/api/contents{query}") for query in (f"?token={TOKEN}", "?token=wrong", "")]
        if found != [200, 403, 403]:
            raise SystemExit(f"with the token, a wrong one and none: {found}, not [200, 403, 403]")
        call("exec", name, "/opt/hst-cloud/deploy/container/health")
        picture = ROOT / "deploy" / "_build" / f"lab-{target}.png"
        browse = [sys.executable, str(HERE / "browse.py"), url, TOKEN, "notebooks/tour.ipynb", str(picture)]
        subprocess.run(browse, check=True, timeout=900)
        began = time.monotonic()
        call("stop", "--time", "20", name)
        code = call("inspect", "--format", "{{.State.ExitCode}}", name)
        if code != "0" or time.monotonic() - began > 15:
            raise SystemExit(f"stopping took {time.monotonic() - began:.0f} s and ended with {code}, not 0")
        print(f"{target}: wrong tokens refused, healthy, {picture.name} kept, stopped cleanly", flush=True)


def memory(image: str, target: str) -> None:
    """See what wants more memory than the limit killed, and the rest work within it."""
    for mebibytes, code in ((50, 0), (400, 137)):
        hold = f"b = bytearray({mebibytes} << 20); b[::4096] = b'x' * len(b[::4096])"
        call("run", "--rm", "--memory", "256m", "--memory-swap", "256m", image, CHECK_PYTHON, "-c", hold, code=code)
    print(f"{target}: a limit of memory holds", flush=True)


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as a single-user server asks for when it starts."""

    def do_GET(self) -> None:
        """Tell the hub's version."""
        self.answer({"version": self.server.version})

    def do_POST(self) -> None:
        """Take a report of activity."""
        self.answer({})

    def answer(self, value: dict[str, str]) -> None:
        """Send JSON."""
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def below_a_hub(image: str, target: str) -> None:
    """Start with the environment that DockerSpawner and KubeSpawner give, as any uid's home would be mounted."""
    version = call("run", "--rm", image, "jupyterhub-singleuser", "--version").splitlines()[-1]
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    hub.version = version
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    port = 18765
    given = {
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.server_port}/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": f"http://127.0.0.1:{hub.server_port}/hub/api/users/ada/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ada",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/ada/oauth_callback",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/",
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/user/ada/",
        "JUPYTERHUB_USER": "ada",
    }
    environment = [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
    with started(image, "--network", "host", *environment) as name:
        took = wait_for(f"http://127.0.0.1:{port}/user/ada/api")
        call("exec", name, "/opt/hst-cloud/deploy/container/health")
    hub.shutdown()
    print(f"{target}: below a hub (JupyterHub {version}) it answers after {took:.1f} s", flush=True)


def suite(image: str) -> None:
    """Run the fast part of the library's tests on the library that is installed in the image."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tests", "pyproject.toml"):  # without hst_cloud, which would be found before the installed one
            whole = ROOT / name
            (shutil.copytree if whole.is_dir() else shutil.copy)(whole, Path(folder) / name)
        Path(folder).chmod(0o777)  # hypothesis keeps its examples there
        parts = [f"tests/{part}" for part in ("archive", "cost", "fits", "science", "store")]
        pytest = (CHECK_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *parts)
        where = ("--volume", f"{folder}:/suite", "--workdir", "/suite")
        call("run", "--rm", *where, image, "sh", "-c", 'cd /suite && exec "$@"', "sh", *pytest, show=True)


CHECK_PYTHON = "/opt/venv/bin/python"
ENGINE = engine()


def main(tag: str, *options: str) -> None:
    """Try the minimal image, the full one, and the library in the one that has its tests' needs."""
    for target, name in (("minimal", f"hst-cloud:{tag}-minimal"), ("full", f"hst-cloud:{tag}")):
        sizes(name, target)
        lab(name, target)
        memory(name, target)
        below_a_hub(name, target)
        contents(name, target)
    if "--skip-tests" not in options:
        suite(f"hst-cloud:{tag}-test")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
