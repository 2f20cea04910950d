"""A container keeps one loop and what is open on it; nothing of an invocation goes on in the next one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from asyncrep.handlers.runtime import seconds_left
from tests.support.lambdas import Context


class Openings:
    """Counts what is opened and closed."""

    def __init__(self):
        self.log = []

    @asynccontextmanager
    async def open(self, name):
        self.log.append(f"open {name}")
        yield f"{name} {id(asyncio.get_running_loop())}"
        self.log.append(f"close {name}")


@pytest.fixture
def openings():
    return Openings()


def test_all_invocations_share_one_loop_and_what_is_open(container, openings):
    found = {container.run(container.kept("a", lambda: openings.open("a"))) for _ in range(3)}
    assert (len(found), openings.log) == (1, ["open a"])


def test_what_cannot_be_opened_is_tried_again(container):
    @asynccontextmanager
    async def failing():
        raise ValueError("not now")
        yield

    for _ in range(2):
        with pytest.raises(ValueError, match="not now"):
            container.run(container.kept("a", failing))


def test_what_is_forgotten_is_closed_and_opened_anew(container, openings):
    for _ in range(2):
        container.run(container.kept("a", lambda: openings.open("a")))
        container.run(container.forget("a"))
    assert openings.log == ["open a", "close a"] * 2


def test_only_so_much_is_open_at_the_same_time(container, openings):
    for number in range(70):
        container.run(container.kept(number, lambda number=number: openings.open(number)))
    assert openings.log.count("close 5") == 1
    assert sum(line.startswith("close") for line in openings.log) == 6


class TornOutError(SystemExit):
    """As a signal's handler raises it, between two steps of the loop."""


def test_what_an_invocation_was_torn_out_of_does_not_go_on_in_the_next(container):
    ended, went_on = [], []

    async def background():
        try:
            await asyncio.sleep(0.01)
            went_on.append(True)
        finally:
            ended.append(True)

    async def invocation():
        async with asyncio.TaskGroup() as group:
            group.create_task(background())
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(_tear_out)
            await asyncio.sleep(60)

    def _tear_out():
        raise TornOutError

    with pytest.raises(TornOutError):
        container.run(invocation())
    assert not ended

    async def next_one():
        assert ended
        await asyncio.sleep(0.02)
        return len(asyncio.all_tasks())

    assert container.run(next_one()) == 1
    assert not went_on


def test_closing_closes_what_is_open_and_can_be_repeated(container, openings):
    container.run(container.kept("a", lambda: openings.open("a")))
    container.close()
    container.close()
    assert openings.log == ["open a", "close a"]


@pytest.mark.parametrize(("left", "expected"), [(60.0, 58.0), (10.0, 9.0), (1.0, 0.9), (0.0, 0.0)])
def test_a_part_of_the_time_is_kept_back(left, expected):
    seconds = seconds_left(Context(left), share=0.1, most=2.0)
    assert seconds == pytest.approx(expected, abs=0.05)


def test_nobody_knows_the_time_without_a_context():
    assert seconds_left(None, share=0.1, most=2.0) is None
    assert seconds_left(object(), share=0.1, most=2.0) is None
