"""Which bytes of a file hold chosen columns and rows of its tables: a plan that asks for no others.

The data of a file of at most 1 MiB came with its headers; what is larger comes in one round trip, as whole rows, or as
the chosen columns of each row where a row is longer than a request costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hst_cloud.errors import QueryError, TruncatedFileError
from hst_cloud.fits.columns import Form, TableRead, form_of
from hst_cloud.fits.layout import HDUExtent, Layout, Scan, completed
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.store.ranges import GAP, coalesce
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["WHOLE", "Choice", "Tables", "read_tables"]

WHOLE = 8 * 1024 * 1024
"""Bytes of a file that are read in one request where most of it is wanted: a second round trip costs more."""

_TABLES = (b"XTENSION= 'BINTABLE'", b"XTENSION= 'TABLE   '")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What was read of one file."""

    layout: Layout
    """Where everything of it lies."""
    segments: Segments
    """All bytes that came, those of the headers among them."""
    tables: tuple[TableRead, ...]
    """The tables that were chosen."""

    def header(self, number: int) -> bytes:
        """Return the header of an HDU."""
        view = self.segments.find(*self.layout.hdus[number].header)
        assert view is not None
        return bytes(view)


Choice: TypeAlias = "Callable[[int, HDUExtent, Form], Sequence[str] | None]"
"""Given the number, place and form of a table: the columns to read, or None to leave it."""


def read_tables(found: Scan, choose: Choice, *, rows: slice | None = None) -> Plan[ByteRange, Piece, Tables]:
    """Read tables of a file whose headers are known, of them only what is wanted.

    Parameters
    ----------
    found : Scan
        Where everything lies, and the bytes that are held already.
    choose : callable
        Says which tables, and which columns of each.
    rows : slice, optional
        Which rows of each, zero-based; all by default.

    Raises
    ------
    QueryError
        `rows` has steps.
    FormatError, TruncatedFileError
        A header is none that astropy reads; the data end too early.

    Notes
    -----
    Round trips: one, and none where everything came with the headers.
    """
    layout, held, key = found.layout, found.segments, found.layout.key
    chosen = []
    for number, extent in enumerate(layout.hdus):
        view = held.find(*extent.header)
        if view is None or bytes(view[:20]) not in _TABLES:
            continue
        header = bytes(view)
        form = form_of(header, key)
        names = choose(number, extent, form)
        if names is not None:
            chosen.append((number, extent, header, form, tuple(form.matching(names, key))))
    wanted = []
    spans = []
    for _, extent, _, form, names in chosen:
        span = _span(rows, extent.shape[-2] if len(extent.shape) > 1 else 0)  # NAXIS2
        spans.append(span)
        wanted += _ranges(extent, form, names, span)
    beyond = max((r.stop for r in wanted), default=0)
    if beyond > layout.size:
        message = (
            f"{key} is truncated: bytes up to {beyond} were wanted, but the object ends after {layout.size}. The copy "
            "in the bucket is incomplete; MAST's may not be: try hst_cloud.open(..., source='mast')."
        )
        raise TruncatedFileError(message, key=key)
    held = yield from completed(held, wanted)
    tables = tuple(
        TableRead(
            key=key, number=number, extent=extent, header=header, form=form, names=names, rows=span, segments=held
        )
        for (number, extent, header, form, names), span in zip(chosen, spans, strict=True)
    )
    return Tables(layout=layout, segments=held, tables=tables)


def _span(rows: slice | None, count: int) -> range:
    """Return the rows that a slice selects of `count`."""
    span = range(*(rows or slice(None)).indices(count))
    if span.step != 1:
        message = f"rows must be consecutive, found {rows}: give a slice without a step"
        raise QueryError(message)
    return span


def _ranges(extent: HDUExtent, form: Form, names: Sequence[str], span: range) -> list[ByteRange]:
    """Return the bytes that hold these columns of these rows."""
    start, width = extent.data.start, form.width
    if not form.fields and not form.ascii:
        return [extent.data]
    if not len(span) or not names:
        return []
    if form.ascii or width <= GAP:
        return [ByteRange(start + span.start * width, start + span.stop * width)]
    fields = [form.fields[name] for name in names]
    parts = coalesce(ByteRange(f.offset, f.offset + f.size) for f in fields)
    return [ByteRange(start + row * width + a, start + row * width + b) for row in span for a, b in parts]
