"""Each template is made by moto's CloudFormation, resource by resource; what moto drops is told by name."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from asyncrep.cli.template import read_template
from asyncrep.handlers.settings import BackupSettings, ReplicaSettings
from tests.support import engines
from tests.support.cloudformation import Stack
from tests.support.stacks import IDS, LEAST, MOST, REGION, STACKS, STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")

DROPPED_KINDS = {
    "AWS::CloudWatch::Alarm",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::Scheduler::Schedule",
}
"""Moto makes none of these, and says nothing of it in its answers; other tests look at the text instead."""
LOST_OF_TASKS = {
    "cpu",
    "executionRoleArn",
    "networkMode",
    "requiresCompatibilities",
    "runtimePlatform",
    "taskRoleArn",
}
"""What moto forgets of a task definition; the same."""
LOST_OF_SERVICES = {"deploymentConfiguration", "launchType", "networkConfiguration", "propagateTags"}
"""What it forgets of a service."""


@dataclass(frozen=True)
class Made:
    """A stack that was made.

    Attributes:
        stack: as it should be, with the names that were given.
        kinds: the type of each resource that moto lists.
    """

    aws: Aws
    stack: Stack
    kinds: Mapping[str, str]

    def physical(self, resource: str) -> str:
        return self.stack.made[resource]


class Aws:
    """A moto with what the stacks presume: a table with a stream, a zip file, a cluster."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: dict[str, Made] = {}
        created = self.client("dynamodb").create_table(
            TableName="orders",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self._stream = created["TableDescription"]["LatestStreamArn"]
        self.client("s3").create_bucket(Bucket="code")
        empty_zip = b"PK\x05\x06" + bytes(18)
        self.client("s3").put_object(Bucket="code", Key="asyncrep.zip", Body=empty_zip)
        self.client("ecs").create_cluster(clusterName="main")

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=self._url)

    def make(self, template: str, given: Mapping[str, str], name: str) -> Made:
        """Make a stack, once."""
        if name not in self._made:
            self._made[name] = self._make(template, given, name)
        return self._made[name]

    def remove(self) -> None:
        """Remove everything: a process has one moto for all its servers."""
        for name in self._made:
            self.client("cloudformation").delete_stack(StackName=name)
        self.client("dynamodb").delete_table(TableName="orders")
        self.client("s3").delete_object(Bucket="code", Key="asyncrep.zip")
        self.client("s3").delete_bucket(Bucket="code")
        self.client("ecs").delete_cluster(cluster="main")

    def _make(self, template: str, given: Mapping[str, str], name: str) -> Made:
        parameters = {key: value.replace(STREAM, self._stream) for key, value in given.items()}
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=read_template(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": each} for key, each in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        [described] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        assert described["StackStatus"] == "CREATE_COMPLETE"
        listed = {
            each["LogicalResourceId"]: each
            for each in cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
            if each["LogicalResourceId"]  # a kind that moto does not know is listed without a name
        }
        names = {key: each["PhysicalResourceId"] for key, each in listed.items()}
        stack = Stack(template, parameters, REGION, name, names)
        kinds = {key: each["ResourceType"] for key, each in listed.items()}
        return Made(self, replace(stack, made=names | self._attributes(names, kinds)), kinds)

    def _attributes(self, names: Mapping[str, str], kinds: Mapping[str, str]) -> dict[str, str]:
        """What templates ask of resources, asked of the services themselves."""
        found = {}
        for key, kind in kinds.items():
            if kind == "AWS::SQS::Queue":
                asked = self.client("sqs").get_queue_attributes(
                    QueueUrl=names[key], AttributeNames=["QueueArn"]
                )
                found[f"{key}.Arn"] = asked["Attributes"]["QueueArn"]
            elif kind == "AWS::IAM::Role":
                found[f"{key}.Arn"] = self.client("iam").get_role(RoleName=names[key])["Role"]["Arn"]
            elif kind == "AWS::S3::Bucket":
                found[f"{key}.Arn"] = f"arn:aws:s3:::{names[key]}"
            elif kind == "AWS::Logs::LogGroup":
                [group] = self.client("logs").describe_log_groups(logGroupNamePrefix=names[key])["logGroups"]
                found[f"{key}.Arn"] = group["logGroupArn"]
        return found


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with engines.run_moto() as url:
        aws = Aws(url)
        yield aws
        aws.remove()


@pytest.fixture
def made(aws: Aws, request: pytest.FixtureRequest) -> Made:
    """The stack that a test is about."""
    name, given = request.param
    return aws.make(name, given, IDS[STACKS.index((name, given))])


every_stack = pytest.mark.parametrize("made", STACKS, ids=IDS, indirect=True)


def stacks_of(*names: str) -> pytest.MarkDecorator:
    some = [(each, id_) for each, id_ in zip(STACKS, IDS, strict=True) if each[0] in names]
    return pytest.mark.parametrize(
        "made", [each for each, _ in some], ids=[id_ for _, id_ in some], indirect=True
    )


def without_nothing(value: Any) -> Any:
    """Moto puts None, or the word, where AWS::NoValue stands in a list."""
    if isinstance(value, list):
        return [without_nothing(each) for each in value if each not in (None, "None")]
    if isinstance(value, dict):
        return {key: without_nothing(each) for key, each in value.items()}
    return value


def camel_case(value: Any) -> Any:
    """Properties as ECS spells them in its answers."""
    if isinstance(value, list):
        return [camel_case(each) for each in value]
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: camel_case(each) for key, each in value.items()}
    return value


