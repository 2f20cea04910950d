"""What was written lately is remembered for so long, in bounded memory, and never forgotten too early."""

from __future__ import annotations

from typing import Any

import pytest
from boto3.dynamodb.conditions import Key

from asyncrep import VirtualClock
from asyncrep.split.conditions import hash_value
from asyncrep.split.recent import RecentWrites


async def test_a_write_is_remembered_for_so_many_seconds() -> None:
    clock = VirtualClock()
    recent = RecentWrites(5.0, clock)
    assert not recent.has_any()
    recent.note(("a", 1))
    await clock.sleep(4.9)
    assert recent.has(("a", 1))
    assert recent.has_under("a")
    assert recent.has_any()
    assert not recent.has(("a", 2))
    assert not recent.has_under("b")
    await clock.sleep(0.1)
    assert not recent.has(("a", 1))
    assert not recent.has_under("a")
    assert not recent.has_any()


async def test_writing_again_begins_anew() -> None:
    clock = VirtualClock()
    recent = RecentWrites(5.0, clock)
    recent.note(("a",))
    await clock.sleep(4.0)
    recent.note(("b",))
    recent.note(("a",))
    await clock.sleep(4.0)
    assert recent.has(("a",))
    assert recent.has(("b",))
    await clock.sleep(1.0)
    assert not recent.has_any()


async def test_memory_is_bounded_and_in_doubt_anything_was_written() -> None:
    clock = VirtualClock()
    recent = RecentWrites(5.0, clock, most=10)
    for number in range(1000):
        recent.note((number,))
    assert len(recent._keys._ends) <= 10
    assert len(recent._hashes._ends) <= 10
    assert all(recent.has((number,)) for number in range(1000))
    assert recent.has(("never",)), "it may be one of those that are not remembered"
    assert recent.has_under("never")
    await clock.sleep(5.0)
    assert not recent.has((0,))
    assert not recent.has_any()


async def test_what_is_over_takes_no_memory() -> None:
    clock = VirtualClock()
    recent = RecentWrites(5.0, clock)
    for number in range(100):
        recent.note((number,))
        await clock.sleep(1.0)
    assert len(recent._keys._ends) <= 6


VALUES = {":h": "a", ":n": 5}


@pytest.mark.parametrize(
    ("parameters", "value"),
    [
        ({"KeyConditionExpression": Key("id").eq("a")}, "a"),
        ({"KeyConditionExpression": Key("id").eq("a") & Key("n").gt(5)}, "a"),
        ({"KeyConditionExpression": Key("n").between(1, 2) & Key("id").eq("a")}, "a"),
        ({"KeyConditionExpression": Key("n").eq(5) & Key("id").eq("a")}, "a"),
        ({"KeyConditionExpression": Key("other").eq("a")}, None),
        ({"KeyConditionExpression": "id = :h", "ExpressionAttributeValues": VALUES}, "a"),
        ({"KeyConditionExpression": "n=:n AND id=:h", "ExpressionAttributeValues": VALUES}, "a"),
        (
            {
                "KeyConditionExpression": "(#n = :n) and (#h = :h)",
                "ExpressionAttributeNames": {"#h": "id", "#n": "n"},
                "ExpressionAttributeValues": VALUES,
            },
            "a",
        ),
        ({"KeyConditionExpression": "n = :n and id2 = :h", "ExpressionAttributeValues": VALUES}, None),
        ({"KeyConditionExpression": "id = :missing"}, None),
        ({"KeyConditions": {"id": {"AttributeValueList": ["a"], "ComparisonOperator": "EQ"}}}, None),
        ({}, None),
    ],
)
def test_the_hash_key_is_read_out_of_a_condition_or_is_not_known(
    parameters: dict[str, Any], value: str | None
) -> None:
    assert hash_value(parameters, "id") == value
