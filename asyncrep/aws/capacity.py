"""Capacity units: counted from every answer, and paced by the run's limits."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from asyncrep.flow.limiter import Pace
from asyncrep.flow.purse import Account, Purse
from asyncrep.model import Meter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.flow.clock import Clock
    from asyncrep.options import Limits

Direction = Literal["read", "write"]


class Consumed(msgspec.Struct):
    """The ``ConsumedCapacity`` of one table in an answer."""

    CapacityUnits: float = 0.0


class Cost(NamedTuple):
    """What a call takes, in units: by estimate, and at the most."""

    estimate: float
    most: float


class Budget:
    """One table's paces in one run: both directions, shared by everything that run does to the table.

    Attributes:
        slots: bounds the requests under way besides scans. Held for a request, never for a wait.
    """

    def __init__(self, limits: Limits, clock: Clock, account: Account | None = None) -> None:
        self._meter = Meter()
        self._account = account or Account(Purse())
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

    def affordable(self, direction: Direction) -> float:
        """Return how many units there is money for at this moment; endless where none is counted."""
        price = self._price(direction)
        return self._account.purse.free / price if price else math.inf

    @asynccontextmanager
    async def reserved(self, direction: Direction, most: float) -> AsyncIterator[None]:
        """Put aside, for the time of one request, the dollars for the ``most`` units it takes from the table.

        Whoever is in charges what it took at once, before anybody else has a turn.

        Raises:
            BudgetExhaustedError: they are not there.
        """
        purse = self._account.purse
        dollars = most * self._price(direction)
        if direction == "write":
            # Each index takes at most what the table takes, and twice that where an entry moves within it.
            dollars *= 1 + 2 * self._account.indexes
        if not purse.is_limited or not dollars:
            yield
            return
        await purse.reserve(dollars)
        try:
            yield
        except asyncio.CancelledError:
            purse.forfeit(dollars)
            raise
        except BaseException:
            purse.give_back(dollars)
            raise
        purse.give_back(dollars)

    def charge(self, direction: Direction, units: float, estimate: float) -> None:
        """Count the units a call took, their dollars, and correct the pace by what the estimate missed."""
        self._paces[direction].charge(units, estimate)
        dollars = units * self._price(direction)
        self._account.purse.spend(dollars)
        self._meter.dollars += dollars
        if direction == "read":
            self._meter.read_units += units
        else:
            self._meter.write_units += units

    def _price(self, direction: Direction) -> float:
        return self._account.read if direction == "read" else self._account.write

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
