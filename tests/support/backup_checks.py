"""Checks of backups: against a table of a scripted endpoint, in virtual time, and against one another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncrep import Limits
from asyncrep.backup.check import diff_backup
from asyncrep.backup.key_finding import find_schema
from asyncrep.backup.opening import open_backup
from asyncrep.items.incremental import object_name
from tests.support.restores import Restoring, jsonl
from tests.support.scenario import NAME, PRIMARY, Log, key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from asyncrep import Discrepancy, Report
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

Checked = tuple[dict[bytes, "Discrepancy"], "Report"]


@dataclass
class Checking:
    """A table of a scripted endpoint, and checks of backups against it.

    Attributes:
        table: in which tests look and write as they like.
        log: what the last check told.
    """

    endpoint: ScriptedDynamo
    held: Restoring
    log: Log = field(default_factory=Log)

    @classmethod
    def of(cls, endpoint: ScriptedDynamo, items: Iterable[Item] = (), **options: Any) -> Checking:
        """A table with these items."""
        return cls(
            endpoint, Restoring(endpoint, endpoint.create_table(NAME, PRIMARY, items=items, **options))
        )

    async def __call__(self, source: Path | str, **options: Any) -> Checked:
        """A whole check: what was found, by key, and the report."""
        self.log = Log()
        settings: dict[str, Any] = {
            "limits": Limits(segments=2),
            "observer": self.log,
            "clock": self.held.clock,
        }
        async with self.held.open() as table, open_backup(str(source), table_name=NAME) as backup:
            report = await diff_backup(backup, table, **(settings | options))
        return self.log.records, report


async def between(
    first: Path | str, second: Path | str, names: Sequence[str] = (), **options: Any
) -> tuple[Checked, Log]:
    """A whole check of two backups."""
    log = Log()
    async with open_backup(str(first)) as ours, open_backup(str(second)) as theirs:
        schema = await find_schema([ours, theirs], names)
        report = await diff_backup(ours, theirs, schema=schema, observer=log, **options)
    return (log.records, report), log


def objects(items: Iterable[Item]) -> dict[str, bytes]:
    """The objects of an incremental folder, of items with the key `id`."""
    return {object_name(key(each["id"]["S"])): jsonl([each])[:-1] for each in items}
