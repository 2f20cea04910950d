"""What a diff may push, what it tells, and what it leaves behind: nothing."""

from __future__ import annotations

import asyncio

import pytest

from asyncrep import (
    Advanced,
    IncompleteRunError,
    Limits,
    PassEnded,
    PassStarted,
    PermissionDeniedError,
    RetryPolicy,
    RunStarted,
    TableNotFoundError,
    ThrottledError,
    UsageError,
    diff,
)
from tests.support.scenario import LIMITS, NAME, PRIMARY, REPLICA, item, items, scene

pytestmark = pytest.mark.usefixtures("strategy")


DAY = 24 * 3600


# What a run may push, tell and leave behind


async def test_a_slow_consumer_keeps_the_scan_from_running_ahead(endpoint):
    play = scene(endpoint, items(3000, v="x" * 300), [])
    play.primary.page_items = 10
    limits = Limits(segments=2, concurrency=2)
    async with play.open() as tables, diff(*tables, limits=limits, clock=play.clock) as run:
        await anext(run)
        after_one, before = endpoint.count("Scan", region=PRIMARY), -1
        while after_one != before:  # what is under way on a busy machine comes to its end, too
            await asyncio.sleep(0.3)
            after_one, before = endpoint.count("Scan", region=PRIMARY), after_one
        assert after_one < 150, "the scan goes on without the consumer"
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
