"""A diff of tables that lag, move and fail: only what was confirmed is drift, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from asyncrep import (
    Advanced,
    Comparison,
    IncompleteRunError,
    Limits,
    PassEnded,
    PassStarted,
    PermissionDeniedError,
    RetryPolicy,
    RunStarted,
    State,
    TableNotFoundError,
    ThrottledError,
    UsageError,
    diff,
)
from tests.support.scenario import LIMITS, NAME, PRIMARY, REPLICA, decoded, item, items, key, scene

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


def strong(region):
    return {"region": region, "when": lambda body: body["RequestItems"][NAME]["ConsistentRead"]}


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


# What a run may push, tell and leave behind


async def test_a_slow_consumer_keeps_the_scan_from_running_ahead(endpoint):
    play = scene(endpoint, items(3000, v="x" * 300), [])
    play.primary.page_items = 10
    limits = Limits(segments=2, concurrency=2)
    async with play.open() as tables, diff(*tables, limits=limits, clock=play.clock) as run:
        await anext(run)
        await asyncio.sleep(0.1)
        after_one = endpoint.count("Scan", region=PRIMARY)
        await asyncio.sleep(0.2)
        assert endpoint.count("Scan", region=PRIMARY) == after_one, "the scan goes on without the consumer"
        assert after_one < 150
        rest = [each async for each in run]
    assert len(rest) == 2999
    assert endpoint.count("Scan", region=PRIMARY) >= 300


async def test_cancelling_a_diff_ends_every_call_and_task(endpoint):
    play = scene(endpoint, items(200), [])
    play.primary.page_items = 5
    before = asyncio.all_tasks()
    async with play.open() as tables:
        seen = asyncio.Event()

        async def consume():
            async with diff(*tables, limits=LIMITS, clock=play.clock) as run:
                async for _ in run:
                    seen.set()
                    await asyncio.sleep(30)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(consume())
            await seen.wait()
            task.cancel()
        assert task.cancelled()
        calls = len(endpoint.calls)
        ours = [each for each in asyncio.all_tasks() - before if "RequestHandler" not in repr(each)]
        assert ours == []
        await asyncio.sleep(0.05)
        assert len(endpoint.calls) == calls


async def test_cancelling_a_diff_in_the_middle_of_a_call_ends_it(endpoint):
    play = scene(endpoint, items(20), [])
    before = asyncio.all_tasks()
    arrived = asyncio.Event()
    endpoint.before("BatchGetItem", lambda _: arrived.set())
    endpoint.on("BatchGetItem").delay(0.2)
    async with play.open() as tables:

        async def consume():
            async with diff(*tables, limits=LIMITS, clock=play.clock) as run:
                await anext(run)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(consume())
            await arrived.wait()
            task.cancel()
        assert task.cancelled()
        ours = [each for each in asyncio.all_tasks() - before if "RequestHandler" not in repr(each)]
        assert ours == []
    await asyncio.sleep(0.2)


async def test_a_diff_left_early_is_not_complete(endpoint):
    play = scene(endpoint, items(300), [])
    async with play.open() as tables, diff(*tables, limits=LIMITS, clock=play.clock) as run:
        async for _ in run:
            break
    assert not run.report.complete


async def test_a_table_deleted_in_the_middle_makes_the_run_incomplete(endpoint):
    play = scene(endpoint, items(300), items(299))
    play.primary.page_items = 20
    endpoint.on("Scan", region=PRIMARY, after=6).error("ResourceNotFoundException")
    with pytest.raises(IncompleteRunError, match="There is no table us-east-1/orders") as caught:
        await play.diff()
    assert isinstance(caught.value.__cause__, TableNotFoundError)
    report = caught.value.report
    assert not report.complete
    assert 0 < report.scanned_primary < 300


@pytest.mark.parametrize(
    ("operation", "region"), [("Scan", REPLICA), ("BatchGetItem", REPLICA), ("BatchGetItem", PRIMARY)]
)
async def test_a_permission_that_is_missing_makes_the_run_incomplete(endpoint, operation, region):
    play = scene(endpoint, items(3), items(4))
    endpoint.on(operation, region=region).error("AccessDeniedException")
    with pytest.raises(IncompleteRunError) as caught:
        await play.diff()
    assert isinstance(caught.value.__cause__, PermissionDeniedError)
    assert not caught.value.report.complete


async def test_a_segment_that_cannot_be_read_makes_the_run_incomplete_whatever_was_found(endpoint):
    play = scene(endpoint, items(50), [])
    play.retry = RetryPolicy(attempts=3, patience=1.0)
    last = {"when": lambda body: body["Segment"] == 3}
    endpoint.on("Scan", region=PRIMARY, times=None, **last).throttle()
    with pytest.raises(IncompleteRunError) as caught:
        await play.diff(limits=Limits(segments=4))
    assert isinstance(caught.value.__cause__, ThrottledError)
    assert not caught.value.report.complete
    refused = [call for call in endpoint.requests("Scan", region=PRIMARY) if call.body["Segment"] == 3]
    assert caught.value.report.throttled == len(refused) > 1


async def test_keys_that_stay_unprocessed_make_the_run_incomplete(endpoint):
    play = scene(endpoint, items(5), items(4))
    play.retry = RetryPolicy(attempts=3, patience=1.0)
    endpoint.on("BatchGetItem", times=None).unprocessed(1.0)
    with pytest.raises(IncompleteRunError, match="stayed unprocessed"):
        await play.diff()


async def test_faults_that_pass_change_nothing_but_the_time(endpoint):
    play = scene(endpoint, items(150, v=1), [*items(140, v=1), item("extra")])
    play.retry = RetryPolicy(attempts=12)
    play.primary.page_items = play.replica.page_items = 25
    endpoint.on("Scan", times=2).throttle()
    endpoint.on("Scan", times=2, after=3).corrupt()
    endpoint.on("Scan", times=1, after=5).hang_up()
    endpoint.on("BatchGetItem", times=4).unprocessed(0.7)
    endpoint.on("BatchGetItem", times=2, after=3).cut()
    endpoint.on("BatchGetItem", times=2, after=6).error("InternalServerError", 500)
    _, report = await play.diff()
    assert (report.matched, report.missing, report.extraneous, report.compared) == (140, 10, 1, 151)
    assert report.throttled == 2 + 4
    assert report.complete


async def test_different_keys_are_refused_before_any_scan(endpoint):
    play = scene(endpoint, items(3))
    endpoint.create_table(NAME, REPLICA, hash=("id", "N"))
    with pytest.raises(UsageError, match=r"id \(S\), .* id \(N\)"):
        await play.diff()
    assert endpoint.count("Scan") == endpoint.count("BatchGetItem") == 0


async def test_settings_that_differ_are_noted_and_no_drift(endpoint):
    play = scene(endpoint, items(3), items(3))
    play.primary.ttl = "until"
    play.primary.description["GlobalSecondaryIndexes"] = [{"IndexName": "by-day"}, {"IndexName": "both"}]
    play.replica.description["GlobalSecondaryIndexes"] = [{"IndexName": "both"}]
    play.replica.description["LocalSecondaryIndexes"] = [{"IndexName": "local"}]
    play.primary.description["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    found, report = await play.diff()
    assert found == {}
    assert play.log.notes == [
        "Only the primary has the index by-day.",
        "Only the replica has the index local.",
        "The tables differ in their TTL attribute: until here, none in the replica.",
        "The tables differ in their stream: NEW_IMAGE here, none in the replica.",
    ]
    assert report.complete


async def test_an_observer_is_told_how_the_run_goes(endpoint):
    play = scene(endpoint, items(30), [*items(28), item("extra")])
    found, report = await play.diff()
    assert isinstance(play.log.events[0], RunStarted)
    assert play.log.of(RunStarted)[0].report is report
    assert [event.name for event in play.log.of(PassStarted)] == ["primary", "replica"]
    assert [event.name for event in play.log.of(PassEnded)] == ["primary", "replica"]
    for name, scanned in (("primary", 30), ("replica", 29)):
        assert sum(event.items for event in play.log.of(Advanced) if event.name == name) == scanned
    assert play.log.records == found


async def test_the_report_holds_the_units_the_service_counted(endpoint, strategy):
    play = scene(endpoint, items(10), items(10))
    _, report = await play.diff(limits=Limits(segments=1))
    # Two scans of less than 4 KB; by batch-get also two batches of ten keys; all eventually consistent.
    assert report.read_units == 2 * 0.5 + (2 * 10 * 0.5 if strategy == "batch-get" else 0)
    assert report.write_units == 0
    assert play.writes() == []
