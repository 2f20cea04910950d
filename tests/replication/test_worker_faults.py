"""What befalls a worker: nothing is lost, nothing is passed over, and what cannot be helped is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from asyncrep import RetryPolicy, SystemClock, VirtualClock
from asyncrep.aws.streams import TrimHorizon
from asyncrep.errors import ServiceError
from asyncrep.options import Following
from asyncrep.replicate.events import (
    DataLost,
    Progressed,
    Refused,
    ShardState,
    Stalled,
)
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.reader import ShardPage, ShardReader
from asyncrep.replicate.selection import Selection
from tests.support.scenario import item, items
from tests.support.workers import RETRY, SOURCE, Replication, until_true

if TYPE_CHECKING:
    from asyncrep.change import Change, Unreadable
    from tests.support.scripted import ScriptedDynamo
    from tests.support.workers import Running


class Letters:
    """A dead-letter place that keeps letters in memory, unless it is out of order."""

    place = "memory"

    def __init__(self) -> None:
        self.kept: list[tuple[str | None, str, dict[str, Any]]] = []
        self.broken = False

    async def keep(self, record: Change | Unreadable, *, destination: str | None, reason: str) -> None:
        if self.broken:
            raise ServiceError("The place is full.")
        self.kept.append((destination, reason, msgspec.json.decode(record.record)))


class Behind(SystemClock):
    """The time some seconds ago, an hour at first."""

    def __init__(self, late: float = 3600.0) -> None:
        super().__init__()
        self.late = late

    def now(self) -> float:
        return super().now() - self.late


def figures_of(running: Running) -> Any:
    """The figures of the only shard."""
    (figures,) = running.worker.figures.shards.values()
    return figures


async def test_an_expired_iterator_is_taken_anew_where_it_was(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    async with replication.worker() as running:
        for each in items(20):
            replication.source.put(each)
        await until_true(replication.in_line)
        replication.stream.expire_iterators()
        replication.source.put(item("later"))
        await until_true(replication.in_line)
    assert running.worker.figures.read == 21


async def test_reading_from_the_tip_misses_nothing_when_its_first_iterator_expires(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint, following=Following(begin="latest", poll=0.1, failover=3.0))
    replication.source.put(item("before"))
    async with replication.worker() as running:
        await until_true(lambda: running.of(Progressed))
        replication.source.put(item("after"))
        replication.stream.expire_iterators()
        await until_true(lambda: "after" in replication.replicas[0].items)


async def test_a_task_that_begins_at_the_tip_is_taken_over_without_a_gap(endpoint: ScriptedDynamo) -> None:
    clock = Behind()
    replication = Replication.of(endpoint, following=Following(begin="latest", poll=0.1, failover=3.0))
    replication.stream.clock = clock
    replication.source.put(item("before"))
    clock.late = 0
    async with replication.worker() as running:
        await until_true(lambda: running.of(Progressed))
        await running.stop()
    replication.source.put(item("between"))
    async with replication.worker("next") as running:
        await until_true(lambda: running.worker.figures.read == 1)
    assert set(replication.replicas[0].items) == {"between"}


async def test_what_was_written_before_the_tip_is_not_replicated(endpoint: ScriptedDynamo) -> None:
    clock = Behind()
    replication = Replication.of(endpoint, following=Following(begin="latest", poll=0.1, failover=3.0))
    replication.stream.clock = clock
    replication.source.put(item("before"))
    clock.late = 0
    async with replication.worker() as running:
        await until_true(lambda: running.of(Progressed))
        replication.source.put(item("after"))
        await until_true(lambda: "after" in replication.replicas[0].items)
    assert set(replication.replicas[0].items) == {"after"}


async def test_trimmed_records_are_told_and_the_rest_is_followed(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    replication.source.put(item("a"))
    async with replication.worker():
        await until_true(replication.in_line)
    for each in items(10):
        replication.source.put(each)
    replication.stream.trim()
    replication.source.put(item("z"))
    async with replication.worker("next") as running:
        await until_true(lambda: "z" in replication.replicas[0].items)
    assert len(running.of(DataLost)) == 1
    assert running.worker.figures.gaps == 1
    assert "trimmed" in running.of(DataLost)[0].reason


async def test_a_destination_that_throttles_gets_everything_in_the_end(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    endpoint.on("BatchWriteItem", times=20).throttle()
    for each in items(40):
        replication.source.put(each)
    async with replication.worker():
        await until_true(replication.in_line)


async def test_the_checkpoint_waits_for_the_slowest_destination(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint, 2)
    refusing = endpoint.on("BatchWriteItem", region="ap-south-1", times=None)
    refusing.error("AccessDeniedException", 400)
    replication.source.put(item("a"))
    async with replication.worker() as running:
        await until_true(lambda: running.of(Stalled))
        assert replication.replicas[0].items == replication.source.items
        assert set(replication.checkpoints().values()) == {"TRIM_HORIZON"}
        assert figures_of(running).state is ShardState.RETRYING
        assert not running.worker.health().healthy
    assert set(replication.checkpoints().values()) == {"TRIM_HORIZON"}
    async with replication.worker("next") as running:
        refusing.times = 0
        await until_true(replication.in_line)
        await until_true(lambda: "TRIM_HORIZON" not in replication.checkpoints().values())


async def test_a_poison_record_is_put_aside_and_its_neighbours_are_applied(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    letters = Letters()
    poison = endpoint.on(
        "BatchWriteItem", times=None, when=lambda body: "bad" in msgspec.json.encode(body).decode()
    )
    poison.error("ValidationException", 400)
    for each in (*items(30), item("bad")):
        replication.source.put(each)
    async with replication.worker(letters=letters) as running:
        await until_true(lambda: len(replication.replicas[0].items) == 30)
        await until_true(lambda: "TRIM_HORIZON" not in replication.checkpoints().values())
    ((destination, reason, record),) = letters.kept
    assert destination == "eu-west-1/orders"
    assert "ValidationException" in reason
    assert record["dynamodb"]["NewImage"] == item("bad")
    assert [refused.kept for refused in running.of(Refused)] == [True]


def failing_for_a_while(endpoint: ScriptedDynamo, word: str) -> None:
    """Fail writes of items with this word until all tries of one request are used up."""
    endpoint.on(
        "BatchWriteItem", times=RETRY.attempts, when=lambda body: word in msgspec.json.encode(body).decode()
    ).error("InternalServerError", 500)


async def test_a_change_before_one_that_fails_and_then_is_poison_arrives(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    letters = Letters()
    failing_for_a_while(endpoint, "bad")
    endpoint.on(
        "BatchWriteItem", times=None, when=lambda body: "bad" in msgspec.json.encode(body).decode()
    ).error("ValidationException", 400)
    replication.source.put(item("a", n=1))
    replication.source.put(item("a", n="bad"))
    async with replication.worker(letters=letters) as running:
        await until_true(lambda: "TRIM_HORIZON" not in replication.checkpoints().values())
        assert len(running.of(Stalled)) == 1
    assert replication.replicas[0].items == {"a": item("a", n=1)}
    assert [record["dynamodb"]["NewImage"] for _, _, record in letters.kept] == [item("a", n="bad")]
    figures = running.worker.figures
    assert (figures.written, figures.squashed, figures.retried, figures.failed) == (1, 0, 2, 1)


async def test_what_is_poison_no_more_is_not_followed_by_what_came_before_it(
    endpoint: ScriptedDynamo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is refused for a moment, and the one before it fails meanwhile."""
    monkeypatch.setattr("asyncrep.replicate.follower.HELD_SECONDS", 0.05)
    replication = Replication.of(endpoint)
    endpoint.on("BatchWriteItem", times=1).error("ValidationException", 400)
    failing_for_a_while(endpoint, "good")
    replication.source.put(item("a", n="good"))
    replication.source.put(item("a", n="better"))
    async with replication.worker():
        await until_true(lambda: "TRIM_HORIZON" not in replication.checkpoints().values())
    assert replication.in_line()


