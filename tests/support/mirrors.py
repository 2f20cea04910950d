"""Tables that mirror each other in memory, turn by turn: writers, mirrors, zombies, lost answers; one seed, one run.

Nothing is sent: the tables are scripted ones, and what asyncrep would send goes straight to their operations.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast
from unittest.mock import patch

from botocore.exceptions import ClientError

from asyncrep.aws.capacity import Budget
from asyncrep.aws.errors import raise_translated
from asyncrep.aws.session import BODY
from asyncrep.aws.table import Table
from asyncrep.change import Change, Fate
from asyncrep.errors import UnreachableError
from asyncrep.flow.clock import VirtualClock
from asyncrep.items.canonical import content_digest
from asyncrep.items.keys import KeyReader
from asyncrep.location import TableRef
from asyncrep.model import KeyAttribute, KeySchema, TableSettings
from asyncrep.options import Limits
from asyncrep.replicate.guard import GuardTable
from asyncrep.replicate.records import read_record
from asyncrep.replicate.versions import VersionGuarded
from tests.support.operations import perform
from tests.support.request import Request
from tests.support.tables import ScriptedTable
from tests.support.values import Item, ServiceError, equal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from asyncrep.aws.client import WireClient
    from asyncrep.change import Applier

T = TypeVar("T")

NAME = "orders"
GUARD = "guard"
SCHEMA = KeySchema(KeyAttribute("id", "S"))
KEYS = KeyReader(SCHEMA)
_MOST_BATCHES = 400  # more than any run needs that comes to an end


class CrashError(Exception):
    """The worker is gone, and nobody learns what it has done."""


@dataclass
class Chaos:
    """What goes wrong, and who has the next turn.

    Attributes:
        lost: the share of requests that are carried out and not answered.
        crashes: the share of requests with which their worker ends.
        zombies: the share of batches that somebody else brings, much too late.
        replays: the share of batches after which a mirror goes back.
    """

    rng: random.Random
    lost: float = 0.08
    crashes: float = 0.01
    zombies: float = 0.1
    replays: float = 0.1
    tokens: bool = True

    def happens(self, share: float) -> bool:
        return self.rng.random() < share

    async def pause(self, most: int = 4) -> None:
        for _ in range(self.rng.randrange(most)):
            await asyncio.sleep(0)


class _Wire:
    """Stands in for a WireClient: requests are carried out at once, on tables in memory."""

    def __init__(self, tables: dict[tuple[str, str], ScriptedTable], region: str, chaos: Chaos) -> None:
        self.name = NAME
        self.label = f"{region}/{NAME}"
        self.clock = VirtualClock()
        self.watch: Callable[[Any, Item | None, Item | None, dict[str, Any]], None] | None = None
        self._tables = tables
        self._region = region
        self._chaos = chaos

    async def call(
        self, operation: str, body: bytes, decode: Callable[[bytes], T], _budget: object, _cost: object
    ) -> T:
        chaos = self._chaos
        await chaos.pause()
        if chaos.happens(chaos.crashes):
            raise CrashError
        lost = chaos.happens(chaos.lost)
        if lost:
            if chaos.happens(0.7):
                self._carry_out(operation, json.loads(body))
            await chaos.pause()
            if chaos.happens(0.4):
                error = UnreachableError("The answer got lost.")
                error.maybe_done = True
                raise error
        answer = self._carry_out(operation, json.loads(body))
        await chaos.pause()
        if isinstance(answer, ServiceError):
            _refuse(operation, answer, maybe_done=lost)
        return decode(json.dumps(answer).encode())

    def _carry_out(self, operation: str, body: dict[str, Any]) -> dict[str, Any] | ServiceError:
        table = self._tables[self._region, NAME]
        before = dict(table.items)
        try:
            answer = perform(Request(self._tables, operation, self._region, body))
        except ServiceError as refusal:
            return refusal
        if self.watch is not None:
            for key in before.keys() | table.items.keys():
                if before.get(key) != table.items.get(key):
                    self.watch(key, before.get(key), table.items.get(key), body)
        return answer


def _refuse(operation: str, refusal: ServiceError, *, maybe_done: bool) -> NoReturn:
    raw: Any = {"Error": {"Code": refusal.code, "Message": refusal.message}, **refusal.extra}
    raw |= {"ResponseMetadata": {"HTTPStatusCode": refusal.status}, BODY: json.dumps(refusal.extra).encode()}
    raise_translated(ClientError(raw, operation), operation, NAME, maybe_done=maybe_done)


@dataclass
class Side:
    """One of the tables, with its guard and the client of those who write to it."""

    region: str
    items: ScriptedTable
    rows: ScriptedTable
    wire: _Wire
    table: Table
    guard: GuardTable

    @property
    def entries(self) -> list[dict[str, Any]]:
        """All records of its stream."""
        (shard,) = self.items.stream.shards.values()
        return [entry.record for entry in shard.entries]

    def changes(self, begin: int, end: int) -> list[Change]:
        read = [
            read_record(json.dumps(each).encode(), KEYS, self.items.stream.arn)
            for each in self.entries[begin:end]
        ]
        assert all(isinstance(each, Change) for each in read)
        return cast("list[Change]", read)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Nothing reaches this side."""

        async def gone(*_: object) -> None:
            raise UnreachableError("Nobody there.")

        with patch.object(self.wire, "call", gone):
            yield


