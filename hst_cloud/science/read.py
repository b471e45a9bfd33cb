"""A whole file as arrays in memory: what a download followed by `astropy.io.fits.open` gives, without the download."""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from hst_cloud.archive.inputs import as_product
from hst_cloud.archive.places import placed
from hst_cloud.errors import (
    FormatError,
    HSTCloudError,
    ObjectChangedError,
    QueryError,
    StoreUnavailableError,
    TruncatedFileError,
)
from hst_cloud.fits.compressed import inflated
from hst_cloud.fits.frames import expected
from hst_cloud.fits.guards import REJECTED, check_data, has_heap
from hst_cloud.fits.header_blocks import HDULike, HDUName, as_hdu
from hst_cloud.fits.index import Index, IndexLike, as_index
from hst_cloud.fits.layout import Layout, Scan
from hst_cloud.fits.pixels import Image, image_of, scaled
from hst_cloud.fits.predict import siblings
from hst_cloud.fits.rangefile import RangeFile
from hst_cloud.fits.reader import parsed
from hst_cloud.fits.recall import keeping, look, sought
from hst_cloud.fits.structure import HDUExtent
from hst_cloud.fits.verify import verified
from hst_cloud.fits.whole import NOTHING, WHOLE, Coming, Early, receive, walk_or_all, walked_meanwhile
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.drive import run_one
from hst_cloud.store.link import as_link
from hst_cloud.store.memory import blank, check_room
from hst_cloud.store.objects import Concurrent, Store
from hst_cloud.store.policy import S3
from hst_cloud.values import ByteRange, Product, ProductLike

__all__ = ["read"]


def read(
    product: ProductLike,
    *,
    hdus: HDULike | Sequence[HDULike] | None = None,
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    verify: bool = False,
) -> fits.HDUList:
    """Read a whole product into memory, with all connections at work.

    What comes back depends on nothing any more: no file is open, no request follows, and it may be changed, pickled,
    written, or handed to another process. To look at parts of a file, `~hst_cloud.open` reads less.

    Parameters
    ----------
    product : Product, Row or str
        As for `~hst_cloud.open`.
    hdus : int, str, tuple, or sequence of these, optional
        Which HDUs to read: numbers, names such as ``"SCI"``, which means all of that name, or names and versions,
        ``"SCI,2"`` or ``("SCI", 2)``. The primary HDU always comes with them, and of the others no data are read.
        A WCS with distortions needs ``"D2IMARR"`` and ``"WCSDVARR"`` besides its image. By default all.
    store : optional
        Where to read, as for `~hst_cloud.open`.
    index : Index or bool, optional
        Where layouts and headers are kept, as for `~hst_cloud.open`. What is kept of a file that was replaced since is
        noticed, and the file read anew.
    in_flight : int, optional
        Requests in flight at a time.
    verify : bool, optional
        Whether to compare the bytes of the whole file with what its ETag or its headers tell, as for `~hst_cloud.open`;
        it takes the file's size of memory once more. ``hdul.verified`` then says which check it was.

    Returns
    -------
    astropy.io.fits.HDUList
        As astropy reads a local copy, headers card for card and values bit for bit, and with all data in memory.
        Images are arrays in the machine's byte order, each with memory of its own: an HDU that is kept does not keep
        the others. Images of tiles are decompressed. Tables are astropy's ``FITS_rec``, whose rows are as the file has
        them; `~hst_cloud.columns` gives columns in the machine's byte order. An array that is not stored (NAXIS = 0
        with PIXVALUE) is None, as in astropy. ``hdu.section`` is for open files: here slice ``hdu.data``.

    Raises
    ------
    QueryError
        The file has none of an HDU's name; or `in_flight` is none.
    NotInCloudError, ObjectNotFoundError, AccessDeniedError, StoreUnavailableError
        As for `~hst_cloud.open`.
    ObjectChangedError
        The object was replaced while it was being read.
    CorruptFileError
        With `verify`, the bytes contradict a checksum.
    FormatError
        The object is no FITS file, its headers contradict themselves, or astropy cannot decode its data.
    TruncatedFileError
        The data of an HDU that is wanted are beyond the end of the object.
    MemoryLimitError
        There is no memory for them; they are not read.

    Warns
    -----
    HSTCloudWarning
        The file is compressed (.gz, .bz2, .xz).

    Notes
    -----
    Requests: one for a file of at most 1 MiB whose size the product tells; as many as fill the link for one of at most
    32 MiB; else those that `~hst_cloud.open` needs for the headers, and some for each HDU, none of more than 8 MiB: 37
    in all for an ACS flc of 168 MB. No byte is read twice.
    Round trips: one for a file of at most 32 MiB whose size the product tells, and for one that `index` knows; of a
    larger one, too, whose size the product tells, where a file like it was read before or the size is that of a full
    frame of ACS/WFC or WFC3. Where nobody told the size, two for a small file or one like another; else three.
    Memory: the file, and for an image that is scaled its stored values until they are.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> hdul = hst.read("jbqf03gjq_flc.fits")  # doctest: +SKIP
    >>> good = hdul["SCI", 1].data[hdul["DQ", 1].data == 0]  # doctest: +SKIP
    """
    if in_flight < 1:
        message = f"in_flight must be at least 1, found {in_flight}"
        raise QueryError(message)
    known, where, wanted = placed(as_product(product)), as_store(store), _wanted(hdus)
    kept = as_index(index, where)
    return sought(where, known, lambda one: _one(where, one, kept, wanted, in_flight, verify=verify))


