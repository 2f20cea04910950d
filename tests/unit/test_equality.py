"""Equality: what DynamoDB calls equal is equal however it is written; one change makes it unequal."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asyncrep.items.equality import (
    decode_image,
    differing_attributes,
    encode_image,
    is_compared,
    same_item,
    same_value,
    without_system_attributes,
)
from tests.support import strategies
from tests.support.mutations import mutate, mutate_value
from tests.support.strategies import items, names, respell, seeds, thoroughly, values
from tests.support.values import canonical, equal

EMPTY_AND_TRUE: list[dict[str, Any]] = [
    {"NULL": True},
    {"S": ""},
    {"B": ""},
    {"L": []},
    {"M": {}},
    {"BOOL": False},
    {"BOOL": True},
    {"N": "0"},
    {"N": "1"},
    {"S": "0"},
    {"S": "1"},
    {"S": "true"},
    {"S": "null"},
    {"SS": ["1"]},
    {"NS": ["1"]},
    {"BS": [""]},
    {"L": [{"N": "1"}]},
    {"L": [{"S": "1"}]},
    {"L": [{"L": []}]},
    {"L": [{"M": {}}]},
    {"L": [{"NULL": True}]},
    {"M": {"N": {"N": "1"}}},
    {"M": {"S": {"S": "1"}}},
    {"M": {"0": {"N": "1"}}},
]


@thoroughly
@given(items(), seeds())
def test_an_item_equals_itself_however_it_is_written(item, source):
    left, right = respell(item, source), respell(item, source)
    assert equal(json.loads(left), json.loads(right))
    assert same_item(left, right)
    assert differing_attributes(decode_image(left), decode_image(right)) == []


@thoroughly
@given(items(), seeds())
def test_one_change_anywhere_makes_an_item_unequal(item, source):
    mutant, name = mutate(item, source)
    left, right = respell(item, source), respell(mutant, source)
    assert not same_item(left, right)
    assert not same_item(right, left)
    assert differing_attributes(decode_image(left), decode_image(right)) == [name]
    assert differing_attributes(decode_image(right), decode_image(left)) == [name]


@thoroughly
@given(values(), seeds())
def test_one_change_anywhere_makes_a_value_unequal(value, source):
    mutant = mutate_value(value, source)
    assert not same_value(value, mutant)
    assert not same_value(mutant, value)


@thoroughly
@given(items(min_size=1, max_size=6), st.data(), seeds())
def test_exactly_the_changed_attributes_are_named(item, data, source):
    changed = data.draw(st.sets(st.sampled_from(sorted(item))))
    mutant = {name: mutate_value(value, source) if name in changed else value for name, value in item.items()}
    dropped = {name for name in changed if source.random() < 0.3}
    for name in dropped:
        del mutant[name]
    left, right = decode_image(respell(item, source)), decode_image(respell(mutant, source))
    assert sorted(differing_attributes(left, right)) == sorted(changed)
    ignored = {name for name in changed if source.random() < 0.5}
    assert set(differing_attributes(left, right, ignored)) == changed - ignored
    assert same_item(respell(item, source), respell(mutant, source), changed)


@thoroughly
@given(items(max_size=3), items(max_size=3), seeds())
def test_the_verdict_on_any_two_items_is_that_of_exact_decimals(left, right, source):
    shuffled = {name: source.choice((left, right)).get(name, value) for name, value in left.items()}
    assert same_item(respell(left, source), respell(right, source)) == equal(left, right)
    assert same_item(respell(left, source), respell(shuffled, source)) == equal(left, shuffled)


@thoroughly
@given(values(), values())
def test_the_verdict_on_any_two_values_is_that_of_exact_decimals(left, right):
    assert same_value(left, right) == (canonical(left) == canonical(right))


@pytest.mark.parametrize("left", EMPTY_AND_TRUE, ids=json.dumps)
def test_values_that_look_alike_equal_only_themselves(left):
    assert [right for right in EMPTY_AND_TRUE if same_value(left, right)] == [left]


@pytest.mark.parametrize("value", EMPTY_AND_TRUE, ids=json.dumps)
def test_an_absent_attribute_equals_no_value(value):
    for left, right in (({}, {"a": value}), ({"a": value}, {})):
        assert differing_attributes(left, right) == ["a"]
        assert not same_item(encode_image(left), encode_image(right))
    nested = {"M": {"a": value}}
    assert not same_value({"M": {}}, nested)
    assert not same_value(nested, {"M": {}})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"N": "1"}, {"N": "1.0"}),
        ({"N": "0"}, {"N": "-0.0E5"}),
        ({"NS": ["1", "2"]}, {"NS": ["2.0", "10E-1"]}),
        ({"SS": ["a", "b", "c"]}, {"SS": ["c", "a", "b"]}),
        ({"BS": ["QQ==", "Qg=="]}, {"BS": ["Qg==", "QQ=="]}),
        ({"B": "QQ=="}, {"B": "QR=="}),  # the last four bits are padding
        ({"BS": ["QQ=="]}, {"BS": ["QR=="]}),
        ({"L": [{"N": "1"}, {"NS": ["1", "2"]}]}, {"L": [{"N": "1E0"}, {"NS": ["2", "1.00"]}]}),
        (
            {"M": {"a": {"M": {"x": {"N": "1"}}}, "b": {"S": ""}}},
            {"M": {"b": {"S": ""}, "a": {"M": {"x": {"N": "1."}}}}},
        ),
    ],
)
def test_equal_values(left, right):
    assert same_value(left, right)
    assert same_value(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "2"}, {"N": "1"}]}),
        ({"L": [{"N": "1"}]}, {"L": [{"N": "1"}, {"N": "1"}]}),
        ({"SS": ["1"]}, {"NS": ["1"]}),
        ({"SS": ["1"]}, {"SS": ["1.0"]}),
        ({"SS": ["QQ=="]}, {"BS": ["QQ=="]}),
        ({"S": "QQ=="}, {"B": "QQ=="}),
        ({"S": "1"}, {"S": "1.0"}),
        ({"S": "é"}, {"S": "e\u0301"}),
        ({"S": "a"}, {"S": "A"}),
        ({"S": "a"}, {"S": "a\x00"}),
        ({"M": {"1": {"N": "1"}}}, {"M": {"1.0": {"N": "1"}}}),
        ({"N": "0.1"}, {"N": "0.1000000000000000055511151231257827021"}),
        ({"N": "9007199254740993"}, {"N": "9007199254740992"}),
        ({"N": "1E-130"}, {"N": "0"}),
        ({"L": [{"BOOL": True}]}, {"L": [{"N": "1"}]}),
    ],
)
def test_unequal_values(left, right):
    assert not same_value(left, right)
    assert not same_value(right, left)


# ── What is not compared ────────────────────────────────────────────────────────────────────────────


@thoroughly
@given(items(), st.dictionaries(strategies.system_names(), values(), min_size=1, max_size=2), seeds())
def test_system_attributes_are_not_compared(item, system, source):
    left, right = respell(item | system, source), respell(item, source)
    assert same_item(left, right)
    assert same_item(right, left)
    mutant, name = mutate(item, source)
    assert differing_attributes(decode_image(left), mutant) == [name]


@pytest.mark.parametrize("name", ["aws:rep", "aws:", "AWS:REP:deleting", "xaws:rep:deleting", " aws:rep:a"])
def test_names_that_only_resemble_system_attributes_are_compared(name):
    assert is_compared(name)
    assert differing_attributes({name: {"S": "a"}}, {}) == [name]


def test_a_nested_attribute_is_compared_whatever_its_name():
    image = {"a": {"M": {"aws:rep:deleting": {"S": "1"}}}}
    other: dict[str, Any] = {"a": {"M": {}}}
    assert differing_attributes(image, other) == ["a"]
    assert differing_attributes({"a": {"M": {"b": {"S": "1"}}}}, other, {"b"}) == ["a"]


@thoroughly
@given(items(), st.dictionaries(strategies.system_names(), values(), max_size=3), seeds())
def test_writable_images_lack_the_system_attributes_and_nothing_else(item, system, source):
    image = respell(item | system, source)
    writable = without_system_attributes(image)
    assert equal(json.loads(writable), item)
    if not system:
        assert writable is image


def test_an_escaped_system_attribute_is_removed_too():
    assert (
        without_system_attributes(b'{"\\u0061ws:rep:deleting":{"BOOL":true},"a":{"S":"b"}}')
        == b'{"a":{"S":"b"}}'
    )


def test_system_attributes_in_a_value_or_in_a_map_stay():
    for image in (
        b'{"a": {"S":"aws:rep:deleting"}}',
        b'{"a":{"M":{"aws:rep:x":{"S":""}}}}',
        b'{"a":{"S":"\\\\"}}',
    ):
        assert without_system_attributes(image) is image


# ── Images ──────────────────────────────────────────────────────────────────────────────────────────


@thoroughly
@given(items(), seeds())
def test_decoding_and_encoding_changes_no_item(item, source):
    assert decode_image(encode_image(item)) == item
    assert equal(decode_image(respell(item, source)), item)


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"1",
        b'"a"',
        b'{"a":1}',
        b'{"a":"b"}',
        b'{"a":{"S":"b"}}x',
        b'{"a":{"S":"\xff"}}',
    ],
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match=r"\w"):
        decode_image(image)


@thoroughly
@given(names(), values(), values())
def test_ignoring_an_attribute_ignores_only_that_one(name, left, right):
    assume(not same_value(left, right))
    ours, theirs = {name: left, name + "x": left}, {name: right, name + "x": right}
    assert differing_attributes(ours, theirs, {name}) == [name + "x"]
    assert same_item(encode_image(ours), encode_image(theirs), {name, name + "x"})


@pytest.mark.parametrize("name", [b"aws:rep:x", rb"aws\u003arep:x", rb"\u0061ws:rep:x"])
def test_system_attributes_are_not_written_however_their_names_are_spelled(name):
    image = b'{"id":{"S":"a"},"%b":{"S":"b"}}' % name
    assert json.loads(without_system_attributes(image)) == {"id": {"S": "a"}}


@pytest.mark.parametrize(
    "text", ["plain", r"a \"quoted\" word", r"C:\\dir", r"line\nbreak", r"\u00e9t\u00e9"]
)
def test_an_image_without_system_attributes_is_written_as_it_is(text):
    image = f'{{"id": {{"S": "{text}"}}}}'.encode()
    assert without_system_attributes(image) is image
