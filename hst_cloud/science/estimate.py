"""What a call will take, told before anything is sent: from the products' names and sizes alone.

Whole files are known exactly. Of the others the most is told that the files' usual structure admits: how many HDUs lie
apart, how long their headers are, how wide the detectors. Nothing is looked up, neither in the index nor among the
files that were opened before, which only make things cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from astropy import units as u

from hst_cloud.archive.inputs import ProductsLike, as_products
from hst_cloud.cost.estimates import Bound, Estimate, PathCost
from hst_cloud.cost.prices import PATHS, Path, rates
from hst_cloud.errors import QueryError
from hst_cloud.fits.header_blocks import NEXT, PRIMARY, HDULike, as_hdu
from hst_cloud.fits.predict import FIRST, FIRST_DRIZZLED, SLACK, SMALL, USUAL, first_block, suffix_of
from hst_cloud.fits.tables import WHOLE
from hst_cloud.science.boxes import as_centers, as_extent
from hst_cloud.science.cutouts import CenterLike, SizeLike
from hst_cloud.settings import nat_known
from hst_cloud.store.link import FAR_AWAY, IN_REGION, Link
from hst_cloud.store.policy import S3
from hst_cloud.store.ranges import GAP, PART
from hst_cloud.values import Product

__all__ = ["Verb", "estimate"]

Verb: TypeAlias = Literal["download", "read", "open", "headers", "cutouts", "spectra", "tables", "columns"]
"""A verb that reads; of one product it takes what it takes of a list of one."""

HEADLETS = 2 * 1024 * 1024
"""Bytes of the small HDUs at the end of an exposure of ACS or WFC3: eight headerlets of 115 kB were seen, and twice as
many are allowed for. Older instruments have none."""

WIDEST = {"j": 4144, "i": 4206, "o": 2070, "l": 16384, "n": 256, "u": 800}
"""Pixels of a row of the widest detector by the first letter of a rootname, with overscan: ACS Data Handbook 1.3, WFC3
Data Handbook 1.3, STIS Data Handbook 1.2 (MAMAs in high resolution), COS Data Handbook 1.2, and the older ones'."""

FINEST = {"j": 0.025, "i": 0.0395, "o": 0.0123, "n": 0.043, "u": 0.0455}
"""Arcseconds of a pixel of the finest detector, by the same letter, from the same books."""

CONNECTIONS = 16
"""Requests that a small file may be split into beyond those of its HDUs: more connections carry no more."""

ELONGATED = 3
"""How many times wider than a square of as many pixels a drizzled image is thought to be at most."""

# One round trip more between regions than within one: some 70 ms between Virginia and Oregon.
LINKS: dict[Path, Link] = {
    "in region": IN_REGION,
    "cross region": replace(IN_REGION, latency=IN_REGION.latency + 0.07),
    "internet": FAR_AWAY,
}

_DRIZZLED = ("drz", "drc")
_IMAGES = 10  # bytes of a pixel in SCI, ERR and DQ together: 4, 4 and 2
_PLANES = 3


@dataclass(frozen=True, slots=True)
class _Take:
    """What one file takes."""

    requests: int
    size: int
    bound: Bound = "at most"


def estimate(
    products: ProductsLike,
    verb: Verb = "download",
    *,
    centers: CenterLike | Iterable[CenterLike] | None = None,
    size: SizeLike | None = None,
    hdu: HDULike = 0,
) -> Estimate:
    """Tell what a call will take, before anything is sent: requests, bytes, and by each path seconds and dollars.

    Parameters
    ----------
    products : Table, Row, Product, str, or a list that mixes them
        The files: see `hst_cloud.resolve`. Sizes are those of the table, as `hst_cloud.products` and ``resolve(...,
        verify=True)`` give them.
    verb : {"download", "read", "open", "headers", "cutouts", "spectra", "tables", "columns"}, optional
        What is to be called. ``"open"`` is the headers alone, without what is touched later.
    centers, size : optional
        Of ``"cutouts"``: as that takes them.
    hdu : int, str or tuple, optional
        Of ``"headers"``: the HDU farthest behind whose keywords are wanted.

    Returns
    -------
    hst_cloud.cost.estimates.Estimate
        ``requests``, ``bytes``, and ``bound``, which says how the truth lies to them:

        ``exactly``
            downloads into an empty folder, spectra of files of at most 8 MiB, and tables of files of at most 1 MiB.
        ``about``
            headers: a primary header that is longer than usual takes a request more.
        ``at most``
            all others. Of cutouts, boxes that lie beside the image, and of tables, rows and columns that are not
            wanted, take less.

        ``paths`` has seconds and dollars ``in region``, ``cross region`` and over the ``internet``, and ``unknown`` the
        number of products that are not counted. Printed, it is a table.

    Raises
    ------
    QueryError
        The verb is none; ``"cutouts"`` lacks `centers` or `size`, or they make no sense.
    ProductNameError
        Something is of a type that cannot name a product.

    Notes
    -----
    Requests: none. What the index knows makes calls cheaper than is told. Requests that have to be sent again, after a
    fault or because a file was replaced, are not foreseen: `hst_cloud.budget` counts them.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> files = [hst.Product(filename="jbqf03gjq_flc.fits", key="hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits",
    ...                      size=168_000_000)]
    >>> hst.estimate(files)
    Estimate(download of 1: exactly 21 requests, 168 MB)
    >>> hst.estimate(files, "headers")
    Estimate(headers of 1: about 1 request, 32.8 kB)
    """
    if verb not in get_args(Verb):
        message = f"verb={verb!r} is none that reads: expected one of {', '.join(get_args(Verb))}"
        raise QueryError(message)
    if verb == "cutouts" and (centers is None or size is None):
        message = "cutouts need centers= and size=, as hst_cloud.cutouts takes them"
        raise QueryError(message)
    known = as_products(products)
    if verb == "headers":  # which reads a file once, however often it is named
        known = list({product.key or f"{product.filename} {i}": product for i, product in enumerate(known)}.values())
    takes: list[_Take | None]
    match verb:
        case "cutouts":
            count, extent = len(as_centers(centers)), as_extent(size)
            takes = [_cutouts(product, count, extent[0]) for product in known]
        case "headers":
            primary = as_hdu(hdu).primary
            takes = [_headers(product, primary=primary) for product in known]
        case "download":
            takes = [_whole(product) for product in known]
        case "open":
            takes = [_walk(product) for product in known]
        case "read":
            takes = [_read(product) for product in known]
        case _:
            takes = [_table(product, WHOLE if verb == "spectra" else SMALL) for product in known]
    counted = [
        take for product, take in zip(known, takes, strict=True) if take and product.key and product.key[-1] != "/"
    ]
    trips = {"download": 1, "headers": 1, "open": 2, "cutouts": 4}.get(verb, 3)
    return _summed(verb, counted, len(known) - len(counted), trips)


