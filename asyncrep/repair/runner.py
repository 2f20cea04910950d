"""Repairs a replica: finds and mends in one pipeline, and deletes when both walks are complete."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiostream import stream

from asyncrep.diff.confirm import Candidate, confirm, read_strongly
from asyncrep.diff.pipeline import WALKS, confirmed, whole_run
from asyncrep.diff.run import Run, check_comparable
from asyncrep.errors import UsageError
from asyncrep.flow import stages
from asyncrep.model import Extraneous, State
from asyncrep.progress import Note, PassEnded, PassStarted
from asyncrep.repair.mend import mend
from asyncrep.repair.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.flow.clock import Clock
    from asyncrep.model import Comparison, Destination, Discrepancy, Limits, Segment, Source
    from asyncrep.progress import Observer
    from asyncrep.report import Report

_BATCHES_AT_ONCE = 16
_DELETE_KEYS = 100
_DELETE_BYTES = 1024 * 1024
_DEED = {"missing": "put", "different": "patched", "extraneous": "deleted"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a repair may do.

    Attributes:
        delete_extraneous: delete what the primary has not; otherwise such items are only reported.
        max_delete: stop before the deletion after this many; also the explicit word that deleting more
            than half of the replica is meant.
        dry_run: write nothing and report what would be done.
        force: repair even a member of a global table, to whose other members every write is copied.
    """

    delete_extraneous: bool = True
    max_delete: int | None = None
    dry_run: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.max_delete is not None and self.max_delete < 0:
            raise UsageError(f"The most items to delete must be zero or more, not {self.max_delete}.")


async def repair(
    primary: Source,
    replica: Destination,
    *,
    limits: Limits | None = None,
    comparison: Comparison | None = None,
    delete_extraneous: bool | None = None,
    rules: Rules | None = None,
    segment: Segment | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
) -> Report:
    """Compare the replica with the primary and repair what is confirmed to differ.

    Every write is conditional on what was read, and verified against the primary afterwards. Deletions
    wait until both walks are complete. Each record reaches the observer once, in its final state.

    Args:
        primary: what is right; it is only read.
        replica: what is repaired.
        limits: how hard the run may push.
        comparison: when two items count as the same.
        delete_extraneous: shorthand for ``rules=Rules(delete_extraneous=…)``; true if neither is given.
        rules: what the repair may do.
        segment: repair only this segment, of both sides.
        observer: is told how the run goes.
        clock: where time comes from.

    Returns:
        The report. ``remaining`` is zero when everything found was repaired and verified.

    Raises:
        UsageError: the two cannot be compared, are one table, or the replica is a member of the
            primary's global table. Nothing was written.
        ServiceError: whether the replica is a global table's member could not be found out.
        IncompleteRunError: the run ended early; if before both walks were complete, nothing was deleted.
            The cause is chained.
    """
    rules = _rules(rules, delete_extraneous)
    check_comparable(primary, replica)
    notes = await check_writable(primary, replica, force=rules.force)
    run = Run.of(
        primary,
        replica,
        limits=limits,
        comparison=comparison,
        segment=segment,
        observer=observer,
        clock=clock,
    )
    run.start(notes)
    async with whole_run(run):
        with Spool() as spool:
            await _Findings(run, rules, spool).mend()
            if spool.length:
                await _Deletions(run, rules, spool).carry_out()
    return run.report


def _rules(rules: Rules | None, delete_extraneous: bool | None) -> Rules:
    if rules is None:
        return Rules(delete_extraneous=delete_extraneous is not False)
    if delete_extraneous is not None:
        raise UsageError("Give delete_extraneous or rules, not both.")
    return rules


async def check_writable(primary: Source, replica: Destination, *, force: bool) -> list[str]:
    """Refuse to write where writing would not do what is meant; return what could not be checked.

    Raises:
        UsageError: both are (unless forced) members of one global table.
        ServiceError: whether they are could not be found out.
    """
    if force:
        return []
    copies = await replica.copies_to(primary)
    if copies:
        raise UsageError(
            f"{replica.label} and {primary.label} are members of one global table: DynamoDB copies what is written "
            "to the one to the other itself. If that is meant, force it (--force-global-table)."
        )
    if copies is None:
        return ["The credentials may not ask for global tables of version 2017.11.29; none is assumed."]
    return []


