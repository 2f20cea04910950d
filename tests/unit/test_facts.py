"""Equal items have equal digests, and all facts of a key have one order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from asyncrep.change import Change, ChangeKind
from asyncrep.items.canonical import content_digest
from asyncrep.items.equality import same_item
from asyncrep.replicate.facts import Fact, OddVersionError, Version, is_setback, version_in
from tests.support.scenario import item, key
from tests.support.strategies import items as any_items
from tests.support.strategies import respell, seeds

if TYPE_CHECKING:
    import random

    from tests.support.values import Item


def encoded(made: Any) -> bytes:
    return json.dumps(made).encode()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"n": {"N": "1"}}, {"n": {"N": "1.0"}}),
        ({"n": {"N": "-0"}}, {"n": {"N": "0E5"}}),
        ({"a": {"S": "x"}, "b": {"S": "y"}}, {"b": {"S": "y"}, "a": {"S": "x"}}),
        ({"s": {"SS": ["b", "a"]}}, {"s": {"SS": ["a", "b"]}}),
        ({"s": {"NS": ["10", "2"]}}, {"s": {"NS": ["2.0", "1E1"]}}),
        ({"s": {"BS": ["AA==", "AQ=="]}}, {"s": {"BS": ["AQ==", "AA=="]}}),
        ({"m": {"M": {"a": {"N": "1"}, "b": {"L": [{"N": "2"}]}}}}, {"m": {"M": {"b": {"L": [{"N": "2.0"}]}, "a": {"N": "1"}}}}),
        ({"a": {"S": "x"}}, {"a": {"S": "x"}, "aws:rep:updatetime": {"N": "5"}}),
    ],
)  # fmt: skip
def test_equal_items_have_one_digest(left: Item, right: Item) -> None:
    assert same_item(encoded(left), encoded(right))
    assert content_digest(encoded(left)) == content_digest(encoded(right))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"n": {"N": "1"}}, {"n": {"S": "1"}}),
        ({"n": {"N": "12345678901234567890123456789012345678"}}, {"n": {"N": "12345678901234567890123456789012345679"}}),
        ({"l": {"L": [{"S": "a"}, {"S": "b"}]}}, {"l": {"L": [{"S": "b"}, {"S": "a"}]}}),
        ({"s": {"SS": ["a"]}}, {"s": {"S": "a"}}),
        ({"a": {"NULL": True}}, {}),
        ({"a": {"M": {}}}, {"a": {"L": []}}),
        ({"b": {"BOOL": True}}, {"b": {"BOOL": False}}),
        ({"a": {"S": "x"}, "b": {"S": ""}}, {"a": {"S": "x"}}),
    ],
)  # fmt: skip
def test_different_items_have_different_digests(left: Item, right: Item) -> None:
    assert content_digest(encoded(left)) != content_digest(encoded(right))


@given(left=any_items(), right=any_items())
def test_digests_agree_exactly_when_items_do(left: Item, right: Item) -> None:
    same = same_item(encoded(left), encoded(right))
    assert (content_digest(encoded(left)) == content_digest(encoded(right))) is same


@given(made=any_items(), source=seeds())
def test_the_spelling_of_an_item_does_not_matter(made: Item, source: random.Random) -> None:
    assert content_digest(respell(made, source)) == content_digest(encoded(made))


def fact(version: Any, content: str = "x", *, deleted: bool = False) -> Fact:
    image = encoded(item("a", v=version, by=content))
    found = version_in(image, "v")
    assert found is not None
    return Fact(Change(key=key("a"), kind=ChangeKind.MODIFY, sequence=1), found, image, deleted)


def test_a_deletion_is_above_every_content_of_its_version_and_below_the_next() -> None:
    contents = sorted((fact(9, each) for each in "abc"), key=lambda each: each.rank)
    ordered = [fact(8), *contents, fact(9, deleted=True), fact(10)]
    shuffled = [ordered[place] for place in (3, 0, 5, 1, 4, 2)]
    assert sorted(shuffled, key=lambda each: each.rank) == ordered
    assert contents[1].beats(contents[0].image)
    assert not contents[1].beats(contents[2].image)
    assert not contents[1].beats(contents[1].image)


def test_versions_are_like_others_of_their_type_only() -> None:
    number, text = Version({"N": "5"}), Version({"S": "5"})
    assert number.is_like(Version({"N": "1E2"}))
    assert not number.is_like(text)
    assert (str(number), str(text)) == ("5", "5")
    assert version_in(encoded(item("a")), "v") is None
    with pytest.raises(OddVersionError, match="neither a number nor a text"):
        version_in(encoded(item("a", v=[1])), "v")


@pytest.mark.parametrize(
    ("old", "new", "setback"),
    [(5, 4, True), (5, 5, False), (5, 6, False), ("b", "a", True), (5, "a", False), (None, 4, False)],
)
def test_a_setback_is_a_change_to_a_lower_version(old: Any, new: Any, setback: bool) -> None:
    change = Change(
        key=key("a"),
        kind=ChangeKind.MODIFY,
        sequence=1,
        old=encoded(item("a", v=old)),
        new=encoded(item("a", v=new)),
    )
    assert is_setback(change, "v") is setback
