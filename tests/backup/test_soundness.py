"""The check of a backup reads all of it and names file and line of the first thing that is wrong."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from asyncrep import Advanced
from asyncrep.backup.opening import open_backup
from asyncrep.backup.reading import Line
from asyncrep.backup.soundness import check_backup, problem_of
from asyncrep.errors import BackupError
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema
from tests.support.restores import changed, export, foreign_dump, jsonl, our_dump, put
from tests.support.scenario import Log, item, items

if TYPE_CHECKING:
    from pathlib import Path

BY_ID = KeyReader(KeySchema(KeyAttribute("id", "S")))
STOCK = items(1200, n=1)


async def checked(folder: Path, keys: KeyReader | None = BY_ID) -> int:
    async with open_backup(str(folder)) as backup:
        return await check_backup(backup, keys, Log())


async def test_a_sound_backup_of_any_kind_is_read_to_its_end(tmp_path: Path) -> None:
    put(tmp_path / "a", our_dump([STOCK[:700], STOCK[700:]]))
    put(tmp_path / "b", foreign_dump([[each] for each in STOCK[:30]]))
    put(tmp_path / "c", export("1", [{"Item": each} for each in STOCK[:50]], time="2026-01-01T00:00:00Z"))
    later = [changed(item("k001")), changed(None, item("k002"))]
    put(tmp_path / "c", export("2", later, since="2026-01-01T00:00:00Z", time="2026-01-02T00:00:00Z"))
    assert [await checked(tmp_path / name) for name in "abc"] == [1200, 30, 52]


async def test_progress_is_told_as_it_is_read(tmp_path: Path) -> None:
    log = Log()
    async with open_backup(str(put(tmp_path, our_dump([STOCK])))) as backup:
        await check_backup(backup, BY_ID, log)
    assert [event.items for event in log.of(Advanced)] == [500, 500, 200]


@pytest.mark.parametrize("at", [0.1, 0.5, 0.999])
async def test_gzip_that_breaks_off_is_found_wherever_it_does(tmp_path: Path, at: float) -> None:
    stored = gzip.compress(jsonl(STOCK))
    put(tmp_path, {"0": stored[: int(len(stored) * at)]})
    with pytest.raises(
        BackupError, match=rf"^{tmp_path}/0 breaks off after line [0-9]+: its gzip has no end"
    ):
        await checked(tmp_path)


async def test_a_flipped_bit_in_gzip_is_found_wherever_it_is(tmp_path: Path) -> None:
    stored = gzip.compress(jsonl(STOCK))
    for place in range(20, len(stored), len(stored) // 12):
        put(tmp_path, {"0": stored[:place] + bytes([stored[place] ^ 4]) + stored[place + 1 :]})
        with pytest.raises(BackupError, match=f"^{tmp_path}/0"):
            await checked(tmp_path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"hello", "it is not JSON: "),
        (b'{"id":{"S":"a"}', "it is not JSON: "),
        (b'{"id":{"S":"a"}} {}', "it is not JSON: "),
        (b'{"id":{"S":"\xff"}}', "it is not JSON: "),
        (b"[" * 100_000, "it is not JSON: |it is JSON, but no item"),
        (b'{"id":"a"}', "it is JSON, but no item: an item is an object"),
        (b'["id"]', "it is JSON, but no item: an item is an object"),
        (b'{"id":{"T":"a"}}', "it is JSON, but no item: an item is an object"),
        (b'{"id":{"S":"a"},"x":{}}', "it is JSON, but no item: the attribute 'x' has not exactly one type"),
        (
            b'{"id":{"S":"a"},"x":{"S":"a","N":"1"}}',
            "it is JSON, but no item: the attribute 'x' has not exactly one type",
        ),
        (b'{"x":{"S":"a"}}', r"the item has no 'id', which is part of the key id \(S\)"),
        (b'{"id":{"N":"1"}}', r"the item's 'id' is of type N; the key is id \(S\)"),
    ],
)
async def test_a_line_that_is_no_item_is_named(tmp_path: Path, line: bytes, sentence: str) -> None:
    put(tmp_path, {"0": gzip.compress(jsonl(STOCK[:600]) + line + b"\n" + jsonl(STOCK[600:]))})
    with pytest.raises(BackupError, match=rf"^{tmp_path}/0, line 601: ({sentence})"):
        await checked(tmp_path)


async def test_counts_and_digests_are_held_against_the_manifest(tmp_path: Path) -> None:
    objects = our_dump([STOCK])
    manifest = objects["manifest.json"]
    put(tmp_path, objects | {"manifest.json": manifest.replace(b'"items": 1200', b'"items": 1201')})
    with pytest.raises(BackupError, match="0 is not what its manifest says: it has 1,200 items, not 1,201"):
        await checked(tmp_path)


async def test_without_a_key_only_the_form_is_checked(tmp_path: Path) -> None:
    assert await checked(put(tmp_path, foreign_dump([[item("a")], [{"x": {"S": "b"}}]])), None) == 2


def test_every_type_is_an_item_s() -> None:
    everything = item(
        "a\u2028", n=1, b=b"x", yes=True, nothing=None, s={"x"}, ns={1}, bs={b"y"}, l=[1, [], {}], m={"m": {}}
    ) | {"__proto__": {"S": ""}}
    assert problem_of(Line(1, jsonl([everything])), BY_ID) is None
