"""incremental-backfill fills a folder, tells what it did, and goes on after an interruption."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from asyncrep.items.incremental import object_name
from tests.support.buckets import bucket_on
from tests.support.cli import ended, wait_until
from tests.support.scenario import item, items, key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

TABLE = "us-east-1/orders"
FILL = ("incremental-backfill", TABLE)


def folder_of(tmp_path: Path) -> Path:
    return tmp_path / "incr" / "orders"


def keep(folder: Path, made: Iterable[Item]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        (folder / object_name(key(each["id"]["S"]))).write_text(json.dumps(each))


def kept(folder: Path) -> dict[str, Item]:
    found = [json.loads(path.read_bytes()) for path in folder.iterdir() if not path.name.startswith(".")]
    return {each["id"]["S"]: each for each in found}


def test_a_folder_is_filled_and_the_summary_says_so(
    cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    table = endpoint.create_table("orders", items=items(30, v=1), stream="NEW_AND_OLD_IMAGES")
    keep(folder_of(tmp_path), [*items(10, v=1), item("k010", v=0), item("gone", v=1)])
    ran = cli(*FILL, tmp_path / "incr")
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    assert lines[1:6] == [
        f"{TABLE} → {folder_of(tmp_path)}",
        "30 items in the table",
        "19 objects put",
        "10 there already, and equal",
        "1 there already, and brought up to date",
    ]
    assert lines[-1] == "Every item has its object; diff-backup tells whether the whole folder is right."
    assert ran.stderr.splitlines()[-1].startswith("backfill: 30 items, ")
    assert "written, done" in ran.stderr
    assert {name: each for name, each in kept(folder_of(tmp_path)).items() if name != "gone"} == table.items


def test_a_folder_in_s3_is_filled(cli: Cli, endpoint: ScriptedDynamo, moto_url: str) -> None:
    endpoint.create_table("orders", items=items(5))
    with bucket_on(moto_url) as bucket:
        ran = cli(*FILL, f"s3://{bucket.name}/incr/", "--s3-endpoint", moto_url, "--json")
        names = bucket.names()
    assert (ran.code, ran.summary["repaired"], ran.summary["complete"]) == (0, 5, True)
    assert ran.summary["replica"] == f"s3://{bucket.name}/incr/orders"
    assert sorted(names) == sorted(f"incr/orders/{object_name(key(each['id']['S']))}" for each in items(5))


def test_an_object_that_holds_no_item_is_told(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=[item("a")])
    folder = folder_of(tmp_path)
    folder.mkdir(parents=True)
    (folder / object_name(key("a"))).write_text("{broken")
    ran = cli(*FILL, tmp_path / "incr")
    assert ran.code == 0
    told = " ".join(ran.stderr.split())
    assert f"Note: {folder / object_name(key('a'))} was no backup of an item: It holds no item" in told
    assert kept(folder) == {"a": item("a")}


def test_quiet_tells_nothing(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=items(3))
    ran = cli(*FILL, tmp_path / "incr", "--quiet")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_backfill_is_gone_on_with(
    cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path, number: int
) -> None:
    table = endpoint.create_table("orders", items=items(40, v=1))
    table.segment_of = lambda plain, total: int(plain[1:]) % total
    slow = endpoint.on("Scan", when=lambda body: body["Segment"] == 1).delay(20).forever()
    folder, fill = folder_of(tmp_path), (*FILL, tmp_path / "incr", "--segments", "2", "--job", "fill")
    with cli.start(*fill) as process:
        wait_until(lambda: folder.exists() and len(kept(folder)) == 20)
        process.send_signal(number)
        first = ended(process)
    slow.wait = 0
    if number == signal.SIGINT:
        assert first.code == 130
        assert "The run is incomplete: it ended before every item had its object." in first.stdout
        assert "The same command goes on with the job, which is kept in" in first.stderr
    assert "incremental-backfill" in cli("jobs", "list").stdout
    shown, told = cli.each(("jobs", "show", "fill"), ("jobs", "show", "fill", "--json"))
    table_of_segments = [line.split() for line in shown.stdout.splitlines()]
    assert ["segment", "reached"] in table_of_segments
    assert "replica" not in shown.stdout
    assert [each["replica"] for each in json.loads(told.stdout)["progress"]] == [None, None]
    second = cli(*fill, "--json")
    assert second.code == 0
    assert (second.summary["scanned_primary"], second.summary["complete"]) == (40, True)
    assert kept(folder) == table.items


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((TABLE, "s3:/x"), 2, '"s3:/x" is not a place in S3; write it as s3://BUCKET/PREFIX.'),
        (("orders", "incr"), 2, '"orders" is not a table location'),
        (("us-east-1/nope", "incr"), 3, "There is no table us-east-1/nope"),
        ((TABLE, "incr", "--segment", "1"), 2, "--segment 1 needs --segments N: segment 1 of how many?"),
        ((TABLE, "incr", "--concurrency", "0"), 2, "--concurrency must be 1 or more, not 0."),
        ((TABLE, "incr", "--kms-key", "no key"), 2, '"no key" is not a KMS key'),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(
    cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    endpoint.create_table("orders", items=items(3))
    ran = cli("incremental-backfill", *arguments)
    assert ran.code == code
    assert ran.sentence.startswith(sentence)
    assert not list(tmp_path.rglob("orders"))


def test_a_folder_that_is_a_file_is_told(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=items(3))
    (tmp_path / "incr").write_text("a file")
    ran = cli(*FILL, tmp_path / "incr")
    assert ran.code == 3
    assert str(tmp_path / "incr") in ran.sentence
