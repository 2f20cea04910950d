"""Dumps of a table at the scripted endpoint, and what is in them, read without asyncrep."""

from __future__ import annotations

import gzip
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Limits, RetryPolicy, VirtualClock, open_table
from asyncrep.backup.dump import backup_table
from asyncrep.backup.report import BackupReport
from asyncrep.errors import IncompleteBackupError
from tests.support.scenario import NAME, PRIMARY, Log, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep import Table
    from asyncrep.storage import Storage
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable
    from tests.support.values import Item


@dataclass
class Dumps:
    """A table, a place for its dumps, and runs that make them in virtual time."""

    endpoint: ScriptedDynamo
    table: ScriptedTable
    storage: Storage
    clock: VirtualClock = field(default_factory=VirtualClock)
    log: Log = field(default_factory=Log)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Table]:
        """The table, open."""
        async with open_table(
            f"{PRIMARY}/{NAME}",
            session=session(),
            endpoint_url=self.endpoint.url,
            clock=self.clock,
            retry=RetryPolicy(attempts=4),
        ) as table:
            yield table

    async def __call__(self, **options: Any) -> BackupReport:
        """Dump it, into two segments if nothing else is said."""
        given: dict[str, Any] = {"limits": Limits(segments=2), "clock": self.clock, "observer": self.log}
        async with self.open() as table:
            return await backup_table(table, self.storage, **(given | options))

    async def ending_early(self, **options: Any) -> BackupReport:
        """Dump it in vain: the report of what was done."""
        with pytest.raises(IncompleteBackupError) as failure:
            await self(**options)
        assert isinstance(failure.value.report, BackupReport)
        return failure.value.report

    async def names(self, prefix: str = "") -> list[str]:
        """What is in the place."""
        return [entry.name async for entry in self.storage.entries(prefix)]

    async def body(self, name: str) -> bytes:
        """What an object holds."""
        found = await self.storage.get(name)
        assert found is not None, f"there is no {name}"
        return found[0]

    async def json(self, name: str) -> dict[str, Any]:
        """The same, decoded."""
        decoded: dict[str, Any] = json.loads(await self.body(name))
        return decoded

    async def lines(self, name: str) -> list[bytes]:
        """The lines of a gzipped object."""
        *lines, rest = gzip.decompress(await self.body(name)).split(b"\n")
        assert not rest, "the last line has no end"
        return lines

    async def items(self, job_id: str) -> list[Item]:
        """All items of a dump, by its manifest."""
        manifest = await self.json(f"{job_id}/manifest.json")
        return [
            json.loads(line)
            for part in manifest["parts"]
            for line in await self.lines(f"{job_id}/{part['name']}")
        ]


def by_text(items: list[Item]) -> list[str]:
    """Items in an order that does not depend on where they were found."""
    return sorted(json.dumps(item, sort_keys=True) for item in items)
