"""``restore``: write a backup into a table."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from asyncrep.cli.backup_check import BackupCheck, BackupPlace
from asyncrep.cli.common_options import JobPlace
from asyncrep.cli.limits import LimitOptions
from asyncrep.cli.moments import AtOption, read_moment
from asyncrep.cli.options import OutputOptions, SummaryOptions, spread_options
from asyncrep.cli.output import check_apart
from asyncrep.cli.runtime import AGREE, FAILED, Interrupted, complain, exit_codes
from asyncrep.cli.shown_run import say_how_to_go_on, shown_run
from asyncrep.cli.storage_options import S3Options
from asyncrep.cli.table_options import TableOptions
from asyncrep.errors import IncompleteBackupError, TableNotFoundError, UsageError
from asyncrep.jobs.place import job_place
from asyncrep.location import S3Place, parse_storage
from asyncrep.options import Comparison
from asyncrep.progress import BackupStarted, Event, Note

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.aws.place import Place
    from asyncrep.aws.table import Table
    from asyncrep.backup.reading import Backup
    from asyncrep.backup.report import Refused, RestoreReport
    from asyncrep.backup.restore import Mode
    from asyncrep.cli.moments import Moment
    from asyncrep.cli.output import Result
    from asyncrep.jobs.job import Job
    from asyncrep.model import Discrepancy
    from asyncrep.options import Limits
    from asyncrep.progress import Observer

HELP = """
Write all items of a backup, SOURCE, into TABLE, at the full speed of batches or as fast as you allow.

SOURCE is a dump, a snapshot, an incremental folder, an export of AWS (with those that follow it, in order), or - for
JSON lines on standard input; dumps and folders of dynamodb-replicator, too. With --at an incremental folder in a bucket that
keeps versions is restored as it was recorded at that moment. A place that holds more than one backup is no SOURCE: name
the one that is meant. Dumps, snapshots and exports are read to their end before anything is written, so that nothing
damaged is restored in part; a folder is read object by object, and what is no item is told.

The table must be empty; --create makes it, as the dump describes it: key, indexes, billing, stream, TTL. Into a table
that has data: --dry-run shows how it differs, --overwrite writes over items of the same keys and leaves all others,
--only-missing writes what is not there. An item that DynamoDB refuses is named with its file and line; all others go in.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep restore s3://my-bucket/dumps/orders/20260102T030405Z-1a2b3c us-east-1/orders

  asyncrep restore s3://my-bucket/dumps/orders/20260102T030405Z-1a2b3c us-east-1/orders-2 --create

  asyncrep restore s3://my-bucket/incremental us-east-1/orders --at 2026-01-02T03:04:05Z --dry-run

  asyncrep restore s3://my-bucket/exports us-east-1/orders --write-percent 50 --job orders-back

  zcat dump/0 dump/1 | asyncrep restore - us-east-1/orders --only-missing

[bold]Exit codes[/bold]

    0  everything was restored; with --dry-run: nothing differs

    1  with --dry-run: something differs

    2  wrong usage, a damaged backup, or a table that is not empty; nothing was written

    3  the restore failed or is incomplete, or items were refused

  130  interrupted
"""

_RESTORING = "Restoring"
_STDOUT = Path("-")
_STDIN = "-"


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What may be written, and what is kept of the run."""

    create: Annotated[
        bool,
        typer.Option(
            "--create", help="Make the table, as the backup describes it.", rich_help_panel=_RESTORING
        ),
    ] = False
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Write over items of the same keys; others stay.", rich_help_panel=_RESTORING
        ),
    ] = False
    only_missing: Annotated[
        bool,
        typer.Option(
            "--only-missing",
            help="Write only what the table has no item for; nothing there changes.",
            rich_help_panel=_RESTORING,
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Write nothing, tell how backup and table differ, like diff-backup.",
            rich_help_panel=_RESTORING,
        ),
    ] = False
    no_check: Annotated[
        bool,
        typer.Option(
            "--no-check",
            help="Do not read the backup to its end before anything is written.",
            rich_help_panel=_RESTORING,
        ),
    ] = False
    force_global_table: Annotated[
        bool,
        typer.Option(
            "--force-global-table",
            help="Write even to a member of a global table.",
            rich_help_panel=_RESTORING,
        ),
    ] = False
    job: JobPlace = None
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|-",
            help="Items that could not be written, as JSON lines; with --dry-run discrepancies.",
            rich_help_panel="Output",
        ),
    ] = None

    @property
    def mode(self) -> Mode:
        """What may be written where."""
        if self.overwrite:
            return "overwrite"
        return "only-missing" if self.only_missing else "empty"

    def check(self, source: str, telling: SummaryOptions) -> None:
        """Refuse options that contradict each other, or would have no effect.

        Raises:
            UsageError: with the options that do not go together.
        """
        manners = {
            "--create": self.create,
            "--overwrite": self.overwrite,
            "--only-missing": self.only_missing,
            "--dry-run": self.dry_run,
        }
        given = [option for option, is_given in manners.items() if is_given]
        if len(given) > 1:
            raise UsageError(f"{given[0]} and {given[1]} do not go together.")
        if self.dry_run and self.job is not None:
            raise UsageError("--job has no effect with --dry-run, which writes nothing.")
        if self.dry_run and self.no_check:
            raise UsageError("--no-check has no effect with --dry-run, which writes nothing.")
        if source == _STDIN and self.job is not None:
            raise UsageError(
                "Standard input cannot be gone on with: --job needs a backup that can be read again."
            )
        if telling.json and self.output == _STDOUT:
            raise UsageError("Only one of --output - and --json can have stdout.")


