"""Two joined scans of tables that move and fail: each pair once, and nothing goes on when a run ends."""

from __future__ import annotations

import asyncio

import pytest

from asyncrep import IncompleteRunError, Limits, PermissionDeniedError, State, Table, diff
from asyncrep.diff import dual_scan, pipeline
from tests.support.drift import Drift
from tests.support.scenario import LIMITS, NAME, PRIMARY, REPLICA, item, items, key, scene, strong, weak

ONE = Limits(segments=1)


def dual(endpoint, primary, replica):
    play = scene(endpoint, primary, replica)
    play.strategy = "dual-scan"
    return play


def apart(play):
    """Let the replica have every key in the other one of two segments."""
    play.primary.segment_of = lambda *_: 0
    play.replica.segment_of = lambda *_: 1


# What is written while the run looks


def between_the_scans(endpoint, change):
    """The primary's scan has read, the replica's has not."""
    endpoint.on("Scan", region=REPLICA).delay(0.1)
    endpoint.after("Scan", change, region=PRIMARY)


def before_the_probe(endpoint, change):
    """Both scans have read, nobody was asked by key yet."""
    for region in (PRIMARY, REPLICA):
        endpoint.before("BatchGetItem", change, **weak(region))


def before_the_confirmation(endpoint, change):
    """The probes have read."""
    endpoint.before("BatchGetItem", change, **strong(PRIMARY))


MOMENTS = {
    "scans": between_the_scans,
    "probe": before_the_probe,
    "confirmation": before_the_confirmation,
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_replica_that_catches_up_in_the_middle_is_no_drift(endpoint, moment):
    play = dual(endpoint, items(20, v=2), [*items(17, v=2), item("k017", v=1), item("extra")])

    def catch_up(_):
        play.replica.items = dict(play.primary.items)

    MOMENTS[moment](endpoint, catch_up)
    found, report = await play.diff(limits=ONE)
    assert found == {}
    assert report.drift == report.in_flight == 0
    assert report.compared == 20


@pytest.mark.parametrize("moment", MOMENTS)
async def test_an_item_deleted_from_both_in_the_middle_is_no_drift(endpoint, moment):
    play = dual(endpoint, items(20), [*items(18), item("k018", v=1), item("extra")])

    def delete(_):
        for name in ("k018", "k019", "extra"):
            play.primary.delete(name)
            play.replica.delete(name)

    MOMENTS[moment](endpoint, delete)
    found, report = await play.diff(limits=ONE)
    assert found == {}
    assert (report.matched, report.settled) == (18, 2)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_an_item_that_both_get_in_the_middle_is_no_drift(endpoint, moment):
    play = dual(endpoint, items(20), [*items(19), item("extra")])

    def write(_):
        play.primary.put(item("new", v=1))
        play.replica.put(item("new", v=1))

    MOMENTS[moment](endpoint, write)
    found, report = await play.diff(limits=ONE)
    assert {name: each.kind for name, each in found.items()} == {
        key("k019"): "missing",
        key("extra"): "extraneous",
    }
    assert report.matched == 19


# What both scans have met needs no probe.
@pytest.mark.parametrize("moment", ["scans", "confirmation"])
async def test_an_item_that_both_change_in_the_middle_is_no_drift(endpoint, moment):
    play = dual(endpoint, items(20, v=1), [*items(19, v=1), item("k019", v=0)])

    def change(_):
        for table in (play.primary, play.replica):
            table.put(item("k003", v=2))
            table.put(item("k019", v=2))

    MOMENTS[moment](endpoint, change)
    found, report = await play.diff(limits=ONE)
    assert found == {}
    assert report.compared == report.matched + report.settled == 20


@pytest.mark.parametrize("moment", ["scans", "confirmation"])
async def test_an_item_that_only_the_primary_loses_in_the_middle_is_extraneous(endpoint, moment):
    play = dual(endpoint, items(20, v=1), [*items(19, v=1), item("k019", v=0)])
    MOMENTS[moment](endpoint, lambda _: play.primary.delete("k019"))
    found, report = await play.diff(limits=ONE)
    assert {name: each.kind for name, each in found.items()} == {key("k019"): "extraneous"}
    assert report.compared == 20


@pytest.mark.parametrize("kind", ["missing", "different", "extraneous"])
async def test_a_lonely_discrepancy_is_told_while_the_scans_go_on(endpoint, kind):
    """Records are gathered to be confirmed together, and yet none waits much longer than a second."""
    drift = Drift.all(None, 400)
    play = dual(endpoint, drift.primary, drift.replica)
    play.primary.page_items = play.replica.page_items = 5
    # A segment of its own: whether a partner comes is known at the end of a segment only.
    play.primary.segment_of = play.replica.segment_of = lambda name, _: int(name != "lonely")
    if kind != "missing":
        play.replica.put(item("lonely", v=0))
    if kind != "extraneous":
        play.primary.put(item("lonely", v=1))

    def pass_a_second(_):
        play.clock._passed += 1.0

    endpoint.before("Scan", pass_a_second, times=None)
    async with (
        play.open() as tables,
        diff(*tables, strategy="dual-scan", limits=LIMITS, clock=play.clock) as run,
    ):
        found = await anext(run)
        assert found.kind == kind
        assert endpoint.count("Scan", region=PRIMARY) < 400 / 5 / 2
        assert [each async for each in run] == []


# How a run ends before its time


def ours(before):
    """The tasks there are besides those of before and those of the endpoint itself."""
    return [each for each in asyncio.all_tasks() - before if "RequestHandler" not in repr(each)]


async def assert_nothing_goes_on(endpoint, before):
    assert ours(before) == []
    calls = len(endpoint.calls)
    await asyncio.sleep(0.1)
    assert len(endpoint.calls) == calls


@pytest.mark.parametrize("segments", [1, 3, 40])
@pytest.mark.parametrize("slow", [PRIMARY, REPLICA])
async def test_cancelling_while_one_scan_waits_for_the_other_ends_both(endpoint, slow, segments):
    play = dual(endpoint, items(400), items(400))
    play.primary.page_items = play.replica.page_items = 2
    before = asyncio.all_tasks()
    endpoint.on("Scan", region=slow, after=3, times=None).delay(0.3)
    async with play.open() as tables, asyncio.TaskGroup() as group:

        async def consume():
            async with diff(
                *tables, strategy="dual-scan", limits=Limits(segments=segments), clock=play.clock
            ) as run:
                async for _ in run:
                    pass

        task = group.create_task(consume())
        await asyncio.sleep(0.15)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await assert_nothing_goes_on(endpoint, before)
    await asyncio.sleep(0.3)  # the endpoint's own handlers


@pytest.fixture
def open_scans(monkeypatch):
    """The scans that are under way, as (table, segment); closing one takes a moment."""
    whole = Table.pages
    under_way = set()

    async def pages(table, segment, **options):
        under_way.add((table.label, segment))
        try:
            async for page in whole(table, segment, **options):
                yield page
        finally:
            await asyncio.sleep(0.02)
            under_way.discard((table.label, segment))

    monkeypatch.setattr(Table, "pages", pages)
    return under_way


@pytest.mark.parametrize("slow", [PRIMARY, REPLICA])
async def test_every_scan_is_closed_before_a_cancelled_run_is_over(endpoint, open_scans, slow):
    play = dual(endpoint, items(100), items(100))
    play.primary.page_items = play.replica.page_items = 5
    endpoint.on("Scan", region=slow, after=2, times=None).delay(0.2)
    async with play.open() as tables:

        async def consume():
            async with diff(*tables, strategy="dual-scan", limits=LIMITS, clock=play.clock) as run:
                async for _ in run:
                    pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consume(), 0.1)
        assert open_scans == set()


