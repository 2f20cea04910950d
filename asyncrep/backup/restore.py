"""Restores a backup into a table."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

from asyncrep.backup.file_lines import FileBackup
from asyncrep.backup.folder_reading import FolderBackup
from asyncrep.backup.key_finding import described_schema
from asyncrep.backup.report import RestoreReport
from asyncrep.backup.restore_progress import Progress, Unit, kept, restored
from asyncrep.backup.restore_writing import Readable, RestoreWriter
from asyncrep.backup.soundness import FILES_AT_ONCE, check_backup
from asyncrep.cost.account import open_account
from asyncrep.cost.prices import load_prices
from asyncrep.errors import AsyncrepError, IncompleteBackupError, UsageError
from asyncrep.flow import stages
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.purse import Purse
from asyncrep.options import Limits
from asyncrep.progress import Advanced, BackupStarted, Note, PassEnded, PassStarted, Silent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncrep.aws.table import Table
    from asyncrep.backup.reading import Backup, BackupFile
    from asyncrep.backup.report import Refused
    from asyncrep.backup.restore_writing import Batch
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.job import Job
    from asyncrep.progress import Observer

Mode = Literal["empty", "overwrite", "only-missing"]
"""What may be written where: only into an empty table, over what is there, or only where nothing is."""

_REFUSED_KEPT = 100
"""Refused items that the report has; all of them are told to ``refused``."""


async def restore(
    backup: Backup,
    table: Table,
    *,
    mode: Mode = "empty",
    check_first: bool = True,
    force: bool = False,
    created: bool = False,
    at: str | None = None,
    limits: Limits | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
    job: Job | None = None,
    refused: Callable[[Refused], None] = lambda _: None,
) -> RestoreReport:
    """Write all items of a backup into a table, at full batch speed.

    What a later part of the backup deletes is deleted. An item that the service refuses is told, and the rest
    is written.

    Args:
        backup: what is restored.
        table: what is written to.
        mode: ``empty`` refuses a table that a strong read finds not empty. ``overwrite`` writes over what is
            there under the same keys, and leaves all else. ``only-missing`` writes where there is nothing; of
            what is there nothing is changed.
        check_first: read the whole backup before anything is written, so that nothing damaged is restored in
            part. Streams cannot be, and the objects of folders are looked at one by one.
        force: write even to a member of a global table.
        created: the table was made for this.
        at: the moment whose state the backup is, for the report.
        limits: how hard the run may push.
        observer: is told how the run goes.
        clock: where time comes from.
        job: keeps how far the run is, so that another process can go on with it.
        refused: is told each item that could not be written.

    Returns:
        The report; not ``complete`` when items were refused.

    Raises:
        UsageError: the table is not empty, or has another key; nothing was written.
        BackupError: the backup is damaged; nothing was written.
        IncompleteBackupError: the run ended early.
    """
    run = _Restore(
        backup, table, mode, limits or Limits(), observer or Silent(), clock or SystemClock(), refused
    )
    run.report.at, run.report.created = at, created
    notes = await _check_request(backup, table, mode, force=force)
    saved = restored(job)
    if saved is not None:
        run.progress.go_on(saved, run.report)
    run.begin(notes)
    async with run.whole():
        if saved is None:
            await run.check(check_first=check_first)
        run.has_begun = True
        async with kept(run.progress, run.report, job, run.observer, run.clock):
            await run.write()
    return run.report


async def _check_request(backup: Backup, table: Table, mode: Mode, *, force: bool) -> list[str]:
    """Refuse what cannot be restored as asked; return what should be known.

    Raises:
        UsageError: with one sentence.
        ServiceError: whether the table belongs to a global table could not be found out.
    """
    schema = described_schema(backup.description)
    if schema not in {None, table.settings.schema}:
        raise UsageError(
            f"{table.label} has the key {table.settings.schema}, and {backup.label} is of a table with the key "
            f"{schema}."
        )
    if isinstance(backup, FileBackup) and backup.only_changes and mode != "overwrite":
        raise UsageError(
            f"{backup.label} holds only what changed in some time: name the place of all exports instead, or "
            "apply it to the state before that with --overwrite."
        )
    if force:
        return []
    copies = bool(table.settings.replica_regions) or await table.copies_to(table)
    if copies:
        raise UsageError(
            f"{table.label} is a member of a global table: DynamoDB copies what is written to it to all others. If "
            "that is meant, force it (--force-global-table)."
        )
    if copies is None:
        return ["The credentials may not ask for global tables of version 2017.11.29; none is assumed."]
    return []


class _Restore:
    """One run of ``restore``.

    Attributes:
        report: the live one.
        has_begun: something may have been written.
    """

    def __init__(
        self,
        backup: Backup,
        table: Table,
        mode: Mode,
        limits: Limits,
        observer: Observer,
        clock: Clock,
        refused: Callable[[Refused], None],
    ) -> None:
        self.report = RestoreReport(backup.label, table.label, mode)
        self.observer = observer
        self.clock = clock
        self.has_begun = False
        self._backup = backup
        # Where only the last state of a key may be written, and not over what was written just before.
        has_later = table.settings.schema.range is not None if backup.kind == "folder" else backup.phases > 1
        self._folds = mode == "only-missing" and has_later
        if isinstance(backup, FolderBackup):
            backup.order_by(table.settings.schema)
        unit: Unit = "everything" if self._folds else "file" if backup.kind == "folder" else "line"
        self.progress = Progress(backup, unit=unit)
        self._limits = limits
        self._account = open_account(table.settings, load_prices(), Purse(limits.max_cost))
        self._table = table.limited(limits, self._account)
        self._refused = refused
        self._started = 0.0
        self._before = RestoreReport("", "")
        self._told: list[str] = []

    def begin(self, notes: list[str]) -> None:
        """Tell that the run begins, and what should be known of it."""
        self._before = self._copy_of_counts()
        self._started = self.clock.monotonic() - self.report.seconds
        self.observer.notice(BackupStarted(self.report))
        if self._limits.max_cost is not None and not self._account.write:
            notes = [
                *notes,
                "Requests to a provisioned table are not billed one by one: the budget does not count them.",
            ]
        self._told = list(self._backup.notes)
        for note in (*notes, *self._told):
            self.observer.notice(Note(note))

    def _copy_of_counts(self) -> RestoreReport:
        counted = RestoreReport("", "")
        for name in ("read_units", "write_units", "cost_usd", "throttled"):
            setattr(counted, name, getattr(self.report, name))
        return counted

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[None]:
        """Mark the report complete if the block ends well and nothing failed; carry it in the error otherwise.

        Raises:
            IncompleteBackupError: any AsyncrepError ended the block early.
        """
        try:
            yield
            self.report.complete = not self.report.failed
        except UsageError as error:
            if not self.has_begun:
                raise
            raise IncompleteBackupError(str(error), self.report) from error
        except AsyncrepError as error:
            raise IncompleteBackupError(str(error), self.report) from error
        finally:
            self._tally()

    async def check(self, *, check_first: bool) -> None:
        """Make sure that the table is as it must be, and the backup sound.

        Raises:
            UsageError: one of them is not.
        """
        if self.report.mode == "empty" and not await self._table.is_empty():
            raise UsageError(
                f"{self._table.label} is not empty: --overwrite writes over items of the same keys, --only-missing "
                "leaves them alone, and --dry-run shows how they differ."
            )
        if check_first and self._backup.kind not in {"stream", "folder"}:
            await check_backup(self._backup, self._table.keys, self.observer)

    async def write(self) -> None:
        """Write what is not written yet, one phase after the other."""
        self.observer.notice(PassStarted("restore", None if self._folds else self._backup.items))
        if self.report.items:
            self.observer.notice(Advanced("restore", self.report.items))
        if self._folds:
            from asyncrep.backup.spilled import fold  # noqa: PLC0415 - only where it is needed

            readable = Readable(self._backup, self._table.keys, self._refuse)
            async with fold(readable, self._table.keys) as folded:
                await self._write_phases(folded, keep=False)
        else:
            await self._write_phases(self._backup, keep=True)
        self.observer.notice(PassEnded("restore"))
        self._tell_late_notes()

    async def _write_phases(self, backup: Backup, *, keep: bool) -> None:
        writer = RestoreWriter(backup, self._table, only_missing=self.report.mode == "only-missing")
        for phase in range(backup.phases):
            files = [
                file
                for file in backup.files
                if file.phase == phase and not (keep and self.progress.is_whole(file))
            ]
            batches = stages.merged(files, partial(self._batches, writer, keep=keep), FILES_AT_ONCE)
            write = partial(self._write, writer, keep=keep)
            async with stages.mapped(batches, write, self._limits.concurrency).stream() as written:
                async for _ in written:
                    pass

    async def _batches(self, writer: RestoreWriter, file: BackupFile, *, keep: bool) -> AsyncIterator[Batch]:
        skip = lines = self.progress.lines(file) if keep else 0
        async with aclosing(writer.batches(file, skip)) as batches:
            async for batch in batches:
                lines = batch.end
                yield batch
        if keep:
            self.progress.read(file.name, lines)

    async def _write(self, writer: RestoreWriter, batch: Batch, *, keep: bool) -> None:
        done = await writer.write(batch)
        for each in done.refused:
            self._refuse(each)
        self.report.items += done.items
        self.report.bytes += done.bytes
        self.report.written += done.written
        self.report.deleted += done.deleted
        self.report.present += done.present
        if keep:
            self.progress.close(batch.file, batch.begin, batch.end, done)
        self._tally()
        self.observer.notice(Advanced("restore", done.items))

    def _refuse(self, refused: Refused) -> None:
        """Tell and count an item that is not in the table; in this order, as one that cannot be told is not done with."""
        self._refused(refused)
        self.report.failed += 1
        if len(self.report.refused) < _REFUSED_KEPT:
            self.report.refused.append(refused)

    def _tell_late_notes(self) -> None:
        """Tell what is known of the backup only since it was read."""
        for note in self._backup.notes:
            if note not in self._told:
                self.observer.notice(Note(note))

    def _tally(self) -> None:
        """Bring the units and the time in the report up to date."""
        report, before, meter = self.report, self._before, self._table.meter
        report.read_units = before.read_units + meter.read_units
        report.write_units = before.write_units + meter.write_units
        report.cost_usd = before.cost_usd + meter.dollars
        report.throttled = before.throttled + meter.throttled
        report.slowed_to = meter.slowed_to
        report.seconds = self.clock.monotonic() - self._started
