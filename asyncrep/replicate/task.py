"""A task: the replication of one table to its destinations, as each of its workers opens it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrep.aws.leases import default_task_table, open_lease_table
from asyncrep.aws.streams import open_streams
from asyncrep.backup.item_folder import ItemFolder
from asyncrep.errors import TableNotFoundError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.options import Following
from asyncrep.replicate.bootstrap import bootstrap
from asyncrep.replicate.events import tell_nobody
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.shards import check_same
from asyncrep.replicate.worker import (
    StreamOf,
    Worker,
    check_destinations,
    find_stream,
    prepare_worker,
    worker_name,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import aioboto3

    from asyncrep.aws.lease import Lease
    from asyncrep.aws.leases import LeaseTable
    from asyncrep.aws.table import Table
    from asyncrep.flow.clock import Clock
    from asyncrep.options import Limits
    from asyncrep.progress import Observer
    from asyncrep.replicate.dead_letters import DeadLetters
    from asyncrep.replicate.events import Tell


@dataclass(frozen=True, slots=True)
class Task:
    """An open task. Make one with ``open_task``.

    Attributes:
        name: what its workers have in common: the name of its lease table.
        stream: what is followed.
        destinations: what is written to.
        leases: its lease table, which need not be there yet.
        policy: how changes are applied.
        following: how the stream is followed.
        notes: what could not be checked, one sentence each.
    """

    name: str
    stream: StreamOf
    destinations: Sequence[Table | ItemFolder]
    leases: LeaseTable
    policy: Policy
    following: Following
    notes: Sequence[str]
    clock: Clock
    force: bool

    @property
    def tables(self) -> tuple[str, str]:
        """The source and the destinations as leases name them, however their user spells them."""
        source = self.stream.table
        return _named(source), " ".join(_named(table, beside=source) for table in self.destinations)

    async def look(self) -> list[Lease]:
        """Return the leases that the task has, none if it was never begun.

        Raises:
            UsageError: the lease table is another task's, or none.
            ServiceError: it could not be looked at.
        """
        try:
            await self.leases.check()
            known = await self.leases.list()
        except TableNotFoundError:
            return []
        check_same(known, {shard.id for shard in await self.stream.shards()}, *self.tables)
        return known

    async def check(self) -> None:
        """See that the policy fits the destinations and the guard table, if there is one. Nothing is written.

        Raises:
            UsageError: it does not.
            ServiceError: the guard table could not be looked at.
        """
        for table in self.destinations:
            await self.policy.check(table)

    async def forget(self) -> None:
        """Remove the task's leases, so that it begins anew; but first look whether anybody works with them.

        Raises:
            UsageError: a worker does. Nothing was removed.
            ServiceError: the leases could not be looked at, or removed.
        """
        known = await self.look()
        if any(lease.owner is not None for lease in known):
            # No lease tells the time: only that it changes tells that its owner lives.
            await self.clock.sleep(self.following.failover / 2)
            before = {lease.key: lease.counter for lease in known}
            known = await self.look()
            for lease in known:
                if lease.owner is not None and lease.counter != before.get(lease.key):
                    raise UsageError(f"The worker {lease.owner} is at work on this task: stop it first.")
        for lease in known:
            if not await self.leases.remove(lease):
                raise UsageError("A worker is at work on this task: stop it first, and try again.")

    async def bootstrap(
        self, worker: str, *, limits: Limits | None = None, observer: Observer | None = None
    ) -> None:
        """Fill the destinations, and have the stream followed from before that.

        Args:
            worker: the name of the worker that does it.
            limits: how hard to push.
            observer: is told how it goes.

        Raises:
            UsageError, IncompleteRunError, LeaseLostError: as ``asyncrep.replicate.bootstrap.bootstrap`` says.
        """
        await bootstrap(
            self.stream,
            self.destinations,
            self.leases,
            worker=worker,
            task=self.tables,
            selection=self.policy.selection,
            limits=limits,
            failover=self.following.failover,
            force=self.force,
            observer=observer,
            clock=self.clock,
        )

    async def worker(
        self,
        *,
        letters: DeadLetters | None = None,
        tell: Tell = tell_nobody,
        name: str | None = None,
    ) -> Worker:
        """Return a worker; the lease table, its leases and a guard table are made if they are not there.

        Args:
            letters: where records go that can never be applied; None holds their shard instead.
            tell: takes note of events.
            name: a name that no other worker has.

        Raises:
            UsageError: the lease table is another task's, or the policy does not fit the destinations.
            ServiceError: a table could not be looked at or made.
        """
        await self.look()  # what does not fit is refused before anything is made
        appliers = [await self.policy.applier(table, create_guard=True) for table in self.destinations]
        return await prepare_worker(
            self.stream,
            appliers,
            self.leases,
            selection=self.policy.selection,
            following=self.following,
            letters=letters,
            tell=tell,
            clock=self.clock,
            name=name or worker_name(),
            task=self.tables,
        )


def _named(table: Table | ItemFolder, beside: Table | None = None) -> str:
    """Name a table by its Region, or its ARN if it is in another account than the one beside it; a folder by its place."""
    if isinstance(table, ItemFolder):
        return table.label
    arn = table.settings.arn
    if beside is not None and arn and _account(arn) != _account(beside.settings.arn):
        return arn
    return f"{table.region}/{table.settings.name}"


def _place(destination: Table | ItemFolder) -> tuple[str, str]:
    """Return what tells a destination from others in the name of the lease table."""
    if isinstance(destination, ItemFolder):
        return "", destination.label
    return destination.region, destination.settings.name


def _unguarded(policy: Policy, destinations: Sequence[Table | ItemFolder]) -> list[str]:
    """Say which destinations a guard is not for."""
    folders = [each.label for each in destinations if isinstance(each, ItemFolder)]
    if policy.guard == "none" or not folders:
        return []
    names = " and ".join(folders)
    return [
        f"The guard is for tables: changes of {names} are in order without it, by numbers kept with the objects."
    ]


def _account(arn: str) -> str:
    return arn.split(":")[4] if arn.count(":") >= 5 else ""


@asynccontextmanager
async def open_task(
    source: Table,
    destinations: Sequence[Table | ItemFolder],
    *,
    name: str | None = None,
    policy: Policy | None = None,
    following: Following | None = None,
    lease_region: str | None = None,
    lease_endpoint: str | None = None,
    streams_endpoint: str | None = None,
    session: aioboto3.Session | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    force: bool = False,
    clock: Clock | None = None,
) -> AsyncIterator[Task]:
    """Open the replication of a table, and see that everything fits together. Nothing is written.

    Args:
        source: the open table whose stream is followed.
        destinations: the open tables that are written to, of which ``Table.limited`` bounds how hard; or
            incremental folders, from ``asyncrep.backup.item_folder.folder_of_table``.
        name: what the task is called; workers with the same name and tables share its work.
        policy: how changes are applied.
        following: how the stream is followed.
        lease_region: where the lease table is; by default in the source's Region.
        lease_endpoint: its endpoint; by default the source's.
        streams_endpoint: the stream's endpoint; by default it follows from the source's.
        session: an aioboto3 session of the caller's, for stream and lease table.
        profile: a profile of the AWS config files, when no session is given.
        role_arn: a role to assume first.
        force: replicate even to a member of the source's global table.
        clock: where time comes from.

    Raises:
        UsageError: the stream is off or holds too little, or a destination does not fit.
        ServiceError: something could not be looked at.

    Example:
        >>> async with open_task(source, [replica], policy=Policy(guard="sequence")) as task:
        ...     worker = await task.worker()
        ...     asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        ...     await worker.run()
    """
    policy, clock = policy or Policy(), clock or SystemClock()
    places = [_place(destination) for destination in destinations]
    table_name = default_task_table(source.region, source.settings.name, places, name)
    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(
            open_streams(
                source.ref,
                session=session,
                endpoint_url=streams_endpoint,
                profile=profile,
                role_arn=role_arn,
                clock=clock,
            )
        )
        leases = await stack.enter_async_context(
            open_lease_table(
                table_name,
                lease_region or source.region,
                endpoint_url=lease_endpoint or source.ref.endpoint_url,
                session=session,
                profile=profile,
                role_arn=role_arn,
                clock=clock,
            )
        )
        stream = await find_stream(source, streams, policy.views)
        notes = await check_destinations(source, destinations, force=force)
        notes += _unguarded(policy, destinations)
        for table in destinations:
            policy.selection.check(table.settings.schema)
        yield Task(
            table_name,
            stream,
            destinations,
            leases,
            policy,
            following or Following(),
            notes,
            clock,
            force,
        )
