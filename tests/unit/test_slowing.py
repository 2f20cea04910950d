"""Slowing: single transitions, and a whole client against a service with a token bucket in virtual time."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.flow.clock import VirtualClock
from asyncrep.flow.limiter import Pace
from asyncrep.flow.retry import RetryPolicy
from asyncrep.flow.slowing import KEPT, LEAST_UNITS, SIGNAL_SECONDS, Slowed, Throughput, first_cut
from tests.support.clock import SharedClock
from tests.support.strategies import thoroughly

rates = st.floats(0.01, 1e6)
moments = st.floats(0.0, 100.0)


# Transitions


@pytest.mark.parametrize(
    ("limit", "served", "reached"),
    [(None, 50.0, 50.0), (80.0, 50.0, 50.0), (30.0, 50.0, 30.0), (80.0, 0.0, 80.0), (None, 0.1, 1.0)],
)
def test_the_first_cut_starts_from_what_is_known(limit, served, reached):
    assert first_cut(limit, served, now=7.0) == Slowed(reached, 7.0, limit)


def test_a_cut_starts_from_what_was_served_when_that_is_less_than_the_rate():
    slowed = Slowed(100.0, 0.0, None)
    assert slowed.cut(served=85.0, now=10.0) == Slowed(85.0, 10.0, None)
    assert slowed.cut(served=120.0, now=10.0) == Slowed(100.0, 10.0, None)


def test_a_cut_takes_about_half_at_the_most():
    assert Slowed(100.0, 0.0, None).cut(served=0.0, now=10.0).rate(10.0) == pytest.approx(100 * KEPT * KEPT)


def test_while_more_is_served_than_let_through_the_throttled_calls_are_old_ones():
    slowed = Slowed(100.0, 0.0, None)
    assert slowed.cut(served=200.0, now=SIGNAL_SECONDS) is slowed


@thoroughly
@given(rates, st.one_of(st.none(), rates), moments, st.floats(0.0, 1e6), moments)
def test_no_cut_raises_the_rate_and_none_stops_it(reached, limit, before, served, after):
    slowed = Slowed(max(reached, LEAST_UNITS), 0.0, limit)
    cut = slowed.cut(served, before)
    assert LEAST_UNITS <= cut.rate(before) <= slowed.rate(before)
    assert cut.rate(before + after) >= cut.rate(before)


@thoroughly
@given(rates, st.floats(0.0, 1e6), moments)
def test_what_was_served_never_lowers_the_rate(reached, served, now):
    slowed = Slowed(max(reached, LEAST_UNITS), 0.0, None)
    assert slowed.proven(served, now).rate(now) >= slowed.rate(now) * (1 - 1e-9)


async def test_throughput_is_the_average_of_the_last_seconds():
    clock = VirtualClock()
    throughput = Throughput(clock)
    assert throughput.per_second() == 0
    throughput.add(5.0)
    assert throughput.per_second() == 0  # less than a second is no time to measure
    await clock.sleep(1.0)
    assert throughput.per_second() == pytest.approx(5)
    for _ in range(100):
        await clock.sleep(0.05)
        throughput.add(2.0)
    assert throughput.per_second() == pytest.approx(40, rel=0.05)
    await clock.sleep(10.0)
    assert throughput.per_second() == 0


# A service with so many units per second


@dataclass
class Service:
    """A table as DynamoDB meters it: a call goes as long as any credit is left, and may overdraw it.

    Up to a second's worth is saved up; it begins with `credit`.
    """

    clock: SharedClock
    units_per_second: float
    credit: float = 0.0
    served: list[tuple[float, float]] = field(default_factory=list)
    throttled: list[float] = field(default_factory=list)
    _counted_at: float = 0.0

    def serve(self, units: float) -> bool:
        now = self.clock.monotonic()
        earned = self.units_per_second * (now - self._counted_at)
        self.credit, self._counted_at = min(self.credit + earned, self.units_per_second), now
        if self.credit <= 0:
            self.throttled.append(now)
            return False
        self.credit -= units
        self.served.append((now, units))
        return True

    def use(self, since: float, until: float) -> float:
        """The share of its capacity that was used."""
        used = sum(units for moment, units in self.served if since <= moment < until)
        return used / (until - since) / self.units_per_second

    def refusals(self, since: float, until: float) -> float:
        """The share of the calls that were throttled."""
        throttled = sum(since <= moment < until for moment in self.throttled)
        return throttled / (throttled + sum(since <= moment < until for moment, _ in self.served))


async def work(service: Service, pace: Pace, retry: RetryPolicy, size: float, until: float) -> None:
    """One worker: call after call, tried again as WireClient does."""
    clock, source = service.clock, retry.random
    while clock.monotonic() < until:
        units = size * source.uniform(0.5, 1.5)
        for attempt in range(1, 1_000):
            await pace.spend(size)
            await clock.sleep(source.uniform(0.005, 0.015))
            if service.serve(units):
                break
            pace.throttled()
            await clock.sleep(retry.delay(attempt))
        pace.charge(units, size)


async def simulate(
    service: Service, *, workers: int, size: float, until: float, limit: float | None = None
) -> Pace:
    pace = Pace(limit, service.clock)
    retry = RetryPolicy(random=random.Random(7))
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work(service, pace, retry, size, until))
        await service.clock.run()
    return pace


@pytest.mark.parametrize("seconds_saved_up", [0.0, 1.0])
@pytest.mark.parametrize(
    ("units_per_second", "size", "refused"),
    [
        pytest.param(1_000.0, 50.0, 0.02, id="batches"),
        pytest.param(1_000.0, 128.0, 0.03, id="whole pages"),
        pytest.param(100.0, 10.0, 0.03, id="small pages"),
        pytest.param(5.0, 5.0, 0.15, id="calls of a second's worth"),
    ],
)
async def test_a_table_is_used_nearly_fully_and_seldom_throttles(
    units_per_second, size, refused, seconds_saved_up
):
    clock = SharedClock(turns=50)
    service = Service(clock, units_per_second, credit=units_per_second * seconds_saved_up)
    await simulate(service, workers=32, size=size, until=120.0)
    assert service.use(20.0, 120.0) >= 0.8
    assert service.refusals(20.0, 120.0) <= refused
    assert service.refusals(0.0, 20.0) > 0, "a table that never throttled shows nothing"


async def test_a_limit_that_the_table_can_serve_is_used_fully_without_a_throttle():
    service = Service(SharedClock(turns=50), 1_000.0, credit=1_000.0)
    await simulate(service, workers=32, size=50.0, until=60.0, limit=800.0)
    assert service.throttled == []
    assert service.use(5.0, 60.0) == pytest.approx(0.8, rel=0.05)


async def test_a_table_that_loses_most_of_its_capacity_is_followed_down_and_up_again():
    service = Service(SharedClock(turns=50), 1_000.0)

    async def change() -> None:
        await service.clock.sleep(40.0)
        service.units_per_second = 100.0
        await service.clock.sleep(60.0)
        service.units_per_second = 1_000.0

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        await simulate(service, workers=32, size=10.0, until=160.0)
    low = sum(units for moment, units in service.served if 50.0 <= moment < 100.0) / 50.0
    assert 80.0 <= low <= 105.0
    assert service.refusals(50.0, 100.0) <= 0.1
    assert service.use(140.0, 160.0) >= 0.8
