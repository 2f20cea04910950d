"""A backfill and a stream that write to one folder at the same time agree with the table in the end."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Comparison, Limits
from asyncrep.backup.incremental import incremental_backfill
from asyncrep.change import Change, ChangeKind
from asyncrep.flow.tasks import beside
from asyncrep.items.incremental import Mark, object_name
from asyncrep.jobs.job import open_job
from asyncrep.replicate.folder import Folder
from tests.support.hooked import Hooked
from tests.support.jobs import SMALL_PAGES, JobRuns, PacedClock
from tests.support.scenario import item, items, key, scene
from tests.support.shelf import Kept, Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep import Report
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

KEYS = 30
STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000"
LONG = (*range(2, 11), *range(12, 15), *range(16, 30))
SEEDS = (0, 1, 11, 15, *(pytest.param(seed, marks=pytest.mark.long) for seed in LONG))


def image(made: Item) -> bytes:
    return json.dumps(made, separators=(",", ":")).encode()


def kept(shelf: Shelf) -> dict[str, Item]:
    found = [json.loads(each.data) for each in shelf.objects.values()]
    return {each["id"]["S"]: each for each in found}


@dataclass
class World:
    """Writers to the table of a scene, and the stream that brings what they do to its folder, late and repeated."""

    play: Scene
    shelf: Shelf
    chance: random.Random

    def __post_init__(self) -> None:
        self.changes: list[Change] = []
        self.delivered = 0
        self.folder = Folder(self.shelf)  # type: ignore[arg-type]
        table = self.play.primary
        for number in range(KEYS):
            name = f"k{number:03}"
            if self.chance.random() < 0.7:
                table.put(item(name, v=0))
            if (
                self.chance.random() < 0.4
            ):  # an object of earlier times, right or stale, or of an item that is gone
                mark = Mark(STREAM, self.chance.randint(1, 99)).metadata
                made = item(name, v=self.chance.choice((0, -1)))
                if name in table.items:
                    self.shelf.objects[object_name(key(name))] = Kept(
                        image(made), self.chance.choice((mark, {}))
                    )
        table.enable_stream()

    def write(self) -> None:
        """Put or delete some item."""
        name = f"k{self.chance.randrange(KEYS):03}"
        table = self.play.primary
        before = table.get(name)
        old = None if before is None else image(before)
        sequence = 100 + len(self.changes)
        if before is not None and self.chance.random() < 0.4:
            table.delete(name)
            self.changes.append(
                Change(key=key(name), kind=ChangeKind.REMOVE, sequence=sequence, old=old, stream=STREAM)
            )
            return
        made = item(name, v=sequence)
        table.put(made)
        kind = ChangeKind.INSERT if old is None else ChangeKind.MODIFY
        self.changes.append(
            Change(key=key(name), kind=kind, sequence=sequence, old=old, new=image(made), stream=STREAM)
        )

    async def deliver(self) -> None:
        """Bring the next records to the folder; now and then begin somewhat earlier, as after a failure."""
        begin = max(0, self.delivered - self.chance.choice((0, 0, 3, 10)))
        end = min(len(self.changes), self.delivered + self.chance.randint(0, 8))
        applied = await self.folder.apply(self.changes[begin:end])
        assert not [each for each in applied.unwritten if each.reason]
        self.delivered = max(end, self.delivered)

    async def go_on(self) -> None:
        while True:
            for _ in range(self.chance.randint(0, 3)):
                self.write()
            if self.chance.random() < 0.5:
                await self.deliver()
            for _ in range(self.chance.randint(1, 30)):
                await asyncio.sleep(0)

    async def finish(self) -> None:
        while self.delivered < len(self.changes):
            await self.deliver()


@pytest.mark.parametrize("seed", SEEDS)
async def test_backfill_and_stream_together_leave_what_the_table_has(
    endpoint: ScriptedDynamo, seed: int
) -> None:
    chance = random.Random(seed)
    play = scene(endpoint)
    shelf = Shelf()
    world = World(play, shelf, chance)
    async with play.open() as (table, _), beside(world.go_on()):
        report = await incremental_backfill(
            table,
            shelf,  # type: ignore[arg-type]
            limits=Limits(segments=chance.choice((1, 3))),
            clock=play.clock,
        )
    await world.finish()
    assert kept(shelf) == play.primary.items
    assert report.complete
    assert report.failed == 0
    for versions in shelf.history.values():
        told = [None if each is None else Mark.of(each.metadata) for each in versions]
        for before, after in pairwise(told):
            assert before is None or after is None or after.sequence >= before.sequence, "turned back"


class Backfills(JobRuns):
    """A job of incremental backfills, brought to its end by several runs."""

    storage: Any

    async def _run(self) -> Report:
        clock = PacedClock(self.play.endpoint, self.chance, self.save_calls)
        async with open_job(self.folder / "job", {"COMMAND": "incremental-backfill"}) as job:
            await job.begin()
            async with self.play.open() as (table, _):
                return await incremental_backfill(
                    table,
                    self.storage,
                    limits=SMALL_PAGES,
                    comparison=Comparison(settle=0.3),  # no pause between saves
                    clock=clock,
                    job=job,
                )


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("seed", range(3))
async def test_an_interrupted_backfill_goes_on_and_misses_nothing(
    endpoint: ScriptedDynamo, tmp_path: Path, seed: int, killed: bool
) -> None:
    everything = items(80, v=1)
    play = scene(endpoint, everything)
    play.primary.enable_stream()
    shelf = Shelf()
    for made in everything[:20]:
        stale = made if seed % 2 else {**made, "v": {"N": "0"}}
        shelf.objects[object_name(key(made["id"]["S"]))] = Kept(image(stale), {})
    runs = Backfills(play, tmp_path / "job", "incremental-backfill", random.Random(seed), save_calls=4)
    runs.storage = Hooked(shelf)  # type: ignore[arg-type]
    report = await runs.finish(calls=8, killed=killed)
    assert runs.runs > 2
    assert kept(shelf) == {each["id"]["S"]: each for each in everything}
    assert report.complete
    assert report.scanned_primary == 80
    assert report.matched + report.settled + report.repaired == 80
