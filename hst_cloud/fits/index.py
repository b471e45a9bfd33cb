"""Layouts, headers and small distortion tables that outlive the process, in a SQLite file that all processes share.

What the index knows of a file is taken for true without asking: the request for data that follows is pinned to the
version that was known (``If-Match``), so a file that was replaced is noticed by the first byte that is read of it, and
`hst_cloud.fits.recall` then scans it anew, once. Headers alone prove nothing: who reads no data must know the version
from elsewhere, as from a listing, or live with headers that may be of a version that is gone.

The index is a convenience. Where it cannot be written it is not used, where it is damaged it is made anew, and every
record carries a checksum, so that what a disk did to it is never taken for a layout.
``docs/decisions/index-of-layouts.rst`` says why it is as it is, `hst_cloud.fits.records` what a record holds.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import sqlite3
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

from hst_cloud.errors import QueryError
from hst_cloud.fits.database import Database, number, transaction
from hst_cloud.fits.layout import Scan
from hst_cloud.fits.records import Record, as_blob, packed, unpacked
from hst_cloud.settings import cache_folder
from hst_cloud.store.objects import Store

__all__ = ["MAX_BYTES", "Index", "IndexLike", "as_index"]

_Row: TypeAlias = tuple[bytes, bytes, int, int, bytes, bytes, bytes, bytes]

SCHEMA = 2
"""Version of the tables and of the records in them. Each has a file of its own, so that two versions of this package
do not undo each other's work."""

MAX_BYTES = 1024 * 1024 * 1024
"""Size of the file at most: 5,000 flc files with all their headers and tables, or 20,000 of spectra."""

# What fsspec calls the places that are not beyond a network.
_HERE = frozenset({"file", "local", "memory"})

_LEAST = 1024 * 1024  # below, nothing of use fits in

# Seconds within which a second use of a file need not be noted.
_RECENT = 3600
# Uses that are noted together: a transaction costs as much as a look.
_NOTES = 64
# Files that are put in one transaction, and their bytes: others that write wait for it, 25 ms for these (measured).
_TOGETHER = 64
_TOGETHER_BYTES = 8 * 1024 * 1024

_FILES = """
CREATE TABLE files (
    address BLOB PRIMARY KEY, etag BLOB, used INTEGER, size INTEGER,
    layout BLOB, headers BLOB, tables BLOB, checksum BLOB
)
"""
_BY_USE = "CREATE INDEX files_by_use ON files (used, size)"


