"""Scans one segment of a table, page by page, into raw item slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from asyncrep.aws.capacity import Consumed
from asyncrep.model import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.capacity import Budget, Estimator
    from asyncrep.aws.client import WireClient
    from asyncrep.aws.read import Projection
    from asyncrep.items.keys import KeyReader
    from asyncrep.model import Segment


class _Answer(msgspec.Struct):
    Items: list[Raw]
    LastEvaluatedKey: Raw = Raw()
    ConsumedCapacity: Consumed | None = None

    @property
    def units(self) -> float:
        return self.ConsumedCapacity.CapacityUnits if self.ConsumedCapacity else 0.0

    @property
    def start(self) -> bytes:
        """The request member that asks for the page after this one; empty after the last.

        The key goes back exactly as it came: binary keys would not survive another encoding.
        """
        key = bytes(self.LastEvaluatedKey)
        return b"" if key in {b"", b"null"} else b',"ExclusiveStartKey":' + key


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


async def scan_pages(
    client: WireClient,
    keys: KeyReader,
    segment: Segment,
    budget: Budget,
    estimator: Estimator,
    projection: Projection | None = None,
) -> AsyncIterator[Page]:
    """Yield every page of ``segment``, eventually consistent, with each item's canonical key.

    Pages may be empty; only the absence of a LastEvaluatedKey ends a segment.

    Args:
        client: the table's.
        keys: reads the keys of the table's items.
        segment: which slice to scan.
        budget: what the scan may use.
        estimator: guesses what a page takes; shared by all segments.
        projection: what to ask for, whole items without one.

    Raises:
        ServiceError: a page could not be read; nothing after it was seen.
    """
    opening = b'{"TableName":%b,"ReturnConsumedCapacity":"TOTAL","Segment":%d,"TotalSegments":%d' % (
        _encode(client.name), segment.index, segment.total,
    )  # fmt: skip
    if projection is not None:
        opening += b"," + projection.members
    start = b""
    while True:
        estimate = estimator.units
        await budget.spend("read", estimate)
        answer = await client.call("Scan", opening + start + b"}", _decode, budget)
        budget.charge("read", answer.units, estimate)
        estimator.learn(answer.units)
        yield Page(segment.index, keys.keyed(answer.Items))
        start = answer.start
        if not start:
            return


async def holds_any_item(client: WireClient, budget: Budget) -> bool:
    """Tell by strongly consistent reads whether the table holds any item at all."""
    opening = b'{"TableName":%b,"ReturnConsumedCapacity":"TOTAL","ConsistentRead":true,"Limit":1' % _encode(
        client.name
    )
    start = b""
    while True:
        answer = await client.call("Scan", opening + start + b"}", _decode, budget)
        budget.charge("read", answer.units, 0.0)
        if answer.Items:
            return True
        start = answer.start
        if not start:
            return False
