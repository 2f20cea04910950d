"""One worker of ``replicate`` as a command: what it opens, what it tells, and how it is ended."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from asyncrep.cli.folder_arguments import FolderPlace
from asyncrep.cli.places import checked_endpoint
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import UsageError
from asyncrep.flow.tasks import beside
from asyncrep.location import S3Place
from asyncrep.replicate.events import Progressed, Refused, Remark, Stalled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.backup.item_folder import ItemFolder
    from asyncrep.cli.replicate_options import (
        ApplyOptions,
        FollowPaceOptions,
        SelectOptions,
        StartOptions,
        TaskOptions,
        TellOptions,
    )
    from asyncrep.cli.replicate_status import Status
    from asyncrep.cli.replicate_view import View
    from asyncrep.cli.runtime import Ending
    from asyncrep.flow.clock import Clock
    from asyncrep.options import Following, Limits, S3Access
    from asyncrep.replicate.dead_letters import DeadLetters
    from asyncrep.replicate.events import ReplicationEvent, Tell
    from asyncrep.replicate.metrics import ReplicationMetrics
    from asyncrep.replicate.policy import Policy
    from asyncrep.replicate.task import Task
    from asyncrep.replicate.worker import Worker

GRACE_SECONDS = 25.0
"""After SIGTERM, what is not finished by then is cut off: ECS kills after 30 seconds."""

_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Replication:
    """What the command was asked to do, checked as far as it can be without asking AWS."""

    source: Place
    destinations: Sequence[Place | FolderPlace]
    task: TaskOptions
    start: StartOptions
    policy: Policy
    dead_letter: str | None
    force: bool
    following: Following
    limits: Limits
    telling: TellOptions
    access: S3Access | None = None

    @classmethod
    def of(
        cls,
        source: Place,
        destinations: Sequence[Place | FolderPlace],
        task: TaskOptions,
        start: StartOptions,
        applying: ApplyOptions,
        selecting: SelectOptions,
        pace: FollowPaceOptions,
        telling: TellOptions,
        storing: S3Options | None = None,
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
        if telling.health_port is not None and not 1 <= telling.health_port <= _HIGHEST_PORT:
            raise UsageError(f"The health port must be 1 to {_HIGHEST_PORT:,}, not {telling.health_port}.")
        letters = None if applying.dead_letter is None else parse_dead_letters(applying.dead_letter)
        storing = storing or S3Options()
        folders = [each.place for each in destinations if isinstance(each, FolderPlace)]
        storing.check_used(letters if isinstance(letters, S3Place) else None, *folders)
        if applying.guard != "none" and len(folders) == len(destinations):
            raise UsageError(
                "--guard is for tables: a backup orders changes itself, by the numbers that it keeps with its objects."
            )
        if telling.metric is not None:
            from asyncrep.aws.metrics import check_namespace  # noqa: PLC0415

            check_namespace(telling.metric)
        policy = Policy(
            applying.chosen_guard(), applying.version_attribute, applying.guard_table, selecting.selection()
        )
        following = pace.following(start, task)
        return cls(
            source, destinations, task, start, policy, applying.dead_letter, applying.force_global_table,
            following, pace.limits(), telling, storing.access(source.profile, source.role_arn),
        )  # fmt: skip

    @asynccontextmanager
    async def _opened(self, clock: Clock) -> AsyncIterator[Task]:
        """Open the task, and see that its tables fit together. Nothing is written."""
        from asyncrep.replicate.task import open_task  # noqa: PLC0415

        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(self.source.open())
            destinations = [await self._destination(stack, place, source) for place in self.destinations]
            yield await stack.enter_async_context(
                open_task(
                    source,
                    destinations,
                    name=self.task.task_name,
                    policy=self.policy,
                    following=self.following,
                    lease_region=self.task.lease_table_region,
                    lease_endpoint=self.task.lease_table_endpoint,
                    streams_endpoint=self.task.streams_endpoint,
                    profile=self.source.profile,
                    role_arn=self.source.role_arn,
                    force=self.force,
                    clock=clock,
                )
            )

    async def _destination(
        self, stack: AsyncExitStack, place: Place | FolderPlace, source: Table
    ) -> Table | ItemFolder:
        """Open a destination for as long as the stack is."""
        from asyncrep.backup.item_folder import folder_of_table  # noqa: PLC0415

        if isinstance(place, FolderPlace):
            return folder_of_table(await stack.enter_async_context(place.open()), source)
        return (await stack.enter_async_context(place.open())).limited(self.limits)

    async def look(self) -> Status:
        """Look at the leases of the task.

        Raises:
            UsageError: as for ``run``.
            ServiceError: they cannot be looked at.
        """
        from asyncrep.cli.replicate_status import status  # noqa: PLC0415
        from asyncrep.flow.clock import SystemClock  # noqa: PLC0415

        async with self._opened(SystemClock()) as task:
            return status(task.name, task.leases.label, await task.look())

    async def run(self, ending: Ending) -> bool:
        """Follow the stream until told to stop; return whether everything under way could be finished.

        Raises:
            UsageError: the tables, the stream or the lease table do not fit; nothing was written.
            ServiceError: AWS says no for good.
        """
        from asyncrep.cli.render import message_console  # noqa: PLC0415
        from asyncrep.cli.replicate_copying import CopyLog  # noqa: PLC0415
        from asyncrep.flow.clock import SystemClock  # noqa: PLC0415
        from asyncrep.replicate.worker import worker_name  # noqa: PLC0415

        clock, name = SystemClock(), worker_name()
        workers: list[Worker] = []
        async with AsyncExitStack() as stack:
            task = await stack.enter_async_context(self._opened(clock))
            known = await task.look()
            await task.check()
            letters = await stack.enter_async_context(self._letters(task.name))
            told: list[Tell] = []
            await stack.enter_async_context(self._health(workers, clock, told))
            if self.start.restart and known:
                if not self.start.yes:
                    _ask(f"Forget how far {task.name} is, {len(known)} shards in all, and begin again?")
                await task.forget()
            is_watched = message_console().is_terminal
            if self.start.bootstrap and is_watched:
                await self._bootstrap(task, name)
            view = stack.enter_context(self._watching(task, name, workers))
            told.append(view.tell)
            await stack.enter_async_context(beside(view.run()))
            if self.start.bootstrap and not is_watched:
                await task.bootstrap(name, limits=self.limits, observer=CopyLog(view.tell, clock))
            for note in task.notes:
                view.tell(Remark(note))
            metrics = await stack.enter_async_context(self._metrics(task, view.tell))
            worker = await task.worker(letters=letters, tell=_told(view.tell, metrics), name=name)
            workers.append(worker)
            ending.begin = worker.stop
            return await _until_stopped(worker)

    def _watching(self, task: Task, name: str, workers: Sequence[Worker]) -> AbstractContextManager[View]:
        from asyncrep.cli.render import message_console  # noqa: PLC0415
        from asyncrep.cli.replicate_view import watching  # noqa: PLC0415

        return watching(
            message_console(),
            task=task.name,
            source=task.stream.table.label,
            destinations=[table.label for table in task.destinations],
            worker=name,
            quiet=self.telling.quiet,
            clock=task.clock,
            leases=lambda: workers[0].coordinator.leases if workers else {},
        )

    async def _bootstrap(self, task: Task, name: str) -> None:
        """Fill the destinations, with progress."""
        from asyncrep.cli.bars import progress  # noqa: PLC0415
        from asyncrep.cli.render import message_console  # noqa: PLC0415

        with progress(message_console(), quiet=self.telling.quiet) as observer:
            await task.bootstrap(name, limits=self.limits, observer=observer)

    @asynccontextmanager
    async def _letters(self, task: str) -> AsyncIterator[DeadLetters | None]:
        from asyncrep.replicate.dead_letters import open_dead_letters  # noqa: PLC0415

        if self.dead_letter is None:
            yield None
            return
        async with open_dead_letters(
            self.dead_letter,
            task=task,
            profile=self.source.profile,
            role_arn=self.source.role_arn,
            access=self.access,
        ) as letters:
            yield letters

    @asynccontextmanager
    async def _metrics(self, task: Task, tell: Tell) -> AsyncIterator[ReplicationMetrics | None]:
        """Publish metrics in the source's Region, as whoever reads the source."""
        from asyncrep.aws.metrics import open_metrics  # noqa: PLC0415
        from asyncrep.replicate.metrics import ReplicationMetrics  # noqa: PLC0415

        if self.telling.metric is None:
            yield None
            return
        async with open_metrics(
            self.telling.metric,
            region=task.stream.table.region,
            dimensions={"Task": task.name},
            profile=self.source.profile,
            role_arn=self.source.role_arn,
            clock=task.clock,
        ) as publisher:
            metrics = ReplicationMetrics(
                publisher, task.clock, on_failure=lambda sentence: tell(Remark(sentence, serious=True))
            )
            async with beside(metrics.run()):
                yield metrics

    @asynccontextmanager
    async def _health(
        self, workers: Sequence[Worker], clock: Clock, told: Sequence[Tell]
    ) -> AsyncIterator[None]:
        """Tell the health of the worker, and before there is one that it begins.

        Args:
            workers: the worker, once there is one.
            clock: tells when.
            told: what takes note of events, once there is something.
        """
        from asyncrep.replicate.health import (  # noqa: PLC0415
            Health,
            keep_health_file,
            serve_health,
            write_health,
        )

        def health() -> Health:
            return workers[0].health() if workers else Health(clock.now(), healthy=True)

        def complain_of(sentence: str) -> None:
            for tell in told:
                tell(Remark(sentence, serious=True))

        async with AsyncExitStack() as stack:
            if self.telling.health_port is not None:
                await stack.enter_async_context(serve_health(health, self.telling.health_port))
            if self.telling.health_file is not None:
                write_health(
                    self.telling.health_file, health()
                )  # what fails does so before anything is begun
                keeping = keep_health_file(self.telling.health_file, health, clock, on_failure=complain_of)
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
