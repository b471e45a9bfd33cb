"""Extracted spectra of COS and STIS as specutils' own objects: one for each segment, stripe or echelle order.

The files x1d, x1dsum and sx1 hold a table with a row for each of these, or several such tables, one for each exposure.
A row becomes a `specutils.Spectrum` with units, uncertainty, mask, and a ``meta`` that says what the wavelengths are:

- They are wavelengths in vacuum, of STIS also above 2000 Angstrom (STIS Instrument Handbook, sec. 13.2.1; COS: calcos
  applies the dispersion relation of DISPTAB, which is in vacuum, COS Data Handbook, sec. 3.4).
- They are heliocentric where the pipeline's step HELCORR is complete (STIS Data Handbook, sec. 3.4, "HELCORR"; COS Data
  Handbook, sec. 3.4), and as the telescope saw them elsewhere: lamps have none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from numpy.typing import NDArray

from hst_cloud.archive.inputs import ProductsLike, as_product, as_products
from hst_cloud.archive.places import placed
from hst_cloud.errors import FormatError, MissingExtraError, QueryError
from hst_cloud.fits.columns import Form, TableRead, decode
from hst_cloud.fits.index import IndexLike, as_index
from hst_cloud.fits.keywords import Memo, Value, pick
from hst_cloud.fits.layout import HDUExtent, Scan
from hst_cloud.fits.recall import read_one
from hst_cloud.fits.tables import WHOLE, Tables, read_tables
from hst_cloud.science.flags import BitFlags, default_good_bits, mask_of
from hst_cloud.science.many import OnError, as_on_error, read_each, recalled
from hst_cloud.science.units import unit_of
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.store.policy import S3
from hst_cloud.values import ByteRange, Product, ProductLike, Progress

if TYPE_CHECKING:
    from specutils import Spectrum, SpectrumList

__all__ = ["spectra", "spectrum", "specutils_module"]

_INSTRUMENTS = ("COS", "STIS")
_COLUMNS = ("WAVELENGTH", "FLUX", "ERROR", "DQ", "DQ_WGT", "NELEM", "SEGMENT", "SPORDER", "EXPTIME")
_PRIMARY = ("INSTRUME", "DETECTOR", "OPT_ELEM", "CENWAVE", "APERTURE", "ROOTNAME", "TARGNAME", "CAL_VER")
_STEPS = ("HELCORR", "FLUXCORR")
_OWN = ("EXPTIME", "EXPSTART", "SDQFLAGS")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of a product: one spectrum to be."""

    product: Product
    read: Tables
    table: TableRead
    columns: dict[str, NDArray[Any]]
    keywords: dict[str, Value]
    number: int
    segment: str | None
    order: int | None

    def __str__(self) -> str:
        parts = [f"{self.table.extent.name},{self.table.extent.ver} row {self.number}"]
        parts += [f"segment={self.segment!r}"] if self.segment is not None else []
        parts += [f"order={self.order}"] if self.order is not None else []
        return ": ".join([parts[0], ", ".join(parts[1:])]) if parts[1:] else parts[0]


