"""Lists the objects of an incremental folder, in ranges of their names, and reads one of them."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from asyncrep.backup.local import LocalFolder
from asyncrep.backup.object_naming import OBJECT_NAME
from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from asyncrep.storage import Entry, Storage, Version

_PAGE = 1000
"""Names that one request to S3 brings."""

_OBJECTS_OF_RANGE = 2_000
"""With fewer objects a range is not worth its requests: the last one brings a page of which others are."""

_NAMED = 5


class FolderObject(NamedTuple):
    """One object of a folder, before it is read.

    Attributes:
        modified: when it was written, in seconds since the epoch.
        version: which of its versions is meant; None for what it is now.
    """

    name: str
    size: int
    modified: float
    version: Version | None = None


class Listing(Protocol):
    """The objects of a folder: those that are there now, or were at some moment."""

    @property
    def label(self) -> str:
        """The folder as people call it."""

    @property
    def parts(self) -> Sequence[str]:
        """Ranges of names, in their order; together they are all names."""

    @property
    def at(self) -> float | None:
        """The moment at which they were there, in seconds since the epoch; None for now."""

    @property
    def notes(self) -> Sequence[str]:
        """What people should know of it, one sentence each."""

    def objects(self, part: str) -> AsyncGenerator[FolderObject, None]:
        """Yield the objects of a range, in the order of their names."""

    async def read(self, found: FolderObject) -> bytes | None:
        """Return what an object holds; None when it is not there any more."""

    async def changed(self, name: str) -> float | None:
        """Return when an object was written, or deleted where that is recorded; None when there is none."""

    def name_of(self, found: FolderObject) -> str:
        """Return an object as people call it."""

    def check_end(self) -> None:
        """Refuse what turned out, when all of it was listed, to be nothing.

        Raises:
            BackupError: with one sentence that says why.
        """


class Present:
    """The objects that are there now. See ``Listing``.

    A range is named by what its names begin with, or are above: so names that are no digests are in one, too.
    """

    at: float | None = None
    notes: Sequence[str] = ()

    def __init__(self, storage: Storage, parts: Sequence[str]) -> None:
        self.parts = parts
        self._storage = storage
        self._ends = dict(zip(parts, (*parts[1:], None), strict=True))

    @property
    def label(self) -> str:
        """The folder as people call it."""
        return self._storage.label

    async def objects(self, part: str) -> AsyncGenerator[FolderObject, None]:
        """Yield the objects whose names are above this one, up to the next."""
        end = self._ends[part]
        async for entry in between(self._storage, part, end):
            yield FolderObject(entry.name, entry.size, entry.modified)

    async def read(self, found: FolderObject) -> bytes | None:
        """Return what an object holds; None when it is not there any more."""
        held = await self._storage.get(found.name)
        return None if held is None else held[0]

    async def changed(self, name: str) -> float | None:
        """Return when an object was written; None when there is none."""
        entries = cast("AsyncGenerator[Entry, None]", self._storage.entries(name))
        async with aclosing(entries) as found:
            async for entry in found:
                return entry.modified if entry.name == name else None
        return None

    def name_of(self, found: FolderObject) -> str:
        """Return an object as people call it."""
        return self._storage.name_of(found.name)

    def check_end(self) -> None:
        """Refuse nothing: that there are objects was seen before."""


async def between(storage: Storage, after: str, end: str | None) -> AsyncGenerator[Entry, None]:
    """Yield the objects whose names are above ``after`` and not above ``end``."""
    last = None if end is None else end.encode()
    entries = cast("AsyncGenerator[Entry, None]", storage.entries(after=after))
    async with aclosing(entries) as found:
        async for entry in found:
            if last is not None and entry.name.encode() > last:
                return
            yield entry


async def present(storage: Storage) -> tuple[Present, int]:
    """Return what lists a folder, and about how many objects it has.

    Names are digests, and so evenly spread: how far the first thousand of them reach tells how many there are.

    Raises:
        BackupError: there is no object of an item.
        ServiceError, StorageError: it could not be listed.
    """
    is_local = isinstance(storage, LocalFolder)  # listing it again for each range would take longer
    listed = digests = 0
    last = ""
    async for entry in between(storage, "", None):
        listed += 1
        if OBJECT_NAME.fullmatch(entry.name):
            digests, last = digests + 1, entry.name
        if listed == _PAGE and not is_local:
            break
    if not digests:
        raise BackupError(await _why_none(storage, is_empty=not listed))
    if is_local or listed < _PAGE:
        return Present(storage, parts(0)), digests
    estimate = int(digests * 16**8 / (int(last[:8], 16) + 1))
    return Present(storage, parts(estimate)), estimate


def parts(objects: int) -> list[str]:
    """Return the ranges of the names of about so many objects."""
    digits = next((digits for digits in (0, 1) if objects < _OBJECTS_OF_RANGE * 16 ** (digits + 1)), 2)
    return ["", *hex_digits(digits)[1:]]


def hex_digits(digits: int) -> list[str]:
    """Return all numbers of so many hexadecimal digits, in their order."""
    return [f"{number:0{digits}x}" for number in range(16**digits)]


async def _why_none(storage: Storage, *, is_empty: bool) -> str:
    if is_empty:
        await storage.check()
        return f"There is no incremental folder in {storage.label}: nothing is there."
    folders = await storage.folders()
    told = f"{storage.label} is no incremental folder: none of its objects is named by the digest of a key."
    if not folders:
        return told
    named = ", ".join(folders[:_NAMED]) + ("…" if len(folders) > _NAMED else "")
    return f"{told} There are folders in it: {named}."
