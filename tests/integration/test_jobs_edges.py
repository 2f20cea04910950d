"""Where interruptions of a job could lose or repeat something, one story each."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Comparison, Found, IncompleteRunError, JournalError, Limits, backfill, check, open_job
from asyncrep.errors import AsyncrepError
from asyncrep.jobs.job import Job
from asyncrep.jobs.journal import open_journal
from asyncrep.jobs.mark import Mark
from asyncrep.jobs.unsaid import unsaid_writes
from asyncrep.model import Missing
from asyncrep.mutation import ItemAbsent, Put
from tests.support.jobs import JobRuns, PacedClock
from tests.support.scenario import PRIMARY, Log, item, items, key, scene, strong

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep import Event
    from tests.support.scripted import ScriptedDynamo

NOW = Comparison(settle=0)


@dataclass
class Refusing:
    """An observer whose result cannot take one of the lines."""

    refuse: int
    told: list[bytes] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        if isinstance(event, Found):
            if len(self.told) == self.refuse:
                self.refuse = -1
                raise AsyncrepError("The disk is full.")
            self.told.append(event.discrepancy.key)


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("refuse", range(6))
async def test_a_discrepancy_whose_line_could_not_be_written_is_told_by_the_next_run(
    endpoint: ScriptedDynamo, tmp_path: Path, refuse: int
) -> None:
    ours = [item(name) for name in "abc"]
    played = scene(endpoint, ours, [item(name) for name in "xyz"])
    observer = Refusing(refuse)
    options: dict[str, Any] = {"strategy": played.strategy, "comparison": NOW, "clock": played.clock}
    async with played.open() as tables:
        async with open_job(tmp_path / "job", {}) as job:
            with pytest.raises(IncompleteRunError):
                await check(*tables, job=job, observer=observer, **options)
        async with open_job(tmp_path / "job", {}) as job:
            report = await check(*tables, job=job, observer=observer, **options)
    assert sorted(observer.told) == [key(name) for name in "abcxyz"]
    assert (report.missing, report.extraneous, report.complete) == (3, 3, True)


async def test_a_late_discrepancy_is_told_though_the_run_ended_in_the_middle_of_them(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    """The replica's walk has found these in the primary, which then loses them before they are confirmed."""
    names = [f"k{number}" for number in range(4)]
    played = scene(endpoint, items(0), [])
    for name in names:
        played.primary.put(item(name, v=1))
        played.replica.put(item(name, v=2))

    def lose(_: object) -> None:
        for name in names:
            played.primary.delete(name)

    endpoint.before("BatchGetItem", lose, **strong(PRIMARY))
    observer = Refusing(1)
    options: dict[str, Any] = {"strategy": "dual-scan", "comparison": NOW, "clock": played.clock}
    async with played.open() as tables:
        async with open_job(tmp_path / "job", {}) as job:
            with pytest.raises(IncompleteRunError):
                await check(*tables, job=job, observer=observer, limits=Limits(segments=1), **options)
        async with open_job(tmp_path / "job", {}) as job:
            report = await check(*tables, job=job, observer=observer, **options)
    assert sorted(observer.told) == [key(name) for name in names]
    assert report.extraneous == len(names)


async def test_writes_of_others_in_a_shared_journal_are_not_the_job_s(
    endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    played = scene(endpoint)
    place = tmp_path / "journal.jsonl"
    async with played.open() as (primary, replica):
        by = []
        for name in "ab":
            async with open_journal(place, replica, primary=primary.label) as journal:
                by.append(journal.by)
                image = b'{"id":{"S":"%b"}}' % name.encode()
                await journal.intend(
                    Missing(key=key(name), primary=image), Put(key(name), image, ItemAbsent())
                )
    written, last = await unsaid_writes(place, Mark(writes={by[1]: 0}))
    assert list(written) == [key("b")]
    assert last == {by[1]: 1}


async def test_a_backfill_that_is_killed_before_its_first_save_knows_its_copies(
    endpoint: ScriptedDynamo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = scene(endpoint, items(60))
    limits = Limits(segments=2, concurrency=1)
    never = PacedClock(endpoint, random.Random(0), 10**9)  # no save but the first and the last
    saves = 0

    async def save(job: Job, *given: Any, **options: Any) -> None:
        nonlocal saves
        saves += 1
        if saves == 2:
            raise JournalError("Killed.")  # the state stays as the first save left it
        await whole_save(job, *given, **options)

    whole_save = Job.save
    monkeypatch.setattr(Job, "save", save)
    endpoint.on("BatchWriteItem", after=1, times=None).error("AccessDeniedException")
    async with played.open() as tables, open_job(tmp_path / "job", {}) as job:
        with pytest.raises(AsyncrepError):
            await backfill(*tables, job=job, limits=limits, clock=never)
    written = len(played.replica.items)
    assert 0 < written < 60
    async with scene_again(played).open() as tables, open_job(tmp_path / "job", {}) as job:
        log = Log()
        report = await backfill(*tables, job=job, limits=limits, clock=played.clock, observer=log)
    assert (report.repaired, report.matched, report.present) == (60, 0, 0)
    assert not [note for note in log.notes if "not empty" in note]


def scene_again(played: Any) -> Any:
    """The same tables, no faults any more."""
    played.endpoint._statements.clear()
    return played


@pytest.mark.parametrize("seed", range(2))
async def test_a_job_in_bulk_counts_what_it_copied(
    endpoint: ScriptedDynamo, tmp_path: Path, seed: int
) -> None:
    played = scene(endpoint, items(60))
    runs = JobRuns(played, tmp_path / "ended", "backfill", random.Random(seed))
    report = await runs.finish(calls=12, killed=True)
    assert runs.runs > 1
    assert (report.repaired, report.matched, report.present) == (60, 0, 0)
    assert played.converged
