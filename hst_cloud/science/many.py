"""The same plan for many products, with the results in the products' order."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Literal, TypeAlias, TypeVar

from hst_cloud.errors import HSTCloudError, HSTCloudWarning, NotInCloudError, QueryError
from hst_cloud.store.drive import run_many
from hst_cloud.store.objects import Piece, Store
from hst_cloud.store.plan import Plan
from hst_cloud.values import ByteRange, Product, Progress

__all__ = ["OnError", "as_on_error", "placed", "read_each"]

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


def placed(product: Product) -> Product:
    """Return `product` if it is one file with a place in the bucket.

    Raises
    ------
    NotInCloudError
        It is not.
    """
    if product.key.endswith("/"):
        message = (
            f"{product.obs_id} names an observation with several files: expected one file, such as "
            f"'{product.obs_id}_x1d.fits'"
        )
        raise NotInCloudError(message, key=product.key)
    if not product.key:
        name = product.filename or product.uri
        message = (
            f"{name} has no known place in the bucket: {product.reason}. hst_cloud.resolve(..., verify=True) looks for "
            "it in the bucket's listing."
        )
        raise NotInCloudError(message, uri=product.uri)
    return product


def read_each(
    products: Sequence[Product],
    plan_of: Callable[[Product], Plan[ByteRange, Piece, T]],
    finish: Callable[[Product, T], U],
    *,
    store: Store,
    in_flight: int,
    on_error: OnError,
    progress: Callable[[Progress], None] | None = None,
    stacklevel: int = 2,
) -> Iterator[tuple[Product, U]]:
    """Drive a plan for every product, many at once, and give the results in the products' order.

    Parameters
    ----------
    products : sequence of Product
        What to read.
    plan_of : callable
        Makes the plan for a product.
    finish : callable
        Makes the result of what a plan returned, on the caller's thread.
    store : Store
        Where to read.
    in_flight : int
        Requests in flight.
    on_error : {"raise", "skip"}
        What a broken product does.
    progress : callable, optional
        Told how many files are done.
    stacklevel : int
        Of the warning, counted from the code that iterates.

    Notes
    -----
    What comes before its turn is held as it was received, until those before it have come.
    """
    broken: list[tuple[Product, HSTCloudError]] = []
    with contextlib.closing(_in_turn(products, plan_of, store, in_flight)) as results:
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
                progress(Progress(what="files", done=done, total=len(products)))
            if not (broken and broken[-1][0] is product):
                yield product, value  # type: ignore[misc]  # what `finish` returned
    if broken:
        lines = [f"{product.filename or product.uri or product.key}: {error}" for product, error in broken[:_NAMED]]
        more = f"\n... and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        message = f"{len(broken)} of {len(products)} products were skipped:\n" + "\n".join(lines) + more
        warnings.warn(message, HSTCloudWarning, stacklevel=stacklevel)


def _in_turn(
    products: Sequence[Product], plan_of: Callable[[Product], Plan[ByteRange, Piece, T]], store: Store, in_flight: int
) -> Generator[tuple[Product, T | HSTCloudError]]:
    """Give every product with what its plan returned, or the error that ended it, in order."""
    waiting: dict[int, T | HSTCloudError] = {}
    there: list[int] = []
    for position, product in enumerate(products):
        try:
            placed(product)
            there.append(position)
        except NotInCloudError as error:
            waiting[position] = error
    work = ((products[position].key, plan_of(products[position])) for position in there)
    turn = 0
    with contextlib.closing(run_many(store, work, in_flight=in_flight)) as answers:  # type: ignore[type-var]
        while turn < len(products):
            while turn in waiting:
                yield products[turn], waiting.pop(turn)
                turn += 1
            if turn < len(products):
                at, result = next(answers)
                waiting[there[at]] = result