async def test_without_a_place_a_poison_record_holds_its_shard(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    endpoint.on(
        "BatchWriteItem", times=None, when=lambda body: "bad" in msgspec.json.encode(body).decode()
    ).error("ValidationException", 400)
    replication.source.put(item("good"))
    replication.source.put(item("bad"))
    async with replication.worker() as running:
        await until_true(lambda: running.of(Refused))
        assert figures_of(running).state is ShardState.HELD
        assert "good" in replication.replicas[0].items
        replication.source.put(item("behind"))
        await running.stop()
    assert set(replication.checkpoints().values()) == {"TRIM_HORIZON"}
    assert "behind" not in replication.replicas[0].items


async def test_a_letter_that_cannot_be_kept_holds_the_shard_as_well(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    letters = Letters()
    letters.broken = True
    endpoint.on("BatchWriteItem", times=None).error("ValidationException", 400)
    replication.source.put(item("bad"))
    async with replication.worker(letters=letters) as running:
        await until_true(lambda: running.of(Refused))
        assert "The place is full." in running.of(Refused)[0].reason
        assert figures_of(running).state is ShardState.HELD
    assert set(replication.checkpoints().values()) == {"TRIM_HORIZON"}


async def test_an_unreadable_record_does_not_keep_its_neighbours_back(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint)
    for each in items(3):
        replication.source.put(each)
    del replication.stream.records[0]["dynamodb"]["Keys"]
    async with replication.worker() as running:
        await until_true(lambda: len(replication.replicas[0].items) == 2)
        await until_true(lambda: running.of(Refused))
        assert figures_of(running).state is ShardState.HELD
    assert set(replication.checkpoints().values()) == {"TRIM_HORIZON"}


async def test_a_shard_that_is_not_there_for_a_moment_is_not_asked_for_without_a_pause(
    endpoint: ScriptedDynamo,
) -> None:
    clock = VirtualClock()
    replication = Replication.of(endpoint, clock=clock)
    endpoint.on("GetShardIterator", times=2).error("ResourceNotFoundException", 400)
    replication.source.put(item("a"))
    async with replication.open() as (stream, _, _):
        (shard,) = replication.stream.shards
        reader = ShardReader(
            stream.streams,
            stream.arn,
            shard,
            TrimHorizon(),
            stream.table.keys,
            limit=10,
            poll=7.0,
            clock=clock,
        )
        assert [await reader.next(), await reader.next()] == [ShardPage(), ShardPage()]
        assert clock.slept == [7.0, 7.0]
        assert len((await reader.next()).changes) == 1


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_wrong_does_not_decide_what_is_too_old_nor_how_late_it_is(
    endpoint: ScriptedDynamo, hours: int
) -> None:
    following = Following(begin="latest", poll=0.1, failover=3.0)
    replication = Replication.of(endpoint, following=following, clock=Behind(-3600.0 * hours))
    replication.stream.clock = long_ago = Behind(600.0)
    replication.source.put(item("before"))
    long_ago.late = 0
    endpoint.on("BatchWriteItem").error("AccessDeniedException", 400)
    async with replication.worker() as running:
        await until_true(lambda: running.of(Progressed))
        replication.source.put(item("after"))
        await until_true(lambda: "after" in replication.replicas[0].items)
        await until_true(lambda: running.worker.figures.read > 0)
    assert set(replication.replicas[0].items) == {"after"}
    assert all(event.millis_behind < 60_000 for event in running.of(Progressed))
    stalls = [stalled.millis_behind for stalled in running.of(Stalled)]
    assert stalls
    assert all(behind is not None and behind < 60_000 for behind in stalls)


@pytest.mark.parametrize("fault", ["throttle", "unprocessed", "hang_up"])
async def test_who_is_to_stop_does_not_go_on_trying_what_a_destination_does_not_take(
    endpoint: ScriptedDynamo, fault: str
) -> None:
    replication = Replication.of(endpoint, retry=RetryPolicy(first=60.0, longest=60.0))
    refusing = endpoint.on("BatchWriteItem", times=None)
    getattr(refusing, fault)(*((1.0,) if fault == "unprocessed" else ()))
    replication.source.put(item("a"))
    async with replication.worker() as running:
        await until_true(lambda: refusing.fired)
        async with asyncio.timeout(5.0):
            await running.stop()
    assert set(replication.checkpoints().values()) == {"TRIM_HORIZON"}
    assert set(replication.owners().values()) == {None}


async def test_a_lease_that_another_worker_takes_stops_the_following_at_once(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint)
    replication.source.put(item("a"))
    async with replication.worker() as running:
        await until_true(replication.in_line)
        (row,) = endpoint.table("task", SOURCE).items.values()
        row["leaseOwner"] = {"S": "somebody else"}
        row["leaseCounter"] = {"N": str(int(row["leaseCounter"]["N"]) + 1)}
        replication.source.put(item("b"))
        await until_true(lambda: not running.worker.figures.shards)
        assert set(replication.owners().values()) == {"somebody else"}


@pytest.mark.parametrize("operation", ["GetRecords", "GetShardIterator", "DescribeStream"])
async def test_a_stream_that_fails_for_a_while_is_read_on(endpoint: ScriptedDynamo, operation: str) -> None:
    replication = Replication.of(endpoint)
    async with replication.worker():
        replication.source.put(item("a"))
        await until_true(replication.in_line)
        endpoint.on(operation, times=12).error("InternalServerError", 500)
        replication.stream.split()
        for each in items(20):
            replication.source.put(each)
        await until_true(replication.in_line)


async def test_only_what_is_selected_arrives_and_as_it_is_to_look(endpoint: ScriptedDynamo) -> None:
    policy = Policy(selection=Selection.from_texts(where=["status=active"], without=["secret"]))
    replication = Replication.of(endpoint, policy=policy)
    replication.source.put(item("a", status="active", secret="s"))
    replication.source.put(item("b", status="closed"))
    async with replication.worker():
        await until_true(lambda: replication.replicas[0].items == {"a": item("a", status="active")})
        replication.source.put(item("a", status="closed"))
        await until_true(lambda: not replication.replicas[0].items)


async def test_guarded_by_sequence_an_older_record_does_not_come_back(endpoint: ScriptedDynamo) -> None:
    replication = Replication.of(endpoint, policy=Policy(guard="sequence"))
    for n in range(5):
        replication.source.put(item("a", n=n))
    async with replication.worker():
        await until_true(replication.in_line)
    endpoint.table("task", SOURCE).items.clear()  # another task, that begins at the beginning
    replication.stream.page_records = 1
    async with replication.worker("again") as running:
        await until_true(lambda: running.worker.figures.read == 5)
        assert replication.replicas[0].items == replication.source.items
    assert running.worker.figures.superseded == 5
    assert running.worker.figures.written == 0
