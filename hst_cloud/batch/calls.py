"""One function called with many products on a bounded number of threads; what each call cost is in its outcome."""

from __future__ import annotations

import contextvars
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hst_cloud.cost.budgets import Budget
from hst_cloud.cost.limits import Limits
from hst_cloud.errors import BudgetExceededError
from hst_cloud.values import Outcome, Product

__all__ = ["Call", "in_threads"]

T = TypeVar("T")

# Seconds of one turn of waiting: as in `hst_cloud.store.loop`.
_TURN = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A function and what it is given besides the product; it pickles if they do."""

    fn: Callable[..., T]
    """The function."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What it is given by name."""

    def outcome(self, product: Product, halt: Budget) -> Outcome[T]:
        """Call the function with a product, until `halt` stops its requests."""
        value, error = None, None
        began = time.perf_counter()
        # A budget of each call counts what the call sends, on whatever threads of this package.
        with halt, Budget(Limits()) as meter:
            try:
                value = self.fn(product, **self.kwargs)
            except Exception as raised:  # noqa: BLE001  # it is the outcome
                error = raised
        spent = meter.spent
        return Outcome(
            product=product,
            value=value,
            error=error,
            seconds=time.perf_counter() - began,
            requests=spent.requests,
            bytes=spent.bytes,
            usd=spent.usd,
        )


def in_threads(
    call: Call[T], products: Iterable[Product], *, workers: int, off: Callable[[], bool] = lambda: False
) -> Generator[Outcome[T]]:
    """Call a function with every product, and give the outcomes as they come.

    Parameters
    ----------
    call : Call
        The function.
    products : iterable of Product
        What it is called with. It is drawn from as there is room.
    workers : int
        Calls at a time.
    off : callable, optional
        Asked several times a second whether nobody wants the others any more; the iteration then ends.

    Notes
    -----
    Closing the generator, or an interrupt, lets calls that are under way send no further request, and waits for them.
    """
    left: Iterator[Product] = iter(products)
    halt = Budget(Limits())
    waiting: set[Future[Outcome[T]]] = set()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hst_cloud map")
    try:
        while not off():
            # Half as many again wait in line, so that no thread is idle while the caller is busy.
            for product in itertools.islice(left, workers + -(-workers // 2) - len(waiting)):
                context = contextvars.copy_context()  # which holds the caller's budgets
                waiting.add(pool.submit(context.run, call.outcome, product, halt))
            if not waiting:
                return
            done, waiting = wait(waiting, timeout=_TURN, return_when=FIRST_COMPLETED)
            outcomes = [future.result() for future in done]
            if any(isinstance(outcome.error, BudgetExceededError) for outcome in outcomes):
                left = iter(())  # the others would be refused, too
            yield from outcomes
    finally:
        halt.stop()
        pool.shutdown(cancel_futures=True)
