"""A worker: follows its share of a stream's shards, beside other workers of the same task."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asyncrep.aws.lease import LATEST
from asyncrep.aws.streams import At, Latest, TrimHorizon
from asyncrep.diff.run import check_comparable
from asyncrep.errors import ServiceError, StreamNotFoundError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.tasks import until
from asyncrep.options import Following
from asyncrep.repair.rules import check_writable
from asyncrep.replicate.catch_up import CatchUp, Touched
from asyncrep.replicate.coordinator import Coordinator
from asyncrep.replicate.events import (
    LEASE_TABLE,
    STREAM,
    Remark,
    ShardFigures,
    ShardLeft,
    ShardTaken,
    Stalled,
    Trouble,
    WorkerFigures,
    WorkerStarted,
    tell_nobody,
)
from asyncrep.replicate.follower import Follower, Means
from asyncrep.replicate.health import Health
from asyncrep.replicate.policy import NEW_IMAGES
from asyncrep.replicate.reader import ShardReader
from asyncrep.replicate.selection import Selection
from asyncrep.replicate.stream_watch import StreamWatch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from asyncrep.aws.lease import Lease
    from asyncrep.aws.leases import LeaseTable
    from asyncrep.aws.streams import Shard, Start, Streams
    from asyncrep.aws.table import Table
    from asyncrep.change import Applier
    from asyncrep.flow.clock import Clock
    from asyncrep.model import Destination
    from asyncrep.replicate.dead_letters import DeadLetters
    from asyncrep.replicate.events import Tell
    from asyncrep.replicate.held import HeldLease


@dataclass(frozen=True, slots=True)
class StreamOf:
    """The stream of a table, which has been looked at."""

    table: Table
    streams: Streams
    arn: str

    async def shards(self) -> Sequence[Shard]:
        """List its shards."""
        return (await self.streams.describe(self.arn)).shards


async def find_stream(table: Table, streams: Streams, views: frozenset[str] = NEW_IMAGES) -> StreamOf:
    """Find the stream of a table, and see that its records hold what is needed.

    Args:
        table: whose.
        streams: reads it.
        views: the stream's view must be one of these.

    Raises:
        UsageError: the stream is off, or its records hold too little.
        ServiceError: it could not be looked at.
    """
    wanted = " or ".join(sorted(views, reverse=True))
    arn = table.settings.stream_arn
    if arn is None:
        raise UsageError(f"{table.label} has no stream; switch one on with the view {wanted}.")
    try:
        description = await streams.describe(arn)
    except StreamNotFoundError as error:
        raise UsageError(
            f"The stream of {table.label} is gone; switch one on with the view {wanted}."
        ) from error
    if description.view not in views:
        raise UsageError(
            f"The stream of {table.label} has the view {description.view}, and {wanted} is needed: a view cannot be "
            "changed, so switch the stream off and on again."
        )
    if description.status not in {"ENABLED", "ENABLING"}:
        raise UsageError(f"The stream of {table.label} is {description.status}; switch it on again.")
    return StreamOf(table, streams, arn)


async def check_destinations(
    source: Table, destinations: Sequence[Destination], *, force: bool = False
) -> list[str]:
    """Refuse tables that cannot be, or need not be, replicated to; return what could not be checked.

    Raises:
        UsageError: one is the source, is there twice, has another key schema, or is (unless forced) a member of
            the source's global table.
        ServiceError: whether it is could not be found out.
    """
    notes: list[str] = []
    for number, destination in enumerate(destinations):
        if any(destination.is_same_as(other) for other in destinations[:number]):
            raise UsageError(f"{destination.label} is there twice.")
        check_comparable(source, destination)
        notes += await check_writable(source, destination, force=force)
    return list(dict.fromkeys(notes))


class Worker:
    """One worker of a task. Make one with ``prepare_worker``.

    Attributes:
        name: what other workers know it by.
        figures: what it has done and is doing, live.
        coordinator: keeps its leases.
    """

    def __init__(
        self,
        name: str,
        stream: StreamOf,
        coordinator: Coordinator,
        means: Means,
        following: Following,
        watch: StreamWatch,
        selection: Selection,
    ) -> None:
        self.name = name
        self.coordinator = coordinator
        self.figures = means.figures
        self._stream = stream
        self._means = means
        self._following = following
        self._watch = watch
        self._selection = selection

    async def run(self) -> None:
        """Follow shards until ``stop`` is called; then finish what is under way, and set the leases free.

        Raises:
            ServiceError: leases or shards cannot be read at all: permissions, no such table or stream.
        """
        self._means.tell(WorkerStarted(self.figures))
        await self.coordinator.run(self._follow)

    def stop(self) -> None:
        """End: what is being applied is applied to its end, unless no destination takes it at the moment."""
        self._means.stopping.set()
        self.coordinator.stop()

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the worker is to stop."""
        return self._means.stopping

    def health(self) -> Health:
        """Tell whether it does its work."""
        figures = self.figures
        reasons = [f"{shard.shard}: {shard.reason}" for shard in figures.stuck]
        if self.coordinator.is_copy_abandoned:
            reasons.append("Items are to be copied first, and nobody does so: --bootstrap goes on with it.")
        if self._watch.trouble:
            reasons.append(self._watch.trouble)
        if self.coordinator.trouble is not None:
            reasons.append(str(self.coordinator.trouble))
        return Health(
            self._means.clock.now(),
            not reasons,
            " ".join(reasons),
            len(figures.shards),
            figures.millis_behind,
        )

    async def _follow(self, lease: HeldLease) -> None:
        """Follow the shard of a lease, however often its stream cannot be read for a while."""
        figures = ShardFigures(lease.key)
        self.figures.shards[lease.key] = figures
        self._means.tell(ShardTaken(lease.key, lease.lease.checkpoint))
        reason = "another worker has it"
        tries = 0
        try:
            while not self._means.stopping.is_set():
                before = figures.records
                try:
                    ended = await self._follower(lease, figures).follow()
                except ServiceError as error:
                    if isinstance(error, StreamNotFoundError):
                        raise
                    tries = tries + 1 if figures.records == before else 1
                    await self._stalled(figures, STREAM, error, tries)
                    continue
                if ended:
                    await self._finish(lease, figures)
                reason = "its end is reached" if ended else reason
                break
            if self._means.stopping.is_set():
                reason = "this worker stops"
        finally:
            self.figures.shards.pop(lease.key, None)
            self._means.tell(ShardLeft(lease.key, reason))

    def _follower(self, lease: HeldLease, figures: ShardFigures) -> Follower:
        """Return what follows a shard; while it catches up, by the items as they are now."""
        reader = self._reader(lease)
        if not lease.lease.catching_up:
            return Follower(self._means, reader, figures, lease)
        means = self._means
        touched = Touched(self._stream.streams.now)
        catching = [
            CatchUp(self._stream.table, applier, self._selection, touched) for applier in means.appliers
        ]

        async def at_tip() -> None:
            if lease.lease.catching_up:
                # If that cannot be noted now, it is at the next page.
                with suppress(ServiceError):
                    await lease.end_catching_up()
            if not lease.lease.catching_up:
                touched.end()

        return Follower(replace(means, appliers=catching), reader, figures, lease, at_tip)

    async def _finish(self, lease: HeldLease, figures: ShardFigures) -> None:
        """Note that a shard is done with, however often it takes: its children wait for that."""
        tries = 0
        while not self._means.stopping.is_set():
            try:
                await lease.finish()
            except ServiceError as error:
                tries += 1
                await self._stalled(figures, LEASE_TABLE, error, tries)
            else:
                return

    async def _stalled(self, figures: ShardFigures, by: str, error: ServiceError, tries: int) -> None:
        """Tell what a shard is stalled by, and wait before that is tried again."""
        figures.troubles[by] = Trouble(str(error))
        self._means.tell(Stalled(figures.shard, by, 0, str(error)))
        await until(self._means.stopping, self._means.clock.sleep(self._means.retry.delay(tries)))

    def _reader(self, lease: HeldLease) -> ShardReader:
        return ShardReader(
            self._stream.streams,
            self._stream.arn,
            lease.key,
            _start(lease.lease),
            self._stream.table.keys,
            limit=self._following.batch_size,
            poll=self._following.poll,
            clock=self._means.clock,
            not_before=lease.lease.latest_since if lease.lease.checkpoint == LATEST else None,
        )


