"""Try the built images as their users do: alone, below a hub, read-only, with little memory, in a browser.

    test.py VERSION-TAG [--skip-tests]

Needs docker or podman, and what browse.py and hub.py need. Each check prints a line; the first that fails ends it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine import call, start_page, started, status, wait_for
from hub import below_docker_spawner, below_kube_spawner

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHECK_PYTHON = "/opt/venv/bin/python"
CHECK = "/opt/hst-cloud/deploy/environment/check.py"
MOST = {"minimal": 800_000_000, "full": 2_000_000_000}
TOKEN = "a-token-for-the-test"  # noqa: S105 - of a server that lives for a minute


def identity(image: str, target: str) -> None:
    """Compare what the image says of itself with the checkout, and see that nothing of the build's machine is in it."""
    about = json.loads(call("image", "inspect", "--format", "{{json .Config}}", image))
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in about["Labels"].items()}
    version = call("run", "--rm", image, CHECK_PYTHON, "-c", "import hst_cloud; print(hst_cloud.__version__)")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = (labels["version"], labels["revision"], about["User"])
    if found != (version, head.strip(), "1000"):
        raise SystemExit(f"version, revision and user are {found}, not {(version, head.strip(), '1000')}")
    if missing := {"title", "description", "documentation", "licenses", "base.name", "created"} - labels.keys():
        raise SystemExit(f"labels are missing: {missing}")
    twin = f"hst-cloud:{version.replace('+', '-')}{'-minimal' if target == 'minimal' else ''}"
    ids = {call("image", "inspect", "--format", "{{.Id}}", name) for name in (image, twin)}
    if len(ids) > 1:
        raise SystemExit(f"{image} and {twin} are not one image")
    history = call("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    listing = "ls /etc/pip.conf /run/* /mnt/* /tmp/* /root/* 2>/dev/null || :"
    left = call("run", "--rm", "--user", "0", image, "sh", "-c", listing)
    if "pip.conf" in history or re.search(r"pip\.conf|\.crt", left):
        raise SystemExit(f"the build left traces:\n{history}\n{left}")
    print(f"{target}: labels of {version} at {head[:9]}, built on {labels['base.name']}", flush=True)


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
    call("run", "--rm", *home, image, CHECK_PYTHON, CHECK, "notebooks", "/home/hst", show=True)


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
        if (page := start_page(f"{url}/?token={TOKEN}")) != "/lab/tree/README.md":
            raise SystemExit(f"the start page is {page}, not README.md")
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


def main(tag: str, *options: str) -> None:
    """Try the minimal image, the full one, and the library in the one that has its tests' needs."""
    for target, name in (("minimal", f"hst-cloud:{tag}-minimal"), ("full", f"hst-cloud:{tag}")):
        identity(name, target)
        sizes(name, target)
        lab(name, target)
        memory(name, target)
        below_docker_spawner(name, target)
        below_kube_spawner(name, target)
        contents(name, target)
    if "--skip-tests" not in options:
        suite(f"hst-cloud:{tag}-test")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
