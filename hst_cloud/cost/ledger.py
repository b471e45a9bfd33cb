"""What was sent and received, by source, and whether the next request fits into every budget that is in force.

A store asks before each request (`ask`), and is given a receipt on which it notes what comes in. What a request may
bring at most is set aside until it ends, so that requests in flight together cannot pass a limit that each of them
would have kept; what it did not bring is given back. A request that would fit were it not for others in flight waits
for them. What fits in no case is refused before it is sent.

Budgets are in a context variable: they hold in the thread or task that entered them, and in what these start on the
private loop, which is posted with its caller's context.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import math
import os
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from hst_cloud.cost.journal import Journal
from hst_cloud.cost.limits import Limits, Spent, amount, ceilings, dollars
from hst_cloud.cost.prices import Payer, Tariff, rates
from hst_cloud.cost.whereabouts import known_path
from hst_cloud.errors import AccessDeniedError, BudgetExceededError
from hst_cloud.settings import PUBLIC, budget_text, nat_known

__all__ = [
    "Account",
    "Receipt",
    "Source",
    "Tally",
    "admitted",
    "allow",
    "ask",
    "entered",
    "ledger",
    "patience",
    "source_of",
    "spending",
]

TURN = 0.005
"""Seconds until a request that waits for others in flight looks again."""

USUAL = 512 * 1024
"""Bytes that are set aside for an answer of unknown length: a page of a listing with 1,000 keys has 300 to 500 kB."""


class Source(NamedTuple):
    """Where bytes come from, and who pays for sending them."""

    address: str
    """Root address of the store."""
    payer: Payer
    """Whose bill it is on."""


def source_of(url: str) -> Source:
    """Return what an address stands for: the public bucket, something on this machine, or another service."""
    if url.startswith(PUBLIC.bucket):
        return Source(url, "owner")
    host = urlsplit(url).hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return Source(url, "nobody" if here else "other")


@dataclass(slots=True)
class Tally:
    """What one source was asked for and has sent."""

    requests: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Account:
    """What one budget allows, and what is gone of it. Changed with the ledger's lock held."""

    limits: Limits
    """What is allowed."""
    name: str
    """What it is called in messages."""
    requester_pays: bool = False
    """Whether buckets may be read whose requester pays."""
    requests: int = 0
    bytes: int = 0
    usd: float = 0.0
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    held: list[float] = field(default_factory=lambda: [0, 0, 0.0])
    """Requests, bytes and dollars that are set aside for what is in flight."""

    @property
    def elapsed(self) -> float:
        """Seconds since it began, until it ended."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    @property
    def left(self) -> float:
        """Seconds until its time is up."""
        return math.inf if self.limits.seconds is None else self.limits.seconds - self.elapsed

    @property
    def spent(self) -> Spent:
        """What is gone."""
        return Spent(requests=self.requests, bytes=self.bytes, usd=self.usd, seconds=self.elapsed)

    def room(self, requests: int, tariff: Tariff, *, held: bool) -> float:
        """Return the bytes that so many requests may bring; negative if not even these fit."""
        aside = self.held if held else (0, 0, 0.0)
        limits = self.limits
        if self.left <= 0 or (limits.requests is not None and self.requests + aside[0] + requests > limits.requests):
            return -1
        room = math.inf if limits.bytes is None else limits.bytes - self.bytes - aside[1]
        if limits.usd is not None:
            usd = limits.usd - self.usd - aside[2] - requests * tariff.request
            if usd < 0:
                return -1
            room = min(room, usd / tariff.byte if tariff.byte else math.inf)
        return room

    def hold(self, requests: int, size: int, tariff: Tariff) -> None:
        """Set aside what a request may bring, or give it back where the numbers are negative."""
        self.held[0] += requests
        self.held[1] += size
        # What is given back differs from what was taken by the last digit.
        self.held[2] = self.held[2] + tariff.usd(requests, size) if self.held[0] else 0.0


_open: ContextVar[tuple[Account, ...]] = ContextVar("hst_cloud_budgets", default=())


class Ledger:
    """The sums of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tallies: dict[Source, Tally] = {}
        self.ceiling = Account(Limits(), "HST_CLOUD_BUDGET")
        self.since = time.time()
        self.journal = Journal()

    def accounts(self) -> tuple[Account, ...]:
        """Return all budgets that are in force here; as a rule none, which is to cost nothing."""
        if not budget_text():
            return _open.get()
        self.ceiling.limits = ceilings()
        return (*_open.get(), self.ceiling)

    def after_fork(self) -> None:
        """Begin anew in a forked child: what is in flight is the parent's, and so is what it has told the meter."""
        self.lock = threading.Lock()
        for account in (*_open.get(), self.ceiling):
            account.held = [0, 0, 0.0]
        self.tallies = {}
        self.since = time.time()
        self.journal = Journal()


