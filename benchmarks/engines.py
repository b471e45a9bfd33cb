"""Which HTTP engine the store stands on: the candidates on the same ranges, in one run, against one server.

Run it with ``python benchmarks/engines.py``; it takes some minutes and prints the tables of
``docs/decisions/engine.rst``. The server is a process of its own, and its own ceiling is the first line of each table:
a raw socket that does nothing else. Every engine is asked for what the store needs where it can give it
(If-Match sent, ETag and Content-Range read); what it cannot give is in the decision page.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import http.client
import multiprocessing
import re
import resource
import socket
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import numpy as np

SIZE = 168_000_000  # bytes of an ACS/WFC flc
ETAG = "0123456789abcdef0123456789abcdef"
Ranges = Sequence[tuple[int, int]]
Read = Callable[[Ranges], list]


@dataclass(frozen=True)
class Work:
    """A set of ranges, read at once."""

    name: str
    ranges: Ranges
    in_flight: int


WORK = {
    "small": Work("2000 x 16 KiB", [(n * 81_920, n * 81_920 + 16_384) for n in range(2000)], 64),
    "large": Work("168 MB in 8 MiB", [(n, min(n + 2**23, SIZE)) for n in range(0, SIZE, 2**23)], 16),
}


# --- The server ------------------------------------------------------------------------------------------------------


def content() -> bytes:
    """Return the bytes of the object, which no server compresses."""
    return np.random.default_rng(1).bytes(SIZE)


def answer(connection: socket.socket, data: memoryview, latency: float) -> None:
    """Answer the requests of one connection until it is closed."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    got = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in got:
                more = connection.recv(65536)
                if not more:
                    return
                got += more
            head, _, got = got.partition(b"\r\n\r\n")
            found = re.search(rb"bytes=(\d+)-(\d+)", head)
            start, stop = int(found[1]), int(found[2]) + 1
            if latency:
                time.sleep(latency)
            said = (
                f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{stop - 1}/{len(data)}\r\n"
                f'Content-Length: {stop - start}\r\nETag: "{ETAG}"\r\nAccept-Ranges: bytes\r\n'
                "Last-Modified: Sat, 01 Aug 2026 00:00:00 GMT\r\nx-amz-request-id: 4442587FB7D0A2F9\r\n"
                "Content-Type: binary/octet-stream\r\nServer: AmazonS3\r\n\r\n"
            )
            connection.sendall(said.encode())
            connection.sendall(data[start:stop])


def server(latency: float, port) -> None:
    """Serve the object on loopback: a thread for each connection, which a C call keeps busy most of the time."""
    data = memoryview(content())
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=[connection, data, latency], daemon=True).start()


# --- The candidates: each takes the server's address and the bound, and returns a function that reads ranges ----------


def raw(root: str, in_flight: int) -> tuple[Read, Callable]:
    """Speak over sockets and look at nothing: what the server can give."""
    where = urlsplit(root)
    local = threading.local()

    def one(wanted):
        start, stop = wanted
        if not hasattr(local, "socket"):
            local.socket = socket.create_connection((where.hostname, where.port))
        request = f"GET {where.path}/k HTTP/1.1\r\nHost: x\r\nRange: bytes={start}-{stop - 1}\r\n\r\n"
        local.socket.sendall(request.encode())
        buffer = bytearray(stop - start)
        view, got = memoryview(buffer), local.socket.recv(4096)
        body = got.partition(b"\r\n\r\n")[2]
        view[: len(body)] = body
        at = len(body)
        while at < len(buffer):
            at += local.socket.recv_into(view[at:])
        return buffer

    threads = ThreadPoolExecutor(in_flight)
    return (lambda ranges: list(threads.map(one, ranges))), threads.shutdown


def store(root: str, in_flight: int) -> tuple[Read, Callable]:
    """Read as hst_cloud does, with all its checks."""
    from hst_cloud.store.objects import HTTPStore
    from hst_cloud.store.policy import S3
    from hst_cloud.values import ByteRange

    it = HTTPStore(root, policy=replace(S3, in_flight=in_flight))

    def read(ranges):
        return [piece.data for piece in it.read("k", [ByteRange(*r) for r in ranges], etag=ETAG)]

    return read, lambda: None


