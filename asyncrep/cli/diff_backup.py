"""``diff-backup``: hold a backup against the live table, or against another backup."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.backup_check import BackupCheck, BackupPlace
from asyncrep.cli.limits import PACE, ReadLimitOptions
from asyncrep.cli.moments import AtOption, read_moment
from asyncrep.cli.options import CompareOptions, OutputOptions, spread_options
from asyncrep.cli.output import check_apart
from asyncrep.cli.runtime import exit_codes
from asyncrep.cli.storage_options import S3Options
from asyncrep.cli.table_options import TableOptions
from asyncrep.errors import LocationError, UsageError

if TYPE_CHECKING:
    from asyncrep.aws.place import Place
    from asyncrep.options import Limits

HELP = """
Check a backup, SOURCE, against a live table or against another backup. Nothing is written.

SOURCE is a dump, a snapshot, an incremental folder, an export of AWS, or - for JSON lines on standard input;
dumps and folders of dynamodb-replicator, too. The other is a table, or a backup. What comes out is what
[bold]diff-tables[/bold] tells of two tables, with the backup as the primary: missing is what only the backup has.

Both sides are read once, sorted by key on disk (in TMPDIR, compressed), and joined part by part, so memory stays
small. What looks different is read once more from the table, strongly consistent. An incremental folder follows its
table a little later: there the table is read, the folder gets the time of --settle, and both are read again. Two backups
take no read units at all.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep diff-backup s3://my-bucket/dumps/orders/20260102T030405Z-1a2b3c us-east-1/orders

  asyncrep diff-backup s3://my-bucket/incremental us-east-1/orders --settle 5

  asyncrep diff-backup s3://my-bucket/incremental us-east-1/orders --at 2026-01-02T03:04:05Z

  asyncrep diff-backup s3://my-bucket/exports us-east-1/orders --output d.jsonl --read-percent 20

  asyncrep diff-backup dump/0 s3://my-bucket/snapshots/orders.gz --key id

  zcat dump/0 dump/1 | asyncrep diff-backup - us-east-1/orders

[bold]Exit codes[/bold]

    0  both hold the same items

    1  discrepancies remain

    2  wrong usage, or a backup that is damaged or is none

    3  the run failed or is incomplete

  130  interrupted
"""

_STDIN = "-"
_SOURCES = "Backups"


@dataclass(frozen=True, slots=True)
class ReadOptions(ReadLimitOptions):
    """How hard to push: only reads are made."""

    segments: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Scan the table in N segments at once. [dim]Default: by its size.[/dim]",
            rich_help_panel=PACE,
        ),
    ] = None
    concurrency: Annotated[
        int,
        typer.Option(
            metavar="N", help="Requests under way at once, besides the scans.", rich_help_panel=PACE
        ),
    ] = 32

    def limits(self) -> Limits:
        """Return the limits.

        Raises:
            UsageError: one of them is zero or below, or a share above 100 percent.
        """
        return replace(ReadLimitOptions.limits(self), segments=self.segments, concurrency=self.concurrency)


@spread_options
def diff_backup(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The backup: s3://…, a path, or - for standard input.")
    ],
    other: Annotated[
        str,
        typer.Argument(metavar="TABLE-OR-SOURCE", help="A table, as us-east-1/orders, or another backup."),
    ],
    reading: ReadOptions,
    comparing: CompareOptions,
    tables: TableOptions,
    storing: S3Options,
    telling: OutputOptions,
    at: AtOption = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="HASH[,RANGE]",
            help="The key's attributes, for two backups that do not tell them.",
            rich_help_panel=_SOURCES,
        ),
    ] = None,
) -> None:
    """Hold a backup against the live table, or against another backup."""
    with exit_codes(verbose=telling.verbose):
        telling.check_files()
        _check_source(source, tables)
        moment = None if at is None else read_moment(at)
        access = storing.access(tables.profile, tables.role_arn)
        target = table_of(other, tables) or BackupPlace(other, access)
        storing.check_used(source, other if isinstance(target, BackupPlace) else None)
        check_apart(
            [source, *([other] if isinstance(target, BackupPlace) else [])],
            [telling.output, telling.combined],
        )
        if isinstance(target, BackupPlace):
            _check_two_backups(source, other, reading)
        elif key is not None:
            raise UsageError("--key has no effect with a table, which tells its key itself.")
        backup = BackupPlace(source, access, None if moment is None else moment.seconds)
        check = BackupCheck(
            backup,
            target,
            reading.limits(),
            comparing.comparison(),
            key=_key_names(key),
            notes=moment.notes if moment is not None else (),
        )
        raise typer.Exit(check.run(telling))


def table_of(text: str, tables: TableOptions) -> Place | None:
    """Return the table that is meant; None for a backup.

    What is written as a table is one, also where a folder has that name; that is written as ./us-east-1/orders.

    Raises:
        UsageError: it is neither.
    """
    if text == _STDIN or text.startswith(("/", "./", "../")) or text.lower().startswith(("s3:", "file:")):
        return None
    try:
        return tables.place(text)
    except LocationError as error:
        if _exists(text):
            return None
        raise UsageError(f"{error} There is no file or folder of that name, either.") from error


def _check_source(source: str, tables: TableOptions) -> None:
    """Refuse a table where a backup is meant.

    Raises:
        UsageError: with both orders.
    """
    if _exists(source):
        return
    try:
        table = table_of(source, tables)
    except UsageError:
        return  # whoever opens the backup says what is wrong
    if table is not None:
        raise UsageError(f"{source} is a table: the backup comes first, then what it is held against.")


def _exists(path: str) -> bool:
    with suppress(OSError, ValueError):  # no name that a file could have
        return Path(path).exists()
    return False


def _check_two_backups(source: str, other: str, reading: ReadOptions) -> None:
    """Refuse what cannot be, or would have no effect, where no table is read.

    Raises:
        UsageError: with one sentence.
    """
    if source == other == _STDIN:
        raise UsageError("Standard input can be only one of the two backups.")
    options = {
        "--segments": reading.segments,
        "--read-units": reading.read_units,
        "--read-percent": reading.read_percent,
        "--max-cost": reading.max_cost,
    }
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} has no effect between two backups: no table is read.")


def _key_names(key: str | None) -> list[str]:
    if key is None:
        return []
    from asyncrep.backup.key_finding import named_attributes  # noqa: PLC0415 - only where it is needed

    return named_attributes(key)