@every_stack
def test_every_resource_is_made_but_of_the_kinds_that_moto_drops(made: Made) -> None:
    expected = {name: each["Type"] for name, each in made.stack.resources.items()}
    assert made.kinds == {name: kind for name, kind in expected.items() if kind not in DROPPED_KINDS}


def test_each_kind_that_moto_drops_is_in_a_template() -> None:
    kinds = {each["Type"] for name, given in STACKS for each in Stack(name, given).resources.values()}
    assert kinds >= DROPPED_KINDS


@every_stack
def test_roles_have_the_policies_that_the_template_shows(made: Made) -> None:
    iam = made.aws.client("iam")
    roles = made.stack.of_type("AWS::IAM::Role")
    assert roles
    for role, properties in roles.items():
        name = made.physical(role)
        [policy] = iam.list_role_policies(RoleName=name)["PolicyNames"]
        assert policy == properties["Policies"][0]["PolicyName"]
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        told = ast.literal_eval(document)  # moto keeps it as Python spells it, which is no JSON
        assert without_nothing(told) == made.stack.policy(role)
        trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        assert trust == properties["AssumeRolePolicyDocument"]
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []


@stacks_of("replicator", "mirror")
def test_the_stream_is_read_as_the_handler_needs_it(made: Made) -> None:
    found = made.aws.client("lambda").get_event_source_mapping(UUID=made.physical("Stream"))
    given = made.stack.parameters
    assert found["EventSourceArn"] == given["StreamArn"]
    assert found["FunctionArn"].rpartition(":")[2] == made.physical("Function")
    assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert found["BisectBatchOnFunctionError"] is True
    assert found["DestinationConfig"] == {"OnFailure": {"Destination": made.stack.made["DeadLetters.Arn"]}}
    assert found["StartingPosition"] == given["StartingPosition"]
    assert found["State"] == "Enabled"  # moto takes any text for a yes: test_templates.py looks at the text
    assert {
        "BatchSize": found["BatchSize"],
        "BatchingWindow": found["MaximumBatchingWindowInSeconds"],
        "ParallelizationFactor": found["ParallelizationFactor"],
        "MaximumRecordAge": found["MaximumRecordAgeInSeconds"],
        "MaximumRetryAttempts": found["MaximumRetryAttempts"],
    } == {
        name: int(given[name])
        for name in (
            "BatchSize",
            "BatchingWindow",
            "ParallelizationFactor",
            "MaximumRecordAge",
            "MaximumRetryAttempts",
        )
    }


@stacks_of("replicator", "mirror")
def test_the_function_reads_its_settings_from_its_environment(made: Made) -> None:
    found = made.aws.client("lambda").get_function_configuration(FunctionName=made.physical("Function"))
    settings = ReplicaSettings.from_environment(found["Environment"]["Variables"])
    given = made.stack.parameters
    assert settings.table == (given["ReplicaTable"] or "orders")
    assert settings.region == "eu-west-1"
    assert str(settings.dead_letters) == made.physical("DeadLetters")
    guard = "version" if made.stack.template == "mirror" else "sequence" if given["GuardTable"] else "none"
    assert settings.policy.guard == guard
    if given["GuardTable"]:
        assert settings.policy.guard_table == given["GuardTable"]
    if guard == "version":
        assert settings.policy.version_attribute == given["VersionAttribute"]
    assert (found["Runtime"], found["Handler"]) == ("python3.13", "asyncrep.handlers.entry.replicate")
    assert found["Role"] == made.stack.made["Role.Arn"]


def test_a_replicator_s_selection_reaches_the_function(aws: Aws) -> None:
    made = aws.make("replicator", MOST["replicator"], "replicator-most")
    found = aws.client("lambda").get_function_configuration(FunctionName=made.physical("Function"))
    selection = ReplicaSettings.from_environment(found["Environment"]["Variables"]).policy.selection
    assert [str(each.name) for each in selection.where] == ["status", "n"]
    assert set(selection.events) == {"INSERT", "MODIFY"}
    assert (selection.ttl_deletes, set(selection.without)) == (False, {"secret"})
    assert dict(selection.rename) == {"old": "new"}


