"""The stream of a scripted table: shards that split, end and are trimmed; records as the service makes them.

stream = endpoint.create_table("t", stream="NEW_AND_OLD_IMAGES").stream
left, right = stream.split()          # the only open shard ends, two children go on
stream.roll(left)                     # a shard ends after four hours, one child goes on
stream.trim()                         # a day later: all there is by now is gone
stream.expire_iterators()             # fifteen minutes later
stream.empty_pages = 3                # the next answers hold no record, and are not the end
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncrep.flow.clock import SystemClock
from tests.support.values import Item, ServiceError, equal, invalid, size_of

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock

NEW_AND_OLD = "NEW_AND_OLD_IMAGES"
VIEWS = (NEW_AND_OLD, "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY")
ITERATOR_SECONDS = 900.0
PAGE_RECORDS = 1000
PAGE_BYTES = 1024 * 1024
PAGE_SHARDS = 100
FIRST_SEQUENCE = 10**21 - 1000
"""Soon the numbers get a digit more: who compares them as text is found out."""

_HASH_SPACE = 1 << 64
_STEP = 9
_FIRST_SHARD = 1_700_000_000_000


class Entry(NamedTuple):
    """One record in a shard."""

    sequence: int
    record: dict[str, Any]
    size: int


@dataclass
class ScriptedShard:
    """One shard: the keys whose hashes are in its range, from its first to its last sequence number.

    Attributes:
        low: the lowest hash of its keys, `high` is above the highest.
        last: None as long as it is open.
        trimmed: the sequence number of the last record that is gone.
        hidden: how many listings will leave it out.
    """

    id: str
    parent: str | None
    first: int
    low: int
    high: int
    last: int | None = None
    trimmed: int = 0
    hidden: int = 0
    entries: list[Entry] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether records still come to it."""
        return self.last is None

    def entry_at(self, sequence: int) -> int:
        """The index of the first entry with this sequence number or a higher one."""
        return bisect_left(self.entries, sequence, key=lambda entry: entry.sequence)

    def describe(self) -> dict[str, Any]:
        """Its entry in DescribeStream."""
        numbers = {"StartingSequenceNumber": str(self.first)}
        if self.last is not None:
            numbers["EndingSequenceNumber"] = str(self.last)
        parent = {} if self.parent is None else {"ParentShardId": self.parent}
        return {"ShardId": self.id, "SequenceNumberRange": numbers, **parent}


class Iterator(NamedTuple):
    """A place in a shard; all of it is in its text, so that none has to be kept."""

    arn: str
    shard: str
    sequence: int
    """The lowest sequence number to be read next."""
    made: float
    serial: int

    def encode(self) -> str:
        """The opaque text."""
        return base64.b64encode(json.dumps(self).encode()).decode()

    @classmethod
    def decode(cls, text: str) -> Iterator:
        """Read the text.

        Raises:
            ServiceError: it is none of ours.
        """
        try:
            return cls(*json.loads(base64.b64decode(text, validate=True)))
        except (binascii.Error, ValueError, TypeError):
            raise invalid("Invalid ShardIterator") from None


