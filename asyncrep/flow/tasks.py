"""Runs coroutines side by side so that none is left behind, and one error stays one error."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

P = ParamSpec("P")
T = TypeVar("T")


async def side_by_side(coroutines: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Run all coroutines at once and return their results in order.

    When one fails the others are cancelled and waited for, and its exception is raised as it is, not
    within an exception group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except* Exception as failures:  # noqa: BLE001 - raised again at once, only unwrapped
        first = _first(failures)
        raise first from first.__cause__
    return [task.result() for task in tasks]


async def until(event: asyncio.Event, coroutine: Coroutine[object, object, T]) -> T | None:
    """Run a coroutine until an event is set; then it is cancelled, unless it has ended, and None returned.

    What the coroutine raises is raised as it is.
    """
    try:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(coroutine)
            watch = group.create_task(event.wait())
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            work.cancel()
            watch.cancel()
    except* Exception as failures:  # noqa: BLE001 - raised again at once, only unwrapped
        first = _first(failures)
        raise first from first.__cause__
    return None if work.cancelled() else work.result()


@asynccontextmanager
async def beside(coroutine: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run a coroutine beside the block; whichever ends first ends the other, once the block has an error.

    When the coroutine fails, the block is cancelled and the error is raised as it is.
    """
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(coroutine)
            try:
                yield
            finally:
                task.cancel()
    except* Exception as failures:  # noqa: BLE001 - raised again at once, only unwrapped
        first = _first(failures)
        raise first from first.__cause__


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a group of tasks whose first error is raised as it is, not within an exception group."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except* Exception as failures:  # noqa: BLE001 - raised again at once, only unwrapped
        first = _first(failures)
        raise first from first.__cause__


async def to_its_end(coroutine: Coroutine[object, object, T], seconds: float | None = None) -> T:
    """Run what must not be torn in two: when this is cancelled it still ends, and only then is this cancelled.

    Args:
        coroutine: what is run, in a task of its own.
        seconds: how long it may go on when this has been cancelled; after that it is cancelled as well. None
            for as long as it takes.
    """
    working = asyncio.ensure_future(coroutine)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        loop = asyncio.get_running_loop()
        limit = None if seconds is None else loop.call_later(seconds, working.cancel)
        while not working.done():
            with suppress(asyncio.CancelledError):  # as impatient as somebody may be
                await asyncio.wait([working])
        if limit is not None:
            limit.cancel()
        if not working.cancelled():
            working.exception()  # it was seen
        raise


async def in_thread(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run a function in a thread, to its end even when this is cancelled meanwhile."""
    return await to_its_end(asyncio.to_thread(function, *arguments, **options))


def _first(failures: BaseExceptionGroup[Exception]) -> Exception:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
