"""Whatever a person or a service calls a product, made a `~hst_cloud.values.Product`: the one place that does so.

A text is told apart by its form (``s3://``, ``mast:``, a file name with its extension, the name of an observation);
a table row by its columns, in MAST's names: product rows of Mast.Caom.Products and of the Missions API, observation
rows of either, and the tables that this package makes. Nothing here asks anybody.

All of it is hostile until it matches the grammar of `hst_cloud.archive.names`: nothing else reaches a `Product`'s
file name or key.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, cast, get_args

import numpy as np
from astropy.table import Row, Table

from hst_cloud.archive.names import (
    PREFIX,
    SOURCES,
    Name,
    dataset_folder,
    is_rootname,
    key_of_s3_uri,
    parse_filename,
    parse_uri,
)
from hst_cloud.archive.places import collection_of, place
from hst_cloud.errors import ProductNameError
from hst_cloud.settings import BUCKET
from hst_cloud.values import Product, ProductLike, Status

__all__ = ["ProductsLike", "as_product", "as_products"]

ProductsLike: TypeAlias = "Table | Iterable[ProductLike | Table | Mapping[str, object]] | ProductLike"
"""A table of products or observations, anything that names one product, or a list that mixes them."""


class _Line(NamedTuple):
    """What one input says, by the part that each column plays; empty where it says nothing."""

    uri: str = ""
    filename: str = ""
    obs_id: str = ""
    dataset: str = ""
    url: str = ""
    rights: str = ""
    project: str = ""
    collection: str = ""
    size: object = None
    key: str = ""
    s3_uri: str = ""
    etag: str = ""
    status: str = ""
    reason: str = ""


# Part -> the columns that may play it, the first one present being taken; compared without regard to case, as TAP
# services write all names in lower case. Sources: columns of Mast.Caom.Products and Mast.Caom.Filtered; of the
# Missions API's products (filename, dataset, access) and searches (sci_...).
_COLUMNS: dict[str, tuple[str, ...]] = {
    "uri": ("datauri",),
    "filename": ("productfilename", "filename"),
    "obs_id": ("obs_id", "sci_data_set_name"),
    "dataset": ("dataset",),
    "url": ("dataurl",),
    "rights": ("datarights", "access", "sci_status"),
    "project": ("project",),
    "collection": ("obs_collection",),
    "size": ("size",),
    "key": ("key",),
    "s3_uri": ("s3_uri",),
    "etag": ("etag",),
    "status": ("status",),
    "reason": ("reason",),
}
_NAMING = ("uri", "filename", "obs_id", "dataset", "url", "key", "s3_uri")  # the parts that can tell a product

_STATUSES = frozenset(get_args(Status))
_FOLDER = re.compile(rf"{PREFIX}/([a-z0-9]{{4}})/(\1[a-z0-9]{{5}})/")
_OBSERVATION = re.compile(r"(?:hst|hlsp)_[A-Za-z0-9_+=-]+", re.ASCII)
_ETAG = re.compile(r"[!#-~]{1,255}")  # RFC 9110, sec. 8.8.3: etagc, of ASCII alone
_SAFE = re.compile(r"[A-Za-z0-9_+=-][A-Za-z0-9_.+=-]{0,254}")


def as_product(like: ProductLike | Mapping[str, object]) -> Product:
    """Return the product that `like` names, with the place that the rule gives it.

    Parameters
    ----------
    like : Product, Row, mapping or str
        A `Product`, a row of a table of products or observations, a mapping with the same names, a file name, a
        ``mast:`` or ``s3://`` URI of a file, or the name of an exposure or association.

    Returns
    -------
    Product
        Lower case where the archive's names are. The name of an observation gives its folder: an empty file name and
        a key that ends in ``/``. Where no rule tells the key, it is empty and ``reason`` says why.

    Raises
    ------
    ProductNameError
        It names nothing that this archive could hold, or is of another type.

    Notes
    -----
    Requests: none.

    Examples
    --------
    >>> from hst_cloud.archive.inputs import as_product
    >>> as_product("mast:HST/product/j8ck01041_drz.fits").key
    'hst/public/j8ck/j8ck01040/j8ck01041_drz.fits'
    """
    return _product(_line(like))


def as_products(likes: ProductsLike) -> list[Product]:
    """Return one product for each of `likes`, in their order.

    Parameters
    ----------
    likes : Table, iterable, or anything that `as_product` takes
        A table of products or observations, one product, or a list that mixes tables, rows, products and texts.

    Returns
    -------
    list of Product
        What cannot be read is a product without name and key, whose ``reason`` says what was found.

    Raises
    ------
    ProductNameError
        Something is of a type, or a table has columns, that cannot name a product: a mistake in the program rather
        than in the names.

    Notes
    -----
    Requests: none.
    """
    return [_product_or_reason(line) for line in _lines(likes)]


def _product_or_reason(line: _Line) -> Product:
    try:
        return _product(line)
    except ProductNameError as error:
        return Product(filename="", reason=str(error))


# --- From what was given to lines ------------------------------------------------------------------------------------


def _lines(likes: ProductsLike) -> Iterator[_Line]:
    if isinstance(likes, Table):
        return _table_lines(likes)
    if likes is None or isinstance(likes, str | bytes | Product | Row | Mapping):
        return iter([_line(likes)])
    try:
        each = iter(likes)
    except TypeError:
        raise _wrong_type(likes) from None
    return itertools.chain.from_iterable(
        _table_lines(like) if isinstance(like, Table) else [_line(like, number)] for number, like in enumerate(each)
    )


def _line(like: object, number: int | None = None) -> _Line:
    match like:
        case None | np.ma.core.MaskedConstant():
            return _Line()
        case str() | bytes():
            return _Line(uri=_text(like))
        case Product():
            return _Line(
                uri=like.uri or "",
                filename=like.filename,
                obs_id=like.obs_id,
                size=like.size,
                key=like.key,
                etag=like.etag or "",
                status=like.status,
                reason=like.reason,
            )
        case Row():
            columns = _parts(like.colnames)
            return _line_of({part: like[name] for part, name in columns.items()})
        case Mapping():
            columns = _parts([name for name in like if isinstance(name, str)])
            return _line_of({part: like[name] for part, name in columns.items()})
        case _:
            raise _wrong_type(like, number)


def _wrong_type(like: object, number: int | None = None) -> ProductNameError:
    if number is None and isinstance(like, Table | list | tuple):
        message = (
            f"expected one product, found a {type(like).__name__} of {len(like)}: give one of them, such as files[0], "
            "or call what takes many, such as hst_cloud.cutouts or hst_cloud.map"
        )
        return ProductNameError(message)
    where = "" if number is None else f"item {number}, "
    message = (
        f"{where}{like!r:.80} of type {type(like).__name__}, names no product: expected a table of products or "
        "observations, one of its rows, a Product, or a text such as 'jbqf03gjq_flc.fits', 'jbqf03gjq', "
        "'mast:HST/product/jbqf03gjq_flc.fits' or 's3://stpubdata/hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits'"
    )
    return ProductNameError(message)


def _parts(names: Iterable[str]) -> dict[str, str]:
    """Return which column plays which part."""
    names = list(names)
    lower = {name.lower(): name for name in reversed(names)}
    found = {part: lower[c] for part, choice in _COLUMNS.items() for c in reversed(choice) if c in lower}
    if not any(part in found for part in _NAMING):
        message = (
            f"no column tells a product: expected dataURI, productFilename, obs_id, key or s3_uri, "
            f"found {', '.join(names)[:300] or 'none'}"
        )
        raise ProductNameError(message)
    return found


def _table_lines(table: Table) -> Iterator[_Line]:
    columns = _parts(table.colnames)
    # Lists of plain values: rows of an astropy table cost a hundred times more than tuples.
    lists: list[Iterable[object]] = []
    for part in _Line._fields:
        if part not in columns:
            lists.append(itertools.repeat(_Line._field_defaults[part]))
        elif part == "size":
            lists.append(_values(table[columns[part]]))
        else:
            lists.append([_text(value) for value in _values(table[columns[part]])])
    return map(_Line._make, zip(*lists, strict=False))


def _values(column: Any) -> list[object]:
    """Return a column's values as a list, None where masked."""
    column = _bare(column)
    mask = getattr(column, "mask", None)
    plain = np.asarray(getattr(column, "unmasked", column))
    if mask is None or not np.any(mask):
        return cast("list[object]", plain.tolist())
    return cast("list[object]", np.ma.MaskedArray(plain, mask).tolist())


