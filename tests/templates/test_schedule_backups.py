"""The backups of a schedule: its commands, their roles, and its alarms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import typer.main

from asyncrep.cli.app import app
from asyncrep.cli.template import read_template
from tests.support import engines
from tests.support.cli import Cli
from tests.support.cloudformation import ACCOUNT, Stack, read
from tests.support.grants import granted, pairs, tables
from tests.support.iam import allows, judging_aws, set_items, uses
from tests.support.scenario import items
from tests.support.stacks import ALL_BACKUPS, BACKUPS, LEAST, MOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TASKS = ("Backup", "Verify", "Prune")
both = pytest.mark.parametrize("given", [BACKUPS, ALL_BACKUPS], ids=["least", "all"])


def command(stack: Stack, task: str) -> list[str]:
    [container] = stack.of_type("AWS::ECS::TaskDefinition")[task]["ContainerDefinitions"]
    words: list[str] = container["Command"]
    return words


@both
def test_command_lines_are_ones_that_the_commands_know(given: Mapping[str, str]) -> None:
    stack = Stack("schedule", given)
    for task in TASKS:
        words = command(stack, task)
        found: Any = typer.main.get_command(app)
        context = found.make_context("asyncrep", list(words), resilient_parsing=False)
        while hasattr(found, "resolve_command"):
            name, found, words = found.resolve_command(context, words)
            context = found.make_context(name, list(words), parent=context)
            words = [*context._protected_args, *context.args]
        place = stack.parameters["BackupPrefix"]
        assert context.params["place"] == f"s3://backups-of-ours/{place}/orders"
        assert context.params["kms_key"] == given.get("BackupKeyArn")


@both
@pytest.mark.parametrize("task", TASKS)
def test_each_role_has_what_its_command_needs_and_no_more(
    given: Mapping[str, str], task: str, tmp_path: Path
) -> None:
    stack = Stack("schedule", given)
    ran = Cli(tmp_path)("iam-policy", "--account", ACCOUNT, *command(stack, task))
    assert ran.code == 0, ran.stderr
    printed = json.loads(ran.stdout)
    assert granted(stack, f"{task}Role") == pairs(printed)
    conditions = {json.dumps(each.get("Condition")) for each in stack.policy(f"{task}Role")["Statement"]}
    assert conditions == {json.dumps(each.get("Condition")) for each in printed["Statement"]}


def test_a_table_is_backed_up_verified_and_pruned_by_the_roles(tmp_path: Path) -> None:
    stack = Stack("schedule", {**BACKUPS, "KeepDaily": "1", "KeepWeekly": "0", "KeepMonthly": "0"})
    with judging_aws() as aws, tables(engines.moto(aws.url), ("us-east-1", "orders")):
        set_items("us-east-1", "orders", items(8, v=1))
        s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=aws.url)
        s3.create_bucket(Bucket="backups-of-ours")
        cli = Cli(tmp_path, {"AWS_ENDPOINT_URL": aws.url, "AWS_REGION": "us-east-1"})
        users = {task: aws.user(stack.policy(f"{task}Role")) for task in TASKS}
        order = ("Backup", "Backup", "Verify", "Prune")
        ran = cli.each(
            *(tuple(command(stack, task)) for task in order), environments=[users[task] for task in order]
        )
        calls = {task: aws.of(user) for task, user in users.items()}
        left = {
            each["Key"].split("/")[2] for each in s3.list_objects_v2(Bucket="backups-of-ours")["Contents"]
        }
        for each in s3.list_objects_v2(Bucket="backups-of-ours")["Contents"]:
            s3.delete_object(Bucket="backups-of-ours", Key=each["Key"])
        s3.delete_bucket(Bucket="backups-of-ours")
    assert [each.code for each in ran] == [0] * 4, ran
    assert "sound, 8 items" in ran[2].stdout
    assert "Removed 1 backup" in ran[3].stdout
    assert len(left) == 1
    for task, made in calls.items():
        policy = stack.policy(f"{task}Role")
        assert {call.pair for call in made if not allows(policy, call)} == set()
        unused = {action for (action, _), is_used in uses(policy, made).items() if not is_used}
        rare = (
            {"s3:AbortMultipartUpload", "s3:GetObject"} if task == "Backup" else set()
        )  # where uploads fail
        assert unused == rare, task


@both
def test_schedules_start_their_tasks_and_the_timer_may(given: Mapping[str, str]) -> None:
    stack = Stack("schedule", given)
    timers = stack.of_type("AWS::Scheduler::Schedule")
    tasks = [*TASKS, *(["Check"] if "Replica" in given else [])]
    assert {each["Target"]["EcsParameters"]["TaskDefinitionArn"] for each in timers.values()} == {
        f"<{task}>" for task in tasks
    }
    assert {timers[f"{task}Timer"]["ScheduleExpression"] for task in TASKS} == {
        stack.parameters[f"{task}Schedule"] for task in TASKS
    }
    statements = stack.statements("TimerRole")
    assert set(statements["RunTasks"]["Resource"]) == {f"<{task}>" for task in tasks}
    roles = [f"{task}Role" for task in TASKS] + [
        "ExecutionRole",
        *(["TaskRole"] if "Replica" in given else []),
    ]
    assert set(statements["PassRoles"]["Resource"]) == {f"<{role}.Arn>" for role in roles}


def test_without_a_bucket_there_are_no_backups_and_without_a_replica_no_checks() -> None:
    for given in (LEAST["schedule"], MOST["schedule"]):
        assert set(Stack("schedule", given).of_type("AWS::ECS::TaskDefinition")) == {"Check"}
    stack = Stack("schedule", BACKUPS)
    assert set(stack.of_type("AWS::ECS::TaskDefinition")) == set(TASKS)
    assert "TaskRole" not in stack.resources
    [rule] = read("schedule")["Rules"].values()
    [assertion] = rule["Assertions"]
    assert [bool(Stack("schedule", given)._resolved(assertion["Assert"]))
            for given in (BACKUPS, LEAST["schedule"], {**BACKUPS, "BackupBucket": ""})] == [True, True, False]  # fmt: skip


def test_alarms_tell_failure_silence_and_damage() -> None:
    stack = Stack("schedule", {**BACKUPS, "BackupWithinHours": "50"})
    found = stack.of_type("AWS::CloudWatch::Alarm")
    assert {
        name: (each["MetricName"], each["Statistic"], each["ComparisonOperator"], each["TreatMissingData"])
        for name, each in found.items()
    } == {
        "BackupFailedAlarm": ("BackupErrors", "Sum", "GreaterThanThreshold", "notBreaching"),
        "NoBackupAlarm": ("BackupRecordCount", "SampleCount", "LessThanThreshold", "breaching"),
        "DamagedAlarm": ("BackupsDamaged-orders", "Sum", "GreaterThanThreshold", "notBreaching"),
    }
    assert found["NoBackupAlarm"]["EvaluationPeriods"] == "50"
    for name in ("BackupFailedAlarm", "NoBackupAlarm"):
        assert found[name]["Dimensions"] == [{"Name": "TableName", "Value": "orders"}]


def test_what_the_log_is_searched_for_is_what_a_verification_says_of_damage(tmp_path: Path) -> None:
    [found] = Stack("schedule", BACKUPS).of_type("AWS::Logs::MetricFilter").values()
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "0.manifest.json").write_bytes(b"{")
    ran = Cli(tmp_path)("backups", "verify", ".", "j")
    assert ran.code == 1
    assert found["FilterPattern"].strip('"') in ran.stdout


def test_the_template_has_no_room_for_other_text() -> None:
    assert len(read_template("schedule").encode()) < 51_200  # what CloudFormation takes without a bucket
