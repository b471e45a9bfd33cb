"""Look through an image's files for what a public image may not carry: keys, tokens, identities, histories.

    leaks.py DISK [OFFSET]

The file system is read by debugfs where it lies in the disk; nothing is mounted. OFFSET is where it begins, in bytes:
that of deploy/image/parent by default. Exit code 1 and a line for each finding.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

OFFSET = 129 * 2**20

FORBIDDEN = [
    (r"/etc/ssh/ssh_host_.*", "a host key: every machine would have the same one"),
    (r".*/authorized_keys\d?", "a key of who built the image opens it"),
    (r".*/\.ssh/.*", "what belongs to a person's logins"),
    (r".*/\.\w*history|.*/\.python_history", "what somebody typed"),
    (r"/var/lib/cloud/(instance|instances|data|sem|seed)(/.*)?", "cloud-init would think that it had run"),
    (r"/etc/hst-cloud(/.*)?", "a token or a certificate"),
    (r"/home/[^/]+/\.(local/share/jupyter|jupyter|ipython)/.*", "Jupyter's own secrets and state"),
    (r".*/\.(aws|netrc|git-credentials|pypirc)(/.*)?", "credentials"),
    (r"/etc/pip\.conf|.*/\.config/pip/.*", "settings of the machine that built the image"),
    (r"/opt/hst-cloud/wheels(/.*)?|/tmp/.+", "left over from the build"),
    (r"/var/log/.*(cloud-init|auth|syslog|journal/.+/).*", "a log of the build"),
    (r"/var/lib/systemd/(random-seed|credential\.secret)", "the same randomness or key for everybody"),
    (r"/var/lib/dbus/machine-id", "an identity that every machine would share"),
    (r"/etc/netplan/50-cloud-init\.yaml", "the network card of the machine that built the image"),
]
EMPTY = {"/etc/machine-id": "an identity that every machine would share"}
KNOWN = [r"/opt/venv/.*", r"/usr/.*"]
"""Where packages lie, whose files may have such names: tests have keys of their own."""


def findings(files: dict[str, int]) -> list[str]:
    """Return a line for each file, given as path and size in bytes, that may not be there."""
    found = [
        f"{path}: {why}"
        for path in files
        for pattern, why in FORBIDDEN
        if re.fullmatch(pattern, path) and not any(re.fullmatch(known, path) for known in KNOWN)
    ]
    return found + [f"{path}: {why}" for path, why in EMPTY.items() if files.get(path)]


def debugfs(disk: Path, offset: int, commands: list[str]) -> str:
    """Run commands on the file system in a disk, and return what they print."""
    with tempfile.NamedTemporaryFile("w") as script:
        script.write("\n".join(commands))
        script.flush()
        command = ["/sbin/debugfs", "-f", script.name, f"{disk}?offset={offset}"]
        return subprocess.run(command, capture_output=True, text=True, check=True, errors="replace").stdout


def listed(disk: Path, offset: int) -> dict[str, int]:
    """Return the size in bytes of every file by its path; a level of folders takes one run of debugfs."""
    files: dict[str, int] = {}
    folders = ["/"]
    while folders:
        answers = debugfs(disk, offset, [f'ls -p "{folder}"' for folder in folders]).split("debugfs: ls -p ")[1:]
        below = []
        for folder, answer in zip(folders, answers, strict=True):
            # /inode/mode/uid/gid/name/size/ with an empty size for a folder
            for mode, name, size in re.findall(r"^/\d+/(\d+)/\d+/\d+/(.*)/(\d*)/$", answer, re.MULTILINE):
                path = f"{folder.rstrip('/')}/{name}"
                if name in {".", ".."}:
                    continue
                if mode.startswith("04"):
                    below.append(path)
                else:
                    files[path] = int(size or 0)
        folders = below
    return files


def main(disk: str, offset: str = str(OFFSET)) -> None:
    """Print what was found, and fail where that is something."""
    files = listed(Path(disk), int(offset))
    if len(files) < 1000:
        raise SystemExit(f"only {len(files)} files were found in {disk}: is the offset {offset} right?")
    found = findings(files)
    print("\n".join(found) or f"{len(files)} files, none of which a public image may not carry")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