def _bare(value: Any) -> Any:
    """Return `value` in bytes if it is a quantity."""
    return value.to_value("byte") if hasattr(value, "to_value") and getattr(value, "unit", None) else value


def _line_of(values: Mapping[str, object]) -> _Line:
    texts = {part: _text(value) for part, value in values.items() if part != "size"}
    size = values.get("size")
    return _Line(size=None if isinstance(size, np.ma.core.MaskedConstant) else _bare(size), **texts)


def _text(value: object) -> str:
    """Return a cell's text; empty where it is masked or null. Blanks that pad a column go, control characters stay."""
    if isinstance(value, str):
        return str(value).strip(" ")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip(" ")
    if value is None or isinstance(value, np.ma.core.MaskedConstant) or value != value:  # noqa: PLR0124  # NaN alone
        return ""
    return str(value)


# --- From a line to a product ----------------------------------------------------------------------------------------


def _product(line: _Line) -> Product:
    named = line.uri or line.filename
    if line.key or line.s3_uri:
        product = _of_key(line.key or line.s3_uri, line)
    elif named.startswith("s3:"):
        product = _of_key(named, line)
    elif "." in named or ":" in named or "/" in named:
        product = _of_file(named, line)
    elif line.url.startswith("mast:") and not named:  # an observation whose main product MAST names
        product = _of_file(line.url, line)
    elif named or line.obs_id or line.dataset:
        product = _of_observation(named or line.obs_id or line.dataset, line)
    else:
        message = _printable(line.reason) or "the input names nothing: file name, URI and obs_id are all empty"
        raise ProductNameError(message)
    return product


