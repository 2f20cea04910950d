"""Who takes which lease: the dead's first, never more than one's share, and one at a time from the living."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.aws.lease import LATEST, Lease
from asyncrep.replicate.assignment import Observations, choose
from tests.support.strategies import seeds, thoroughly


def leases(**loads: int) -> list[Lease]:
    """So many leases for each owner; those of `free` have none."""
    return [
        Lease(key=f"{owner}{number}", checkpoint=LATEST, owner=None if owner == "free" else owner)
        for owner, load in loads.items()
        for number in range(load)
    ]


def chosen(loads: dict[str, int], available: str = "free", seed: int = 0) -> Counter[str | None]:
    """Whose leases the worker `me` takes; those of the owners in `available` are nobody's."""
    there = leases(**loads)
    nobodys = {lease.key for lease in there if (lease.owner or "free") in available.split()}
    return Counter(lease.owner for lease in choose(there, "me", nobodys, Random(seed)))


@pytest.mark.parametrize(
    ("loads", "taken"),
    [
        ({}, {}),
        ({"free": 5}, {None: 5}),
        ({"free": 5, "a": 1}, {None: 3}),
        ({"free": 1, "a": 3, "me": 1}, {None: 1}),
        ({"free": 1, "a": 1, "me": 2}, {}),
        ({"free": 2, "a": 9}, {None: 2}),
        ({"a": 4}, {"a": 1}),
        ({"a": 4, "me": 1}, {"a": 1}),
        ({"a": 2, "me": 2}, {}),
        ({"a": 3, "me": 2}, {}),
        ({"a": 2, "b": 2}, {"a": 1}),
        ({"a": 3, "b": 2, "me": 2}, {}),
        ({"a": 3, "b": 3, "c": 3, "me": 1}, {"a": 1}),
        ({"a": 1, "b": 1}, {}),
        ({"a": 1}, {}),
        ({"a": 2}, {"a": 1}),
    ],
)
def test_a_worker_takes_what_it_lacks(loads, taken):
    assert chosen(loads) == taken


def test_the_dead_count_as_nobody():
    assert chosen({"dead": 4, "a": 2}, available="dead") == {"dead": 3}
    assert chosen({"dead": 4, "me": 2}, available="dead") == {"dead": 4}


def test_workers_that_ask_at_once_do_not_ask_for_the_same():
    there = leases(free=20, a=1, b=1)
    nobodys = {lease.key for lease in there if lease.owner is None}
    choices = {tuple(lease.key for lease in choose(there, "me", nobodys, Random(seed))) for seed in range(5)}
    assert len(choices) == 5


@thoroughly
@given(st.integers(1, 6), st.integers(0, 30), seeds())
def test_everybody_ends_up_with_as_many(workers, count, chance):
    names = [f"w{number}" for number in range(workers)]
    owners: dict[str, str | None] = dict.fromkeys((f"s{number}" for number in range(count)), None)
    for _ in range(workers * (count + 2)):
        for name in chance.sample(names, workers):
            there = [Lease(key=key, checkpoint=LATEST, owner=owner) for key, owner in owners.items()]
            nobodys = {key for key, owner in owners.items() if owner is None}
            for lease in choose(there, name, nobodys, chance):
                assert lease.owner != name
                owners[lease.key] = name
    loads = Counter(owners.values())
    assert None not in loads
    assert not count or max(loads.values()) - min(loads[name] for name in names) <= 1


# ── Observations ────────────────────────────────────────────────────────────────────────────────────


def at(counter: int, key: str = "a") -> Lease:
    return Lease(key=key, checkpoint=LATEST, counter=counter, owner="w")


def test_a_lease_expires_when_its_counter_was_not_seen_to_change():
    seen = Observations(10.0)
    seen.see([at(1)], 100.0)
    seen.see([at(1)], 105.0)
    assert seen.expiry(at(1)) == 110.0
    seen.see([at(2)], 107.0)
    assert seen.expiry(at(2)) == 117.0


def test_a_counter_that_went_back_is_a_change_as_well():
    seen = Observations(10.0)
    seen.see([at(7)], 100.0)
    seen.see([at(0)], 105.0)
    assert seen.expiry(at(0)) == 115.0


def test_a_lease_that_was_gone_for_a_while_is_a_new_one():
    seen = Observations(10.0)
    seen.see([at(1)], 100.0)
    seen.see([], 101.0)
    seen.see([at(1)], 102.0)
    assert seen.expiry(at(1)) == 112.0