def spectrum(
    product: ProductLike,
    *,
    order: int | None = None,
    segment: str | None = None,
    good_bits: BitFlags = "pipeline",
    store: StoreLike = None,
    index: IndexLike = True,
) -> Spectrum:
    """Read one extracted spectrum of COS or STIS.

    Parameters
    ----------
    product : Product, Row or str
        An x1d, x1dsum or sx1 file, as for `~hst_cloud.open`.
    order : int, optional
        Spectral order of STIS's echelles: the file's SPORDER.
    segment : str, optional
        Segment or stripe of COS: ``"FUVA"``, ``"FUVB"``, ``"NUVA"``, ``"NUVB"``, ``"NUVC"``.
    good_bits : int, str or sequence of int, optional
        Bits of DQ that a good pixel may have, as `astropy.nddata.bitmask` takes them; 0 masks every flag, None masks
        none. By default the pipeline's own judgment: of COS a pixel is bad where DQ_WGT is 0, of STIS where it has a
        bit of SDQFLAGS.
    store : optional
        Where to read, as for `~hst_cloud.open`.
    index : Index or bool, optional
        Where layouts and headers are kept, as for `~hst_cloud.open`.

    Returns
    -------
    specutils.Spectrum
        Flux against wavelength, cut to the NELEM pixels that are there, with the file's ERROR as standard deviation.
        ``meta`` has ``frame`` (``"vacuum"``), ``heliocentric``, ``flux_calibrated``, ``segment``, ``order``, ``file``,
        ``key``, ``etag``, ``hdu``, ``ver``, ``row``, ``dq`` (the flags as they are) and, named as in the file,
        CAL_VER, INSTRUME, DETECTOR, OPT_ELEM, CENWAVE, APERTURE, ROOTNAME, TARGNAME, EXPTIME and EXPSTART.

    Raises
    ------
    QueryError
        No row matches, or several do; the message lists them. The product holds no extracted spectrum.
    FormatError, TruncatedFileError
        The file cannot be read, a unit is not known, or the wavelengths do not rise or fall throughout.
    MissingExtraError
        specutils is not installed.
    NotInCloudError, ObjectNotFoundError, ObjectChangedError, AccessDeniedError, StoreUnavailableError
        As for `~hst_cloud.open`.

    Notes
    -----
    Requests: one for a file of at most 1 MiB, or of 8 MiB of known size, or that `index` knows; else two.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> line = hst.spectrum("odbue5030_x1d.fits", order=100)  # doctest: +SKIP
    """
    made = specutils_module()
    _check(order, segment)
    known = placed(as_product(product))
    where = as_store(store)
    read = read_one(where, known, _plan, index=as_index(index, where), first=_first(known))
    rows = list(_rows(known, read, Memo()))
    found = [row for row in rows if _matches(row, order, segment)]
    if len(found) != 1:
        wanted = " and ".join(f"{n}={v!r}" for n, v in (("order", order), ("segment", segment)) if v is not None)
        several = f"{len(found)} spectra" if found else "no spectrum"
        advice = "Give order= or segment=, or read all of them with hst_cloud.spectra." if found else "It has:"
        lines = "\n".join(f"  {row}" for row in (found or rows))
        message = f"{known.filename} has {several}{f' with {wanted}' if wanted else ''}. {advice}\n{lines}"
        raise QueryError(message, key=known.key)
    return _spectrum(found[0], good_bits, made.Spectrum)


def spectra(
    products: ProductsLike,
    *,
    order: int | None = None,
    segment: str | None = None,
    good_bits: BitFlags = "pipeline",
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    on_error: OnError = "raise",
    progress: Callable[[Progress], None] | None = None,
) -> SpectrumList:
    """Read all extracted spectra of products of COS and STIS.

    Parameters
    ----------
    products : Table or iterable
        Products, or what names them.
    order, segment : optional
        Take the rows of these alone, as in `spectrum`; a product without any adds nothing.
    good_bits, store, index
        As for `spectrum`.
    in_flight : int, optional
        Requests in flight at a time.
    on_error : {"raise", "skip"}, optional
        With ``"skip"``, a broken product is left out, and one warning at the end lists them.
    progress : callable, optional
        Given a `~hst_cloud.values.Progress` for each file.

    Returns
    -------
    specutils.SpectrumList
        One spectrum for each row, in the order of product, EXTVER and row. ``meta["file"]`` tells whose it is.

    Raises
    ------
    QueryError, FormatError, MissingExtraError, StoreError
        As for `spectrum`; a broken product's own only if `on_error` is ``"raise"``.

    Warns
    -----
    HSTCloudWarning
        Products were skipped.

    Notes
    -----
    Requests: one for each file of at most 1 MiB, or of 8 MiB of known size, or that `index` knows; else two.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> files = hst.products(hst.search("NGC 4151", instrument="COS"), suffix="x1dsum")  # doctest: +SKIP
    >>> spectra = hst.spectra(files, on_error="skip")  # doctest: +SKIP
    """
    made = specutils_module()
    as_on_error(on_error)
    _check(order, segment)
    memo = Memo()

    def finish(product: Product, read: Tables) -> list[Spectrum]:
        chosen = [row for row in _rows(product, read, memo) if _matches(row, order, segment)]
        return [_spectrum(row, good_bits, made.Spectrum) for row in chosen]

    found = made.SpectrumList()
    known, where = as_products(products), as_store(store)
    results = recalled(
        known, lambda _: _plan, store=where, index=as_index(index, where), in_flight=in_flight, first=_first
    )
    for _, several in read_each(results, finish, total=len(known), on_error=on_error, progress=progress, stacklevel=3):
        found.extend(several)
    return found


