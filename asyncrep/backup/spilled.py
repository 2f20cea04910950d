"""A backup as a source: its items by key, whatever order they come in; and a chain of exports as one state."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiostream import streamcontext
from msgspec import Raw

from asyncrep.backup.folder_reading import FolderBackup
from asyncrep.backup.reading import CHUNK_BYTES, CHUNK_LINES, BackupFile, Chunk, Line
from asyncrep.backup.soundness import FILES_AT_ONCE, place_of, problem_of
from asyncrep.backup.spill import DELETED, OVERHEAD, Spill, sensible_partitions, spill_folder
from asyncrep.errors import BackupError, KeyFormatError
from asyncrep.flow import stages
from asyncrep.items.keys import KeyReader
from asyncrep.model import Meter, Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from asyncrep.backup.layout import TableDescription
    from asyncrep.backup.reading import Backup, BackupKind
    from asyncrep.backup.spill import Record
    from asyncrep.flow.purse import Account
    from asyncrep.model import Segment, Source, TableSettings
    from asyncrep.options import Limits

_SQUEEZED = 6
"""How many times as large items are as what gzip makes of them, about."""

_ITEM_BYTES = 500
_UNKNOWN_WEIGHT = 64 * 1024 * 1024


class SpilledSource:
    """A backup as a source of its items. What it holds is spilled once; then it can be walked and asked.

    Attributes:
        backup: what is read.
        keys: reads the keys of its items.
        unreadable: objects of a folder that hold no item; ``first_unreadable`` says which one is, and why.

    Args:
        backup: what is read.
        settings: its key schema, and what is known of the table that it is of.
        spill: where its items go.
        live: the same folder, if it goes on following its table: what is there is read from it.
    """

    def __init__(
        self, backup: Backup, settings: TableSettings, spill: Spill, live: Source | None = None
    ) -> None:
        self.backup = backup
        self.keys = KeyReader(settings.schema)
        self.unreadable = 0
        self.first_unreadable = ""
        self._settings = settings
        self._spill = spill
        self._live = live
        self._meter = Meter()

    @property
    def label(self) -> str:
        """The backup as people call it."""
        return self.backup.label

    @property
    def settings(self) -> TableSettings:
        """Its key schema, and what is known of the table that it is of."""
        return self._settings

    @property
    def meter(self) -> Meter:
        """Zero: reading a backup takes no capacity."""
        return self._meter

    @property
    def spill(self) -> Spill:
        """What was read of it."""
        return self._spill

    @property
    def repeated(self) -> int:
        """How many lines another one of the same key has replaced that says something else.

        Zero where that is how it is meant: in a chain of exports, and in a folder to which two tools write.
        """
        return 0 if self.backup.kind == "folder" or self.backup.phases > 1 else self._spill.repeated

    def is_same_as(self, other: Source) -> bool:
        """Tell whether both are one backup."""
        return isinstance(other, SpilledSource) and other.backup is self.backup

    def limited(self, limits: Limits, account: Account | None = None) -> SpilledSource:  # noqa: ARG002
        """Return itself: there is nothing to be limited."""
        return self

    def key(self, image: Raw | bytes) -> bytes:
        """Return the canonical key of one of its images."""
        return self.keys.key(image)

    async def fill(self) -> AsyncIterator[int]:
        """Read the backup to its end; yield how many lines each step has read.

        Raises:
            BackupError: it is damaged, or holds what is no item of this key.
            ServiceError, StorageError: it could not be read, or not be kept.
        """
        async with streamcontext(chunks(self.backup)) as read:
            async for chunk in read:
                readable = self._readable(chunk)
                self._spill.add(keyed(readable, self.keys))
                yield len(readable.lines)
        self._spill.seal()

    def _readable(self, chunk: Chunk) -> Chunk:
        """Return what is an item; a folder may have objects that are none, and they come without image."""
        if self.backup.kind != "folder":
            return chunk
        lines = [line for line in chunk.lines if line.image and not line.problem]
        if len(lines) < len(chunk.lines):
            self.unreadable += len(chunk.lines) - len(lines)
            first = next(line for line in chunk.lines if line.problem or not line.image)
            self.first_unreadable = self.first_unreadable or f"{place_of(first, chunk.file)}: {first.problem}"
        return chunk._replace(lines=lines)

    async def pages(
        self, segment: Segment, *, keys_only: bool = False, after: bytes | None = None
    ) -> AsyncIterator[Page]:
        """Yield what is in every partition of one segment; a segment is some of the partitions.

        Raises:
            ValueError: with ``after``, as records on disk have no order in which one could go on.
        """
        if after is not None:
            raise ValueError("Records on disk have no order in which one could go on.")
        for partition in range(segment.index, self._spill.partitions, segment.total):
            for piece in self._spill.part(partition):
                yield Page(segment.index, [Raw(each) for each in (piece if keys_only else piece.values())])

    async def get(
        self, keys: Sequence[bytes], *, consistent: bool, keys_only: bool = False
    ) -> dict[bytes, Raw]:
        """Return the images of those of ``keys`` that are there, by key."""
        if self._live is not None:
            return await self._live.get(keys, consistent=consistent, keys_only=keys_only)
        found = self._spill.get(keys)
        return {key: Raw(key if keys_only else image) for key, image in found.items()}


@asynccontextmanager
async def fold(backup: Backup, keys: KeyReader) -> AsyncIterator[Backup]:
    """Apply the phases of a backup one after the other, on disk, and yield what it comes to: one phase of items.

    Its files are the same each time, and so is the order of the items in them. Which line of which file an item
    was is not known any more.

    Raises:
        BackupError: it is damaged, or holds what is no item of this key.
        ServiceError, StorageError: it could not be read, or not be kept.
    """
    with spill_folder() as folder:
        spill = Spill(folder, sensible_partitions(expected_weight(backup)))
        async with streamcontext(chunks(backup)) as read:
            async for chunk in read:
                spill.add(keyed(chunk, keys))
        yield _Folded(backup, spill.seal())


class _Folded:
    """A backup whose phases are applied."""

    phases = 1
    items: int | None = None

    def __init__(self, backup: Backup, spill: Spill) -> None:
        self.label: str = backup.label
        self.kind: BackupKind = backup.kind
        self.description: TableDescription | None = backup.description
        self.as_of: float | None = backup.as_of
        self.notes: Sequence[str] = backup.notes
        self.files: Sequence[BackupFile] = [
            BackupFile(f"part {number + 1} of {spill.partitions}", 0) for number in range(spill.partitions)
        ]
        self._spill = spill

    async def chunks(self, file: BackupFile, *, skip: int = 0) -> AsyncIterator[Chunk]:
        """Yield what a partition holds, by key."""
        name = f"{self.label}, {file.name}"
        for piece in self._spill.part(self.files.index(file)):
            lines = [Line(0, piece[key]) for key in sorted(piece)]
            skipped, skip = lines[skip:], max(skip - len(lines), 0)
            for chunk in _cut(skipped):
                yield Chunk(name, chunk)


def _cut(lines: list[Line]) -> Iterator[list[Line]]:
    """Cut lines into chunks."""
    chunk: list[Line] = []
    weight = 0
    for line in lines:
        chunk.append(line)
        weight += len(line.image)
        if len(chunk) == CHUNK_LINES or weight >= CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


async def chunks(backup: Backup) -> AsyncIterator[Chunk]:
    """Yield what a backup holds, phase by phase; the files of a phase are read side by side.

    Raises:
        BackupError: it is damaged; names file and line.
        ServiceError, StorageError: it could not be read.
    """
    for phase in range(backup.phases):
        files = [file for file in backup.files if file.phase == phase]
        async with streamcontext(stages.merged(files, backup.chunks, FILES_AT_ONCE)) as read:
            async for chunk in read:
                yield chunk


def keyed(chunk: Chunk, keys: KeyReader) -> list[Record]:
    """Return the lines of a chunk as records.

    Raises:
        BackupError: one is no item of this key; names file and line.
    """
    key = keys.key
    found = []
    for line in chunk.lines:
        try:
            found.append((key(line.image), DELETED if line.is_deletion else line.image))
        except KeyFormatError as error:
            raise BackupError(f"{place_of(line, chunk.file)}: {problem_of(line, keys) or error}") from error
    return found


def expected_items(backup: Backup) -> int | None:
    """Return about how many items a backup holds; None where nothing tells."""
    return backup.estimate if isinstance(backup, FolderBackup) else backup.items


def expected_weight(backup: Backup) -> int:
    """Return about what all items of a backup would take in memory, by what its listing and manifests tell."""
    unpacked = sum(file.size for file in backup.files) * _SQUEEZED
    items = expected_items(backup) or unpacked // _ITEM_BYTES
    return (unpacked or items * _ITEM_BYTES) + items * OVERHEAD or _UNKNOWN_WEIGHT
