"""Two deterministic tables, computed item by item from a slot number, with a known drift between them.

A *slot* is a place that may hold an item in the primary, in the replica, or in both; slots are in scan
order. Everything about an item follows from its slot by arithmetic, so that a table of any size costs no
memory and a key leads straight back to its item. Drift is spread evenly: one block of slots holds one
extraneous, one missing and one different item, and items that agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE_CHUNKS = 40
CHUNK_SLOTS = 64
COLLECTION_SLOTS = 4
"""Items under one hash key, when the tables have a range key."""

_MASK = (1 << 64) - 1
_SCRAMBLE = 0x9E3779B97F4A7C15
_UNSCRAMBLE = pow(_SCRAMBLE, -1, 1 << 64)
_ID_PREFIX = "customer#"
_FIRST_RANGE = 1_600_000_000

_STATUSES = (b"pending", b"shipped", b"delivered", b"returned")
_NAMES = (
    b"Ada Lovelace",
    b"Zo\xc3\xab \xc3\x85kesson",
    b"Jos\xc3\xa9 Mart\xc3\xadnez",
    b'Grace \\"Amazing\\" Hopper',
)
_CITIES = (b"Z\xc3\xbcrich", b"Vancouver", b"S\xc3\xa3o Paulo", b"Oslo")
_NOTES = (
    b"leave with the neighbour",
    b"ring twice, and mind the dog behind the gate",
    b"call before delivery",
    b"gift wrapping",
)
_ATTRIBUTES = (
    b'"name":{"S":"%(name)s"}',
    b'"status":{"S":"%(status)s"}',
    b'"amount":{"N":"%(amount)d.%(cents)02d"}',
    b'"quantity":{"N":"%(quantity)d"}',
    b'"active":{"BOOL":%(active)s}',
    b'"tags":{"SS":["tier-%(quantity)d","web"]}',
    b'"address":{"M":{"city":{"S":"%(city)s"},"lines":{"L":[{"S":"%(number)d Main"}]}}}',
    b'"coupon":{"NULL":true}',
    b'"token":{"B":"AAECAwQFBgc="}',
    b'"note":{"S":"%(note)s"}',
    b'"updated":{"S":"2024-05-17T08:%(minute)02d:%(cents)02dZ"}',
)


class Kind(Enum):
    """What the two tables hold in one slot."""

    SAME = "same"
    MISSING = "missing"
    DIFFERENT = "different"
    EXTRANEOUS = "extraneous"


class Chunk(NamedTuple):
    """Encoded items of a run of slots, joined with commas, as they stand in an `Items` array."""

    encoded: bytes
    held: int
    charged: int
    """Bytes of the whole items: what a scan is charged for, whatever it projects."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How many items each side has and which of them differ: `items` and a share of `drift` of them."""

    items: int
    drift: float = 0.0
    range_key: bool = False

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
        self._key_template = b'"id":{"S":"customer#%(identity)016x"}'
        if layout.range_key:
            self._key_template += b',"created":{"N":"%(created)d"}'
        ordered = _ATTRIBUTES[::-1] if reversed_attributes else _ATTRIBUTES
        self._template = b"{" + self._key_template + b"," + b",".join(ordered) + b"}"

    @property
    def key_attributes(self) -> tuple[str, ...]:
        """Names of the key attributes, hash key first."""
        return ("id", "created") if self.layout.range_key else ("id",)

    def kind(self, slot: int) -> Kind:
        """What the two tables hold in a slot."""
        if slot >= self._drifting:
            return Kind.SAME
        third = (self._block - 1) // 3
        places = {0: Kind.EXTRANEOUS, third: Kind.MISSING, 2 * third: Kind.DIFFERENT}
        return places.get(slot % self._block, Kind.SAME)

    def holds(self, slot: int) -> bool:
        """Whether this table has an item in a slot."""
        return 0 <= slot < self.slots and self.kind(slot) is not self._absent

    def key(self, slot: int) -> bytes:
        """The key of a slot as a wire-form JSON object."""
        return b"{" + self._key_template % self._key_values(slot) + b"}"

    def item(self, slot: int) -> bytes:
        """The item of a slot as a wire-form JSON object, about 400 bytes of it."""
        variant = slot & 3
        altered = self.is_replica and self.kind(slot) is Kind.DIFFERENT
        values: dict[bytes, object] = {
            **self._key_values(slot),
            b"name": _NAMES[variant],
            b"status": b"altered" if altered else _STATUSES[(slot >> 2) & 3],
            b"amount": slot * 7919 % 100_000,
            b"cents": slot % 60,
            b"quantity": slot % 17 + 1,
            b"active": b"true" if slot & 1 else b"false",
            b"city": _CITIES[(slot >> 1) & 3],
            b"number": slot * 31 % 1_000,
            b"note": _NOTES[variant],
            b"minute": slot // 60 % 60,
        }
        return self._template % values

    def find(self, key: Mapping[str, Mapping[str, str]]) -> int | None:
        """The slot of a wire-form key, or None where no slot has that key.

        Raises:
            KeyError: the key lacks an attribute of the key schema.
            ValueError: the key is not one that this module could have written.
        """
        identity = key["id"]["S"]
        if not identity.startswith(_ID_PREFIX):
            return None
        number = int(identity.removeprefix(_ID_PREFIX), 16) * _UNSCRAMBLE & _MASK
        if self.layout.range_key:
            number = number * COLLECTION_SLOTS + int(key["created"]["N"]) - _FIRST_RANGE
        return number if number < self.slots else None

    def present(self, start: int, end: int) -> Iterator[int]:
        """Slots of `range(start, end)` that hold an item in this table."""
        return (slot for slot in range(start, end) if self.holds(slot))

    def chunk(self, start: int, end: int, *, keys_only: bool) -> Chunk:
        """The items of `range(start, end)`, whole or only their keys."""
        slots = list(self.present(start, end))
        items = [self.item(slot) for slot in slots]
        charged = sum(map(len, items))
        encoded = [self.key(slot) for slot in slots] if keys_only else items
        return Chunk(b",".join(encoded), len(slots), charged)

    def segment(self, number: int, total: int) -> tuple[int, int]:
        """First slot of a segment and the slot behind its last; item collections are never split."""
        first, behind = self.slots * number // total, self.slots * (number + 1) // total
        if number + 1 == total:
            return first - first % COLLECTION_SLOTS, self.slots
        return first - first % COLLECTION_SLOTS, behind - behind % COLLECTION_SLOTS

    def _key_values(self, slot: int) -> dict[bytes, object]:
        if not self.layout.range_key:
            return {b"identity": slot * _SCRAMBLE & _MASK}
        collection, place = divmod(slot, COLLECTION_SLOTS)
        return {b"identity": collection * _SCRAMBLE & _MASK, b"created": _FIRST_RANGE + place}


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
            self._whole_chunk(start, keys_only=False)

    def page(self, start: int, behind: int, *, keys_only: bool) -> tuple[list[Chunk], int]:
        """The chunks of a page of about 1 MB from `start` on, and the slot behind the page.

        Pages end where a chunk ends, so that every page but a segment's first is made of whole chunks.
        """
        end = min(behind, (start // CHUNK_SLOTS + PAGE_CHUNKS) * CHUNK_SLOTS)
        chunks = []
        while start < end:
            stop = min(end, start - start % CHUNK_SLOTS + CHUNK_SLOTS)
            if stop - start == CHUNK_SLOTS:
                chunks.append(self._whole_chunk(start, keys_only=keys_only))
            else:
                chunks.append(self.table.chunk(start, stop, keys_only=keys_only))
            start = stop
        return chunks, end

    def _whole_chunk(self, start: int, *, keys_only: bool) -> Chunk:
        cached = self._cache.get((start, keys_only))
        if cached is not None:
            return cached
        chunk = self.table.chunk(start, start + CHUNK_SLOTS, keys_only=keys_only)
        if self._room > 0:
            self._room -= len(chunk.encoded)
            self._cache[start, keys_only] = chunk
        return chunk
