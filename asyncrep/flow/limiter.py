"""Pacing: capacity units per second, charged by estimate before a call and corrected after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock

_BURST_SECONDS = 1.0
_RESOLUTION = 1e-6  # seconds; a sum of floats may miss a moment by less for ever


class Pace:
    """Lets at most ``rate`` units a second through, shared by everyone who holds it.

    Who comes first is served first. Up to a second of unused time may be caught up with, and one call
    may pass the limit: those after it pay by waiting.

    Args:
        rate: units per second, None for no limit.
        clock: tells and passes the time.
    """

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = clock.monotonic() - _BURST_SECONDS
        self._turn = asyncio.Lock()

    async def spend(self, units: float) -> None:
        """Wait until ``units`` (an estimate) may be spent."""
        if self._rate is None:
            return
        async with self._turn:
            # Looked at again after each sleep: meanwhile a call may have been corrected upwards.
            while (wait := self._free_at - self._clock.monotonic()) > _RESOLUTION:
                await self._clock.sleep(wait)
            begins = max(self._free_at, self._clock.monotonic() - _BURST_SECONDS)
            self._free_at = begins + units / self._rate

    def correct(self, units: float) -> None:
        """Charge what a call took beyond its estimate; negative when it took less."""
        if self._rate is not None:
            self._free_at += units / self._rate