def specutils_module(what: str = "spectra need") -> Any:
    """Return the module specutils, or say what needs it."""
    try:
        import specutils  # noqa: PLC0415  # an extra, and slow to import
    except ImportError as error:
        message = (
            f"{what} specutils, which is not installed: pip install 'hst-cloud[spectra]'. Their columns can be "
            "read without it by hst_cloud.table and hst_cloud.columns."
        )
        raise MissingExtraError(message) from error
    return specutils


def _check(order: int | None, segment: str | None) -> None:
    """Raise before anything is sent if no spectrum can have such an order or segment."""
    if isinstance(order, bool) or not (order is None or isinstance(order, int | np.integer)):
        message = f"order={order!r} is no spectral order: expected a whole number"
        raise QueryError(message)
    if not (segment is None or isinstance(segment, str)):
        message = f"segment={segment!r} is no segment: expected a name such as 'FUVA'"
        raise QueryError(message)


def _plan(found: Scan) -> Plan[ByteRange, Piece, Tables]:
    return read_tables(found, _choose)


def _first(product: Product) -> int | None:
    return product.size if product.size is not None and product.size <= WHOLE else None


def _choose(_number: int, _extent: HDUExtent, form: Form) -> Sequence[str] | None:
    if not {"WAVELENGTH", "FLUX"} <= set(form.names):
        return None
    return [name for name in _COLUMNS if name in form.names]


def _rows(product: Product, read: Tables, memo: Memo) -> Iterator[_Row]:
    """Return every row of a product, by EXTVER and row."""
    if not read.layout.hdus:
        message = f"{product.filename or product.key} has no HDU that can be read in parts: is it compressed?"
        raise FormatError(message, key=read.layout.key)
    primary = pick(read.header(0), [*_PRIMARY, *_STEPS], memo)
    instrument = primary.get("INSTRUME")
    spectral = [table for table in read.tables if "WAVELENGTH" in table.form.fields]
    if instrument not in _INSTRUMENTS or not spectral or any(len(_shape(t)) != 1 for t in spectral):
        hdus = ", ".join(f"{hdu.name or '(no name)'},{hdu.ver}" for hdu in read.layout.hdus)
        message = (
            f"{product.filename or product.key} (INSTRUME = {instrument!r}, HDUs {hdus}) holds no extracted spectra: "
            "expected an x1d, x1dsum or sx1 file of COS or STIS, which has tables with WAVELENGTH and FLUX. "
            "Other tables are read by hst_cloud.table."
        )
        raise QueryError(message, key=read.layout.key)
    for table in sorted(spectral, key=lambda t: t.extent.ver):
        columns = decode(table)
        keywords = primary | pick(table.header, _OWN, memo)
        for number in range(len(table.rows)):
            yield _Row(
                product=product, read=read, table=table, columns=columns, keywords=keywords, number=number,
                segment=str(columns["SEGMENT"][number]) if "SEGMENT" in columns else None,
                order=int(columns["SPORDER"][number]) if "SPORDER" in columns else None,
            )  # fmt: skip


def _shape(table: TableRead) -> tuple[int, ...]:
    return table.form.fields["WAVELENGTH"].shape


