"""The few values that everything in this package speaks in: frozen, picklable, printed without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from astropy.table import Row

from hst_cloud.markup import html_table

__all__ = ["ByteRange", "Outcome", "Product", "ProductLike", "Progress", "Status"]

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What became of one product that a function was called with: its value, or why there is none."""

    product: Product
    """Which product."""
    value: T | None = None
    """What the function returned; None where it failed."""
    error: Exception | None = None
    """What it raised; None where it did not."""
    seconds: float = 0.0
    """Seconds that it took."""
    requests: int = 0
    """Requests that it sent, retries included."""
    bytes: int = 0
    """Bytes that it received, those of failed tries included."""
    usd: float = 0.0
    """Dollars that these cost the reader at most."""

    @property
    def ok(self) -> bool:
        """Whether the function returned."""
        return self.error is None

    @property
    def reason(self) -> str:
        """Why there is no value, for a person; empty where there is one."""
        return "" if self.error is None else f"{type(self.error).__name__}: {self.error}"

    def __repr__(self) -> str:
        name = self.product.filename or self.product.key or self.product.uri
        told = type(self.value).__name__ if self.ok else self.reason.partition("\n")[0]
        return f"Outcome({name!r}, {told}, {self.seconds:.3g} s, {self.requests} requests, {self.bytes / 1e6:.3g} MB)"

    def _repr_html_(self) -> str:
        kind, shape = type(self.value).__name__, getattr(self.value, "shape", None)
        told = (kind if shape is None else f"{kind} of shape {shape}") if self.ok else self.reason
        return html_table(
            self.product.filename or self.product.key or self.product.uri or "no product",
            [
                ("value" if self.ok else "failed", told),
                ("seconds", f"{self.seconds:.3g}"),
                ("requests", self.requests),
                ("bytes", self.bytes),
                ("dollars at most", f"{self.usd:.2g}"),
            ],
        )


ProductLike: TypeAlias = "Product | Row | str"
"""A product, a row of a table, a file name, a rootname, a ``mast:`` URI or an ``s3://`` URI."""
