"""The two tables as asyncrep sees them: real requests on scripted tables, over a network that loses answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from asyncrep.aws.guard import expressions
from asyncrep.aws.write import _caveat, _request
from asyncrep.errors import PermissionDeniedError, RejectedError, ThrottledError
from asyncrep.items.keys import KeyReader
from asyncrep.location import TableRef
from asyncrep.model import KeyAttribute, KeySchema, Meter, Page, TableSettings
from asyncrep.mutation import Outcome
from tests.support.operations import perform
from tests.support.request import Request
from tests.support.tables import ScriptedTable
from tests.support.values import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asyncrep.flow.purse import Account
    from asyncrep.model import KeyedImage, Segment, Side, Source
    from asyncrep.mutation import ItemState, Mutation
    from asyncrep.options import Limits
    from tests.support.simulated.world import Process, World
    from tests.support.values import Item

SCHEMA = KeySchema(KeyAttribute("id", "S"))
NAME = "orders"
_REGIONS = {"primary": "us-east-1", "replica": "eu-west-1"}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def key_of(name: str) -> bytes:
    """The canonical key of the record with this name."""
    return b'{"id":{"S":"%b"}}' % name.encode()


def name_of(key: bytes) -> str:
    """The name of the record with this canonical key."""
    name: str = _decode(key)["id"]["S"]
    return name


class SimulatedTable:
    """One table: what it holds, and what eventually consistent reads still see of it.

    Attributes:
        changed: is told every change: key, item before, item after, who made it.
    """

    def __init__(self, world: World, side: Side) -> None:
        self.world = world
        self.side = side
        self.region = _REGIONS[side]
        self.table = ScriptedTable(NAME, self.region, [("id", "S")])
        self.changed: Callable[[str, Item | None, Item | None, str], None] = lambda *_: None
        self._seen: dict[str, tuple[int, Item | None]] = {}

    def get(self, name: str) -> Item | None:
        """The item as strong reads see it."""
        return self.table.get(name)

    def names(self) -> list[str]:
        """The records there are, in the order of a scan."""
        return sorted(self.table.items, key=self.table._order)

    def write(self, name: str, item: Item | None, by: str) -> None:
        """Change an item as somebody other than asyncrep does."""
        before = self.table.get(name)
        if item is None:
            self.table.delete(name)
        else:
            self.table.put(item)
        self.note(name, before, by)

    def note(self, name: str, before: Item | None, by: str) -> None:
        """Take note of a change that was just made; stale reads see it some time later."""
        after, version = self.table.get(name), self.world.tick()
        self._seen.setdefault(name, (0, before))
        self.world.later(self.world.lag(), self._show, name, version, after)
        self.changed(name, before, after, by)

    def _show(self, name: str, version: int, item: Item | None) -> None:
        if version > self._seen[name][0]:
            self._seen[name] = version, item

    def catch_up(self) -> None:
        """Let every read see the present."""
        self._seen.clear()

    def read(self, name: str, *, consistent: bool) -> Item | None:
        """The item as one read sees it: an eventually consistent one may see an older state."""
        if consistent or name not in self._seen or self.world.happens(0.3):
            return self.table.get(name)
        return self._seen[name][1]

    def perform(self, mutation: Mutation) -> dict[str, Any]:
        """Send the request that asyncrep makes of a mutation.

        Raises:
            ServiceError: as the service refuses it.
        """
        made = expressions(mutation, SCHEMA)
        operation, body = _request(NAME, mutation, made)
        tables = {(self.region, NAME): self.table}
        return perform(Request(tables, operation, self.region, _decode(body)))


class SimulatedHandle:
    """A table as one process reaches it: a ``Destination``."""

    def __init__(self, state: SimulatedTable, process: Process) -> None:
        self.state = state
        self.ref = TableRef.parse(f"{state.region}/{NAME}")
        self.label = str(self.ref)
        self.meter = Meter()
        self.settings = TableSettings(
            name=NAME,
            arn=f"arn:aws:dynamodb:{state.region}:123456789012:table/{NAME}",
            table_id=state.side,
            schema=SCHEMA,
            item_count=0,
            size_bytes=0,
            indexes=frozenset(),
            ttl_attribute=None,
            stream_view=None,
        )
        self._process = process
        self._keys = KeyReader(SCHEMA)

    def is_same_as(self, other: Source) -> bool:
        return isinstance(other, SimulatedHandle) and other.state is self.state

    def limited(self, limits: Limits, account: Account | None = None) -> SimulatedHandle:  # noqa: ARG002
        return SimulatedHandle(self.state, self._process)

    async def copies_to(self, other: Source) -> bool | None:  # noqa: ARG002
        return False

    async def is_empty(self) -> bool:
        await self._process.travel()
        return not self.state.table.items

    def key(self, image: Raw | bytes) -> bytes:
        return self._keys.key(image)

    # ── Reads ───────────────────────────────────────────────────────────────────────────────────────

    async def pages(
        self, segment: Segment, *, keys_only: bool = False, after: bytes | None = None
    ) -> AsyncIterator[Page]:
        process, table = self._process, self.state.table
        place = None if after is None else table._order(name_of(after))
        ended = False
        while not ended:
            await process.travel()
            process.may_fail()
            # What stale reads still see is scanned too.
            names = sorted({*table.items, *self.state._seen}, key=table._order)
            left = [
                name
                for name in names
                if table._segment(name, segment.total) == segment.index
                and (place is None or table._order(name) > place)
            ]
            chosen = left[: process.world.chance.randint(1, process.world.page_items)]
            ended = len(chosen) == len(left) and (not chosen or process.happens(0.7))
            if chosen:
                place = table._order(chosen[-1])
            items = [self.state.read(name, consistent=False) for name in chosen]
            images = [_image(item, keys_only=keys_only) for item in items if item is not None]
            await process.travel()
            if ended:
                process.evidence.walked.add((self.state.side, segment.index))
            yield Page(segment.index, images, ended and process.happens(0.9))

    async def get(
        self, keys: Sequence[bytes], *, consistent: bool, keys_only: bool = False
    ) -> dict[bytes, Raw]:
        process = self._process
        await process.travel()
        process.may_fail()
        found: dict[bytes, Raw] = {}
        seen: list[tuple[str, Item | None, int]] = []
        for key in keys:
            if process.happens(0.1):
                await process.travel()  # a batch is not read at one moment
            name = name_of(key)
            item = self.state.read(name, consistent=consistent)
            seen.append((name, item, process.world.tick()))
            if item is not None:
                found[key] = _image(item, keys_only=keys_only)
        await process.travel()
        process.may_fail()
        if consistent and not keys_only:
            for name, item, moment in seen:
                process.evidence.see_read(self.state.side, name, item, moment)
        return found

    # ── Writes ──────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, mutation: Mutation) -> Outcome:
        process, world = self._process, self._process.world
        world.witness.see_sent(self.state.side, mutation, process)
        try:
            await process.travel()
        except asyncio.CancelledError:
            if process.happens(0.5):  # it is on its way already, and lands whenever it does
                world.later(world.lag(), self._land, mutation)
            raise
        self._refuse()
        world.race(name_of(mutation.key))
        outcome = self._land(mutation)
        if process.happens(process.faults * 2):
            outcome = await self._try_again(mutation)
        else:
            world.race(name_of(mutation.key))
            await process.travel()
        process.may_fail(maybe_done=True)
        world.witness.see_answer(mutation, outcome)
        return outcome

    def _refuse(self) -> None:
        """Now and then, refuse a write for good; it has not landed."""
        process = self._process
        process.may_fail()
        if process.happens(process.faults / 2):
            raise process.world.chance.choice(
                (RejectedError("poison"), ThrottledError("throttled"), PermissionDeniedError("not allowed"))
            )

    async def _try_again(self, mutation: Mutation) -> Outcome:
        """Lose the answer and send the write once more, as the client does."""
        world = self._process.world
        await self._process.travel()
        world.race(name_of(mutation.key))
        again = self._land(mutation)
        await self._process.travel()
        return again if again.applied else Outcome(applied=False, unsure=True)

    def _land(self, mutation: Mutation) -> Outcome:
        """Let a write arrive."""
        name, world = name_of(mutation.key), self._process.world
        before = self.state.get(name)
        try:
            answer = self.state.perform(mutation)
        except ServiceError as refusal:
            if refusal.code != "ConditionalCheckFailedException":
                raise AssertionError(f"the service refuses the request: {refusal.message}") from refusal
            return Outcome(applied=False)
        by = world.witness.see_landing(self.state.side, mutation, before, self.state.get(name), self._process)
        self.state.note(name, before, by)
        self._process.see_landing()
        old = answer.get("Attributes")
        caveat = _caveat(expressions(mutation, SCHEMA))
        return Outcome(applied=True, old=None if old is None else _encode(old), caveat=caveat)

    async def write_all(self, states: Sequence[KeyedImage | ItemState]) -> None:
        raise AssertionError(f"a repair puts nothing without a condition: {states}")


def _image(item: Item, *, keys_only: bool) -> Raw:
    return Raw(_encode({"id": item["id"]} if keys_only else item))
