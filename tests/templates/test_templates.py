"""The templates by themselves: sound, described, and as strict as they should be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from cfnlint import ManualArgs
from cfnlint.api import lint

from asyncrep.cli.template import TEMPLATES, read_template
from tests.support.cloudformation import Stack, read
from tests.support.stacks import IDS, LEAST, MOST, STACKS, TOPIC

if TYPE_CHECKING:
    from collections.abc import Mapping

stacks = pytest.mark.parametrize(("name", "given"), STACKS, ids=IDS)
each_template = pytest.mark.parametrize("name", TEMPLATES)


def alarms(stack: Stack) -> dict[str, dict[str, Any]]:
    return stack.of_type("AWS::CloudWatch::Alarm")


def errors_and_warnings(text: str) -> list[Any]:
    return list(lint(text, config=ManualArgs(include_checks=["E", "W"])))


@each_template
def test_the_linter_of_cloudformation_finds_nothing(name: str) -> None:
    assert errors_and_warnings(read_template(name)) == []


def test_the_linter_finds_what_is_wrong() -> None:
    wrong = read_template("replicator").replace("FunctionResponseTypes:", "FunctionAnswerTypes:")
    assert errors_and_warnings(wrong)


def test_the_stacks_of_these_tests_are_of_all_templates() -> None:
    assert list(LEAST) == list(MOST) == list(TEMPLATES)


@each_template
def test_only_what_must_be_told_has_no_default(name: str) -> None:
    parameters = read(name)["Parameters"]
    # A schedule has to be told of a replica or of a bucket for backups.
    assert {each for each, parameter in parameters.items() if "Default" not in parameter} == set(
        LEAST[name]
    ) - {"Replica"}


@each_template
def test_every_parameter_is_described_and_what_is_typed_freely_is_checked(name: str) -> None:
    for parameter, what in read(name)["Parameters"].items():
        assert what["Description"].endswith("."), parameter
        bounds = {"AllowedPattern", "AllowedValues", "MinValue", "MinLength", "MaxLength"} & set(what)
        is_list = what["Type"].startswith(("List<", "CommaDelimitedList"))
        assert bounds or is_list or parameter == "CodeObjectVersion", parameter
        assert ("AllowedPattern" in what) == ("ConstraintDescription" in what), parameter


@stacks
def test_parameters_that_people_give_are_taken(name: str, given: Mapping[str, str]) -> None:
    for parameter, value in Stack(name, given).parameters.items():
        what = read(name)["Parameters"][parameter]
        if "AllowedPattern" in what:
            assert re.fullmatch(what["AllowedPattern"], value), parameter
        if "AllowedValues" in what:
            assert value in map(str, what["AllowedValues"]), parameter


@pytest.mark.parametrize(
    ("name", "parameter", "values"),
    [
        ("replicator", "StreamArn", ["*", "orders", "arn:aws:dynamodb:us-east-1:123456789012:table/orders"]),
        ("replicator", "ReplicaTable", ["*", "a", "eu-west-1/orders", "or ders", "${AWS::Region}"]),
        ("replicator", "ReplicaRegion", ["*", "", "Ireland", "eu-west-1/orders"]),
        ("mirror", "GuardTable", ["*", "", "guard/*"]),
        ("backup", "Bucket", ["*", "a", "Bucket", "backups/orders", "s3://backups"]),
        ("backup", "Prefix", ["*", "/", "a/", "/a", "a/*", "a?", "${*}", "a b"]),
        ("backup", "BucketOwner", ["*", "me", "1234", "1234567890123", "12345678901a"]),
        (
            "backup",
            "KmsKey",
            [
                "*",
                "a",
                "alias/backups",
                "arn:aws:kms:us-east-1:123456789012:key/*",
                "arn:aws:kms:us-east-1:123456789012:alias/a",
            ],
        ),
        ("worker", "Destination", ["orders", "*/orders", "eu-west-1/*", "eu-west-1/"]),
        ("worker", "TaskName", ["", "*", "a,b", "a b"]),
        ("worker", "MetricNamespace", ["AWS/DynamoDB", "*", "", ":a", "a,b"]),
        ("schedule", "Replica", ["orders", "*/orders", "eu-west-1/*"]),
        ("schedule", "Schedule", ["daily", "cron()", "rate(5 minutes) "]),
        ("schedule", "PruneSchedule", ["daily", "cron()", "rate(5 minutes) "]),
        ("schedule", "BackupBucket", ["*", "a", "Bucket", "backups/orders", "s3://backups"]),
        ("schedule", "BackupPrefix", ["", "*", "/", "a/", "/a", "a/*", "a?", "${*}", "a b", "a,b"]),
        (
            "schedule",
            "BackupKeyArn",
            [
                "*",
                "a",
                "arn:aws:kms:us-east-1:123456789012:key/*",
                "arn:aws:kms:us-east-1:123456789012:alias/a",
            ],
        ),
    ],
)
def test_what_would_widen_a_policy_or_break_a_command_is_refused(
    name: str, parameter: str, values: list[str]
) -> None:
    pattern = read(name)["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in values if re.fullmatch(pattern, value)] == []


@each_template
def test_every_parameter_is_in_one_group(name: str) -> None:
    groups = read(name)["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [parameter for group in groups for parameter in group["Parameters"]]
    assert sorted(grouped) == sorted(read(name)["Parameters"])


@each_template
def test_every_output_is_described(name: str) -> None:
    outputs = read(name)["Outputs"]
    assert "LogGroup" in outputs
    assert all(output["Description"] for output in outputs.values())


@stacks
def test_alarms_tell_the_topic_if_there_is_one(name: str, given: Mapping[str, str]) -> None:
    expected = [TOPIC] if "AlarmTopicArn" in given else None
    told = {(tuple(each.get("AlarmActions", ())), tuple(each.get("OKActions", ())))
            for each in alarms(Stack(name, given)).values()}  # fmt: skip
    assert told == {(tuple(expected or ()),) * 2}


@each_template
def test_alarms_are_described_and_look_back_no_longer_than_cloudwatch_allows(name: str) -> None:
    for alarm in alarms(Stack(name, LEAST[name])).values():
        assert alarm["AlarmDescription"].endswith(".")
        period, periods = int(alarm["Period"]), int(alarm["EvaluationPeriods"])
        assert period * periods <= (604_800 if period >= 3_600 else 86_400)


@pytest.mark.parametrize("name", ["replicator", "mirror", "backup"])
def test_a_function_s_alarms_watch_what_can_go_wrong(name: str) -> None:
    found = alarms(Stack(name, {**LEAST[name], "MaximumBehindSeconds": "300"}))
    assert {(each["Namespace"], each["MetricName"], each["Threshold"]) for each in found.values()} == {
        ("AWS/Lambda", "IteratorAge", "300000"),
        ("AWS/Lambda", "Errors", 0),
        ("AWS/Lambda", "Throttles", 0),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", 0),
    }
    assert {each["Dimensions"][0]["Value"] for each in found.values()} == {
        "<Function>",
        "<DeadLetters.QueueName>",
    }


def test_a_worker_s_alarms_watch_what_it_publishes_and_that_there_is_one() -> None:
    found = alarms(Stack("worker", MOST["worker"]))
    own = {name: each for name, each in found.items() if each["Namespace"] == "Orders/Replicas"}
    assert {each["MetricName"] for each in own.values()} == {"MillisBehindLatest", "RecordsFailed"}
    assert found["BehindAlarm"]["TreatMissingData"] == "breaching"
    running = found["RunningAlarm"]
    assert (running["MetricName"], running["Statistic"]) == ("CPUUtilization", "SampleCount")
    assert (running["Threshold"], running["TreatMissingData"]) == (1, "breaching")
    assert "DeadLettersAlarm" in found


def test_a_schedule_s_alarms_tell_drift_failure_and_silence() -> None:
    stack = Stack("schedule", {**MOST["schedule"], "CheckWithinHours": "50", "MaximumDiscrepancies": "3"})
    found = alarms(stack)
    assert {
        (each["MetricName"], each["ComparisonOperator"], each["Threshold"], each["TreatMissingData"])
        for each in found.values()
    } == {
        ("Discrepancies", "GreaterThanThreshold", "3", "ignore"),
        ("Complete", "LessThanThreshold", 1, "ignore"),
        ("Complete", "LessThanThreshold", 1, "breaching"),
    }
    silence = found["UncheckedAlarm"]
    assert (silence["Statistic"], silence["Period"], silence["EvaluationPeriods"]) == ("Maximum", 3600, "50")


def test_a_schedule_starts_its_task_in_its_network() -> None:
    [timer] = Stack("schedule", LEAST["schedule"]).of_type("AWS::Scheduler::Schedule").values()
    assert (timer["ScheduleExpression"], timer["State"]) == ("cron(0 3 * * ? *)", "ENABLED")
    task = timer["Target"]["EcsParameters"]
    assert (task["TaskDefinitionArn"], task["TaskCount"], task["LaunchType"]) == ("<Check>", 1, "FARGATE")
    assert task["NetworkConfiguration"]["AwsvpcConfiguration"] == {
        "Subnets": ["subnet-11111111", "subnet-22222222"],
        "SecurityGroups": ["sg-11111111"],
        "AssignPublicIp": "DISABLED",
    }
    [off] = Stack("schedule", {**LEAST["schedule"], "Enabled": "false"}).of_type(
        "AWS::Scheduler::Schedule"
    ).values()  # fmt: skip
    assert off["State"] == "DISABLED"


@pytest.mark.parametrize("name", ["worker", "schedule"])
def test_tasks_are_fargate_s_and_have_roles_of_their_own(name: str) -> None:
    [task] = Stack(name, LEAST[name]).of_type("AWS::ECS::TaskDefinition").values()
    assert (task["RequiresCompatibilities"], task["NetworkMode"]) == (["FARGATE"], "awsvpc")
    assert (task["TaskRoleArn"], task["ExecutionRoleArn"]) == ("<TaskRole.Arn>", "<ExecutionRole.Arn>")
    assert task["ContainerDefinitions"][0]["StopTimeout"] == 60


def test_a_worker_s_service_replaces_workers_and_takes_bad_deployments_back() -> None:
    [service] = Stack("worker", LEAST["worker"]).of_type("AWS::ECS::Service").values()
    assert service["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {
        "Enable": True,
        "Rollback": True,
    }
    assert (service["DesiredCount"], service["LaunchType"]) == ("2", "FARGATE")
    assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"


def test_a_backup_s_bucket_is_its_own_unless_there_is_one() -> None:
    own, existing = Stack("backup", LEAST["backup"]), Stack("backup", MOST["backup"])
    kinds = ("AWS::S3::Bucket", "AWS::S3::BucketPolicy")
    assert [len(own.of_type(kind)) for kind in kinds] == [1, 1]
    assert [len(existing.of_type(kind)) for kind in kinds] == [0, 0]
    [policy] = own.of_type("AWS::S3::BucketPolicy").values()
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == (
        "Deny",
        {"Bool": {"aws:SecureTransport": "false"}},
    )
    outputs = [stack._resolved(stack.text["Outputs"]["Folder"]["Value"]) for stack in (own, existing)]
    assert outputs == ["s3://<Backups>/orders", "s3://backups-of-ours/incremental/daily/orders"]


@pytest.mark.parametrize(
    ("days", "rules"), [("0", ["UnfinishedUploads"]), ("90", ["UnfinishedUploads", "FormerVersions"])]
)
def test_a_backup_s_bucket_forgets_unfinished_uploads_always_and_versions_only_if_told_to(
    days: str, rules: list[str]
) -> None:
    stack = Stack("backup", {**LEAST["backup"], "KeepVersionsDays": days})
    found = stack.of_type("AWS::S3::Bucket")["Backups"]["LifecycleConfiguration"]["Rules"]
    assert [rule["Id"] for rule in found] == rules
    assert {rule["Status"] for rule in found} == {"Enabled"}
    assert found[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert "NoncurrentVersionExpiration" not in found[0]  # history is kept for ever, but for what is told


@each_template
def test_queues_are_encrypted_and_keep_messages_as_long_as_queues_can(name: str) -> None:
    for queue in Stack(name, LEAST[name]).of_type("AWS::SQS::Queue").values():
        assert queue == {"MessageRetentionPeriod": 1_209_600, "SqsManagedSseEnabled": True}


@pytest.mark.parametrize(
    ("name", "enabled"), [("replicator", "true"), ("mirror", "false"), ("backup", "true")]
)
def test_a_mirror_waits_for_the_other_region_s_stack(name: str, enabled: str) -> None:
    [mapping] = Stack(name, LEAST[name]).of_type("AWS::Lambda::EventSourceMapping").values()
    assert mapping["Enabled"] == enabled
