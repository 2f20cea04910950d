"""Repairs a replica: finds and mends in one pipeline, and deletes when both walks are complete."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiostream import stream

from asyncrep.diff.confirm import Candidate, confirm
from asyncrep.diff.pipeline import confirmed, whole_run
from asyncrep.diff.run import Run, check_comparable
from asyncrep.errors import UsageError
from asyncrep.flow import stages
from asyncrep.model import Extraneous, State
from asyncrep.progress import Note, PassEnded, PassStarted
from asyncrep.repair.mend import Mended, mend
from asyncrep.repair.spool import Spool

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock
    from asyncrep.model import Comparison, Destination, Discrepancy, Limits, Segment, Source
    from asyncrep.progress import Observer
    from asyncrep.report import Report

_BATCHES_AT_ONCE = 16
_DELETE_KEYS = 100
_DELETE_BYTES = 1024 * 1024


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
    delete_extraneous: bool = True,
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
        delete_extraneous: shorthand for ``Rules(delete_extraneous=…)``; ``rules`` wins.
        rules: what the repair may do.
        segment: repair only this segment, of both sides.
        observer: is told how the run goes.
        clock: where time comes from.

    Returns:
        The report. ``remaining`` is zero when everything found was repaired and verified.

    Raises:
        UsageError: the two cannot be compared, are one table, or the replica is a member of the
            primary's global table. Nothing was written.
        IncompleteRunError: the run ended early; nothing was deleted. The cause is chained.
    """
    rules = rules or Rules(delete_extraneous=delete_extraneous)
    check_comparable(primary, replica)
    await check_writable(primary, replica, force=rules.force)
    run = Run.of(
        primary,
        replica,
        limits=limits,
        comparison=comparison,
        segment=segment,
        observer=observer,
        clock=clock,
    )
    run.start()
    async with whole_run(run):
        with Spool() as spool:
            await _mend_as_found(run, rules, spool)
            if spool.length:
                await _delete(run, rules, spool)
    return run.report


async def check_writable(primary: Source, replica: Destination, *, force: bool) -> None:
    """Refuse to write where writing would not do what is meant.

    Raises:
        UsageError: both are the same table, or (unless forced) members of one global table.
    """
    if replica.is_same_as(primary):
        raise UsageError(f"{primary.label} and {replica.label} are the same table.")
    if not force and await replica.copies_to(primary):
        raise UsageError(
            f"{replica.label} and {primary.label} are members of one global table: DynamoDB copies what is written "
            "to the one to the other itself. Force it if that is meant."
        )


async def _mend_as_found(run: Run[Destination], rules: Rules, spool: Spool) -> None:
    """Walk both sides; mend missing and different at once, put extraneous aside."""

    async def handle(batch: list[Discrepancy]) -> Mended:
        extraneous = [
            found for found in batch if isinstance(found, Extraneous) and found.state is State.FOUND
        ]
        changes = [
            found for found in batch if not isinstance(found, Extraneous) and found.state is State.FOUND
        ]
        settled = [found for found in batch if found.state is not State.FOUND]
        if rules.dry_run:
            return Mended([*settled, *changes, *extraneous], [])
        mended = await mend(run, changes) if changes else Mended([], [])
        records, leftovers = [*settled, *mended.records], list(mended.leftovers)
        if rules.delete_extraneous:
            leftovers += [Candidate(found.key, found.segment, len(found.replica)) for found in extraneous]
        else:
            records += [found.moved(State.SKIPPED, "Deletions are turned off.") for found in extraneous]
        return Mended(records, leftovers)

    async with aclosing(confirmed(run)) as batches:
        results = stages.mapped(stream.iterate(batches), handle, _BATCHES_AT_ONCE)
        async with results.stream() as finished:
            async for mended in finished:
                for record in mended.records:
                    run.conclude(record)
                if rules.delete_extraneous:
                    for leftover in mended.leftovers:
                        spool.add(leftover)
                run.tally()


async def _delete(run: Run[Destination], rules: Rules, spool: Spool) -> None:
    """Delete what was put aside, after confirming it once more, within the rules' bounds."""
    allowed = spool.length if rules.max_delete is None else rules.max_delete
    refusal = f"The limit of {allowed} deletions was reached."
    if rules.max_delete is None and spool.length * 2 > run.report.scanned_replica:
        allowed = 0
        refusal = (
            f"Deleting {spool.length} of {run.report.scanned_replica} items is more than half of the replica: "
            f"that needs an explicit limit of {spool.length} deletions or more."
        )
        run.observer.notice(Note(refusal))
    run.observer.notice(PassStarted("delete", spool.length))
    for group in spool.groups(_DELETE_KEYS, _DELETE_BYTES):
        found = [
            verdict.discrepancy for verdict in await confirm(run, group) if verdict.discrepancy is not None
        ]
        run.report.settled += len(group) - len(found)
        drift = [record for record in found if record.state is State.FOUND]
        for record in found:
            if record.state is not State.FOUND:
                run.conclude(record)
        chosen, rest = drift[:allowed], drift[allowed:]
        allowed -= len(chosen)
        if chosen:
            for record in (await mend(run, chosen, deleting=True)).records:
                run.conclude(record)
        for record in rest:
            run.conclude(record.moved(State.SKIPPED, refusal))
        run.advance("delete", len(group))
    run.observer.notice(PassEnded("delete"))
