"""``diff-tables``: check a replica in full; repair it, or fill a new one."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from asyncrep.cli.options import (
    CompareOptions,
    OutputOptions,
    PaceOptions,
    PlaceOptions,
    RepairOptions,
    spread_options,
)
from asyncrep.cli.places import find_pair
from asyncrep.cli.runtime import Interrupted, complain, exit_code, exit_codes, run_async
from asyncrep.errors import IncompleteRunError, UsageError
from asyncrep.progress import Event, Found, RunStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.model import Discrepancy, Segment
    from asyncrep.options import Comparison, Limits, Sample, Strategy
    from asyncrep.progress import Observer
    from asyncrep.report import Report

HELP = """
Check every record of REPLICA against PRIMARY; with [bold]--repair[/bold], bring the replica in line.

Both tables are scanned at once, segment by segment, and joined; what does not meet is looked up by key.
What looks different is confirmed by strongly consistent reads before it is called a discrepancy. Repairs
are conditional on what was read and verified afterwards; deletions wait until everything was seen. Without
--repair nothing is ever written. [bold]asyncrep plan[/bold] tells beforehand what a check takes.

Tables are written as [bold]REGION/TABLE[/bold], an ARN, [bold]HOST:PORT/TABLE[/bold] or
http(s)://HOST:PORT/TABLE. Without arguments they come from ASYNCREP_PRIMARY and ASYNCREP_REPLICA or
from asyncrep.toml.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep diff-tables us-east-1/orders eu-west-1/orders

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --repair

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --output d.jsonl

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --read-percent 20 --max-cost 5

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --sample 0.01

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --processes auto

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --backfill --repair

  asyncrep diff-tables --segments 16 --repair   [dim](tables from asyncrep.toml)[/dim]

[bold]Exit codes[/bold]

    0  the tables agree, or everything was repaired and verified

    1  discrepancies remain

    2  wrong usage; nothing was done

    3  the run failed or is incomplete

  130  interrupted
