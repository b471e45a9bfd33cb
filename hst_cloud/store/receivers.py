"""What takes the answer to one request as it comes, one object for each try: a page, or a part of a range.

Both are what `hst_cloud.store.exchange.Receiver` says, on whatever thread the engine calls them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Self

from hst_cloud.store.s3 import Answer, Body, Piece, Span, Unusable, beyond_end, verdict

__all__ = ["ERROR_SIZE", "Page", "Part"]

ERROR_SIZE = 64 * 1024
"""Bytes of an answer without the bytes asked for that are looked at: S3's errors have some hundreds."""

USUAL_PAGE = 512 * 1024
"""Bytes that a page of a listing may have: 1,000 keys of the archive with their other fields take 300 to 400 kB."""


class Page:
    """An answer that is read whole, or to `most` bytes at least if it has more."""

    def __init__(self, most: int) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.came = 0
        self.kept = self.begun = False
        self.sent = math.inf
        self.wait = 0.0
        self._most = most
        self._body = bytearray()

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers."""
        self.begun = True
        self.wait = time.monotonic() - self.sent
        self.status, self.headers = status, headers

    def twin(self) -> Self | None:
        """Return what can receive the answer to the same request if that begins sooner; None if nothing shall."""
        return None

    def take(self, chunk: bytes) -> bool:
        """Take bytes, and tell whether more are wanted."""
        self.came += len(chunk)
        self._body += chunk
        return len(self._body) < self._most

    def place(self) -> memoryview | None:
        """Return None: the bytes are taken as they come."""
        return None

    def placed(self, size: int) -> None:
        """Never called."""

    @property
    def expected(self) -> int:
        """Bytes that may come: of a page, as many as are usual."""
        return USUAL_PAGE

    @property
    def whole(self) -> bool:
        """Whether nothing is left to come, so that it does not matter how the request ends."""
        return False

    @property
    def answer(self) -> Answer:
        """What was read."""
        return Answer(self.status, self.headers, bytes(self._body[: self._most]))


class Part(Page):
    """The answer to a request for what is missing of `body`."""

    def __init__(self, body: Body, rivals: list[int] | None = None) -> None:
        super().__init__(ERROR_SIZE)
        self._range = body
        self._span = Span(0, 0, exact=True)
        self._missing = 0
        # Which have begun: not they themselves, which would keep their memory until cycles are collected.
        self._rivals = [] if rivals is None else rivals

    @property
    def expected(self) -> int:
        """Bytes of the range that are still to come."""
        return self._range.missing

    @property
    def whole(self) -> bool:
        """Whether all bytes that were announced are here; there is no request for what is missing of them."""
        return self._span.size > 0 and self._missing == 0

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers.

        Raises
        ------
        Unusable
            They announce other bytes than were asked for, or another version; or another one began sooner.
        """
        self._rivals.append(id(self))  # which no two threads do at once
        if self._rivals[0] != id(self):
            text = "was answered to another request"
            raise Unusable(text, again=True)
        super().begin(status, headers)
        if status == 206:
            self._span = self._range.begin(headers)
            self._missing = self._span.size

    def twin(self) -> Self:
        """Return another one, the first of which to begin gets the bytes."""
        return type(self)(self._range, self._rivals)

    def take(self, chunk: bytes) -> bool:
        """Take bytes, and tell whether more are wanted."""
        if self.status != 206:
            return super().take(chunk)
        self.came += len(chunk)
        if not self._span.exact:
            return self._take_some(chunk)
        self._missing -= len(chunk)
        if self._missing < 0:
            return False
        self._range.add(chunk)
        return True

    def _take_some(self, chunk: bytes) -> bool:
        """Take what is wanted of an answer that holds more; what comes behind it is left with the connection."""
        skip = self._span.skip
        self._span = self._span._replace(skip=max(0, skip - len(chunk)))
        wanted = chunk[skip : skip + self._missing]
        self._missing -= len(wanted)
        self._range.add(wanted)
        return self._missing > 0

    def place(self) -> memoryview | None:
        """Return where the next bytes of the range belong."""
        return self._range.place(self._missing) if self._missing > 0 and self._span.exact else None

    def placed(self, size: int) -> None:
        """Note that so many were received there."""
        self.came += size
        self._missing -= size
        self._range.got += size

    def piece(self) -> Piece:
        """Return the bytes of the whole range.

        Raises
        ------
        Unusable
            They are not there, or more than they.
        """
        if self.status != 206:
            nothing = beyond_end(self.answer, self._range)
            if nothing is None:
                raise verdict(self.answer, self._range)
            if self.status == 200 and self.kept:  # S3 refuses ranges of nothing: this may be what stood behind another
                text = "answered with nothing at all"
                raise Unusable(text, again=True, headers=self.headers)
            return nothing
        if self._missing:
            if self._missing < 0:
                self._range.drop()
            text = f"sent {'more' if self._missing < 0 else f'{self._missing} bytes less'} than its Content-Range says"
            raise Unusable(text, again=True, headers=self.headers)
        return self._range.piece()
