"""The printed policies of commands about backups against the calls that they make: enough, and nothing unused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from asyncrep.items.incremental import object_name
from tests.support import engines
from tests.support.cli import Cli
from tests.support.iam import ACCOUNT, allows, judging_aws, set_items, uses
from tests.support.scenario import item, items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cli import Ran
    from tests.support.iam import Call, JudgingAws

REGION = "us-east-1"
ORDERS = "us-east-1/orders"
COPIES = "us-east-1/copies"
ONE = "s3://kept/dumps/one"
INCR = "s3://kept/incr"
KEY = '{"id":"k001"}'
MUCH = items(8, v=1)
DRIFTED = [*MUCH[2:], item("k001", v=2)]
UNFINISHED = {"s3:AbortMultipartUpload"}
"""What is called only where an upload fails, or a write gets no answer."""
NO_ANSWER = {"s3:GetObject", *UNFINISHED}


@dataclass(frozen=True)
class Scenario:
    """A command line and what it meets.

    Attributes:
        code: how it ends.
        copies: what the table holds that is restored to.
        rare: the actions that it is allowed and does not need here.
    """

    command: tuple[str, ...]
    code: int = 0
    copies: tuple[Any, ...] = ()
    rare: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return " ".join(word for word in self.command if "/" not in word and "{" not in word)


def scenario(
    *command: str, code: int = 0, copies: list[Any] | None = None, rare: set[str] | None = None
) -> Scenario:
    return Scenario(command, code, tuple(copies or ()), frozenset(rare or ()))


DUMP = ("backup-table", ORDERS, "s3://kept/dumps", "--segments", "2")
SCENARIOS = [
    scenario(*DUMP, "--jobid", "one", "--metric", "Backups", rare=NO_ANSWER),
    scenario(*DUMP, "--jobid", "two", "--segment", "0", rare=NO_ANSWER),
    scenario(*DUMP, "--jobid", "two", "--segment", "1", rare=UNFINISHED),
    scenario(*DUMP, "--job", "s3://kept/jobs/dump", rare={*UNFINISHED, "s3:ListBucketMultipartUploads"}),
    scenario("backup-table", ORDERS, "s3://kept/exports", "--format", "export", rare=NO_ANSWER),
    scenario("backups", "list", "s3://kept/dumps"),
    scenario("backups", "verify", "s3://kept/dumps", "one"),
    scenario("diff-backup", ONE, COPIES, "--settle", "0", code=1, copies=DRIFTED),
    scenario("diff-backup", ONE, "s3://kept/exports"),
    scenario("restore", ONE, COPIES, "--dry-run", code=1, copies=DRIFTED),
    scenario("restore", ONE, COPIES),
    scenario("restore", ONE, COPIES, "--only-missing", copies=DRIFTED, rare={"dynamodb:BatchGetItem"}),
    scenario("restore", "s3://kept/exports", COPIES, "--overwrite", "--force-global-table", copies=DRIFTED),
    scenario("restore", ONE, "us-east-1/made", "--create", "--job", "s3://kept/jobs/back"),
    scenario("restore", INCR, "us-east-1/orders", "--at", "AT", "--overwrite"),
    scenario("diff-backup", INCR, ORDERS, "--settle", "0", "--at", "AT", code=1),
    scenario("incremental-snapshot", f"{INCR}/orders", "s3://kept/snaps/a.gz", "--metric", "us-east-1/B/orders",
             rare={*UNFINISHED, "s3:DeleteObject"}),
    scenario("incremental-snapshot", f"{INCR}/orders", "s3://kept/snaps/a.gz", "--at", "AT", rare={*UNFINISHED, "s3:ListBucket"}),
    scenario("incremental-snapshot", f"{INCR}/orders", "s3://kept/exports2", "--format", "export", rare=UNFINISHED),
    scenario("restore", "s3://kept/snaps/a.gz", COPIES, rare={"s3:ListBucket"}),
    scenario("incremental-backfill", ORDERS, "s3://kept/new", rare={"dynamodb:BatchGetItem", "s3:DeleteObject", "s3:GetObject"}),
    scenario("incremental-backup-record", ORDERS, "s3://kept/new", KEY, rare={"s3:PutObject", "s3:DeleteObject"}),
    scenario("incremental-backup-record", ORDERS, INCR, '{"id":"x"}', rare={"s3:DeleteObject"}),
    scenario("incremental-diff-record", ORDERS, "s3://kept/new", KEY),
    scenario("incremental-record-history", ORDERS, INCR, KEY, rare={"s3:ListBucket"}),
    scenario("backups", "prune", "s3://kept/dumps", "--keep-last", "1"),
    scenario("backups", "prune", "s3://kept/dumps", "--keep-last", "1", "--yes"),
]  # fmt: skip


class Stage:
    """All scenarios, played one after the other by users that have nothing but their policy."""

    def __init__(self, aws: JudgingAws, cli: Cli) -> None:
        self.cli = cli
        now = datetime.now(UTC).isoformat()
        self.commands = [tuple(now if word == "AT" else word for word in each.command) for each in SCENARIOS]
        self.policies = [json.loads(ran.stdout) for ran in self._printed()]
        users = [aws.user(policy) for policy in self.policies]
        copies = {user["AWS_ACCESS_KEY_ID"]: each.copies for user, each in zip(users, SCENARIOS, strict=True)}
        aws.before_run = lambda key: set_items(REGION, "copies", list(copies[key]))
        self.ran: list[Ran] = cli.each(*self.commands, environments=users)
        self.calls: list[list[Call]] = [aws.of(user) for user in users]

    def _printed(self) -> list[Ran]:
        told = self.cli.each(*(("iam-policy", "--account", ACCOUNT, *each) for each in self.commands))
        assert [(ran.code, ran.stderr) for ran in told] == [(0, "")] * len(told)
        return told


@pytest.fixture(scope="module")
def aws() -> Iterator[JudgingAws]:
    """One with two tables, and a bucket that keeps versions, with an incremental folder in it."""
    with judging_aws() as aws:
        s3 = boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=aws.url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        s3.create_bucket(Bucket="kept")
        s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
        for each in MUCH:
            key = json.dumps({"id": each["id"]}, separators=(",", ":")).encode()
            s3.put_object(
                Bucket="kept", Key=f"incr/orders/{object_name(key)}", Body=json.dumps(each).encode()
            )
        administrator = engines.moto(aws.url)
        for name in ("orders", "copies"):
            administrator.call("CreateTable", {
                "TableName": name,
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            }, REGION)  # fmt: skip
        ttl = {"Enabled": True, "AttributeName": "ttl"}
        administrator.call(
            "UpdateTimeToLive", {"TableName": "orders", "TimeToLiveSpecification": ttl}, REGION
        )
        set_items(REGION, "orders", [*MUCH, item("x", v=1)])
        yield aws


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, aws: JudgingAws) -> Stage:
    cli = Cli(tmp_path_factory.mktemp("policy"), {"AWS_ENDPOINT_URL": aws.url, "AWS_REGION": REGION})
    return Stage(aws, cli)


@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=[str(each) for each in SCENARIOS])
def test_a_policy_is_enough_and_nothing_in_it_is_unused(stage: Stage, number: int) -> None:
    scenario, policy = SCENARIOS[number], stage.policies[number]
    ran, calls = stage.ran[number], stage.calls[number]
    assert ran.code == scenario.code, ran
    assert "may not" not in ran.stderr
    assert {call.pair for call in calls if not allows(policy, call)} == set()
    # Of what a place holds one kind of object may be there, and others not.
    used: dict[str, bool] = {}
    for (action, _), is_used in uses(policy, calls).items():
        used[action] = used.get(action, False) or is_used
    assert {action for action, is_used in used.items() if not is_used} == scenario.rare


def test_policies_name_places_in_s3_exactly(stage: Stage) -> None:
    for policy in stage.policies:
        for statement in policy["Statement"]:
            resources = (
                statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            )
            for resource in resources:
                assert resource.startswith("arn:aws:dynamodb:") or resource == "*" or "kept" in resource
                assert resource != "arn:aws:s3:::kept/*"
            if {"s3:ListBucket", "s3:ListBucketVersions"} & set(statement["Action"]):
                assert list(statement["Condition"]) == ["StringLike"]
