"""Tables of a FITS file as byte ranges, and their columns as native arrays.

What a binary table's rows look like is told by a few dozen of its header's cards. astropy reads these, once for each
set of cards that was never seen before: files of one kind differ in the others. A column is then one strided copy of
the rows' bytes. Columns of variable length, and the rare kinds for which astropy has rules of its own, are left to
astropy, and so are ASCII tables; the values are astropy's in any case.

Sources: FITS Standard 4.0, sec. 7.2 and 7.3; `astropy.io.fits.FITS_rec`.
"""

from __future__ import annotations

import functools
import io
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from hst_cloud.errors import FormatError, QueryError
from hst_cloud.fits.guards import REJECTED, check_data, has_heap
from hst_cloud.fits.layout import BLOCK, HDUExtent
from hst_cloud.fits.structure import Cards
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["Field", "Form", "TableRead", "decode", "form_of", "nulls"]

_CARD = 80
# What says how rows are laid out: FITS Standard 4.0, tables 15 and 19.
_SHAPING = frozenset(
    [b"TTYPE", b"TFORM", b"TUNIT", b"TSCAL", b"TZERO", b"TNULL", b"TBCOL", b"TFIEL"]
    + [b"TDIM%d" % n for n in range(1, 10)]
)
_UNSIGNED = {("I", 2.0**15): np.uint16, ("J", 2.0**31): np.uint32, ("K", 2.0**63): np.uint64}
_PRIMARY = fits.PrimaryHDU().header.tostring().encode("ascii")

