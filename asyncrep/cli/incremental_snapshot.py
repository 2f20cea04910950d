"""``incremental-snapshot``: one file of an incremental folder, as it is or as it was at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from asyncrep.backup.report import BackupFormat
from asyncrep.cli.backup_metrics import BackupMetric, run_and_publish
from asyncrep.cli.metrics import published
from asyncrep.cli.moments import AtOption, read_moment
from asyncrep.cli.options import SummaryOptions, spread_options
from asyncrep.cli.runtime import AGREE, exit_codes
from asyncrep.cli.shown_run import shown_run
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import BackupError, UsageError
from asyncrep.location import S3Place, parse_storage
from asyncrep.progress import BackupStarted, Event, Note

if TYPE_CHECKING:
    from asyncrep.backup.folder_reading import FolderBackup
    from asyncrep.backup.report import BackupReport
    from asyncrep.cli.moments import Moment
    from asyncrep.options import S3Access
    from asyncrep.progress import Observer
    from asyncrep.storage import Storage

HELP = """
Make one file of FOLDER, the incremental backup of one table: gzipped JSON lines, an item a line, and a manifest
beside it. What is there under that name is replaced, once the new file is whole.

FOLDER is the table's own folder, PREFIX/TABLE; no other is read, also if its name begins in the same way. An object
in it that is no item makes the command fail: then nothing is written. With [bold]--at[/bold] it is the folder as S3
had recorded it at that moment, deletions included, which the bucket's versions tell. That is no snapshot of the
table: a change that was made before may have been recorded later. Versions that a lifecycle rule has removed are lost.

[bold]--format export[/bold] writes the layout of AWS's own exports under the place FILE, which import-table reads.
[bold]asyncrep restore[/bold] puts either back.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep incremental-snapshot s3://my-bucket/incr/orders s3://my-bucket/snapshots/orders

  asyncrep incremental-snapshot s3://my-bucket/incr/orders /var/backups/orders

  asyncrep incremental-snapshot s3://my-bucket/incr/orders before --at 2026-01-02T03:04:05Z

  asyncrep incremental-snapshot s3://my-bucket/incr/orders s3://my-bucket/exports --format export

  asyncrep incremental-snapshot s3://my-bucket/incr/orders orders.json.gz --metric us-east-1/Backups/orders

[bold]Exit codes[/bold]

    0  the snapshot is whole

    2  wrong usage, or there is no such folder; nothing was written

    3  the run failed, or there are objects that are no items; nothing was written

  130  interrupted