def make_side(region: str, chaos: Chaos) -> Side:
    items = ScriptedTable(NAME, region, [("id", "S")])
    items.enable_stream(clock=VirtualClock())
    rows = ScriptedTable(GUARD, region, [("id", "S")], "expires")
    if not chaos.tokens:
        items.tokens = rows.tokens = None
    wire = _Wire({(region, NAME): items, (region, GUARD): rows}, region, chaos)
    settings = TableSettings(NAME, items.arn, None, SCHEMA, 0, 0, frozenset(), None, None)
    client = cast("WireClient", wire)
    table = Table(client, TableRef(NAME, region), region, settings, Budget(Limits(), wire.clock))
    guard = GuardTable(GUARD, f"{region}/{GUARD}", NAME, wire.clock)
    return Side(region, items, rows, wire, table, guard)


class Mirror:
    """Follows the stream of one side and applies it at another; it forgets, goes back, and has zombies."""

    def __init__(self, origin: Side, applier: Applier, chaos: Chaos) -> None:
        self.origin = origin
        self.position = 0
        self.batches = 0
        self.told: list[tuple[Change, Fate, str]] = []
        self.crashed = False
        self._applier = applier
        self._chaos = chaos
        self._zombies = 0

    @property
    def is_done(self) -> bool:
        return self.position == len(self.origin.entries) and not self._zombies

    async def run(self, group: asyncio.TaskGroup, is_over: Callable[[], bool]) -> None:
        """Go on until all is over."""
        while not is_over():
            await self._chaos.pause()
            end = min(self.position + self._chaos.rng.randint(1, 5), len(self.origin.entries))
            if end == self.position:
                await asyncio.sleep(0)
                continue
            if self._chaos.happens(self._chaos.zombies):
                self._zombies += 1
                begin = self._chaos.rng.randrange(end)
                group.create_task(self._come_late(begin, self._chaos.rng.randint(begin + 1, end)))
            if await self._bring(self.origin.changes(self.position, end)):
                self.position = end
            if self._chaos.happens(self._chaos.replays):
                self.position = self._chaos.rng.randint(0, self.position)

    async def _come_late(self, begin: int, end: int) -> None:
        changes = self.origin.changes(begin, end)
        await self._chaos.pause(60)
        await self._bring(changes)
        self._zombies -= 1

    async def _bring(self, changes: Sequence[Change]) -> bool:
        """Apply a batch, with some patience; tell whether all of it is done with."""
        for _ in range(6):
            self.batches += 1
            assert self.batches < _MOST_BATCHES, "the mirrors never come to an end"
            try:
                applied = await self._applier.apply(changes)
            except CrashError:
                self.crashed = True
                return False
            self.told += [(each.change, each.fate, each.reason) for each in applied.unwritten]
            assert not applied.of(Fate.POISON), applied
            changes = [each.change for each in applied.of(Fate.FAILED)]
            if not changes:
                return True
        return False


@dataclass
class Written:
    """A version that a writer put (content is its digest) or deleted."""

    version: int
    deleted: bool
    digest: bytes

    @property
    def rank(self) -> tuple[int, bool, bytes]:
        return (self.version, self.deleted, b"" if self.deleted else self.digest)


