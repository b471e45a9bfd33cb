"""An archive of your own, to test with: a folder served as bucket and MAST, and data to put there.

`LocalArchive` serves a folder on loopback; `make_demo_archive` fills one with a few products of each instrument.
A `Script` of `Fault` values says what goes wrong meanwhile; `random_faults` makes one of a bad day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hst_cloud.testing.archive import LocalArchive, Request
from hst_cloud.testing.faults import Fault, Script, random_faults

if TYPE_CHECKING:
    from hst_cloud.testing.demo import make_demo_archive

__all__ = ["Fault", "LocalArchive", "Request", "Script", "make_demo_archive", "random_faults"]


def __getattr__(name: str) -> Any:
    # The generator brings numpy and much of astropy, which serving does not need.
    if name == "make_demo_archive":
        from hst_cloud.testing.demo import make_demo_archive  # noqa: PLC0415

        return make_demo_archive
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