def _one(
    where: Store, known: Product, kept: Index | None, wanted: Sequence[HDUName] | None, in_flight: int, *, verify: bool
) -> fits.HDUList:
    """Read a file with what is known of it, or as one of which nothing is."""
    found = look(kept, where, known)
    if kept is not None and found is not None:
        try:
            if verify:
                return _verified(where, found, wanted, in_flight)
            return _read(where, found, wanted, in_flight, stacklevel=6, proven=False)
        except ObjectChangedError:  # what the index knew is out of date, and nobody holds anything of it
            pass
        except (QueryError, FormatError):
            if _is_current(where, found.layout):
                raise
        kept.forget(where, known.key)
    like = expected(known.key, known.size, place=where.address(""))
    if verify:
        return _verified(where, _walked(where, known, like, kept, in_flight), wanted, in_flight)
    return _anew(where, known, like, kept, wanted, in_flight=in_flight)


def _anew(
    where: Store,
    known: Product,
    like: Layout | None,
    kept: Index | None,
    wanted: Sequence[HDUName] | None,
    *,
    in_flight: int,
) -> fits.HDUList:
    """Read a file that nobody knows: where its size tells what it is like, its data along with its headers."""
    if like is not None and known.size is not None and known.size > WHOLE:
        asked = functools.partial(_is_wanted, wanted)
        walking = walked_meanwhile(where, known.key, size=known.size, like=like, wanted=asked, in_flight=in_flight)
        try:
            with walking as (fresh, coming):
                return _read(where, _noted(where, fresh, kept), wanted, in_flight, stacklevel=7, coming=coming)
        except StoreUnavailableError:
            # Not every store can read behind the end of an object, where a size that is not true may have led.
            if isinstance(where, Concurrent):
                raise
    return _read(where, _walked(where, known, like, kept, in_flight), wanted, in_flight, stacklevel=7)


def _verified(store: Store, found: Scan, wanted: Sequence[HDUName] | None, in_flight: int) -> fits.HDUList:
    found, verdict = verified(store, found)
    hdul = _read(store, found, wanted, in_flight, stacklevel=7)
    hdul.verified = verdict.check
    return hdul


def _wanted(hdus: HDULike | Sequence[HDULike] | None) -> list[HDUName] | None:
    """Return the HDUs that are asked for; None for all."""
    match hdus:
        case None:
            return None
        case (str(name), int() | np.integer() as ver) if isinstance(hdus, tuple):  # a list names two
            return [as_hdu((name, ver))]
        case str() | HDUName():
            return [as_hdu(hdus)]
    return [as_hdu(hdu) for hdu in (hdus if isinstance(hdus, Iterable) else [hdus])]


