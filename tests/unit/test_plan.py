"""Plans: which mutation mends a discrepancy, guarded on what was read, touching nothing else."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.aws.guard import ATTRIBUTES_PER_PATCH, is_whole
from asyncrep.items.equality import same_item
from asyncrep.model import Different, Extraneous, KeyAttribute, KeySchema, Missing
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Patch, Put
from asyncrep.repair.plan import plan
from tests.support.mutations import mutate_value
from tests.support.strategies import items, respell, seeds, system_names, thoroughly, values
from tests.support.values import equal

SCHEMA = KeySchema(KeyAttribute("id", "S"), KeyAttribute("sort", "N"))
KEY = b'{"id":{"S":"a"},"sort":{"N":"10"}}'
KEY_ITEM = {"id": {"S": "a"}, "sort": {"N": "10"}}
IGNORED = "ignored, this"


def image(item, source=None):
    return respell(item, source) if source else json.dumps(item).encode()


def patched(item: dict[str, Any], patch: Patch) -> dict[str, Any]:
    """What the service makes of an item."""
    kept = {name: value for name, value in item.items() if name not in patch.remove}
    return kept | dict(patch.assign)


def changed(item, source):
    """The item with some attributes changed, dropped and added, and the names of all of those."""
    other, touched = dict(item), set()
    for name in list(item):
        match source.randrange(4):
            case 0:
                other[name] = mutate_value(item[name], source)
            case 1:
                del other[name]
            case _:
                continue
        touched.add(name)
    new = "new"
    while new in other:
        new += "'"
    if not touched or source.random() < 0.5:
        other[new] = {"S": ""}
        touched.add(new)
    return other, touched


def without_key(item):
    return {name: value for name, value in item.items() if name not in KEY_ITEM}


@thoroughly
@given(items(), seeds())
def test_a_missing_item_is_put_whole_if_there_is_none(item, source):
    primary = image(without_key(item) | KEY_ITEM, source)
    assert plan(Missing(key=KEY, primary=primary), ()) == [Put(KEY, primary, ItemAbsent())]


@thoroughly
@given(items(), st.dictionaries(system_names(), values(), max_size=1), seeds())
def test_an_extraneous_item_is_deleted_if_every_attribute_is_as_read(item, system, source):
    item = without_key(item) | KEY_ITEM | system
    (mutation,) = plan(Extraneous(key=KEY, replica=image(item, source)), {IGNORED})
    assert isinstance(mutation, Delete)
    assert mutation.key == KEY
    expected: dict[str, Any] = dict(mutation.precondition.expected)
    assert expected.keys() == item.keys()
    assert equal({name: value for name, value in expected.items() if value is not None}, item)


@thoroughly
@given(items(max_size=6), values(), values(), seeds())
def test_a_different_item_is_patched_where_it_differs_and_nowhere_else(item, ours, theirs, source):
    replica = without_key(item) | KEY_ITEM | {IGNORED: theirs, "aws:rep:updatetime": {"N": "2"}}
    wanted, touched = changed(without_key(item), source)
    primary = (
        wanted
        | KEY_ITEM
        | {IGNORED: ours, "aws:rep:updatetime": {"N": "1"}, "aws:rep:deleting": {"BOOL": True}}
    )
    found = Different(key=KEY, primary=image(primary, source), replica=image(replica, source))
    (mutation,) = plan(found, {IGNORED})
    assert isinstance(mutation, Patch)
    assert is_whole(mutation, SCHEMA)
    assert mutation.key == KEY
    assert {*mutation.assign, *mutation.remove} == touched
    assert len(mutation.assign) + len(list(mutation.remove)) == len(touched)
    # Guarded on the old values, absent ones on their absence.
    expected: dict[str, Any] = dict(mutation.precondition.expected)
    assert expected.keys() == touched
    for name in touched:
        assert (expected[name] is None) == (name not in replica)
    old = {name: value for name, value in expected.items() if value is not None}
    assert equal(old, {name: replica[name] for name in touched if name in replica})
    # The replica is then as the primary, but for what is not compared: that stays as it was.
    after = patched(replica, mutation)
    assert equal(after, wanted | KEY_ITEM | {IGNORED: theirs, "aws:rep:updatetime": {"N": "2"}})
    assert same_item(image(after), found.primary, {IGNORED})


@thoroughly
@given(items(), values(), seeds())
def test_what_somebody_adds_meanwhile_survives_a_patch(item, added, source):
    replica = without_key(item) | KEY_ITEM
    wanted, _ = changed(without_key(item), source)
    (mutation,) = plan(Different(key=KEY, primary=image(wanted | KEY_ITEM), replica=image(replica)), ())
    assert isinstance(mutation, Patch)
    assert patched(replica | {"added meanwhile": added}, mutation)["added meanwhile"] == added


def test_an_attribute_that_is_only_spelt_differently_is_left_alone():
    primary = {**KEY_ITEM, "n": {"N": "1"}, "s": {"NS": ["1", "2"]}, "x": {"S": "new"}}
    replica = {**KEY_ITEM, "n": {"N": "1.0"}, "s": {"NS": ["2", "1"]}, "x": {"S": "old"}}
    assert plan(Different(key=KEY, primary=image(primary), replica=image(replica)), ()) == [
        Patch(KEY, {"x": {"S": "new"}}, [], AttributesAre({"x": {"S": "old"}}))
    ]


def test_null_and_empty_are_old_values_and_absence_is_none():
    primary = {**KEY_ITEM, "a": {"S": ""}, "c": {"L": []}}
    replica = {**KEY_ITEM, "a": {"NULL": True}, "b": {"M": {}}}
    assert plan(Different(key=KEY, primary=image(primary), replica=image(replica)), ()) == [
        Patch(
            KEY,
            {"a": {"S": ""}, "c": {"L": []}},
            ["b"],
            AttributesAre({"a": {"NULL": True}, "c": None, "b": {"M": {}}}),
        )
    ]


def test_system_attributes_of_the_primary_are_not_patched_in():
    primary = {**KEY_ITEM, "aws:rep:deleting": {"BOOL": False}, "x": {"S": "new"}}
    (mutation,) = plan(Different(key=KEY, primary=image(primary), replica=image(KEY_ITEM)), ())
    assert mutation == Patch(KEY, {"x": {"S": "new"}}, [], AttributesAre({"x": None}))


# ── Too large for one update ────────────────────────────────────────────────────────────────────────


def large(changes, text="v"):
    same = {f"same-{n}": {"S": "same"} for n in range(20)}
    uncompared: dict[str, Any] = {"aws:rep:updatetime": {"N": "1"}, IGNORED: {"S": "primary's"}}
    primary = {**KEY_ITEM, **same, **{f"n{n}": {"S": f"new {text}"} for n in range(changes)}, **uncompared}
    uncompared = {
        "aws:rep:updatetime": {"N": "2"},
        IGNORED: {"S": "replica's"},
        "aws:rep:deleting": {"BOOL": True},
    }
    replica = {
        **KEY_ITEM,
        **same,
        **{f"n{n}": {"S": f"old {text}"} for n in range(0, changes, 2)},
        **uncompared,
    }
    replica["gone"] = {"S": "x"}
    return primary, replica


@pytest.mark.parametrize(
    ("changes", "text"), [(98, "v"), (99, "v"), (100, "v"), (160, "v"), (400, "v"), (6, "x" * 60_000)]
)
def test_a_difference_of_any_size_is_patched_in_parts_that_are_each_guarded_whole(changes, text):
    primary, replica = large(changes, text)
    found = Different(key=KEY, primary=image(primary), replica=image(replica))
    mutations = plan(found, {IGNORED})
    assert len(mutations) == math.ceil((changes + 1) / ATTRIBUTES_PER_PATCH)
    after, touched = replica, []
    for mutation in mutations:
        assert isinstance(mutation, Patch)
        assert mutation.key == KEY
        assert is_whole(mutation, SCHEMA)
        names = [*mutation.assign, *mutation.remove]
        assert 0 < len(names) <= ATTRIBUTES_PER_PATCH
        assert isinstance(mutation.precondition, AttributesAre)
        assert mutation.precondition.expected == {name: replica.get(name) for name in names}
        touched += names
        after = patched(after, mutation)
    # Each attribute that differs once, and no other: what is not compared stays as it was.
    assert sorted(touched) == sorted([*(f"n{n}" for n in range(changes)), "gone"])
    uncompared = {IGNORED, "aws:rep:updatetime", "aws:rep:deleting"}
    assert {name: after.pop(name) for name in uncompared} == {name: replica[name] for name in uncompared}
    assert after == {name: value for name, value in primary.items() if name not in uncompared}


@thoroughly
@given(st.integers(1, 250))
def test_what_somebody_adds_meanwhile_survives_any_number_of_patches(changes):
    primary, replica = large(changes)
    after = replica | {"added meanwhile": {"S": "x"}}
    for mutation in plan(Different(key=KEY, primary=image(primary), replica=image(replica)), {IGNORED}):
        assert isinstance(mutation, Patch)
        after = patched(after, mutation)
    assert after["added meanwhile"] == {"S": "x"}
    assert same_item(
        image({**after, "added meanwhile": {"S": "x"}}),
        image({**primary, "added meanwhile": {"S": "x"}}),
        {IGNORED},
    )
