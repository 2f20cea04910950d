"""Pacing: units let through respect the rate in every window, in fair order, and corrections count."""

import asyncio
import heapq
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.flow.clock import VirtualClock
from asyncrep.flow.limiter import Pace
from tests.support.strategies import thoroughly

RATE = 10.0
BURST = 1.0
units = st.floats(0.0, 40.0)
steps = st.lists(st.tuples(st.floats(0.0, 5.0), units), min_size=1, max_size=30)


class SharedClock:
    """A virtual clock for several sleepers: it moves on to the earliest of them when ``run`` is told to."""

    def __init__(self):
        self._now = 0.0
        self._order = count()
        self._sleepers = []

    def monotonic(self):
        return self._now

    def now(self):
        return self._now

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def run(self):
        while self._sleepers:
            self._now, _, woken = heapq.heappop(self._sleepers)
            if not woken.cancelled():
                woken.set_result(None)
            for _ in range(100):  # turns enough for everybody in the queue to come forward
                await asyncio.sleep(0)


def check_every_window(passed, rate):
    """No window lets more through than its length and the burst allow, besides the call that fills it."""
    for first, (start, _) in enumerate(passed):
        total = 0.0
        for end, spent in passed[first:]:
            assert total <= rate * (end - start + BURST) * (1 + 1e-9) + 1e-6
            total += spent


@thoroughly
@given(steps)
async def test_any_sequence_of_calls_respects_the_rate_in_every_window(calls):
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    passed = []
    for idle, spent in calls:
        await clock.sleep(idle)
        await pace.spend(spent)
        passed.append((clock.monotonic(), spent))
    check_every_window(passed, RATE)


@thoroughly
@given(st.lists(units, min_size=1, max_size=30))
async def test_callers_at_once_go_in_the_order_they_came_and_respect_the_rate(wishes):
    clock = SharedClock()
    pace = Pace(RATE, clock)
    passed = []

    async def call(position, spent):
        await pace.spend(spent)
        passed.append((clock.monotonic(), spent, position))

    async with asyncio.TaskGroup() as group:
        for position, spent in enumerate(wishes):
            group.create_task(call(position, spent))
        for _ in range(100):
            await asyncio.sleep(0)
        await clock.run()
    assert [position for _, _, position in passed] == list(range(len(wishes)))
    check_every_window([(moment, spent) for moment, spent, _ in passed], RATE)


async def test_the_rate_is_used_up_and_not_only_kept():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    for _ in range(101):
        await pace.spend(5.0)
    assert clock.monotonic() == pytest.approx(100 * 5.0 / RATE - BURST)


async def test_a_first_second_s_worth_goes_at_once_and_then_everybody_waits():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    for _ in range(11):  # the call that passes the limit still goes
        await pace.spend(1.0)
    assert clock.slept == []
    await pace.spend(1.0)
    assert clock.slept == pytest.approx([0.1])


async def test_a_call_larger_than_the_rate_goes_and_the_next_pays_for_it():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    await pace.spend(500.0)
    assert clock.slept == []
    await pace.spend(1.0)
    assert clock.slept == pytest.approx([49.0])


async def test_idle_time_is_caught_up_with_for_a_second_only():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    await pace.spend(1.0)
    await clock.sleep(3600.0)
    clock.slept.clear()
    for _ in range(11):
        await pace.spend(1.0)
    assert clock.slept == []
    await pace.spend(1.0)
    assert clock.slept == pytest.approx([0.1])


@thoroughly
@given(st.lists(st.tuples(units, units), min_size=1, max_size=20))
async def test_after_corrections_what_counts_is_what_calls_really_took(calls):
    estimating, knowing = VirtualClock(), VirtualClock()
    corrected, exact = Pace(RATE, estimating), Pace(RATE, knowing)
    for estimate, taken in calls:
        await corrected.spend(estimate)
        corrected.correct(taken - estimate)
        await exact.spend(taken)
        assert estimating.monotonic() == pytest.approx(knowing.monotonic(), abs=1e-6)


async def test_a_call_that_took_more_makes_the_next_wait_and_one_that_took_less_does_not():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    await pace.spend(10.0)
    pace.correct(20.0)
    await pace.spend(1.0)
    assert clock.slept == pytest.approx([2.0])
    pace.correct(-1.0)
    await pace.spend(1.0)
    assert clock.slept == pytest.approx([2.0])


async def test_corrections_downwards_save_up_no_more_than_the_burst():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    pace.correct(-1_000_000.0)
    for _ in range(11):
        await pace.spend(1.0)
    assert clock.slept == []
    await pace.spend(1.0)
    assert clock.slept == pytest.approx([0.1])


@thoroughly
@given(st.lists(units, max_size=20))
async def test_no_limit_never_sleeps(wishes):
    clock = VirtualClock()
    pace = Pace(None, clock)
    for spent in wishes:
        await pace.spend(spent)
        pace.correct(spent)
    assert clock.slept == []


async def test_a_caller_cancelled_in_its_wait_does_not_stop_those_behind_it():
    clock = SharedClock()
    pace = Pace(RATE, clock)
    await pace.spend(30.0)
    cancelled, behind = asyncio.ensure_future(pace.spend(10.0)), asyncio.ensure_future(pace.spend(10.0))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert not behind.done()
    await clock.run()
    await behind
