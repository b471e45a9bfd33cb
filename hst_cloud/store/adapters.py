"""Stores that a user may pass instead of the public bucket, made to speak one protocol.

Each pins its reads to one version as well as what lies beneath allows: an obstore store and s3fs send conditions
with the request; of any other file system the file's fingerprint (ETag, or size and time of modification) is compared
after every batch, at the price of one more request there.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

from hst_cloud.cost.ledger import Receipt, Source, spending
from hst_cloud.errors import (
    AccessDeniedError,
    ObjectChangedError,
    ObjectNotFoundError,
    ProductNameError,
    StoreError,
    StoreUnavailableError,
)
from hst_cloud.settings import BUCKET, endpoints, store_folder
from hst_cloud.store import loop
from hst_cloud.store.objects import HTTPStore, ListedObject, Piece, Store, Traffic, one_version, public_store
from hst_cloud.values import ByteRange

__all__ = ["FolderStore", "FsspecStore", "ObstoreStore", "StoreLike", "as_store"]

StoreLike: TypeAlias = Any
"""A Store, an fsspec file system, an obstore store, a folder, an archive's address, or None for the public bucket."""

_PARALLEL = 16  # threads that read from a file system


def as_store(store: StoreLike = None) -> Store:
    """Return `store` as a `Store`; None stands for the public bucket or what a setting names in its place.

    Raises
    ------
    ProductNameError
        It is nothing that bytes can be read from.
    """
    if store is None:
        return FolderStore(folder) if (folder := store_folder()) else public_store()
    if isinstance(store, Path) or (isinstance(store, str) and "://" not in store):
        return FolderStore(store)
    if isinstance(store, str):
        return HTTPStore(endpoints(store).bucket)
    if hasattr(store, "read") and hasattr(store, "listings"):
        return store  # type: ignore[no-any-return]  # a Store by shape
    if hasattr(store, "_strip_protocol") and hasattr(store, "cat_file"):
        return FsspecStore(store)
    if type(store).__module__.startswith("obstore"):
        return ObstoreStore(store)
    message = (
        f"{store!r} is nothing to read from: expected a Store, an fsspec file system, an obstore store, a folder, "
        "or the address of an archive"
    )
    raise ProductNameError(message)


# --- A folder --------------------------------------------------------------------------------------------------------