@functools.cache
def ledger() -> Ledger:
    """Return the ledger of this process."""
    return Ledger()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=lambda: ledger().after_fork())


def entered(account: Account, *, inside: bool) -> None:
    """Put a budget in force in this context, or out of force."""
    others = tuple(one for one in _open.get() if one is not account)
    _open.set((*others, account) if inside else others)


def patience() -> float:
    """Return the seconds until the first budget's time is up; infinite where none has a limit."""
    return max(0.0, min((account.left for account in ledger().accounts()), default=math.inf))


# --- One request -----------------------------------------------------------------------------------------------------


class Receipt:
    """What is set aside for a request that is in flight, and what it has brought; left when the request has ended."""

    __slots__ = ("_accounts", "_granted", "_requests", "_sent", "_source", "_tariff", "bytes")

    def __init__(
        self, source: Source, accounts: tuple[Account, ...], requests: int, granted: int, tariff: Tariff
    ) -> None:
        self.bytes = 0
        """Bytes that have come in."""
        self._source = source
        self._accounts = accounts
        self._requests = self._sent = requests
        self._granted = granted
        self._tariff = tariff

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        book = ledger()
        with book.lock:
            tally = book.tallies.setdefault(self._source, Tally())
            tally.requests += self._sent
            tally.bytes += self.bytes
            for account in self._accounts:
                account.hold(-self._requests, -self._granted, self._tariff)
                account.requests += self._sent
                account.bytes += self.bytes
                account.usd += self._tariff.usd(self._sent, self.bytes)
        book.journal.note(book.tallies)

    @property
    def seconds(self) -> float:
        """Seconds until the first budget's time is up, never none at all, which engines take for no limit."""
        return max(0.001, min((account.left for account in self._accounts), default=math.inf))

    def unsent(self) -> None:
        """Note that it was given up before anything was sent, and so costs nothing."""
        self._sent = 0

    def got(self, size: int) -> None:
        """Note that so many bytes have come in.

        Raises
        ------
        BudgetExceededError
            More came than was asked for, and more than a budget has.
        """
        self.bytes += size
        if self.bytes > self._granted and self.room(0) < 0:
            message = f"{self._source.address} sent more than was asked for, and more than {self._narrowest()} has left"
            raise BudgetExceededError(message, url=self._source.address)

    def room(self, most: int) -> int:
        """Return how many more bytes may be taken, at most `most`, and set them aside; negative: too many were."""
        wanted = self.bytes + most
        if wanted > self._granted:
            with ledger().lock:
                left = min((a.room(0, self._tariff, held=True) for a in self._accounts), default=math.inf)
                more = min(wanted - self._granted, max(0, math.floor(min(left, wanted))))
                for account in self._accounts:
                    account.hold(0, more, self._tariff)
                self._granted += more
        return min(most, self._granted - self.bytes)

    def _narrowest(self) -> str:
        return min(self._accounts, key=lambda account: account.room(0, self._tariff, held=True)).name


