"""Two scans that are joined find exactly what there is, however their order, pages and segments part."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import permutations

import pytest

from asyncrep import Comparison, Limits, VirtualClock, diff, open_table
from asyncrep.diff import dual_scan
from tests.support import engines
from tests.support.drift import Drift, name
from tests.support.scenario import NAME, PRIMARY, REPLICA, Log, item, scene, session
from tests.support.tables import position_of

STILL = Comparison(settle=0)
LAST = (1 << 64) - 1

WINDOWS = [
    pytest.param(1, id="no window"),
    pytest.param(10_000, id="tiny window"),
    pytest.param(dual_scan.WINDOW_BYTES, id="default window"),
]
SHAPES = {
    "identical": Drift.all(None, 600),
    "disjoint": Drift.disjoint(600),
    "primary empty": Drift.all("extraneous", 600),
    "replica empty": Drift.all("missing", 600),
    "both empty": Drift.all(None, 0),
    "every item different": Drift.all("different", 600),
    "some of everything": Drift.of(600),
}


def turned(hash_key, segments):
    """The segment after the one in which the other side has the key."""
    return (position_of(hash_key) * segments // (1 << 64) + 1) % segments


def backwards(hash_key):
    return LAST - position_of(hash_key)


def dual(endpoint, drift, **options):
    """A scene of both tables that is walked by dual-scan, whatever the default."""
    play = scene(endpoint, drift.primary, drift.replica, **options)
    play.strategy = "dual-scan"
    return play


def asked(endpoint):
    """How many keys all BatchGetItem calls together have named."""
    reads = endpoint.requests("BatchGetItem")
    return sum(len(call.body["RequestItems"][NAME]["Keys"]) for call in reads)


# What the tables hold, and how much may wait


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_tables_of_every_shape_are_told_exactly(endpoint, monkeypatch, shape, window):
    monkeypatch.setattr(dual_scan, "WINDOW_BYTES", window)
    drift = SHAPES[shape]
    play = dual(endpoint, drift)
    play.primary.page_items, play.replica.page_items = 70, 90
    drift.assert_exact(*await play.diff())
    assert play.log.notes == []


async def test_identical_tables_take_no_read_besides_the_two_scans(endpoint):
    play = dual(endpoint, SHAPES["identical"])
    play.primary.page_items, play.replica.page_items = 70, 90
    await play.diff()
    assert asked(endpoint) == 0


async def test_an_item_that_is_different_is_confirmed_without_a_probe(endpoint):
    drift = Drift.all("different", 1)
    play = dual(endpoint, drift)
    drift.assert_exact(*await play.diff())
    assert [call.region for call in endpoint.requests("BatchGetItem")] == [PRIMARY, REPLICA, PRIMARY]


@pytest.mark.parametrize("segments", [1, 32, 33, 100])
async def test_any_number_of_segments_is_scanned_each_to_its_end(endpoint, segments):
    drift = Drift.of(400)
    play = dual(endpoint, drift)
    play.primary.page_items, play.replica.page_items = 3, 5
    drift.assert_exact(*await play.diff(limits=Limits(segments=segments)))
    for region in (PRIMARY, REPLICA):
        scans = endpoint.requests("Scan", region=region)
        assert {call.body["Segment"] for call in scans} == set(range(segments))


async def test_pages_that_hold_nothing_are_passed_over(endpoint, monkeypatch):
    drift = Drift.of(200)
    play = dual(endpoint, drift)
    play.primary.page_items = 10
    whole = play.replica.page

    def page(**options):
        """Every other page is empty and has a LastEvaluatedKey all the same."""
        images, last = whole(**options)
        empty = last is not None and endpoint.count("Scan", region=REPLICA) % 2 == 0
        return ([], options["start"]) if empty else (images, last)

    monkeypatch.setattr(play.replica, "page", page)
    play.replica.page_items = 10
    drift.assert_exact(*await play.diff(limits=Limits(segments=1)))
    assert endpoint.count("Scan", region=REPLICA) > 30


# Tables that are cut or ordered differently


async def test_keys_that_lie_in_other_segments_are_told_exactly(endpoint):
    drift = Drift.of(600)
    play = dual(endpoint, drift)
    play.replica.segment_of = turned
    play.primary.page_items, play.replica.page_items = 40, 60
    drift.assert_exact(*await play.diff(limits=Limits(segments=4)))


@pytest.mark.parametrize("window", WINDOWS)
async def test_scans_that_never_meet_are_given_up_and_cost_no_more_than_batch_get(
    endpoint, monkeypatch, window
):
    monkeypatch.setattr(dual_scan, "WINDOW_BYTES", window)
    monkeypatch.setattr(dual_scan, "_MISSES_ALLOWED", 200)
    drift = Drift.of(2_000, pad="x" * 200)
    play = dual(endpoint, drift)
    play.replica.segment_of = turned
    play.primary.page_items = play.replica.page_items = 50
    limits = Limits(segments=4)
    found, report = await play.diff(limits=limits)
    drift.assert_exact(found, report)
    assert report.strategy == "dual-scan, then batch-get"
    (note,) = play.log.notes
    assert "do not meet" in note
    assert "batch-get" in note

    play.strategy = "batch-get"
    _, probed = await play.diff(limits=limits)
    assert report.read_units <= probed.read_units * 1.01


async def test_scans_that_meet_for_the_most_part_are_not_given_up(endpoint, monkeypatch):
    monkeypatch.setattr(dual_scan, "_MISSES_ALLOWED", 5)
    drift = Drift.of(600)
    play = dual(endpoint, drift)
    strays = {name(number) for number in range(0, 600, 10)}
    play.replica.segment_of = lambda key, segments: (
        turned(key, segments) if key in strays else position_of(key) * segments >> 64
    )
    play.primary.page_items = play.replica.page_items = 40
    found, report = await play.diff(limits=Limits(segments=4))
    drift.assert_exact(found, report)
    assert report.strategy == "dual-scan"
    assert play.log.notes == []


@pytest.mark.parametrize("window", WINDOWS)
async def test_items_that_come_in_another_order_are_told_exactly(endpoint, monkeypatch, window):
    monkeypatch.setattr(dual_scan, "WINDOW_BYTES", window)
    drift = Drift.of(600)
    play = dual(endpoint, drift)
    play.replica.position_of = backwards
    play.primary.page_items, play.replica.page_items = 40, 60
    drift.assert_exact(*await play.diff(limits=Limits(segments=2)))


@pytest.fixture(params=list(permutations(engines.available(), 2)), ids="-".join)
def two_engines(request):
    """Any two different engines there are."""
    known = {"moto": engines.moto, "dynalite": engines.dynalite, "custom": engines.custom}
    started = [known[each](request.getfixturevalue(f"{each}_url")) for each in request.param]
    yield started
    for engine in started:
        engine.delete_tables()


@pytest.mark.parametrize("window", WINDOWS[1:])
async def test_engines_that_order_items_differently_are_compared_exactly(two_engines, monkeypatch, window):
    monkeypatch.setattr(dual_scan, "WINDOW_BYTES", window)
    drift = Drift.of(400, every=20, pad="x" * 100)
    clock, log = VirtualClock(), Log()
    sides = zip(two_engines, (drift.primary, drift.replica), strict=True)
    names = [(engine.url, engine.create_table(items=items)) for engine, items in sides]
    async with AsyncExitStack() as stack:
        tables = [
            await stack.enter_async_context(
                open_table(f"{engines.REGION}/{table}", session=session(), endpoint_url=url, clock=clock)
            )
            for url, table in names
        ]
        run = await stack.enter_async_context(
            diff(
                *tables,
                strategy="dual-scan",
                limits=Limits(segments=3),
                comparison=STILL,
                observer=log,
                clock=clock,
            )
        )
        found = [each async for each in run]
    assert len({each.key for each in found}) == len(found)
    drift.assert_exact({each.key: each for each in found}, run.report)


# Many items under one hash key


async def test_one_item_missing_in_the_middle_of_a_large_collection_takes_four_more_keys(endpoint):
    count, gone = 20_000, 11_111
    collection = [item("one", n=number) for number in range(count)]
    play = scene(endpoint, collection, range=("n", "N"))
    play.strategy = "dual-scan"
    play.replica.items = {key: each for key, each in play.primary.items.items() if key != ("one", gone)}
    play.primary.page_items, play.replica.page_items = 3_000, 2_500
    found, report = await play.diff()
    assert [(each.kind, each.key) for each in found.values()] == [
        ("missing", b'{"id":{"S":"one"},"n":{"N":"%d"}}' % gone)
    ]
    assert (report.matched, report.missing, report.compared) == (count - 1, 1, count)
    # One probe, and the primary, the replica and the primary again to confirm it.
    assert asked(endpoint) == 4
