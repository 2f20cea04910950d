"""Stages in order: what follows is opened, and listed, ahead, and nothing is left running."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from asyncrep.flow.stages import ahead, joined

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


async def test_joined_sources_come_in_their_order_and_are_opened_ahead() -> None:
    opened: list[int] = []

    async def numbers(source: int) -> AsyncIterator[int]:
        opened.append(source)
        await asyncio.sleep(0.001 * (3 - source))
        for number in range(3):
            yield source * 10 + number

    async with joined([0, 1, 2, 3], numbers, 3).stream() as stream:
        assert [number async for number in stream] == [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]
    assert opened == [0, 1, 2, 3]


async def test_so_many_elements_are_taken_ahead_and_no_more() -> None:
    taken: list[int] = []

    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(100):
            taken.append(number)
            yield number

    async with aclosing(ahead(numbers(), 5)) as elements:
        assert await anext(elements) == 0
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(taken) == 7  # one that was asked for, five that wait, and one that waits to wait
        assert [each async for each in elements] == list(range(1, 100))


async def test_an_error_of_what_is_taken_ahead_comes_after_what_was_there_before_it() -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise LookupError

    seen: list[int] = []

    async def take() -> None:
        async for each in ahead(numbers(), 10):
            seen.append(each)  # noqa: PERF401 - it ends with an error

    with pytest.raises(LookupError):
        await take()
    assert seen == [1, 2]


async def test_what_is_taken_ahead_is_closed_when_nobody_wants_more() -> None:
    closed = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in range(100):
                yield number
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async with aclosing(ahead(numbers(), 5)) as elements:
        async for _ in elements:
            break
    assert closed == [True]
    assert len(asyncio.all_tasks()) == 1
