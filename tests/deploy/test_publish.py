"""Publishing makes the calls that it shows, once: against moto, and by the requests where moto ignores what they ask."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import botocore.awsrequest
import pytest

mock_aws = pytest.importorskip("moto").mock_aws

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN_TO_MOTO = ("EnableImageDeprecation", "GetImageBlockPublicAccessState")


@pytest.fixture
def publish(monkeypatch):
    """Return the script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "deploy" / "image"))
    yield __import__("publish")
    del sys.modules["publish"]


class Calls:
    """What was asked of AWS, and what the operations that moto does not know answer."""

    def __init__(self):
        self.asked = []
        self.state = {"us-east-1": "unblocked", "us-west-2": "unblocked"}

    def seen(self, params, model, **_):
        self.asked.append((model.name, params))

    def answer(self, model, context, **_):
        if model.name not in UNKNOWN_TO_MOTO:
            return None
        http = botocore.awsrequest.AWSResponse("", 200, {}, None)
        return http, {"ImageBlockPublicAccessState": self.state[context["client_region"]]}

    def named(self, operation):
        return [params for name, params in self.asked if name == operation]

    @property
    def changes(self):
        return [name for name, _ in self.asked if not name.startswith(("Describe", "Get"))]


@pytest.fixture
def calls(monkeypatch):
    """Stand for AWS, and keep a record."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    kept = Calls()
    with mock_aws():
        session = boto3.Session()
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
        session.events.register("provide-client-params.*.*", kept.seen)
        session.events.register("before-call.ec2.*", kept.answer)
        yield kept


@pytest.fixture
def snapshot(calls):
    """Return a snapshot, as of an uploaded disk."""
    ec2 = boto3.client("ec2", region_name="us-east-1")
    volume = ec2.create_volume(Size=8, AvailabilityZone="us-east-1a")
    made = ec2.create_snapshot(VolumeId=volume["VolumeId"])["SnapshotId"]
    calls.asked.clear()
    return made


@pytest.fixture
def lock(tmp_path):
    (tmp_path / "lock.txt").write_text("numpy==2.4.6\n")
    return str(tmp_path / "lock.txt")


def ami(calls, name="packer", **more):
    """Return an image as Packer leaves it."""
    ec2 = boto3.client("ec2", region_name="us-east-1")
    made = ec2.register_image(Name=name, RootDeviceName="/dev/xvda", **more)["ImageId"]
    calls.asked.clear()
    return made


def test_a_dry_run_changes_nothing_and_shows_every_call(publish, calls, snapshot, lock, capsys):
    """Without --apply only readers are called, and each writer is shown with its parameters."""
    publish.main(["--version", "1.2", "--lock", lock, "--snapshot", snapshot, "--region", "us-west-2"])
    assert calls.changes == []
    shown = re.findall(r"^would call (\S+) (\S+) (\S+) (\{.*\})$", capsys.readouterr().out, re.MULTILINE)
    assert [line[:3] for line in shown] == [
        ("us-east-1", "ec2", "register_image"),
        ("us-west-2", "ec2", "copy_image"),
        *[
            (region, service, operation)
            for region in ("us-east-1", "us-west-2")
            for service, operation in (
                ("ec2", "create_tags"),
                ("ec2", "modify_image_attribute"),
                ("ssm", "put_parameter"),
            )
        ],
    ]
    assert json.loads(shown[0][3])["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == snapshot


def test_a_snapshot_is_registered_as_an_image_for_everyone(publish, calls, snapshot, lock):
    """The image asks for IMDSv2 and boots by UEFI, is public here and where it was copied, tagged, and named by SSM."""
    publish.main(["--version", "1.2+g1", "--lock", lock, "--snapshot", snapshot, "--region", "us-west-2", "--apply"])
    (request,) = calls.named("RegisterImage")
    assert (request["ImdsSupport"], request["BootMode"], request["EnaSupport"]) == ("v2.0", "uefi", True)
    assert request["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == snapshot
    assert "Encrypted" not in request["BlockDeviceMappings"][0]["Ebs"]
    assert re.fullmatch(r"hst-cloud-1\.2-g1-[0-9a-f]{12}", request["Name"])
    (copy,) = calls.named("CopyImage")
    assert (copy["Name"], copy["SourceRegion"]) == (request["Name"], "us-east-1")
    for region in ("us-east-1", "us-west-2"):
        (found,) = boto3.client("ec2", region_name=region).describe_images(Owners=["self"])["Images"]
        assert found["Public"]
        tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
        assert (tags["platform"], tags["version"]) == ("hst-cloud", "1.2+g1")
        assert request["Name"].endswith(tags["lock-sha256"][:12])
        ssm = boto3.client("ssm", region_name=region)
        assert ssm.get_parameter(Name="/hst-cloud/image")["Parameter"]["Value"] == found["ImageId"]
    assert {request["DataType"] for request in calls.named("PutParameter")} == {"aws:ec2:image"}


def test_a_second_run_changes_nothing(publish, calls, snapshot, lock, capsys):
    """What is as it should be takes no call."""
    arguments = ["--version", "1.2", "--lock", lock, "--snapshot", snapshot, "--region", "us-west-2", "--apply"]
    publish.main(arguments)
    first = capsys.readouterr().out.splitlines()[-2:]
    calls.asked.clear()
    publish.main(arguments)
    assert calls.changes == []
    assert capsys.readouterr().out.splitlines() == first


def test_packers_image_is_made_to_ask_for_imdsv2(publish, calls, lock):
    """Packer 1.6 can't ask for it, so the image is changed; it is not registered again."""
    made = ami(calls)
    publish.main(["--version", "1.2", "--lock", lock, "--ami", made, "--apply"])
    assert calls.named("ModifyImageAttribute") == [
        {"ImageId": made, "ImdsSupport": {"Value": "v2.0"}},
        {"ImageId": made, "LaunchPermission": {"Add": [{"Group": "all"}]}},
    ]
    assert calls.named("RegisterImage") == []


