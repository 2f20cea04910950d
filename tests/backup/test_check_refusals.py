"""Backups that cannot be compared, and checks that end early: one sentence, nothing left behind."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.backup.key_finding import find_schema, named_attributes
from asyncrep.backup.opening import open_backup
from asyncrep.errors import BackupError, IncompleteRunError, UsageError
from asyncrep.model import KeyAttribute, KeySchema
from tests.support.backup_checks import Checking, between, objects
from tests.support.restores import BY_ID, changed, export, foreign_dump, jsonl, our_dump, put
from tests.support.scenario import NAME, item, items, key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo

BY_TWO: dict[str, Any] = {
    "AttributeDefinitions": [
        {"AttributeName": "n", "AttributeType": "N"}, {"AttributeName": "id", "AttributeType": "S"},
    ],
    "KeySchema": [{"AttributeName": "n", "KeyType": "RANGE"}, {"AttributeName": "id", "KeyType": "HASH"}],
}  # fmt: skip


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, empty."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def left(folder: Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


# ── Damaged backups ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"id":{"S":"a"}', "line 2: it is not JSON"),
        (b"[1]", "line 2: it is JSON, but no item"),
        (b'{"v":{"S":"a"}}', "line 2: the item has no 'id', which is part of the key id (S)."),
        (b'{"id":{"N":"1"}}', "line 2: the item's 'id' is of type N; the key is id (S)."),
    ],
)
async def test_a_line_that_is_no_item_is_named_before_the_table_is_read(
    endpoint: ScriptedDynamo, tmp_path: Path, temporary: Path, line: bytes, told: str
) -> None:
    put(tmp_path, {"0": gzip.compress(jsonl([item()]) + line + b"\n")})
    with pytest.raises(BackupError) as refused:
        await Checking.of(endpoint, [item()])(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path}/0, {told}")
    assert endpoint.count("Scan") == 0
    assert left(temporary) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"id":{"S":"a"},"v":5}', "each of its attributes has a type"),
        (b'{"id":{"S":"a"},"v":{}}', "has not exactly one type"),
        (b'{"id":{"S":"a"},"v":{"N":5}}', "a value is not of the type"),
        (b'{"id":{"S":"a"},"v":{"M":{"x":{"N":[]}}}}', "a value is not of the type"),
    ],
)
@pytest.mark.parametrize("held", [{"v": 1}, {"v": {"x": 1}}])
async def test_an_attribute_that_is_none_is_told_with_the_key(
    endpoint: ScriptedDynamo, tmp_path: Path, line: bytes, told: str, held: dict[str, Any]
) -> None:
    put(tmp_path, {"0": gzip.compress(line + b"\n")})
    check = Checking.of(endpoint, [item(**held)])
    with pytest.raises(BackupError) as refused:
        await check(tmp_path)
    assert str(refused.value).startswith(
        f'{tmp_path}, the item {{"id":{{"S":"a"}}}}: it is JSON, but no item'
    )
    assert told in str(refused.value)


async def test_gzip_that_breaks_off_is_told_before_the_table_is_read(
    endpoint: ScriptedDynamo, tmp_path: Path, temporary: Path
) -> None:
    put(tmp_path, {"0": gzip.compress(jsonl(items(1000, v=1)))[:-20]})
    with pytest.raises(BackupError, match=r"/0 breaks off after line .*: its gzip has no end"):
        await Checking.of(endpoint)(tmp_path)
    assert endpoint.count("Scan") == 0
    assert left(temporary) == []


async def test_a_file_that_is_not_what_the_manifest_says_is_told(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    made = our_dump([items(3)])
    put(tmp_path, made | {"0": made["0"][:-1] + bytes([made["0"][-1] ^ 1])})
    with pytest.raises(BackupError, match="/0 is"):
        await Checking.of(endpoint)(tmp_path)


async def test_objects_of_a_folder_that_hold_no_item_leave_the_check_incomplete(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, objects([*items(5), item("m")]) | {"0" * 64: b"no item"})
    check = Checking.of(endpoint, items(5))
    with pytest.raises(IncompleteRunError) as ended:
        await check(tmp_path)
    assert str(ended.value).startswith(
        f"One object of {tmp_path} could not be compared, it is {tmp_path}/0000"
    )
    report = ended.value.report
    assert (report.complete, report.matched, report.missing) == (False, 5, 1)
    assert check.log.records.keys() == {key("m")}


# ── What cannot be compared ─────────────────────────────────────────────────────────────────────────


async def test_a_backup_of_a_table_with_another_key_is_refused(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, our_dump([[item(n=1)]], create=BY_TWO))
    with pytest.raises(
        UsageError, match=r"is of a table with the key id \(S\) \+ n \(N\): it cannot be compared"
    ):
        await Checking.of(endpoint)(tmp_path)


async def test_changes_without_the_export_that_they_continue_are_refused(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    put(tmp_path, export("01", [changed(item())], since="2026-01-01T03:00:00.000Z"))
    with pytest.raises(UsageError, match="only changes"):
        await Checking.of(endpoint)(tmp_path / "AWSDynamoDB" / "01")


# ── The key, where no table tells it ────────────────────────────────────────────────────────────────


async def test_manifests_tell_the_key(tmp_path: Path) -> None:
    put(tmp_path / "ours", our_dump([[item(n=1)]], create=BY_TWO))
    put(tmp_path / "theirs", foreign_dump([[item(n=1), item(n=2)]]))
    for pair in (("ours", "theirs"), ("theirs", "ours")):
        first, second = (tmp_path / name for name in pair)
        (_, report), _ = await between(first, second)
        assert (report.matched, report.drift) == (1, 1)


async def test_a_folder_tells_the_key_by_the_names_of_its_objects(tmp_path: Path) -> None:
    put(tmp_path / "ours", objects(items(3)))
    put(tmp_path / "theirs", foreign_dump([items(2)]))
    (found, report), _ = await between(tmp_path / "ours", tmp_path / "theirs")
    assert (report.matched, report.missing, list(found)) == (2, 1, [key("k002")])


async def test_the_user_tells_the_key_and_an_item_its_types(tmp_path: Path) -> None:
    put(tmp_path / "ours", foreign_dump([[], [item(5, n="x")]]))
    put(tmp_path / "theirs", foreign_dump([[item(5, n="x"), item(5, n="y")]]))
    async with open_backup(str(tmp_path / "ours")) as ours, open_backup(str(tmp_path / "theirs")) as theirs:
        schema = await find_schema([ours, theirs], ["id", "n"])
    assert schema == KeySchema(KeyAttribute("id", "N"), KeyAttribute("n", "S"))
    (_, report), _ = await between(tmp_path / "ours", tmp_path / "theirs", ["id", "n"])
    assert (report.matched, report.extraneous) == (1, 1)


async def test_two_backups_of_which_nobody_tells_the_key_are_refused(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        put(tmp_path / name, foreign_dump([items(2)]))
    with pytest.raises(UsageError, match="name it with --key HASH or --key HASH,RANGE"):
        await between(tmp_path / "ours", tmp_path / "theirs")
    with pytest.raises(BackupError, match='/0, line 1: the item has no "nr" that could be part of a key'):
        await between(tmp_path / "ours", tmp_path / "theirs", ["nr"])


async def test_backups_of_tables_with_other_keys_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "ours", our_dump([[item(n=1)]], create=BY_TWO))
    put(tmp_path / "theirs", our_dump([[item(n=1)]], create=BY_ID))
    with pytest.raises(UsageError, match="cannot be compared"):
        await between(tmp_path / "ours", tmp_path / "theirs")


@pytest.mark.parametrize("text", ["", ",", "id,", ",n", "id,id", "a,b,c"])
def test_names_that_make_no_key_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no key"):
        named_attributes(text)


# ── Runs that end early ─────────────────────────────────────────────────────────────────────────────


async def test_a_table_that_goes_away_leaves_an_incomplete_report(
    endpoint: ScriptedDynamo, tmp_path: Path, temporary: Path
) -> None:
    put(tmp_path, our_dump([items(5)]))
    check = Checking.of(endpoint, items(5))
    endpoint.on("Scan", times=None).error("ResourceNotFoundException")
    with pytest.raises(IncompleteRunError) as ended:
        await check(tmp_path)
    assert (ended.value.report.complete, ended.value.report.scanned_primary) == (False, 5)
    assert left(temporary) == []


@pytest.mark.parametrize("operation", ["Scan", "BatchGetItem"])
async def test_a_check_that_is_cancelled_leaves_nothing_behind(
    endpoint: ScriptedDynamo, tmp_path: Path, temporary: Path, operation: str
) -> None:
    put(tmp_path, our_dump([items(50, v=1)]))
    check = Checking.of(endpoint, items(50, v=2))
    held = []

    def cancel(_: object) -> None:
        held.extend(left(temporary))
        task.cancel()

    endpoint.before(operation, cancel)
    task = asyncio.create_task(check(tmp_path))  # noqa: TID251 - cancelled as a signal does
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(held) == 1, "it had begun to keep items"
    assert left(temporary) == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_notes_of_a_backup_are_told(endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    put(tmp_path, foreign_dump([items(2)]))
    check = Checking.of(endpoint, items(2))
    await check(tmp_path)
    assert any("has no manifest" in note for note in check.log.notes)
    assert not any("differ in their" in note for note in check.log.notes)
    assert NAME in check.log.notes[0] or str(tmp_path) in check.log.notes[0]
