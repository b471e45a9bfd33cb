"""The same work for many products, with the results in the products' order."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Literal, TypeAlias, TypeVar

from hst_cloud.archive.elsewhere import Elsewhere
from hst_cloud.archive.places import placed
from hst_cloud.errors import (
    HSTCloudError,
    HSTCloudWarning,
    NotInCloudError,
    ObjectNotFoundError,
    ProductNameError,
    QueryError,
)
from hst_cloud.fits.index import Index
from hst_cloud.fits.layout import Scan
from hst_cloud.fits.recall import Anew, forget, job_of, keeping
from hst_cloud.store.drive import Job, run_many
from hst_cloud.store.objects import Piece, Store
from hst_cloud.store.plan import Plan
from hst_cloud.values import ByteRange, Product, Progress

__all__ = ["OnError", "as_on_error", "in_turn", "read_each", "recalled", "told_of"]

T = TypeVar("T")
U = TypeVar("U")

OnError: TypeAlias = Literal["raise", "skip"]
"""What a broken product does: it raises, or is left out and named in one warning at the end."""

_NAMED = 10  # broken products that a warning spells out


def as_on_error(on_error: str) -> None:
    """Raise a `QueryError` unless `on_error` is one of `OnError`."""
    if on_error not in {"raise", "skip"}:
        message = f"on_error must be 'raise' or 'skip', found {on_error!r}"
        raise QueryError(message)


def in_turn(
    products: Sequence[Product], job_for: Callable[[Product], Job[T]], *, store: Store, in_flight: int
) -> Generator[tuple[Product, T | HSTCloudError]]:
    """Do a job for every product, many at once, and give its result, or the error that ended it, in order.

    Parameters
    ----------
    products : sequence of Product
        What to read. One without a place in the bucket has the error that says so.
    job_for : callable
        Makes the job of a product, when there is room for it.
    store : Store
        Where to read.
    in_flight : int
        Requests in flight.

    Notes
    -----
    What comes before its turn is held as it was received, until those before it have come. A product that is not where
    the rule has it costs one request to MAST, together with the 39 behind it, and is read where MAST says.
    """
    elsewhere = Elsewhere(products)
    waiting: dict[int, T | HSTCloudError] = {}
    there: list[int] = []
    for position, product in enumerate(products):
        try:
            placed(product)
            there.append(position)
        except (NotInCloudError, ProductNameError) as error:
            waiting[position] = error
    work = (job_for(products[position]) for position in there)
    turn = 0
    answers = run_many(store, work, in_flight=in_flight)
    with contextlib.closing(answers):  # type: ignore[type-var]  # it is a generator
        while turn < len(products):
            while turn in waiting:
                product, result = products[turn], waiting.pop(turn)
                if isinstance(result, ObjectNotFoundError):
                    yield _sought(product, result, elsewhere, job_for, store)  # type: ignore[arg-type]  # T is no error
                else:
                    yield product, result
                turn += 1
            if turn < len(products):
                at, answer = next(answers)
                waiting[there[at]] = answer


def _sought(
    product: Product,
    error: ObjectNotFoundError,
    elsewhere: Elsewhere,
    job_for: Callable[[Product], Job[T]],
    store: Store,
) -> tuple[Product, T | HSTCloudError]:
    """Read a product where MAST says that it lies; give the error if that is nowhere."""
    try:
        product = elsewhere.find(product, store.address("").rstrip("/"), error)
    except HSTCloudError as more:
        return product, more
    ((_, result),) = run_many(store, [job_for(product)])
    return product, result


def recalled(
    products: Sequence[Product],
    work_for: Callable[[Product], Callable[[Scan], Plan[ByteRange, Piece, T]]],
    *,
    store: Store,
    index: Index | None,
    in_flight: int,
    first: Callable[[Product], int | None] = lambda _: None,
    anew: Anew | None = None,
) -> Generator[tuple[Product, T | HSTCloudError]]:
    """Read every product with what is known of it, as `hst_cloud.fits.recall.read_one` does; give results in order.

    Parameters
    ----------
    products, store, in_flight
        As for `in_turn`.
    work_for : callable
        Makes what makes the plan that reads a product from a scan.
    index : Index or None
        Where layouts are kept. New ones are written many together.
    first : callable, optional
        Bytes to ask for at once of a product of which most is wanted.
    anew : callable, optional
        As for `hst_cloud.fits.recall.read_one`.
    """

    def job_for(product: Product) -> Job[tuple[Scan | None, T]]:
        return job_of(store, product, work_for(product), index=index, first=first(product), anew=anew)

    results = in_turn(products, job_for, store=store, in_flight=in_flight)
    with keeping(index, store) as keep, contextlib.closing(results):
        for product, result in results:
            if isinstance(result, HSTCloudError):
                forget(index, store, product.key, result)
                yield product, result
                continue
            fresh, value = result
            if fresh is not None:
                keep(fresh)
            yield product, value


def read_each(
    results: Generator[tuple[Product, T | HSTCloudError]],
    finish: Callable[[Product, T], U],
    *,
    total: int,
    on_error: OnError,
    progress: Callable[[Progress], None] | None = None,
    stacklevel: int = 2,
) -> Generator[tuple[Product, U]]:
    """Finish what was read of every product, and do with broken ones what `on_error` says.

    Who does more with a result than keep it closes this, so that nothing goes on if that fails.

    Parameters
    ----------
    results : generator
        What `recalled` gives.
    finish : callable
        Makes the result of what a plan returned, on the caller's thread.
    total : int
        Products that there are.
    on_error : {"raise", "skip"}
        What a broken product does.
    progress : callable, optional
        Told how many files are done.
    stacklevel : int
        Of the warning, counted from the code that iterates.
    """
    broken: list[tuple[Product, HSTCloudError]] = []
    with contextlib.closing(results):
        for done, (product, result) in enumerate(results, 1):
            value: U | None = None
            try:
                if isinstance(result, HSTCloudError):
                    raise result
                value = finish(product, result)
            except HSTCloudError as error:
                if on_error == "raise":
                    raise
                broken.append((product, error))
            if progress is not None:
                progress(Progress(what="files", done=done, total=total))
            if not (broken and broken[-1][0] is product):
                yield product, value  # type: ignore[misc]  # what `finish` returned
    if broken:
        lines = [told_of(product, error) for product, error in broken[:_NAMED]]
        more = f"\n... and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        message = f"{len(broken)} of {total} products were skipped:\n" + "\n".join(lines) + more
        warnings.warn(message, HSTCloudWarning, stacklevel=stacklevel)


def told_of(product: Product, error: HSTCloudError) -> str:
    """Return what an error says, with the product's name before it unless it begins with that itself."""
    name, said = product.filename or product.uri or product.key, str(error)
    return said if said.startswith(name) else f"{name}: {said}"
