"""Fills an incremental folder, and brings it or single items of it up to date with the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.backup.item_folder import AT_ONCE, folder_of_table
from asyncrep.progress import Note, Silent
from asyncrep.repair.backfill import backfill
from asyncrep.repair.backfill_folder import until_settled
from asyncrep.repair.record import diff_record, replicate_record

if TYPE_CHECKING:
    from asyncrep.backup.item_folder import ItemFolder
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.job import Job
    from asyncrep.model import Discrepancy, Segment, Source
    from asyncrep.options import Comparison, Limits
    from asyncrep.progress import Observer
    from asyncrep.repair.record import RecordDiff
    from asyncrep.report import Report
    from asyncrep.storage import Storage


async def incremental_backfill(
    table: Source,
    storage: Storage,
    *,
    limits: Limits | None = None,
    comparison: Comparison | None = None,
    at_once: int = AT_ONCE,
    segment: Segment | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
    job: Job | None = None,
) -> Report:
    """Put an object for each item of a table into its incremental folder; a stream may be writing there as well.

    What is there and equal stays; what differs is brought to what strong reads say the table has now; see
    ``asyncrep.repair.backfill_folder``. What TTL has given up is not copied. Objects of items that the table has
    not are left alone, but for those that it lost while they were copied: ``diff-backup`` tells of them.

    Args:
        table: what is copied; it is only read.
        storage: the folder itself, PREFIX/TABLE.
        limits: how hard the run may push on the table.
        comparison: how long the stream gets to bring what it has; by default a moment where there is one.
        at_once: requests to the folder that may be under way at the same time.
        segment: copy only this segment.
        observer: is told how the run goes.
        clock: where time comes from.
        job: keeps how far the run is, so that another process can go on with it.

    Returns:
        The report: ``repaired`` objects were written, of which ``missing`` were put where there was none,
        ``different`` brought up to date and ``extraneous`` deleted; ``matched`` and ``settled`` were there.

    Raises:
        ServiceError, StorageError: the folder cannot be looked at. Nothing was written.
        IncompleteRunError: the run ended early; run it again to go on.
    """
    await storage.check()
    folder = folder_of_table(storage, table, at_once=at_once)
    report = await backfill(
        table,
        folder,
        limits=limits,
        comparison=comparison,
        segment=segment,
        observer=observer,
        clock=clock,
        job=job,
    )
    if (note := damage(folder)) is not None:
        (observer or Silent()).notice(Note(note))
    return report


def damage(folder: ItemFolder) -> str | None:
    """Say which objects that were read hold no item, None when all do."""
    if not folder.unreadable:
        return None
    (name, reason), *others = folder.unreadable.items()
    more = f" And {len(others):,} more." if others else ""
    return f"{folder.storage.name_of(name)} was no backup of an item: {reason}{more}"


async def diff_backup_record(
    table: Source,
    storage: Storage,
    key: bytes,
    *,
    comparison: Comparison | None = None,
    clock: Clock | None = None,
) -> tuple[RecordDiff, str | None]:
    """Compare one record of a table with its object; see ``asyncrep.repair.record.diff_record``.

    Returns:
        How they differ, and what is to be said of an object that holds no item; None when there is no such.

    Raises:
        ServiceError, StorageError: one of them could not be read.
    """
    await storage.check()
    folder = folder_of_table(storage, table)
    record = await diff_record(table, folder, key, comparison=comparison or until_settled(table), clock=clock)
    return record, damage(folder)


async def backup_record(
    table: Source,
    storage: Storage,
    key: bytes,
    *,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> Discrepancy | None:
    """Bring the object of one record to what the table has now: put it, or delete it if the table has no such record.

    The object is only put or deleted as it was read, and the table read once more afterwards; see
    ``asyncrep.repair.record.replicate_record``.

    Returns:
        The discrepancy in its final state; None when the object holds the record already, or neither is there.

    Raises:
        ServiceError, StorageError: one of them could not be read, or the object not be written at all.
    """
    await storage.check()
    folder = folder_of_table(storage, table)
    return await replicate_record(
        table, folder, key, comparison=until_settled(table), dry_run=dry_run, clock=clock
    )