def _walked(store: Store, product: Product, like: Layout | None, index: Index | None, in_flight: int) -> Scan:
    plan = walk_or_all(product.key, size=product.size, sibling=like, link=as_link(), in_flight=in_flight)
    return _noted(store, run_one(store, product.key, plan), index)


def _noted(store: Store, found: Scan, index: Index | None) -> Scan:
    siblings().note(found.layout, place=store.address(""))
    with keeping(index, store) as keep:
        keep(found)
    return found


def _is_wanted(wanted: Sequence[HDUName] | None, number: int, hdu: HDUExtent) -> bool:
    """Tell whether the data of an HDU are wanted."""
    return wanted is None or number == 0 or any(one.means(number, hdu) for one in wanted)


def _is_current(store: Store, layout: Layout) -> bool:
    """Tell whether the store still has this version: one request."""
    try:
        store.read(layout.key, [ByteRange(0, 1)], etag=layout.etag)
    except ObjectChangedError:
        return False
    return True


def _read(
    store: Store,
    found: Scan,
    wanted: Sequence[HDUName] | None,
    in_flight: int,
    *,
    stacklevel: int,
    proven: bool = True,
    coming: Coming = NOTHING,
) -> fits.HDUList:
    """Read the data that are wanted of one version; headers that nobody has `proven` to be of it are so by the data."""
    address = store.address(found.layout.key)
    data = inflated(store, found, stacklevel=stacklevel)
    if data is not None:
        chosen = _chosen(parsed(io.BytesIO(data.data), data.layout, address), wanted, found.layout)
        return fits.HDUList([_loaded(hdu, None, address, found.layout) for hdu in chosen])
    extents = [hdu for number, hdu in enumerate(found.layout.hdus) if hdu.data.size and _is_wanted(wanted, number, hdu)]
    beyond = max((hdu.data.stop for hdu in extents), default=0)
    if beyond > found.layout.size:  # before memory is taken for what is not there
        raise _truncated(address, beyond, found.layout)
    if not coming[0]:
        check_room(sum(hdu.data.size for hdu in extents))  # memory that nobody has touched does not count as taken
    buffers = [_buffer(found, hdu, coming[0]) for hdu in extents]
    if not proven and all(found.segments.find(*buffer.wanted) for buffer in buffers):
        store.read(found.layout.key, [ByteRange(0, 1)], etag=found.layout.etag)
    hdul: fits.HDUList | None = None
    places = [(buffer.wanted, buffer.place) for buffer in buffers]
    with contextlib.closing(receive(store, found, places, in_flight=in_flight, coming=coming)) as complete:
        for number in complete:
            # What one core can do while others are busy with the rest of the file.
            if hdul is None:
                hdul = parsed(RangeFile(store, found), found.layout, address)
            buffers[number].turn()
    if hdul is None:
        hdul = parsed(RangeFile(store, found), found.layout, address)
    for buffer in buffers:
        header = bytes(found.segments.find(*buffer.extent.header) or b"")
        if has_heap(header):
            check_data(header, buffer.extent, buffer.place.data, address)
    by_place = {buffer.extent.data.start: buffer for buffer in buffers}
    chosen = _chosen(hdul, wanted, found.layout)
    return fits.HDUList([_loaded(hdu, by_place.get(_place(hdu)), address, found.layout) for hdu in chosen])


# --- Memory for the data ---------------------------------------------------------------------------------------------


class _Buffer(NamedTuple):
    """Memory for the data of one HDU."""

    extent: HDUExtent
    wanted: ByteRange
    """The bytes that are received."""
    place: NDArray[np.uint8]
    """Where to: a view of `array`."""
    array: NDArray[Any]
    """An image, in the machine's byte order once it was turned; else bytes."""
    image: Image | None
    """How the image is stored; None for what astropy decodes."""

    def turn(self) -> None:
        """Turn the values of an image, which are big-endian as they are received, to the machine's order in place.

        `numpy.ndarray.byteswap` would take four times as long, and hold the interpreter, which the threads that
        receive the rest need.
        """
        if self.image is not None:
            values = self.array.reshape(-1)
            np.copyto(values, values.view(self.image.stored))


