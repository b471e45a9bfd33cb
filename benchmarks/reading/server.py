"""The server that is measured against: compiled when it is needed, and run in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hst_cloud.settings import BUCKET

SOURCE = Path(__file__).with_name("server.c")


@dataclass(frozen=True, slots=True)
class Profile:
    """A link to the bucket."""

    name: str
    """``region`` or ``far``, as ``HST_CLOUD_LINK`` has them; or what the latency is, where that is what varies."""
    latency: float
    """Seconds from a request to the first byte of its answer."""
    connection: float
    """Bytes a second of one connection; 0 for no bound."""
    aggregate: float
    """Bytes a second of all connections together; 0 for no bound."""
    link: str = "region"
    """What ``HST_CLOUD_LINK`` is set to."""

    def seconds(self, rounds: int, size: int, connections: int) -> float:
        """Return what physics takes: so many round trips one after another, then the bytes at the rate of the link."""
        rate = min(connections * self.connection, self.aggregate)
        return rounds * self.latency + size / rate


REGION = Profile("region", 0.020, 90e6, 1e9)
FAR = Profile("far", 0.100, 12e6, 40e6, "far")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the server did since it was last reset."""

    requests: int
    bytes: int
    cpu: float
    """Seconds of a core."""


class Server:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.root = f"http://127.0.0.1:{port}"

    def set(self, profile: Profile) -> None:
        """Let it be as far away as `profile` says. Nothing may be under way."""
        self._ask(
            f"__set?latency={profile.latency}&connection={profile.connection:.0f}&aggregate={profile.aggregate:.0f}"
        )

    def reset(self) -> None:
        """Count anew."""
        self._ask("__reset")

    def stats(self) -> Traffic:
        """Return what it did since it was reset."""
        return Traffic(**self._ask("__stats"))

    def _ask(self, what: str) -> dict:
        with urllib.request.urlopen(f"{self.root}/{what}", timeout=30) as answer:
            return json.load(answer)


def compiler() -> str | None:
    """Return the C compiler, or None if there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@contextmanager
def serve(folder: Path, build: Path) -> Iterator[Server]:
    """Serve `folder`, laid out like the bucket, for as long as the block lasts; the program is compiled in `build`."""
    build.mkdir(parents=True, exist_ok=True)
    program = build / "server"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        cc = compiler()
        if cc is None:
            message = "no C compiler: expected cc, gcc or clang, for the server that the benchmark reads from"
            raise FileNotFoundError(message)
        fresh = program.with_suffix(".new")
        subprocess.run([cc, "-O2", "-pthread", "-o", fresh, SOURCE], check=True)
        fresh.replace(program)
    command = [program.absolute(), folder.absolute(), BUCKET]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Server(int(process.stdout.readline()))
        process.stdin.close()  # which ends it, as would the end of this process
