"""The lines of a journal hold what was written, to the byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given

from asyncrep.items.equality import without_system_attributes
from asyncrep.jobs.entries import (
    Intent,
    Settled,
    intent_line,
    parse_line,
    settled_line,
)
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Patch, Put
from tests.support.scenario import item, key
from tests.support.strategies import items as any_items

if TYPE_CHECKING:
    from tests.support.values import Item

AT = "2026-01-02T03:04:05.000006Z"

HOSTILE: Item = {
    "__proto__": {"M": {"S": {"S": "x\u2028y\u2029z\x85"}}},
    "n": {"N": "-12345678901234567890123456789012345678E-100"},
    "b": {"B": "AAEC"},
    "": {"NULL": True},
    "aws:rep:x": {"S": "system"},
}


@given(any_items(), any_items())
def test_whatever_is_in_an_item_comes_back_to_the_byte(before: dict[str, Any], after: dict[str, Any]) -> None:
    old, new = (json.dumps(each, ensure_ascii=False).encode() for each in (before, after))
    expected = AttributesAre({name: before.get(name) for name in (*after, "gone")})
    for intent in (
        Intent(
            "ab", 7, AT, key(), "different", 3, "missed_put", old, Patch(key(), after, ["gone"], expected)
        ),
        Intent(
            "ab",
            8,
            AT,
            key(),
            "missing",
            0,
            None,
            None,
            Put(key(), without_system_attributes(new), ItemAbsent()),
        ),
        Intent("ab", 9, AT, key(), "extraneous", 0, None, old, Delete(key(), AttributesAre(before))),
    ):
        line = intent_line(intent)
        assert line.count(b"\n") == 1
        assert parse_line(line) == intent
    settled = Settled("ab", 7, AT, True, old)
    assert parse_line(settled_line(settled)) == settled


def test_hostile_names_and_numbers_survive_as_they_are() -> None:
    hostile = json.dumps({**item(), **HOSTILE}, indent=1, ensure_ascii=False).encode()
    line = intent_line(
        Intent("ab", 1, AT, key(), "extraneous", 0, None, hostile, Delete(key(), AttributesAre({})))
    )
    assert line.count(b"\n") == 1
    read = parse_line(line)
    assert isinstance(read, Intent)
    assert read.replica == hostile.replace(b"\n", b" ")
    assert read.mutation == Delete(key(), AttributesAre({**item(), **HOSTILE}))


def test_a_put_is_noted_as_it_is_sent_without_system_attributes() -> None:
    whole = json.dumps({**item(), **HOSTILE}).encode()
    line = intent_line(Intent("ab", 1, AT, key(), "missing", 0, None, None, Put(key(), whole, ItemAbsent())))
    read = parse_line(line)
    assert isinstance(read, Intent)
    assert isinstance(read.mutation, Put)
    sent = {name: value for name, value in HOSTILE.items() if name != "aws:rep:x"}
    assert json.loads(read.mutation.image) == {**item(), **sent}
