"""Backoff: bounded, doubling, jittered, repeatable."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.flow.retry import RetryPolicy
from tests.support.strategies import thoroughly

seconds = st.floats(0.001, 100.0)


@thoroughly
@given(seconds, seconds, st.integers(1, 10_000))
def test_no_delay_is_negative_or_beyond_its_bounds(first, longest, attempt):
    delay = RetryPolicy(first=first, longest=longest).delay(attempt)
    assert 0.0 <= delay <= longest
    assert attempt > 60 or delay <= first * 2 ** (attempt - 1)


@pytest.mark.parametrize("attempt", [1, 2, 3, 5, 8, 20, 5_000])
def test_delays_are_spread_over_the_whole_range(attempt):
    policy = RetryPolicy(first=0.05, longest=10.0, random=random.Random(1))
    ceiling = min(10.0, 0.05 * 2.0 ** min(attempt - 1, 50))
    delays = [policy.delay(attempt) / ceiling for _ in range(1_000)]
    assert min(delays) < 0.02
    assert max(delays) > 0.98
    assert 0.45 < sum(delays) / len(delays) < 0.55


def test_the_same_seed_gives_the_same_delays_and_another_gives_others():
    def delays(seed):
        policy = RetryPolicy(random=random.Random(seed))
        return [policy.delay(attempt) for attempt in range(1, 10)]

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)


def test_two_policies_are_not_in_step():
    left, right = RetryPolicy(), RetryPolicy()
    assert left == right
    assert [left.delay(5) for _ in range(3)] != [right.delay(5) for _ in range(3)]
