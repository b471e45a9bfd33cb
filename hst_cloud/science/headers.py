"""Keywords of many products as one table: one row each, and no more read of a file than the headers that hold them.

What to read is decided by `hst_cloud.fits.header_blocks`, what a card says by `hst_cloud.fits.keywords`; here many
files' values of one keyword become a column of one type.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from types import NoneType
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from hst_cloud.archive.inputs import ProductsLike, as_products
from hst_cloud.archive.places import placed
from hst_cloud.archive.session import Watcher
from hst_cloud.cost.budgets import counted
from hst_cloud.errors import FormatError, HSTCloudError, HSTCloudWarning, QueryError
from hst_cloud.fits.frames import expected
from hst_cloud.fits.header_blocks import HDULike, HDUName, Kin, as_hdu, blocks_in, header_blocks, kind_of
from hst_cloud.fits.index import Index, IndexLike, as_index
from hst_cloud.fits.keywords import Memo, Value, every, normalized, pick
from hst_cloud.fits.layout import Scan
from hst_cloud.fits.recall import look
from hst_cloud.science.many import in_turn, told_of
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.drive import Job
from hst_cloud.store.objects import Piece, Store
from hst_cloud.store.plan import Plan
from hst_cloud.store.policy import S3
from hst_cloud.values import ByteRange, Product, Progress

__all__ = ["headers"]

OnError: TypeAlias = Literal["raise", "skip", "mask"]
"""What becomes of a product that cannot be read."""

_Values: TypeAlias = "Mapping[str, Value]"  # of one product, by column
_Taking: TypeAlias = "Callable[[Sequence[bytes | None]], _Values]"  # of the headers that were read

FILENAME = "productFilename"

# What stands before the dot of record-valued keywords, whose names have one: FITS Paper IV (Calabretta et al., draft of
# 2004) has DPj and DQj; stwcs, which writes HST's distortions, has D2IMj besides.
_RECORD = re.compile(r"\s*(?:DP|DQ|D2IM)\d+[A-Z]?\s*", re.IGNORECASE)


def headers(
    products: ProductsLike,
    keywords: str | Sequence[str] | None = None,
    *,
    hdu: HDULike = 0,
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    on_error: OnError = "raise",
    progress: Watcher | None = None,
) -> Table:
    """Read keywords of many products into one table: one row each, in the order given.

    Parameters
    ----------
    products : Table, Row, Product, str, or a list that mixes them
        The files: see `hst_cloud.resolve`.
    keywords : str or sequence of str, optional
        Which keywords, in any case. ``"SCI,2.PHOTFLAM"`` names one of an extension: its EXTNAME, and EXTVER where the
        first of that name is not meant; ``"1.EXPTIME"`` its position. Record-valued keywords are named as astropy names
        them (``"SCI,1.DP1.EXTVER"``). ``"*"`` stands for all keywords of ``hdu``, which is the default; ``"SCI,1.*"``
        for all of an extension.
    hdu : int, str or tuple, optional
        Where keywords without an extension are: by default the primary header. ``1``, ``"SCI"``, ``"SCI,2"`` or
        ``("SCI", 2)``.
    store : optional
        Where to read: by default the anonymous public bucket. See `hst_cloud.open`.
    index : Index or bool, optional
        Where layouts and headers are kept, as for `~hst_cloud.open`. Headers of it are taken of products that tell
        their version alone, as those of ``resolve(..., verify=True)`` do, and of no other version.
    in_flight : int, optional
        Requests at a time.
    on_error : {"raise", "skip", "mask"}, optional
        What becomes of a product that cannot be read: it ends the call; or it has no row; or its row is masked. The
        latter two end in one warning that lists them.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` after each product.

    Returns
    -------
    Table
        ``productFilename``, then a column for each keyword, named as it was asked for; then those that ``*`` brings, in
        the order in which they first appear. Masked is what a file does not have or has without a value.

        A column's type is that of its values: ``bool``, ``int64``, ``float64`` (also of whole numbers and floats
        together), ``complex128`` or text. If they have no type in common, it is text: numbers as Python writes them,
        logical values as ``T`` and ``F``; so are integers beyond 64 bits. A column without any value is masked text.
        COMMENT and HISTORY are their lines with newlines between.

        ``meta`` holds what was asked (``criteria``), the ``service`` and ``endpoint``, ``time`` (UTC), ``versions``,
        the ``requests`` and ``bytes`` that it took, and ``errors`` by file name.

    Raises
    ------
    QueryError
        A keyword or an HDU is none.
    ProductNameError, NotInCloudError
        An input names no file, or its place in the bucket is not known; raised before anything is read.
    StoreError
        The bucket does not hold a file, does not give it, or does not answer.
    FormatError
        It is no FITS file, is compressed, is truncated before what is wanted, or a card cannot be read.

    Warns
    -----
    HSTCloudWarning
        Products could not be read, and ``on_error`` is not ``"raise"``.

    Notes
    -----
    Requests: one for each file for keywords of the primary header (32 KiB; 128 KiB of drizzled files) and, as a rule,
    of the first extension (64 KiB). For those farther back one more for each HDU before: the first files are walked
    one request after another, those like them take one round trip, and so do those like a file that another call has
    walked. A file that is named twice is read once. None for files of more than 1 MiB that `index` knows in the version
    that the product tells: what it gives is then as old as that listing.

    Cards are read as astropy reads them: values are what ``header[keyword]`` gives, of a repeated keyword the first.
    Of tile-compressed images it is the header that is stored, that of a table.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> files = ["jbqf03gjq_flc.fits", "jbqf03gmq_flc.fits"]
    >>> table = hst.headers(files, ["EXPTIME", "DATE-OBS", "SCI,2.PHOTFLAM"])  # doctest: +SKIP
    """
    if on_error not in {"raise", "skip", "mask"}:
        message = f"on_error={on_error!r} is not known: expected 'raise', 'skip' or 'mask'"
        raise QueryError(message)
    asked = _asked(["*"] if keywords is None else [keywords] if isinstance(keywords, str) else keywords, as_hdu(hdu))
    known = as_products(products)
    source = as_store(store)
    layouts = as_index(index, source)
    with counted() as spent:
        results = _read(known, source, asked, index=layouts, in_flight=in_flight, on_error=on_error, progress=progress)
    each = list(zip(known, results, strict=True))
    failed = [(product, result) for product, result in each if isinstance(result, HSTCloudError)]
    kept = [pair for pair in each if on_error == "mask" or not isinstance(pair[1], HSTCloudError)]
    table = _table([(product, {} if isinstance(r, HSTCloudError) else r) for product, r in kept], asked)
    table.meta = {
        "criteria": {"keywords": [one.column for one in asked], "hdu": str(as_hdu(hdu))},
        "service": "GetObject",
        "endpoint": source.address("").rstrip("/"),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"hst_cloud": version("hst-cloud"), "astropy": version("astropy")},
        **spent,
        "errors": {_called(product): str(error) for product, error in failed},
    }
    if failed:
        warnings.warn(_list_of(failed, len(known), on_error), HSTCloudWarning, stacklevel=2)
    return table


# --- What is asked for -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """One column."""

    column: str
    """As it was asked for."""
    hdu: HDUName
    """Where it is."""
    keyword: str
    """As `pick` wants it."""


def _asked(keywords: Sequence[object], hdu: HDUName) -> list[_Asked]:
    """Return the columns that are asked for, each once."""
    if not keywords:
        message = "keywords is empty: name one, or leave it out for all keywords of the HDU"
        raise QueryError(message)
    found: dict[str, _Asked] = {}
    for text in keywords:
        if not isinstance(text, str) or text == FILENAME:
            message = f"{text!r} is no keyword: expected a text such as 'EXPTIME' or 'SCI,1.PHOTFLAM'"
            raise QueryError(message)
        where, dot, name = text.partition(".")
        if not dot or _RECORD.fullmatch(where) or text.upper().startswith("HIERARCH "):
            where, name = "", text
        keyword = "*" if name == "*" else normalized(name)
        found[text] = _Asked(text, as_hdu(where) if where else hdu, keyword)
    return list(found.values())


def _reading(asked: Sequence[_Asked]) -> tuple[list[HDUName], _Taking]:
    """Return which headers to read, and what takes the values that are asked for from their blocks."""
    memo = Memo()
    named: dict[HDUName, dict[str, list[str]]] = {one.hdu: {} for one in asked}  # the columns of each keyword
    whole = [one for one in asked if one.keyword == "*"]
    for one in asked:
        if one.keyword != "*":
            named[one.hdu].setdefault(one.keyword, []).append(one.column)

    def read(blocks: Sequence[bytes | None]) -> _Values:
        found: dict[str, Value] = {}
        held = dict(zip(named, blocks, strict=True))
        for hdu, columns in named.items():
            block = held[hdu]
            if block is not None and columns:
                for keyword, value in pick(block, list(columns), memo).items():
                    found.update(dict.fromkeys(columns[keyword], value))
        for one in whole:
            block = held[one.hdu]
            if block is not None:
                prefix = one.column[:-1]
                values = every(block, memo)
                names = _prefixed(prefix, tuple(values)) if prefix else values
                found.update(zip(names, values.values(), strict=True))
        return found

    return list(named), read


@functools.lru_cache(64)  # files that are alike have the same keywords
def _prefixed(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(prefix + name for name in names)


# --- What is read ----------------------------------------------------------------------------------------------------


def _read(
    known: Sequence[Product],
    store: Store,
    asked: Sequence[_Asked],
    *,
    index: Index | None,
    in_flight: int,
    on_error: OnError,
    progress: Watcher | None,
) -> list[_Values | HSTCloudError]:
    """Return each product's values, or why there are none."""
    if on_error == "raise":
        for product in known:  # before anything is read
            placed(product)
    reading = _reading(asked)
    kin: Kin = {}

    def job_for(product: Product) -> Job[_Values]:
        # Nothing is asked of the store that would prove what the index knows: only a listing's word counts.
        told = look(index, store, product) if product.etag is not None else None
        return Job(product.key, _values(store, product, reading, kin, told))

    places: dict[str, list[int]] = {}
    for i, product in enumerate(known):
        places.setdefault(product.key or f"no key: {i}", []).append(i)
    each = [known[numbers[0]] for numbers in places.values()]
    results: list[_Values | HSTCloudError] = [{}] * len(known)
    done = 0
    answers = in_turn(each, job_for, store=store, in_flight=in_flight)
    with closing(answers):
        for numbers, (_, result) in zip(places.values(), answers, strict=True):
            if on_error == "raise" and isinstance(result, HSTCloudError):
                raise result
            for i in numbers:
                results[i] = result
            done += len(numbers)
            if progress:
                progress(Progress(what="products", done=done, total=len(known)))
    return results


def _values(
    store: Store, product: Product, reading: tuple[Sequence[HDUName], _Taking], kin: Kin, known: Scan | None
) -> Plan[ByteRange, Piece, _Values]:
    """Read one file's headers, and take the values that are asked for from them.

    They are taken here, where the bytes come in, and not by the thread that waits for them: two threads that are both
    busy in one interpreter wait for each other.
    """
    key, (wanted, take) = product.key, reading
    blocks = None if known is None else blocks_in(known, wanted)
    if blocks is None:
        sibling = None
        if kind_of(key) not in kin and not all(hdu.primary for hdu in wanted):
            sibling = expected(key, product.size, place=store.address(""))
        blocks = yield from header_blocks(key, wanted, kin, sibling)
    try:
        return take(blocks)
    except FormatError as error:
        message = f"{store.address(key)}: {error}"
        raise FormatError(message, key=key) from error


def _called(product: Product) -> str:
    return product.filename or product.key or product.uri or product.reason


def _list_of(failed: Sequence[tuple[Product, HSTCloudError]], total: int, on_error: OnError) -> str:
    done = "left out" if on_error == "skip" else "masked"
    each = "\n".join(f"  {told_of(product, error)}" for product, error in failed)
    return f"{len(failed)} of {total} products could not be read and are {done}:\n{each}"


# --- The table -------------------------------------------------------------------------------------------------------


def _table(rows: Sequence[tuple[Product, _Values]], asked: Sequence[_Asked]) -> Table:
    names = [product.filename or product.key.rpartition("/")[2] for product, _ in rows]
    columns = _columns([values for _, values in rows], [one.column for one in asked if one.keyword != "*"])
    made = {name: _array(values) for name, values in columns.items()}
    # Of arrays astropy makes columns twice as fast as of columns.
    table = Table(
        [np.ma.array(np.array(names, dtype=str), copy=False), *(array for array, _ in made.values())],
        names=[FILENAME, *made],
        copy=False,
    )
    table[FILENAME].description = "Name of the file"
    for name, (_, kind) in made.items():
        if kind == "text":
            table[name].info.serialize_method["ecsv"] = "data_mask"  # else ECSV reads an empty text as a masked one
    return table


def _columns(rows: Sequence[_Values], first: Sequence[str]) -> dict[str, Sequence[Value]]:
    """Return the values of each keyword, with None where a row has none: those of `first`, then as they appear."""
    # Files of one kind have the same keywords in the same order: together they are transposed without a look-up.
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(rows):
        alike.setdefault(tuple(row), []).append(number)
    columns: dict[str, Sequence[Value]] = {name: [None] * len(rows) for name in first}
    for names, numbers in alike.items():
        for name, values in zip(names, zip(*(rows[number].values() for number in numbers), strict=True), strict=True):
            if len(alike) == 1:
                columns[name] = values
                continue
            column = cast("list[Value]", columns.setdefault(name, [None] * len(rows)))
            for number, value in zip(numbers, values, strict=True):
                column[number] = value
    return columns


def _array(values: Sequence[Value]) -> tuple[np.ma.MaskedArray[Any, Any], str]:
    """Return one keyword's values as an array of the type that they have in common, and what kind of type that is."""
    if values and isinstance(values[0], str) and values.count(values[0]) == len(values):
        # Of files that are alike, most texts are the same: it takes a tenth of the time to see this and to repeat one.
        return np.ma.array(np.full(len(values), values[0]), mask=False, copy=False), "text"
    kinds = set(map(type, values))
    mask: Any = np.array([value is None for value in values], dtype=bool) if NoneType in kinds else False
    data, kind = _data(values, kinds)
    return np.ma.array(data, mask=mask, copy=False), kind


def _data(values: Sequence[Value], kinds: set[type]) -> tuple[npt.NDArray[Any], str]:
    """Return values as an array, with something in place of None, and what kind of array it is."""
    there = kinds - {NoneType}
    if there == {bool}:
        return np.array([value is True for value in values], dtype=bool), "bool"
    if there and there <= {int, float, complex}:
        dtype = np.complex128 if complex in kinds else np.float64 if float in kinds else np.int64
        try:
            numbers = [0 if value is None else value for value in values] if NoneType in kinds else values
            return np.array(numbers, dtype=dtype), "number"
        except OverflowError:  # a whole number of more than 64 bits
            pass
    texts = values if kinds == {str} else [_text(value) for value in values]
    return np.array(texts, dtype=str), "text"


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "T" if value else "F"
    return "" if value is None else str(value)
