"""A backfill puts an object for each item, and brings up to date what is there, whoever else writes there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import (
    IncompleteRunError,
    Limits,
    RetryPolicy,
    S3Place,
    Segment,
    Table,
    VirtualClock,
    open_table,
)
from asyncrep.aws.objects import open_objects
from asyncrep.backup.incremental import backup_record, diff_backup_record, incremental_backfill
from asyncrep.backup.local import LocalFolder
from asyncrep.errors import BucketNotFoundError, StorageError
from asyncrep.items.incremental import object_name
from asyncrep.model import State
from tests.support.hooked import Hooked
from tests.support.scenario import LIMITS, NAME, PRIMARY, Log, item, items, key, session
from tests.support.shelf import Kept, Shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncrep import Report
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable
    from tests.support.values import Item

STREAM = "NEW_AND_OLD_IMAGES"
MARK = {"asyncrep-stream": "arn:x", "asyncrep-sequence": f"{7:040}"}


def image(made: Item) -> bytes:
    return json.dumps(made, separators=(",", ":")).encode()


class Scene:
    """A table of a scripted endpoint, and its folder on a shelf."""

    def __init__(self, endpoint: ScriptedDynamo) -> None:
        self.endpoint = endpoint
        self.clock = VirtualClock()
        self.shelf = Shelf()
        self.storage = Hooked(self.shelf)  # type: ignore[arg-type]
        self.log = Log()
        self.table: ScriptedTable

    def with_items(self, *made: Item, **options: Any) -> Scene:
        self.table = self.endpoint.create_table(NAME, PRIMARY, items=made, **options)
        return self

    def keep(self, made: Item, metadata: dict[str, str] | None = None) -> None:
        """Put an object for an item, behind everybody's back."""
        self.shelf.objects[object_name(image({"id": made["id"]}))] = Kept(image(made), metadata or {})

    @property
    def kept(self) -> dict[str, Item]:
        """The items of the folder by their ids."""
        found = [json.loads(each.data) for each in self.shelf.objects.values()]
        return {each["id"]["S"]: each for each in found}

    async def open(self) -> AsyncIterator[Table]:
        async with open_table(
            f"{PRIMARY}/{NAME}",
            session=session(),
            endpoint_url=self.endpoint.url,
            clock=self.clock,
            retry=RetryPolicy(attempts=3),
        ) as table:
            yield table

    async def backfill(self, storage: Any = None, **options: Any) -> Report:
        async for table in self.open():
            return await incremental_backfill(
                table,
                storage or self.storage,
                limits=options.pop("limits", LIMITS),
                clock=self.clock,
                observer=self.log,
                **options,
            )
        raise AssertionError


@pytest.fixture
def scene(endpoint: ScriptedDynamo) -> Scene:
    return Scene(endpoint)


async def test_every_item_of_a_table_becomes_an_object(scene: Scene) -> None:
    everything = items(60, words={"a"}, deep={"list": [1, b"\xff", None]})
    report = await scene.with_items(*everything).backfill()
    assert scene.kept == {each["id"]["S"]: each for each in everything}
    assert (report.scanned_primary, report.missing, report.repaired, report.matched) == (60, 60, 60, 0)
    assert report.complete
    assert scene.storage.calls == {"put": 60}


async def test_items_become_files_of_a_folder_that_is_not_there_yet(scene: Scene, tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "backups" / "orders")
    await scene.with_items(*items(30)).backfill(folder)
    assert {
        json.loads((folder.path / entry.name).read_bytes())["id"]["S"] async for entry in folder.entries()
    } == {f"k{number:03}" for number in range(30)}


async def test_what_is_there_and_equal_is_read_and_not_put_again(scene: Scene) -> None:
    for made in items(30, v=1):
        scene.keep(made)
    report = await scene.with_items(*items(40, v=1)).backfill()
    assert (report.matched, report.repaired, scene.storage.calls["put"]) == (30, 10, 10)
    assert scene.log.notes == [
        "The folder is not empty: what it has already is read first, and brought up to date where it differs."
    ]


