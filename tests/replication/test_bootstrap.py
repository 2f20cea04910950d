"""Filling a destination while its source is in use: neither the copy nor the stream undoes the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import IncompleteRunError, PermissionDeniedError, SystemClock, UsageError
from asyncrep.model import Capacity, KeyAttribute, KeySchema, TableSettings
from asyncrep.options import Limits
from asyncrep.replicate.bootstrap import bootstrap, estimate_copy
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.selection import Selection
from tests.support.scenario import Log, item, items
from tests.support.workers import NAME, TASK, Replication, until_true

if TYPE_CHECKING:
    from tests.support.scripted import ScriptedDynamo

TABLES = (f"us-east-1/{NAME}", f"eu-west-1/{NAME}")


class Later(SystemClock):
    """The time in 23 hours."""

    def now(self) -> float:
        return super().now() + 23 * 3600


async def fill(replication: Replication, worker: str = "filler", **options: Any) -> Log:
    """Bootstrap, and return what was told."""
    log = Log()
    async with replication.open() as (stream, tables, leases):
        await bootstrap(
            stream,
            tables,
            leases,
            worker=worker,
            task=TABLES,
            selection=replication.policy.selection,
            observer=log,
            **{"failover": 3.0, "limits": Limits(segments=2), **options},
        )
    return log


def phases(replication: Replication) -> set[tuple[bool, bool]]:
    """Of each lease, whether its task copies, and whether its shard catches up."""
    rows = replication.endpoint.table(TASK, "us-east-1").items.values()
    return {("copyingSince" in row, "catchingUp" in row) for row in rows}


async def test_copies_come_first_then_what_happened_meanwhile(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint, shards=2)
    for each in items(40, n=1):
        replication.source.put(each)

    def meanwhile(_: ScriptedDynamo) -> None:
        replication.source.put(item("k001", n=2))
        replication.source.delete("k002")
        replication.source.put(item("new", n=1))

    endpoint.after("Scan", meanwhile, table=NAME, region="us-east-1")
    await fill(replication)
    assert phases(replication) == {(False, True)}
    async with replication.worker(task=TABLES):
        await until_true(replication.in_line)
        await until_true(lambda: phases(replication) == {(False, False)})
    assert replication.replicas[0].items["k001"] == item("k001", n=2)


async def test_nothing_older_than_a_copy_is_ever_written_over_it(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    replica = replication.replicas[0]
    states = replica.enable_stream()
    for n in range(50):
        replication.source.put(item("a", n=n))
    await fill(replication)
    assert replica.items["a"] == item("a", n=49)
    replication.stream.page_records = 7
    async with replication.worker(task=TABLES):
        await until_true(lambda: phases(replication) == {(False, False)})
        for n in range(50, 60):
            replication.source.put(item("a", n=n))
        await until_true(replication.in_line)
    written = [int(record["dynamodb"]["NewImage"]["n"]["N"]) for record in states.records]
    assert written == sorted(written)
    assert written[0] == 49


async def test_nobody_follows_a_shard_while_items_are_copied(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    for each in items(10):
        replication.source.put(each)
    refused = endpoint.on("BatchWriteItem", times=None)
    refused.error("AccessDeniedException", 400)
    with pytest.raises(IncompleteRunError):
        await fill(replication)
    assert phases(replication) == {(True, False)}
    async with replication.worker(task=TABLES) as running:
        replication.stream.split()
        running.worker.coordinator.sync_soon()
        await until_true(lambda: len(phases(replication)) == 1 and len(replication.checkpoints()) == 3)
        assert phases(replication) == {(True, False)}
        assert running.worker.figures.read == 0
    refused.times = 0
    await fill(replication, "next")
    async with replication.worker(task=TABLES):
        await until_true(replication.in_line)


async def test_a_task_that_was_bootstrapped_goes_on_without_copying(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    replication.source.put(item("a"))
    await fill(replication)
    scans = endpoint.count("Scan", table=NAME, region="us-east-1")
    log = await fill(replication, "next")
    assert endpoint.count("Scan", table=NAME, region="us-east-1") == scans
    assert log.notes == ["The task goes on where it was, and nothing is copied; --restart copies again."]


async def test_a_copy_that_ends_before_all_shards_heard_of_it_leaves_none_behind(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint, shards=4)
    for each in items(40, n=1):
        replication.source.put(each)
    # After four leases were added and the first one was taken: the second that is told the copy is whole.
    endpoint.on("UpdateItem", table=TASK, after=6).error("AccessDeniedException", 400)
    with pytest.raises(PermissionDeniedError):
        await fill(replication)
    assert len(phases(replication)) > 1
    for each in items(40, n=2):
        replication.source.put(each)
    await fill(replication, "next")
    async with replication.worker(task=TABLES):
        await until_true(replication.in_line)
        replication.stream.split()
        for each in items(40, n=3):
            replication.source.put(each)
        await until_true(replication.in_line)


async def test_whoever_waits_for_a_copy_takes_over_from_a_copier_that_dies(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    for each in items(10):
        replication.source.put(each)
    refused = endpoint.on("BatchWriteItem", times=None)
    refused.error("AccessDeniedException", 400)
    with pytest.raises(IncompleteRunError):
        await fill(replication)
    refused.times = 0
    (row,) = endpoint.table(TASK, "us-east-1").items.values()
    row["leaseOwner"] = {"S": "the dead"}
    row["leaseCounter"] = {"N": "100"}
    log = await fill(replication, "next")
    assert replication.in_line()
    assert not any("waits" in note for note in log.notes)


async def test_a_stream_without_shards_is_no_reason_to_copy_nothing(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    replication.stream.shards.clear()
    with pytest.raises(UsageError, match="lists no shards yet"):
        await fill(replication)


async def test_copying_that_began_too_long_ago_is_refused(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    replication.source.put(item("a"))
    endpoint.on("BatchWriteItem", times=1).error("AccessDeniedException", 400)
    with pytest.raises(IncompleteRunError):
        await fill(replication)
    with pytest.raises(UsageError, match="Copying began 23 hours ago"):
        await fill(replication, clock=Later())


async def test_what_is_selected_is_what_is_copied(endpoint: ScriptedDynamo) -> None:
    selection = Selection.from_texts(where=["n>=5"], without=["secret"])
    replication = Replication.of(endpoint, policy=Policy(selection=selection))
    for n in range(10):
        replication.source.put(item(f"k{n}", n=n, secret="s"))
    await fill(replication)
    assert replication.replicas[0].items == {f"k{n}": item(f"k{n}", n=n) for n in range(5, 10)}
    async with replication.worker(task=TABLES):
        await until_true(lambda: phases(replication) == {(False, False)})
    assert replication.replicas[0].items == {f"k{n}": item(f"k{n}", n=n) for n in range(5, 10)}


def settings(items: int, size: int, **capacity: Any) -> TableSettings:
    """The settings of a table of so many items of one size."""
    return TableSettings(
        name=NAME,
        arn="",
        table_id=None,
        schema=KeySchema(KeyAttribute("id", "S")),
        item_count=items,
        size_bytes=items * size,
        indexes=frozenset(),
        ttl_attribute=None,
        stream_view="NEW_IMAGE",
        capacity=Capacity(**capacity),
    )


def test_the_estimate_is_bound_by_the_slowest_part() -> None:
    small, slow = settings(1_000_000, 400), settings(0, 0, billing="provisioned", provisioned_write_units=10)
    estimate = estimate_copy(small, [slow])
    assert estimate.seconds == pytest.approx(100_000)
    assert estimate.bound == "10 write units a second of a destination"
    assert estimate_copy(small, [slow], Limits(write_units=5)).seconds == pytest.approx(200_000)
    assert estimate_copy(small, [small]).seconds == pytest.approx(250)
    assert estimate_copy(settings(0, 0), [small]).seconds == 0


def test_a_copy_that_takes_longer_than_the_stream_remembers_is_refused_with_the_figures() -> None:
    slow = settings(0, 0, billing="provisioned", provisioned_write_units=10)
    estimate = estimate_copy(settings(1_000_000, 400), [slow])
    with pytest.raises(UsageError, match="1,000,000 items takes about 28 hours, bound by 10 write units"):
        estimate.check()
    replace(estimate, seconds=3600.0).check()