class _Findings:
    """What both walks find: missing and different are mended at once, extraneous is put aside."""

    def __init__(self, run: Run[Destination], rules: Rules, spool: Spool) -> None:
        self._run = run
        self._rules = rules
        self._spool = spool
        self._leftovers: set[bytes] = set()

    async def mend(self) -> None:
        """Walk both sides. The second walk begins when the first is mended, so that leftovers are known."""
        for name in WALKS:
            async with (
                aclosing(confirmed(self._run, name)) as batches,
                stages.mapped(stream.iterate(batches), self._handle, _BATCHES_AT_ONCE).stream() as handled,
            ):
                async for _ in handled:
                    self._run.tally()

    async def _handle(self, batch: list[Discrepancy]) -> None:
        drift = _conclude_harmless(self._run, batch)
        changes = [found for found in drift if not isinstance(found, Extraneous)]
        for left in await self._mend_changes(changes):
            self._leftovers.add(left.key)
            self._put_aside(left)
        for found in drift:
            if isinstance(found, Extraneous) and found.key not in self._leftovers:
                self._put_aside(found)

    async def _mend_changes(self, changes: Sequence[Discrepancy]) -> list[Extraneous]:
        if self._rules.dry_run:
            _conclude_dry(self._run, changes)
            return []
        return await mend(self._run, changes) if changes else []

    def _put_aside(self, found: Extraneous) -> None:
        if self._rules.delete_extraneous:
            self._spool.add(Candidate(found.key, found.segment, len(found.replica)))
        else:
            self._run.conclude(found.moved(State.SKIPPED, "Deletions are turned off."))


def _conclude_harmless(run: Run[Destination], batch: Sequence[Discrepancy]) -> list[Discrepancy]:
    """Conclude what is in flight or expired; return the rest, which is drift."""
    drift = []
    for found in batch:
        if found.state is State.FOUND:
            drift.append(found)
        else:
            run.conclude(found)
    return drift


def _conclude_dry(run: Run[Destination], batch: Sequence[Discrepancy]) -> None:
    """Conclude drift as found, and say what would be done about it."""
    for found in batch:
        run.conclude(found.moved(State.FOUND, f"Dry run: it would be {_DEED[found.kind]}."))


class _Deletions:
    """The deletions that waited for both walks, within the bounds of the rules."""

    def __init__(self, run: Run[Destination], rules: Rules, spool: Spool) -> None:
        self._run = run
        self._dry = rules.dry_run
        self._spool = spool
        self._allowed = spool.length if rules.max_delete is None else rules.max_delete
        self._refusal = f"The limit of {self._allowed} deletions was reached."
        if rules.max_delete is None and spool.length * 2 > run.report.scanned_replica:
            self._allowed = 0
            self._refusal = (
                f"Deleting {spool.length} of {run.report.scanned_replica} items is more than half of the replica: "
                f"if that is meant, allow it (--max-delete {spool.length})."
            )
            run.observer.notice(Note(self._refusal))

    async def carry_out(self) -> None:
        """Confirm and delete, group by group; say of the rest why it stays."""
        run = self._run
        run.observer.notice(PassStarted("delete", self._spool.length))
        groups = stream.iterate(self._spool.groups(_DELETE_KEYS, _DELETE_BYTES))
        async with stages.mapped(groups, self._handle, _BATCHES_AT_ONCE).stream() as handled:
            async for records in handled:
                run.advance("delete", records)
        run.observer.notice(PassEnded("delete"))

    async def _handle(self, group: list[Candidate]) -> int:
        if not self._allowed:
            await self._leave(group)
            return len(group)
        verdicts = await confirm(self._run, group)
        found = [verdict.discrepancy for verdict in verdicts if verdict.discrepancy is not None]
        self._run.report.settled += len(group) - len(found)
        drift = _conclude_harmless(self._run, found)
        chosen, rest = drift[: self._allowed], drift[self._allowed :]
        self._allowed -= len(chosen)
        for record in rest:
            self._run.conclude(record.moved(State.SKIPPED, self._refusal))
        if self._dry:
            _conclude_dry(self._run, chosen)
        elif chosen:
            await mend(self._run, chosen, deleting=True)
        return len(group)

    async def _leave(self, group: list[Candidate]) -> None:
        """Report what may not be deleted; it was confirmed when it was put aside."""
        images = await read_strongly(self._run.replica, [candidate.key for candidate in group])
        for key, segment, _ in group:
            if key in images:
                found = Extraneous(key=key, replica=images[key], segment=segment)
                self._run.conclude(found.moved(State.SKIPPED, self._refusal))
