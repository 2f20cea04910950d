"""Keys: equal keys are equal bytes, however an item is written or a user types; bad ones say why."""

import base64
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from asyncrep.errors import KeyFormatError
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema
from tests.support import strategies
from tests.support.mutations import mutate
from tests.support.strategies import briefly, keyed_items, respell, schemas, seeds, thoroughly
from tests.support.values import equal

STRING = KeySchema(KeyAttribute("id", "S"))
NUMBER = KeySchema(KeyAttribute("id", "N"))
BINARY = KeySchema(KeyAttribute("id", "B"))
PAIR = KeySchema(KeyAttribute("id", "S"), KeyAttribute("sort", "N"))


def compact(key):
    """The compact JSON that JavaScript's JSON.stringify makes, which existing backups are named by."""
    return json.dumps(key, separators=(",", ":"), ensure_ascii=False).encode()


def key_of(item, schema):
    return {attribute.name: item[attribute.name] for attribute in schema.attributes}


# ── Keys of images ──────────────────────────────────────────────────────────────────────────────────


@briefly
@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), keyed_items(schema))), seeds())
def test_the_key_of_an_item_is_the_same_bytes_however_the_item_is_written(table, source):
    schema, item = table
    reader = KeyReader(schema)
    expected = compact(key_of(item, schema))
    for _ in range(3):
        image = respell(item, source)
        assert reader.key(image) == expected
        assert reader.key(Raw(image)) == expected


@briefly
@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), keyed_items(schema), keyed_items(schema))))
def test_keys_are_equal_bytes_exactly_when_they_are_equal(table):
    schema, left, right = table
    reader = KeyReader(schema)
    same = equal(key_of(left, schema), key_of(right, schema))
    assert (reader.key(compact(left)) == reader.key(compact(right))) == same


@briefly
@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), keyed_items(schema))), seeds())
def test_one_change_in_the_key_makes_another_key_and_one_elsewhere_does_not(table, source):
    schema, item = table
    reader = KeyReader(schema)
    attributes = tuple(attribute.name for attribute in schema.attributes)
    elsewhere, _ = mutate(item, source, keep=attributes)
    assert reader.key(respell(elsewhere, source)) == reader.key(respell(item, source))
    chosen = source.choice(schema.attributes)
    ((kind, content),) = item[chosen.name].items()
    other = {"S": content + " ", "N": "0" if content != "0" else "1", "B": "AAAAAAAAAAAA"}[kind]
    assert reader.key(respell(item | {chosen.name: {kind: other}}, source)) != reader.key(compact(item))


@briefly
@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), keyed_items(schema))), seeds())
def test_items_without_their_key_are_refused(table, source):
    schema, item = table
    reader = KeyReader(schema)
    lost = source.choice(schema.attributes)
    without = {name: value for name, value in item.items() if name != lost.name}
    with pytest.raises(KeyFormatError, match="key"):
        reader.key(respell(without, source))
    for kind in sorted({"S", "N", "B"} - {lost.type}):
        with pytest.raises(KeyFormatError, match=f"not of type {lost.type}"):
            reader.key(respell(without | {lost.name: {kind: "1" if kind == "N" else "AAAA"}}, source))
    other: list[dict[str, Any]] = [
        {"NULL": True},
        {"BOOL": True},
        {"L": []},
        {"M": {}},
        {lost.type * 2: ["1"]},
    ]
    for value in other:
        with pytest.raises(KeyFormatError, match=f"not of type {lost.type}"):
            reader.key(respell(without | {lost.name: value}, source))


@pytest.mark.parametrize(
    "image", [b"", b"null", b"[]", b'{"id":', b'{"id":"a"}', b'{"id":null}', b'{"id":{"S":1}}']
)
@pytest.mark.parametrize("name", ["id", 'i"d'])
def test_what_is_no_image_has_no_key(image, name):
    with pytest.raises(KeyFormatError):
        KeyReader(KeySchema(KeyAttribute(name, "S"))).key(
            image.replace(b"id", json.dumps(name)[1:-1].encode())
        )


def test_the_hash_attribute_comes_first_whatever_the_order_of_the_item():
    image = b'{"sort":{"N":"5"},"x":{"S":"y"},"id":{"S":"a"}}'
    assert KeyReader(PAIR).key(image) == b'{"id":{"S":"a"},"sort":{"N":"5"}}'
    turned = KeySchema(PAIR.attributes[1], PAIR.attributes[0])
    assert KeyReader(turned).key(image) == b'{"sort":{"N":"5"},"id":{"S":"a"}}'


