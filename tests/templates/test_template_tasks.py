"""What the roles of tasks may do, held against the commands that they run."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, get_args

import pytest
import typer.main

from asyncrep.aws.leases import default_task_table
from asyncrep.cli.app import app
from asyncrep.cli.iam_policy import Asked
from asyncrep.cli.metrics import dimension
from asyncrep.cli.options import PlaceOptions
from asyncrep.cli.places import find_pair, find_places
from asyncrep.cli.replicate_options import (
    ApplyOptions,
    FollowPaceOptions,
    SelectOptions,
    StartOptions,
    TaskOptions,
    TellOptions,
)
from asyncrep.cli.replication import Replication
from asyncrep.cli.runtime import Ending
from asyncrep.options import Guard
from asyncrep.replicate.health import Health, serve_health
from tests.support import engines
from tests.support.cli import Cli
from tests.support.cloudformation import ACCOUNT, Stack
from tests.support.engines import free_port
from tests.support.grants import TABLES, called_in, granted, pairs, recorded, tables
from tests.support.iam import allows, judging_aws, set_items, uses
from tests.support.scenario import item, items
from tests.support.stacks import LEAST, MOST, STREAM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.engines import Engine


def printed(cli: Cli, stack: Stack) -> set[tuple[str, str]]:
    """What iam-policy says that the command of a stack needs."""
    ran = cli("iam-policy", "--account", ACCOUNT, *command(stack))
    assert ran.code == 0, ran.stderr
    return pairs(json.loads(ran.stdout))


@pytest.mark.parametrize("guard", get_args(Guard))
@pytest.mark.parametrize("given", [LEAST["worker"], MOST["worker"]], ids=["least", "most"])
def test_a_worker_s_role_has_what_its_command_needs_and_no_more(
    given: Mapping[str, str], guard: str, tmp_path: Path
) -> None:
    queue = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/dead"
    made = {"DeadLetters": queue, "DeadLetters.Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"}
    stack = Stack("worker", {**given, "Guard": guard}, made=made)
    needed, has = printed(Cli(tmp_path), stack), granted(stack, "TaskRole")
    stream = called_in("streams.py", "dynamodbstreams", "dynamodb")
    any_stream = f"{STREAM.partition('/stream/')[0]}/stream/*"
    made_by_the_stack = ("dynamodb:CreateTable", TABLES.format("us-east-1", LEASES))
    assert needed - has == {made_by_the_stack, *((action, any_stream) for action in stream)}
    assert has - needed == {(action, STREAM) for action in stream}


@pytest.mark.parametrize("given", [LEAST["schedule"], MOST["schedule"]], ids=["least", "most"])
def test_a_check_s_role_has_what_its_command_needs_and_no_more(
    given: Mapping[str, str], tmp_path: Path
) -> None:
    stack = Stack("schedule", given)
    assert granted(stack, "TaskRole") == printed(Cli(tmp_path), stack)


def test_a_worker_writes_to_its_destinations_and_their_regions_guards_and_nowhere_else() -> None:
    stack = Stack("worker", MOST["worker"])
    regions = {"eu-west-1": "copies", "ap-southeast-2": "orders", "sa-east-1": "orders"}
    writes = {
        resource
        for action, resource in granted(stack, "TaskRole")
        if action in {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
    }
    leases = TABLES.format("us-east-1", "DynamoDBCrossRegionReplicationnightly")
    tables = {TABLES.format(region, name) for region, name in regions.items()}
    assert writes == {leases, *tables, *(TABLES.format(region, "guard") for region in regions)}


def command(stack: Stack) -> list[str]:
    [task] = stack.of_type("AWS::ECS::TaskDefinition").values()
    [container] = task["ContainerDefinitions"]
    words: list[str] = container["Command"]
    return words


def parsed(words: list[str]) -> dict[str, Any]:
    """The options of a command line, read by the command itself, which refuses what it does not know."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("asyncrep", words, resilient_parsing=False)
    name, found, rest = group.resolve_command(context, words)
    options: dict[str, Any] = found.make_context(name, rest, parent=context).params
    return options