@spread_options
def restore(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The backup: s3://…, a path, or - for standard input.", show_default=False
        ),
    ],
    table: Annotated[
        str,
        typer.Argument(metavar="TABLE", help="Where to: a table, as us-east-1/orders.", show_default=False),
    ],
    restoring: RestoreOptions,
    pace: LimitOptions,
    reaching: TableOptions,
    storing: S3Options,
    telling: SummaryOptions,
    at: AtOption = None,
) -> None:
    """Write a backup into a table."""
    with exit_codes(verbose=telling.verbose):
        restoring.check(source, telling)
        check_apart([source], [restoring.output])
        place = reaching.place(table)
        moment = None if at is None else read_moment(at)
        backup = BackupPlace(
            source, storing.access(place.profile, place.role_arn), None if moment is None else moment.seconds
        )
        if restoring.dry_run:
            raise typer.Exit(_show_difference(backup, place, moment, restoring, pace.limits(), telling))
        run = _Restore(backup, place, moment, restoring, pace.limits(), _identity(source, reaching, storing))
        raise typer.Exit(run.run(telling))


def _show_difference(
    backup: BackupPlace,
    place: Place,
    moment: Moment | None,
    restoring: RestoreOptions,
    limits: Limits,
    telling: SummaryOptions,
) -> int:
    """Tell what a restore would change, as ``diff-backup`` does."""
    check = BackupCheck(backup, place, limits, Comparison(), notes=moment.notes if moment is not None else ())
    shown = OutputOptions(
        output=restoring.output, json=telling.json, quiet=telling.quiet, verbose=telling.verbose
    )
    return check.run(shown)


def _identity(source: str, reaching: TableOptions, storing: S3Options) -> dict[str, Any]:
    """Return what makes a job this one, as far as it is about places."""
    where = None if source == _STDIN else parse_storage(source)
    return {
        "COMMAND": "restore",
        "SOURCE": str(where if isinstance(where, S3Place) or where is None else where.absolute()),
        "--endpoint-url": reaching.endpoint_url,
        "--s3-endpoint": storing.s3_endpoint,
        "--bucket-owner": storing.bucket_owner,
    }


