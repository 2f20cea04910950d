"""Compares a backup with a table, or with another backup: ``diff_backup``. Nothing is written.

The backup is the primary: it is what a restore would bring the table to. *Missing* is what it has and the table has
not, *extraneous* what only the table has.

What confirmation means here:
    a backup against a table    the backup is what it is. What looks different is read strongly from the table, once:
                                whatever that says is true of both at that moment, and nothing can be in flight.
    two backups                 neither changes, and what the join has met is the answer. An item counts as expired
                                if it was by the time that the one tells of which lacks it; one that both have, if
                                it was in both by then.
    a folder against its table  an incremental folder goes on following the table, a little later. So the table leads:
                                it is read, the folder gets its time to settle and is read, and the table again.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard, cast

from asyncrep.backup.file_lines import FileBackup
from asyncrep.backup.folder_reading import FolderBackup
from asyncrep.backup.hash_join import HashJoin
from asyncrep.backup.item_folder import folder_of_table
from asyncrep.backup.key_finding import described_schema
from asyncrep.backup.spill import OVERHEAD, Spill, sensible_partitions, spill_folder
from asyncrep.backup.spilled import SpilledSource, expected_items, expected_weight
from asyncrep.diff.pipeline import concluded, whole_run
from asyncrep.diff.run import HASH_JOIN, Run, sensible_segments
from asyncrep.errors import BackupError, IncompleteRunError, StorageError, UsageError
from asyncrep.model import TableSettings
from asyncrep.options import Limits
from asyncrep.progress import Note

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.backup.reading import Backup
    from asyncrep.flow.clock import Clock
    from asyncrep.model import KeySchema, Side, Source
    from asyncrep.options import Comparison
    from asyncrep.progress import Observer
    from asyncrep.report import Report


async def diff_backup(
    primary: Backup,
    replica: Backup | Source,
    *,
    schema: KeySchema | None = None,
    limits: Limits | None = None,
    comparison: Comparison | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
) -> Report:
    """Compare a backup with a table, or with another backup, to the end; the observer is told each discrepancy.

    Args:
        primary: the backup.
        replica: an open table, or another backup.
        schema: the key of their items. A table knows its own; of two backups ``key_finding`` may find it.
        limits: how hard the run may push.
        comparison: when two items count as the same.
        observer: is told how the run goes.
        clock: where time comes from.

    Raises:
        UsageError: they cannot be compared.
        BackupError: a backup is damaged, or no backup of such a table.
        IncompleteRunError: a read failed for good; the cause is chained.
    """
    backups = [side for side in (primary, replica) if _is_backup(side)]
    table = None if _is_backup(replica) else cast("Source", replica)
    schema = schema if table is None else table.settings.schema
    if schema is None:
        raise UsageError(f"Nothing tells what the key of the items in {primary.label} is.")
    for backup in backups:
        _check(backup, schema)
        if table is not None and isinstance(backup, FolderBackup):
            backup.order_by(schema)
    live = _live(primary, table)
    with spill_folder() as folder:
        spills = _spills(folder, backups, table)
        spilled = [
            SpilledSource(backup, _settings(backup, schema, table), spill, live)
            for backup, spill in zip(backups, spills.values(), strict=False)
        ]
        run = Run.of(
            spilled[0],
            table or spilled[1],
            limits=_with_segments(limits or Limits(), table),
            comparison=comparison,
            strategy=HASH_JOIN,
            observer=observer,
            clock=clock,
        )
        if live is None:
            run.fixed = frozenset({"primary"} if table is not None else {"primary", "replica"})
        else:
            run.leads = "replica"
        if table is None:
            run.report.segments = 0
            run.as_of = {side: backup.as_of for side, backup in zip(spills, backups, strict=True)}
        told = [note for backup in backups for note in backup.notes]
        run.start(told)
        is_told = table is not None or any(backup.description is not None for backup in backups)
        await _check_whole(run, HashJoin(spills), schema, is_told=is_told)
        _tell_late_notes(run, backups, told)
    return run.report


async def _check_whole(run: Run[Source], join: HashJoin, schema: KeySchema, *, is_told: bool) -> None:
    """Take the walks of a run to their end; ``is_told`` where a table or a backup itself tells the key.

    Raises:
        BackupError: a backup is damaged: there is no report of that, for nothing was compared.
        IncompleteRunError: a read failed for good, or some objects of a folder hold no item.
    """
    try:
        async with whole_run(run), aclosing(concluded(run, join.walks)) as found:
            async for _ in found:
                pass  # the observer was told
            _check_readable(run.primary, run.replica)
            _check_repeated(run, schema, is_told=is_told)
    except IncompleteRunError as error:
        if isinstance(error.__cause__, BackupError):
            raise error.__cause__ from None
        raise


def _check_readable(*sides: Source) -> None:
    for side in sides:
        if isinstance(side, SpilledSource) and side.unreadable:
            count = "One object" if side.unreadable == 1 else f"{side.unreadable:,} objects"
            which = "it is" if side.unreadable == 1 else "the first is"
            raise StorageError(
                f"{count} of {side.label} could not be compared, {which} {side.first_unreadable}"
            )


def _check_repeated(run: Run[Source], schema: KeySchema, *, is_told: bool) -> None:
    """Tell of lines that have the key of another one: only one of them was compared.

    Raises:
        BackupError: they show that the key that somebody has named is not the whole key.
    """
    for side in (run.primary, run.replica):
        if not isinstance(side, SpilledSource) or not side.repeated:
            continue
        count = "One line" if side.repeated == 1 else f"{side.repeated:,} lines"
        if not is_told:
            have = "has" if side.repeated == 1 else "have"
            raise BackupError(
                f"{count} of {side.label} {have} the key of another one, and something else in it: {schema} is not "
                "the whole key of these items."
            )
        counts = "counts" if side.repeated == 1 else "count"
        run.observer.notice(
            Note(f"{count} of {side.label} {counts} for nothing: others of the same keys say something else.")
        )


def _live(backup: Backup, table: Source | None) -> Source | None:
    """Return what reads a folder as it is now, if it can go on following the table; None for what is fixed."""
    if table is None or not isinstance(backup, FolderBackup) or backup.storage is None:
        return None
    return folder_of_table(backup.storage, table)


def _is_backup(side: Backup | Source) -> TypeGuard[Backup]:
    return hasattr(side, "chunks")


def _check(backup: Backup, schema: KeySchema) -> None:
    described = described_schema(backup.description)
    if described is not None and described != schema:
        raise UsageError(
            f"{backup.label} is of a table with the key {described}: it cannot be compared by the key {schema}."
        )
    if isinstance(backup, FileBackup) and backup.only_changes:
        raise UsageError(
            f"{backup.label} holds only changes: name the full export that they continue, or the place of all exports."
        )


def _settings(backup: Backup, schema: KeySchema, table: Source | None) -> TableSettings:
    """Return a backup's settings. What it does not tell of its table is as the table has it that it is held against.

    So an item that TTL has deleted from the table since then counts as expired, and not as missing.
    """
    described = backup.description
    ttl = described.ttl_attribute if described is not None else None
    known = TableSettings(
        name=backup.label,
        arn="" if described is None else described.arn,
        table_id=None,
        schema=schema,
        item_count=0,
        size_bytes=0,
        indexes=frozenset(),
        ttl_attribute=None,
        stream_view=None,
    )
    if table is not None:
        known = replace(table.settings, name=backup.label, table_id=None)
    return replace(
        known,
        item_count=expected_items(backup) or 0,
        size_bytes=0,
        ttl_attribute=ttl or known.ttl_attribute,
        ttl_known=True,
    )


def _with_segments(limits: Limits, table: Source | None) -> Limits:
    """Return limits with the number of segments in which the table is scanned."""
    if table is None:
        return replace(limits, segments=1)
    return replace(limits, segments=limits.segments or sensible_segments(table.settings))


def _spills(folder: Path, backups: list[Backup], table: Source | None) -> dict[Side, Spill]:
    weights = [expected_weight(backup) for backup in backups]
    if table is not None:
        weights.append(table.settings.size_bytes + table.settings.item_count * OVERHEAD)
    partitions = sensible_partitions(max(weights))
    return {side: Spill(folder / side, partitions) for side in ("primary", "replica")}


def _tell_late_notes(run: Run[Source], backups: list[Backup], told: list[str]) -> None:
    """Tell what is known of a backup only since it was read."""
    for backup in backups:
        for note in backup.notes:
            if note not in told:
                run.observer.notice(Note(note))