def test_an_attribute_of_the_same_name_deep_in_the_item_is_not_the_key():
    image = b'{"m":{"M":{"id":{"S":"wrong"}}},"id":{"S":"right"},"l":{"L":[{"M":{"id":{"S":"wrong"}}}]}}'
    assert KeyReader(STRING).key(image) == b'{"id":{"S":"right"}}'


def test_attributes_named_like_the_reader_s_own_fields_are_not_mixed_up():
    schema = KeySchema(KeyAttribute("field1", "S"), KeyAttribute("field0", "S"))
    assert KeyReader(schema).key(b'{"field0":{"S":"zero"},"field1":{"S":"one"}}') == (
        b'{"field1":{"S":"one"},"field0":{"S":"zero"}}'
    )


@pytest.mark.parametrize("name", strategies.ODD_NAMES, ids=ascii)
def test_any_attribute_name_can_be_a_key(name):
    reader = KeyReader(KeySchema(KeyAttribute(name, "S"), KeyAttribute(name + "2", "N")))
    item = {name: {"S": "a"}, name + "2": {"N": "1"}, name + "3": {"S": "z"}}
    escaped = json.dumps({name: {"S": "a"}, name + "2": {"N": "1.0"}}).encode()
    assert (
        reader.key(compact(item))
        == reader.key(escaped)
        == compact({name: {"S": "a"}, name + "2": {"N": "1"}})
    )


@pytest.mark.parametrize(
    ("schema", "image", "key"),
    [
        (STRING, b'{"id":{"S":"a\\/b"}}', b'{"id":{"S":"a/b"}}'),
        (STRING, b'{"id":{"S":"\\u00e9"}}', '{"id":{"S":"é"}}'.encode()),
        (STRING, b'{"id":{"S":"\\ud83d\\udCA5"}}', '{"id":{"S":"💥"}}'.encode()),
        (STRING, b'{"\\u0069d":{"\\u0053":"a"}}', b'{"id":{"S":"a"}}'),
        (STRING, b' { "id" :\t{ "S"\n: "a" } } ', b'{"id":{"S":"a"}}'),
        (STRING, b'{"id":{"S":"\\u0022\\u005c"}}', b'{"id":{"S":"\\"\\\\"}}'),
        (STRING, b'{"id":{"S":"\\u2028\x7f"}}', '{"id":{"S":"\u2028\x7f"}}'.encode()),
        (STRING, b'{"id":{"S":"1.0"}}', b'{"id":{"S":"1.0"}}'),
        (NUMBER, b'{"id":{"N":"1.0"}}', b'{"id":{"N":"1"}}'),
        (NUMBER, b'{"id":{"N":"-0"}}', b'{"id":{"N":"0"}}'),
        (NUMBER, b'{"id":{"N":"0.10"}}', b'{"id":{"N":"0.1"}}'),
        (NUMBER, b'{"id":{"N":"1E3"}}', b'{"id":{"N":"1000"}}'),
        (BINARY, b'{"id":{"B":"QQ=="}}', b'{"id":{"B":"QQ=="}}'),
        (BINARY, b'{"id":{"B":"QR=="}}', b'{"id":{"B":"QQ=="}}'),
        (BINARY, b'{"id":{"B":"\\/\\/8="}}', b'{"id":{"B":"//8="}}'),
        (BINARY, b'{"id":{"B":"QUJD"}}', b'{"id":{"B":"QUJD"}}'),
    ],
)
def test_one_spelling_for_each_key(schema, image, key):
    assert KeyReader(schema).key(image) == key


# ── Keys that users type ────────────────────────────────────────────────────────────────────────────


@briefly
@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), strategies.keys(schema))), seeds())
def test_plain_and_wire_keys_are_the_key_of_the_item(table, source):
    schema, key = table
    reader = KeyReader(schema)
    plain = [
        f"{json.dumps(name)}: {content if kind == 'N' else json.dumps(content)}"
        for name, value in key.items()
        for kind, content in value.items()
    ]
    source.shuffle(plain)
    assert reader.parse("{" + ", ".join(plain) + "}") == compact(key_of(key, schema))
    assert reader.parse(respell(key, source).decode()) == compact(key_of(key, schema))
    assert reader.from_wire(key) == compact(key_of(key, schema))


