"""One worker of ``replicate`` as a command: what it opens, what it tells, and how it is ended."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from asyncrep.cli.places import checked_endpoint
from asyncrep.errors import UsageError
from asyncrep.flow.tasks import beside
from asyncrep.replicate.events import Progressed, Refused, Remark, Stalled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.aws.lease import Lease
    from asyncrep.aws.leases import LeaseTable
    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.cli.replicate_options import (
        ApplyOptions,
        FollowPaceOptions,
        SelectOptions,
        StartOptions,
        TaskOptions,
        TellOptions,
    )
    from asyncrep.cli.replicate_status import Status
    from asyncrep.cli.runtime import Ending
    from asyncrep.flow.clock import Clock
    from asyncrep.options import Following, Limits
    from asyncrep.replicate.dead_letters import DeadLetters
    from asyncrep.replicate.events import ReplicationEvent, Tell
    from asyncrep.replicate.metrics import ReplicationMetrics
    from asyncrep.replicate.policy import Policy
    from asyncrep.replicate.worker import StreamOf, Worker

GRACE_SECONDS = 25.0
"""After SIGTERM, what is not finished by then is cut off: ECS kills after 30 seconds."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a worker works on."""

    stream: StreamOf
    destinations: Sequence[Table]
    leases: LeaseTable
    task: str

    @property
    def tables(self) -> tuple[str, str]:
        """The source and the destinations as leases name them, however their user spells them."""
        return _named(self.stream.table), " ".join(map(_named, self.destinations))


def _named(table: Table) -> str:
    return f"{table.region}/{table.settings.name}"


