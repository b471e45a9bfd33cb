"""What an installation sets once: read here and nowhere else, when first needed and never at import.

===================== ==================================================================================
variable              meaning
===================== ==================================================================================
HST_CLOUD_CACHE       folder for what is remembered between runs: the layouts and headers of files that were
                      read, 1 GiB at most. Best on a local disk; ``off`` or empty for none. By default
                      ``hst_cloud`` in ``XDG_CACHE_HOME``, or else in ``~/.cache``, for archives beyond this
                      machine; a folder that is named is for those that are served on it, too
HST_CLOUD_ENDPOINT    root address of another archive that speaks both S3 (path style, bucket
                      ``stpubdata``) and MAST, such as a running `hst_cloud.testing.LocalArchive`
HST_CLOUD_LINK        where this machine is, seen from the bucket: ``region``, the default, or ``far``
===================== ==================================================================================
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from hst_cloud.errors import QueryError

__all__ = ["BUCKET", "REGION", "Endpoints", "cache_folder", "endpoints", "link_name"]

BUCKET = "stpubdata"  # https://registry.opendata.aws/hst/
REGION = "us-east-1"  # the same page: RequesterPays False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The addresses of one archive."""

    bucket: str
    """Address below which object keys are appended, without a trailing slash."""
    mast: str
    """Root of MAST's services, without a trailing slash."""
    public: bool
    """Whether these are the public services."""


PUBLIC = Endpoints(
    bucket=f"https://{BUCKET}.s3.{REGION}.amazonaws.com",  # virtual-hosted style: S3 User Guide, "Virtual hosting"
    mast="https://mast.stsci.edu",
    public=True,
)


def endpoints(root: str | None = None) -> Endpoints:
    """Return the archive that `root`, or else ``HST_CLOUD_ENDPOINT``, or else nobody names: then the public one.

    Raises
    ------
    QueryError
        The address is not an http or https URL.
    """
    root = root or os.environ.get("HST_CLOUD_ENDPOINT") or ""
    if not root:
        return PUBLIC
    parts = urlsplit(root)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        message = f"{root!r} is not the address of an archive; give one such as http://127.0.0.1:8000"
        raise QueryError(message)
    root = root.rstrip("/")
    return Endpoints(bucket=f"{root}/{BUCKET}", mast=root, public=False)


def link_name() -> Literal["region", "far"]:
    """Return which of the two profiles of links ``HST_CLOUD_LINK`` names: ``region`` where it is not set.

    Raises
    ------
    QueryError
        It names neither.
    """
    name = os.environ.get("HST_CLOUD_LINK") or "region"
    if name == "region":
        return "region"
    if name == "far":
        return "far"
    message = f"HST_CLOUD_LINK is {name!r}: expected 'region' (in us-east-1) or 'far' (anywhere else)"
    raise QueryError(message)


def cache_folder(*, named: bool = False) -> Path | None:
    """Return the folder that ``HST_CLOUD_CACHE`` names, or else the user's own; None where there is to be none.

    The folder need not exist. With `named`, it is the one that the variable names or none.
    """
    name = os.environ.get("HST_CLOUD_CACHE")
    if name is not None:
        return None if name.strip().lower() in {"", "off"} else Path(name).expanduser().absolute()
    if named:
        return None
    # XDG Base Directory Specification 0.8: a relative path is to be ignored.
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # noqa: PTH117  # an empty Path would be the working folder
        return Path(shared, "hst_cloud")
    try:
        return Path.home() / ".cache" / "hst_cloud"
    except RuntimeError:  # a user without a home
        return None
