"""Guards: what expressions check, that no name or value is ever spelt out in them, and their limits."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.aws.guard import ATTRIBUTES_PER_PATCH, Expressions, expressions, is_whole
from asyncrep.model import KeyAttribute, KeySchema
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Patch, Put
from tests.support.strategies import briefly, items, names, thoroughly, values

SCHEMA = KeySchema(KeyAttribute("id", "S"), KeyAttribute("sort", "N"))
KEY = b'{"id":{"S":"a"},"sort":{"N":"1"}}'
KEY_ITEM = {"id": {"S": "a"}, "sort": {"N": "1"}}
WORDS = {"SET", "REMOVE", "AND", "attribute_exists", "attribute_not_exists"}
RESERVED = (
    "SET",
    "REMOVE",
    "AND",
    "NAME",
    "STATUS",
    "size",
    "#0",
    ":0",
    "a.b",
    "a[0]",
    "a b",
    "",
    "💥",
    "id=id",
)
TEXT, OPERATORS, SUBSTITUTED = 4096, 300, 2 * 1024 * 1024

no_keys = names().filter(lambda name: name not in KEY_ITEM)
expectations = st.dictionaries(no_keys, st.one_of(st.none(), values()), max_size=6)
assignments = st.dictionaries(no_keys, values(), max_size=4)


def delete(expected):
    return Delete(KEY, AttributesAre(expected))


def patch(assign, remove=(), expected=None):
    return Patch(KEY, assign, remove, AttributesAre(expected or {}))


def conditions(made):
    """What a condition checks, name by name; the first clause is the one on the hash key."""
    first, *clauses = made.condition.split(" AND ")
    checked = {}
    for clause in clauses:
        absent = re.fullmatch(r"attribute_not_exists\((#\d+)\)", clause)
        equals = re.fullmatch(r"(#\d+)=(:\d+)", clause)
        found = absent or equals
        assert found, clause
        name = made.names[found[1]]
        assert name not in checked
        checked[name] = made.values[found[2]] if equals else None
    return re.sub(r"#\d+", lambda hit: made.names[hit[0]], first), checked


def updates(made):
    found = re.fullmatch(r"(?:SET (?P<set>[^ ]+))? ?(?:REMOVE (?P<remove>[^ ]+))?", made.update)
    assert found, made.update
    assigned = dict(piece.split("=") for piece in (found["set"] or "").split(",") if piece)
    removed = [made.names[placeholder] for placeholder in (found["remove"] or "").split(",") if placeholder]
    return {made.names[name]: made.values[value] for name, value in assigned.items()}, removed


def check_form(made):
    """Nothing but placeholders and the language's own words; each placeholder defined, used, and once."""
    text = f"{made.condition} {made.update}"
    assert set(re.findall(r"[A-Za-z_]+", text)) <= WORDS
    assert re.fullmatch(r"[A-Za-z_0-9#:=(), ]*", text)
    used_names, used_values = re.findall(r"#\d+", text), re.findall(r":\d+", text)
    assert sorted(used_names) == sorted(made.names)
    assert sorted(used_values) == sorted(made.values)


def check_limits(made):
    operators = made.condition.count("=") + made.condition.count(" AND ") + made.condition.count("attribute_")
    assert len(made.condition.encode()) <= TEXT
    assert operators <= OPERATORS
    spelt = [json.dumps(value, separators=(",", ":"), ensure_ascii=False) for value in made.values.values()]
    assert sum(len(text.encode()) for text in (*made.names.values(), *spelt)) <= SUBSTITUTED


@thoroughly
@given(expectations)
def test_a_condition_checks_the_item_s_existence_and_every_expected_attribute(expected):
    made = expressions(delete(expected), SCHEMA)
    check_form(made)
    check_limits(made)
    assert conditions(made) == ("attribute_exists(id)", expected)
    assert (made.guarded, made.unguarded, made.update) == (len(expected), 0, "")


@thoroughly
@given(expectations)
def test_key_attributes_are_not_guarded(expected):
    with_key = expressions(delete(KEY_ITEM | expected), SCHEMA)
    assert conditions(with_key) == ("attribute_exists(id)", expected)
    assert with_key.guarded == len(expected)


def test_a_range_attribute_of_another_table_is_guarded():
    made = expressions(delete(KEY_ITEM), KeySchema(SCHEMA.hash))
    assert conditions(made) == ("attribute_exists(id)", {"sort": {"N": "1"}})


@thoroughly
@given(names())
def test_absence_is_that_of_the_hash_key(name):
    schema = KeySchema(KeyAttribute(name, "S"), KeyAttribute(name + "2", "S"))
    made = expressions(Put(b"{}", b"{}", ItemAbsent()), schema)
    check_form(made)
    assert conditions(made) == (f"attribute_not_exists({name})", {})
    assert made.members() == {
        "ConditionExpression": "attribute_not_exists(#0)",
        "ExpressionAttributeNames": {"#0": name},
    }


@thoroughly
@given(assignments, st.lists(no_keys, max_size=4, unique=True), expectations)
def test_an_update_sets_and_removes_exactly_what_the_patch_says(assign, remove, expected):
    remove = [name for name in remove if name not in assign]
    made = expressions(patch(assign, remove, expected), SCHEMA)
    check_form(made)
    check_limits(made)
    assert updates(made) == (assign, remove)
    assert conditions(made) == ("attribute_exists(id)", expected)


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_and_odd_names_are_never_spelt_out(name):
    made = expressions(
        patch({name: {"S": name}}, ["x" + name], {name: {"S": name}, "x" + name: None}), SCHEMA
    )
    check_form(made)
    assert updates(made) == ({name: {"S": name}}, ["x" + name])
    assert conditions(made)[1] == {name: {"S": name}, "x" + name: None}


