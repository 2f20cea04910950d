"""Pacing: capacity units per second, charged by estimate before a call and corrected after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock

_BURST_SECONDS = 1.0


class Pace:
    """Lets at most ``rate`` units a second through, shared by everyone who holds it.

    Whoever wants to spend units reserves the next free moment at once and then sleeps until it comes,
    so the order is fair and nothing needs a lock. Up to a second of unused time may be caught up with.

    Args:
        rate: units per second, None for no limit.
        clock: tells and passes the time.
    """

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = clock.monotonic() - _BURST_SECONDS

    async def spend(self, units: float) -> None:
        """Wait until ``units`` (an estimate) may be spent."""
        if self._rate is None:
            return
        now = self._clock.monotonic()
        begins = max(self._free_at, now - _BURST_SECONDS)
        self._free_at = begins + units / self._rate
        # The call that passes the limit still goes: what comes after it pays by waiting.
        if begins > now:
            await self._clock.sleep(begins - now)

    def correct(self, units: float) -> None:
        """Charge what a call took beyond its estimate; negative when it took less."""
        if self._rate is not None:
            self._free_at += units / self._rate
