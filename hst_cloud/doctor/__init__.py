"""What this package assumes of MAST, of the public bucket and of this machine, and whether it holds from here.

The services change without notice, and much about them is known from other people's records alone. So each assumption
is written down as a value that holds its statement, what breaks without it, and a function that asks. `check` asks
them all; ``hst-cloud doctor`` prints the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from hst_cloud.doctor.bucket import BUCKET
from hst_cloud.doctor.here import HERE
from hst_cloud.doctor.mast import ARCHIVE
from hst_cloud.doctor.missions import MISSIONS
from hst_cloud.doctor.runner import run
from hst_cloud.doctor.services import Services
from hst_cloud.doctor.text import document, report
from hst_cloud.doctor.values import KNOWN_KEYS, Assumption, Finding, Known
from hst_cloud.store.adapters import StoreLike
from hst_cloud.values import Progress

__all__ = ["ASSUMPTIONS", "KNOWN_KEYS", "Assumption", "Finding", "Known", "check", "document", "report"]

ASSUMPTIONS: tuple[Assumption, ...] = (*HERE, *BUCKET, *ARCHIVE, *MISSIONS)
"""Everything that is assumed, in the order in which it is reported."""

WHOLE = 60.0
"""Seconds for all probes together; what has not answered by then is unknown."""


def check(
    *,
    mast: str | None = None,
    store: StoreLike = None,
    progress: Callable[[Progress], None] | None = None,
    seconds: float = WHOLE,
) -> list[Finding]:
    """Ask whether everything that is assumed holds, and return one finding for each assumption.

    Parameters
    ----------
    mast : str, optional
        Root address of another MAST; else that of ``HST_CLOUD_ENDPOINT``, else the public one.
    store : StoreLike, optional
        Where bytes come from, as for `hst_cloud.open`. What can only be seen over HTTP is unknown of stores that
        ask in their own way.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` after each assumption.
    seconds : float, optional
        Time for the whole; each probe is bounded in itself.

    Returns
    -------
    list of Finding
        In the order of `ASSUMPTIONS`. A service that fails is a finding, never an error. An assumption is
        ``unknown`` where it could not be asked: there was no answer, or one that it stands on does not hold.

    Notes
    -----
    Requests: about 65, of some kilobytes each; at most 8 probes at a time ask the bucket, and 4 MAST.
    """
    return run(ASSUMPTIONS, Services(given_mast=mast, given_store=store), progress, seconds)
