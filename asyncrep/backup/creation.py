"""Makes the table that a backup describes, to restore it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.aws.create import check_absent, create_table, table_exists, turn_on_ttl
from asyncrep.backup.key_finding import described_schema
from asyncrep.backup.soundness import check_backup
from asyncrep.errors import UsageError
from asyncrep.items.keys import KeyReader

if TYPE_CHECKING:
    from asyncrep.aws.place import Place
    from asyncrep.backup.layout import TableDescription
    from asyncrep.backup.reading import Backup
    from asyncrep.flow.clock import Clock
    from asyncrep.model import KeySchema
    from asyncrep.progress import Observer

_WHY: dict[str, str] = {
    "dump": "it has no manifest, in which asyncrep describes the table",
    "snapshot": "a snapshot holds items only",
    "folder": "an incremental folder holds items only",
    "export": "AWS's exports hold items only",
    "stream": "lines of items is all that comes",
}


async def check_creatable(
    backup: Backup,
    place: Place,
    *,
    check_first: bool = True,
    may_exist: bool = False,
    observer: Observer,
    clock: Clock | None = None,
) -> None:
    """Make sure that the table of a backup can be made.

    Args:
        backup: what describes it.
        place: where it is to be.
        check_first: read the whole backup, so that no table is made for a damaged one.
        may_exist: a process before this one may have made it.
        observer: is told how far that is.
        clock: where time comes from.

    Raises:
        UsageError: the backup describes no table, or there is one by that name.
        BackupError: the backup is damaged.
        ServiceError: nobody could say whether there is a table.
    """
    _, schema = _described(backup)
    if not may_exist:
        await check_absent(place, clock=clock)
    if check_first:
        await check_backup(backup, KeyReader(schema), observer)


async def create_for(
    backup: Backup, place: Place, *, made_since: float | None = None, clock: Clock | None = None
) -> list[str]:
    """Make the table of a backup: its key, indexes, billing, stream, encryption and TTL.

    Args:
        backup: what describes it.
        place: where it is to be.
        made_since: when a process before this one was about to make it, in seconds since the epoch: an empty table
            with the same key that was made since then is taken for it. Without that no table may be there.
        clock: where time comes from.

    Returns:
        What is not as it was described, one sentence each.

    Raises:
        UsageError: the backup describes no table, or there is another one by that name; it is as it was.
        ServiceError: the table could not be made.
    """
    described, _ = _described(backup)
    created = await create_table(place, described.create, made_since=made_since, clock=clock)
    if not created.is_new:
        await _check_empty(place)
    notes = list(created.notes)
    if described.ttl_attribute is not None:
        notes += await turn_on_ttl(place, described.ttl_attribute, may_be_on=not created.is_new, clock=clock)
    return notes


async def _check_empty(place: Place) -> None:
    """Refuse a table that has items by now: nothing was restored yet, so they are somebody else's.

    Raises:
        UsageError: it has.
    """
    async with place.open() as table:
        if not await table.is_empty():
            raise table_exists(table.label)


def _described(backup: Backup) -> tuple[TableDescription, KeySchema]:
    """Return the table that a backup describes, and its key.

    Raises:
        UsageError: it describes none.
    """
    described, schema = backup.description, described_schema(backup.description)
    if described is None or schema is None:
        raise UsageError(
            f"{backup.label} does not tell how its table was made ({_WHY[backup.kind]}): make the table first, and leave "
            "out --create."
        )
    return described, schema
