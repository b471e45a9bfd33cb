"""Where this machine is: in the bucket's region or not, and how that is known.

A setting is believed first. Then the firmware tells, from files of Linux and without a request, whether this is an EC2
instance at all; only then is the instance metadata service asked, with a token and within 300 ms, and only by `where`.
Variables such as AWS_REGION say where AWS's tools are told to work, which may be anywhere: they are hints.

Sources: EC2 User Guide, "Use IMDSv2" and "Detect whether a host is an EC2 instance".
"""

from __future__ import annotations

import functools
import http.client
import re
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Literal, NamedTuple

from hst_cloud.cost.limits import dollars
from hst_cloud.cost.prices import Path, price_list
from hst_cloud.errors import HSTCloudWarning
from hst_cloud.markup import html_table
from hst_cloud.settings import REGION, aws_hints, endpoints, link_name, nat_known, region_name, store_folder

__all__ = ["Place", "known_path", "where"]

METADATA = "169.254.169.254"  # link-local: EC2 User Guide, "Access instance metadata for an EC2 instance"
FIRMWARE = FilePath("/sys/devices/virtual/dmi/id")
PATIENCE = 0.3
"""Seconds for all that is asked of the metadata service: it answers in some milliseconds, or a firewall swallows it."""

_NAME = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")


class Seen(NamedTuple):
    """What was found out about the region of this machine."""

    region: str | None
    """Its name; empty outside AWS, None where it could not be found out."""
    how: str
    """What told it, or why nothing did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where this machine is, seen from the bucket."""

    region: str | None
    """AWS region of this machine; empty outside AWS, None where that could not be found out."""
    how: str
    """What told the region, or why nothing did."""
    hints: Mapping[str, str]
    """Variables of AWS's tools that are set: no proof."""
    endpoint: str
    """Address of the bucket, or path of the folder, that is read by default."""
    public: bool
    """Whether that is the public bucket."""
    link: Literal["region", "far"]
    """The profile of the link in force, as ``HST_CLOUD_LINK`` names it."""
    nat: bool | None
    """Whether a NAT gateway lies between, as ``HST_CLOUD_NAT`` says; None where it says nothing."""

    @property
    def path(self) -> Path | None:
        """The way from the public bucket to this machine; None where it is not known."""
        return _path_of(self.region)

    @property
    def in_region(self) -> bool | None:
        """Whether this machine is in the bucket's region; None where it is not known."""
        return None if self.region is None else self.region == REGION

    def __repr__(self) -> str:
        return f"Place({self.path or 'unknown'}, region {self.region!r}: {self.how})"

    def __str__(self) -> str:
        verdict = {True: "yes", False: "no", None: "not known"}[self.in_region]
        named = "outside AWS" if self.region == "" else self.region or "not known"
        lines = [
            f"in the bucket's region ({REGION}): {verdict}",
            f"region    {named}: {self.how}",
            f"hints     {', '.join(f'{n}={v}' for n, v in self.hints.items()) or 'none'} (no proof)",
            f"endpoint  {self.endpoint} {'(the public bucket)' if self.public else '(not the public bucket)'}",
            f"link      {self.link} (HST_CLOUD_LINK)",
            f"NAT       {self.gateway}",
        ]
        advice = self.advice
        return "\n".join(lines + ([f"advice    {advice}"] if advice else []))

    def _repr_html_(self) -> str:
        title, *lines = str(self).split("\n")
        return html_table(title, [line.split(maxsplit=1) for line in lines])

    @property
    def gateway(self) -> str:
        """What is known of a NAT gateway, and how to find out."""
        if self.nat is not None:
            return f"{'yes' if self.nat else 'no'}: HST_CLOUD_NAT says so"
        if self.region == "":
            return "none: that is something within AWS"
        price = dollars(price_list().rate("nat") * 1e9)
        return (
            f"cannot be seen from here, and would cost {price} a GB, within the region too. Look at the route table of "
            "this machine's subnet (aws ec2 describe-route-tables): a route to S3's prefix list through vpce-... is "
            "free; without it, 0.0.0.0/0 through nat-... is not. Then set HST_CLOUD_NAT=no or yes"
        )

    @property
    def advice(self) -> str:
        """What to change; empty where there is nothing."""
        parts = []
        if self.in_region is False:
            parts.append(f"run in {REGION}: from elsewhere every answer comes later and every byte slower")
        if self.in_region is False and self.link == "region":
            parts.append("set HST_CLOUD_LINK=far, so that ranges are joined for a far link")
        if self.in_region and self.link == "far":
            parts.append("unset HST_CLOUD_LINK: the bucket is near")
        if self.region is None:
            parts.append(f"set HST_CLOUD_REGION={REGION}, another region, or none, where you know it")
        return "; ".join(parts)


