"""What an HTTP engine is given, and where it puts what comes: the door behind which engines can be changed.

An engine sends one GET as it is told, follows no redirect, and asks once: whether an answer is believed, and whether
the same is asked again, is not its business. ``docs/decisions/engine.rst`` says why there are two.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from hst_cloud.store.policy import Policy
from hst_cloud.store.s3 import Unusable

__all__ = ["CONSTANT", "Engine", "Receiver", "Request", "certificates", "parse_head", "unresolved", "untrusted"]

_HEADER = re.compile(r"^([^\s:]+):[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)  # RFC 9112, sec. 5

CONSTANT = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "hst_cloud"}
"""Headers of every request. An object is what is stored, whatever Content-Encoding its metadata name."""

_UNKNOWN = 5  # tries where no address is known: a resolver that was busy has recovered, and 2 s are not over


class Request(NamedTuple):
    """One GET, and how long it may take."""

    url: str
    """The address, quoted."""
    headers: Mapping[str, str]
    """Those beside `CONSTANT`."""
    total: float
    """Seconds in all."""
    policy: Policy
    """Says how long a connection and the first byte may take, and how slow the others may be."""
    fresh: bool = False
    """Whether it is sent on a new connection, and not on one that was kept."""


class Receiver(Protocol):
    """What takes an answer as it comes, on whatever thread; no two calls at a time."""

    kept: bool
    """Whether the connection had carried another answer; the engine says so when this one has ended."""
    sent: float
    """When the request was sent, by `time.monotonic`; the engine says so, and until then it waits in line there."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers, whose names are in lower case; may refuse them by raising."""

    def take(self, chunk: bytes) -> bool:
        """Take bytes of the body; return whether more are wanted."""

    def place(self) -> memoryview | None:
        """Return where the next bytes of the body are to be received; None to have them by `take`."""

    def placed(self, size: int) -> None:
        """Note that so many bytes were received there."""


class Engine(Protocol):
    """Sends requests, on the private loop."""

    async def get(self, request: Request, receiver: Receiver) -> None:
        """Send `request`; return when the answer ended, however short, or the receiver wants no more.

        Raises
        ------
        Unusable
            There was no answer, or it broke off; or what the receiver raised.
        """

    async def close(self) -> None:
        """Close every connection."""


def parse_head(head: str) -> tuple[int, dict[str, str]]:
    """Return the status and the headers, with names in lower case, of a head from its status line on.

    What came before the last status line was an interim answer (RFC 9110, sec. 15.2).
    """
    last = head[head.rfind("\nHTTP/") + 1 :]
    return int(last.split(maxsplit=2)[1]), {name.lower(): value for name, value in _HEADER.findall(last)}


def certificates() -> str:
    """Return the file of the authorities that are trusted: ``SSL_CERT_FILE``, the system's, or those of requests."""
    return ssl.get_default_verify_paths().cafile or DEFAULT_CA_BUNDLE_PATH


def untrusted(said: str) -> Unusable:
    """Return the verdict on a server whose certificate is not trusted."""
    advice = "The address or this machine's certificates (SSL_CERT_FILE) are wrong; nothing was read."
    return Unusable(f"gave no trusted connection: {said}", advice=advice)


def unresolved(said: str) -> Unusable:
    """Return the verdict on a name of which nobody knows an address."""
    return Unusable(f"gave no answer: {said}", again=True, tries=_UNKNOWN)
