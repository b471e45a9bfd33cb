"""From a product to an astropy `~astropy.io.fits.HDUList` that reads the bucket as it is used.

The headers are walked first, then astropy itself parses them from memory: the result is astropy's own in everything
but how the image HDUs read a ``section`` (astropy's reads row by row, one request each; here all rows come in one
batch). Those HDUs are instances of private subclasses that are not registered with astropy, so that files that are
opened elsewhere are not touched by them.
"""

from __future__ import annotations

import functools
import io
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from astropy.io import fits
from astropy.io.fits.hdu.base import _CorruptedHDU, _NonstandardHDU

from hst_cloud.archive.elsewhere import Elsewhere, not_public
from hst_cloud.archive.inputs import as_product
from hst_cloud.archive.places import placed
from hst_cloud.errors import (
    AccessDeniedError,
    FormatError,
    HSTCloudError,
    HSTCloudWarning,
    ObjectNotFoundError,
    QueryError,
)
from hst_cloud.fits import compressed
from hst_cloud.fits.guards import REJECTED
from hst_cloud.fits.images import image_hdu
from hst_cloud.fits.index import Index, IndexLike, as_index
from hst_cloud.fits.layout import Layout, Scan
from hst_cloud.fits.rangefile import RangeFile
from hst_cloud.fits.recall import known_or_scan
from hst_cloud.fits.sections import adopt
from hst_cloud.fits.verify import verified
from hst_cloud.settings import endpoints
from hst_cloud.store.adapters import FolderStore, StoreLike, as_store
from hst_cloud.store.objects import HTTPStore, Store
from hst_cloud.store.policy import MAST
from hst_cloud.values import Product, ProductLike

__all__ = ["open", "parsed"]


def open(  # noqa: A001  # hst_cloud.open, as astropy's fits.open
    product: ProductLike | os.PathLike[str],
    *,
    store: StoreLike = None,
    source: Literal["bucket", "mast"] = "bucket",
    index: IndexLike = True,
    verify: bool = False,
) -> fits.HDUList:
    """Open a product as an astropy HDUList that reads the bucket as it is used.

    Opening reads the headers; astropy parses those that are looked at. ``.section[...]`` reads the rows that it needs
    in one batch, ``.data`` reads one HDU with several requests in flight. All bytes are of the version that was
    opened. The list may be shared by threads and used after a fork; to hand it to another process, hand over the
    product and open it there.

    Parameters
    ----------
    product : Product, Row, str or Path
        A `Product`, a row of a table from `search`'s family, a file name, a ``mast:`` or an ``s3://`` URI; or the
        `~pathlib.Path` of a file on this machine, such as a product that was downloaded.
    store : optional
        Where to read: by default the anonymous public bucket. Also a local folder laid out like it or filled by
        `~hst_cloud.download`, the address of another archive, an fsspec file system, an obstore store, or any
        `~hst_cloud.store.objects.Store`.
    source : {"bucket", "mast"}, optional
        With ``"mast"``, what the bucket does not hold is read from MAST's Download service, which is slower.
    index : Index or bool, optional
        Where layouts and headers are kept between processes: an `~hst_cloud.fits.index.Index`, True for the user's own
        (``HST_CLOUD_CACHE`` says where), False for none.
    verify : bool, optional
        Whether to read the whole file now and compare its bytes with the MD5 that its ETag tells, or with the sums that
        its headers tell. ``hdul.verified`` then says which check it was; what is read later are the bytes that were
        checked.

    Returns
    -------
    astropy.io.fits.HDUList
        To be closed, or used as a context manager.

    Raises
    ------
    ProductNameError
        The input names no single file of the archive.
    QueryError
        `source` is none that is known.
    NotInCloudError
        The product has no place in the bucket, as HAP products have none; or it is not known without a listing; or it
        is exclusive still; or it is neither where the rule of names has it nor does MAST tell another place.
    ObjectNotFoundError, AccessDeniedError, StoreUnavailableError
        The bucket does not hold it, does not give it, or does not answer.
    ObjectChangedError
        The object was replaced while it was being read, now or at any later access.
    CorruptFileError
        With `verify`, the bytes contradict a checksum.
    FormatError
        The object is no FITS file, or one of its headers contradicts itself or what the object holds; or, at a later
        access, the heap of a table or a tile of an image does.
    TruncatedFileError
        At a later access: the data are beyond the end of the object. Opening such a file warns.

    Warns
    -----
    HSTCloudWarning
        The file is truncated; or it is compressed (.gz, .bz2, .xz) and is therefore read whole; or with `verify`,
        nothing tells what its bytes ought to be.

    Notes
    -----
    Requests: one for a file of at most 1 MiB whose size the product tells; none for one that `index` knows; else one
    for the beginning of the file and one for each header that lies apart from the others, none of them a HEAD: 7 for
    an ACS flc. Round trips: two, and one where a file of the same instrument, kind and shape was opened before in this
    process, or where the product's size tells that it is a full frame of ACS/WFC or WFC3; each header that lies where
    the instrument's files have none costs one more.
    The ``section`` of an HDU, and its ``data``, are read in one round trip. A file of the public bucket that is not
    where the rule of names has it costs one request to MAST.

    Headers that come from `index` are not asked for again, so who reads nothing but headers may see those of a version
    that was replaced since. The first data that are read tell: they are pinned to the version of the headers, and raise
    `ObjectChangedError` if it is gone; the index forgets the file, and opening it again reads what is there now.
    Where the product tells the version, as those of ``resolve(..., verify=True)`` do, headers of another one are read
    anew. ``index=False`` reads them in any case.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> with hst.open("jbqf03gjq_flc.fits") as hdul:  # doctest: +SKIP
    ...     box = hdul["SCI", 1].section[1000:1100, 2000:2100]
    """
    if source not in {"bucket", "mast"}:
        message = f"source={source!r} is not known: expected 'bucket' or 'mast'"
        raise QueryError(message)
    if isinstance(product, os.PathLike):
        path = Path(product)
        product, store = Product(filename=path.name, key=path.name), FolderStore(path.parent)
    known = as_product(product)
    elsewhere = source == "mast" and known.uri is not None and not known.key.endswith("/")
    if known.key or not elsewhere:
        where = as_store(store)
        try:
            return _open(where, placed(known), index, verify=verify)
        except (ObjectNotFoundError, AccessDeniedError) as error:
            if known.status == "exclusive":
                raise not_public(known) from error
            if not elsewhere:
                if isinstance(error, AccessDeniedError):
                    raise
                there = Elsewhere([known]).find(known, where.address("").rstrip("/"), error)
                return _open(where, there, index, verify=verify)
    return _open(_downloads(), replace(known, key=known.uri or "", etag=None), index, verify=verify)