def _summed(verb: str, takes: Sequence[_Take], unknown: int, trips: int) -> Estimate:
    requests, size = sum(take.requests for take in takes), sum(take.size for take in takes)
    bounds = {take.bound for take in takes}
    paths = []
    for path in PATHS:
        link, cost = LINKS[path], rates("owner", path, nat=nat_known())
        seconds = 0.0
        if requests:
            largest = min(size, max(size / requests, min(size, PART) if verb == "download" else 0))
            seconds = link.estimate(requests, size, largest, in_flight=S3.in_flight, files=1)
            seconds += (trips - 1) * link.latency
        usd, most, owner = (tariff.usd(requests, size) for tariff in (cost.reader, cost.most, cost.owner))
        paths.append(PathCost(path=path, seconds=seconds, usd=usd, usd_most=most, usd_owner=owner))
    bound: Bound = "at most" if "at most" in bounds else "about" if "about" in bounds else "exactly"
    return Estimate(
        verb=verb, products=len(takes), unknown=unknown, requests=requests, bytes=size, bound=bound, paths=tuple(paths)
    )


# --- What one file takes ---------------------------------------------------------------------------------------------


def _whole(product: Product) -> _Take | None:
    if product.size is None:
        return None
    return _Take(math.ceil(product.size / PART), product.size, "exactly")


def _headers(product: Product, *, primary: bool) -> _Take:
    if not primary:
        walk = _walk(product)
        return _Take(walk.requests + 1, _within(walk.size + NEXT, product))
    block = FIRST_DRIZZLED if suffix_of(product.key).startswith(_DRIZZLED) else PRIMARY
    return _Take(1, _within(block, product), "about")


def _walk(product: Product) -> _Take:
    """Return what the walk over the headers takes, without any help."""
    size, letter, kind = product.size, _letter(product), suffix_of(product.key)
    block = first_block(product.key, size)
    if size is not None and block.stop >= size:
        return _Take(1, size, "exactly")
    if kind in {"raw", "ima", "flt", "crj", "sx2", "x2d"} and letter in {"i", "n", "o"}:
        # Ramps have 16 sets of 5 HDUs, and exposures of STIS any number of sets of 3, of 2 MB at least.
        apart = 80 if letter != "o" else min(256, 4 + 3 * math.ceil((size or PART) / 2e6))
    elif kind in {"flt", "flc", "raw", "crj", "crc", *_DRIZZLED}:
        apart = 12
    else:
        apart = 6
    tail = HEADLETS if letter in {"j", "i"} else FIRST
    windows = apart * (USUAL + 2 * SLACK + NEXT // 4)
    return _Take(1 + apart, _within(block.size + windows + tail, product))


def _read(product: Product) -> _Take | None:
    if product.size is None or product.size <= SMALL:
        return _table(product, SMALL)
    # Each HDU is split over the connections that pay by itself.
    walk, parts = _walk(product), math.ceil(product.size / PART)
    return _Take(2 * walk.requests + parts + CONNECTIONS, product.size)


def _table(product: Product, at_once: int) -> _Take | None:
    if product.size is None:
        return None
    if product.size <= at_once:
        return _Take(1, product.size, "exactly")
    walk = _walk(product)
    return _Take(walk.requests + math.ceil(product.size / PART) + 1, product.size)


def _cutouts(product: Product, centers: int, side: float | u.Quantity) -> _Take:
    walk = _walk(replace(product, size=None))  # cutouts walk without the size
    small = first_block(product.key, None)
    if product.size is not None and product.size <= small.size:
        return _Take(1, product.size)
    letter = _letter(product)
    rows = side
    if isinstance(side, u.Quantity):
        rows = math.ceil(side.to_value(u.arcsec) / FINEST.get(letter, 0.01)) + 1
    width, item = WIDEST.get(letter, 0), _IMAGES
    if suffix_of(product.key).startswith(_DRIZZLED) or not width:
        # SCI, WHT and CTX of 4 bytes each; where nobody knows the size, the largest that HST's products have
        width = round(ELONGATED * math.sqrt((product.size or 2**31) / 12))
    each = math.ceil(rows + 1) * width * item
    requests = centers * (_PLANES + math.ceil(each / PART)) + 6
    # Rows of two boxes or planes that lie close are read as one, with what lies between.
    size = walk.size + centers * (each + (_PLANES - 1) * GAP) + (centers - 1) * GAP + 6 * SLACK
    return _Take(walk.requests + requests, _within(size, product))  # no byte is read twice


def _within(size: int, product: Product) -> int:
    return size if product.size is None else min(size, product.size)


def _letter(product: Product) -> str:
    return product.key.rpartition("/")[2][:1]
