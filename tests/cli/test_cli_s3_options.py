"""The options that say how S3 is reached: on every command that keeps something there, for every call it makes."""

from __future__ import annotations

import asyncio
import json
import shlex
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Cli, Ran
from tests.support.s3_proxy import S3Proxy
from tests.support.scenario import item, same_items, scene, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
OWNER = "123456789012"
KEY = "alias/backups"


@pytest.fixture
async def proxy(moto_url: str) -> AsyncIterator[S3Proxy]:
    async with S3Proxy(moto_url) as proxy:
        yield proxy


@pytest.fixture
async def bucket(moto_url: str) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    async with session().client("s3", region_name="us-east-1", endpoint_url=moto_url) as s3:
        await s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def cli(tmp_path: Path, endpoint: ScriptedDynamo) -> Cli:
    """A command line to which the environment says nothing of S3, and whose profiles have other keys."""
    profiles = tmp_path / "credentials"
    profiles.write_text("[keeper]\naws_access_key_id = KEEPER\naws_secret_access_key = secret\n")
    return Cli(
        tmp_path, {"AWS_ENDPOINT_URL_DYNAMODB": endpoint.url, "AWS_SHARED_CREDENTIALS_FILE": str(profiles)}
    )


async def run(cli: Cli, *arguments: str) -> Ran:
    """Run a command while the proxy serves."""
    return await asyncio.to_thread(cli, *arguments)


def given(proxy: S3Proxy) -> tuple[str, ...]:
    return (
        "--s3-endpoint", proxy.url, "--s3-profile", "keeper", "--s3-region", "eu-north-1",
        "--kms-key", KEY, "--bucket-owner", OWNER,
    )  # fmt: skip


def check(proxy: S3Proxy, *operations: str) -> None:
    """See that these calls were made, and all as the options say; forget them."""
    assert set(proxy.seen) == set(operations)
    for operation, requests in proxy.headers.items():
        for headers in requests:
            assert headers["x-amz-expected-bucket-owner"] == OWNER
            assert "Credential=KEEPER/" in headers["Authorization"]
            assert "/eu-north-1/s3/" in headers["Authorization"]
            if operation == "PutObject":
                assert headers["x-amz-server-side-encryption"] == "aws:kms"
                assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == KEY
    proxy.seen.clear()
    proxy.headers.clear()


async def test_a_journal_is_written_read_and_taken_back(
    cli: Cli, endpoint: ScriptedDynamo, proxy: S3Proxy, bucket: str
) -> None:
    played = scene(endpoint, [item("a", v=1), item("b", v=1)], [item("b", v=2)])
    place = f"s3://{bucket}/journal"
    options = (*given(proxy), "--settle", "0")
    ran = await run(cli, "replicate-record", *TABLES, '{"id":"a"}', "--journal", place, *options)
    assert ran.code == 0, ran.stderr
    check(proxy, "GetObject", "ListObjectsV2", "PutObject")
    ran = await run(cli, "diff-tables", *TABLES, "--repair", "--journal", place, *options)
    assert ran.code == 0, ran.stderr
    check(proxy, "GetObject", "PutObject")
    assert same_items(played.primary.items.values(), played.replica.items.values())
    told = await run(cli, "explain", *TABLES, '{"id":"b"}', "--journal", place, "--json", *options)
    assert [each["deed"] for each in json.loads(told.stdout)["journal"]] == ["patch"], told.stderr
    check(proxy, "GetObject", "ListObjectsV2")
    hint = next(line for line in " ".join(ran.stdout.split()).split("take it back: ")[1:])
    words = shlex.split(hint)
    assert words[:3] == ["asyncrep", "undo", place]
    undone = await run(cli, *words[1:], "--json")
    assert (undone.code, json.loads(undone.stdout)["taken_back"]) == (0, 2), undone.stderr
    check(proxy, "GetObject", "ListObjectsV2")


