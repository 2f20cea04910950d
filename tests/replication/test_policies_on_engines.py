"""The guarded policies on engines that are not ours: their expressions and transactions mean what we think."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Table, open_table
from asyncrep.change import Applied, Applier, Change, ChangeKind, Fate
from asyncrep.replicate.guard import GuardTable, open_guard_table
from asyncrep.replicate.one_way import OneWay
from asyncrep.replicate.sequences import SequenceGuarded
from asyncrep.replicate.versions import VersionGuarded
from tests.support import engines
from tests.support.scenario import session, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.engines import Engine
    from tests.support.values import Item

BIG = "-12345678901234567890123456789012345.678"
REST: Item = {
    "s": {"SS": ["b", "a"]},
    "m": {"M": {"l": {"L": [{"N": "1"}, {"NULL": True}]}}},
    "big": {"N": BIG},
}


@pytest.fixture(params=[name for name in engines.available() if name != "dynalite"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine that has transactions."""
    start = {"moto": engines.moto, "custom": engines.custom}[request.param]
    engine = start(request.getfixturevalue(f"{request.param}_url"))
    yield engine
    engine.delete_tables()


@asynccontextmanager
async def opened(engine: Engine) -> AsyncIterator[tuple[Table, GuardTable]]:
    name = engine.create_table(hash=("id", "B"), range=("r", "N"))
    async with open_table(f"{engine.url}/{name}", session=session()) as table:
        guard = await open_guard_table(table, f"{name}-guard", create=True)
        engine._tables.append((f"{name}-guard", "us-east-1"))
        yield table, guard


def made(version: Any, content: str = "x") -> Item:
    return {"id": wire(b"\x00\xff"), "r": {"N": "5"}, "v": wire(version), "by": wire(content), **REST}


def change(old: Item | None, new: Item | None, sequence: int = 1) -> Change:
    kind = ChangeKind.REMOVE if new is None else ChangeKind.INSERT if old is None else ChangeKind.MODIFY
    images = [None if each is None else json.dumps(each).encode() for each in (old, new)]
    key = b'{"id":{"B":"AP8="},"r":{"N":"5"}}'
    stream = "arn:aws:dynamodb:us-east-1:123456789012:table/x/stream/2026-01-01T00:00:00.000"
    return Change(key=key, kind=kind, sequence=sequence, old=images[0], new=images[1], stream=stream)


async def fate(applier: Applier, *changes: Change) -> Fate | None:
    """What became of the only change, None when it was just written."""
    applied: Applied = await applier.apply(changes)
    assert (applied.written == 1) is (not applied.of(Fate.SUPERSEDED, Fate.POISON)) or applied.of(
        Fate.CONFLICT
    )
    return applied.unwritten[0].fate if applied.unwritten else None


async def test_versions_go_up_only_and_deletions_are_remembered(engine: Engine) -> None:
    async with opened(engine) as (table, guard):
        mirror = VersionGuarded(table, guard, "v")
        there = table.settings.name
        assert await fate(mirror, change(None, made(9))) is None
        assert engine.items(there) == [made(9)]
        assert await fate(mirror, change(None, made(9))) is Fate.SUPERSEDED
        assert await fate(mirror, change(None, made(8))) is Fate.SUPERSEDED
        assert await fate(mirror, change(made(9), made(10))) is None
        assert await fate(mirror, change(made(9), None)) is Fate.SUPERSEDED
        assert await fate(mirror, change(None, made(9))) is Fate.SUPERSEDED
        assert await fate(mirror, change(made(10), None)) is None
        assert engine.items(there) == []
        assert await fate(mirror, change(None, made(10))) is Fate.SUPERSEDED
        assert await fate(mirror, change(None, made(11))) is None
        [row] = engine.items(guard.name)
        assert row["version"] == {"N": "10"}
        assert table.meter.throttled == 0


async def test_conflicts_are_settled_and_told(engine: Engine) -> None:
    async with opened(engine) as (table, guard):
        mirror = VersionGuarded(table, guard, "v")
        there = table.settings.name
        for content in "abcdef":
            await mirror.apply([change(None, made(5, content))])
        [winner] = engine.items(there)
        for content in "fedcba":
            expected = Fate.SUPERSEDED if made(5, content) == winner else Fate.CONFLICT
            assert await fate(mirror, change(None, made(5, content))) is expected
        assert engine.items(there) == [winner]
        other = made(5, "another")
        assert await fate(mirror, change(other, None)) is Fate.CONFLICT
        assert engine.items(there) == []


async def test_sequence_numbers_go_up_only(engine: Engine) -> None:
    async with opened(engine) as (table, guard):
        mirror = SequenceGuarded(table, guard)
        there = table.settings.name
        assert await fate(mirror, change(None, made(1), 10**39)) is None
        assert await fate(mirror, change(None, made(2), 10**39)) is Fate.SUPERSEDED
        assert await fate(mirror, change(None, made(2), 9)) is Fate.SUPERSEDED
        assert engine.items(there) == [made(1)]
        assert await fate(mirror, change(made(1), None, 10**39 + 1)) is None
        [row] = engine.items(guard.name)
        assert "expires" in row
        assert await fate(mirror, change(None, made(3), 10**39 + 2)) is None
        [row] = engine.items(guard.name)
        assert row["sequence"] == {"S": str(10**39 + 2)}
        assert "expires" not in row


async def test_poison_stays_alone(engine: Engine) -> None:
    async with opened(engine) as (table, guard):
        large = change(None, made(2, "x" * 420_000))
        for mirror in (OneWay(table), SequenceGuarded(table, guard), VersionGuarded(table, guard, "v")):
            applied = await mirror.apply([large])
            assert [each.fate for each in applied.unwritten] != []
            assert engine.items(table.settings.name) == []
