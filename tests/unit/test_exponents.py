"""Numbers with exponents are spelled plainly, and nothing else is touched."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.items.exponents import with_plain_numbers
from asyncrep.items.numbers import is_storable_number


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"n":{"N":"1e+21"}}', b'{"n":{"N":"1' + b"0" * 21 + b'"}}'),
        (b'{"n":{"N":"-1.5e-7"}}', b'{"n":{"N":"-0.00000015"}}'),
        (b'{"n": {"N": "1E2"}}', b'{"n": {"N": "100"}}'),
        (b'{"n":{"NS":["1","2e+3","3E1"]}}', b'{"n":{"NS":["1","2000","30"]}}'),
        (b'{"l":{"L":[{"N":"1e1"},{"N":"1e2"}]}}', b'{"l":{"L":[{"N":"10"},{"N":"100"}]}}'),
        (b'{"n":{"N":"1e"}}', b'{"n":{"N":"1e"}}'),
        (b'{"n":{"N":"1e400"}}', b'{"n":{"N":"1E400"}}'),
    ],
)
def test_exponents_are_written_out(before: bytes, after: bytes) -> None:
    assert with_plain_numbers(before) == after


@pytest.mark.parametrize(
    "image",
    [
        b'{"n":{"N":"10.0"},"e":{"S":"1e5"}}',
        rb'{"s":{"S":"{\"N\":\"1e5\"}"}}',
        rb'{"s":{"S":"\"NS\":[\"1e5\"]"}}',
        b'{"s":{"SS":["1e5","2e5"]},"N":{"S":"1e5"},"b":{"B":"1e55"}}',
        b'{"m":{"M":{"N":{"S":"1e5"},"NS":{"SS":["1e5"]}}}}',
    ],
)
def test_what_only_looks_like_a_number_stays(image: bytes) -> None:
    assert with_plain_numbers(image) == image


texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=None).map(str).filter(is_storable_number)
leaves = st.one_of(
    texts.map(lambda text: {"S": text}),
    numbers.map(lambda text: {"N": text.replace("E", "e")}),
    st.lists(numbers, min_size=1, max_size=3).map(lambda members: {"NS": members}),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: {"L": each}),
        st.dictionaries(texts, inner, max_size=3).map(lambda each: {"M": each}),
    ),
    max_leaves=6,
)


def by_value(value: Any) -> Any:
    """A value in which numbers are compared as such."""
    if isinstance(value, list):
        return [by_value(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"N"} and isinstance(value["N"], str):
        return Decimal(value["N"])
    if set(value) == {"NS"} and isinstance(value["NS"], list):
        return [Decimal(each) for each in value["NS"]]
    return {name: by_value(each) for name, each in value.items()}


@given(st.dictionaries(texts, values, max_size=4))
def test_an_item_keeps_its_value(item: dict[str, Any]) -> None:
    image = json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()
    plain = json.loads(with_plain_numbers(image))
    assert by_value(plain) == by_value(item)


@given(numbers)
def test_no_exponent_is_left_that_the_service_could_store(number: str) -> None:
    plain = json.loads(with_plain_numbers(json.dumps({"n": {"N": number}}).encode()))["n"]["N"]
    assert "e" not in plain.lower()
    assert Decimal(plain) == Decimal(number)
