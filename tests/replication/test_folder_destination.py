"""A worker keeps incremental folders, beside tables or alone: every change in order, each a version."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Following, Policy, Selection, Task, UsageError, open_table, open_task
from asyncrep.backup.item_folder import folder_of_table
from asyncrep.backup.local import LocalFolder
from asyncrep.change import Change, ChangeKind
from asyncrep.errors import BucketNotFoundError
from asyncrep.items.incremental import Mark, object_name
from asyncrep.replicate.bootstrap import estimate_copy
from asyncrep.replicate.folder import Folder
from tests.support.scenario import Log, item, items, key, session
from tests.support.shelf import Shelf
from tests.support.workers import NAME, RETRY, until_true

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable
    from tests.support.values import Item

SOURCE, REPLICA = f"us-east-1/{NAME}", f"eu-west-1/{NAME}"


@pytest.fixture
def source(endpoint: ScriptedDynamo) -> ScriptedTable:
    endpoint.create_table(NAME, "eu-west-1")
    return endpoint.create_table(NAME, "us-east-1", stream="NEW_AND_OLD_IMAGES")


@asynccontextmanager
async def opened(
    endpoint: ScriptedDynamo, *folders: Any, replicas: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[Task]:
    """A task from the source's stream to these folders and tables."""
    means: dict[str, Any] = {"session": session(), "endpoint_url": endpoint.url, "retry": RETRY}
    following = Following(poll=0.1, failover=3.0)
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(open_table(SOURCE, **means))
        tables = [await stack.enter_async_context(open_table(place, **means)) for place in replicas]
        yield await stack.enter_async_context(
            open_task(
                source,
                [*(folder_of_table(folder, source) for folder in folders), *tables],
                session=session(),
                following=following,
                **options,
            )
        )


async def follow(task: Task, until: Callable[[], object]) -> None:
    worker = await task.worker()
    running = asyncio.ensure_future(worker.run())
    await until_true(until)
    worker.stop()
    await running


def kept(shelf: Shelf) -> dict[str, Item]:
    return {each["id"]["S"]: each for each in map(json.loads, (kept.data for kept in shelf.objects.values()))}


def versions(shelf: Shelf, id: str = "a") -> list[Any]:
    """What the object of an item has held, as the values of v; None for a deletion."""
    return [
        None if each is None else json.loads(each.data)["v"]["N"]
        for each in shelf.history[object_name(key(id))]
    ]


async def test_every_change_is_a_version_of_the_item_s_object(
    endpoint: ScriptedDynamo, source: ScriptedTable
) -> None:
    shelf = Shelf()
    for number in range(5):
        source.put(item("a", v=number))
    source.delete("a")
    source.put(item("a", v=9))
    source.put(item("b"))
    async with opened(endpoint, shelf) as task:
        await follow(task, lambda: kept(shelf) == source.items and len(shelf.objects) == 2)
    assert versions(shelf) == ["0", "1", "2", "3", "4", None, "9"]
    assert Mark.of(shelf.objects[object_name(key())].metadata) is not None


async def test_tables_and_folders_are_kept_in_line_by_one_worker(
    endpoint: ScriptedDynamo, source: ScriptedTable, tmp_path: Path
) -> None:
    shelf, folder = Shelf(), LocalFolder(tmp_path / "orders")
    replica = endpoint.table(NAME, "eu-west-1")
    for each in items(20, v=1):
        source.put(each)
    async with opened(endpoint, shelf, folder, replicas=(REPLICA,)) as task:
        assert task.tables == (SOURCE, f"shelf {tmp_path / 'orders'} {REPLICA}")
        await follow(task, lambda: replica.items == source.items == kept(shelf))
        names = [entry.name async for entry in folder.entries()]
    assert sorted(names) == sorted(object_name(key(name)) for name in source.items)


async def test_a_bootstrap_fills_a_folder_and_the_stream_goes_on_from_before_it(
    endpoint: ScriptedDynamo, source: ScriptedTable
) -> None:
    shelf, log = Shelf(), Log()
    source.streams.clear()  # what is there was written before there was a stream
    for each in items(30, v=1):
        source.put(each)
    source.enable_stream()
    source.put(item("k000", v=2))
    source.delete("k001")
    async with opened(endpoint, shelf, replicas=(REPLICA,)) as task:
        await task.bootstrap("worker", observer=log)
        assert kept(shelf) == source.items
        source.put(item("k002", v=3))
        source.delete("k003")
        await follow(task, lambda: kept(shelf) == source.items == endpoint.table(NAME, "eu-west-1").items)


