"""Walks both sides, confirms what looks different and streams it: ``diff``, and what repair builds on."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiostream import stream

from asyncrep.diff.batch_get import walk_primary, walk_replica
from asyncrep.diff.confirm import Candidate, Verdict, confirm
from asyncrep.diff.dual_scan import scan_both
from asyncrep.diff.owners import Owners
from asyncrep.diff.resume import in_groups, look_again, mended_unseen
from asyncrep.diff.run import Run, check_comparable
from asyncrep.diff.saving import resumed_from, saved
from asyncrep.errors import AsyncrepError, BudgetExhaustedError, IncompleteRunError
from asyncrep.flow import stages
from asyncrep.flow.stages import Gathering
from asyncrep.progress import PassEnded, PassStarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from aiostream.core import Stream

    from asyncrep.flow.clock import Clock
    from asyncrep.flow.memory import Reservation
    from asyncrep.jobs.job import Job
    from asyncrep.model import Discrepancy, Segment, Side, Source
    from asyncrep.options import Comparison, Limits, Sample, Strategy
    from asyncrep.progress import Observer
    from asyncrep.report import Report

_GROUP_KEYS = 100
_GROUP_BYTES = 256 * 1024
_LINGER_SECONDS = 1.0
_GROUPS_AT_ONCE = 64
"""Groups that may settle at the same time; ``Run.memory`` lets in fewer when items are large."""


class Walk(NamedTuple):
    """One pass over one side, or over both at once, and where its candidates come from."""

    sides: tuple[Side, ...]
    candidates: Callable[[Run[Any]], Stream[list[Candidate]]]


_WALKS: dict[str, tuple[Walk, ...]] = {
    "batch-get": (Walk(("primary",), walk_primary), Walk(("replica",), walk_replica)),
    "dual-scan": (Walk(("primary", "replica"), scan_both),),
}


def walks(run: Run[Any]) -> tuple[Walk, ...]:
    """Return the walks of a full check, in order, by the run's strategy."""
    return _WALKS[run.strategy]


class Judged(NamedTuple):
    """A confirmed group, and the memory it occupies until whoever is told of it is done with it."""

    verdicts: list[Verdict]
    memory: Reservation


class Discrepancies:
    """The discrepancies of a run that is under way, as an asynchronous iterator.

    Attributes:
        report: the live report; ``complete`` once the iterator is exhausted.
    """

    def __init__(self, report: Report, found: AsyncGenerator[Discrepancy, None]) -> None:
        self.report = report
        self._found = found

    def __aiter__(self) -> AsyncIterator[Discrepancy]:
        return self

    async def __anext__(self) -> Discrepancy:
        return await anext(self._found)


@asynccontextmanager
async def diff(
    primary: Source,
    replica: Source,
    *,
    limits: Limits | None = None,
    comparison: Comparison | None = None,
    strategy: Strategy = "auto",
    segment: Segment | None = None,
    sample: Sample | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Discrepancies]:
    """Compare two sources and stream the confirmed discrepancies; nothing is written.

    The stream also holds records in state ``in_flight`` and ``expired``, which are no drift: look at
    ``discrepancy.state``. A slow consumer slows the scans down; leaving the block ends them.

    Args:
        primary: what is right.
        replica: what is checked.
        limits: how hard the run may push.
        comparison: when two items count as the same.
        strategy: how both sides are walked; by default what takes fewer units.
        segment: check only this segment, of both sides.
        sample: check only a random share of the tables.
        observer: is told how the run goes.
        clock: where time comes from.

    Raises:
        UsageError: the two cannot be compared, or there is no such strategy.
        IncompleteRunError: while iterating, when a read failed for good; the cause is chained.

    Example:
        >>> async with diff(primary, replica, limits=Limits(segments=16)) as found:
        ...     async for discrepancy in found:
        ...         print(discrepancy.kind, discrepancy.key)
        ... print(found.report.matched)
    """
    check_comparable(primary, replica)
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
    )
    run.start()
    async with aclosing(_whole(run)) as found:
        yield Discrepancies(run.report, found)


