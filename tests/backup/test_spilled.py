"""A backup as a source that can be walked and asked, and a chain of exports folded into one state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Limits, Segment
from asyncrep.backup.key_finding import described_schema
from asyncrep.backup.opening import open_backup
from asyncrep.backup.reading import CHUNK_LINES
from asyncrep.backup.spill import Spill
from asyncrep.backup.spilled import SpilledSource, expected_weight, fold
from asyncrep.errors import BackupError
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema, TableSettings
from tests.support.restores import changed, export, foreign_dump, our_dump, put
from tests.support.scenario import item, items, key

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.backup.reading import Backup
    from tests.support.values import Item

BY_ID = KeySchema(KeyAttribute("id", "S"))
SETTINGS = TableSettings("backup", "", None, BY_ID, 0, 0, frozenset(), None, None)
FIRST, SECOND, THIRD = (f"2026-01-0{day}T03:00:00.000Z" for day in (2, 3, 4))


async def filled(backup: Backup, folder: Path) -> SpilledSource:
    source = SpilledSource(backup, SETTINGS, Spill(folder / "spill", 16))
    assert sum([count async for count in source.fill()]) == sum([
        len(chunk.lines) for file in backup.files async for chunk in backup.chunks(file)
    ])  # fmt: skip
    return source


def decoded(images: Any) -> list[Item]:
    return sorted((json.loads(bytes(image)) for image in images), key=json.dumps)


async def folded(source: Path) -> list[tuple[str, list[Item]]]:
    """What a folded backup holds, file by file."""
    async with open_backup(str(source)) as backup, fold(backup, KeyReader(BY_ID)) as whole:
        assert (whole.phases, whole.label, whole.kind) == (1, backup.label, backup.kind)
        return [
            (file.name, [json.loads(line.image) for line in chunk.lines])
            for file in whole.files
            async for chunk in whole.chunks(file)
        ]


# ── A source ────────────────────────────────────────────────────────────────────────────────────────


async def test_every_item_is_in_one_segment(tmp_path: Path) -> None:
    stock = items(100, v=1)
    put(tmp_path / "dump", our_dump([stock[:50], stock[50:]]))
    async with open_backup(str(tmp_path / "dump")) as backup:
        source = await filled(backup, tmp_path)
        pages = [
            page for index in range(3) for page in [each async for each in source.pages(Segment(index, 3))]
        ]
        assert decoded(image for page in pages for image in page.images) == stock
        assert {page.segment for page in pages} == {0, 1, 2}
        keys = [page async for page in source.pages(Segment(0, 1), keys_only=True)]
        assert decoded(image for page in keys for image in page.images) == [
            item(f"k{n:03}") for n in range(100)
        ]


async def test_single_items_are_found_by_key(tmp_path: Path) -> None:
    put(tmp_path / "dump", our_dump([items(30, v=1)]))
    async with open_backup(str(tmp_path / "dump")) as backup:
        source = await filled(backup, tmp_path)
        wanted = [key("k003"), key("k029"), key("nowhere")]
        found = await source.get(wanted, consistent=True)
        assert decoded(found.values()) == [item("k003", v=1), item("k029", v=1)]
        found = await source.get(wanted, consistent=True, keys_only=True)
        assert {each: bytes(image) for each, image in found.items()} == {each: each for each in wanted[:2]}


async def test_reading_a_backup_takes_nothing_of_a_table(tmp_path: Path) -> None:
    put(tmp_path / "dump", our_dump([items(3)]))
    async with open_backup(str(tmp_path / "dump")) as backup, open_backup(str(tmp_path / "dump")) as other:
        source = await filled(backup, tmp_path)
        assert source.limited(Limits(read_units=1)) is source
        assert (source.label, source.meter.read_units) == (backup.label, 0)
        assert source.is_same_as(source)
        assert not source.is_same_as(SpilledSource(other, SETTINGS, source.spill))
        assert source.key(b'{"v":{"N":"1"},"id": {"S":"a"}}') == key()


# ── A chain of exports ──────────────────────────────────────────────────────────────────────────────


async def test_a_chain_is_folded_to_what_it_comes_to(tmp_path: Path) -> None:
    put(tmp_path, export("01", [{"Item": each} for each in items(4, v=1)], time=FIRST))
    put(
        tmp_path,
        export("02", [changed(item("k001", v=2)), changed(None, item("k002"))], since=FIRST, time=SECOND),
    )
    put(
        tmp_path,
        export("03", [changed(item("k002", v=3)), changed(None, item("k003"))], since=SECOND, time=THIRD),
    )
    found = await folded(tmp_path)
    assert decoded(json.dumps(each).encode() for _, chunk in found for each in chunk) == [
        item("k000", v=1), item("k001", v=2), item("k002", v=3)
    ]  # fmt: skip


async def test_a_folded_backup_is_the_same_each_time_whatever_the_order_of_its_lines(tmp_path: Path) -> None:
    stock = items(300, v=1)
    put(tmp_path / "one", foreign_dump([stock[:100], stock[100:]]))
    put(tmp_path / "other", foreign_dump([list(reversed(stock))]))
    assert await folded(tmp_path / "one") == await folded(tmp_path / "other")


async def test_a_folded_file_can_be_read_from_a_line_on_in_chunks(tmp_path: Path) -> None:
    count = 30 * CHUNK_LINES
    put(tmp_path / "dump", foreign_dump([[item(f"k{number:06}") for number in range(count)]]))
    async with open_backup(str(tmp_path / "dump")) as backup, fold(backup, KeyReader(BY_ID)) as whole:
        file = whole.files[3]
        chunks = [chunk async for chunk in whole.chunks(file)]
        lines = [line for chunk in chunks for line in chunk.lines]
        assert len(chunks) > 1
        assert max(len(chunk.lines) for chunk in chunks) <= CHUNK_LINES
        rest = [
            line for chunk in [each async for each in whole.chunks(file, skip=700)] for line in chunk.lines
        ]
        assert rest == lines[700:]


async def test_what_is_no_item_is_named_by_file_and_line(tmp_path: Path) -> None:
    put(tmp_path / "dump", foreign_dump([[item()], [item("b"), {"v": {"S": "c"}}]]))
    with pytest.raises(BackupError, match=r"dump/1, line 2: the item has no 'id'"):
        await folded(tmp_path / "dump")


# ── Sizes and descriptions ──────────────────────────────────────────────────────────────────────────


async def test_the_weight_is_guessed_by_what_is_stored(tmp_path: Path) -> None:
    put(tmp_path / "few", our_dump([items(10)]))
    put(tmp_path / "more", our_dump([items(900, v="x" * 100)]))
    put(tmp_path / "foreign", foreign_dump([items(900, v="x" * 100)]))
    weights = []
    for name in ("few", "more", "foreign"):
        async with open_backup(str(tmp_path / name)) as backup:
            weights.append(expected_weight(backup))
    assert 0 < weights[0] < weights[1] < 10**6
    assert weights[2] > 0


async def test_a_description_that_tells_no_key_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "dump", our_dump([items(1)], create={"KeySchema": []}))
    async with open_backup(str(tmp_path / "dump")) as backup:
        with pytest.raises(BackupError, match="description of the table orders tells no key"):
            described_schema(backup.description)
    assert described_schema(None) is None
