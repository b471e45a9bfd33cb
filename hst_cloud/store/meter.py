"""A store that tells what was read through it: requests, bytes, and the version of the object."""

from __future__ import annotations

from collections.abc import Sequence

from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.objects import ListedObject, Piece, Traffic
from hst_cloud.values import ByteRange

__all__ = ["Meter"]


class Meter:
    """Pass everything on to `store`, and keep count from zero.

    Parameters
    ----------
    store : optional
        What is read, as `hst_cloud.open` takes it.
    """

    def __init__(self, store: StoreLike = None) -> None:
        self._store = as_store(store)
        before = self._store.traffic
        self._before = Traffic(before.requests, before.bytes)
        self.size: int | None = None
        """Bytes of the object that was read last; None before any was."""
        self.etag: str | None = None
        """Its version."""

    def __repr__(self) -> str:
        return f"Meter({self._store!r})"

    @property
    def traffic(self) -> Traffic:
        """What the store has sent and received since this meter was made."""
        now = self._store.traffic
        return Traffic(now.requests - self._before.requests, now.bytes - self._before.bytes)

    def address(self, key: str) -> str:
        """Return where `key` lies."""
        return self._store.address(key)

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[Piece]:
        """Return the bytes of every range: see `hst_cloud.store.objects.Store.read`."""
        pieces = self._store.read(key, ranges, etag=etag)
        if pieces:
            self.size, self.etag = pieces[0].size, pieces[0].etag
        return pieces

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        """Return the objects below each prefix: see `hst_cloud.store.objects.Store.listings`."""
        return self._store.listings(prefixes)