@pytest.mark.parametrize(
    ("schema", "text", "key"),
    [
        (STRING, '{"id":"abc"}', b'{"id":{"S":"abc"}}'),
        (STRING, '{"id":"5"}', b'{"id":{"S":"5"}}'),
        (STRING, '{"id":"\\u00e9"}', '{"id":{"S":"é"}}'.encode()),
        (STRING, '{"id":" "}', b'{"id":{"S":" "}}'),
        (PAIR, '{"sort":5,"id":"abc"}', b'{"id":{"S":"abc"},"sort":{"N":"5"}}'),
        (PAIR, '{"sort":{"N":"5"},"id":"abc"}', b'{"id":{"S":"abc"},"sort":{"N":"5"}}'),
        (NUMBER, '{"id":-0.0}', b'{"id":{"N":"0"}}'),
        (NUMBER, '{"id":1.50}', b'{"id":{"N":"1.5"}}'),
        (NUMBER, '{"id":1e2}', b'{"id":{"N":"100"}}'),
        (NUMBER, '{"id":{"N":"+1.E2"}}', b'{"id":{"N":"100"}}'),
        (BINARY, '{"id":"QQ=="}', b'{"id":{"B":"QQ=="}}'),
        (BINARY, '{"id":{"B":"QR=="}}', b'{"id":{"B":"QQ=="}}'),
    ],
)
def test_what_users_may_type(schema, text, key):
    assert KeyReader(schema).parse(text) == key


@pytest.mark.parametrize(
    "number",
    [
        "99999999999999999999999999999999999999",
        "-12345678901234567890123456789012345678",
        "0.12345678901234567890123456789012345678",
        "1234567890123456789.0123456789012345678",
        "9.9999999999999999999999999999999999999E+125",
        "1E-130",
    ],
)
def test_big_numbers_are_kept_to_the_last_digit(number):
    for text in (f'{{"id":{number}}}', f'{{"id":{{"N":"{number}"}}}}'):
        kept = json.loads(KeyReader(NUMBER).parse(text))["id"]["N"]
        assert Decimal(kept) == Decimal(number)


def refusal(schema, text):
    with pytest.raises(KeyFormatError) as caught:
        KeyReader(schema).parse(text)
    message = str(caught.value)
    assert len(message) > 20
    assert "Error" not in message
    return message


@pytest.mark.parametrize(
    "text", ["", " ", "abc", "{", '{"id"}', "{'id':'a'}", '{"id":"a"} x', '{"id":"a",}', "\ufeff{}"]
)
def test_what_is_no_json_is_refused(text):
    assert refusal(STRING, text).startswith("The key is not JSON")


@pytest.mark.parametrize("text", ["[]", '["a"]', '"a"', "5", "null", "true", "NaN"])
def test_what_is_no_object_is_refused(text):
    assert refusal(STRING, text).startswith('The key must be a JSON object, as {"id": …}')


def test_extra_names_and_missing_names_are_refused():
    assert (
        refusal(STRING, '{"id":"a","sort":5}') == '"sort" is not part of the table\'s key, which is id (S).'
    )
    assert refusal(PAIR, '{"id":"a"}') == 'The key misses "sort": the table\'s key is id (S) + sort (N).'
    assert refusal(STRING, "{}") == 'The key misses "id": the table\'s key is id (S).'
    assert refusal(STRING, '{"ID":"a"}').startswith('"ID" is not part')
    assert refusal(STRING, '{"S":"a"}').startswith('"S" is not part')


@pytest.mark.parametrize("value", ["5", "1.5", "null", "true", "[]", '["a"]', "NaN", "-Infinity"])
def test_a_string_key_is_a_string(value):
    assert refusal(STRING, f'{{"id":{value}}}').startswith('Key attribute "id" must be a string (S)')


@pytest.mark.parametrize("value", ['"5"', '""', "null", "false", "[]", "[5]"])
def test_a_number_key_is_a_number(value):
    assert refusal(NUMBER, f'{{"id":{value}}}').startswith('Key attribute "id" must be a number (N)')


@pytest.mark.parametrize("value", ["5", "null", "true", '["QQ=="]'])
def test_a_binary_key_is_base64_text(value):
    assert refusal(BINARY, f'{{"id":{value}}}').startswith('Key attribute "id" must be binary, as base64 (B)')


