"""The benchmarks' tables: items of exactly the size that is charged, drift that can be counted."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from benchmarks.items import wire_size
from benchmarks.tables import PAGE_BYTES, Layout, Pages, Table

ITEMS = 280
SIZES = (100, 400, 4096, 20480)


def items_by_key(table: Table) -> dict[bytes, dict[str, Any]]:
    slots = table.present(0, table.slots)
    return {table.key(slot): json.loads(table.item(slot)) for slot in slots}


@pytest.fixture(params=itertools.product(SIZES, (False, True)), ids=str)
def layout(request: pytest.FixtureRequest) -> Layout:
    item_bytes, range_key = request.param
    return Layout(ITEMS, 0.1, range_key, item_bytes)


def test_every_item_has_the_size_that_is_charged(layout: Layout) -> None:
    for name in ("primary", "replica"):
        sizes = {wire_size(item) for item in items_by_key(Table(name, layout)).values()}
        assert sizes == {layout.item_bytes}


def test_tables_differ_as_their_layout_says_whatever_the_order_of_attributes(layout: Layout) -> None:
    primary = items_by_key(Table("primary", layout))
    replica = items_by_key(Table("replica", layout, reversed_attributes=True))
    both = primary.keys() & replica.keys()
    assert layout.counts == {
        "primary": len(primary),
        "replica": len(replica),
        "missing": len(primary) - len(both),
        "extraneous": len(replica) - len(both),
        "different": sum(primary[key] != replica[key] for key in both),
    }
    assert layout.each == 9


def test_a_key_leads_back_to_its_slot(layout: Layout) -> None:
    table = Table("replica", layout)
    assert all(table.find(json.loads(table.key(slot))) == slot for slot in range(table.slots))


@pytest.mark.parametrize(("segments", "cache_bytes"), [(1, 1 << 30), (7, 0)])
def test_pages_hold_every_item_once_and_end_at_a_megabyte(
    layout: Layout, segments: int, cache_bytes: int
) -> None:
    table = Table("replica", layout)
    pages = Pages(table, cache_bytes=cache_bytes)
    seen = []
    for number in range(segments):
        start, behind = table.segment(number, segments)
        while start < behind:
            runs, held, start = pages.page(start, behind, layout.page_items, keys_only=False)
            items = json.loads(b"[" + b",".join(runs) + b"]")
            assert len(items) == held
            assert (held - 1) * layout.item_bytes < PAGE_BYTES
            assert start >= behind or held * layout.item_bytes >= PAGE_BYTES
            seen += items
    assert seen == list(items_by_key(table).values())


def test_items_are_the_same_from_the_cache(layout: Layout) -> None:
    table = Table("replica", layout)
    pages = Pages(table, cache_bytes=1 << 30)
    pages.warm()
    assert all(pages.item(slot) == table.item(slot) for slot in table.present(0, table.slots))


def test_items_too_small_for_their_attributes_are_refused() -> None:
    with pytest.raises(ValueError, match="99 bytes"):
        Table("primary", Layout(1, item_bytes=99))


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "Zürich"}, 7),
        ({"N": "100"}, 2),
        ({"N": "12.34"}, 3),
        ({"N": "1.5"}, 3),
        ({"N": "-25"}, 3),
        ({"B": "AAEC"}, 3),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["a", "bc"]}, 3),
        ({"L": [{"S": "a"}, {"NULL": True}]}, 7),
        ({"M": {"ab": {"S": "c"}}}, 7),
    ],
)
def test_sizes_are_those_of_the_service(value: dict[str, Any], size: int) -> None:
    assert wire_size({"ab": value}) == 2 + size
