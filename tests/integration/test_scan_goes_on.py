"""A scan goes on behind any item's key, met or not, there or deleted: what jobs rest on when they go on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.scenario import wire

if TYPE_CHECKING:
    from tests.support.engines import Engine
    from tests.support.values import Item

SEGMENTS = 3
KEYS = {
    "text": (("id", "S"), None),
    "number": (("id", "N"), None),
    "text and number": (("id", "S"), ("at", "N")),
    "text and bytes": (("id", "S"), ("at", "B")),
}


def made(kind: str) -> list[Item]:
    """Items of a kind; where there are two key attributes, several share the first."""
    ((_, hash_type), range_key), items = KEYS[kind], []
    for number in range(60):
        name = number if range_key is None else number // 7
        key: dict[str, Any] = {"id": wire(name if hash_type == "N" else f"k{name}é")}
        if range_key is not None:
            key["at"] = wire(number - 30 if range_key[1] == "N" else bytes([number, 255 - number]))
        items.append(key | {"v": wire(number)})
    return items


def key_of(item: Item) -> dict[str, Any]:
    return {name: item[name] for name in ("id", "at") if name in item}


def scanned(engine: Engine, table: str, segment: int, after: dict[str, Any] | None = None) -> list[Item]:
    """A segment's items in order, by pages of four."""
    items: list[Item] = []
    start = after
    while True:
        body: dict[str, Any] = {"TableName": table, "Segment": segment, "TotalSegments": SEGMENTS, "Limit": 4}
        answer = engine.call("Scan", body | ({"ExclusiveStartKey": start} if start else {}))
        items += answer["Items"]
        start = answer.get("LastEvaluatedKey")
        if start is None:
            return items


@pytest.mark.parametrize("kind", KEYS)
def test_a_scan_goes_on_behind_any_key_of_its_segment(engine: Engine, kind: str) -> None:
    hash_key, range_key = KEYS[kind]
    table = engine.create_table(hash=hash_key, range=range_key, items=made(kind))
    met = 0
    for segment in range(SEGMENTS):
        whole = scanned(engine, table, segment)
        met += len(whole)
        for place, item in enumerate(whole):
            assert scanned(engine, table, segment, key_of(item)) == whole[place + 1 :]
    assert met == 60


@pytest.mark.parametrize("kind", KEYS)
def test_it_goes_on_behind_a_key_that_was_deleted(engine: Engine, kind: str) -> None:
    hash_key, range_key = KEYS[kind]
    table = engine.create_table(hash=hash_key, range=range_key, items=made(kind))
    chance = random.Random(kind)
    for segment in range(SEGMENTS):
        whole = scanned(engine, table, segment)
        for place in sorted(chance.sample(range(len(whole)), min(8, len(whole))), reverse=True):
            gone = whole.pop(place)
            engine.call("DeleteItem", {"TableName": table, "Key": key_of(gone)})
            assert scanned(engine, table, segment, key_of(gone)) == whole[place:]
