"""Chooses a random share of a table's segments, and says what finding drift in so many of them proves.

The segment is the unit of the sample, not the item: drift clusters (a shard that was skipped, an hour
that got lost), and items of one segment are anything but independent of each other.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Literal

from asyncrep.errors import UsageError
from asyncrep.model import Segment

if TYPE_CHECKING:
    from asyncrep.model import TableSettings
    from asyncrep.options import Sample

CONFIDENCE = 0.95

_SEGMENT_BYTES = 256 * 1024
_SEGMENT_ITEMS = 500
_LEAST_SEGMENTS = 2_000
_MOST_SEGMENTS = 1_000_000  # what a Scan takes

_RESOLUTION = 1e-7  # the logarithms of the factorials of a million are that exact, and ten times more
_NEGLIGIBLE = 1e-17


def tiny_segments(settings: TableSettings) -> int:
    """Return into how many segments a table is cut to sample it: thousands, of about 256 KB or 500 items."""
    wanted = math.ceil(max(settings.size_bytes / _SEGMENT_BYTES, settings.item_count / _SEGMENT_ITEMS))
    return min(max(wanted, _LEAST_SEGMENTS), _MOST_SEGMENTS)


def sampled_segments(sample: Sample, total: int) -> list[Segment]:
    """Choose the segments of a sample, at least one, each as likely as any other.

    Raises:
        UsageError: there is only one segment to choose from.
    """
    if total == 1:
        raise UsageError("A sample is a share of many segments: leave --segments out, or give more than one.")
    number = max(1, round(sample.share * total))
    chosen = random.Random(sample.seed).sample(range(total), number)
    return [Segment(index, total) for index in chosen]


def most_drifted(drifted: int, sampled: int, total: int, confidence: float = CONFIDENCE) -> int:
    """Return how many of ``total`` segments hold drift at most, with the given confidence.

    The exact one-sided bound of sampling without replacement: the largest number with which ``drifted`` or
    fewer among ``sampled`` would still turn up in more than 5 % of all samples. Source: the Clopper-Pearson
    interval, with the hypergeometric distribution in place of the binomial one.
    """
    # Floats miss a chance of just 5 % by less than this; it is no more than 5 % either way.
    chance = (1 - confidence) * (1 + _RESOLUTION)
    least, most = drifted, total - (sampled - drifted)
    while least < most:
        middle = (least + most + 1) // 2
        if _at_most(drifted, sampled, middle, total) > chance:
            least = middle
        else:
            most = middle - 1
    return least


def _at_most(found: int, sampled: int, drifted: int, total: int) -> float:
    """Return how likely a sample holds ``found`` or fewer of the ``drifted`` among ``total`` segments.

    Summed away from the likeliest number, so that the terms only get smaller and few of them count.
    """
    likeliest = (sampled + 1) * (drifted + 1) // (total + 2)
    if found >= likeliest:
        return 1.0 - _sum(found + 1, 1, sampled, drifted, total)
    return _sum(found, -1, sampled, drifted, total)


def _sum(number: int, step: Literal[-1, 1], sampled: int, drifted: int, total: int) -> float:
    """Return how likely a sample holds ``number`` of the drifted segments, or any number beyond it."""
    lowest, highest = max(0, sampled - (total - drifted)), min(drifted, sampled)
    if not lowest <= number <= highest:
        return 0.0
    rest = (
        total - drifted - sampled
    )  # of segments that are neither drifted nor sampled, were all drifted sampled
    chance = math.exp(
        _log_choose(drifted, number)
        + _log_choose(total - drifted, sampled - number)
        - _log_choose(total, sampled)
    )
    likelihood = 0.0
    while lowest <= number <= highest and chance > likelihood * _NEGLIGIBLE:
        likelihood += chance
        if step > 0:
            chance *= (drifted - number) / (number + 1) * (sampled - number) / (rest + number + 1)
        else:
            chance *= number / (drifted - number + 1) * (rest + number) / (sampled - number + 1)
        number += step
    return likelihood


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
