"""Repairs a replica: finds and mends in one pipeline, and deletes when both walks are complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.diff.pipeline import whole_run
from asyncrep.diff.run import Run, check_comparable
from asyncrep.diff.saving import resumed_from, saved
from asyncrep.errors import UsageError
from asyncrep.repair.deletions import Deletions
from asyncrep.repair.findings import Findings
from asyncrep.repair.rules import Rules, check_writable

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.job import Job
    from asyncrep.jobs.journal import Journal
    from asyncrep.model import Destination, Segment, Source
    from asyncrep.options import Comparison, Limits, Sample, Strategy
    from asyncrep.progress import Observer
    from asyncrep.report import Report


async def repair(
    primary: Source,
    replica: Destination,
    *,
    limits: Limits | None = None,
    comparison: Comparison | None = None,
    strategy: Strategy = "auto",
    delete_extraneous: bool | None = None,
    rules: Rules | None = None,
    segment: Segment | None = None,
    sample: Sample | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
    journal: Journal | None = None,
    job: Job | None = None,
) -> Report:
    """Compare the replica with the primary and repair what is confirmed to differ.

    Every write is conditional on what was read, and verified against the primary afterwards. Deletions
    wait until both walks are complete. Each record reaches the observer once, in its final state.

    Args:
        primary: what is right; it is only read.
        replica: what is repaired.
        limits: how hard the run may push.
        comparison: when two items count as the same.
        strategy: how both sides are walked; by default what takes fewer units.
        delete_extraneous: shorthand for ``rules=Rules(delete_extraneous=…)``; true if neither is given.
        rules: what the repair may do.
        segment: repair only this segment, of both sides.
        sample: repair only a random share of the tables.
        observer: is told how the run goes.
        clock: where time comes from.
        job: keeps how far the run is, so that another process can go on with it.
        journal: where every write is noted before it is sent, so that ``undo`` can take it back.

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
    if job is not None and journal is not None:
        await job.read_journal(journal.place, journal.access)
    resumed = await resumed_from(job)
    run = Run.of(
        primary,
        replica,
        limits=limits,
        comparison=comparison,
        strategy=strategy,
        segments=[segment] if segment else None,
        sample=sample,
        observer=observer,
        clock=clock,
        resumed=resumed,
    )
    run.journal = journal
    run.start(notes)
    async with whole_run(run), saved(run, job):
        spool = run.track.spool("aside")
        await Findings(run, rules, spool).mend()
        if spool.length and rules.delete_extraneous:
            await Deletions(run, rules, spool).carry_out()
    return run.report


def _rules(rules: Rules | None, delete_extraneous: bool | None) -> Rules:
    if rules is None:
        return Rules(delete_extraneous=delete_extraneous is not False)
    if delete_extraneous is not None:
        raise UsageError("Give delete_extraneous or rules, not both.")
    return rules
