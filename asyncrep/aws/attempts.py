"""Tries a call again that can be tried again, for services and clients that have no budget to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from asyncrep.aws.errors import Cure, cure, is_silence, raise_translated
from asyncrep.flow.patience import paused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncrep.flow.clock import Clock
    from asyncrep.flow.retry import RetryPolicy

T = TypeVar("T")


async def retried(
    operation: str, place: str, attempt: Callable[[], Awaitable[T]], retry: RetryPolicy, clock: Clock
) -> T:
    """Run ``attempt`` until it succeeds, fails for good, or the retry policy gives up.

    Args:
        operation: as its service names it, for messages.
        place: what it is called on, for messages.
        attempt: makes the call once.
        retry: how often and after how long it is tried again.
        clock: passes the time between tries.

    Raises:
        ServiceError: the call failed for good. With ``maybe_done`` a try got no answer.
    """
    failures = silences = throttles = 0
    waited = 0.0
    lost = False
    while True:
        try:
            return await attempt()
        except Exception as error:  # noqa: BLE001 - raised again, or tried again
            remedy = cure(error)
            if remedy is Cure.SLOW_DOWN:
                throttles += 1
                hopeless = waited >= retry.patience
            else:
                failures += 1
                silences += is_silence(error)
                lost = lost or remedy is Cure.RETRY
                hopeless = remedy is Cure.NONE or failures >= retry.attempts or silences >= retry.silences
            delay = retry.delay(failures + throttles)
            if hopeless or not await paused(clock, delay):
                raise_translated(error, operation, place, maybe_done=lost)
            waited += delay
