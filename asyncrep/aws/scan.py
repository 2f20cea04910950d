"""Scans one segment of a table, page by page, into raw item slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from asyncrep.aws.capacity import Consumed, Cost, Estimator
from asyncrep.model import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.capacity import Budget
    from asyncrep.aws.client import WireClient
    from asyncrep.aws.read import Projection
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
        return b"" if key in {b"", b"null"} else _START + key


_START = b',"ExclusiveStartKey":'

# Eventually consistent reads take half a unit for each 4 KB. A page ends at 1 MB, an item at 400 KB.
_PAGE_UNITS = 128.0
_LARGEST_ITEM_UNITS = 50.0
_REMEMBERED = 0.75

LARGEST_PAGE_UNITS = _PAGE_UNITS + _LARGEST_ITEM_UNITS
"""What an eventually consistent page takes at most: 1 MB, and the item that passes it."""

_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


class PageSizes:
    """Says how many items a page may hold under a low rate, and guesses what it takes.

    Shared by all segments of a table, which all begin at once: until the first answer it fears the
    worst. It learns from every answer: what whole pages took helps when the rate falls later.
    """

    def __init__(self) -> None:
        self._whole_page = Estimator(_PAGE_UNITS)
        self._units = self._items = 0.0  # of the last answers, older ones fading

    def next(self, rate: float | None) -> tuple[int | None, float]:
        """Return how the next page is asked for.

        Args:
            rate: the units per second in force, None for no limit.

        Returns:
            The most items it may hold, so that it takes about a second's worth of a low rate, and None
            for a whole page; and the units it is expected to take.
        """
        if rate is None or rate >= _PAGE_UNITS:
            return None, self._whole_page.units
        if not self._items:
            return max(int(rate / _LARGEST_ITEM_UNITS), 1), rate
        if not self._units:  # an emulator that counts none
            return None, self._whole_page.units
        per_item = self._units / self._items
        limit = max(int(rate / per_item), 1)
        return limit, min(limit * per_item, _PAGE_UNITS)

    def learn(self, limit: int | None, items: int, units: float) -> None:
        """Take in what a page asked for with ``limit`` held and took."""
        if limit is None:
            self._whole_page.learn(units)
        if items:
            self._units = self._units * _REMEMBERED + units
            self._items = self._items * _REMEMBERED + items


async def scan_pages(
    client: WireClient,
    segment: Segment,
    budget: Budget,
    sizes: PageSizes,
    projection: Projection | None = None,
    after: bytes | None = None,
) -> AsyncIterator[Page]:
    """Yield every page of ``segment``, eventually consistent.

    Pages may be empty; only the absence of a LastEvaluatedKey ends a segment.

    Args:
        client: the table's.
        segment: which slice to scan.
        budget: what the scan may use.
        sizes: says how large pages may be and what they take; shared by all segments.
        projection: what to ask for, whole items without one.
        after: a key of the segment; only what comes behind it is scanned. Any key will do that lies in the
            segment, whether or not there is such an item: a scan goes on behind its hash.

    Raises:
        ServiceError: a page could not be read; nothing after it was seen.
    """
    opening = b'{"TableName":%b,"ReturnConsumedCapacity":"TOTAL","Segment":%d,"TotalSegments":%d' % (
        _encode(client.name), segment.index, segment.total,
    )  # fmt: skip
    if projection is not None:
        opening += b"," + projection.members
    start = b"" if after is None else _START + after
    while True:
        limit, estimate = sizes.next(budget.rate("read"))
        ending = b"}" if limit is None else b',"Limit":%d}' % limit
        answer = await client.call(
            "Scan",
            opening + start + ending,
            _decode,
            budget,
            Cost(estimate, LARGEST_PAGE_UNITS),
        )
        budget.charge("read", answer.units, estimate)
        sizes.learn(limit, len(answer.Items), answer.units)
        start = answer.start
        pages = [Page(segment.index, answer.Items, last=not start)]
        del (
            answer
        )  # so that nobody but who takes the page holds its megabyte, while the next one is waited for
        yield pages.pop()
        if not start:
            return


async def holds_any_item(client: WireClient, budget: Budget) -> bool:
    """Tell by strongly consistent reads whether the table holds any item at all."""
    opening = b'{"TableName":%b,"ReturnConsumedCapacity":"TOTAL","ConsistentRead":true,"Limit":1' % _encode(
        client.name
    )
    start = b""
    while True:
        answer = await client.call(
            "Scan", opening + start + b"}", _decode, budget, Cost(0.0, 2 * _LARGEST_ITEM_UNITS)
        )
        budget.charge("read", answer.units, 0.0)
        if answer.Items:
            return True
        start = answer.start
        if not start:
            return False
