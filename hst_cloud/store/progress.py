"""Whether the body of an answer comes as fast as it should, or another connection is to bring the rest of it.

A body is given up when it brings too little within a few seconds: much less than the other bodies that come at the time,
or than its share of what the slowest link worth streaming over brings to all of them together. So a connection that
stands still or drips is left soon, and none is on a link that is slow for all.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(slots=True)
class Progress:
    """What one body has brought, and when."""

    flow: Flow
    """The others."""
    window: float
    """Seconds in which it must bring something, from its first byte on."""
    floor: float
    """Bytes a second that all bodies together bring at least."""
    since: float = 0.0
    """When the window began."""
    got: int = 0
    """Bytes that have come since."""
    all_before: int = 0
    """Bytes that all had brought then."""

    def begin(self, now: float) -> None:
        """Note that the first byte is here, or that a window begins."""
        self.since, self.got, self.all_before = now, 0, self.flow.bytes

    def add(self, size: int) -> None:
        """Note that some more have come."""
        self.got += size
        self.flow.bytes += size

    def trouble(self, now: float) -> str:
        """Return what is wrong, to be asked several times in a window; empty as long as nothing is."""
        seconds = now - self.since
        if seconds < self.window:
            return ""
        share = self.floor * seconds / max(1, self.flow.bodies)
        others = (self.flow.bytes - self.all_before) / max(1, self.flow.bodies)
        if self.got < max(share, others / _FAR_BEHIND):
            return f"broke off: {self.got} bytes in {seconds:.1f} s"
        self.begin(now)
        return ""
