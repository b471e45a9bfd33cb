"""What an installation sets once: read here and nowhere else, when first needed and never at import.

===================== ==================================================================================
variable              meaning
===================== ==================================================================================
HST_CLOUD_BUDGET      ceilings on what each process may send and receive, such as
                      ``requests=50000, bytes=20 GB, usd=1, seconds=3600``; by default none. A ceiling is
                      against accidents: a person can always change her own process
HST_CLOUD_CACHE       folder for what is remembered between runs: the layouts and headers of files that were
                      read, 1 GiB at most. Best on a local disk; ``off`` or empty for none. By default
                      ``hst_cloud`` in ``XDG_CACHE_HOME``, or else in ``~/.cache``, for archives beyond this
                      machine; a folder that is named is for those that are served on it, too
HST_CLOUD_ENDPOINT    root address of another archive that speaks both S3 (path style, bucket
                      ``stpubdata``) and MAST, such as a running `hst_cloud.testing.LocalArchive`
HST_CLOUD_LINK        where this machine is, seen from the bucket: ``region``, the default, or ``far``
HST_CLOUD_METER       file to which each process appends what it has read, as JSON lines; by default none
HST_CLOUD_NAT         whether a NAT gateway lies between this machine and the bucket: ``yes`` or ``no``; by
                      default nobody knows, and what it would cost is told as the most
HST_CLOUD_REGION      AWS region of this machine, such as ``us-east-1``, or ``none`` outside AWS; by default
                      `hst_cloud.where` looks
HST_CLOUD_STORE       folder of downloaded files that is read instead of the bucket, as without a network;
                      nothing else is asked for bytes, and what is not there is an error
===================== ==================================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from hst_cloud.errors import QueryError

__all__ = [
    "BUCKET",
    "REGION",
    "Endpoints",
    "aws_hints",
    "budget_text",
    "cache_folder",
    "endpoint_text",
    "endpoints",
    "link_name",
    "mast_beside",
    "meter_file",
    "nat_known",
    "region_name",
    "served_from",
    "store_folder",
]

BUCKET = "stpubdata"  # https://registry.opendata.aws/hst/
REGION = "us-east-1"  # the same page: RequesterPays False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The addresses of one archive."""

    bucket: str
    """Address below which object keys are appended, without a trailing slash."""
    mast: str
    """Root of MAST's services, without a trailing slash."""
    crds: str
    """Root of the server of calibration reference files (CRDS), without a trailing slash."""
    public: bool
    """Whether these are the public services."""


PUBLIC = Endpoints(
    bucket=f"https://{BUCKET}.s3.{REGION}.amazonaws.com",  # virtual-hosted style: S3 User Guide, "Virtual hosting"
    mast="https://mast.stsci.edu",
    crds="https://hst-crds.stsci.edu",  # crds/core/config.py
    public=True,
)


_elsewhere: ContextVar[tuple[str, Path | None] | None] = ContextVar("hst_cloud_elsewhere", default=None)


def endpoint_text() -> str:
    """Return the address that stands for the archive here; empty for the public one."""
    told = _elsewhere.get()
    return os.environ.get("HST_CLOUD_ENDPOINT", "") if told is None else told[0]


@contextmanager
def served_from(root: str, folder: Path | None = None) -> Iterator[None]:
    """Let `root`, empty for the public archive, and `folder` stand in this context for what an installation names.

    Work that is done on another machine asks the archive that the machine which sent it would ask
    (``HST_CLOUD_ENDPOINT``), and reads the folder that is read there instead of the bucket (``HST_CLOUD_STORE``).
    """
    before = _elsewhere.set((root, folder))
    try:
        yield
    finally:
        _elsewhere.reset(before)


def endpoints(root: str | None = None) -> Endpoints:
    """Return the archive that `root`, or else ``HST_CLOUD_ENDPOINT``, or else nobody names: then the public one.

    Raises
    ------
    QueryError
        The address is not an http or https URL.
    """
    setting = "" if root else "HST_CLOUD_ENDPOINT="
    root = root or endpoint_text()
    if not root:
        return PUBLIC
    parts = urlsplit(root)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        message = f"{setting}{root!r} is not the address of an archive; give one such as http://127.0.0.1:8000"
        raise QueryError(message)
    root = root.rstrip("/")
    return Endpoints(bucket=f"{root}/{BUCKET}", mast=root, crds=root, public=False)


def mast_beside(bucket: str) -> str | None:
    """Return the root of MAST's services that know the bucket at this address; None where it is nobody's of ours."""
    return {one.bucket: one.mast for one in (PUBLIC, endpoints())}.get(bucket)


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


def budget_text() -> str:
    """Return what ``HST_CLOUD_BUDGET`` says; empty where it is not set."""
    return os.environ.get("HST_CLOUD_BUDGET", "")


def meter_file() -> Path | None:
    """Return the file that ``HST_CLOUD_METER`` names; None where there is to be none."""
    named = os.environ.get("HST_CLOUD_METER", "").strip()
    return Path(named).expanduser().absolute() if named else None


def nat_known() -> bool | None:
    """Return whether ``HST_CLOUD_NAT`` says that a NAT gateway lies between here and the bucket; None: not said.

    Raises
    ------
    QueryError
        It is neither ``yes`` nor ``no``.
    """
    name = os.environ.get("HST_CLOUD_NAT", "").strip().lower()
    if name not in {"", "yes", "no"}:
        message = f"HST_CLOUD_NAT is {name!r}: expected 'yes' or 'no'"
        raise QueryError(message)
    return None if not name else name == "yes"


def region_name() -> str | None:
    """Return the region that ``HST_CLOUD_REGION`` names, empty for ``none`` (outside AWS); None where it is not set.

    Raises
    ------
    QueryError
        It is no name of a region.
    """
    name = os.environ.get("HST_CLOUD_REGION", "").strip().lower()
    if not name:
        return None
    if name == "none":
        return ""
    if not re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}", name):
        message = f"HST_CLOUD_REGION is {name!r}: expected an AWS region such as 'us-east-1', or 'none' outside AWS"
        raise QueryError(message)
    return name


def store_folder() -> Path | None:
    """Return the folder that ``HST_CLOUD_STORE`` names to be read instead of the bucket; None where it is not set."""
    told = _elsewhere.get()
    if told is not None:
        return told[1]
    named = os.environ.get("HST_CLOUD_STORE", "").strip()
    return Path(named).expanduser().absolute() if named else None


def aws_hints() -> dict[str, str]:
    """Return what variables of AWS's own tools say of this machine, by their names: hints, and no proof.

    With ``AWS_EC2_METADATA_DISABLED`` a person forbids to ask the instance metadata service.
    """
    names = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_EC2_METADATA_DISABLED")
    return {name: os.environ[name] for name in names if os.environ.get(name)}