def _start(lease: Lease) -> Start:
    if lease.sequence is not None:
        return At(lease.sequence)
    # The tip is elsewhere by now; when it was here is known, unless the lease is KCL's.
    is_latest = lease.checkpoint == LATEST and lease.latest_since is None
    return Latest() if is_latest else TrimHorizon()


def worker_name() -> str:
    """Return a name that no other worker has, nor this process in an earlier life."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


async def prepare_worker(
    stream: StreamOf,
    appliers: Sequence[Applier],
    leases: LeaseTable,
    *,
    selection: Selection | None = None,
    following: Following | None = None,
    letters: DeadLetters | None = None,
    tell: Tell = tell_nobody,
    clock: Clock | None = None,
    name: str | None = None,
    task: tuple[str, str] | None = None,
) -> Worker:
    """Return a worker, and the leases of its task if there are none.

    Args:
        stream: what is followed, from ``find_stream``.
        appliers: bring its changes to the destinations: ``OneWay``, ``VersionGuarded``, ``SequenceGuarded``.
        leases: the task's lease table.
        selection: what the appliers replicate, to catch up with it after copying.
        following: how the stream is followed.
        letters: where records go that can never be applied; None holds their shard instead.
        tell: takes note of events.
        clock: where time comes from.
        name: a name that no other worker has.
        task: the source and the destinations as leases name them, by which the task is told from others.

    Raises:
        UsageError: the lease table is another task's, or none.
        ServiceError: it could not be looked at or made.
    """
    following = following or Following()
    clock = clock or SystemClock()
    name = name or worker_name()
    source, destinations = task or (stream.table.label, " ".join(applier.label for applier in appliers))
    watch = StreamWatch(stream, tell)
    coordinator = Coordinator(
        leases,
        name,
        watch.shards,
        source=source,
        destinations=destinations,
        begin=following.begin,
        failover=following.failover,
        clock=clock,
        now=stream.streams.now,
    )
    await coordinator.prepare()
    figures = WorkerFigures()
    if watch.follows_nothing_of(coordinator.leases):
        figures.gaps += 1
    if letters is None:
        tell(
            Remark("There is no place for dead letters: a record that can never be applied holds its shard.")
        )
    means = Means(appliers, letters, clock, figures, tell)
    return Worker(name, stream, coordinator, means, following, watch, selection or Selection())
