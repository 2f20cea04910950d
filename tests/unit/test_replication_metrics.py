"""The metrics of a worker: published again and again, lost by no outage, and in nobody's way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from asyncrep import UnreachableError, VirtualClock
from asyncrep.aws.metrics import Statistics, Value
from asyncrep.flow.tasks import beside
from asyncrep.replicate.metrics import ReplicationMetrics
from tests.support.clock import SharedClock
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping


class Shelf:
    """Keeps what is published; while `error` is set nothing is."""

    def __init__(self) -> None:
        self.published: list[dict[str, Value | Statistics]] = []
        self.error: Exception | None = None
        self.tries = 0

    async def put(self, values: Mapping[str, Value | Statistics]) -> None:
        self.tries += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.published.append(dict(values))

    def counts(self, name: str) -> list[float]:
        return [value.value for each in self.published if isinstance(value := each[name], Value)]


async def test_what_was_counted_is_published_every_minute_and_once_at_the_end() -> None:
    shelf, clock = Shelf(), SharedClock()
    metrics = ReplicationMetrics(shelf, clock)
    metrics.wrote(7)
    metrics.failed(1)
    for behind in (300.0, 100.0):
        metrics.behind(behind)
    async with beside(metrics.run()):
        await clock._take_turns()
        assert shelf.published == []
        clock._sleepers[0][2].set_result(None)
        await clock._take_turns()
        assert shelf.published == [
            {
                "RecordsWritten": Value(7),
                "RecordsRetried": Value(0),
                "RecordsFailed": Value(1),
                "MillisBehindLatest": Statistics(2, 400.0, 100.0, 300.0, "Milliseconds"),
            }
        ]
        metrics.retried(2)
    assert shelf.published[1:] == [
        {"RecordsWritten": Value(0), "RecordsRetried": Value(2), "RecordsFailed": Value(0)}
    ]


async def test_it_waits_as_long_as_it_was_told_to() -> None:
    shelf, clock = Shelf(), VirtualClock()
    async with beside(ReplicationMetrics(shelf, clock, every=15.0).run()):
        await until(lambda: len(shelf.published) >= 3)
    assert set(clock.slept) == {15.0}


async def test_counts_outlive_an_outage_that_is_told_once() -> None:
    told: list[str] = []
    shelf = Shelf()
    metrics = ReplicationMetrics(shelf, VirtualClock(), on_failure=told.append)
    shelf.error = UnreachableError("PutMetricData on namespace Mine could not reach the service.")
    for _ in range(3):
        metrics.wrote(10)
        metrics.behind(60_000.0)
        await metrics.flush()
    assert len(told) == 1
    assert "replication goes on" in told[0]
    assert "could not reach" in told[0]
    shelf.error = None
    await metrics.flush()
    await metrics.flush()
    assert shelf.counts("RecordsWritten") == [30.0, 0.0]
    assert "MillisBehindLatest" not in shelf.published[0], "a lag of long ago is nobody's concern"
    shelf.error = RuntimeError("something else")
    await metrics.flush()
    assert len(told) == 2


async def test_what_is_counted_while_it_publishes_is_published_next_time() -> None:
    shelf = Shelf()
    metrics = ReplicationMetrics(shelf, VirtualClock())
    metrics.wrote(1)

    async def work() -> None:
        metrics.wrote(5)

    async with asyncio.TaskGroup() as group:
        group.create_task(metrics.flush())
        group.create_task(work())
    await metrics.flush()
    assert shelf.counts("RecordsWritten") == [1.0, 5.0]


async def test_cancelled_in_the_middle_of_publishing_it_publishes_the_rest_and_ends() -> None:
    shelf = Shelf()
    metrics = ReplicationMetrics(shelf, VirtualClock(), every=1.0)
    metrics.wrote(4)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(metrics.run())
        await until(lambda: shelf.tries)
        assert shelf.published == []
        task.cancel()
    assert task.cancelled()
    assert shelf.counts("RecordsWritten") == [4.0]


@pytest.mark.parametrize("error", [UnreachableError("gone"), RuntimeError("bug")])
async def test_an_outage_at_the_end_does_not_fail_the_run(error: Exception) -> None:
    shelf = Shelf()
    shelf.error = error
    async with beside(ReplicationMetrics(shelf, SharedClock()).run()):
        await asyncio.sleep(0)
    assert shelf.tries == 1


async def test_a_worker_that_is_cancelled_publishes_its_last_counts() -> None:
    shelf = Shelf()
    metrics = ReplicationMetrics(shelf, SharedClock())

    async def worker() -> None:
        async with beside(metrics.run()):
            metrics.wrote(9)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(worker())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    assert shelf.counts("RecordsWritten") == [9.0]