def ask(source: Source, *, size: int | None, requests: int = 1, what: str = "") -> Receipt | None:
    """Set aside what a request may bring, or say that it has to wait for others that are in flight.

    Parameters
    ----------
    source : Source
        Where it goes.
    size : int or None
        Bytes that it may bring. None where nobody can say: then what is usual is set aside, or as much as there is.
    requests : int, optional
        How many requests it is.
    what : str, optional
        What is asked for, for the message.

    Returns
    -------
    Receipt or None
        To be entered while the request is in flight. None: ask again in `TURN` seconds.

    Raises
    ------
    BudgetExceededError
        It would pass a budget.
    AccessDeniedError
        The reader would pay for it, and no budget says that she will.
    QueryError
        A setting makes no sense.
    """
    book = ledger()
    with book.lock:
        accounts = book.accounts()
        step = _Step(source, requests, 1 if size is None else size, _tariff(source, accounts), what, size is not None)
        _check(accounts, step)
        room = min((account.room(requests, step.tariff, held=True) for account in accounts), default=math.inf)
        if room < step.size:
            return None
        granted = math.floor(min(room, USUAL)) if size is None else size
        for account in accounts:
            account.hold(requests, granted, step.tariff)
    return Receipt(source, accounts, requests, granted, step.tariff)


def allow(source: Source, *, requests: int, size: int, what: str = "") -> None:
    """Raise as `ask` does if all of a batch would pass a budget; nothing is set aside."""
    accounts = ledger().accounts()
    if accounts or source.payer == "reader":
        with ledger().lock:
            _check(accounts, _Step(source, requests, size, _tariff(source, accounts), what))


async def admitted(source: Source, *, size: int | None, what: str = "") -> Receipt:
    """Ask as `ask` does for one request, on an event loop, and wait there."""
    while (receipt := ask(source, size=size, what=what)) is None:  # noqa: ASYNC110  # others may be in threads
        await asyncio.sleep(TURN)
    return receipt


def spending(source: Source, *, size: int | None, requests: int = 1, what: str = "") -> Receipt:
    """Ask as `ask` does, for a thread that can wait."""
    while (receipt := ask(source, size=size, requests=requests, what=what)) is None:
        time.sleep(TURN)
    return receipt


class _Step(NamedTuple):
    """What is about to be sent."""

    source: Source
    requests: int
    size: int
    tariff: Tariff
    what: str
    sized: bool = True


def _tariff(source: Source, accounts: tuple[Account, ...]) -> Tariff:
    if source.payer == "nobody" or not accounts:  # nobody wants to know
        return Tariff()
    return rates(source.payer, known_path(), nat=nat_known()).most


def _check(accounts: tuple[Account, ...], step: _Step) -> None:
    if step.source.payer == "reader" and not any(account.requester_pays for account in accounts):
        message = (
            f"of {step.source.address} the requester pays, which nobody has allowed: nothing was sent. "
            "Read it within hst_cloud.budget(usd=..., requester_pays=True)."
        )
        raise AccessDeniedError(message, url=step.source.address)
    for account in accounts:
        if account.room(step.requests, step.tariff, held=False) < step.size:
            raise _exceeded(account, step)


def _exceeded(account: Account, step: _Step) -> BudgetExceededError:
    spent = account.spent
    size = f"up to {step.size:,} bytes" if step.sized else "bytes that cannot be told before"
    next_one = f"{amount('requests', step.requests)} and {size}"
    if step.tariff != Tariff():
        next_one += f" and {dollars(step.tariff.usd(step.requests, step.size))}"
    message = (
        f"{account.name} of {_exact(account.limits)} would be passed: spent are {amount('requests', spent.requests)}, "
        f"{spent.bytes:,} bytes, {dollars(spent.usd)} and {spent.seconds:.3g} s, and the next step would take "
        f"{next_one}: {step.what or step.source.address}. It was not sent. Raise the limit, or ask for less: "
        "hst_cloud.estimate tells what a call takes."
    )
    return BudgetExceededError(message, url=step.source.address)


def _exact(limits: Limits) -> str:
    named = (
        "" if limits.requests is None else amount("requests", limits.requests),
        "" if limits.bytes is None else f"{limits.bytes:,} bytes",
        "" if limits.usd is None else dollars(limits.usd),
        "" if limits.seconds is None else f"{limits.seconds:g} s",
    )
    return ", ".join(filter(None, named))
