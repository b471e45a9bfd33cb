"""The template starts one machine that is closed, bounded in cost, and beside the bucket.

moto makes the network, the endpoint, the launch template and the instance. It skips what it does not know: the alarm that
stops an idle machine, the budget, the rule about the region, and that the subnet has the table of routes; cfn-lint and
the text are all that hold those.
"""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import boto3
import pytest

pytest.importorskip("cfnlint")
mock_aws = pytest.importorskip("moto").mock_aws

TEMPLATE = Path(__file__).resolve().parents[2] / "deploy" / "image" / "launch.yaml"
TEXT = TEMPLATE.read_text(encoding="utf-8")


def lint(path):
    command = [sys.executable, "-c", "import cfnlint.runner as r; r.main()", "--regions", "us-east-1", "--", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_template_is_correct():
    """cfn-lint finds nothing in it, warnings included."""
    done = lint(TEMPLATE)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_wrong_name_would_be_found(tmp_path):
    """The check above can fail: a property that does not exist is told."""
    (tmp_path / "wrong.yaml").write_text(TEXT.replace("HttpTokens: required", "HttpToken: required"))
    assert "HttpToken" in lint(tmp_path / "wrong.yaml").stdout


@pytest.fixture(scope="module")
def stack():
    """Deploy the template once, and return clients and what stands afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        with mock_aws():
            ec2 = boto3.client("ec2", region_name="us-east-1")
            image = ec2.register_image(Name="hst-cloud-1", RootDeviceName="/dev/xvda")["ImageId"]
            ec2.create_key_pair(KeyName="mine")
            given = {"KeyName": "mine", "SshFrom": "198.51.100.7/32", "Image": image, "Email": "ada@example.org"}
            cloud = boto3.client("cloudformation", region_name="us-east-1")
            parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                cloud.create_stack(StackName="hst", TemplateBody=TEXT, Parameters=parameters)
            yield ec2, cloud, image, {word for each in told for word in re.findall(r"AWS::\w+::\w+", str(each.message))}


def test_one_machine_stands_from_the_image(stack):
    """It is of the image and the type that were asked for, with the person's key, an address, and no role."""
    ec2, cloud, image, _ = stack
    (made,) = cloud.describe_stacks(StackName="hst")["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    (reservation,) = ec2.describe_instances()["Reservations"]
    (machine,) = reservation["Instances"]
    assert (machine["ImageId"], machine["InstanceType"], machine["KeyName"]) == (image, "m7i.large", "mine")
    assert "IamInstanceProfile" not in machine
    outputs = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
    assert outputs["Instance"] == machine["InstanceId"]
    assert re.fullmatch(r"ssh -L 8888:localhost:8888 admin@\S+", outputs["Tunnel"])


def test_the_door_is_open_for_ssh_from_one_address_alone(stack):
    """The group of the stack lets in port 22 from the address that was given, and nothing else."""
    ec2 = stack[0]
    groups = ec2.describe_security_groups(Filters=[{"Name": "description", "Values": ["SSH from one address*"]}])
    (group,) = groups["SecurityGroups"]
    (rule,) = group["IpPermissions"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 22, 22)
    assert [each["CidrIp"] for each in rule["IpRanges"]] == ["198.51.100.7/32"]
    assert rule["Ipv6Ranges"] == []


def test_the_bucket_is_reached_by_the_free_endpoint(stack):
    """S3's gateway endpoint is in the one table of routes, beside the way out, and there is no NAT gateway."""
    ec2 = stack[0]
    (endpoint,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    assert (endpoint["ServiceName"], endpoint["VpcEndpointType"]) == ("com.amazonaws.us-east-1.s3", "Gateway")
    (table,) = ec2.describe_route_tables(RouteTableIds=endpoint["RouteTableIds"])["RouteTables"]
    gateways = {route["GatewayId"].split("-")[0] for route in table["Routes"]}
    assert gateways == {"local", "igw", "vpce"}
    assert "SubnetId: !Ref Subnet\n      RouteTableId: !Ref Routes" in TEXT
    assert ec2.describe_nat_gateways()["NatGateways"] == []


def test_the_machine_asks_for_tokens_and_its_disk_is_encrypted(stack):
    """The launch template requires IMDSv2, and the volume is encrypted at launch."""
    ec2 = stack[0]
    (template,) = ec2.describe_launch_templates()["LaunchTemplates"]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    (volume,) = ec2.describe_volumes()["Volumes"]
    assert volume["Encrypted"] is True


def test_what_costs_is_watched(stack):
    """An idle machine is stopped, a budget warns and says that it lags, and another region is refused.

    Of these moto makes nothing.
    """
    assert stack[3] == {"AWS::CloudWatch::Alarm", "AWS::Budgets::Budget"}
    assert 'arn:${AWS::Partition}:automate:${AWS::Region}:ec2:stop"' in TEXT
    assert "its data lag by hours" in TEXT
    assert '!Equals [!Ref "AWS::Region", us-east-1]' in TEXT