def _downloads() -> HTTPStore:
    root = f"{endpoints().mast}/api/v0.1/Download/file"
    return HTTPStore(root, url=lambda uri: f"{root}?uri={quote(uri, safe='')}", policy=MAST)


def _open(store: Store, product: Product, like: IndexLike, *, verify: bool) -> fits.HDUList:
    index, address = as_index(like, store), store.address(product.key)
    found = known_or_scan(store, product, index)
    verdict = None
    if verify:
        found, verdict = verified(store, found)
    hdul = _opened(store, found, index, address)
    if verdict is not None:
        hdul.verified = verdict.check
    return hdul


def _opened(store: Store, found: Scan, index: Index | None, address: str) -> fits.HDUList:
    inflated = compressed.inflated(store, found, stacklevel=4)
    if inflated is not None:
        return parsed(io.BytesIO(inflated.data), inflated.layout, address)
    file = RangeFile(store, found, changed=_forgetting(store, found.layout, index))
    hdul = parsed(file, found.layout, address)
    _warn_if_truncated(found, address)
    for hdu in hdul:
        adopt(hdu)
    return hdul


def parsed(file: io.IOBase, layout: Layout, address: str) -> fits.HDUList:
    """Have astropy read all headers of a file.

    Raises
    ------
    FormatError
        It is no FITS file that astropy can read.
    """
    try:
        hdul = fits.open(file, mode="readonly", memmap=False, lazy_load_hdus=True)
        if isinstance(file, RangeFile):
            _append_images(hdul, file)
        everything = list(hdul)  # has astropy read all other headers now, from memory
    except HSTCloudError:
        raise
    except REJECTED as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{address} ({layout.size} bytes) is no FITS file that astropy can read: {said}"
        raise FormatError(message, key=layout.key) from error
    if isinstance(file, RangeFile):
        file.opening = False
    _check_walk(everything, layout, address)
    return hdul


def _check_walk(hdul: Sequence[Any], layout: Layout, address: str) -> None:
    """Raise if astropy sees another file than the walk, which has judged what it saw.

    Raises
    ------
    FormatError
        An HDU begins where none was found, is of another shape, or is none that astropy can use.
    """
    proven = {hdu.header.start: hdu for hdu in layout.hdus}
    for number, hdu in enumerate(hdul):
        if isinstance(hdu, _NonstandardHDU):
            message = f"{address} is no FITS file that can be read: it says so itself, by SIMPLE = F"
            raise FormatError(message, key=layout.key)
        same = None if isinstance(hdu, _CorruptedHDU) else proven.get(hdu.fileinfo()["hdrLoc"])
        if same is not None and type(hdu) in {fits.PrimaryHDU, fits.ImageHDU}:
            is_same = (hdu.shape, hdu._orig_bitpix) == (same.shape, same.bitpix)  # noqa: SLF001  # its only name
            same = same if is_same else None
        if same is None:
            message = f"{address} is no FITS file that can be read: the header of its HDU {number} has damaged cards"
            raise FormatError(message, key=layout.key)


def _append_images(hdul: fits.HDUList, file: RangeFile) -> None:
    """Add the HDUs behind the primary, as far as they are what the walk took them for."""
    places = file.layout.hdus
    # astropy has read the primary, and if that has no EXTEND, one more.
    while (number := list.__len__(hdul)) < len(places):  # len(hdul) would have it read all headers first
        image = image_hdu(hdul._file, file.header(places[number]), places[number])  # noqa: SLF001
        if image is not None:
            list.append(hdul, image)
        elif not hdul._read_next_hdu():  # noqa: SLF001
            break


def _forgetting(store: Store, layout: Layout, index: Index | None) -> Callable[[], None] | None:
    return None if index is None else functools.partial(index.forget, store, layout.key, etag=layout.etag)


def _warn_if_truncated(found: Scan, address: str) -> None:
    layout = found.layout
    if layout.missing:
        last = layout.hdus[-1]
        message = (
            f"{address} is truncated: HDU {len(layout.hdus) - 1} ({last.name}) lacks its last {layout.missing} bytes; "
            "touching them will raise TruncatedFileError"
        )
        warnings.warn(message, HSTCloudWarning, stacklevel=5)
