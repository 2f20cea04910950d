"""A stream that was switched off, and on again, is followed by nobody in silence, nor written from twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.replicate.events import DataLost, Remark, Stalled
from asyncrep.replicate.stream_watch import StreamWatch
from tests.support.scenario import item
from tests.support.workers import NAME, SOURCE, TASK, Replication, until_true

if TYPE_CHECKING:
    from asyncrep.replicate.events import ReplicationEvent
    from tests.support.scripted import ScriptedDynamo


async def test_a_worker_whose_stream_is_switched_off_ends_it_and_is_unhealthy(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint)
    async with replication.worker() as running:
        replication.source.put(item("a"))
        await until_true(replication.in_line)
        assert running.worker.health().healthy
        replication.source.put(item("b"))
        replication.stream.disable()
        await until_true(lambda: not running.worker.health().healthy)
        await until_true(lambda: set(replication.checkpoints().values()) == {"SHARD_END"})
        assert "switched off" in running.worker.health().reason
        assert "diff-tables --repair" in running.worker.health().reason
    assert replication.in_line()
    assert len([remark for remark in running.of(Remark) if remark.serious]) == 1


async def test_a_worker_that_finds_another_stream_tells_the_gap_once_and_follows_it(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint)
    async with replication.worker() as running:
        replication.stream.disable()
        await until_true(lambda: set(replication.checkpoints().values()) == {"SHARD_END"})
    replication.source.put(item("between"))
    replication.source.enable_stream()
    replication.source.put(item("after"))
    async with replication.worker("next") as running:
        await until_true(lambda: "after" in replication.replicas[0].items)
        assert running.worker.health().healthy
        assert running.worker.figures.gaps == 1
    (lost,) = running.of(DataLost)
    assert "diff-tables --repair" in lost.reason
    async with replication.worker("third") as running:
        assert running.worker.figures.gaps == 0


async def test_a_table_that_was_made_anew_is_told_as_a_gap(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    async with replication.worker():
        await until_true(lambda: any(replication.owners().values()))
    replication.source = endpoint.create_table(NAME, SOURCE)
    replication.source.enable_stream().disable()
    replication.source.enable_stream()  # its stream is named as no other was before
    replication.source.put(item("after"))
    async with replication.worker("next") as running:
        await until_true(replication.in_line)
        assert running.of(DataLost)[0].reason.startswith(
            "the stream of us-east-1/orders has none of the shards"
        )


async def test_a_worker_of_the_dead_stream_does_not_end_shards_of_the_next_one(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint)
    async with replication.worker("old") as old:
        await until_true(lambda: old.worker.figures.shards)
        replication.stream.disable()
        replication.source.enable_stream()
        (shard,) = replication.stream.shards
        await until_true(lambda: not old.worker.health().healthy)
        async with replication.worker("new"):
            replication.source.put(item("a"))
            await until_true(replication.in_line)
        await until_true(lambda: replication.owners()[shard] == "old")
        await until_true(lambda: old.of(Stalled))
        assert "not among its shards" in old.of(Stalled)[0].reason
        assert not old.of(DataLost)
        assert replication.checkpoints()[shard] != "SHARD_END"


async def test_leases_of_a_dead_stream_are_not_made_again_once_there_is_another(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint)
    told: list[ReplicationEvent] = []
    async with replication.open() as (stream, _, _):
        watch = StreamWatch(stream, told.append)
        replication.stream.disable()
        assert len(await watch.shards()) == 1
        replication.source.enable_stream()
        assert not await watch.shards()
    assert len(told) == 1


async def test_a_new_task_has_no_gap(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    async with replication.worker() as running:
        await until_true(lambda: running.worker.figures.shards)
        assert running.worker.figures.gaps == 0
    assert not running.of(DataLost)
    assert len(endpoint.table(TASK, SOURCE).items) == 1
