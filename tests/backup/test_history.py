"""The history of a record is every version of its object, the newest first, with what each of them changed."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import KeyAttribute, KeySchema
from asyncrep.backup.history import key_in_wire_form, record_history
from asyncrep.errors import BucketNotFoundError, KeyFormatError
from asyncrep.items.keys import KeyReader
from tests.support.buckets import Bucket, bucket_on
from tests.support.folders import START, FolderScene, compact, local_folder, name_of
from tests.support.hooked import Hooked
from tests.support.scenario import item, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asyncrep.backup.history import Step
    from tests.support.values import Item

BY_ID = KeyReader(KeySchema(KeyAttribute("id", "S")))
BY_ZONE = KeyReader(KeySchema(KeyAttribute("zone", "S"), KeyAttribute("age", "N")))


@pytest.fixture
def scene(bucket: Bucket) -> Iterator[FolderScene]:
    yield (made := FolderScene(bucket))
    made.clear()


async def history(scene: FolderScene, made: Item | None = None, keys: KeyReader = BY_ID) -> list[Step]:
    async with scene.open() as objects:
        return await steps(objects, made or item("a"), keys)


async def steps(storage: Any, made: Item, keys: KeyReader = BY_ID) -> list[Step]:
    return [step async for step in record_history(storage, keys.key(compact(made)), keys)]


def told(found: list[Step]) -> list[tuple[str, float]]:
    return [(step.deed, step.version.modified - START) for step in found]


def changes(step: Step) -> dict[str, tuple[Any, Any]]:
    return {each.spelled: (each.primary, each.replica) for each in step.changes}


async def test_every_version_is_told_newest_first_with_what_it_changed(scene: FolderScene) -> None:
    name = scene.put(item("a", n=1, old="x", place={"city": "Bern", "zip": [1, 2]}), at=1)
    scene.put(item("a", n=2, new=True, place={"city": "Basel", "zip": [1, 3]}), at=2)
    scene.delete(name, at=3)
    scene.put(item("a"), at=4)
    found = await history(scene)
    assert told(found) == [("created", 4), ("deleted", 3), ("changed", 2), ("created", 1)]
    assert [step.version.is_latest for step in found] == [True, False, False, False]
    assert changes(found[2]) == {
        "n": (wire(1), wire(2)),
        "old": (wire("x"), None),
        "new": (None, wire(True)),
        "place.city": (wire("Bern"), wire("Basel")),
        "place.zip[1]": (wire(2), wire(3)),
    }
    assert [step.version.version_id for step in found] == scene.version_ids(name)
    assert [step.older for step in found] == [True, True, True, False]
    assert json.loads(found[3].image or b"")["place"] == wire({"city": "Bern", "zip": [1, 2]})


async def test_versions_of_one_second_stay_in_the_order_in_which_they_were_written(
    scene: FolderScene,
) -> None:
    for number in range(5):
        scene.put(item("a", n=number), at=7 + number / 10)
    found = await history(scene)
    assert [json.loads(step.image or b"")["n"]["N"] for step in found] == ["4", "3", "2", "1", "0"]
    assert {step.version.modified for step in found} == {START + 7}


async def test_what_was_written_again_has_changed_nothing(scene: FolderScene) -> None:
    scene.put(b'{"id":{"S":"a"},"n":{"N":"1.0"},"tags":{"SS":["x","y"]}}', name_of(item("a")), at=1)
    scene.put(b'{"tags":{"SS":["y","x"]},"n":{"N":"1"},"id":{"S":"a"}}', name_of(item("a")), at=2)
    assert told(await history(scene)) == [("unchanged", 2), ("created", 1)]


async def test_sets_tell_which_members_came_and_went(scene: FolderScene) -> None:
    scene.put(item("a", tags={"x", "y"}), at=1)
    scene.put(item("a", tags={"y", "z"}), at=2)
    [newer, _] = await history(scene)
    [change] = newer.changes
    assert (change.members, change.primary, change.replica) == (True, {"SS": ["x"]}, {"SS": ["z"]})


async def test_more_versions_than_a_page_has_are_all_there(
    scene: FolderScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "7")
    for number in range(40):
        name = scene.put(item("a", n=number), at=2 * number)
        if number % 5 == 4:
            scene.delete(name, at=2 * number + 1)
    found = await history(scene)
    assert len(found) == 48
    assert [step.deed for step in found[:6]] == [
        "deleted",
        "changed",
        "changed",
        "changed",
        "changed",
        "created",
    ]
    assert [step.version.modified for step in found] == sorted(
        (step.version.modified for step in found), reverse=True
    )


async def test_only_as_many_are_read_as_are_asked_for(scene: FolderScene) -> None:
    for number in range(60):
        scene.put(item("a", n=number), at=number)
    async with scene.open() as objects:
        hooked: Any = Hooked(objects)
        read: list[str] = []

        async def get_version(version: Any) -> bytes:
            read.append(version.version_id)
            return await objects.get_version(version)

        hooked.get_version = get_version
        # What is read ahead is let go before the place is closed, as everybody has to who does not read to the end.
        async with aclosing(record_history(hooked, BY_ID.key(compact(item("a"))), BY_ID)) as steps:
            step = await anext(steps)
            assert changes(step) == {"n": (wire(58), wire(59))}
    assert len(read) < 25


async def test_other_records_and_longer_names_are_none_of_it(scene: FolderScene) -> None:
    name = scene.put(item("a"), at=1)
    scene.put(b"x", name + ".bak", at=2)
    scene.put(item("b"), at=3)
    assert told(await history(scene)) == [("created", 1)]
    assert await history(scene, item("nobody")) == []


async def test_both_names_of_a_record_make_one_history(scene: FolderScene) -> None:
    def version(number: int) -> Item:
        return {"zone": wire("z"), "age": wire(5), "n": wire(number)}

    theirs = scene.put(version(1), at=1, by="age,zone")
    ours = scene.put(version(2), at=2, by="zone,age")
    scene.put(version(3), at=3, by="age,zone")
    scene.put(version(4), at=4, by="zone,age")
    found = await history(scene, version(0), BY_ZONE)
    assert told(found) == [("changed", 4), ("changed", 3), ("changed", 2), ("created", 1)]
    assert [step.version.name for step in found] == [ours, theirs, ours, theirs]


async def test_what_cannot_be_read_is_told_and_hides_nothing(scene: FolderScene) -> None:
    name = scene.put(item("a", n=1), at=1)
    scene.put(b"not an item", name, at=2)
    scene.put(item("a", n=3), at=3)
    scene.put(item("a", n=4), at=4)
    scene.change(name, 2, _storage_class="GLACIER")
    scene.put(item("b"), name, at=5)
    found = await history(scene)
    assert told(found) == [
        ("unreadable", 5),
        ("written", 4),
        ("unreadable", 3),
        ("unreadable", 2),
        ("created", 1),
    ]
    problems = [step.problem for step in found]
    assert problems[0] == "it holds another item than its name says."
    assert problems[2] == "it is archived: S3 has to restore it before it can be read."
    assert str(problems[3]).startswith("it is not JSON")


@pytest.mark.usefixtures("bucket")
async def test_versions_of_before_versions_were_kept_are_called_null(moto_url: str) -> None:
    with bucket_on(moto_url, versioned=False) as bucket:
        plain = FolderScene(bucket)
        plain.put(item("a", n=1), at=1)
        plain.put(item("a", n=2), at=2)
        [only] = await history(plain)
        assert (only.deed, only.version.version_id, only.version.modified) == ("created", "null", START + 2)


async def test_a_local_folder_has_the_present_state_alone(tmp_path: Path) -> None:
    folder = local_folder(tmp_path / "orders", [item("a", n=1), item("b")])
    [only] = await steps(folder, item("a"))
    assert (only.deed, only.version.version_id) == ("created", "now")
    assert json.loads(only.image or b"") == item("a", n=1)
    assert await steps(folder, item("c")) == []


async def test_a_bucket_that_is_missing_is_told_as_such(scene: FolderScene) -> None:
    elsewhere = FolderScene(Bucket("no-such-bucket-here", scene.bucket.s3))
    with pytest.raises(BucketNotFoundError):
        await history(elsewhere)


async def test_a_version_is_told_as_json(scene: FolderScene) -> None:
    name = scene.put(item("a", n=1), at=1)
    scene.put(item("a", n=2), at=2)
    [newer, older] = await history(scene)
    ids = scene.version_ids(name)
    assert newer.as_dict() == {
        "modified": "2023-11-14T22:13:22Z",
        "version": ids[0],
        "object": name,
        "deed": "changed",
        "latest": True,
        "size": len(compact(item("a", n=2))),
        "problem": None,
        "item": item("a", n=2),
        "differences": [{"path": ("n",), "members": False, "before": wire(1), "after": wire(2)}],
        "more_differences": 0,
    }
    assert older.as_dict()["version"] == ids[1]


def test_a_key_in_wire_form_needs_no_table() -> None:
    keys, key = key_in_wire_form('{"zone": {"S": "z"}, "age": {"N": "5.0"}}') or (BY_ID, b"")
    assert key == b'{"zone":{"S":"z"},"age":{"N":"5"}}'
    assert [str(each) for each in keys.schema.attributes] == ["zone (S)", "age (N)"]
    for other in ('{"id":"a"}', "[]", "{}", '{"id":{"S":"a","N":"5"}}', '{"id":{"BOOL":true}}', "{", ""):
        assert key_in_wire_form(other) is None
    with pytest.raises(KeyFormatError):
        key_in_wire_form('{"id":{"N":"five"}}')
