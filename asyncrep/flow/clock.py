"""Time as a parameter: the system's clock, and a virtual one that tests turn by sleeping."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


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

    def __init__(self) -> None:
        self._monotonic = _that_never_stands_still()

    def monotonic(self) -> float:
        """Return monotonic seconds, those in which the machine was suspended among them."""
        return self._monotonic()

    def now(self) -> float:
        """Return the wall clock's seconds since the epoch."""
        return datetime.now(UTC).timestamp()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)


def _that_never_stands_still() -> Callable[[], float]:
    """Return a monotonic clock that also counts while the machine is suspended, where there is one.

    Linux's CLOCK_MONOTONIC, which time.monotonic reads, stands still meanwhile: a worker that wakes up would
    believe that its leases are fresh, which others have taken long ago.
    """
    boot_time: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    if boot_time is None:
        return time.monotonic
    try:
        time.clock_gettime(boot_time)
    except OSError:  # a kernel or a sandbox that does not have it
        return time.monotonic
    return lambda: time.clock_gettime(boot_time)


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
