"""A table that throttles is slowed down and runs freely again; low rates take small pages; nothing is missed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from asyncrep import Advanced, Limits, RetryPolicy, RunStarted, Segment, VirtualClock, open_table
from asyncrep.aws.scan import PageSizes
from asyncrep.model import KeyedImage
from asyncrep.mutation import ItemAbsent, Put
from tests.support.scenario import NAME, PRIMARY, REPLICA, item, items, key, scene

WHERE = f"{PRIMARY}/{NAME}"
BLOCK = "x" * 4_000  # an item of nearly 4 KB: half a unit to read, four to write


@asynccontextmanager
async def opened(endpoint, clock, limits=None, retry=None):
    async with open_table(
        WHERE, endpoint_url=endpoint.url, clock=clock, retry=retry or RetryPolicy()
    ) as table:
        yield table.limited(limits or Limits())


@dataclass
class Rates:
    """What a table's meter said about being slowed, from page to page."""

    seen: list[float | None] = field(default_factory=list)

    @property
    def slowed(self):
        return [rate for rate in self.seen if rate is not None]


async def walk(table, clock, *, seconds_a_page=0.0):
    """Read a whole table in one segment; every page takes some time."""
    found, rates = 0, Rates()
    async for page in table.pages(Segment(0, 1)):
        found += len(page.images)
        rates.seen.append(table.meter.slowed_to)
        await clock.sleep(seconds_a_page)
    return found, rates


def limits_of(endpoint):
    return [call.body.get("Limit") for call in endpoint.requests("Scan")]


# Slowing and recovering


async def test_a_throttled_scan_slows_down_takes_smaller_pages_and_recovers(endpoint):
    clock = VirtualClock()
    endpoint.create_table(NAME, items=items(900, v=BLOCK)).page_items = 20
    endpoint.on("Scan", times=2, after=10).throttle()
    async with opened(endpoint, clock) as table:
        found, rates = await walk(table, clock, seconds_a_page=1.0)
        assert table.meter.throttled == 2
    assert found == 900
    assert rates.seen[0] is None
    assert rates.slowed[0] < 10  # ten units a second were taken until then
    assert rates.slowed == sorted(rates.slowed)
    assert rates.seen[-1] is None
    sent = limits_of(endpoint)
    assert sent[:10] == [None] * 10
    assert all(limit <= 20 * 2.5 for limit in sent if limit is not None)
    assert sum(limit is not None for limit in sent) >= 10
    assert sent[-1] is None


async def test_unprocessed_keys_slow_reads_and_not_writes(endpoint):
    clock = VirtualClock()
    endpoint.create_table(NAME, items=items(100, v=BLOCK))
    names = [key(f"k{number:03}") for number in range(100)]
    endpoint.on("BatchGetItem", after=2).unprocessed(0.5)
    async with opened(endpoint, clock) as table:
        for _ in range(3):
            assert len(await table.get(names, consistent=True)) == 100
            await clock.sleep(1.0)
        assert table.meter.slowed_to is not None
        assert table._budget.rate("read") == table.meter.slowed_to
        assert table._budget.rate("write") is None


@pytest.mark.parametrize("guarded", [True, False])
async def test_throttled_writes_slow_writes_and_not_reads(endpoint, guarded):
    clock = VirtualClock()
    scripted = endpoint.create_table(NAME)
    endpoint.on("PutItem", after=3).throttle()
    endpoint.on("BatchWriteItem", after=3).unprocessed(1.0)
    async with opened(endpoint, clock) as table:
        for number in range(6):
            name = f"k{number}"
            image = b'{"id":{"S":"%b"}}' % name.encode()
            if guarded:
                assert (await table.apply(Put(key(name), image, ItemAbsent()))).applied
            else:
                await table.write_all([KeyedImage(key(name), image)])
            await clock.sleep(1.0)
        assert table.meter.throttled == 1
        assert table.meter.slowed_to == table._budget.rate("write") is not None
        assert table._budget.rate("read") is None
    assert len(scripted.items) == 6


async def test_throttled_questions_about_the_table_slow_nothing(endpoint):
    clock = VirtualClock()
    endpoint.create_table(NAME, items=items(3))
    endpoint.on("DescribeGlobalTable").error("ThrottlingException")
    async with opened(endpoint, clock, Limits(read_units=5.0, write_units=5.0)) as table:
        await walk(table, clock, seconds_a_page=2.0)
        async with opened(endpoint, clock) as other:
            await table.copies_to(other)
        assert table.meter.throttled == 1
        assert table.meter.slowed_to is None


async def test_a_throttled_table_with_nothing_taken_yet_is_only_backed_off_from(endpoint):
    clock = VirtualClock()
    endpoint.create_table(NAME, items=items(3))
    endpoint.on("Scan", times=3).throttle()
    async with opened(endpoint, clock) as table:
        found, rates = await walk(table, clock)
    assert found == 3
    assert rates.slowed == []


async def test_every_try_waits_for_its_turn_and_that_wait_costs_no_patience(endpoint):
    clock = VirtualClock()
    endpoint.create_table(NAME, items=items(40))
    names = [key(f"k{number:03}") for number in range(40)]
    endpoint.on("BatchGetItem", times=2).throttle()
    endpoint.on("BatchGetItem", times=2).unprocessed(1.0)
    retry = RetryPolicy(patience=0.5, longest=0.1)
    async with opened(endpoint, clock, Limits(read_units=0.5), retry) as table:
        # An estimated 20 units for each of the five tries, half a unit per second.
        assert len(await table.get(names, consistent=False)) == 40
    assert endpoint.count("BatchGetItem") == 5
    assert clock.monotonic() >= 4 * 20 / 0.5 - 1