class Index:
    """What is known of files that were read before, by this process or another.

    Nothing is opened before the first use. It may be shared by threads, used after a fork, and pickled; any number
    of processes may use one folder at the same time. Nothing that goes wrong with the file is raised.

    Parameters
    ----------
    path : str or Path, optional
        Folder of the SQLite file; by default the one that `hst_cloud.settings.cache_folder` gives. It is made when it
        is first needed, for its owner alone. Best on a local disk: SQLite's log cannot be shared by machines.
    max_bytes : int, optional
        Bytes of the file at most, at least 1 MiB; what was not used for longest goes first. Beside it lies a log of
        some 16 MB.

    Warns
    -----
    HSTCloudWarning
        Once, if the file cannot be read or written; then nothing is known and nothing is kept.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes < _LEAST:
            message = f"max_bytes of an index must be at least {_LEAST}, found {max_bytes}"
            raise QueryError(message)
        self.path = None if path is None else Path(path)
        self.max_bytes = max_bytes
        self._used: set[bytes] = set()
        self._database = Database(functools.partial(_file_in, self.path), schema=SCHEMA, tables=(_FILES, _BY_USE))

    def __repr__(self) -> str:
        return f"Index({None if self.path is None else str(self.path)!r}, max_bytes={self.max_bytes})"

    def __reduce__(self) -> tuple[object, ...]:
        return functools.partial(Index, self.path, max_bytes=self.max_bytes), ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- What it is for

    def get(self, store: Store, key: str, *, etag: str | None = None) -> Scan | None:
        """Return what is known of a file, or None.

        Parameters
        ----------
        store : Store
            Where the file is: its address is what is looked for, so no two archives share what is known.
        key : str
            Object key.
        etag : str, optional
            The version that is meant, if that is known from elsewhere; of another one nothing is returned.

        Returns
        -------
        Scan or None
            Its segments hold all headers, and the small distortion tables if they were in memory when it was put.

        Notes
        -----
        Requests: none.
        """
        address = store.address(key)
        row = self._database.ask(lambda connection: self._look(connection, as_blob(address)))
        if row is None or (etag is not None and row[0] != as_blob(etag)):
            return None
        known = unpacked(Record(*row[1:]), key, address, row[0])
        if known is None:
            self.forget(store, key)
        return known

    def put(self, store: Store, found: Scan) -> None:
        """Keep what a scan has found; it replaces what was known of that file.

        All headers are kept, and the data of ``D2IMARR`` and ``WCSDVARR`` where `found` holds them. Nothing is kept of
        a file that has no HDUs, as a compressed one, or of which the store names no version, or a weak one.
        """
        with self.together(store) as put:
            put(found)

    @contextlib.contextmanager
    def together(self, store: Store) -> Generator[Callable[[Scan], None]]:
        """Give a function that keeps what a scan has found, as `put` does, in one transaction for many.

        They are written when 64 have come, or 8 MB of them, and when the block ends, however it ends. Of a scan no
        more is held till then than what is kept.
        """
        rows: list[_Row] = []
        most = min(_TOGETHER_BYTES, self.max_bytes // 8)

        def write() -> None:
            batch = rows[:]
            rows.clear()
            self._database.ask(lambda connection: self._keep(connection, batch))

        def put(found: Scan) -> None:
            row = self._row(store, found)
            if row is None:
                return
            if sum(one[3] for one in rows) + row[3] > most:
                write()
            rows.append(row)
            if len(rows) == _TOGETHER:
                write()

        try:
            yield put
        finally:
            if rows:
                write()

    def forget(self, store: Store, key: str, *, etag: str | None = None) -> None:
        """Keep nothing of a file any more, or, with `etag`, nothing of that version."""
        address, version = as_blob(store.address(key)), None if etag is None else as_blob(etag)
        delete = "DELETE FROM files WHERE address = ? AND etag = ifnull(?, etag)"
        self._database.ask(lambda connection: connection.execute(delete, (address, version)))

    def close(self) -> None:
        """Note what is to be noted, and let go of the file; a later use opens it again."""
        if self._used:
            self._database.ask(self._note)
        self._database.close()

    def _row(self, store: Store, found: Scan) -> _Row | None:
        address = store.address(found.layout.key)
        record = packed(found, address) if not self._database.off else None
        if record is None or found.layout.etag is None or record.size > self.max_bytes // 8:
            return None
        return as_blob(address), as_blob(found.layout.etag), int(time.time()), record.size, *record

    # -- Statements

    def _look(self, connection: sqlite3.Connection, address: bytes) -> Any:  # of a damaged file, a row holds anything
        query = "SELECT etag, layout, headers, tables, checksum, used FROM files WHERE address = ?"
        rows = connection.execute(query, (address,)).fetchall()
        if not rows:
            return None
        *row, used = rows[0]
        if not isinstance(used, int) or abs(time.time() - used) > _RECENT:
            self._used.add(address)
            if len(self._used) >= _NOTES:
                with contextlib.suppress(sqlite3.OperationalError):  # another is writing: then later
                    self._note(connection)
        return row

    def _note(self, connection: sqlite3.Connection) -> None:
        """Write down which files were used."""
        now = int(time.time())
        with transaction(connection):
            connection.executemany("UPDATE files SET used = ? WHERE address = ?", [(now, a) for a in self._used])
        self._used.clear()

    def _keep(self, connection: sqlite3.Connection, rows: list[_Row]) -> None:
        if self._used:
            self._note(connection)
        with transaction(connection):
            self._make_room(connection, sum(row[3] for row in rows), len(rows))
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._cut(connection)

    def _make_room(self, connection: sqlite3.Connection, needed: int, rows: int) -> None:
        """Delete what was not used for longest, so that the file need not grow beyond its bound."""
        page, pages = number(connection, "PRAGMA page_size"), number(connection, "PRAGMA page_count")
        free = number(connection, "PRAGMA freelist_count")
        # Of each row a page is not filled; 7 are for the tree.
        excess = (pages - free) * page + needed + (7 + rows) * page - self.max_bytes
        if excess > 0:
            excess += self.max_bytes // 32  # so that not every put has to
            gone = []
            for row, size in connection.execute("SELECT rowid, size FROM files ORDER BY used, rowid"):
                gone.append((row,))
                excess -= size if isinstance(size, int) else 0
                if excess <= 0:
                    break
            connection.executemany("DELETE FROM files WHERE rowid = ?", gone)

    def _cut(self, connection: sqlite3.Connection) -> None:
        """Give back what lies beyond the bound: nothing, unless the file was made with a larger one."""
        page, pages = number(connection, "PRAGMA page_size"), number(connection, "PRAGMA page_count")
        if pages * page > self.max_bytes:
            # `execute` would give back one page: it stops at the first row, and there is an empty one for each page.
            connection.executescript(f"PRAGMA incremental_vacuum({pages - self.max_bytes // page})")


IndexLike: TypeAlias = "Index | bool"
"""An `Index`; True for the user's own, False for none."""


def as_index(index: IndexLike, store: Store) -> Index | None:
    """Return the index that `index` stands for where `store` is read; None for none. Opens nothing.

    The user's own is not for what lies on this machine: there is little to save, and a file that was replaced, or an
    archive of a test that was served on the same port, would be believed. Archives that are served here are kept in a
    folder that ``HST_CLOUD_CACHE`` names, and in an `Index` everything is.
    """
    if isinstance(index, Index):
        return index
    address = urlsplit(store.address("")) if index else None
    if address is None or not address.netloc or address.scheme in _HERE:
        return None
    folder = cache_folder(named=_is_loopback(address.hostname or ""))
    return None if folder is None else _index_in(folder)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _file_in(path: Path | None) -> Path | None:
    folder = cache_folder() if path is None else path.absolute()
    return None if folder is None else folder / f"layouts-{SCHEMA}.sqlite"


@functools.lru_cache(maxsize=16)
def _index_in(folder: Path) -> Index:
    return Index(folder)
