"""Writes what a backup holds: batches of lines, in bulk or one by one, and finds the items that are refused."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, cast

from asyncrep.backup.report import Refused
from asyncrep.backup.restore_progress import Done
from asyncrep.backup.soundness import problem_of
from asyncrep.errors import KeyFormatError, RejectedError
from asyncrep.flow.memory import Ledger
from asyncrep.flow.tasks import side_by_side
from asyncrep.items.equality import same_item
from asyncrep.items.exponents import with_plain_numbers
from asyncrep.mutation import ItemAbsent, ItemState, Put

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from asyncrep.aws.table import Table
    from asyncrep.backup.reading import Backup, BackupFile, Chunk, Line
    from asyncrep.items.keys import KeyReader

BATCH_ITEMS = 25
BATCH_BYTES = 1 << 20
"""Of large items fewer make a batch: so many write units are a second's worth of a whole partition."""

_SENT_BYTES = 8 << 20
"""Of large items fewer requests are under way: each is copied some times until it is sent."""

_LARGEST_LINE = 6 << 20
"""Bytes of JSON that no item of 400 KB has, however it is spelled."""


class Entry(NamedTuple):
    """One line that is to be written; ``image`` is None for a deletion."""

    line: Line
    file: str
    key: bytes
    image: bytes | None

    @property
    def state(self) -> ItemState:
        """What the item under this key is to be."""
        return ItemState(self.key, self.image)

    def refused(self, reason: str) -> Refused:
        """Return what is told of it when it cannot be written."""
        return Refused(self.line.file or self.file, self.line.number, reason, self.key)


@dataclass(slots=True)
class Batch:
    """Lines of one file that follow each other, no two of one key.

    Attributes:
        file: the file's name within the backup.
        begin, end: which of its lines, the first being 0; blank ones are not counted.
        entries: those that can be written.
        refused: those that cannot, whatever the table says.
        size: bytes of JSON of all of them.
        written: is set when nothing of it is under way any more.
    """

    file: str
    begin: int
    end: int
    entries: dict[bytes, Entry] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    size: int = 0
    written: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_full(self) -> bool:
        """Whether it is as large as one call may be."""
        return self.end - self.begin >= BATCH_ITEMS or self.size >= BATCH_BYTES


@dataclass(slots=True)
class Came:
    """What became of a batch, as it becomes known."""

    written: int = 0
    deleted: int = 0
    present: int = 0
    refused: list[Refused] = field(default_factory=list)

    def count(self, entry: Entry) -> None:
        """Count an entry that was written as it is."""
        if entry.image is None:
            self.deleted += 1
        else:
            self.written += 1


