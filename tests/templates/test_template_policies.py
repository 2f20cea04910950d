"""What the templates' roles may do, held against what the code calls: enough, and nothing besides."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

import asyncrep
from asyncrep.cli import permissions
from asyncrep.handlers import BackupSettings, ReplicaSettings, backup_handler, replicate_handler
from asyncrep.handlers.runtime import Container
from tests.support import engines
from tests.support.cli import Cli
from tests.support.cloudformation import ACCOUNT, Stack, read
from tests.support.grants import actions, called_in, granted, of, pairs, recorded, tables
from tests.support.iam import allows, judging_aws, uses
from tests.support.lambdas import SUCCESS, event, put, remove
from tests.support.scenario import item
from tests.support.stacks import IDS, KEY, LEAST, MOST, REGION, ROLE, STACKS, STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.support.engines import Engine

WITHOUT_RESOURCE = {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"}
"""Actions for which IAM knows no resource."""
OBJECTS = {"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"}
"""Actions on the objects of the table's folder."""


every_stack = pytest.mark.parametrize(("name", "given"), STACKS, ids=IDS)


@every_stack
def test_roles_name_exact_actions_on_exact_resources(name: str, given: Mapping[str, str]) -> None:
    stack = Stack(name, given)
    for role in stack.of_type("AWS::IAM::Role"):
        for action, resource in granted(stack, role):
            assert "*" not in action
            if action == "dynamodb:ListStreams":
                assert resource == f"{STREAM.partition('/stream/')[0]}/stream/*"
            elif action in WITHOUT_RESOURCE:
                assert resource == "*"
            elif action in OBJECTS:
                assert resource.endswith("/orders/*")
                assert "*" not in resource.removesuffix("*")
            else:
                assert "*" not in resource, action
                assert resource.startswith(("arn:aws:", "<")), resource


@every_stack
def test_statements_have_names_and_roles_nothing_but_their_one_policy(
    name: str, given: Mapping[str, str]
) -> None:
    stack = Stack(name, given)
    for role, properties in stack.of_type("AWS::IAM::Role").items():
        sids = [statement["Sid"] for statement in stack.policy(role)["Statement"]]
        assert len(sids) == len(set(sids))
        assert not {"ManagedPolicyArns", "PermissionsBoundary", "RoleName"} & set(properties)
        [trust] = properties["AssumeRolePolicyDocument"]["Statement"]
        assert set(trust["Principal"]) == {"Service"}
        assert trust["Action"] == "sts:AssumeRole"


@every_stack
def test_metrics_are_published_in_the_one_namespace(name: str, given: Mapping[str, str]) -> None:
    stack = Stack(name, given)
    for role in stack.of_type("AWS::IAM::Role"):
        for statement in stack.policy(role)["Statement"]:
            if of(permissions.PUT_METRICS) & set(statement["Action"]):
                namespace = stack.parameters["MetricNamespace"]
                assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": namespace}}
                assert set(statement["Action"]) == called_in("metrics.py", "cloudwatch", "cloudwatch")


# ── Functions


@pytest.fixture
def replicas() -> Iterator[Engine]:
    """A replica and a guard table in another Region than the function's."""
    names = ("orders", "copies", "guard", "asyncrep-guard")
    with (
        engines.run_moto() as url,
        tables(engines.moto(url), *(("eu-west-1", name) for name in names)) as engine,
    ):
        for name in names:
            ttl = {"Enabled": True, "AttributeName": "expires"}
            engine.call("UpdateTimeToLive", {"TableName": name, "TimeToLiveSpecification": ttl}, "eu-west-1")
        yield engine


