"""From anything that names products to one row each: where it lies in the public bucket, and what is known of that.

By rule this takes no request at all. Asked to verify, it lists: one LIST of a visit answers for all of its products,
with sizes and ETags, where a HEAD each would cost a request a product (measured by others at 0.11 s each).

Asking and judging are apart: `_lookups` and `_prefixes` say what is to be asked, `_judged` reads the answers, and
`resolve` alone carries questions to services.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from urllib.parse import quote

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, Table

from hst_cloud.archive.inputs import ProductsLike, as_products
from hst_cloud.archive.lookups import lookup_paths
from hst_cloud.archive.names import PREFIX, is_rootname, key_of_s3_uri, parse_filename, visit_prefix
from hst_cloud.archive.session import Watcher
from hst_cloud.cost.budgets import counted
from hst_cloud.errors import ArchiveError, HSTCloudWarning, ProductNameError
from hst_cloud.settings import BUCKET, endpoints
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.objects import ListedObject, Store
from hst_cloud.values import Product, Progress

__all__ = ["key_of_path", "resolve"]


def resolve(
    products: ProductsLike,
    *,
    verify: bool = False,
    store: StoreLike = None,
    mast: str | None = None,
    deadline: float | str | u.Quantity | None = None,
    progress: Watcher | None = None,
) -> Table:
    """Tell where products lie in the public bucket: one row each, in the order given.

    Parameters
    ----------
    products : Table, Row, Product, str, or a list that mixes them
        A table of observations (its ``dataURL`` names the product, else the row stands for the observation's folder)
        or of products, from this package or from `astroquery.mast`; the name of an exposure or association, a file
        name, a ``mast:`` or an ``s3://`` URI; a row, a `Product`, a mapping with a table's names.
    verify : bool, optional
        Whether to look: by listing the bucket, and by asking MAST's ``path_lookup`` of those products alone for which
        there is no rule. By default nothing is asked.
    store : optional
        What is listed: by default the anonymous public bucket. See `hst_cloud.open`.
    mast : str, optional
        Root address of the archive whose ``path_lookup`` is asked; by default MAST, or what ``HST_CLOUD_ENDPOINT``
        names.
    deadline : float or Quantity, optional
        Seconds for MAST's answers, all tries included. Listings are given the bucket's own 120 s.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` after each look-up, and before and after the listings.

    Returns
    -------
    Table
        With the columns

        ``productFilename``, ``dataURI``, ``obs_id``
            as MAST calls them; empty where not known.
        ``key``, ``s3_uri``, ``https_url``
            where it lies; empty where not known. A key that ends in ``/`` is the folder of an observation.
        ``size``, ``etag``
            bytes (masked where not known) and version (empty where not known).
        ``status``
            ``in_cloud`` (a listing shows it), ``missing`` (it does not), ``exclusive`` (proprietary, and not seen in
            the bucket), ``not_mirrored`` (of a kind that the public bucket does not hold), or ``unverified``.
        ``reason``
            why, for a person. What cannot be read as a product has a row, without key, that says so here.

        and in ``meta`` what was asked (``criteria``), of which service and endpoint, the time (UTC), the
        versions, and the ``requests`` and ``bytes`` that it took.

    Raises
    ------
    ProductNameError
        Something is of a type, or a table has columns, that cannot name a product.
    StoreError
        The bucket could not be listed.

    Warns
    -----
    HSTCloudWarning
        MAST could not be asked; the rows that needed it say so, too.

    Notes
    -----
    Requests: none by default. With ``verify=True`` one LIST for each visit and one more for each further 1,000 keys,
    all visits at a time, and for products without a rule one ``path_lookup`` for each 40 and one LIST for each folder
    that it tells.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> rows = hst.resolve(["j8ck01041_drz.fits", "mast:HST/product/u4ge0106j_jit.fits", "JBQF03GJQ"])
    >>> for row in rows:
    ...     print(row["status"], row["key"] or row["reason"])
    unverified hst/public/j8ck/j8ck01040/j8ck01041_drz.fits
    unverified the name of u4ge0106j_jit.fits does not tell in which exposure's folder it lies; its obs_id would
    unverified hst/public/jbqf/jbqf03gjq/
    """
    known = as_products(products)
    bucket = endpoints(store if isinstance(store, str) and "://" in store else None).bucket
    if not verify:
        return _table(known, bucket, _meta("by rule", bucket, verify=False) | {"requests": 0, "bytes": 0})
    listed = as_store(store)
    with counted() as spent:
        known = _verified(known, listed, mast, deadline, progress)
    return _table(known, bucket, _meta("ListObjectsV2", listed.address("").rstrip("/"), verify=True) | spent)


def _verified(
    known: Sequence[Product],
    store: Store,
    mast: str | None,
    deadline: float | str | u.Quantity | None,
    progress: Watcher | None,
) -> list[Product]:
    """Return `known` as MAST and the bucket know it now."""
    uris = _lookups(known)
    if uris:
        paths, failure = _paths(uris, mast, deadline, progress)
        known = _placed(known, paths, failure)
        if failure:
            message = (
                f"MAST {failure} Therefore {len(uris)} of {len(known)} products have no place, such as "
                f"{uris[0][:120]!r}; all others have theirs by rule, and what the bucket says of it."
            )
            warnings.warn(message, HSTCloudWarning, stacklevel=3)
    prefixes = _prefixes(known)
    asked = list(dict.fromkeys(prefix for prefix in prefixes if prefix))
    if not asked:
        return list(known)
    if progress:
        progress(Progress(what="listings", done=0, total=len(asked)))
    listings = {prefix: _Listing(found) for prefix, found in zip(asked, store.listings(asked), strict=True)}
    if progress:
        progress(Progress(what="listings", done=len(asked), total=len(asked)))
    return [
        _judged(product, prefix, listings[prefix]) if prefix else product
        for product, prefix in zip(known, prefixes, strict=True)
    ]


# --- What is to be asked ---------------------------------------------------------------------------------------------


def _visit(product: Product) -> str:
    """Return the prefix of the visit that holds a product of the pipelines, or an empty text for any other."""
    parts = product.key.split("/")
    if product.key:
        dataset = parts[3] if len(parts) == 5 else ""
        by_rule = product.key.startswith(f"{PREFIX}/{dataset[:4]}/") and is_rootname(dataset)
        return visit_prefix(dataset) if by_rule and dataset.islower() else ""
    return visit_prefix(product.filename) if _is_jitter(product) else ""


def _is_jitter(product: Product) -> bool:
    """Tell whether the visit is all that the product's name tells of its place."""
    if not product.filename:
        return False
    name = parse_filename(product.filename)
    return name.collection == "CAL" and not name.folder


def _lookups(known: Sequence[Product]) -> list[str]:
    """Return the URIs of which no rule tells the place, each once."""
    unruled = (p.uri for p in known if p.uri is not None and not p.key and not _is_jitter(p))
    return list(dict.fromkeys(unruled))


def _prefixes(known: Sequence[Product]) -> list[str]:
    """Return for each product the prefix whose listing would show it; an empty text where none would.

    Of a folder that is no visit (it may hold a whole survey) no more is listed than its products have in common.
    """
    visits = [_visit(product) for product in known]
    elsewhere: dict[str, list[str]] = {}
    for product, visit in zip(known, visits, strict=True):
        if product.key and not visit:
            elsewhere.setdefault(product.key.rpartition("/")[0], []).append(product.key)
    common = {folder: _beginning(keys) for folder, keys in elsewhere.items()}
    return [
        visit or (common[product.key.rpartition("/")[0]] if product.key else "")
        for product, visit in zip(known, visits, strict=True)
    ]


def _beginning(keys: Sequence[str]) -> str:
    """Return what all `keys` begin with, character by character."""
    first, last = min(keys), max(keys)  # in order, these two differ the most
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(a for a, _ in same)


# --- What MAST said --------------------------------------------------------------------------------------------------


def _paths(
    uris: Sequence[str],
    mast: str | None,
    deadline: float | str | u.Quantity | None,
    progress: Watcher | None,
) -> tuple[Mapping[str, str | None], str]:
    """Return MAST's path of each URI; none, and why, where it could not be asked."""
    try:
        return lookup_paths(uris, mast=mast, deadline=deadline, progress=progress), ""
    except ArchiveError as error:  # what the bucket's listings can tell is told all the same
        return {}, f"could not be asked: {str(error).rstrip('.')}."


def _placed(known: Sequence[Product], paths: Mapping[str, str | None], failure: str) -> list[Product]:
    """Return `known` with the keys of MAST's paths, and with MAST's word where there is none."""
    asked = set(_lookups(known))
    return [
        _placed_at(product, paths.get(product.uri), failure)
        if product.uri is not None and product.uri in asked and not product.key
        else product
        for product in known
    ]


def _placed_at(product: Product, path: str | None, failure: str) -> Product:
    key = key_of_path(path, product.filename) if path else ""
    if key:
        return replace(product, key=key)
    said = f"tells an unacceptable place, {path[:120]!r}" if path else failure or "has none for it"
    return replace(product, reason="; ".join(filter(None, (product.reason, f"MAST's path_lookup {said}"))))


def key_of_path(path: str, filename: str) -> str:
    """Return the key of one of MAST's paths, or an empty text if it is not acceptable as one for `filename`."""
    # As astroquery 0.4.11 does with what path_lookup says of HLSP (mast/utils.py, get_cloud_paths).
    key = path.lstrip("/").replace("hlsp_local/public/", "mast/", 1)
    try:
        key = key_of_s3_uri(f"s3://{BUCKET}/{key}")
    except ProductNameError:
        return ""
    return key if not filename or key.rpartition("/")[2].lower() == filename.lower() else ""


# --- What the bucket said --------------------------------------------------------------------------------------------


class _Listing:
    """The objects below one prefix, found by key and by file name."""

    def __init__(self, found: Iterable[ListedObject]) -> None:
        self.objects = {each.key: each for each in found if not each.key.endswith("/")}  # "/": a console's mark
        self._by_name: dict[str, list[ListedObject]] | None = None

    def find(self, product: Product) -> ListedObject | None:
        """Return the object at the product's key; else the only one of its file name, wherever it lies."""
        if product.key in self.objects:
            return self.objects[product.key]
        if self._by_name is None:
            self._by_name = {}
            for each in self.objects.values():
                self._by_name.setdefault(each.key.rpartition("/")[2], []).append(each)
        named = self._by_name.get(product.filename, [])
        return named[0] if len(named) == 1 else None


def _judged(product: Product, prefix: str, listing: _Listing) -> Product:
    """Return what is known of `product` now that `prefix`, below which it would lie, was listed."""
    if product.key.endswith("/"):
        files = [each for each in listing.objects.values() if each.key.startswith((product.key, f"{product.obs_id}_"))]
        if files:
            return replace(
                product,
                size=sum(each.size for each in files),
                status="in_cloud",
                reason=f"an observation with {len(files)} files; the size is their sum",
            )
    elif (found := listing.find(product)) is not None:
        beside = "/" not in found.key  # in a folder of files side by side, where the key finds them
        elsewhere = product.key and found.key != product.key and not beside
        parts = found.key.split("/")
        return replace(
            product,
            key=product.key if beside and product.key else found.key,
            obs_id=parts[3] if found.key.startswith(f"{PREFIX}/") and len(parts) == 5 else product.obs_id,
            size=found.size,
            etag=found.etag,
            status="in_cloud",
            reason=f"found in another folder than the rule tells ({product.key})" if elsewhere else "",
        )
    return _absent(product, prefix, len(listing.objects))


def _absent(product: Product, prefix: str, listed: int) -> Product:
    """Return `product` as one that the bucket does not hold."""
    if product.status == "exclusive":
        return replace(product, etag=None)
    if product.status == "not_mirrored":
        return replace(
            product, key="", etag=None, reason=f"{product.reason} (MAST's place {product.key} is not in the bucket)"
        )
    reason = (
        f"not among the {listed} objects of the bucket whose keys begin with {prefix!r}. "
        "MAST may hold it: hst_cloud.open(..., source='mast')"
    )
    return replace(product, etag=None, status="missing", reason=reason)


# --- The table -------------------------------------------------------------------------------------------------------


_TEXTS = {
    "productFilename": "Name of the file; empty for an observation",
    "dataURI": "MAST's name of the product",
    "obs_id": "The observation that holds the file",
    "key": "Object key in the public bucket; one that ends in '/' is an observation's folder",
    "s3_uri": "The key with its bucket",
    "https_url": "Where the key is read anonymously",
    "etag": "Version of the object, as a listing tells it",
    "status": "What is known of its place in the bucket",
    "reason": "Why the status is what it is",
}


def _meta(service: str, endpoint: str, *, verify: bool) -> dict[str, object]:
    return {
        "criteria": {"verify": verify},
        "service": service,
        "endpoint": endpoint,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"hst_cloud": version("hst-cloud"), "astropy": version("astropy")},
    }


def _table(known: Sequence[Product], bucket: str, meta: Mapping[str, object]) -> Table:
    texts: dict[str, list[str]] = {
        "productFilename": [p.filename for p in known],
        "dataURI": [p.uri or "" for p in known],
        "obs_id": [p.obs_id for p in known],
        "key": [p.key for p in known],
        "s3_uri": [p.key and f"s3://{BUCKET}/{p.key}" for p in known],
        "https_url": [p.key and f"{bucket}/{quote(p.key)}" for p in known],
        "etag": [p.etag or "" for p in known],
        "status": [p.status for p in known],
        "reason": [p.reason for p in known],
    }
    table = Table(meta=dict(meta))
    for name, description in _TEXTS.items():
        column = MaskedColumn(np.array(texts[name], dtype=str), description=description)
        column.info.serialize_method["ecsv"] = "data_mask"  # else ECSV reads an empty text as a masked one
        table[name] = column
        if name == "https_url":
            sizes = [p.size for p in known]
            table["size"] = MaskedColumn(
                np.array([size or 0 for size in sizes], dtype=np.int64),
                mask=np.array([size is None for size in sizes], dtype=bool),
                unit=u.byte,
                description="Size of the file",
            )
    return table
