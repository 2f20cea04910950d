"""Planning an undo: whatever a repair did to a record is taken back, and nothing else is touched."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.items.equality import decode_image, same_item
from asyncrep.jobs.entries import Entry
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Outcome, Patch, Put
from asyncrep.repair.take_back import UndoState, deeds, plan_take_back
from tests.support.scenario import item, key
from tests.support.strategies import thoroughly

if TYPE_CHECKING:
    from asyncrep.mutation import Mutation

KEY = key()
NAMES = ("p", "q", "r", "__proto__")


def image(**attributes: Any) -> bytes:
    return json.dumps(item(**attributes)).encode()


def written(before: bytes | None, mutation: Mutation) -> tuple[bool, bytes | None]:
    """Whether a mutation's condition holds for an item, and the item after it."""
    there = None if before is None else decode_image(before)
    match mutation:
        case Put():
            return before is None, mutation.image
        case Delete():
            holds = there is not None and all(
                there.get(n) == v for n, v in mutation.precondition.expected.items()
            )
            return holds, None
        case Patch():
            if there is None:
                return False, None
            holds = all(there.get(name) == value for name, value in mutation.precondition.expected.items())
            after = {name: value for name, value in there.items() if name not in mutation.remove}
            return holds, json.dumps(after | dict(mutation.assign)).encode()


def carried_out(before: bytes | None, mutations: list[Mutation]) -> bytes | None:
    """The item after mutations, each of whose conditions must hold."""
    now = before
    for mutation in mutations:
        holds, now = written(now, mutation)
        assert holds, mutation
    return now


def entry(number: int, before: bytes | None, mutation: Mutation, *, outcome: str = "applied") -> Entry:
    known = {"applied": Outcome(applied=True, old=before), "refused": Outcome(applied=False), "unknown": None}
    return Entry("w", number, "", KEY, "different", 0, before, mutation, known[outcome], None)


def patch(before: bytes, changes: dict[str, Any]) -> Patch:
    there = decode_image(before)
    return Patch(
        KEY,
        {name: value for name, value in changes.items() if value is not None},
        [name for name, value in changes.items() if value is None],
        AttributesAre({name: there.get(name) for name in changes}),
    )


values = st.integers(0, 2).map(lambda number: {"N": str(number)})


@st.composite
def histories(draw: st.DrawFn) -> list[bytes | None]:
    """The states of an item, each another than the one before; the first is before any write."""
    present = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, values)).map(
        lambda attributes: json.dumps({**item(), **attributes}).encode()
    )
    states: list[bytes | None] = [draw(st.none() | present)]
    for state in draw(st.lists(st.none() | present, min_size=1, max_size=6)):
        last = states[-1]
        if (last is None) is not (state is None) or (last and state and not same_item(last, state)):
            states.append(state)
    return states


def chain(states: list[bytes | None]) -> list[Entry]:
    """The writes that led from state to state, newest first."""
    entries = []
    for number, (before, after) in enumerate(pairwise(states), 1):
        if after is None:
            assert before is not None
            mutation: Mutation = Delete(KEY, AttributesAre(decode_image(before)))
        elif before is None:
            mutation = Put(KEY, after, ItemAbsent())
        else:
            was, now = decode_image(before), decode_image(after)
            mutation = patch(before, {n: now.get(n) for n in {*was, *now} if was.get(n) != now.get(n)})
        entries.append(entry(number, before, mutation))
    return entries[::-1]


@thoroughly
@given(histories(), st.data())
def test_from_wherever_an_undo_stopped_it_goes_on_to_the_beginning(states: Any, data: st.DataObject) -> None:
    reached = data.draw(st.integers(0, len(states) - 1))
    taken = plan_take_back(chain(states), states[reached])
    after = carried_out(states[reached], [step.mutation for step in taken.steps])
    assert (after is None) == (states[0] is None)
    assert after is None or same_item(after, states[0])
    assert len(taken.findings) == len(states) - 1
    assert {finding.state for finding in taken.findings} <= {UndoState.TAKEN_BACK, UndoState.ALREADY}
    assert len(taken.steps) <= reached
    for step in taken.steps:
        assert step.found.key == KEY


