"""What a selection makes of changes, and what users may write to make one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from asyncrep.change import Change, ChangeKind
from asyncrep.errors import UsageError
from asyncrep.model import KeyAttribute, KeySchema
from asyncrep.mutation import ItemState
from asyncrep.replicate.conditions import Condition, Operator, parse_condition
from asyncrep.replicate.selection import Role, Selection, Turnover, Unmakeable, read_list
from tests.support.scenario import item, key

SCHEMA = KeySchema(KeyAttribute("id", "S"))


def image(**attributes: Any) -> bytes:
    return json.dumps(item("a", **attributes)).encode()


def change(kind: str = "MODIFY", old: bytes | None = None, new: bytes | None = None, **more: Any) -> Change:
    return Change(key=key("a"), kind=ChangeKind(kind), sequence=1, old=old, new=new, **more)


def decoded(state: Any) -> Any:
    assert isinstance(state, ItemState)
    return None if state.image is None else json.loads(state.image)


# ── Everything ──────────────────────────────────────────────────────────────────────────────────────


def test_without_any_choice_a_change_asks_for_its_new_image_as_it_is() -> None:
    new = b'{ "id":{"S":"a"}}'
    assert Selection().wanted(change("INSERT", new=new)) == ItemState(key("a"), new)
    assert Selection().wanted(change("REMOVE", old=image())) == ItemState(key("a"), None)
    assert Selection().wanted(change("REMOVE")) == ItemState(key("a"), None)


@pytest.mark.parametrize("kind", ["INSERT", "MODIFY"])
def test_without_a_new_image_nothing_can_be_put(kind: str) -> None:
    wanted = Selection().wanted(change(kind, old=image()))
    assert isinstance(wanted, Unmakeable)
    assert f"The record of this {kind} holds no new image" in wanted.reason


# ── Choosing ────────────────────────────────────────────────────────────────────────────────────────


def test_kinds_of_changes_can_be_chosen() -> None:
    only = Selection.from_texts(events=["insert", " MODIFY"])
    assert only.wanted(change("REMOVE", old=image())) is None
    assert only.wanted(change("INSERT", new=image())) is not None


def test_deletions_by_ttl_can_be_left_out() -> None:
    keeping = Selection.from_texts(ttl_deletes=False)
    assert keeping.wanted(change("REMOVE", old=image(), by_ttl=True)) is None
    assert keeping.wanted(change("REMOVE", old=image())) is not None
    assert Selection().wanted(change("REMOVE", old=image(), by_ttl=True)) is not None


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (None, image(s="x"), image(s="x")),
        (None, image(s="y"), None),
        (image(s="y"), image(s="x"), image(s="x")),
        (image(s="x"), image(s="y"), "deleted"),
        (image(s="y"), image(s="z"), None),
        (image(s="x"), None, "deleted"),
        (image(s="y"), None, None),
    ],
)
def test_an_item_that_does_not_qualify_any_more_is_deleted_and_one_that_never_did_left_alone(
    old: bytes | None, new: bytes | None, wanted: Any
) -> None:
    kind = "REMOVE" if new is None else "INSERT" if old is None else "MODIFY"
    found = Selection.from_texts(where=["s=x"]).wanted(change(kind, old, new))
    if kind == "INSERT" and wanted is None:  # nobody has seen an item before: one more delete does no harm
        wanted = "deleted"
    assert found == (wanted and ItemState(key("a"), None if wanted == "deleted" else wanted))


def test_without_the_old_image_what_does_not_qualify_is_deleted_in_any_case() -> None:
    assert Selection.from_texts(where=["s=x"]).wanted(change(new=image(s="y"))) == ItemState(key("a"), None)


def test_all_conditions_must_hold() -> None:
    both = Selection.from_texts(where=["s=x", "n>=5"])
    assert decoded(both.wanted(change(new=image(s="x", n=5)))) is not None
    assert decoded(both.wanted(change(old=image(s="x", n=5), new=image(s="x", n=4)))) is None


@pytest.mark.parametrize(
    ("role", "taken"), [("BEFORE", (True, False, False)), ("after", (False, True, True))]
)
def test_at_a_turnover_each_record_is_taken_by_exactly_one_side(role: str, taken: tuple[bool, ...]) -> None:
    side = Selection.from_texts(turnover_role=role, turnover_at="1700000000000")
    times = (1_699_999_999.0, 1_700_000_000.0, 1_700_000_001.0)
    got = tuple(side.wanted(change("INSERT", new=image(), created=time)) is not None for time in times)
    assert got == taken


def test_a_record_without_a_time_belongs_to_no_side_of_a_turnover() -> None:
    side = Selection(turnover=Turnover(Role.BEFORE, 5))
    assert isinstance(side.wanted(change("INSERT", new=image())), Unmakeable)


# ── Shaping ─────────────────────────────────────────────────────────────────────────────────────────


def test_attributes_can_be_chosen_left_out_and_renamed_and_the_key_always_stays() -> None:
    new = image(a="1", b="2", c="3")
    only = Selection.from_texts(attributes=["a", "nothing"])
    assert decoded(only.wanted(change(new=new))) == item("a", a="1")
    without = Selection.from_texts(without=["a"], rename=["b=bee"])
    assert decoded(without.wanted(change(new=new))) == item("a", bee="2", c="3")
    assert not only.copies_whole_items
    assert not without.copies_whole_items
    assert Selection.from_texts(where=["a"]).copies_whole_items


def test_names_can_be_exchanged_and_a_renamed_attribute_takes_the_place_of_another() -> None:
    new = image(a="1", b="2")
    assert decoded(Selection.from_texts(rename=["a=b", "b=a"]).wanted(change(new=new))) == item(
        "a", b="1", a="2"
    )
    assert decoded(Selection.from_texts(rename=["a=b"]).wanted(change(new=new))) == item("a", b="1")


def test_values_stay_as_they_are_spelled() -> None:
    new = b'{"id":{"S":"a"},"x":{"N":"01.50"},"y":{"B":"AA=="},"z":{"S":"\\u00e9"}}'
    wanted = Selection.from_texts(without=["y"]).wanted(change(new=new))
    assert isinstance(wanted, ItemState)
    assert wanted.image == b'{"id":{"S":"a"},"x":{"N":"01.50"},"z":{"S":"\\u00e9"}}'


@pytest.mark.parametrize("options", [{"rename": ["id=key"]}, {"rename": ["x=id"]}, {"without": ["id"]}])
def test_the_key_cannot_be_touched(options: dict[str, list[str]]) -> None:
    with pytest.raises(UsageError, match='"id" is part of the key'):
        Selection.from_texts(**options).check(SCHEMA)  # type: ignore[arg-type]
    Selection.from_texts(rename=["a=b"], without=["c"]).check(SCHEMA)


# ── Conditions ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("status=active", Condition("status", Operator.EQUAL, "active")),
        ("status = active ", Condition("status", Operator.EQUAL, "active")),
        ("status!=", Condition("status", Operator.UNEQUAL, "")),
        ("n<5", Condition("n", Operator.LESS, "5")),
        ("n<=5", Condition("n", Operator.AT_MOST, "5")),
        ("n>5", Condition("n", Operator.GREATER, "5")),
        ("n>=5", Condition("n", Operator.AT_LEAST, "5")),
        ("flag", Condition("flag", Operator.EXISTS)),
        ("!flag", Condition("flag", Operator.ABSENT)),
        ("a=b=c", Condition("a", Operator.EQUAL, "b=c")),
        ('"a=b"="=c"', Condition("a=b", Operator.EQUAL, "=c")),
        ('!"!x"', Condition("!x", Operator.ABSENT)),
        ('"\\u00e9"=" x "', Condition("é", Operator.EQUAL, " x ")),
        ("two words=x y", Condition("two words", Operator.EQUAL, "x y")),
    ],
)
def test_conditions_are_read(text: str, condition: Condition) -> None:
    assert parse_condition(text) == condition


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a condition; write NAME=VALUE"),
        ("=x", "is not a condition"),
        ("!", "is not a condition"),
        ("!a=b", "write NAME!=VALUE"),
        ("a==b", "has two operators"),
        ("a=>5", "has two operators"),
        ('a"b=5', "is not a condition"),
        ('""=5', "names no attribute"),
        ('a="b', "is not a whole JSON string"),
        ('"\\x"=5', "is not a whole JSON string"),
        ('a="b"c', "is not a whole JSON string"),
    ],
)
def test_what_is_no_condition_is_refused_with_one_sentence(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*$") as refusal:
        parse_condition(text)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "attributes", "holds"),
    [
        ("n=5", {"n": 5}, True),
        ("n=5.0", {"n": 5}, True),
        ("n>=10", {"n": 9}, False),
        ("n<10", {"n": 9}, True),
        ("n=x", {"n": 5}, False),
        ("n<nan", {"n": 5}, False),
        ("n!=x", {"n": 5}, True),
        ("n=12345678901234567890123456789012345678", {"n": 12345678901234567890123456789012345679}, False),
        ("s=5", {"s": "5"}, True),
        ("s=5.0", {"s": "5"}, False),
        ("s<b", {"s": "a"}, True),
        ("s>10", {"s": "9"}, True),
        ("s<\U0001f600", {"s": "\uffff"}, True),
        ("b=true", {"b": True}, True),
        ("b=True", {"b": True}, True),
        ("b=false", {"b": True}, False),
        ("b<true", {"b": False}, False),
        ("l=x", {"l": ["x"]}, False),
        ("l!=x", {"l": ["x"]}, True),
        ("gone=x", {}, False),
        ("gone!=x", {}, True),
        ("gone<x", {}, False),
        ("x", {"x": None}, True),
        ("x", {}, False),
        ("!x", {}, True),
        ("!x", {"x": 0}, False),
    ],
)
def test_conditions_compare_by_the_type_of_what_is_there(
    text: str, attributes: dict[str, Any], holds: bool
) -> None:
    members = msgspec.json.decode(image(**attributes), type=dict[str, msgspec.Raw])
    assert parse_condition(text).holds(members) is holds


# ── What users write ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"events": ["UPSERT"]}, '"UPSERT" is not an event; there are INSERT, MODIFY and REMOVE.'),
        ({"rename": ["a"]}, '"a" is not a new name; write OLD=NEW.'),
        ({"rename": ["a=b=c"]}, "is not a new name"),
        ({"rename": ["a=b", "a=c"]}, '"a" is renamed twice.'),
        ({"rename": ["a=c", "b=c"]}, 'Two attributes cannot both be renamed to "c".'),
        ({"attributes": ["a"], "without": ["a"]}, '"a" cannot be both copied and left out.'),
        ({"without": ["a"], "rename": ["a=b"]}, '"a" cannot be both renamed and left out.'),
        ({"attributes": ["b"], "rename": ["a=b"]}, '"a" cannot be both renamed and left out.'),
        ({"attributes": [" "]}, "names no attribute"),
        ({"turnover_role": "BEFORE"}, "A turnover needs both"),
        ({"turnover_at": "5"}, "A turnover needs both"),
        ({"turnover_role": "DURING", "turnover_at": 5}, '"DURING" is not a role'),
        ({"turnover_role": "AFTER", "turnover_at": "soon"}, '"soon" is not the time'),
        ({"turnover_role": "AFTER", "turnover_at": -5}, '"-5" is not the time'),
    ],
)
def test_wrong_choices_are_refused_with_one_sentence(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*$") as refusal:
        Selection.from_texts(**options)
    assert reason in str(refusal.value)


def test_names_may_be_quoted() -> None:
    made = Selection.from_texts(attributes=['"a,b"', "c"], without=['"x"'], rename=['"c"="d=e"'])
    assert made.attributes == frozenset({"a,b", "c"})
    assert made.without == {"x"}
    assert made.rename == {"c": "d=e"}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ,, ", ["a", "b"]),
        ("s=x\nn>=5", ["s=x", "n>=5"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ('s="x, y",n=1', ['s="x, y"', "n=1"]),
        ('s="a \\" ,b",c', ['s="a \\" ,b"', "c"]),
        ('s="open,b', ['s="open', "b"]),
        ("", []),
    ],
)
def test_lists_are_cut_at_commas_and_line_breaks_outside_of_quotes(text: str, pieces: list[str]) -> None:
    assert read_list(text) == pieces