class FolderStore:
    """A local folder laid out like the bucket, or one of files side by side, as `hst_cloud.download` makes them."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.traffic = Traffic()
        self._source = Source(str(self.folder), "nobody")

    def __repr__(self) -> str:
        return f"FolderStore({str(self.folder)!r})"

    def address(self, key: str) -> str:
        """Return the path of `key`."""
        return str(self._place(key))

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[Piece]:
        """Return the bytes of every range: see `Store.read`."""
        path = self._path(key)
        with _batch(self._source, ranges, str(path)) as paid:
            self.traffic.requests += len(ranges)
            return _received(self._read(path, key, ranges, etag), self.traffic, paid)

    def _read(self, path: Path, key: str, ranges: Sequence[ByteRange], etag: str | None) -> list[Piece]:
        try:
            with path.open("rb") as file:
                version = _fingerprint(os.fstat(file.fileno()))
                if etag is not None and version != etag:
                    raise _changed(str(path), key, etag, version)
                size = os.fstat(file.fileno()).st_size
                pieces = [Piece(os.pread(file.fileno(), r.size, r.start), size, version) for r in ranges]
                after = _fingerprint(os.fstat(file.fileno()))
        except OSError as error:
            raise _translated(error, str(path), key) from error
        if after != version:
            raise _changed(str(path), key, version, after)
        return pieces

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        """Return the files whose paths begin with each prefix: see `Store.listings`."""
        self.traffic.requests += len(prefixes)
        with spending(self._source, requests=len(prefixes), size=0):
            return [self._listing(prefix) for prefix in prefixes]

    def _listing(self, prefix: str) -> list[ListedObject]:
        parent, _, last = prefix.rpartition("/")
        paths = (self._path(parent) if parent else self.folder).rglob("*")
        found = [path for path in paths if path.relative_to(self.folder).as_posix().startswith(prefix)]
        if parent:  # files that lie side by side, as `read` finds them: their keys are no more than their names
            found += [path for path in self.folder.glob("*") if path.name.startswith(last)]
        stats = {path.relative_to(self.folder).as_posix(): path.stat() for path in sorted(found) if path.is_file()}
        return [ListedObject(key, stat.st_size, _fingerprint(stat)) for key, stat in stats.items()]

    def _place(self, key: str) -> Path:
        """Return where `key` lies, or would lie if the folder is laid out like the bucket."""
        nested, flat = self.folder / key, self.folder / key.rpartition("/")[2]
        return flat if not nested.exists() and flat.is_file() else nested

    def _path(self, key: str) -> Path:
        path = self._place(key)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            message = f"{key!r} leads out of the folder {self.folder}"
            raise ProductNameError(message, key=key)
        return path


def _fingerprint(stat: os.stat_result) -> str:
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"


# --- fsspec ----------------------------------------------------------------------------------------------------------


class FsspecStore:
    """Objects of an fsspec file system.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The file system, with its own settings and credentials.
    root : str, optional
        What stands before the keys there: the bucket's name by default.
    """

    def __init__(self, fs: Any, root: str = BUCKET) -> None:
        self.fs = fs
        self.root = root.rstrip("/")
        self.traffic = Traffic()
        self._source = _fsspec_source(fs, self.root)

    def __repr__(self) -> str:
        return f"FsspecStore({self.fs!r}, {self.root!r})"

    def address(self, key: str) -> str:
        """Return the path of `key` with its protocol."""
        return str(self.fs.unstrip_protocol(self._path(key)))

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[Piece]:
        """Return the bytes of every range: see `Store.read`.

        Notes
        -----
        Requests: with s3fs one for each range; else one more before the first batch and one after each.
        """
        conditions = hasattr(self.fs, "_call_s3")
        with _batch(self._source, ranges, self.address(key), more=0 if conditions else 2) as paid:
            try:
                pieces = self._read_s3(key, ranges, etag) if conditions else self._read(key, ranges, etag)
            except StoreError:
                raise
            except Exception as error:  # what a file system raises is its own affair
                raise _translated(error, self.address(key), key) from error
            return one_version(key, _received(pieces, self.traffic, paid), self.address(key))

    def _read_s3(self, key: str, ranges: Sequence[ByteRange], etag: str | None) -> list[Piece]:
        """Read through s3fs's own call of S3, which takes conditions and shows the answer's headers."""
        from fsspec.asyn import sync  # noqa: PLC0415  # only who passes a file system needs it

        bucket, _, path = self._path(key).partition("/")
        condition = {} if etag is None else {"IfMatch": f'"{etag}"'}

        async def one(wanted: ByteRange) -> Piece:
            where = f"bytes={wanted.start}-{wanted.stop - 1}"
            answer = await self.fs._call_s3("get_object", Bucket=bucket, Key=path, Range=where, **condition)  # noqa: SLF001
            data = await answer["Body"].read()
            answer["Body"].close()
            size = int(answer.get("ContentRange", f"/{len(data)}").rpartition("/")[2])
            return Piece(data, size, answer["ETag"].strip('"'))

        async def every() -> list[Piece]:
            return list(await asyncio.gather(*[one(r) for r in ranges]))

        self.traffic.requests += len(ranges)
        pieces: list[Piece] = sync(self.fs.loop, every)
        return pieces

    def _read(self, key: str, ranges: Sequence[ByteRange], etag: str | None) -> list[Piece]:
        path = self._path(key)
        size, version = self._version(path)
        if etag is not None and version != etag:
            raise _changed(self.address(key), key, etag, version)
        inside = [ByteRange(r.start, min(r.stop, size)) for r in ranges]
        self.traffic.requests += len(ranges)
        with ThreadPoolExecutor(_PARALLEL) as threads:
            read = functools.partial(self._cat, path)
            data = list(threads.map(read, inside))
        after = self._version(path)
        if after != (size, version):
            raise _changed(self.address(key), key, version, after[1])
        return [Piece(d, size, version) for d in data]

    def _cat(self, path: str, wanted: ByteRange) -> bytes:
        if wanted.size <= 0:
            return b""
        data: bytes = self.fs.cat_file(path, start=wanted.start, end=wanted.stop)
        if len(data) != wanted.size:
            message = f"{path} gave {len(data)} bytes where {wanted.size} were asked for at {wanted.start}"
            raise StoreUnavailableError(message)
        return data

    def _version(self, path: str) -> tuple[int, str]:
        self.traffic.requests += 1
        self.fs.invalidate_cache(self.fs._parent(path))  # noqa: SLF001
        info = self.fs.info(path)
        told = [info.get(k) for k in ("ETag", "etag", "mtime", "LastModified", "created", "ino")]
        return int(info["size"]), "-".join(str(t).strip('"') for t in told if t is not None)

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        """Return the objects below each prefix: see `Store.listings`. Requests: as the file system needs."""
        self.traffic.requests += len(prefixes)
        with (
            spending(self._source, requests=len(prefixes), size=None),
            ThreadPoolExecutor(_PARALLEL) as threads,
        ):
            return list(threads.map(self._listing, prefixes))

    def _listing(self, prefix: str) -> list[ListedObject]:
        root = f"{self.root}/" if self.root else ""
        try:
            found = self.fs.find(root + prefix.rpartition("/")[0], detail=True)
        except FileNotFoundError:
            return []
        objects = []
        for path, info in sorted(found.items()):
            key = path.lstrip("/").removeprefix(root.lstrip("/"))
            if key.startswith(prefix):
                etag = info.get("ETag")
                objects.append(ListedObject(key, int(info["size"]), etag.strip('"') if etag else None))
        return objects

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}" if self.root else key


# --- obstore ---------------------------------------------------------------------------------------------------------


class ObstoreStore:
    """Objects of an obstore store whose root is the bucket.

    Its blocking calls do not notice Ctrl-C, so its asynchronous ones are awaited on the private loop.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        self.traffic = Traffic()
        self._source = _obstore_source(store)
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"ObstoreStore({self.store!r})"

    def address(self, key: str) -> str:
        """Return the store's own description with `key`."""
        return f"{self.store!r}/{key}"

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[Piece]:
        """Return the bytes of every range: see `Store.read`."""
        self._refuse_fork(key)
        self.traffic.requests += len(ranges)

        async def one(wanted: ByteRange) -> Piece:
            options: dict[str, Any] = {"range": (wanted.start, wanted.stop)}
            if etag is not None:
                options["if_match"] = f'"{etag}"'
            answer = await self.store.get_async(key, options=options)
            version = answer.meta.get("e_tag")
            data = bytes(await answer.bytes_async())
            return Piece(data, int(answer.meta["size"]), version.strip('"') if version else None)

        async def every() -> list[Piece]:
            return list(await asyncio.gather(*[one(r) for r in ranges]))

        with _batch(self._source, ranges, self.address(key)) as paid:
            try:
                pieces = loop.run(every())
            except Exception as error:  # obstore raises its own tree, and builtins
                raise _translated(error, self.address(key), key) from error
            return one_version(key, _received(pieces, self.traffic, paid), self.address(key))

    def listings(self, prefixes: Sequence[str]) -> list[list[ListedObject]]:
        """Return the objects below each prefix: see `Store.listings`."""
        self._refuse_fork("")
        self.traffic.requests += len(prefixes)

        async def one(prefix: str) -> list[ListedObject]:
            # obstore's prefixes end at a slash, S3's anywhere.
            found = await self.store.list(prefix.rpartition("/")[0]).collect_async()
            return [
                ListedObject(o["path"], int(o["size"]), o["e_tag"].strip('"') if o["e_tag"] else None)
                for o in found
                if o["path"].startswith(prefix)
            ]

        async def every() -> list[list[ListedObject]]:
            return list(await asyncio.gather(*[one(p) for p in prefixes]))

        with spending(self._source, requests=len(prefixes), size=None):
            return loop.run(every())

    def _refuse_fork(self, key: str) -> None:
        """Raise in a forked child, where obstore's threads are gone and it would wait for ever (measured)."""
        if os.getpid() != self._process:
            message = (
                f"{self!r} was made before a fork, after which obstore never answers: make it anew in this process"
            )
            raise StoreUnavailableError(message, key=key)


