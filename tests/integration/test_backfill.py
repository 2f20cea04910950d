"""A backfill fills a replica completely and leaves alone what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrep import (
    Advanced,
    IncompleteRunError,
    PassEnded,
    PassStarted,
    RetryPolicy,
    Segment,
    ThrottledError,
    UsageError,
    VirtualClock,
    backfill,
)
from tests.support.engines import REGION
from tests.support.scenario import LIMITS, NAME, PRIMARY, REPLICA, Log, item, items, opened, same_items, scene

if TYPE_CHECKING:
    from tests.support.values import Item


async def filled(engine, primary, replica, **options):
    clock = VirtualClock()
    names = (f"{REGION}/{primary}", f"{REGION}/{replica}")
    async with opened(*names, engine.url, clock) as tables:
        return await backfill(*tables, limits=LIMITS, clock=clock, **options)


async def test_an_empty_replica_is_filled(engine):
    everything = items(60, words={"a"}, deep={"list": [1, b"\xff", None]})
    primary, replica = engine.create_table(items=everything), engine.create_table()
    report = await filled(engine, primary, replica)
    assert same_items(engine.items(replica), everything)
    assert (report.scanned_primary, report.missing, report.repaired, report.present) == (60, 60, 60, 0)
    assert report.complete


async def test_what_a_replica_has_is_left_alone(engine):
    primary = engine.create_table(items=items(30, v=1))
    replica = engine.create_table(items=[*items(10, v="theirs"), item("extra")])
    report = await filled(engine, primary, replica)
    held = {each["id"]["S"]: each for each in engine.items(replica)}
    assert len(held) == 31
    assert held["k009"] == item("k009", v="theirs")
    assert held["k010"] == item("k010", v=1)
    assert (report.repaired, report.present, report.scanned_primary) == (20, 10, 30)


async def test_an_empty_primary_fills_nothing(engine):
    primary, replica = engine.create_table(), engine.create_table()
    report = await filled(engine, primary, replica)
    assert report.repaired == report.scanned_primary == 0
    assert report.complete


async def test_an_empty_replica_is_written_in_bulk(endpoint):
    play = scene(endpoint, items(60))
    report = await play.backfill()
    assert set(play.writes()) == {"BatchWriteItem"}
    sizes = [len(call.body["RequestItems"][NAME]) for call in endpoint.requests("BatchWriteItem")]
    assert max(sizes) == 25
    assert sum(sizes) == 60
    assert play.converged
    assert report.write_units == 60
    assert report.strategy == "backfill"


async def test_emptiness_is_what_a_strong_read_says(endpoint):
    play = scene(endpoint, items(3, v=1), [item("k000", v="theirs")])
    play.replica.stale["k000"] = None
    report = await play.backfill()
    assert set(play.writes()) == {"PutItem"}
    assert play.replica.items["k000"] == item("k000", v="theirs")
    assert (report.repaired, report.present) == (2, 1)
    assert play.log.notes == ["The replica is not empty: what it has already is left alone."]


async def test_an_item_somebody_writes_meanwhile_is_left_alone(endpoint):
    play = scene(endpoint, items(3, v=1), [item("other")])
    endpoint.before("PutItem", lambda _: play.replica.put(item("k001", v="theirs")))
    report = await play.backfill()
    assert play.replica.items["k001"] == item("k001", v="theirs")
    assert (report.repaired, report.present) == (2, 1)


async def test_a_dry_run_writes_nothing(endpoint):
    for held in ([], [item("other")]):
        play = scene(endpoint, items(30), held)
        report = await play.backfill(dry_run=True)
        assert play.writes() == []
        assert report.scanned_primary == 30
        assert report.repaired == 0


async def test_items_left_unprocessed_are_written_in_the_end(endpoint):
    play = scene(endpoint, items(70))
    endpoint.on("BatchWriteItem", times=6).unprocessed(0.6)
    endpoint.on("BatchWriteItem", times=2).throttle()
    report = await play.backfill()
    assert play.converged
    assert (report.repaired, report.throttled) == (70, 8)


async def test_items_that_are_never_taken_make_the_run_incomplete(endpoint):
    play = scene(endpoint, items(20))
    play.retry = RetryPolicy(attempts=3, patience=1.0)
    endpoint.on("BatchWriteItem", times=None).unprocessed(1.0)
    with pytest.raises(IncompleteRunError, match=r"BatchWriteItem .* \d+ keys stayed unprocessed") as caught:
        await play.backfill()
    assert isinstance(caught.value.__cause__, ThrottledError)
    assert caught.value.report.repaired == 0


async def test_system_attributes_are_not_copied(endpoint):
    system: Item = {"aws:rep:updateregion": {"S": "us-east-1"}, "aws:rep:deleting": {"BOOL": False}}
    for held in ([], [item("other")]):
        play = scene(endpoint, [each | system for each in items(3, v=1)], held)
        await play.backfill()
        assert [play.replica.items[f"k{number:03}"] for number in range(3)] == items(3, v=1)


async def test_an_interrupted_backfill_is_completed_by_another(endpoint):
    play = scene(endpoint, items(200))
    play.primary.page_items = 30
    endpoint.on("Scan", region=PRIMARY, after=4).error("AccessDeniedException")
    with pytest.raises(IncompleteRunError) as caught:
        await play.backfill()
    first = caught.value.report
    assert not first.complete
    assert 0 < len(play.replica.items) < 200
    before = len(play.replica.items)
    report = await play.backfill()
    assert play.converged
    assert (report.repaired, report.matched, report.present) == (200 - before, before, 0)
    assert report.complete


async def test_a_backfill_whose_answers_get_lost_writes_every_item_once_and_all(endpoint):
    play = scene(endpoint, items(60))
    endpoint.on("BatchWriteItem", times=2).hang_up(landed=True)
    report = await play.backfill()
    assert play.converged
    assert report.repaired == 60


@pytest.mark.parametrize("held", [[], [item("other")]], ids=["bulk", "if absent"])
async def test_segments_are_filled_one_by_one(endpoint, held):
    play = scene(endpoint, items(40), held)
    for index in range(3):
        report = await play.backfill(segment=Segment(index, 3))
        assert report.segments == 3
    assert play.replica.items.keys() >= play.primary.items.keys()


async def test_a_backfill_is_refused_where_a_repair_is(endpoint):
    play = scene(endpoint, items(3))
    play.replica.global_regions = [PRIMARY, REPLICA]
    with pytest.raises(UsageError, match="global table"):
        await play.backfill()
    async with play.open() as (primary, _):
        with pytest.raises(UsageError, match="the same table"):
            await backfill(primary, primary)
    assert play.writes() == []
    assert (await play.backfill(force=True)).repaired == 3


async def test_an_observer_is_told_how_the_backfill_goes(endpoint):
    play = scene(endpoint, items(40))
    log = Log()
    await play.backfill(observer=log)
    assert [event.name for event in log.of(PassStarted)] == ["backfill"]
    assert [event.name for event in log.of(PassEnded)] == ["backfill"]
    assert sum(event.items for event in log.of(Advanced)) == 40