_Kind: TypeAlias = Literal["plain", "text", "logical", "bits", "scaled", "unsigned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column of a binary table."""

    name: str
    """TTYPE."""
    number: int
    """From one, as in TTYPEn."""
    unit: str
    """TUNIT as it stands; empty where there is none."""
    offset: int
    """First byte within a row."""
    size: int
    """Bytes within a row."""
    shape: tuple[int, ...]
    """Shape of a row's value as stored; empty for a single one."""
    stored: np.dtype[Any]
    """What an element is, as stored."""
    kind: _Kind
    """How the stored values become native ones."""
    scale: float = 1.0
    """TSCAL."""
    zero: float = 0.0
    """TZERO."""
    null: int | bytes | None = None
    """TNULL, of the values as stored; of a table of text, without blanks around it."""
    repeat: int = 1
    """Bits of a column of bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the rows of a table look like; the same for all files of one kind."""

    names: tuple[str, ...]
    """Columns, in order."""
    units: tuple[str, ...]
    """Their TUNIT; empty where there is none."""
    fields: dict[str, Field]
    """Where they lie; empty if astropy has to decode the table."""
    width: int
    """Bytes of a row: NAXIS1."""
    ascii: bool
    """Whether the table is one of text."""
    nulls: dict[str, Field]
    """The columns that have TNULL, whoever decodes the table."""

    def matching(self, names: Iterable[str], key: str) -> list[str]:
        """Return the columns of these names, whatever their case: FITS Standard 4.0, sec. 7.2.2.

        Raises
        ------
        QueryError
            There is none of a name.
        """
        known = {name.upper(): name for name in reversed(self.names)} | {name: name for name in self.names}
        found = [known.get(name) or known.get(name.upper()) for name in names]
        if None in found:
            missing = [name for name, match in zip(names, found, strict=True) if match is None]
            message = f"{key} has no column {', '.join(missing)} in this table: its columns are {', '.join(self.names)}"
            raise QueryError(message, key=key)
        return [name for name in found if name is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRead:
    """One table's bytes, as far as they were wanted."""

    key: str
    """Object key."""
    number: int
    """Which HDU, from zero."""
    extent: HDUExtent
    """Where it lies."""
    header: bytes
    """Its header's blocks."""
    form: Form
    """What its rows look like."""
    names: tuple[str, ...]
    """The columns that were wanted."""
    rows: range
    """The rows that were wanted, zero-based."""
    segments: Segments
    """The bytes."""


# --- The form of a table ---------------------------------------------------------------------------------------------


def form_of(header: bytes, key: str) -> Form:
    """Return what the rows of the table with this header look like.

    Raises
    ------
    FormatError
        astropy does not read the header.

    Notes
    -----
    Requests: none. Time: 30 us where a table of the same columns was seen before.
    """
    cards: list[bytes] = np.frombuffer(header, f"V{_CARD}", len(header) // _CARD).tolist()
    if b"CONTINUE" not in header:
        cards = [card for card in cards if card[:5] in _SHAPING]
    try:
        return _form(b"".join(cards), header[11:19] == b"TABLE   ", Cards(header).integer("NAXIS1", 0) or 0)
    except REJECTED as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{key} has a table that astropy cannot read: {said}"
        raise FormatError(message, key=key) from error


@functools.lru_cache(512)
def _form(cards: bytes, text: bool, width: int) -> Form:  # noqa: FBT001  # private, and lru_cache's key
    """Have astropy read the cards that shape a table."""
    kept = fits.Header.fromstring(cards)
    count = kept["TFIELDS"]
    header = fits.Header([
        ("XTENSION", "TABLE" if text else "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", width), ("NAXIS2", 0),
        ("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", count),
    ])  # fmt: skip
    known = {"XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "CONTINUE", "THEAP"}
    header.extend((card for card in kept.cards if card.keyword and card.keyword not in known), strip=False)
    with warnings.catch_warnings(), _opened(header.tostring().encode("ascii")) as hdul:
        warnings.simplefilter("ignore")
        columns = hdul[1].columns
        names = tuple(columns.names)
        units = tuple(str(unit or "") for unit in columns.units)
        fields = None if text else _fields(columns, width)
        nulls = _nulls(columns)
    return Form(names=names, units=units, fields=fields or {}, width=width, ascii=text, nulls=nulls)


def _opened(table: bytes) -> fits.HDUList:
    """Have astropy open an extension's bytes."""
    content = io.BytesIO(_PRIMARY + table + bytes(-len(table) % BLOCK))
    return fits.open(content, memmap=False, disable_image_compression=True)


def _stored(columns: fits.ColDefs) -> Iterator[tuple[fits.Column, Field]]:
    """Yield each column, and where its stored values lie."""
    for number, (column, name) in enumerate(zip(columns, columns.dtype.names, strict=True), 1):
        stored, offset = columns.dtype.fields[name][:2]
        yield column, Field(
            name=column.name, number=number, unit=str(column.unit or ""), offset=offset, size=stored.itemsize,
            shape=stored.shape, stored=stored.base.newbyteorder(">"), kind="plain",
        )  # fmt: skip


def _fields(columns: fits.ColDefs, width: int) -> dict[str, Field] | None:
    """Return where each column lies, or None if one is of a kind that is astropy's affair."""
    dtype = columns.dtype
    if dtype.itemsize != width or len(set(dtype.names)) != len(columns):
        return None
    fields = {}
    for column, field in _stored(columns):
        kind = _kind(column)
        if kind is None or not field.size:
            return None
        fields[field.name] = replace(
            field, kind=kind, scale=column.bscale or 1.0, zero=column.bzero or 0.0, repeat=column.format.repeat
        )
    return fields


def _nulls(columns: fits.ColDefs) -> dict[str, Field]:
    """Return where the columns lie of which a stored value means none: FITS Standard 4.0, sec. 7.2.2 and 7.3.2."""
    found = {}
    for column, field in _stored(columns):
        null = column.null.strip().encode("ascii", "replace") if isinstance(column.null, str) else column.null
        kinds = "S" if isinstance(null, bytes) else "iu"
        if isinstance(null, int | bytes) and null != b"" and field.stored.kind in kinds:
            found[field.name] = replace(field, null=null)
    return found


def _kind(column: fits.Column) -> _Kind | None:
    """Return how a column is decoded, or None if astropy has to."""
    code = column.format.format
    scaled = column.bscale not in ("", None, 1) or column.bzero not in ("", None, 0)
    if code in "PQ":
        return None
    if code in "ALX":
        return {"A": "text", "L": "logical", "X": "bits"}[code]  # type: ignore[return-value]  # a _Kind
    if not scaled:
        return "plain"
    if (code, column.bzero) in _UNSIGNED and column.bscale in ("", None, 1):
        return "unsigned"
    return "scaled" if code in "BIJED" else None  # of 64-bit and complex numbers astropy makes something of its own


# --- From bytes to arrays --------------------------------------------------------------------------------------------


def decode(read: TableRead, *, consume: bool = False) -> dict[str, NDArray[Any]]:
    """Return the columns that were wanted, as native arrays.

    Parameters
    ----------
    read : TableRead
        What `read_tables` gave.
    consume : bool, optional
        Whether nobody will look at what was read again: most of a row being wanted, its numbers are then turned where
        they were received, which takes no more memory. By default, arrays own their memory.

    Returns
    -------
    dict of str to numpy.ndarray
        In the machine's byte order, scaled, one item for each row: what astropy's ``hdu.data[name]`` holds, with
        blanks at the end of texts taken away.

    Raises
    ------
    FormatError
        astropy cannot decode the table.

    Notes
    -----
    Requests: none. Time: 20 us for a spectrum of STIS.
    """
    if not read.form.fields:
        return _by_astropy(read)
    start, width = read.extent.data.start, read.form.width
    rows = read.segments.find(start + read.rows.start * width, start + read.rows.stop * width)
    wanted = sum(read.form.fields[name].size for name in set(read.names))
    here = consume and rows is not None and not rows.readonly and 2 * wanted > width
    return {name: _column(read, read.form.fields[name], rows, here=here) for name in read.names}


def nulls(read: TableRead, name: str) -> NDArray[np.bool_] | None:
    """Return where the stored values of a column are its TNULL, or None if it has none."""
    field = read.form.nulls.get(name)
    if field is None:
        return None
    start, width = read.extent.data.start, read.form.width
    rows = read.segments.find(start + read.rows.start * width, start + read.rows.stop * width)
    raw = _raw(read, field, rows)
    mask: NDArray[np.bool_] = (np.strings.strip(raw) if field.stored.kind == "S" else raw) == field.null
    return mask if mask.any() else None


def _column(read: TableRead, field: Field, rows: memoryview | None, *, here: bool) -> NDArray[Any]:
    raw = _raw(read, field, rows)
    match field.kind:
        case "plain" if here:
            turned: NDArray[Any] = raw.view(field.stored.newbyteorder("="))
            np.copyto(turned, raw)
            return turned
        case "plain":
            plain: NDArray[Any] = raw.astype(field.stored.newbyteorder("="))
            return plain
        case "text":
            return _text(read, raw)
        case "logical":
            true: NDArray[np.bool_] = np.equal(raw, ord("T"))
            return true
        case "bits":
            flat = np.unpackbits(raw.reshape(len(raw), field.size), axis=1)
            return flat[:, : field.repeat].astype(np.bool_)
        case "unsigned":
            native = raw.astype(field.stored.newbyteorder("="))
            unsigned = native.view(f"u{field.stored.itemsize}")
            unsigned ^= unsigned.dtype.type(1 << (8 * field.stored.itemsize - 1))
            return unsigned
        case "scaled":
            values = raw.astype(np.float64)
            if field.scale != 1:
                values *= field.scale
            if field.zero:
                values += field.zero
            return values


def _raw(read: TableRead, field: Field, rows: memoryview | None = None) -> NDArray[Any]:
    """Return a column's stored values: a view of the bytes that were read, where all of `rows` are in one piece."""
    count, width, shape = len(read.rows), read.form.width, field.shape
    if rows and count:
        size = field.stored.itemsize
        inner = (size,) if len(shape) == 1 else tuple(size * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        return np.ndarray((count, *shape), field.stored, rows, field.offset, (width, *inner))
    out = np.empty((count, *shape), field.stored)
    start = read.extent.data.start + read.rows.start * width + field.offset
    for row in range(count):
        part = read.segments.find(start + row * width, start + row * width + field.size)
        assert part is not None
        out[row] = np.ndarray(shape, field.stored, part)
    return out


def _text(read: TableRead, raw: NDArray[Any]) -> NDArray[Any]:
    try:
        return np.strings.rstrip(raw.astype(f"U{raw.dtype.itemsize}"))
    except UnicodeDecodeError as error:
        message = f"{read.key} has text that is not ASCII in HDU {read.number} ({read.extent.name}): {error}"
        raise FormatError(message, key=read.key) from error


def _by_astropy(read: TableRead) -> dict[str, NDArray[Any]]:
    """Have astropy decode the table: one of text, or with columns of variable length."""
    header, width, start = read.header, read.form.width, read.extent.data.start
    if read.form.ascii:
        span = ByteRange(start + read.rows.start * width, start + read.rows.stop * width)
        count = b"NAXIS2  = %20d" % max(1, len(read.rows))
        header = header.replace(Cards(header).card("NAXIS2"), count.ljust(_CARD), 1)
    else:
        span = read.extent.data
    # Of no rows astropy cannot make numbers: it is given a blank one, which is left out again.
    view = read.segments.find(*span) if span.size > 0 else memoryview(b" " * width if read.form.ascii else b"")
    assert view is not None
    if not read.form.ascii and has_heap(header):
        check_data(header, read.extent, view, read.key)
    try:
        with _opened(header + bytes(view)) as hdul:
            data = hdul[1].data
            rows = slice(len(read.rows)) if read.form.ascii else slice(read.rows.start, read.rows.stop)
            return {name: _native(data[name][rows]) for name in read.names}
    except REJECTED as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{read.key} has a table in HDU {read.number} ({read.extent.name}) that astropy cannot read: {said}"
        raise FormatError(message, key=read.key) from error


def _native(values: Any) -> NDArray[Any]:
    """Return astropy's column as an array of its own, in the machine's byte order."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        column = np.empty(len(values), object)
        column[:] = [np.array(one, one.dtype.newbyteorder("=")) for one in map(np.asarray, values)]
        return column
    if array.dtype.kind in "SU":
        return np.strings.rstrip(np.asarray(array, f"U{max(1, np.strings.str_len(array).max(initial=0))}"))
    native: NDArray[Any] = array.astype(array.dtype.newbyteorder("="))
    return native
