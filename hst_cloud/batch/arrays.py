"""Images as lazy arrays of Dask's: each chunk some rows of one version of one file, read when it is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hst_cloud.archive.inputs import as_product
from hst_cloud.archive.places import placed
from hst_cloud.errors import MissingExtraError, QueryError, TruncatedFileError
from hst_cloud.fits.header_blocks import HDULike, as_hdu
from hst_cloud.fits.index import IndexLike, as_index
from hst_cloud.fits.layout import Layout, Scan
from hst_cloud.fits.pixels import Image, box_array, box_ranges, image_of
from hst_cloud.fits.recall import known_or_scan, sought
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.objects import Store
from hst_cloud.store.ranges import fetch
from hst_cloud.values import ProductLike

if TYPE_CHECKING:
    from dask.array import Array

__all__ = ["to_dask"]

_CHUNK = 16 * 1024 * 1024
"""Bytes of a chunk, at most, as they are stored: two requests, and an ACS chip is five chunks."""


def to_dask(
    product: ProductLike,
    hdu: HDULike = "SCI",
    *,
    rows: int | None = None,
    store: StoreLike = None,
    index: IndexLike = True,
) -> Array:
    """Return an image of a product as a lazy Dask array, whose chunks are read by ranges when they are computed.

    Parameters
    ----------
    product : Product, Row or str
        As for `hst_cloud.open`.
    hdu : str, int or (str, int), optional
        Which image: as for `hst_cloud.headers`.
    rows : int, optional
        Rows of a chunk; by default as many as are 16 MiB in the file.
    store : optional
        Where to read, as for `hst_cloud.open`. It travels with the array.
    index : Index or bool, optional
        Where layouts and headers are kept, as for `hst_cloud.open`.

    Returns
    -------
    dask.array.Array
        Shape and values of the HDU's ``data``, in the machine's byte order, in chunks along its rows (and planes). It
        holds no connection, and pickles: whichever process computes a chunk opens its own.

    Raises
    ------
    QueryError
        The file has no such image; or it is compressed, and so cannot be read in parts.
    NotInCloudError
        The product has no known place in the bucket.
    ObjectNotFoundError, AccessDeniedError, StoreUnavailableError
        As the names say.
    TruncatedFileError
        The image's pixels lie beyond the end of the object.
    MissingExtraError
        Dask is not installed.

    Notes
    -----
    Requests: those of the headers as in `hst_cloud.open`; then one for each 8 MiB of each chunk when it is computed, in
    one round trip. All chunks are of the version whose headers were read: if it is replaced meanwhile, computing raises
    `ObjectChangedError`.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> image = hst.to_dask("jzdm01aaq_flc.fits", ("SCI", 1))
    >>> image.shape
    (32, 64)
    >>> bool((image[:5].mean() == hst.open("jzdm01aaq_flc.fits")["SCI", 1].data[:5].mean()).compute())
    True
    """
    try:
        import dask.array as da  # noqa: PLC0415  # an extra, and slow to import
        from dask.base import tokenize  # noqa: PLC0415
    except ImportError as error:
        message = "hst_cloud.to_dask needs Dask, which is not installed: pip install 'hst-cloud[dask]'"
        raise MissingExtraError(message) from error
    if rows is not None and rows < 1:
        message = f"rows must be at least 1, found {rows}"
        raise QueryError(message)
    where = as_store(store)
    kept = as_index(index, where)
    found = sought(where, placed(as_product(product)), lambda one: known_or_scan(where, one, kept))
    image, layout = _image(found, hdu), found.layout
    return da.map_blocks(
        _chunk,
        chunks=_chunks(image, rows),
        dtype=image.dtype,
        meta=np.empty((0,) * len(image.shape), image.dtype),
        name=f"hst-{tokenize(where.address(layout.key), layout.etag, image, rows)}",
        store=where,
        key=layout.key,
        etag=layout.etag,
        image=image,
    )


def _image(found: Scan, hdu: HDULike) -> Image:
    """Return the image that `hdu` names."""
    layout, wanted = found.layout, as_hdu(hdu)
    extent = next((one for at, one in enumerate(layout.hdus) if wanted.means(at, one)), None)
    header = None if extent is None else found.segments.find(*extent.header)
    image = None if extent is None or header is None else image_of(header, extent)
    if image is None:
        message = f"hdu={hdu!r} of {layout.key} is no image that is read in parts: it holds {_names(layout)}"
        raise QueryError(message, key=layout.key)
    if image.value is None and image.extent.data.stop > layout.size:
        ends = f"HDU {wanted} of {layout.key} ends at byte {image.extent.data.stop}"
        message = f"{ends}, but the object at {layout.size}: it is truncated"
        raise TruncatedFileError(message, key=layout.key)
    return image


def _names(layout: Layout) -> str:
    return (
        ", ".join(f"{one.name},{one.ver}" for one in layout.hdus) or "no HDU (it may be compressed: see hst_cloud.read)"
    )


def _chunks(image: Image, rows: int | None) -> tuple[tuple[int, ...], ...]:
    """Return the lengths of the chunks along each axis: rows, within planes."""
    *planes, height, width = (1, *image.shape) if len(image.shape) == 1 else image.shape
    step = rows or max(1, _CHUNK // (width * abs(image.bitpix) // 8))
    whole, rest = divmod(height, step)
    along = (step,) * whole + ((rest,) if rest else ())
    chunks = (*((1,) * plane for plane in planes), along, (width,))
    return chunks[-len(image.shape) :]


def _chunk(
    store: Store, key: str, etag: str | None, image: Image, block_info: dict[None, Any] | None = None
) -> NDArray[Any]:
    """Read one chunk: this runs wherever Dask computes it."""
    assert block_info is not None  # Dask gives it to whoever names it
    box = block_info[None]["array-location"]
    wanted = box_ranges(image, box)
    return box_array(image, box, fetch(store, key, wanted, etag=etag))
