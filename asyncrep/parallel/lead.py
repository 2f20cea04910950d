"""A run in several processes, seen from the leading one: ``run_in_processes``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from asyncrep.cost.account import check_budget
from asyncrep.diff.pipeline import whole_run
from asyncrep.diff.run import Run, check_comparable, sensible_segments
from asyncrep.diff.spool import Spool
from asyncrep.errors import UsageError
from asyncrep.jobs.journal import open_journal_if
from asyncrep.parallel.messages import Brief
from asyncrep.parallel.pool import Pool, number_of_shares, split_limits
from asyncrep.progress import Note
from asyncrep.repair.deletions import Deletions
from asyncrep.repair.rules import Rules, check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.place import Place
    from asyncrep.model import Destination, Segment
    from asyncrep.options import Comparison, Limits, S3Access, Sample, Strategy
    from asyncrep.parallel.messages import Task
    from asyncrep.progress import Observer
    from asyncrep.report import Report


async def run_in_processes(
    task: Task,
    primary: Place,
    replica: Place,
    *,
    processes: int,
    limits: Limits,
    comparison: Comparison,
    strategy: Strategy = "auto",
    rules: Rules | None = None,
    segments: Sequence[Segment] | None = None,
    sample: Sample | None = None,
    observer: Observer | None = None,
    journal: str | None = None,
    access: S3Access | None = None,
) -> Report:
    """Run ``diff``, ``repair`` or ``backfill`` with the segments spread over worker processes.

    Limits are split evenly among the workers. Deletions are this process's, when all workers are done.
    When a worker dies, its segments are done again. Cancelling ends all workers; what a repair had
    under way is concluded first.

    Args:
        task: what is done.
        primary: what is right.
        replica: what is checked or written.
        processes: how many workers, one or more.
        limits: how hard the whole run may push.
        comparison: when two items count as the same.
        strategy: how both sides are walked.
        rules: what a repair may do.
        segments: only these.
        sample: only a random share of the tables.
        observer: is told how the run goes.
        journal: the place where every process notes what it writes, see ``open_journal``.
        access: how S3 is reached, if that is there.

    Raises:
        UsageError: the two cannot be compared or written, or there is nothing to spread.
        IncompleteRunError: the run ended early.
    """
    rules = rules or Rules()
    check_processes(processes, segments)
    async with (
        primary.open() as ours,
        replica.open() as theirs,
        open_journal_if(journal, ours, theirs, replica, access) as noted,
    ):
        check_comparable(ours, theirs)
        notes = [] if task == "diff" else await check_writable(ours, theirs, force=rules.force)
        if sample is None and limits.segments is None:
            limits = replace(limits, segments=processes * sensible_segments(ours.settings))
        run: Run[Destination] = Run.of(
            ours,
            theirs,
            limits=limits,
            comparison=comparison,
            strategy=strategy,
            segments=segments,
            sample=sample,
            observer=observer,
        )
        processes = min(processes, len(run.segments))
        if limits.max_cost is not None:
            check_budget(limits.max_cost / number_of_shares(run, processes), run.accounts)
        if task == "backfill":
            run.report.strategy = "backfill"
        run.journal = noted
        run.start(notes)
        async with whole_run(run):
            with Spool() as spool:
                in_bulk = task == "backfill" and await _is_empty(run)
                brief = Brief(
                    task,
                    primary,
                    replica,
                    split_limits(limits, processes),
                    comparison,
                    strategy,
                    rules,
                    in_bulk,
                    journal,
                    access,
                )
                try:
                    await Pool(run, brief, processes, spool).work()
                finally:
                    if noted is not None:
                        await noted.look()  # the workers may have begun it
                if spool.length and rules.delete_extraneous:
                    await Deletions(run, rules, spool).carry_out()
        return run.report


async def _is_empty(run: Run[Destination]) -> bool:
    empty = await run.replica.is_empty()
    if not empty:
        run.observer.notice(Note("The replica is not empty: what it has already is left alone."))
    return empty


def check_processes(processes: int, segments: Sequence[Segment] | None) -> None:
    """Refuse numbers of processes that make no sense.

    Raises:
        UsageError: with one sentence.
    """
    if processes < 1:
        raise UsageError(f"The number of processes must be one or more, not {processes}.")
    if processes > 1 and segments is not None and len(segments) == 1:
        raise UsageError("One segment cannot be spread over several processes.")
