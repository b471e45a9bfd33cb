"""Boot an image as EC2 would, under emulation, and try it as the person who started it.

    boot.py DISK [--accelerator kvm]

The guest finds Amazon's firmware strings and, at 169.254.169.254, a metadata service: metadata.py on port 80 of
loopback, which takes root. The disk is not changed. Every step prints the seconds since the machine was switched on.
"""

from __future__ import annotations

import argparse
import http.cookiejar
import re
import shlex
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NamedTuple

import metadata

TOKEN = "a-token-of-user-data"  # noqa: S105 - of a machine that lives for some minutes
SSH, LAB, TLS = 18022, 18888, 18443
CHECK = "/opt/hst-cloud/deploy/environment/check.py"
USER_DATA = f"""#cloud-config
write_files:
- path: /etc/hst-cloud/lab.env
  permissions: "0600"
  content: |
    JUPYTER_TOKEN={TOKEN}
"""
UUID = "ec2e1916-9099-7caf-fd21-012345abcdef"
"""Of the machine, as its serial number is: cloud-init's ds-identify takes both for Amazon's."""
FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
PATIENCE = 600
"""Seconds for a step; emulation is slow, and a busy machine slower."""
BEGAN = time.monotonic()


class Guest(NamedTuple):
    """A machine that runs, seen from here."""

    key: Path
    """The private key that its metadata service gives the public half of."""

    def ssh(self, command: str, *options: str, check: bool = True) -> str:
        """Run a command in the guest, and return what it prints."""
        done = subprocess.run(
            self.login(*options, command), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if check and done.returncode:
            raise SystemExit(f"{command}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def login(self, *more: str) -> list[str]:
        """Return the command that logs in."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=20"]
        named = [word for option in options for word in ("-o", option)]
        return ["ssh", "-i", str(self.key), "-p", str(SSH), *named, "debian@127.0.0.1", *more]


def say(text: str) -> None:
    """Tell what was found, and when."""
    print(f"{time.monotonic() - BEGAN:5.0f} s  {text}", flush=True)


def expect(what: str, found: object, wanted: object) -> None:
    """End where something is not as it should be."""
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, not {wanted!r}")
    say(f"{what}: {found}")


def qemu(disk: Path, accelerator: str, console: Path) -> list[str]:
    """Return the command that boots a disk on a machine that looks like Amazon's."""
    forward = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in ((SSH, 22), (TLS, 8443)))
    return [
        "qemu-system-x86_64",
        *("-machine", f"q35,accel={accelerator}", "-cpu", "max", "-smp", "2", "-m", "2048", "-display", "none"),
        *("-snapshot", "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}"),
        *("-drive", f"if=none,id=root,format=raw,file={disk}", "-device", "nvme,drive=root,serial=vol0123"),
        *("-netdev", f"user,id=net,net=169.254.0.0/16,host={metadata.ADDRESS},{forward}"),
        *("-device", "virtio-net-pci,netdev=net"),
        *("-smbios", "type=0,vendor=Amazon EC2", "-serial", f"file:{console}"),
        *("-smbios", f"type=1,manufacturer=Amazon EC2,uuid={UUID},serial={UUID}"),
    ]


def status(url: str) -> int:
    """Return the status that a URL answers; 0 while nothing does."""
    try:
        trust = ssl._create_unverified_context() if url.startswith("https") else None  # noqa: S323, SLF001 - self-signed
        with urllib.request.urlopen(url, timeout=30, context=trust) as answer:  # noqa: S310 - loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def wait_for_page(url: str) -> None:
    """Wait until Lab answers."""
    end = time.monotonic() + PATIENCE
    while status(url) != 200:
        if time.monotonic() > end:
            raise SystemExit(f"{url} did not answer within {PATIENCE} s")
        time.sleep(2)
    say(f"{url} answers")


def tunnel(guest: Guest) -> subprocess.Popen[bytes]:
    """Forward Lab's port as the README tells people to, as soon as the guest lets them in."""
    end = time.monotonic() + PATIENCE
    while not guest.ssh("echo in", check=False):
        if time.monotonic() > end:
            raise SystemExit(f"no login by SSH within {PATIENCE} s")
        time.sleep(2)
    say("SSH lets in who has the key of the metadata service")
    return subprocess.Popen([*guest.login("-N", "-L", f"{LAB}:127.0.0.1:8888")])


def log_in(url: str) -> int:
    """Give the token to Lab's own form, and return the status of the page that lies behind it."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    browser.open(f"{url}/login", timeout=60).close()
    xsrf = next(cookie.value or "" for cookie in jar if cookie.name == "_xsrf")
    form = urllib.parse.urlencode({"password": TOKEN, "_xsrf": xsrf}).encode()
    browser.open(f"{url}/login", form, timeout=60).close()
    with browser.open(f"{url}/api/contents/notebooks", timeout=60) as answer:
        return int(answer.status)


def ports(guest: Guest) -> list[str]:
    """Return the TCP and UDP ports on which the guest listens to the world, but for DHCP's own."""
    lines = guest.ssh("sudo ss -Hltun").splitlines()
    sockets = [(line.split()[0], line.split()[4]) for line in lines]
    world = {(kind, at) for kind, at in sockets if not re.match(r"127\.|\[::1\]|\[::ffff:127", at)}
    return sorted({f"{kind} {at.rpartition(':')[2]}" for kind, at in world} - {"udp 68"})


def as_delivered(guest: Guest) -> None:
    """Try the machine with the token that user-data gives."""
    url = f"http://127.0.0.1:{LAB}"
    wait_for_page(f"{url}/api")
    tokens = [status(f"{url}/api/contents{query}") for query in (f"?token={TOKEN}", "?token=wrong", "")]
    expect("with the token of user-data, a wrong one, and none", tokens, [200, 403, 403])
    expect("the page behind the login", log_in(url), 200)
    with urllib.request.urlopen(f"{url}/?token={TOKEN}", timeout=60) as answer:  # noqa: S310 - loopback
        expect("Lab's start page", urllib.parse.urlsplit(answer.url).path, "/lab/tree/README.md")
    said = guest.ssh("cloud-init status --wait --long")
    expect("cloud-init", re.findall(r"status: (\w+)|(DataSource\w+)", said), [("done", ""), ("", "DataSourceEc2Local")])
    expect("the name that the metadata service gives", guest.ssh("hostname"), "hst-proof")
    expect("listens to the world", ports(guest), ["tcp 22"])
    expect("Lab's user", guest.ssh("ps -o user= -C jupyter-lab"), "hst")
    expect("unattended upgrades", guest.ssh("systemctl is-enabled unattended-upgrades"), "enabled")
    daily = guest.ssh("apt-config dump APT::Periodic::Unattended-Upgrade; systemctl is-active apt-daily-upgrade.timer")
    expect("they are made every day", daily.splitlines(), ['APT::Periodic::Unattended-Upgrade "1";', "active"])
    motd = guest.ssh("cat /etc/motd")
    expect("the token is in /etc/motd", TOKEN in motd, wanted=False)
    readme = guest.ssh(f"head -n 1 {re.findall(r'/home/hst/[A-Z]+.md', motd)[0]}")
    expect("the file that greets who logs in", readme, "# Hubble's archive, in the cloud")
    where = guest.ssh("sudo -iu hst /opt/venv/bin/hst-cloud where")
    expect("hst-cloud where", re.findall(r"us-east-1\): (\w+)", where), ["yes"])
    said = guest.ssh(f"sudo -iu hst /opt/venv/bin/python {CHECK} notebooks /home/hst start.ipynb")
    told = re.findall(r"us-east-1\): +(yes)|(USD [\d.]+ an hour)", said)
    expect("start.ipynb: in the bucket's region, at a price", told, [("yes", ""), ("", "USD 0.11 an hour")])
    said = guest.ssh(f"sudo -iu hst /opt/venv/bin/python {CHECK} section /home/hst/notebooks/tour.ipynb")
    figures = re.findall(r"(\d+) figures", said)
    expect("figures of the tour's first section", figures, ["1"])
    say(said.splitlines()[-1])


def started_again(guest: Guest, forward: subprocess.Popen[bytes], console: Path) -> None:
    """Reboot with a token that the machine makes, behind TLS, and find the home kept."""
    guest.ssh("echo kept | sudo -u hst tee /home/hst/mine.txt; echo LAB_LISTEN=tls | sudo tee /etc/hst-cloud/lab.env")
    guest.ssh("sudo systemctl reboot", check=False)
    forward.terminate()
    say("rebooting, with Lab behind TLS and no token given")
    time.sleep(20)
    url = f"https://127.0.0.1:{TLS}"
    wait_for_page(f"{url}/api")
    motd = guest.ssh("cat /etc/motd")
    token = re.findall(r"the token is (\w{48})", motd)
    expect("the token that was made, in /etc/motd", len(token), 1)
    expect("it is on the console", token[0] in console.read_text(errors="replace"), wanted=True)
    found = [status(f"{url}/api/contents/mine.txt?token={each}") for each in (token[0], TOKEN)]
    expect("the home is kept; the new token, the old one", found, [200, 403])
    expect("listens to the world", ports(guest), ["tcp 22", "tcp 8443"])


def main() -> None:
    """Boot, try, reboot, try, and switch off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("disk", type=Path)
    parser.add_argument("--accelerator", default="tcg")
    given = parser.parse_args()
    console = given.disk.with_suffix(".console")
    with tempfile.TemporaryDirectory() as folder:
        guest = Guest(Path(folder) / "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(guest.key)], check=True)
        service = metadata.service(80, USER_DATA, guest.key.with_suffix(".pub").read_text())
        threading.Thread(target=service.serve_forever, daemon=True).start()
        command = qemu(given.disk, given.accelerator, console)
        say(shlex.join(command))
        machine = subprocess.Popen(command)
        try:
            forward = tunnel(guest)
            as_delivered(guest)
            started_again(guest, forward, console)
            guest.ssh("sudo systemctl poweroff", check=False)
            machine.wait(PATIENCE)
            say("switched off")
        finally:
            machine.kill()
            service.shutdown()


if __name__ == "__main__":
    main()
