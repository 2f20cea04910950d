"""Follows one shard: reads a page, applies it everywhere, and only then moves the checkpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from asyncrep.change import Change, Fate, Unwritten
from asyncrep.errors import LeaseLostError, ServiceError
from asyncrep.flow.patience import patient_until
from asyncrep.flow.permission import permitted_by
from asyncrep.flow.retry import RetryPolicy
from asyncrep.flow.tasks import side_by_side, until
from asyncrep.replicate.events import (
    LEASE_TABLE,
    STREAM,
    Conflicted,
    DataLost,
    Progressed,
    Refused,
    Stalled,
    Trouble,
    tell_nobody,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncrep.change import Applied, Applier, Unreadable
    from asyncrep.flow.clock import Clock
    from asyncrep.replicate.dead_letters import DeadLetters
    from asyncrep.replicate.events import ShardFigures, Tell, WorkerFigures
    from asyncrep.replicate.reader import ShardPage, ShardReader

HELD_SECONDS = 60.0
"""After so long a change that cannot be applied, and has no place to go, is tried once more."""

_RETRY = RetryPolicy(first=0.5, longest=20.0)


class _Stopped(Exception):
    """The worker is to stop, and what was about to be waited for is left as it is."""


@dataclass(frozen=True, slots=True)
class Means:
    """What the followers of all shards of a worker share.

    Attributes:
        appliers: one for each destination.
        letters: where records go that can never be applied; None holds their shard instead.
        clock: passes and tells the time.
        figures: the worker's, live.
        tell: takes note of events.
        stopping: set when the worker is to stop.
        retry: how long to wait before changes are tried again.
    """

    appliers: Sequence[Applier]
    letters: DeadLetters | None
    clock: Clock
    figures: WorkerFigures
    tell: Tell = tell_nobody
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    retry: RetryPolicy = _RETRY


class Lease(Protocol):
    """What a follower needs of the lease of its shard.

    Attributes:
        millis_behind: what the next renewal tells others of.
    """

    millis_behind: int | None

    @property
    def key(self) -> str:
        """The shard's id."""

    @property
    def is_mine(self) -> bool:
        """Whether nobody else can have it at this moment."""

    async def checkpoint(self, sequence: int, millis_behind: int | None = None) -> None:
        """Note the last record that is done with; see ``HeldLease.checkpoint``."""


