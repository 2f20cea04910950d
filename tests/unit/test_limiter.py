"""Pacing: units let through respect the rate in every window, in fair order, and corrections count."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.flow.clock import VirtualClock
from asyncrep.flow.limiter import Pace
from asyncrep.flow.slowing import KEPT, LEAST_UNITS, RECOVERY_SECONDS, RELEASED, SIGNAL_SECONDS, Slowed
from tests.support.clock import SharedClock
from tests.support.strategies import thoroughly

RATE = 10.0
BURST = 1.0
units = st.floats(0.0, 40.0)
steps = st.lists(st.tuples(st.floats(0.0, 5.0), units), min_size=1, max_size=30)


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
    assert sum(clock.slept) == pytest.approx(49.0)


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
        corrected.charge(taken, estimate)
        await exact.spend(taken)
        assert estimating.monotonic() == pytest.approx(knowing.monotonic(), abs=1e-6)


async def test_a_call_that_took_more_makes_the_next_wait_and_one_that_took_less_does_not():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    await pace.spend(10.0)
    pace.charge(30.0, estimate=10.0)
    await pace.spend(1.0)
    assert sum(clock.slept) == pytest.approx(2.0)
    pace.charge(0.0, estimate=1.0)
    await pace.spend(1.0)
    assert sum(clock.slept) == pytest.approx(2.0)


async def test_corrections_downwards_save_up_no_more_than_the_burst():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    pace.charge(0.0, estimate=1_000_000.0)
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
        pace.charge(spent)
    assert clock.slept == []


async def test_an_infinite_limit_is_none():
    clock = VirtualClock()
    pace = Pace(float("inf"), clock)
    for _ in range(3):
        await pace.spend(1e9)
    assert pace.rate is None
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


# Throttling


async def served(pace, clock, rate, seconds=3.0):
    """The service takes that many units per second for a while."""
    for _ in range(round(seconds * 10)):
        await clock.sleep(0.1)
        pace.charge(rate / 10)


@pytest.fixture
async def busy():
    """A pace without limit that is taking 100 units per second, and its clock."""
    clock = VirtualClock()
    pace = Pace(None, clock)
    await served(pace, clock, 100.0)
    return pace, clock


async def test_without_limit_the_first_throttle_cuts_what_was_really_taken(busy):
    pace, _ = busy
    assert pace.slowed_to is None
    pace.throttled()
    assert pace.slowed_to == pace.rate == pytest.approx(100 * KEPT, rel=0.05)


async def test_what_was_taken_freely_before_a_cut_is_no_debt(busy):
    pace, clock = busy
    pace.throttled()
    clock.slept.clear()
    await pace.spend(10.0)
    assert clock.slept == []


async def test_when_the_rate_is_back_nobody_overtakes_those_who_wait():
    clock = SharedClock()
    pace = Pace(None, clock)
    pace._slowed = Slowed(10.0, 0.0, None)
    await pace.spend(1e6)
    went = []

    async def call(name):
        await pace.spend(1.0)
        went.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(call("first"))
        await asyncio.sleep(0)
        pace._slowed = None
        group.create_task(call("second"))
        await clock.run()
    assert went == ["first", "second"]


async def test_calls_that_are_throttled_together_are_one_signal(busy):
    pace, clock = busy
    for _ in range(50):
        pace.throttled()
        await clock.sleep(SIGNAL_SECONDS / 100)
    assert pace.slowed_to == pytest.approx(100 * KEPT, rel=0.1)


async def test_what_goes_on_being_throttled_is_cut_again_but_never_to_nothing(busy):
    pace, clock = busy
    rates = []
    for _ in range(60):
        pace.throttled()
        rates.append(pace.slowed_to)
        await clock.sleep(SIGNAL_SECONDS)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == LEAST_UNITS


async def test_a_slowed_pace_lets_through_no_more_than_its_rate(busy):
    pace, clock = busy
    pace.throttled()
    began = clock.monotonic()
    for _ in range(20):
        await pace.spend(10.0)
    average = (100 * KEPT + 100) / 2
    assert clock.monotonic() - began >= 190 / average


async def test_the_rate_comes_back_in_time_and_then_there_is_no_limit_again(busy):
    pace, clock = busy
    pace.throttled()
    cut = pace.slowed_to
    await clock.sleep(RECOVERY_SECONDS)
    assert pace.slowed_to == pytest.approx(cut / KEPT)
    rates = []
    while pace.slowed_to is not None:
        rates.append(pace.slowed_to)
        await clock.sleep(0.5)
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(RELEASED * cut / KEPT, rel=0.1)
    assert clock.monotonic() < 5 * RECOVERY_SECONDS
    clock.slept.clear()
    await pace.spend(1e6)
    await pace.spend(1e6)
    assert clock.slept == []


async def test_with_a_limit_the_rate_comes_back_to_it_and_never_above():
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    pace.throttled()  # nothing was taken yet: the limit is all that is known
    assert pace.rate == pytest.approx(RATE * KEPT)
    for _ in range(40):
        assert pace.rate is not None
        assert pace.rate <= RATE
        await clock.sleep(0.5)
    assert pace.slowed_to is None
    assert pace.rate == RATE


async def test_a_limit_below_the_least_rate_stays_in_force():
    pace = Pace(LEAST_UNITS / 4, VirtualClock())
    pace.throttled()
    assert pace.rate == LEAST_UNITS / 4


async def test_while_nothing_is_known_backing_off_must_do():
    clock = VirtualClock()
    pace = Pace(None, clock)
    pace.throttled()
    pace.charge(1.0)  # less than a second is no time to measure
    pace.throttled()
    assert pace.rate is None
    await pace.spend(1e6)
    assert clock.slept == []


async def test_a_cut_that_knew_little_is_put_right_by_what_is_taken_afterwards():
    clock = VirtualClock()
    pace = Pace(None, clock)
    await served(pace, clock, 0.5)
    pace.throttled()
    assert pace.slowed_to == LEAST_UNITS
    await served(pace, clock, 1000.0)  # those that were let through before
    assert pace.slowed_to > 500


async def test_whoever_waits_goes_on_as_soon_as_the_rate_is_back(busy):
    pace, clock = busy
    pace.throttled()
    await pace.spend(1e6)
    began = clock.monotonic()
    await pace.spend(1.0)
    assert pace.slowed_to is None
    assert clock.monotonic() - began < 3 * RECOVERY_SECONDS


@thoroughly
@given(st.lists(st.tuples(st.floats(0.0, 5.0), units, st.booleans()), min_size=1, max_size=30))
async def test_whatever_is_throttled_the_user_s_limit_holds_in_every_window(calls):
    clock = VirtualClock()
    pace = Pace(RATE, clock)
    passed = []
    for idle, spent, throttled in calls:
        await clock.sleep(idle)
        await pace.spend(spent)
        passed.append((clock.monotonic(), spent))
        pace.charge(spent, spent)
        if throttled:
            pace.throttled()
        assert pace.rate is not None
        assert LEAST_UNITS <= pace.rate <= RATE
    check_every_window(passed, RATE)


async def test_a_caller_cancelled_while_slowed_does_not_stop_those_behind_it():
    clock = SharedClock()
    pace = Pace(RATE, clock)
    pace.throttled()
    await pace.spend(30.0)
    cancelled, behind = asyncio.ensure_future(pace.spend(10.0)), asyncio.ensure_future(pace.spend(10.0))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert not behind.done()
    await clock.run()
    await behind
