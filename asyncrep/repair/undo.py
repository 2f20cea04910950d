"""Takes back what a journal records as applied: ``undo``."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from aiostream import stream

from asyncrep.aws.guard import is_whole
from asyncrep.cost.account import open_account
from asyncrep.cost.prices import load_prices
from asyncrep.diff.confirm import read_strongly
from asyncrep.errors import (
    AsyncrepError,
    IncompleteUndoError,
    ServiceError,
    UsageError,
)
from asyncrep.flow import stages
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.purse import Purse
from asyncrep.flow.tasks import side_by_side
from asyncrep.items.equality import same_item
from asyncrep.jobs.chains import Chains
from asyncrep.jobs.entries import Damaged, Header, Intent
from asyncrep.jobs.history import read_journal
from asyncrep.jobs.journal import apply_noted, was_refused
from asyncrep.options import Limits
from asyncrep.progress import Advanced, Note, PassEnded, PassStarted, Silent, UndoStarted
from asyncrep.repair.mend import remarks
from asyncrep.repair.rules import ENDS_THE_RUN
from asyncrep.repair.take_back import UndoState, deeds, is_open, plan_take_back, sentences
from asyncrep.report import UndoReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from asyncrep.aws.table import Table
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.chains import Chain
    from asyncrep.jobs.entries import Entry, Settled
    from asyncrep.jobs.history import Record
    from asyncrep.jobs.journal import Journal
    from asyncrep.location import S3Place
    from asyncrep.mutation import Outcome
    from asyncrep.options import S3Access
    from asyncrep.progress import Observer
    from asyncrep.repair.take_back import Step, TakeBack

_ROUNDS = 4
_GROUP_RECORDS = 100
_GROUP_BYTES = 1024 * 1024
_GROUPS_AT_ONCE = 8
_DAMAGED_TOLD = 10

_KEPT_CHANGING = f"Somebody else kept changing the record during {_ROUNDS} attempts to take it back."
_ANSWER_LOST = "The answer to the write that took it back was lost."
_REST = "What could be taken back of it was."
_UNDER_WAY = "The run ended while it was taken back: how far that came is not known."


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of one record.

    Attributes:
        key: its canonical key.
        deeds: what taking it back does, in order: put, patch or delete.
        state: what became of it.
        reason: why, where the state needs a reason.
    """

    key: bytes
    deeds: tuple[str, ...]
    state: UndoState
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as an object for a JSON line."""
        what = ", ".join(self.deeds)
        return {"key": msgspec.Raw(self.key), "what": what, "state": self.state, "reason": self.reason}


async def undo(
    undoes: str | Path | S3Place,
    replica: Table,
    *,
    key: bytes | None = None,
    dry_run: bool = False,
    limits: Limits | None = None,
    journal: Journal | None = None,
    access: S3Access | None = None,
    observer: Observer | None = None,
    told: Callable[[Undone], object] = lambda _: None,
    clock: Clock | None = None,
) -> UndoReport:
    """Take back what a journal records as applied, each write under a condition, the newest first.

    An item that was put is deleted if it is still equal to what was put; a patched one gets the old values
    of its patched attributes back if they still have the new ones; a deleted one is put again if there is
    none. What somebody changed since stays as it is. Writes of which the journal does not tell whether
    they landed are told and never touched.

    However long the journal is, a few MB of it are in memory, and the rest in a temporary file: 8 groups
    of at most 100 records or 1 MB of lines, but for what the journal holds of a single record.

    Args:
        undoes: the journal: a path, ``file:///PATH`` or ``s3://BUCKET/PREFIX``.
        replica: the table that the journal's writes went to.
        key: only this record, its canonical key.
        dry_run: write nothing, and tell what would be done.
        limits: how hard it may push.
        journal: where its own writes are noted, so that the undo can be undone; see ``open_journal``.
        access: how S3 is reached, if ``undoes`` is kept there; by default as the environment says.
        observer: is told how it goes on, and what the user should know.
        told: is told each record once.
        clock: where time comes from.

    Returns:
        The report; ``remaining`` is zero when everything is as before.

    Raises:
        UsageError: there is no journal, it is of another table, or the table has another key. Nothing was
            written.
        ServiceError: the journal could not be read.
        IncompleteUndoError: it ended early; run it again to go on. It carries the report.
    """
    report = UndoReport(str(undoes), replica.label, dry_run)
    async with AsyncExitStack() as stack:
        chains = stack.enter_context(Chains())
        observer = observer or Silent()
        observer.notice(UndoStarted(report))
        async with read_journal(undoes, access=access) as records:
            await _read(records, replica, chains, report, observer, key)
        undoing = _Undoing(replica, limits or Limits(), report, clock or SystemClock())
        undoing.journal, undoing.observer, undoing.told = journal, observer, told
        try:
            await undoing.take_back(chains)
        except AsyncrepError as error:
            raise IncompleteUndoError(str(error), report) from error
        finally:
            undoing.close()
    return report


async def _read(
    records: AsyncIterator[Record],
    replica: Table,
    chains: Chains,
    report: UndoReport,
    observer: Observer,
    key: bytes | None,
) -> None:
    """Read the whole journal and check that it fits the table, before anything is written."""
    async for record in records:
        match record:
            case Header():
                _check_table(record, replica, observer)
            case Damaged():
                report.damaged += 1
                _tell_damage(record, report, observer)
            case _:
                _add(record, replica, chains, key)
    orphans = chains.orphans if key is None else 0
    if orphans and not report.damaged:
        observer.notice(Note(f"The journal has {orphans} outcomes whose intents are missing."))
        report.damaged += orphans


def _tell_damage(damaged: Damaged, report: UndoReport, observer: Observer) -> None:
    if report.damaged <= _DAMAGED_TOLD:
        place = f"Line {damaged.line} of {damaged.where}" if damaged.line else damaged.where
        observer.notice(Note(f"{place} cannot be read, and is not taken back: {damaged.reason}"))


def _check_table(header: Header, replica: Table, observer: Observer) -> None:
    there, settings = header.replica, replica.settings
    if there.arn != settings.arn:
        raise UsageError(
            f"The journal is of another table: its writes went to {there.arn or there.location}, "
            f"and {replica.label} is {settings.arn}."
        )
    if there.table_id and settings.table_id and there.table_id != settings.table_id:
        observer.notice(Note("The table was deleted and made anew since the journal was written."))


def _add(record: Intent | Settled, replica: Table, chains: Chains, key: bytes | None) -> None:
    if isinstance(record, Intent):
        if replica.key(record.key) != record.key:
            raise UsageError(
                f"The journal's keys do not fit {replica.label}, whose key is {replica.settings.schema}."
            )
        if key is not None and record.key != key:
            return
    chains.add(record)


@dataclass(slots=True)
class _Attempt:
    """How far one record is.

    Attributes:
        entries: those of the chain that there is something to be taken back of.
        sent: a write was sent, and not refused for good.
        applied: how many writes were applied.
        unsure: a write may have landed although it was refused.
    """

    chain: Chain
    entries: list[Entry]
    sent: bool = False
    applied: int = 0
    unsure: bool = False
    caveats: list[str] = field(default_factory=list)


class _Undoing:
    """One undo that is under way."""

    def __init__(self, replica: Table, limits: Limits, report: UndoReport, clock: Clock) -> None:
        account = open_account(replica.settings, load_prices(), Purse(limits.max_cost))
        self.journal: Journal | None = None
        self.observer: Observer = Silent()
        self.told: Callable[[Undone], object] = lambda _: None
        self._replica = replica.limited(limits, account)
        self._report = report
        self._clock = clock
        self._began = clock.monotonic()

    async def take_back(self, chains: Chains) -> None:
        """Take back the chains of all records."""
        self.observer.notice(PassStarted("undo", chains.records))
        groups = stream.iterate(chains.groups(_GROUP_RECORDS, _GROUP_BYTES))
        async with stages.mapped(groups, self._handle, _GROUPS_AT_ONCE).stream() as handled:
            async for records in handled:
                self._tally()
                self.observer.notice(Advanced("undo", records))
        self.observer.notice(PassEnded("undo"))
        self._report.complete = True

    def close(self) -> None:
        """Bring the report up to date for good."""
        self._tally()
        if self.journal is not None and self.journal.begun:
            self._report.journal = self.journal.place

    def _tally(self) -> None:
        meter = self._replica.meter
        self._report.read_units, self._report.write_units = meter.read_units, meter.write_units
        self._report.cost_usd = meter.dollars
        self._report.seconds = self._clock.monotonic() - self._began

    async def _handle(self, group: list[Chain]) -> int:
        attempts = [
            _Attempt(chain, entries)
            for chain in group
            if (entries := [each for each in chain.entries if is_open(each)])
        ]
        if attempts:
            images = await read_strongly(self._replica, [attempt.chain.key for attempt in attempts])
            ended = await side_by_side(
                self._record(attempt, images.get(attempt.chain.key)) for attempt in attempts
            )
            fatal = next((error for error in ended if error is not None), None)
            if fatal is not None:
                raise fatal
        return len(group)

    async def _record(self, attempt: _Attempt, image: bytes | None) -> AsyncrepError | None:
        """Take one record back and conclude it; return the error that ends the whole undo."""
        try:
            planned = await self._try(attempt, image)
            if self.journal is not None and attempt.sent:
                await self.journal.sync()
        except BaseException as error:  # noqa: BLE001 - raised again, or handed on
            return self._ended(attempt, error)
        if planned is None:
            self._conclude(attempt, UndoState.CHANGED, _KEPT_CHANGING)
        else:
            self._conclude(attempt, planned.state, planned.reason)
        return None

    def _ended(self, attempt: _Attempt, error: BaseException) -> AsyncrepError | None:
        """Conclude a record that an error ended; return the error, or raise it, if it ends all of them."""
        if isinstance(error, ServiceError) and not isinstance(error, ENDS_THE_RUN):
            self._conclude(attempt, UndoState.FAILED, str(error))
            return None
        if attempt.sent:
            self._conclude(attempt, UndoState.FAILED, _UNDER_WAY)
        if isinstance(error, AsyncrepError):
            return error
        raise error

    async def _try(self, attempt: _Attempt, image: bytes | None) -> TakeBack | None:
        """Write what takes a record back; plan anew when somebody changed it meanwhile, a few times."""
        key = attempt.chain.key
        for _ in range(_ROUNDS):
            planned = plan_take_back(attempt.entries, image)
            if self._report.dry_run:
                return planned
            if await self._write(attempt, planned.steps):
                return planned
            image = (await read_strongly(self._replica, [key])).get(key)
        return None

    async def _write(self, attempt: _Attempt, steps: list[Step]) -> bool:
        """Send writes one after the other; tell whether all of them were applied."""
        for step in steps:
            if not await self._is_as_expected(step):
                return False
            outcome = await self._apply(attempt, step)
            if not outcome.applied:
                attempt.unsure = attempt.unsure or outcome.unsure
                return False
            attempt.applied += 1
            attempt.caveats += remarks(step.found, outcome, ())
        return True

    async def _apply(self, attempt: _Attempt, step: Step) -> Outcome:
        before = attempt.sent

        def sending() -> None:
            attempt.sent = True

        try:
            return await apply_noted(self.journal, self._replica, step.found, step.mutation, sending=sending)
        except AsyncrepError as error:
            attempt.sent = before or not was_refused(error)
            raise

    async def _is_as_expected(self, step: Step) -> bool:
        """Read once more, as late as can be, what is too large to be checked by the write itself."""
        mutation, expected = step.mutation, step.found.replica
        if is_whole(mutation, self._replica.settings.schema):
            return True
        now = (await read_strongly(self._replica, [mutation.key])).get(mutation.key)
        return now is not None and expected is not None and same_item(expected, now)

    def _conclude(self, attempt: _Attempt, state: UndoState, reason: str | None) -> None:
        if state is UndoState.TAKEN_BACK and self._report.dry_run:
            state = UndoState.PENDING
        if state is UndoState.ALREADY and attempt.sent:
            state = UndoState.TAKEN_BACK
            reason = sentences((reason, _ANSWER_LOST if attempt.unsure else None))
        rest = attempt.applied and state in {UndoState.CHANGED, UndoState.UNKNOWN, UndoState.FAILED}
        reason = sentences((reason, _REST if rest else None, *attempt.caveats))
        record = Undone(attempt.chain.key, tuple(deeds(attempt.entries)), state, reason)
        self._report.count(record.state.value)
        self.told(record)
