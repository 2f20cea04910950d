"""What happens for one seed, and what must be true along the way.

A repair runs among live writers, with or without a job, and is ended now and then. When the writers have
stopped, one more repair makes the tables equal. Then all of it is taken back, and that is taken back too.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from asyncrep.diff.pipeline import check
from asyncrep.errors import AsyncrepError, UsageError
from asyncrep.jobs.job import open_job
from asyncrep.jobs.journal import open_journal
from asyncrep.jobs.state import parse_state
from asyncrep.model import State
from asyncrep.options import Comparison, Limits
from asyncrep.progress import Found, PassEnded
from asyncrep.repair.rules import Rules
from asyncrep.repair.runner import repair
from tests.support.simulated.knobs import simulated
from tests.support.simulated.loop import VirtualLoop
from tests.support.simulated.tables import name_of
from tests.support.simulated.taken_back import Undoing
from tests.support.simulated.witness import Evidence, same
from tests.support.simulated.world import PROCESS, Process, World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from asyncrep.jobs.job import Job
    from asyncrep.model import Discrepancy
    from asyncrep.progress import Event
    from asyncrep.report import Report

BUCKET = "s3://bucket"
_MOST_RUNS = 30
_KINDS = ("missing", "different", "extraneous")
_COUNTED = (State.REPAIRED, State.CONTESTED, State.FAILED, State.SKIPPED, State.IN_FLIGHT, State.EXPIRED)


class SimulationError(AssertionError):
    """Something happened that must not; the message says how to see it again."""


def play(seed: int, *, aloud: bool = False, prepare: Callable[[Story], object] = lambda _: None) -> Story:
    """Play the story of a seed.

    Args:
        seed: decides everything.
        aloud: write all that happened to stdout.
        prepare: may change what was chosen for the story, before it begins.

    Raises:
        SimulationError: something happened that must not.
    """
    loop = VirtualLoop()
    world = World(seed, loop)
    loop.set_exception_handler(lambda _, context: world.witness.accuse(f"nobody saw an error: {context}"))
    story = Story(world)
    prepare(story)
    try:
        with simulated(world):
            loop.run_until_complete(story.play())
    except Exception as error:
        raise SimulationError(f"{story.replay}\n{type(error).__name__}: {error}") from error
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        if aloud:
            sys.stdout.writelines(f"{line}\n" for line in story.lines())
    if world.witness.violations:
        raise SimulationError("\n".join((story.replay, *world.witness.violations)))
    return story


@dataclass
class Output:
    """The result file of a job: lines, of which those that were synced outlive their process."""

    lines: list[Discrepancy] = field(default_factory=list)
    synced: int = 0

    def length(self) -> int:
        return len(self.lines)

    def sync(self) -> None:
        self.synced = len(self.lines)

    def cut(self, length: int) -> None:
        assert len(self.lines) >= length, "the file has lost what the job counts on"
        del self.lines[length:]
        self.synced = min(self.synced, length)


@dataclass
class Teller:
    """Listens to a run, and writes what it tells to the output, unless its process is dead."""

    process: Process
    output: Output

    def notice(self, event: Event) -> None:
        if not self.process.alive:
            return
        if isinstance(event, PassEnded):
            self.process.ended.add(event.name)
        elif isinstance(event, Found):
            self.output.lines.append(event.discrepancy)
            self.process.world.witness.see_told(event.discrepancy, self.process)


class Story:
    """One world, and what is done in it."""

    def __init__(self, world: World) -> None:
        chance = world.chance
        self.world = world
        self.runs = 0
        self._records = len(self._names)
        self.ends = 0
        self.with_job = chance.random() < 0.6
        self.left_to_end = chance.choice((0, 1, 1, 2, 4)) if self.with_job else chance.choice((0, 0, 1))
        self.max_delete = chance.choice((None, 0, 1, 2, 3, 1000))
        self.options: dict[str, Any] = {
            "limits": Limits(segments=world.segments, concurrency=chance.choice((1, 2, 8))),
            "comparison": Comparison(
                ignore=world.ignored, settle=chance.choice((0.0, 0.5, 2.0)), tries=chance.choice((1, 3))
            ),
            "strategy": chance.choice(("batch-get", "dual-scan")),
            "clock": world.loop,
        }
        self.no_delete = chance.random() < 0.1

    @property
    def _rules(self) -> Rules:
        return Rules(delete_extraneous=not self.no_delete, max_delete=self.max_delete)

    @property
    def replay(self) -> str:
        """What shows this story again."""
        return (
            f"Seed {self.world.seed} failed. To see it again: "
            f"ASYNCREP_TEST_SEEDS={self.world.seed}:1 .venv/bin/pytest -n 0 tests/simulation/test_seeds.py"
        )

    def lines(self) -> Iterator[str]:
        """What was chosen for this story, and all that happened in it, in order."""
        yield f"{self.world.weather}"
        yield f"{self.options} {self._rules}"
        for entry in self.world.witness.trace:
            yield " ".join(map(str, entry))

    @property
    def trace(self) -> str:
        """A digest of all that happened: equal for equal seeds."""
        return hashlib.sha256(repr(self.world.witness.trace).encode()).hexdigest()[:16]

    async def play(self) -> None:
        """Play it all."""
        writers = [asyncio.ensure_future(self.world.write()) for _ in range(2)]
        self._others = {asyncio.current_task(), *writers}
        unequal = {name for name in self._names if not self._equal(name)}
        output = await self._repair_among_writers()
        if self._in_calm:
            self._check_calm(output, unequal)
        await self.world.quiet()
        await asyncio.wait(writers)
        second = self.world.chance.choice(("journal-1", "journal-2"))
        await self._repair_in_peace(second)
        undoing = Undoing(self)
        if second == "journal-2":
            await undoing.undo("journal-2", "undone-2")
        await undoing.undo("journal-1", "undone-1")
        await undoing.undo("undone-1", "redone-1")

    # ── Runs ────────────────────────────────────────────────────────────────────────────────────────

    async def _repair_among_writers(self) -> Output:
        evidence, output = Evidence(), Output()
        report = None
        while report is None:
            if not self.with_job:
                evidence, output = Evidence(), Output()
            self.runs += 1
            assert self.runs <= _MOST_RUNS, "the job does not come to its end"
            faults = self.world.weather.faults if self.runs < 6 else 0.0
            process = Process(self.world, "repair", evidence, faults)
            report = await self.run(process, self._job_run(process, output), output)
            if report is None and self._is_done():
                break  # it had come to its end, and was ended before it could say so
        if report is not None:
            self._check_report(report, output)
        self._check_told(output, evidence, self.max_delete)
        self.world.witness.check_journal("journal-1")
        if report is not None and self._in_calm:
            self._check_compared(report)
        return output

    async def run(
        self, process: Process, work: Coroutine[Any, Any, Any], output: Output | None = None
    ) -> Any:
        """Let a process run, and maybe end; return what it returns, None when it did not come to its end."""
        world = self.world
        task = asyncio.ensure_future(work)
        ending = None
        if self.left_to_end:
            self.left_to_end -= 1
            process.end = partial(self._end, process, task, output)
            if world.happens(0.5):
                process.landings_left = world.chance.randint(1, 8)
            else:
                ending = world.loop.call_later(world.soon(8.0), process.end)
        try:
            return await task
        except asyncio.CancelledError:
            self.ends += 1
        except UsageError as error:
            world.witness.accuse(f"a run was refused: {error!r}")
            raise
        except AsyncrepError as error:
            world.witness.trace.append((world.moment, "ended", repr(error)))
        finally:
            if ending is not None:
                ending.cancel()
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - self._others
            if left:
                world.witness.accuse(f"tasks were left behind: {left}")
        return None

    def _end(self, process: Process, task: asyncio.Future[Any], output: Output | None) -> None:
        """End a process: with a signal, or killed, when nothing it still does has any effect."""
        if self.world.happens(0.7):
            process.alive = False
            if output is not None:
                output.cut(self.world.chance.randint(output.synced, output.length()))
        self.world.witness.trace.append((self.world.moment, "ENDS", process.purpose, process.alive))
        task.cancel()

    async def _job_run(self, process: Process, output: Output) -> Report:
        PROCESS.set(process)
        async with AsyncExitStack() as stack:
            job = await self._open_job(stack, output) if self.with_job else None
            return await self._repair(process, stack, output, "journal-1", rules=self._rules, job=job)

    async def _open_job(self, stack: AsyncExitStack, output: Output) -> Job:
        """Open the job as the command line does."""
        job = await stack.enter_async_context(
            open_job(f"{BUCKET}/job", {"task": "repair"}, clock=self.world.loop)
        )
        output.cut(job.state.outputs.get("--output", 0))
        job.outputs = {"--output": output}
        await job.begin()
        return job

    async def _repair(
        self, process: Process, stack: AsyncExitStack, output: Output, place: str, **options: Any
    ) -> Report:
        replica = process.replica
        stack.callback(process.see_closed)
        journal = process.journal = await stack.enter_async_context(
            open_journal(f"{BUCKET}/{place}", replica, primary="primary", clock=self.world.loop)  # type: ignore[arg-type]
        )
        ledgers = len(self.world.ledgers)
        observer = Teller(process, output)
        options |= self.options | {"observer": observer, "journal": journal}
        report = await repair(process.primary, replica, **options)
        for ledger in self.world.ledgers[ledgers:]:
            if ledger._tasks or abs(ledger._held) > 1e-6:
                self.world.witness.accuse("a reservation was left behind")
        return report

    # ── In peace ────────────────────────────────────────────────────────────────────────────────────

    async def _repair_in_peace(self, place: str) -> None:
        """Repair once more, now that nobody writes: the tables are equal then, and a check finds nothing."""
        evidence, output = Evidence(), Output()
        process = Process(self.world, "repair", evidence)

        async def work() -> Report:
            PROCESS.set(process)
            async with AsyncExitStack() as stack:
                return await self._repair(process, stack, output, place, rules=Rules(max_delete=1000))

        self.left_to_end = 0
        report: Report = await self.run(process, work())
        accuse = self.world.witness.accuse
        self._check_report(report, output)
        self._check_told(output, evidence, None)
        self.world.witness.check_journal(place)
        if report.remaining or report.in_flight or not report.complete:
            accuse(f"a repair in peace leaves something: {report}")
        unequal = [name for name in self._names if not self._equal(name)]
        if unequal:
            accuse(f"a repair in peace has not made these equal: {unequal}")
        self._others |= asyncio.all_tasks()
        checked = await check(process.primary, process.replica, **self.options)
        if checked.drift or checked.in_flight or checked.settled:
            accuse(f"a check after a repair finds something: {checked}")
        if checked.compared != len(self.world.primary.names()):
            accuse(f"a check compares {checked.compared} of {len(self.world.primary.names())} records")

    @property
    def _names(self) -> list[str]:
        return sorted({*self.world.primary.names(), *self.world.replica.names()})

    def _equal(self, name: str) -> bool:
        return same(self.world.primary.get(name), self.world.replica.get(name), self.world.ignored)

    # ── What a run tells ────────────────────────────────────────────────────────────────────────────

    @property
    def _in_calm(self) -> bool:
        """Whether nobody has written but the run, or the job, that comes to its end."""
        return self.world.weather.calm and (self.with_job or self.runs == 1)

    def _is_done(self) -> bool:
        """Whether the job says that it has come to its end."""
        document, _ = self.world.objects.get("job/state.json", (None, ""))
        state = parse_state(document, "job")
        return state is not None and state.done

    def _check_report(self, report: Report, output: Output) -> None:
        """Check that what is counted was told."""
        accuse = self.world.witness.accuse
        kinds = Counter(found.kind for found in output.lines if found.state not in _COUNTED[-2:])
        states = Counter(found.state for found in output.lines)
        for kind in _KINDS:
            if getattr(report, kind) != kinds[kind]:
                accuse(f"{getattr(report, kind)} are counted as {kind}, and {kinds[kind]} were told")
        deleted = sum(found.kind == "extraneous" and found.state is State.REPAIRED for found in output.lines)
        if report.deleted != deleted:
            accuse(f"{report.deleted} are counted as deleted, and {deleted} were told")
        for state in _COUNTED:
            if getattr(report, state.value) != states[state]:
                accuse(
                    f"{getattr(report, state.value)} are counted as {state}, and {states[state]} were told"
                )

    def _check_compared(self, report: Report) -> None:
        """Where nobody writes, each record that there was is counted once."""
        if report.compared != self._records:
            self.world.witness.accuse(f"{self._records} records were there, and counted is: {report}")

    def _check_calm(self, output: Output, unequal: set[str]) -> None:
        """Where nobody writes, exactly what differed is told, however often the run was ended."""
        told = {name_of(found.key) for found in output.lines}
        if told != unequal:
            self.world.witness.accuse(f"{sorted(unequal)} differed, and {sorted(told)} were told")
        for found in output.lines:
            if found.state is State.REPAIRED and not self._equal(name_of(found.key)):
                self.world.witness.accuse(f"{name_of(found.key)} was told repaired, and is not")

    def _check_told(self, output: Output, evidence: Evidence, most_deleted: int | None) -> None:
        """Check that each record was told once, that all that was written to was, and what was deleted."""
        accuse, moved = self.world.witness.accuse, self.world.appeared
        told = Counter(name_of(found.key) for found in output.lines)
        for name, times in told.items():
            # Both walks tell a record if the primary got or lost it in between.
            if times > (2 if name in moved else 1):
                lines = [found for found in output.lines if name_of(found.key) == name]
                accuse(f"{name} was told {times} times: {lines}")
        for name in {each.name for each in self.world.witness.landings if each.evidence is evidence}:
            if name not in told and name not in moved:
                accuse(f"{name} was written to and never told")
        # What the primary got again after it was deleted is told as what it became, and counts as that.
        extraneous = {name_of(found.key) for found in output.lines if found.kind == "extraneous"}
        deleted = {name for name in evidence.deleted if name in extraneous or name not in moved}
        if most_deleted is not None and len(deleted) > most_deleted:
            accuse(f"{sorted(deleted)} were deleted, and the most was {most_deleted}")