@pytest.mark.parametrize("given", [LEAST["worker"], MOST["worker"]], ids=["least", "most"])
def test_a_worker_s_command_line_is_one(given: Mapping[str, str]) -> None:
    stack = Stack(
        "worker", given, made={"DeadLetters": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/dead"}
    )
    options = parsed(command(stack))
    more = [given[name] for name in ("SecondDestination", "ThirdDestination") if name in given]
    assert list(options["tables"]) == ["us-east-1/orders", "eu-west-1/copies", *more]
    assert (options["task_name"], options["lease_table_region"]) == ("nightly", "us-east-1")
    assert options["guard"] == stack.parameters["Guard"]
    assert options["health_port"] == 8080
    assert options["dead_letter"] == stack.made["DeadLetters"]
    assert options["start"] == stack.parameters["Start"]
    assert options["poll"] == (0.5 if "ExtraOptions" in given else 1.0)


LEASES = default_task_table("us-east-1", "orders", [("eu-west-1", "copies")], "nightly")


async def replicate(stack: Stack, engine: Engine) -> None:
    """Run a worker's command until what is written to the source has arrived; but its health port is any."""
    asked = Asked("replicate", parsed(command(stack)) | {"health_port": free_port()})
    source, destinations = find_places(list(asked.parameters["tables"]), PlaceOptions())
    groups: list[Any] = [
        asked.group(kind)
        for kind in (TaskOptions, StartOptions, ApplyOptions, SelectOptions, FollowPaceOptions, TellOptions)
    ]
    replication = Replication.of(source, destinations, *groups)
    ending = Ending()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(replication.run(ending))
        while {each["id"]["S"] for each in engine.items("copies", "eu-west-1")} != {"kept"}:
            assert not running.done()
            await asyncio.sleep(0.05)
        assert ending.begin is not None
        ending.begin()
    assert running.result() is True


@pytest.mark.parametrize("guard", get_args(Guard))
async def test_a_worker_s_role_is_enough_for_its_command(
    guard: str, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/dead"
    stack = Stack("worker", {**LEAST["worker"], "Guard": guard}, made={"DeadLetters": queue})
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", stack.region)
    stream: Any = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
    engine = engines.moto(moto_url)
    with (
        tables(engine, ("us-east-1", "orders"), **stream),
        tables(engine, ("eu-west-1", "copies")),
        tables(engine, ("us-east-1", LEASES), key="leaseKey"),
    ):
        engine.put("orders", [item("gone", version=1), item("kept", version=1)])
        engine.delete("orders", [{"id": {"S": "gone"}}])
        noted = recorded(monkeypatch)
        try:
            await replicate(stack, engine)
        finally:
            if guard != "none":
                engine.call("DeleteTable", {"TableName": "asyncrep-guard"}, "eu-west-1")
    policy = stack.policy("TaskRole")
    assert {call.pair for call in noted.calls if not allows(policy, call)} == set()
    used = uses(policy, noted.calls)
    unused = {action for (action, on), is_used in used.items() if ":dynamodb:" in on and not is_used}
    assert unused <= RARE


RARE = {
    "dynamodb:BatchGetItem",  # where another worker began a bootstrap
    "dynamodb:ConditionCheckItem",  # where a deletion meets a higher version
    "dynamodb:DeleteItem",  # of leases of shards that are gone
    "dynamodb:GetItem",  # of a lease whose update got no answer
    "dynamodb:DescribeGlobalTable",  # where names are the same
    "dynamodb:DescribeStream",  # not noted here
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
}
"""What a worker does not call in this test."""


def test_a_worker_s_table_and_alarms_are_called_as_the_command_calls_its_task() -> None:
    stack = Stack("worker", LEAST["worker"])
    task = default_task_table("us-east-1", "orders", [("eu-west-1", "copies")], "nightly")
    assert stack.of_type("AWS::DynamoDB::Table")["Leases"]["TableName"] == task
    assert stack.statements("TaskRole")["ShareLeases"]["Resource"] == TABLES.format("us-east-1", task)
    own = [
        alarm["Dimensions"]
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Namespace"] == "asyncrep"
    ]
    assert own == [[{"Name": "Task", "Value": task}]] * 2


@pytest.mark.parametrize(("healthy", "code"), [(True, 0), (False, 1)])
async def test_a_worker_s_health_check_tells_what_the_worker_tells(healthy: bool, code: int) -> None:
    [task] = Stack("worker", LEAST["worker"]).of_type("AWS::ECS::TaskDefinition").values()
    kind, program, *arguments = task["ContainerDefinitions"][0]["HealthCheck"]["Command"]
    assert (kind, program) == ("CMD", "python")
    async with serve_health(lambda: Health(0.0, healthy), 0) as port:
        here = [each.replace(":8080/", f":{port}/") for each in arguments]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *here, stderr=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == code


@pytest.mark.parametrize("given", [LEAST["schedule"], MOST["schedule"]], ids=["least", "most"])
def test_a_check_runs_with_its_role_and_nothing_in_that_is_unused(
    given: Mapping[str, str], tmp_path: Path
) -> None:
    stack = Stack("schedule", given)
    options = parsed(command(stack))
    assert (options["repair"], options["metric"]) == ("Repair" in given, stack.parameters["MetricNamespace"])
    name = stack.parameters["Replica"].partition("/")[2]
    places = (("us-east-1", "orders"), ("eu-west-1", name))
    with judging_aws() as aws, tables(engines.moto(aws.url), *places):
        set_items("us-east-1", "orders", items(8, v=1))
        set_items("eu-west-1", name, [*items(8, v=1)[2:], item("k001", v=2), item("x", v=1)])
        policy = stack.policy("TaskRole")
        user = aws.user(policy)
        ran = Cli(tmp_path, {"AWS_ENDPOINT_URL": aws.url} | user)(*command(stack), "--settle", "0")
        calls = aws.of(user)
    assert ran.code == (0 if options["repair"] else 1), ran.stderr
    assert {call.pair for call in calls if not allows(policy, call)} == set()
    assert [pair for pair, is_used in uses(policy, calls).items() if not is_used] == []


def test_a_check_publishes_under_the_dimensions_that_its_alarms_watch() -> None:
    stack = Stack("schedule", LEAST["schedule"])
    options = parsed(command(stack))
    places = find_pair(options["primary"], options["replica"], PlaceOptions(), environment={})
    expected = dict(zip(("Primary", "Replica"), map(dimension, places), strict=True))
    for alarm in stack.of_type("AWS::CloudWatch::Alarm").values():
        assert {each["Name"]: each["Value"] for each in alarm["Dimensions"]} == expected


def test_a_schedule_may_start_its_task_in_its_cluster_and_hand_on_its_roles() -> None:
    stack = Stack("schedule", LEAST["schedule"])
    run, hand_on = stack.policy("TimerRole")["Statement"]
    assert (run["Action"], run["Resource"]) == (["ecs:RunTask"], ["<Check>"])
    assert run["Condition"] == {"ArnEquals": {"ecs:cluster": stack.parameters["ClusterArn"]}}
    assert hand_on["Resource"] == ["<TaskRole.Arn>", "<ExecutionRole.Arn>"]
    assert hand_on["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


@pytest.mark.parametrize("name", ["worker", "schedule"])
def test_fargate_may_log_in_to_a_registry_only_where_there_is_one(name: str) -> None:
    pulls = {"PullImage", "LogInToRegistry"}
    assert not pulls & set(Stack(name, LEAST[name]).statements("ExecutionRole"))
    assert pulls <= set(Stack(name, MOST[name]).statements("ExecutionRole"))
