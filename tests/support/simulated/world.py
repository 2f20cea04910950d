"""What happens around a repair: writers on both sides, replication that lags and misses, processes that crash."""

from __future__ import annotations

import asyncio
import random
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncrep.errors import UnreachableError
from tests.support.simulated.tables import SimulatedHandle, SimulatedTable
from tests.support.simulated.witness import Evidence, Witness
from tests.support.simulated.writers import Hand

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.flow.memory import Ledger
    from asyncrep.jobs.journal import Journal
    from tests.support.simulated.loop import VirtualLoop
    from tests.support.values import Item

PROCESS: ContextVar[Process] = ContextVar("PROCESS")
"""The process that the code at hand belongs to."""


@dataclass(frozen=True)
class Weather:
    """What a seed makes of the world.

    Attributes:
        keys: how many records there are.
        page_items: the most items on a page.
        latency: mean seconds on the way to a table, and the same back.
        lag: mean seconds until a replica, or a stale read, sees a change.
        missed: the share of changes that replication loses.
        writes: mean seconds between two changes by the writers.
        races: the share of writes that somebody else meets at the very record.
        faults: the share of calls that fail.
        calm: nobody writes but asyncrep.
    """

    keys: int
    page_items: int
    latency: float
    lag: float
    missed: float
    writes: float
    races: float
    faults: float
    calm: bool

    @classmethod
    def of(cls, chance: random.Random) -> Weather:
        """Choose the weather."""
        return cls(
            keys=chance.choice((2, 4, 8, 12)),
            page_items=chance.choice((1, 3, 5)),
            latency=chance.choice((0.1, 0.4, 1.0)),
            lag=chance.choice((0.5, 2.0, 10.0)),
            missed=chance.choice((0.0, 0.2, 0.6)),
            writes=chance.choice((0.3, 1.0, 4.0)),
            races=chance.choice((0.0, 0.2, 0.5)),
            faults=chance.choice((0.0, 0.0, 0.005, 0.03)),
            calm=chance.random() < 0.2,
        )


