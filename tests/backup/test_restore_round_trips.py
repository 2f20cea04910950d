"""What was dumped comes back as it was, of every type, on every engine, through every layout."""

from __future__ import annotations

import json
import random
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Limits, open_table
from asyncrep.aws.place import Place
from asyncrep.backup.check import diff_backup
from asyncrep.backup.creation import create_for
from asyncrep.backup.dump import backup_table
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.opening import open_backup
from asyncrep.backup.restore import restore
from asyncrep.items.incremental import object_name
from asyncrep.location import TableRef
from tests.support.engines import REGION, Engine, moto
from tests.support.restores import foreign_dump, jsonl, put
from tests.support.scenario import item, session
from tests.support.values import equal

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.backup.report import BackupFormat, RestoreReport
    from tests.support.buckets import Bucket
    from tests.support.values import Item

LIMITS = Limits(segments=3, concurrency=8)


def every_type() -> list[Item]:
    """Items of every type, and of what other tools have lost."""
    digits = "1234567890123456789012345678901234567.8"
    return [
        item("number")
        | {"n": {"N": digits}, "tiny": {"N": "0." + "0" * 120 + "1"}, "set": {"NS": ["-1.5", digits]}},
        item("binary", b=b"\x00\xff", bs={b"a", b"b"}),
        item("empty", s="", b=b"", l=[], m={}),
        item("__proto__", m={"__proto__": {"constructor": 1}}) | {"__proto__": {"S": "x"}},
        item("lines", s="a\u2028b\u2029c\r\n\x85d", quotes='"\\N":"1e5"'),
        item("kinds", yes=True, no=False, nothing=None, ss={"é", "e"}, l=[1, "1", b"1", [True]]),
        item("large", s="x" * 390_000),
        item("\U0001f40d"),
    ]


async def restored(source: str | Path, engine: Engine, table: str, **options: Any) -> RestoreReport:
    """Restore into a table of an engine."""
    async with (
        open_backup(str(source), table_name=table, session=session()) as backup,
        open_table(f"{REGION}/{table}", endpoint_url=engine.url, session=session()) as opened,
    ):
        return await restore(backup, opened, limits=LIMITS, **options)


def same(left: list[Item], right: list[Item], *keys: str) -> bool:
    """Whether both hold the same items by value."""
    ours, theirs = (
        {json.dumps([each[name] for name in keys]): each for each in side} for side in (left, right)
    )
    return ours.keys() == theirs.keys() and all(equal(each, theirs[name]) for name, each in ours.items())


@pytest.mark.parametrize("form", ["jsonl", "export"])
async def test_what_was_dumped_comes_back_in_a_table_made_for_it(
    engine: Engine, tmp_path: Path, form: BackupFormat
) -> None:
    stock = [*every_type(), *(item(f"k{number}", n=number) for number in range(40))]
    source = engine.create_table(items=stock)
    async with open_table(f"{REGION}/{source}", endpoint_url=engine.url, session=session()) as table:
        await backup_table(table, LocalFolder(tmp_path), format=form, limits=LIMITS)
    name = f"made-{uuid.uuid4().hex[:8]}"
    place = Place(TableRef.parse(f"{REGION}/{name}", endpoint_url=engine.url))
    async with open_backup(str(tmp_path)) as backup:
        await create_for(backup, place)
    try:
        report = await restored(tmp_path, engine, name, check_first=False)
        assert report.complete
        assert same(engine.items(name), engine.items(source), "id")
        async with open_backup(str(tmp_path)) as backup, place.open() as table:
            checked = await diff_backup(backup, table, limits=LIMITS)
        assert (checked.matched, checked.drift) == (len(stock), 0)
    finally:
        engine.call("DeleteTable", {"TableName": name})


