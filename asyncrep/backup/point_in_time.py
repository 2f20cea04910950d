"""Reads an incremental folder as it was recorded at a moment, by the versions that S3 keeps of its objects.

What counts is when S3 received an object, and that is later than the change of the item: at any moment a few changes
of different items may have been made and not yet recorded. So this is the folder as it was, and no snapshot of the
table. S3 tells whole seconds; of the versions of one second the last one counts.
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from asyncrep.backup.folder_listing import FolderObject, between, hex_digits
from asyncrep.backup.folder_reading import FolderBackup
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.object_naming import OBJECT_NAME
from asyncrep.errors import BackupError, UsageError
from asyncrep.flow.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from asyncrep.flow.clock import Clock
    from asyncrep.storage import Storage, Version

UNVERSIONED = "null"
"""What S3 calls a version that was written while the bucket kept none. The next such takes its place."""

_OTHER_NAMES = "other names"
_BETWEEN_DIGITS = (("", "0"), ("9\U0010ffff", "a"), ("f\U0010ffff", None))
"""Names that begin with no hexadecimal digit, as what they are above and not above."""

_LOOKED_AT = 1000


class Recorded:
    """The objects that were there at a moment. See ``folder_listing.Listing``.

    Attributes:
        at: the moment, in seconds since the epoch.
        notes: what people should know of it.
    """

    parts: Sequence[str] = (*hex_digits(1), _OTHER_NAMES)

    def __init__(self, storage: Storage, at: float, notes: Sequence[str] = ()) -> None:
        self.at = at
        self.notes = notes
        self._storage = storage
        self._first: float | None = None

    @property
    def label(self) -> str:
        """The folder as people call it."""
        return self._storage.label

    def objects(self, part: str) -> AsyncGenerator[FolderObject, None]:
        """Yield the objects of a range that were there, each with the version that it had.

        Raises:
            BackupError: what the object of an item was at the moment is not kept.
        """
        return self._others() if part == _OTHER_NAMES else self._of_digit(part)

    async def _of_digit(self, part: str) -> AsyncGenerator[FolderObject, None]:
        settled = ""
        async with aclosing(_versions(self._storage, part)) as versions:
            async for version in versions:
                if version.name == settled:
                    continue
                self._note_first(version)
                if version.modified > self.at:
                    self._check_kept(version)
                    continue
                settled = version.name
                if not version.is_deletion:
                    yield FolderObject(version.name, version.size, version.modified, version)

    async def _others(self) -> AsyncGenerator[FolderObject, None]:
        """Yield what is no object of an item, by what is there now: of what was there once nobody needs to know."""
        for after, end in _BETWEEN_DIGITS:
            async with aclosing(between(self._storage, after, end)) as entries:
                async for entry in entries:
                    if entry.modified <= self.at:
                        yield FolderObject(entry.name, entry.size, entry.modified)

    def _note_first(self, version: Version) -> None:
        if self._first is None or version.modified < self._first:
            self._first = version.modified

    def _check_kept(self, later: Version) -> None:
        """Refuse an object that was written, after the moment, in the place of what it was before."""
        if later.version_id == UNVERSIONED and OBJECT_NAME.fullmatch(later.name):
            when = moment(later.modified)
            raise BackupError(
                f"{self._storage.name_of(later.name)} was written at {when}, when the bucket kept no versions: what it "
                f"was at {moment(self.at)} is not known. The folder can be rebuilt as it was at {when} or later."
            )

    def check_end(self) -> None:
        """Refuse a moment before everything, once all was listed."""
        if self._first is not None and self._first > self.at:
            raise BackupError(
                f"Nothing was recorded in {self.label} at {moment(self.at)}: its first version is "
                f"of {moment(self._first)}."
            )

    async def read(self, found: FolderObject) -> bytes:
        """Return what an object held."""
        assert found.version is not None
        return await self._storage.get_version(found.version)

    async def changed(self, name: str) -> float | None:
        """Return when an object had been written or deleted last; None when it had never been there."""
        async with aclosing(_versions(self._storage, name)) as versions:
            async for version in versions:
                if version.name == name and version.modified <= self.at:
                    return version.modified
        return None

    def name_of(self, found: FolderObject) -> str:
        """Return an object as people call it."""
        return self._storage.name_of(found.name)


async def open_folder_at(storage: Storage, at: float, *, clock: Clock | None = None) -> FolderBackup:
    """Open an incremental folder as it was recorded at a moment.

    Args:
        storage: the folder.
        at: the moment, in seconds since the epoch.
        clock: tells what is the future.

    Raises:
        UsageError: the moment is in the future, or the place keeps no versions.
        BackupError: there never was an object of an item.
        ServiceError: it could not be listed.
    """
    if at > (clock or SystemClock()).now():
        raise UsageError(f"{moment(at)} is in the future: nothing is recorded yet.")
    if isinstance(storage, LocalFolder):
        raise UsageError(
            f"{storage.label} is a folder, which keeps no versions: what it was at a moment only S3 tells."
        )
    has_item, has_history = await _looked_at(storage)
    if not has_item:
        await storage.check()
        raise BackupError(
            f"There is no incremental folder in {storage.label}: no object of an item was ever there."
        )
    notes = [
        f"This is {storage.label} as S3 had recorded it at {moment(at)}: what reached it later is not in it."
    ]
    if not has_history:
        notes.append(
            f"The bucket of {storage.label} seems to keep no versions: what was deleted before is not known."
        )
    return FolderBackup(Recorded(storage, at, notes))


async def was_folder(storage: Storage) -> bool:
    """Tell whether a place has, or once had, an object of an item in it."""
    return not isinstance(storage, LocalFolder) and (await _looked_at(storage))[0]


async def _looked_at(storage: Storage) -> tuple[bool, bool]:
    """Tell of the first versions in a place whether there is one of an item, and one that is kept as a version."""
    has_item = has_history = False
    looked_at = 0
    async with aclosing(_versions(storage, "")) as versions:
        async for version in versions:
            looked_at += 1
            has_item = has_item or OBJECT_NAME.fullmatch(version.name) is not None
            has_history = has_history or version.version_id != UNVERSIONED
            if looked_at == _LOOKED_AT:
                break
    return has_item, has_history


def moment(seconds: float) -> str:
    """Return a moment as ISO 8601 in UTC; one that no calendar has in seconds."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return f"{seconds:.0f} s since 1970"


def _versions(storage: Storage, prefix: str) -> AsyncGenerator[Version, None]:
    return cast("AsyncGenerator[Version, None]", storage.versions(prefix))
