"""Time as a parameter: the system's clock, and a virtual one that tests turn by sleeping."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a run gets its time from."""

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back."""

    def now(self) -> float:
        """Return the wall clock's seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


class SystemClock:
    """The real time."""

    def monotonic(self) -> float:
        """Return the process's monotonic seconds."""
        return time.monotonic()

    def now(self) -> float:
        """Return the wall clock's seconds since the epoch."""
        return datetime.now(UTC).timestamp()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that stands still until somebody sleeps; then it jumps. For tests and simulations.

    Attributes:
        slept: every sleep asked for, in seconds, in order.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._start = now
        self._passed = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """Return the virtual seconds passed."""
        return self._passed

    def now(self) -> float:
        """Return the virtual wall clock."""
        return self._start + self._passed

    async def sleep(self, seconds: float) -> None:
        """Jump ahead, giving other tasks one turn of the loop."""
        self.slept.append(seconds)
        self._passed += max(seconds, 0.0)
        await asyncio.sleep(0)
