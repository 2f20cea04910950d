"""How often and after how long something is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Source: AWS's guidance on retries, "Exponential Backoff And Jitter": a uniformly random share of a
    doubling, capped delay spreads clients that were throttled together.

    Attributes:
        attempts: how often a call that fails in passing is tried in all.
        silences: how often it is tried in all when nothing answers: no connection, or a time-out.
        patience: seconds for which a throttled call, or a batch of which nothing is processed, is tried
            again. A table out of capacity recovers in its own time, however often it is asked.
        first: seconds that the first delay is at most.
        longest: seconds that any delay is at most.
        random: where the jitter comes from.
    """

    attempts: int = 12
    silences: int = 12
    patience: float = 300.0
    first: float = 0.05
    longest: float = 10.0
    random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after failed attempt number ``attempt``, counted from 1."""
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt - 1, 30))
        return self.random.uniform(0.0, ceiling)
