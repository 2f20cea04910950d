"""Tells the history of one record: every version of its object in an incremental folder, the newest first."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import msgspec
from aiostream import stream

from asyncrep.backup.local import LocalFolder
from asyncrep.backup.object_naming import Naming
from asyncrep.backup.point_in_time import moment
from asyncrep.backup.reading import Line
from asyncrep.backup.soundness import problem_of
from asyncrep.errors import ServiceError
from asyncrep.flow import stages
from asyncrep.items.changes import path_changes
from asyncrep.items.equality import decode_image
from asyncrep.items.incremental import object_name
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema, KeyType
from asyncrep.storage import Version

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from asyncrep.items.changes import PathChange
    from asyncrep.storage import Storage

MOST_CHANGES = 100
"""So many places in which two versions differ are named; others are counted."""

Deed = Literal["created", "changed", "unchanged", "written", "deleted", "unreadable"]
"""What made a version. Written: nobody can tell what it changed, as the version before it cannot be read."""

_READ_AT_ONCE = 16
_UNREADABLE = {
    "InvalidObjectState": "it is archived: S3 has to restore it before it can be read.",
    "NoSuchKey": "it is not there any more.",
    "NoSuchVersion": "it is not there any more.",
}
_decode_key = msgspec.json.Decoder(dict[str, dict[KeyType, str]]).decode

NOW = "now"
"""The only version of a local file, which has no name."""


@dataclass(frozen=True, slots=True)
class Step:
    """One version of a record's object, beside the one before it.

    Attributes:
        version: of which object it is, and when it came to be.
        deed: what made it.
        image: the item that it holds; None after a deletion, and where it cannot be read.
        problem: why it cannot be read, a sentence that begins with a small letter.
        changes: the places in which it differs from the version before, whose values are called the primary's.
        more_changes: how many there are besides.
        older: the version before it is kept; else it is the first that is known.
    """

    version: Version
    deed: Deed
    image: bytes | None = None
    problem: str | None = None
    changes: Sequence[PathChange] = ()
    more_changes: int = 0
    older: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as an object for JSON; values stay in wire form."""
        return {
            "modified": moment(self.version.modified),
            "version": self.version.version_id,
            "object": self.version.name,
            "deed": self.deed,
            "latest": self.version.is_latest,
            "size": None if self.version.is_deletion else self.version.size,
            "problem": self.problem,
            "item": None if self.image is None else decode_image(self.image),
            "differences": [
                {"path": each.path, "members": each.members, "before": each.primary, "after": each.replica}
                for each in self.changes
            ],
            "more_differences": self.more_changes,
        }


async def record_history(storage: Storage, key: bytes, keys: KeyReader) -> AsyncGenerator[Step, None]:
    """Yield every version of a record's object, the newest first, however many there are.

    Objects in which the key's attributes have the other order, as other tools name them, are part of it. Of what
    keeps no versions the present state is the only one.

    Args:
        storage: the folder.
        key: the canonical key.
        keys: reads it.

    Raises:
        ServiceError, StorageError: the folder could not be read.
    """
    listed = stream.iterate(_versions(storage, names_of(key, keys)))

    async def read(version: Version) -> _Read:
        return await _read(storage, version, key, keys)

    newer: _Read | None = None
    async with stages.mapped(listed, read, _READ_AT_ONCE, ordered=True).stream() as versions:
        async for older in versions:
            if newer is not None:
                yield _step(newer, older)
            newer = older
    if newer is not None:
        yield _step(newer, None)


def names_of(key: bytes, keys: KeyReader) -> list[str]:
    """Return the names that the object of a record may have: by the key's order, then by the other one."""
    others = Naming.of(keys.schema).others
    return [object_name(key), *([] if others is None else [object_name(others.key(key))])]


class _Read(NamedTuple):
    """A version that was read; without image it is a deletion, or has a problem."""

    version: Version
    image: bytes | None = None
    problem: str | None = None


async def _versions(storage: Storage, names: Sequence[str]) -> AsyncGenerator[Version, None]:
    """Yield the versions of several objects as one history."""
    async with AsyncExitStack() as stack:
        histories = [await stack.enter_async_context(aclosing(_of_name(storage, name))) for name in names]
        heads = [await anext(history, None) for history in histories]
        while any(heads):
            # Of one second the order within each object is known, and between two of them nothing.
            newest = max((head.modified, -index) for index, head in enumerate(heads) if head is not None)
            index = -newest[1]
            if (head := heads[index]) is not None:
                yield head
            heads[index] = await anext(histories[index], None)


async def _of_name(storage: Storage, name: str) -> AsyncGenerator[Version, None]:
    """Yield the versions of one object; S3 lists those of longer names behind them."""
    if isinstance(storage, LocalFolder):
        async with aclosing(storage.entries(name)) as entries:
            async for entry in entries:
                if entry.name == name:
                    yield Version(name, NOW, entry.modified, False, True, entry.size, entry.etag)
        return
    async with aclosing(cast("AsyncGenerator[Version, None]", storage.versions(name))) as versions:
        async for version in versions:
            if version.name != name:
                return
            yield version


async def _read(storage: Storage, version: Version, key: bytes, keys: KeyReader) -> _Read:
    if version.is_deletion:
        return _Read(version)
    try:
        image = await _content(storage, version)
    except ServiceError as error:
        if error.code not in _UNREADABLE:
            raise
        return _Read(version, problem=_UNREADABLE[error.code])
    if image is None:
        return _Read(version, problem=_UNREADABLE["NoSuchKey"])
    problem = problem_of(Line(0, image), keys)
    if problem is None and keys.key(image) != key:
        problem = "it holds another item than its name says."
    return _Read(version, None, problem) if problem else _Read(version, image)


async def _content(storage: Storage, version: Version) -> bytes | None:
    if version.version_id != NOW:
        return await storage.get_version(version)
    held = await storage.get(version.name)
    return None if held is None else held[0]


def _step(newer: _Read, older: _Read | None) -> Step:
    """Say what made a version of the one before it; None where none is kept."""
    version, image, problem = newer
    known = older is not None
    if version.is_deletion:
        return Step(version, "deleted", older=known)
    if image is None:
        return Step(version, "unreadable", problem=problem, older=known)
    if older is None or older.version.is_deletion:
        return Step(version, "created", image, older=known)
    if older.image is None:
        return Step(version, "written", image, older=known)
    places = path_changes(older.image, image)
    deed: Deed = "changed" if places else "unchanged"
    more = max(0, len(places) - MOST_CHANGES)
    return Step(version, deed, image, changes=places[:MOST_CHANGES], more_changes=more, older=known)


def key_in_wire_form(text: str) -> tuple[KeyReader, bytes] | None:
    """Return a key that names its types, and what reads keys like it, for a table that is there no more.

    The order of two attributes is the one in which they are written: it does not matter here, as objects of both
    orders are looked for. None for a key that does not name its types.

    Raises:
        KeyFormatError: a value is none of its type.
    """
    try:
        members = _decode_key(text)
    except msgspec.MsgspecError:
        return None
    if len(members) not in {1, 2} or any(len(value) != 1 for value in members.values()):
        return None
    schema = KeySchema(*(KeyAttribute(name, next(iter(value))) for name, value in members.items()))
    keys = KeyReader(schema)
    return keys, keys.parse(text)
