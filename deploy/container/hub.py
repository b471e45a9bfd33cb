"""Start an image below a hub: a real one with DockerSpawner, and as the pod that KubeSpawner asks for.

Both take their settings from the page that tells people what to write, docs/platform/laptop.rst.
Needs jupyterhub, dockerspawner and jupyterhub-kubespawner, and npm's configurable-http-proxy.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engine import ENGINE, call, start_page, started, status, wait_for

PAGE = Path(__file__).resolve().parents[2] / "docs" / "platform" / "laptop.rst"
PROXY = Path(sys.prefix) / "node_modules" / ".bin" / "configurable-http-proxy"
HUB, POD = 18764, 18765
"""Ports on loopback: of the hub's proxy, and of the server that the pod starts."""
USER = "ada"
OURS = f"""
c.JupyterHub.bind_url = "http://127.0.0.1:{HUB}"
c.JupyterHub.hub_ip = c.JupyterHub.hub_connect_ip = os.environ["GATEWAY"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {{"{USER}"}}
c.ConfigurableHTTPProxy.command = ["{PROXY}"]
c.JupyterHub.services = [{{"name": "test", "api_token": os.environ["HUB_TOKEN"]}}]
c.JupyterHub.load_roles = [{{"name": "test", "services": ["test"], "scopes": ["servers", "access:servers"]}}]
c.DockerSpawner.remove = True
"""
"""What the page leaves to who has a hub: where it listens, who may log in, and a token for the test."""


def settings(page: str, spawner: str, image: str) -> str:
    """Return what a page tells to write for a spawner, for an image."""
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", page, re.MULTILINE)
    block = next(textwrap.dedent(block) for block in blocks if f"c.{spawner}.image" in block)
    return re.sub(rf'(c\.{spawner}\.image = )".*"', rf'\1"{image}"', block)