@pytest.mark.parametrize("stream", [None, STREAM])
async def test_an_object_that_differs_is_brought_to_what_the_table_has(
    scene: Scene, stream: str | None
) -> None:
    scene.keep(item("k001", v="old", gone=1), MARK)
    report = await scene.with_items(*items(3, v=1), stream=stream).backfill()
    assert scene.kept == {each["id"]["S"]: each for each in items(3, v=1)}
    assert scene.shelf.objects[object_name(key("k001"))].metadata == MARK
    assert (report.missing, report.different, report.repaired, report.remaining) == (2, 1, 3, 0)
    assert scene.clock.now() - VirtualClock().now() >= (0 if stream is None else 1)


async def test_more_attributes_than_a_table_could_change_at_once_are_one_version(scene: Scene) -> None:
    scene.keep(item("a", **{f"n{number}": 0 for number in range(250)}))
    made = item("a", **{f"n{number}": 1 for number in range(250)})
    await scene.with_items(made).backfill()
    assert [json.loads(kept.data) for kept in scene.shelf.history[object_name(key())] if kept] == [made]


async def test_the_stream_gets_a_moment_to_bring_what_it_has(scene: Scene) -> None:
    """While the settle time passes, the stream brings the very state: nothing is left to be done."""
    scene.keep(item("a", v=1), MARK)
    scene.with_items(item("a", v=2), stream=STREAM)
    newer = {**MARK, "asyncrep-sequence": f"{8:040}"}

    async def bring() -> None:
        scene.keep(item("a", v=2), newer)

    async def nothing() -> None:
        pass

    scene.storage.before("get", nothing)  # the first look
    scene.storage.before("get", bring)
    report = await scene.backfill()
    assert (report.settled, report.different, report.repaired) == (1, 0, 0)
    assert scene.shelf.objects[object_name(key())].metadata == newer


async def test_what_the_stream_writes_between_a_look_and_a_put_is_not_overwritten(scene: Scene) -> None:
    """The object is put only as it was read: what is newer is confirmed again, and found equal."""
    scene.keep(item("a", v=1), MARK)
    scene.with_items(item("a", v=2), stream=STREAM)

    async def write() -> None:
        scene.table.put(item("a", v=3))
        scene.keep(item("a", v=3), {**MARK, "asyncrep-sequence": f"{9:040}"})

    scene.storage.before("put", write)
    report = await scene.backfill()
    assert scene.kept == {"a": item("a", v=3)}
    assert scene.shelf.history.get(object_name(key()), []) == []
    assert (report.remaining, report.failed) == (0, 0)


async def test_an_item_that_is_deleted_while_it_is_copied_leaves_no_object(scene: Scene) -> None:
    """The stream has seen to the deletion when there was no object yet; nobody else would delete it."""
    scene.with_items(item("a"), item("b"), stream=STREAM)

    async def delete() -> None:
        scene.table.delete("a")

    scene.storage.before("put", delete)
    report = await scene.backfill(limits=Limits(segments=1))
    assert set(scene.kept) == {"b"}
    assert (report.missing, report.deleted, report.repaired, report.remaining) == (1, 1, 2, 0)


async def test_an_item_that_changes_while_it_is_copied_is_backed_up_as_it_is_now(scene: Scene) -> None:
    scene.with_items(item("a", v=1), stream=STREAM)

    async def change() -> None:
        scene.table.put(item("a", v=2))

    scene.storage.before("put", change)
    report = await scene.backfill()
    assert scene.kept == {"a": item("a", v=2)}
    assert (report.different, report.repaired, report.remaining) == (1, 1, 0)


async def test_of_a_table_without_a_stream_nothing_is_read_twice(scene: Scene) -> None:
    await scene.with_items(*items(30)).backfill()
    assert scene.endpoint.count("BatchGetItem") == 0


async def test_what_ttl_has_given_up_is_not_copied(scene: Scene) -> None:
    past = int(scene.clock.now()) - 60
    scene.with_items(item("a", until=past), item("b", until=past + 3600), ttl="until", stream=STREAM)
    report = await scene.backfill()
    assert set(scene.kept) == {"b"}
    assert report.expired == 1


async def test_objects_of_items_that_the_table_has_not_are_left_alone(scene: Scene) -> None:
    scene.keep(item("other"))
    scene.shelf.objects["notes.txt"] = Kept(b"not ours", {})
    report = await scene.with_items(item("a")).backfill()
    assert scene.shelf.objects["notes.txt"].data == b"not ours"
    assert object_name(key("other")) in scene.shelf.objects
    assert (report.repaired, report.deleted) == (1, 0)


