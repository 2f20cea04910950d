"""Two-way mirrors of one item end in one state, whatever comes between, and each rule is needed for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.aws.guard import Expressions
from asyncrep.aws.transact import Action
from asyncrep.replicate.facts import Fact
from asyncrep.replicate.guard import GuardTable
from asyncrep.replicate.versions import _Course
from tests.support.mirrors import play

if TYPE_CHECKING:
    from tests.support.mirrors import World

SEEDS = range(300)
THREE = ("us-east-1", "eu-west-1", "ap-south-1")
RING = [(0, 1), (1, 2), (2, 0)]


def run(seed: int, *, checked: bool = True, **options: Any) -> World:
    world = asyncio.run(play(seed, **options))
    if checked:
        try:
            world.check()
        except AssertionError as failure:
            failure.add_note(f"seed {seed}, {options}")
            raise
    return world


def caught(seeds: range, **options: Any) -> int | None:
    """The first seed with which something is wrong."""
    for seed in seeds:
        try:
            run(seed, **options)
        except (AssertionError, ExceptionGroup):
            return seed
    return None


def test_both_sides_end_with_the_highest_that_was_written_and_every_conflict_is_told() -> None:
    worlds = [run(seed) for seed in SEEDS]
    assert sum(bool(world.lost_contents) for world in worlds) > 50, "conflicts were hardly tried"
    assert sum(fact.deleted for world in worlds for facts in world.written.values() for fact in facts) > 300


def test_lost_answers_crashes_replays_and_zombies_change_nothing() -> None:
    for seed in range(100):
        run(seed, lost=0.25, crashes=0.04, replays=0.3, zombies=0.4)


def test_endpoints_without_tokens_for_transactions_will_do() -> None:
    for seed in range(100):
        run(seed, tokens=False, lost=0.25)


def test_three_sides_that_all_mirror_each_other_end_with_the_same() -> None:
    for seed in range(25):
        run(seed, regions=THREE)


def test_in_a_ring_of_three_a_deletion_may_not_get_around() -> None:
    """What a side has deleted, and the next one never had, the third one does not hear of."""
    assert caught(range(100), regions=THREE, links=RING) is not None


def test_where_writers_who_go_on_below_a_deletion_have_parted_the_sides_that_is_told() -> None:
    for seed in range(100):
        world = run(seed, checked=False, forgetful=True, zombies=0.6, lost=0.25)
        assert world.differing() <= {key for key, _ in world.told()}, f"seed {seed}"


# ── Without one of the rules ────────────────────────────────────────────────────────────────────────


def at_most(self: Any, made: Expressions) -> str:
    name = made.name(self._attribute)
    return f"attribute_not_exists({name}) OR {name}<={made.value(self._fact.version.value)}"


def no_tombstone(self: Any, key: bytes, _: object) -> Action:
    made = Expressions()
    made.condition = f"attribute_not_exists({made.name('nothing')})"
    return Action("ConditionCheck", self.name, self._row_key(key), made)


def any_version(self: Any, _: object) -> Action:
    return Action("Delete", self._table.request_name, self._key, _about(self))


def _about(self: Any) -> Expressions:
    made = Expressions()
    name, value = made.name(self._attribute), made.value(self._fact.version.value)
    made.condition = f"attribute_not_exists({name}) OR {name}<={value} OR {name}>{value}"
    return made


@pytest.mark.parametrize(
    ("owner", "name", "broken", "seeds"),
    [
        (_Course, "_absent_or_lower", at_most, range(50)),
        (GuardTable, "check_version", no_tombstone, range(100)),
        (_Course, "_deletion", any_version, range(20)),
        (Fact, "beats", lambda *_: True, range(50)),
        (Fact, "beats", lambda *_: False, range(300)),
        (Fact, "rank", property(lambda self: self.change.sequence), range(100)),
    ],
    ids=[
        "a version over an equal one",
        "deletions that are not remembered",
        "deletions of higher versions",
        "the last conflict wins",
        "the first conflict wins",
        "the last of a batch instead of the highest",
    ],
)
def test_each_rule_is_needed(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, broken: Any, seeds: range
) -> None:
    monkeypatch.setattr(owner, name, broken)
    assert caught(seeds) is not None, f"no seed shows that {name} is wrong"
