"""The reference files that exposures were calibrated with, or are to be drizzled with: which, where, and staged how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from astropy.table import Table

from hst_cloud.archive.inputs import ProductsLike
from hst_cloud.archive.references import DRIZZLE, crds_path, key_of, reference_of
from hst_cloud.archive.session import Watcher
from hst_cloud.archive.tables import text_column
from hst_cloud.errors import QueryError
from hst_cloud.fits.index import IndexLike
from hst_cloud.science.headers import FILENAME, OnError, headers
from hst_cloud.settings import endpoints
from hst_cloud.store.adapters import StoreLike
from hst_cloud.store.objects import HTTPStore
from hst_cloud.store.policy import S3
from hst_cloud.values import Product

__all__ = ["Which", "crds", "environment_of", "exposures_of", "references"]

Which: TypeAlias = "str | Sequence[str]"
"""Which reference files: ``"all"``, what drizzling needs (``"drizzle"``), or those of some keywords."""

_HEARSAY = "by a rule that only other software's source tells; hst-cloud doctor looks whether it holds"


def references(
    products: ProductsLike,
    keywords: Which = "all",
    *,
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    on_error: OnError = "raise",
    progress: Watcher | None = None,
) -> Table:
    """List the reference files that the headers of products name: one row each, with its key in the bucket.

    The table can be given to every function that takes products. To stage exposures together with what they need, give
    ``references=`` to `~hst_cloud.download`.

    Parameters
    ----------
    products : Table, Row, Product, str, or a list that mixes them
        Raw or calibrated files, whose primary headers name them: see `hst_cloud.resolve`.
    keywords : {"all", "drizzle"}, str or sequence of str, optional
        Which ones: all; what AstroDrizzle needs (IDCTAB, D2IMFILE, NPOLFILE, MDRIZTAB); or those of keywords.
    store, index, in_flight, on_error, progress
        As for `~hst_cloud.headers`.

    Returns
    -------
    Table
        Each file once, in the order in which they are named:

        ``productFilename``
            name of the reference file.
        ``keyword``, ``variable``
            under which keywords headers have it (``;`` between), and the environment variable of its folder.
        ``named_by``
            the products that name it (``;`` between).
        ``key``, ``https_url``, ``status``, ``reason``
            where it is in the bucket by rule; nobody has looked: `~hst_cloud.resolve` with ``verify=True`` does.
        ``crds_url``
            where CRDS serves it.

        ``meta`` is that of `~hst_cloud.headers`. Values such as ``N/A`` name no file and have no row.

    Raises
    ------
    QueryError
        A keyword is none.
    HSTCloudError
        As for `~hst_cloud.headers`.

    Notes
    -----
    Requests: those of `~hst_cloud.headers` for primary headers, one for each product.

    Examples
    --------
    On the demonstration archive of `hst_cloud.testing`:

    >>> import hst_cloud as hst
    >>> for row in hst.references("jzdm01aaq_flc.fits", "drizzle"):
    ...     print(row["keyword"], row["variable"], row["key"])
    IDCTAB jref hst/public/references/...j_idc.fits
    D2IMFILE jref hst/public/references/...j_d2i.fits
    NPOLFILE jref hst/public/references/...j_npl.fits
    MDRIZTAB jref hst/public/references/...j_mdz.fits
    """
    read = headers(
        products, _keywords(keywords), store=store, index=index, in_flight=in_flight, on_error=on_error,
        progress=progress,
    )  # fmt: skip
    found: dict[str, _Named] = {}
    names = read[FILENAME].tolist()
    for keyword in read.colnames[1:]:
        for name, value in zip(names, read[keyword].tolist(), strict=True):  # None where it is masked
            reference = reference_of(value)
            if reference is not None:
                found.setdefault(reference.filename, _Named(reference.variable)).add(keyword, name)
    return _table(found, read.meta)


def crds() -> HTTPStore:
    """Return the server of CRDS as a store that reads reference files by their keys in the bucket.

    Notes
    -----
    Nobody has tried whether it honors ranges and conditions as S3 does; what does not is refused, as anywhere.
    """
    root = endpoints().crds
    return HTTPStore(root, url=lambda key: f"{root}/{crds_path(key.rpartition('/')[2])}")


def exposures_of(manifest: Table) -> list[Product]:
    """Return the FITS files that a download has brought, by their places in its folder."""
    return [
        Product(filename=row["productFilename"], key=row["path"])
        for row in manifest
        if row["status"] in {"downloaded", "present"} and row["path"].endswith(".fits")
    ]


def environment_of(named: Table, places: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return what variables must say so that programs find the reference files: a folder each, with a slash behind it.

    Parameters
    ----------
    named : Table
        What `references` returned.
    places : mapping
        Where files are, relative to `folder`, by key.
    folder : Path
        Where they were staged.
    """
    return {
        str(row["variable"]): f"{(folder / places[row['key']]).parent}/"  # IRAF's form puts nothing between
        for row in named
        if row["key"] in places
    }


class _Named:
    """Who names a file."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.keywords: dict[str, None] = {}
        self.products: dict[str, None] = {}

    def add(self, keyword: str, product: str) -> None:
        self.keywords[keyword] = self.products[product] = None


def _keywords(which: Which) -> Sequence[str] | None:
    if which == "all":
        return None
    if which == "drizzle":
        return DRIZZLE
    named = [which] if isinstance(which, str) else list(which)
    if not all(one.isupper() and "." not in one for one in named):
        message = f"keywords={which!r}: expected 'all', 'drizzle', or keywords of primary headers such as 'DARKFILE'"
        raise QueryError(message)
    return named


def _table(found: Mapping[str, _Named], meta: Mapping[str, object]) -> Table:
    keys = [key_of(name) for name in found]
    places = endpoints()
    columns = {
        "productFilename": (found, "Name of the reference file"),
        "keyword": ([";".join(one.keywords) for one in found.values()], "Under which keywords headers have it"),
        "variable": ([one.variable for one in found.values()], "Environment variable of its folder"),
        "named_by": ([";".join(one.products) for one in found.values()], "Products that name it"),
        "key": (keys, "Object key in the public bucket, by rule"),
        "https_url": ([f"{places.bucket}/{key}" for key in keys], "Where the key is read anonymously"),
        "status": (["unverified"] * len(keys), "What is known of its place in the bucket"),
        "reason": ([_HEARSAY] * len(keys), "Why the status is what it is"),
        "crds_url": ([f"{places.crds}/{crds_path(name)}" for name in found], "Where CRDS serves it"),
    }
    table = Table(meta=dict(meta))
    for name, (values, description) in columns.items():
        table[name] = text_column(values, name, description)
    return table