@dataclass(frozen=True, slots=True)
class Replication:
    """What the command was asked to do, checked as far as it can be without asking AWS."""

    source: Place
    destinations: list[Place]
    task: TaskOptions
    start: StartOptions
    policy: Policy
    dead_letter: str | None
    force: bool
    following: Following
    limits: Limits
    telling: TellOptions

    @classmethod
    def of(
        cls,
        source: Place,
        destinations: list[Place],
        task: TaskOptions,
        start: StartOptions,
        applying: ApplyOptions,
        selecting: SelectOptions,
        pace: FollowPaceOptions,
        telling: TellOptions,
    ) -> Replication:
        """Read the options.

        Raises:
            UsageError: one of them is malformed, or does not go with another.
        """
        from asyncrep.replicate.dead_letters import parse_dead_letters  # noqa: PLC0415
        from asyncrep.replicate.policy import Policy  # noqa: PLC0415

        for endpoint in (task.streams_endpoint, task.lease_table_endpoint):
            checked_endpoint(endpoint)
        if telling.json and not task.status:
            raise UsageError("--json goes with --status only.")
        if start.bootstrap and (start.start != "trim-horizon" or selecting.event):
            raise UsageError(
                "--bootstrap follows everything from before the copy on: without --start and --event."
            )
        if applying.dead_letter is not None:
            parse_dead_letters(applying.dead_letter)
        if telling.metric is not None:
            from asyncrep.aws.metrics import check_namespace  # noqa: PLC0415

            check_namespace(telling.metric)
        policy = Policy(
            applying.chosen_guard(), applying.version_attribute, applying.guard_table, selecting.selection()
        )
        following = pace.following(start, task)
        return cls(
            source, destinations, task, start, policy, applying.dead_letter, applying.force_global_table,
            following, pace.limits(), telling,
        )  # fmt: skip

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Opened]:
        """Open the tables, the stream and the lease table, and see that they fit together. Nothing is written."""
        from asyncrep.aws.leases import default_task_table, open_lease_table  # noqa: PLC0415
        from asyncrep.aws.streams import open_streams  # noqa: PLC0415
        from asyncrep.replicate.worker import find_stream  # noqa: PLC0415

        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(self.source.open())
            destinations = [await stack.enter_async_context(place.open()) for place in self.destinations]
            profile, role_arn = self.source.profile, self.source.role_arn
            streams = await stack.enter_async_context(
                open_streams(
                    self.source.ref,
                    endpoint_url=self.task.streams_endpoint,
                    profile=profile,
                    role_arn=role_arn,
                )
            )
            task = default_task_table(
                source.region,
                source.settings.name,
                [(table.region, table.settings.name) for table in destinations],
                self.task.task_name,
            )
            leases = await stack.enter_async_context(
                open_lease_table(
                    task,
                    self.task.lease_table_region or source.region,
                    endpoint_url=self.task.lease_table_endpoint or self.source.ref.endpoint_url,
                    profile=profile,
                    role_arn=role_arn,
                )
            )
            stream = await find_stream(source, streams, self.policy.views)
            yield Opened(stream, [table.limited(self.limits) for table in destinations], leases, task)

    async def look(self) -> Status:
        """Look at the leases of the task.

        Raises:
            UsageError: as for ``run``.
            ServiceError: they cannot be looked at.
        """
        from asyncrep.cli.replicate_status import status  # noqa: PLC0415

        async with self._opened() as opened:
            return status(opened.task, opened.leases.label, await self._known_leases(opened))

    async def run(self, ending: Ending) -> bool:
        """Follow the stream until told to stop; return whether everything under way could be finished.

        Raises:
            UsageError: the tables, the stream or the lease table do not fit; nothing was written.
            ServiceError: AWS says no for good.
        """
        from asyncrep.cli.render import message_console  # noqa: PLC0415
        from asyncrep.cli.replicate_view import watching  # noqa: PLC0415
        from asyncrep.flow.clock import SystemClock  # noqa: PLC0415
        from asyncrep.replicate.worker import check_destinations, prepare_worker, worker_name  # noqa: PLC0415

        clock, name = SystemClock(), worker_name()
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(self._opened())
            notes = await check_destinations(opened.stream.table, opened.destinations, force=self.force)
            known = await self._known_leases(opened)
            if self.start.restart:
                await self._forget(opened, known)
            appliers = [await self.policy.applier(table, create_guard=True) for table in opened.destinations]
            letters = await stack.enter_async_context(self._letters(opened.task))
            if self.start.bootstrap:
                await self._bootstrap(opened, name)
            workers: list[Worker] = []
            view = stack.enter_context(
                watching(
                    message_console(),
                    task=opened.task,
                    source=opened.stream.table.label,
                    destinations=[table.label for table in opened.destinations],
                    worker=name,
                    quiet=self.telling.quiet,
                    clock=clock,
                    leases=lambda: workers[0].coordinator.leases if workers else {},
                )
            )
            for note in notes:
                view.tell(Remark(note))
            metrics = await stack.enter_async_context(self._metrics(opened, view.tell, clock))
            worker = await prepare_worker(
                opened.stream,
                appliers,
                opened.leases,
                following=self.following,
                letters=letters,
                tell=_told(view.tell, metrics),
                clock=clock,
                name=name,
                task=opened.tables,
            )
            workers.append(worker)
            await stack.enter_async_context(beside(view.run()))
            await stack.enter_async_context(self._health(worker, clock, view.tell))
            ending.begin = worker.stop
            return await _until_stopped(worker)

    async def _known_leases(self, opened: Opened) -> list[Lease]:
        """Return the leases that the task has, none if it was never begun."""
        from asyncrep.errors import TableNotFoundError  # noqa: PLC0415

        try:
            return await opened.leases.list()
        except TableNotFoundError:
            return []

    async def _forget(self, opened: Opened, known: Sequence[Lease]) -> None:
        """Remove the task's leases, after asking, and after looking whether anybody works with them.

        Raises:
            UsageError: a worker does, nobody can be asked, or the answer is no.
        """
        if not known:
            return
        if not self.start.yes:
            _ask(f"Forget how far {opened.task} is, {len(known)} shards in all, and begin again?")
        if any(lease.owner is not None for lease in known):
            # Nothing in a lease tells the time: only that it changes tells that its owner lives.
            await asyncio.sleep(self.following.failover / 3 + 2)
            now = {lease.key: lease for lease in await opened.leases.list()}
            for lease in known:
                if lease.key in now and now[lease.key].counter != lease.counter:
                    raise UsageError(
                        f"The worker {now[lease.key].owner} is at work on this task: stop it first."
                    )
            known = list(now.values())
        for lease in known:
            await opened.leases.remove(lease)

    async def _bootstrap(self, opened: Opened, name: str) -> None:
        """Fill the destinations, with progress."""
        from asyncrep.cli.bars import progress  # noqa: PLC0415
        from asyncrep.cli.render import message_console  # noqa: PLC0415
        from asyncrep.replicate.bootstrap import bootstrap  # noqa: PLC0415

        with progress(message_console(), quiet=self.telling.quiet) as observer:
            await bootstrap(
                opened.stream,
                opened.destinations,
                opened.leases,
                worker=name,
                task=opened.tables,
                selection=self.policy.selection,
                limits=self.limits,
                failover=self.following.failover,
                force=self.force,
                observer=observer,
            )

    @asynccontextmanager
    async def _letters(self, task: str) -> AsyncIterator[DeadLetters | None]:
        from asyncrep.replicate.dead_letters import open_dead_letters  # noqa: PLC0415

        if self.dead_letter is None:
            yield None
            return
        async with open_dead_letters(
            self.dead_letter, task=task, profile=self.source.profile, role_arn=self.source.role_arn
        ) as letters:
            yield letters

    @asynccontextmanager
    async def _metrics(
        self, opened: Opened, tell: Tell, clock: Clock
    ) -> AsyncIterator[ReplicationMetrics | None]:
        """Publish metrics in the source's Region, as whoever reads the source."""
        from asyncrep.aws.metrics import open_metrics  # noqa: PLC0415
        from asyncrep.replicate.metrics import ReplicationMetrics  # noqa: PLC0415

        if self.telling.metric is None:
            yield None
            return
        async with open_metrics(
            self.telling.metric,
            region=opened.stream.table.region,
            dimensions={"Task": opened.task},
            profile=self.source.profile,
            role_arn=self.source.role_arn,
            clock=clock,
        ) as publisher:
            metrics = ReplicationMetrics(
                publisher, clock, on_failure=lambda sentence: tell(Remark(sentence, serious=True))
            )
            async with beside(metrics.run()):
                yield metrics

    @asynccontextmanager
    async def _health(self, worker: Worker, clock: Clock, tell: Tell) -> AsyncIterator[None]:
        from asyncrep.replicate.health import keep_health_file, serve_health  # noqa: PLC0415

        async with AsyncExitStack() as stack:
            if self.telling.health_port is not None:
                await stack.enter_async_context(serve_health(worker.health, self.telling.health_port))
            if self.telling.health_file is not None:
                keeping = keep_health_file(
                    self.telling.health_file,
                    worker.health,
                    clock,
                    on_failure=lambda sentence: tell(Remark(sentence, serious=True)),
                )
                await stack.enter_async_context(beside(keeping))
            yield


def _told(tell: Tell, metrics: ReplicationMetrics | None) -> Tell:
    """Return what tells people, and counts for CloudWatch as well."""
    if metrics is None:
        return tell

    def tell_and_count(event: ReplicationEvent) -> None:
        tell(event)
        match event:
            case Progressed(_, records, millis_behind):
                metrics.wrote(records)
                metrics.behind(millis_behind)
            case Stalled():
                metrics.retried(event.changes)
                if event.millis_behind is not None:
                    metrics.behind(event.millis_behind)
            case Refused():
                metrics.failed(1)
            case _:
                pass

    return tell_and_count


async def _until_stopped(worker: Worker) -> bool:
    """Run a worker until it was told to stop and has finished; return whether it could in time."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        stopping = group.create_task(worker.stopping.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        finished, _ = await asyncio.wait({running}, timeout=GRACE_SECONDS)
        running.cancel()
    return bool(finished)


def _ask(question: str) -> None:
    """Ask on the terminal.

    Raises:
        UsageError: there is nobody to ask, or the answer is no.
    """
    if not sys.stdin.isatty():
        raise UsageError("--restart asks before it forgets anything, and there is no terminal: add --yes.")
    if not typer.confirm(question, err=True):
        raise UsageError("Nothing was changed.")
