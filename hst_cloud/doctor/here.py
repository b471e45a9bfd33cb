"""What is assumed of this machine: nothing here sends a request."""

from __future__ import annotations

import os
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import Version

from hst_cloud.doctor.services import Services
from hst_cloud.doctor.values import Assumption, BrokenError, UnaskedError

__all__ = ["HERE"]

_DISTRIBUTION = "hst-cloud"


def _required() -> list[Requirement]:
    """Return what the installed distribution asks for, extras left out."""
    try:
        lines = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        message = f"{_DISTRIBUTION} is not installed: its requirements are not known"
        raise UnaskedError(message) from error
    wanted = [Requirement(line) for line in lines]
    return [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages(services: Services) -> str:  # noqa: ARG001 - a probe's signature
    wrong, right = [], []
    for wanted in _required():
        if wanted.name == "s3fs":  # has a check of its own
            continue
        version = _installed(wanted.name)
        if version is None or not wanted.specifier.contains(Version(version), prereleases=True):
            wrong.append(f"{wanted.name} {version or 'missing'} (needed {wanted.specifier})")
        else:
            right.append(f"{wanted.name} {version}")
    if wrong:
        raise BrokenError(", ".join(wrong))
    return ", ".join(right)


def _s3fs(services: Services) -> str:  # noqa: ARG001 - a probe's signature
    [wanted] = [one for one in _required() if one.name == "s3fs"] or [Requirement("s3fs>=2025.12")]
    version = _installed("s3fs")
    boto3 = _installed("boto3") or "missing"
    if version is None or not wanted.specifier.contains(Version(version), prereleases=True):
        message = f"s3fs {version or 'missing'} beside boto3 {boto3}; run: pip install --upgrade '{wanted}' boto3"
        raise BrokenError(message)
    return f"s3fs {version} beside boto3 {boto3}"


def _address(services: Services) -> str:
    mast, store = services.mast, services.store  # raise where they make no sense
    root = os.environ.get("HST_CLOUD_ENDPOINT")
    named = f"HST_CLOUD_ENDPOINT={root} names another archive than the public one; " if root else ""
    return f"{named}asked are {store!r} and MAST at {mast}"


HERE: tuple[Assumption, ...] = (
    Assumption(
        name="packages",
        of="here",
        statement="The installed packages are of the versions that this one was written against.",
        breaks="Anything: older versions lack what is called. Install hst-cloud into an environment of its own.",
        probe=_packages,
    ),
    Assumption(
        name="s3fs",
        of="here",
        statement="s3fs is of 2025 or later.",
        breaks="Reading through store=s3fs.S3FileSystem(...). Without a lower bound pip settles on an s3fs of 2020 "
        "when boto3 is installed before it.",
        probe=_s3fs,
    ),
    Assumption(
        name="address",
        of="here",
        statement="HST_CLOUD_ENDPOINT is not set, or the address of an archive.",
        breaks="Everything that asks: there is no archive at such an address. Unset it to ask the public services.",
        probe=_address,
    ),
)
