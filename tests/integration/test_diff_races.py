"""A diff of tables that lag, move and fail: only what was confirmed is drift, and nothing is left behind."""

from __future__ import annotations

import pytest

from asyncrep import (
    Comparison,
    Limits,
    State,
)
from tests.support.scenario import NAME, PRIMARY, REPLICA, decoded, item, items, key, scene, strong

pytestmark = pytest.mark.usefixtures("strategy")


DAY = 24 * 3600


# What lags


async def test_a_stale_read_of_the_replica_settles(endpoint):
    play = scene(endpoint, items(5, v=2), items(5, v=2))
    play.replica.stale["k001"] = item("k001", v=1)
    play.replica.stale["k002"] = None
    found, report = await play.diff()
    assert found == {}
    assert (report.matched, report.settled, report.compared) == (3, 2, 5)


async def test_a_stale_scan_of_the_primary_settles(endpoint):
    play = scene(endpoint, items(5, v=2), items(5, v=2))
    play.primary.stale["k001"] = item("k001", v=1)
    found, report = await play.diff()
    assert found == {}
    assert (report.matched, report.settled) == (4, 1)


async def test_an_item_the_scan_of_the_primary_does_not_see_yet_is_no_extraneous_one(endpoint):
    play = scene(endpoint, items(5), items(5))
    play.primary.stale["k001"] = None
    found, report = await play.diff()
    assert found == {}
    assert report.drift == 0


async def test_a_replica_that_catches_up_while_it_is_given_time_settles(endpoint):
    play = scene(endpoint, items(5, v=2), items(4, v=1))

    def catch_up(_):
        for each in play.primary.items.values():
            play.replica.put(each)

    # The first strong read of the replica comes after the time given to it.
    strong = {"region": REPLICA, "when": lambda body: body["RequestItems"][NAME]["ConsistentRead"]}
    endpoint.before("BatchGetItem", catch_up, **strong)
    found, report = await play.diff(comparison=Comparison(settle=3.0))
    assert found == {}
    assert (report.settled, report.compared) == (5, 5)
    assert 3.0 in play.clock.slept


async def test_without_settling_no_time_passes(endpoint):
    play = scene(endpoint, items(3), items(2))
    _, report = await play.diff(comparison=Comparison(settle=0))
    assert report.missing == 1
    assert play.clock.monotonic() == 0


async def test_drift_is_confirmed_by_strong_reads_of_primary_replica_and_primary(endpoint):
    play = scene(endpoint, items(3), items(2))
    await play.diff()
    reads = [
        call
        for call in endpoint.requests("BatchGetItem")
        if call.body["RequestItems"][NAME]["ConsistentRead"]
    ]
    assert [call.region for call in reads] == [PRIMARY, REPLICA, PRIMARY]


# What moves


async def test_an_item_that_changes_between_the_two_reads_of_it_is_looked_at_again(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])
    endpoint.before("BatchGetItem", lambda _: play.primary.put(item(v=2)), **strong(REPLICA))
    found, report = await play.diff()
    assert decoded(found[key()].primary) == item(v=2)
    assert found[key()].state is State.FOUND
    assert (report.different, report.in_flight) == (1, 0)


async def test_an_item_that_never_stops_changing_is_in_flight_and_no_drift(endpoint):
    play = scene(endpoint, [item(v=1), item("b", v=1)], [item(v=0), item("b", v=1)])
    counter = iter(range(2, 100))
    endpoint.before(
        "BatchGetItem", lambda _: play.primary.put(item(v=next(counter))), times=None, **strong(REPLICA)
    )
    found, report = await play.diff(comparison=Comparison(tries=4))
    assert found[key()].state is State.IN_FLIGHT
    assert "4 looks" in (found[key()].reason or "")
    assert (report.in_flight, report.drift, report.matched, report.compared) == (1, 0, 1, 2)
    assert report.complete
    assert next(counter) == 6


async def test_a_change_that_reaches_the_replica_between_the_reads_settles(endpoint):
    play = scene(endpoint, [item(v=1)], [item(v=0)])

    def write_both(_):
        play.primary.put(item(v=2))
        play.replica.put(item(v=2))

    endpoint.before("BatchGetItem", write_both, **strong(REPLICA))
    found, report = await play.diff()
    assert found == {}
    assert report.settled == report.compared == 1


