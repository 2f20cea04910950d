"""Journals that tests write and read."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asyncrep import VirtualClock
from asyncrep.jobs.entries import (
    Entry,
    Intent,
    Settled,
)
from asyncrep.jobs.history import read_journal
from asyncrep.jobs.journal import Journal, open_journal
from asyncrep.model import Missing
from asyncrep.mutation import ItemAbsent, Put
from tests.support.scenario import item, key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncrep.aws.table import Table


def image(id: Any = "a", **attributes: Any) -> bytes:
    return json.dumps(item(id, **attributes)).encode()


def put(id: str = "a") -> tuple[Missing, Put]:
    return Missing(key=key(id), primary=image(id)), Put(key(id), image(id), ItemAbsent())


@asynccontextmanager
async def opened(path: Path | str, replica: Table, **options: Any) -> AsyncIterator[Journal]:
    given: dict[str, Any] = {"primary": "us-east-1/orders", "clock": VirtualClock()} | options
    async with open_journal(path, replica, **given) as journal:
        yield journal


async def records(path: Path) -> list[Any]:
    async with read_journal(path) as read:
        return [record async for record in read]


def entries(found: list[Any]) -> list[Entry]:
    settled = {(each.by, each.n): each for each in found if isinstance(each, Settled)}
    return [Entry.of(each, settled.get((each.by, each.n))) for each in found if isinstance(each, Intent)]
