"""One file on its way from the bucket into the user's folder, in steps that a thread takes each.

First it is looked at what is there: a file that is done, another one of its name, a part of it from an earlier call.
Then the missing parts are read and written, each as it comes; at last the file is forced to the disk, checked, and
given its name. Where the version is not known yet, the answer that brings the first part tells it, and everything else
is pinned to that.
"""

from __future__ import annotations

import functools
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from hst_cloud.errors import (
    AccessDeniedError,
    CorruptFileError,
    DiskSpaceError,
    FileConflictError,
    HSTCloudError,
    ObjectChangedError,
    ObjectNotFoundError,
)
from hst_cloud.fits.verify import Verdict, check
from hst_cloud.science.disk import check_space, inside, local, made, read_of, same_bytes
from hst_cloud.science.manifest import Entry, Outcome, is_there, known_files, note
from hst_cloud.science.partial import Origin, PartFile, missing, recorded, remove_leftovers, span, stem_of
from hst_cloud.science.steps import Reads, Step
from hst_cloud.store.objects import Piece
from hst_cloud.store.ranges import PART
from hst_cloud.values import ByteRange, Product

__all__ = ["Tally", "Transfer", "Trip", "status_of"]

_RESTARTS = 2  # times that a file is begun anew because its object was replaced
_WAIT = 0.5  # seconds until it is looked again whether another process is done with a file


