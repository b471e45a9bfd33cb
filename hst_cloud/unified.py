"""astropy's own ``read`` methods for products of the archive: ``CCDData.read``, ``Table.read``, ``SpectrumList.read``.

They take ``format="hst_cloud"`` with whatever names a product, ``hst://`` names among them. A `~hst_cloud.Product` is
known without it by the first two; a text is not, since astropy opens it as a local file before it asks anybody.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from astropy.io import registry
from astropy.nddata import CCDData
from astropy.table import Table

from hst_cloud.archive.inputs import as_product
from hst_cloud.archive.places import placed
from hst_cloud.fits.header_blocks import HDULike
from hst_cloud.fits.index import as_index
from hst_cloud.fits.recall import known_or_scan, sought
from hst_cloud.science.chips import chips_of
from hst_cloud.science.cutouts import cutout
from hst_cloud.science.spectra import spectra
from hst_cloud.science.tables import table
from hst_cloud.settings import BUCKET
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.values import Product

if TYPE_CHECKING:
    from specutils import SpectrumList

__all__ = ["FORMAT", "register"]

FORMAT = "hst_cloud"
"""What the readers are called in astropy's registry."""


def register() -> None:
    """Tell astropy of the readers; again is the same as once."""
    # specutils is slow to import: its list of spectra is found by the class that it is derived from.
    for kind, reader in ((CCDData, _image), (Table, _table), (list, _spectra)):
        registry.register_reader(FORMAT, kind, reader, force=True)
    for kind in (CCDData, Table):
        registry.register_identifier(FORMAT, kind, _is_product, force=True)


def _is_product(_origin: str, _path: str | None, _file: Any, *args: Any, **_kwargs: Any) -> bool:
    return bool(args) and isinstance(args[0], Product)


def _product(like: Any) -> Product:
    """Return the product that a name or an ``hst://`` path means."""
    if isinstance(like, str) and like.startswith("hst://"):
        path = like.removeprefix("hst://")
        like = f"s3://{BUCKET}/{path}" if path.startswith("hst/") else path.rpartition("/")[2]
    return as_product(like)


def _image(product: Any, *, hdu: HDULike = "SCI", store: StoreLike = None, index: Any = True, **kwargs: Any) -> CCDData:
    """Read a whole image as `hst_cloud.cutout` reads a part of it."""
    bucket = as_store(store)
    known = placed(_product(product))
    kept = as_index(index, bucket)
    found = sought(bucket, known, lambda one: known_or_scan(bucket, one, kept))
    chip = chips_of(found.layout, found.segments, hdu)[0]
    known = replace(known, key=found.layout.key, size=found.layout.size, etag=found.layout.etag)
    rows, columns = chip.image.shape
    center, number = ((columns - 1) / 2, (rows - 1) / 2), found.layout.hdus.index(chip.extent)
    return cutout(known, center, (rows, columns), hdu=number, store=bucket, index=index, **kwargs)


def _table(product: Any, hdu: Any = None, **kwargs: Any) -> Table:
    return table(_product(product), hdu, **kwargs)


def _spectra(products: Any, **kwargs: Any) -> SpectrumList:
    return spectra(_product(products) if isinstance(products, str) else products, **kwargs)