def test_members_that_are_empty_are_left_out():
    assert set(expressions(patch({}, ["a"]), SCHEMA).members()) == {
        "ConditionExpression",
        "UpdateExpression",
        "ExpressionAttributeNames",
    }
    assert Expressions().members() == {}


def test_every_placeholder_is_another_one():
    made = Expressions()
    assert len({made.name("a") for _ in range(500)}) == 500
    assert len({made.value({"S": "a"}) for _ in range(500)}) == 500


# ── Limits ──────────────────────────────────────────────────────────────────────────────────────────


@briefly
@given(
    absent=st.integers(0, 400),
    present=st.integers(0, 400),
    big=st.integers(0, 12),
    size=st.integers(0, 420_000),
    assign=st.integers(0, ATTRIBUTES_PER_PATCH),
    remove=st.integers(0, ATTRIBUTES_PER_PATCH),
    assigned_size=st.integers(0, 9_000),
)
def test_no_condition_passes_a_limit_and_what_it_leaves_out_is_counted(
    absent, present, big, size, assign, remove, assigned_size
):
    expected: dict[str, Any] = {f"absent-{n}": None for n in range(absent)}
    expected |= {f"present-{n}": {"S": f"{n}"} for n in range(present)}
    expected |= {f"big-{n}": {"S": "é" * (size // 2)} for n in range(big)}
    change = patch(
        {f"set-{n}": {"S": "x" * assigned_size} for n in range(assign)},
        [f"remove-{n}" for n in range(min(remove, ATTRIBUTES_PER_PATCH - assign))],
        expected,
    )
    for mutation in (delete(expected), change, Put(KEY, b"{}", AttributesAre(expected))):
        made = expressions(mutation, SCHEMA)
        check_form(made)
        _, checked = conditions(made)
        assert checked.items() <= expected.items()
        assert made.guarded == len(checked)
        assert made.unguarded == len(expected) - len(checked)
        assert is_whole(mutation, SCHEMA) == (checked == expected)
        check_limits(made)
        assert len(made.update) <= TEXT
        assert made.update.count("=") + made.update.count("#") <= OPERATORS


def test_a_condition_guards_as_much_as_fits():
    many = {f"{n}": {"S": "v"} for n in range(1_000)}
    made = expressions(delete(many), SCHEMA)
    assert made.guarded >= 140
    assert made.guarded + made.unguarded == 1_000
    assert conditions(made)[1] == dict(list(many.items())[: made.guarded])


def test_a_small_attribute_after_one_that_has_no_room_is_still_guarded():
    expected = {f"big-{n}": {"S": "x" * 400_000} for n in range(7)} | {"small": {"S": "v"}, "absent": None}
    made = expressions(delete(expected), SCHEMA)
    assert made.unguarded == 2
    assert {"small", "absent"} <= conditions(made)[1].keys()


@pytest.mark.parametrize("name", ["é" * 30_000, "n" * 60_000])
def test_long_names_count_as_what_they_take(name):
    made = expressions(delete({f"{name}{n}": None for n in range(100)}), SCHEMA)
    check_limits(made)
    assert 20 <= made.guarded < 100
    assert made.unguarded == 100 - made.guarded


@thoroughly
@given(items(max_size=3), st.lists(no_keys, max_size=3, unique=True))
def test_a_small_patch_is_guarded_whole(assign, remove):
    assert is_whole(patch(assign, remove, dict.fromkeys((*assign, *remove))), SCHEMA)


@pytest.mark.parametrize(
    "mutation",
    [
        patch({f"{n}": {"S": "v"} for n in range(100)}, (), {f"{n}": None for n in range(160)}),
        patch({"a": {"S": "v"}}, (), {f"{n}": {"S": "x" * 400_000} for n in range(6)}),
        patch(
            {f"{n}": {"S": "x" * 380_000} for n in range(3)},
            (),
            {f"{n}": {"S": "x" * 380_000} for n in range(3)},
        ),
        patch({"a": {"S": "v"}}, (), {f"{n}": {"S": "v"} for n in range(1_000)}),
        delete({f"{n}": None for n in range(160)}),
        delete({f"{n}": {"S": "v"} for n in range(160)}),
        delete({f"{n}": {"S": "x" * 400_000} for n in range(6)}),
    ],
    ids=["absent", "old values", "values together", "text", "delete absent", "delete", "delete values"],
)
def test_a_precondition_that_is_too_large_is_not_whole(mutation):
    assert not is_whole(mutation, SCHEMA)
    check_limits(expressions(mutation, SCHEMA))


@briefly
@given(st.integers(0, ATTRIBUTES_PER_PATCH), st.integers(0, ATTRIBUTES_PER_PATCH))
def test_so_many_attributes_as_a_patch_may_have_are_always_guarded_whole(assigned, present):
    # As much as two items of 400 KB can hold.
    every = [f"{n:03}" + "é" * 500 for n in range(ATTRIBUTES_PER_PATCH)]
    value = {"S": "x" * 2_900}
    change = patch(
        dict.fromkeys(every[:assigned], value),
        every[assigned:],
        {name: value if n < present else None for n, name in enumerate(every)},
    )
    made = expressions(change, SCHEMA)
    assert is_whole(change, SCHEMA)
    assert made.guarded == ATTRIBUTES_PER_PATCH
    check_limits(made)
    assert len(made.update) <= TEXT


def test_a_delete_of_as_many_attributes_as_have_room_is_whole():
    assert is_whole(delete({f"{n}": None for n in range(110)}), SCHEMA)
    assert is_whole(delete({f"{n}": {"S": "x" * 390_000} for n in range(5)}), SCHEMA)
