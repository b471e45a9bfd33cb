"""Cutouts: a box of an image with its errors, flags and place on the sky, for the bytes of a few rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any, Literal, TypeAlias

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty

from hst_cloud.archive.inputs import ProductsLike, as_product, as_products
from hst_cloud.archive.places import placed
from hst_cloud.errors import HSTCloudError, HSTCloudWarning
from hst_cloud.fits.frames import expected
from hst_cloud.fits.header_blocks import HDULike, kind_of
from hst_cloud.fits.index import IndexLike, as_index
from hst_cloud.fits.keywords import Memo
from hst_cloud.fits.layout import Layout, Scan
from hst_cloud.fits.recall import Anew, read_one
from hst_cloud.science import boxes
from hst_cloud.science.boxes import Center
from hst_cloud.science.chips import title
from hst_cloud.science.cuts import Array, Cut, Outcome, Wanted, cuts, glimpse
from hst_cloud.science.flags import BitFlags, default_good_bits, mask_of
from hst_cloud.science.many import OnError, as_on_error, recalled
from hst_cloud.science.provenance import keyword, meta_of, mixed_solutions, unit_of, values_of
from hst_cloud.science.solutions import part_of
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.link import as_link
from hst_cloud.store.objects import Piece, Store
from hst_cloud.store.plan import Plan
from hst_cloud.store.policy import S3
from hst_cloud.values import ByteRange, Product, ProductLike, Progress

__all__ = ["CenterLike", "SizeLike", "ccddata_of", "cutout", "cutouts"]

CenterLike: TypeAlias = "SkyCoord | str | tuple[float, float]"
"""A position on the sky, as astropy or its texts have it, or a pixel (x, y), zero-based."""

SizeLike: TypeAlias = "u.Quantity | str | float | tuple[Any, Any]"
"""One length or two (along y, along x): an angle, a text such as ``"10 arcsec"``, or a number of pixels."""


def cutout(
    product: ProductLike,
    center: CenterLike,
    size: SizeLike,
    *,
    hdu: HDULike = "SCI",
    good_bits: BitFlags | Literal["default"] = "default",
    uncertainty: bool = True,
    mask: bool = True,
    wcs: bool = True,
    wcs_key: str = " ",
    weight: Literal["exposure", "inverse variance"] = "exposure",
    store: StoreLike = None,
    index: IndexLike = True,
) -> CCDData:
    """Cut a box out of an image, with its errors, flags and place on the sky.

    Parameters
    ----------
    product : Product, Row or str
        A `Product`, a row of a table, a file name, a ``mast:`` or an ``s3://`` URI.
    center : SkyCoord, str or (x, y)
        A position on the sky, a text that astropy parses, or a pixel of the image: x first, zero-based. The chip that
        holds the position is found; if none does, the one that most of the box lies on.
    size : Quantity, str, number or pair of these
        Side of the box, or its sides along y and x: angles, or numbers of pixels. An angle becomes pixels as
        `~astropy.nddata.Cutout2D` has it.
    hdu : str, int or (str, int), optional
        Image to cut: its EXTNAME, with EXTVER (``("SCI", 2)`` or ``"SCI,2"``) or without, or its number in the file.
        Pixels without EXTVER are of the first.
    good_bits : int, str, list of int or None, optional
        Bits of DQ that a good pixel may have, as `astropy.nddata.bitmask` has them; None masks no flag. By default,
        those of the instrument: `hst_cloud.science.flags`.
    uncertainty, mask : bool, optional
        Whether to read the errors (or weights), and the flags. They are read for science images alone.
    wcs : bool, optional
        Whether to tell where the pixels lie on the sky, which takes most of the time where the bytes are near. Without
        it, errors and flags, and at a pixel, no header is read that lies behind the image's.
    wcs_key : str, optional
        Which solution, where a file has several: ``"A"`` to ``"Z"``, or a WCSNAME, in which ``*`` stands for anything
        (``"*-GSC240"``). By default the primary one. Headerlets are not looked at.
    weight : {"exposure", "inverse variance"}, optional
        What WHT is in a drizzled product. The archive's own have exposure times (``final_wht_type`` EXP), and no
        keyword tells.
    store : optional
        Where to read, as for `hst_cloud.open`.
    index : Index or bool, optional
        Where layouts and headers are kept, as for `~hst_cloud.open`.

    Returns
    -------
    astropy.nddata.CCDData
        ``data``: shape (y, x), values and type as astropy reads them from the file, in the machine's byte order.
        ``wcs``: the file's own solution, tables of distortion included, moved to the box; None if not wanted.
        ``uncertainty``: standard deviation from ERR; from WHT only if that is an inverse variance; None where the
        file has none, as in raw files, whose ERR is zero everywhere.
        ``mask``: True where DQ has a bit that is not good, WHT is zero, or no pixel is. ``flags``: DQ as it is.
        ``weight``: WHT of a drizzled product; None elsewhere. It is an attribute of this object, not of its copies.
        ``meta``: the keywords of the primary header and of the image, without those of its layout and its solution
        but for WCSNAME, its name; and S3KEY, S3ETAG, HDU (``SCI,1``), CUTOUT (the slice of the image in numpy's order,
        ``[y0:y1,x0:x1]``) and CUTX0, CUTY0 (the image's pixel that is the first of the box). It is a
        `~astropy.io.fits.Header`; of pixels alone, with neither `wcs`, `uncertainty` nor `mask` and at a pixel, a dict
        of the values.

        What of the box lies outside the image is NaN in ``data`` (integers become floats), ``uncertainty`` and
        ``weight``, has all bits set in ``flags``, and is masked.

    Raises
    ------
    OutsideImageError
        The box shares no pixel with the image, or with any chip of it.
    QueryError
        Center or size make no sense, or the file has no such image.
    NotInCloudError
        The product has no known place in the bucket.
    ObjectNotFoundError, ObjectChangedError, AccessDeniedError, StoreUnavailableError
        As the names say.
    FormatError, TruncatedFileError
        The file is no FITS file, its headers contradict one another, or its pixels lie beyond its end.

    Notes
    -----
    Requests: those of the headers as in `hst_cloud.open`, none for a file that `index` knows; then one for the rows of
    each of SCI, ERR and DQ (or SCI and WHT), all in one round trip, and one more for each further 8 MiB. One more round
    trip where the tables of distortion did not come with the headers and `center` is on the sky. Of pixels alone, from
    ``SCI,1``: one for the headers before them, and one for them, or up to 4 in the same round trip where they probably
    lie: if a file like it was read before, or name and size tell that it is a full frame of ACS/WFC or WFC3.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> cut = hst.cutout("jbqf03gjq_flc.fits", "13h29m52.7s +47d11m43s", "5 arcsec")  # doctest: +SKIP
    """
    bucket = as_store(store)
    wanted = _wanted(
        [boxes.as_center(center)],
        size,
        hdu,
        good_bits,
        weight,
        uncertainty=uncertainty,
        mask=mask,
        wcs=wcs,
        wcs_key=wcs_key,
        files=1,
    )
    known = placed(as_product(product))
    address = bucket.address(known.key)
    (outcome,) = read_one(
        bucket,
        known,
        lambda found: cuts(found, wanted, address),
        index=as_index(index, bucket),
        anew=_glimpses(bucket, wanted),
    )
    if isinstance(outcome, HSTCloudError):
        raise outcome
    return ccddata_of(outcome, wanted, Memo())


def cutouts(
    products: ProductsLike,
    centers: CenterLike | Iterable[CenterLike],
    size: SizeLike,
    *,
    hdu: HDULike = "SCI",
    good_bits: BitFlags | Literal["default"] = "default",
    uncertainty: bool = True,
    mask: bool = True,
    wcs: bool = True,
    wcs_key: str = " ",
    weight: Literal["exposure", "inverse variance"] = "exposure",
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    on_error: OnError = "raise",
    progress: Callable[[Progress], None] | None = None,
) -> list[CCDData]:
    """Cut boxes around every center out of every product.

    Parameters
    ----------
    products : Table, iterable, or anything that `cutout` takes
        A table of products, or a list of what names one each.
    centers : SkyCoord, str, (x, y) or iterable of these
        One position or several; a SkyCoord may hold an array of them.
    size, hdu, good_bits, uncertainty, mask, wcs, wcs_key, weight, store, index
        As in `cutout`.
    in_flight : int, optional
        Requests in flight at a time.
    on_error : {"raise", "skip"}, optional
        What happens to a cutout that cannot be had: the first one raises its error, or all of them are left out and
        listed in one warning at the end.
    progress : callable, optional
        Is given a `Progress` after every product.

    Returns
    -------
    list of astropy.nddata.CCDData
        By product, and for each product by center, in the orders given; without those that were skipped.

    Raises
    ------
    HSTCloudError
        As in `cutout`, unless `on_error` is ``"skip"``.

    Warns
    -----
    HSTCloudWarning
        Some were skipped; the message lists them. Or the images are placed on the sky by solutions of different kinds
        (WCSNAME): fitted to a catalog or not.

    Notes
    -----
    Requests: for each product what `cutout` costs, headers once for all centers; products are read at once, within
    `in_flight`.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> cuts = hst.cutouts(files, "13h29m52.7s +47d11m43s", "5 arcsec", on_error="skip")  # doctest: +SKIP
    """
    as_on_error(on_error)
    bucket = as_store(store)
    known = as_products(products)
    wanted = _wanted(
        boxes.as_centers(centers),
        size,
        hdu,
        good_bits,
        weight,
        uncertainty=uncertainty,
        mask=mask,
        wcs=wcs,
        wcs_key=wcs_key,
        files=len(known),
    )
    if on_error == "raise":
        for product in known:  # before anything is sent
            placed(product)

    def work_for(product: Product) -> Callable[[Scan], Plan[ByteRange, Piece, list[Outcome]]]:
        address = bucket.address(product.key)
        return lambda found: cuts(found, wanted, address)

    found: list[CCDData] = []
    trouble: list[str] = []
    memo = Memo()
    results = recalled(
        known,
        work_for,
        store=bucket,
        index=as_index(index, bucket),
        in_flight=in_flight,
        anew=_glimpses(bucket, wanted),
    )
    with closing(results):
        for number, (product, result) in enumerate(results):
            for outcome in [result] if isinstance(result, HSTCloudError) else result:
                if not isinstance(outcome, HSTCloudError):
                    found.append(ccddata_of(outcome, wanted, memo))
                elif on_error == "raise":
                    raise outcome
                else:
                    trouble.append(f"{product.filename or f'product {number}'}: {outcome}")
            if progress is not None:
                progress(Progress(what="products", done=number + 1, total=len(known)))
    for note in _notes(trouble, found, wanted):
        warnings.warn(note, HSTCloudWarning, stacklevel=2)
    return found


def _wanted(
    centers: Sequence[Center],
    size: SizeLike,
    hdu: HDULike,
    good_bits: BitFlags | Literal["default"],
    weight: Literal["exposure", "inverse variance"],
    *,
    uncertainty: bool,
    mask: bool,
    wcs: bool,
    wcs_key: str,
    files: int,
) -> Wanted:
    if weight not in {"exposure", "inverse variance"}:
        message = f"weight={weight!r}: expected 'exposure' or 'inverse variance'"
        raise ValueError(message)
    if good_bits != "default":
        mask_of(np.zeros(1, np.int32), good_bits)  # raises before anything is sent
    return Wanted(
        centers=tuple(centers),
        size=boxes.as_extent(size),
        hdu=hdu,
        good_bits=good_bits,
        uncertainty=uncertainty,
        mask=mask,
        weight=weight,
        wcs=wcs,
        wcs_key=wcs_key,
        link=as_link(),
        files=files,
    )


def _notes(trouble: Sequence[str], found: Sequence[CCDData], wanted: Wanted) -> list[str]:
    """Return what to warn of: cutouts that were skipped, and solutions that differ."""
    many = "1 cutout was" if len(trouble) == 1 else f"{len(trouble)} cutouts were"
    notes = ["\n".join([f"{many} skipped:", *trouble])] if trouble else []
    if wanted.wcs and boxes.needs_sky(wanted.centers, wanted.size):
        notes += mixed_solutions(str(cut.meta.get("WCSNAME", "")) for cut in found)
    return notes


def _glimpses(store: Store, wanted: Wanted) -> Anew | None:
    """Return how files are walked of which pixels alone are wanted; None where they are to be walked to their end."""
    if not wanted.pixels_alone:
        return None
    seen: dict[tuple[str, str], Layout] = {}  # by kind, as far as they were walked

    def walk(product: Product) -> Plan[ByteRange, Piece, Scan]:
        kind = kind_of(product.key)
        like = seen.get(kind) or expected(product.key, product.size, place=store.address(""))
        found = yield from glimpse(product.key, wanted, size=product.size, like=like)
        seen[kind] = found.layout
        return found

    return walk


# --- What was read, as a CCDData -------------------------------------------------------------------------------------


def ccddata_of(cut: Cut, wanted: Wanted, memo: Memo) -> CCDData:
    """Return what was read for one center as `cutout` gives it."""
    layout, window, planes = cut.found.layout, cut.window, cut.planes
    primary = cut.found.segments.find(*layout.hdus[0].header)
    assert primary is not None
    headers = (bytes(primary), cut.chip.header)
    filled = {name: window.filled(plane, bits=name == "DQ") for name, plane in planes.items()}
    unit = unit_of(cut.chip.header, title(cut.chip.extent), layout.key)
    of_part = (layout, cut.chip, window, headers)
    meta = values_of(*of_part, memo) if wanted.pixels_alone else meta_of(*of_part)
    made = CCDData(
        filled["SCI"],
        unit=unit,
        wcs=None if cut.solution is None else part_of(cut.solution, *window.origin, window.shape),
        mask=_mask(cut, filled, headers, wanted),
        flags=filled.get("DQ"),
        meta=meta,
        uncertainty=_uncertainty(planes, filled, unit, wanted),
    )
    made.weight = filled.get("WHT")
    if wanted.wcs_key != " " and cut.solution is not None:
        made.meta["WCSNAME"] = cut.solution.wcs.name
    return made


def _mask(cut: Cut, filled: dict[str, Array], headers: tuple[bytes, bytes], wanted: Wanted) -> Array | None:
    if not wanted.mask:
        return None
    outside: Array = ~cut.window.filled(np.ones(cut.planes["SCI"].shape, dtype=bool))
    if "DQ" in filled:
        good = wanted.good_bits
        if good == "default":
            instrument, detector, serious = (keyword(headers, name) for name in ("INSTRUME", "DETECTOR", "SDQFLAGS"))
            good = default_good_bits(
                str(instrument or ""), str(detector or ""), serious if isinstance(serious, int) else None
            )
        outside |= mask_of(filled["DQ"], good)
        return outside
    if "WHT" in filled:
        seen: Array = filled["WHT"] > 0
        return ~seen
    return outside if outside.any() else None


def _uncertainty(
    planes: dict[str, Array], filled: dict[str, Array], unit: u.UnitBase, wanted: Wanted
) -> StdDevUncertainty | InverseVariance | None:
    if not wanted.uncertainty:
        return None
    if "ERR" in planes:
        # Raw files have an array of zeros until the pipeline knows better: that is no error of zero.
        return StdDevUncertainty(filled["ERR"], unit=unit) if planes["ERR"].any() else None
    if "WHT" in filled and wanted.weight == "inverse variance":
        return InverseVariance(filled["WHT"], unit=unit**-2)
    return None
