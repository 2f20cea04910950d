"""The join of two scans: exact whatever the order, the pages and the spelling; order only makes it cheap."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from asyncrep.diff.join import Join
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema, Side

SIDES: tuple[Side, Side] = ("primary", "replica")
KEYS = KeyReader(KeySchema(KeyAttribute("id", "N")))


def image(number, version=0, *, turned=False):
    members = [b'"id":{"N":"%d"}' % number, b'"v":{"N":"%d"}' % version]
    return Raw(b"{" + b",".join(members[::-1] if turned else members) + b"}")


def key(number):
    return b'{"id":{"N":"%d"}}' % number


class Counting:
    """Reads keys and counts how many were read."""

    def __init__(self):
        self.read = 0

    def __call__(self, item):
        self.read += 1
        return KEYS.key(item)


class Told:
    """All that a join has told, added up."""

    def __init__(self, join):
        self.join = join
        self.matched = 0
        self.unequal = []
        self.loose: dict[Side, list[bytes]] = {"primary": [], "replica": []}

    def collect(self):
        matched, unequal = self.join.collect()
        self.matched += matched
        self.unequal += [each.key for each in unequal]
        for side, keys in self.loose.items():
            keys += [each.key for each in self.join.unmatched(side)]


def deliver(join, steps):
    """Hand pages over in the order of ``steps``, (side, images) each, and end both sides."""
    told = Told(join)
    for side, images in steps:
        join.add(side, images)
        told.collect()
    for side in ("replica", "primary"):
        join.end(side)
        told.collect()
    return told


def pages(images, size):
    return [images[start : start + size] for start in range(0, len(images), size)]


@st.composite
def deliveries(draw):
    """Two tables, and pages of both in any order, cut anyhow, mixed anyhow."""
    ours = draw(st.dictionaries(st.integers(0, 60), st.integers(0, 2), max_size=60))
    changes = draw(st.dictionaries(st.integers(0, 60), st.sampled_from([None, 0, 1, 2]), max_size=20))
    theirs = {number: version for number, version in {**ours, **changes}.items() if version is not None}
    steps = {}
    for side, table in (("primary", ours), ("replica", theirs)):
        numbers = sorted(table)
        if draw(st.booleans()):
            numbers = draw(st.permutations(numbers))
        turned = draw(st.booleans())
        images = [image(number, table[number], turned=turned) for number in numbers]
        steps[side] = [(side, page) for page in pages(images, draw(st.integers(1, 40)))]
    mixed = []
    while steps["primary"] or steps["replica"]:
        side = draw(st.sampled_from([side for side, left in steps.items() if left]))
        mixed.append(steps[side].pop(0))
    return ours, theirs, mixed


@given(deliveries())
def test_every_pair_is_told_once_and_everything_else_is_loose(delivery):
    ours, theirs, steps = delivery
    told = deliver(Join(KEYS.key), steps)
    both = ours.keys() & theirs.keys()
    assert told.matched == sum(ours[number] == theirs[number] for number in both)
    assert sorted(told.unequal) == sorted(key(number) for number in both if ours[number] != theirs[number])
    assert sorted(told.loose["primary"]) == sorted(key(number) for number in ours.keys() - both)
    assert sorted(told.loose["replica"]) == sorted(key(number) for number in theirs.keys() - both)
    assert told.join.ended
    assert told.join.weight == 0


@given(deliveries(), st.data())
def test_what_is_evicted_comes_out_once_and_is_never_matched(delivery, data):
    ours, theirs, steps = delivery
    join = Join(KEYS.key)
    told = Told(join)
    evicted: dict[Side, list[bytes]] = {"primary": [], "replica": []}
    for side, page in steps:
        join.add(side, page)
        told.collect()
        while join.weight and data.draw(st.booleans()):
            heavier, entries = join.evict()
            assert entries
            evicted[heavier] += [each.key for each in entries]
    for side in SIDES:
        join.end(side)
        told.collect()
    for side, table in zip(SIDES, (ours, theirs), strict=True):
        out = evicted[side] + told.loose[side]
        assert len(out) == len(set(out))
        assert len(out) + told.matched + len(told.unequal) == len(table)
    assert join.weight == 0


def test_items_in_the_same_order_are_matched_without_reading_a_key():
    images = [image(number) for number in range(1_000)]
    counting = Counting()
    ours = [("primary", page) for page in pages(images, 130)]
    theirs = [("replica", page) for page in pages(images, 170)]
    told = deliver(
        Join(counting), [step for pair in zip(ours, theirs, strict=False) for step in pair] + ours[6:]
    )
    assert told.matched == 1_000
    assert counting.read == 0


def test_one_sided_and_different_items_cost_no_more_than_their_own_keys():
    numbers = range(1_000)
    ours = [image(number) for number in numbers if number % 100 != 7]
    theirs = [image(number, number % 100 == 50) for number in numbers if number % 100 != 77]
    counting = Counting()
    told = deliver(Join(counting), [("primary", ours), ("replica", theirs)])
    assert (told.matched, len(told.unequal)) == (970, 10)
    assert [len(keys) for keys in told.loose.values()] == [10, 10]
    assert counting.read == 10 + 10 + 2 * 10


def test_a_gap_of_many_items_is_skipped_and_the_order_found_again():
    counting = Counting()
    images = [image(number) for number in range(500)]
    told = deliver(Join(counting), [("primary", images), ("replica", images[:100] + images[140:])])
    assert told.matched == 460
    assert counting.read == 40


def test_a_gap_far_beyond_reach_is_caught_up_with_and_the_order_found_again():
    counting = Counting()
    images = [image(number) for number in range(20_000)]
    ours, theirs = pages(images, 500), pages(images[:100] + images[1_100:], 500)
    steps = [step for pair in zip(ours, theirs, strict=False) for step in zip(SIDES, pair, strict=True)]
    told = deliver(Join(counting), [*steps, *(("primary", page) for page in ours[len(theirs) :])])
    assert (told.matched, len(told.loose["primary"])) == (19_000, 1_000)
    # Of the gap, of as many on the other side, and of those again as they are caught up with.
    assert counting.read < 5_000


def test_a_gap_is_caught_up_with_though_items_in_it_are_one_sided_and_different():
    counting = Counting()
    ours = [image(number) for number in range(20_000) if number % 300 != 7]
    theirs = [image(number, number % 300 == 50) for number in range(20_000) if number >= 1_000]
    told = deliver(Join(counting), [("replica", theirs), ("primary", ours)])
    both = {number for number in range(1_000, 20_000) if number % 300 != 7}
    assert len(told.unequal) == sum(number % 300 == 50 for number in both)
    assert told.matched == len(both) - len(told.unequal)
    assert counting.read < 10_000


def test_two_scans_in_unlike_order_meet_by_key():
    images = [image(number) for number in range(1_000)]
    shuffled = random.Random(1).sample(images, len(images))
    told = deliver(Join(KEYS.key), [("primary", images), ("replica", shuffled)])
    assert told.matched == 1_000


def test_equal_items_spelled_differently_are_equal():
    told = deliver(
        Join(KEYS.key),
        [
            ("primary", [image(1), Raw(b'{"id":{"N":"2.0"}}')]),
            ("replica", [image(1, turned=True), Raw(b'{"id":{"N":"2"}}')]),
        ],
    )
    assert (told.matched, told.unequal) == (2, [])


def test_ignored_attributes_do_not_count():
    join = Join(KEYS.key, {"v"})
    assert deliver(join, [("primary", [image(1, 1)]), ("replica", [image(1, 2)])]).matched == 1


def test_what_waits_is_a_copy_and_does_not_keep_its_page_alive():
    join = Join(KEYS.key)
    join.add("primary", [image(9)])
    join.add("replica", [image(number) for number in range(3)])
    waiting = [entry.image for entries in join.give_up().values() for entry in entries]
    assert [type(each) for each in waiting] == [bytes] * 4


def test_one_side_may_end_long_before_the_other():
    join = Join(KEYS.key)
    told = Told(join)
    join.add("primary", [image(1)])
    join.end("primary")
    join.add("replica", [image(number) for number in range(100, 200)])
    told.collect()
    # Nothing more of the primary can come: what the replica has besides is known to be loose at once.
    assert len(told.loose["replica"]) == 100
    join.add("replica", [image(1)])
    join.end("replica")
    told.collect()
    assert told.matched == 1


def test_giving_up_hands_out_everything_that_came():
    join = Join(KEYS.key)
    join.add("primary", [image(number) for number in range(10)])
    given_up = join.give_up()
    assert {side: len(entries) for side, entries in given_up.items()} == {"primary": 10, "replica": 0}
    assert join.weight == 0


@pytest.mark.parametrize("side", SIDES)
def test_how_far_a_side_is_ahead(side: Side):
    join = Join(KEYS.key)
    join.add(side, [image(number) for number in range(10)])
    assert join.lead(side) == 10
    other: Side = "replica" if side == "primary" else "primary"
    join.add(other, [image(number) for number in range(4)])
    assert (join.lead(side), join.lead(other)) == (6, 0)
