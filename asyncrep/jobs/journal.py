"""Notes every write before it is sent, and what became of it; see ``asyncrep.jobs`` for the words."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from asyncrep.errors import AsyncrepError, BudgetExhaustedError, JournalError, ServiceError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.jobs.entries import (
    DamagedLineError,
    Header,
    Intent,
    ReplicaPlace,
    Settled,
    header_line,
    intent_line,
    parse_header,
    settled_line,
    timestamp,
)
from asyncrep.jobs.log import Log
from asyncrep.jobs.media import open_store
from asyncrep.location import S3Place, parse_storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.media import Store
    from asyncrep.model import Destination, Discrepancy
    from asyncrep.mutation import Mutation, Outcome
    from asyncrep.options import S3Access

_UNSURE = "The condition was refused, but an earlier try of the same write got no answer: whether it landed is not known."
_NEVER_SENT = "The run ended before the write was sent."
_INTERRUPTED = "The run ended while the write was under way: whether it landed is not known."


class Journal:
    """A journal that is being written. Make one with ``open_journal``.

    Attributes:
        by: this writer.
        n: the number of the last intent that is durable, 0 before the first.
        access: how S3 is reached, if it is kept there.
    """

    def __init__(self, store: Store, log: Log, by: str, clock: Clock, access: S3Access | None = None) -> None:
        self.by = by
        self.access = access
        self.n = 0
        self._numbered = 0
        self._store = store
        self._log = log
        self._clock = clock

    @property
    def place(self) -> str:
        """Where it is, as people call it."""
        return self._store.name

    @property
    def begun(self) -> bool:
        """Whether there is anything in it, so far as is known: it is made with the first intent."""
        return self._store.begun

    async def look(self) -> None:
        """Find out whether another process has begun it."""
        if not self._store.begun:
            await self._store.look()

    async def intend(self, found: Discrepancy, mutation: Mutation) -> int:
        """Note what is about to be written, and return its number once that is durable.

        Args:
            found: what the write is to mend; its ``replica`` is the image about to change.
            mutation: the write.

        Raises:
            JournalError: it could not be noted; the write must not be sent.
        """
        self._numbered += 1
        number = self._numbered
        cause = None if found.cause is None else found.cause.value
        line = intent_line(
            Intent(
                self.by,
                number,
                self._now(),
                mutation.key,
                found.kind,
                found.segment,
                cause,
                found.replica,
                mutation,
            )
        )
        try:
            await self._log.reach(self._log.add(line))
        except asyncio.CancelledError:
            self._settle(number, applied=False, error=_NEVER_SENT)
            raise
        self.n = max(self.n, number)
        return number

    def settle(self, number: int, outcome: Outcome) -> None:
        """Note what the service answered; it is durable after ``sync``, or with any later intent."""
        if outcome.unsure:
            self._settle(number, error=_UNSURE)
        else:
            self._settle(number, applied=outcome.applied, old=outcome.old)

    def settle_error(self, number: int, error: BaseException) -> None:
        """Note why the service gave no answer, and whether the write may have landed all the same."""
        message = str(error) if isinstance(error, AsyncrepError) else _INTERRUPTED
        self._settle(number, applied=False if was_refused(error) else None, error=message)

    async def sync(self) -> None:
        """Wait until everything that was noted is durable.

        Raises:
            JournalError: it cannot be made so.
        """
        await self._log.reach()

    def _settle(
        self, number: int, *, applied: bool | None = None, old: bytes | None = None, error: str | None = None
    ) -> None:
        self._log.add(settled_line(Settled(self.by, number, self._now(), applied, old, error)))

    def _now(self) -> str:
        return timestamp(self._clock.now())


def was_refused(error: BaseException) -> bool:
    """Tell whether every try of a write that raised this was refused, or none was sent."""
    if isinstance(error, BudgetExhaustedError):
        return error.__cause__ is None
    return isinstance(error, ServiceError) and not error.maybe_done


async def apply_noted(
    journal: Journal | None,
    replica: Destination,
    found: Discrepancy,
    mutation: Mutation,
    *,
    sending: Callable[[], object] = lambda: None,
) -> Outcome:
    """Send a write whose intent is noted before and whose outcome is noted after it.

    Args:
        journal: where; None when nothing is to be noted.
        replica: what is written to.
        found: what the write mends.
        mutation: the write.
        sending: is called when the write is about to be sent.

    Raises:
        JournalError: the intent could not be noted; nothing was sent.
        ServiceError: as for ``Destination.apply``.
    """
    number = await journal.intend(found, mutation) if journal else 0
    sending()
    if journal is None:
        return await replica.apply(mutation)
    try:
        outcome = await replica.apply(mutation)
    except BaseException as error:
        journal.settle_error(number, error)
        raise
    journal.settle(number, outcome)
    return outcome


@asynccontextmanager
async def open_journal(
    place: str | Path | S3Place,
    replica: Table,
    *,
    primary: str,
    profile: str | None = None,
    role_arn: str | None = None,
    undoes: str | None = None,
    access: S3Access | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Journal]:
    """Open a journal for the writes to a table; it is made with the first of them, or gone on with.

    Leaving the block makes everything durable that was noted.

    Args:
        place: a path, ``file:///PATH`` or ``s3://BUCKET/PREFIX``. Several processes may write to one journal.
        replica: the table that is written to.
        primary: what it is compared with, as people call it.
        profile: the profile that ``replica`` was opened with; ``undo`` uses it again.
        role_arn: the role that ``replica`` was opened with.
        undoes: the journal that is taken back.
        access: how S3 is reached; by default as the environment says.
        clock: where time comes from.

    Raises:
        UsageError: something else is there, the journal of another table or purpose, or nothing can be
            written there.
        ServiceError: S3 could not be asked.
        JournalError: on leaving, when the last outcomes could not be written.

    Example:
        >>> async with open_journal("repair.jsonl", replica, primary=primary.label) as journal:
        ...     await repair(primary, replica, journal=journal)
    """
    clock = clock or SystemClock()
    where = parse_storage(place) if isinstance(place, str) else place
    header = Header(_described(replica, profile, role_arn), primary, undoes, timestamp(clock.now()))
    by = secrets.token_hex(6)

    def check(first: bytes) -> None:
        _check(str(where), first, header)

    async with open_store(where, header_line(header), by, check, access) as store:
        first = await store.look()
        if first is not None:
            check(first)
        log = Log(store, lambda error: _failure(store.name, error))
        try:
            yield Journal(store, log, by, clock, access)
        except BaseException:
            with suppress(JournalError):  # what ended the block matters more
                await log.reach()
            raise
        await log.reach()


@asynccontextmanager
async def open_journal_if(
    place: str | None,
    primary: Table,
    replica: Table,
    reached: Place,
    access: S3Access | None = None,
) -> AsyncIterator[Journal | None]:
    """Open the journal for the writes to ``replica``, reached as ``reached`` says; None without a place.

    Raises:
        UsageError, ServiceError, JournalError: as ``open_journal`` does.
    """
    if place is None:
        yield None
        return
    async with open_journal(
        place,
        replica,
        primary=primary.label,
        profile=reached.profile,
        role_arn=reached.role_arn,
        access=access,
    ) as journal:
        yield journal


def _described(replica: Table, profile: str | None, role_arn: str | None) -> ReplicaPlace:
    ref, settings = replica.ref, replica.settings
    # A URL that opens a table holds no password: AWS's signatures do not go with one.
    return ReplicaPlace(str(ref), ref.endpoint_url, profile, role_arn, settings.arn, settings.table_id)


def _check(name: str, first: bytes, header: Header) -> None:
    """Refuse to go on with what is not a journal of the same table and purpose."""
    try:
        there = parse_header(first)
    except DamagedLineError as error:
        raise UsageError(f"{name} exists and is not a journal: {error}.") from error
    mine, others = header.replica, there.replica
    if (mine.arn, mine.table_id) != (others.arn, others.table_id):
        raise UsageError(f"{name} is the journal of another table, {others.location} ({others.arn}).")
    if header.undoes != there.undoes:
        purpose = f"takes back {there.undoes}" if there.undoes else "belongs to a repair"
        raise UsageError(f"{name} exists and {purpose}; name another journal.")


def _failure(name: str, error: Exception) -> str:
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return f"The journal {name} could not be written, so nothing more was written to the table: {reason.rstrip('.')}."
