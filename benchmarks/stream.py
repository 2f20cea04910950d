"""A deterministic stream of a table's changes: closed shards, whose pages are encoded before they are asked for.

Ten records in a row insert four items, change five and remove one. Every item has a version, which grows, so
that mirrors of all policies can follow. With repeats, the last of the ten changes the first one's item once
more: both come in one page, and who keeps only the last state of an item has nine to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.items import Template
from benchmarks.tables import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_RECORDS = 1000
ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/primary/stream/2023-11-14T22:13:20.000"
VERSION = "version"

_ITEM_BYTES = 400
_IMAGE_BYTES = _ITEM_BYTES + len(VERSION) + 2
_KEY_BYTES = len("id") + len("customer#") + 16
_CREATED = 1_700_000_000
_FIRST_SEQUENCE = 400_000_000_000_000_000_000
_SHARD_SEQUENCES = 1_000_000_000_000

_TURN = 10
_INSERTS, _REMOVAL = 4, 8
"""Of each ten records the first ones insert, the ninth removes, the others modify."""
_FIRST_VERSION, _LATER_VERSION = 1, 6

_RECORD = (
    b'{"awsRegion":"us-east-1","dynamodb":{"ApproximateCreationDateTime":%(created)d,"Keys":%(key)b,'
    b'%(images)b"SequenceNumber":"%(sequence)d","SizeBytes":%(size)d,"StreamViewType":"NEW_AND_OLD_IMAGES"},'
    b'"eventID":"%(sequence)032x","eventName":"%(event)b","eventSource":"aws:dynamodb","eventVersion":"1.1"}'
)


@dataclass(frozen=True, slots=True)
class StreamPage:
    """What one GetRecords answers: the encoded records, how many they are, and the place behind them."""

    encoded: bytes
    records: int
    behind: int


class Stream:
    """The stream of a table of no items: ``records`` of them, evenly in ``shards``, all closed.

    Args:
        records: how many there are; each shard has a whole number of tens.
        shards: in how many shards.
        repeats: whether a tenth of the records changes an item that an earlier one has touched.
    """

    def __init__(self, records: int, shards: int, *, repeats: bool) -> None:
        self.shards = shards
        self._per_shard = records // shards // _TURN * _TURN if shards else 0
        self._repeats = repeats
        self._template = Template(_ITEM_BYTES, range_key=False, reversed_attributes=False)
        self._pages: dict[tuple[int, int, int], StreamPage] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """Records, and how many items the last states of which make up for all of them, page by page."""
        records = self._per_shard * self.shards
        return {"records": records, "items": records - records // _TURN * self._repeats}

    def shard_id(self, shard: int) -> str:
        """Return a shard's name."""
        return f"shardId-{_CREATED:020d}-{shard:08x}"

    def ends(self, shard: int) -> tuple[int, int]:
        """Return the first and the last sequence number of a shard."""
        first = _FIRST_SEQUENCE + shard * _SHARD_SEQUENCES
        return first, first + max(self._per_shard - 1, 0)

    def place(self, shard: int, sequence: int) -> int:
        """Return the place of a sequence number in its shard."""
        return sequence - self.ends(shard)[0]

    def warm(self) -> None:
        """Encode all pages of the usual size."""
        for shard in range(self.shards):
            place = 0
            while place < self._per_shard:
                place = self.page(shard, place, MOST_RECORDS).behind

    def is_end(self, place: int) -> bool:
        """Whether a shard has no records from a place on."""
        return place >= self._per_shard

    def page(self, shard: int, place: int, limit: int) -> StreamPage:
        """Return the records from a place on, ``limit`` or 1 MB at the most."""
        asked = (shard, place, limit)
        if asked not in self._pages:
            self._pages[asked] = self._encoded(shard, place, limit)
        return self._pages[asked]

    def _encoded(self, shard: int, place: int, limit: int) -> StreamPage:
        records, size, behind = [], 0, place
        for number in range(place, min(place + limit, self._per_shard)):
            event, images, bytes_of = self._change(shard, number)
            if size + bytes_of > PAGE_BYTES:
                break
            size, behind = size + bytes_of, number + 1
            values = {
                b"created": _CREATED,
                b"key": self._key(shard, number),
                b"images": b"".join(images),
                b"sequence": self.ends(shard)[0] + number,
                b"size": bytes_of,
                b"event": event,
            }
            records.append(_RECORD % values)
        return StreamPage(b",".join(records), len(records), behind)

    def _change(self, shard: int, number: int) -> tuple[bytes, Iterator[bytes], int]:
        """Return what happened, the images with their names, and the bytes as the service counts them."""
        item, turn = self._item(number), number % _TURN
        version = _LATER_VERSION if turn >= _INSERTS else _FIRST_VERSION
        if item != number:  # the inserted item changes
            version = _FIRST_VERSION
        old = (b'"OldImage":', self._image(shard, item, version), b",")
        new = (b'"NewImage":', self._image(shard, item, version + 1), b",")
        if turn < _INSERTS:
            new = (b'"NewImage":', self._image(shard, item, version), b",")
            return b"INSERT", iter(new), _KEY_BYTES + _IMAGE_BYTES
        if turn == _REMOVAL:
            return b"REMOVE", iter(old), _KEY_BYTES + _IMAGE_BYTES
        return b"MODIFY", iter((*new, *old)), _KEY_BYTES + 2 * _IMAGE_BYTES

    def _item(self, number: int) -> int:
        """Return which item a record is of."""
        last = number % _TURN == _TURN - 1
        return number - _TURN + 1 if last and self._repeats else number

    def _key(self, shard: int, number: int) -> bytes:
        return self._template.key(self._identity(shard, self._item(number)), 0)

    def _image(self, shard: int, item: int, version: int) -> bytes:
        image = self._template.item(item + version, self._identity(shard, item), 0, altered=False)
        return b'%b,"%b":{"N":"%d"}}' % (image[:-1], VERSION.encode(), version)

    def _identity(self, shard: int, item: int) -> int:
        return shard * max(self._per_shard, 1) + item
