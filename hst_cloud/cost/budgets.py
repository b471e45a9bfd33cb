"""Budgets: a limit on what is sent, received and paid within a block, kept before the request that would pass it.

A budget without a limit counts: that is how tables know what they took.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from dataclasses import replace
from types import TracebackType
from typing import Self

from astropy import units as u

from hst_cloud.cost.ledger import Account, entered, ledger
from hst_cloud.cost.limits import Limits, Spent, as_limits
from hst_cloud.errors import QueryError

__all__ = ["Budget", "budget", "charge", "counted", "remaining"]


class Budget:
    """What may be spent within a ``with`` block, and what was; `budget` makes one.

    It may be entered again, and goes on counting where it stopped; its time is that since it was first entered.
    """

    def __init__(self, limits: Limits, *, requester_pays: bool = False) -> None:
        self._account = Account(limits, "the budget", requester_pays=requester_pays)
        self._begun = False

    def __repr__(self) -> str:
        return f"Budget({self.limits}; spent {self.spent})"

    @property
    def limits(self) -> Limits:
        """What is allowed."""
        return self._account.limits

    @property
    def spent(self) -> Spent:
        """What was sent, received and paid so far, of requests that have ended."""
        if not self._begun:
            return Spent()
        return self._account.spent

    def stop(self) -> None:
        """Have no further request sent within the block, in whatever threads that is."""
        self._account.limits = replace(self.limits, seconds=0.0)

    def __enter__(self) -> Self:
        if not self._begun:
            self._account.began = time.monotonic()
            self._begun = True
        self._account.ended = None
        entered(self._account, inside=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered(self._account, inside=False)
        self._account.ended = time.monotonic()


@contextlib.contextmanager
def counted() -> Generator[dict[str, int]]:
    """Count the ``requests`` and ``bytes`` of a block, retries included, for the ``meta`` of what it makes."""
    spent = {"requests": 0, "bytes": 0}
    with Budget(Limits()) as book:
        yield spent
    spent |= {"requests": book.spent.requests, "bytes": book.spent.bytes}


def budget(
    *,
    requests: int | str | None = None,
    bytes: int | str | None = None,  # noqa: A002  # what it limits
    usd: float | str | None = None,
    seconds: float | str | u.Quantity | None = None,
    requester_pays: bool = False,
) -> Budget:
    """Limit what may be read within a ``with`` block, or tell what was read there.

    Parameters
    ----------
    requests : int, optional
        Requests sent, retries included.
    bytes : int or str, optional
        Bytes received, those of failed tries included: a number, or a text such as ``"20 GB"`` or ``"64 MiB"``.
    usd : float, optional
        Dollars that it may cost you at most: through a NAT gateway unless it is known that there is none
        (`hst_cloud.where`), and all that S3 takes where the requester pays. The time of your machine is not counted.
    seconds : float, str or Quantity, optional
        Time since the block was entered. What is in flight when it is over is given up.
    requester_pays : bool, optional
        Whether buckets may be read whose requester pays, through a store of yours that has your credentials. It is
        refused without this, and this without `usd`.

    Returns
    -------
    hst_cloud.cost.budgets.Budget
        To be entered with ``with``; ``spent`` tells what was spent so far: requests, bytes, usd, seconds. Without any
        limit it does nothing else.

    Raises
    ------
    QueryError
        A limit is no amount.
    BudgetExceededError
        Not here but from what is called in the block: the next request would pass a limit. It was not sent.

    Notes
    -----
    Requests: none. A limit is kept before a request is sent, by what that may bring at most; none is ever passed, but
    by what a server sends beyond what it was asked for. Requests that would pass it only together wait for each other.

    A budget holds for what this thread (or asyncio task) does within the block, on however many connections, and for
    an iterator's items if they are taken within it. Threads that you start yourself do not know of it, unless they
    run in a copy of the context (``contextvars.copy_context().run``). Budgets may be nested: each of them holds.
    The setting ``HST_CLOUD_BUDGET`` sets one for the whole process.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> with hst.budget(requests=1000, bytes="2 GB") as budget:
    ...     rows = hst.resolve("JBQF03GJQ")
    >>> budget.spent.requests
    0
    """
    if requester_pays and usd is None:
        message = "requester_pays=True without usd=: expected a limit on what it may cost"
        raise QueryError(message)
    limits = as_limits(requests=requests, bytes=bytes, usd=usd, seconds=seconds)
    return Budget(limits, requester_pays=requester_pays)


# --- What other processes spend --------------------------------------------------------------------------------------


def remaining() -> Budget:
    """Return a budget of what all that are in force here leave together, for another process; it pickles.

    What is in flight here is not counted.
    """
    with ledger().lock:
        accounts = ledger().accounts()
        each = [(account.limits, account.spent) for account in accounts]

    def least(name: str) -> float | None:
        left = [
            max(0, getattr(most, name) - getattr(gone, name)) for most, gone in each if getattr(most, name) is not None
        ]
        return min(left, default=None)

    requests, size = least("requests"), least("bytes")
    limits = Limits(
        requests=None if requests is None else int(requests),
        bytes=None if size is None else int(size),
        usd=least("usd"),
        seconds=least("seconds"),
    )
    return Budget(limits, requester_pays=any(account.requester_pays for account in accounts))


def charge(*, requests: int, bytes: int, usd: float) -> None:  # noqa: A002  # what is charged
    """Charge every budget that is in force here with what another process has spent."""
    with ledger().lock:
        for account in ledger().accounts():
            account.requests += requests
            account.bytes += bytes
            account.usd += usd
