"""Keeps a worker's share of the leases: takes, renews and loses them, and has their shards followed.

A lease is never followed by two workers at once. Its owner stops by itself when it could not renew it in
time; whoever takes it from an owner begins only when that time has passed since the owner was seen to live.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from asyncrep.aws.lease import LATEST
from asyncrep.errors import LeaseLostError, ThrottledError, UnreachableError
from asyncrep.flow.tasks import beside, side_by_side, until
from asyncrep.replicate.assignment import Observations, choose
from asyncrep.replicate.held import HeldLease
from asyncrep.replicate.shards import check_same, is_copying, plan, ready

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncrep.aws.lease import Lease
    from asyncrep.aws.leases import LeaseTable
    from asyncrep.aws.streams import Shard
    from asyncrep.errors import ServiceError
    from asyncrep.flow.clock import Clock
    from asyncrep.replicate.shards import Begin

Follow = Callable[[HeldLease], Awaitable[None]]
"""Follows the shard of a lease from its checkpoint on, until its end, a stop, or the loss of the lease."""

_TAKEN_EVERY = 2 / 3
"""Of the failover time: twice the time between renewals."""

_SHORTEST_PAUSE = 1 / 100
_MORE_LISTINGS = 2
_LISTING_SECONDS = 1.0


class Coordinator:
    """One worker among those of a task.

    Args:
        table: the task's lease table.
        worker: a name that no other worker has, nor an earlier run of this one.
        shards: lists the stream's shards.
        source: the location of the table whose stream it is.
        destinations: the locations of the tables that are written to.
        begin: where the task begins, if its lease table is new.
        failover: seconds after which a lease is taken from a worker that does not renew it; the same for
            all workers of a task.
        sync_every: seconds after which the shards are listed again in any case.
        clock: tells and passes the time.
        random: shuffles.
        now: tells the stream's time; by default that of the clock.

    Attributes:
        leases: all leases, as they were last read, by shard.
        missing: shards with leases that the last listing did not have though they are not done with.
        trouble: what went wrong in passing when leases were last read or renewed; None when nothing did.
    """

    def __init__(
        self,
        table: LeaseTable,
        worker: str,
        shards: Callable[[], Awaitable[Sequence[Shard]]],
        *,
        source: str,
        destinations: str,
        clock: Clock,
        begin: Begin = "trim-horizon",
        failover: float = 60.0,
        sync_every: float = 60.0,
        random: Random | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.leases: Mapping[str, Lease] = {}
        self.missing: frozenset[str] = frozenset()
        self.trouble: ServiceError | None = None
        self._table = table
        self._worker = worker
        self._shards = shards
        self._source = source
        self._destinations = destinations
        self._clock = clock
        self._begin: Begin = begin
        self._failover = failover
        self._sync_every = sync_every
        self._random = random or Random()
        self._now = now or clock.now
        self._held: dict[str, HeldLease] = {}
        self._begins_at: dict[str, float] = {}
        self._observations = Observations(failover)
        self._leaves: frozenset[str] = frozenset()
        self._sync_at = clock.monotonic()
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def held(self) -> Mapping[str, HeldLease]:
        """The leases that this worker holds, or has lost and is about to let go of, by shard."""
        return self._held

    @property
    def is_copy_abandoned(self) -> bool:
        """Whether items are to be copied before anything is followed, and nobody is seen to do so."""
        if not is_copying(self.leases.values()):
            return False
        now = self._clock.monotonic()
        return all(self._expiry(lease) <= now for lease in self.leases.values())

    async def prepare(self) -> None:
        """Make the lease table if there is none, and the leases of the shards there are. Nothing is taken.

        From then on what happens to the source is kept for this task, as long as the stream keeps it.

        Raises:
            UsageError: the lease table is another task's, or none.
            ServiceError: as it says.
        """
        await self._table.create()
        shards = await self._list_shards()
        leases = await self._table.list()
        check_same(leases, {shard.id for shard in shards}, self._source, self._destinations)
        self.leases = {lease.key: lease for lease in leases}
        await self._sync()

    async def run(self, follow: Follow) -> None:
        """Take leases and have their shards followed, until ``stop`` is called. Call ``prepare`` first.

        ``follow`` is begun for each lease gained, when its parents are done with and nobody else can still
        be at it; it is cancelled when the lease is lost, and never begun twice at once for a shard. When it
        returns, the lease is set free, unless it was finished. LeaseLostError ends it like a return.

        Raises:
            ServiceError: the leases or shards cannot be read at all: permissions, no such table or stream.
            Exception: what ``follow`` raised, after the others were cancelled.
        """
        await side_by_side([self._run(follow)])

    def sync_soon(self) -> None:
        """List the shards again now, and see which leases can be taken."""
        self._sync_at = self._clock.monotonic()
        self._woken.set()

    def stop(self) -> None:
        """Take no more leases; ``run`` returns when all followers have, and sets their leases free.

        The followers must be told by whoever calls this. Leases are renewed until then.
        """
        self._stopping.set()
        self._woken.set()

    # ── Taking ──────────────────────────────────────────────────────────────────────────────────────

    async def _run(self, follow: Follow) -> None:
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                self._woken.clear()
                gained = await self._take_turn()
                for held in gained:
                    group.create_task(self._hold(held, follow))
                await until(self._woken, self._clock.sleep(self._pause()))

    async def _take_turn(self) -> list[HeldLease]:
        """Sync the leases if it is time, and take what is due; return what was gained."""
        gained: list[HeldLease] = []
        try:
            if self._clock.monotonic() >= self._sync_at:
                await self._sync()
            await self._read_leases()
            await self._follow_copied()
            await side_by_side(self._take(lease, gained) for lease in self._due())
        except (ThrottledError, UnreachableError) as error:
            self.trouble = error
        else:
            self.trouble = None
        return gained

    async def _read_leases(self) -> None:
        leases = await self._table.list()
        self._observations.see(leases, self._clock.monotonic())
        self.leases = {lease.key: lease for lease in leases}
        for key, held in self._held.items():
            lease = self.leases.get(key)
            if lease is None or lease.owner != self._worker:
                held.lose()

    async def _follow_copied(self) -> None:
        """Have leases followed that are still set aside though copying is over, as others are not any more.

        Whoever copied died before it was done with that, or a shard was found in that moment.
        """
        aside = [lease for lease in self.leases.values() if lease.copying_since is not None]
        if aside and not is_copying(self.leases.values()):
            await side_by_side(self._table.begin_catching_up(lease) for lease in aside)
            await self._read_leases()

    def _due(self) -> list[Lease]:
        """Return the leases to take now."""
        leases = [
            lease
            for lease in self.leases.values()
            if not lease.is_finished and lease.copying_since is None and ready(lease, self.leases)
        ]
        now = self._clock.monotonic()
        available = {
            lease.key for lease in leases if lease.key not in self._held and self._expiry(lease) <= now
        }
        chosen = choose(leases, self._worker, available, self._random)
        return [lease for lease in chosen if lease.key not in self._held]

    def _expiry(self, lease: Lease) -> float:
        """Return when nobody can be at a shard any more, as far as this worker has seen."""
        if lease.owner is None:
            return -math.inf
        if lease.owner == self._worker:
            # Lost, and not followed any more; or taken without an answer from somebody who may still be at it.
            return self._begins_at.get(lease.key, -math.inf)
        return self._observations.expiry(lease)

    async def _take(self, lease: Lease, gained: list[HeldLease]) -> None:
        before = self._clock.monotonic()
        begins_at = self._begins_at[lease.key] = self._expiry(lease)
        ours = replace(lease, source=self._source, destinations=self._destinations)
        taken = await self._table.take(ours, self._worker)
        if taken is None:
            return
        held = HeldLease(
            self._table, taken, self._clock, self._failover, renewed_at=before, begins_at=begins_at
        )
        self._held[lease.key] = held
        self.leases = {**self.leases, lease.key: taken}
        gained.append(held)

    def _pause(self) -> float:
        """Return the seconds until leases should be looked at again: as soon as one may have expired."""
        now = self._clock.monotonic()
        moments = [self._expiry(lease) for lease in self.leases.values() if lease.key not in self._held]
        moments = [moment for moment in moments if moment > now]
        pause = min([now + self._failover * _TAKEN_EVERY, *moments]) - now
        return max(pause, self._failover * _SHORTEST_PAUSE)

    # ── Holding ─────────────────────────────────────────────────────────────────────────────────────

    async def _hold(self, held: HeldLease, follow: Follow) -> None:
        """Have a shard followed and its lease renewed until either ends; then let go of it."""
        try:
            async with beside(held.until_doubtful()), beside(self._keep(held)):
                await until(held.lost, self._follow(held, follow))
                await self._let_go(held)
        finally:
            del self._held[held.key]
        if held.lease.is_finished:
            self.sync_soon()

    async def _keep(self, held: HeldLease) -> None:
        while not held.lost.is_set():
            await held.until_renewal()
            try:
                await held.renew()
            except LeaseLostError:
                return
            except (ThrottledError, UnreachableError) as error:
                self.trouble = error

    async def _follow(self, held: HeldLease, follow: Follow) -> None:
        wait = held.begins_at - self._clock.monotonic()
        if wait > 0:
            await until(self._stopping, self._clock.sleep(wait))
        if self._stopping.is_set():
            return
        try:
            await follow(held)
        except LeaseLostError:
            held.lose()

    async def _let_go(self, held: HeldLease) -> None:
        if held.lost.is_set() or held.lease.is_finished:
            return
        if self._clock.monotonic() < held.begins_at:
            # It was taken from a worker that may still be at it: free, it would be begun at once by another.
            held.lose()
            return
        try:
            await held.release()
        except (LeaseLostError, ThrottledError, UnreachableError):
            held.lose()  # others take it when it expires

    # ── Shards ──────────────────────────────────────────────────────────────────────────────────────

    async def _sync(self) -> None:
        """Bring the leases in line with the shards there are."""
        began = self._clock.monotonic()
        shards = await self._list_shards()
        todo = plan(shards, await self._table.list(), self._begin)
        for generation in todo.add:
            await side_by_side(self._table.add(self._ours(lease)) for lease in generation)
        await side_by_side(self._table.remove(lease) for lease in todo.remove)
        self.missing = frozenset(lease.key for lease in todo.lost)
        if self._sync_at <= began:  # else it was asked for meanwhile
            self._sync_at = began + self._sync_every

    def _ours(self, lease: Lease) -> Lease:
        """Note whose a lease is, and when the tip was where it begins: who reads the shard later finds another."""
        since = int(self._now()) if lease.checkpoint == LATEST else None
        return replace(lease, source=self._source, destinations=self._destinations, latest_since=since)

    async def _list_shards(self) -> Sequence[Shard]:
        """List the shards, again where a closed one has no children: those of a disabled stream have none."""
        shards = await self._shards()
        for _ in range(_MORE_LISTINGS):
            if plan(shards, (), self._begin).leaves <= self._leaves:
                break
            await self._clock.sleep(_LISTING_SECONDS)
            shards = await self._shards()
        self._leaves = plan(shards, (), self._begin).leaves
        return shards
