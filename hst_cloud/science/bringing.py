"""The files of one download on their way, many at a time: what each needs, and how far they all have come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

from hst_cloud.archive.session import Watcher
from hst_cloud.science.many import OnError
from hst_cloud.science.steps import Step, run_steps
from hst_cloud.science.transfer import Transfer, Trip
from hst_cloud.values import Progress

__all__ = ["Bringing"]


class Bringing:
    """The files of one call, on their way."""

    def __init__(
        self, trip: Trip, transfers: Sequence[Transfer], *, in_flight: int, on_error: OnError, progress: Watcher | None
    ) -> None:
        self._trip = trip
        self._transfers = transfers
        self._in_flight = in_flight
        self._on_error = on_error
        self._progress = progress
        self._told: Progress | None = None

    @property
    def need(self) -> int:
        """Bytes that are to be written, as far as is known."""
        return sum(transfer.need for transfer in self._open())

    def _open(self) -> list[Transfer]:
        return [transfer for transfer in self._transfers if transfer.entry is None]

    def look(self) -> None:
        """Find out what is there, and what is needed."""
        self._take(self._transfers, lambda transfer: transfer.look, lambda: None)

    def fetch(self) -> None:
        """Bring what is needed."""
        size = self.need
        try:
            self._take(self._open(), lambda transfer: transfer.fetch, lambda: self._tell(size))
            self._tell(size)
        finally:
            for transfer in self._transfers:
                transfer.close()

    def _take(self, transfers: Iterable[Transfer], begin: Callable[[Transfer], Step], idle: Callable[[], None]) -> None:
        settled = run_steps(
            transfers,
            begin,
            Transfer.settle,
            threads=self._in_flight,
            call_off=self._trip.reads.call_off,
            idle=idle,
        )
        with contextlib.closing(settled):
            for transfer in settled:
                if transfer.error is not None and self._on_error == "raise":
                    raise transfer.error

    def _tell(self, size: int) -> None:
        if self._progress is None:
            return
        total = len(self._transfers)
        message = Progress(
            what="files", done=total - len(self._open()), total=total, bytes=self._trip.tally.bytes, size=size
        )
        if message != self._told:
            self._told = message
            self._progress(message)