@stacks_of("backup")
def test_a_backup_s_settings_reach_the_function(made: Made) -> None:
    found = made.aws.client("lambda").get_function_configuration(FunctionName=made.physical("Function"))
    settings = BackupSettings.from_environment(found["Environment"]["Variables"])
    given = made.stack.parameters
    bucket = given["Bucket"] or made.physical("Backups")
    assert (settings.place.bucket, settings.place.prefix) == (bucket, given["Prefix"])
    assert (settings.access.region, str(settings.dead_letters)) == (REGION, made.physical("DeadLetters"))
    assert settings.access.kms_key == (given["KmsKey"] or None)
    assert settings.access.bucket_owner == (given["BucketOwner"] or None)
    assert settings.key_order == (("id",) if given["KeyOrder"] else None)
    assert [str(each.name) for each in settings.selection.where] == (
        ["status", "n"] if given["Where"] else []
    )
    assert settings.selection.ttl_deletes == (given["TtlDeletes"] == "true")
    assert found["Handler"] == "asyncrep.handlers.entry.backup"


def test_a_backup_makes_a_bucket_that_keeps_versions_and_is_not_public(aws: Aws) -> None:
    made = aws.make("backup", {**LEAST["backup"], "KeepVersionsDays": "90"}, "backup-90-days")
    s3, bucket = aws.client("s3"), made.physical("Backups")
    [encryption] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    # Of the rest moto makes nothing: it is the template that counts.
    [wanted] = made.stack.of_type("AWS::S3::Bucket").values()
    assert wanted["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(wanted["PublicAccessBlockConfiguration"].values()) == {True}
    assert wanted["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    uploads, versions = wanted["LifecycleConfiguration"]["Rules"]
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert versions["NoncurrentVersionExpiration"] == {"NoncurrentDays": "90"}
    assert made.stack.resources["Backups"]["DeletionPolicy"] == "Retain"


def test_a_mirror_makes_the_guard_table_of_its_own_region(aws: Aws) -> None:
    made = aws.make("mirror", LEAST["mirror"], "mirror-least")
    dynamodb = aws.client("dynamodb")
    table = dynamodb.describe_table(TableName=made.physical("Guard"))["Table"]
    assert table["TableName"] == "asyncrep-guard"
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert table["AttributeDefinitions"] == [{"AttributeName": "id", "AttributeType": "S"}]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    asked = dynamodb.describe_time_to_live(TableName=made.physical("Guard"))["TimeToLiveDescription"]
    assert asked == {"TimeToLiveStatus": "DISABLED"}  # moto drops it: so it is the template that counts
    ttl = made.stack.of_type("AWS::DynamoDB::Table")["Guard"]["TimeToLiveSpecification"]
    assert ttl == {"AttributeName": "expires", "Enabled": True}


def test_a_worker_s_lease_table_is_kcl_s_under_the_task_s_name(aws: Aws) -> None:
    made = aws.make("worker", LEAST["worker"], "worker-least")
    table = aws.client("dynamodb").describe_table(TableName=made.physical("Leases"))["Table"]
    assert table["TableName"] == "DynamoDBCrossRegionReplicationnightly"
    assert table["KeySchema"] == [{"AttributeName": "leaseKey", "KeyType": "HASH"}]
    assert table["AttributeDefinitions"] == [{"AttributeName": "leaseKey", "AttributeType": "S"}]


@stacks_of("worker", "schedule")
def test_tasks_are_as_the_template_says_but_for_what_moto_forgets(made: Made) -> None:
    definitions = made.stack.of_type("AWS::ECS::TaskDefinition")
    assert definitions
    for name, properties in definitions.items():
        task = made.aws.client("ecs").describe_task_definition(taskDefinition=made.physical(name))[
            "taskDefinition"
        ]
        expected = camel_case(properties)
        [container] = expected.pop("containerDefinitions")
        [found] = task["containerDefinitions"]
        assert {key: found[key] for key in container if key not in {"command", "logConfiguration"}} == {
            key: each for key, each in container.items() if key not in {"command", "logConfiguration"}
        }
        assert without_nothing(found["command"]) == container["command"]
        assert found["logConfiguration"]["options"] == container["logConfiguration"]["options"]
        assert {key for key, each in expected.items() if task.get(key) != each} == LOST_OF_TASKS


@stacks_of("worker")
def test_services_are_as_the_template_says_but_for_what_moto_forgets(made: Made) -> None:
    expected = camel_case(made.stack.of_type("AWS::ECS::Service")["Service"])
    [found] = made.aws.client("ecs").describe_services(
        cluster=expected.pop("cluster"), services=[made.physical("Service")]
    )["services"]  # fmt: skip
    assert found["desiredCount"] == int(expected.pop("desiredCount"))
    assert {key for key, each in expected.items() if found.get(key) != each} == LOST_OF_SERVICES


@stacks_of("replicator", "mirror", "backup", "worker")
def test_dead_letters_lie_in_an_encrypted_queue_for_two_weeks(made: Made) -> None:
    found = made.aws.client("sqs").get_queue_attributes(
        QueueUrl=made.physical("DeadLetters"), AttributeNames=["All"]
    )["Attributes"]  # fmt: skip
    assert (found["SqsManagedSseEnabled"], found["MessageRetentionPeriod"]) == ("true", "1209600")


@every_stack
def test_the_log_is_kept_for_a_while_only(made: Made) -> None:
    [group] = made.aws.client("logs").describe_log_groups(logGroupNamePrefix=made.physical("Logs"))[
        "logGroups"
    ]
    assert group["retentionInDays"] == 30
