"""Chooses a random share of a table's segments, and says what finding drift in so many of them proves.

The segment is the unit of the sample, not the item: drift clusters (a shard that was skipped, an hour
that got lost), and items of one segment are anything but independent of each other.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

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
    least, most = drifted, total - (sampled - drifted)
    while least < most:
        middle = (least + most + 1) // 2
        if _at_most(drifted, sampled, middle, total) > 1 - confidence:
            least = middle
        else:
            most = middle - 1
    return least


def _at_most(found: int, sampled: int, drifted: int, total: int) -> float:
    """Return how likely a sample holds ``found`` or fewer of the ``drifted`` among ``total`` segments."""
    ways = _log_choose(total, sampled)
    return sum(
        math.exp(_log_choose(drifted, number) + _log_choose(total - drifted, sampled - number) - ways)
        for number in range(max(0, sampled - (total - drifted)), min(found, drifted, sampled) + 1)
    )


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
