"""A seed makes a world, and asyncrep keeps every promise in it.

Writers change both tables, replication lags and misses, answers get lost, and processes are ended at
random moments, while a repair runs; see ``tests/support/simulated``. Run other seeds with
``ASYNCREP_TEST_SEEDS=START:COUNT``; with a single seed, what happened in it is printed.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from tests.support.simulated.story import Story, play

SEEDS = os.environ.get("ASYNCREP_TEST_SEEDS")
_AT_ONCE = 20


def _chunks(seeds: range, *marks: pytest.MarkDecorator) -> list[Any]:
    """A few seeds for each test, so that a failed one names few and all cores have work."""
    return [
        pytest.param(chunk, id=f"{chunk.start}:{len(chunk)}", marks=marks)
        for start in range(seeds.start, seeds.stop, _AT_ONCE)
        if (chunk := range(start, min(start + _AT_ONCE, seeds.stop)))
    ]


def _chosen() -> list[Any]:
    if SEEDS is None:
        return [*_chunks(range(200)), *_chunks(range(1000, 6000), pytest.mark.long)]
    start, _, count = SEEDS.partition(":")
    return _chunks(range(int(start), int(start) + int(count or 1)))


@pytest.mark.parametrize("seeds", _chosen())
def test_every_promise_is_kept(seeds: range) -> None:
    for seed in seeds:
        play(seed, aloud=SEEDS is not None and len(seeds) == 1)


def test_the_same_seed_tells_the_same_story() -> None:
    traces = [[play(seed).trace for seed in range(20)] for _ in range(2)]
    assert traces[0] == traces[1]
    assert len(set(traces[0])) == 20


WANTED = {
    "ended", "resumed", "answer lost", "unsure", "settled True", "settled False", "settled None",
    "told repaired", "told contested", "told in_flight", "told failed", "told skipped",
    "Put by repair", "Patch by repair", "Delete by repair",
    "Put by undo journal-1", "Patch by undo journal-1", "Delete by undo journal-1",
    "Put by undo undone-1", "Patch by undo undone-1", "Delete by undo undone-1",
}  # fmt: skip


def test_the_stories_are_those_that_are_meant() -> None:
    """Runs are ended and resumed, writes are refused, answers get lost, others write in between."""
    met = Counter[str]()
    for seed in range(60):
        met += _met(play(seed))
    assert {name for name in WANTED if not met[name]} == set(), met


def _met(story: Story) -> Counter[str]:
    witness = story.world.witness
    told = Counter(f"told {entry[4]}" for entry in witness.trace if entry[1] == "told")
    landed = Counter(f"{type(each.mutation).__name__} by {each.process.purpose}" for each in witness.landings)
    settled = Counter(
        f"settled {each.applied}" for journal in witness.settled.values() for each in journal.values()
    )
    other = Counter(
        {
            "ended": story.ends,
            "resumed": story.with_job and story.runs > 1,
            "answer lost": sum(each.outcome is None for each in witness.landings),
            "unsure": sum(each.outcome is not None and each.outcome.unsure for each in witness.landings),
        }
    )
    return told + landed + settled + other
