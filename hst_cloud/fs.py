"""The archive as an fsspec file system, ``hst://``, for tools that take file names: read-only, and without a setup.

A path is a file's name (``hst://jbqf03gjq_flc.fits``), an exposure's or association's (``hst://jbqf03gjq``, a folder),
or a key (``hst://hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits``); all of them become keys, by rule. fsspec finds this
module by its entry point. What knows HDUs reads less with `hst_cloud.open`, which plans its requests; a file here is
bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile
from fsspec.utils import stringify_path

from hst_cloud.archive.inputs import as_product
from hst_cloud.archive.names import PREFIX
from hst_cloud.archive.places import placed
from hst_cloud.errors import HSTCloudError, ObjectNotFoundError, ProductNameError, QueryError
from hst_cloud.fits.layout import FIRST, completed
from hst_cloud.settings import endpoint_text
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.drive import run_many
from hst_cloud.store.objects import ListedObject, Store
from hst_cloud.store.ranges import fetch
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["HSTFile", "HSTFileSystem"]

_DEEP = len(f"{PREFIX}/xxxx")
"""Characters of the shortest prefix that is listed: that of one program. All keys of the archive are 10**8."""


class HSTFileSystem(AbstractFileSystem):
    """The public archive, or another store that is laid out like it, as an fsspec file system.

    Parameters
    ----------
    store : optional
        Where to read: by default the anonymous public bucket. See `hst_cloud.open`.

    Notes
    -----
    Requests: one LIST for ``info``, ``ls``, ``find`` and ``glob``, whatever the depth, and one more for each further
    1,000 keys; one GET to open a file, which learns its size and its version; one GET for each range of ``cat_file``
    and ``cat_ranges``, many in flight. Nothing above a program's folder (``hst/public/jbqf``) is listed.
    """

    protocol = "hst"
    root_marker = ""

    def __init__(self, store: StoreLike = None) -> None:
        super().__init__()
        self._like = store

    @property
    def _store(self) -> Store:
        return as_store(self._like)  # when it is used: instances outlive an archive of a test

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process reads the archive that this one does, whatever its own environment says.
        return type(self), ((endpoint_text() or None) if self._like is None else self._like,)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Return the key that a path means; the path itself where no rule tells one."""
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        bare = stringify_path(path).removeprefix("hst://").rstrip("/")
        name, slash, rest = bare.partition("/")
        try:
            key = as_product(name).key if name and name != "hst" else ""
        except ProductNameError:
            return bare
        folder = key.endswith("/")
        return f"{key.rstrip('/')}{slash}{rest}" if key and (folder or not rest) else bare

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002  # as fsspec has it
        """List a folder, or tell of one file."""
        path = self._strip_protocol(path)
        found = self.find(path, maxdepth=1, withdirs=True, detail=True)
        if not found:
            raise self._absent(path)
        return list(found.values()) if detail else list(found)

    def find(  # as fsspec has it
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002
        detail: bool = False,  # noqa: FBT001, FBT002
        **_: Any,
    ) -> Any:
        """List all that is below a path, by one listing."""
        path = self._strip_protocol(path)
        if len(path) < _DEEP or not path.startswith(PREFIX):
            message = f"{path or '/'} is not listed, as it may hold millions of keys: name a program's folder or below"
            raise QueryError(message, key=path)
        tree: dict[str, dict[str, Any]] = {}
        for each in self._store.listings([path])[0]:
            if each.key == path or each.key.startswith(f"{path}/"):
                tree[each.key] = _file(each)
                above = each.key.rpartition("/")[0]
                while withdirs and len(above) > len(path) and above not in tree:
                    tree[above] = _folder(above)
                    above = above.rpartition("/")[0]
        deepest = path.count("/") + (maxdepth or len(path) + 10_000)
        names = sorted(name for name in tree if name.count("/") <= deepest)
        return {name: tree[name] for name in names} if detail else names

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Tell name, type, size and ETag of a file; name and type of a folder."""
        path = self._strip_protocol(path)
        if f"{PREFIX}/".startswith(f"{path}/" if path else ""):
            return _folder(path)
        if len(path) >= _DEEP and path.startswith(PREFIX):
            found = self._store.listings([path])[0]
            for each in found:
                if each.key == path:
                    return _file(each)
            if any(each.key.startswith(f"{path}/") for each in found):
                return _folder(path)
        raise self._absent(path)

    def ukey(self, path: str) -> str:
        """Return the file's ETag, which changes with its bytes."""
        return str(self.info(path)["ETag"])

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return a file's bytes, or those of ``[start, end)``, all of one version."""
        if start is None or end is None or start < 0 or end < 0:
            # The size tells what is meant; of limits that run backward fsspec's own gives the rest of the file.
            with self.open(path, **kwargs) as file:
                first, stop, _ = slice(start, end).indices(file.size)
                file.seek(first)
                return bytes(file.read(max(0, stop - first)))
        found = fetch(self._store, self._key(path), [ByteRange(start, end)], etag=None)
        return bytes(found.run(start)[: max(0, end - start)])

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,  # noqa: ARG002  # what lies close is read together, by this package's own measure
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Return many ranges of many files, all asked for at once, and those of a file of one version."""
        starts = starts if isinstance(starts, list) else [starts] * len(paths)
        ends = ends if isinstance(ends, list) else [ends] * len(paths)
        if any(end is None or start is None or min(start, end) < 0 for start, end in zip(starts, ends, strict=True)):
            return list(super().cat_ranges(list(paths), starts, ends, None, on_error, **kwargs))
        wanted: dict[str, list[ByteRange]] = {}
        keys = [self._key(path) for path in paths]
        for key, start, end in zip(keys, starts, ends, strict=True):
            wanted.setdefault(key, []).append(ByteRange(start, max(start, end)))
        work = [(key, completed(Segments(), ranges)) for key, ranges in wanted.items()]
        came = {work[at][0]: result for at, result in run_many(self._store, work)}
        errors = [found for found in came.values() if isinstance(found, HSTCloudError)]
        if errors and on_error != "return":
            raise errors[0]
        each = [(came[key], start, end) for key, start, end in zip(keys, starts, ends, strict=True)]
        return [
            found if isinstance(found, HSTCloudError) else bytes(found.run(start)[: max(0, end - start)])
            for found, start, end in each
        ]

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> HSTFile:
        if mode != "rb":
            message = f"{path} cannot be opened with mode {mode!r}: the archive is read-only"
            raise io.UnsupportedOperation(message)
        return HSTFile(self, path, self._store, self._key(path), **kwargs)

    def _key(self, path: str) -> str:
        path = self._strip_protocol(path)
        return path if "/" in path else placed(as_product(path)).key

    def _absent(self, path: str) -> ObjectNotFoundError:
        return ObjectNotFoundError(f"{self._store.address(path)} is neither a file nor a folder", key=path)


def _file(found: ListedObject) -> dict[str, Any]:
    return {"name": found.key, "type": "file", "size": found.size, "ETag": found.etag}


def _folder(path: str) -> dict[str, Any]:
    return {"name": path, "type": "directory", "size": 0}


class HSTFile(AbstractBufferedFile):
    """One version of one file, as fsspec's buffered files are; it pickles as what opens that version again."""

    DEFAULT_BLOCK_SIZE = 256 * 1024  # bytes that are read ahead: what costs as long as a request waits

    def __init__(
        self,
        fs: HSTFileSystem,
        path: str,
        store: Store,
        key: str,
        *,
        etag: str | None = None,
        block_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        self._store = store
        self._key = key
        block_size = block_size or self.DEFAULT_BLOCK_SIZE
        first = store.read(key, [ByteRange(0, FIRST + block_size)], etag=etag)[0]  # the headers, and what is read ahead
        self.etag = first.etag
        self._held = Segments([(0, first.data)])
        super().__init__(fs, path, block_size=block_size, **{**kwargs, "size": first.size})

    def _fetch_range(self, start: int, end: int) -> bytes:
        stop = min(end, self.size)
        if stop <= start:
            return b""
        found = fetch(self._store, self._key, [ByteRange(start, stop)], etag=self.etag, held=self._held)
        return bytes(found.run(start)[: stop - start])

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.fs, self.path, self.etag, self.blocksize, self.loc)


def _again(fs: HSTFileSystem, path: str, etag: str | None, block_size: int, at: int) -> HSTFile:
    file: HSTFile = fs.open(path, etag=etag, block_size=block_size)
    file.seek(at)
    return file
