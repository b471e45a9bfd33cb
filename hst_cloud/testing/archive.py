"""`LocalArchive`: a folder served on loopback as the public bucket and as MAST."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from hst_cloud.testing.catalog import Catalog
from hst_cloud.testing.faults import Fault, FaultsLike, Script, as_script
from hst_cloud.testing.files import Folder
from hst_cloud.testing.http import Server
from hst_cloud.testing.mast import PATHS, Mast
from hst_cloud.testing.messages import Answer, Ask, Work
from hst_cloud.testing.s3 import s3_answer
from hst_cloud.testing.schedule import Schedule, service_of
from hst_cloud.testing.wire import Scripted

__all__ = ["LocalArchive", "Request", "handler", "listen"]

_ENDPOINT = "HST_CLOUD_ENDPOINT"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that a `LocalArchive` has answered."""

    method: str
    """``GET``, ``HEAD`` or ``POST``."""
    path: str
    """Decoded path of the address: ``/stpubdata/hst/public/...``."""
    query: str
    """What followed the question mark, as sent; empty where there was none."""
    range: str | None
    """The Range header, as sent; None where there was none."""
    status: int
    """HTTP status of the answer; 0 where a fault let none be sent."""
    bytes: int
    """Bytes sent behind the answer's head, or to be sent; 0 for HEAD."""
    service: Literal["s3", "mast"]
    """Which of the two services was asked."""
    body: str = ""
    """What was posted, as sent."""
    in_flight: int = 1
    """How many requests were being answered when this one came, itself included."""
    fault: Fault | None = None
    """The fault that it met."""
    headers: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Its header fields, by their names in lower case."""


class LocalArchive:
    """Serve a folder laid out like the public bucket, on loopback, as Amazon S3 and as MAST.

    The folder's file ``hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits`` is the object of that key in the bucket
    ``stpubdata``, at ``{endpoint}/stpubdata/hst/public/...``. MAST's services answer at the paths that they have on
    mast.stsci.edu, from a catalog made of the files' own headers when it is first asked for. Files may be added,
    replaced and removed while the archive runs.

    As a context manager it starts, sets ``HST_CLOUD_ENDPOINT`` so that it is the default archive of every function
    of this package in this process and its children, and on exit restores the variable and stops.

    Parameters
    ----------
    folder : str or Path
        What to serve. Two names at its top are special: ``catalog.json`` holds further rows of the catalog
        (see `hst_cloud.testing.catalog`), and the files in ``mast-only/`` can be had from MAST's Download service
        but are no objects.
    latency : float, optional
        Seconds from a request to the first byte of its answer. Requests of several connections wait together.
    bandwidth : float, optional
        Bytes per second of each connection; None for as fast as it goes.
    executing : int, optional
        How many times MAST answers ``EXECUTING`` to one query before it gives the result.
    largest_page : int, optional
        Most rows that MAST gives in one page, whatever page size is asked for.
    faults : Script, Fault, iterable of Fault, str or Path, optional
        What goes wrong: a script, its faults, or the path of one in JSON. May be changed while the archive runs.
    port : int, optional
        Port to listen on; 0 for any that is free.

    Examples
    --------
    >>> import tempfile, urllib.request
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "hst/public/jbqf/jbqf03gjq")
    ...     path.mkdir(parents=True)
    ...     _ = path.joinpath("jbqf03gjq_flc.fits").write_bytes(b"SIMPLE")
    ...     with LocalArchive(folder) as archive:
    ...         url = f"{archive.endpoint}/stpubdata/hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
    ...         with urllib.request.urlopen(url) as answer:
    ...             answer.read()
    ...         archive.requests[0].status
    b'SIMPLE'
    200

    Notes
    -----
    The server runs on one thread of this process, and so shares its processor time with what is measured.
    ``python -m hst_cloud.testing FOLDER`` serves from a process of its own.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        latency: float = 0.0,
        bandwidth: float | None = None,
        executing: int = 0,
        largest_page: int = 50_000,
        faults: FaultsLike = None,
        port: int = 0,
    ) -> None:
        self.folder = Path(folder)
        self.latency = latency
        self.bandwidth = bandwidth
        self.executing = executing
        self.largest_page = largest_page
        self._schedule = Schedule(as_script(faults))
        self._port = port
        self._endpoint: str | None = None
        self._requests: list[Request] = []
        self._end: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None
        self._before: str | None = None

    def __repr__(self) -> str:
        return f"LocalArchive({str(self.folder)!r}, {self._endpoint or 'stopped'})"

    @property
    def endpoint(self) -> str:
        """Root address, such as ``http://127.0.0.1:40321``.

        Raises
        ------
        RuntimeError
            The archive is not running.
        """
        if self._endpoint is None:
            message = f"{self!r} has no address: start it, or enter it with 'with'"
            raise RuntimeError(message)
        return self._endpoint

    @property
    def requests(self) -> list[Request]:
        """Every request answered since the start or since `forget`, in the order in which they came."""
        return list(self._requests)

    @property
    def faults(self) -> Script:
        """What goes wrong; setting it, also to what it is, begins the script anew.

        Requests whose answers have begun are not concerned.

        Raises
        ------
        ValueError
            What it is set to is no script.
        """
        return self._schedule.script

    @faults.setter
    def faults(self, faults: FaultsLike) -> None:
        self._schedule.set(as_script(faults))

    def forget(self) -> None:
        """Empty the list of requests."""
        self._requests.clear()

    def start(self) -> Self:
        """Listen and answer, until `stop`. Starting an archive that runs changes nothing.

        Raises
        ------
        NotADirectoryError
            There is no such folder.
        OSError
            The port is taken.
        """
        if self._thread is not None:
            return self
        listener = listen(self.folder, self._port)
        self._endpoint = "http://{}:{}".format(*listener.getsockname())
        loop, ended = asyncio.new_event_loop(), asyncio.Event()

        def run() -> None:
            with contextlib.closing(loop), listener:
                loop.run_until_complete(self._serve(listener, ended))

        def end() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(ended.set)

        self._end = end
        self._thread = threading.Thread(target=run, name="hst_cloud archive", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Drop every connection; thread and sockets are gone when this returns."""
        end, thread = self._end, self._thread
        if end is None or thread is None:
            return
        end()
        thread.join()
        self._end = self._thread = self._endpoint = None

    def __enter__(self) -> Self:
        self.start()
        self._before = os.environ.get(_ENDPOINT)
        os.environ[_ENDPOINT] = self.endpoint
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is None:
            os.environ.pop(_ENDPOINT, None)
        else:
            os.environ[_ENDPOINT] = self._before
        self.stop()

    async def _serve(self, listener: socket.socket, ended: asyncio.Event) -> None:
        folder = Folder(self.folder)
        answer = handler(folder, executing=self.executing, largest_page=self.largest_page)
        server = Server(answer, latency=self.latency, bandwidth=self.bandwidth, faults=self._schedule, seen=self._seen)
        listening = await asyncio.get_running_loop().create_server(server.connection, sock=listener, backlog=1024)
        await ended.wait()
        # A connection whose task begins after the listener was closed fails in asyncio, which leaves its socket open.
        while arriving := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(arriving)
        listening.close()
        server.close()
        for _ in range(2):
            await asyncio.sleep(0)  # dropped connections close their sockets on one of the loop's next turns
        folder.close()

    def _seen(self, ask: Ask, answer: Answer, form: Scripted | None) -> None:
        sent = 0 if ask.method == "HEAD" or answer.status == 304 else answer.length
        self._requests.append(
            Request(
                ask.method,
                ask.path,
                ask.query,
                ask.headers.get("range"),
                answer.status if form is None else form.status,
                sent if form is None else form.sent,
                service_of(ask.path),
                ask.body.decode("utf-8", "replace"),
                ask.in_flight,
                None if form is None else form.fault,
                ask.headers,
            )
        )


def handler(folder: Folder, *, executing: int = 0, largest_page: int = 50_000) -> Callable[[Ask], Answer | Work]:
    """Return the function that answers as both services of the archive in `folder`."""
    mast = Mast(Catalog(folder), folder, executing=executing, largest_page=largest_page)

    def answer(ask: Ask) -> Answer | Work:
        return mast.answer(ask) if ask.path.startswith(PATHS) else s3_answer(ask, folder)

    return answer


def listen(folder: Path, port: int) -> socket.socket:
    """Return a socket that listens on loopback.

    Raises
    ------
    NotADirectoryError
        There is no `folder` to serve.
    """
    if not folder.is_dir():
        message = f"{str(folder)!r} is no folder: give one laid out like the bucket, holding hst/public/..."
        raise NotADirectoryError(message)
    return socket.create_server(("127.0.0.1", port), backlog=1024)
