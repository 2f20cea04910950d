"""Takes back what a journal holds, and checks that exactly that is taken back."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrep.jobs.journal import open_journal
from asyncrep.repair.take_back import UndoState
from asyncrep.repair.undo import undo
from tests.support.simulated.tables import name_of
from tests.support.simulated.witness import Evidence
from tests.support.simulated.world import PROCESS, Process
from tests.support.simulated.writers import marks

if TYPE_CHECKING:
    from asyncrep.repair.undo import Undone
    from asyncrep.report import UndoReport
    from tests.support.simulated.story import Story
    from tests.support.simulated.witness import Change, Landing
    from tests.support.simulated.world import World
    from tests.support.values import Item

_DONE = {UndoState.TAKEN_BACK, UndoState.ALREADY}


class Undoing:
    """Undoes in the world of a story, each checked against what really landed."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._world = story.world

    async def undo(self, place: str, into: str) -> None:
        """Take back a journal, noting that in another; the first try may be ended, or others may write."""
        story, world = self._story, self._world
        if not world.witness.intents[place]:
            return
        if world.happens(0.5):
            for _ in range(world.chance.randint(1, 3)):
                world.change(world.chance.choice(world.names), world.replica)
        journal = _Noted.of(world, place)
        held = {name: world.replica.get(name) for name in world.names}
        moment = world.tick()
        story.left_to_end = world.chance.choice((0, 0, 0, 1))
        world.racing = world.happens(0.3)
        report = None
        told: list[Undone] = []
        while report is None:
            process = Process(world, f"undo {place}", Evidence())
            told = []
            report = await story.run(process, self._run(process, place, into, told))
        world.racing = False
        for each in told:
            world.witness.check_said(name_of(each.key), each.reason, process)
        world.witness.check_journal(into)
        _check_told(world, told, report, {*journal.landed, *journal.unknown})
        _check_taken_back(world, journal, {name_of(each.key): each for each in told}, moment)
        _check_others(world, journal, held, moment)

    async def _run(self, process: Process, place: str, into: str, told: list[Undone]) -> UndoReport:
        PROCESS.set(process)
        world, replica = self._world, process.replica
        async with AsyncExitStack() as stack:
            stack.callback(process.see_closed)
            journal = process.journal = await stack.enter_async_context(
                open_journal(
                    f"s3://bucket/{into}",
                    replica,  # type: ignore[arg-type]
                    primary="primary",
                    undoes=f"s3://bucket/{place}",
                    clock=world.loop,
                )
            )
            return await undo(
                f"s3://bucket/{place}",
                replica,  # type: ignore[arg-type]
                journal=journal,
                told=told.append,
                clock=world.loop,
            )


@dataclass(frozen=True)
class _Noted:
    """What really became of the writes that a journal tells of.

    Attributes:
        landed: those that landed, by record, in the order they did.
        unknown: the records of which the journal does not tell whether a write landed.
        wanted: what the records were before, to which nobody else has written since.
    """

    landed: dict[str, list[Landing]]
    unknown: set[str]
    wanted: dict[str, Item | None]

    @classmethod
    def of(cls, world: World, place: str) -> _Noted:
        """Look at the journal in a place."""
        witness, landed = world.witness, defaultdict(list)
        for landing in witness.landings:
            if landing.number in witness.intents[place]:
                landed[landing.name].append(landing)
        unknown = {
            name_of(intent.key)
            for number, intent in witness.intents[place].items()
            if number not in witness.settled[place] or witness.settled[place][number].applied is None
        }
        wanted = {
            name: there[0].before
            for name, there in landed.items()
            if name not in unknown and _is_untouched(world, name, there)
        }
        return cls(landed, unknown, wanted)


def _is_untouched(world: World, name: str, landed: list[Landing]) -> bool:
    """Whether nobody else has written to a record since the first of these."""
    since = _since(world, name, landed[0].moment)
    return len(since) == len(landed) == len({landing.number for landing in landed})


def _since(world: World, name: str, moment: int) -> list[Change]:
    return [change for change in world.witness.changes[name] if change.moment > moment]


def _check_told(world: World, told: list[Undone], report: UndoReport, names: set[str]) -> None:
    """Check that each record is told once, and exactly those that there is something of."""
    accuse = world.witness.accuse
    times = Counter(name_of(each.key) for each in told)
    if any(count > 1 for count in times.values()):
        accuse(f"told twice: {told}")
    if times.keys() != names:
        accuse(f"an undo tells {sorted(times)}, and the journal tells of writes to {sorted(names)}")
    if not report.complete:
        accuse("an undo was not complete, and said nothing")
    states = Counter(each.state for each in told)
    if any(getattr(report, state.value) != states[state] for state in UndoState):
        accuse(f"an undo counts otherwise than it tells: {report}, {states}")


def _check_taken_back(world: World, journal: _Noted, told: dict[str, Undone], moment: int) -> None:
    """Check that what could be taken back was, and that nothing else is said to be."""
    accuse = world.witness.accuse
    for name, item in journal.wanted.items():
        if any(change.by == "somebody" for change in _since(world, name, moment)):
            continue  # it was taken back, or not, before or after that
        now = world.replica.get(name)
        if (now is None) != (item is None) or marks(now) != marks(item):
            accuse(f"{name} was not taken back to {item}: it is {now}")
        if name in told and told[name].state not in _DONE:
            accuse(f"{name} could be taken back, and is told as {told[name]}")
    for name in journal.unknown:
        if name in told and told[name].state in _DONE:
            accuse(f"{name} cannot be known, and is told as {told[name]}")


def _check_others(world: World, journal: _Noted, held: dict[str, Item | None], moment: int) -> None:
    """Check that nothing was taken away but what the journal's writes had brought."""
    for name, item in held.items():
        brought = frozenset().union(
            *(marks(each.after) - marks(each.before) for each in journal.landed.get(name, ()))
        )
        for change in _since(world, name, moment):
            lost = marks(change.before) - marks(change.after) - brought
            if (
                change.after is None
            ):  # what a deletion takes that came after the read is the limit of the promise
                lost &= marks(item)
            if change.by != "somebody" and lost:
                world.witness.accuse(
                    f"undoing has taken away what others wrote to {name}, {sorted(dict(lost))}; it was {item}"
                )
