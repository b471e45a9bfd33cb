"""One function over many products on the workers of an existing Dask cluster.

A task is a batch of products, each named by its value: the worker opens what it needs by itself, at the archive that
the client would ask. What a task returns is pickled outcome by outcome, so that a value that cannot travel is the
failure of one product. Workers may die: Dask runs their tasks again elsewhere, and a batch that kills its workers
again and again is taken apart, and who is left of it is tried alone, until it is known which product does it.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hst_cloud.batch.calls import Call, in_threads
from hst_cloud.cost.budgets import Budget, charge, remaining
from hst_cloud.errors import BudgetExceededError, HSTCloudWarning, QueryError
from hst_cloud.settings import endpoint_text, served_from, store_folder
from hst_cloud.values import Outcome, Product

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["on_cluster"]

T = TypeVar("T")

_LARGEST = 64
"""Products of a task: what is lost with a worker, and what it takes until a budget is charged."""
_ROUNDS = 4
"""Tasks for each thread of the cluster, so that the last ones end at about the same time."""

_LONG = 60.0
"""Seconds without an outcome after which it is looked whether the cluster has workers at all."""
_PATIENCE = 10.0
"""Seconds that workers may take to hear that nobody waits for them any more."""


class _Task(NamedTuple):
    """What a worker is told."""

    token: str
    """Which call of `on_cluster` it is of."""
    call: Call[Any]
    """The function."""
    products: Sequence[Product]
    """What it is called with."""
    workers: int
    """Calls at a time."""
    root: str
    """Address of the archive, empty for the public one."""
    folder: Path | None
    """What is read instead of the bucket; None for the bucket."""
    budget: Budget
    """What may be spent."""


def on_cluster(call: Call[T], products: Sequence[Product], client: Client, *, workers: int) -> Generator[Outcome[T]]:
    """Call a function with every product on a cluster's workers, and give the outcomes as they come.

    Parameters
    ----------
    call : Call
        The function.
    products : sequence of Product
        What it is called with.
    client : distributed.Client
        A synchronous client of the cluster.
    workers : int
        Calls at a time in each task; as many tasks run at a time as the cluster has threads.

    Raises
    ------
    BudgetExceededError
        A budget of the caller is spent, by what the workers report.
    """
    if client.asynchronous:
        message = f"{client} is asynchronous: hst_cloud.map needs a client that was made with asynchronous=False"
        raise QueryError(message)
    threads = max(1, sum(client.nthreads().values()))
    size = max(1, min(_LARGEST, -(-len(products) // (_ROUNDS * threads))))
    queue = [products[at : at + size] for at in range(0, len(products), size)][::-1]
    suspects: list[Sequence[Product]] = []
    with contextlib.closing(_Flights(call, client, workers)) as flights:
        while queue or suspects or flights.batches:
            while queue and len(flights.batches) < 2 * threads:  # as many again wait in line
                flights.send(queue.pop())
            alone = not flights.batches
            if alone:
                flights.send(suspects.pop())
            batch, outcomes = flights.land()
            if isinstance(outcomes, Exception):
                # Dask blames whatever else ran on the worker, too: only who was alone there is proven to kill it.
                if alone and len(batch) == 1:
                    yield _deadly(batch[0], outcomes)
                elif len(batch) == 1:
                    suspects.append(batch)
                queue += [[product] for product in batch] if len(batch) > 1 else []
                continue
            _charge(outcomes)
            yield from outcomes
            if any(isinstance(outcome.error, BudgetExceededError) for outcome in outcomes):
                return
            _stop_if_spent(sum(map(len, [*queue, *suspects, *flights.batches.values()])))


class _Flights:
    """The tasks of one call that wait for a worker or run on one."""

    def __init__(self, call: Call[Any], client: Client, workers: int) -> None:
        self.batches: dict[Any, Sequence[Product]] = {}
        """What each of them is called with, by its future."""
        self._done: list[Any] = []
        self._call = call
        self._client = client
        self._workers = workers
        self._archive = endpoint_text(), store_folder()
        self._token = uuid.uuid4().hex

    def send(self, batch: Sequence[Product]) -> None:
        """Hand a batch to the cluster, with what the budgets leave now."""
        task = _Task(self._token, self._call, batch, self._workers, *self._archive, remaining())
        future = self._client.submit(_work, task, pure=False)
        self.batches[future] = batch

    def land(self) -> tuple[Sequence[Product], list[Outcome[Any]] | Exception]:
        """Wait for the next batch that is done, and return its outcomes, or that its workers died."""
        from distributed import KilledWorker, wait  # noqa: PLC0415  # an extra, and slow to import

        while not self._done:
            try:
                with self._client.as_current():  # else it would wait for the default one, if there is any
                    self._done += wait(list(self.batches), timeout=_LONG, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                if not self._client.nthreads():
                    message = f"{self._client} has no workers any more: hst_cloud.map waits until there are some"
                    warnings.warn(message, HSTCloudWarning, stacklevel=5)
        future = self._done.pop()
        batch = self.batches.pop(future)
        try:
            return batch, [_unpacked(batch[at], data) for at, data in future.result()]
        except KilledWorker as error:
            return batch, error

    def close(self) -> None:
        """Have nothing go on: neither what waits for a worker nor what runs on one."""
        if self.batches:
            with contextlib.suppress(OSError, RuntimeError, TimeoutError):  # the cluster may be gone
                self._client.cancel(list(self.batches), force=True)
                # What `run` does, but without waiting forever for a worker that is dying.
                run = self._client._run  # noqa: SLF001
                self._client.sync(run, _call_off, self._token, on_error="ignore", callback_timeout=_PATIENCE)


def _charge(outcomes: Sequence[Outcome[T]]) -> None:
    """Charge the caller's budgets with what a task has spent."""
    charge(
        requests=sum(one.requests for one in outcomes),
        bytes=sum(one.bytes for one in outcomes),
        usd=sum(one.usd for one in outcomes),
    )


