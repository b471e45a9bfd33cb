"""The few values that everything in this package speaks in: frozen, picklable, printed without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from astropy.table import Row

__all__ = ["ByteRange", "Product", "ProductLike", "Progress", "Status"]

Status: TypeAlias = Literal["in_cloud", "missing", "exclusive", "not_mirrored", "unverified"]
"""What is known of a product's place in the bucket.

``in_cloud``: a listing showed it. ``missing``: a listing did not show it. ``exclusive``: still proprietary.
``not_mirrored``: of a kind that the public bucket does not hold. ``unverified``: named by rule, nobody looked.
"""


class ByteRange(NamedTuple):
    """The bytes ``[start, stop)`` of an object."""

    start: int
    """First byte, zero-based."""
    stop: int
    """One past the last byte."""

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One file of the archive: what it is called, where it lies, and how much is known of that."""

    filename: str
    """Name of the file, such as ``jbqf03gjq_flc.fits``."""
    uri: str | None = None
    """MAST's ``dataURI``; None for an object known by its key alone."""
    obs_id: str = ""
    """The observation that holds the file, lower case; empty where it is not known."""
    key: str = ""
    """Object key in the bucket; empty where it is not known or there is none."""
    size: int | None = None
    """Bytes; None where nobody said."""
    etag: str | None = None
    """The object's ETag without quotes; None where nobody looked."""
    status: Status = "unverified"
    """What is known of its place in the bucket."""
    reason: str = ""
    """Why the status is what it is, for a person."""

    def __repr__(self) -> str:
        size = "size unknown" if self.size is None else f"{self.size / 1e6:.3g} MB"
        return f"Product({self.filename!r}, {size}, {self.status})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a call has come; given to the callable that the caller passes as ``progress``."""

    what: str
    """What is counted, in the plural: ``observations``."""
    done: int
    """How many of them are done."""
    total: int | None = None
    """How many there are; None where nobody knows yet."""
    bytes: int | None = None
    """Bytes that are there, of those that the call brings; None where it does not count them."""
    size: int | None = None
    """Bytes that the call brings altogether, as far as is known; None where it does not count them."""


ProductLike: TypeAlias = "Product | Row | str"
"""A product, a row of a table, a file name, a rootname, a ``mast:`` URI or an ``s3://`` URI."""