def _buffer(found: Scan, extent: HDUExtent, early: Sequence[Early]) -> _Buffer:
    header = found.segments.find(*extent.header)
    assert header is not None
    try:
        image = image_of(header, extent)
    except FormatError:  # astropy may know better
        image = None
    if image is not None and math.prod(image.shape) * image.stored.itemsize == extent.data.size:
        place = _memory(extent.data, early)
        array = place.view(image.stored.newbyteorder("=")).reshape(image.shape)
        return _Buffer(extent, extent.data, place, array, image)
    # astropy looks at the fill of the last block, too, which not every file has.
    wanted = ByteRange(extent.data.start, min(extent.stop, found.layout.size))
    data = _memory(ByteRange(extent.data.start, extent.stop), early)
    data[wanted.size :] = 0
    return _Buffer(extent, wanted, data[: wanted.size], data, None)


def _memory(where: ByteRange, early: Sequence[Early]) -> NDArray[np.uint8]:
    """Return memory for some bytes: that which they are under way to, or else fresh."""
    for one in early:
        memory = one.data(where)
        if memory is not None:
            return memory
    return blank(where.size)


def _truncated(address: str, beyond: int, layout: Layout) -> TruncatedFileError:
    message = (
        f"{address} is truncated: bytes up to {beyond} were wanted, but the object ends after {layout.size}. The copy "
        "in the bucket is incomplete; MAST's may not be: try hst_cloud.open(..., source='mast')."
    )
    return TruncatedFileError(message, key=layout.key)


# --- HDUs without a file ---------------------------------------------------------------------------------------------


def _chosen(hdul: fits.HDUList, wanted: Sequence[HDUName] | None, layout: Layout) -> list[Any]:
    """Return the HDUs that were asked for, and the primary."""
    if wanted is None:
        return list(hdul)
    for one in wanted:
        if not any(one.means(number, hdu) for number, hdu in enumerate(hdul)):
            found = ", ".join(f"{number} {hdu.name or '(no name)'},{hdu.ver}" for number, hdu in enumerate(hdul))
            message = f"{layout.key} has no HDU {one}: its HDUs are {found}"
            raise QueryError(message, key=layout.key)
    return [hdu for number, hdu in enumerate(hdul) if number == 0 or any(one.means(number, hdu) for one in wanted)]


def _stored(hdu: Any) -> Any:
    """Return the HDU that holds the bytes: of a tile-compressed image the table."""
    return hdu._bintable if isinstance(hdu, fits.CompImageHDU) else hdu  # noqa: SLF001


def _place(hdu: Any) -> int:
    place: int = _stored(hdu)._data_offset  # noqa: SLF001
    return place


def _loaded(hdu: Any, buffer: _Buffer | None, address: str, layout: Layout) -> Any:
    """Give an HDU its data, and take the file away from it."""
    stored = _stored(hdu)
    try:
        if buffer is not None and buffer.image is not None and isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU):
            array = buffer.array if buffer.image.plain else scaled(buffer.image, buffer.array)
            # As astropy's own `data` does it, which would make big-endian copies.
            hdu.__dict__["data"] = array
            hdu._update_header_scale_info(array.dtype)  # noqa: SLF001
        else:
            if buffer is not None:
                stored._file, stored._buffer, stored._data_offset = None, buffer.array.data, 0  # noqa: SLF001
            data = hdu.data
            if isinstance(data, fits.FITS_rec):
                _heap_read(data)
            elif data is not None:
                hdu.__dict__["data"] = data.astype(data.dtype.newbyteorder("="), copy=False)
    except HSTCloudError:
        raise
    except REJECTED as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{address} has data in HDU {hdu.name},{hdu.ver} that astropy cannot read: {said}"
        raise FormatError(message, key=layout.key) from error
    stored._file = stored._buffer = None  # noqa: SLF001
    return hdu


def _heap_read(table: fits.FITS_rec) -> None:
    """Have columns of variable length read: a pickle of astropy's table holds them, but not what they are read from."""
    for name, kind in zip(table.columns.names, table.columns.formats, strict=True):
        if "P" in kind or "Q" in kind:
            with contextlib.suppress(ValueError):  # raised again when the column is used, as from a local file
                table[name]
