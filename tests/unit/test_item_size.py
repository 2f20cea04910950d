"""Sizes of items as DynamoDB counts them, worked out by hand from the developer guide's rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from asyncrep.items.size import item_size
from tests.support.strategies import items as any_items
from tests.support.strategies import respell, seeds, thoroughly
from tests.support.values import size_of

if TYPE_CHECKING:
    import random

    from tests.support.values import Item


def size(**attributes: Any) -> int:
    return item_size(json.dumps(attributes).encode())


@pytest.mark.parametrize(
    ("value", "bytes_of_value"),
    [
        ({"S": ""}, 0),
        ({"S": "abc"}, 3),
        ({"S": "žluť"}, 6),
        ({"S": "😀"}, 4),
        ({"N": "0"}, 1),
        ({"N": "7"}, 2),
        ({"N": "27"}, 2),
        ({"N": "-27"}, 3),
        ({"N": "123"}, 3),
        ({"N": "1000000"}, 2),
        ({"N": "0.00012"}, 2),
        ({"N": "100.001"}, 4),
        ({"N": "1E+125"}, 2),
        ({"N": "1" * 38}, 20),
        ({"B": ""}, 0),
        ({"B": "AA=="}, 1),
        ({"B": "AAA="}, 2),
        ({"B": "AAAA"}, 3),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["a", "bcd"]}, 4),
        ({"NS": ["1", "234"]}, 5),
        ({"BS": ["AAAA", "AA=="]}, 4),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}, {"N": "1"}]}, 3 + (1 + 2) + (1 + 2)),
        ({"M": {}}, 3),
        ({"M": {"name": {"S": "ab"}}}, 3 + 1 + 4 + 2),
        ({"M": {"l": {"L": [{"NULL": True}]}}}, 3 + 1 + 1 + (3 + 1 + 1)),
    ],
)
def test_a_value_counts(value: dict[str, Any], bytes_of_value: int) -> None:
    assert size(a=value) == len("a") + bytes_of_value


def test_an_item_is_the_sum_of_its_names_and_values() -> None:
    assert size(string={"S": "string"}, number={"N": "27"}, buffer={"B": "YnVmZmVy"}) == (
        len("string" + "number" + "buffer") + 6 + 2 + 6
    )
    assert size(ž={"BOOL": True}) == 3
    assert item_size(b"{}") == 0


def test_white_space_and_escapes_do_not_count() -> None:
    assert item_size(b'{ "\\u0061" : { "S" : "\\u0062" } }') == 2


def test_what_is_no_item_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected"):
        item_size(b"[1]")


@thoroughly
@given(any_items(), seeds())
def test_the_spelling_does_not_count(item: Item, source: random.Random) -> None:
    assert item_size(respell(item, source)) == size_of(item)