async def check(
    primary: Source,
    replica: Source,
    *,
    limits: Limits | None = None,
    comparison: Comparison | None = None,
    strategy: Strategy = "auto",
    segment: Segment | None = None,
    sample: Sample | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
    job: Job | None = None,
) -> Report:
    """Compare two sources to the end; the observer is told each discrepancy. Nothing is written.

    Args:
        primary: what is right.
        replica: what is checked.
        limits: how hard the run may push.
        comparison: when two items count as the same.
        strategy: how both sides are walked; by default what takes fewer units.
        segment: check only this segment, of both sides.
        sample: check only a random share of the tables.
        observer: is told how the run goes.
        clock: where time comes from.
        job: keeps how far the run is, so that another process can go on with it.

    Raises:
        UsageError: the two cannot be compared, or there is no such strategy.
        IncompleteRunError: a read failed for good; the cause is chained.
    """
    check_comparable(primary, replica)
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
    run.start()
    async with whole_run(run), saved(run, job), aclosing(concluded(run)) as found:
        async for _ in found:
            pass  # the observer was told
    return run.report


async def _whole(run: Run[Any]) -> AsyncGenerator[Discrepancy, None]:
    async with whole_run(run), aclosing(concluded(run)) as found:
        async for discrepancy in found:
            yield discrepancy


async def concluded(run: Run[Any], taken: Sequence[Walk] | None = None) -> AsyncGenerator[Discrepancy, None]:
    """Take all walks of a run that writes nothing: conclude each discrepancy and yield it.

    ``taken`` are other walks than those of the run's strategy.
    """
    for walk in taken or walks(run):
        async with aclosing(confirmed(run, walk)) as batches:
            async for batch in batches:
                for found in batch:
                    run.conclude(found)
                    yield found


@asynccontextmanager
async def whole_run(run: Run[Any]) -> AsyncIterator[None]:
    """Mark the report complete if the block ends well; carry the report in the error if it does not.

    Raises:
        IncompleteRunError: any AsyncrepError ended the block early.
    """
    try:
        yield
        run.report.complete = True
    except BudgetExhaustedError as error:
        raise IncompleteRunError(f"{error} {_seen(run.report)}", run.report) from error
    except AsyncrepError as error:
        raise IncompleteRunError(str(error), run.report) from error
    finally:
        run.close()


def _seen(report: Report) -> str:
    if not report.scanned_primary and not report.scanned_replica:
        return f"{report.compared:,} records were judged."
    return f"{report.scanned_primary:,} items of the primary and {report.scanned_replica:,} of the replica were seen."


async def confirmed(run: Run[Any], walk: Walk) -> AsyncGenerator[list[Discrepancy], None]:
    """Take one walk and yield batches of confirmed discrepancies."""
    for side in walk.sides:
        start_pass(run, side)
    owners = Owners(run, walk)
    async with confirmations(run, _candidates(run, walk)).stream() as judged:
        async for verdicts, memory in judged:
            yield owners.told_by(verdicts)
            memory.release()
    if late := owners.late():
        yield late
    if "primary" in walk.sides and (mended := await mended_unseen(run)):
        yield mended
    for side in walk.sides:
        run.observer.notice(PassEnded(side))


def start_pass(run: Run[Any], side: Side) -> None:
    """Tell the observer that a walk over one side begins, and how far a run before this one had come."""
    settings = run.primary.settings if side == "primary" else run.replica.settings
    run.observer.notice(PassStarted(side, run.estimate(settings)))
    before = run.report.scanned_primary if side == "primary" else run.report.scanned_replica
    if before:
        run.advance(side, before)


def _candidates(run: Run[Any], walk: Walk) -> Stream[list[Candidate]]:
    """Return the candidates of a walk; what a run before this one left undecided comes first."""
    undecided = run.track.take_up(walk.sides)
    if not undecided:
        return walk.candidates(run)
    again = stages.mapped(
        stream.iterate(in_groups(undecided)), partial(look_again, run), run.limits.concurrency
    )
    return stream.chain(again, walk.candidates(run))


def _distinct(group: Sequence[Candidate]) -> list[Candidate]:
    """Drop what an engine delivered twice."""
    return list({(candidate.key, candidate.met_on): candidate for candidate in group}.values())


def confirmations(run: Run[Any], walk: Stream[list[Candidate]]) -> Stream[Judged]:
    """Gather candidates into groups and confirm these; whoever is done with one releases its memory."""

    async def judge(group: list[Candidate]) -> Judged:
        memory = await run.memory.reserve(len(group))
        verdicts = await confirm(run, _distinct(group))
        held = sum(verdict.size for verdict in verdicts)
        memory.becomes(held)
        run.memory.learn(held / len(group))
        return Judged(verdicts, memory)

    def weigh(candidate: Candidate) -> float:
        return max(candidate.size, run.memory.expected or 0.0)

    gathering = Gathering(_GROUP_KEYS, _GROUP_BYTES, weigh, _LINGER_SECONDS)
    return stages.mapped(stages.gathered(walk, gathering, run.clock), judge, _GROUPS_AT_ONCE)