def test_an_image_that_asks_for_imdsv2_is_left_alone(publish, calls, capsys):
    """A second run finds Packer's image as it should be, which moto does not keep."""

    class Known(publish.Account):
        def read(self, service, region, operation, **parameters):
            assert (service, region, operation) == ("ec2", "us-east-1", "describe_images")
            assert parameters == {"ImageIds": ["ami-1"]}
            return {"Images": [{"ImdsSupport": "v2.0", "BlockDeviceMappings": [{"Ebs": {"Encrypted": False}}]}]}

    assert publish.adopted(Known(apply=True), "ami-1") == "ami-1"
    assert capsys.readouterr().out == ""
    assert calls.changes == []


def test_an_encrypted_image_is_refused(publish, calls, lock, monkeypatch):
    """Its snapshot could not be public, so nothing is begun."""
    disks = [{"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}]
    monkeypatch.setattr(publish, "image", lambda *_: {"BlockDeviceMappings": disks})
    with pytest.raises(SystemExit, match="ami-1 has an encrypted snapshot"):
        publish.main(["--version", "1.2", "--lock", lock, "--ami", "ami-1", "--apply"])
    assert calls.changes == []


def test_a_block_of_public_images_is_told_before_anything_is_done(publish, calls, snapshot, lock):
    """The account's block is a person's to lift: the command is named, and nothing was changed."""
    calls.state["us-west-2"] = "block-new-sharing"
    with pytest.raises(SystemExit, match=r"in us-west-2\.(.|\n)*disable-image-block-public-access --region us-west-2"):
        publish.main(["--version", "1.2", "--lock", lock, "--snapshot", snapshot, "--region", "us-west-2", "--apply"])
    assert calls.changes == []


def old(name, days, deprecated=None):
    """Return an image as describe_images tells it."""
    made = {
        "ImageId": name,
        "CreationDate": (datetime.now(UTC) - timedelta(days=days)).isoformat(),
        "BlockDeviceMappings": [{"Ebs": {"SnapshotId": f"snap-of-{name}"}}],
    }
    return made | (
        {"DeprecationTime": (datetime.now(UTC) - timedelta(days=deprecated)).isoformat()} if deprecated else {}
    )


def test_old_images_are_deprecated_and_then_removed(publish, capsys):
    """The newest stay; older ones are given notice, then deprecated for half a year, then gone with their snapshots."""
    listed = [old("new", 1), old("older", 50), old("noticed", 100, -5), old("waits", 300, 100), old("gone", 400, 200)]

    class Listing(publish.Account):
        def read(self, service, region, operation, **parameters):
            assert (service, region, operation) == ("ec2", "us-east-1", "describe_images")
            assert parameters["Owners"] == ["self"]
            assert parameters["Filters"] == [{"Name": "tag:platform", "Values": ["hst-cloud"]}]
            return {"Images": listed[::-1]}

    now = datetime.now(UTC)
    publish.retired(Listing(apply=False), "us-east-1", 1, now)
    shown = re.findall(r"^would call us-east-1 ec2 (\S+) (\{.*\})$", capsys.readouterr().out, re.MULTILINE)
    assert [(operation, json.loads(what)) for operation, what in shown] == [
        (
            "enable_image_deprecation",
            {"ImageId": "older", "DeprecateAt": (now + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:00Z")},
        ),
        ("deregister_image", {"ImageId": "gone"}),
        ("delete_snapshot", {"SnapshotId": "snap-of-gone"}),
    ]
