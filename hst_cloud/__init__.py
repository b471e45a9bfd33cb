"""The public Hubble archive in the cloud, as if it were a local disk.

::

    import hst_cloud as hst

    observations = hst.search("M 51", instrument="ACS/WFC", filters="F814W")
    files = hst.products(observations, suffix="drc")
    with hst.open(files[0]) as hdul:
        box = hdul["SCI"].section[2000:2200, 2000:2200]

The promise is what ``__all__`` names here, and the documented modules `hst_cloud.errors`, `hst_cloud.fs`,
`hst_cloud.plots` and `hst_cloud.testing`. Everything else may change.
"""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

from hst_cloud import errors
from hst_cloud.archive.epochs import epochs
from hst_cloud.archive.mast import products, search
from hst_cloud.archive.pairs import pairs
from hst_cloud.archive.resolve import resolve
from hst_cloud.bars import progress_bar
from hst_cloud.batch.arrays import to_dask
from hst_cloud.batch.mapping import map  # noqa: A004  # read as hst_cloud.map
from hst_cloud.cost.budgets import budget
from hst_cloud.cost.reports import report
from hst_cloud.cost.whereabouts import where
from hst_cloud.fits.reader import open  # noqa: A004  # read as hst_cloud.open, like astropy's fits.open
from hst_cloud.science.coadd import coadd
from hst_cloud.science.cutouts import cutout, cutouts
from hst_cloud.science.download import download
from hst_cloud.science.estimate import estimate
from hst_cloud.science.headers import headers
from hst_cloud.science.mosaic import mosaic
from hst_cloud.science.photometry import light_curves, photometry
from hst_cloud.science.read import read
from hst_cloud.science.references import references
from hst_cloud.science.relations import members, parents
from hst_cloud.science.spectra import spectra, spectrum
from hst_cloud.science.tables import columns, table, tables
from hst_cloud.unified import register as _register
from hst_cloud.values import Product

try:
    from hst_cloud._version import __version__
except ModuleNotFoundError:  # written when the package is built: this is a bare copy of the source
    __version__ = "0+unknown"

__all__ = [
    "Product",
    "budget",
    "coadd",
    "columns",
    "cutout",
    "cutouts",
    "download",
    "epochs",
    "errors",
    "estimate",
    "headers",
    "light_curves",
    "map",
    "members",
    "mosaic",
    "open",
    "pairs",
    "parents",
    "photometry",
    "products",
    "progress_bar",
    "read",
    "references",
    "report",
    "resolve",
    "search",
    "spectra",
    "spectrum",
    "table",
    "tables",
    "to_dask",
    "where",
]

_register()
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> ModuleType:
    """Import `hst_cloud.fs`, `hst_cloud.plots` and `hst_cloud.testing` when they are first named."""
    if name in {"fs", "plots", "testing"}:
        return importlib.import_module(f"{__name__}.{name}")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