"""


@spread_options
def diff_tables(
    places: PlaceOptions,
    pace: PaceOptions,
    comparing: CompareOptions,
    repairing: RepairOptions,
    telling: OutputOptions,
    primary: Annotated[
        str | None, typer.Argument(metavar="PRIMARY", help="The table that is right.", show_default=False)
    ] = None,
    replica: Annotated[
        str | None, typer.Argument(metavar="REPLICA", help="The table that is checked.", show_default=False)
    ] = None,
) -> None:
    """Check a replica in full, repair it, or fill a new one."""
    with exit_codes(verbose=telling.verbose):
        check_combination(repairing, telling, pace, comparing)
        check = Check(
            find_pair(primary, replica, places),
            pace.limits(),
            Manner(
                pace.chosen_strategy(), pace.number_of_processes(), pace.one_segment(), pace.chosen_sample()
            ),
            comparing.comparison(),
            repairing,
        )
        raise typer.Exit(check.run(telling))


def check_combination(
    repairing: RepairOptions, telling: OutputOptions, pace: PaceOptions, comparing: CompareOptions
) -> None:
    """Refuse options that would have no effect: whoever gives them expects one.

    Raises:
        UsageError: with the options that do not go together.
    """
    telling.check_files()
    options = {
        "--dry-run": repairing.dry_run,
        "--no-delete": repairing.no_delete,
        "--max-delete": repairing.max_delete is not None,
        "--force-global-table": repairing.force_global_table,
    }
    given = [option for option, is_given in options.items() if is_given]
    if given and not repairing.repair:
        raise UsageError(f"{given[0]} has an effect only together with --repair.")
    if repairing.backfill:
        _check_backfill(repairing, telling, pace, comparing)


def _check_backfill(
    repairing: RepairOptions, telling: OutputOptions, pace: PaceOptions, comparing: CompareOptions
) -> None:
    if telling.output or telling.combined:
        raise UsageError(
            "--backfill does not compare, so it has no discrepancies for --output or --combined."
        )
    if repairing.no_delete or repairing.max_delete is not None:
        raise UsageError("--backfill never deletes: --no-delete and --max-delete have no effect with it.")
    if pace.sample is not None or pace.strategy != "auto":
        raise UsageError(
            "--backfill copies everything in its own way: --sample and --strategy have no effect with it."
        )
    if comparing.ignore_attribute:
        raise UsageError("--backfill copies whole items: --ignore-attribute has no effect with it.")


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


class Check:
    """One run of ``diff-tables``, with what it is to do and what the user is to be told."""

    def __init__(
        self,
        places: tuple[Place, Place],
        limits: Limits,
        manner: Manner,
        comparison: Comparison,
        repairing: RepairOptions,
    ) -> None:
        self._places = places
        self._limits = limits
        self._manner = manner
        self._comparison = comparison
        self._repairing = repairing
        self._report: Report | None = None
        self._shown: list[Discrepancy] = []

    def run(self, telling: OutputOptions) -> int:
        """Run to the end, tell the results, and return the exit code.

        Raises:
            AsyncrepError: the run could not begin.
            Interrupted: a signal ended it; what was done is told.
        """
        from asyncrep.cli.output import combined_line, json_line, opened  # noqa: PLC0415

        try:
            with ExitStack() as stack:
                sinks = [
                    stack.enter_context(opened(telling.output, json_line)),
                    stack.enter_context(opened(telling.combined, combined_line)),
                ]
                self._run(sinks, quiet=telling.quiet)
        except IncompleteRunError as error:
            self._tell(telling, error.report)
            raise
        except Interrupted:
            if self._report is not None:
                self._tell(telling, self._report)
            raise
        assert self._report is not None
        self._tell(telling, self._report)
        return exit_code(self._report)

    def _run(self, sinks: list[Callable[[Discrepancy], None]], *, quiet: bool) -> None:
        from asyncrep.cli.bars import progress  # noqa: PLC0415
        from asyncrep.cli.render import message_console  # noqa: PLC0415

        with progress(message_console(), quiet=quiet) as bars:
            run_async(self._check(_Listener(self, sinks, bars)))

    async def _check(self, observer: Observer) -> None:
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
        )

    async def _diff(self, primary: Table, replica: Table, observer: Observer) -> None:
        from asyncrep.diff.pipeline import diff  # noqa: PLC0415

        async with diff(
            primary,
            replica,
            limits=self._limits,
            comparison=self._comparison,
            strategy=self._manner.strategy,
            segment=self._manner.segment,
            sample=self._manner.sample,
            observer=observer,
        ) as found:
            async for _ in found:
                pass  # the observer has been told

    async def _repair(self, primary: Table, replica: Table, observer: Observer) -> None:
        from asyncrep.repair.runner import repair  # noqa: PLC0415

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
        )

    def note(self, event: Event) -> None:
        """Keep what the results will be made of."""
        from asyncrep.cli.render import SHOWN  # noqa: PLC0415

        if isinstance(event, RunStarted):
            self._report = event.report
        elif isinstance(event, Found) and len(self._shown) < SHOWN:
            self._shown.append(event.discrepancy)

    def _tell(self, telling: OutputOptions, report: Report) -> None:
        """Print the results: one JSON object for programs, or the summary for people."""
        from asyncrep.cli.render import result_console, show_summary  # noqa: PLC0415

        if telling.json:
            sys.stdout.buffer.write(msgspec.json.encode(report.as_dict()) + b"\n")
            sys.stdout.flush()
        elif not telling.quiet:
            console = result_console(stdout_is_taken=telling.stdout_is_taken)
            writing = self._repairing.repair and not self._repairing.dry_run
            show_summary(
                console,
                report,
                self._shown,
                self._comparison.ignore,
                repairing=writing,
                dry_run=self._repairing.dry_run,
            )
        if telling.quiet and report.failed and report.complete:
            complain(f"{report.failed} of the discrepancies could not be repaired.")


class _Listener:
    """Hands the events of a run to everybody who wants them."""

    def __init__(self, check: Check, sinks: list[Callable[[Discrepancy], None]], bars: Observer) -> None:
        self._check = check
        self._sinks = sinks
        self._bars = bars

    def notice(self, event: Event) -> None:
        """Pass an event on; a discrepancy is also written to the results."""
        self._check.note(event)
        self._bars.notice(event)
        if isinstance(event, Found):
            for write in self._sinks:
                write(event.discrepancy)
