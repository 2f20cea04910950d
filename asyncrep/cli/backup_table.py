"""``backup-table``: dump a table to S3 or into a folder."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from asyncrep.backup.report import BackupFormat
from asyncrep.cli.backup_metrics import BackupMetric, run_and_publish
from asyncrep.cli.common_options import JobPlace
from asyncrep.cli.limits import ReadLimitOptions
from asyncrep.cli.options import SummaryOptions, spread_options
from asyncrep.cli.runtime import AGREE, Interrupted, exit_codes
from asyncrep.cli.shown_run import say_how_to_go_on, shown_run
from asyncrep.cli.storage_options import S3Options
from asyncrep.cli.table_options import TableOptions
from asyncrep.errors import IncompleteBackupError, UsageError
from asyncrep.jobs.place import job_place
from asyncrep.location import S3Place, parse_storage
from asyncrep.model import Segment
from asyncrep.progress import BackupStarted, Event, Note

if TYPE_CHECKING:
    from asyncrep.aws.place import Place
    from asyncrep.backup.report import BackupReport
    from asyncrep.jobs.job import Job
    from asyncrep.progress import Observer

HELP = """
Dump TABLE into PLACE: a folder JOBID with a file of gzipped JSON lines for each segment, and manifests.

The segments are scanned side by side. A file is there when it is whole, its manifest after it, and the manifest
of the dump, manifest.json, when all of them are. What a failed run has not finished is taken back. Items are
read as eventually consistent scans see them. With --job an interrupted run goes on, and whole segments are not
read again. Processes that each dump one segment, with [bold]--segment K --segments N[/bold], share a --jobid.

[bold]--format export[/bold] writes the layout of AWS's own exports, which import-table reads.
[bold]asyncrep restore[/bold] puts either back.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep backup-table us-east-1/orders s3://my-bucket/backups

  asyncrep backup-table us-east-1/orders /var/backups --job nightly

  asyncrep backup-table us-east-1/orders s3://my-bucket/backups --read-percent 25 --metric Backups

  asyncrep backup-table us-east-1/orders s3://my-bucket/backups --jobid 0123 --segment 0 --segments 4

  asyncrep backup-table us-east-1/orders s3://my-bucket/exports --format export

[bold]Exit codes[/bold]

    0  the dump, or its segment, is whole

    2  wrong usage; nothing was done

    3  the run failed or is incomplete

  130  interrupted
"""

_BACKUP = "Backup"
_NOWHERE = Path("-")


@dataclass(frozen=True, slots=True)
class DumpOptions:
    """What the dump is called, what is in it, and what is kept of its run."""

    jobid: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Name of the dump. [dim]Default: the time.[/dim]", rich_help_panel=_BACKUP
        ),
    ] = None
    format: Annotated[
        str,
        typer.Option(
            metavar="jsonl|export",
            help="JSON lines, or the layout of AWS's own exports.",
            rich_help_panel=_BACKUP,
        ),
    ] = "jsonl"
    segments: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Cut the table into N segments. [dim]Default: about 512 MB each.[/dim]",
            rich_help_panel=_BACKUP,
        ),
    ] = None
    segment: Annotated[
        int | None,
        typer.Option(metavar="K", help="Only segment K (from 0) of --segments N.", rich_help_panel=_BACKUP),
    ] = None
    job: JobPlace = None

    def one_segment(self) -> Segment | None:
        """Return the single segment that is meant, None for the whole table.

        Raises:
            UsageError: there is no such segment, or something is missing that goes with it.
        """
        if self.segment is None:
            return None
        if self.segments is None:
            raise UsageError(
                f"--segment {self.segment} needs --segments N: segment {self.segment} of how many?"
            )
        if self.jobid is None:
            raise UsageError("--segment needs --jobid: all segments of a dump share its name.")
        return Segment(self.segment, self.segments)

    def chosen_format(self) -> BackupFormat:
        """Return the format.

        Raises:
            UsageError: there is none of that name.
        """
        if self.format not in get_args(BackupFormat):
            raise UsageError(
                f'There is no format "{self.format}"; it is one of {", ".join(get_args(BackupFormat))}.'
            )
        return cast("BackupFormat", self.format)


@spread_options
def backup_table(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="The table, as us-east-1/orders.", show_default=False)
    ],
    place: Annotated[
        str,
        typer.Argument(metavar="PLACE", help="Where to: s3://BUCKET/PREFIX or a folder.", show_default=False),
    ],
    dumping: DumpOptions,
    pace: ReadLimitOptions,
    reaching: TableOptions,
    storing: S3Options,
    telling: SummaryOptions,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAMESPACE",
            help="Publish BackupSize and BackupRecordCount, or BackupErrors, in CloudWatch, in the table's Region.",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Dump a table."""
    with exit_codes(verbose=telling.verbose):
        backup = _Backup(table, place, dumping, pace, reaching, storing)
        publishing = None if metric is None else backup.metric(metric)
        raise typer.Exit(run_and_publish(lambda: backup.run(telling), lambda: backup.report, publishing))


