"""Serves something asynchronous on an event loop of its own, so that a test may block meanwhile."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")

PATIENCE_SECONDS = 30.0


@contextmanager
def in_thread(server: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter and leave an asynchronous context in a thread; what it left running is cancelled at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server")
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(PATIENCE_SECONDS)
        asyncio.run_coroutine_threadsafe(_leave(server), loop).result(PATIENCE_SECONDS)
    finally:
        asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(PATIENCE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_SECONDS)
        loop.close()


async def _leave(server: AbstractAsyncContextManager[T]) -> None:
    await server.__aexit__(None, None, None)


async def _end_tasks() -> None:
    """Cancel what still answers somebody who has gone."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