async def test_a_selection_keeps_others_out_of_a_folder(
    endpoint: ScriptedDynamo, source: ScriptedTable
) -> None:
    shelf = Shelf()
    source.put(item("a", v=1))
    source.put(item("b", v=2))
    source.put(item("c", v=3))
    async with opened(endpoint, shelf, policy=Policy(selection=Selection.from_texts(where=["v>=2"]))) as task:
        await follow(task, lambda: set(kept(shelf)) == {"b", "c"})


async def test_parts_of_items_are_refused_before_anything_is_made(
    endpoint: ScriptedDynamo, source: ScriptedTable
) -> None:
    del source
    made = set(endpoint._tables)
    policy = Policy(selection=Selection.from_texts(without=["secret"]))
    async with opened(endpoint, Shelf(), policy=policy) as task:
        with pytest.raises(UsageError, match="A backup holds whole items"):
            await task.check()
    assert set(endpoint._tables) == made


async def test_a_guard_is_for_tables_and_that_is_said(
    endpoint: ScriptedDynamo, source: ScriptedTable
) -> None:
    shelf = Shelf()
    source.put(item("a", v=1))
    policy = Policy(guard="sequence")
    async with opened(endpoint, shelf, replicas=(REPLICA,), policy=policy) as task:
        assert task.notes == [
            "The guard is for tables: changes of shelf are in order without it, by numbers kept with the objects."
        ]
        await follow(task, lambda: kept(shelf) == source.items == endpoint.table(NAME, "eu-west-1").items)


async def test_the_same_folder_twice_is_refused(endpoint: ScriptedDynamo, source: ScriptedTable) -> None:
    del source
    with pytest.raises(UsageError, match="shelf is there twice"):
        async with opened(endpoint, Shelf(), Shelf()):
            pass


async def test_a_folder_that_is_not_there_is_told_before_anything_is_made(
    endpoint: ScriptedDynamo, source: ScriptedTable
) -> None:
    del source

    class Nowhere(Shelf):
        async def check(self) -> None:
            raise BucketNotFoundError("There is no S3 bucket for s3://nowhere.")

    made = set(endpoint._tables)
    async with opened(endpoint, Nowhere()) as task:
        with pytest.raises(BucketNotFoundError):
            await task.check()
    assert set(endpoint._tables) == made


async def test_copying_to_a_folder_is_estimated_by_its_puts(
    endpoint: ScriptedDynamo, source: ScriptedTable
) -> None:
    source.description["ItemCount"] = 1_000_000
    async with opened(endpoint, Shelf(), replicas=(REPLICA,)) as task:
        settings = task.stream.table.settings
        folder, table = (destination.settings for destination in task.destinations)
        assert estimate_copy(settings, [folder]).seconds > estimate_copy(settings, [table]).seconds > 0
        assert estimate_copy(settings, [folder]).bound == "what one process can copy"


@pytest.mark.parametrize("has_ours", [True, False])
async def test_with_an_item_goes_the_object_that_another_tool_named(has_ours: bool) -> None:
    """A key of two attributes has two orders; an object of the other one would be taken for the item."""
    canonical, turned = b'{"id":{"S":"a"},"n":{"N":"1"}}', b'{"n":{"N":"1"},"id":{"S":"a"}}'
    shelf = Shelf()
    await shelf.put(object_name(turned), canonical)
    await shelf.put(object_name(b'{"n":{"N":"2"},"id":{"S":"a"}}'), b"another item's")
    if has_ours:
        await shelf.put(object_name(canonical), canonical)
    gone = Change(key=canonical, kind=ChangeKind.REMOVE, sequence=9, old=canonical, stream="arn:x/stream/1")
    applied = await Folder(shelf).apply([gone])  # type: ignore[arg-type]
    assert not applied.unwritten
    assert [kept.data for kept in shelf.objects.values()] == [b"another item's"]
