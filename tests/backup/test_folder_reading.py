"""An incremental folder is read object by object: all of it, nothing beside it, and what is no item is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.backup.folder_listing import Present, parts
from asyncrep.backup.folder_reading import FolderBackup, open_folder
from asyncrep.backup.object_naming import Naming
from asyncrep.errors import BackupError, BucketNotFoundError
from tests.support.folders import FolderScene, compact, lines, local_folder, name_of, read
from tests.support.hooked import Hooked
from tests.support.scenario import item, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.buckets import Bucket
    from tests.support.values import Item


@pytest.fixture
def scene(bucket: Bucket) -> Iterator[FolderScene]:
    yield (made := FolderScene(bucket))
    made.clear()


async def all_of(scene: FolderScene) -> dict[str, Any]:
    async with scene.open() as objects:
        return await read(await open_folder(objects))


def two(hash: str, range: int, **more: Any) -> Item:
    """An item whose key is zone and age: the other way round when it is sorted."""
    return {"zone": wire(hash), "age": wire(range)} | {name: wire(value) for name, value in more.items()}


# ── What is in it ───────────────────────────────────────────────────────────────────────────────────


async def test_every_object_is_an_item_and_none_of_a_folder_that_begins_alike(scene: FolderScene) -> None:
    made = [item(f"k{number}", n=number) for number in range(30)]
    scene.put_all(made)
    FolderScene(scene.bucket, "incr/orders2").put(item("other"))
    FolderScene(scene.bucket, "incr").put(item("above"))
    found = await all_of(scene)
    assert found == {name_of(each)[:8]: each for each in made}
    assert list(found) == sorted(found)


async def test_items_come_as_they_are_stored_byte_by_byte(scene: FolderScene) -> None:
    body = '{"id":{"S":"a\u2028"},"n":{"N":"1e+21"},"__proto__":{"M":{"x":{"NULL":true}}}}'.encode()
    name = scene.put(body, name_of({"id": {"S": "a\u2028"}}))
    async with scene.open() as objects:
        folder = await open_folder(objects)
        [line] = [
            line for file in folder.files async for chunk in folder.chunks(file) for line in chunk.lines
        ]
    assert (line.image, line.file, line.number) == (body, f"s3://{scene.bucket.name}/incr/orders/{name}", 0)


async def test_objects_that_are_no_items_are_told_with_their_names(scene: FolderScene) -> None:
    scene.put_all([item("a"), item("b")])
    scene.put(b"notes of somebody", "README")
    scene.put(b'{"id":{"S":"a"}}', "0001")
    scene.put(b'{"id":', "0" * 64)
    scene.put(b'{"id":{"X":"a"}}', "1" * 64)
    scene.put(b"", "2" * 64)
    scene.put(item("c"), "f" * 64)
    async with scene.open() as objects:
        told = dict(await lines(await open_folder(objects)))
    root = f"s3://{scene.bucket.name}/incr/orders/"
    assert told.pop(root + name_of(item("a"))) == item("a")
    assert told.pop(root + name_of(item("b"))) == item("b")
    problems = {name.removeprefix(root)[:6]: problem for name, problem in told.items()}
    unnamed = "its name is no digest of a key, as the objects of an incremental folder have."
    assert (problems.pop("README"), problems.pop("0001")) == (unnamed, unnamed)
    assert problems.pop("ffffff") == "it holds another item than its name says."
    assert problems.pop("111111").startswith("it is JSON, but no item")
    assert all(problems.pop(number * 6).startswith("it is not JSON") for number in "02")
    assert problems == {}


async def test_folders_within_it_are_no_part_of_it_and_are_told(scene: FolderScene) -> None:
    scene.put(item("a"))
    scene.put(b"", "empty/")
    FolderScene(scene.bucket, "incr/orders/nested").put(item("b"))
    async with scene.open() as objects:
        folder = await open_folder(objects)
        assert await read(folder) == {name_of(item("a"))[:8]: item("a")}
    [note] = folder.notes
    assert (
        note == f"1 object in folders within s3://{scene.bucket.name}/incr/orders (nested/) is no part of it."
    )


async def test_an_object_that_goes_while_the_folder_is_read_is_skipped(scene: FolderScene) -> None:
    a, b = scene.put(item("a")), scene.put(item("b"))

    async with scene.open() as objects:
        hooked: Any = Hooked(objects)
        folder = await open_folder(hooked)

        async def gone() -> None:
            scene.delete(a)
            scene.delete(b)

        hooked.before("get", gone)
        assert await read(folder) == {}


async def test_an_archived_object_is_told_as_such(scene: FolderScene) -> None:
    name = scene.put(item("a"))
    scene.put(item("b"))
    scene.change(name, -1, _storage_class="GLACIER")
    told = await all_of(scene)
    assert told[name[:8]] == "it is archived: S3 has to restore it before it can be read."
    assert told[name_of(item("b"))[:8]] == item("b")


async def test_many_objects_are_under_way_at_the_same_time_and_each_is_asked_for_once(tmp_path: Path) -> None:
    made = [item(f"k{number}") for number in range(800)]
    hooked: Any = Hooked(local_folder(tmp_path / "orders", made))
    folder = FolderBackup((await open_folder(hooked))._listing)
    assert len(await read(folder)) == 800
    assert 100 < hooked.most_under_way <= 256
    assert len(hooked.names) == len(set(hooked.names)) == 800


async def test_lines_can_be_skipped(scene: FolderScene) -> None:
    made = [item(f"k{number}") for number in range(150)]
    scene.put_all(made)
    async with scene.open() as objects:
        folder = await open_folder(objects)
        file, _ = folder.files
        whole = [line async for chunk in folder.chunks(file) for line in chunk.lines]
        rest = [line async for chunk in folder.chunks(file, skip=110) for line in chunk.lines]
    assert rest == whole[110:]


# ── Ranges ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("objects", "ranges"), [(1, 1), (31_000, 1), (33_000, 16), (511_000, 16), (513_000, 256), (10**9, 256)]
)
def test_the_more_objects_the_more_ranges(objects: int, ranges: int) -> None:
    made = parts(objects)
    assert len(made) == ranges
    assert made == sorted(made)
    assert made[0] == ""


async def test_ranges_overlap_nowhere_and_leave_nothing_out(
    scene: FolderScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncrep.backup.folder_listing._PAGE", 60)
    scene.put_all(item(f"k{number}") for number in range(100))
    for stranger in ("0", "!", "a", "ab" * 31 + "a", "b" * 65, "g", "~", "Z"):
        scene.put(b"x", stranger)
    async with scene.open() as objects:
        folder = await open_folder(objects)
        told = await lines(folder)
        assert len(told) == len({name for name, _ in told}) == 108
        assert 60 < (folder.estimate or 0) < 160
        sixteen = FolderBackup(Present(objects, parts(50_000)))
        assert len(sixteen.files) == 17  # with what is read again
        assert sorted(await lines(sixteen), key=str) == sorted(told, key=str)


# ── What is no folder ───────────────────────────────────────────────────────────────────────────────


async def test_a_place_without_items_is_no_folder(scene: FolderScene, tmp_path: Path) -> None:
    async with scene.open() as objects:
        with pytest.raises(
            BackupError, match=r"There is no incremental folder in s3://.*/incr/orders: nothing is"
        ):
            await open_folder(objects)
        scene.put(item("a"))
        with pytest.raises(
            BackupError, match=r"named by the digest of a key\. There are folders in it: orders\.$"
        ):
            await open_folder(_above(objects))
    with pytest.raises(BackupError, match="nothing is there"):
        await open_folder(local_folder(tmp_path / "empty", []))


def _above(objects: Any) -> Any:
    place = type(objects.place)(objects.place.bucket, "incr")
    return type(objects)(objects._bucket, place)


async def test_a_bucket_that_is_missing_is_told_as_such(scene: FolderScene) -> None:
    elsewhere = FolderScene(type(scene.bucket)("no-such-bucket-here", scene.bucket.s3))
    async with elsewhere.open() as objects:
        with pytest.raises(BucketNotFoundError):
            await open_folder(objects)


# ── Two names of one record ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ours_is_newer", [True, False])
async def test_of_two_objects_of_a_record_the_one_that_was_written_later_counts(
    scene: FolderScene, *, ours_is_newer: bool
) -> None:
    for number in range(20):
        scene.put(two("x", number, v="alone"), at=0, by="zone,age" if number % 2 else "age,zone")
    for number in range(20, 40):
        scene.put(two("x", number, v="ours"), at=10 if ours_is_newer else 5, by="zone,age")
        scene.put(two("x", number, v="theirs"), at=5 if ours_is_newer else 10, by="age,zone")
    async with scene.open() as objects:
        folder = await open_folder(objects)
        first = await read(folder)
        second = await read(folder)  # after it is known what does not count
    assert sorted(int(each["age"]["N"]) for each in second.values()) == list(range(40))
    winner = "ours" if ours_is_newer else "theirs"
    assert {each["v"]["S"] for each in second.values()} == {"alone", winner}
    assert len(first) >= 40
    assert any("20 records" in note and "in two orders" in note for note in folder.notes)
    assert folder.late == 0


async def test_records_that_were_yielded_before_their_later_object_came_are_counted(
    scene: FolderScene,
) -> None:
    for number in range(40):
        scene.put(two("x", number, v="a"), at=5, by="zone,age")
        scene.put(two("x", number, v="b"), at=10 if number % 2 else 5, by="age,zone")
    async with scene.open() as objects:
        folder = await open_folder(objects)
        yielded = await read(folder)
        assert len(yielded) == 40 + folder.late
        assert len(await read(folder)) == 40
        assert folder.late == 0


async def test_an_object_that_was_written_again_between_two_readings_counts_again(scene: FolderScene) -> None:
    for number in range(20):
        scene.put(two("x", number, v="ours"), at=5, by="zone,age")
        scene.put(two("x", number, v="theirs"), at=10, by="age,zone")
    async with scene.open() as objects:
        folder = await open_folder(objects)
        await read(folder)
        assert {each["v"]["S"] for each in (await read(folder)).values()} == {"theirs"}
        for number in range(20):
            scene.put(two("x", number, v="ours again"), at=20, by="zone,age")
        again = await read(folder)
        assert {int(each["age"]["N"]) for each in again.values()} == set(range(20))
        settled = await read(folder)
    assert [each["v"]["S"] for each in settled.values()] == ["ours again"] * 20


# ── Names ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("made", "by"),
    [
        (item("a", n=5), "id"),
        (two("x", 5), "zone,age"),
        (two("x", 5), "age,zone"),
        ({"n": {"N": "1e+21"}, "x": {"S": "y"}}, "n"),
        ({"b": {"B": "AAEC/w=="}, "x": {"M": {}}}, "b"),
        ({'q"\x01': {"S": "x"}, "n": {"N": "-0.5"}}, 'n,q"\x01'),
    ],
)
def test_a_name_tells_which_attributes_are_the_key(made: Item, by: str) -> None:
    attributes = by.split(",")
    name = name_of(made, *attributes)
    naming = Naming.found(name, compact(made))
    assert naming is not None
    assert [each.name for each in naming.keys.schema.attributes] == attributes
    assert naming.fits(name, compact(made))
    assert not naming.fits(name_of(made | {attributes[0]: {"S": "z"}}, *attributes), compact(made))


def test_a_name_of_nothing_in_the_item_tells_no_key() -> None:
    many = {f"a{number}": {"S": str(number)} for number in range(500)}
    for image in (
        compact(item("a", n=5)),
        compact(many),
        b"[]",
        b'{"a":',
        b"\xff",
        json.dumps({"a": 1}).encode(),
    ):
        assert Naming.found("0" * 64, image) is None