async def test_every_scan_is_closed_when_the_block_is_left(endpoint, open_scans):
    play = dual(endpoint, items(600), [])
    play.primary.page_items = 5
    async with play.open() as tables:
        async with diff(*tables, strategy="dual-scan", limits=LIMITS, clock=play.clock) as run:
            await anext(run)
            assert open_scans != set()
        assert open_scans == set()


async def test_leaving_the_block_while_records_are_told_ends_both_scans(endpoint):
    play = dual(endpoint, items(600), [])
    play.replica.items = {}
    play.primary.page_items = 5
    before = asyncio.all_tasks()
    async with play.open() as tables:
        async with diff(*tables, strategy="dual-scan", limits=ONE, clock=play.clock) as run:
            await anext(run)
        assert not run.report.complete
        assert endpoint.count("Scan", region=PRIMARY) < 600 / 5
        await assert_nothing_goes_on(endpoint, before)


@pytest.mark.parametrize("failing", [PRIMARY, REPLICA])
@pytest.mark.parametrize("segments", [1, 3])
async def test_a_scan_that_fails_for_good_ends_the_other_one(endpoint, failing, segments):
    drift = Drift.of(600)
    play = dual(endpoint, drift.primary, drift.replica)
    play.primary.page_items = play.replica.page_items = 5
    endpoint.on("Scan", region=failing, after=8, times=None).error("AccessDeniedException")
    before = asyncio.all_tasks()
    with pytest.raises(IncompleteRunError) as caught:
        await play.diff(limits=Limits(segments=segments))
    assert isinstance(caught.value.__cause__, PermissionDeniedError)
    assert not caught.value.report.complete
    other = REPLICA if failing == PRIMARY else PRIMARY
    # Two pages ahead in each segment, and one for what only this side has.
    assert endpoint.count("Scan", region=other) <= 8 + 3 * segments
    await assert_nothing_goes_on(endpoint, before)


