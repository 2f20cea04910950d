"""Scans one segment of a table, page by page, into raw item slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from asyncrep.aws.capacity import Consumed, Estimator
from asyncrep.model import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.capacity import Budget
    from asyncrep.aws.client import WireClient
    from asyncrep.aws.read import Projection
    from asyncrep.items.keys import KeyReader
    from asyncrep.model import Segment

ABSENT = Raw()
"""What a raw member holds that the answer did not have."""

FULL_PAGE_UNITS = 128.0
"""What an eventually consistent page of 1 MB takes: half a unit for every 4 KB."""


class _Answer(msgspec.Struct):
    Items: list[Raw]
    LastEvaluatedKey: Raw = ABSENT
    ConsumedCapacity: Consumed | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


async def scan_pages(
    client: WireClient,
    keys: KeyReader,
    segment: Segment,
    budget: Budget,
    projection: Projection | None = None,
) -> AsyncIterator[Page]:
    """Yield every page of ``segment``, eventually consistent, with each item's canonical key.

    Pages may be empty; only the absence of a LastEvaluatedKey ends a segment.

    Raises:
        ServiceError: a page could not be read; nothing after it was seen.
    """
    opening = b'{"TableName":%b,"ReturnConsumedCapacity":"TOTAL","Segment":%d,"TotalSegments":%d' % (
        _encode(client.name), segment.index, segment.total,
    )  # fmt: skip
    if projection is not None:
        opening += b"," + projection.members
    estimator = Estimator(FULL_PAGE_UNITS)
    start = b""
    while True:
        estimate = estimator.units
        await budget.spend("read", estimate)
        answer = await client.call("Scan", opening + start + b"}", _decode, budget.meter)
        units = answer.ConsumedCapacity.CapacityUnits if answer.ConsumedCapacity else 0.0
        budget.charge("read", units, estimate)
        estimator.learn(units)
        yield Page(segment.index, keys.keyed(answer.Items))
        if answer.LastEvaluatedKey == ABSENT:
            return
        # Sent back exactly as it came: binary keys would not survive another encoding.
        start = b',"ExclusiveStartKey":' + bytes(answer.LastEvaluatedKey)


async def holds_any_item(client: WireClient, budget: Budget) -> bool:
    """Tell by strongly consistent reads whether the table holds any item at all."""
    opening = b'{"TableName":%b,"ReturnConsumedCapacity":"TOTAL","ConsistentRead":true,"Limit":1' % _encode(
        client.name
    )
    start = b""
    while True:
        answer = await client.call("Scan", opening + start + b"}", _decode, budget.meter)
        budget.charge("read", answer.ConsumedCapacity.CapacityUnits if answer.ConsumedCapacity else 0.0, 0.0)
        if answer.Items:
            return True
        if answer.LastEvaluatedKey == ABSENT:
            return False
        start = b',"ExclusiveStartKey":' + bytes(answer.LastEvaluatedKey)
