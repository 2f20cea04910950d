"""Group commit: lines that are handed over at the same time are made durable by one write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from asyncrep.errors import AsyncrepError, JournalError

if TYPE_CHECKING:
    from collections.abc import Callable


class Medium(Protocol):
    """Where parts of a log are kept."""

    async def append(self, number: int, part: bytes) -> None:
        """Make a part durable, whole lines. A part whose number was appended before is there already.

        When it is cancelled the part is wholly there or not, and may be appended again.

        Raises:
            OSError, AsyncrepError: it could not be made durable.
        """


class Log:
    """Hands lines to a medium, in order, in as few parts as can be.

    There is no task in the background: who waits for a line writes all that was handed over until then,
    one at a time. When a part cannot be written nothing is any more.

    Args:
        medium: where the parts go.
        failed: makes the sentence of the error when one could not be written.
    """

    def __init__(self, medium: Medium, failed: Callable[[Exception], str]) -> None:
        self._medium = medium
        self._failed = failed
        self._turn = asyncio.Lock()
        self._waiting: list[bytes] = []
        self._added = 0
        self._durable = 0
        self._part: tuple[int, bytes, int] | None = None
        self._parts = 0
        self._error: JournalError | None = None

    def add(self, line: bytes) -> int:
        """Hand a line over and return its place; it is durable once that was reached."""
        if self._error is None:
            self._waiting.append(line)
        self._added += 1
        return self._added

    async def reach(self, place: int | None = None) -> None:
        """Wait until everything up to a place is durable; without one, everything handed over so far.

        Raises:
            JournalError: it cannot be made so.
        """
        place = self._added if place is None else place
        while self._durable < place:
            async with self._turn:
                if self._durable < place:
                    await asyncio.sleep(0)  # whoever is about to hand a line over does it now
                    await self._commit()

    async def _commit(self) -> None:
        if self._error is not None:
            # A new exception for each: one that is raised by many tasks would collect all their tracebacks.
            raise JournalError(str(self._error)) from self._error.__cause__
        if self._part is None:  # else a commit was cancelled, and nobody knows how far it had come
            self._parts += 1
            self._part = self._parts, b"".join(self._waiting), self._added
            self._waiting.clear()
        number, part, reached = self._part
        try:
            await self._medium.append(number, part)
        except (OSError, AsyncrepError) as error:
            self._error = JournalError(self._failed(error))
            self._waiting.clear()
            raise self._error from error
        self._part = None
        self._durable = reached
