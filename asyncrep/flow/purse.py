"""Money: what a run has spent, and may still spend; reserved before a call and settled after it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from asyncrep.errors import BudgetExhaustedError


class Purse:
    """The dollars of one run.

    Before a call the most that it can cost is reserved, so that the limit is never passed. A call that
    does not fit waits for what others give back of their reservations.

    Args:
        limit: dollars that may be spent, None for no limit.

    Attributes:
        spent: dollars spent so far.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.spent = 0.0
        self._limit = limit
        self._reserved = 0.0
        self._given_back = asyncio.Event()

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to look after."""
        return self._limit is not None

    async def reserve(self, dollars: float) -> None:
        """Put ``dollars`` aside for a call.

        Raises:
            BudgetExhaustedError: they are not there, and nobody will give any back.
        """
        if self._limit is None:
            return
        while self.spent + self._reserved + dollars > self._limit:
            if not self._reserved:
                raise BudgetExhaustedError(
                    f"The next request could pass the budget of ${self._limit:.6g}: ${self.spent:.6g} is spent."
                )
            self._given_back.clear()
            await self._given_back.wait()
        self._reserved += dollars

    def give_back(self, dollars: float) -> None:
        """End a reservation; what the call really cost is spent on its own."""
        if self._limit is not None:
            self._reserved = max(0.0, self._reserved - dollars)
            self._given_back.set()

    def spend(self, dollars: float) -> None:
        """Take note of what was spent."""
        self.spent += dollars


@dataclass(frozen=True, slots=True)
class Account:
    """The purse as one table's requests see it: what a unit of theirs costs.

    Attributes:
        read: dollars for each read request unit; zero where requests are not billed.
        write: dollars for each write request unit.
    """

    purse: Purse
    read: float = 0.0
    write: float = 0.0