def invoke(stack: Stack, url: str, events: Iterable[Mapping[str, Any]], patch: pytest.MonkeyPatch) -> None:
    """Run the function of a stack with its environment; but its endpoint is ours, and there is no queue."""
    [function] = stack.of_type("AWS::Lambda::Function").values()
    variables = {**function["Environment"]["Variables"], "DeadLetter": ""}
    patch.setenv("AWS_ENDPOINT_URL", url)
    patch.setenv("AWS_DEFAULT_REGION", stack.region)
    container = Container()
    handler = replicate_handler(ReplicaSettings.from_environment(variables), container=container)
    try:
        for each in events:
            assert handler(each, None) == SUCCESS
    finally:
        container.close()


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("replicator", LEAST["replicator"]),
        ("replicator", {**LEAST["replicator"], "ReplicaTable": "copies", "GuardTable": "guard"}),
        ("mirror", LEAST["mirror"]),
        ("mirror", {**LEAST["mirror"], "ReplicaTable": "copies", "GuardTable": "guard"}),
    ],
    ids=["replicator", "replicator-guarded", "mirror", "mirror-elsewhere"],
)
def test_a_function_s_role_is_enough_for_its_handler_and_nothing_in_it_is_unused(
    name: str,
    given: Mapping[str, str],
    replicas: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = Stack(name, given)
    first, second = item("a", version=1), item("a", version=2)
    records = [put(first, 1), put(second, 2, old=first), remove(second, 3), put(item("b", version=1), 4)]
    conflict = [put(item("b", version=1, n=each), 5 + each) for each in range(4)]
    late = remove(item("b", version=0), 9)
    events = [event(*records), *(event(each) for each in [*conflict, late])]
    noted = recorded(monkeypatch)
    invoke(stack, replicas.url, events, monkeypatch)
    policy = {"Statement": [
        each for each in stack.policy("Role")["Statement"] if each["Sid"] in {"WriteReplica", "WriteGuard"}
    ]}  # fmt: skip
    assert {call.pair for call in noted.calls if not allows(policy, call)} == set()
    assert [pair for pair, is_used in uses(policy, noted.calls).items() if not is_used] == []


FUNCTIONS = ["replicator", "mirror", "backup"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lambda_reads_the_stream_for_the_function(name: str) -> None:
    stack = Stack(name, LEAST[name])
    assert actions(stack, "Role", "ReadStream") == called_in("streams.py", "dynamodbstreams", "dynamodb")
    assert actions(stack, "Role", "ListStreams") == {"dynamodb:ListStreams"}
    assert actions(stack, "Role", "SendDeadLetters") == called_in("queues.py", "sqs", "sqs")
    assert stack.statements("Role")["SendDeadLetters"]["Resource"] == "<DeadLetters.Arn>"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"Prefix": "some/where", "KeyOrder": "id"},
        {"BucketOwner": ACCOUNT, "KmsKey": KEY},
    ],
    ids=["table-asked", "key-told", "encrypted"],
)
def test_a_backup_s_role_is_enough_for_its_handler_and_nothing_in_it_is_unused(
    more: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack("backup", {**LEAST["backup"], "Bucket": "backups-of-ours", **more})
    document = stack.policy("Role")
    statements = [
        each for each in document["Statement"] if each["Sid"] in {"AskForKey", "WriteBackup", "ListBackup"}
    ]
    policy = {**document, "Statement": statements}
    first = item("a", n=1)
    again = put(first, 1)
    late = [put(item("b"), 4), put(first, 5, old=first), remove(item("never"), 6)]
    [function] = stack.of_type("AWS::Lambda::Function").values()
    variables = {**function["Environment"]["Variables"], "DeadLetter": ""}
    with judging_aws() as aws, tables(engines.moto(aws.url), (stack.region, "orders")):
        s3 = boto3.client("s3", region_name=stack.region, endpoint_url=aws.url)
        s3.create_bucket(Bucket="backups-of-ours")
        user = aws.user(policy)
        for name, value in {**user, "AWS_ENDPOINT_URL": aws.url, "AWS_DEFAULT_REGION": stack.region}.items():
            monkeypatch.setenv(name, value)
        container = Container()
        handler = backup_handler(BackupSettings.from_environment(variables), container=container)
        try:
            for records in ([again, put(item("b"), 2), remove(item("b"), 3)], [again], late):
                assert handler(event(*records), None) == SUCCESS
        finally:
            container.close()
        prefix = f"{more['Prefix']}/orders/" if "Prefix" in more else "orders/"
        kept = [each["Key"] for each in s3.list_objects_v2(Bucket="backups-of-ours")["Contents"]]
        heads = [s3.head_object(Bucket="backups-of-ours", Key=name) for name in kept]
        for name in kept:
            s3.delete_object(Bucket="backups-of-ours", Key=name)
        s3.delete_bucket(Bucket="backups-of-ours")
    calls = aws.of(user)
    assert {head.get("SSEKMSKeyId") for head in heads} == {more.get("KmsKey")}
    assert [len(kept), *{name.rpartition("/")[0] + "/" for name in kept}] == [2, prefix]
    assert {call.pair for call in calls if not allows(policy, call)} == set()
    assert [pair for pair, is_used in uses(policy, calls).items() if not is_used] == []


@pytest.mark.parametrize("key", [None, KEY], ids=["bucket-decides", "key"])
def test_a_backup_s_role_may_do_with_its_bucket_and_key_what_a_command_that_does_the_same_needs(
    key: str | None, tmp_path: Path
) -> None:
    stack = Stack(
        "backup", {**LEAST["backup"], "Bucket": "backups-of-ours", **({"KmsKey": key} if key else {})}
    )
    options = ["--kms-key", key] if key else []
    words = ["replicate", f"{REGION}/orders", "s3://backups-of-ours", *options]
    ran = Cli(tmp_path)("iam-policy", "--account", ACCOUNT, *words)
    assert ran.code == 0, ran.stderr
    services = ("s3:", "kms:")
    needed = {pair for pair in pairs(json.loads(ran.stdout)) if pair[0].startswith(services)}
    assert {pair for pair in granted(stack, "Role") if pair[0].startswith(services)} == needed
    assert {resource for action, resource in needed if action.startswith("kms:")} == ({key} if key else set())


@pytest.mark.parametrize("name", ["replicator", "mirror"])
def test_for_another_account_a_function_assumes_the_role_and_may_write_nothing_itself(name: str) -> None:
    stack = Stack(name, {**MOST[name], "ReplicaRoleArn": ROLE})
    statements = stack.statements("Role")
    assert not {"WriteReplica", "WriteGuard"} & set(statements)
    assert (statements["AssumeReplicaRole"]["Action"], statements["AssumeReplicaRole"]["Resource"]) == (
        ["sts:AssumeRole"],
        ROLE,
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_variable_of_a_function_is_one_that_the_handler_reads(name: str) -> None:
    settings = Path(asyncrep.__file__).parent / "handlers" / "settings.py"
    known = {
        node.value
        for node in ast.walk(ast.parse(settings.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert set(read(name)["Resources"]["Function"]["Properties"]["Environment"]["Variables"]) <= known
