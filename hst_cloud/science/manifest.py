"""What became of each product of a download: one row each, in a file that a later call goes on from.

``manifest.ecsv`` is written at the end of a call, in one step. While the call runs, what is finished is noted in a
journal beside it, one line for each file, before the file gets its name: so whoever comes after a ``kill -9`` knows
which files are whole, and of which version.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, Table

from hst_cloud.archive.inputs import as_products
from hst_cloud.errors import FormatError, ProductNameError
from hst_cloud.values import Product

try:
    import fcntl
except ImportError:  # Windows: two processes are not kept apart there
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "DONE",
    "Entry",
    "Outcome",
    "as_manifest_name",
    "entries_of",
    "is_manifest",
    "is_there",
    "known_files",
    "note",
    "products_of",
    "read_manifest",
    "save",
    "table_of",
]

Outcome: TypeAlias = Literal[
    "downloaded",
    "present",
    "conflict",
    "corrupt",
    "missing",
    "denied",
    "exclusive",
    "not_mirrored",
    "failed",
    "pending",
]
"""What became of a product.

``downloaded``: it is there, complete and checked. ``present``: it was there already. ``conflict``: another file has its
name. ``corrupt``: what came contradicts a checksum; it was set aside. ``missing``, ``denied``: the bucket does not hold
it, or does not give it. ``exclusive``, ``not_mirrored``: it is known not to be public, or not to be in the bucket.
``failed``: anything else, which ``reason`` tells. ``pending``: the call ended before its turn.
"""

DONE: frozenset[Outcome] = frozenset({"downloaded", "present"})
"""The outcomes after which the file is there."""

_TEXTS = {
    "productFilename": "Name of the file in the archive",
    "obs_id": "The observation that holds it",
    "dataURI": "MAST's name of the product",
    "key": "Object key in the bucket",
    "etag": "Version of the object",
    "check": "What the bytes were compared with",
    "status": "What became of it",
    "path": "Where it is, relative to the folder; empty where it is not",
    "reason": "Why the status is what it is",
}
_NUMBERS = {
    "size": ("Size of the object", u.byte),
    "modified": ("When the file was written, since 1970", u.ns),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What became of one product; the fields are the manifest's columns."""

    productFilename: str = ""  # noqa: N815  # MAST's name of the column
    """Name of the file in the archive; empty where it is not known."""
    obs_id: str = ""
    """The observation that holds it; empty where it is not known."""
    dataURI: str = ""  # noqa: N815  # MAST's name of the column
    """MAST's name of the product; empty where it is not known."""
    key: str = ""
    """Object key; empty where there is none."""
    etag: str = ""
    """Version of the object; empty where nobody looked, or the store has none."""
    size: int | None = None
    """Bytes of the object; None where nobody knows."""
    check: str = ""
    """What the bytes were compared with: see `hst_cloud.fits.verify`. Empty where there are none."""
    status: Outcome = "pending"
    """What became of it."""
    path: str = ""
    """Where it is, relative to the folder; empty where it is not."""
    modified: int | None = None
    """When the file was written, in ns since 1970; None where there is none."""
    reason: str = ""
    """Why the status is what it is."""

    @property
    def identity(self) -> str:
        """What tells it from other products."""
        return self.key or self.dataURI or self.productFilename or self.reason


# --- Tables ----------------------------------------------------------------------------------------------------------


def table_of(entries: Sequence[Entry], meta: Mapping[str, object]) -> Table:
    """Return entries as a table; sizes and times that are not known are masked."""
    table = Table(meta=dict(meta))
    for field in fields(Entry):
        values = [getattr(entry, field.name) for entry in entries]
        if field.name in _TEXTS:
            column = MaskedColumn(np.array(values, dtype=str), description=_TEXTS[field.name])
            column.info.serialize_method["ecsv"] = "data_mask"  # else ECSV reads an empty text as a masked one
        else:
            description, unit = _NUMBERS[field.name]
            mask = np.array([value is None for value in values], dtype=bool)
            numbers = np.array([value or 0 for value in values], dtype=np.int64)
            column = MaskedColumn(numbers, mask=mask, unit=unit, description=description)
        table[field.name] = column
    return table


def is_manifest(table: Table) -> bool:
    """Tell whether a table has the columns of a manifest."""
    return {field.name for field in fields(Entry)} <= set(table.colnames)