def _matches(row: _Row, order: int | None, segment: str | None) -> bool:
    by_segment = segment is None or (row.segment or "").upper() == segment.strip().upper()
    return by_segment and (order is None or row.order == order)


# --- One row ---------------------------------------------------------------------------------------------------------


def _spectrum(row: _Row, good_bits: BitFlags, kind: type[Spectrum]) -> Spectrum:
    """Return a row as a spectrum."""
    columns, number = row.columns, row.number
    count = len(columns["WAVELENGTH"][number])
    if "NELEM" in columns:
        count = min(count, int(columns["NELEM"][number]))
    wavelength = columns["WAVELENGTH"][number, :count]
    steps = np.diff(wavelength)
    if not count or not ((steps > 0).all() or (steps < 0).all()):  # specutils would take them as they are
        raise _unusable(row, count, "its wavelengths neither rise nor fall throughout")
    uncertainty = None
    if "ERROR" in columns:
        uncertainty = StdDevUncertainty(columns["ERROR"][number, :count], unit=_unit(row, "ERROR"), copy=False)
    try:
        return kind(
            flux=u.Quantity(columns["FLUX"][number, :count], _unit(row, "FLUX"), copy=False),
            spectral_axis=u.Quantity(wavelength, _unit(row, "WAVELENGTH"), copy=False),
            uncertainty=uncertainty,
            mask=_mask(row, count, good_bits),
            meta=_meta(row, count),
        )
    except (ValueError, TypeError, IndexError) as error:
        raise _unusable(row, count, (str(error).splitlines() or [type(error).__name__])[0]) from error


def _unusable(row: _Row, count: int, why: str) -> FormatError:
    message = (
        f"{row.product.filename or row.product.key} has no usable spectrum in {row}, of {count} pixels: {why}. "
        "hst_cloud.table reads its columns as they are."
    )
    return FormatError(message, key=row.product.key)


def _unit(row: _Row, name: str) -> u.UnitBase:
    field = row.table.form.fields[name]
    file = row.product.filename or row.product.key
    return unit_of(field.unit, file=file, keyword=f"TUNIT{field.number}") or u.dimensionless_unscaled


def _mask(row: _Row, count: int, good_bits: BitFlags) -> NDArray[np.bool_] | None:
    """Return where the spectrum is bad."""
    columns, number = row.columns, row.number
    pipeline = isinstance(good_bits, str) and good_bits == "pipeline"
    if pipeline and "DQ_WGT" in columns:
        # calcos gives each pixel the share of its exposures that were good there: COS Data Handbook, sec. 3.4.
        weightless: NDArray[np.bool_] = columns["DQ_WGT"][number, :count] == 0
        return weightless
    if "DQ" not in columns:
        return None
    if pipeline:
        serious = row.keywords.get("SDQFLAGS")
        good_bits = default_good_bits(
            str(row.keywords.get("INSTRUME")), str(row.keywords.get("DETECTOR")),
            serious if isinstance(serious, int) else None,
        )  # fmt: skip
    return mask_of(columns["DQ"][number, :count], good_bits)


def _meta(row: _Row, count: int) -> dict[str, Any]:
    columns, number, keywords = row.columns, row.number, row.keywords
    meta: dict[str, Any] = {
        "file": row.product.filename,
        "key": row.read.layout.key,
        "etag": row.read.layout.etag,
        "hdu": row.table.number,
        "ver": row.table.extent.ver,
        "row": number,
        "segment": row.segment,
        "order": row.order,
        "frame": "vacuum",
        "heliocentric": keywords.get("HELCORR") == "COMPLETE",
        "flux_calibrated": keywords.get("FLUXCORR") == "COMPLETE",
        "dq": columns["DQ"][number, :count] if "DQ" in columns else None,
    }
    meta |= {name: keywords[name] for name in (*_PRIMARY, "EXPTIME", "EXPSTART") if name in keywords}
    if "EXPTIME" in columns:  # of COS, each segment has its own
        meta["EXPTIME"] = float(columns["EXPTIME"][number])
    return meta
