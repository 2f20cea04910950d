"""A virtual clock for many tasks at once: it moves on to whoever sleeps shortest."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class SharedClock:
    """A virtual clock for several sleepers: it moves on to the earliest of them when `run` is told to.

    Attributes:
        turns: turns of the loop that are enough for everybody in a queue to come forward.
    """

    def __init__(self, turns: int = 100) -> None:
        self.turns = turns
        self._now = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._now

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def run(self) -> None:
        """Pass the time until nobody sleeps any more."""
        await self._take_turns()
        while self._sleepers:
            self._now, _, woken = heapq.heappop(self._sleepers)
            if not woken.cancelled():
                woken.set_result(None)
            await self._take_turns()

    async def _take_turns(self) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)
