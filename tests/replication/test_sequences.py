"""A sequence-guarded mirror only ever goes forward, in whatever order and however often records come."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.change import Applied, Change, ChangeKind, Fate
from asyncrep.errors import PermissionDeniedError, UsageError
from asyncrep.replicate.guard import GuardTable
from asyncrep.replicate.selection import Selection
from asyncrep.replicate.sequences import SequenceGuarded
from tests.support.mirrors import Chaos, CrashError, Side, make_side
from tests.support.scenario import item, key
from tests.support.values import equal

if TYPE_CHECKING:
    from tests.support.values import Item

ORIGIN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
NUMBER = 10**38
"""Sequence numbers have up to 40 digits, numbers of DynamoDB 38."""


def calm() -> Chaos:
    return Chaos(random.Random(0), lost=0, crashes=0)


@pytest.fixture
def side() -> Side:
    return make_side("eu-west-1", calm())


def put(sequence: int, made: Item | None = None, origin: str = ORIGIN) -> Change:
    new = json.dumps(made or item("a", n=sequence)).encode()
    return Change(key=key("a"), kind=ChangeKind.MODIFY, sequence=NUMBER + sequence, new=new, origin=origin)


def remove(sequence: int) -> Change:
    return Change(key=key("a"), kind=ChangeKind.REMOVE, sequence=NUMBER + sequence, origin=ORIGIN)


async def applied(side: Side, *changes: Change, **selection: Any) -> Applied:
    return await SequenceGuarded(side.table, side.guard, Selection.from_texts(**selection)).apply(changes)


def told(result: Applied) -> list[tuple[int, Fate]]:
    return [(each.change.sequence - NUMBER, each.fate) for each in result.unwritten]


async def test_the_last_state_is_written_with_its_sequence_number(side: Side) -> None:
    assert await applied(side, put(1), put(9), put(10)) == Applied(1, 2, [])
    assert side.items.items == {"a": item("a", n=10)}
    [row] = side.rows.items.values()
    assert row == {
        "id": row["id"],
        "table": {"S": "orders"},
        "key": {"S": '{"id":{"S":"a"}}'},
        "sequence": {"S": f"0{NUMBER + 10}"},
    }


async def test_late_and_repeated_changes_are_superseded(side: Side) -> None:
    await applied(side, put(10))
    late = await applied(side, put(9))
    assert told(late) == [(9, Fate.SUPERSEDED)]
    assert late.unwritten[0].reason == "A later change is applied already."
    assert told(await applied(side, put(10))) == [(10, Fate.SUPERSEDED)]
    assert (await applied(side, put(11))).written == 1
    assert side.items.items == {"a": item("a", n=11)}


async def test_a_deletion_is_remembered_for_a_while_and_a_put_for_good(side: Side) -> None:
    await applied(side, put(1))
    await applied(side, remove(5))
    [row] = side.rows.items.values()
    assert row["expires"] == {"N": str(1_700_000_000 + 7 * 24 * 3600)}
    assert told(await applied(side, put(4))) == [(4, Fate.SUPERSEDED)]
    assert not side.items.items
    await applied(side, put(6))
    [row] = side.rows.items.values()
    assert "expires" not in row
    assert side.items.items == {"a": item("a", n=6)}


async def test_changes_that_come_in_disorder_are_put_in_order(side: Side) -> None:
    assert (await applied(side, put(3), remove(2))).written == 1
    assert side.items.items == {"a": item("a", n=3)}


async def test_each_origin_has_numbers_of_its_own(side: Side) -> None:
    await applied(side, put(10))
    assert (await applied(side, put(5, origin=ORIGIN + "2"))).written == 1
    assert len(side.rows.items) == 2


STREAMS = [f"{ORIGIN}/stream/{label}" for label in ("2026-01-01T00:00:00.000", "2026-02-01T00:00:00.000")]


async def test_a_later_stream_of_the_table_counts_from_anew(side: Side) -> None:
    earlier, later = STREAMS
    await applied(side, replace(put(900), stream=earlier))
    assert (await applied(side, replace(put(5), stream=later))).written == 1
    assert side.items.items == {"a": item("a", n=5)}
    [row] = side.rows.items.values()
    assert row["stream"] == {"S": "2026-02-01T00:00:00.000"}
    for late in (
        replace(put(901), stream=earlier),
        replace(put(5), stream=later),
        replace(put(4), stream=later),
    ):
        assert [fate for _, fate in told(await applied(side, late))] == [Fate.SUPERSEDED]
    assert (await applied(side, replace(remove(6), stream=later))).written == 1


async def test_numbers_whose_stream_nobody_told_are_compared_as_they_are(side: Side) -> None:
    await applied(side, put(5))
    assert told(await applied(side, replace(put(4), stream=STREAMS[0]))) == [(4, Fate.SUPERSEDED)]
    assert (await applied(side, replace(put(6), stream=STREAMS[0]))).written == 1
    assert told(await applied(side, put(6))) == [(6, Fate.SUPERSEDED)]
    assert (await applied(side, put(7))).written == 1


async def test_poison_and_missing_images_let_the_change_before_through(side: Side) -> None:
    large = put(3, item("a", s="x" * 420_000))
    blind = Change(key=key("a"), kind=ChangeKind.MODIFY, sequence=NUMBER + 4, origin=ORIGIN)
    result = await applied(side, put(1), put(2), large, blind)
    assert (result.written, result.squashed) == (1, 1)
    assert told(result) == [(3, Fate.POISON), (4, Fate.POISON)]
    assert side.items.items == {"a": item("a", n=2)}


async def test_what_fails_and_then_is_poison_lets_the_change_before_it_through(side: Side) -> None:
    changes = [put(1), put(2), put(3, item("a", s="x" * 420_000))]
    with side.outage():
        first = await applied(side, *changes)
    assert (first.written, first.squashed) == (0, 0)
    assert told(first) == [(1, Fate.FAILED), (2, Fate.FAILED), (3, Fate.FAILED)]
    second = await applied(side, *[each.change for each in first.unwritten])
    assert (second.written, second.squashed, told(second)) == (1, 1, [(3, Fate.POISON)])
    assert side.items.items == {"a": item("a", n=2)}


async def test_what_failed_is_squashed_when_it_comes_again_and_counted_once(side: Side) -> None:
    with side.outage():
        first = await applied(side, put(1), put(2), remove(3), put(4), events=["MODIFY"])
        last = await applied(side, put(5), remove(6), events=["MODIFY"])
    assert (first.squashed, last.squashed) == (0, 1)
    again = [each.change for each in (*first.unwritten, *last.unwritten)]
    assert await applied(side, *again, events=["MODIFY"]) == Applied(1, 4, [])
    assert side.items.items == {"a": item("a", n=5)}


async def test_a_superseded_change_squashes_those_before_it(side: Side) -> None:
    await applied(side, put(9))
    late = await applied(side, put(1), put(2), put(3))
    assert (late.squashed, told(late)) == (2, [(3, Fate.SUPERSEDED)])


async def test_poison_after_a_failed_change_comes_again_with_it(side: Side) -> None:
    blind = Change(key=key("a"), kind=ChangeKind.MODIFY, sequence=NUMBER + 3, origin=ORIGIN)
    with side.outage():
        first = await applied(side, put(1), put(2), blind)
    assert told(first) == [(1, Fate.FAILED), (2, Fate.FAILED), (3, Fate.FAILED)]
    assert told(await applied(side, *[each.change for each in first.unwritten])) == [(3, Fate.POISON)]


async def test_a_selection_shapes_what_is_written(side: Side) -> None:
    result = await applied(side, put(1, item("a", x=1, y=2)), remove(2), events=["MODIFY"], without=["y"])
    assert (result.written, result.squashed) == (1, 1)
    assert side.items.items == {"a": item("a", x=1)}
    with pytest.raises(UsageError, match="part of the key"):
        SequenceGuarded(side.table, side.guard, Selection.from_texts(rename=["id=key"]))


async def test_a_landed_write_whose_answer_got_lost_counts_as_written(side: Side) -> None:
    side.items.tokens = None
    chaos = Chaos(random.Random(3), lost=1, crashes=0, tokens=False)
    lossy = make_side("eu-west-1", chaos)
    lossy.items.tokens = None
    for number in range(20):
        result = await applied(lossy, put(number))
        assert told(result) in ([], [(number, Fate.FAILED)])


async def test_who_may_not_write_is_told(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object) -> None:
        raise PermissionDeniedError("No.")

    monkeypatch.setattr(side.wire, "call", refused)
    with pytest.raises(PermissionDeniedError):
        await applied(side, put(1))


# ── Whole runs ──────────────────────────────────────────────────────────────────────────────────────


def written_at_random(rng: random.Random) -> Side:
    """A table that was written to, and its stream."""
    origin = make_side("us-east-1", calm())
    keys = [f"k{number}" for number in range(rng.randint(1, 3))]
    for number in range(rng.randint(3, 20)):
        if rng.random() < 0.3:
            origin.items.delete(rng.choice(keys))
        else:
            origin.items.put(item(rng.choice(keys), n=number))
    return origin


def _is_number(value: dict[str, str]) -> bool:
    return len(value.get("S", "")) == 40 and value["S"].isdigit()


async def play(seed: int) -> int:
    """Let several workers bring the records of a table in any order, often twice; return how many were late."""
    rng = random.Random(seed)
    origin = written_at_random(rng)
    side = make_side("eu-west-1", Chaos(rng, lost=0.15, crashes=0.02, tokens=rng.random() < 0.5))
    changes = origin.changes(0, len(origin.entries))
    if rng.random() < 0.3:
        changes = [replace(each, stream="") for each in changes]
    reached: dict[str, int] = defaultdict(int)

    def watch(written: str, old: Item | None, new: Item | None, body: dict[str, Any]) -> None:
        del old, new
        update = next(action["Update"] for action in body["TransactItems"] if "Update" in action)
        sequence = int(
            next(value["S"] for value in update["ExpressionAttributeValues"].values() if _is_number(value))
        )
        assert sequence > reached[written], f"{written} was turned back from {reached[written]} to {sequence}"
        reached[written] = sequence

    side.wire.watch = watch
    late = 0
    applier = SequenceGuarded(side.table, side.guard)

    async def bring(some: list[Change]) -> None:
        nonlocal late
        await side.wire._chaos.pause(30)
        while some:
            try:
                result = await applier.apply(some)
            except CrashError:
                continue
            late += len(result.of(Fate.SUPERSEDED))
            some = [each.change for each in result.of(Fate.FAILED)]

    async with asyncio.TaskGroup() as group:
        for start in [start for start in range(len(changes)) for _ in range(rng.randint(1, 3))]:
            batch = changes[start : start + rng.randint(1, 4)]
            rng.shuffle(batch)
            group.create_task(bring(batch))
    assert side.items.items.keys() == origin.items.items.keys()
    assert all(equal(side.items.items[each], made) for each, made in origin.items.items.items())
    return late


def test_records_in_any_order_end_in_the_newest_state_without_a_step_back() -> None:
    late = 0
    for seed in range(200):
        try:
            late += asyncio.run(play(seed))
        except* AssertionError as failure:
            failure.add_note(f"seed {seed}")
            raise
    assert late > 500, "hardly anything came late"


def play_all(seeds: range) -> None:
    for seed in seeds:
        asyncio.run(play(seed))


def test_without_the_guard_s_condition_an_item_is_turned_back(monkeypatch: pytest.MonkeyPatch) -> None:
    advance = GuardTable.advance

    def unconditional(*arguments: Any, **options: Any) -> Any:
        made = advance(*arguments, **options)
        assert made.expressions is not None
        made.expressions.condition = f"attribute_exists(id) OR {made.expressions.condition}"
        return made

    monkeypatch.setattr(GuardTable, "advance", unconditional)
    with pytest.raises(ExceptionGroup):
        play_all(range(20))