async def test_an_ignored_attribute_that_keeps_changing_is_no_movement(endpoint):
    play = scene(endpoint, [item(v=1, seen=0)], [item(v=0, seen=0)])
    counter = iter(range(1, 100))
    endpoint.before(
        "BatchGetItem",
        lambda _: play.primary.put(item(v=1, seen=next(counter))),
        times=None,
        **strong(REPLICA),
    )
    _, report = await play.diff(comparison=Comparison(frozenset({"seen"})))
    assert (report.different, report.in_flight) == (1, 0)


async def test_a_missing_item_that_is_deleted_while_it_is_confirmed_settles(endpoint):
    play = scene(endpoint, items(3), items(2))
    endpoint.before("BatchGetItem", lambda _: play.primary.delete("k002"), **strong(PRIMARY))
    found, report = await play.diff()
    assert found == {}
    assert (report.matched, report.settled, report.compared) == (2, 1, 3)


async def test_a_different_item_deleted_from_the_primary_is_extraneous_once(endpoint):
    play = scene(endpoint, items(3, v=1), [*items(2, v=1), item("k002", v=0)])
    endpoint.before("BatchGetItem", lambda _: play.primary.delete("k002"), **strong(PRIMARY))
    found, report = await play.diff()
    assert [each.kind for each in found.values()] == ["extraneous"]
    assert (report.extraneous, report.different, report.compared) == (1, 0, 3)


async def test_an_extraneous_item_that_the_primary_gets_meanwhile_is_no_drift(endpoint):
    play = scene(endpoint, items(2), items(3))
    endpoint.before("BatchGetItem", lambda _: play.primary.put(item("k002")), **strong(PRIMARY))
    found, report = await play.diff()
    assert found == {}
    assert report.drift == 0


async def test_a_matched_item_deleted_from_both_sides_before_the_replica_s_walk_is_counted_once(endpoint):
    play = scene(endpoint, items(3), items(3))

    def delete(_):
        play.primary.delete("k001")
        play.replica.delete("k001")

    # After the replica's scan has seen it, before the primary is asked for it.
    keys_only = {"when": lambda body: "ProjectionExpression" in body["RequestItems"][NAME]}
    endpoint.before("BatchGetItem", delete, region=PRIMARY, **keys_only)
    found, report = await play.diff(limits=Limits(segments=1))
    assert found == {}
    assert report.compared == 3


# TTL


@pytest.mark.parametrize("side", ["missing", "extraneous", "different"])
async def test_what_ttl_has_given_up_is_expired_and_no_drift(endpoint, side):
    play = scene(endpoint, [item("same")], [item("same")], ttl="until")
    past = int(play.clock.now()) - DAY
    if side != "extraneous":
        play.primary.put(item("old", until=past, v=1))
    if side != "missing":
        play.replica.put(item("old", until=past, v=2))
    found, report = await play.diff()
    assert {each.state for each in found.values()} == {State.EXPIRED}
    assert found[key("old")].kind == side
    assert (report.expired, report.drift, report.compared) == (1, 0, 2)


@pytest.mark.parametrize("side", ["primary", "replica"])
async def test_what_only_the_replica_has_is_expired_by_its_own_ttl_alone(endpoint, side):
    play = scene(endpoint)
    getattr(play, side).ttl = "until"
    play.replica.put(item("old", until=int(play.clock.now()) - DAY))
    _, report = await play.diff()
    assert (report.expired, report.extraneous) == ((1, 0) if side == "replica" else (0, 1))
    here, there = ("until", "none") if side == "primary" else ("none", "until")
    assert play.log.notes == [
        f"The tables differ in their TTL attribute: {here} here, {there} in the replica."
    ]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda now: int(now) + DAY, id="not yet"),
        pytest.param(lambda now: int(now) - 6 * 365 * DAY, id="more than five years past"),
        pytest.param(lambda now: str(int(now) - DAY), id="text"),
        pytest.param(lambda now: {"until": int(now) - DAY}, id="nested"),
    ],
)
async def test_what_ttl_does_not_delete_is_drift(endpoint, value):
    play = scene(endpoint, ttl="until")
    play.primary.put(item(until=value(play.clock.now())))
    _, report = await play.diff()
    assert (report.missing, report.expired) == (1, 0)
