"""An incremental folder as a table: an object for each item, read by key and written to under preconditions."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiostream import streamcontext
from msgspec import Raw

from asyncrep.backup.object_naming import OBJECT_NAME, Naming
from asyncrep.errors import ConditionFailedError
from asyncrep.flow.tasks import side_by_side
from asyncrep.items.equality import decode_image, encode_image, same_value
from asyncrep.items.incremental import Mark, object_body, object_name, object_names
from asyncrep.items.keys import KeyReader
from asyncrep.model import Capacity, KeyedImage, Meter, Page
from asyncrep.mutation import Delete, ItemAbsent, Outcome, Patch, Put

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from typing import Any

    from asyncrep.flow.purse import Account
    from asyncrep.model import Segment, Source, TableSettings, WireValue
    from asyncrep.mutation import ItemState, Mutation
    from asyncrep.options import Limits
    from asyncrep.storage import Entry, Storage

AT_ONCE = 256
"""Requests to a folder that are under way at the same time: what S3 takes long for is latency, not work."""

_TRIES = 10
"""How often a write is held against what others have made of its object meanwhile."""

_MOST_KEPT = 10_000
"""So many objects are remembered that hold no item."""

_PAGE_OBJECTS = 256
_PAGE_BYTES = 2 * 1024 * 1024
_READ_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class _Held:
    """An object as it was read; ``image`` is None when it holds no item of its name."""

    name: str
    etag: str
    image: bytes | None


class ItemFolder:
    """The incremental folder of a table: a ``Source`` and a ``Destination``. Make one with ``folder_of_table``.

    Objects are named by their items' canonical keys (``asyncrep.items.incremental``). An object of the name that
    dynamodb-replicator gave it is found as well; what is written is written under ours. Where there are both, the
    one that was written later counts, and of one second ours.

    A write holds its precondition against the object, and puts or deletes it only as it was read, by its ETag.
    The mark that says which change an object holds stays with it: a record of the stream that is older than
    that change is still told by it. An object that holds no item counts as none; a put takes its place.

    Attributes:
        storage: the folder.
        settings: the table's key, and what else its items have; ``is_folder``.
        keys: reads the canonical keys of the items.
        unreadable: why objects of the folder hold no item, by their names; the first of them.
    """

    def __init__(
        self,
        storage: Storage,
        settings: TableSettings,
        *,
        at_once: int = AT_ONCE,
        slots: asyncio.Semaphore | None = None,
        unreadable: dict[str, str] | None = None,
    ) -> None:
        self.storage = storage
        self.settings = settings
        self.keys = KeyReader(settings.schema)
        self._naming = Naming.of(settings.schema)
        self.unreadable = {} if unreadable is None else unreadable
        self._meter = Meter()
        self._slots = slots or asyncio.Semaphore(at_once)

    # ── As any source ───────────────────────────────────────────────────────────────────────────────

    @property
    def label(self) -> str:
        """The folder as people call it: ``s3://BUCKET/PREFIX/TABLE`` or a path."""
        return self.storage.label

    @property
    def meter(self) -> Meter:
        """How many requests were made; none of them takes capacity units."""
        return self._meter

    def is_same_as(self, other: Source) -> bool:
        """Tell whether ``other`` is this folder."""
        return isinstance(other, ItemFolder) and other.label == self.label

    def limited(self, limits: Limits, account: Account | None = None) -> ItemFolder:  # noqa: ARG002
        """Return the same folder for one run, with a meter at zero: limits are of capacity units."""
        return ItemFolder(self.storage, self.settings, slots=self._slots, unreadable=self.unreadable)

    def key(self, image: Raw | bytes) -> bytes:
        """Return the canonical key of an item."""
        return self.keys.key(image)

    async def copies_to(self, other: Source) -> bool | None:  # noqa: ARG002
        """Tell that nothing is copied from here by itself."""
        return False

    async def is_empty(self) -> bool:
        """Tell whether there is no object of an item."""
        async with aclosing(self._entries("", None)) as entries:
            async for _ in entries:
                return False
        return True

    # ── Reading ─────────────────────────────────────────────────────────────────────────────────────

    async def get(
        self,
        keys: Sequence[bytes],
        *,
        consistent: bool,  # noqa: ARG002 - S3 always is
        keys_only: bool = False,
    ) -> dict[bytes, Raw]:
        """Return the images of those of the distinct ``keys`` (any number) that there are, by key."""
        found: dict[bytes, Raw] = {}
        for start in range(0, len(keys), _READ_AT_ONCE):
            some = keys[start : start + _READ_AT_ONCE]
            objects = await side_by_side(self._read(key) for key in some)
            for key, held in zip(some, objects, strict=True):
                if held is not None and held.image is not None:
                    found[key] = Raw(key if keys_only else held.image)
        return found

    async def _read(self, key: bytes) -> _Held | None:
        async with self._slots:
            return await self._find(key)

    async def _find(self, key: bytes) -> _Held | None:
        """Return the object of an item; where there is one of each of its names, the one that counts."""
        name, *others = object_names(key)
        held = await self._look(name)
        for other in others:
            if await self._counts(other, beside=None if held is None else name):
                return await self._look(other) or held
        return held

    async def _counts(self, other: str, *, beside: str | None) -> bool:
        """Tell whether there is an object by the name that another tool gives, written later than the one by ours."""
        self._meter.requests += 1
        theirs = await self.storage.head(other)
        if theirs is None or beside is None:
            return theirs is not None
        ours = await self.storage.head(beside)
        return ours is None or theirs.modified > ours.modified

    async def _look(self, name: str) -> _Held | None:
        self._meter.requests += 1
        found = await self.storage.get(name)
        if found is None:
            return None
        body, etag = found
        problem = self._problem(name, body)
        if problem is None:
            return _Held(name, etag, body)
        if len(self.unreadable) < _MOST_KEPT:
            self.unreadable[name] = problem
        return _Held(name, etag, None)

    def _problem(self, name: str, body: bytes) -> str | None:
        """Say why an object holds no item of its name, None when it does."""
        try:
            decode_image(body)
        except (ValueError, RecursionError):
            return "It holds no item: it is no JSON object of typed attributes."
        fits = self._naming.fits(name, body) or self._naming.twin(name, body) is not None
        return None if fits else "It holds another item than its name says."

    async def pages(
        self, segment: Segment, *, keys_only: bool = False, after: bytes | None = None
    ) -> AsyncIterator[Page]:
        """Yield the items of one segment, a range of the objects' names, in the order of these.

        Args:
            segment: which.
            keys_only: yield keys.
            after: the canonical key of an item; only what comes behind its object.
        """
        first = _bound(segment.index, segment.total)
        behind = first if after is None else max(first, object_name(after))
        last = _bound(segment.index + 1, segment.total) if segment.index + 1 < segment.total else None
        group: list[Entry] = []
        size = 0
        async with aclosing(self._entries(behind, last)) as entries:
            async for entry in entries:
                group.append(entry)
                size += entry.size
                if len(group) >= _PAGE_OBJECTS or size >= _PAGE_BYTES:
                    yield await self._page(segment, group, keys_only=keys_only)
                    group, size = [], 0
        if group:
            yield await self._page(segment, group, keys_only=keys_only)

    async def _entries(self, after: str, before: str | None) -> AsyncGenerator[Entry, None]:
        """Yield what is named like an item's object, within bounds."""
        async with streamcontext(self.storage.entries(after=after)) as entries:
            async for entry in entries:
                if before is not None and entry.name >= before:
                    return
                if OBJECT_NAME.fullmatch(entry.name):
                    yield entry

    async def _page(self, segment: Segment, group: Sequence[Entry], *, keys_only: bool) -> Page:
        items = await side_by_side(self._item(entry) for entry in group)
        there = [item for item in items if item is not None]
        return Page(segment.index, [Raw(item.key) if keys_only else Raw(item.image) for item in there])

    async def _item(self, entry: Entry) -> KeyedImage | None:
        """Return the item of an object that is listed; None for one that is gone, or that does not count."""
        async with self._slots:
            held = await self._look(entry.name)
            if held is None or held.image is None:
                return None
            key = self.keys.key(held.image)
            ours, *others = object_names(key)
            for name in {ours, *others} - {entry.name}:
                head = await self.storage.head(name)
                if head is not None and (head.modified, name == ours) > (entry.modified, entry.name == ours):
                    return None
            return KeyedImage(key, held.image)

    # ── Writing ─────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, mutation: Mutation) -> Outcome:
        """Write one item under its precondition and return what was there before.

        A refused precondition is an answer: ``Outcome.applied`` is false then. It may also be this very
        write, of which an earlier try got no answer.

        Raises:
            ServiceError, StorageError: it could not be written.
        """
        async with self._slots:
            if isinstance(mutation, Put) and isinstance(mutation.precondition, ItemAbsent):
                return await self._create(mutation)
            return await self._change(mutation, mutation.precondition.expected)  # type: ignore[union-attr]

    async def _create(self, mutation: Put) -> Outcome:
        """Put an item where there is none; in place of an object that was found to hold none."""
        body = object_body(mutation.image)
        name, *others = object_names(mutation.key)
        for other in others:
            there = await self._look(other)
            if there is not None and there.image is not None:
                return Outcome(applied=there.image == body)
        unsure = False
        etag: str | None = None
        for _ in range(_TRIES):
            try:
                await self._put(name, body, etag)
            except ConditionFailedError as error:
                unsure = unsure or error.maybe_done
            else:
                return Outcome(applied=True)
            if not unsure and name not in self.unreadable:
                break
            held = await self._look(name)
            if held is not None and held.image is not None:
                return Outcome(applied=held.image == body, unsure=unsure)
            etag = None if held is None else held.etag
        return Outcome(applied=False, unsure=unsure)

    async def _change(self, mutation: Mutation, expected: Mapping[str, WireValue | None]) -> Outcome:
        """Write to an item that is there and has the expected attributes; put or delete it only if it has no others."""
        is_whole = not isinstance(mutation, Patch)
        unsure = False
        for _ in range(_TRIES):
            held = await self._find(mutation.key)
            if held is None or held.image is None or not _has(held.image, expected, exactly=is_whole):
                break
            try:
                await self._bring(held, mutation)
            except ConditionFailedError as error:
                unsure = unsure or error.maybe_done
            else:
                return Outcome(applied=True, old=held.image)
        return Outcome(applied=False, unsure=unsure)

    async def _bring(self, held: _Held, mutation: Mutation) -> None:
        """Write to an object as it was read.

        Raises:
            ConditionFailedError: it is not so any more.
        """
        match mutation:
            case Put():
                await self._replace(held, mutation.key, object_body(mutation.image))
            case Patch():
                await self._replace(held, mutation.key, _patched(held.image or b"{}", mutation))
            case Delete():
                await self._remove(held, mutation.key)

    async def _replace(self, held: _Held, key: bytes, body: bytes) -> None:
        """Put an object in place of another, whose mark it keeps: under our name, whichever that one has."""
        name = object_name(key)
        head = await self.storage.head(held.name)
        if head is None or head.etag != held.etag:
            raise ConditionFailedError(f"{self.storage.name_of(held.name)} has changed since it was read.")
        if held.name != name:
            head = await self.storage.head(name)
        mark = None if head is None else Mark.of(head.metadata)
        await self._put(name, body, None if head is None else head.etag, mark.metadata if mark else None)

    async def _put(
        self, name: str, body: bytes, etag: str | None, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Put an object in place of one with this ETag, or where there is none."""
        self._meter.requests += 1
        await self.storage.put(name, body, if_absent=etag is None, if_match=etag, metadata=metadata)

    async def _remove(self, held: _Held, key: bytes) -> None:
        """Delete the object of an item, and first what another tool has left of it: that would count again."""
        for name in reversed(object_names(key)):
            if name == held.name:
                self._meter.requests += 1
                await self.storage.delete(name, if_match=held.etag)
            elif (head := await self.storage.head(name)) is not None:
                await self.storage.delete(name, if_match=head.etag)

    async def write_all(self, states: Sequence[KeyedImage | ItemState]) -> None:
        """Put and delete items without precondition; where a key occurs twice the later state counts.

        Raises:
            ServiceError, StorageError: some could not be written.
        """
        await side_by_side(self._write(key, image) for key, image in dict(states).items())

    async def _write(self, key: bytes, image: Any) -> None:
        async with self._slots:
            if image is not None:
                self._meter.requests += 1
                await self.storage.put(object_name(key), object_body(bytes(image)))
                return
            for name in reversed(object_names(key)):
                if await self.storage.head(name) is not None:  # a bucket notes deletions of nothing, too
                    await self.storage.delete(name)


def folder_of_table(storage: Storage, table: Source, *, at_once: int = AT_ONCE) -> ItemFolder:
    """Return the incremental folder of a table.

    Args:
        storage: the folder itself, PREFIX/TABLE.
        table: whose items it holds: the key is the table's, and what else its items have.
        at_once: requests that may be under way at the same time.
    """
    settings = replace(
        table.settings,
        arn="",
        table_id=None,
        ttl_attribute=None,  # nothing expires in S3
        item_count=0,
        size_bytes=0,
        replica_regions=frozenset(),
        capacity=Capacity(billing="provisioned"),  # no request takes capacity units
        is_folder=True,
    )
    return ItemFolder(storage, settings, at_once=at_once)


def _bound(index: int, total: int) -> str:
    """Return what the names of a segment's objects come behind: 8 digits, and so shorter than any of them."""
    return "" if index == 0 else f"{index * 2**32 // total:08x}"


def _has(image: bytes, expected: Mapping[str, WireValue | None], *, exactly: bool) -> bool:
    """Tell whether an item has these attributes; None says that it is to lack one."""
    item = decode_image(image)
    if exactly and item.keys() - expected.keys():
        return False
    return all(
        name not in item if value is None else name in item and same_value(item[name], value)
        for name, value in expected.items()
    )


def _patched(image: bytes, patch: Patch) -> bytes:
    item = decode_image(image)
    for name in patch.remove:
        item.pop(name, None)
    return encode_image(item | {name: dict(value) for name, value in patch.assign.items()})
