"""Finds out what kind of backup a place holds, and opens it."""

from __future__ import annotations

import re
import sys
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from asyncrep.backup.aws_exports import FILES, ROOT, STARTED, SUMMARY, open_export, open_exports
from asyncrep.backup.dumps import looks_like_dump, open_dump, open_snapshot
from asyncrep.backup.layout import MANIFEST
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.standard_input import StreamBackup
from asyncrep.errors import BackupError, PermissionDeniedError, UsageError
from asyncrep.flow.tasks import side_by_side
from asyncrep.location import S3Place, parse_storage
from asyncrep.options import S3Access

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

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
        manifest: by whose name it is meant; empty for its own.
        is_folder: it ends with a slash, as no object's does.
    """

    parent: S3Place | Path
    name: str
    manifest: str = ""
    is_folder: bool = False


class _Choice(NamedTuple):
    """One backup of those that a place holds."""

    what: str
    open: Callable[[], Awaitable[Backup]]


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

        target = _target(place)._replace(is_folder=text.endswith("/"))
        parent = await stack.enter_async_context(
            open_storage(target.parent, access or S3Access(), session=session, clock=clock)
        )
        yield await _opened(parent, target, table_name, at)


def _target(place: S3Place | Path) -> _Target:
    """Tell the place around what is meant; naming a manifest means what it is the manifest of."""
    if isinstance(place, S3Place):
        prefix, _, name = place.prefix.rpartition("/")
        manifest = name if name in {MANIFEST, SUMMARY, FILES} else ""
        if manifest:
            prefix, _, name = prefix.rpartition("/")
        return _Target(S3Place(place.bucket, prefix), name, manifest)
    path = place.absolute()
    if not path.exists():
        raise BackupError(f"There is nothing at {place}.")
    manifest = path.name if path.name in {MANIFEST, SUMMARY, FILES} else ""
    if manifest:
        path = path.parent
    if path.name in {"", "..", "."}:
        path = path.resolve()
    return _Target(path.parent, path.name, manifest)


async def _opened(parent: Storage, target: _Target, table_name: str | None, at: float | None) -> Backup:
    name = target.name
    place = parent.under(name) if name else parent
    if target.manifest == MANIFEST and at is None and await place.head(MANIFEST) is not None:
        return await open_dump(place)
    denied: PermissionDeniedError | None = None
    head: ObjectHead | None = None
    if name:
        try:
            head = await parent.head(name)
        except PermissionDeniedError as error:  # only what is under the name may be read
            denied = error
    if head is not None and not target.is_folder and (head.size or isinstance(parent, LocalFolder)):
        _refuse_at(at, parent.name_of(name))
        return await open_snapshot(parent, name, head)
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
    """Open what a place holds, by the first names in it.

    Raises:
        BackupError: it holds nothing, or several backups: which one is meant only the user knows.
    """
    place = parent.under(name) if name else parent
    if any(map(_OBJECT_OF_ITEM.fullmatch, names)):
        return await _open_folder(place, at)
    of_table = None if table_name is None else place.under(table_name)
    if of_table is not None and not await _is_folder(of_table):
        of_table = None
    if of_table is not None and at is not None:
        return await _open_folder(of_table, at)
    _refuse_at(at, place.label)
    if await place.head(SUMMARY) is not None or {STARTED, FILES} & set(names):
        return await open_export(parent, name)
    if name == ROOT:
        return await open_exports(place, place.label)
    choices = await _choices(place, names, of_table)
    if len(choices) > 1:
        told = ", and ".join(choice.what for choice in choices)
        raise BackupError(f"{place.label} holds {told}: name the one that is meant.")
    return await choices[0].open() if choices else await _of_none(place)


async def _choices(place: Storage, names: list[str], of_table: Storage | None) -> list[_Choice]:
    """Return the backups that a place holds; several dumps are one of them, that cannot be opened."""
    found = []
    if of_table is not None:
        found.append(
            _Choice(f"the incremental folder {of_table.label}", partial(_open_folder, of_table, None))
        )
    if await _first_names(place, f"{ROOT}/"):
        exports = place.under(ROOT)
        found.append(_Choice(f"exports in {exports.label}", partial(open_exports, exports, place.label)))
    if looks_like_dump(names):
        which = f" ({place.name_of(MANIFEST)})" if MANIFEST in names else ""
        found.append(_Choice(f"the segments of a dump{which}", partial(open_dump, place)))
    elif dumps := await _dumps_in(place):
        which = place.name_of(dumps[0])
        what = f"the dump {which}" if len(dumps) == 1 else f"dumps, as {which}"
        found.append(_Choice(what, partial(_open_one, place, dumps)))
    return found


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


async def _dumps_in(place: Storage) -> list[str]:
    """Return the dumps directly within a place, the last by their names first; not more than are looked at."""
    folders = sorted(await place.folders(), reverse=True)[:_DUMPS_LOOKED_AT]
    inside = await side_by_side(_first_names(place.under(folder)) for folder in folders)
    return [folder for folder, names in zip(folders, inside, strict=True) if looks_like_dump(names)]


async def _open_one(place: Storage, dumps: list[str]) -> Backup:
    """Open the only dump in the places within this one.

    Raises:
        BackupError: there is more than one.
    """
    if len(dumps) == 1:
        return await open_dump(place.under(dumps[0]))
    newest = await _newest(place, dumps)
    raise BackupError(
        f"{place.label} holds {len(dumps)}{'' if len(dumps) < _DUMPS_LOOKED_AT else ' or more'} dumps: name one of "
        f"them, as {place.name_of(newest)}, the newest."
    )


async def _of_none(place: Storage) -> Backup:
    """Say what a place holds that is no backup.

    Raises:
        BackupError: always.
    """
    folders = sorted(await place.folders())[:_DUMPS_LOOKED_AT]
    are_tables = await side_by_side(_is_folder(place.under(folder)) for folder in folders)
    table = next((folder for folder, is_table in zip(folders, are_tables, strict=True) if is_table), None)
    what = (
        "no dump, export or incremental folder is directly in it."
        if table is None
        else f"it holds incremental folders of tables: name one of them, as {place.name_of(table)}."
    )
    raise BackupError(f"There is no backup in {place.label}: {what}")


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