def where() -> Place:
    """Tell where this machine is, seen from the bucket, and how that is known.

    Returns
    -------
    hst_cloud.cost.whereabouts.Place
        ``in_region`` (None where nobody knows), ``region``, ``how``, ``endpoint``, ``public``, ``link`` and more;
        printed, it explains itself.

    Raises
    ------
    QueryError
        ``HST_CLOUD_REGION``, ``HST_CLOUD_NAT``, ``HST_CLOUD_LINK`` or ``HST_CLOUD_ENDPOINT`` makes no sense.

    Warns
    -----
    HSTCloudWarning
        This machine is in AWS, but in another region than the bucket: once in a process.

    Notes
    -----
    Requests: none to the bucket or to MAST. On an EC2 instance, and only there, two to its own metadata service, 300 ms
    in all, the first time. ``HST_CLOUD_REGION`` or ``AWS_EC2_METADATA_DISABLED=true`` save these.
    A NAT gateway cannot be seen from here: what is printed says how to look for one.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> hst.where().public
    False
    """
    seen = _settled()
    if seen is None:
        hints = aws_hints()
        seen = _looked(forbidden=hints.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true")
    archive, folder = endpoints(), store_folder()
    place = Place(
        region=seen.region, how=seen.how, hints=aws_hints(), endpoint=str(folder or archive.bucket),
        public=archive.public and folder is None, link=link_name(), nat=nat_known(),
    )  # fmt: skip
    if place.region and not place.in_region and place.public:
        _warn(place.region)
    return place


def known_path() -> Path | None:
    """Return the way from the bucket as far as it is known without looking: by the setting, or by an earlier `where`.

    Raises
    ------
    QueryError
        ``HST_CLOUD_REGION`` makes no sense.
    """
    seen = _settled() or next(iter(_found()), None)
    return _path_of(seen.region) if seen else None


def _path_of(region: str | None) -> Path | None:
    if region is None:
        return None
    return "in region" if region == REGION else "cross region" if region else "internet"


def _settled() -> Seen | None:
    named = region_name()
    return None if named is None else Seen(named, "HST_CLOUD_REGION says so")


@functools.cache
def _found() -> list[Seen]:
    """Return what `where` has found in this process, for those who must not look."""
    return []


def _looked(*, forbidden: bool) -> Seen:
    found = _found()
    if not found:
        found.append(look(forbidden=forbidden))
    return found[0]


@functools.cache
def _warn(region: str) -> None:
    message = (
        f"this machine is in {region}, the bucket in {REGION}: reading is slower than it need be, and through a NAT "
        f"gateway costs as much as there. Run in {REGION}, or set HST_CLOUD_LINK=far."
    )
    warnings.warn(message, HSTCloudWarning, stacklevel=3)


def look(*, forbidden: bool = False, firmware: FilePath = FIRMWARE, metadata: str = METADATA) -> Seen:
    """Find out the region of this machine without the settings.

    Parameters
    ----------
    forbidden : bool, optional
        Whether the metadata service must not be asked.
    firmware : Path, optional
        Folder in which Linux shows what the firmware says of the machine.
    metadata : str, optional
        Host of the instance metadata service, and its port where that is not 80.
    """
    said = {name: _line(firmware / name) for name in ("sys_vendor", "board_asset_tag", "bios_vendor")}
    if not any(said.values()):
        return Seen(None, f"whether this is EC2 cannot be told: {firmware} says nothing. Nothing was asked")
    # Nitro instances have "Amazon EC2" as their vendor and their own id as asset tag; Xen's BIOS version is not needed.
    if "Amazon EC2" not in {said["sys_vendor"], said["bios_vendor"]} and not said["board_asset_tag"].startswith("i-"):
        vendor = said["sys_vendor"] or said["bios_vendor"] or "another"
        return Seen("", f"no EC2 instance, the machine's vendor is {vendor}. Nothing was asked")
    if forbidden:
        return Seen(None, "an EC2 instance, but AWS_EC2_METADATA_DISABLED forbids to ask where")
    try:
        return Seen(_instance_region(metadata), "the instance metadata service says so")
    except (OSError, http.client.HTTPException, ValueError) as error:
        problem = (str(error).splitlines() or [""])[0] or type(error).__name__
        return Seen(None, f"an EC2 instance, but its metadata service gave no region within {PATIENCE:g} s: {problem}")


def _line(path: FilePath) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return " ".join("".join(c for c in text[:100] if c.isprintable() or c.isspace()).split())


def _instance_region(host: str) -> str:
    """Return what the metadata service says.

    Raises
    ------
    OSError, HTTPException, ValueError
        It does not answer in time, or with something else.
    """
    until = time.monotonic() + PATIENCE
    token = _ask(host, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, until)
    region = _ask(host, "GET", "/latest/meta-data/placement/region", {"X-aws-ec2-metadata-token": token}, until)
    if not _NAME.fullmatch(region):
        message = f"{region[:40]!r} is no region"
        raise ValueError(message)
    return region


def _ask(host: str, method: str, path: str, headers: Mapping[str, str], until: float) -> str:
    # http.client takes no proxy from the environment and follows no redirect; both would ask somebody else.
    connection = http.client.HTTPConnection(host, timeout=_left(until))
    try:
        connection.request(method, path, headers=dict(headers))
        if connection.sock is not None:
            connection.sock.settimeout(_left(until))
        with connection.getresponse() as answer:
            text = answer.read(256).decode("ascii")
            if answer.status != 200:
                message = f"HTTP {answer.status} to {method} {path}"
                raise ValueError(message)
    finally:
        connection.close()
    if not text.isprintable():
        message = f"an answer to {method} {path} that is no text"
        raise ValueError(message)
    return text


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        message = "no answer in time"
        raise TimeoutError(message)
    return left