class _Restore:
    """One run of ``restore``, with what it is to do."""

    def __init__(
        self,
        backup: BackupPlace,
        place: Place,
        moment: Moment | None,
        restoring: RestoreOptions,
        limits: Limits,
        identity: dict[str, Any],
    ) -> None:
        self._backup = backup
        self._place = place
        self._moment = moment
        self._restoring = restoring
        self._limits = limits
        output = restoring.output
        self._identity = identity | {
            "TABLE": str(place.ref),
            "--at": None if moment is None else moment.seconds,
            "--create": restoring.create,
            "--overwrite": restoring.overwrite,
            "--only-missing": restoring.only_missing,
            "--output": None if output is None else str(output if output == _STDOUT else output.absolute()),
        }
        self._job_place = job_place(restoring.job)
        self._job: Job | None = None
        self._report: RestoreReport | None = None

    def run(self, telling: SummaryOptions) -> int:
        """Run to the end, tell the results, and return the exit code.

        Raises:
            AsyncrepError: it could not begin, or ended early; what was done is told.
            Interrupted: a signal ended it; likewise.
        """
        try:
            shown_run(
                self._restore, self._hear, lambda ended: self._tell(telling, ended=ended), quiet=telling.quiet
            )
        except (IncompleteBackupError, Interrupted):
            say_how_to_go_on(self._job)
            raise
        assert self._report is not None
        if telling.quiet and self._report.failed:
            complain(f"{self._report.failed:,} of the items could not be written.")
        return AGREE if self._report.complete else FAILED

    async def _restore(self, observer: Observer) -> None:
        from asyncrep.backup.restore import restore as write  # noqa: PLC0415
        from asyncrep.backup.restore_progress import restored  # noqa: PLC0415
        from asyncrep.cli.output import opened  # noqa: PLC0415
        from asyncrep.cli.restore_view import refused_line  # noqa: PLC0415

        restoring, moment = self._restoring, self._moment
        async with AsyncExitStack() as stack:
            kept = await self._open_job(stack)
            line = cast("Callable[[Discrepancy], bytes]", refused_line)
            output = stack.enter_context(opened(restoring.output, line, kept))
            await self._begin_job(output, observer)
            for note in moment.notes if moment is not None else ():
                observer.notice(Note(note))
            backup = await stack.enter_async_context(self._backup.open(self._place.ref.table))
            created = restoring.create and restored(self._job) is None
            if created:
                await self._create(backup, observer)
            table = await self._open_table(stack, backup)
            await write(
                backup,
                table,
                mode=restoring.mode,
                check_first=not restoring.no_check and not created,
                force=restoring.force_global_table,
                created=restoring.create,
                at=None if moment is None else _spelled(moment.seconds),
                limits=self._limits,
                observer=observer,
                job=self._job,
                refused=cast("Callable[[Refused], None]", output),
            )

    async def _open_table(self, stack: AsyncExitStack, backup: Backup) -> Table:
        try:
            return await stack.enter_async_context(self._place.open())
        except TableNotFoundError as error:
            if backup.description is None:
                raise
            raise TableNotFoundError(f"{error} --create makes it, as the backup describes it.") from error

    async def _open_job(self, stack: AsyncExitStack) -> int | None:
        """Open the job, if there is to be one; return how much of the output belongs to it."""
        if self._job_place is None:
            return None
        from asyncrep.jobs.job import open_job  # noqa: PLC0415

        opening = open_job(self._job_place, self._identity, access=self._backup.access)
        self._job = await stack.enter_async_context(opening)
        return self._job.state.outputs.get("--output")

    async def _begin_job(self, output: Result, observer: Observer) -> None:
        if self._job is None:
            return
        self._job.outputs = {"--output": output}
        await self._job.begin()
        if self._job.note is not None:
            observer.notice(Note(self._job.note))

    async def _create(self, backup: Backup, observer: Observer) -> None:
        """Make the table; a job says so first, as whoever goes on with it has to know that the table may be its own."""
        from asyncrep.backup.creation import check_creatable, create_for  # noqa: PLC0415
        from asyncrep.backup.restore_progress import CREATING, creating_since  # noqa: PLC0415
        from asyncrep.flow.clock import SystemClock  # noqa: PLC0415

        since = creating_since(self._job)
        await check_creatable(
            backup,
            self._place,
            check_first=not self._restoring.no_check,
            may_exist=since is not None,
            observer=observer,
        )
        if self._job is not None and since is None:
            await self._job.save_work({CREATING: SystemClock().now()})
        try:
            notes = await create_for(backup, self._place, made_since=since)
        except UsageError:
            if self._job is not None:
                await self._job.forget()
            raise
        for note in notes:
            observer.notice(Note(note))

    def _hear(self, event: Event) -> None:
        if isinstance(event, BackupStarted):
            self._report = cast("RestoreReport", event.report)

    def _tell(self, telling: SummaryOptions, *, ended: bool) -> None:
        """Print the results: one JSON object for programs, or the summary for people."""
        if self._report is None:
            return
        if telling.json:
            from asyncrep.cli.output import print_json  # noqa: PLC0415

            print_json(self._report.as_dict())
        elif not telling.quiet:
            from asyncrep.cli.restore_view import show_restore  # noqa: PLC0415

            taken = self._restoring.output == _STDOUT
            show_restore(self._report, ended=ended, goes_on=self._job is not None, stdout_is_taken=taken)


def _spelled(seconds: float) -> str:
    from asyncrep.backup.point_in_time import moment  # noqa: PLC0415

    return moment(seconds)
