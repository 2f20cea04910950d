"""Looks into a table: how large its items are, and about how many there are when nobody tells.

Read in one piece, a few pages of a large table would all come from one partition. So the table is cut
into thin segments, of which a few are read from a random place on.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from asyncrep.cost.tables import Sampled
from asyncrep.items.size import item_size
from asyncrep.model import Segment
from asyncrep.options import Limits

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator

    from asyncrep.cost.tables import PlannedTable
    from asyncrep.model import Page, Source

MOST_PAGES = 5
"""Pages read of a table, at most: 640 read units at 1 MB each."""

_ENOUGH_ITEMS = 300
_SEGMENT_ITEMS = 200  # thick enough that a segment holds some, thin enough that it is one page
_FEW_ITEMS = 50
_MOST_SEGMENTS = 1000
_SHORT_PAGE_BYTES = 500_000  # a page that something follows is full, which is 1 MB less one item


@dataclass(slots=True)
class _Seen:
    """What has been seen so far.

    Attributes:
        share: of the whole table, in segments that were read.
        complete: all of the table was read.
    """

    pages: int = 0
    items: int = 0
    size: int = 0
    wire: int = 0
    share: float = 0.0
    complete: bool = False

    @property
    def is_enough(self) -> bool:
        """Whether no more has to be read."""
        return self.pages >= MOST_PAGES or self.items >= _ENOUGH_ITEMS

    def add(self, page: Page) -> int:
        """Count a page in; return the bytes of its items, as DynamoDB counts them."""
        images = _images(page)
        size = sum(map(item_size, images))
        self.pages += 1
        self.items += len(images)
        self.size += size
        self.wire += sum(map(len, images))
        return size

    def forget_items(self) -> None:
        """Begin to count anew: the whole table is read next."""
        self.items = self.size = self.wire = 0
        self.share = 0.0


async def sampled(
    table: PlannedTable, source: Source, random: random.Random, limits: Limits | None = None
) -> PlannedTable:
    """Return ``table`` with what a look into it tells: sizes, and the count when nobody told it.

    Args:
        table: as DescribeTable tells it.
        source: where it can be read.
        random: chooses where to look.
        limits: how fast it may be read.

    Raises:
        ServiceError: it could not be read.
    """
    metered = source.limited(limits or Limits())
    seen = await _look(metered, table.items, random)
    sample = Sampled(seen.pages, seen.items, metered.meter.read_units)
    if seen.complete:  # newer than what DescribeTable tells
        table = replace(table, items=seen.items, item_size=0.0)
    if not seen.items:
        return replace(table, sample=sample)
    size = table.item_size or seen.size / seen.items
    return replace(
        table,
        sample=sample,
        item_size=size,
        wire_size=size * seen.wire / seen.size,
        items=table.items or round(seen.items / seen.share),
        rough=not table.items,
    )


async def _look(source: Source, items: int | None, random: random.Random) -> _Seen:
    """Read thin segments; ever thicker ones, in the end the whole table, as long as they hold little."""
    seen = _Seen()
    total = _MOST_SEGMENTS if items is None else min(max(items // _SEGMENT_ITEMS, 1), _MOST_SEGMENTS)
    index = random.randrange(total)
    while not seen.is_enough:
        if total == 1:
            seen.forget_items()
        before = seen.items
        ended = await _read(source, Segment(index, total), seen)
        seen.share += 1 / total
        if total == 1 or not ended:
            seen.complete = ended
            break
        if seen.items - before >= _FEW_ITEMS:
            index = (index + 1) % total
        else:  # a handful of items tells neither a size nor a count
            total = max(1, total // 10)
            index = random.randrange(total)
    return seen


async def _read(source: Source, segment: Segment, seen: _Seen) -> bool:
    """Read a segment's pages until enough is seen; return whether it was read to its end."""
    pages = cast("AsyncGenerator[Page, None]", source.pages(segment))
    async with aclosing(pages):
        async for page in pages:
            size = seen.add(page)
            if seen.is_enough:
                return size < _SHORT_PAGE_BYTES
    return True


def _images(page: Page) -> list[bytes]:
    return [bytes(image) for image in page.images]
