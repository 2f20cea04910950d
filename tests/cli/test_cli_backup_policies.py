"""``iam-policy`` of the commands about backups: identities, keys and places."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.cli import Cli, Ran
    from tests.support.scripted import ScriptedDynamo

TABLE = "us-east-1/orders"
ACCOUNT = ("--account", "123456789012")
ROLE = "arn:aws:iam::210987654321:role/Storage"
KEY = "11111111-2222-3333-4444-555555555555"
DUMP = ("backup-table", TABLE, "s3://kept/dumps")


def statements(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["Sid"]: each for each in policy["Statement"]}


def policy_of(cli: Cli, *command: str) -> dict[str, dict[str, Any]]:
    ran = cli("iam-policy", *ACCOUNT, *command)
    assert (ran.code, ran.stderr) == (0, "")
    return statements(json.loads(ran.stdout))


def test_a_dump_reads_its_table_and_writes_under_its_prefix(cli: Cli, endpoint: ScriptedDynamo) -> None:
    found = policy_of(cli, *DUMP, "--metric", "Backups")
    assert {
        sid: (each["Action"], each["Resource"], each.get("Condition")) for sid, each in found.items()
    } == {
        "ReadTable": (
            ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:Scan"],
            "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
            None,
        ),
        "BackupObjects": (
            ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            "arn:aws:s3:::kept/dumps/*",
            None,
        ),
        "BackupNames": (["s3:ListBucket"], "arn:aws:s3:::kept", {"StringLike": {"s3:prefix": "dumps/*"}}),
        "Metrics": (
            ["cloudwatch:PutMetricData"],
            "*",
            {"StringEquals": {"cloudwatch:namespace": "Backups"}},
        ),
    }
    assert endpoint.calls == []


@pytest.mark.parametrize(
    ("key", "more", "resource", "condition"),
    [
        (KEY, (), f"arn:aws:kms:us-east-1:123456789012:key/{KEY}", None),
        (KEY, ("--s3-region", "eu-west-1"), f"arn:aws:kms:eu-west-1:123456789012:key/{KEY}", None),
        (f"arn:aws-cn:kms:cn-north-1:210987654321:key/{KEY}", (), f"arn:aws-cn:kms:cn-north-1:210987654321:key/{KEY}", None),
        (
            "alias/backups",
            (),
            "arn:aws:kms:us-east-1:123456789012:key/*",
            {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/backups"}},
        ),
    ],
)  # fmt: skip
def test_a_key_is_granted_where_it_is(
    cli: Cli, key: str, more: tuple[str, ...], resource: str, condition: dict[str, Any] | None
) -> None:
    written = policy_of(cli, *DUMP, "--kms-key", key, *more)["BackupKey"]
    assert written["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert (written["Resource"], written.get("Condition")) == (resource, condition)


def test_who_only_reads_may_only_decrypt(cli: Cli) -> None:
    arn = f"arn:aws:kms:us-east-1:123456789012:key/{KEY}"
    for command in (
        ("backups", "list", "s3://kept/dumps"),
        ("restore", "s3://kept/dumps/one", TABLE),
        ("diff-backup", "s3://kept/dumps/one", TABLE),
    ):
        [key] = [
            each for sid, each in policy_of(cli, *command, "--kms-key", arn).items() if sid.endswith("Key")
        ]
        assert key["Action"] == ["kms:Decrypt"]


def test_the_account_of_a_key_must_be_told_where_nothing_tells_it(cli: Cli) -> None:
    ran = cli("iam-policy", "backups", "list", "s3://kept/dumps", "--kms-key", KEY)
    assert (ran.code, ran.sentence) == (
        2,
        f"The account of the key {KEY} is not known: name one with --account.",
    )


def test_s3_is_reached_as_the_table_unless_it_has_an_identity_of_its_own(cli: Cli) -> None:
    def policies(*more: str) -> dict[str, set[str]]:
        ran = cli("iam-policy", *ACCOUNT, *DUMP, *more)
        told = json.loads(ran.stdout)
        told = told if "Statement" not in told else {"all": told}
        return {identity: set(statements(policy)) for identity, policy in told.items()}

    everything = {"ReadTable", "BackupObjects", "BackupNames"}
    assert policies("--profile", "prod") == {"all": everything}
    assert policies("--role-arn", ROLE) == {"default credentials": {"AssumeTableRole"}, ROLE: everything}
    assert policies("--s3-role-arn", ROLE) == {
        "default credentials": {"ReadTable", "AssumeStorageRole"},
        ROLE: {"BackupObjects", "BackupNames"},
    }
    assert policies("--profile", "prod", "--s3-profile", "far") == {
        "profile prod": {"ReadTable"},
        "profile far": {"BackupObjects", "BackupNames"},
    }


def test_what_is_verified_and_removed_is_written_to_only_then(cli: Cli) -> None:
    def actions(*command: str) -> list[str]:
        found: list[str] = policy_of(cli, "backups", *command)["BackupsObjects"]["Action"]
        return [each.removeprefix("s3:") for each in found]

    prune = ("prune", "s3://kept/dumps", "--keep-last", "1")
    assert actions("list", "s3://kept/dumps") == ["GetObject"]
    assert actions("verify", "s3://kept/dumps") == ["GetObject", "PutObject"]
    assert actions(*prune) == ["GetObject"]
    assert actions(*prune, "--yes") == ["DeleteObject", "GetObject", "PutObject"]


def test_a_restore_writes_what_its_options_say(cli: Cli) -> None:
    def writes(*options: str) -> tuple[list[str], bool]:
        found = policy_of(cli, "restore", "s3://kept/dumps/one", TABLE, *options)
        write = found["WriteTable"]["Action"] if "WriteTable" in found else []
        return [each.removeprefix("dynamodb:") for each in write], "dynamodb:Scan" in found["ReadTable"][
            "Action"
        ]

    assert writes() == (["BatchWriteItem"], True)
    assert writes("--overwrite") == (["BatchWriteItem"], False)
    assert writes("--only-missing") == (["PutItem"], False)
    assert writes("--create") == (["BatchWriteItem", "CreateTable", "UpdateTimeToLive"], True)
    assert writes("--dry-run") == ([], True)


def test_a_moment_of_a_folder_is_read_by_its_versions(cli: Cli) -> None:
    now = policy_of(cli, "restore", "s3://kept/incr", TABLE, "--overwrite")
    then = policy_of(cli, "restore", "s3://kept/incr", TABLE, "--overwrite", "--at", "2026-01-02T03:04:05Z")
    versions = {"s3:GetObjectVersion", "s3:ListBucketVersions"}
    for found, expected in ((now, set()), (then, versions)):
        used = {action for each in found.values() for action in each["Action"]}
        assert used & versions == expected


def test_what_lies_in_files_needs_no_policy(cli: Cli) -> None:
    ran: list[Ran] = cli.each(
        ("iam-policy", "backups", "list", "dumps"),
        ("iam-policy", "diff-backup", "./a", "./b"),
        ("iam-policy", "incremental-snapshot", "./a", "./b"),
    )
    assert [(each.code, each.stdout) for each in ran] == [(2, "")] * 3
    assert all("needs no policy" in each.sentence for each in ran)


@pytest.mark.parametrize(
    "command",
    [
        ("backup-table", TABLE, "s3://kept/dumps", "--segment", "1"),
        ("backup-table", TABLE, "s3://kept/dumps", "--format", "none-such"),
        ("backup-table", TABLE, "s3://UPPER/dumps"),
        ("backups", "list", "s3://kept/dumps", "--bucket-owner", "me"),
        ("diff-backup", "s3://kept/dumps/one", "no-table-and-no-file"),
        ("incremental-snapshot", "./a", "./b", "--metric", "Backups"),
        ("restore", "s3://kept/dumps/one", "orders"),
    ],
)
def test_what_the_command_refuses_is_refused_in_its_own_words(cli: Cli, command: tuple[str, ...]) -> None:
    itself, policy = cli.each(command, ("iam-policy", *ACCOUNT, *command))
    assert (policy.code, policy.stdout) == (2, "")
    assert policy.stderr.splitlines()[-1] == itself.stderr.splitlines()[-1]