async def test_a_scan_that_fails_while_the_other_waits_for_it_ends_the_run(endpoint):
    play = dual(endpoint, items(100), items(100))
    play.primary.page_items = play.replica.page_items = 5
    endpoint.on("Scan", region=REPLICA, after=2, times=None).delay(0.1).error("AccessDeniedException")
    with pytest.raises(IncompleteRunError):
        await play.diff(limits=ONE)
    assert endpoint.count("Scan", region=PRIMARY) <= 4


# Repair


@pytest.mark.parametrize("told", ["before", "after", "never"])
async def test_an_item_whose_primary_is_deleted_while_it_is_mended_is_deleted_once(
    endpoint, monkeypatch, told
):
    """The walk tells it as extraneous before it is left over, or after that, or not at all."""
    monkeypatch.setattr(dual_scan, "BATCH", 1)
    monkeypatch.setattr(pipeline, "_GROUP_KEYS", 1)
    play = dual(endpoint, [item("same"), item("lost", v=1)], [item("same"), item("lost", v=0)])
    if told != "never":
        apart(play)
        late = {"before": 0.25, "after": 0.4}[told]
        endpoint.on("Scan", region=REPLICA, when=lambda body: body["Segment"] == 1).delay(late)
    endpoint.before("UpdateItem", lambda _: play.primary.delete("lost"))
    endpoint.on("UpdateItem").delay(0.6 if told == "before" else 0.0)
    probed = []
    endpoint.before(
        "BatchGetItem",
        lambda _: probed.append(play.replica.get("lost")),
        when=lambda body: (
            "ProjectionExpression" in body["RequestItems"][NAME]
            and body["RequestItems"][NAME]["Keys"] == [item("lost")]
        ),
        region=PRIMARY,
    )

    report = await play.repair(limits=Limits(segments=2))

    # The replica's walk has looked before the patch landed, after it, or had nothing to look for.
    assert (
        probed
        == {
            "before": [item("lost", v=0)],
            "after": [item("lost", v=1)],
            "never": [],
        }[told]
    )
    assert play.converged
    assert endpoint.count("DeleteItem") == 1
    told_once = play.log.records
    assert {name: (each.kind, each.state) for name, each in told_once.items()} == {
        key("lost"): ("extraneous", State.REPAIRED)
    }
    assert (report.extraneous, report.repaired, report.remaining) == (1, 1, 0)
    assert report.complete


# A record that the primary loses after the replica's walk has asked for it


def lost_late(endpoint):
    """The replica's record is asked for first; the primary's comes loose later and is deleted meanwhile."""
    play = dual(endpoint, [item("k", v=1)], [item("k", v=0)])
    play.primary.segment_of, play.replica.segment_of = lambda *_: 1, lambda *_: 0
    endpoint.on("Scan", region=PRIMARY, when=lambda body: body["Segment"] == 1).delay(0.3)
    endpoint.before("BatchGetItem", lambda _: play.primary.delete("k"), **strong(PRIMARY))
    return play


@pytest.fixture
def one_by_one(monkeypatch):
    monkeypatch.setattr(dual_scan, "BATCH", 1)


@pytest.mark.usefixtures("one_by_one")
async def test_a_record_that_the_primary_loses_after_it_was_asked_for_is_not_lost(endpoint):
    play = lost_late(endpoint)
    found, report = await play.diff()
    assert [each.kind for each in found.values()] == ["extraneous"]
    assert (report.extraneous, report.compared) == (1, 1)


@pytest.mark.usefixtures("one_by_one")
async def test_such_a_record_is_deleted_by_a_repair(endpoint):
    play = lost_late(endpoint)
    play.replica.put(item("stays"))
    play.primary.put(item("stays"))
    report = await play.repair()
    assert play.converged
    assert (report.extraneous, report.repaired) == (1, 1)


async def test_a_record_told_by_the_replica_s_walk_is_not_told_again_as_a_late_one(endpoint):
    play = dual(endpoint, [item("k", v=1)], [item("k", v=0)])
    apart(play)
    before_the_probe(endpoint, lambda _: play.primary.delete("k"))
    found, report = await play.diff()
    assert [each.kind for each in found.values()] == ["extraneous"]
    assert (report.extraneous, report.compared) == (1, 1)
