"""Reads an incremental folder: its objects as they are, or were, each with the item that it holds. See ``reading.Backup``.

A folder has an object for each item, so that reading it is many small requests: names are listed in ranges, side by
side, and hundreds of objects are on their way at the same time. What is held of them is bounded by their sizes, which
the listing tells.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from asyncrep.backup.folder_listing import FolderObject, present
from asyncrep.backup.lines import LONGEST_LINE
from asyncrep.backup.object_naming import OBJECT_NAME, Naming
from asyncrep.backup.reading import CHUNK_BYTES, BackupFile, Chunk, Line
from asyncrep.backup.soundness import problem_of
from asyncrep.errors import BackupError, ServiceError
from asyncrep.flow.stages import ahead, joined, mapped
from asyncrep.flow.tasks import side_by_side
from asyncrep.model import KeySchema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from asyncrep.backup.folder_listing import Listing
    from asyncrep.backup.layout import TableDescription
    from asyncrep.backup.reading import BackupKind
    from asyncrep.storage import Storage

_OBJECTS_AT_ONCE = 256
"""Objects that are being read at the same time, of one folder."""

_LISTINGS_AT_ONCE = 8
_LISTED_AHEAD = 30
"""Batches of a range that are listed before they are read; of versions a batch may be many pages."""

_BATCHES_AT_ONCE = 8
_BATCH = 100
"""Objects of a batch; no more than about a megabyte of them, either."""

_MOST_TRIES = 20
"""So many items are asked of which attributes the names are digests, before nobody is asked any more."""

_AGAIN = "records with two objects"
"""The last part of a folder: what may have been yielded before it was known which object counts."""

_MOST_SUPERSEDED = 100_000
"""Records whose object under the other name is the newer one: their names are held in memory."""

_ARCHIVED = "InvalidObjectState"
_NAMED_OF_NESTED = 3


class Held(NamedTuple):
    """One object of a folder, read.

    Attributes:
        image: the item that it holds, in wire JSON as it is stored; empty where there is a problem.
        problem: why it is no item of the folder, a sentence that does not name it and begins with a small letter;
            None for one.
        twin: the name of the record's other object, where there is one and this has the less common name.
        is_stale: that other one was written later, and counts.
    """

    found: FolderObject
    image: bytes
    problem: str | None = None
    twin: str | None = None
    is_stale: bool = False


class FolderBackup:
    """An incremental folder as a backup. Make one with ``open_folder`` or ``point_in_time.open_folder_at``.

    An object whose name is no digest, or not that of its item's key, or that holds no item, is yielded as a line
    without image: whoever reads it counts it as what it is, no item. Objects that go while the folder is read are
    skipped. Those in folders within this one are none of it.

    A record can have two objects, when its key has two attributes and two tools have written to the folder, each
    naming it by another order of them. Then the one that was written later counts; of one second the one in the
    order of the table's key. Where nobody tells it, that is the order that is not the alphabet's, which another
    tool would not have chosen by itself. Where the later one is met when the earlier one may have been yielded
    already, ``everything`` yields both, see ``late``; as a backup's file it comes once more, in a last phase.

    Attributes:
        estimate: about how many objects it has; None when nobody knows.
        storage: the folder, which may go on following its table; None for what it was in the past.
        late: for how many records it turned out too late which of their objects counts: they were yielded twice, or
            with the other one.
    """

    kind: BackupKind = "folder"
    description: TableDescription | None = None
    items: int | None = None
    phases = 2

    def __init__(self, listing: Listing, estimate: int | None = None, storage: Storage | None = None) -> None:
        self.label = listing.label
        self.estimate = estimate
        self.storage = storage
        self.late = 0
        self._doubled = 0
        self._listing = listing
        self._parts = {f"{part}…": part for part in listing.parts}
        self._files = [*(BackupFile(name, 0) for name in self._parts), BackupFile(_AGAIN, 0, phase=1)]
        self._unread = set(self._parts)
        self._slots = asyncio.Semaphore(_OBJECTS_AT_ONCE)
        self._naming: Naming | None = None
        self._schema: KeySchema | None = None
        self._tries = 0
        self._superseded: set[str] = set()
        self._dropped: set[str] = set()
        self._again: dict[str, Held] = {}
        self._nested: dict[str, int] = {}

    @property
    def as_of(self) -> float | None:
        """The moment at which its objects were there; None for now."""
        return self._listing.at

    @property
    def files(self) -> Sequence[BackupFile]:
        """Ranges of the objects' names; and last what of them may not count."""
        return self._files

    @property
    def has_superseded(self) -> bool:
        """Whether there are objects that do not count, and that only this process knows not to."""
        return bool(self._superseded)

    def order_by(self, schema: KeySchema) -> None:
        """Tell the key of the table, whose order counts."""
        self._schema = schema

    @property
    def notes(self) -> list[str]:
        """What people should know of it; more of it is known when it has been read."""
        notes = list(self._listing.notes)
        if self._doubled:
            notes.append(
                f"{_count(self._doubled, 'record')} of {self.label} had two objects, named by the key's attributes in "
                "two orders: the one that was written later counts."
            )
        if self._nested:
            names = ", ".join(f"{name}/" for name in sorted(self._nested)[:_NAMED_OF_NESTED])
            notes.append(
                f"{_count(sum(self._nested.values()), 'object')} in folders within {self.label} ({names}) "
                f"{'is' if sum(self._nested.values()) == 1 else 'are'} no part of it."
            )
        if self._naming is None and self._tries:
            notes.append(
                f"Nothing tells of which attributes the names in {self.label} are digests: they were not checked."
            )
        return notes

    async def chunks(self, file: BackupFile, *, skip: int = 0) -> AsyncGenerator[Chunk, None]:
        """Yield the items of a range; see ``reading.Backup.chunks``."""
        reading = self._read_again() if file.name == _AGAIN else self._read([self._parts[file.name]])
        async with aclosing(reading) as batches:
            async for batch in batches:
                lines = [self._line(held) for held in batch]
                skipped, skip = lines[:skip], max(0, skip - len(lines))
                yield Chunk(file.name, lines[len(skipped) :])
        self._unread.discard(file.name)
        if not self._unread:
            self._listing.check_end()

    async def everything(self) -> AsyncGenerator[list[Held], None]:
        """Yield all objects in the order of their names, some at a time. It can be called again."""
        self.late = self._doubled = 0
        self._nested.clear()
        self._dropped.clear()
        self._again.clear()
        async with aclosing(self._read(self._listing.parts)) as batches:
            async for batch in batches:
                yield batch
        self._listing.check_end()

    def name_of(self, held: Held) -> str:
        """Return an object as people call it."""
        return self._listing.name_of(held.found)

    async def _read(self, parts: Sequence[str]) -> AsyncGenerator[list[Held], None]:
        listed = joined(parts, lambda part: ahead(self._batches(part), _LISTED_AHEAD), _LISTINGS_AT_ONCE)
        async with mapped(listed, self._fetch, _BATCHES_AT_ONCE, ordered=True).stream() as batches:
            async for batch in batches:
                yield [held for held in batch if self._counts(held)]

    async def _read_again(self) -> AsyncGenerator[list[Held], None]:
        """Yield what counts of the records of which that was found out when both of their objects were on their way."""
        doubtful = [held for twin, held in self._again.items() if held.is_stale or twin not in self._dropped]
        for start in range(0, len(doubtful), _BATCH):
            held = await side_by_side(self._settled(each) for each in doubtful[start : start + _BATCH])
            yield [each for each in held if each is not None]

    async def _settled(self, held: Held) -> Held | None:
        """Read the object of a record that counts by now."""
        assert held.twin is not None
        async with self._slots:
            found = held.found._replace(modified=await self._listing.changed(held.found.name) or 0.0)
            changed = await self._listing.changed(held.twin)
        if changed is not None and self._is_stale(found, changed):
            found = FolderObject(held.twin, found.size, changed)
        return await self._hold(found)

    async def _batches(self, part: str) -> AsyncGenerator[list[FolderObject], None]:
        """Cut a range into what is read together."""
        batch: list[FolderObject] = []
        size = 0
        async with aclosing(self._listing.objects(part)) as objects:
            async for found in objects:
                if "/" in found.name:
                    self._pass_by(found)
                    continue
                if batch and size + found.size > CHUNK_BYTES:
                    yield batch
                    batch, size = [], 0
                batch.append(found)
                size += found.size
                if len(batch) == _BATCH:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    def _pass_by(self, found: FolderObject) -> None:
        """Note an object that is in a folder within this one; not the empty ones with which consoles mark those."""
        if found.size or not found.name.endswith("/"):
            folder = found.name.partition("/")[0]
            if folder in self._nested or len(self._nested) < _BATCH:
                self._nested[folder] = self._nested.get(folder, 0) + 1

    async def _fetch(self, batch: list[FolderObject]) -> list[Held]:
        read = [each for each in await side_by_side(self._hold(found) for found in batch) if each is not None]
        self._learn_naming(read)
        held = [self._judged(each) for each in read]
        turned = [(index, each) for index, each in enumerate(held) if each.twin is not None]
        compared = await side_by_side(self._beside_twin(each) for _, each in turned)
        for (index, _), each in zip(turned, compared, strict=True):
            held[index] = each
        return held

    async def _hold(self, found: FolderObject) -> Held | None:
        """Read one object; None when it is not there any more."""
        if not OBJECT_NAME.fullmatch(found.name):
            return Held(
                found, b"", "its name is no digest of a key, as the objects of an incremental folder have."
            )
        if found.size > LONGEST_LINE:
            return Held(found, b"", f"it is larger than any item: {found.size:,} bytes.")
        try:
            async with self._slots:
                image = await self._listing.read(found)
        except ServiceError as error:
            if error.code != _ARCHIVED:
                raise
            return Held(found, b"", "it is archived: S3 has to restore it before it can be read.")
        if image is None:
            return None
        problem = problem_of(Line(0, image), None)
        return Held(found, b"", problem) if problem else Held(found, image)

    def _learn_naming(self, read: list[Held]) -> None:
        """Find out of the first items of which attributes the names are digests."""
        for held in read:
            if self._naming is not None or self._tries >= _MOST_TRIES:
                return
            if held.problem is None:
                self._tries += 1
                self._naming = self._naming_of(held)

    def _naming_of(self, held: Held) -> Naming | None:
        """Return the naming that gives an object its name, by the table's key if that is known to do it."""
        name, schema = held.found.name, self._schema
        if schema is not None:
            orders = (schema, KeySchema(*reversed(schema.attributes)))
            found = (order for order in map(Naming.of, orders) if order.fits(name, held.image))
            if naming := next(found, None):
                return naming
        return Naming.found(name, held.image)

    def _judged(self, held: Held) -> Held:
        """Hold an object's name against its item; it may be the name that most of the others do not have."""
        found, naming = held.found, self._naming
        if held.problem is not None or naming is None or naming.fits(found.name, held.image):
            return held
        twin = naming.twin(found.name, held.image)
        if twin is None:
            return Held(found, b"", "it holds another item than its name says.")
        return held._replace(twin=twin)

    async def _beside_twin(self, held: Held) -> Held:
        """Tell which object of a record was written later."""
        assert held.twin is not None
        async with self._slots:
            changed = await self._listing.changed(held.twin)
        if changed is None:
            return held._replace(twin=None)
        if self._is_stale(held.found, changed):
            self._superseded.discard(held.twin)  # it was not, if somebody has written it since it was
            return held._replace(is_stale=True)
        self._supersede(held.twin)
        return held

    def _is_stale(self, found: FolderObject, changed: float) -> bool:
        """Tell whether an object whose twin, in the order of most, was written at that time does not count."""
        if changed != found.modified or self._naming is None:
            return changed > found.modified
        order = self._naming.keys.schema.attributes
        if self._schema is not None:
            return order == self._schema.attributes
        return order[0].name > order[-1].name

    def _supersede(self, name: str) -> None:
        self._superseded.add(name)
        if len(self._superseded) > _MOST_SUPERSEDED:
            raise BackupError(
                f"More than {_MOST_SUPERSEDED:,} records of {self.label} have two objects, named by the key's attributes "
                "in two orders, the one later than the other: two tools write to it, and they have to agree first."
            )

    def _counts(self, held: Held) -> bool:
        """Tell, in the order in which objects are yielded, whether one counts."""
        if held.found.name in self._superseded:
            self._dropped.add(held.found.name)
            self._doubled += 1
            return False
        if held.is_stale and held.twin not in self._dropped:
            self._doubled += 1
            return False
        if held.twin is not None:
            self._again[held.twin] = held._replace(image=b"")
            if held.is_stale or self._came_first(held.twin, held.found.name):
                self.late += 1
        return True

    def _came_first(self, twin: str, name: str) -> bool:
        """Tell whether an object was yielded before this one, which takes its place."""
        return twin < name and twin not in self._dropped

    def _line(self, held: Held) -> Line:
        return Line(0, held.image, file=self.name_of(held), problem=held.problem or "")


async def open_folder(storage: Storage) -> FolderBackup:
    """Open an incremental folder as it is now.

    Raises:
        BackupError: there is no object of an item.
        ServiceError, StorageError: it could not be looked at.
    """
    listing, estimate = await present(storage)
    return FolderBackup(listing, estimate, storage)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
