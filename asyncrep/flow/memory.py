"""Bounds the bytes that a stage holds, when nobody knows beforehand how many it will read."""

from __future__ import annotations

import asyncio

_LARGEST_ITEM = 400 * 1024
"""What a DynamoDB item has at most."""


class Reservation:
    """The bytes that one task holds, or may come to hold."""

    def __init__(self, ledger: Ledger, size: float) -> None:
        self._ledger = ledger
        self._size = size

    def becomes(self, size: float) -> None:
        """Replace the estimate by what is really held; never waits."""
        self._ledger.move(size - self._size)
        self._size = size

    def release(self) -> None:
        """Give everything back; the task holds nothing any more."""
        self._ledger.leave(self._size)
        self._size = 0.0


class Ledger:
    """Lets tasks in while what all of them hold stays within ``capacity`` bytes.

    How much a task will hold is known only once it has read it. Until the first one has, the worst is
    assumed, which lets in one task alone; after that, what was seen is expected again.
    """

    def __init__(self, capacity: float) -> None:
        self._capacity = capacity
        self._held = 0.0
        self._tasks = 0
        self._expected: float | None = None
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def expected(self) -> float | None:
        """Bytes that a record is expected to hold; None until one was seen."""
        return self._expected

    async def reserve(self, records: int) -> Reservation:
        """Wait for room for ``records`` records, first come, first served."""
        async with self._turn:
            while self._tasks and self._held + self._estimate(records) > self._capacity:
                self._room.clear()
                await self._room.wait()
            size = self._estimate(records)
            self._tasks += 1
            self._held += size
        return Reservation(self, size)

    def learn(self, bytes_per_record: float) -> None:
        """Take note of what records really hold; large ones are remembered longer than small ones."""
        before = self._expected
        self._expected = bytes_per_record if before is None else max(bytes_per_record, before * 0.8)
        self._room.set()

    def move(self, size: float) -> None:
        """Book a change of what is held."""
        self._held += size
        self._room.set()

    def leave(self, size: float) -> None:
        """Book the end of a task."""
        self._tasks -= 1
        self.move(-size)

    def _estimate(self, records: int) -> float:
        each = 2 * _LARGEST_ITEM if self._expected is None else self._expected
        return records * each
