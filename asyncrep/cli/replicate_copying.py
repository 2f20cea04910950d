"""Logs how the copying of items gets on that comes before following, where nobody watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.progress import Advanced, Note, PassEnded, PassStarted
from asyncrep.replicate.events import Remark

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock
    from asyncrep.progress import Event
    from asyncrep.replicate.events import Tell

PROGRESS_SECONDS = 60.0
"""How often is told how far it is."""


class CopyLog:
    """An observer that makes remarks in a worker's log.

    Args:
        tell: takes note of remarks.
        clock: tells when the next one is due.
    """

    def __init__(self, tell: Tell, clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._told = clock.monotonic()
        self._items = 0
        self._total = ""

    def notice(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case Note(message):
                self._tell(Remark(message))
            case PassStarted(_, estimate):
                self._items, self._total = 0, "" if estimate is None else f" of about {estimate:,}"
            case Advanced(_, items):
                self._items += items
                if self._clock.monotonic() >= self._told + PROGRESS_SECONDS:
                    self._say(f"{self._items:,}{self._total} items are copied.")
            case PassEnded():
                self._say(f"{self._items:,} items are copied.")
            case _:
                pass

    def _say(self, sentence: str) -> None:
        self._told = self._clock.monotonic()
        self._tell(Remark(sentence))
