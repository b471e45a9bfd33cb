"""What an installation sets once: read here and nowhere else, when first needed and never at import.

===================== ==================================================================================
variable              meaning
===================== ==================================================================================
HST_CLOUD_ENDPOINT    root address of another archive that speaks both S3 (path style, bucket
                      ``stpubdata``) and MAST, such as a running `hst_cloud.testing.LocalArchive`
===================== ==================================================================================
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from hst_cloud.errors import QueryError

__all__ = ["BUCKET", "REGION", "Endpoints", "endpoints"]

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
