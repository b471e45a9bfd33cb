"""Serve a folder as the public bucket and as MAST from a process of its own.

``python -m hst_cloud.testing FOLDER`` prints the address on its first line, to be given as ``HST_CLOUD_ENDPOINT``,
and serves until it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import signal
import socket
import sys
from pathlib import Path

from hst_cloud.testing.archive import handler, listen
from hst_cloud.testing.faults import Script, as_script
from hst_cloud.testing.files import Folder
from hst_cloud.testing.http import Server
from hst_cloud.testing.schedule import Schedule


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hst_cloud.testing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder laid out like the bucket: FOLDER/hst/public/...")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0, the default, takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before the first byte of each answer")
    parser.add_argument("--bandwidth", type=float, default=None, help="bytes per second of each connection")
    parser.add_argument("--executing", type=int, default=0, help="times that MAST answers EXECUTING first")
    parser.add_argument("--largest-page", type=int, default=50_000, help="most rows in one page of MAST")
    parser.add_argument("--faults", type=Path, default=None, help="script of faults, as JSON")
    wanted = parser.parse_args(arguments)
    try:
        faults = as_script(wanted.faults)
        listener = listen(wanted.folder, wanted.port)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(wanted, listener, faults))
    return 0


async def _serve(wanted: argparse.Namespace, listener: socket.socket, faults: Script) -> None:
    folder = Folder(wanted.folder)
    answer = handler(folder, executing=wanted.executing, largest_page=wanted.largest_page)
    server = Server(answer, latency=wanted.latency, bandwidth=wanted.bandwidth, faults=Schedule(faults))
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(server.connection, sock=listener, backlog=1024)
    ended = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    gc.freeze()  # what is imported by now stays; collections during a measurement need not look at it
    sys.stdout.write("http://{}:{}\n".format(*listener.getsockname()))
    sys.stdout.flush()
    try:
        await ended.wait()
    finally:
        listening.close()
        server.close()
        folder.close()


if __name__ == "__main__":
    sys.exit(main())