class RestoreWriter:
    """Makes batches of a backup's lines and writes them to a table.

    Lines of one key are written in their order, although batches are written at the same time: who meets a key
    that is under way waits for it.
    """

    def __init__(self, backup: Backup, table: Table, *, only_missing: bool) -> None:
        self._backup = backup
        self._table = table
        self._only_missing = only_missing
        self._under_way: dict[bytes, asyncio.Event] = {}
        self._memory = Ledger(_SENT_BYTES)
        self._memory.learn(1)  # what is reserved are bytes

    async def batches(self, file: BackupFile, skip: int) -> AsyncGenerator[Batch, None]:
        """Yield the lines of a file in batches, without the first ``skip``; each must be written."""
        batch = Batch(file.name, skip, skip)
        async with aclosing(self._entries(file, skip)) as entries:
            async for entry in entries:
                key = entry.key if isinstance(entry, Entry) else None
                if batch.is_full or (key is not None and key in self._under_way):
                    # What another waits for must be on its way before this one waits for anything.
                    if batch.end > batch.begin:
                        yield batch
                    batch = Batch(file.name, batch.end, batch.end)
                    while key in self._under_way:
                        await self._under_way[key].wait()
                self._add(batch, entry)
        if batch.end > batch.begin:
            yield batch

    def _add(self, batch: Batch, entry: Entry | Refused) -> None:
        batch.end += 1
        if isinstance(entry, Refused):
            batch.refused.append(entry)
            return
        batch.entries[entry.key] = entry
        batch.size += len(entry.line.image)
        self._under_way[entry.key] = batch.written

    async def _entries(self, file: BackupFile, skip: int) -> AsyncGenerator[Entry | Refused, None]:
        chunks = cast("AsyncGenerator[Chunk, None]", self._backup.chunks(file, skip=skip))
        async with aclosing(chunks):
            async for chunk in chunks:
                for line in chunk.lines:
                    yield entry_of(line, chunk.file, self._table.keys)

    async def write(self, batch: Batch) -> Done:
        """Write a batch; return what became of it.

        Raises:
            ServiceError: the table cannot be written to. Some of the batch may be.
        """
        came = Came(refused=list(batch.refused))
        entries = list(batch.entries.values())
        memory = await self._memory.reserve(batch.size)
        try:
            if self._only_missing:
                await side_by_side(self._put_if_absent(entry, came) for entry in entries)
            elif entries:
                await self._write_in_bulk(entries, came)
        finally:
            memory.release()
            for key in batch.entries:
                del self._under_way[key]
            batch.written.set()
        items = batch.end - batch.begin
        return Done(items, batch.size, came.written, came.deleted, came.present, came.refused)

    async def _write_in_bulk(self, entries: Sequence[Entry], came: Came) -> None:
        """Write entries; one that the service calls invalid takes its batch along, so it is looked for by halves."""
        try:
            await self._table.write_all([entry.state for entry in entries])
        except RejectedError as error:
            if len(entries) == 1:
                came.refused.append(entries[0].refused(str(error)))
                return
            half = len(entries) // 2
            await self._write_in_bulk(entries[:half], came)
            await self._write_in_bulk(entries[half:], came)
            return
        for entry in entries:
            came.count(entry)

    async def _put_if_absent(self, entry: Entry, came: Came) -> None:
        if entry.image is None:
            raise AssertionError("Deletions are folded before anything is written only where it is missing.")
        try:
            outcome = await self._table.apply(Put(entry.key, entry.image, ItemAbsent()))
        except RejectedError as error:
            came.refused.append(entry.refused(str(error)))
            return
        if outcome.applied or (outcome.unsure and await self._is_there(entry.key, entry.image)):
            came.written += 1
        else:
            came.present += 1

    async def _is_there(self, key: bytes, image: bytes) -> bool:
        """Tell whether a put whose answer got lost has landed."""
        there = (await self._table.get([key], consistent=True)).get(key)
        return there is not None and same_item(bytes(there), image)


def entry_of(line: Line, file: str, keys: KeyReader) -> Entry | Refused:
    """Return what is to be written of a line, or why nothing is."""
    where = Refused(line.file or file, line.number, "")
    if len(line.image) > _LARGEST_LINE:
        return replace(where, reason="No item has so many bytes.")
    try:
        key = keys.key(line.image)
        if not line.image.isascii():
            line.image.decode()  # JSON of another encoding may be taken for another text, and be written
    except (KeyFormatError, UnicodeDecodeError) as error:
        problem = problem_of(line, keys) or str(error)
        return replace(where, reason=problem[0].upper() + problem[1:])
    return Entry(line, file, key, None if line.is_deletion else with_plain_numbers(line.image))


class Readable:
    """A backup without the lines that are no items of a table; these are told instead. See ``reading.Backup``."""

    def __init__(self, backup: Backup, keys: KeyReader, refused: Callable[[Refused], None]) -> None:
        self.label = backup.label
        self.kind = backup.kind
        self.description = backup.description
        self.as_of = backup.as_of
        self.items = backup.items
        self.files = backup.files
        self.phases = backup.phases
        self.notes = backup.notes
        self._backup = backup
        self._keys = keys
        self._refused = refused

    async def chunks(self, file: BackupFile, *, skip: int = 0) -> AsyncIterator[Chunk]:
        """Yield what can be read of a file."""
        async with aclosing(
            cast("AsyncGenerator[Chunk, None]", self._backup.chunks(file, skip=skip))
        ) as chunks:
            async for chunk in chunks:
                yield chunk._replace(
                    lines=[line for line in chunk.lines if self._is_readable(line, chunk.file)]
                )

    def _is_readable(self, line: Line, file: str) -> bool:
        entry = entry_of(line, file, self._keys)
        if isinstance(entry, Refused):
            self._refused(entry)
            return False
        return True