async def test_a_throttled_diff_slows_down_recovers_and_finds_everything(endpoint):
    play = scene(endpoint, items(900, v=BLOCK), [*items(890, v=BLOCK), item("extra")])
    play.primary.page_items = play.replica.page_items = 10
    endpoint.on("Scan", region=PRIMARY, times=3, after=15).throttle()
    endpoint.on("Scan", region=REPLICA, times=2, after=20).throttle()

    def pass_time(_):
        play.clock._passed += 0.5  # a call that takes its time

    endpoint.before("Scan", pass_time, times=None)
    slowed = []

    class Watching:
        def notice(self, event):
            play.log.notice(event)
            if isinstance(event, Advanced):
                slowed.append(play.log.of(RunStarted)[0].report.slowed_to)

    found, report = await play.diff(observer=Watching(), limits=Limits(segments=1))
    assert len(found) == 11
    assert (report.missing, report.extraneous, report.matched, report.throttled) == (10, 1, 890, 5)
    assert report.complete
    assert slowed[0] is None
    assert any(rate is not None for rate in slowed)
    assert slowed[-1] is report.slowed_to is None
    assert "slowed_to" not in report.as_dict()


# Small pages at low rates


async def test_without_a_low_rate_whole_pages_are_asked_for(endpoint):
    endpoint.create_table(NAME, items=items(50, v=BLOCK)).page_items = 10
    for limits in (Limits(), Limits(read_units=128.0), Limits(write_units=1.0)):
        async with opened(endpoint, VirtualClock(), limits) as table:
            assert (await walk(table, table.clock))[0] == 50
    assert set(limits_of(endpoint)) == {None}


@pytest.mark.parametrize("text", ["", "x" * 400, BLOCK, "x" * 40_000], ids=["60 B", "400 B", "4 KB", "40 KB"])
async def test_at_a_low_rate_a_page_takes_about_a_second_s_worth(endpoint, text):
    rate, clock = 10.0, VirtualClock()
    scripted = endpoint.create_table(NAME, items=items(300, v=text))
    sizes, whole = [], scripted.page

    def noting(**options):
        found, last = whole(**options)
        sizes.append(len(found))
        return found, last

    scripted.page = noting
    async with opened(endpoint, clock, Limits(read_units=rate)) as table:
        found, _ = await walk(table, clock)
        units = table.meter.read_units
    assert found == 300
    assert limits_of(endpoint)[0] == 1, "nothing is known yet"
    assert None not in limits_of(endpoint)
    blocks = max(len(text) / 4096, 0.01)
    assert max(sizes) * blocks * 0.5 <= rate * 1.3
    assert clock.monotonic() >= units / rate - 3
    assert clock.monotonic() <= units / rate + 3


async def test_many_segments_at_a_low_rate_do_not_all_begin_at_once(endpoint):
    clock = VirtualClock()
    endpoint.create_table(NAME, items=items(100, v="x" * 40_000))  # five units each
    began = []
    endpoint.before("Scan", lambda _: began.append(clock.monotonic()), times=None)

    async def first_page(table, index):
        pages = table.pages(Segment(index, 16))
        await anext(pages)
        await pages.aclose()

    async with opened(endpoint, clock, Limits(read_units=10.0)) as table, asyncio.TaskGroup() as group:
        for index in range(16):
            group.create_task(first_page(table, index))
    assert {call.body["Limit"] for call in endpoint.requests("Scan")} <= {1, 2}
    for calls, moment in enumerate(began, 1):
        assert calls * 5.0 <= 10.0 * (moment + 1.0) + 50.0


async def test_a_service_that_counts_no_units_is_scanned_all_the_same(endpoint):
    scripted = endpoint.create_table(NAME, items=items(90))
    scripted.page_items = 20
    sizes = PageSizes()
    sizes.learn(1, 1, 0.0)
    assert sizes.next(10.0)[0] is None
    async with opened(endpoint, VirtualClock(), Limits(read_units=10.0)) as table:
        table._page_sizes = sizes
        assert (await walk(table, table.clock))[0] == 90


# Shares of what a table can do


def provisioned(endpoint, read, write):
    table = endpoint.create_table(NAME, items=items(3))
    table.description["BillingModeSummary"] = {"BillingMode": "PROVISIONED"}
    table.description["ProvisionedThroughput"] = {"ReadCapacityUnits": read, "WriteCapacityUnits": write}
    return table


@pytest.mark.parametrize(
    ("limits", "read", "write"),
    [
        (Limits(), None, None),
        (Limits(read_percent=50), 20.0, None),
        (Limits(read_percent=50, write_percent=10), 20.0, 2.0),
        (Limits(read_percent=50, read_units=5), 5.0, None),
        (Limits(read_percent=50, read_units=100), 20.0, None),
    ],
)
async def test_a_share_is_resolved_for_each_table_and_the_lower_limit_counts(endpoint, limits, read, write):
    provisioned(endpoint, 40, 20)
    async with opened(endpoint, VirtualClock(), limits) as table:
        assert (table._budget.rate("read"), table._budget.rate("write")) == (read, write)


async def test_a_new_table_on_demand_shares_what_aws_lets_it_begin_with(endpoint):
    endpoint.create_table(NAME)
    async with opened(endpoint, VirtualClock(), Limits(read_percent=25, write_percent=25)) as table:
        assert (table._budget.rate("read"), table._budget.rate("write")) == (3_000, 1_000)
