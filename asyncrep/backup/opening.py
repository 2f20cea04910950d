"""Finds out what kind of backup a place holds, and opens it."""

from __future__ import annotations

import re
import sys
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from asyncrep.backup.aws_exports import FILES, ROOT, STARTED, SUMMARY, open_export, open_exports
from asyncrep.backup.dumps import looks_like_dump, open_dump, open_snapshot
from asyncrep.backup.layout import MANIFEST
from asyncrep.backup.standard_input import StreamBackup
from asyncrep.errors import BackupError, PermissionDeniedError, UsageError
from asyncrep.flow.tasks import side_by_side
from asyncrep.location import S3Place, parse_storage
from asyncrep.options import S3Access

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import aioboto3

    from asyncrep.backup.reading import Backup
    from asyncrep.flow.clock import Clock
    from asyncrep.storage import Entry, ObjectHead, Storage

STDIN = "-"

_OBJECT_OF_ITEM = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LOOKED_AT = 1000
"""Names that tell what a place is; a listing brings as many at once."""

_DUMPS_LOOKED_AT = 100


class _Target(NamedTuple):
    """What a user has named: an object or a folder of this name, in that place.

    Attributes:
        parent: the place around it; itself where it is a whole bucket, or the root of all folders.
        name: empty for that.
    """

    parent: S3Place | Path
    name: str


@asynccontextmanager
async def open_backup(
    text: str,
    access: S3Access | None = None,
    *,
    table_name: str | None = None,
    at: float | None = None,
    session: aioboto3.Session | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Backup]:
    """Open a backup of any kind.

    Args:
        text: ``-`` for standard input, ``s3://BUCKET/PREFIX``, ``file:///PATH`` or a path: a single file, or a place
            that holds a dump, exports or an incremental folder.
        access: how S3 is reached.
        table_name: whose incremental folder is meant, where a place holds those of several tables.
        at: open an incremental folder as it was at that moment, in seconds since the epoch.
        session: an aioboto3 session of the caller's.
        clock: where time comes from.

    Raises:
        LocationError: the text is no place.
        BackupError: there is no backup, more than one, or one that is not whole.
        UsageError: ``at`` for what has no history.
        ServiceError, StorageError: the place could not be looked at.
    """
    if text == STDIN:
        _refuse_at(at, "standard input")
        if sys.stdin.isatty():
            raise UsageError(
                "Standard input is a terminal: nothing can be read from it. Pipe a backup into it."
            )
        yield StreamBackup(sys.stdin.fileno(), "stdin")
        return
    place = parse_storage(text)
    async with AsyncExitStack() as stack:
        if isinstance(place, Path) and (place.is_fifo() or place.is_char_device()):
            _refuse_at(at, text)
            yield StreamBackup(place, text)
            return
        from asyncrep.backup.places import open_storage  # noqa: PLC0415 - S3 only where it is needed

        target = _target(place)
        parent = await stack.enter_async_context(
            open_storage(target.parent, access or S3Access(), session=session, clock=clock)
        )
        yield await _opened(parent, target.name, table_name, at)


def _target(place: S3Place | Path) -> _Target:
    """Tell the place around what is meant; naming a manifest means what it is the manifest of."""
    if isinstance(place, S3Place):
        prefix, _, name = place.prefix.rpartition("/")
        if name in {MANIFEST, SUMMARY, FILES}:
            prefix, _, name = prefix.rpartition("/")
        return _Target(S3Place(place.bucket, prefix), name)
    path = place.absolute()
    if not path.exists():
        raise BackupError(f"There is nothing at {place}.")
    if path.name in {MANIFEST, SUMMARY, FILES}:
        path = path.parent
    if path.name in {"", "..", "."}:
        path = path.resolve()
    return _Target(path.parent, path.name)


async def _opened(parent: Storage, name: str, table_name: str | None, at: float | None) -> Backup:
    denied: PermissionDeniedError | None = None
    head: ObjectHead | None = None
    if name:
        try:
            head = await parent.head(name)
        except PermissionDeniedError as error:  # only what is under the name may be read
            denied = error
    if head is not None and head.size:
        _refuse_at(at, parent.name_of(name))
        return await open_snapshot(parent, name, head)
    place = parent.under(name) if name else parent
    if at is not None and (past := await _past_folder(place, table_name)) is not None:
        return await _open_folder(past, at)
    names = await _first_names(place)
    if names:
        return await _by_names(parent, name, names, table_name, at)
    if head is not None:  # an empty object that stands for no folder
        return await open_snapshot(parent, name, head)
    await parent.check()
    raise denied or BackupError(f"There is no backup in {place.label}: nothing is there.")


