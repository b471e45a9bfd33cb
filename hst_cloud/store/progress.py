"""Whether the body of an answer comes as fast as it should, or another connection is to bring the rest of it.

A body is given up when it brings too little within a few seconds: much less than the other bodies that come at the
time, or than its share of what the slowest link worth streaming over brings to all of them together. So a connection
that stands still or drips is left soon, and none is on a link that is slow for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from hst_cloud.store.policy import Policy

__all__ = ["Flow", "Progress"]

_FAR_BEHIND = 20
"""How many times slower than the others a body may be: connections share a link unequally, but not that much."""


@dataclass(slots=True)
class Flow:
    """What all bodies of one engine bring together."""

    bytes: int = 0
    """Bytes that have come, counted by all; a number that threads lose now and then does no harm."""
    bodies: int = 0
    """How many there are at present."""


class Progress:
    """What the body of an answer has brought, and when; used again for the next one.

    Parameters
    ----------
    flow : Flow
        The others.
    """

    __slots__ = ("_all_before", "_bodies", "_flow", "_got", "_policy", "_since")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def begin(self, policy: Policy, now: float) -> None:
        """Note that the first byte is here, or that a window begins."""
        self._policy, self._since, self._got, self._all_before = policy, now, 0, self._flow.bytes
        self._bodies = 1

    def add(self, size: int) -> None:
        """Note that some more have come."""
        self._got += size
        self._flow.bytes += size

    def trouble(self, now: float) -> str:
        """Return what is wrong, to be asked several times in a window; empty as long as nothing is."""
        seconds = now - self._since
        # The most that there were in the window: others that have just ended had their part of the link as well.
        self._bodies = max(self._bodies, self._flow.bodies)
        if seconds < self._policy.stall:
            return ""
        share = self._policy.bytes_per_second * seconds / self._bodies
        others = (self._flow.bytes - self._all_before) / self._bodies
        if self._got < max(share, others / _FAR_BEHIND):
            return f"broke off: {self._got} bytes in {seconds:.1f} s"
        self.begin(self._policy, now)
        return ""
