"""Finds out what the key of a backup's items is, where no table is there to be asked."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast, get_args

from asyncrep.backup.object_naming import OBJECT_NAME, Naming
from asyncrep.backup.soundness import place_of, problem_of
from asyncrep.errors import BackupError, UsageError
from asyncrep.items.equality import decode_image
from asyncrep.model import KeyAttribute, KeySchema, KeyType

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from asyncrep.backup.layout import TableDescription
    from asyncrep.backup.reading import Backup, Chunk, Line

_NAME_LENGTH = 64


def described_schema(description: TableDescription | None) -> KeySchema | None:
    """Return the key of the table that a backup describes; None where it describes none.

    Raises:
        BackupError: the description is none of a table.
    """
    if description is None:
        return None
    create: dict[str, Any] = description.create
    try:
        types = {each["AttributeName"]: each["AttributeType"] for each in create["AttributeDefinitions"]}
        by_role = {each["KeyType"]: each["AttributeName"] for each in create["KeySchema"]}
        attributes = [
            KeyAttribute(by_role[role], types[by_role[role]]) for role in ("HASH", "RANGE") if role in by_role
        ]
        return KeySchema(*attributes)
    except (KeyError, TypeError) as error:
        raise BackupError(
            f"The backup's description of the table {description.name} tells no key."
        ) from error


def named_attributes(text: str) -> list[str]:
    """Read the names of a key's attributes, ``HASH`` or ``HASH,RANGE``.

    Raises:
        UsageError: they are none.
    """
    names = text.split(",")
    if len(names) > 2 or not all(names) or len(set(names)) < len(names):
        raise UsageError(f'"{text}" names no key: write HASH or HASH,RANGE, the names of its attributes.')
    return names


async def find_schema(backups: Sequence[Backup], names: Sequence[str] = ()) -> KeySchema:
    """Return the key of the items of backups that are to be compared with one another.

    Args:
        backups: what tells it: a manifest; the first object of a folder, as its name is the digest of the key.
        names: the key's attributes, HASH and RANGE, where the user names them; their types are those of an item.

    Raises:
        UsageError: nothing tells.
        BackupError: a backup is damaged.
        ServiceError, StorageError: it could not be read.
    """
    for backup in backups:
        described = None if names else described_schema(backup.description)
        if described is not None:
            return described
    for backup in backups:
        found = await _of_first_item(backup, names)
        if found is not None:
            return found
    if names:
        return KeySchema(*(KeyAttribute(name, "S") for name in names))  # there is no item that could have it
    raise UsageError(
        f"Nothing tells what the key of the items in {' and '.join(backup.label for backup in backups)} is: name it "
        "with --key HASH or --key HASH,RANGE."
    )


async def _of_first_item(backup: Backup, names: Sequence[str]) -> KeySchema | None:
    if backup.kind == "stream" or (not names and backup.kind != "folder"):
        return None  # what is read of a stream is gone
    async for chunk, line in _first_lines(backup):
        if names:
            return _typed(names, chunk, line)
        name = line.file[-_NAME_LENGTH:]
        naming = Naming.found(name, line.image) if OBJECT_NAME.fullmatch(name) else None
        if naming is not None:
            return naming.keys.schema
    return None


async def _first_lines(backup: Backup) -> AsyncGenerator[tuple[Chunk, Line], None]:
    """Yield the items of the first chunk that has any."""
    for file in backup.files:
        async with aclosing(cast("AsyncGenerator[Chunk, None]", backup.chunks(file))) as chunks:
            async for chunk in chunks:
                lines = [line for line in chunk.lines if line.image]
                for line in lines:
                    yield chunk, line
                if lines:
                    return


def _typed(names: Sequence[str], chunk: Chunk, line: Line) -> KeySchema:
    """Return the key of these names, with the types that they have in an item."""
    where = place_of(line, chunk.file)
    if problem := problem_of(line, None):
        raise BackupError(f"{where}: {problem}")
    item = decode_image(line.image)
    attributes = []
    for name in names:
        (kind,) = item.get(name) or ("",)
        if kind not in get_args(KeyType):
            raise BackupError(f'{where}: the item has no "{name}" that could be part of a key.')
        attributes.append(KeyAttribute(name, cast("KeyType", kind)))
    return KeySchema(*attributes)
