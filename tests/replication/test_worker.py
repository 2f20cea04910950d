"""A worker follows a stream: everything arrives in order, and the checkpoint is never ahead of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.replicate.events import ShardLeft
from tests.support.scenario import item, items
from tests.support.workers import Replication, until_true

if TYPE_CHECKING:
    from tests.support.scripted import ScriptedDynamo


async def test_puts_changes_and_deletions_arrive(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    for each in items(30, n=1):
        replication.source.put(each)
    async with replication.worker():
        await until_true(lambda: len(replication.replicas[0].items) == 30)
        replication.source.put(item("k001", n=2))
        replication.source.delete("k002")
        await until_true(replication.in_line)
    assert replication.replicas[0].items["k001"] == item("k001", n=2)
    assert "k002" not in replication.replicas[0].items


async def test_several_destinations_get_the_same(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint, 2)
    for each in items(60, n=1):
        replication.source.put(each)
    async with replication.worker():
        await until_true(replication.in_line)
    assert len(replication.replicas[1].items) == 60


async def test_a_worker_that_stops_sets_its_leases_free_and_the_next_goes_on_there(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint)
    replication.source.put(item("a"))
    async with replication.worker() as first:
        await until_true(replication.in_line)
        await first.stop()
    assert set(replication.owners().values()) == {None}
    replication.source.put(item("b"))
    written = endpoint.count("BatchWriteItem")
    async with replication.worker("next") as second:
        await until_true(replication.in_line)
    assert second.worker.figures.read == 1
    assert endpoint.count("BatchWriteItem") == written + 1


async def test_the_children_of_a_split_shard_are_followed_after_it(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    async with replication.worker() as running:
        for round_ in range(4):
            for each in items(40, n=round_):
                replication.source.put(each)
            replication.stream.split()
        for each in items(40, n=9):
            replication.source.put(each)
        await until_true(replication.in_line)
        await until_true(lambda: len(running.of(ShardLeft)) >= 4)
    assert [left.reason for left in running.of(ShardLeft)][:4] == ["its end is reached"] * 4
