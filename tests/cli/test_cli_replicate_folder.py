"""`replicate` to incremental folders: what it refuses, that it keeps them in line, and what AWS must allow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from asyncrep.items.incremental import object_name
from tests.support.cli import wait_until
from tests.support.fleet import logging
from tests.support.scenario import item, items, key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

SOURCE = "us-east-1/orders"
QUICK = ("--task-name", "t", "--failover", "3", "--poll", "0.1")


def kept(folder: Path) -> dict[str, Item]:
    if not folder.exists():
        return {}
    found = [json.loads(path.read_bytes()) for path in folder.iterdir() if not path.name.startswith(".")]
    return {each["id"]["S"]: each for each in found}


def test_a_worker_keeps_tables_and_folders_in_line(
    cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    source = endpoint.create_table("orders", "us-east-1", items=items(10, v=1))
    replica = endpoint.create_table("orders", "eu-west-1")
    source.enable_stream()
    places = ((tmp_path / "one").as_uri(), "eu-west-1/orders", str(tmp_path / "two"))
    with logging(cli, "replicate", SOURCE, *places, *QUICK, "--bootstrap") as worker:
        wait_until(lambda: worker.told("started"))
        source.put(item("new", v=2))
        source.delete("k000")
        wait_until(
            lambda: (
                replica.items
                == source.items
                == kept(tmp_path / "one/orders")
                == kept(tmp_path / "two/orders")
            )
        )
        [started] = worker.told("started")
        assert started["destinations"] == [
            f"{tmp_path}/one/orders",
            "eu-west-1/orders",
            f"{tmp_path}/two/orders",
        ]
    ran = cli("replicate", SOURCE, *places, *QUICK, "--status", "--json")
    assert ran.code == 0
    assert ran.summary["destinations"] == f"{tmp_path}/one/orders eu-west-1/orders {tmp_path}/two/orders"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            (SOURCE, "s3://bucket/incr", "--guard", "version"),
            2,
            "--guard is for tables: a backup orders changes itself, by the numbers that it keeps with its objects.",
        ),
        (
            ("s3://bucket/incr", SOURCE),
            2,
            "s3://bucket/incr is no table: only a table has a stream to follow.",
        ),
        ((SOURCE, "s3:/incr"), 2, '"s3:/incr" is not a place in S3; write it as s3://BUCKET/PREFIX.'),
        (
            (SOURCE, "./incr", "--rename", "a=b"),
            2,
            "A backup holds whole items: their attributes cannot be left out or renamed.",
        ),
        (
            (SOURCE, "./incr", "--kms-key", "alias/x"),
            2,
            "--kms-key has an effect only on what is kept in S3, and nothing is.",
        ),
        ((SOURCE, "./incr", "./incr/"), 2, "incr/orders is there twice."),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(
    cli: Cli, endpoint: ScriptedDynamo, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    endpoint.create_table("orders", "us-east-1", stream="NEW_AND_OLD_IMAGES")
    ran = cli("replicate", *arguments)
    assert ran.code == code
    assert ran.sentence.endswith(sentence)
    assert set(endpoint._tables) == {("us-east-1", "orders")}


def test_a_policy_allows_what_a_folder_needs(cli: Cli, endpoint: ScriptedDynamo) -> None:
    del endpoint
    ran = cli(
        "iam-policy", "--account", "123456789012", "replicate", SOURCE, "s3://my-bucket/incr", "--bootstrap"
    )
    assert ran.code == 0, ran.stderr
    statements = json.loads(ran.stdout)["Statement"]
    allowed = {
        (action, resource)
        for each in statements
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
        for resource in ([each["Resource"]] if isinstance(each["Resource"], str) else each["Resource"])
        if action.startswith("s3:")
    }
    objects = "arn:aws:s3:::my-bucket/incr/orders/*"
    assert allowed == {
        ("s3:PutObject", objects),
        ("s3:GetObject", objects),
        ("s3:DeleteObject", objects),
        ("s3:ListBucket", "arn:aws:s3:::my-bucket"),
    }


def test_an_object_is_named_like_a_backfill_names_it(
    cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    endpoint.create_table("orders", "us-east-1", items=[item("a")])
    assert cli("incremental-backfill", SOURCE, tmp_path / "incr", "-q").code == 0
    assert [path.name for path in (tmp_path / "incr/orders").iterdir() if path.name[0] != "."] == [
        object_name(key("a"))
    ]