@dataclass
class World:
    """Sides that mirror each other, what writers did to them, and what was seen of the mirrors' writes."""

    chaos: Chaos
    sides: list[Side]
    mirrors: list[Mirror] = field(default_factory=list)
    written: dict[str, list[Written]] = field(default_factory=lambda: defaultdict(list))
    lost_contents: set[tuple[str, int]] = field(default_factory=set)
    removed: dict[tuple[str, int], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    mirrored: int = 0
    known: dict[tuple[str, str], int] = field(default_factory=dict)
    forgetful: bool = False

    def watch(self, key: str, old: Item | None, new: Item | None, body: dict[str, Any]) -> None:
        """Check one write of a mirror."""
        self.mirrored += 1
        if old is None:
            return
        before = _version(old)
        if new is not None:
            assert _version(new) >= before, f"version {_version(new)} was written over {before}"
            if _version(new) == before:
                assert _digest(new) > _digest(old), "the lesser content of a conflict was written"
                self.lost_contents.add((key, before))
            return
        delete = next(action["Delete"] for action in body["TransactItems"] if "Delete" in action)
        asked = int(delete["ExpressionAttributeValues"][":0"]["N"])
        assert before <= asked, f"a delete of version {asked} deleted {before}"
        if before == asked and _digest(old) not in self.removed[key, before]:
            self.lost_contents.add((key, before))
        self.removed[key, before].add(_digest(old))

    def write(self, side: Side, key: str) -> None:
        """What a writer of one side does to an item: it makes its version higher, deletes or creates it."""
        item = side.items.items.get(key)
        version = 0 if item is None else _version(item)
        if item is not None and self.chaos.happens(0.35):
            side.items.delete(key)
            self.known[side.region, key] = max(self.known.get((side.region, key), 0), version)
            self.removed[key, version].add(_digest(item))
            self.written[key].append(Written(version, deleted=True, digest=_digest(item)))
            return
        if item is None or not self.forgetful:
            version = max(version, self.known.get((side.region, key), 0), _buried(side, key))
        made = {"id": {"S": key}, "v": {"N": str(version + 1)}, "by": {"S": self._content(side)}}
        side.items.put(made)
        self.written[key].append(Written(version + 1, deleted=False, digest=_digest(made)))

    def _content(self, side: Side) -> str:
        """Often the sides write different things, sometimes the same."""
        return self.chaos.rng.choice(("x", f"{side.region} {self.chaos.rng.randrange(100)}"))

    def check(self) -> None:
        """What must hold when all is quiet: the highest that was written is everywhere, and nothing was hushed up."""
        for key, facts in self.written.items():
            self._check_key(key, max(facts, key=lambda fact: fact.rank))
        steps = sum(map(len, self.written.values()))
        assert self.mirrored <= len(self.sides) * steps * 3, f"{self.mirrored} writes for {steps} steps"
        told = self.told()
        for key, version in self.lost_contents:
            assert (key, version) in told, f"nobody told that version {version} of {key} had two contents"

    def _check_key(self, key: str, last: Written) -> None:
        for side in self.sides:
            item = side.items.items.get(key)
            if last.deleted:
                assert item is None, f"{key}: deleted at {last.version}, and {side.region} has {item}"
            else:
                assert item is not None, f"{key}: {side.region} lacks version {last.version}"
                assert _digest(item) == last.digest, f"{key}: {side.region} has {item}, not {last}"

    def told(self) -> set[tuple[str, int]]:
        """The keys and versions of the conflicts that the mirrors told of."""
        return {
            (json.loads(change.key)["id"]["S"], _version(json.loads(image)))
            for mirror in self.mirrors
            for change, fate, _ in mirror.told
            if fate is Fate.CONFLICT
            for image in (change.new, change.old)
            if image is not None
        }

    def differing(self) -> set[str]:
        """The keys under which not all sides have the same."""
        first, *others = (side.items.items for side in self.sides)
        return {
            key
            for other in others
            for key in first.keys() | other.keys()
            if key not in first or key not in other or not equal(first[key], other[key])
        }


def _version(item: Item) -> int:
    return int(item["v"]["N"])


def _digest(item: Item) -> bytes:
    return content_digest(json.dumps(item).encode())


def _buried(side: Side, key: str) -> int:
    wanted = KEYS.key(json.dumps({"id": {"S": key}}).encode()).decode()
    rows = [row for row in side.rows.items.values() if row["key"]["S"] == wanted]
    return max((int(row["version"]["N"]) for row in rows), default=0)


async def play(
    seed: int,
    regions: Sequence[str] = ("us-east-1", "eu-west-1"),
    links: Iterable[tuple[int, int]] | None = None,
    *,
    forgetful: bool = False,
    **options: Any,
) -> World:
    """Play a whole run, until all is quiet.

    Args:
        seed: decides on everything.
        regions: the sides.
        links: which side (by place) is mirrored to which; by default each to every other.
        forgetful: whether writers go on from an item that is there though they know it was deleted later.
        options: of Chaos.
    """
    rng = random.Random(seed)
    chaos = Chaos(rng, **{"tokens": rng.random() < 0.7, "crashes": rng.choice((0, 0, 0.01)), **options})
    sides = [make_side(region, chaos) for region in regions]
    world = World(chaos, sides, forgetful=forgetful)
    for side in sides:
        side.wire.watch = world.watch
    for origin, to in permutations(range(len(sides)), 2) if links is None else links:
        applier = VersionGuarded(sides[to].table, sides[to].guard, "v")
        world.mirrors.append(Mirror(sides[origin], applier, chaos))
    keys = [f"k{number}" for number in range(rng.randint(1, 2))]
    writing = len(sides)

    async def write(side: Side) -> None:
        nonlocal writing
        for _ in range(rng.randint(2, 9)):
            await chaos.pause(rng.choice((3, 40)))
            world.write(side, rng.choice(keys))
        writing -= 1

    def is_over() -> bool:
        return not writing and all(mirror.is_done for mirror in world.mirrors)

    async with asyncio.TaskGroup() as group:
        for side in sides:
            group.create_task(write(side))
        for mirror in world.mirrors:
            group.create_task(mirror.run(group, is_over))
    return world
