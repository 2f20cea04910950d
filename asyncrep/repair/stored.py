"""Applies a stored diff: confirms each record again and repairs what is still as it was reviewed."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from aiostream import stream

from asyncrep.diff.confirm import Candidate, confirm
from asyncrep.diff.pipeline import whole_run
from asyncrep.diff.run import Run, check_comparable
from asyncrep.flow import stages
from asyncrep.model import State
from asyncrep.progress import Found, PassEnded, PassStarted
from asyncrep.repair.deletions import Allowance
from asyncrep.repair.mend import mend
from asyncrep.repair.review import AGREES, changed_since
from asyncrep.repair.rules import Rules, check_writable, conclude_dry
from asyncrep.repair.stored_diff import Entries, StoredDiff, Task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from asyncrep.diff.confirm import Verdict
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.journal import Journal
    from asyncrep.model import Destination, Discrepancy, Source
    from asyncrep.options import Comparison, Limits
    from asyncrep.progress import Observer, PassName
    from asyncrep.report import Report

STRATEGY = "stored diff"
"""What the report of such a run has as its strategy."""

_GROUPS_AT_ONCE = 16
_GROUP_KEYS = 100
_GROUP_BYTES = 1024 * 1024


async def repair_stored(
    primary: Source,
    replica: Destination,
    diff: str | Path | StoredDiff,
    *,
    limits: Limits | None = None,
    comparison: Comparison | None = None,
    rules: Rules | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
    journal: Journal | None = None,
) -> Report:
    """Repair the records of a stored diff that still differ as it says.

    The whole diff is checked before anything is written. Then each record is confirmed again by strong
    reads. If both sides' items are what the diff says they were, it is repaired as ``repair`` does it,
    guarded and verified; if either is not, or the sides agree by now, it is left alone, in state
    ``changed``, with a reason that says what changed. Records that were repaired, in flight or expired when
    the diff was stored are passed over. Nothing of the diff is ever written: it only says what may be.
    Deletions come last.

    Args:
        primary: what is right; it is only read.
        replica: what is repaired.
        diff: the file, JSON lines as ``diff-tables --output`` writes them.
        limits: how hard the run may push; its segments do not matter.
        comparison: when two items count as the same.
        rules: what the repair may do. What "more than half of the replica" is, is judged by the replica's
            description, which is some hours old, and not at all where that does not tell.
        observer: is told how the run goes.
        clock: where time comes from.
        journal: where every write is noted before it is sent, so that ``undo`` can take it back.

    Returns:
        The report. ``remaining`` is zero when every record was repaired and verified, or agrees by now.

    Raises:
        UsageError: as for ``repair``; or a line of the diff is no discrepancy of these tables. Nothing was
            written.
        ServiceError: whether the replica is a global table's member could not be found out.
        IncompleteRunError: the run ended early; apply the diff again to go on. The cause is chained.
    """
    rules = rules or Rules()
    check_comparable(primary, replica)
    with ExitStack() as stack:
        stored = diff if isinstance(diff, StoredDiff) else stack.enter_context(StoredDiff.opened(diff))
        ignored = comparison.ignore if comparison else frozenset()
        entries = stack.enter_context(Entries(stored, primary.settings.schema, ignored))
        await entries.check()
        notes = await check_writable(primary, replica, force=rules.force)
        run = Run.of(primary, replica, limits=limits, comparison=comparison, observer=observer, clock=clock)
        run.journal = journal
        run.report.strategy, run.report.segments = STRATEGY, 0
        run.start([*notes, *_notes(stored, entries)])
        async with whole_run(run):
            await _Stored(run, rules, entries).carry_out()
    return run.report


class _Stored:
    """The records of a stored diff on their way."""

    def __init__(self, run: Run[Destination], rules: Rules, entries: Entries) -> None:
        self._run = run
        self._rules = rules
        self._entries = entries

    async def carry_out(self) -> None:
        """Put and patch first; then delete, within the bounds of the rules."""
        await self._pass("repair", Task.CHANGE, self._change)
        planned = self._entries.count(Task.DELETE)
        if planned and self._rules.delete_extraneous:
            held = self._run.replica.settings.item_count or None
            allowance = Allowance(self._run, self._rules, planned, held)
            await self._pass("delete", Task.DELETE, partial(allowance.delete, as_reviewed=True))
        else:
            await self._pass("delete", Task.DELETE, self._keep)

    async def _pass(
        self, name: PassName, task: Task, handle: Callable[[list[Discrepancy]], Awaitable[None]]
    ) -> None:
        run, count = self._run, self._entries.count(task)
        if not count:
            return

        async def handled(group: list[Discrepancy]) -> int:
            await self._handle(group, handle)
            return len(group)

        run.observer.notice(PassStarted(name, count))
        groups = stream.iterate(self._entries.groups(task, _GROUP_KEYS, _GROUP_BYTES))
        async with stages.mapped(groups, handled, _GROUPS_AT_ONCE).stream() as numbers:
            async for number in numbers:
                run.advance(name, number)
        run.observer.notice(PassEnded(name))

    async def _handle(
        self, group: list[Discrepancy], handle: Callable[[list[Discrepancy]], Awaitable[None]]
    ) -> None:
        memory = await self._run.memory.reserve(len(group))
        try:
            reviewed = {record.key: record for record in group}
            verdicts = await confirm(
                self._run, [Candidate(record.key, record.segment, 0, "both") for record in group]
            )
            held = sum(verdict.size for verdict in verdicts)
            memory.becomes(held)
            self._run.memory.learn(held / len(group))
            judged = [self._judged(verdict, reviewed[verdict.candidate.key]) for verdict in verdicts]
            await handle([found for found in judged if found is not None])
        finally:
            memory.release()

    def _judged(self, verdict: Verdict, reviewed: Discrepancy) -> Discrepancy | None:
        """Return the discrepancy if it is what was reviewed; conclude it if not."""
        found = verdict.discrepancy
        if found is None:
            self._run.report.count_agreeing()
            self._run.observer.notice(Found(reviewed.moved(State.CHANGED, AGREES)))
        elif found.state is not State.FOUND:
            self._run.conclude(found)
        elif change := changed_since(reviewed, found, self._run.comparison.ignore):
            self._run.conclude(found.moved(State.CHANGED, change))
        else:
            return found
        return None

    async def _change(self, drift: list[Discrepancy]) -> None:
        if self._rules.dry_run:
            conclude_dry(self._run, drift)
            return
        reviewed = {found.key: found for found in drift}
        ignored = self._run.comparison.ignore
        for left in await mend(self._run, drift, as_reviewed=True) if drift else []:
            # The primary lost it meanwhile; that its copy is to be deleted was reviewed by nobody.
            change = changed_since(reviewed[left.key], left, ignored, written=True)
            self._run.conclude(left.moved(State.CHANGED, change))

    async def _keep(self, drift: list[Discrepancy]) -> None:
        for found in drift:
            self._run.conclude(found.moved(State.SKIPPED, "Deletions are turned off."))


def _notes(stored: StoredDiff, entries: Entries) -> list[str]:
    """Say what of the diff is not done."""
    passed, repeated = entries.count(Task.NOTHING), entries.repeated
    notes = [] if entries.read else [f"{stored.name} holds no discrepancies."]
    if passed:
        notes.append(
            f"Passed over, as repaired, in flight or expired when the diff was stored: {_records(passed)}."
        )
    if repeated:
        notes.append(f"Lines whose key comes again later, which count no more: {repeated:,}.")
    return notes


def _records(number: int) -> str:
    return f"{number:,} record" if number == 1 else f"{number:,} records"
