"""What differs is named by attribute and by path, all of it and nothing else."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, given

from asyncrep.items.changes import PathChange, changes, path_changes
from asyncrep.items.equality import same_item, same_value
from tests.support.mutations import mutate
from tests.support.scenario import item, wire
from tests.support.strategies import items, respell, seeds, thoroughly


def image(**attributes: Any) -> bytes:
    return json.dumps(item(**attributes)).encode()


def told(ours: Any, theirs: Any) -> dict[str, tuple[Any, Any]]:
    """The differences of two values of the attribute `a`, by spelled path."""
    found = path_changes(image(a=ours), image(a=theirs))
    return {each.spelled: (each.primary, each.replica) for each in found}


def test_attributes_are_named_by_who_has_them() -> None:
    ours = image(v=1, new=1, same=1, seen=1, mine=1, **{"aws:rep:x": 1})
    theirs = image(v=2, old=1, same=1, seen=2, **{"aws:rep:y": 1})
    assert changes(ours, theirs, {"seen", "mine"}) == (["v"], ["new"], ["old"])
    assert {each.path for each in path_changes(ours, theirs, {"seen", "mine"})} == {
        ("v",),
        ("new",),
        ("old",),
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (1, 2, {"a": (wire(1), wire(2))}),
        (1, "1", {"a": (wire(1), wire("1"))}),
        (True, 1, {"a": (wire(True), wire(1))}),
        ([1], {"x": 1}, {"a": (wire([1]), wire({"x": 1}))}),
        ({"city": "Bern", "zip": 1}, {"city": "Basel", "zip": 1}, {"a.city": (wire("Bern"), wire("Basel"))}),
        ({"x": 1}, {"y": 1}, {"a.x": (wire(1), None), "a.y": (None, wire(1))}),
        ({"x": None}, {}, {"a.x": (wire(None), None)}),
        ([1, 2, 3], [1, 5], {"a[1]": (wire(2), wire(5)), "a[2]": (wire(3), None)}),
        ([{"x": [0, {"y": 1}]}], [{"x": [0, {"y": 2}]}], {"a[0].x[1].y": (wire(1), wire(2))}),
        ({"a.b": 1, "": 1}, {"a.b": 2, "": 2},
         {'a."a.b"': (wire(1), wire(2)), 'a.""': (wire(1), wire(2))}),
        ({"[0]": 1, "0": 1, "a-b": 1, "\x1b": 1}, {}, {
            'a."[0]"': (wire(1), None), "a.0": (wire(1), None), "a.a-b": (wire(1), None),
            'a."\\u001b"': (wire(1), None),
        }),
    ],
)  # fmt: skip
def test_differences_are_found_inside_maps_and_lists(ours: Any, theirs: Any, expected: Any) -> None:
    assert told(ours, theirs) == expected


def test_of_sets_only_the_members_are_told_that_one_side_lacks() -> None:
    assert path_changes(image(a={"x", "y"}), image(a={"y", "z"})) == [
        PathChange(("a",), {"SS": ["x"]}, {"SS": ["z"]}, members=True)
    ]
    assert path_changes(image(a={b"x"}), image(a={b"x", b"y"})) == [
        PathChange(("a",), None, wire({b"y"}), members=True)
    ]
    ours = b'{"a":{"NS":["1.0","2"]}}'
    assert path_changes(ours, b'{"a":{"NS":["1"]}}') == [
        PathChange(("a",), {"NS": ["2"]}, None, members=True)
    ]
    assert path_changes(image(a={"1"}), image(a={1})) == [PathChange(("a",), wire({"1"}), wire({1}))]


def test_no_more_are_told_than_are_wanted() -> None:
    ours, theirs = image(a=list(range(1000))), image(a=list(range(1, 1001)))
    assert [each.path for each in path_changes(ours, theirs, most=3)] == [("a", 0), ("a", 1), ("a", 2)]
    assert len(path_changes(ours, theirs)) == 1000


@thoroughly
@given(items(), seeds())
def test_equal_items_have_no_differences_however_they_are_spelled(each, source):
    ours, theirs = respell(each, source), respell(each, source)
    assert path_changes(ours, theirs) == []
    assert changes(ours, theirs) == ([], [], [])


@thoroughly
@given(items(), seeds())
def test_a_change_in_one_place_is_told_in_one_attribute(each, source):
    mutant, name = mutate(each, source)
    ours, theirs = respell(each, source), respell(mutant, source)
    found = path_changes(ours, theirs)
    assert {change.path[0] for change in found} == {name}
    assert sum(map(len, changes(ours, theirs))) == 1


@thoroughly
@given(items(), items())
def test_carrying_the_differences_over_makes_the_items_equal(ours, theirs):
    assume(ours != theirs)
    images = json.dumps(ours).encode(), json.dumps(theirs).encode()
    patched = {"M": deepcopy(theirs)}
    # What is missing from the end of a list comes in order; what is too much is taken from its end.
    for change in sorted(path_changes(*images), key=_backwards_where_removed):
        _carry_over(patched, change)
    assert same_item(json.dumps(ours).encode(), json.dumps(patched["M"]).encode())


def _backwards_where_removed(change: PathChange) -> tuple[bool, int]:
    last = change.path[-1]
    return change.primary is None, -last if isinstance(last, int) and change.primary is None else 0


def _carry_over(value: Any, change: PathChange) -> None:
    *parents, last = change.path
    for step in parents:
        value = value["L"][step] if isinstance(step, int) else value["M"][step]
    ((_, content),) = value.items()
    if change.members:
        kind = next(iter(content[last]))
        gone = [] if change.replica is None else change.replica[kind]
        content[last][kind] = [
            member
            for member in content[last][kind]
            if not any(same_value({kind[0]: member}, {kind[0]: other}) for other in gone)
        ] + ([] if change.primary is None else change.primary[kind])
    elif change.primary is None:
        del content[last]
    elif isinstance(last, int) and last >= len(content):
        content.append(change.primary)
    else:
        content[last] = change.primary
