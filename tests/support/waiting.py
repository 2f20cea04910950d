"""Waits for what other tasks bring about, without a time of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TURNS = 100_000


async def until(is_so: Callable[[], object]) -> None:
    """Give other tasks turns of the loop until something is so; the test fails when it never is."""
    for _ in range(_TURNS):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("what was waited for did not happen")