@pytest.mark.parametrize(
    ("hash", "range"), [(("h", "B"), ("r", "N")), (("h", "N"), ("r", "B")), (("h", "S"), ("r", "S"))]
)
async def test_keys_of_every_type_come_back(
    engine: Engine, tmp_path: Path, hash: tuple[str, str], range: tuple[str, str]
) -> None:
    spelled = {
        "S": ["a", '"', "\u2028", "é"],
        "N": ["1e+21", "-0.5", "1E-7", "12"],
        "B": ["AA==", "/+8=", "AQID", "eA=="],
    }
    stock: list[Item] = [
        {hash[0]: {hash[1]: ours}, range[0]: {range[1]: theirs}, "v": {"NS": ["1e+2", "7"]}}
        for ours in spelled[hash[1]]
        for theirs in spelled[range[1]]
    ]
    random.Random(1).shuffle(stock)
    put(tmp_path, foreign_dump([[dict(reversed(each.items())) for each in stock[:9]], stock[9:]]))
    table = engine.create_table(hash=hash, range=range)
    report = await restored(tmp_path, engine, table)
    assert (report.written, report.complete) == (16, True)
    assert len(engine.items(table)) == 16
    async with (
        open_backup(str(tmp_path)) as backup,
        open_table(f"{REGION}/{table}", endpoint_url=engine.url, session=session()) as opened,
    ):
        again = await restore(backup, opened, mode="only-missing", limits=LIMITS)
    assert (again.written, again.present) == (0, 16)


async def test_what_an_engine_refuses_is_told_and_the_rest_comes_back(engine: Engine, tmp_path: Path) -> None:
    bad = [item("too-large", s="x" * 420_000), item("number") | {"n": {"N": "1e500"}}, {"id": {"S": ""}}]
    good = [item(f"k{number}") for number in range(40)]
    lines = [*good[:20], bad[0], *good[20:30], bad[1], bad[2], *good[30:]]
    put(tmp_path, {"dump": jsonl(lines)})
    table = engine.create_table()
    report = await restored(tmp_path / "dump", engine, table)
    refused = {each.line for each in report.refused}
    assert refused <= {21, 32, 33}
    assert {33} <= refused
    assert report.written + report.failed == 43
    written = {each["id"]["S"] for each in engine.items(table)}
    assert written >= {each["id"]["S"] for each in good}


async def test_places_in_s3_and_incremental_folders_are_restored(bucket: Bucket, moto_url: str) -> None:
    aws = moto(moto_url)
    stock = [*every_type()[:6], *(item(f"k{number}", n=number) for number in range(30))]
    table = aws.create_table()
    for each in stock:
        name = object_name(json.dumps({"id": each["id"]}, separators=(",", ":"), ensure_ascii=False).encode())
        bucket.put(f"incr/{table}/{name}", jsonl([each])[:-1])
    for name, data in foreign_dump([stock[:20], stock[20:]]).items():
        bucket.put(f"dumps/job/{name}", data)
    from_folder = await restored(f"s3://{bucket.name}/incr", aws, table)
    assert (from_folder.written, from_folder.complete) == (36, True)
    assert same(aws.items(table), stock, "id")
    from_dump = await restored(f"s3://{bucket.name}/dumps", aws, table, mode="only-missing")
    assert (from_dump.written, from_dump.present) == (0, 36)


async def test_objects_of_a_folder_that_hold_no_item_are_told_and_the_rest_comes_back(
    bucket: Bucket, moto_url: str
) -> None:
    aws = moto(moto_url)
    table = aws.create_table()
    for number in range(5):
        each = item(f"k{number}")
        bucket.put(f"{table}/{object_name(jsonl([each])[:-1])}", jsonl([each])[:-1])
    bucket.put(f"{table}/{'0' * 64}", b"hello")
    for mode in ("empty", "overwrite", "only-missing"):
        report = await restored(f"s3://{bucket.name}/{table}", aws, table, mode=mode)
        assert (report.failed, report.complete) == (1, False)
        assert [each.file for each in report.refused] == [f"s3://{bucket.name}/{table}/{'0' * 64}"]
        assert len(aws.items(table)) == 5