"""

_NOWHERE = Path("-")


@spread_options
def incremental_snapshot(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", help="The folder: s3://BUCKET/PREFIX/TABLE or a path.", show_default=False
        ),
    ],
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="The file: s3://BUCKET/PREFIX/NAME or a path.", show_default=False
        ),
    ],
    storing: S3Options,
    telling: SummaryOptions,
    at: AtOption = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="jsonl|export",
            help="JSON lines, or the layout of AWS's own exports.",
            rich_help_panel="Backups",
        ),
    ] = "jsonl",
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="REGION/NAMESPACE/TABLE",
            help="Publish BackupSize and BackupRecordCount, or BackupErrors, in CloudWatch, under the table's name.",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make one file of an incremental folder."""
    with exit_codes(verbose=telling.verbose):
        moment = None if at is None else read_moment(at)
        access = storing.access()
        run = _Snapshot(parse_storage(folder), _destination(file, format), access, moment)
        publishing = None if metric is None else metric_place(metric, access)
        try:
            code = run_and_publish(lambda: run.run(telling), lambda: run.report, publishing)
        except BackupError:
            if publishing is not None:  # a folder that is not there any more is what an alarm is for
                published(publishing.publish(None))
            raise
        raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where a snapshot is written to.

    Attributes:
        name: of the file in the place; empty for an export, which has names of its own.
    """

    place: Path | S3Place
    name: str
    format: BackupFormat


def _destination(text: str, format: str) -> _Destination:
    """Read where to write to.

    Raises:
        UsageError: it is no place for a file, or there is no such format.
    """
    if format not in get_args(BackupFormat):
        raise UsageError(f'There is no format "{format}"; it is one of {", ".join(get_args(BackupFormat))}.')
    place = parse_storage(text)
    if place == _NOWHERE:
        raise UsageError("A snapshot is a file with a manifest beside it: it cannot be written to stdout.")
    if isinstance(place, Path):
        place = place.absolute()
    if format == "export":
        return _Destination(place, "", "export")
    if isinstance(place, S3Place):
        prefix, _, name = place.prefix.rpartition("/")
        place = S3Place(place.bucket, prefix)
    else:
        place, name = _local_file(place, text)
    if text.endswith("/") or (isinstance(place, Path) and (place / name).is_dir()):
        raise UsageError(f"{text} is a folder: name a file in it.")
    from asyncrep.backup.snapshot import check_name  # noqa: PLC0415 - commands start without what they may not need

    check_name(name)
    return _Destination(place, name, "jsonl")


def _local_file(path: Path, text: str) -> tuple[Path, str]:
    """Return the folder and the name of a file; where a link leads, as that is what it stands for.

    Raises:
        UsageError: a device or a pipe is there, which a file would take the place of.
    """
    if path.is_symlink():
        path = path.resolve()
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UsageError(f"{text} is no file: a snapshot would take its place.")
    return path.parent, path.name


def metric_place(text: str, access: S3Access) -> BackupMetric:
    """Read where to publish: REGION/NAMESPACE/TABLE; a namespace may have slashes in it.

    Raises:
        UsageError: it is none, or there can be no such namespace.
    """
    region, _, rest = text.partition("/")
    namespace, _, table = rest.rpartition("/")
    if not (region and namespace and table):
        raise UsageError(f'"{text}" does not say where to publish: write REGION/NAMESPACE/TABLE.')
    return BackupMetric(namespace, region, table, access.profile, access.role_arn)


class _Snapshot:
    """One run of ``incremental-snapshot``, with what it is to do.

    Attributes:
        report: the counts of the run, None before it has begun.
    """

    def __init__(
        self,
        folder: Path | S3Place,
        destination: _Destination,
        access: S3Access,
        moment: Moment | None,
    ) -> None:
        self.report: BackupReport | None = None
        self._folder = folder.absolute() if isinstance(folder, Path) else folder
        self._destination = destination
        self._access = access
        self._moment = moment
        if self._is_within():
            raise UsageError(f"{folder} is what is read: the snapshot has to be written to another place.")

    def _is_within(self) -> bool:
        """Tell whether the destination would be an object of the folder, or in a folder within it."""
        place = self._destination.place
        if isinstance(place, S3Place) and isinstance(self._folder, S3Place):
            # The folder's own name is no name for its snapshot, either: nobody could tell the two apart.
            written = f"{place.under(self._destination.name).rstrip('/')}/"
            within = written.startswith(self._folder.under(""))
            return place.bucket == self._folder.bucket and within
        return (
            isinstance(place, Path) and isinstance(self._folder, Path) and place.is_relative_to(self._folder)
        )

    def run(self, telling: SummaryOptions) -> int:
        """Run to the end, tell the results, and return the exit code.

        Raises:
            AsyncrepError: it could not begin, or has failed.
            Interrupted: a signal ended it; what was done is told.
        """
        shown_run(self._make, self._hear, lambda _: self._tell(telling), quiet=telling.quiet)
        return AGREE

    def _hear(self, event: Event) -> None:
        if isinstance(event, BackupStarted):
            self.report = cast("BackupReport", event.report)

    async def _make(self, observer: Observer) -> None:
        from asyncrep.backup.places import open_storage  # noqa: PLC0415
        from asyncrep.backup.snapshot import snapshot  # noqa: PLC0415

        for note in self._moment.notes if self._moment is not None else ():
            observer.notice(Note(note))
        destination = self._destination
        async with (
            open_storage(self._folder, self._access) as source,
            open_storage(destination.place, self._access) as target,
        ):
            await snapshot(
                await self._open(source),
                target,
                destination.name,
                format=destination.format,
                kms_key=self._access.kms_key,
                observer=observer,
            )

    async def _open(self, source: Storage) -> FolderBackup:
        if self._moment is not None:
            from asyncrep.backup.point_in_time import open_folder_at  # noqa: PLC0415

            return await open_folder_at(source, self._moment.seconds)
        from asyncrep.backup.folder_reading import open_folder  # noqa: PLC0415

        return await open_folder(source)

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
