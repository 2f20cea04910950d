"""Money: what a run has spent, and may still spend; reserved before a call and settled after it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from asyncrep.errors import BudgetExhaustedError


def in_dollars(amount: float) -> str:
    """Return an amount as people write it, also a tiny one: $12.30, $0.00002225."""
    if not 0 < amount < 1:
        return f"${amount:,.2f}"
    return f"${amount:.{3 - math.floor(math.log10(amount))}f}"


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
        self._reservations = 0
        self._forfeited = 0.0
        self._given_back = asyncio.Event()

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to look after."""
        return self._limit is not None

    @property
    def free(self) -> float:
        """Dollars that are neither spent nor put aside; endless without a limit."""
        return math.inf if self._limit is None else max(0.0, self._limit - self.spent - self._reserved)

    async def reserve(self, dollars: float) -> None:
        """Put ``dollars`` aside for a call.

        Raises:
            BudgetExhaustedError: they are not there, and nobody will give any back.
        """
        if self._limit is None:
            return
        while self.spent + self._forfeited + self._reserved + dollars > self._limit:
            if not self._reservations:
                raise BudgetExhaustedError(
                    f"The next request could pass the budget of {in_dollars(self._limit)}: "
                    f"{in_dollars(self.spent)} is spent."
                )
            self._given_back.clear()
            await self._given_back.wait()
        self._reserved += dollars
        self._reservations += 1

    def give_back(self, dollars: float) -> None:
        """End a reservation; what the call really cost is spent on its own."""
        if self._limit is not None:
            self._end(dollars)

    def forfeit(self, dollars: float) -> None:
        """End the reservation of a call that nobody waits for any more: what it cost will not be known.

        Nobody else may have its dollars, as the service may have charged them.
        """
        if self._limit is not None:
            self._forfeited += dollars
            self._end(dollars)

    def _end(self, dollars: float) -> None:
        self._reservations -= 1
        # What is added and taken away again leaves a rest, and then all would wait for nobody.
        self._reserved = self._reserved - dollars if self._reservations else 0.0
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
        indexes: secondary indexes of the table, which take write units of their own.
    """

    purse: Purse
    read: float = 0.0
    write: float = 0.0
    indexes: int = 0