@thoroughly
@given(histories(), st.none() | st.dictionaries(st.sampled_from(NAMES), values))
def test_whatever_somebody_wrote_since_no_condition_fails_and_no_value_of_theirs_is_lost(
    states: Any, theirs: Any
) -> None:
    now = None if theirs is None else json.dumps({**item(), **theirs}).encode()
    entries = chain(states)
    taken = plan_take_back(entries, now)
    after = carried_out(now, [step.mutation for step in taken.steps])
    known = [decode_image(state) for state in states if state is not None]
    for name, value in (theirs or {}).items():
        kept = after is not None and decode_image(after).get(name) == value
        assert kept or any(state.get(name) == value for state in known)


def test_attributes_that_a_patch_did_not_touch_stay_whoever_wrote_them() -> None:
    before = image(v=1, w=1)
    taken = plan_take_back([entry(1, before, patch(before, {"v": {"N": "2"}}))], image(v=2, w=9, x=9))
    [step] = taken.steps
    assert step.mutation == Patch(KEY, {"v": {"N": "1"}}, [], AttributesAre({"v": {"N": "2"}}))
    assert decode_image(step.found.primary or b"") == item(v=1, w=9, x=9)
    assert taken.state is UndoState.TAKEN_BACK


def test_numbers_spelled_otherwise_are_no_change() -> None:
    before = image(v=1)
    taken = plan_take_back([entry(1, before, patch(before, {"v": {"N": "2.0"}}))], image(v=2))
    assert taken.state is UndoState.TAKEN_BACK


def test_what_the_service_returned_counts_and_not_what_was_read_before() -> None:
    read, old = image(v=1), image(v=1, gained=7)
    deleted = Entry(
        "w", 1, "", KEY, "extraneous", 0, read, Delete(KEY, AttributesAre({})), Outcome(True, old), None
    )
    [step] = plan_take_back([deleted], None).steps
    assert step.mutation == Put(KEY, old, ItemAbsent())


@pytest.mark.parametrize(
    ("now", "looks"),
    [
        (image(v=2), "looks as if it had landed"),
        (image(v=1), "looks as if the write had not landed"),
        (image(v=3), "neither as before the write nor as after it"),
        (None, "neither as before the write nor as after it"),
    ],
)
def test_a_write_of_unknown_fate_is_never_touched_and_told_with_what_it_looks_like(
    now: Any, looks: str
) -> None:
    before = image(v=1)
    taken = plan_take_back([entry(1, before, patch(before, {"v": {"N": "2"}}), outcome="unknown")], now)
    assert taken.steps == []
    assert taken.state is UndoState.UNKNOWN
    assert taken.reason is not None
    assert looks in taken.reason


def test_an_older_write_is_taken_back_although_a_later_one_is_not_known() -> None:
    before = image(v=1, w=1)
    then = image(v=2, w=1)
    entries = [
        entry(2, then, patch(then, {"w": {"N": "2"}}), outcome="unknown"),
        entry(1, before, patch(before, {"v": {"N": "2"}})),
    ]
    taken = plan_take_back(entries, then)
    assert [step.mutation for step in taken.steps] == [
        Patch(KEY, {"v": {"N": "1"}}, [], AttributesAre({"v": {"N": "2"}}))
    ]
    assert taken.state is UndoState.UNKNOWN


def test_the_worst_of_several_writes_is_the_record_s() -> None:
    before = image(v=1, w=1)
    entries = [
        entry(2, image(v=1, w=2), patch(before, {"v": {"N": "2"}})),
        entry(1, before, patch(before, {"w": {"N": "2"}})),
    ]
    taken = plan_take_back(entries, image(v=3, w=2))
    assert taken.state is UndoState.CHANGED
    assert taken.reason == "Attributes changed since: v."
    assert deeds(entries) == ["patch"]
    assert len(taken.steps) == 1
