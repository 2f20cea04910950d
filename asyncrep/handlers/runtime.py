"""What lives as long as a Lambda container: one event loop, and what was opened on it."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Hashable
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")

Handler = Callable[[Any, Any], dict[str, Any]]
"""What Lambda calls, with an event and a context."""

_MOST_KEPT = 64
"""Things that are open at the same time. What was opened first is closed for the one above it."""


class Container:
    """One event loop for all invocations, and what they have opened on it.

    Clients belong to the loop that they were made on: ``asyncio.run`` would leave each invocation with
    those of a loop that is closed.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._kept: dict[Hashable, tuple[Any, AsyncExitStack]] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end.

        What an invocation before it has left behind, because it was torn out of the loop, is cancelled and
        waited for first.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            self._runner.run(_end_what_was_left())
        except BaseException:
            coroutine.close()
            raise
        return self._runner.run(coroutine)

    async def kept(self, key: Hashable, opener: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """Return what is open under a key; open it the first time. What cannot be opened is not kept."""
        if key not in self._kept:
            while len(self._kept) >= _MOST_KEPT:
                await self.forget(next(iter(self._kept)))
            async with AsyncExitStack() as stack:
                opened = await stack.enter_async_context(opener())
                self._kept[key] = opened, stack.pop_all()
        value: T = self._kept[key][0]
        return value

    async def forget(self, key: Hashable) -> None:
        """Close what is open under a key, so that it is opened anew."""
        _, stack = self._kept.pop(key, (None, None))
        if stack is not None:
            await stack.aclose()

    def close(self) -> None:
        """Close everything; whatever runs next opens it again."""
        if self._runner is None:
            return
        self._runner.run(_end_what_was_left())
        for key in list(self._kept):
            self._runner.run(self.forget(key))
        self._runner.close()
        self._runner = None


@cache
def the_container() -> Container:
    """Return the container of this process."""
    container = Container()
    atexit.register(container.close)
    return container


async def _end_what_was_left() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)


def seconds_left(context: Any, *, share: float, most: float) -> float | None:
    """Return how long an invocation may work, None for as long as it takes: nobody tells when it will end.

    Args:
        context: Lambda's.
        share: of the time that is left, what is kept back to end in order.
        most: seconds that are kept back at the most.
    """
    tell = getattr(context, "get_remaining_time_in_millis", None)
    if tell is None:
        return None
    left: float = tell() / 1000
    return max(0.0, left - min(most, share * left))