def on_a_loop(make: Callable, in_flight: int, new_loop=asyncio.new_event_loop) -> tuple[Read, Callable]:
    """Drive an asynchronous engine from one private loop thread, with a bound on requests."""
    loop = new_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def wait(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    one, close = wait(make())

    async def every(ranges):
        slots = asyncio.Semaphore(in_flight)

        async def bounded(wanted):
            async with slots:
                return await one(*wanted)

        return await asyncio.gather(*[bounded(r) for r in ranges])

    return (lambda ranges: wait(every(ranges))), (lambda: wait(close()))


def aiohttp(root: str, in_flight: int, *, buffer: int = 2**16, new_loop=asyncio.new_event_loop):
    """Read with bare aiohttp: headers looked at, nothing else."""
    import aiohttp as engine

    async def make():
        client = engine.ClientSession(connector=engine.TCPConnector(limit=0), read_bufsize=buffer)

        async def one(start, stop):
            headers = {"Range": f"bytes={start}-{stop - 1}", "If-Match": f'"{ETAG}"'}
            async with client.get(f"{root}/k", headers=headers) as response:
                body = await response.read()
                assert (response.status, response.headers["ETag"], len(body)) == (206, f'"{ETAG}"', stop - start)
                return body

        return one, client.close

    return on_a_loop(make, in_flight, new_loop)


def aiohttp_uvloop(root: str, in_flight: int):
    """Read with bare aiohttp on uvloop."""
    import uvloop

    return aiohttp(root, in_flight, new_loop=uvloop.new_event_loop)


def aiohttp_megabyte(root: str, in_flight: int):
    """Read with bare aiohttp and a buffer of 1 MiB instead of 64 KiB."""
    return aiohttp(root, in_flight, buffer=2**20)


def _obstore(root: str):
    from obstore.store import S3Store

    where = urlsplit(root)
    return S3Store(
        where.path.strip("/"),
        endpoint=f"http://{where.netloc}",
        region="us-east-1",
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def obstore_get(root: str, in_flight: int):
    """Read with obstore's conditional get, which brings ETag and size."""
    it = _obstore(root)

    async def make():
        async def one(start, stop):
            answer = await it.get_async("k", options={"range": (start, stop), "if_match": f'"{ETAG}"'})
            body = await answer.bytes_async()
            assert (answer.meta["e_tag"], answer.meta["size"], len(body)) == (f'"{ETAG}"', SIZE, stop - start)
            return body

        return one, lambda: asyncio.sleep(0)

    return on_a_loop(make, in_flight)


def obstore_get_range(root: str, in_flight: int):
    """Read with obstore's plain range, which brings bytes alone."""
    it = _obstore(root)

    async def make():
        async def one(start, stop):
            return await it.get_range_async("k", start=start, end=stop)

        return one, lambda: asyncio.sleep(0)

    return on_a_loop(make, in_flight)


def libcurl(root: str, in_flight: int):
    """Read with libcurl's multi interface, driven by the thread that asks."""
    import pycurl

    multi, idle = pycurl.CurlMulti(), []
    multi.setopt(pycurl.M_MAXCONNECTS, in_flight)
    for _ in range(in_flight):
        curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.BUFFERSIZE, 256 * 1024)
        idle.append(curl)

    def read(ranges):
        found, waiting, busy = [None] * len(ranges), iter(enumerate(ranges)), {}
        while None in found:
            while idle and (following := next(waiting, None)) is not None:
                number, (start, stop) = following
                curl, lines, chunks = idle.pop(), [], []
                curl.setopt(pycurl.URL, f"{root}/k")
                curl.setopt(pycurl.HTTPHEADER, [f"Range: bytes={start}-{stop - 1}", f'If-Match: "{ETAG}"'])
                curl.setopt(pycurl.HEADERFUNCTION, lines.append)
                curl.setopt(pycurl.WRITEFUNCTION, chunks.append)
                busy[curl] = number, lines, chunks
                multi.add_handle(curl)
            multi.perform()
            _, ended, failed = multi.info_read(in_flight)
            assert not failed, failed
            for curl in ended:
                multi.remove_handle(curl)
                idle.append(curl)
                number, lines, chunks = busy.pop(curl)
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                start, stop = ranges[number]
                assert lines[0].split()[1] == b"206"
                assert (f'ETag: "{ETAG}"\r\n'.encode() in lines, len(body)) == (True, stop - start)
                found[number] = body
            if not ended:
                multi.select(1)
        return found

    return read, lambda: None


def http_client(root: str, in_flight: int):
    """Read with the standard library's client on threads, into buffers made beforehand."""
    where = urlsplit(root)
    local = threading.local()

    def one(wanted):
        start, stop = wanted
        if not hasattr(local, "client"):
            local.client = http.client.HTTPConnection(where.hostname, where.port)
            local.client.connect()
            local.client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {"Range": f"bytes={start}-{stop - 1}", "If-Match": f'"{ETAG}"'}
        local.client.request("GET", f"{where.path}/k", headers=headers)
        response = local.client.getresponse()
        buffer = bytearray(stop - start)
        view, at = memoryview(buffer), 0
        while at < len(buffer) and (got := response.readinto(view[at:])):
            at += got
        response.read()
        assert (response.status, response.headers["ETag"], at) == (206, f'"{ETAG}"', len(buffer))
        return buffer

    threads = ThreadPoolExecutor(in_flight)
    return (lambda ranges: list(threads.map(one, ranges))), threads.shutdown


def urllib3(root: str, in_flight: int):
    """Read with urllib3's pool on threads."""
    import urllib3 as engine

    pool = engine.PoolManager(maxsize=in_flight, retries=False)

    def one(wanted):
        start, stop = wanted
        headers = {"Range": f"bytes={start}-{stop - 1}", "If-Match": f'"{ETAG}"'}
        response = pool.request("GET", f"{root}/k", headers=headers)
        assert (response.status, response.headers["ETag"], len(response.data)) == (206, f'"{ETAG}"', stop - start)
        return response.data

    threads = ThreadPoolExecutor(in_flight)
    return (lambda ranges: list(threads.map(one, ranges))), threads.shutdown


def s3fs_cat_ranges(root: str, in_flight: int):
    """Read with s3fs as its users do, its pool widened; it sends no condition."""
    import s3fs

    where = urlsplit(root)
    fs = s3fs.S3FileSystem(
        anon=True,
        endpoint_url=f"http://{where.netloc}",
        config_kwargs={"max_pool_connections": in_flight},
        skip_instance_cache=True,
    )
    path = f"{where.path.strip('/')}/k"

    def read(ranges):
        starts, stops = zip(*ranges, strict=True)
        return fs.cat_ranges([path] * len(ranges), list(starts), list(stops), batch_size=in_flight)

    return read, lambda: None


CANDIDATES = [
    raw,
    store,
    aiohttp,
    aiohttp_megabyte,
    aiohttp_uvloop,
    obstore_get,
    obstore_get_range,
    libcurl,
    http_client,
    urllib3,
    s3fs_cat_ranges,
]


# --- The comparison --------------------------------------------------------------------------------------------------


def timed(make: Callable, root: str, work: Work, expected: str, channel) -> None:
    """Read the work once to warm up and once under the clock, in a fresh process; send both clocks' seconds."""
    try:
        read, close = make(root, work.in_flight)
    except ImportError as error:
        channel.send(str(error))
        return
    read(work.ranges)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    data = read(work.ranges)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    close()
    digest = hashlib.blake2b()
    for piece in data:
        digest.update(piece)
    assert digest.hexdigest() == expected, f"{make.__name__} read other bytes"
    channel.send((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))


def compare(work: Work, latency: float, rounds: int, names: Sequence[str]) -> None:
    """Time every candidate in alternating order and print the medians, and their ratios to the store's."""
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe()
    served = fresh.Process(target=server, args=(latency, theirs), daemon=True)
    served.start()
    root = f"http://127.0.0.1:{ours.recv()}/bucket"
    data = content()
    expected = hashlib.blake2b(b"".join(data[start:stop] for start, stop in work.ranges)).hexdigest()
    del data
    chosen = [c for c in CANDIDATES if not names or c.__name__ in names]
    found: dict[str, list[tuple[float, float]]] = {}
    for turn in range(rounds):
        for make in chosen if turn % 2 == 0 else reversed(chosen):
            process = fresh.Process(target=timed, args=(make, root, work, expected, theirs))
            process.start()
            process.join()
            got = ours.recv() if ours.poll() else "failed"
            if isinstance(got, str):
                print(f"{make.__name__}: left out ({got})")
            else:
                found.setdefault(make.__name__, []).append(got)
    served.kill()
    served.join()
    print(f"\n{work.name}, {work.in_flight} in flight, latency {latency * 1000:g} ms, median of {rounds}\n")
    print(f"{'engine':20} {'wall s':>8} {'CPU s':>8} {'us/request':>11} {'wall / store':>13}")
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    for name, (wall, cpu) in medians.items():
        ratio = wall / medians["store"][0] if "store" in medians else float("nan")
        print(f"{name:20} {wall:8.3f} {cpu:8.3f} {cpu / len(work.ranges) * 1e6:11.0f} {ratio:13.2f}")


def main() -> None:
    """Compare on small and large ranges, without latency and with that of a region."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that each engine is timed (default 3)")
    parser.add_argument("--latency", type=float, nargs="*", default=[0, 20], help="milliseconds (default 0 20)")
    parser.add_argument("--work", nargs="*", choices=list(WORK), default=list(WORK), help="small or large ranges")
    parser.add_argument("engines", nargs="*", help="which of " + ", ".join(c.__name__ for c in CANDIDATES))
    chosen = parser.parse_args()
    for work in chosen.work:
        for latency in chosen.latency:
            compare(WORK[work], latency / 1000, chosen.rounds, chosen.engines)


if __name__ == "__main__":
    main()
