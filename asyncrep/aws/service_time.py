"""Tells what time it is at a service, whose clock stamps what it keeps: ours may be set otherwise."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock

_PRECISION = 1.0
"""A Date header tells whole seconds, the rest is cut off."""


class ServiceTime:
    """The time at a service, as the Date headers of its answers tell it.

    An answer bounds by how much the clocks differ: it was dated between call and return. The difference that
    is taken for true moves only as far as the last answer demands it, so that clocks which agree, within a
    second and however slow the answers are, are left as they are.

    Args:
        clock: ours.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = 0.0

    def now(self) -> float:
        """Return the seconds since the epoch there; before the first answer, those of our clock."""
        return self._clock.now() + self._ahead

    def learn(self, answer: Any, asked_at: float) -> None:
        """Take note of when an answer was given, if it tells.

        Args:
            answer: as botocore returns it.
            asked_at: our clock's time before the call.
        """
        dated = _dated(answer)
        if dated is not None:
            least, most = dated - self._clock.now(), dated + _PRECISION - asked_at
            self._ahead = max(least, min(self._ahead, most))


def _dated(answer: Any) -> float | None:
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
