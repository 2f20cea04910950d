"""Tables kept in memory: items by plain key, scan order, segments, and what a lagging reader sees."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tests.support.streams import NEW_AND_OLD, ScriptedStream
from tests.support.values import (
    ITEM_BYTES,
    Item,
    Value,
    check_value,
    invalid,
    plain,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncrep.flow.clock import Clock

PlainKey = Any
"""The hash key as str, Decimal (or any equal number) or bytes; (hash, range) where there is a range key."""

_PAGE_BYTES = 1024 * 1024
_HASH_SPACE = 1 << 64


class ScriptedTable:
    """One table in one Region. Tests read and change `items` as they like, though unseen by its stream.

    Attributes:
        keys: name and type of the hash key and, where there is one, of the range key.
        items: plain key to item in wire form, spelled as it was written.
        page_items: the most items on a page of a scan; None leaves the service's 1 MB.
        stale: plain key to the item that eventually consistent reads see (None: they see none).
        segment_of: (plain hash key, total segments) to segment; replace it to cut sides differently.
        position_of: plain hash key to its place in scan order; replace it to order sides differently.
        description: entries that DescribeTable answers instead of its own, such as Replicas.
        global_regions: the Regions that DescribeGlobalTable (the version of 2017) lists, if any.
        streams: every stream it ever had; the last is the one that DescribeTable tells.
        tokens: the requests that each token of a transaction came with; None for an emulator without.
    """

    def __init__(self, name: str, region: str, keys: list[tuple[str, str]], ttl: str | None = None) -> None:
        self.name = name
        self.region = region
        self.keys = keys
        self.ttl = ttl
        self.items: dict[PlainKey, Item] = {}
        self.page_items: int | None = None
        self.stale: dict[PlainKey, Item | None] = {}
        self.position_of: Callable[[Any], int] = position_of
        self.segment_of: Callable[[Any, int], int] = self._segment_by_position
        self.description: dict[str, Any] = {}
        self.global_regions: list[str] = []
        self.streams: list[ScriptedStream] = []
        self.tokens: dict[str, Any] | None = {}
        self._frozen: dict[PlainKey, Item] | None = None

    def put(self, item: Item) -> None:
        """Store a copy of the item in the place of any with its key."""
        self.check_item(item)
        self._store(self.key_of(item), deepcopy(item))

    def get(self, key: PlainKey) -> Item | None:
        """The item as strong reads see it."""
        return self.items.get(key)

    def delete(self, key: PlainKey) -> None:
        """Remove the item with this key, if there is one."""
        self._store(key, None)

    def expire(self, key: PlainKey) -> None:
        """Remove the item with this key as TTL does."""
        self._store(key, None, by_ttl=True)

    def _store(self, key: PlainKey, new: Item | None, *, by_ttl: bool = False) -> None:
        old = self.items.pop(key, None) if new is None else self.items.get(key)
        if new is not None:
            self.items[key] = new
        if self.streams:
            self.streams[-1].note(position_of(self._hash_of(key)), old, new, by_ttl=by_ttl)

    @property
    def arn(self) -> str:
        """The table's ARN."""
        return f"arn:aws:dynamodb:{self.region}:123456789012:table/{self.name}"

    @property
    def stream(self) -> ScriptedStream:
        """The latest stream; IndexError when it never had one."""
        return self.streams[-1]

    def enable_stream(
        self, view: str = NEW_AND_OLD, *, shards: int = 1, clock: Clock | None = None
    ) -> ScriptedStream:
        """Switch a new stream on; what is there already makes no records."""
        stream = ScriptedStream(
            self.arn,
            [name for name, _ in self.keys],
            view,
            shards=shards,
            clock=clock,
            generation=len(self.streams),
        )
        self.streams.append(stream)
        return stream

    def freeze_reads(self) -> None:
        """Let eventually consistent reads see the table as it is now, whatever is written later."""
        self._frozen = deepcopy(self.items)

    def thaw_reads(self) -> None:
        """Let eventually consistent reads see the present again."""
        self._frozen = None
        self.stale.clear()

    def view(self, *, consistent: bool) -> Mapping[PlainKey, Item]:
        """The items a read sees."""
        if consistent or (self._frozen is None and not self.stale):
            return self.items
        seen: dict[PlainKey, Item | None] = {**(self.items if self._frozen is None else self._frozen)}
        seen.update(self.stale)
        return {key: item for key, item in seen.items() if item is not None}

    def key_of(self, item: Mapping[str, Value]) -> PlainKey:
        """The plain key of an item or of a key in wire form."""
        values = [plain(item[name]) for name, _ in self.keys]
        return values[0] if len(values) == 1 else tuple(values)

    def wire_key_of(self, item: Mapping[str, Value]) -> Item:
        """The key attributes of an item, as they are spelled in it."""
        return {name: item[name] for name, _ in self.keys}

    def check_item(self, item: Item) -> None:
        """Refuse an item that the service would not store."""
        for value in item.values():
            check_value(value)
        for name, kind in self.keys:
            if name not in item:
                raise invalid(
                    f"One or more parameter values were invalid: Missing the key {name} in the item"
                )
            (actual,) = item[name]
            if actual != kind:
                raise invalid(
                    f"One or more parameter values were invalid: Type mismatch for key {name} "
                    f"expected: {kind} actual: {actual}"
                )
        self._refuse_empty_keys(item)
        if size_of(item) > ITEM_BYTES:
            raise invalid("Item size has exceeded the maximum allowed size")

    def check_key(self, key: Item) -> None:
        """Refuse a key that is not exactly the table's key attributes."""
        for value in key.values():
            check_value(value)
        kinds = {name: next(iter(value)) for name, value in key.items()}
        if kinds != dict(self.keys):
            raise invalid("The provided key element does not match the schema")
        self._refuse_empty_keys(key)

    def _refuse_empty_keys(self, item: Item) -> None:
        for name, kind in self.keys:
            if item[name][kind] == "":
                raise invalid(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute "
                    f"cannot contain an empty {'binary' if kind == 'B' else 'string'} value. Key: {name}"
                )

    def page(
        self,
        *,
        segment: int = 0,
        segments: int = 1,
        limit: int | None = None,
        start: Item | None = None,
        consistent: bool = False,
    ) -> tuple[list[Item], Item | None]:
        """One page of a scan and the key to go on after, None at the end of the segment."""
        view = dict(self.view(consistent=consistent))  # at once: a test may be writing in another thread
        keys = sorted((key for key in view if self._segment(key, segments) == segment), key=self._order)
        if start is not None:
            keys = self._after(keys, start, segment, segments)
        page: list[Item] = []
        size = 0
        for key in keys:
            page.append(view[key])
            size += size_of(view[key])
            if size >= _PAGE_BYTES or len(page) in (limit, self.page_items):
                break
        # A page that ended at Limit has a LastEvaluatedKey even when nothing follows it.
        if page and (len(page) < len(keys) or len(page) == limit):
            return page, self.wire_key_of(page[-1])
        return page, None

    def _after(self, keys: list[PlainKey], start: Item, segment: int, segments: int) -> list[PlainKey]:
        self.check_key(start)
        key = self.key_of(start)
        if self._segment(key, segments) != segment:
            raise invalid(
                "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use "
                f"ExclusiveStartKey with correct Segment. TotalSegments: {segments} Segment: {segment}"
            )
        place = self._order(key)
        return [candidate for candidate in keys if self._order(candidate) > place]

    def _hash_of(self, key: PlainKey) -> Any:
        return key if len(self.keys) == 1 else key[0]

    def _segment(self, key: PlainKey, segments: int) -> int:
        return self.segment_of(self._hash_of(key), segments)

    def _segment_by_position(self, hash_key: Any, segments: int) -> int:
        return self.position_of(hash_key) * segments // _HASH_SPACE

    def _order(self, key: PlainKey) -> tuple[Any, ...]:
        position = self.position_of(self._hash_of(key))
        return (position, key) if len(self.keys) == 1 else (position, *key)


@lru_cache(maxsize=1 << 16)
def position_of(hash_key: Any) -> int:
    """A place below 2^64 for a hash key, the same in every table and every run; equal numbers share it."""
    if isinstance(hash_key, bytes):
        text = f"B:{hash_key.hex()}"
    elif isinstance(hash_key, str):
        text = f"S:{hash_key}"
    else:
        text = f"N:{Decimal(hash_key).normalize()}"
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "big")