class ScriptedStream:
    """The stream of one table from when it was enabled on.

    Attributes:
        shards: all shards that are not trimmed, by id, in the order they were made.
        status: ENABLED or DISABLED.
        clock: the time that records carry, and that iterators grow old by.
        iterator_seconds: how old they can get.
        page_records: the most records of an answer; lower it to have more pages.
        page_shards: the most shards of a listing's page.
        empty_pages: how many of the next GetRecords answer no record, though there may be some.
    """

    def __init__(
        self,
        table_arn: str,
        keys: list[str],
        view: str = NEW_AND_OLD,
        *,
        shards: int = 1,
        first_sequence: int = FIRST_SEQUENCE,
        clock: Clock | None = None,
        generation: int = 0,
    ) -> None:
        if view not in VIEWS:
            raise invalid(f"Unknown StreamViewType: {view}")
        self.label = f"2026-01-01T00:00:{generation:02}.000"
        self.table_arn = table_arn
        self.arn = f"{table_arn}/stream/{self.label}"
        self.region = table_arn.split(":")[3]
        self.view = view
        self.status = "ENABLED"
        self.clock: Clock = clock or SystemClock()
        self.iterator_seconds = ITERATOR_SECONDS
        self.page_records = PAGE_RECORDS
        self.page_shards = PAGE_SHARDS
        self.empty_pages = 0
        self.shards: dict[str, ScriptedShard] = {}
        self._keys = keys
        self._sequence = first_sequence
        self._made_shards = 0
        self._serial = 0
        self._expired = 0
        for number in range(shards):
            self._add(None, _HASH_SPACE * number // shards, _HASH_SPACE * (number + 1) // shards)

    # ── What happens to it ──

    def split(self, shard: ScriptedShard | str | None = None, *, hidden: int = 0) -> list[ScriptedShard]:
        """End a shard (the first open one) and let two children take over half of its keys each.

        Args:
            shard: which.
            hidden: how many listings after this still leave the children out: a closed shard without any.
        """
        parent = self._open_one(shard)
        middle = (parent.low + parent.high) // 2
        return self._succeed(parent, [(parent.low, middle), (middle, parent.high)], hidden)

    def roll(self, shard: ScriptedShard | str | None = None, *, hidden: int = 0) -> ScriptedShard:
        """End a shard (the first open one) and let one child go on with its keys."""
        parent = self._open_one(shard)
        [child] = self._succeed(parent, [(parent.low, parent.high)], hidden)
        return child

    def disable(self) -> None:
        """Switch the stream off: its open shards end without children, and what is written makes no records."""
        self.status = "DISABLED"
        for shard in self.open_shards():
            shard.last = self._next()

    def trim(self, before: int | None = None) -> None:
        """Lose all records with lower sequence numbers (all there are), and the shards that ended before."""
        limit = self._next() if before is None else before
        for shard in list(self.shards.values()):
            count = shard.entry_at(limit)
            if count:
                shard.trimmed = shard.entries[count - 1].sequence
                del shard.entries[:count]
            if shard.last is not None and shard.last < limit:
                del self.shards[shard.id]

    def expire_iterators(self) -> None:
        """Let every iterator that there is now be too old."""
        self._expired = self._serial

    def note(self, position: int, old: Item | None, new: Item | None, *, by_ttl: bool = False) -> None:
        """Append the record of one write, unless it changed nothing.

        Args:
            position: the hash of its hash key, below 2^64.
            old: the item before; it and `new` are kept, and must not be changed any more.
            new: the item after.
            by_ttl: whether it was a deletion of the service's own.
        """
        if self.status != "ENABLED" or _is_same(old, new):
            return
        shard = next(each for each in self.open_shards() if each.low <= position < each.high)
        sequence = self._next()
        change: dict[str, Any] = {"ApproximateCreationDateTime": float(int(self.clock.now()))}
        present = old if new is None else new
        change["Keys"] = {name: (present or {})[name] for name in self._keys}
        size = size_of(change["Keys"])
        for name, image, view in (("NewImage", new, "NEW_IMAGE"), ("OldImage", old, "OLD_IMAGE")):
            if image is not None and self.view in (view, NEW_AND_OLD):
                change[name] = image
                size += size_of(image)
        change |= {"SequenceNumber": str(sequence), "SizeBytes": size, "StreamViewType": self.view}
        record = {
            "awsRegion": self.region,
            "dynamodb": change,
            "eventID": _digest(f"{self.arn} {sequence}"),
            "eventName": "REMOVE" if new is None else "INSERT" if old is None else "MODIFY",
            "eventSource": "aws:dynamodb",
            "eventVersion": "1.1",
        }
        if by_ttl:
            record["userIdentity"] = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        shard.entries.append(Entry(sequence, record, size))

    # ── What it is asked ──

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records that are not trimmed, in the order of their sequence numbers."""
        entries = [entry for shard in self.shards.values() for entry in shard.entries]
        return [entry.record for entry in sorted(entries, key=lambda entry: entry.sequence)]

    def open_shards(self) -> list[ScriptedShard]:
        """The shards that records still come to."""
        return [shard for shard in self.shards.values() if shard.is_open]

    def listed(self, after: str | None = None) -> list[ScriptedShard]:
        """The shards that a listing shows behind the shard with this id; a listing begins without one."""
        shown = [shard for shard in self.shards.values() if not shard.hidden]
        if after is not None:
            return [shard for shard in shown if shard.id > after]
        for shard in self.shards.values():
            shard.hidden = max(shard.hidden - 1, 0)
        return shown

    def iterator(self, shard_id: str, kind: str, sequence: int | None = None) -> Iterator:
        """A place in a shard.

        Raises:
            ServiceError: there is no such shard, or the number is not of it or is trimmed.
        """
        shard = self._shard(shard_id)
        match kind:
            case "TRIM_HORIZON":
                return self._place(shard, shard.trimmed + 1 if shard.trimmed else shard.first)
            case "LATEST":
                return self._place(shard, self._sequence + 1)
            case "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER" if sequence is not None:
                if not shard.first <= sequence <= (self._sequence if shard.last is None else shard.last):
                    raise invalid(f"Invalid SequenceNumber for shard {shard_id}")
                _check_trimmed(shard, sequence)
                return self._place(shard, sequence + (kind == "AFTER_SEQUENCE_NUMBER"))
            case _:
                raise invalid(f"Invalid ShardIteratorType {kind}")

    def read(self, iterator: Iterator, limit: int) -> tuple[list[dict[str, Any]], Iterator | None]:
        """A page of records and the place behind it, None at the end of a closed shard.

        Raises:
            ServiceError: the shard is gone, its records are, or the iterator is too old.
        """
        if iterator.serial <= self._expired or self._age(iterator) > self.iterator_seconds:
            raise ServiceError("ExpiredIteratorException", "Iterator expired")
        shard = self._shard(iterator.shard)
        _check_trimmed(shard, iterator.sequence)
        if self.empty_pages:
            self.empty_pages -= 1
            return [], self._place(shard, iterator.sequence)
        begin = shard.entry_at(iterator.sequence)
        page = _cut(shard.entries, begin, min(limit, self.page_records))
        records = [entry.record for entry in page]
        if not shard.is_open and begin + len(page) == len(shard.entries):
            return records, None
        return records, self._place(shard, page[-1].sequence + 1 if page else iterator.sequence)

    # ── Within ──

    def _next(self) -> int:
        self._sequence += _STEP
        return self._sequence

    def _add(self, parent: str | None, low: int, high: int) -> ScriptedShard:
        self._made_shards += 1
        number = _FIRST_SHARD + self._made_shards
        shard = ScriptedShard(
            f"shardId-{number:020}-{_digest(f'{self.arn} {number}')[:8]}", parent, self._next(), low, high
        )
        self.shards[shard.id] = shard
        return shard

    def _open_one(self, shard: ScriptedShard | str | None) -> ScriptedShard:
        if shard is None:
            return self.open_shards()[0]
        found = self.shards[shard if isinstance(shard, str) else shard.id]
        if not found.is_open:
            raise ValueError(f"{found.id} has ended already")
        return found

    def _succeed(
        self, parent: ScriptedShard, ranges: list[tuple[int, int]], hidden: int
    ) -> list[ScriptedShard]:
        parent.last = self._next()
        children = [self._add(parent.id, low, high) for low, high in ranges]
        for child in children:
            child.hidden = hidden
        return children

    def _shard(self, shard_id: str) -> ScriptedShard:
        if shard_id not in self.shards:
            raise ServiceError("ResourceNotFoundException", f"Requested resource not found: Shard {shard_id}")
        return self.shards[shard_id]

    def _place(self, shard: ScriptedShard, sequence: int) -> Iterator:
        self._serial += 1
        return Iterator(self.arn, shard.id, sequence, self.clock.monotonic(), self._serial)

    def _age(self, iterator: Iterator) -> float:
        return self.clock.monotonic() - iterator.made


def _is_same(old: Item | None, new: Item | None) -> bool:
    if old is None or new is None:
        return old is new
    return old == new or (old.keys() == new.keys() and equal(old, new))


def _check_trimmed(shard: ScriptedShard, sequence: int) -> None:
    if sequence <= shard.trimmed:
        raise ServiceError(
            "TrimmedDataAccessException",
            f"The operation attempted to read past the oldest stream record in shard {shard.id}",
        )


def _cut(entries: list[Entry], begin: int, limit: int) -> list[Entry]:
    """As many entries from `begin` on as make a page, at least one if there is one."""
    page: list[Entry] = []
    size = 0
    for entry in entries[begin : begin + limit]:
        size += entry.size
        if page and size > PAGE_BYTES:
            break
        page.append(entry)
    return page


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