def _made(line: _Line, filename: str, uri: str | None, obs_id: str, placed: tuple[str, Status, str]) -> Product:
    key, status, reason = placed
    if line.status in _STATUSES and (line.key or line.status not in {"unverified", "in_cloud"}):
        status, reason = cast("Status", line.status), _printable(line.reason)  # a row of ours: what is known already
    return Product(
        filename=filename,
        uri=uri,
        obs_id=obs_id,
        key=key,
        size=_size(line.size),
        etag=line.etag if _ETAG.fullmatch(line.etag) else None,
        status=status,
        reason=reason,
    )


def _of_key(key: str, line: _Line) -> Product:
    """Return the product of a key, or of an S3 URI."""
    key = key.removeprefix(f"s3://{BUCKET}/")
    folder = _FOLDER.fullmatch(key)
    if folder is not None:
        return _of_observation(folder[2], line)
    key = key_of_s3_uri(key if "://" in key else f"s3://{BUCKET}/{key}")
    parts = key.split("/")
    filename = parts[-1]
    told = line.filename or (parse_uri(line.uri).filename if line.uri.startswith("mast:") else "")
    if told and told.lower() != filename.lower():
        message = f"the key {key!r} and the file name {told[:80]!r} of one row name different files"
        raise ProductNameError(message, key=key)
    obs_id = parts[3].lower() if key.startswith(f"{PREFIX}/") and len(parts) == 5 and is_rootname(parts[3]) else ""
    uri = line.uri if line.uri.startswith("mast:") else None
    if uri is None and obs_id and filename[:6] == obs_id[:6]:
        uri = f"mast:HST/product/{filename}"
    return _made(line, filename, uri, obs_id, (key, "unverified", ""))


def _of_file(text: str, line: _Line) -> Product:
    """Return the product of a file name or a ``mast:`` URI."""
    name = parse_uri(text) if text.startswith("mast:") else parse_filename(text)
    filename = name.filename or (parse_filename(line.filename).filename if line.filename else "")
    uri: str | None = text
    if name.collection not in {"HLA", "HLSP"}:
        uri = f"mast:HST/product/{filename}"
    elif not text.startswith("mast:"):  # their URIs hold more than the file name
        uri = None
    obs_id = line.obs_id or _holder(name, line.dataset)
    maker = name.collection
    if maker not in {"HLA", "HLSP"}:
        maker = collection_of(uri or "", filename, line.project, line.collection)
    placed = place(uri or filename, obs_id, line.rights, maker)
    key = placed[0]
    held = key.split("/")[3] if key else obs_id.lower() if _SAFE.fullmatch(obs_id) else ""
    return _made(line, filename, uri, held, placed)


def _holder(name: Name, dataset: str) -> str:
    """Return the observation to look in for a row of the Missions API.

    Its ``dataset`` is the association even for the files of its members, so it does not tell in which member's folder
    a jitter file lies.
    """
    jitter = name.collection == "CAL" and not name.folder
    return "" if jitter and dataset[-1:].lower() not in SOURCES else dataset


def _of_observation(text: str, line: _Line) -> Product:
    """Return the folder of an exposure or association."""
    if _OBSERVATION.fullmatch(text):
        # The rule for any file of it tells who made it.
        return _made(line, "", None, text.lower(), place(f"{text}_drz.fits", "", line.rights))
    if not is_rootname(text):
        message = (
            f"{text[:80]!r} names no file and no observation of HST: expected nine letters and digits such as "
            "'jbqf03gjq', or a file name such as 'jbqf03gjq_flc.fits'"
        )
        raise ProductNameError(message)
    rootname = text.lower()
    folder = dataset_folder(rootname)
    if not folder:
        message = (
            f"{rootname} is how jitter files are called, which does not tell the exposure whose folder holds them: "
            f"expected an exposure or association, or a file name such as '{rootname}_jit.fits'"
        )
        raise ProductNameError(message)
    # The rule for any file of it tells the folder, and what the rights mean.
    key, status, reason = place(f"{folder}_spt.fits", folder, line.rights)
    several = f"{rootname} names an observation, in whose folder several files lie; hst_cloud.products lists them"
    return _made(line, "", None, folder, (key.rpartition("/")[0] + "/", status, reason or several))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _size(value: object) -> int | None:
    """Return bytes, or None for what MAST writes where it does not know: null, nothing, or zero."""
    try:
        size = int(value)  # type: ignore[call-overload]  # whatever a column holds
    except (TypeError, ValueError, OverflowError):
        return None
    return size if size > 0 else None