@pytest.mark.parametrize(
    "value",
    [
        '{"N":"5"}', '{"S":5}', '{"S":null}', '{"S":["a"]}', '{"S":{"S":"a"}}', '{"s":"a"}', "{}",
        '{"S":"a","N":"5"}', '{"SS":["a"]}', '{"M":{"S":{"S":"a"}}}', '{"NULL":true}',
    ],
)  # fmt: skip
def test_a_wire_value_has_exactly_the_key_s_type(value):
    assert refusal(STRING, f'{{"id":{value}}}').startswith('Key attribute "id" must be {"S": "…"}')


@pytest.mark.parametrize("schema", [STRING, BINARY], ids=str)
def test_keys_are_never_empty(schema):
    for value in ('""', f'{{"{schema.hash.type}":""}}'):
        assert refusal(schema, f'{{"id":{value}}}') == 'Key attribute "id" must not be empty.'
    assert refusal(NUMBER, '{"id":{"N":""}}') == 'Key attribute "id" must not be empty.'


@pytest.mark.parametrize(
    "value",
    [
        "NaN", "Infinity", "-Infinity", '{"N":"NaN"}', '{"N":"abc"}', '{"N":" 1"}', '{"N":"1 "}', '{"N":"0x10"}',
        '{"N":"1_000"}', '{"N":"1,5"}', '{"N":"-"}', '{"N":"--1"}', '{"N":"1e"}', '{"N":"٣"}',
    ],
)  # fmt: skip
def test_what_is_not_a_number_is_refused(value):
    assert refusal(NUMBER, f'{{"id":{value}}}').startswith('Key attribute "id" is not a number')


@pytest.mark.parametrize("value", [".", "-.", "..", "1..2", "1.2.3", "1.2.3e5"])
def test_text_of_digits_and_points_that_is_no_number_is_refused(value):
    assert refusal(NUMBER, f'{{"id":{{"N":"{value}"}}}}').startswith('Key attribute "id" is not a number')


@pytest.mark.parametrize(
    "value", ["QQ", "QQ=", "QQ===", "Q", "Q Q=", "====", "QUI=QUI=", "é", "QQ==\\n", "_-8="]
)
def test_what_is_not_base64_is_refused(value):
    assert refusal(BINARY, f'{{"id":"{value}"}}').startswith(
        'Key attribute "id" is binary and must be base64'
    )


@pytest.mark.parametrize(
    "text", ['{"id":"a","id":"b"}', '{"id":{"S":"a","S":"b"}}', '{"id":"a","\\u0069d":"b"}']
)
def test_a_name_that_is_there_twice_is_refused(text):
    assert "twice" in refusal(STRING, text)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"id":' * 50_000, '{"id":' + "[" * 9_000 + "]" * 9_000 + "}"]
)
def test_json_nested_too_deeply_is_refused(text):
    refusal(STRING, text)


@pytest.mark.parametrize(
    "text", ['{"id":"\\ud800"}', '{"id":{"S":"a\\udc00b"}}', '{"id":"\ud800"}'], ids=ascii
)
def test_half_a_surrogate_pair_is_refused(text):
    refusal(STRING, text)


@pytest.mark.parametrize("value", ["5", "1.50", "NaN", "[5]", '{"S": 5}', '{"N": 1.50}'])
def test_a_refused_value_is_shown_as_it_was_typed(value):
    message = refusal(STRING, f'{{"id":{value}}}')
    assert re.search(rf"[ :]{re.escape(value)}\.?$", message), message


@thoroughly
@given(st.binary(min_size=1, max_size=9))
def test_binary_keys_decode_to_the_right_bytes(data):
    text = base64.b64encode(data).decode()
    key = KeyReader(BINARY).parse(json.dumps({"id": text}))
    assert base64.b64decode(json.loads(key)["id"]["B"]) == data


@thoroughly
@given(st.text(max_size=30))
def test_any_text_is_a_key_or_refused_with_a_sentence(text):
    for schema in (STRING, NUMBER, BINARY):
        for typed in (text, json.dumps({"id": text}), f'{{"id":{text}}}'):
            try:
                key = KeyReader(schema).parse(typed)
            except KeyFormatError:
                continue
            assert list(json.loads(key)) == ["id"]
