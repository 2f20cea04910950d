"""The proxy damages what it says, tells the truth about what it left undone, and does the same for a seed."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fault_proxy import flipped, merged, split

if TYPE_CHECKING:
    from tests.support.engines import Engine
    from tests.support.fault_proxy import FaultProxy
    from tests.support.values import Item

KEYS: list[Item] = [{"id": {"S": f"k{number}"}} for number in range(40)]


def test_a_flip_is_one_bit_that_leaves_the_text_legible() -> None:
    body = '{"Items":[{"id":{"S":"é"},"v":{"N":"12"}}]}'.encode()
    for seed in range(50):
        damaged = flipped(body, random.Random(seed))
        assert [(left ^ right) for left, right in zip(body, damaged, strict=True) if left != right] == [1]
        assert damaged.decode().isprintable()
        assert zlib.crc32(damaged) != zlib.crc32(body)


@pytest.mark.parametrize("options", [{}, {"ConsistentRead": True}])
def test_what_is_left_out_and_what_is_done_make_the_whole(options: dict[str, bool]) -> None:
    entries: dict[str, dict[str, Any]] = {"t": options | {"Keys": KEYS}, "u": options | {"Keys": KEYS[:1]}}
    done, left = split(entries, 0.5, random.Random(1))
    for table, wanted in entries.items():
        parts = [side.get(table, {"Keys": []}) for side in (done, left)]
        names = sorted(key["id"]["S"] for part in parts for key in part["Keys"])
        assert names == sorted(key["id"]["S"] for key in wanted["Keys"])
    assert left["t"].keys() == entries["t"].keys()
    assert len(merged({"t": {"Keys": KEYS[:3]}}, {"t": {"Keys": KEYS[3:5]}})["t"]["Keys"]) == 5
    assert merged({}, {"t": KEYS[:2]}) == {"t": KEYS[:2]}


def test_entries_left_unprocessed_were_not_carried_out(proxy: FaultProxy, engine: Engine) -> None:
    table = engine.create_table()
    proxy.leave_unprocessed(0.5)
    through = type(engine)(engine.name, proxy.url)
    writes = [{"PutRequest": {"Item": key}} for key in KEYS[:25]]
    left = through.call("BatchWriteItem", {"RequestItems": {table: writes}})["UnprocessedItems"][table]
    assert 0 < len(left) < 25
    missing = [write["PutRequest"]["Item"]["id"]["S"] for write in left]
    present = [item["id"]["S"] for item in engine.items(table)]
    assert sorted(missing + present) == sorted(key["id"]["S"] for key in KEYS[:25])

    answer = through.call("BatchGetItem", {"RequestItems": {table: {"Keys": KEYS[:25]}}})
    asked_again = answer["UnprocessedKeys"][table]["Keys"]
    there = {key["id"]["S"] for key in KEYS[:25] if key not in asked_again} & set(present)
    assert {item["id"]["S"] for item in answer["Responses"][table]} == there


def test_the_same_seed_strikes_the_same_requests(proxy: FaultProxy, engine: Engine) -> None:
    table = engine.create_table(items=KEYS)
    through = type(engine)(engine.name, proxy.url)
    proxy.leave_unprocessed(0.5)
    body = {"RequestItems": {table: {"Keys": KEYS}}}
    first, second = (through.call("BatchGetItem", body)["UnprocessedKeys"] for _ in range(2))
    proxy._came.clear()
    again = [through.call("BatchGetItem", body)["UnprocessedKeys"] for _ in range(2)]
    assert again == [first, second]
    assert first != second
