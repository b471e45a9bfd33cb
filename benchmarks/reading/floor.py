"""The least that the network allows: the bytes that the work needs, over raw sockets, and nothing done with them.

One thread, non-blocking sockets, buffers that are used again. What it takes beyond what arithmetic says of the link is
what this machine and the server take.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from benchmarks.reading.files import PREFIX, File
from benchmarks.reading.values import Ready, Setting
from hst_cloud.settings import BUCKET

Request = tuple[str, int, int]
"""Key, first byte, one past the last."""

PART = 8 * 2**20
SPLIT = 8
"""Parts of one read of a megabyte or so: with more of them it takes no less."""


class Client:
    """Connections to the server, and one buffer for each."""

    def __init__(self, root: str, connections: int) -> None:
        where = urlsplit(root)
        self.poll = selectors.DefaultSelector()
        self.free = []
        for _ in range(connections):
            one = socket.create_connection((where.hostname, where.port))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setblocking(False)
            self.free.append(one)
        self.buffers = {one: bytearray(PART + 4096) for one in self.free}

    def read(self, requests: Iterable[Request]) -> int:
        """Read everything that is asked for, as many requests at a time as there are connections; return its bytes."""
        waiting = iter(requests)
        total, busy, more = 0, {}, True
        while more or busy:
            while self.free and more:
                request = next(waiting, None)
                more = request is not None
                if more:
                    one = self.free.pop()
                    key, start, stop = request
                    one.send(
                        f"GET /{BUCKET}/{key} HTTP/1.1\r\nHost: x\r\nRange: bytes={start}-{stop - 1}\r\n\r\n".encode()
                    )
                    busy[one] = [0, None]  # bytes that came, and bytes that will have come at the end
                    self.poll.register(one, selectors.EVENT_READ)
            for key, _ in self.poll.select() if busy else ():
                one, state = key.fileobj, busy[key.fileobj]
                buffer = memoryview(self.buffers[one])
                try:
                    state[0] += one.recv_into(buffer[state[0] :])
                except BlockingIOError:
                    continue
                if state[1] is None:
                    head = bytes(buffer[: state[0]])
                    end = head.find(b"\r\n\r\n")
                    if end < 0:
                        continue
                    assert head.startswith(b"HTTP/1.1 206"), head[:80]
                    length = int(head[head.find(b"Content-Length: ") + 16 :].split(b"\r\n", 1)[0])
                    state[1] = end + 4 + length
                    total += length
                if state[0] == state[1]:
                    self.poll.unregister(one)
                    del busy[one]
                    self.free.append(one)
        return total


def split(request: Request, parts: int) -> list[Request]:
    """Return a read as several, of equal size but for the last."""
    key, start, stop = request
    step = -(-(stop - start) // parts)
    return [(key, at, min(at + step, stop)) for at in range(start, stop, step)]


def rounds_of(work: str, setting: Setting, files: Sequence[File]) -> list[list[Request]]:
    """Return the reads that some work needs: batches, each of which must wait for the one before it."""
    facts = setting.files.facts
    key = files[0].key
    box = split((key, *facts.span), SPLIT)
    first = (key, 0, 2**16)
    large = [(key, start, stop) for start, stop in facts.headers if 2**16 <= start < facts.tail]
    behind = [*large, *split((key, facts.tail, files[0].size), SPLIT)]
    match work:
        case "headers, 2 round trips":
            return [[first], behind]
        case "headers, 1 round trip":
            return [[first, *behind]]
        case "cutout, 2 round trips":
            return [[first], box]
        case "cutout, 1 round trip":
            return [box]
        case "cutouts":
            return [[(file.key, *facts.span) for file in files]]
        case "prefixes":
            return [[(file.key, 0, PREFIX) for file in files]]
        case "one whole":
            return [split((key, 0, files[0].size), -(-files[0].size // PART))]
        case _:
            return [[(file.key, 0, file.size) for file in files]]


def sockets(setting: Setting, *, work: str, in_flight: int) -> Ready:
    """Read the bytes of some work over raw sockets."""
    client = Client(setting.root, in_flight)

    def run(files):
        return sum(client.read(batch) for batch in rounds_of(work, setting, files))

    return Ready(run, lambda size: size)


def physics(work: str, setting: Setting, files: Sequence[File], *, in_flight: int) -> tuple[int, int, int]:
    """Return round trips one after another, bytes, and connections that carry bytes at a time, of some work."""
    batches = rounds_of(work, setting, files)
    trips = sum(-(-len(batch) // in_flight) for batch in batches)
    size = sum(stop - start for batch in batches for _, start, stop in batch)
    return trips, size, min(in_flight, max(map(len, batches)))
