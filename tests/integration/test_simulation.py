"""Simulations over HTTP: a repair among live writers and faults loses nothing it did not read, and converges.

Thousands of stories are played without HTTP, see tests/simulation; here the client takes part, whose calls
are throttled, damaged, cut off and left unprocessed, and tried again. Each seed makes two tables, writers
that act on both sides between a repair's requests, a lag and a sequence of faults. While the writers act,
every value that the repair overwrites or deletes must be one that a strong read had shown it; once they
stop, one more repair makes the tables equal.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest

from asyncrep import Comparison, Found, Limits, RetryPolicy, Rules
from tests.support.request import store
from tests.support.scenario import NAME, PRIMARY, REPLICA, Log, Scene, scene
from tests.support.simulated.writers import Hand, Marks, marks

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable

SEEDS = range(100, 112)
READS = ("Scan", "BatchGetItem")
WRITES = ("PutItem", "UpdateItem", "DeleteItem")
KEYS = 24
ACTIONS = 60
RACES = 60
_GAINED = re.compile(r"since it was read: ([a-h, ]+)")


def target(endpoint: ScriptedDynamo) -> str:
    """The record that the write at hand is about."""
    body = endpoint.calls[-1].body
    name: str = body.get("Key", body.get("Item", {}))["id"]["S"]
    return name


@dataclass
class Writers:
    """Those who use both tables while they are repaired."""

    play: Scene
    chance: random.Random
    left: int = ACTIONS
    races: int = RACES

    def __post_init__(self) -> None:
        self._hand = Hand(self.chance)

    def drift(self) -> None:
        """Both tables, drifted in every way."""
        ways = self._hand.ways(KEYS)
        for number, way in enumerate(ways):
            sides = self._hand.drifted(f"k{number:02}", way)
            for table, held in zip((self.play.primary, self.play.replica), sides, strict=True):
                if held is not None:
                    table.put(held)

    def act(self, *_: object) -> None:
        """Now and then, change something on either side."""
        while self.left and self.chance.random() < 0.4:
            self.left -= 1
            table = self.chance.choice((self.play.primary, self.play.replica))
            self.change(table, f"k{self.chance.randrange(KEYS):02}")

    def race(self, *_: object) -> None:
        """Often, change the very record that is about to be written, or has just been."""
        if self.races and self.chance.random() < 0.5:
            self.races -= 1
            table = self.chance.choice((self.play.primary, self.play.replica))
            self.change(table, target(self.play.endpoint))

    def change(self, table: ScriptedTable, key: str) -> None:
        store(table, key, self._hand.change(key, table.get(key)))


@dataclass
class Witness:
    """Watches what strong reads of the replica show, and what every write to it takes away."""

    endpoint: ScriptedDynamo
    replica: ScriptedTable
    shown: dict[str, set[tuple[str, Hashable]]] = field(default_factory=lambda: defaultdict(set))
    last: dict[str, Marks] = field(default_factory=dict)
    lost: list[tuple[str, str]] = field(default_factory=list)
    taken: list[tuple[str, str]] = field(default_factory=list)
    _before: Marks = frozenset()

    def see_read(self, *_: object) -> None:
        query = self.endpoint.calls[-1].body["RequestItems"][NAME]
        if query["ConsistentRead"]:
            for key in query["Keys"]:
                name = key["id"]["S"]
                self.last[name] = marks(self.replica.get(name))
                self.shown[name] |= self.last[name]

    def see_write_coming(self, *_: object) -> None:
        self._before = marks(self.replica.get(target(self.endpoint)))

    def see_write_done(self, *_: object) -> None:
        key = target(self.endpoint)
        unread = self._before - marks(self.replica.get(key)) - self.shown[key]
        known = dict(self.last[key])
        for name in dict(unread):
            # What a deletion takes that came after the read is the limit of the promise.
            came = self.endpoint.calls[-1].operation == "DeleteItem" and name not in known
            (self.taken if came else self.lost).append((key, name))


def script_faults(endpoint: ScriptedDynamo, chance: random.Random) -> None:
    """A few faults of every kind, somewhere in the run."""
    for operation in (*READS, *WRITES):
        for _ in range(chance.randint(0, 4)):
            statement = endpoint.on(operation, times=chance.randint(1, 2), after=chance.randint(0, 12))
            faults = [statement.throttle, statement.reset, statement.hang_up]
            # What a deletion took is told by its answer alone, so that one does not get lost here.
            if operation != "DeleteItem":
                faults += [statement.land_then_reset, statement.corrupt, statement.cut]
            if operation == "BatchGetItem":
                faults += [partial(statement.unprocessed, chance.random())] * 3
            faults.append(partial(statement.error, "InternalServerError", 500))
            chance.choice(faults)()


def release(play: Scene, writers: Writers, witness: Witness) -> None:
    """Let the writers act before and after every request, with the witness closest to what is done."""
    endpoint = play.endpoint
    for operation in (*READS, *WRITES):
        endpoint.before(operation, writers.act, times=None)
    for operation in WRITES:
        endpoint.before(operation, writers.race, times=None)
        endpoint.before(operation, witness.see_write_coming, times=None)
        endpoint.after(operation, witness.see_write_done, times=None)
        endpoint.after(operation, writers.race, times=None)
    endpoint.after("BatchGetItem", witness.see_read, times=None, region=REPLICA)
    for operation in (*READS, *WRITES):
        endpoint.after(operation, writers.act, times=None)


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_unread_is_overwritten_and_the_tables_converge(endpoint, seed):
    chance = random.Random(seed)
    play = scene(endpoint)
    play.retry = RetryPolicy(attempts=15, random=random.Random(seed))
    writers = Writers(play, chance)
    writers.drift()
    play.primary.page_items = chance.randint(2, 9)
    play.replica.page_items = chance.randint(2, 9)
    if chance.random() < 0.5:
        chance.choice((play.primary, play.replica)).freeze_reads()
    witness = Witness(endpoint, play.replica)
    script_faults(endpoint, chance)
    release(play, writers, witness)
    options = {
        "limits": Limits(segments=chance.choice((1, 3)), concurrency=chance.choice((1, 8))),
        "comparison": Comparison(settle=chance.choice((0.0, 0.5)), tries=chance.choice((1, 3))),
        "rules": Rules(max_delete=KEYS * 2),
    }

    live = await play.repair(**options)

    assert live.complete, f"seed {seed}"
    told: dict[str, str] = defaultdict(str)
    for event in play.log.of(Found):
        told[event.discrepancy.key.decode()] += event.discrepancy.reason or ""
    assert witness.lost == [], f"seed {seed}: overwritten without having been read"
    gained = {key: ",".join(_GAINED.findall(reasons)) for key, reasons in told.items()}
    silent = [(key, name) for key, name in witness.taken if name not in gained[f'{{"id":{{"S":"{key}"}}}}']]
    assert silent == [], f"seed {seed}: deleted without having been read, and nobody was told"
    assert {call.region for call in endpoint.calls if call.operation in WRITES} <= {REPLICA}, f"seed {seed}"

    writers.left = writers.races = 0
    for table in (play.primary, play.replica):
        table.thaw_reads()
    quiet = await play.repair(**options, observer=Log())

    assert play.converged, f"seed {seed}: the tables are not equal"
    assert (quiet.remaining, quiet.contested, quiet.in_flight) == (0, 0, 0), f"seed {seed}"
    found, report = await play.diff(observer=Log())
    assert found == {}, f"seed {seed}"
    assert report.compared == report.matched == len(play.primary.items), f"seed {seed}"
    assert endpoint.count("Scan", region=PRIMARY) >= 3
