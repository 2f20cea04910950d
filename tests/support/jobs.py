"""Runs of a job that end early: as a signal ends them, or as a killed process leaves its files behind."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from asyncrep import Comparison, Limits, Rules, VirtualClock, backfill, repair
from asyncrep.cli.output import json_line, opened
from asyncrep.diff.pipeline import check
from asyncrep.jobs.job import open_job
from asyncrep.jobs.journal import open_journal
from asyncrep.progress import Found

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from asyncrep import Event, Report
    from asyncrep.cli.output import Result
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

SMALL_PAGES = Limits(segments=3, read_units=6, concurrency=4)
"""A rate so low that pages hold a few items."""

_SAVE_PAUSES = (1.0, 2.0, 4.0, 8.0, 10.0)
_SETTLE = 0.3  # no pause between saves
_CALLS = ("Scan", "BatchGetItem", "BatchWriteItem", "PutItem", "UpdateItem", "DeleteItem")


class PacedClock(VirtualClock):
    """A virtual clock on which a job is saved after some calls, not after some seconds."""

    def __init__(self, endpoint: ScriptedDynamo, chance: random.Random, most: int) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._chance = chance
        self._most = most

    async def sleep(self, seconds: float) -> None:
        """Sleep; before the next save wait for a few calls."""
        if seconds in _SAVE_PAUSES:
            until = len(self._endpoint.calls) + self._chance.randint(1, self._most)
            while len(self._endpoint.calls) < until:  # noqa: ASYNC110 - the endpoint has no events
                await asyncio.sleep(0)
            return
        await super().sleep(seconds)


@dataclass
class Teller:
    """An observer that writes discrepancies to a result, as the command line does."""

    result: Result
    reports: list[Report] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        if isinstance(event, Found):
            self.result(event.discrepancy)


@dataclass
class Killer:
    """Ends a run at one of its calls; keeps the files as they were at that moment."""

    endpoint: ScriptedDynamo
    folder: Path
    at: int | None = None
    task: asyncio.Task[Any] | None = None

    def __post_init__(self) -> None:
        for operation in _CALLS:
            self.endpoint.before(operation, self._look, times=None)

    def _look(self, *_: object) -> None:
        if self.at is not None and len(self.endpoint.calls) >= self.at:
            self.at = None
            shutil.copytree(self.folder, self.folder.with_name("killed"))
            assert self.task is not None
            self.task.cancel()

    def leave_as_killed(self) -> None:
        """Put the files back as they were when the run was ended."""
        shutil.rmtree(self.folder)
        self.folder.with_name("killed").rename(self.folder)

    def forget(self) -> None:
        """Keep the files as the run has left them."""
        shutil.rmtree(self.folder.with_name("killed"))


@dataclass
class JobRuns:
    """A job over both tables of a scene, brought to its end by several runs."""

    play: Scene
    folder: Path
    task: str
    chance: random.Random
    save_calls: int = 12
    limits: Limits = SMALL_PAGES

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.killer = Killer(self.play.endpoint, self.folder)
        self.runs = 0

    async def finish(self, *, calls: int, killed: bool) -> Report:
        """Run until a run comes to its end; each of the others ends after up to so many calls.

        Args:
            calls: the most that a run makes before it is ended.
            killed: the files stay as they were at that moment; else the run may say how far it is.
        """
        while True:
            self.runs += 1
            assert self.runs < 200
            self.killer.at = len(self.play.endpoint.calls) + self.chance.randint(1, calls)
            self.killer.task = asyncio.ensure_future(self._run())
            try:
                return cast("Report", await self.killer.task)
            except asyncio.CancelledError:
                if killed:
                    self.killer.leave_as_killed()
                else:
                    self.killer.forget()
                calls += 1  # however often it is saved, it comes to its end at last

    async def whole(self) -> Report:
        """Run once, from the beginning to the end."""
        self.killer.at = None
        return await self._run()

    async def _run(self) -> Report:
        clock = PacedClock(self.play.endpoint, self.chance, self.save_calls)
        options: dict[str, Any] = {"limits": self.limits, "clock": clock}
        async with AsyncExitStack() as stack:
            job = await stack.enter_async_context(open_job(self.folder / "job", {"task": self.task}))
            keep = job.state.outputs.get("--output")
            line = partial(json_line)
            result = stack.enter_context(opened(self.folder / "found.jsonl", line, keep))
            job.outputs = {"--output": result}
            await job.begin()
            primary, replica = await stack.enter_async_context(self.play.open())
            options |= {"job": job, "observer": Teller(result)}
            if self.task == "backfill":
                return await backfill(primary, replica, **options)
            options |= {"strategy": self.play.strategy, "comparison": Comparison(settle=_SETTLE)}
            if self.task == "diff":
                return await check(primary, replica, **options)
            place = self.folder / "journal.jsonl"
            options["journal"] = await stack.enter_async_context(
                open_journal(place, replica, primary=primary.label)
            )
            return await repair(primary, replica, rules=Rules(max_delete=10_000), **options)

    @property
    def found(self) -> list[tuple[str, str, str]]:
        """Key, kind and state of every line of the result, sorted."""
        lines = (self.folder / "found.jsonl").read_bytes().splitlines()
        entries = map(json.loads, lines)
        return sorted((each["key"]["id"]["S"], each["kind"], each["state"]) for each in entries)
