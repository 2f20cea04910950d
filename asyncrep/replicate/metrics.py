"""What a worker tells CloudWatch: counted by whoever does the work, and published every minute."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from asyncrep.aws.metrics import Statistics, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncrep.flow.clock import Clock


class Publisher(Protocol):
    """Where metrics are published; ``asyncrep.aws.metrics.Metrics`` is one."""

    async def put(self, values: Mapping[str, Value | Statistics]) -> None:
        """Publish values by the names of their metrics."""


class ReplicationMetrics:
    """The metrics of one worker. Anybody adds to them; ``run`` publishes them.

    Counts that could not be published are kept for the next time, so that their sum is right however long
    CloudWatch was out of reach. A publication that was cut off may have arrived: then it counts twice.

    Args:
        publisher: where to.
        clock: tells when.
        every: seconds between two publications.
        on_failure: is told once when publishing begins to fail, with one sentence; and again only after it
            has worked in between.
    """

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        *,
        every: float = 60.0,
        on_failure: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._every = every
        self._on_failure = on_failure
        self._is_failing = False
        self._written = self._retried = self._failed = 0
        self._behind: Statistics | None = None

    def wrote(self, records: int) -> None:
        """Count records that are durable at all destinations."""
        self._written += records

    def retried(self, records: int) -> None:
        """Count records that have to be tried again."""
        self._retried += records

    def failed(self, records: int) -> None:
        """Count records that are given up: they are poison."""
        self._failed += records

    def behind(self, milliseconds: float) -> None:
        """Note how far a shard is behind; the metric tells the least, the most and the average of all notes."""
        seen = self._behind
        if seen is None:
            self._behind = Statistics(1, milliseconds, milliseconds, milliseconds, "Milliseconds")
        else:
            self._behind = Statistics(
                seen.samples + 1,
                seen.total + milliseconds,
                min(seen.least, milliseconds),
                max(seen.most, milliseconds),
                "Milliseconds",
            )

    async def run(self) -> None:
        """Publish again and again until cancelled, and what is left once more at the end.

        Publishing that fails is no error: replication goes on.
        """
        try:
            while True:
                await self._clock.sleep(self._every)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Publish what was counted since the last time; zeros too, as an alarm cannot tell none from silence."""
        written, retried, failed, behind = self._written, self._retried, self._failed, self._behind
        values: dict[str, Value | Statistics] = {
            "RecordsWritten": Value(written),
            "RecordsRetried": Value(retried),
            "RecordsFailed": Value(failed),
        }
        if behind is not None:
            values["MillisBehindLatest"] = behind
        self._behind = None  # of a lag nobody wants to hear later
        try:
            await self._publisher.put(values)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever ails the metrics, replication goes on
            if not self._is_failing:
                self._on_failure(f"Metrics cannot be published; replication goes on without them. {error}")
            self._is_failing = True
        else:
            self._is_failing = False
            self._written -= written
            self._retried -= retried
            self._failed -= failed
