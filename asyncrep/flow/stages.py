"""Stages of the pipeline on top of aiostream: its elements are pages and batches, never single items."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aiostream import pipable_operator, pipe, stream, streamcontext

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Sequence,
    )

    from aiostream.core import Stream

    from asyncrep.flow.clock import Clock

T = TypeVar("T")
U = TypeVar("U")


def merged(sources: Sequence[T], open_source: Callable[[T], AsyncIterable[U]], at_once: int) -> Stream[U]:
    """Run ``open_source`` over all sources, ``at_once`` at a time, and merge what they yield.

    When there are more sources than may be open, their order is shuffled: neighbouring segments of a
    table are likely to lie in one partition, and reading one partition at a time would be slow. The
    shuffle is the same for the same number of sources, so that runs can be repeated.
    """
    if not sources:
        return cast("Stream[U]", stream.empty())
    if len(sources) <= at_once:
        return stream.merge(*map(open_source, sources))
    shuffled = list(sources)
    random.Random(len(shuffled)).shuffle(shuffled)
    return stream.iterate(shuffled) | pipe.flatmap(cast("Any", open_source), task_limit=at_once)


def joined(sources: Sequence[T], open_source: Callable[[T], AsyncIterable[U]], at_once: int) -> Stream[U]:
    """Run ``open_source`` over all sources and yield what they do in their order.

    Of the sources that follow the present one, ``at_once`` with it, the first element is asked for already.
    """
    return stream.iterate(sources) | pipe.concatmap(cast("Any", open_source), task_limit=at_once)


async def ahead(source: AsyncGenerator[T, None], most: int) -> AsyncGenerator[T, None]:
    """Yield what a source does, of which up to ``most`` elements are taken before anybody asks for them."""
    waiting: asyncio.Queue[T | _End] = asyncio.Queue(most)

    async def fill() -> None:
        end = _End()
        try:
            async with aclosing(source):
                async for element in source:
                    await waiting.put(element)
        except Exception as error:  # noqa: BLE001 - it is raised where the elements are taken
            end = _End(error)
        await waiting.put(end)

    # Whoever takes an element may do so in a task of its own, so that no group of tasks can hold this one.
    filling = asyncio.ensure_future(fill())
    try:
        while not isinstance(element := await waiting.get(), _End):
            yield element
        if element.error is not None:
            raise element.error
    finally:
        filling.cancel()
        await asyncio.wait([filling])


@dataclass(frozen=True, slots=True)
class _End:
    """What follows the last element: why there are no more, if that is an error."""

    error: Exception | None = None


def mapped(
    source: Stream[T], function: Callable[[T], Awaitable[U]], at_once: int, *, ordered: bool = False
) -> Stream[U]:
    """Apply a coroutine function to every element, ``at_once`` at a time, results as they come or in order."""
    return source | pipe.map(cast("Any", function), ordered=ordered, task_limit=at_once)


def split(source: Stream[T], cut: Callable[[T], Iterable[U]]) -> Stream[U]:
    """Cut every element into pieces and pass them on one by one, each made when it is asked for."""
    return source | _split.pipe(cast("Any", cut))


def gathered(source: Stream[list[T]], gathering: Gathering[T], clock: Clock) -> Stream[list[T]]:
    """Gather small lists into fuller ones."""
    return source | _gather.pipe(cast("Any", gathering), clock)


@dataclass(frozen=True, slots=True)
class Gathering(Generic[T]):
    """When a gathered list is passed on; whatever is left is passed on at the end.

    Attributes:
        most: elements a list may have.
        heaviest: what its elements may weigh together, but for the last.
        weigh: tells the weight of one element.
        linger: seconds that an element waits for company. Time is looked at when something arrives,
            also an empty list, so that no timer is needed.
    """

    most: int
    heaviest: float
    weigh: Callable[[T], float]
    linger: float


@pipable_operator
async def _split(source: AsyncIterable[T], cut: Callable[[T], Iterable[U]]) -> AsyncIterator[U]:
    async with streamcontext(source) as elements:
        async for element in elements:
            for piece in cut(element):
                yield piece


@pipable_operator
async def _gather(
    source: AsyncIterable[list[T]], gathering: Gathering[T], clock: Clock
) -> AsyncIterator[list[T]]:
    group: list[T] = []
    weight = since = 0.0
    async with streamcontext(source) as lists:
        async for elements in lists:
            for element in elements:
                since = since if group else clock.monotonic()
                group.append(element)
                weight += gathering.weigh(element)
                if len(group) >= gathering.most or weight >= gathering.heaviest:
                    yield group
                    group, weight = [], 0.0
            if group and clock.monotonic() - since >= gathering.linger:
                yield group
                group, weight = [], 0.0
    if group:
        yield group