async def _first_names(place: Storage, prefix: str = "") -> list[str]:
    names: list[str] = []
    async with aclosing(cast("AsyncGenerator[Entry, None]", place.entries(prefix))) as entries:
        async for entry in entries:
            names.append(entry.name)
            if len(names) == _LOOKED_AT:
                break
    return names


async def _by_names(
    parent: Storage, name: str, names: list[str], table_name: str | None, at: float | None
) -> Backup:
    """Open what a place holds, by the first names in it."""
    place = parent.under(name) if name else parent
    if any(map(_OBJECT_OF_ITEM.fullmatch, names)):
        return await _open_folder(place, at)
    if table_name is not None and await _is_folder(place.under(table_name)):
        return await _open_folder(place.under(table_name), at)
    _refuse_at(at, place.label)
    if looks_like_dump(names):
        return await open_dump(place)
    return await _export(parent, name, names) or await _of_several(place)


async def _export(parent: Storage, name: str, names: list[str]) -> Backup | None:
    """Open an export, or all that are in a place; None where there is none."""
    place = parent.under(name) if name else parent
    if await place.head(SUMMARY) is not None or {STARTED, FILES} & set(names):
        return await open_export(parent, name)
    if name == ROOT:
        return await open_exports(place, place.label)
    if await _first_names(place, f"{ROOT}/"):
        return await open_exports(place.under(ROOT), place.label)
    return None


async def _is_folder(place: Storage) -> bool:
    return any(map(_OBJECT_OF_ITEM.fullmatch, await _first_names(place)))


async def _past_folder(place: Storage, table_name: str | None) -> Storage | None:
    """Return where an incremental folder is, or was: all of its items may be deleted by now."""
    from asyncrep.backup.point_in_time import was_folder  # noqa: PLC0415

    places = [place] if table_name is None else [place, place.under(table_name)]
    for each in places:
        if await was_folder(each):
            return each
    return None


async def _open_folder(place: Storage, at: float | None) -> Backup:
    if at is not None:
        from asyncrep.backup.point_in_time import open_folder_at  # noqa: PLC0415

        return await open_folder_at(place, at)
    from asyncrep.backup.folder_reading import open_folder  # noqa: PLC0415

    return await open_folder(place)


async def _of_several(place: Storage) -> Backup:
    """Open the only dump in the places within this one.

    Raises:
        BackupError: there is none, or more than one.
    """
    folders = sorted(await place.folders(), reverse=True)[:_DUMPS_LOOKED_AT]
    found = await side_by_side(_first_names(place.under(folder)) for folder in folders)
    inside = dict(zip(folders, found, strict=True))
    dumps = [folder for folder in folders if looks_like_dump(inside[folder])]
    if not dumps:
        tables = [folder for folder in folders if any(map(_OBJECT_OF_ITEM.fullmatch, inside[folder]))]
        what = (
            f"it holds incremental folders of tables: name one of them, as {place.name_of(tables[-1])}."
            if tables
            else "no dump, export or incremental folder is directly in it."
        )
        raise BackupError(f"There is no backup in {place.label}: {what}")
    if len(dumps) > 1:
        newest = await _newest(place, dumps)
        raise BackupError(
            f"{place.label} holds {len(dumps)}{'' if len(folders) < _DUMPS_LOOKED_AT else ' or more'} dumps: name one of "
            f"them, as {place.name_of(newest)}, the newest."
        )
    return await open_dump(place.under(dumps[0]))


async def _newest(place: Storage, dumps: list[str]) -> str:
    """Return which dump was written to last."""

    async def written(folder: str) -> tuple[float, str]:
        moments = [entry.modified async for entry in place.under(folder).entries()]
        return max(moments, default=0.0), folder

    return max(await side_by_side(written(folder) for folder in dumps))[1]


def _refuse_at(at: float | None, label: str) -> None:
    if at is not None:
        raise UsageError(
            f"{label} holds what it held when it was written: --at is for incremental folders, whose history S3 keeps."
        )
