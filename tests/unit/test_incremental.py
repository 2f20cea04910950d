"""The layout of incremental folders: names that others find too, and bodies in which nothing is changed."""

from __future__ import annotations

import json

import pytest

from asyncrep.items.incremental import Mark, object_body, object_name
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema, KeyType

STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-05-01T00:00:00.000"

# What node's crypto.createHash('sha256').update(JSON.stringify(key)).digest('hex') says of the keys, as
# dynamodb-replicator does; printf '{"id":{"S":"a"}}' | sha256sum says the same of the first.
VECTORS: list[tuple[list[tuple[str, KeyType]], dict[str, dict[str, str]], str]] = [
    (
        [("id", "S")],
        {"id": {"S": "a"}},
        "749b5c1af783257792b1d09113f0f74675b8152acbb10024a848f8029f898d87",
    ),
    (
        [("id", "S")],
        {"id": {"S": 'tab\t nl\n bs\b ff\f cr\r nul\0 us\x1f del\x7f q" b\\ / \u2028 \u2029 é 😀 <>&'}},
        "bc2fc23223c48b0eccd9d726a90a593f8dbeb4207cce5c424d20caba7f7219fe",
    ),
    (
        [('h"\x01', "S"), ("n", "N")],
        {"n": {"N": "12345678901234567890123456789012345678"}, 'h"\x01': {"S": "x"}},
        "eb94a76762a2dc92d83aa25f71254fb5cf8271810217f6edbca97478f4205732",
    ),
    (
        [("__proto__x", "B")],
        {"__proto__x": {"B": "AAEC/w=="}},
        "867415deea7b2a395b662a776cfb26aa42201fc7faea28f8ca5755e67441d937",
    ),
    (
        [("__proto__", "S")],
        {"__proto__": {"S": "a"}},
        "4c7f382594e3d46eacea4cb6a4ae0dcb3e73c50cb5d63955b63707eaede94fd5",
    ),
]


@pytest.mark.parametrize(("attributes", "key", "name"), VECTORS)
def test_an_object_has_the_name_that_dynamodb_replicator_gives_it(
    attributes: list[tuple[str, KeyType]], key: dict[str, dict[str, str]], name: str
) -> None:
    schema = KeySchema(*(KeyAttribute(*attribute) for attribute in attributes))
    assert object_name(KeyReader(schema).from_wire(key)) == name


def test_a_name_follows_the_key_schema_whatever_order_a_record_has() -> None:
    keys = KeyReader(KeySchema(KeyAttribute("z", "S"), KeyAttribute("a", "N")))
    one, other = {"z": {"S": "x"}, "a": {"N": "1"}}, {"a": {"N": "1.0"}, "z": {"S": "x"}}
    assert keys.from_wire(one) == keys.from_wire(other) == b'{"z":{"S":"x"},"a":{"N":"1"}}'
    assert object_name(keys.from_wire(one)) == object_name(keys.from_wire(other))


def test_a_body_loses_its_blanks_and_nothing_else() -> None:
    item = {
        "n": {"N": "1.50"},
        "s": {"S": ' { "a" : 1 } \u2028 \0'},
        "b": {"B": "AA=="},
        "m": {"M": {"": {"L": []}}},
    }
    compact = json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
    assert object_body(json.dumps(item, ensure_ascii=False, indent=2).encode()) == compact
    assert object_body(compact) == compact
    assert object_body(rb'{"s":{"S":"\u2028\/"}}') == rb'{"s":{"S":"\u2028\/"}}'


def test_a_mark_comes_back_from_the_metadata_it_is_kept_in() -> None:
    mark = Mark(STREAM, 10**39 + 1)
    assert Mark.of(mark.metadata) == mark
    assert len(mark.metadata["asyncrep-sequence"]) == 40


@pytest.mark.parametrize("sequence", [None, "", "x", "-1", "1.0", "٣", "1" * 41])
def test_what_holds_no_number_has_no_mark(sequence: str | None) -> None:
    assert Mark.of({} if sequence is None else {"asyncrep-sequence": sequence}) is None


def test_marks_have_an_order_within_a_table_only() -> None:
    later = STREAM.replace("2026-05", "2026-06")
    assert Mark(STREAM, 5).covers(Mark(STREAM, 5))
    assert not Mark(STREAM, 5).covers(Mark(STREAM, 6))
    assert Mark(STREAM, 1000).covers(Mark(STREAM, 999))
    assert Mark(later, 1).covers(Mark(STREAM, 9))
    assert not Mark(STREAM, 9).covers(Mark(later, 1))
    assert not Mark(STREAM, 9).covers(Mark(STREAM.replace("us-east-1", "eu-west-1"), 1))
    assert not Mark("", 9).covers(Mark(STREAM, 1))
    assert Mark("", 9).covers(Mark("", 1))