class Follower:
    """Follows one shard.

    Args:
        means: what it shares with others.
        reader: reads the shard from its checkpoint on.
        figures: of the shard, live.
        lease: of the shard; it keeps the checkpoint, and says whether anything may still be written.
        at_tip: is awaited after each page behind which nothing was waiting.
    """

    def __init__(
        self,
        means: Means,
        reader: ShardReader,
        figures: ShardFigures,
        lease: Lease,
        at_tip: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._means = means
        self._reader = reader
        self._figures = figures
        self._lease = lease
        self._at_tip = at_tip

    async def follow(self) -> bool:
        """Follow the shard to its end, or until the worker is to stop.

        What is under way then is finished, but for what fails: it is not tried again.

        Returns:
            Whether its end is reached, and everything before it applied.

        Raises:
            LeaseLostError: another worker may have the shard; nothing more was written.
            ServiceError: the stream cannot be read.
        """
        self._figures.begun = True
        with patient_until(self._means.stopping):
            return await self._followed()

    async def _followed(self) -> bool:
        stopping = self._means.stopping
        page = await until(stopping, self._reader.next())
        try:
            while page is not None and not page.is_last:
                # The next page is read while this one is applied; if that fails, this one is applied first.
                following, _ = await side_by_side((self._read_on(), self._apply(page)))
                if isinstance(following, ServiceError):
                    raise following
                page = following
            if page is not None:
                await self._apply(page)
        except _Stopped:
            return False
        return page is not None

    async def _read_on(self) -> ShardPage | ServiceError | None:
        """Return the next page, what kept it from being read, or None if the worker is to stop."""
        try:
            return await until(self._means.stopping, self._reader.next())
        except ServiceError as error:
            return error

    async def _apply(self, page: ShardPage) -> None:
        figures, means = self._figures, self._means
        figures.troubles.pop(STREAM, None)
        if page.lost:
            means.figures.gaps += 1
            means.tell(DataLost(figures.shard, page.lost))
        if page.changes:
            brought = await side_by_side(self._brought(applier, page.changes) for applier in means.appliers)
            if not all(brought):
                raise _Stopped
        # Of other items than the changes, as far as anybody can tell: they need not wait for these.
        for record in page.unreadable:
            await self._put_aside(None, record, record.reason)
        if page.sequence is not None:
            await self._save(page.sequence, page.millis_behind)
        figures.records += page.records
        figures.millis_behind = page.millis_behind
        means.figures.read += page.records
        if page.is_at_tip and self._at_tip is not None:
            await self._at_tip()
        means.tell(Progressed(figures.shard, page.records, page.millis_behind))

    async def _save(self, sequence: int, millis_behind: int) -> None:
        """Move the checkpoint behind what is durable everywhere, however often it takes."""
        tries = 0
        while True:
            try:
                await self._lease.checkpoint(sequence, millis_behind)
            except ServiceError as error:
                tries += 1
                self._figures.troubles[LEASE_TABLE] = Trouble(str(error))
                self._means.tell(Stalled(self._figures.shard, LEASE_TABLE, 0, str(error)))
                await self._wait(self._means.retry.delay(tries))
            else:
                self._figures.troubles.pop(LEASE_TABLE, None)
                return

    async def _brought(self, applier: Applier, changes: Sequence[Change]) -> bool:
        """Apply changes at one destination; tell whether the worker was not to stop before they are.

        What is under way at the other destinations goes on meanwhile: it is not cut off in the middle.
        """
        try:
            await self._bring(applier, changes)
        except _Stopped:
            return False
        return True

    async def _bring(self, applier: Applier, changes: Sequence[Change]) -> None:
        """Apply changes at one destination, however often it takes."""
        pending, tries = list(changes), 0
        while pending:
            self._check_lease()
            try:
                with permitted_by(self._check_lease):
                    applied = await applier.apply(pending)
            except ServiceError as error:
                failed, reason = pending, str(error)
            else:
                self._count(applied)
                for conflict in applied.of(Fate.CONFLICT):
                    self._tell_conflict(applier, conflict)
                for poison in applied.of(Fate.POISON):
                    await self._put_aside(applier, poison.change, poison.reason)
                refused = applied.of(Fate.FAILED)
                failed = [each.change for each in refused]
                reason = refused[0].reason if refused else ""
            if failed:
                tries += 1
                self._figures.troubles[applier.label] = Trouble(reason)
                behind = self._fall_behind(failed[0])
                self._means.tell(Stalled(self._figures.shard, applier.label, len(failed), reason, behind))
                await self._wait(self._means.retry.delay(tries))
                self._means.figures.retried += len(failed)
            pending = failed
        self._figures.troubles.pop(applier.label, None)

    def _fall_behind(self, change: Change) -> int | None:
        """Note how far a shard is behind that does not get past a change."""
        if change.created is not None:
            self._figures.millis_behind = max(int((self._reader.now() - change.created) * 1000), 0)
            self._lease.millis_behind = self._figures.millis_behind
        return self._figures.millis_behind

    def _check_lease(self) -> None:
        if not self._lease.is_mine:
            raise LeaseLostError(f"The lease of {self._lease.key} was not renewed in time.")

    def _count(self, applied: Applied) -> None:
        figures = self._means.figures
        figures.written += applied.written
        figures.squashed += applied.squashed
        figures.superseded += len(applied.of(Fate.SUPERSEDED))

    def _tell_conflict(self, applier: Applier, conflict: Unwritten) -> None:
        self._means.figures.conflicts += 1
        self._means.tell(Conflicted(self._figures.shard, applier.label, conflict.change, conflict.reason))

    async def _put_aside(self, applier: Applier | None, record: Change | Unreadable, reason: str) -> None:
        """Keep a record that can never be applied; without a place for it, try and wait."""
        self._means.figures.failed += 1
        destination = None if applier is None else applier.label
        place = destination or "the stream"
        while not await self._kept(destination, record, reason):
            self._figures.troubles[place] = Trouble(reason, held=True)
            if isinstance(record, Change):
                self._fall_behind(record)
            await self._wait(HELD_SECONDS)
            if applier is None or not isinstance(record, Change):
                continue
            refused = await self._tried_again(applier, record)
            if refused is None:
                break
            reason = refused
        self._figures.troubles.pop(place, None)

    async def _tried_again(self, applier: Applier, change: Change) -> str | None:
        """Apply a refused change once more: what refused it may be another today; return why not, or None."""
        try:
            with permitted_by(self._check_lease):
                applied = await applier.apply([change])
        except ServiceError as error:
            return str(error)
        self._count(applied)
        refused = applied.of(Fate.POISON, Fate.FAILED)
        return refused[0].reason if refused else None

    async def _kept(self, destination: str | None, record: Change | Unreadable, reason: str) -> bool:
        """Tell whether the record is in the dead-letter place now."""
        letters = self._means.letters
        problem = ""
        if letters is not None:
            try:
                await letters.keep(record, destination=destination, reason=reason)
            except ServiceError as error:
                problem = f" It could not be put aside: {error}"
        kept = letters is not None and not problem
        self._means.tell(Refused(self._figures.shard, destination, record, reason + problem, kept))
        return kept

    async def _wait(self, seconds: float) -> None:
        """Let time pass, or stop.

        Raises:
            _Stopped: the worker is to stop. The checkpoint has not moved: all this is tried again then.
        """
        if await until(self._means.stopping, self._slept(seconds)) is None:
            raise _Stopped

    async def _slept(self, seconds: float) -> bool:
        await self._means.clock.sleep(seconds)
        return True
