"""``diff-tables``: check a replica in full; repair it, or fill a new one."""

from __future__ import annotations

from typing import Annotated

import typer

from asyncrep.cli.check import Check, Keeping, Manner
from asyncrep.cli.common_options import JobPlace
from asyncrep.cli.metrics import Metric, MetricNamespace, run_and_publish
from asyncrep.cli.options import (
    CompareOptions,
    OutputOptions,
    PaceOptions,
    PlaceOptions,
    RepairOptions,
    spread_options,
)
from asyncrep.cli.places import find_pair
from asyncrep.cli.runtime import exit_codes
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import UsageError
from asyncrep.jobs.place import job_place

HELP = """
Check every record of REPLICA against PRIMARY; with [bold]--repair[/bold], bring the replica in line.

Both tables are scanned at once, segment by segment, and joined; what does not meet is looked up by key.
What looks different is confirmed by strongly consistent reads before it is called a discrepancy. Repairs
are conditional on what was read and verified afterwards; deletions wait until everything was seen. Without
--repair nothing is ever written. Every write of a repair is noted in a journal before it is sent:
[bold]asyncrep undo[/bold] takes it back. With --job an interrupted run goes on where it was.
[bold]asyncrep plan[/bold] tells beforehand what a check takes.

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

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --repair --output d.jsonl --job nightly

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --repair --journal s3://my-bucket/journals/orders

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --backfill --repair

  asyncrep diff-tables us-east-1/orders eu-west-1/orders --metric Replicas

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
    storing: S3Options,
    primary: Annotated[
        str | None, typer.Argument(metavar="PRIMARY", help="The table that is right.", show_default=False)
    ] = None,
    replica: Annotated[
        str | None, typer.Argument(metavar="REPLICA", help="The table that is checked.", show_default=False)
    ] = None,
    job: JobPlace = None,
    metric: MetricNamespace = None,
) -> None:
    """Check a replica in full, repair it, or fill a new one."""
    with exit_codes(verbose=telling.verbose):
        check_combination(repairing, telling, pace, comparing)
        if job is not None and pace.processes != "1":
            raise UsageError("A job is done by one process: --job and --processes do not go together.")
        storing.check_used(repairing.journal, job_place(job))
        pair = find_pair(primary, replica, places)
        published = Metric.of(metric, pair)
        check = Check(
            pair,
            pace.limits(),
            Manner(
                pace.chosen_strategy(), pace.number_of_processes(), pace.one_segment(), pace.chosen_sample()
            ),
            comparing.comparison(),
            repairing,
            Keeping(job_place(job), access=storing.access()),
        )
        raise typer.Exit(run_and_publish(check, telling, published))


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
        "--journal": repairing.journal is not None,
    }
    given = [option for option, is_given in options.items() if is_given]
    if given and not repairing.repair:
        raise UsageError(f"{given[0]} has an effect only together with --repair.")
    if repairing.dry_run and repairing.journal is not None:
        raise UsageError("--journal has no effect with --dry-run, which writes nothing.")
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
    if repairing.journal is not None:
        raise UsageError(
            "--backfill changes nothing that is there, so there is nothing to take back: "
            "--journal has no effect with it."
        )
    if comparing.ignore_attribute:
        raise UsageError("--backfill copies whole items: --ignore-attribute has no effect with it.")
