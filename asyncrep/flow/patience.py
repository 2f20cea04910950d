"""Ends the trying again of whoever is to stop: what is sent is still answered, what failed is left as it is."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from asyncrep.flow.tasks import until

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from asyncrep.flow.clock import Clock

_ending: ContextVar[asyncio.Event | None] = ContextVar("_ending", default=None)


@contextmanager
def patient_until(ending: asyncio.Event) -> Iterator[None]:
    """Have calls within the block, also of tasks that it starts, tried again only until ``ending`` is set."""
    token = _ending.set(ending)
    try:
        yield
    finally:
        _ending.reset(token)


async def paused(clock: Clock, seconds: float) -> bool:
    """Let time pass between two tries of a call; return whether it is worth another one."""
    ending = _ending.get()
    if ending is None:
        await clock.sleep(seconds)
        return True
    if not ending.is_set():
        await until(ending, clock.sleep(seconds))
    return not ending.is_set()