class World:
    """Both tables, S3, and everybody who is not asyncrep.

    Attributes:
        chance: decides everything.
        racing: somebody changes records of the replica that are being written to, though all else is quiet.
        names: the records that there may be.
        live: the writers write, replication lags, and reads may be stale.
        page_items: the most items on a page of a scan.
        objects: what S3 holds, with ETags, by whole name.
        ledgers: those of all runs.
        segments: how many segments the tables are scanned in.
        ignored: attributes that are not compared.
        appeared: records that the primary got or lost.
        witness: sees all that must not happen.
    """

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.seed = seed
        self.loop = loop
        self.chance = random.Random(seed)
        self.weather = Weather.of(self.chance)
        self.live = not self.weather.calm
        self.page_items = self.weather.page_items
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.ledgers: list[Ledger] = []
        self.witness = Witness(self)
        self.primary = SimulatedTable(self, "primary")
        self.replica = SimulatedTable(self, "replica")
        self.moment = 0
        self.racing = False
        self.segments = self.chance.choice((1, 2, 3))
        self.ignored: frozenset[str] = frozenset(self.chance.choice(("", "", "a", "bc")))
        self.names = [f"k{number:02}" for number in range(self.weather.keys)]
        self.appeared: set[str] = set()
        self._hand = Hand(self.chance)
        self._replicated: dict[str, float] = {}
        self._drift()
        self.primary.changed = self._replicate
        self.replica.changed = self.witness.see_change

    # ── Chance and time ─────────────────────────────────────────────────────────────────────────────

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return probability > 0 and self.chance.random() < probability

    def soon(self, mean: float) -> float:
        """Some seconds, few or many."""
        return self.chance.expovariate(1 / mean)

    def lag(self) -> float:
        """Seconds until a change is seen elsewhere; none once the world is quiet."""
        return self.soon(self.weather.lag) if self.live else 0.0

    def tick(self) -> int:
        """The number of this moment, later than all before it."""
        self.moment += 1
        return self.moment

    def later(self, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        """Do something after some seconds."""
        self.loop.call_later(seconds, action, *arguments)

    # ── Writers ─────────────────────────────────────────────────────────────────────────────────────

    def _drift(self) -> None:
        """Fill both tables, drifted in a few ways or in every one."""
        ways = self._hand.ways(self.chance.choice((2, 3, 12)))
        for name in self.names:
            mine, others = self._hand.drifted(name, self.chance.choice(ways))
            for table, held in ((self.primary, mine), (self.replica, others)):
                if held is not None:
                    table.table.put(_shuffled(held, self.chance))

    async def write(self) -> None:
        """Change something on either side, again and again, as long as the world is live."""
        while self.live:
            await asyncio.sleep(self.soon(self.weather.writes))
            if self.live:
                self.change(self.chance.choice(self.names))

    def race(self, name: str) -> None:
        """Maybe change the very record that is being written to."""
        if self.racing and self.happens(0.3):
            self.change(name, self.replica)
        if self.live and self.happens(self.weather.races):
            self.change(name)

    def change(self, name: str, table: SimulatedTable | None = None) -> None:
        """Change a record, on either side if not told on which, more often the primary."""
        table = table or (self.primary if self.happens(0.6) else self.replica)
        table.write(name, self._hand.change(name, table.get(name)), "somebody")

    def _replicate(self, name: str, before: Item | None, after: Item | None, by: str) -> None:  # noqa: ARG002
        """Send a change of the primary to the replica, in order for each record; some are missed."""
        if (before is None) != (after is None):
            self.appeared.add(name)
        if self.happens(self.weather.missed):
            return
        due = max(self._replicated.get(name, 0.0), self.loop.time() + self.lag())
        self._replicated[name] = due
        self.loop.call_at(due, self._deliver, name, after)

    def _deliver(self, name: str, after: Item | None) -> None:
        self.replica.write(name, after, "stream")

    async def quiet(self) -> None:
        """Let the writers stop and everything arrive that is on its way."""
        self.live = False
        await asyncio.sleep(10_000)
        self.primary.catch_up()
        self.replica.catch_up()


@dataclass
class Process:
    """One process of asyncrep, which may be killed.

    Attributes:
        purpose: who its writes are by.
        evidence: what its job has seen, this process and those before it.
        faults: the share of its calls that fail.
        alive: whether anything that it still does has any effect.
        ended: the passes that have come to their end.
        began: when it began.
        end: ends it.
        landings_left: so many of its writes land before it is ended, between a write and its verification.
        journal: the one that it writes to.
        closed: it has closed its journal in order.
    """

    world: World
    purpose: str
    evidence: Evidence
    faults: float = 0.0
    alive: bool = True
    ended: set[str] = field(default_factory=set)
    began: int = 0
    end: Callable[[], object] = lambda: None
    landings_left: int | None = None
    journal: Journal | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        self.began = self.world.tick()

    def see_landing(self) -> None:
        """Take note that a write has landed."""
        if self.landings_left is not None:
            self.landings_left -= 1
            if self.landings_left == 0:
                self.world.loop.call_soon(self.end)

    def see_closed(self) -> None:
        """Take note of whether the journal, which was just left, was closed in order."""
        self.closed = self.alive and self.journal is not None and self.journal._log._error is None

    @property
    def primary(self) -> SimulatedHandle:
        """The primary as this process reaches it."""
        return SimulatedHandle(self.world.primary, self)

    @property
    def replica(self) -> SimulatedHandle:
        """The replica as this process reaches it."""
        return SimulatedHandle(self.world.replica, self)

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return self.world.happens(probability)

    async def travel(self) -> None:
        """Be on the way, there or back."""
        if not self.alive:
            raise UnreachableError("The process is dead.")
        await asyncio.sleep(self.world.soon(self.world.weather.latency))

    def may_fail(self, share: float = 1.0, *, maybe_done: bool = False) -> None:
        """Now and then, fail for good."""
        if self.happens(self.faults * share):
            error = UnreachableError("No answer, however often it was tried.")
            error.maybe_done = maybe_done
            raise error


def _shuffled(held: Item, chance: random.Random) -> Item:
    """The same item, spelled in another order."""
    names = list(held)
    chance.shuffle(names)
    return {name: held[name] for name in names}
