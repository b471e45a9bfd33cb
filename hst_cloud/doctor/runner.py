"""Put many questions at once, none before those that it stands on, and wait for none without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from hst_cloud.archive.session import excerpt
from hst_cloud.doctor.services import Services
from hst_cloud.doctor.values import Assumption, BrokenError, Finding, UnaskedError, Verdict
from hst_cloud.errors import ArchiveUnavailableError, HSTCloudError, StoreUnavailableError, ThrottledError
from hst_cloud.values import Progress

__all__ = ["run"]

_AT_ONCE = {"here": 1, "bucket": 8, "mast": 4}  # probes at a time; MAST has a database behind it
_NOT_ASKED = "not asked: "
_UNAVAILABLE = (ArchiveUnavailableError, StoreUnavailableError, ThrottledError, UnaskedError)


@dataclass(slots=True, kw_only=True)
class _Round:
    services: Services
    seconds: float
    end: float
    waiting: list[Assumption]
    running: dict[str, tuple[Assumption, float]] = field(default_factory=dict)
    found: dict[str, Finding] = field(default_factory=dict)
    answers: SimpleQueue[Finding] = field(default_factory=SimpleQueue)


def run(
    assumptions: Sequence[Assumption],
    services: Services,
    progress: Callable[[Progress], None] | None,
    seconds: float,
) -> list[Finding]:
    """Return what became of each assumption, in their order, within `seconds` and the fraction of one."""
    state = _Round(services=services, seconds=seconds, end=time.monotonic() + seconds, waiting=list(assumptions))
    told = 0
    while state.waiting or state.running:
        _give_up(state)
        _settle(state)
        _start(state)
        if state.running:
            _wait(state)
        if progress and len(state.found) > told:
            told = len(state.found)
            progress(Progress(what="assumptions", done=told, total=len(assumptions)))
    return [state.found[one.name] for one in assumptions]


def _give_up(state: _Round) -> None:
    """Leave late probes to themselves: their threads end with their sockets' time-outs, or with the interpreter."""
    now = time.monotonic()
    for one, until in list(state.running.values()):
        if now >= until:
            del state.running[one.name]
            limit = min(one.seconds, state.seconds)
            state.found[one.name] = _finding(one, "unknown", f"no answer within {limit:g} s")


def _settle(state: _Round) -> None:
    """Settle what cannot be asked."""
    late = time.monotonic() >= state.end
    for one in list(state.waiting):  # each stands below those that it stands on: one pass is enough
        cause = next((state.found[n] for n in one.after if n in state.found and state.found[n].status != "holds"), None)
        if cause is None and not late:
            continue
        why = f"not within the {state.seconds:g} s of the whole" if cause is None else _why(cause)
        state.waiting.remove(one)
        state.found[one.name] = _finding(one, "unknown", f"{_NOT_ASKED}{why}")


def _why(cause: Finding) -> str:
    """Return what is at the root of it."""
    if cause.found.startswith(_NOT_ASKED):
        return cause.found.removeprefix(_NOT_ASKED)
    return f"{cause.name} {'fails' if cause.status == 'fails' else 'is unknown'}"


def _start(state: _Round) -> None:
    for one in list(state.waiting):
        busy = sum(other.of == one.of for other, _ in state.running.values())
        if busy < _AT_ONCE[one.of] and all(name in state.found for name in one.after):
            state.waiting.remove(one)
            state.running[one.name] = one, min(state.end, time.monotonic() + one.seconds)
            name = f"hst-cloud-doctor-{one.name}"
            threading.Thread(target=_answer, args=(one, state.services, state.answers), name=name, daemon=True).start()


def _wait(state: _Round) -> None:
    soonest = min(until for _, until in state.running.values())
    try:
        finding = state.answers.get(timeout=max(0.0, soonest - time.monotonic()))
    except Empty:
        return
    if state.running.pop(finding.name, None):  # else it was given up before
        state.found[finding.name] = finding


def _answer(one: Assumption, services: Services, answers: SimpleQueue[Finding]) -> None:
    answers.put(_asked(one, services))


def _asked(one: Assumption, services: Services) -> Finding:
    try:
        return _finding(one, "holds", one.probe(services))
    except _UNAVAILABLE as error:
        return _finding(one, "unknown", str(error))
    except (BrokenError, HSTCloudError) as error:
        return _finding(one, "fails", str(error))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return _finding(one, "fails", f"an answer in another shape: {type(error).__name__}: {excerpt(str(error))}")
    except Exception as error:  # noqa: BLE001 - a check that fails must not hide the others
        return _finding(one, "unknown", f"the check itself failed: {type(error).__name__}: {excerpt(str(error))}")


def _finding(one: Assumption, status: Verdict, found: str) -> Finding:
    return Finding(name=one.name, of=one.of, statement=one.statement, status=status, found=found, breaks=one.breaks)