def entries_of(table: Table) -> list[Entry]:
    """Return the rows of a manifest; what is not of its column's kind is taken as not known."""
    names = [field.name for field in fields(Entry)]
    columns = [np.ma.MaskedArray(table[name]).tolist() for name in names]
    return [_entry(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _entry(told: Mapping[str, Any]) -> Entry:
    kept: dict[str, Any] = {}
    for name in _TEXTS:
        value = told.get(name)
        kept[name] = value if isinstance(value, str) else ""
    for name in _NUMBERS:
        value = told.get(name)
        kept[name] = value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
    if kept["status"] not in get_args(Outcome):
        kept["status"] = "pending"
    return Entry(**kept)


def products_of(entries: Sequence[Entry]) -> list[Product]:
    """Return the products of a manifest, to be downloaded again.

    What was done is wanted in the same version. Of everything else nothing is taken for granted: what was not there may
    be there now, and in another version.
    """
    told: list[Mapping[str, object]] = [
        {
            "productFilename": entry.productFilename,
            "obs_id": entry.obs_id,
            "dataURI": entry.dataURI,
            "key": entry.key,
            "size": entry.size,
            "etag": entry.etag if entry.status in DONE else "",
            "reason": entry.reason,
        }
        for entry in entries
    ]
    return as_products(cast("list[Any]", told))


# --- Files -----------------------------------------------------------------------------------------------------------


def read_manifest(path: str | Path) -> Table:
    """Return the manifest in a file.

    Raises
    ------
    FormatError
        It is none.
    FileNotFoundError
        There is no file.
    """
    try:
        table = Table.read(Path(path).read_text(encoding="utf-8").splitlines(), format="ascii.ecsv")
    except (ValueError, TypeError, KeyError, IndexError) as error:  # what astropy raises on broken ECSV
        said = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{path} is no manifest of a download, for it cannot be read as ECSV: {said}"
        raise FormatError(message) from error
    if not is_manifest(table):
        message = (
            f"{path} is no manifest of a download: expected the columns {', '.join(f.name for f in fields(Entry))}, "
            f"found {', '.join(table.colnames)[:300]}"
        )
        raise FormatError(message)
    return table


def known_files(folder: Path, name: str | None) -> dict[str, Entry]:
    """Return what manifest and journal in a folder tell of files that are done, by their paths.

    Raises
    ------
    FormatError
        There is something else of the manifest's name.
    """
    if name is None:
        return {}
    entries = [*_read_once(folder / name, _stamp(folder / name)), *_noted(folder, name)]
    return {entry.path: entry for entry in entries if entry.status in DONE}


@functools.lru_cache(maxsize=4)
def _read_once(path: Path, stamp: tuple[int, int, int] | None) -> tuple[Entry, ...]:
    """Return the rows of a manifest, which who waits for another process asks for again and again."""
    return () if stamp is None else tuple(entries_of(read_manifest(path)))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def is_there(folder: Path, entry: Entry) -> bool:
    """Tell whether the file that an entry tells of is there and has not been written since."""
    try:
        status = (folder / entry.path).stat(follow_symlinks=False)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (entry.size, entry.modified)


def note(folder: Path, name: str, entry: Entry) -> None:
    """Note in the journal what is known of a file that is about to get its name."""
    line = json.dumps(asdict(entry)).encode() + b"\n"
    with _alone(folder):
        fd = os.open(
            _journal(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o666
        )
        try:
            os.write(fd, line)
        finally:
            os.close(fd)


def save(folder: Path, name: str, entries: Sequence[Entry], meta: Mapping[str, object]) -> None:
    """Write the manifest, in one step: `entries`, after what is known of other products in the same folder.

    Raises
    ------
    OSError
        It cannot be written.
    """
    with _alone(folder):
        new = {entry.identity for entry in entries}
        before: dict[str, Entry] = {}
        with contextlib.suppress(FileNotFoundError, FormatError):
            before = {entry.identity: entry for entry in entries_of(read_manifest(folder / name))}
        before |= {entry.identity: entry for entry in _noted(folder, name) if is_there(folder, entry)}
        kept = [entry for identity, entry in before.items() if identity not in new]
        temporary = folder / f".{name}.{os.getpid()}~"
        temporary.unlink(missing_ok=True)  # of a process that was killed
        try:
            with temporary.open("x", encoding="utf-8") as file:
                table_of([*kept, *entries], meta).write(file, format="ascii.ecsv")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(folder / name)
        finally:
            temporary.unlink(missing_ok=True)
        _journal(folder, name).unlink(missing_ok=True)


def _noted(folder: Path, name: str) -> Iterable[Entry]:
    try:
        lines = _journal(folder, name).read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):  # a line that was cut
            told = json.loads(line)
            if isinstance(told, dict):
                yield _entry(told)


def _journal(folder: Path, name: str) -> Path:
    return folder / f".{name}.log"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one thread of one process at a time write a folder's manifest and journal."""
    if fcntl is None:
        yield
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def as_manifest_name(name: str | None) -> str | None:
    """Return the name of a manifest in the folder if it can be one; None for none.

    Raises
    ------
    ProductNameError
        It is no plain file name that ends in ``.ecsv``.
    """
    if name is None:
        return None
    if Path(name).name != name or not name.endswith(".ecsv") or name.startswith(".") or not name.isprintable():
        message = f"manifest={name!r} names no file in the folder: expected a name such as 'manifest.ecsv', or None"
        raise ProductNameError(message)
    return name
