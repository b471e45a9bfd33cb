"""One question until it is answered: tried again, raced by a second request, or given up.

How often and how patiently is `hst_cloud.store.policy`'s to say, what has been learnt of the host
`hst_cloud.store.pace`'s, and what an answer means `hst_cloud.store.s3`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TypeVar

from hst_cloud.cost.ledger import patience
from hst_cloud.errors import StoreUnavailableError, ThrottledError
from hst_cloud.store.pace import Pace
from hst_cloud.store.policy import RETRIED, Clock
from hst_cloud.store.race import Race, Send
from hst_cloud.store.receivers import Page
from hst_cloud.store.s3 import Question, Unusable
from hst_cloud.store.slots import Slots

__all__ = ["ask"]

T = TypeVar("T")
P = TypeVar("P", bound=Page)

_UNBOUND = nullcontext()
_SPENT = "Too many requests to this host have failed for more to be sent: wait some minutes."


async def ask(
    question: Question,
    attempt: Callable[[], tuple[Mapping[str, str], P]],
    read: Callable[[P], T],
    *,
    send: Send,
    clock: Clock,
    pace: Pace,
    bound: Slots | None = None,
) -> T:
    """Send requests, each an `attempt`, until `read` makes something of one, the tries are spent, or time is up.

    Parameters
    ----------
    question : Question
        What stands in messages.
    attempt : callable
        Makes the headers of a request, and what receives its answer.
    read : callable
        Makes the result of what has received an answer; raises `Unusable` if that is none.
    send : callable
        Sends a request.
    clock : Clock
        The tries and the time of the call.
    pace : Pace
        What is known of the host.
    bound : Slots, optional
        The caller's own bound on requests in flight.

    Raises
    ------
    StoreError
        What the last answer came to.
    """
    tried, sent, fresh = 0, 0, False
    while True:
        tried += 1
        headers, page = attempt()
        race = Race(headers, page, send, pace, bound)
        try:
            async with bound or _UNBOUND, pace.slots:
                result = read(await race.run(fresh=fresh))
        except Unusable as trouble:
            sent += race.sent
            pause = None
            if trouble.kind is ThrottledError:
                pace.throttled(race.page.sent)
            # What contradicts the question may have stood behind the answer before.
            again = trouble.again or (trouble.kind is StoreUnavailableError and race.page.kept)
            if again and tried < trouble.tries:
                pause = clock.wait(tried, trouble.headers.get("retry-after"))
            if pause is not None and not pace.spend():
                pause, trouble.advice = None, _SPENT
            if pause is None:
                raise trouble.as_error(question, tried=sent, elapsed=clock.elapsed) from trouble.__cause__
            fresh = race.page.status not in RETRIED  # the others that are kept may be as dead
        else:
            pace.answered(race.page.wait)
            return result
        await asyncio.sleep(min(pause, patience()))
