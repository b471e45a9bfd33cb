"""Where MAST says that a file lies which the bucket does not hold where the rule of names has it.

A rule that is followed without asking may be wrong of a file, or out of date. So a key that the rule gave and that is
not there is worth one question, before an error says that the file is not in the cloud; what the caller, a listing or
MAST itself has named is not. MAST is asked about a bucket of its own alone, never about a folder or a mirror.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import quote

from hst_cloud.archive.lookups import PATHS, lookup_paths
from hst_cloud.archive.names import key_of, parse_filename
from hst_cloud.archive.resolve import key_of_path
from hst_cloud.errors import ArchiveError, BudgetExceededError, NotInCloudError, ObjectNotFoundError, ProductNameError
from hst_cloud.settings import mast_beside
from hst_cloud.values import Product

__all__ = ["Elsewhere", "not_public"]

PATIENCE = 15.0
"""Seconds for MAST's answer: an error is at hand already, and what it may add is not worth a long wait."""


class Elsewhere:
    """What MAST says of the products of one call that are not where the rule has them.

    Parameters
    ----------
    products : iterable of Product
        Those of the call, in the order in which they are read. As many as fit into one question are asked about with
        the first one that is missing: those that are read next may well be missing, too.
    """

    def __init__(self, products: Iterable[Product]) -> None:
        self._uris = list(dict.fromkeys(uri for product in products if (uri := _uri(product))))
        self._paths: dict[str, str | None] = {}
        self._failure: ArchiveError | BudgetExceededError | None = None

    def find(self, product: Product, bucket: str, error: ObjectNotFoundError) -> Product:
        """Return `product` with the key that MAST tells, which is another than the one that is missing.

        Parameters
        ----------
        product : Product
            What is missing.
        bucket : str
            Address below which it was looked for.
        error : ObjectNotFoundError
            What the bucket said.

        Raises
        ------
        NotInCloudError
            MAST tells no other place, or has told that it is not public yet.
        ObjectNotFoundError
            Nobody was asked, as the key is not the rule's, or the bucket not MAST's; or MAST could not be asked.

        Notes
        -----
        Requests: one to MAST for each 40 products; none after one that failed.
        """
        if product.status == "exclusive":
            raise not_public(product) from error
        uri, mast = _uri(product), mast_beside(bucket)
        if not uri or mast is None:
            raise error
        if uri not in self._paths and self._failure is None:
            self._ask(uri, mast)
        if self._failure is not None:
            said = str(self._failure).rstrip(".")
            message = f"{error} MAST, which may know another place, could not be asked: {said}."
            raise ObjectNotFoundError(message, key=error.key, url=error.url, request_id=error.request_id) from error
        path = self._paths[uri]
        key = key_of_path(path, product.filename) if path else ""
        if key and key != product.key:
            return replace(product, key=key)
        told = "the same place" if key else f"an unacceptable place, {path[:120]!r}" if path else "no place"
        message = (
            f"{product.filename} is not in the bucket: {bucket}/{quote(product.key)} does not exist, and MAST's "
            f"path_lookup tells {told} for it. MAST itself may hold it: hst_cloud.open(..., source='mast')"
        )
        raise NotInCloudError(message, key=product.key, uri=uri, url=error.url) from error

    def _ask(self, uri: str, mast: str) -> None:
        at = self._uris.index(uri)
        next_ones = [uri for uri in self._uris[at:] if uri not in self._paths][:PATHS]
        try:
            self._paths |= lookup_paths(next_ones, deadline=PATIENCE, mast=mast)
        except (ArchiveError, BudgetExceededError) as failure:
            self._failure = failure


def not_public(product: Product) -> NotInCloudError:
    """Return what says of a product why it is exclusive still."""
    message = f"{product.filename} is not in the public bucket: {product.reason}. MAST serves those with rights."
    return NotInCloudError(message, key=product.key, uri=product.uri)


def _uri(product: Product) -> str:
    """Return MAST's name of a product that lies where the rule has it and nobody has looked; else an empty text."""
    if not product.filename or product.status not in {"unverified", "missing"}:
        return ""
    try:
        name = parse_filename(product.filename)
        ruled = product.key and product.key == key_of(name, product.obs_id)
    except ProductNameError:
        return ""
    return (product.uri or f"mast:HST/product/{name.filename}") if ruled else ""
