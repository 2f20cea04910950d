"""``iam-policy``: what it prints for a command line, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.aws.leases import default_task_table
from tests.support.cli import Cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
ACCOUNT = ("--account", "123456789012")
ROLE = "arn:aws:iam::210987654321:role/Replica"


def statements(policy: dict[str, Any]) -> dict[str, tuple[set[str], str]]:
    assert policy["Version"] == "2012-10-17"
    found = {
        each["Sid"]: ({name.partition(":")[2] for name in each["Action"]}, each["Resource"])
        for each in policy["Statement"]
    }
    assert len(found) == len(policy["Statement"])
    return found


def policy_of(cli: Cli, *command: str) -> dict[str, tuple[set[str], str]]:
    ran = cli("iam-policy", *ACCOUNT, *command)
    assert (ran.code, ran.stderr) == (0, "")
    return statements(json.loads(ran.stdout))


def test_a_check_may_read_and_a_repair_may_also_write(cli: Cli, endpoint: ScriptedDynamo) -> None:
    read = {"BatchGetItem", "DescribeTable", "DescribeTimeToLive", "Scan"}
    primary, replica = (
        f"arn:aws:dynamodb:{region}:123456789012:table/orders" for region in ("us-east-1", "eu-west-1")
    )
    check = {"ReadPrimary": (read, primary), "ReadReplica": (read, replica)}
    assert policy_of(cli, "diff-tables", *TABLES, "--json", "--output", "d.jsonl") == check
    assert policy_of(cli, "diff-tables", *TABLES, "--repair") == check | {
        "WriteReplica": ({"DeleteItem", "PutItem", "UpdateItem"}, replica),
        "ReadGlobalTable": (
            {"DescribeGlobalTable"},
            "arn:aws:dynamodb::123456789012:global-table/orders",
        ),
    }
    assert endpoint.calls == []
    assert list(cli.folder.iterdir()) == []


def test_the_same_command_line_has_the_same_policy_letter_for_letter(cli: Cli) -> None:
    command = ("iam-policy", *ACCOUNT, "diff-tables", *TABLES, "--repair", "--replica-role-arn", ROLE)
    assert len({ran.stdout for ran in cli.each(command, command)} | {cli(*command).stdout}) == 1


def test_tables_and_options_come_from_where_the_command_has_them(cli: Cli) -> None:
    (cli.folder / "asyncrep.toml").write_text('primary = "us-east-1/ours"\nreplica = "eu-west-1/theirs"\n')
    found = policy_of(cli, "diff-record", '{"id":"a"}')
    assert [resource.rpartition("/")[2] for _, resource in found.values()] == ["ours", "theirs"]


def test_the_account_is_asked_of_sts_only_where_nothing_tells_it(
    cli: Cli, endpoint: ScriptedDynamo, moto_url: str
) -> None:
    arns = (
        "arn:aws:dynamodb:us-east-1:111111111111:table/orders",
        "arn:aws-cn:dynamodb:cn-north-1:222222222222:table/orders",
    )
    told, role = cli.each(
        ("iam-policy", "plan", *arns),
        ("iam-policy", "plan", arns[0], "eu-west-1/orders", "--replica-role-arn", ROLE),
    )
    assert [each["Resource"] for each in json.loads(told.stdout)["Statement"]] == list(arns)
    assert statements(json.loads(role.stdout).pop(ROLE)).keys() == {"ReadReplica"}
    assert endpoint.calls == []
    cli.environment["AWS_ENDPOINT_URL"] = moto_url
    asked = cli("iam-policy", "plan", arns[0], "eu-west-1/orders")
    assert statements(json.loads(asked.stdout))["ReadReplica"][1] == (
        "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"
    )


def test_an_account_that_cannot_be_found_out_is_one_sentence_with_advice(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    del cli.environment["AWS_ACCESS_KEY_ID"], cli.environment["AWS_SECRET_ACCESS_KEY"]
    unknown, local = cli.each(
        ("iam-policy", "plan", *TABLES), ("iam-policy", "plan", "localhost:8000/orders", TABLES[1])
    )
    assert (unknown.code, unknown.stdout, local.code, local.stdout) == (3, "", 2, "")
    assert "us-east-1/orders is not known: name it with --account." in unknown.sentence
    assert local.sentence.endswith("name one with --account.")


def test_whoever_acts_as_several_identities_gets_a_policy_for_each(cli: Cli) -> None:
    command = ("diff-tables", *TABLES, "--repair", "--primary-profile", "prod", "--replica-role-arn", ROLE)
    everything, one, nobody = cli.each(
        ("iam-policy", *ACCOUNT, *command),
        ("iam-policy", *ACCOUNT, "--identity", "profile prod", *command),
        ("iam-policy", *ACCOUNT, "--identity", "prod", *command),
    )
    policies = json.loads(everything.stdout)
    assert {identity: set(statements(policy)) for identity, policy in policies.items()} == {
        "default credentials": {"AssumeReplicaRole"},
        "profile prod": {"ReadPrimary"},
        ROLE: {"ReadReplica", "WriteReplica", "ReadGlobalTable"},
    }
    assert statements(policies["default credentials"])["AssumeReplicaRole"] == ({"AssumeRole"}, ROLE)
    assert all(":210987654321:" in resource for _, resource in statements(policies[ROLE]).values())
    assert json.loads(one.stdout) == policies["profile prod"]
    assert (nobody.code, nobody.stdout) == (2, "")
    assert '"default credentials", "profile prod"' in nobody.sentence


def test_explain_says_of_each_action_what_it_is_for(cli: Cli) -> None:
    ran = cli("iam-policy", *ACCOUNT, "--explain", "diff-tables", *TABLES, "--repair")
    policy = json.loads(ran.stdout)
    for each in policy["Statement"]:
        assert f"{each['Sid']}: " in ran.stderr
        for action in each["Action"]:
            assert f"  {action}: " in ran.stderr
    optional = {
        line.split(": ")[0].strip() for line in ran.stderr.splitlines() if "Optional; without it" in line
    }
    assert optional == {"dynamodb:DescribeTimeToLive", "dynamodb:DescribeGlobalTable"}


def test_a_worker_may_follow_the_stream_write_to_every_destination_and_share_the_leases(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    def table(region: str, name: str) -> str:
        return f"arn:aws:dynamodb:{region}:123456789012:table/{name}"

    task = default_task_table("us-east-1", "orders", [("eu-west-1", "orders"), ("eu-west-1", "copies")])
    opened = {"DescribeTable", "DescribeTimeToLive"}
    found = policy_of(cli, "replicate", *TABLES, "eu-west-1/copies")
    assert found == {
        "ReadSource": (opened | {"BatchGetItem"}, table("us-east-1", "orders")),
        "ReadStream": (
            {"DescribeStream", "GetRecords", "GetShardIterator"},
            table("us-east-1", "orders") + "/stream/*",
        ),
        "ReadDestination": (opened, table("eu-west-1", "orders")),
        "ReadGlobalTable": ({"DescribeGlobalTable"}, "arn:aws:dynamodb::123456789012:global-table/orders"),
        "WriteDestination": ({"BatchWriteItem"}, table("eu-west-1", "orders")),
        "ReadDestination2": (opened, table("eu-west-1", "copies")),
        "WriteDestination2": ({"BatchWriteItem"}, table("eu-west-1", "copies")),
        "ShareLeases": (
            {"CreateTable", "DeleteItem", "DescribeTable", "GetItem", "Scan", "UpdateItem"},
            table("us-east-1", task),
        ),
    }
    assert endpoint.calls == []


def test_destinations_of_one_region_share_a_guard_table_and_others_have_their_own(cli: Cli) -> None:
    found = policy_of(
        cli, "replicate", *TABLES, "eu-west-1/copies", "ap-south-1/orders", "--guard", "sequence"
    )
    assert {sid: resource for sid, (_, resource) in found.items() if sid.startswith("WriteGuard")} == {
        "WriteGuard": "arn:aws:dynamodb:eu-west-1:123456789012:table/asyncrep-guard",
        "WriteGuard2": "arn:aws:dynamodb:ap-south-1:123456789012:table/asyncrep-guard",
    }


@pytest.mark.parametrize(
    ("url", "arn"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/111111111111/dead", "arn:aws:sqs:eu-west-1:111111111111:dead"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/111111111111/d.fifo", "arn:aws-cn:sqs:cn-north-1:111111111111:d.fifo"),
        ("http://127.0.0.1:9324/queue/dead", "arn:aws:sqs:us-east-1:123456789012:dead"),
    ],
)  # fmt: skip
def test_a_queue_is_granted_where_its_url_says_it_is(cli: Cli, url: str, arn: str) -> None:
    found = policy_of(cli, "replicate", *TABLES, "--dead-letter", url)
    assert found["SendDeadLetters"] == ({"SendMessage"}, arn)


def test_leases_dead_letters_and_metrics_belong_to_whoever_reads_the_source(cli: Cli) -> None:
    more = (
        "--primary-role-arn",
        ROLE,
        "--replica-profile",
        "far",
        "--metric",
        "M",
        "--dead-letter",
        "s3://kept/a",
    )
    ran = cli("iam-policy", *ACCOUNT, "replicate", *TABLES, *more)
    policies = {identity: statements(policy) for identity, policy in json.loads(ran.stdout).items()}
    assert {identity: set(found) for identity, found in policies.items()} == {
        "default credentials": {"AssumeSourceRole"},
        ROLE: {"ReadSource", "ReadStream", "ShareLeases", "DeadLetterObjects", "Metrics"},
        "profile far": {"ReadDestination", "ReadGlobalTable", "WriteDestination"},
    }
    assert ":us-east-1:210987654321:table/" in policies[ROLE]["ShareLeases"][1]
    assert policies[ROLE]["DeadLetterObjects"] == ({"PutObject"}, "arn:aws:s3:::kept/a/*")


def test_leases_of_a_source_of_another_account_are_the_caller_s(cli: Cli) -> None:
    far = "arn:aws:dynamodb:us-east-1:111111111111:table/orders"
    found = policy_of(cli, "replicate", far, TABLES[1], "--task-name", "nightly")
    assert found["ReadSource"][1] == far
    assert found["ShareLeases"][1] == (
        "arn:aws:dynamodb:us-east-1:123456789012:table/DynamoDBCrossRegionReplicationnightly"
    )


@pytest.mark.parametrize(
    "command",
    [
        ("diff-tables", *TABLES, "--no-such-option"),
        ("diff-tables", *TABLES, "--concurrency", "many"),
        ("diff-tables", "us-east-1/orders"),
        ("plan", *TABLES, "third"),
        ("diff-record", TABLES[0], "{}"),
        ("diff-tables", *TABLES, "--dry-run"),
        ("diff-tables", *TABLES, "--backfill", "--repair", "--no-delete"),
        ("undo", "no-such-journal.jsonl"),
        ("no-such-command",),
        ("replicate", TABLES[0]),
        ("replicate", *TABLES, "--guard", "none-such"),
        ("replicate", *TABLES, "--bootstrap", "--event", "INSERT"),
        ("replicate", *TABLES, "--dead-letter", "https://example.com/"),
    ],
)
def test_what_the_command_refuses_is_refused_in_its_own_words(cli: Cli, command: tuple[str, ...]) -> None:
    itself, policy = cli.each(command, ("iam-policy", *ACCOUNT, *command))
    assert (policy.code, policy.stdout) == (2, "")
    assert policy.stderr.splitlines()[-3:] == itself.stderr.splitlines()[-3:]


def test_jobs_need_permissions_only_where_they_are_in_s3(cli: Cli) -> None:
    names = ("s3://kept/jobs/a", "nightly", "s3://kept/jobs/b")
    here, merge, remove, dry = cli.each(
        ("iam-policy", "jobs", "show", "nightly"),
        ("iam-policy", "jobs", "merge", *names),
        ("iam-policy", "jobs", "remove", names[0]),
        ("iam-policy", "jobs", "remove", names[0], "--dry-run"),
    )
    assert (here.code, here.stdout) == (2, "")
    assert statements(json.loads(merge.stdout)) == {
        "Job1Objects": ({"GetObject"}, "arn:aws:s3:::kept/jobs/a/*"),
        "Job1Names": ({"ListBucket"}, "arn:aws:s3:::kept"),
        "Job2Objects": ({"GetObject"}, "arn:aws:s3:::kept/jobs/b/*"),
        "Job2Names": ({"ListBucket"}, "arn:aws:s3:::kept"),
    }
    assert statements(json.loads(remove.stdout))["Job1Objects"][0] == {"DeleteObject", "GetObject"}
    assert statements(json.loads(dry.stdout))["Job1Objects"][0] == {"GetObject"}


@pytest.mark.parametrize("command", ["demo", "sandbox", "iam-policy"])
def test_a_command_that_calls_no_aws_needs_no_policy(cli: Cli, command: str) -> None:
    arguments = ["plan", *TABLES] if command == "iam-policy" else []
    ran = cli("iam-policy", command, *arguments)
    assert (ran.code, ran.stdout) == (2, "")
    assert "needs no policy" in ran.sentence


HOSTILE_TABLES = [
    "us-east-1/*",
    "us-east-1/order?",
    'us-east-1/orders"',
    "us-east-1/a/b",
    "us-east-1/${aws:username}",
    "us-east-1/orders\n",
    "*/orders",
    "arn:aws:dynamodb:us-east-1:123456789012:table/*",
    "arn:aws:dynamodb:*:123456789012:table/orders",
    "arn:aws:dynamodb:us-east-1:*:table/orders",
    "arn:*:dynamodb:us-east-1:123456789012:table/orders",
    'arn:aws:dynamodb:us-east-1:123456789012:table/orders","*',
]


def test_a_name_can_neither_widen_a_policy_nor_break_out_of_it(cli: Cli) -> None:
    refused: list[Ran] = cli.each(
        *(("iam-policy", *ACCOUNT, "plan", name, TABLES[1]) for name in HOSTILE_TABLES),
        *(
            (
                "iam-policy",
                *ACCOUNT,
                "plan",
                *TABLES,
                "--replica-role-arn",
                f"arn:aws:iam::123456789012:role/{name}",
            )
            for name in ("*", "R*", 'R"', "${aws:username}")
        ),
        *(
            ("iam-policy", "--account", name, "plan", *TABLES)
            for name in ("*", "12345678901", "1234567890123", "x")
        ),
    )
    assert [(ran.code, ran.stdout) for ran in refused] == [(2, "")] * len(refused)
    for ran in refused:
        assert ran.sentence
