"""Whether the replica is asked: after it could not be reached it is left alone for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.progress import Note

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock
    from asyncrep.progress import Observer

LEFT_ALONE_SECONDS = 10.0


class Outage:
    """What is known of a replica's being out of reach; told once when it begins and once when it is over."""

    def __init__(self, label: str, clock: Clock, observer: Observer) -> None:
        self._label = label
        self._clock = clock
        self._observer = observer
        self._ask_again_at: float | None = None

    def may_ask(self) -> bool:
        """Tell whether to ask the replica; of many who come after a while, the first one is to try."""
        if self._ask_again_at is None:
            return True
        if self._clock.monotonic() < self._ask_again_at:
            return False
        self._ask_again_at = self._clock.monotonic() + LEFT_ALONE_SECONDS
        return True

    def began(self, reason: Exception) -> None:
        """Note that the replica could not be reached."""
        if self._ask_again_at is None:
            message = (
                f"The replica {self._label} cannot be reached; reads go to the primary meanwhile. {reason}"
            )
            self._observer.notice(Note(message))
        self._ask_again_at = self._clock.monotonic() + LEFT_ALONE_SECONDS

    def is_over(self) -> None:
        """Note that the replica answered."""
        if self._ask_again_at is not None:
            self._ask_again_at = None
            self._observer.notice(Note(f"The replica {self._label} answers again."))
