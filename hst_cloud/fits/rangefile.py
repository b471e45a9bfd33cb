"""One version of one object as a seekable, read-only file: what astropy is given to read.

Headers come from memory, where the walk left them; data come by range requests when they are touched.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import NoReturn

from hst_cloud.errors import ObjectChangedError, ObjectNotFoundError, TruncatedFileError
from hst_cloud.fits.guards import check_data, has_heap
from hst_cloud.fits.layout import FIRST, HDUExtent, Scan
from hst_cloud.fits.pixels import Image, image_of
from hst_cloud.store.objects import Store
from hst_cloud.store.ranges import fetch
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["RangeFile"]


class _PerThread(threading.local):
    """Where a thread stands in the file, and what was read ahead for it.

    astropy seeks and then reads, so threads that shared one position would read each other's bytes.
    """

    position = 0
    ahead = Segments()


class RangeFile(io.RawIOBase):
    """A file of which every byte is pinned to the version that was walked.

    Parameters
    ----------
    store : Store
        Where the bytes are.
    found : Scan
        The walk's result.
    changed : callable, optional
        Called when a read finds that the object is of another version or gone, before that is raised.
    """

    def __init__(self, store: Store, found: Scan, *, changed: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.layout = found.layout
        self.name = store.address(found.layout.key)
        self.opening = True
        self._store = store
        self._held = found.segments
        self._changed = changed
        # Behind the last HDU is nothing that astropy would make one of, and it would look for it to the very end.
        self._horizon = min(self.layout.size, found.layout.hdus[-1].stop + FIRST) if found.layout.hdus else None
        self._few = found.known  # it opened without a wait: now the fewest requests
        self._here = _PerThread()
        self._checked: set[int] = set()  # headers of the tables whose heaps may be believed

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move this thread's position; sends nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._here.position, os.SEEK_END: self.layout.size}[whence]
        self._here.position = base + offset
        return self._here.position

    def tell(self) -> int:
        """Return this thread's position."""
        return self._here.position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes from this thread's position on.

        Raises
        ------
        TruncatedFileError
            Some of them lie beyond the end of the object. Only while the file is being opened are fewer returned.

        Notes
        -----
        Requests: none for what is in memory; else one for each 8 MiB, all at once.
        """
        if self.closed:
            message = f"{self.name} is closed"
            raise ValueError(message)
        start = self._here.position
        stop = self.layout.size if size is None or size < 0 else start + size
        if stop > self.layout.size and not self.opening:
            self._truncated(start, stop)
        stop = min(stop, self._horizon if self.opening and self._horizon is not None else self.layout.size)
        data = self._bytes(ByteRange(start, stop)) if stop > start else b""
        self._here.position = start + len(data)
        return data

    def _bytes(self, wanted: ByteRange) -> bytes:
        for segments in (self._held, self._here.ahead):
            view = segments.find(*wanted)
            if view is not None:
                return bytes(view)
        if not self.opening:
            view = self.fetch([wanted]).find(*wanted)
            assert view is not None
            return bytes(view)
        # The walk stopped here, but astropy reads on, block by block: keep what comes.
        page = ByteRange(wanted.start, min(self.layout.size, max(wanted.stop, wanted.start + FIRST)))
        self._held += self.fetch([page])
        view = self._held.find(*wanted)
        assert view is not None
        return bytes(view)

    def header(self, extent: HDUExtent) -> bytes:
        """Return the header of an HDU, which the walk left in memory."""
        view = self._held.find(*extent.header)
        assert view is not None
        return bytes(view)

    def image(self, start: int) -> Image | None:
        """Return how the image is stored whose header begins at `start`; None if that is none, or has blank pixels."""
        extent = next((hdu for hdu in self.layout.hdus if hdu.header.start == start), None)
        found = None if extent is None else image_of(self.header(extent), extent)
        return found if found is not None and found.value is None and found.blank is None else None

    @contextmanager
    def table(self, start: int) -> Generator[None]:
        """Read the table whose header begins at `start` and hold it for this thread's reads, if it has a heap.

        Raises
        ------
        FormatError
            Its rows tell of the heap what is not true.
        """
        extent = next((hdu for hdu in self.layout.hdus if hdu.header.start == start), None)
        header = None if extent is None else self._held.find(*extent.header)
        if extent is None or header is None or not has_heap(bytes(header)) or extent.data.stop > self.layout.size:
            yield
            return
        with self.ahead([extent.data]):
            if start not in self._checked:
                data = self._held.find(*extent.data) or self._here.ahead.find(*extent.data)
                assert data is not None
                check_data(bytes(header), extent, data, self.name)
                self._checked.add(start)
            yield

    def fetch(self, ranges: Sequence[ByteRange]) -> Segments:
        """Read what is not in memory of `ranges` in one batch, and return all of it."""
        try:
            return fetch(self._store, self.layout.key, ranges, etag=self.layout.etag, held=self._held, few=self._few)
        except (ObjectChangedError, ObjectNotFoundError):
            if self._changed is not None:
                self._changed()
            raise

    def _truncated(self, start: int, stop: int) -> NoReturn:
        message = (
            f"{self.name} is truncated: bytes {start} to {stop - 1} were wanted, but the object ends after "
            f"{self.layout.size} bytes. The copy in the bucket is incomplete; MAST's may not be: "
            "try hst_cloud.open(..., source='mast')."
        )
        raise TruncatedFileError(message, key=self.layout.key)

    @contextmanager
    def ahead(self, ranges: Iterable[ByteRange]) -> Generator[None]:
        """Read `ranges` in one batch and hold them for this thread's reads within the block.

        Ranges that reach beyond the end of the object are left to `read`, which raises.
        """
        before = self._here.ahead
        inside = [r for r in ranges if r.stop <= self.layout.size]
        missing = [r for r in inside if self._held.find(*r) is None and before.find(*r) is None]
        if missing:
            self._here.ahead = before + self.fetch(missing)
        try:
            yield
        finally:
            self._here.ahead = before

    def __reduce__(self) -> NoReturn:
        message = f"{self.name} is open and cannot be pickled: pass the product on and open it there"
        raise TypeError(message)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()
