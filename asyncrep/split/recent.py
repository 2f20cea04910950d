"""Remembers for a while what was written, in bounded memory; in doubt it says that something was."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from asyncrep.flow.clock import Clock

KeyValues = tuple["Hashable", ...]
"""The values of a key's attributes, the hash key's first."""

MOST_KEYS = 100_000


class RecentWrites:
    """The keys that were written within the last ``seconds``.

    Of more than ``most`` keys the oldest are not remembered one by one: until their time is over, any key
    may have been written.
    """

    def __init__(self, seconds: float, clock: Clock, most: int = MOST_KEYS) -> None:
        self._seconds = seconds
        self._clock = clock
        self._keys = _Moments(most)
        self._hashes = _Moments(most)

    def note(self, key: KeyValues) -> None:
        """Note that the item of this key was written just now, or may have been."""
        now = self._clock.monotonic()
        for moments, value in ((self._keys, key), (self._hashes, key[0])):
            moments.note(value, now, now + self._seconds)

    def has(self, key: KeyValues) -> bool:
        """Tell whether the item of this key may have been written lately."""
        return self._keys.has(key, self._clock.monotonic())

    def has_under(self, hash_value: Hashable) -> bool:
        """Tell whether any item with this value of the hash key may have been written lately."""
        return self._hashes.has(hash_value, self._clock.monotonic())

    def has_any(self) -> bool:
        """Tell whether anything was written lately."""
        return self._keys.has_any(self._clock.monotonic())


class _Moments:
    """Until when each value counts, in the order in which they end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ends: OrderedDict[Hashable, float] = OrderedDict()
        self._unknown_until = float("-inf")

    def note(self, value: Hashable, now: float, until: float) -> None:
        self._ends[value] = until
        self._ends.move_to_end(value)
        while self._ends and next(iter(self._ends.values())) <= now:
            self._ends.popitem(last=False)
        while len(self._ends) > self._most:
            _, self._unknown_until = self._ends.popitem(last=False)

    def has(self, value: Hashable, now: float) -> bool:
        return now < max(self._ends.get(value, self._unknown_until), self._unknown_until)

    def has_any(self, now: float) -> bool:
        last = next(reversed(self._ends.values()), self._unknown_until)
        return now < max(last, self._unknown_until)
