"""Pacing: capacity units per second, charged by estimate before a call and corrected after it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from asyncrep.flow.slowing import Slowed, Throughput, first_cut

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock

_BURST_SECONDS = 1.0
_RESOLUTION = 1e-9  # seconds; a sum of floats may miss a moment by less for ever
_LONGEST_SLEEP = 0.25  # seconds; meanwhile calls are corrected and the rate changes


class Pace:
    """Lets at most ``limit`` units a second through, and fewer for a while after throttling; shared.

    Who comes first is served first. Up to a second of unused time may be caught up with, and one call
    may pass the limit: those after it pay by waiting. How far throttling slows it, and how it recovers,
    is ``asyncrep.flow.slowing``'s business. Without limit and throttling nothing waits.

    Args:
        limit: units per second, None for no limit.
        clock: tells and passes the time.
    """

    def __init__(self, limit: float | None, clock: Clock) -> None:
        self._limit = None if limit is None or math.isinf(limit) else limit
        self._clock = clock
        self._slowed: Slowed | None = None
        self._throughput = Throughput(clock)
        # Units that may be spent at once, as of a moment; below zero they are a debt.
        self._credit = (self._limit or 0.0) * _BURST_SECONDS
        self._counted_at = clock.monotonic()
        self._turn = asyncio.Lock()

    @property
    def slowed_to(self) -> float | None:
        """The units per second in force after throttling cut them; None when nothing is held back."""
        if self._slowed is None:
            return None
        now = self._clock.monotonic()
        if self._slowed.is_over(now):
            self._slowed = None
            return None
        return self._slowed.rate(now)

    @property
    def rate(self) -> float | None:
        """The units per second in force, None when there is no limit."""
        slowed_to = self.slowed_to
        return self._limit if slowed_to is None else slowed_to

    async def spend(self, units: float) -> None:
        """Wait until ``units`` (an estimate) may be spent."""
        if self._limit is None and self._slowed is None and not self._turn.locked():
            return
        async with self._turn:
            # Looked at again after each sleep: meanwhile calls may have been corrected either way.
            while (wait := self._wait()) > _RESOLUTION:
                await self._clock.sleep(min(wait, _LONGEST_SLEEP))
            self._credit -= units

    def charge(self, units: float, estimate: float = 0.0) -> None:
        """Count the ``units`` that a call took, of which ``estimate`` was spent before it."""
        self._throughput.add(units)
        self._credit += estimate - units
        if self._slowed is not None:
            self._slowed = self._slowed.proven(self._throughput.per_second(), self._clock.monotonic())

    def throttled(self) -> None:
        """Slow down, because the service said so or left a part of a batch undone."""
        rate = self.rate
        now, served = self._clock.monotonic(), self._throughput.per_second()
        if self._slowed is not None:
            self._slowed = self._slowed.cut(served, now)
            return
        self._slowed = first_cut(self._limit, served, now)
        if rate is None:  # nobody kept the books until now
            self._credit, self._counted_at = 0.0, now

    def _wait(self) -> float:
        """Bring the credit up to date and return the seconds until a debt is paid."""
        rate, now = self.rate, self._clock.monotonic()
        if rate is None:
            return 0.0
        self._credit = min(self._credit + rate * (now - self._counted_at), rate * _BURST_SECONDS)
        self._counted_at = now
        return -self._credit / rate
