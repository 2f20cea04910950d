"""A record that two tools have given an object each: everybody takes the one that was written later."""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest

from asyncrep import KeyAttribute, KeySchema, Limits, TableSettings, VirtualClock, open_table
from asyncrep.backup.folder_listing import Present, hex_digits
from asyncrep.backup.folder_reading import FolderBackup, open_folder
from asyncrep.backup.history import record_history
from asyncrep.backup.item_folder import ItemFolder
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.report import RestoreReport
from asyncrep.backup.restore import restore
from asyncrep.backup.restore_progress import Done, Progress
from asyncrep.model import Segment
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Put
from tests.support.folders import START, FolderScene, compact, name_of
from tests.support.scenario import NAME, PRIMARY, session, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.buckets import Bucket
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

BY_ZONE_AND_AGE = KeySchema(KeyAttribute("zone", "S"), KeyAttribute("age", "N"))
BY_AGE_AND_ZONE = KeySchema(KeyAttribute("age", "N"), KeyAttribute("zone", "S"))
TIMES = [(5, 10, "theirs"), (10, 5, "ours"), (5, 5, "ours")]
"""When ours was written, when theirs was, and which counts."""


def record(value: str, age: int = 0) -> Item:
    return {"zone": wire("z"), "age": wire(age), "v": wire(value)}


def settings(schema: KeySchema) -> TableSettings:
    return TableSettings("orders", "", None, schema, 0, 0, frozenset(), None, None, is_folder=True)


def by(schema: KeySchema) -> str:
    return ",".join(attribute.name for attribute in schema.attributes)


@pytest.fixture
def scene(bucket: Bucket) -> Iterator[FolderScene]:
    yield (made := FolderScene(bucket))
    made.clear()


def fill(scene: FolderScene, schema: KeySchema, ours: float, theirs: float, records: int = 1) -> None:
    turned = KeySchema(*reversed(schema.attributes))
    for age in range(records):
        scene.put(record("ours", age), at=ours, by=by(schema))
        scene.put(record("theirs", age), at=theirs, by=by(turned))


def lead(scene: FolderScene, *by: str) -> None:
    """Put an object before all others, from whose name it is learnt how most are named."""
    age = next(age for age in count(100) if name_of(record("", age), *by).startswith("000"))
    scene.put(record("alone", age), at=0, by=",".join(by))


async def in_order_of_phases(folder: FolderBackup) -> dict[str, str]:
    """What the parts of a folder come to, when within a phase what was read first is the last to be written."""
    found: dict[str, str] = {}
    for phase in range(folder.phases):
        files = [file for file in folder.files if file.phase == phase]
        lines = [line for file in files async for chunk in folder.chunks(file) for line in chunk.lines]
        for line in reversed(lines):
            item = json.loads(line.image)
            found[item["age"]["N"]] = item["v"]["S"]
    return found


@pytest.mark.parametrize("schema", [BY_ZONE_AND_AGE, BY_AGE_AND_ZONE])
@pytest.mark.parametrize(("ours", "theirs", "counts"), TIMES)
async def test_whoever_reads_a_folder_finds_the_same_object(
    scene: FolderScene, schema: KeySchema, ours: float, theirs: float, counts: str
) -> None:
    fill(scene, schema, ours, theirs)
    async with scene.open() as objects:
        table = ItemFolder(objects, settings(schema))
        key = table.key(compact(record("")))
        [image] = (await table.get([key], consistent=True)).values()
        [paged] = [image async for page in table.pages(Segment(0, 1)) for image in page.images]
        folder = await open_folder(objects)
        folder.order_by(schema)
        read = await in_order_of_phases(folder)
        newest = await anext(record_history(objects, key, table.keys))
    assert newest.image is not None
    found = [json.loads(bytes(each))["v"]["S"] for each in (image, paged, newest.image)]
    assert [*found, *read.values()] == [counts] * 4


@pytest.mark.parametrize("first", [("age", "zone"), ("zone", "age")])
async def test_of_one_second_the_order_that_is_not_the_alphabets_counts_where_no_table_is_known(
    scene: FolderScene, first: tuple[str, str]
) -> None:
    lead(scene, *first)
    fill(scene, BY_ZONE_AND_AGE, 5, 5, records=20)
    async with scene.open() as objects:
        found = await in_order_of_phases(await open_folder(objects))
    assert sorted(found.values()) == ["alone", *["ours"] * 20]


