"""Looking into a table: what is read of it, and what follows for its size."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import Raw

from asyncrep.cost.sample import MOST_PAGES, sampled
from asyncrep.cost.tables import PlannedTable
from asyncrep.model import Capacity, Meter, Page, Segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.options import Limits

IMAGE = b'{"id":{"S":"0000"},"n":{"N":"12"}}'
SIZE = 2 + 4 + 1 + 2


@dataclass
class Pages:
    """A source whose segments have pages of so many items each; anything else about it is not asked.

    Attributes:
        whole: the pages of the one and only segment.
        thin: those of one of many segments.
        thick: those of one of ten.
    """

    whole: list[int]
    thin: list[int] = field(default_factory=list)
    thick: list[int] = field(default_factory=list)
    image: bytes = IMAGE
    read: list[Segment] = field(default_factory=list)
    meter: Meter = field(default_factory=Meter)
    open: int = 0

    def limited(self, _limits: Limits) -> Pages:
        return self

    async def pages(self, segment: Segment) -> AsyncIterator[Page]:
        self.read.append(segment)
        self.open += 1
        try:
            for count in {1: self.whole, 10: self.thick}.get(segment.total, self.thin):
                self.meter.read_units += 0.5
                yield Page(segment.index, [Raw(self.image)] * count)
        finally:
            self.open -= 1


async def look(source: Pages, items: int | None, size: float = 0.0) -> PlannedTable:
    described = PlannedTable("a table", "us-east-1", Capacity(), items, size, size)
    found = await sampled(described, cast("Any", source), random.Random(7))
    assert source.open == 0
    return found


async def test_a_small_table_is_read_whole_and_counted() -> None:
    """DescribeTable may be six hours old: what was counted now is better."""
    source = Pages(whole=[3])
    found = await look(source, items=150, size=1000)
    assert source.read == [Segment(0, 1)]
    assert (found.items, found.item_size, found.wire_size, found.rough) == (3, SIZE, len(IMAGE), False)
    assert found.sample is not None
    assert (found.sample.pages, found.sample.items, found.sample.read_units) == (1, 3, 0.5)


async def test_of_a_large_table_thin_segments_are_read_and_what_is_told_counts() -> None:
    source = Pages(whole=[], thin=[100])
    found = await look(source, items=10**6, size=1000)
    assert [segment.total for segment in source.read] == [1000] * 3
    assert len({segment.index for segment in source.read}) == 3
    assert (found.items, found.item_size, found.rough) == (10**6, 1000, False)
    assert found.wire_size == pytest.approx(1000 * len(IMAGE) / SIZE)


async def test_when_only_the_count_is_told_the_size_is_the_samples() -> None:
    found = await look(Pages(whole=[], thin=[500]), items=10**6)
    assert (found.items, found.item_size, found.rough) == (10**6, SIZE, False)


async def test_an_unknown_count_is_extrapolated() -> None:
    found = await look(Pages(whole=[], thin=[100]), items=None)
    assert found.items == 100_000
    assert found.rough


async def test_of_a_table_of_unknown_size_ever_thicker_segments_are_read_until_one_holds_something() -> None:
    source = Pages(whole=[40])
    found = await look(source, items=None)
    assert [segment.total for segment in source.read] == [1000, 100, 10, 1]
    assert (found.items, found.rough) == (40, False)


async def test_a_handful_of_items_is_not_extrapolated() -> None:
    source = Pages(whole=[], thin=[3], thick=[400])
    found = await look(source, items=None)
    assert [segment.total for segment in source.read] == [1000, 100, 10]
    assert found.items == round(406 / 0.111)
    assert found.rough


async def test_an_empty_table_is_known_to_be_empty() -> None:
    found = await look(Pages(whole=[0]), items=None)
    assert (found.items, found.item_size, found.rough) == (0, 0.0, False)


async def test_never_more_than_a_few_pages_are_read() -> None:
    for items in (None, 10, 10**9):
        source = Pages(whole=[0] * 50, thin=[1] * 50)
        found = await look(source, items)
        assert found.sample is not None
        assert found.sample.pages == MOST_PAGES


async def test_a_page_cut_at_a_megabyte_does_not_end_a_table() -> None:
    large = json.dumps({"id": {"S": "x" * 2000}}).encode()
    source = Pages(whole=[400, 400], image=large)
    found = await look(source, items=150)
    assert found.sample is not None
    assert (found.sample.pages, found.items) == (1, 150)
