"""A source with a stream, destinations, and workers that bring them in line, on a scripted endpoint."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from asyncrep import RetryPolicy, SystemClock, open_table
from asyncrep.aws.leases import open_lease_table
from asyncrep.aws.streams import open_streams
from asyncrep.location import TableRef
from asyncrep.options import Following
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.worker import find_stream, prepare_worker
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncrep.aws.leases import LeaseTable
    from asyncrep.aws.table import Table
    from asyncrep.flow.clock import Clock
    from asyncrep.replicate.events import ReplicationEvent
    from asyncrep.replicate.worker import StreamOf, Worker
    from tests.support.scripted import ScriptedDynamo
    from tests.support.streams import ScriptedStream
    from tests.support.tables import ScriptedTable

E = TypeVar("E")

SOURCE = "us-east-1"
DESTINATIONS = ("eu-west-1", "ap-south-1")
NAME = "orders"
TASK = "task"
QUICK = Following(poll=0.1, failover=3.0)
PATIENCE_SECONDS = 20.0
RETRY = RetryPolicy(attempts=4, first=0.001, longest=0.05)


@dataclass
class Running:
    """A worker at work, and what it told."""

    worker: Worker
    events: list[ReplicationEvent]
    task: asyncio.Task[None]

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    async def stop(self) -> None:
        """Stop it cleanly."""
        self.worker.stop()
        await self.task


@dataclass
class Replication:
    """One table in several Regions of a scripted endpoint; the first has the stream."""

    endpoint: ScriptedDynamo
    source: ScriptedTable
    replicas: list[ScriptedTable]
    policy: Policy = field(default_factory=Policy)
    following: Following = QUICK
    retry: RetryPolicy = RETRY
    clock: Clock = field(default_factory=SystemClock)

    @classmethod
    def of(
        cls, endpoint: ScriptedDynamo, destinations: int = 1, *, shards: int = 1, **options: Any
    ) -> Replication:
        """Make the tables."""
        source = endpoint.create_table(NAME, SOURCE, stream="NEW_AND_OLD_IMAGES", shards=shards)
        replicas = [endpoint.create_table(NAME, region) for region in DESTINATIONS[:destinations]]
        return cls(endpoint, source, replicas, **options)

    @property
    def stream(self) -> ScriptedStream:
        """The source's stream."""
        return self.source.stream

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[StreamOf, list[Table], LeaseTable]]:
        """Open the stream, the destinations and the lease table."""
        options: dict[str, Any] = {
            "session": session(),
            "endpoint_url": self.endpoint.url,
            "retry": self.retry,
            "clock": self.clock,
        }
        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(open_table(f"{SOURCE}/{NAME}", **options))
            tables = [
                await stack.enter_async_context(open_table(f"{replica.region}/{NAME}", **options))
                for replica in self.replicas
            ]
            streams = await stack.enter_async_context(open_streams(TableRef(NAME, SOURCE), **options))
            leases = await stack.enter_async_context(open_lease_table(TASK, SOURCE, **options))
            yield await find_stream(source, streams, self.policy.views), tables, leases

    @asynccontextmanager
    async def worker(self, name: str = "worker", **options: Any) -> AsyncIterator[Running]:
        """Run a worker for the length of the block; it is stopped cleanly at its end if it still runs."""
        async with self.open() as (stream, tables, leases):
            events: list[ReplicationEvent] = []
            worker = await prepare_worker(
                stream,
                [await self.policy.applier(table, create_guard=True) for table in tables],
                leases,
                selection=self.policy.selection,
                following=self.following,
                name=name,
                tell=events.append,
                clock=self.clock,
                **options,
            )
            async with asyncio.TaskGroup() as group:
                running = Running(worker, events, group.create_task(worker.run()))
                try:
                    yield running
                finally:
                    worker.stop()

    def in_line(self) -> bool:
        """Whether every destination has what the source has."""
        return all(replica.items == self.source.items for replica in self.replicas)

    def checkpoints(self) -> dict[str, str]:
        """The checkpoints of the lease table, by shard."""
        rows = self.endpoint.table(TASK, SOURCE).items
        return {str(key): row["checkpoint"]["S"] for key, row in rows.items()}

    def owners(self) -> dict[str, str | None]:
        """The owners of the leases, by shard."""
        rows = self.endpoint.table(TASK, SOURCE).items
        return {str(key): row.get("leaseOwner", {}).get("S") for key, row in rows.items()}


async def until_true(condition: Callable[[], object], patience: float = PATIENCE_SECONDS) -> None:
    """Wait until something has come true.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.01)