@pytest.mark.parametrize("first", [("age", "zone"), ("zone", "age")])
@pytest.mark.parametrize(("ours", "theirs", "counts"), TIMES)
async def test_of_one_second_the_order_of_the_table_counts_whichever_most_have(
    scene: FolderScene, first: tuple[str, str], ours: float, theirs: float, counts: str
) -> None:
    lead(scene, *first)
    fill(scene, BY_AGE_AND_ZONE, ours, theirs, records=10)
    async with scene.open() as objects:
        folder = await open_folder(objects)
        folder.order_by(BY_AGE_AND_ZONE)
        found = await in_order_of_phases(folder)
    assert sorted(found.values()) == sorted(["alone", *[counts] * 10])


async def test_the_later_object_is_told_once_more_when_all_others_were_told(scene: FolderScene) -> None:
    lead(scene, "zone", "age")
    fill(scene, BY_ZONE_AND_AGE, 5, 10, records=40)
    async with scene.open() as objects:
        folder = FolderBackup(Present(objects, ["", *hex_digits(1)[1:]]))  # as that of a large one
        found = await in_order_of_phases(folder)
    assert sorted(found.values()) == ["alone", *["theirs"] * 40]


async def test_the_later_object_is_written_last_whichever_part_of_the_folder_is_read_first(
    scene: FolderScene, endpoint: ScriptedDynamo
) -> None:
    lead(scene, "zone", "age")
    fill(scene, BY_ZONE_AND_AGE, 5, 10, records=40)
    table = endpoint.create_table(NAME, PRIMARY, hash=("zone", "S"), range=("age", "N"))
    clock = VirtualClock()
    async with AsyncExitStack() as stack:
        objects = await stack.enter_async_context(scene.open())
        opening = open_table(f"{PRIMARY}/{NAME}", session=session(), endpoint_url=endpoint.url, clock=clock)
        opened = await stack.enter_async_context(opening)
        folder = FolderBackup(Present(objects, ["", *hex_digits(1)[1:]]))
        report = await restore(folder, opened, limits=Limits(concurrency=1), clock=clock)
    assert report.complete
    assert {json.dumps(each["v"]) for each in table.items.values()} == {
        json.dumps(wire("theirs")),
        json.dumps(wire("alone")),
    }


async def test_what_goes_on_with_a_restore_does_not_trust_parts_whose_objects_may_not_count(
    scene: FolderScene,
) -> None:
    lead(scene, "zone", "age")
    fill(scene, BY_ZONE_AND_AGE, 5, 10, records=5)
    async with scene.open() as objects:
        folder = await open_folder(objects)
        progress = Progress(folder, unit="file")
        for file in folder.files:
            lines = sum([len(chunk.lines) async for chunk in folder.chunks(file)])
            progress.read(file.name, lines)
            progress.close(file.name, 0, lines, Done(lines))
    assert progress.is_whole(folder.files[0])
    assert progress.work(RestoreReport("", ""))["whole"] == []


# ── Written to as a table ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def names() -> tuple[str, str]:
    return name_of(record(""), "zone", "age"), name_of(record(""), "age", "zone")


def local(path: Path, names: tuple[str, str], ours: int | None, theirs: int | None) -> ItemFolder:
    """A local folder with both objects, written at these seconds."""
    for name, value, second in zip(names, ("ours", "theirs"), (ours, theirs), strict=True):
        if second is not None:
            (path / name).write_bytes(compact(record(value)))
            os.utime(path / name, (START + second, START + second))
    return ItemFolder(LocalFolder(path), settings(BY_ZONE_AND_AGE))


def kept(path: Path) -> dict[str, str]:
    return {each.name: json.loads(each.read_bytes())["v"]["S"] for each in path.iterdir()}


async def test_a_record_whose_object_another_tool_named_is_not_put_once_more(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    folder = local(tmp_path, names, None, 5)
    key = folder.key(compact(record("")))
    assert not (await folder.apply(Put(key, compact(record("of a scan")), ItemAbsent()))).applied
    assert kept(tmp_path) == {names[1]: "theirs"}


async def test_the_object_that_counts_is_the_one_that_a_write_is_held_against(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    folder = local(tmp_path, names, 5, 10)
    key = folder.key(compact(record("")))
    new = compact(record("new"))
    assert not (await folder.apply(Put(key, new, AttributesAre(record("ours"))))).applied
    assert (await folder.apply(Put(key, new, AttributesAre(record("theirs"))))).applied
    assert kept(tmp_path) == {names[0]: "new", names[1]: "theirs"}
    [there] = (await folder.get([key], consistent=True)).values()
    assert bytes(there) == new
    assert (await folder.apply(Delete(key, AttributesAre(record("new"))))).applied
    assert kept(tmp_path) == {}
