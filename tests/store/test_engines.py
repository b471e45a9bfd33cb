"""What engines tell of a request, and when they leave one: seen by what receives its answer."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace

import pytest
from store.test_drive import waits_until

import hst_cloud as hst
from hst_cloud.store import loop, objects
from hst_cloud.store.exchange import Request
from hst_cloud.store.objects import HTTPStore
from hst_cloud.store.policy import S3
from hst_cloud.store.receivers import Page
from hst_cloud.store.s3 import Unusable
from hst_cloud.store.streams import Streams
from hst_cloud.values import ByteRange

RANGE = {"Range": "bytes=0-9"}


def test_what_waits_for_a_thread_has_not_been_sent(scripted):
    """It is not late, however long it waits, and no second request is spent on it."""
    pages = [Page(1000) for _ in range(17)]

    async def read(root):
        engine = Streams()
        requests = [Request(f"{root}/k", RANGE, 60, replace(S3, read=60)) for _ in pages]
        work = [asyncio.ensure_future(engine.get(*each)) for each in zip(requests, pages, strict=True)]
        assert await asyncio.to_thread(waits_until, lambda: len(server.requests) == 16)
        sent = [page.sent for page in pages]
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await engine.close()
        return sent

    with scripted.Server(scripted.silence) as server:
        sent = asyncio.run(read(server.root))
    assert sum(math.isinf(when) for when in sent) == 1
    assert all(when <= time.monotonic() for when in sent if not math.isinf(when))


def test_what_was_not_sent_is_not_counted(scripted, monkeypatch):
    """What is given up while it waits for a thread costs nothing, of whatever budget."""
    monkeypatch.setattr(objects, "LARGE", 1)

    async def leave(store):
        reading = [asyncio.ensure_future(store.pieces("k", [ByteRange(n, n + 10)])) for n in range(17)]
        assert await asyncio.to_thread(waits_until, lambda: len(server.requests) == 16)
        for each in reversed(reading):
            each.cancel()
            await asyncio.wait([each])

    with scripted.Server(scripted.silence) as server, hst.budget() as spent:
        store = HTTPStore(server.root, policy=replace(S3, read=60))
        loop.run(leave(store))
    assert (store.traffic.requests, spent.spent.requests) == (16, 16)


def test_a_process_that_stood_still_leaves_no_body(scripted):
    """Where bytes are looked at late, it is not known what came when: the window begins anew."""

    class Late(Page):
        def take(self, chunk):
            time.sleep(0.3)
            return super().take(chunk)

    async def read(root):
        engine, page = Streams(), Late(1000)
        strict = replace(S3, stall=0.2, bytes_per_second=1e9)
        await engine.get(Request(f"{root}/k", RANGE, 60, strict), page)
        await engine.close()
        return page.answer.body

    with scripted.Server(scripted.serve()) as server:
        assert asyncio.run(read(server.root)) == scripted.CONTENT[:10]


@pytest.mark.parametrize(("came", "requests"), [(10, 1), (9, 2)])
def test_the_last_bytes_come_while_a_request_is_given_up(monkeypatch, came, requests):
    """What is there is taken: a request for what is missing of it would ask for nothing, and be answered with all."""
    asked = []

    class Slow:
        async def get(self, request, receiver):
            start = int(request.headers["Range"][6:].partition("-")[0])
            asked.append(start)
            receiver.sent = time.monotonic()
            receiver.begin(206, {"content-range": f"bytes {start}-9/10", "etag": '"one"'})
            receiver.take(b"0123456789"[start : came if len(asked) == 1 else 10])
            if len(asked) == 1:
                text = "broke off"
                raise Unusable(text, again=True)

    monkeypatch.setattr(objects._Session, "engine", lambda *_: Slow())
    store = HTTPStore("http://127.0.0.1:9", policy=replace(S3, base=0.01))
    assert store.read("k", [ByteRange(0, 10)])[0].data == b"0123456789"
    assert len(asked) == store.traffic.requests == requests


@pytest.mark.parametrize("large", [1, 10**9])
def test_who_leaves_early_leaves_no_second_request(scripted, monkeypatch, large):
    """It is waited for as the first one is: it may write into memory that is the caller's."""
    monkeypatch.setattr(objects, "LARGE", large)
    monkeypatch.setattr(objects, "WHOLE", 0)

    async def leave(store):
        reading = asyncio.ensure_future(store.pieces("k", [ByteRange(0, 10)]))
        assert await asyncio.to_thread(waits_until, lambda: len(server.requests) == 18)
        racing = store._pace().racing
        assert len(racing) == 1
        reading.cancel()
        await asyncio.wait([reading])
        return len(racing)

    with scripted.Server(*[scripted.serve()] * 16, scripted.silence) as server:
        store = HTTPStore(server.root, policy=replace(S3, read=60, hedge=0.1))
        for _ in range(16):  # until it is known what is usual: none of these is raced
            store.read("k", [ByteRange(0, 10)])
        assert loop.run(leave(store)) == 0