def _stop_if_spent(left: int) -> None:
    limits = remaining().limits
    if left and 0 in {limits.requests, limits.bytes, limits.usd, limits.seconds}:
        message = (
            f"the budget is spent, by what the workers report, and {left} products are left. Raise the limit; with a "
            "manifest, the next call goes on with these."
        )
        raise BudgetExceededError(message)


def _deadly(product: Product, error: Exception) -> Outcome[Any]:
    message = (
        f"each worker that was given {product.filename or product.key} died, the last one at {error}. "
        "It may need more memory than a worker has; the workers' logs tell."
    )
    return Outcome(product=product, error=RuntimeError(message))


# --- On a worker -----------------------------------------------------------------------------------------------------


@functools.cache
def _called_off() -> set[str]:
    """Return the calls that nobody waits for any more, in this process."""
    return set()


def _call_off(token: str) -> None:
    _called_off().add(token)


def _work(task: _Task) -> list[tuple[int, bytes]]:
    """Call the function with a batch of products, and return their places in it and their outcomes, pickled.

    Where a budget was spent there may be fewer.
    """
    places = {id(product): at for at, product in enumerate(task.products)}
    with served_from(task.root, task.folder), task.budget:
        outcomes = in_threads(task.call, task.products, workers=task.workers, off=lambda: task.token in _called_off())
        with contextlib.closing(outcomes):
            return [(places[id(outcome.product)], _packed(outcome)) for outcome in outcomes]


def _packed(outcome: Outcome[Any]) -> bytes:
    """Return an outcome as bytes that another process can read, or one that says why it cannot."""
    from distributed.protocol.pickle import dumps, loads  # noqa: PLC0415  # an extra, and slow to import

    try:
        data: bytes = dumps(outcome)
        if outcome.error is not None:
            loads(data)  # of values it is as good as certain; of foreign errors it is not
    except Exception as error:  # noqa: BLE001  # whatever pickling something foreign raises
        what = "the value" if outcome.ok else outcome.reason
        message = f"{what} cannot be handed to another process ({error}): return arrays, tables or names of files"
        data = dumps(_without(outcome, TypeError(message)))
    return data


def _without(outcome: Outcome[Any], error: Exception) -> Outcome[Any]:
    return Outcome(
        product=outcome.product,
        error=error,
        seconds=outcome.seconds,
        requests=outcome.requests,
        bytes=outcome.bytes,
        usd=outcome.usd,
    )


def _unpacked(product: Product, data: bytes) -> Outcome[Any]:
    from distributed.protocol.pickle import loads  # noqa: PLC0415  # an extra, and slow to import

    try:
        outcome: Outcome[Any] = loads(data)
    except Exception as error:  # noqa: BLE001  # whatever unpickling something foreign raises
        message = f"what the worker returned cannot be read here: {error}"
        return Outcome(product=product, error=TypeError(message))
    return outcome