class _Backup:
    """One run of ``backup-table``, with what it is to do.

    Attributes:
        report: the counts of the run, None before it has begun.
    """

    def __init__(
        self,
        table: str,
        place: str,
        dumping: DumpOptions,
        pace: ReadLimitOptions,
        reaching: TableOptions,
        storing: S3Options,
    ) -> None:
        self.report: BackupReport | None = None
        self._table = reaching.place(table)
        self._place = _checked_place(place)
        storing.check_used(self._place, job_place(dumping.job))
        self._segment = dumping.one_segment()
        self._format = dumping.chosen_format()
        self._limits = replace(pace.limits(), segments=dumping.segments)
        self._access = storing.access(self._table.profile, self._table.role_arn)
        self._dumping = dumping
        self._identity = _identity(self._table, self._place, dumping, reaching, storing)
        self._job_place = job_place(dumping.job)
        self._job: Job | None = None

    def metric(self, namespace: str) -> BackupMetric:
        """Return where to publish: in the table's Region, as whoever reads the table.

        Raises:
            UsageError: there can be no such namespace.
        """
        place = self._table
        return BackupMetric(namespace, place.ref.region, place.ref.table, place.profile, place.role_arn)

    def run(self, telling: SummaryOptions) -> int:
        """Run to the end, tell the results, and return the exit code.

        Raises:
            AsyncrepError: it could not begin, or has failed.
            Interrupted: a signal ended it; what was done is told.
        """
        try:
            shown_run(self._backup, self._hear, lambda _: self._tell(telling), quiet=telling.quiet)
        except (IncompleteBackupError, Interrupted):
            say_how_to_go_on(self._job)
            raise
        return AGREE

    def _hear(self, event: Event) -> None:
        if isinstance(event, BackupStarted):
            self.report = cast("BackupReport", event.report)

    async def _backup(self, observer: Observer) -> None:
        from asyncrep.backup.dump import backup_table as dump  # noqa: PLC0415
        from asyncrep.backup.places import open_storage  # noqa: PLC0415

        async with AsyncExitStack() as stack:
            if self._job_place is not None:
                from asyncrep.jobs.job import open_job  # noqa: PLC0415

                self._job = await stack.enter_async_context(
                    open_job(self._job_place, self._identity, access=self._access)
                )
                await self._job.begin()
                if self._job.note is not None:
                    observer.notice(Note(self._job.note))
            await dump(
                await stack.enter_async_context(self._table.open()),
                await stack.enter_async_context(open_storage(self._place, self._access)),
                job_id=self._dumping.jobid,
                format=self._format,
                limits=self._limits,
                segment=self._segment,
                kms_key=self._access.kms_key,
                observer=observer,
                job=self._job,
            )

    def _tell(self, telling: SummaryOptions) -> None:
        """Print the results: one JSON object for programs, or the summary for people."""
        if self.report is None:
            return
        if telling.json:
            from asyncrep.cli.output import print_json  # noqa: PLC0415

            print_json(self.report.as_dict())
        elif not telling.quiet:
            from asyncrep.cli.backup_view import show_backup  # noqa: PLC0415

            show_backup(self.report)


def _checked_place(text: str) -> Path | S3Place:
    place = parse_storage(text)
    if place == _NOWHERE:
        raise UsageError("A dump is a folder of files: it cannot be written to stdout.")
    return place if isinstance(place, S3Place) else place.absolute()


def _identity(
    table: Place, place: Path | S3Place, dumping: DumpOptions, reaching: TableOptions, storing: S3Options
) -> dict[str, Any]:
    """Return what makes the job this one. What only sets the pace may be another each time."""
    return {
        "COMMAND": "backup-table",
        "TABLE": str(table.ref),
        "PLACE": str(place),
        "--endpoint-url": reaching.endpoint_url,
        "--jobid": dumping.jobid,
        "--format": dumping.format,
        "--segments": dumping.segments,
        "--segment": dumping.segment,
        "--s3-endpoint": storing.s3_endpoint,
        "--kms-key": storing.kms_key,
        "--bucket-owner": storing.bucket_owner,
    }
