"""Plans decide, drivers fetch: logic as a generator that asks in batches and never touches the world.

A plan yields a batch of questions, is sent the batch of answers, and returns its result.
One batch is one round trip, so a plan asks at once for everything that it can ask.
A test drives a plan with a dict; the library drives it with a `~hst_cloud.store.objects.Store`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

__all__ = ["Plan", "drive"]

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")
T = TypeVar("T")

Plan: TypeAlias = Generator[Sequence[Ask], Sequence[Answer], T]


def drive(plan: Plan[Ask, Answer, T], carry: Callable[[Sequence[Ask]], Sequence[Answer]]) -> T:
    """Run `plan` to its result, answering each batch with `carry`; what `carry` raises ends the plan."""
    try:
        asks = next(plan)
        while True:
            asks = plan.send(carry(asks))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the value of a Plan[..., T] is T
    finally:
        plan.close()