async def test_a_journal_is_written_by_every_process(
    cli: Cli, endpoint: ScriptedDynamo, proxy: S3Proxy, bucket: str
) -> None:
    played = scene(endpoint, [item(f"m{number}") for number in range(20)], [])
    options = ("--repair", "--processes", "2", "--segments", "4", "--settle", "0", "--max-delete", "0")
    ran = await run(cli, "diff-tables", *TABLES, *options, "--journal", f"s3://{bucket}/j", *given(proxy))
    assert ran.code == 0, ran.stderr
    assert same_items(played.primary.items.values(), played.replica.items.values())
    check(proxy, "GetObject", "ListObjectsV2", "PutObject")


async def test_a_job_is_kept_shown_added_up_and_removed(
    cli: Cli, endpoint: ScriptedDynamo, proxy: S3Proxy, bucket: str
) -> None:
    scene(endpoint, [item("a")], [item("a")])
    place = f"s3://{bucket}/job"
    options = given(proxy)
    ran = await run(cli, "diff-tables", *TABLES, "--job", place, *options)
    assert ran.code == 0, ran.stderr
    check(proxy, "GetObject", "PutObject")
    shown, added, removed = await asyncio.to_thread(
        cli.each,
        ("jobs", "show", place, "--json", *options),
        ("jobs", "merge", place, "--json", *options),
        ("jobs", "remove", place, *options),
    )
    assert json.loads(shown.stdout)["state"] == "done", shown.stderr
    assert (added.code, removed.code) == (0, 0), added.stderr + removed.stderr
    check(proxy, "GetObject", "ListObjectsV2", "DeleteObjects")


def test_options_that_cannot_have_an_effect_are_refused(cli: Cli) -> None:
    commands: tuple[tuple[str, ...], ...] = (
        ("diff-tables", *TABLES, "--kms-key", KEY),
        ("diff-tables", *TABLES, "--job", "nightly", "--s3-profile", "keeper"),
        ("repair", "-", *TABLES, "--s3-region", "eu-west-1"),
        ("undo", "journal.jsonl", "--s3-endpoint", "http://127.0.0.1:1"),
        ("replicate-record", *TABLES, '{"id":"a"}', "--bucket-owner", OWNER),
        ("explain", *TABLES, '{"id":"a"}', "--journal", "j.jsonl", "--s3-role-arn", "arn:aws:iam::1:role/x"),
        ("jobs", "show", "nightly", "--kms-key", KEY),
        ("jobs", "remove", "--done", "--kms-key", KEY),
        ("jobs", "merge", "a", "b", "--kms-key", KEY),
        ("replicate", *TABLES, "--dead-letter", "letters.jsonl", "--kms-key", KEY),
    )
    for command, ran in zip(commands, cli.each(*commands), strict=True):
        option = next(word for word in command if word.startswith(("--kms", "--s3", "--bucket")))
        assert ran.code == 2, command
        assert ran.sentence == f"{option} has an effect only on what is kept in S3, and nothing is."


WRONG = (
    ("--bucket-owner", "12345", 'The bucket owner must be an account of 12 digits, not "12345".'),
    ("--kms-key", "my key", '"my key" is not a KMS key: give its id, alias/NAME or ARN.'),
    ("--s3-endpoint", "here", 'The endpoint "here" must begin with http:// or https://.'),
    (
        "--s3-profile",
        "nobody",
        "No AWS credentials for s3://kept/j: The config profile (nobody) could not be found.",
    ),
    ("--s3-role-arn", "me", '"me" is not a role; it looks like arn:aws:iam::123456789012:role/NAME.'),
)


def test_a_value_that_cannot_be_is_named(cli: Cli) -> None:
    told = cli.each(*(("undo", "s3://kept/j", option, value) for option, value, _ in WRONG))
    for ran, (_, _, sentence) in zip(told, WRONG, strict=True):
        assert ran.code in {2, 3}
        assert ran.sentence.startswith(sentence)


async def test_the_environment_counts_where_an_option_says_nothing(
    cli: Cli, proxy: S3Proxy, bucket: str
) -> None:
    nowhere = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}
    undo = "undo", f"s3://{bucket}/j"
    environments = [{"AWS_ENDPOINT_URL_S3": proxy.url}, nowhere]
    commands = [undo, (*undo, "--s3-endpoint", proxy.url)]
    for ran in await asyncio.to_thread(lambda: cli.each(*commands, environments=environments)):
        assert (ran.code, ran.sentence) == (2, f"There is no journal s3://{bucket}/j.")
