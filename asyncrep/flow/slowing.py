"""How throttling slows a table down: a rate that is cut at once and won back in time. Pure.

The shape is CUBIC's (RFC 9438), as AWS's SDKs use it in their adaptive retry mode, made free of scale: the
rate falls to a share of what the table was seen to serve, is back there after ``RECOVERY_SECONDS``, stays
near it for a while and then feels its way up faster and faster. So a table with a hard limit is used at
nine tenths of it on average, and one that was busy for a moment soon runs freely again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock

KEPT = 0.7
"""The share of the rate that a cut leaves, as in RFC 9438."""

SIGNAL_SECONDS = 1.0
"""Calls under way are throttled together: within this time their answers are one signal."""

RECOVERY_SECONDS = 10.0
"""How long the rate takes back to what it was before the cut."""

RELEASED = 2.0
"""From this multiple of the rate before the cut on, nothing is held back where the user set no limit."""

LEAST_UNITS = 1.0
"""The rate never falls below this many units per second: no table can be provisioned with fewer."""

_WINDOW_SECONDS = 3.0  # long enough that pages of a second's worth do not make the measure jump
_SHORTEST_SECONDS = 1.0
_GRAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Slowed:
    """A table that throttled.

    Attributes:
        reached: units per second it served when it did.
        since: when the rate was cut, in monotonic seconds.
        limit: the user's units per second, None for none.
    """

    reached: float
    since: float
    limit: float | None

    def rate(self, now: float) -> float:
        """Return the units per second that are let through; never less than ``LEAST_UNITS``."""
        progress = (now - self.since) / RECOVERY_SECONDS
        return max(self.reached * (1.0 + (1.0 - KEPT) * (progress - 1.0) ** 3), LEAST_UNITS)

    def is_over(self, now: float) -> bool:
        """Tell whether the rate is back at the user's limit, or without one far beyond what it was."""
        return self.rate(now) >= (RELEASED * self.reached if self.limit is None else self.limit)

    def cut(self, served: float, now: float) -> Slowed:
        """Return what another throttled answer makes of it.

        Args:
            served: units per second that the table served lately.
            now: monotonic seconds.
        """
        rate = self.rate(now)
        # More than this rate is being served: what is throttled was let through before the last cut.
        if now - self.since < SIGNAL_SECONDS or KEPT * served >= rate:
            return self
        # All calls may be backing off, and nothing served: one signal takes about half at the most.
        reached = max(min(rate, served), KEPT * rate, LEAST_UNITS)
        return Slowed(reached, now, self.limit)

    def proven(self, served: float, now: float) -> Slowed:
        """Return what it is after more was served: a first cut may know of a few small calls only."""
        return Slowed(served, now, self.limit) if KEPT * served > self.rate(now) else self


def first_cut(limit: float | None, served: float, now: float) -> Slowed | None:
    """Return what a throttled answer makes of a table that ran freely, or at its user's limit.

    Returns:
        None when nothing is known to start from. The backoff of the single calls must do then.
    """
    known = [rate for rate in (limit, served) if rate]
    return Slowed(max(min(known), LEAST_UNITS), now, limit) if known else None


class Throughput:
    """Measures the units per second of the last few seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: float | None = None
        self._moments: deque[float] = deque()
        self._units: deque[float] = deque()

    def add(self, units: float) -> None:
        """Count units that were served just now."""
        now = self._clock.monotonic()
        if self._moments and now - self._moments[-1] < _GRAIN_SECONDS:
            self._units[-1] += units
            return
        self._forget(now)
        self._moments.append(now)
        self._units.append(units)
        if self._began is None:
            self._began = now

    def per_second(self) -> float:
        """Return the average over the last seconds; zero before there is a second to measure."""
        now = self._clock.monotonic()
        if self._began is None or now - self._began < _SHORTEST_SECONDS:
            return 0.0
        self._forget(now)
        return sum(self._units) / min(now - self._began, _WINDOW_SECONDS)

    def _forget(self, now: float) -> None:
        while self._moments and now - self._moments[0] > _WINDOW_SECONDS:
            self._moments.popleft()
            self._units.popleft()
