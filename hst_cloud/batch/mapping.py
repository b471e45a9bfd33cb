"""One function over many products: threads here, the workers of a Dask cluster, and a manifest that it resumes from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from hst_cloud.archive.inputs import ProductsLike, as_products
from hst_cloud.archive.session import Watcher
from hst_cloud.batch.calls import Call, in_threads
from hst_cloud.batch.cluster import on_cluster
from hst_cloud.batch.journal import Journal, identity, journal
from hst_cloud.errors import BudgetExceededError, QueryError
from hst_cloud.values import Outcome, Product, Progress

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["map"]

T = TypeVar("T")

_WORKERS = 8
"""Calls at a time: they mostly wait, and each has requests in flight of its own, 64 of which the process allows."""


def map(  # noqa: A001  # hst_cloud.map, as the builtin: a function over many things
    fn: Callable[..., T],
    products: ProductsLike,
    *,
    workers: int = _WORKERS,
    dask_client: Client | None = None,
    manifest: str | os.PathLike[str] | None = None,
    on_error: Literal["outcome", "raise"] = "outcome",
    progress: Watcher | None = None,
    **kwargs: object,
) -> Iterator[Outcome[T]]:
    """Call a function with each of many products, here or on a Dask cluster, and tell what became of each.

    Parameters
    ----------
    fn : callable
        Called as ``fn(product, **kwargs)`` with a `Product`: a function of yours, or a verb such as `hst_cloud.cutout`.
    products : Table, Row, Product, str, or a list that mixes them
        See `hst_cloud.resolve`; one that is named twice is meant once.
    workers : int, optional
        Calls at a time: threads of this process, or of each task on a cluster.
    dask_client : distributed.Client, optional
        A client of the cluster whose workers make the calls. Files are opened there: what is handed over are the
        function, its arguments, products, and the address that ``HST_CLOUD_ENDPOINT`` names; outcomes come back
        pickled.
    manifest : str or path, optional
        File to which a line of JSON is appended for each outcome that has been taken, with its value if JSON can hold
        it. Products that it says are done, in the version that is meant, are skipped; those that failed are not.
    on_error : {"outcome", "raise"}, optional
        What a call does that raises: it has an outcome that holds the error; or its error ends all.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` of products and bytes after each outcome.
    **kwargs
        What the function is given by name.

    Yields
    ------
    Outcome
        One for each product that is not skipped, as they come: ``product``, ``value``, ``error`` and ``reason``,
        ``ok``, and the ``seconds``, ``requests``, ``bytes`` and ``usd`` that it took.

    Raises
    ------
    QueryError
        An argument makes no sense, or the manifest is of another function or other arguments.
    ProductNameError
        Something is of a type, or a table has columns, that cannot name a product.
    BudgetExceededError
        A budget is spent. Outcomes that were there are given before.
    LocalDiskError, FormatError
        The manifest cannot be written, is being written by another call, or is none.

    Warns
    -----
    HSTCloudWarning
        The cluster has no workers any more; the call waits until there are some.

    Notes
    -----
    Requests: those of the function. Budgets that are in force hold for all calls together, and end the iteration when
    they are spent; a budget within the function does so, too. Workers of a cluster report what they spent when a task
    ends, which is charged then, and each task is held to what was left when it was sent: so tasks that are under way
    or in line (two for each thread of the cluster) may together pass a limit, by what was left for each of them.
    `hst_cloud.report` tells of this process alone.

    No more than half as many again as `workers` calls are begun and not taken. Leaving the loop, an error or Ctrl-C
    lets calls that are under way send no further request, and waits for those that are made here.

    A worker that dies costs nothing but time: Dask runs its tasks again. A product whose workers die each time is an
    outcome that says so. A cluster's workers need this package, and the function importable or small enough to pickle.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> files = hst.products(hst.search("M 51", instrument="ACS/WFC", filters="F814W"), suffix="drc")
    >>> for outcome in hst.map(hst.cutout, files, center=(20, 20), size=10, manifest="run.jsonl"):
    ...     print(outcome.product.filename, outcome.reason or outcome.value.shape)
    jzdm01011_drc.fits (10, 10)
    >>> list(hst.map(hst.cutout, files, center=(20, 20), size=10, manifest="run.jsonl"))
    []
    """
    if workers < 1:
        message = f"workers must be at least 1, found {workers}"
        raise QueryError(message)
    if on_error not in {"outcome", "raise"}:
        message = f"on_error must be 'outcome' or 'raise', found {on_error!r}"
        raise QueryError(message)
    wanted = list({identity(product): product for product in reversed(as_products(products))}.values())[::-1]
    call = Call(fn=fn, kwargs=kwargs)

    def begin(left: Sequence[Product]) -> Generator[Outcome[T]]:
        if dask_client is None:
            return in_threads(call, left, workers=workers)
        return on_cluster(call, left, dask_client, workers=workers)

    opened = contextlib.nullcontext() if manifest is None else journal(Path(manifest).expanduser(), call)
    return _outcomes(begin, wanted, opened, raises=on_error == "raise", progress=progress)


def _outcomes(
    begin: Callable[[Sequence[Product]], Generator[Outcome[T]]],
    wanted: Sequence[Product],
    opened: contextlib.AbstractContextManager[Journal | None],
    *,
    raises: bool,
    progress: Watcher | None,
) -> Generator[Outcome[T]]:
    """Give the outcomes of those products that no manifest calls done, and note those that have been taken."""
    spent: Exception | None = None
    with opened as notes:
        left = [product for product in wanted if notes is None or not notes.has(product)]
        done, size = len(wanted) - len(left), 0
        with contextlib.closing(begin(left)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome.error, BudgetExceededError):
                    spent = spent or outcome.error
                    continue
                if raises and outcome.error is not None:
                    raise outcome.error
                done, size = done + 1, size + outcome.bytes
                if progress:
                    progress(Progress(what="products", done=done, total=len(wanted), bytes=size))
                yield outcome
                if notes is not None:  # not before: whoever had no time to keep a value is given it again
                    notes.note(outcome)
    if spent is not None:
        raise spent
