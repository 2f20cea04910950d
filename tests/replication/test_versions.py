"""What a two-way mirror does to one item, case by case; how runs of many steps end is tested beside this."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.change import Applied, Change, ChangeKind, Fate
from asyncrep.errors import UnreachableError, UsageError
from asyncrep.items.canonical import content_digest
from asyncrep.replicate.selection import Selection
from asyncrep.replicate.versions import VersionGuarded
from tests.support.mirrors import Chaos, Side, _Wire, make_side
from tests.support.scenario import item, key

if TYPE_CHECKING:
    from tests.support.values import Item

NEWER_TOMBSTONE = "It was deleted at version 5; versions must go on from there."


@pytest.fixture
def side() -> Side:
    return make_side("eu-west-1", Chaos(random.Random(0), lost=0, crashes=0))


def versioned(version: Any = 5, content: str = "x", **more: Any) -> Item:
    return item("a", v=version, by=content, **more)


def image(made: Item | None) -> bytes | None:
    return None if made is None else json.dumps(made).encode()


def change(old: Item | None, new: Item | None, sequence: int = 1) -> Change:
    kind = ChangeKind.REMOVE if new is None else ChangeKind.INSERT if old is None else ChangeKind.MODIFY
    return Change(key=key("a"), kind=kind, sequence=sequence, old=image(old), new=image(new))


async def applied(side: Side, *changes: Change, **selection: Any) -> Applied:
    return await VersionGuarded(side.table, side.guard, "v", Selection.from_texts(**selection)).apply(changes)


async def put(side: Side, made: Item) -> Applied:
    return await applied(side, change(None, made))


async def remove(side: Side, made: Item) -> Applied:
    return await applied(side, change(made, None))


def tombstone(side: Side) -> Any:
    """The version in the only row of the guard table, None without one."""
    rows = list(side.rows.items.values())
    return rows[0]["version"] if rows else None


def told(result: Applied) -> list[tuple[Fate, str]]:
    return [(each.fate, each.reason) for each in result.unwritten]


def by_digest(first: Item, second: Item) -> tuple[Item, Item]:
    """The loser and the winner of a conflict."""
    lesser, greater = sorted((first, second), key=lambda each: content_digest(image(each) or b""))
    return lesser, greater


LESSER, GREATER = by_digest(versioned(5, "ours"), versioned(5, "theirs"))


# ── Puts ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "there",
    [None, item("a", by="unversioned"), versioned(4), versioned(-1)],
    ids=["none", "unversioned", "4", "-1"],
)
async def test_a_put_replaces_nothing_or_a_lower_version(side: Side, there: Item | None) -> None:
    if there is not None:
        side.items.put(there)
    assert await put(side, versioned(5)) == Applied(1, 0, [])
    assert side.items.items == {"a": versioned(5)}
    assert tombstone(side) is None


async def test_a_put_never_replaces_a_higher_version(side: Side) -> None:
    side.items.put(versioned(10))
    result = await put(side, versioned(9))
    assert told(result) == [(Fate.SUPERSEDED, "The destination holds version 10.")]
    assert side.items.items == {"a": versioned(10)}


async def test_the_echo_of_an_item_is_superseded_however_it_is_spelled(side: Side) -> None:
    side.items.put({"v": {"N": "5.0"}, "id": {"S": "a"}, "by": {"SS": ["x", "y"]}})
    echo: Item = {"id": {"S": "a"}, "by": {"SS": ["y", "x"]}, "v": {"N": "5"}, "aws:rep:a": {"S": "z"}}
    assert told(await put(side, echo)) == [(Fate.SUPERSEDED, "")]


async def test_the_greater_content_wins_a_conflict_on_either_side(side: Side) -> None:
    side.items.put(LESSER)
    result = await put(side, GREATER)
    assert result.written == 1
    assert told(result) == [
        (Fate.CONFLICT, "Version 5 has two contents. The source's was written over the destination's.")
    ]
    assert side.items.items == {"a": GREATER}
    result = await put(side, LESSER)
    assert result.written == 0
    assert told(result) == [(Fate.CONFLICT, "Version 5 has two contents. The destination's was kept.")]
    assert side.items.items == {"a": GREATER}


@pytest.mark.parametrize(
    ("lower", "higher"), [("10", "9"), ("2026-01-02", "2026-01-10"), ("\uffff", "\U0001f600")]
)
async def test_texts_are_versions_too_in_the_order_of_their_bytes(
    side: Side, lower: str, higher: str
) -> None:
    side.items.put(versioned(lower))
    assert (await put(side, versioned(higher))).written == 1
    assert told(await put(side, versioned(lower)))[0][0] is Fate.SUPERSEDED


async def test_numbers_are_compared_by_all_of_their_digits(side: Side) -> None:
    lower, higher = 10**37 + 1, 10**37 + 2
    side.items.put(versioned(lower))
    assert (await put(side, versioned(higher))).written == 1
    assert told(await put(side, versioned(lower)))[0][0] is Fate.SUPERSEDED


# ── Deletions ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "there", [None, item("a"), versioned(4), versioned(5)], ids=["none", "plain", "4", "5"]
)
async def test_a_deletion_removes_its_version_and_lower_ones_and_is_noted(
    side: Side, there: Item | None
) -> None:
    if there is not None:
        side.items.put(there)
    assert await remove(side, versioned(5)) == Applied(1, 0, [])
    assert not side.items.items
    [row] = side.rows.items.values()
    assert row == {
        "id": row["id"],
        "table": {"S": "orders"},
        "key": {"S": '{"id":{"S":"a"}}'},
        "version": {"N": "5"},
        "expires": {"N": str(1_700_000_000 + 7 * 24 * 3600)},
    }
    assert row["id"]["S"].startswith("orders/")


async def test_a_deletion_leaves_a_higher_version_alone_and_is_noted(side: Side) -> None:
    side.items.put(versioned(6))
    assert told(await remove(side, versioned(5))) == [(Fate.SUPERSEDED, "The destination holds version 6.")]
    assert side.items.items == {"a": versioned(6)}
    assert tombstone(side) == {"N": "5"}
    side.items.delete("a")  # a writer's own deletion leaves no tombstone
    assert told(await put(side, versioned(4)))[0][0] is Fate.SUPERSEDED
    assert not side.items.items


async def test_what_was_deleted_does_not_come_back(side: Side) -> None:
    await remove(side, versioned(5))
    assert told(await put(side, versioned(5))) == [(Fate.SUPERSEDED, NEWER_TOMBSTONE)]
    assert told(await put(side, versioned(4))) == [(Fate.SUPERSEDED, NEWER_TOMBSTONE)]
    assert not side.items.items


async def test_a_re_created_item_goes_on_from_its_tombstone(side: Side) -> None:
    await remove(side, versioned(5))
    assert (await put(side, versioned(6))).written == 1
    assert tombstone(side) == {"N": "5"}
    assert (await remove(side, versioned(6))).written == 1
    assert tombstone(side) == {"N": "6"}


async def test_a_change_of_what_was_deleted_higher_up_is_told_as_a_conflict(side: Side) -> None:
    """A writer went on with an item that had only come back for a moment."""
    await remove(side, versioned(5))
    result = await applied(side, change(versioned(4), versioned(5)))
    assert told(result) == [(Fate.CONFLICT, NEWER_TOMBSTONE)]
    assert not side.items.items


async def test_a_repeated_deletion_deletes_what_is_there_below_it(side: Side) -> None:
    await remove(side, versioned(5))
    side.items.put(versioned(3))  # by a writer who began anew
    assert (await remove(side, versioned(4))).written == 1
    assert not side.items.items
    assert tombstone(side) == {"N": "5"}
    assert (await remove(side, versioned(5))).unwritten == []


async def test_a_deletion_of_other_content_of_its_version_is_told_as_a_conflict(side: Side) -> None:
    side.items.put(versioned(5, "theirs"))
    result = await remove(side, versioned(5, "ours"))
    assert result.written == 1
    assert told(result) == [
        (
            Fate.CONFLICT,
            "Version 5 was deleted, and another content of it was there. It was deleted, too.",
        )
    ]
    assert not side.items.items
    assert tombstone(side) == {"N": "5"}


@pytest.mark.parametrize("alike", [True, False])
async def test_items_too_large_for_a_condition_are_compared_before_they_are_deleted(
    side: Side, alike: bool
) -> None:
    many: dict[str, Any] = {f"attribute{number}": number for number in range(200)}
    side.items.put(versioned(5, **many))
    gone = versioned(5, **many) if alike else versioned(5, **{**many, "attribute199": -1})
    result = await remove(side, gone)
    assert result.written == 1
    assert [fate for fate, _ in told(result)] == ([] if alike else [Fate.CONFLICT])
    assert not side.items.items


async def test_system_attributes_of_global_tables_keep_no_deletion_from_its_item(side: Side) -> None:
    side.items.put(versioned(5))
    assert (await remove(side, {**versioned(5), "aws:rep:updatetime": {"N": "1"}})).unwritten == []
    assert not side.items.items


# ── Several at once ─────────────────────────────────────────────────────────────────────────────────


async def test_of_several_changes_the_highest_is_written_not_the_last(side: Side) -> None:
    """The last one is a late echo that the other side brought back and deleted again."""
    side.items.put(versioned(5))
    changes = [
        change(versioned(4), versioned(5), 1),
        change(versioned(5), None, 2),
        change(None, versioned(4), 3),
        change(versioned(4), None, 4),
    ]
    assert await applied(side, *changes) == Applied(1, 3, [])
    assert not side.items.items
    assert tombstone(side) == {"N": "5"}


async def test_two_contents_of_a_version_in_one_batch_are_told_of(side: Side) -> None:
    result = await applied(side, change(None, LESSER, 1), change(LESSER, GREATER, 2))
    assert side.items.items == {"a": GREATER}
    assert [(each.change.sequence, each.fate) for each in result.unwritten] == [(1, Fate.CONFLICT)]


async def test_a_source_that_goes_back_to_a_lower_version_is_told_of(side: Side) -> None:
    back = change(versioned(5), versioned(3), 2)
    together = await applied(side, change(None, versioned(5), 1), back)
    assert side.items.items == {"a": versioned(5)}
    alone = await applied(side, back)
    for result in (together, alone):
        assert [(each.change.sequence, each.fate) for each in result.unwritten] == [(2, Fate.CONFLICT)]
        assert "went back to version 3" in result.unwritten[0].reason


async def test_items_do_not_wait_for_each_other(side: Side) -> None:
    changes = [
        Change(
            key=key(f"k{number}"),
            kind=ChangeKind.INSERT,
            sequence=number,
            new=image(item(f"k{number}", **({} if number % 50 == 7 else {"v": 1}))),
        )
        for number in range(300)
    ]
    result = await applied(side, *changes)
    assert result.written == len(side.items.items) == 294
    assert [each.change.sequence for each in result.unwritten] == [7, 57, 107, 157, 207, 257]


# ── What cannot be applied ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (change(None, item("a")), 'The item has no version: it lacks "v".'),
        (change(item("a"), None), 'The item has no version: it lacks "v".'),
        (change(None, versioned(None)), 'The version "v" is neither a number nor a text, but NULL.'),
        (change(None, versioned({1, 2})), "neither a number nor a text, but NS"),
        (Change(key=key("a"), kind=ChangeKind.REMOVE, sequence=1), "holds no old image, and so no version"),
        (Change(key=key("a"), kind=ChangeKind.INSERT, sequence=1), "holds no new image"),
    ],
)
async def test_what_has_no_version_is_poison(side: Side, record: Change, reason: str) -> None:
    [(fate, said)] = told(await applied(side, record))
    assert fate is Fate.POISON
    assert reason in said
    assert not side.items.items
    assert not side.rows.items


@pytest.mark.parametrize("there", ["text", None, {1}])
async def test_versions_that_cannot_be_compared_are_poison(side: Side, there: Any) -> None:
    side.items.put(versioned(there))
    for result in (await put(side, versioned(5)), await remove(side, versioned(5))):
        assert [fate for fate, _ in told(result)] == [Fate.POISON]
    assert side.items.items == {"a": versioned(there)}
    assert not side.rows.items


async def test_when_the_highest_is_poison_the_one_below_is_written(side: Side) -> None:
    large = versioned(6, "x" * 420_000)
    result = await applied(side, change(None, versioned(5), 1), change(versioned(5), large, 2))
    assert side.items.items == {"a": versioned(5)}
    assert [(each.change.sequence, each.fate) for each in result.unwritten] == [(2, Fate.POISON)]
    assert "Item size has exceeded" in result.unwritten[0].reason


@pytest.mark.parametrize("kind", [ChangeKind.INSERT, ChangeKind.MODIFY])
async def test_a_tombstone_that_cannot_be_compared_makes_a_put_poison(side: Side, kind: ChangeKind) -> None:
    await remove(side, versioned(5))
    old = versioned("A") if kind is ChangeKind.MODIFY else None
    assert told(await applied(side, change(old, versioned("B")))) == [
        (
            Fate.POISON,
            "The destination's version is {'N': '5'}, which cannot be compared with {'S': 'B'}.",
        )
    ]
    assert not side.items.items
    assert tombstone(side) == {"N": "5"}


def fates(result: Applied) -> list[tuple[int, Fate]]:
    return [(each.change.sequence, each.fate) for each in result.unwritten]


async def test_what_fails_and_then_is_poison_lets_the_version_below_it_through(side: Side) -> None:
    large = versioned(6, "x" * 420_000)
    changes = [
        change(None, versioned(4), 1),
        change(versioned(4), versioned(5), 2),
        change(versioned(5), large, 3),
    ]
    with side.outage():
        first = await applied(side, *changes)
    assert (first.written, first.squashed) == (0, 0)
    assert fates(first) == [(1, Fate.FAILED), (2, Fate.FAILED), (3, Fate.FAILED)]
    second = await applied(side, *[each.change for each in first.unwritten])
    assert (second.written, second.squashed, fates(second)) == (1, 1, [(3, Fate.POISON)])
    assert side.items.items == {"a": versioned(5)}


async def test_conflicts_within_a_batch_are_told_once_however_often_it_fails(side: Side) -> None:
    changes = [
        change(None, LESSER, 1),
        change(LESSER, GREATER, 2),
        change(versioned(5), versioned(3), 3),
        change(versioned(3), versioned(4), 4),
    ]
    results = []
    with side.outage():
        for _ in range(3):
            results.append(await applied(side, *changes))
            changes = [each.change for each in results[-1].of(Fate.FAILED)]
            assert [each.sequence for each in changes] == [1, 2, 3, 4]
    results.append(await applied(side, *changes))
    assert side.items.items == {"a": GREATER}
    assert [(each.written, each.squashed) for each in results] == [(0, 0)] * 3 + [(1, 1)]
    conflicts = [each.change.sequence for result in results for each in result.of(Fate.CONFLICT)]
    assert conflicts == [1, 3]
    assert not results[-1].of(Fate.FAILED)


async def test_those_below_a_version_that_somebody_keeps_changing_fail_with_it(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncrep.replicate.versions._TRIES", 0)
    result = await applied(side, change(None, versioned(4), 1), change(versioned(4), versioned(5), 2))
    assert (result.squashed, fates(result)) == (0, [(1, Fate.FAILED), (2, Fate.FAILED)])


async def test_a_conflict_over_an_item_that_keeps_changing_is_told_and_tried_again_later(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sorted(
        (versioned(5, f"w{number}") for number in range(30)),
        key=lambda each: content_digest(image(each) or b""),
    )
    ours, others = made.pop(), iter(made)
    side.items.put(next(others))
    perform = side.wire._carry_out

    def restless(operation: str, body: dict[str, Any]) -> Any:
        if operation == "PutItem":
            side.items.put(next(others))
        return perform(operation, body)

    monkeypatch.setattr(side.wire, "_carry_out", restless)
    result = await put(side, ours)
    assert result.written == 0
    assert [fate for fate, _ in told(result)] == [Fate.CONFLICT, Fate.FAILED]
    assert side.items.items["a"] in made


async def test_a_conflict_whose_settling_fails_is_told_at_once(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is tried again there may be nothing left of it: the try may have landed."""
    side.items.put(LESSER)
    wire = side.wire

    async def gone(operation: str, *_: object) -> Any:
        if operation == "PutItem":
            raise UnreachableError("Nobody there.")
        return await _Wire.call(wire, operation, *_)  # type: ignore[arg-type]

    monkeypatch.setattr(wire, "call", gone)
    assert told(await put(side, GREATER)) == [
        (Fate.CONFLICT, "Version 5 has two contents. This is not settled yet."),
        (Fate.FAILED, "Nobody there."),
    ]


def test_mirrors_that_would_change_items_are_refused(side: Side) -> None:
    selections: list[dict[str, Any]] = [{"attributes": ["x"]}, {"without": ["x"]}, {"rename": ["x=y"]}]
    for selection in selections:
        with pytest.raises(UsageError, match="copies whole items"):
            VersionGuarded(side.table, side.guard, "v", Selection.from_texts(**selection))
    with pytest.raises(UsageError, match='"id" is part of the key'):
        VersionGuarded(side.table, side.guard, "id")


async def test_an_item_that_stops_to_qualify_is_deleted_at_its_new_version(side: Side) -> None:
    side.items.put(versioned(5, "x"))
    result = await applied(side, change(versioned(5, "x"), versioned(6, "y")), where=["by=x"])
    assert result == Applied(1, 0, [])
    assert not side.items.items
    assert tombstone(side) == {"N": "6"}
