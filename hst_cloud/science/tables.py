"""Tables of products: chosen columns and rows, by ranges, with units or as bare arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked
from numpy.typing import NDArray

from hst_cloud.archive.inputs import ProductsLike, as_product, as_products
from hst_cloud.archive.places import placed
from hst_cloud.errors import QueryError
from hst_cloud.fits.columns import Form, TableRead, decode, nulls
from hst_cloud.fits.header_blocks import HDULike, as_hdu
from hst_cloud.fits.index import IndexLike, as_index
from hst_cloud.fits.layout import HDUExtent, Scan
from hst_cloud.fits.recall import read_one
from hst_cloud.fits.tables import WHOLE, Choice, Tables, read_tables
from hst_cloud.science.fgs import as_channels, is_sensor, read_channels
from hst_cloud.science.many import OnError, as_on_error, read_each, recalled
from hst_cloud.science.units import unit_of
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.store.policy import S3
from hst_cloud.values import ByteRange, Product, ProductLike, Progress

__all__ = ["as_table", "columns", "table", "tables"]


def table(
    product: ProductLike,
    hdu: HDULike | None = None,
    *,
    columns: Sequence[str] | None = None,
    rows: slice | None = None,
    store: StoreLike = None,
    index: IndexLike = True,
) -> QTable:
    """Read a table of a product, or some columns and rows of it.

    Binary and ASCII tables become what they are; the counts of the Fine Guidance Sensors (a1f, a2f, a3f), which lie
    in an image, become a table of time and channels.

    Parameters
    ----------
    product : Product, Row or str
        As for `~hst_cloud.open`.
    hdu : int, str or tuple, optional
        Which HDU: a number, a name such as ``"EVENTS"``, or a name and version, ``"SCI,2"`` or ``("SCI", 2)``. By
        default the product's first table.
    columns : str or sequence of str, optional
        Which columns, in this order; all by default. Of rows longer than 256 kB only these are read.
    rows : slice, optional
        Which rows, zero-based and without steps; all by default. No others are read.
    store : optional
        Where to read, as for `~hst_cloud.open`.
    index : Index or bool, optional
        Where layouts and headers are kept, as for `~hst_cloud.open`.

    Returns
    -------
    astropy.table.QTable
        Columns with units are quantities of the stored type; a stored value that is TNULL is masked. ``meta`` has
        ``key``, ``etag``, ``hdu``, ``name``, ``ver`` and ``rows``.

    Raises
    ------
    QueryError
        The product has no such table or column, or `rows` is no slice, or has steps.
    FormatError, TruncatedFileError
        The table cannot be read, or a unit is not known; the data end too early.
    NotInCloudError, ObjectNotFoundError, ObjectChangedError, AccessDeniedError, StoreUnavailableError
        As for `~hst_cloud.open`.

    Notes
    -----
    Requests: one for a file of at most 1 MiB, or of 8 MiB of known size of which all is wanted; else one or two for
    the headers and one for each 8 MiB of the rows. The headers of a larger file that `index` knows cost none.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> events = hst.table("ld9m10ujq_corrtag_a.fits", "EVENTS", columns=["TIME", "WAVELENGTH"])  # doctest: +SKIP
    """
    wanted = _wanted(hdu, columns, rows)
    known = placed(as_product(product))
    where = as_store(store)
    kept = as_index(index, where)
    if hdu is None and is_sensor(known.key):
        sensor = read_one(where, known, lambda found: read_channels(found, rows=rows), index=kept)
        return as_channels(sensor, wanted.columns)
    read = read_one(where, known, wanted.plan, index=kept, first=wanted.first(known))
    return as_table(read, _only(known, read, hdu))


def tables(
    products: ProductsLike,
    hdu: HDULike | None = None,
    *,
    columns: Sequence[str] | None = None,
    rows: slice | None = None,
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    on_error: OnError = "raise",
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[Product, QTable]]:
    """Read the same table of many products, as `table` reads one.

    Parameters
    ----------
    products : Table or iterable
        Products, or what names them.
    hdu, columns, rows, store, index
        As for `table`.
    in_flight : int, optional
        Requests in flight at a time.
    on_error : {"raise", "skip"}, optional
        With ``"skip"``, a broken product is left out, and one warning at the end lists them.
    progress : callable, optional
        Given a `~hst_cloud.values.Progress` for each file.

    Yields
    ------
    product : Product
        In the order given.
    table : astropy.table.QTable
        As `table` returns it.

    Raises
    ------
    HSTCloudError
        As for `table`; that of a broken product only if `on_error` is ``"raise"``.

    Notes
    -----
    Requests: as for `table`, for each product. Closing the iterator ends them.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> for product, events in hst.tables(files, "EVENTS", rows=slice(1000)):  # doctest: +SKIP
    ...     print(product.filename, events["TIME"].max())
    """

    def finish(product: Product, read: Tables) -> QTable:
        return as_table(read, _only(product, read, hdu))

    return _each(
        products, finish, _wanted(hdu, columns, rows), store=store, index=index, in_flight=in_flight,
        on_error=on_error, progress=progress,
    )  # fmt: skip


def columns(
    products: ProductsLike,
    hdu: HDULike | None = None,
    *,
    columns: Sequence[str] | None = None,
    rows: slice | None = None,
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    on_error: OnError = "raise",
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[Product, dict[str, NDArray[Any]]]]:
    """Read the columns of a table of many products as bare arrays: the fastest way to their numbers.

    Parameters
    ----------
    products, hdu, columns, rows, store, index, in_flight, on_error, progress
        As for `tables`.

    Yields
    ------
    product : Product
        In the order given.
    columns : dict of str to numpy.ndarray
        Arrays in the machine's byte order, with one item for each row: scaled by TSCAL and TZERO, without units, and
        with TNULL's values as they are. Those of one file may share its memory: copy what is kept of a few.

    Raises
    ------
    HSTCloudError
        As for `table`; that of a broken product only if `on_error` is ``"raise"``.

    Notes
    -----
    Requests: as for `table`, for each product.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> for product, spectrum in hst.columns(files, columns=["WAVELENGTH", "FLUX"]):  # doctest: +SKIP
    ...     total = spectrum["FLUX"].sum(axis=1)
    """

    def finish(product: Product, read: Tables) -> dict[str, NDArray[Any]]:
        return decode(_only(product, read, hdu), consume=True)

    return _each(
        products, finish, _wanted(hdu, columns, rows), store=store, index=index, in_flight=in_flight,
        on_error=on_error, progress=progress,
    )  # fmt: skip


def as_table(read: Tables, one: TableRead) -> QTable:
    """Return a table's columns with their units.

    Raises
    ------
    FormatError
        A unit is not known; or astropy cannot decode the table.
    """
    units = dict(zip(one.form.names, one.form.units, strict=True))
    masks = {name: nulls(one, name) for name in one.names}  # of the stored values, which are turned below
    found = decode(one, consume=True)
    made = {}
    for name, values in found.items():
        unit = None
        if units[name]:
            keyword = f"TUNIT{one.form.names.index(name) + 1}"
            unit = unit_of(units[name], file=read.layout.key, keyword=keyword)
        made[name] = measured(values, unit, masks[name])
    meta = {
        "key": read.layout.key, "etag": read.layout.etag, "hdu": one.number, "name": one.extent.name,
        "ver": one.extent.ver, "rows": (one.rows.start, one.rows.stop),
    }  # fmt: skip
    return QTable(made, meta=meta, copy=False)


def measured(values: NDArray[Any], unit: u.UnitBase | None, mask: NDArray[np.bool_] | None) -> Any:
    """Return `values` as a column of a QTable: a quantity of their own type where there is a unit."""
    if unit is None or values.dtype.kind not in "iufc":
        return values if mask is None else MaskedColumn(values, mask=mask)
    quantity = u.Quantity(values, unit, copy=False, dtype=None)
    return quantity if mask is None else Masked(quantity, mask=mask)


# --- Which table -----------------------------------------------------------------------------------------------------


class _Wanted(NamedTuple):
    """What is asked of every file."""

    hdu: HDULike | None
    columns: Sequence[str] | None
    rows: slice | None

    def plan(self, found: Scan) -> Plan[ByteRange, Piece, Tables]:
        """Return what reads it from one file."""
        return read_tables(found, _choice(self.hdu, self.columns), rows=self.rows)

    def first(self, product: Product) -> int | None:
        """Return the bytes of a file that are read at once, because all of it is wanted."""
        size = product.size
        everything = all(part is None for part in self)
        return size if everything and size is not None and size <= WHOLE else None


def _wanted(hdu: HDULike | None, columns: Sequence[str] | None, rows: slice | None) -> _Wanted:
    if hdu is not None:
        as_hdu(hdu)  # raises before anything is sent, as all of this does
    if rows is not None and not isinstance(rows, slice):
        message = f"rows={rows!r} is no slice: expected one such as slice(0, 100)"
        raise QueryError(message)
    if columns is not None:
        # Asked of every table, so that an iterator would be at its end with the first.
        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if not all(isinstance(name, str) for name in columns):
            message = f"columns={columns!r}: expected names such as ['TIME', 'WAVELENGTH']"
            raise QueryError(message)
    return _Wanted(hdu, columns, rows)


def _each(
    products: ProductsLike,
    finish: Callable[[Product, Tables], Any],
    wanted: _Wanted,
    *,
    store: StoreLike,
    index: IndexLike,
    in_flight: int,
    on_error: OnError,
    progress: Callable[[Progress], None] | None,
) -> Iterator[tuple[Product, Any]]:
    as_on_error(on_error)
    known, where = as_products(products), as_store(store)
    results = recalled(
        known, lambda _: wanted.plan, store=where, index=as_index(index, where), in_flight=in_flight,
        first=wanted.first,
    )  # fmt: skip
    return read_each(results, finish, total=len(known), on_error=on_error, progress=progress)


def _choice(hdu: HDULike | None, columns: Sequence[str] | None) -> Choice:
    """Return what takes the table that `hdu` names; one for each file, since it remembers the first."""
    taken: list[int] = []
    wanted = None if hdu is None else as_hdu(hdu)

    def choose(at: int, extent: HDUExtent, form: Form) -> Sequence[str] | None:
        if taken or not (wanted is None or wanted.means(at, extent)):
            return None
        taken.append(at)
        return form.names if columns is None else columns

    return choose


def _only(product: Product, read: Tables, hdu: HDULike | None) -> TableRead:
    if read.tables:
        return read.tables[0]
    found = ", ".join(f"{i} {e.name or '(no name)'},{e.ver}" for i, e in enumerate(read.layout.hdus))
    found = found or "none that is read in parts (it may be compressed: see hst_cloud.read)"
    wanted = "table" if hdu is None else f"table {hdu!r}"
    message = f"{product.filename or product.key} has no {wanted}: its HDUs are {found}"
    raise QueryError(message, key=product.key)
