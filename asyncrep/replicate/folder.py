"""The policy of an incremental backup: an object for each item, and each of its changes a version of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncrep.change import ChangeKind, Fate
from asyncrep.errors import ConditionFailedError, ServiceError, StorageError, UsageError
from asyncrep.items.incremental import Mark, object_body, object_names
from asyncrep.replicate.grouping import HOPELESS, Tally, by_key, for_each
from asyncrep.replicate.selection import Selection, Unmakeable
from asyncrep.storage import ObjectHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.change import Applied, Change
    from asyncrep.storage import Storage

_AT_ONCE = 256
"""Items that are written at the same time: what waits for S3 costs a connection and an image each."""

_TRIES = 10
"""How often a change is held against what others have made of its object meanwhile."""

_NOT_TRIED = "It was not tried, as a change of the item before it failed."


class Folder:
    """Brings changes to a folder, all of them, one after the other. See ``asyncrep.change.Applier``.

    An object holds its item's last image, compact wire JSON as the stream told it, and goes when the item goes.
    No change is squashed: in a bucket that keeps versions, an object's versions are the item's history, and a
    mark says when it was deleted.

    The sequence number of its change is in each object's metadata, and an object is only put or deleted as it
    was last seen, by its ETag. So a change that comes late, or again, never takes the place of a newer one of
    the same table. What an object holds that has no number (a backfill put it there, or another tool), or one
    of another table, is taken to be older.

    Limits: a deleted object has no number. A put that comes again after the deletion, or was still on its way,
    makes the object anew, until the deletion comes again as well, as it does when records are read again in
    their order; in the history both are there twice. And S3 knows an object by the digest of its content unless
    a KMS key encrypts it: one that was changed, and changed back, between a look at it and the put that follows
    is not noticed.

    Of an item that is deleted an object is deleted as well that dynamodb-replicator has named by the other order
    of a key of two attributes.

    Requests: one for a new item, two for the first change of a known item in a batch (one to look at it) and
    one for each further change of it; one more for a deletion where the key has two attributes.

    A local folder keeps no numbers: there records that come again are applied again, in their order.

    Args:
        storage: the folder.
        selection: what is kept; an item that is not selected any more is deleted.

    Raises:
        UsageError: only parts of items were to be kept.
    """

    def __init__(self, storage: Storage, selection: Selection | None = None) -> None:
        self._storage = storage
        self._selection = selection or Selection()
        check_whole(self._selection)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @property
    def label(self) -> str:
        """The folder as ``s3://BUCKET/PREFIX/TABLE``, or its path."""
        return self._storage.label

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Write every change, those of one item in order; see ``asyncrep.change.Applier.apply``."""
        batch = _Batch(self._storage, self._selection)

        async def write(group: list[Change]) -> None:
            async with self._slots:
                await batch.write(group)

        await for_each(by_key(changes), write, at_once=_AT_ONCE)
        return batch.tally.applied()


def check_whole(selection: Selection) -> None:
    """Refuse a selection that a backup cannot hold.

    Raises:
        UsageError: only parts of items were to be kept.
    """
    if not selection.copies_whole_items:
        raise UsageError("A backup holds whole items: their attributes cannot be left out or renamed.")


@dataclass(slots=True)
class _Known:
    """What is known of an object at this moment.

    Attributes:
        name: ours.
        other: the name that another tool may have given it; None when there can be none, or is none any more.
        head: None: there is none. Before it was looked at, that is a guess.
        is_seen: it was looked at, or written.
    """

    name: str
    other: str | None = None
    head: ObjectHead | None = None
    is_seen: bool = False

    @classmethod
    def of(cls, key: bytes) -> _Known:
        """Return what is known of the object of an item at first: its names."""
        name, *others = object_names(key)
        return cls(name, others[0] if others else None)


@dataclass(slots=True)
class _Batch:
    """Some changes on their way to a folder."""

    storage: Storage
    selection: Selection
    tally: Tally = field(default_factory=Tally)
    has_bucket: bool = False

    async def write(self, group: Sequence[Change]) -> None:
        """Write the changes of one item, one after the other, until one fails."""
        known = _Known.of(group[0].key)
        for position, change in enumerate(group):
            try:
                await self._write(known, change)
            except (ServiceError, StorageError) as error:
                if isinstance(error, HOPELESS):
                    raise
                self.tally.add(change, Fate.FAILED, str(error))
                for later in group[position + 1 :]:
                    self.tally.add(later, Fate.FAILED, _NOT_TRIED)
                return

    async def _write(self, known: _Known, change: Change) -> None:
        wanted = self.selection.wanted(change)
        if wanted is None:
            self.tally.squashed += 1
        elif isinstance(wanted, Unmakeable):
            self.tally.add(change, Fate.POISON, wanted.reason)
        elif await self._bring(known, change, wanted.image):
            self.tally.written += 1
        else:
            self.tally.add(change, Fate.SUPERSEDED)

    async def _bring(self, known: _Known, change: Change, image: bytes | None) -> bool:
        """Bring an object to the state after a change; tell whether this did it, or it was done before."""
        mark = Mark(change.stream, change.sequence)
        unsure = False  # a try got no answer, so that it may be ours what is there
        removed = False
        if not known.is_seen and (image is None or change.kind is not ChangeKind.INSERT):
            await self._look(known)  # of a new item there should be nothing to look at
        for _ in range(_TRIES):
            held = None if known.head is None else Mark.of(known.head.metadata)
            if held is not None and held.covers(mark):
                return unsure and held == mark
            if image is None and await self._remove_other(known):
                removed = True
            if image is None and known.head is None:
                await self._check_bucket()
                return unsure or removed
            try:
                await self._send(known, mark, image)
            except ConditionFailedError as error:
                unsure = unsure or error.maybe_done
                await self._look(known)
            else:
                return True
        raise ServiceError(f"Others keep writing {known.name} in {self.storage.label}.")

    async def _send(self, known: _Known, mark: Mark, image: bytes | None) -> None:
        """Put or delete an object, if it is as it is known.

        Raises:
            ConditionFailedError: it is not.
        """
        etag = None if known.head is None else known.head.etag
        if image is None:
            await self.storage.delete(known.name, if_match=etag)
            known.head = None
        else:
            metadata = mark.metadata
            etag = await self.storage.put(
                known.name, object_body(image), if_absent=etag is None, if_match=etag, metadata=metadata
            )
            known.head = ObjectHead(etag, metadata)
        known.is_seen = True

    async def _remove_other(self, known: _Known) -> bool:
        """Delete what another tool has left of an item under its other name: it would be taken for the item."""
        if known.other is None:
            return False
        head = await self.storage.head(known.other)
        if head is not None:
            await self.storage.delete(known.other, if_match=head.etag)
        known.other = None
        return head is not None

    async def _look(self, known: _Known) -> None:
        known.head = await self.storage.head(known.name)
        known.is_seen = True

    async def _check_bucket(self) -> None:
        """Tell an object that is not there from a bucket that is not, once."""
        if not self.has_bucket:
            await self.storage.check()
            self.has_bucket = True
