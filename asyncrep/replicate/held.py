"""A lease that this worker holds: its writes one after the other, and how long it is ours for certain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asyncrep.errors import LeaseLostError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncrep.aws.lease import Lease
    from asyncrep.aws.leases import LeaseTable
    from asyncrep.flow.clock import Clock

_RENEWED_AFTER = 1 / 3
_OURS_FOR = 0.9
"""Shares of the failover time. Others wait for all of it: the rest is for clocks that do not run alike."""

_RETRIED_AFTER = 1 / 20


class HeldLease:
    """A lease that this worker holds, for whoever follows its shard.

    Args:
        table: where it is kept.
        lease: as it was taken.
        clock: tells and passes the time.
        failover: seconds after which others take it if it is not renewed.
        renewed_at: a moment before it was taken.
        begins_at: when nobody else can still be at it.

    Attributes:
        lease: as it was last written; ``lease.checkpoint`` says where to begin.
        lost: set when the lease is another's, or may be. What follows the shard is cancelled then.
        millis_behind: what the next renewal tells others of; set it as often as you like.
        begins_at: when it may be followed.
    """

    def __init__(
        self,
        table: LeaseTable,
        lease: Lease,
        clock: Clock,
        failover: float,
        *,
        renewed_at: float,
        begins_at: float,
    ) -> None:
        self.lease = lease
        self.lost = asyncio.Event()
        self.millis_behind = lease.millis_behind
        self.begins_at = begins_at
        self._table = table
        self._clock = clock
        self._failover = failover
        self._renewed_at = renewed_at
        self._turn = asyncio.Lock()

    @property
    def key(self) -> str:
        """The shard's id."""
        return self.lease.key

    @property
    def is_mine(self) -> bool:
        """Whether nobody else can have it at this moment, as this worker's clock tells. Asks nobody."""
        return not self.lost.is_set() and self._clock.monotonic() < self._ours_until

    @property
    def _ours_until(self) -> float:
        return self._renewed_at + _OURS_FOR * self._failover

    def lose(self) -> None:
        """Take note that it is another's, or may be."""
        self.lost.set()

    async def checkpoint(self, sequence: int, millis_behind: int | None = None) -> None:
        """Note the sequence number of the last record that is done with at all destinations.

        Raises:
            LeaseLostError: the lease is another's.
            ServiceError: it could not be noted; trying again may help while the lease lasts.
            ValueError: it is lower than the one noted before.
        """
        if millis_behind is not None:
            self.millis_behind = millis_behind
        await self._write(lambda lease: self._table.checkpoint(lease, sequence, self.millis_behind))

    async def finish(self) -> None:
        """Note that the shard is done with to its end; its children get leases, and are followed soon.

        Raises:
            LeaseLostError, ServiceError: as ``checkpoint``.
        """
        await self._write(self._table.finish)

    async def begin_catching_up(self) -> None:
        """Note that the items are copied.

        Raises:
            LeaseLostError, ServiceError: as ``checkpoint``.
        """
        await self._write(self._table.begin_catching_up)

    async def end_catching_up(self) -> None:
        """Note that everything that happened while items were copied has been seen to.

        Raises:
            LeaseLostError, ServiceError: as ``checkpoint``.
        """
        await self._write(self._table.end_catching_up)

    async def renew(self) -> None:
        """Show that this worker lives.

        Raises:
            LeaseLostError, ServiceError: as ``checkpoint``.
        """
        await self._write(lambda lease: self._table.renew(lease, self.millis_behind))

    async def release(self) -> None:
        """Set the lease free; nothing may follow the shard any more.

        Raises:
            LeaseLostError, ServiceError: as ``checkpoint``.
        """
        await self._write(self._table.release)

    async def _write(self, write: Callable[[Lease], Awaitable[Lease | None]]) -> None:
        async with self._turn:
            # What others saw is at best as old as the moment before the call.
            began = self._clock.monotonic()
            changed = await write(self.lease) if self.is_mine else None
            if changed is None:
                self.lose()
                raise LeaseLostError(f"Another worker may follow the shard {self.key} now.")
            self.lease = changed
            self._renewed_at = began

    async def until_renewal(self) -> None:
        """Wait until the lease should be renewed, or for a short while if it should have been before."""
        due = self._renewed_at + _RENEWED_AFTER * self._failover - self._clock.monotonic()
        await self._clock.sleep(max(due, _RETRIED_AFTER * self._failover))

    async def until_doubtful(self) -> None:
        """Wait until the lease is not ours for certain any more, and lose it."""
        while self.is_mine:
            await self._clock.sleep(self._ours_until - self._clock.monotonic())
        self.lose()
