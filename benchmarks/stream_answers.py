"""What the canned endpoint answers about a stream, and to the transactions that mirrors write in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stream import Stream

_WRITES = frozenset({"Put", "Delete"})
_PER_ACTION = 2.0
"""Units that a transaction takes for an item of less than 1 KB."""


class _ShardRequest(msgspec.Struct, rename="pascal"):
    shard_id: str
    shard_iterator_type: str
    sequence_number: str = "0"


class _RecordsRequest(msgspec.Struct, rename="pascal"):
    shard_iterator: str
    limit: int = stream.MOST_RECORDS


class _TransactRequest(msgspec.Struct, rename="pascal"):
    transact_items: list[dict[str, msgspec.Raw]]


class StreamAnswers:
    """The operations of one stream, by name; each takes and returns an encoded body."""

    def __init__(self, of: Stream) -> None:
        self._stream = of
        self._shard_request = msgspec.json.Decoder(_ShardRequest)
        self._records_request = msgspec.json.Decoder(_RecordsRequest)
        self._transact_request = msgspec.json.Decoder(_TransactRequest)
        self.operations: dict[str, Callable[[bytes], bytes]] = {
            "DescribeStream": self._describe,
            "GetShardIterator": self._iterator,
            "GetRecords": self._records,
        }

    def _describe(self, _body: bytes) -> bytes:
        shards: list[dict[str, Any]] = []
        for shard in range(self._stream.shards):
            first, last = self._stream.ends(shard)
            numbers = {"StartingSequenceNumber": str(first), "EndingSequenceNumber": str(last)}
            shards.append({"ShardId": self._stream.shard_id(shard), "SequenceNumberRange": numbers})
        description = {
            "StreamArn": stream.ARN,
            "StreamStatus": "ENABLED",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            "Shards": shards,
        }
        return msgspec.json.encode({"StreamDescription": description})

    def _iterator(self, body: bytes) -> bytes:
        request = self._shard_request.decode(body)
        shard = int(request.shard_id.rpartition("-")[2], 16)
        place = 0
        if request.shard_iterator_type.endswith("_SEQUENCE_NUMBER"):
            place = self._stream.place(shard, int(request.sequence_number))
            place += request.shard_iterator_type.startswith("AFTER")
        return msgspec.json.encode({"ShardIterator": _iterator(shard, place)})

    def _records(self, body: bytes) -> bytes:
        request = self._records_request.decode(body)
        shard, place = map(int, request.shard_iterator.rpartition("|")[2].split("-"))
        page = self._stream.page(shard, place, request.limit)
        if self._stream.is_end(page.behind):
            return b'{"Records":[%b]}' % page.encoded
        following = _iterator(shard, page.behind).encode()
        return b'{"NextShardIterator":"%b","Records":[%b]}' % (following, page.encoded)

    def transact(self, body: bytes) -> tuple[bytes, int]:
        """Take a transaction for carried out, without looking at its conditions.

        Returns:
            The answer, and how many items were put or deleted.
        """
        actions = self._transact_request.decode(body).transact_items
        written = sum(bool(action.keys() & _WRITES) for action in actions)
        units = _PER_ACTION * len(actions)
        return b'{"ConsumedCapacity":[{"TableName":"copy","CapacityUnits":%.1f}]}' % units, written


def _iterator(shard: int, place: int) -> str:
    """Return an iterator as long as the service's."""
    return f"{stream.ARN}|1|{'canned' * 20}|{shard}-{place}"