def ask(method: str, path: str, token: str) -> Any:
    """Ask the hub's API, and return what it answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{HUB}/hub/api/{path}", method=method)
    request.add_header("Authorization", f"token {token}")
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        return json.loads(answer.read() or "null")


@contextmanager
def socket(folder: str) -> Iterator[None]:
    """Let DockerSpawner find the engine: podman answers as docker does on a socket of its own."""
    if ENGINE == "docker":
        yield
        return
    address = f"unix://{folder}/engine.sock"
    service = subprocess.Popen([ENGINE, "system", "service", "--time", "0", address])
    os.environ["DOCKER_HOST"] = address
    try:
        yield
    finally:
        del os.environ["DOCKER_HOST"]
        service.terminate()
        service.wait(60)


@contextmanager
def hub(folder: str, image: str, gateway: str, token: str) -> Iterator[None]:
    """Run JupyterHub in a folder, with what the page says of DockerSpawner."""
    text = settings(PAGE.read_text(encoding="utf-8"), "DockerSpawner", image)
    (Path(folder) / "config.py").write_text(f"import os\n{OURS}{text}", encoding="utf-8")
    environment = os.environ | {"GATEWAY": gateway, "HUB_TOKEN": token}
    command = [sys.executable, "-m", "jupyterhub", "--config", "config.py"]
    with (Path(folder) / "hub.log").open("w+") as log:
        running = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{HUB}/hub/api/")
            yield
        except BaseException:
            log.seek(0)
            print(log.read()[-5000:])
            raise
        finally:
            running.terminate()
            running.wait(60)


def below_docker_spawner(image: str, target: str) -> None:
    """Log in to a hub, see the server start in its container, with a volume as its home, and see it stop."""
    token = secrets.token_hex(16)
    # A container that idles keeps the engine's bridge up, and knows the address at which containers see this machine.
    with tempfile.TemporaryDirectory() as folder, started(image) as idle, socket(folder):
        gateway = call("inspect", "--format", "{{.NetworkSettings.Gateway}}", idle)
        with hub(folder, image, gateway, token):
            began = time.monotonic()
            ask("POST", f"users/{USER}/server", token)
            while not ask("GET", f"users/{USER}", token)["servers"].get("", {}).get("ready"):
                if time.monotonic() - began > 120:
                    raise SystemExit("DockerSpawner's server is not ready within 120 s")
                time.sleep(0.1)
            took = time.monotonic() - began
            url = f"http://127.0.0.1:{HUB}/user/{USER}/api/contents/start.ipynb"
            found = [status(url, given) for given in (token, "wrong")]
            if found != [200, 403]:
                raise SystemExit(f"the home's first notebook, with the token and a wrong one: {found}, not [200, 403]")
            ask("DELETE", f"users/{USER}/server", token)
    call("volume", "rm", f"hst-{USER}")
    print(f"{target}: DockerSpawner starts it in {took:.1f} s, and stops it", flush=True)


class Api(BaseHTTPRequestHandler):
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


async def pod(image: str, port: int) -> Any:
    """Return the container of the pod that KubeSpawner would ask a cluster for, by what the page says."""
    from jupyterhub.objects import Hub, Server  # noqa: PLC0415 - what a test of the page's text need not have
    from kubespawner import KubeSpawner  # noqa: PLC0415
    from traitlets.config import Config  # noqa: PLC0415

    given = Config()
    exec(settings(PAGE.read_text(encoding="utf-8"), "KubeSpawner", image), {"c": given})  # noqa: S102 - our own page
    user = SimpleNamespace(name=USER, escaped_name=USER, id=1, url=f"/user/{USER}/", settings={}, groups=[])
    spawner = KubeSpawner(
        _mock=True,
        config=given,
        user=user,
        hub=Hub(ip="127.0.0.1", port=port, base_url="/hub/"),
        orm_spawner=None,
        oauth_client_id=f"jupyterhub-user-{USER}",
    )
    spawner.port = POD
    spawner.api_token = secrets.token_hex(16)
    spawner.server = Server(base_url=f"/user/{USER}/", port=POD)
    return (await spawner.get_pod_manifest()).spec.containers[0]


def nowhere(folder: str) -> None:
    """Name a cluster, which KubeSpawner wants to know before it makes a manifest; it is not asked."""
    none = {"name": "none", "cluster": {"server": "http://127.0.0.1:9"}, "user": {}}
    config = {"current-context": "none", "clusters": [none], "users": [none]}
    config["contexts"] = [{"name": "none", "context": {"cluster": "none", "user": "none"}}]
    path = Path(folder) / "cluster.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    os.environ["KUBECONFIG"] = str(path)


def below_kube_spawner(image: str, target: str) -> None:
    """Run the container of KubeSpawner's pod by the engine, with an empty home, against a stand-in for the hub."""
    api = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    api.version = call("run", "--rm", image, "jupyterhub-singleuser", "--version").splitlines()[-1]
    threading.Thread(target=api.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        nowhere(folder)
        asked = asyncio.run(pod(image, api.server_port))
    if asked.command or asked.args:
        raise SystemExit(f"KubeSpawner asks for {asked.command} {asked.args}, not for the image's own start")
    given = [word for one in asked.env for word in ("--env", f"{one.name}={one.value}")]
    homes = [word for mount in asked.volume_mounts for word in ("--volume", mount.mount_path)]
    options = ("--network", "host", "--user", str(asked.security_context["runAsUser"]), *homes)
    with started(image, *options, "--security-opt", "no-new-privileges", *given) as name:
        root = f"http://127.0.0.1:{POD}/user/{USER}/"
        took = wait_for(f"{root}api")
        if (page := start_page(root)) != f"/user/{USER}/lab/tree/README.md":
            raise SystemExit(f"the start page is {page}, not README.md")
        call("exec", name, "/opt/hst-cloud/deploy/container/health")
    api.shutdown()
    print(f"{target}: KubeSpawner's pod (JupyterHub {api.version}) answers after {took:.1f} s", flush=True)
