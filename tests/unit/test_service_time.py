"""The time at a service follows its answers' dates, and leaves clocks alone that agree."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import VirtualClock
from asyncrep.aws.service_time import ServiceTime

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = 1_700_000_000.0


def dated(seconds: float) -> dict[str, Any]:
    """An answer of that time."""
    return {"ResponseMetadata": {"HTTPHeaders": {"date": formatdate(int(seconds), usegmt=True)}}}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOON + 0.9)


@pytest.mark.parametrize("ahead", [-3600, -30, 30, 3600])
def test_a_clock_that_is_wrong_is_put_right_within_a_second(clock: VirtualClock, ahead: int) -> None:
    time = ServiceTime(clock)
    time.learn(dated(clock.now() + ahead), clock.now())
    assert abs(time.now() - clock.now() - ahead) <= 1.0


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_clock_that_is_right_is_left_as_it_is(part: float) -> None:
    clock = VirtualClock(NOON + part)
    time = ServiceTime(clock)
    time.learn(dated(clock.now()), clock.now())
    assert time.now() == clock.now()


async def test_a_slow_answer_says_little(clock: VirtualClock) -> None:
    time = ServiceTime(clock)
    asked_at = clock.now()
    await clock.sleep(20.0)
    time.learn(dated(asked_at + 3.0), asked_at)
    assert time.now() == clock.now()


@pytest.mark.parametrize("answer", [dict, lambda: {"ResponseMetadata": {"HTTPHeaders": {"date": "soon"}}}])
def test_answers_without_a_date_say_nothing(clock: VirtualClock, answer: Callable[[], Any]) -> None:
    time = ServiceTime(clock)
    time.learn(answer(), clock.now())
    assert time.now() == clock.now()


def test_a_clock_that_was_put_right_is_followed(clock: VirtualClock) -> None:
    time = ServiceTime(clock)
    time.learn(dated(clock.now() + 3600), clock.now())
    time.learn(dated(clock.now()), clock.now())
    assert abs(time.now() - clock.now()) <= 1.0
