"""A sample's bound holds as often as it says, and the choice of segments is fair."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest

from asyncrep import Segment
from asyncrep.diff.sample import most_drifted, sampled_segments, tiny_segments
from asyncrep.errors import UsageError
from asyncrep.options import Sample
from tests.unit.test_account import SETTINGS

FIVE_PERCENT = Fraction(1, 20)


@cache
def exactly(found: int, sampled: int, drifted: int, total: int) -> Fraction:
    """The chance that a sample holds exactly so many of the drifted segments."""
    ways = math.comb(drifted, found) * math.comb(total - drifted, sampled - found)
    return Fraction(ways, math.comb(total, sampled))


def at_most(found: int, sampled: int, drifted: int, total: int) -> Fraction:
    return sum((exactly(number, sampled, drifted, total) for number in range(found + 1)), Fraction(0))


def possible(sampled: int, drifted: int, total: int) -> range:
    """How many of the drifted segments a sample can hold."""
    return range(max(0, sampled - (total - drifted)), min(sampled, drifted) + 1)


CASES = [(total, sampled) for total in (1, 2, 3, 7, 20, 40) for sampled in range(1, total + 1)]


@pytest.mark.parametrize(("total", "sampled"), CASES)
def test_the_bound_is_the_largest_number_that_five_percent_of_samples_speak_for(
    total: int, sampled: int
) -> None:
    for found in range(sampled + 1):
        possible_numbers = range(found, total - (sampled - found) + 1)
        expected = max(
            number for number in possible_numbers if at_most(found, sampled, number, total) > FIVE_PERCENT
        )
        assert most_drifted(found, sampled, total) == expected


@pytest.mark.parametrize(("total", "sampled"), CASES)
def test_whatever_has_drifted_at_least_95_percent_of_samples_tell_a_bound_that_holds(
    total: int, sampled: int
) -> None:
    for drifted in range(total + 1):
        holding = sum(
            exactly(found, sampled, drifted, total)
            for found in possible(sampled, drifted, total)
            if most_drifted(found, sampled, total) >= drifted
        )
        assert holding >= 1 - FIVE_PERCENT


@pytest.mark.parametrize(
    ("total", "sampled", "drifted"),
    [(2_000, 100, 1), (2_000, 100, 60), (2_000, 20, 1_999), (100_000, 1_000, 300)],
)
def test_the_bound_holds_for_95_percent_of_drawn_samples(total: int, sampled: int, drifted: int) -> None:
    source = random.Random(total + sampled + drifted)
    samples = 2_000
    holding = sum(
        most_drifted(sum(each < drifted for each in source.sample(range(total), sampled)), sampled, total)
        >= drifted
        for _ in range(samples)
    )
    assert holding / samples >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / samples)


def test_known_bounds() -> None:
    assert most_drifted(0, 59, 10**6) / 10**6 == pytest.approx(0.0495, abs=2e-4)  # 1 - 0.05 ** (1 / 59)
    assert most_drifted(0, 300, 10**6) / 10**6 == pytest.approx(3 / 300, rel=0.01)  # the rule of three
    assert most_drifted(0, 19, 20) == 0  # one of twenty is left out in just 5 % of samples
    assert most_drifted(0, 18, 20) == 1


@pytest.mark.parametrize("total", [1, 2, 17, 2_000, 1_000_000])
def test_who_looks_at_everything_knows_exactly(total: int) -> None:
    for drifted in {0, 1, total // 3, total - 1, total}:
        assert most_drifted(drifted, total, total) == drifted


@pytest.mark.parametrize("sampled", [1, 10, 300, 1_999, 2_000])
def test_more_drift_found_never_means_less_drift_at_most(sampled: int) -> None:
    bounds = [most_drifted(found, sampled, 2_000) for found in range(sampled + 1)]
    assert bounds == sorted(bounds)
    assert all(found <= bound <= 2_000 - (sampled - found) for found, bound in enumerate(bounds))


@pytest.mark.parametrize("found", [0, 1, 10])
def test_a_larger_sample_with_the_same_drift_never_proves_less(found: int) -> None:
    bounds = [most_drifted(found, sampled, 2_000) for sampled in range(max(found, 1), 2_001)]
    assert bounds == sorted(bounds, reverse=True)


def test_the_largest_samples_are_judged_at_once_and_without_numeric_trouble() -> None:
    total, sampled = 1_000_000, 10_000
    numbers = [*range(0, 5_001, 250), 9_999, 10_000]
    slowest, bounds = 0.0, []
    for found in numbers:
        began = time.perf_counter()
        bounds.append(most_drifted(found, sampled, total))
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 0.05
    assert bounds == sorted(bounds)
    for found, bound in zip(numbers, bounds, strict=True):
        share, spread = found / sampled, 1.645 * math.sqrt(max(found, 1) * (1 - found / sampled)) / sampled
        assert found / sampled <= bound / total <= share + spread + 4 / sampled


# ── The choice ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("share", "total", "number"),
    [(0.01, 2_000, 20), (1, 2_000, 2_000), (0.5, 3, 2), (1e-9, 2_000, 1), (0.999, 2, 2), (0.1, 16, 2)],
)
def test_a_sample_has_its_share_of_distinct_segments_and_at_least_one(
    share: float, total: int, number: int
) -> None:
    chosen = sampled_segments(Sample(share), total)
    assert len(set(chosen)) == len(chosen) == number
    assert set(chosen) <= {Segment(index, total) for index in range(total)}


def test_a_seed_makes_the_choice_again_and_none_makes_another() -> None:
    assert sampled_segments(Sample(0.1, seed=7), 2_000) == sampled_segments(Sample(0.1, seed=7), 2_000)
    assert sampled_segments(Sample(0.1), 2_000) != sampled_segments(Sample(0.1), 2_000)


def test_every_segment_is_chosen_as_often_as_any_other() -> None:
    times = 4_000
    counts = Counter(
        segment.index for seed in range(times) for segment in sampled_segments(Sample(0.3, seed=seed), 10)
    )
    assert len(counts) == 10
    spread = 5 * math.sqrt(times * 0.3 * 0.7)
    assert all(abs(count - times * 0.3) < spread for count in counts.values())


def test_one_segment_is_no_choice() -> None:
    with pytest.raises(UsageError, match="A sample is a share of many segments"):
        sampled_segments(Sample(0.5), 1)


@pytest.mark.parametrize("share", [0, -0.1, 1.0001, 50, math.nan, math.inf, -math.inf])
def test_there_is_no_such_share(share: float) -> None:
    with pytest.raises(UsageError, match=r"must be above 0 and at most 1, not"):
        Sample(share)


@pytest.mark.parametrize(
    ("items", "size", "segments"),
    [
        (0, 0, 2_000),
        (5, 500, 2_000),
        (2_000_000, 1, 4_000),
        (1, 10 * 2**30, 40_960),
        (10**12, 2**50, 1_000_000),
    ],
)
def test_a_sampled_table_is_cut_into_thousands_of_small_segments(
    items: int, size: int, segments: int
) -> None:
    assert tiny_segments(replace(SETTINGS, item_count=items, size_bytes=size)) == segments
