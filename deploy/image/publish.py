"""Publish the machine image: register or adopt it, open it, copy it, name it, and retire what is old.

    publish.py --version 1.2 --lock deploy/environment/full.txt --ami ami-0123              what Packer made
    publish.py --version 1.2 --lock deploy/environment/full.txt --snapshot snap-0123        a disk that was uploaded

Without --apply it only reads, and shows each call that it would make. It is idempotent: what is already as it should be
takes no call. One image is one version with one lock; its name says both.

Sources: EC2 API Reference, RegisterImage, ModifyImageAttribute, GetImageBlockPublicAccessState; EC2 User Guide,
"Deprecate an Amazon EC2 AMI"; Systems Manager User Guide, "aws:ec2:image".
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

HOME = "us-east-1"  # where the bucket is
PARAMETER = "/hst-cloud/image"
PLATFORM = {"Key": "platform", "Value": "hst-cloud"}
NOTICE = timedelta(days=30)
"""From the day on which an image is found to be old until it is deprecated."""
GRACE = timedelta(days=180)
"""From an image's deprecation until it is gone."""
NEW = "(the new image)"
"""Stands for an id that a dry run can't know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What is published."""

    version: str
    """Of the library."""
    digest: str
    """SHA-256 of the lock, in hexadecimal."""

    @property
    def name(self) -> str:
        """The image's name, the same in every region."""
        return f"hst-cloud-{self.version.replace('+', '-')}-{self.digest[:12]}"

    @property
    def tags(self) -> list[dict[str, str]]:
        """What the image and its copies are tagged with."""
        return [PLATFORM, {"Key": "version", "Value": self.version}, {"Key": "lock-sha256", "Value": self.digest}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where calls are made: readers always, writers only where they are to be applied, each of them shown."""

    apply: bool
    """Whether writers are made."""

    def read(self, service: str, region: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Make a call that changes nothing."""
        answer: dict[str, Any] = getattr(boto3.client(service, region_name=region), operation)(**parameters)
        return answer

    def write(self, service: str, region: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Show a call, and make it unless this is a dry run."""
        print(f"{'call' if self.apply else 'would call'} {region} {service} {operation} {json.dumps(parameters)}")
        return self.read(service, region, operation, **parameters) if self.apply else {"ImageId": NEW}


def images(account: Account, region: str, **wanted: str) -> list[dict[str, Any]]:
    """Return this account's images with a name, or a tag, newest first; deprecated ones are its owner's to see."""
    filters = [{"Name": name.replace("_", ":"), "Values": [value]} for name, value in wanted.items()]
    found = account.read("ec2", region, "describe_images", Owners=["self"], Filters=filters)["Images"]
    return sorted(found, key=lambda image: image["CreationDate"], reverse=True)


def image(account: Account, region: str, image_id: str) -> dict[str, Any]:
    """Return what is known of an image; nothing of one that a dry run has not made."""
    if image_id == NEW:
        return {}
    found: dict[str, Any] = account.read("ec2", region, "describe_images", ImageIds=[image_id])["Images"][0]
    return found


def registered(account: Account, release: Release, snapshot: str) -> str:
    """Return the image of a snapshot, registered unless one of its name is there."""
    there = images(account, HOME, name=release.name)
    if there:
        return str(there[0]["ImageId"])
    disk = {"SnapshotId": snapshot, "VolumeType": "gp3", "DeleteOnTermination": True}
    made = account.write(
        "ec2",
        HOME,
        "register_image",
        Name=release.name,
        Description="JupyterLab and hst_cloud: the public Hubble archive, as if it were a local disk",
        Architecture="x86_64",
        VirtualizationType="hvm",
        EnaSupport=True,
        BootMode="uefi",  # the disk of deploy/image/build has no other loader
        ImdsSupport="v2.0",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": disk}],
    )
    return str(made["ImageId"])


def adopted(account: Account, image_id: str) -> str:
    """Return Packer's image, made to ask instances for IMDSv2; that can't be undone."""
    known = image(account, HOME, image_id)
    if [disk for disk in known["BlockDeviceMappings"] if disk.get("Ebs", {}).get("Encrypted")]:
        raise SystemExit(
            f"{image_id} has an encrypted snapshot, which can't be public: build it with encrypted = false"
        )
    if known.get("ImdsSupport") != "v2.0":
        account.write("ec2", HOME, "modify_image_attribute", ImageId=image_id, ImdsSupport={"Value": "v2.0"})
    return image_id


def refuse_blocked(account: Account, regions: list[str]) -> None:
    """End where a region blocks public images, with the commands that change it: that is a person's decision."""
    asked = {
        region: account.read("ec2", region, "get_image_block_public_access_state")["ImageBlockPublicAccessState"]
        for region in regions
    }
    blocked = [region for region, state in asked.items() if state != "unblocked"]
    if blocked:
        commands = "\n".join(f"  aws ec2 disable-image-block-public-access --region {region}" for region in blocked)
        raise SystemExit(f"this account blocks public images in {', '.join(blocked)}. To allow them:\n{commands}")


def copied(account: Account, release: Release, source: str, region: str) -> str:
    """Return the copy of the image in a region, made unless it is there."""
    there = images(account, region, name=release.name)
    if there:
        return str(there[0]["ImageId"])
    made = account.write(
        "ec2", region, "copy_image", SourceImageId=source, SourceRegion=HOME, Name=release.name, CopyImageTags=True
    )
    return str(made["ImageId"])


def available(account: Account, region: str, image_id: str) -> None:
    """Wait until an image can be used; a copy takes minutes."""
    if account.apply:
        boto3.client("ec2", region_name=region).get_waiter("image_available").wait(
            ImageIds=[image_id], WaiterConfig={"Delay": 15, "MaxAttempts": 240}
        )


def opened(account: Account, release: Release, region: str, image_id: str) -> None:
    """Tag an image, open it to everyone, and name it by a parameter, which this account's templates can read."""
    known = image(account, region, image_id)
    missing = [tag for tag in release.tags if tag not in known.get("Tags", [])]
    if missing:
        account.write("ec2", region, "create_tags", Resources=[image_id], Tags=missing)
    if not known.get("Public"):
        account.write(
            "ec2", region, "modify_image_attribute", ImageId=image_id, LaunchPermission={"Add": [{"Group": "all"}]}
        )
    named = account.read("ssm", region, "get_parameters", Names=[PARAMETER])["Parameters"]
    if [parameter["Value"] for parameter in named] != [image_id]:
        account.write(
            "ssm",
            region,
            "put_parameter",
            Name=PARAMETER,
            Value=image_id,
            Type="String",
            DataType="aws:ec2:image",
            Overwrite=True,
        )


def retired(account: Account, region: str, keep: int, now: datetime) -> None:
    """Deprecate all images but the newest, and remove those whose grace is over, with their snapshots."""
    for old in images(account, region, **{f"tag_{PLATFORM['Key']}": PLATFORM["Value"]})[keep:]:
        ends = old.get("DeprecationTime")
        if not ends:
            when = (now + NOTICE).strftime("%Y-%m-%dT%H:%M:00Z")
            account.write("ec2", region, "enable_image_deprecation", ImageId=old["ImageId"], DeprecateAt=when)
        elif datetime.fromisoformat(ends) + GRACE < now:
            account.write("ec2", region, "deregister_image", ImageId=old["ImageId"])
            for snapshot in [disk["Ebs"]["SnapshotId"] for disk in old["BlockDeviceMappings"] if "Ebs" in disk]:
                account.write("ec2", region, "delete_snapshot", SnapshotId=snapshot)


def publish(
    account: Account, release: Release, *, ami: str | None, snapshot: str | None, regions: list[str], keep: int
) -> dict[str, str]:
    """Do all of it, and return the image's id by region."""
    refuse_blocked(account, [HOME, *regions])
    source = adopted(account, ami) if ami else registered(account, release, str(snapshot))
    available(account, HOME, source)
    ids = {HOME: source} | {region: copied(account, release, source, region) for region in regions}
    for region, image_id in ids.items():
        available(account, region, image_id)
        opened(account, release, region, image_id)
        retired(account, region, keep, datetime.now(UTC))
    return ids


def main(arguments: list[str] | None = None) -> None:
    """Read the arguments, publish, and print the ids."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", required=True, help="of the library")
    parser.add_argument("--lock", required=True, type=Path, help="the lock that the image was made by")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ami", help="the image that Packer made in us-east-1")
    source.add_argument("--snapshot", help="the snapshot of a disk, in us-east-1")
    parser.add_argument("--region", action="append", default=[], help="copy it there as well; may be given again")
    parser.add_argument("--keep", type=int, default=3, help="how many of the newest images are not retired")
    parser.add_argument("--apply", action="store_true", help="make the calls; without it they are only shown")
    given = parser.parse_args(arguments)
    release = Release(version=given.version, digest=hashlib.sha256(given.lock.read_bytes()).hexdigest())
    account = Account(apply=given.apply)
    ids = publish(
        account, release, ami=given.ami, snapshot=given.snapshot, regions=given.region, keep=max(given.keep, 1)
    )
    for region, image_id in ids.items():
        print(f"{region} {image_id} {release.name}")


if __name__ == "__main__":
    main()
