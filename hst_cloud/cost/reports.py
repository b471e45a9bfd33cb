"""What this session has read, from where, and what it cost."""

from __future__ import annotations

from datetime import UTC, datetime

from astropy import units as u
from astropy.table import Table

from hst_cloud.cost.ledger import ledger
from hst_cloud.cost.limits import ceilings
from hst_cloud.cost.prices import price_list, rates
from hst_cloud.cost.whereabouts import known_path
from hst_cloud.settings import nat_known

__all__ = ["report"]

_DESCRIPTIONS = {
    "source": "Root address of the bucket, of MAST, or of another store",
    "requests": "What was sent to it, retries included",
    "bytes": "What was received from it",
    "usd": "US dollars that it cost you for certain",
    "usd_most": "US dollars that it cost you at most",
    "usd_owner": "US dollars that it cost the owner, at list prices",
}


def report() -> Table:
    """Tell what this process has read, from where, and what it cost.

    Returns
    -------
    Table
        One row for each source, in the order in which they were first asked:

        ``source``
            root address of the bucket, of MAST, or of another store.
        ``requests``, ``bytes``
            what was sent to it and received from it, retries included. What is in flight is not in it yet.
        ``usd``, ``usd_most``
            what that cost you for certain, and at most: through a NAT gateway where nobody said that there is none.
        ``usd_owner``
            what it cost the bucket's owner, at list prices.

        ``meta`` has ``since`` and ``time`` (UTC), ``path`` (``in region``, ``cross region``, ``internet``; None where
        `hst_cloud.where` was not asked, and then dollars are those of the dearest), ``prices`` (their date),
        ``ceilings`` (``HST_CLOUD_BUDGET``) and ``meter`` (why ``HST_CLOUD_METER`` cannot be written; else empty).

    Raises
    ------
    QueryError
        ``HST_CLOUD_BUDGET``, ``HST_CLOUD_NAT`` or ``HST_CLOUD_REGION`` makes no sense.

    Notes
    -----
    Requests: none. What one block of code read tells ``with hst_cloud.budget() as b``, as ``b.spent``. Stores of your
    own count only if they use this package's adapters.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> hst.report().colnames
    ['source', 'requests', 'bytes', 'usd', 'usd_most', 'usd_owner']
    """
    book, path, nat = ledger(), known_path(), nat_known()
    with book.lock:
        seen = [(source, tally.requests, tally.bytes) for source, tally in book.tallies.items()]
    each = [(rates(source.payer, path, nat=nat), requests, size) for source, requests, size in seen]
    table = Table(
        {
            "source": [source.address for source, *_ in seen],
            "requests": [requests for _, requests, _ in seen],
            "bytes": [size for *_, size in seen] * u.byte,
            "usd": [rate.reader.usd(requests, size) for rate, requests, size in each],
            "usd_most": [rate.most.usd(requests, size) for rate, requests, size in each],
            "usd_owner": [rate.owner.usd(requests, size) for rate, requests, size in each],
        },
        dtype=["U200", "i8", "i8", "f8", "f8", "f8"],
    )
    for name, description in _DESCRIPTIONS.items():
        table[name].description = description
        if name.startswith("usd"):
            table[name].format = ".4f"
    table.meta = {
        "since": datetime.fromtimestamp(book.since, UTC).isoformat(timespec="seconds"),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "path": path,
        "prices": price_list().as_of,
        "ceilings": str(ceilings()),
        "meter": book.journal.problem,
    }
    return table