# --- What is read counts ---------------------------------------------------------------------------------------------


def _batch(source: Source, ranges: Sequence[ByteRange], what: str, *, more: int = 0) -> Receipt:
    """Set aside what a batch of ranges may bring, if it fits into every budget; `more` requests go with it."""
    return spending(source, requests=len(ranges) + more, size=sum(wanted.size for wanted in ranges), what=what)


def _received(pieces: list[Piece], traffic: Traffic, paid: Receipt) -> list[Piece]:
    size = sum(len(piece.data) for piece in pieces)
    traffic.bytes += size
    paid.got(size)
    return pieces


def _fsspec_source(fs: Any, root: str) -> Source:
    """Return who pays for what a file system reads, as far as it shows."""
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    address = f"{protocol}://{root}"
    if protocol in {"file", "memory", "local"}:
        return Source(address, "nobody")
    if getattr(fs, "req_kw", {}).get("RequestPayer"):  # s3fs.S3FileSystem(requester_pays=True)
        return Source(address, "reader")
    public = protocol == "s3" and root == BUCKET and not getattr(fs, "endpoint_url", None)
    return Source(address, "owner" if public else "other")


def _obstore_source(store: Any) -> Source:
    """Return who pays for what an obstore store reads, as far as it shows."""
    config = dict(getattr(store, "config", None) or {})
    if type(store).__name__ in {"LocalStore", "MemoryStore"}:
        return Source(repr(store), "nobody")
    if str(config.get("request_payer", "")).lower() in {"true", "requester"}:
        return Source(repr(store), "reader")
    public = config.get("bucket") == BUCKET and not config.get("endpoint")
    return Source(repr(store), "owner" if public else "other")


# --- Errors ----------------------------------------------------------------------------------------------------------


def _changed(address: str, key: str, expected: str, found: str) -> ObjectChangedError:
    message = (
        f"{address} was replaced since it was first read: expected version {expected}, found {found}. Open it again."
    )
    return ObjectChangedError(message, key=key)


def _translated(error: Exception, address: str, key: str) -> StoreError:
    """Return what a foreign error means here; the first line of its text is kept."""
    said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    name = type(error).__name__
    text = str(error)
    if isinstance(error, StoreError):
        return error
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return ObjectNotFoundError(f"{address} does not exist ({said})", key=key)
    if isinstance(error, PermissionError):
        return AccessDeniedError(f"{address} may not be read ({said})", key=key)
    if name == "PreconditionError" or "PreconditionFailed" in text or "pre-condition" in text.lower():
        return ObjectChangedError(f"{address} was replaced since it was first read ({said}). Open it again.", key=key)
    return StoreUnavailableError(f"{address} could not be read ({said})", key=key)
