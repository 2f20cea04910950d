"""Runs ``diff-tables``: opens what it needs, starts the right coroutine, and tells what came of it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrep.cli.checking import Checking
from asyncrep.cli.shown_run import say_how_to_go_on
from asyncrep.progress import Note

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.cli.options import OutputOptions, RepairOptions
    from asyncrep.jobs.job import Job
    from asyncrep.location import S3Place
    from asyncrep.model import Segment
    from asyncrep.options import Comparison, Limits, S3Access, Sample, Strategy
    from asyncrep.progress import Observer
    from asyncrep.report import Report


@dataclass(frozen=True, slots=True)
class Manner:
    """How a run goes about it.

    Attributes:
        strategy: how both sides are walked.
        processes: over how many processes the segments are spread.
        segment: the only segment that is looked at, None for all.
        sample: a random share that is looked at, None for everything.
    """

    strategy: Strategy = "auto"
    processes: int = 1
    segment: Segment | None = None
    sample: Sample | None = None


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept of a run.

    Attributes:
        job: where the state of the job is kept, None when there is no job.
        noted: whether what a repair writes is noted in a journal; not when the tables live no longer
            than the run.
        access: how S3 is reached, if it is there.
    """

    job: Path | S3Place | None = None
    noted: bool = True
    access: S3Access | None = None


class Check(Checking):
    """One run of ``diff-tables``, with what it is to do and what the user is to be told."""

    def __init__(
        self,
        places: tuple[Place, Place],
        limits: Limits,
        manner: Manner,
        comparison: Comparison,
        repairing: RepairOptions,
        keeping: Keeping | None = None,
    ) -> None:
        super().__init__(comparison.ignore)
        self._places = places
        self._limits = limits
        self._manner = manner
        self._comparison = comparison
        self._repairing = repairing
        self._keeping = keeping or Keeping()
        self._job: Job | None = None

    async def _check(self, telling: OutputOptions, bars: Observer) -> None:
        async with AsyncExitStack() as stack:
            if self._keeping.job is not None:
                from asyncrep.jobs.job import open_job  # noqa: PLC0415

                opening = open_job(self._keeping.job, self._identity(telling), access=self._keeping.access)
                job = await stack.enter_async_context(opening)
                self._job = job
            kept = self._job.state.outputs if self._job is not None else {}
            results = self._open_results(stack, telling, kept)
            if self._job is not None:
                self._job.outputs = dict(results)
                await self._job.begin()
                if self._job.note is not None:
                    bars.notice(Note(self._job.note))
            await self._work(self._listener(results, bars))

    def _identity(self, telling: OutputOptions) -> dict[str, Any]:
        """Return what makes the job this one. What only sets the pace may be another each time."""
        manner, repairing = self._manner, self._repairing
        primary, replica = (f"{place.ref} {place.ref.endpoint_url or ''}".strip() for place in self._places)
        files = {"--output": telling.output, "--combined": telling.combined}
        return {
            "PRIMARY": primary,
            "REPLICA": replica,
            "--repair": repairing.repair,
            "--backfill": repairing.backfill,
            "--dry-run": repairing.dry_run,
            "--no-delete": repairing.no_delete,
            "--max-delete": repairing.max_delete,
            "--journal": _spelled_out(repairing.journal),
            "--segments": self._limits.segments,
            "--segment": manner.segment.index if manner.segment else None,
            "--strategy": manner.strategy,
            "--sample": manner.sample.share if manner.sample else None,
            "--ignore-attribute": sorted(self._comparison.ignore),
            "--settle": self._comparison.settle,
            **{option: _spelled_out(path) for option, path in files.items()},
        }

    def _say_how_to_go_on(self) -> None:
        say_how_to_go_on(self._job)

    async def _work(self, observer: Observer) -> None:
        if self._manner.processes > 1:
            await self._spread(observer)
            return
        ours, theirs = self._places
        async with ours.open() as primary, theirs.open() as replica:
            if self._repairing.backfill:
                await self._backfill(primary, replica, observer)
            elif self._repairing.repair:
                await self._repair(primary, replica, observer)
            else:
                await self._diff(primary, replica, observer)

    async def _spread(self, observer: Observer) -> None:
        from asyncrep.parallel.lead import run_in_processes  # noqa: PLC0415

        repairing, segment = self._repairing, self._manner.segment
        await run_in_processes(
            "backfill" if repairing.backfill else "repair" if repairing.repair else "diff",
            *self._places,
            processes=self._manner.processes,
            limits=self._limits,
            comparison=self._comparison,
            strategy=self._manner.strategy,
            rules=repairing.rules(),
            segments=[segment] if segment else None,
            sample=self._manner.sample,
            observer=observer,
            journal=self._journal(),
            access=self._keeping.access,
        )

    def _journal(self) -> str | None:
        """Return where writes are noted, None when none is that changes or deletes something."""
        repairing = self._repairing
        if not repairing.repair or repairing.dry_run or repairing.backfill or not self._keeping.noted:
            return None
        from asyncrep.cli.journals import chosen_journal  # noqa: PLC0415

        if self._job is None or repairing.journal is not None:
            return chosen_journal(repairing.journal, self._places[1].ref.table)
        return self._job.journal

    async def _diff(self, primary: Table, replica: Table, observer: Observer) -> None:
        from asyncrep.diff.pipeline import check  # noqa: PLC0415

        await check(
            primary,
            replica,
            limits=self._limits,
            comparison=self._comparison,
            strategy=self._manner.strategy,
            segment=self._manner.segment,
            sample=self._manner.sample,
            observer=observer,
            job=self._job,
        )

    async def _repair(self, primary: Table, replica: Table, observer: Observer) -> None:
        from asyncrep.jobs.journal import open_journal_if  # noqa: PLC0415
        from asyncrep.repair.runner import repair  # noqa: PLC0415

        reached, access = self._places[1], self._keeping.access
        async with open_journal_if(self._journal(), primary, replica, reached, access) as journal:
            await repair(
                primary,
                replica,
                limits=self._limits,
                comparison=self._comparison,
                strategy=self._manner.strategy,
                rules=self._repairing.rules(),
                segment=self._manner.segment,
                sample=self._manner.sample,
                observer=observer,
                journal=journal,
                job=self._job,
            )

    async def _backfill(self, primary: Table, replica: Table, observer: Observer) -> None:
        from asyncrep.repair.backfill import backfill  # noqa: PLC0415

        rules = self._repairing.rules()
        await backfill(
            primary,
            replica,
            limits=self._limits,
            dry_run=rules.dry_run,
            force=rules.force,
            segment=self._manner.segment,
            observer=observer,
            job=self._job,
        )

    def _summarize(self, console: Console, report: Report) -> None:
        from asyncrep.cli.journals import where_noted  # noqa: PLC0415
        from asyncrep.cli.render import say, show_summary  # noqa: PLC0415

        show_summary(
            console,
            report,
            self._shown,
            self._comparison.ignore,
            repairing=self._repairing.repair and not self._repairing.dry_run,
            dry_run=self._repairing.dry_run,
        )
        if report.journal is not None:
            say(console, where_noted(report.journal, access=self._keeping.access), "dim")


def _spelled_out(place: Path | str | None) -> str | None:
    """Return a place so that it is the same one wherever the command is started."""
    from asyncrep.cli.output import STDOUT  # noqa: PLC0415
    from asyncrep.location import S3Place, parse_storage  # noqa: PLC0415

    if place is None or place == STDOUT:
        return None if place is None else str(place)
    where = parse_storage(str(place))
    return str(where) if isinstance(where, S3Place) else str(where.absolute())
