"""A job that is interrupted, however often and wherever, tells and does what one whole run does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.jobs import JobRuns
from tests.support.scenario import item, scene

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep import Report
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

pytestmark = pytest.mark.usefixtures("strategy")

KEYS = 60
SEEDS = (0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 10)))
"""Where the runs end differs from seed to seed; the fault suite plays all of them."""

COUNTS = (
    "scanned_primary", "scanned_replica", "matched", "missing", "different", "extraneous", "in_flight",
    "expired", "repaired", "deleted", "contested", "failed", "skipped", "present", "compared", "remaining",
    "complete", "causes",
)  # fmt: skip


def drifted(chance: random.Random) -> tuple[list[Item], list[Item]]:
    """Two tables that differ in every way on a third of their keys."""
    ours, theirs = [], []
    for number in range(KEYS):
        name = f"k{number:03}"
        base = item(name, v=number)
        kind = chance.choice(("same", "same", "same", "same", "missing", "different", "extraneous"))
        if kind != "extraneous":
            ours.append(base)
        if kind == "different":
            theirs.append(base | item(name, v=-1, more="x"))
        elif kind != "missing":
            theirs.append(base)
    return ours, theirs


def counted(report: Report, task: str) -> dict[str, Any]:
    counts = {name: getattr(report, name) for name in COUNTS}
    if task == "backfill":
        # What was written and not counted yet is found there by the next run.
        for name in ("missing", "repaired", "compared"):
            del counts[name]
        counts["matched"] += report.repaired
    return counts


async def whole(
    endpoint: ScriptedDynamo, folder: Path, task: str, seed: int
) -> tuple[Scene, JobRuns, Report]:
    played = scene(endpoint, *drifted(random.Random(seed)))
    runs = JobRuns(played, folder, task, random.Random(seed))
    return played, runs, await runs.whole()


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "signalled"])
@pytest.mark.parametrize("task", ["diff", "repair", "backfill"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_an_interrupted_job_ends_like_a_whole_run(
    endpoint: ScriptedDynamo, tmp_path: Path, task: str, seed: int, killed: bool
) -> None:
    _, uninterrupted, expected = await whole(endpoint, tmp_path / "whole", task, seed)
    played = scene(endpoint, *drifted(random.Random(seed)))
    runs = JobRuns(played, tmp_path / "ended", task, random.Random(seed))
    report = await runs.finish(calls=20, killed=killed)
    told = f"seed {seed}, {runs.runs} runs"
    assert runs.runs > 1, told
    assert runs.found == uninterrupted.found, told
    assert counted(report, task) == counted(expected, task), told
    if task == "repair":
        assert played.converged, told
