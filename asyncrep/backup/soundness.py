"""Reads a backup to its end and makes sure that it could be restored: nothing damaged, each line an item with the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from asyncrep.errors import BackupError, KeyFormatError
from asyncrep.flow import stages
from asyncrep.progress import Advanced, PassEnded, PassStarted

if TYPE_CHECKING:
    from asyncrep.backup.reading import Backup, Chunk, Line
    from asyncrep.items.keys import KeyReader
    from asyncrep.progress import Observer

FILES_AT_ONCE = 4
"""Files that are read at the same time: one core can unpack no more than their network brings."""

_Type = Literal["S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL"]

_decode_item = msgspec.json.Decoder(dict[str, dict[_Type, Any]]).decode


async def check_backup(backup: Backup, keys: KeyReader | None, observer: Observer) -> int:
    """Read all of a backup; return how many lines it has.

    Args:
        backup: what is checked. A stream is used up by it.
        keys: reads the key that each item must have; None where it is not known.
        observer: is told how far it is.

    Raises:
        BackupError: the first thing that is wrong, with file and line.
        ServiceError, StorageError: it could not be read.
    """
    observer.notice(PassStarted("check", backup.items))
    items = 0
    for phase in range(backup.phases):
        files = [file for file in backup.files if file.phase == phase]
        async with stages.merged(files, backup.chunks, FILES_AT_ONCE).stream() as chunks:
            async for chunk in chunks:
                check_chunk(chunk, keys)
                items += len(chunk.lines)
                observer.notice(Advanced("check", len(chunk.lines)))
    observer.notice(PassEnded("check"))
    return items


def check_chunk(chunk: Chunk, keys: KeyReader | None) -> None:
    """Check that all lines are items with the key.

    Raises:
        BackupError: the first that is none, with file and line.
    """
    for line in chunk.lines:
        problem = problem_of(line, keys)
        if problem is not None:
            raise BackupError(f"{place_of(line, chunk.file)}: {problem}")


def problem_of(line: Line, keys: KeyReader | None) -> str | None:
    """Return why a line is no item, as a sentence that does not quote it; None where it is one."""
    if line.problem:
        return line.problem
    try:
        item = _decode_item(line.image)
    except msgspec.ValidationError:
        return "it is JSON, but no item: an item is an object, and each of its attributes has a type."
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"it is not JSON: {error}."
    strange = next((name for name, value in item.items() if len(value) != 1), None)
    if strange is not None:
        return f"it is JSON, but no item: the attribute {strange!r} has not exactly one type."
    return None if keys is None else _key_problem(line.image, item, keys)


def _key_problem(image: bytes, item: dict[str, Any], keys: KeyReader) -> str | None:
    """Say which part of the key is missing, or of which type it is; None where the key is whole."""
    try:
        keys.key(image)
    except KeyFormatError as error:
        for attribute in keys.schema.attributes:
            value = item.get(attribute.name)
            if value is None:
                return f"the item has no {attribute.name!r}, which is part of the key {keys.schema}."
            if attribute.type not in value:
                return (
                    f"the item's {attribute.name!r} is of type {next(iter(value))}; the key is {keys.schema}."
                )
        return str(error)
    return None


def place_of(line: Line, file: str) -> str:
    """Return where a line is, as people call it."""
    name = line.file or file
    return f"{name}, line {line.number}" if line.number else name
