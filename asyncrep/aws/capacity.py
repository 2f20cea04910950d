"""Capacity units: counted from every answer, and paced by the run's limits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from asyncrep.flow.limiter import Pace
from asyncrep.model import Meter

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock
    from asyncrep.options import Limits

Direction = Literal["read", "write"]


class Consumed(msgspec.Struct):
    """The ``ConsumedCapacity`` of one table in an answer."""

    CapacityUnits: float = 0.0


class Budget:
    """One table's paces in one run: both directions, shared by everything that run does to the table.

    Attributes:
        slots: bounds the requests under way besides scans. Held for a request, never for a wait.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._meter = Meter()
        self.slots = asyncio.Semaphore(limits.concurrency)
        self._paces: dict[Direction, Pace] = {
            "read": Pace(limits.read_units, clock),
            "write": Pace(limits.write_units, clock),
        }

    @property
    def meter(self) -> Meter:
        """What was consumed, and how far throttling slows the table at this moment."""
        rates = [rate for pace in self._paces.values() if (rate := pace.slowed_to) is not None]
        self._meter.slowed_to = min(rates, default=None)
        return self._meter

    def rate(self, direction: Direction) -> float | None:
        """Return the units per second in force, None when there is no limit."""
        return self._paces[direction].rate

    async def spend(self, direction: Direction, estimate: float) -> None:
        """Wait until ``estimate`` units may be spent."""
        await self._paces[direction].spend(estimate)

    def charge(self, direction: Direction, units: float, estimate: float) -> None:
        """Count the units a call took and correct the pace by what the estimate missed."""
        self._paces[direction].charge(units, estimate)
        if direction == "read":
            self._meter.read_units += units
        else:
            self._meter.write_units += units

    def answered(self) -> None:
        """Count a call that was answered."""
        self._meter.requests += 1

    def throttled(self, direction: Direction | None) -> None:
        """Count a throttled answer and slow down; None for calls that take no capacity units."""
        self._meter.throttled += 1
        if direction is not None:
            self._paces[direction].throttled()


@dataclass(slots=True)
class Estimator:
    """Guesses what the next call will take from what the last ones took.

    Attributes:
        units: the current guess; the first answer replaces it, later ones move it.
    """

    units: float
    _answers: int = 0

    def learn(self, units: float) -> None:
        """Move the guess towards what a call really took."""
        self._answers += 1
        self.units += (units - self.units) / min(self._answers, 4)
