"""Stages of the pipeline on top of aiostream: its elements are pages and batches, never single items."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aiostream import pipable_operator, pipe, stream, streamcontext

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence

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


def mapped(source: Stream[T], function: Callable[[T], Awaitable[U]], at_once: int) -> Stream[U]:
    """Apply a coroutine function to every element, ``at_once`` at a time, results as they come."""
    return source | pipe.map(cast("Any", function), ordered=False, task_limit=at_once)


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
