"""A one-way mirror writes the last state of each item in bulk, and only what is poison stays behind."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import RetryPolicy, VirtualClock, open_table
from asyncrep.change import Applied, Change, Fate
from asyncrep.errors import PermissionDeniedError, TableNotFoundError, UsageError
from asyncrep.replicate.one_way import OneWay
from asyncrep.replicate.records import read_record
from asyncrep.replicate.selection import Selection
from tests.support.scenario import item, items, key, session
from tests.support.tables import ScriptedTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.scripted import ScriptedDynamo


@pytest.fixture
def there(endpoint: ScriptedDynamo) -> ScriptedTable:
    return endpoint.create_table("orders", "eu-west-1")


@asynccontextmanager
async def mirror(endpoint: ScriptedDynamo, **selection: Any) -> AsyncIterator[OneWay]:
    retry = RetryPolicy(attempts=3, patience=1.0)
    options: dict[str, Any] = {"session": session(), "clock": VirtualClock(), "retry": retry}
    async with open_table("eu-west-1/orders", endpoint_url=endpoint.url, **options) as table:
        yield OneWay(table, Selection.from_texts(**selection))


class Origin:
    """A table whose stream tells what is done to it."""

    def __init__(self, view: str = "NEW_AND_OLD_IMAGES") -> None:
        self.table = ScriptedTable("orders", "us-east-1", [("id", "S")])
        self.stream = self.table.enable_stream(view)

    def changes(self, table: Any) -> list[Change]:
        read = [read_record(json.dumps(record).encode(), table._table.keys) for record in self.stream.records]
        assert all(isinstance(each, Change) for each in read), read
        return read  # type: ignore[return-value]


async def applied(
    endpoint: ScriptedDynamo, act: Callable[[ScriptedTable], object], **selection: Any
) -> Applied:
    origin = Origin()
    act(origin.table)
    async with mirror(endpoint, **selection) as one_way:
        return await one_way.apply(origin.changes(one_way))


def filling(count: int) -> Callable[[ScriptedTable], object]:
    """Put so many items."""

    def act(table: ScriptedTable) -> None:
        for each in items(count):
            table.put(each)

    return act


def sent(endpoint: ScriptedDynamo) -> list[int]:
    """How many items each bulk write held."""
    return [len(call.body["RequestItems"]["orders"]) for call in endpoint.requests("BatchWriteItem")]


def fates(result: Applied) -> list[tuple[bytes, Fate]]:
    return [(each.change.key, each.fate) for each in result.unwritten]


# ── What is written ─────────────────────────────────────────────────────────────────────────────────


async def test_of_each_item_only_the_last_state_is_written(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    there.put(item("gone"))

    def act(table: ScriptedTable) -> None:
        for number in range(3):
            table.put(item("a", n=number))
        table.put(item("gone"))
        table.delete("gone")
        table.delete("never")
        table.put(item("b", x=b"\x00", big={1, 2}))

    result = await applied(endpoint, act)
    assert (result.written, result.squashed, result.unwritten) == (3, 3, [])
    assert there.items == {"a": item("a", n=2), "b": item("b", x=b"\x00", big={1, 2})}
    assert sent(endpoint) == [3]


async def test_a_thousand_items_go_in_batches_of_25_side_by_side(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    result = await applied(endpoint, filling(1000))
    assert result.written == 1000
    assert len(there.items) == 1000
    assert sent(endpoint) == [25] * 40


async def test_nothing_to_do_asks_nothing(endpoint: ScriptedDynamo, there: ScriptedTable) -> None:
    async with mirror(endpoint) as one_way:
        assert await one_way.apply([]) == Applied(0, 0, [])
        assert one_way.label == "eu-west-1/orders"
    assert sent(endpoint) == []
    assert not there.items


async def test_what_the_service_leaves_undone_is_sent_again(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    endpoint.on("BatchWriteItem").unprocessed(7)
    result = await applied(endpoint, filling(25))
    assert (result.written, len(there.items)) == (25, 25)


async def test_a_selection_shapes_what_is_written(endpoint: ScriptedDynamo, there: ScriptedTable) -> None:
    there.put(item("b", s="y", x="old"))

    def act(table: ScriptedTable) -> None:
        table.put(item("a", s="x", x="1", y="2"))
        table.put(item("b", s="x"))
        table.put(item("b", s="y"))
        table.put(item("b", s="z"))

    result = await applied(endpoint, act, where=["s=x"], without=["y"], rename=["x=ex"])
    assert there.items == {"a": item("a", s="x", ex="1")}
    assert (result.written, result.squashed) == (2, 2)


async def test_what_a_later_change_does_not_ask_for_an_earlier_one_still_does(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    """Here: it stopped to qualify, and was changed once more since."""
    there.put(item("a", s="x"))

    def act(table: ScriptedTable) -> None:
        table.items["a"] = item("a", s="x")
        table.put(item("a", s="y"))
        table.put(item("a", s="z"))

    await applied(endpoint, act, where=["s=x"])
    assert not there.items


async def test_deletions_by_ttl_are_made_or_left_out(endpoint: ScriptedDynamo, there: ScriptedTable) -> None:
    def act(table: ScriptedTable) -> None:
        table.items["a"] = item("a")
        table.expire("a")

    there.put(item("a"))
    result = await applied(endpoint, act, ttl_deletes=False)
    assert (result.written, result.squashed) == (0, 1)
    assert there.items
    await applied(endpoint, act)
    assert not there.items


async def test_a_key_that_is_to_be_renamed_is_refused_at_once(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    with pytest.raises(UsageError, match="part of the key"):
        async with mirror(endpoint, rename=["id=key"]):
            pass
    assert not there.items


# ── Poison ──────────────────────────────────────────────────────────────────────────────────────────


def with_poison(*poisons: int) -> Callable[[ScriptedTable], object]:
    """Twenty-five items, some of them with what only emulators and other services would have stored."""

    def act(table: ScriptedTable) -> None:
        for number, each in enumerate(items(25)):
            table._store(each["id"]["S"], {**each, "s": {"SS": []}} if number in poisons else each)

    return act


@pytest.mark.parametrize("poisons", [(0,), (12,), (24,), (3, 4), (0, 7, 24)])
async def test_poison_keeps_none_of_its_neighbours_back(
    endpoint: ScriptedDynamo, there: ScriptedTable, poisons: tuple[int, ...]
) -> None:
    result = await applied(endpoint, with_poison(*poisons))
    assert result.written == len(there.items) == 25 - len(poisons)
    assert fates(result) == [(key(f"k{number:03}"), Fate.POISON) for number in poisons]
    assert all("ValidationException" in each.reason for each in result.unwritten)
    assert endpoint.count("BatchWriteItem") <= 1 + 10 * len(poisons)


async def test_items_too_large_and_keys_of_another_type_are_poison(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    origin = Origin()
    for each in items(3):
        origin.table.put(each)
    origin.table._store("big", item("big", s="x" * 420_000))
    async with mirror(endpoint) as one_way:
        changes = origin.changes(one_way)
        odd = Change(key=b'{"id":{"N":"1"}}', kind=changes[0].kind, sequence=1, new=b'{"id":{"N":"1"}}')
        result = await one_way.apply([odd, *changes])
    assert fates(result) == [(odd.key, Fate.POISON), (key("big"), Fate.POISON)]
    assert list(there.items) == ["k000", "k001", "k002"]


async def test_when_the_last_state_is_poison_the_one_before_is_written(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    def act(table: ScriptedTable) -> None:
        table.put(item("a", n=1))
        table.put(item("a", n=2))
        table._store("a", {**item("a"), "s": {"SS": []}})

    result = await applied(endpoint, act)
    assert there.items == {"a": item("a", n=2)}
    assert (result.written, result.squashed, fates(result)) == (1, 1, [(key("a"), Fate.POISON)])


async def test_a_state_that_the_stream_s_view_does_not_tell_is_poison(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    there.put(item("b"))
    origin = Origin("KEYS_ONLY")
    origin.table.put(item("a"))
    origin.table.put(item("b"))
    origin.table.delete("b")
    async with mirror(endpoint) as one_way:
        result = await one_way.apply(origin.changes(one_way))
    assert fates(result) == [(key("a"), Fate.POISON)]
    assert "the stream's view must be" in result.unwritten[0].reason
    assert (result.written, result.squashed) == (1, 1)
    assert not there.items


# ── Failures ────────────────────────────────────────────────────────────────────────────────────────


async def test_what_fails_in_passing_concerns_its_own_batch_only(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    failing = endpoint.on("BatchWriteItem", when=lambda body: "k030" in json.dumps(body), times=None).error(
        "InternalServerError", 500
    )
    result = await applied(endpoint, filling(60))
    assert failing.fired == 3
    assert result.written == len(there.items) == 35
    assert fates(result) == [(key(f"k{number:03}"), Fate.FAILED) for number in range(25, 50)]


async def test_throttling_that_does_not_end_is_a_failure_of_the_batch(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    endpoint.on("BatchWriteItem", times=None).throttle()
    result = await applied(endpoint, filling(1))
    assert fates(result) == [(key("k000"), Fate.FAILED)]
    assert "still throttled" in result.unwritten[0].reason
    assert not there.items


def failing_once(endpoint: ScriptedDynamo) -> None:
    """Fail the next bulk write as often as it is tried; what is written after it goes through."""
    endpoint.on("BatchWriteItem", times=3).error("InternalServerError", 500)


async def again(one_way: OneWay, result: Applied) -> Applied:
    """Apply once more what has failed, as a worker does."""
    return await one_way.apply([each.change for each in result.of(Fate.FAILED)])


def two_good_and_a_poisonous_state(table: ScriptedTable) -> None:
    table.put(item("a", n=1))
    table.put(item("a", n=2))
    table._store("a", {**item("a"), "s": {"SS": []}})
    table.put(item("b"))


async def test_what_fails_and_then_is_poison_lets_the_change_before_it_through(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    origin = Origin()
    two_good_and_a_poisonous_state(origin.table)
    async with mirror(endpoint) as one_way:
        failing_once(endpoint)
        changes = origin.changes(one_way)
        first = await one_way.apply(changes)
        assert [each.change for each in first.of(Fate.FAILED)] == changes
        assert (first.written, first.squashed, there.items) == (0, 0, {})
        second = await again(one_way, first)
    assert there.items == {"a": item("a", n=2), "b": item("b")}
    assert (second.written, second.squashed) == (2, 1)
    assert [each.change for each in second.unwritten] == [changes[2]]
    assert fates(second) == [(key("a"), Fate.POISON)]


async def test_what_failed_is_squashed_when_it_comes_again_and_counted_once(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    origin = Origin()
    for n in range(5):
        origin.table.put(item("a", n=n))
    async with mirror(endpoint, events=["INSERT", "MODIFY"]) as one_way:
        origin.table.delete("a")
        failing_once(endpoint)
        results = [await one_way.apply(origin.changes(one_way))]
        while results[-1].unwritten:
            results.append(await again(one_way, results[-1]))
    assert there.items == {"a": item("a", n=4)}
    assert sent(endpoint) == [1] * 4
    assert [(each.written, each.squashed, len(each.unwritten)) for each in results] == [(0, 1, 5), (1, 4, 0)]


async def test_poison_after_a_failed_change_comes_again_with_it(
    endpoint: ScriptedDynamo, there: ScriptedTable
) -> None:
    """Were it written first, because it is poison no more, the failed one would be written over it."""
    origin = Origin()
    two_good_and_a_poisonous_state(origin.table)
    async with mirror(endpoint) as one_way:
        endpoint.on("BatchWriteItem", when=lambda body: '"2"' in json.dumps(body), times=3).error(
            "InternalServerError", 500
        )
        changes = origin.changes(one_way)[:3]
        first = await one_way.apply(changes)
        assert [(each.change, each.fate) for each in first.unwritten] == [
            (change, Fate.FAILED) for change in changes
        ]
        second = await again(one_way, first)
    assert (second.written, second.squashed, fates(second)) == (1, 1, [(key("a"), Fate.POISON)])
    assert there.items == {"a": item("a", n=2)}


@pytest.mark.parametrize(
    ("code", "error"),
    [("AccessDeniedException", PermissionDeniedError), ("ResourceNotFoundException", TableNotFoundError)],
)
async def test_when_nothing_can_be_written_at_all_that_is_raised(
    endpoint: ScriptedDynamo, there: ScriptedTable, code: str, error: type[Exception]
) -> None:
    endpoint.on("BatchWriteItem", times=None).error(code)
    with pytest.raises(error):
        await applied(endpoint, filling(60))
    assert not there.items
