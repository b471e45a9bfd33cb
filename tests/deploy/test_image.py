"""What can be known of the machine image without building or booting it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "deploy" / "image"
SCRIPTS = [path for path in (ROOT / "deploy").glob("[a-z]*/*") if path.is_file() and path.read_bytes()[:3] == b"#!/"]


def script(name):
    """Import a script by its name."""
    spec = importlib.util.spec_from_file_location(name, IMAGE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "path", [path for path in SCRIPTS if b"sh\n" in path.read_bytes()[:30]], ids=lambda path: path.name
)
def test_shell_scripts_are_shell(path):
    """Each of them can be parsed by the shell that it names, and be executed."""
    shell = path.read_text(encoding="utf-8").splitlines()[0].split("/")[-1].split()[-1]
    done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.stat().st_mode & 0o111


def packer(*arguments):
    if not shutil.which("packer"):
        pytest.skip("packer is not installed (apt-get install packer)")
    return subprocess.run(
        ["packer", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, env=quiet()
    )


def quiet():
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "CHECKPOINT_DISABLE": "1", "HOME": "/nonexistent"}


@pytest.mark.parametrize("name", ["hst-cloud", "plugins"])
def test_the_templates_are_formatted(name):
    """`packer fmt` would change nothing."""
    done = packer("fmt", "-check", f"deploy/image/{name}.pkr.hcl")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def variables(tmp_path):
    """Return the variables that a build gives, of things that are there."""
    key = tmp_path / "key"
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    key.write_bytes(rsa.generate_private_key(65537, 2048).private_bytes(*form))
    (tmp_path / "context").mkdir()
    return [f"-var=key={key}", f"-var=context={tmp_path / 'context'}", f"-var=output={tmp_path / 'image'}"]


def test_the_template_is_valid(variables):
    """Packer accepts both builders and the provisioner, without credentials or a network."""
    done = packer("validate", *variables, "deploy/image/hst-cloud.pkr.hcl")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_template_is_refused(variables, tmp_path):
    """The check above can fail: an argument that a builder does not have is told."""
    text = (IMAGE / "hst-cloud.pkr.hcl").read_text(encoding="utf-8")
    (tmp_path / "wrong.pkr.hcl").write_text(text.replace("instance_type ", "instance_tipe "))
    done = packer("validate", *variables, str(tmp_path / "wrong.pkr.hcl"))
    assert done.returncode != 0
    assert "instance_tipe" in done.stdout + done.stderr


def test_a_public_image_is_not_encrypted():
    """An encrypted snapshot can't be public: the builder says that it is not, and the template encrypts at launch."""
    assert re.search(r"encrypted += false", (IMAGE / "hst-cloud.pkr.hcl").read_text(encoding="utf-8"))
    assert "Encrypted: true" in (IMAGE / "launch.yaml").read_text(encoding="utf-8")


def disk(tmp_path, files):
    """Return a disk whose file system begins after one MiB, with these files."""
    if not shutil.which("mke2fs", path="/sbin:/usr/sbin") or not Path("/sbin/debugfs").exists():
        pytest.skip("mke2fs and debugfs are not installed (apt-get install e2fsprogs)")
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    made = tmp_path / "disk.raw"
    made.touch()
    command = [
        "/sbin/mke2fs",
        "-q",
        "-t",
        "ext4",
        "-d",
        str(tmp_path / "root"),
        "-E",
        "offset=1048576",
        str(made),
        "16M",
    ]
    subprocess.run(command, check=True, timeout=60)
    return made


PLANTED = {
    "etc/ssh/ssh_host_ed25519_key": "k",
    "etc/machine-id": "0123456789abcdef",
    "root/.ssh/authorized_keys": "k",
    "home/hst/.bash_history": "ls",
    "var/lib/cloud/instance/user-data.txt": "token",
    "etc/hst-cloud/lab.env": "JUPYTER_TOKEN=t",
    "home/hst/.local/share/jupyter/notebook_secret": "s",
    "tmp/context/x": "x",
    "var/lib/systemd/credential.secret": "s",
    "var/lib/dbus/machine-id": "0123456789abcdef",
    "etc/netplan/50-cloud-init.yaml": "match: {macaddress: 52:54:00:12:34:56}",
}
HARMLESS = {"usr/lib/python3/tests/.ssh/authorized_keys": "", "etc/ssh/sshd_config": "x", "home/hst/a b.txt": "x"}


def test_secrets_in_an_image_are_found(tmp_path):
    """Each file that a public image may not carry is named; others, and packages' own, are not."""
    leaks = script("leaks")
    files = leaks.listed(disk(tmp_path, PLANTED | HARMLESS), 1048576)
    assert {path: size for path, size in files.items() if size} == {
        f"/{name}": len(text) for name, text in (PLANTED | HARMLESS).items() if text
    }
    assert {line.split(":")[0] for line in leaks.findings(files)} == {f"/{name}" for name in PLANTED}


def test_an_empty_machine_id_is_none():
    """The file has to be there, and empty: then the first boot fills it."""
    assert script("leaks").findings({"/etc/machine-id": 0}) == []


def test_a_wrong_offset_is_not_taken_for_a_clean_image(tmp_path):
    """A disk in which almost nothing is found was not looked through."""
    command = [sys.executable, str(IMAGE / "leaks.py"), str(disk(tmp_path, HARMLESS)), "1048576"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "is the offset 1048576 right?" in done.stderr


@pytest.fixture
def metadata():
    """Run the stand-in of the metadata service, and return its address."""
    service = script("metadata").service(0, "#cloud-config\n", "ssh-ed25519 AAAA ada")
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}/latest"
    service.shutdown()
    service.server_close()


def ask(url, method="GET", **headers):
    request = urllib.request.Request(url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def test_the_metadata_service_wants_a_token(metadata):
    """Without the token of version 2 nothing is told, and with it what cloud-init and hst_cloud ask."""
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(f"{metadata}/user-data")
    token = {"X_aws_ec2_metadata_token": ask(f"{metadata}/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")}
    assert ask(f"{metadata}/user-data", **token) == "#cloud-config\n"
    assert ask(f"{metadata}/meta-data/placement/region", **token) == "us-east-1"
    assert ask(f"{metadata}/meta-data/placement/", **token) == "availability-zone\nregion"
    assert ask(f"{metadata}/meta-data/public-keys/", **token) == "0=key"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"{metadata}/meta-data/iam", **token)
