"""Scenes that tests play: items in plain Python, a primary and a replica, and runs over the two."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import aioboto3

from asyncrep import (
    Discrepancy,
    Found,
    Limits,
    Note,
    Report,
    RetryPolicy,
    Table,
    VirtualClock,
    backfill,
    diff,
    open_table,
    repair,
)
from tests.support.values import equal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from asyncrep import Event
    from asyncrep.options import Strategy
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable
    from tests.support.values import Item, Value

E = TypeVar("E")

PRIMARY = "us-east-1"
REPLICA = "eu-west-1"
NAME = "orders"
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
LIMITS = Limits(segments=2)
"""Few requests for small tables."""
STRATEGIES: tuple[Strategy, ...] = ("batch-get", "dual-scan")


def wire(value: Any) -> Value:
    """The typed value of a plain one: str, bytes, int, Decimal, bool, None, set, list or dict."""
    kind, spell = _SPELLINGS[type(value)]
    if isinstance(value, set):
        (kind,) = wire(next(iter(value)))
        return {f"{kind}S": [wire(member)[kind] for member in sorted(value)]}
    return {kind: spell(value)}


_SPELLINGS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    type(None): ("NULL", lambda _: True),
    bool: ("BOOL", bool),
    str: ("S", str),
    bytes: ("B", lambda value: base64.b64encode(value).decode()),
    int: ("N", str),
    Decimal: ("N", str),
    set: ("", set),
    list: ("L", lambda value: [wire(element) for element in value]),
    dict: ("M", lambda value: {name: wire(member) for name, member in value.items()}),
}


def item(id: Any = "a", **attributes: Any) -> Item:
    """An item with the hash key `id`; attributes in plain form."""
    return {name: wire(value) for name, value in {"id": id, **attributes}.items()}


def items(count: int, **attributes: Any) -> list[Item]:
    """Items k000, k001, … with the same attributes."""
    return [item(f"k{number:03}", **attributes) for number in range(count)]


def key(id: Any = "a") -> bytes:
    """The canonical key of an item with the hash key `id`."""
    return json.dumps(item(id), separators=(",", ":")).encode()


def decoded(image: bytes | None) -> Item | None:
    """An image as an item in wire form."""
    if image is None:
        return None
    decoded: Item = json.loads(image)
    return decoded


def same_items(left: Iterable[Item], right: Iterable[Item], hash: str = "id") -> bool:
    """Whether two tables with one key attribute hold the same items by value."""
    ours, theirs = ({json.dumps(each[hash]): each for each in side} for side in (left, right))
    return ours.keys() == theirs.keys() and all(equal(each, theirs[name]) for name, each in ours.items())


@dataclass
class Log:
    """An observer that keeps what it was told."""

    events: list[Event] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def notes(self) -> list[str]:
        """The sentences of the notes."""
        return [note.message for note in self.of(Note)]

    @property
    def records(self) -> dict[bytes, Discrepancy]:
        """The records in their final state, by key; none may be told twice."""
        told = [event.discrepancy for event in self.of(Found)]
        records = {found.key: found for found in told}
        assert len(records) == len(told), "a record was told twice"
        return records


@cache
def session() -> aioboto3.Session:
    """One session for all tests: reading botocore's models takes longer than most tests do."""
    return aioboto3.Session()


@asynccontextmanager
async def opened(
    primary: str, replica: str, url: str, clock: VirtualClock, retry: RetryPolicy | None = None
) -> AsyncIterator[tuple[Table, Table]]:
    """Both tables, open."""
    options: dict[str, Any] = {"session": session(), "endpoint_url": url, "clock": clock, "retry": retry}
    async with open_table(primary, **options) as ours, open_table(replica, **options) as theirs:
        yield ours, theirs


@dataclass
class Scene:
    """One table in two Regions of a scripted endpoint, and runs over the pair in virtual time."""

    endpoint: ScriptedDynamo
    primary: ScriptedTable
    replica: ScriptedTable
    clock: VirtualClock = field(default_factory=VirtualClock)
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=4))
    log: Log = field(default_factory=Log)
    strategy: Strategy = field(default_factory=lambda: Scene.default_strategy)

    default_strategy: ClassVar[Strategy] = "auto"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Table, Table]]:
        """Both tables, open."""
        places = (f"{PRIMARY}/{NAME}", f"{REPLICA}/{NAME}")
        async with opened(*places, self.endpoint.url, self.clock, self.retry) as tables:
            yield tables

    async def diff(self, **options: Any) -> tuple[dict[bytes, Discrepancy], Report]:
        """A whole diff: what was found, by key, and the report."""
        options = self._defaults() | {"strategy": self.strategy} | options
        async with self.open() as tables, diff(*tables, **options) as run:
            found = [each async for each in run]
        assert len({each.key for each in found}) == len(found)
        return {each.key: each for each in found}, run.report

    async def repair(self, **options: Any) -> Report:
        """A whole repair; `log` holds what it told."""
        options = self._defaults() | {"strategy": self.strategy} | options
        async with self.open() as tables:
            return await repair(*tables, **options)

    async def backfill(self, **options: Any) -> Report:
        """A whole backfill."""
        options = self._defaults() | options
        async with self.open() as tables:
            return await backfill(*tables, **options)

    def _defaults(self) -> dict[str, Any]:
        return {"limits": LIMITS, "clock": self.clock, "observer": self.log}

    def writes(self) -> list[str]:
        """The operations that wrote, or tried to, in order."""
        return [call.operation for call in self.endpoint.calls if call.operation in WRITES]

    @property
    def converged(self) -> bool:
        """Whether both tables hold the same items by value."""
        return self.primary.items.keys() == self.replica.items.keys() and all(
            equal(each, self.replica.items[plain]) for plain, each in self.primary.items.items()
        )


def scene(
    endpoint: ScriptedDynamo,
    primary: Iterable[Item] = (),
    replica: Iterable[Item] = (),
    **options: Any,
) -> Scene:
    """The scene with these items; options are those of ScriptedDynamo.create_table."""
    return Scene(
        endpoint,
        endpoint.create_table(NAME, PRIMARY, items=primary, **options),
        endpoint.create_table(NAME, REPLICA, items=replica, **options),
    )


def strong(region: str) -> dict[str, Any]:
    """Which BatchGetItems of a side a script means: the strongly consistent ones."""
    return {"region": region, "when": lambda body: body["RequestItems"][NAME]["ConsistentRead"]}


def weak(region: str) -> dict[str, Any]:
    """The eventually consistent ones."""
    return {"region": region, "when": lambda body: not body["RequestItems"][NAME]["ConsistentRead"]}


def change(table: ScriptedTable, id: Any = "a", **attributes: Any) -> None:
    """Set attributes of an item that is there, as another writer's UpdateItem would."""
    table.put({**table.items[id], **item(id, **attributes)})
