"""``incremental-backfill``, ``incremental-diff-record``, ``incremental-backup-record``: a table and its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncrep.cli.common_options import JobPlace, OneSegment, Segments
from asyncrep.cli.folder_arguments import FolderArgument, TableArgument, find_folder
from asyncrep.cli.limits import PACE, ReadLimitOptions
from asyncrep.cli.one_record import KEY_FORMS
from asyncrep.cli.options import CompareOptions, MessageOptions, SummaryOptions, spread_options
from asyncrep.cli.runtime import (
    AGREE,
    DISCREPANCIES,
    FAILED,
    Interrupted,
    complain,
    exit_code,
    exit_codes,
    run_async,
)
from asyncrep.cli.shown_run import say_how_to_go_on, shown_run
from asyncrep.cli.storage_options import S3Options
from asyncrep.cli.table_options import TableOptions
from asyncrep.errors import IncompleteRunError, UsageError
from asyncrep.jobs.place import job_place
from asyncrep.location import parse_storage
from asyncrep.model import Segment, State
from asyncrep.progress import Event, Found, Note, RunStarted

if TYPE_CHECKING:
    from asyncrep.aws.place import Place
    from asyncrep.cli.folder_arguments import FolderPlace
    from asyncrep.jobs.job import Job
    from asyncrep.model import Discrepancy
    from asyncrep.options import Comparison, Limits
    from asyncrep.progress import Observer
    from asyncrep.repair.record import RecordDiff
    from asyncrep.report import Report

BACKFILL_HELP = """
Put an object for every item of TABLE into its incremental backup, S3URL/TABLE-NAME.

Start first what keeps the backup up to date: a Lambda function with asyncrep's backup handler, or
[bold]asyncrep replicate TABLE S3URL[/bold]. Both may be at work at the same time: an object is put only where there is
none, and one that is there and differs is replaced only as it was read, by what the table has now. Objects of items
that the table has not are left alone; [bold]asyncrep diff-backup[/bold] tells of them. What TTL has given up is not
copied. With --job an interrupted run goes on where it was.
"""
BACKFILL_EPILOG = """
[bold]Examples[/bold]

  asyncrep incremental-backfill us-east-1/orders s3://my-bucket/incr

  asyncrep incremental-backfill us-east-1/orders s3://my-bucket/incr --read-percent 20 --job fill-orders

  asyncrep incremental-backfill us-east-1/orders /var/backups

[bold]Exit codes[/bold]

    0  every item has its object

    1  some objects could not be brought up to date, as somebody else kept changing them

    2  wrong usage; nothing was written

    3  the run failed or is incomplete

  130  interrupted
"""
DIFF_HELP = f"""
Compare one record of TABLE with its object in the incremental backup S3URL/TABLE-NAME, attribute by attribute.
{KEY_FORMS}
"""
DIFF_EPILOG = """
[bold]Examples[/bold]

  asyncrep incremental-diff-record us-east-1/orders s3://my-bucket/incr '{"id":"abc","n":5}'
"""
RECORD_HELP = f"""
Bring the object of one record in the incremental backup S3URL/TABLE-NAME to what TABLE has now: put it, or delete it
if there is no such record.
{KEY_FORMS}
"""
RECORD_EPILOG = """
[bold]Examples[/bold]

  asyncrep incremental-backup-record us-east-1/orders s3://my-bucket/incr '{"id":"abc","n":5}'
