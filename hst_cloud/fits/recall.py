"""Files are read with what is known of them: their own layout from the index, or that of a file like them.

A read is two plans, of which the first is left out where the index knows the file: a walk over the headers, and the
work that reads with what it found. What the index knows is pinned by the work's first request. Work that ends without
one (nothing is wanted, or an error is found in the headers) has proven nothing: then one byte is asked for, so that no
result and no error is of a version that is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

from hst_cloud.archive.elsewhere import Elsewhere
from hst_cloud.errors import HSTCloudError, ObjectChangedError, ObjectNotFoundError
from hst_cloud.fits.frames import expected
from hst_cloud.fits.index import Index
from hst_cloud.fits.layout import Scan, scan
from hst_cloud.fits.predict import SMALL, first_block, siblings
from hst_cloud.store.drive import Job, run_one
from hst_cloud.store.objects import Piece, Store
from hst_cloud.store.plan import Plan
from hst_cloud.values import ByteRange, Product

__all__ = ["Anew", "forget", "job_of", "keeping", "known_or_scan", "look", "read_one", "remembered", "sought", "walk"]

T = TypeVar("T")

Anew: TypeAlias = "Callable[[Product], Plan[ByteRange, Piece, Scan]]"
"""Makes the plan that walks a file no farther than is needed: what it finds is not kept."""


def look(index: Index | None, store: Store, product: Product, *, whole: int = SMALL) -> Scan | None:
    """Return what the index knows of a file, or None; let walks over files like it profit.

    Parameters
    ----------
    index : Index or None
        What is known; None for nothing.
    store : Store
        Where the file is.
    product : Product
        Which one. Where a listing told its size or its version, what is known of another is of no use.
    whole : int, optional
        Bytes of a file that comes whole with the first request: to look it up would save nothing.

    Notes
    -----
    Requests: none.
    """
    if index is None or (product.size is not None and product.size <= whole):
        return None
    known = index.get(store, product.key, etag=product.etag)
    if known is None or product.size not in {None, known.layout.size}:
        return None
    siblings().note(known.layout, place=store.address(""))
    return known


def walk(store: Store, key: str, *, size: int | None = None, first: int | None = None) -> Plan[ByteRange, Piece, Scan]:
    """Walk the headers of a file with the help of one like it, and let later walks profit.

    Parameters
    ----------
    store : Store
        Where the file is; it is not read here.
    key, size, first
        As for `hst_cloud.fits.layout.scan`.
    """
    place = store.address("")
    sibling = expected(key, size, place=place) if first is None else None
    found = yield from scan(key, size=size, sibling=sibling, first=first)
    siblings().note(found.layout, place=place)
    return found


def remembered(
    known: Scan | None,
    work: Callable[[Scan], Plan[ByteRange, Piece, T]],
    anew: Callable[[], Plan[ByteRange, Piece, Scan]],
) -> Plan[ByteRange, Piece, tuple[Scan | None, T]]:
    """Do `work` with what is known; if that is nothing or out of date, walk once and do it with what is there.

    It is for those who hold nothing of the old layout. Drive it with `hst_cloud.store.drive`, which throws the store's
    errors into it, and with the ETag of `known`, as `job_of` does.

    Parameters
    ----------
    known : Scan or None
        What `look` gave.
    work : callable
        Makes the plan that reads, from a scan. It may be called twice.
    anew : callable
        Makes the plan that scans, such as `walk`.

    Returns
    -------
    tuple of (Scan or None) and T
        What was found anew, None where what was known held; and the result of the work.

    Raises
    ------
    ObjectChangedError
        The object was replaced after it had been scanned just now.

    Notes
    -----
    Round trips: those of `work`, and one where it asks for nothing; for an unknown file those of a walk before, for a
    replaced one these and the one that told.
    """
    if known is not None:
        with contextlib.suppress(ObjectChangedError):
            return None, (yield from _proven(work(known)))
    found = yield from anew()
    return found, (yield from work(found))


def _proven(work: Plan[ByteRange, Piece, T]) -> Plan[ByteRange, Piece, T]:
    """Follow `work`; if it ends without having been answered, ask for one byte, so that the store tells the version."""
    answered = False
    try:
        asks = next(work)
        while True:
            try:
                pieces = yield asks
            except HSTCloudError as error:
                asks = work.throw(error)
            else:
                answered = True
                asks = work.send(pieces)
    except StopIteration as stop:
        result: T = stop.value
        if not answered:
            yield [ByteRange(0, 1)]
        return result
    except ObjectChangedError:
        raise
    except HSTCloudError:
        if not answered:
            yield [ByteRange(0, 1)]
        raise
    finally:
        work.close()


def job_of(
    store: Store,
    product: Product,
    work: Callable[[Scan], Plan[ByteRange, Piece, T]],
    *,
    index: Index | None,
    first: int | None = None,
    anew: Anew | None = None,
) -> Job[tuple[Scan | None, T]]:
    """Return the job that reads a file with what is known of it: see `read_one`."""
    known = look(index, store, product, whole=first or SMALL)
    if anew is None:
        plan = remembered(known, work, lambda: walk(store, product.key, size=product.size, first=first))
    else:
        plan = _unkept(remembered(known, work, lambda: anew(product)))
    return Job(product.key, plan, None if known is None else known.layout.etag)


def _unkept(plan: Plan[ByteRange, Piece, tuple[Scan | None, T]]) -> Plan[ByteRange, Piece, tuple[Scan | None, T]]:
    return None, (yield from plan)[1]


def sought(store: Store, product: Product, read: Callable[[Product], T]) -> T:
    """Read a product where it lies; if it is not where the rule has it, then where MAST says, which is asked once.

    Parameters
    ----------
    store : Store
        Where to read.
    product : Product
        What to read.
    read : callable
        Reads it. It is called again, with the other place, after an `ObjectNotFoundError`.

    Raises
    ------
    NotInCloudError
        MAST tells no other place.
    ObjectNotFoundError
        MAST could not be asked; or nobody asked, as `hst_cloud.archive.elsewhere` says.

    Notes
    -----
    Requests: those of `read`; one to MAST for a key that the rule gave and that is not there.
    """
    try:
        return read(product)
    except ObjectNotFoundError as error:
        there = Elsewhere([product]).find(product, store.address("").rstrip("/"), error)
    return read(there)


def read_one(
    store: Store,
    product: Product,
    work: Callable[[Scan], Plan[ByteRange, Piece, T]],
    *,
    index: Index | None,
    first: int | None = None,
    anew: Anew | None = None,
) -> T:
    """Read a file with what is known of it, and remember what was found.

    Parameters
    ----------
    store : Store
        Where to read.
    product : Product
        What to read.
    work : callable
        Makes the plan that reads, from a scan. It may be called twice.
    index : Index or None
        Where layouts are kept.
    first : int, optional
        Bytes to ask for at once, where most of the file is wanted.
    anew : callable, optional
        Walks a file that is not known, where a walk to its end would be too far.

    Notes
    -----
    Requests: those of `work`; before them those of a walk where the index does not know the file.
    """
    return sought(store, product, lambda where: _read_one(store, where, work, index=index, first=first, anew=anew))


def _read_one(
    store: Store,
    product: Product,
    work: Callable[[Scan], Plan[ByteRange, Piece, T]],
    *,
    index: Index | None,
    first: int | None,
    anew: Anew | None,
) -> T:
    job = job_of(store, product, work, index=index, first=first, anew=anew)
    try:
        fresh, result = run_one(store, job.key, job.plan, etag=job.etag)
    except HSTCloudError as error:
        forget(index, store, product.key, error)
        raise
    if fresh is not None:
        with keeping(index, store) as keep:
            keep(fresh)
    return result


@contextlib.contextmanager
def keeping(index: Index | None, store: Store) -> Generator[Callable[[Scan], None]]:
    """Give a function that keeps what was found of a file in the index, for many files in few transactions.

    What comes whole with the first request even if nobody told its size is not kept: knowing it would save nothing.
    """
    if index is None:
        yield lambda _: None
        return
    with index.together(store) as put:
        yield lambda found: None if _comes_whole(found) else put(found)


def _comes_whole(found: Scan) -> bool:
    return found.layout.size <= first_block(found.layout.key, None).stop


def forget(index: Index | None, store: Store, key: str, error: HSTCloudError) -> None:
    """Drop what the index knows of a file if `error` says that the object is another one, or gone."""
    if index is not None and isinstance(error, ObjectChangedError | ObjectNotFoundError):
        index.forget(store, key)


def known_or_scan(store: Store, product: Product, index: Index | None) -> Scan:
    """Return what is known of a file; scan it if nothing is, and remember what was found.

    Parameters
    ----------
    store : Store
        Where to read.
    product : Product
        Which file; its size and its version, where a listing told them, are those that are meant.
    index : Index or None
        What is known; None to scan.

    Returns
    -------
    Scan
        Of what comes from the index nothing has been asked yet. Read data with ``etag=found.layout.etag``.

    Notes
    -----
    Requests: none for a file that the index knows, else those of `hst_cloud.fits.layout.scan`.
    """
    known = look(index, store, product)
    if known is not None:
        return known
    found = run_one(store, product.key, walk(store, product.key, size=product.size))
    with keeping(index, store) as keep:
        keep(found)
    return found