async def test_an_object_that_holds_no_item_is_replaced_and_told(scene: Scene) -> None:
    scene.shelf.objects[object_name(key("a"))] = Kept(b"{broken", {})
    report = await scene.with_items(item("a"), item("b")).backfill()
    assert set(scene.kept) == {"a", "b"}
    assert (report.repaired, report.remaining) == (2, 0)
    assert scene.log.notes[-1].startswith(
        f"shelf/{object_name(key('a'))} was no backup of an item: It holds no item"
    )


async def test_one_segment_copies_its_items_only(scene: Scene) -> None:
    scene.with_items(*items(40))
    for index in range(2):
        await scene.backfill(segment=Segment(index, 2), limits=Limits(segments=2))
    assert len(scene.kept) == 40
    assert scene.log.events[0].report.scanned_primary < 40  # type: ignore[union-attr]


async def test_puts_under_way_are_bounded(scene: Scene) -> None:
    await scene.with_items(*items(200)).backfill(at_once=16)
    assert scene.storage.most_under_way == 16


async def test_a_bucket_that_is_not_there_is_told_before_anything_is_read(
    scene: Scene, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    scene.with_items(item("a"))
    async with open_objects(S3Place("no-such-bucket", "orders"), session=session()) as objects:
        with pytest.raises(
            BucketNotFoundError, match=r"There is no S3 bucket for s3://no-such-bucket/orders"
        ):
            await scene.backfill(objects)
    assert scene.endpoint.count("Scan") == 0


async def test_a_folder_that_cannot_be_written_ends_the_run_incomplete(scene: Scene) -> None:
    async def fail() -> None:
        raise StorageError("The disk is full.")

    scene.storage.before("put", fail)
    with pytest.raises(IncompleteRunError, match=r"The disk is full\.") as raised:
        await scene.with_items(*items(10)).backfill()
    assert not raised.value.report.complete


# ── Single records ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("there", "kind"), [(None, "missing"), (item("a", v=1), "different"), (item("a", v=2), None)]
)
async def test_one_record_is_brought_up_to_date(scene: Scene, there: Item | None, kind: str | None) -> None:
    if there is not None:
        scene.keep(there, MARK)
    async for table in scene.with_items(item("a", v=2)).open():
        found = await backup_record(table, scene.storage, key(), clock=scene.clock)
    assert scene.kept == {"a": item("a", v=2)}
    assert (found and (found.kind, found.state)) == (kind and (kind, State.REPAIRED))


async def test_one_record_that_the_table_has_not_is_deleted(scene: Scene) -> None:
    scene.keep(item("a", v=1))
    scene.keep(item("b"))
    async for table in scene.with_items().open():
        found = await backup_record(table, scene.storage, key(), clock=scene.clock)
        assert await backup_record(table, scene.storage, key("c"), clock=scene.clock) is None
    assert found is not None
    assert (found.kind, found.state) == ("extraneous", State.REPAIRED)
    assert set(scene.kept) == {"b"}


async def test_a_dry_run_writes_nothing(scene: Scene) -> None:
    async for table in scene.with_items(item("a", v=2)).open():
        found = await backup_record(table, scene.storage, key(), dry_run=True, clock=scene.clock)
    assert found is not None
    assert (found.kind, found.state, found.reason) == ("missing", State.FOUND, "Dry run: it would be put.")
    assert scene.kept == {}


async def test_a_record_is_compared_with_its_object_attribute_by_attribute(scene: Scene) -> None:
    scene.keep({**item("a", same="x", w=1), "n": {"N": "1.0"}})
    async for table in scene.with_items(item("a", same="x", n=1, v=2)).open():
        record, damage = await diff_backup_record(table, scene.storage, key(), clock=scene.clock)
    assert damage is None
    assert [(pair.name, pair.equal) for pair in record.attributes] == [
        ("id", True), ("n", True), ("same", True), ("v", False), ("w", False),
    ]  # fmt: skip
    assert record.discrepancy is not None
    assert record.discrepancy.kind == "different"


async def test_an_object_without_an_item_is_told_where_a_record_is_compared(scene: Scene) -> None:
    scene.shelf.objects[object_name(key("a"))] = Kept(b"{broken", {})
    async for table in scene.with_items(item("a")).open():
        record, damage = await diff_backup_record(table, scene.storage, key(), clock=scene.clock)
    assert record.discrepancy is not None
    assert record.discrepancy.kind == "missing"
    assert damage is not None
    assert "It holds no item" in damage