"""

_KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The record's key.", show_default=False)]


@dataclass(frozen=True, slots=True)
class FillOptions:
    """How a folder is filled."""

    segments: Segments = None
    segment: OneSegment = None
    concurrency: Annotated[
        int, typer.Option(metavar="N", help="Objects under way at once.", rich_help_panel=PACE)
    ] = 256
    job: JobPlace = None

    def one_segment(self) -> Segment | None:
        """Return the single segment that is meant, None for the whole table.

        Raises:
            UsageError: there is no such segment, or --segments is missing.
        """
        if self.concurrency < 1:
            raise UsageError(f"--concurrency must be 1 or more, not {self.concurrency}.")
        if self.segment is None:
            return None
        if self.segments is None:
            raise UsageError(
                f"--segment {self.segment} needs --segments N: segment {self.segment} of how many?"
            )
        return Segment(self.segment, self.segments)


@spread_options
def incremental_backfill(
    table: TableArgument,
    folder: FolderArgument,
    filling: FillOptions,
    pace: ReadLimitOptions,
    tables: TableOptions,
    storing: S3Options,
    telling: SummaryOptions,
) -> None:
    """Fill an incremental folder."""
    with exit_codes(verbose=telling.verbose):
        place, where = find_folder(table, folder, tables, storing)
        identity = _identity(place, folder, filling, tables, storing)
        limits = replace(pace.limits(), segments=filling.segments)
        raise typer.Exit(_Backfill(place, where, filling, limits, identity).run(telling))


class _Backfill:
    """One run of ``incremental-backfill``, with what it is to do."""

    def __init__(
        self,
        table: Place,
        folder: FolderPlace,
        filling: FillOptions,
        limits: Limits,
        identity: dict[str, Any],
    ) -> None:
        self._table = table
        self._folder = folder
        self._filling = filling
        self._segment = filling.one_segment()
        self._limits = limits
        self._identity = identity
        self._job_place = job_place(filling.job)
        self._job: Job | None = None
        self._report: Report | None = None
        self._unwritten: list[Discrepancy] = []

    def run(self, telling: SummaryOptions) -> int:
        """Run to the end, tell the results, and return the exit code.

        Raises:
            AsyncrepError: the run could not begin, or has failed.
            Interrupted: a signal ended it; what was done is told.
        """
        try:
            shown_run(self._fill, self._hear, lambda _: self._tell(telling), quiet=telling.quiet)
        except (IncompleteRunError, Interrupted):
            say_how_to_go_on(self._job)
            raise
        assert self._report is not None
        return exit_code(self._report)

    async def _fill(self, observer: Observer) -> None:
        from contextlib import AsyncExitStack  # noqa: PLC0415

        from asyncrep.backup.incremental import incremental_backfill as fill  # noqa: PLC0415
        from asyncrep.jobs.job import open_job  # noqa: PLC0415

        async with AsyncExitStack() as stack:
            if self._job_place is not None:
                opening = open_job(self._job_place, self._identity, access=self._folder.access)
                job = await stack.enter_async_context(opening)
                self._job = job
                await job.begin()
                if job.note is not None:
                    observer.notice(Note(job.note))
            table = await stack.enter_async_context(self._table.open())
            storage = await stack.enter_async_context(self._folder.open())
            await fill(
                table,
                storage,
                limits=self._limits,
                at_once=self._filling.concurrency,
                segment=self._segment,
                observer=observer,
                job=self._job,
            )

    def _hear(self, event: Event) -> None:
        """Keep what the results will be made of."""
        from asyncrep.cli.render import SHOWN  # noqa: PLC0415

        match event:
            case RunStarted(report):
                self._report = report
            case Found(found) if found.state is not State.REPAIRED and len(self._unwritten) < SHOWN:
                self._unwritten.append(found)
            case _:
                pass

    def _tell(self, telling: SummaryOptions) -> None:
        if self._report is None:
            return
        if telling.json:
            from asyncrep.cli.output import print_json  # noqa: PLC0415

            print_json(self._report.as_dict())
        elif not telling.quiet:
            from asyncrep.cli.incremental_view import show_backfill  # noqa: PLC0415
            from asyncrep.cli.render import result_console  # noqa: PLC0415

            show_backfill(result_console(), self._report, self._unwritten)


def _identity(
    table: Place, folder: str, filling: FillOptions, tables: TableOptions, storing: S3Options
) -> dict[str, Any]:
    """Return what makes the job this one. What only sets the pace may be another each time."""
    place = parse_storage(folder)
    return {
        "COMMAND": "incremental-backfill",
        "TABLE": str(table.ref),
        "S3URL": str(place.absolute() if isinstance(place, Path) else place),
        "--endpoint-url": tables.endpoint_url,
        "--segments": filling.segments,
        "--segment": filling.segment,
        "--s3-endpoint": storing.s3_endpoint,
        "--kms-key": storing.kms_key,
        "--bucket-owner": storing.bucket_owner,
    }


# ── Single records ──────────────────────────────────────────────────────────────────────────────────


@spread_options
def incremental_diff_record(
    table: TableArgument,
    folder: FolderArgument,
    key: _KeyArgument,
    comparing: CompareOptions,
    tables: TableOptions,
    storing: S3Options,
    telling: MessageOptions,
) -> None:
    """Compare one record with its object."""
    with exit_codes(verbose=telling.verbose):
        place, where = find_folder(table, folder, tables, storing)
        record, damage = run_async(_compare(place, where, key, comparing.comparison()))
        if not telling.quiet:
            from asyncrep.cli.incremental_view import show_backup_record  # noqa: PLC0415
            from asyncrep.cli.render import result_console  # noqa: PLC0415

            show_backup_record(result_console(), record)
        if damage is not None:
            complain(damage)
        found = record.discrepancy
        agrees = found is None or (found.state is State.EXPIRED and damage is None)
        raise typer.Exit(AGREE if agrees else DISCREPANCIES)


async def _compare(
    place: Place, folder: FolderPlace, key: str, comparison: Comparison
) -> tuple[RecordDiff, str | None]:
    from asyncrep.backup.incremental import diff_backup_record  # noqa: PLC0415

    async with place.open() as table, folder.open() as storage:
        return await diff_backup_record(table, storage, table.keys.parse(key), comparison=comparison)


@spread_options
def incremental_backup_record(
    table: TableArgument,
    folder: FolderArgument,
    key: _KeyArgument,
    tables: TableOptions,
    storing: S3Options,
    telling: MessageOptions,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say what would be done.")
    ] = False,
) -> None:
    """Back up one record."""
    with exit_codes(verbose=telling.verbose):
        place, where = find_folder(table, folder, tables, storing)
        found, exists = run_async(_back_up(place, where, key, dry_run=dry_run))
        if found is not None and found.state is State.FAILED:
            complain(f"Error: The record could not be backed up: {found.reason}")
        elif not telling.quiet:
            from asyncrep.cli.incremental_view import done_to_record  # noqa: PLC0415
            from asyncrep.cli.render import result_console, say  # noqa: PLC0415

            say(result_console(), done_to_record(found, exists=exists))
        raise typer.Exit(_record_code(found))


async def _back_up(
    place: Place, folder: FolderPlace, text: str, *, dry_run: bool
) -> tuple[Discrepancy | None, bool]:
    """Return what became of the record, and whether the table has it."""
    from asyncrep.backup.incremental import backup_record  # noqa: PLC0415

    async with place.open() as table, folder.open() as storage:
        key = table.keys.parse(text)
        found = await backup_record(table, storage, key, dry_run=dry_run)
        return found, bool(await table.get([key], consistent=True))


def _record_code(found: Discrepancy | None) -> int:
    if found is None or found.state in {State.REPAIRED, State.EXPIRED}:
        return AGREE
    return FAILED if found.state is State.FAILED else DISCREPANCIES