class Tally:
    """Bytes that have come, counted by all threads."""

    def __init__(self) -> None:
        self.bytes = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count some more, or less."""
        with self._lock:
            self.bytes += count


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """What all files of one call have in common."""

    folder: Path
    """Where they go, as an absolute path without links."""
    reads: Reads
    """Reads them."""
    manifest: str | None
    """Name of the manifest in the folder; None for none."""
    overwrite: bool
    """Whether other files of their names are replaced."""
    known: Mapping[str, Entry]
    """What is known of files that are done, by their paths."""
    leftovers: Mapping[Path, Mapping[str, Sequence[Path]]]
    """Part files of earlier calls, by folder and stem."""
    tally: Tally = field(default_factory=Tally)
    """Bytes that have come."""


class _BusyError(HSTCloudError):
    """Another process is downloading the same file."""


class Transfer:
    """One file on its way.

    Attributes
    ----------
    product : Product
        What it is of.
    need : int
        Bytes that are to be written, as far as is known after `look`.
    entry : Entry or None
        What became of it; None while nothing has.
    error : HSTCloudError or None
        Why it is not there.
    """

    def __init__(self, product: Product, path: PurePosixPath, trip: Trip) -> None:
        self.product = product
        self.need = 0
        self.entry: Entry | None = None
        self.error: HSTCloudError | None = None
        self._path = path
        self._trip = trip
        self._etag = product.etag
        self._size: int | None = None
        self._checksum: str | None = None
        self._part: PartFile | None = None
        self._got = 0  # bytes that this call has brought
        self._left = 0  # parts that are still to come
        self._lock = threading.Lock()
        self._restarts = 0
        self._waited = False

    @property
    def _final(self) -> Path:
        return self._trip.folder / self._path

    # -- What is there

    def look(self) -> Sequence[Step]:
        """Find out what is there, and what is needed."""
        with local(self._final):
            if not self._settled(self._trip.known):
                self._plan()
        return []

    def _settled(self, known: Mapping[str, Entry]) -> bool:
        """Tell whether a file is there already, and this one needs nothing more.

        Raises
        ------
        FileConflictError
            It is another one.
        """
        try:
            status = self._final.stat(follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        inside(self._final.parent, self._trip.folder)
        differs = self._difference(status, known.get(str(self._path)))
        if differs is None:
            return True
        if self._trip.overwrite and not stat.S_ISDIR(status.st_mode):
            return False
        message = (
            f"{self._final} exists and is not {self.product.key}: {differs}. "
            "Give overwrite=True (--overwrite) to replace it."
        )
        raise FileConflictError(message, key=self.product.key)

    def _difference(self, status: os.stat_result, entry: Entry | None) -> str | None:
        """Return in what a file differs from what is wanted, or None after making the entry for one that does not."""
        if not stat.S_ISREG(status.st_mode):
            return "it is no regular file"
        if entry is not None and entry.key == self.product.key and is_there(self._trip.folder, entry):
            if self.product.etag in {None, entry.etag}:
                self._size, self._etag = entry.size, entry.etag or None
                self.entry = self._entry("present", entry, reason="as an earlier call left it")
                return None
            return f"it is of the version {entry.etag}, expected {self.product.etag}"
        self._ask()
        if status.st_size != self._size:
            return f"expected {self._size} bytes, found {status.st_size}"
        with self._final.open("rb") as file:
            verdict = check(read_of(file.fileno()), self._size, self._etag, self._checksum)
        if verdict.fault:
            return verdict.fault
        if not verdict.of_content:
            return "it has the right size, but nothing tells whether it is of the same version"
        told = Entry(check=verdict.check, path=str(self._path), modified=status.st_mtime_ns)
        self.entry = self._entry("present", told)
        return None

    def _ask(self) -> None:
        """Ask for version and size."""
        piece = self._read(ByteRange(0, 1), self.product.etag)
        self._etag, self._size = piece.etag, piece.size

    def _plan(self) -> None:
        """Find out how much is needed, asking only where nothing else tells."""
        for path in self._earlier():
            known = recorded(path)
            if known is not None and self._wants(known[0]):
                origin, parts = known
                self._etag, self._size = origin.etag, origin.size
                self.need = origin.size - sum(span(origin, number).size for number in parts)
                return
        if self._size is None and self.product.size is None:
            self._ask()
        self.need = self._size if self._size is not None else self.product.size or 0

    def _wants(self, origin: Origin) -> bool:
        return origin.key == self.product.key and self._etag in {None, origin.etag}

    def _earlier(self) -> Sequence[Path]:
        return self._trip.leftovers.get(self._final.parent, {}).get(stem_of(self._path.name), ())

    # -- What is missing

    def fetch(self) -> Sequence[Step]:
        """Read the first part, or go on from what is there."""
        with local(self._final):
            if self._waited and self._settled(known_files(self._trip.folder, self._trip.manifest)):
                return []
            piece = None
            if self._etag is None or self._size is None:
                # No more than the row says there is, which a budget would set aside.
                piece = self._read(ByteRange(0, min(PART, self.product.size or PART)), self._etag)
                self._etag, self._size = piece.etag, piece.size
            origin = Origin(key=self.product.key, etag=self._etag, size=self._size)
            if piece is not None and self._size > self.need:  # more than the product's row says
                check_space(self._trip.folder, self._size - self.need)
            folder = made(self._final.parent, self._trip.folder)
            self._part = PartFile.open(folder, self._path.name, origin)
            if self._part is None:
                message = f"another process is downloading {self._final}"
                raise _BusyError(message)
            remove_leftovers(path for path in self._earlier() if path != self._part.path)
            whole = piece is not None and len(piece.data) == min(PART, self._size)  # else the row said too little
            if piece is not None and whole and origin.count and 0 not in self._part.held:
                self._write(0, piece)
                self._part.held.add(0)
            steps = [functools.partial(self._bring, number) for number in missing(origin, self._part.held)]
            self._left = len(steps)
            return steps or self._finish()

    def _bring(self, number: int) -> Sequence[Step]:
        """Read and write one part."""
        assert self._part is not None
        piece = self._read(span(self._part.origin, number), self._etag)
        if (piece.etag, piece.size) != (self._etag, self._size):
            message = (
                f"{self._address} was replaced while it was downloaded: expected {self._size} bytes of version "
                f"{self._etag}, found {piece.size} of {piece.etag}"
            )
            raise ObjectChangedError(message, key=self.product.key)
        with local(self._final):
            self._write(number, piece)
            with self._lock:
                self._left -= 1
                last = not self._left
            return self._finish() if last else []

    def _read(self, wanted: ByteRange, etag: str | None) -> Piece:
        piece = self._trip.reads.read(self.product.key, wanted, etag=etag)
        self._checksum = piece.checksum or self._checksum
        return piece

    def _write(self, number: int, piece: Piece) -> None:
        assert self._part is not None
        self._part.write(number, piece.data)
        with self._lock:
            self._got += len(piece.data)
        self._trip.tally.add(len(piece.data))

    @property
    def _address(self) -> str:
        return self._trip.reads.store.address(self.product.key)

    # -- What is complete

    def _finish(self) -> Sequence[Step]:
        """Force the file to the disk, check it, and give it its name."""
        part = self._part
        assert part is not None
        modified = part.sync()
        verdict = check(part.read, part.origin.size, self._etag, self._checksum)
        told = Entry(check=verdict.check, path=str(self._path), modified=modified)
        if verdict.fault:
            self._set_aside(part, verdict, told)
        self.entry = self._entry("downloaded", told)
        if self._trip.manifest is not None:
            note(self._trip.folder, self._trip.manifest, self.entry)
        try:
            part.publish(self._final, overwrite=self._trip.overwrite)
        except FileExistsError as error:
            self.entry = None
            status = self._final.stat(follow_symlinks=False)
            if not same_bytes(part.read, part.origin.size, self._final):
                message = f"{self._final} was made by somebody else meanwhile, and differs from {self._address}"
                raise FileConflictError(message, key=self.product.key) from error
            part.discard()
            same = replace(told, modified=status.st_mtime_ns)
            self.entry = self._entry("present", same, reason="made by another process meanwhile")
        return []

    def _set_aside(self, part: PartFile, verdict: Verdict, told: Entry) -> None:
        """Keep a file whose bytes are wrong under another name.

        Raises
        ------
        CorruptFileError
            In every case.
        """
        aside = self._path.with_name(f"{self._path.name}.corrupt")
        part.publish(self._trip.folder / aside, overwrite=True)
        message = (
            f"the bytes of {self._address} are not the right ones: {verdict.fault}. They were set aside as {aside}."
        )
        self.entry = self._entry("corrupt", replace(told, path=str(aside)), reason=message)
        raise CorruptFileError(message, key=self.product.key)

    # -- On the caller's thread

    def settle(self, error: HSTCloudError | None) -> float | None:
        """Say what became of it: see `hst_cloud.science.steps.run_steps`.

        Raises
        ------
        DiskSpaceError
            The disk is full, which ends the call.
        """
        if isinstance(error, DiskSpaceError):
            raise error
        if isinstance(error, _BusyError):
            self._waited = True
            return _WAIT
        changed = isinstance(error, ObjectChangedError)
        conflict = isinstance(error, FileConflictError)
        if self._part is not None and (changed or conflict):
            self._part.discard()
        self.close()
        if changed and self.product.etag is None and self._restarts < _RESTARTS:
            self._restarts += 1
            self._trip.tally.add(-self._got)
            self._got, self._etag, self._size, self._checksum = 0, None, None, None
            return 0.0
        self.error = error
        if error is not None and self.entry is None:
            self.entry = self._entry(status_of(error), Entry(), reason=str(error))
        return None

    def close(self) -> None:
        """Let go of the part file, which stays as it is."""
        if self._part is not None:
            self._part.close()
            self._part = None

    def pending(self) -> Entry:
        """Return the entry of a file that the call did not come to an end with."""
        return self._entry("pending", Entry(), reason="the call ended before it was complete")

    def _entry(self, status: Outcome, told: Entry, reason: str = "") -> Entry:
        product = self.product
        return replace(
            told,
            productFilename=product.filename or self._path.name,
            obs_id=product.obs_id,
            dataURI=product.uri or "",
            key=product.key,
            etag=self._etag or "",
            size=self._size if self._size is not None else product.size,
            status=status,
            reason=reason,
        )


def status_of(error: HSTCloudError) -> Outcome:
    """Return the outcome that an error stands for."""
    match error:
        case FileConflictError():
            return "conflict"
        case ObjectNotFoundError():
            return "missing"
        case AccessDeniedError():
            return "denied"
        case _:
            return "failed"
