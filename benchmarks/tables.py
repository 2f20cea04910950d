"""Two deterministic tables, computed item by item from a slot number, with a known drift between them.

A *slot* is a place that may hold an item in the primary, in the replica, or in both; slots are in scan
order. Everything about an item follows from its slot by arithmetic, so that a table of any size costs no
memory and a key leads straight back to its item. Drift is spread evenly: one block of slots holds one
extraneous, one missing and one different item, and items that agree.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.items import UNSCRAMBLE, Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE_BYTES = 1024 * 1024
CHUNK_SLOTS = 64
COLLECTION_SLOTS = 4
"""Items under one hash key, when the tables have a range key."""

_MASK = (1 << 64) - 1
_ID_PREFIX = "customer#"
_FIRST_RANGE = 1_600_000_001


class Kind(Enum):
    """What the two tables hold in one slot."""

    SAME = "same"
    MISSING = "missing"
    DIFFERENT = "different"
    EXTRANEOUS = "extraneous"


class Chunk(NamedTuple):
    """Encoded items of a run of slots, joined with commas, as they stand in an `Items` array."""

    encoded: bytes
    places: bytes
    """Which of the slots hold an item, counted from the first of the run."""
    ends: array[int]
    """Where each of these items ends in `encoded`."""

    def part(self, first: int, behind: int, most: int) -> Part:
        """The items of places `first` to `behind`, `most` of them at most."""
        start = bisect_left(self.places, first) if first else 0
        stop = bisect_left(self.places, behind)
        if stop - start >= most:
            stop = start + most
            behind = self.places[stop - 1] + 1
        if stop - start == len(self.places):
            return Part(self.encoded, stop, behind)
        if start == stop:
            return Part(b"", 0, behind)
        return Part(self.encoded[self._begin(start) : self.ends[stop - 1]], stop - start, behind)

    def item(self, place: int) -> bytes:
        """The item in a place that holds one."""
        number = bisect_left(self.places, place)
        return self.encoded[self._begin(number) : self.ends[number]]

    def _begin(self, number: int) -> int:
        return self.ends[number - 1] + 1 if number else 0


class Part(NamedTuple):
    """A run of encoded items, how many there are, and the place or slot behind them."""

    encoded: bytes
    held: int
    behind: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How many items each side has and which of them differ: `items` and a share of `drift` of them."""

    items: int
    drift: float = 0.0
    range_key: bool = False
    item_bytes: int = 400
    """Size of every item as DynamoDB counts it."""

    def __post_init__(self) -> None:
        """Refuse shares that no layout can have.

        Raises:
            ValueError: `items` is negative, or `drift` is not within 0 and 1.
        """
        if self.items < 0 or not 0 <= self.drift <= 1:
            message = f"no layout of {self.items} items with drift {self.drift}"
            raise ValueError(message)

    @property
    def each(self) -> int:
        """Items that are missing; as many are different, and as many are extraneous."""
        return min(round(self.items * self.drift / 3), self.items // 3)

    @property
    def slots(self) -> int:
        """Slots of both tables together."""
        return self.items + self.each

    @property
    def page_items(self) -> int:
        """Items of a full page: like the service's, it ends with the item that reaches 1 MB."""
        return -(-PAGE_BYTES // self.item_bytes)

    @property
    def counts(self) -> Mapping[str, int]:
        """Items of each side and discrepancies of each kind."""
        found = dict.fromkeys(("missing", "different", "extraneous"), self.each)
        return {"primary": self.items, "replica": self.items, **found}


class Table:
    """One side of a layout: its items as bytes, by slot and by key."""

    def __init__(self, name: str, layout: Layout, *, reversed_attributes: bool = False) -> None:
        """`reversed_attributes` writes the same items with their attributes in the opposite order."""
        self.name = name
        self.layout = layout
        self.is_replica = name == "replica"
        self.slots = layout.slots
        self._absent = Kind.MISSING if self.is_replica else Kind.EXTRANEOUS
        self._block = layout.items // layout.each + 1 if layout.each else 0
        self._drifting = self._block * layout.each
        third = (self._block - 1) // 3
        self._drift = {0: Kind.EXTRANEOUS, third: Kind.MISSING, 2 * third: Kind.DIFFERENT}
        self._template = Template(
            layout.item_bytes, range_key=layout.range_key, reversed_attributes=reversed_attributes
        )

    @property
    def key_attributes(self) -> tuple[str, ...]:
        """Names of the key attributes, hash key first."""
        return ("id", "created") if self.layout.range_key else ("id",)

    def kind(self, slot: int) -> Kind:
        """What the two tables hold in a slot."""
        if slot >= self._drifting:
            return Kind.SAME
        return self._drift.get(slot % self._block, Kind.SAME)

    def holds(self, slot: int) -> bool:
        """Whether this table has an item in a slot."""
        return 0 <= slot < self.slots and self.kind(slot) is not self._absent

    def key(self, slot: int) -> bytes:
        """The key of a slot as a wire-form JSON object."""
        return self._template.key(*self._key_values(slot))

    def item(self, slot: int) -> bytes:
        """The item of a slot as a wire-form JSON object."""
        altered = self.is_replica and self.kind(slot) is Kind.DIFFERENT
        return self._template.item(slot, *self._key_values(slot), altered=altered)

    def find(self, key: Mapping[str, Mapping[str, str]]) -> int | None:
        """The slot of a wire-form key, or None where no slot has that key.

        Raises:
            KeyError: the key lacks an attribute of the key schema.
            ValueError: the key is not one that this module could have written.
        """
        identity = key["id"]["S"]
        if not identity.startswith(_ID_PREFIX):
            return None
        number = int(identity.removeprefix(_ID_PREFIX), 16) * UNSCRAMBLE & _MASK
        if self.layout.range_key:
            number = number * COLLECTION_SLOTS + int(key["created"]["N"]) - _FIRST_RANGE
        return number if number < self.slots else None

    def present(self, start: int, end: int) -> Iterator[int]:
        """Slots of `range(start, end)` that hold an item in this table."""
        return (slot for slot in range(start, end) if self.holds(slot))

    def chunk(self, start: int, end: int, *, keys_only: bool) -> Chunk:
        """The items of `range(start, end)`, whole or only their keys."""
        slots = list(self.present(start, end))
        encoded = [self.key(slot) if keys_only else self.item(slot) for slot in slots]
        ends, end = array("I"), -1
        for one in encoded:
            end += len(one) + 1
            ends.append(end)
        return Chunk(b",".join(encoded), bytes(slot - start for slot in slots), ends)

    def segment(self, number: int, total: int) -> tuple[int, int]:
        """First slot of a segment and the slot behind its last; item collections are never split."""
        first, behind = self.slots * number // total, self.slots * (number + 1) // total
        if number + 1 == total:
            return first - first % COLLECTION_SLOTS, self.slots
        return first - first % COLLECTION_SLOTS, behind - behind % COLLECTION_SLOTS

    def _key_values(self, slot: int) -> tuple[int, int]:
        """The number that the hash key is made of, and the range key."""
        if not self.layout.range_key:
            return slot, 0
        collection, place = divmod(slot, COLLECTION_SLOTS)
        return collection, _FIRST_RANGE + place


class Pages:
    """Chunks of one table, kept once encoded until `cache_bytes` are held; the rest is encoded each time."""

    def __init__(self, table: Table, *, cache_bytes: int) -> None:
        self.table = table
        self._cache: dict[tuple[int, bool], Chunk] = {}
        self._room = cache_bytes

    def warm(self) -> None:
        """Encode the whole items ahead of the first request, as far as the cache reaches."""
        for start in range(0, self.table.slots, CHUNK_SLOTS):
            if self._room <= 0:
                return
            self._chunk(start, keys_only=False)

    def page(self, start: int, behind: int, most: int, *, keys_only: bool) -> tuple[list[bytes], int, int]:
        """The next items from slot `start` on, `most` of them at most.

        Returns:
            Encoded runs of items, how many items there are, and the slot behind the last.
        """
        runs, held = [], 0
        while start < behind and held < most:
            first = start - start % CHUNK_SLOTS
            stop = min(behind - first, CHUNK_SLOTS)
            part = self._chunk(first, keys_only=keys_only).part(start - first, stop, most - held)
            if part.held:
                runs.append(part.encoded)
            held += part.held
            start = first + part.behind
        return runs, held, start

    def item(self, slot: int) -> bytes:
        """The whole item of a slot that holds one."""
        place = slot % CHUNK_SLOTS
        cached = self._cache.get((slot - place, False))
        return self.table.item(slot) if cached is None else cached.item(place)

    def _chunk(self, start: int, *, keys_only: bool) -> Chunk:
        cached = self._cache.get((start, keys_only))
        if cached is not None:
            return cached
        chunk = self.table.chunk(start, min(start + CHUNK_SLOTS, self.table.slots), keys_only=keys_only)
        if self._room > 0:
            self._room -= len(chunk.encoded)
            self._cache[start, keys_only] = chunk
        return chunk
