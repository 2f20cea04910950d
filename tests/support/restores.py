"""Backups made for restores, also such as other tools leave them, and a restore into a scripted table."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncrep import Limits, RetryPolicy, Table, VirtualClock, open_table
from asyncrep.backup.layout import DumpManifest, Part, TableDescription, manifest_bytes
from asyncrep.backup.opening import open_backup
from asyncrep.backup.restore import restore
from tests.support.scenario import NAME, PRIMARY, Log, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from pathlib import Path

    from asyncrep.backup.report import Refused, RestoreReport
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable
    from tests.support.values import Item

BY_ID = {
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
"""How a table with the key `id` is made."""


def jsonl(items: Iterable[Item]) -> bytes:
    """Items as compact lines, in the order of their attributes."""
    return b"".join(
        json.dumps(each, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for each in items
    )


def put(folder: Path, objects: Mapping[str, bytes]) -> Path:
    """Write objects into a folder."""
    for name, data in objects.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def foreign_dump(segments: Iterable[Iterable[Item]]) -> dict[str, bytes]:
    """A dump as dynamodb-replicator leaves it: gzip by number, no manifest, attributes in any order."""
    return {str(number): gzip.compress(jsonl(items)) for number, items in enumerate(segments)}


def our_dump(
    segments: Iterable[Iterable[Item]],
    create: dict[str, Any] | None = None,
    *,
    ended: str = "2026-01-02T03:05:00Z",
    **more: Any,
) -> dict[str, bytes]:
    """A dump with its manifest."""
    objects, parts = {}, []
    for number, items in enumerate(segments):
        plain = jsonl(items)
        stored = gzip.compress(plain, mtime=0)
        objects[str(number)] = stored
        digest = hashlib.sha256(stored).hexdigest()
        parts.append(
            Part(
                name=str(number),
                items=plain.count(b"\n"),
                bytes=len(plain),
                stored_bytes=len(stored),
                sha256=digest,
            )
        )
    manifest = DumpManifest(
        job="job",
        parts=parts,
        items=sum(each.items for each in parts),
        bytes=sum(each.bytes for each in parts),
        stored_bytes=sum(each.stored_bytes for each in parts),
        begun="2026-01-02T03:00:00Z",
        ended=ended,
        table=TableDescription(name=NAME, create=BY_ID if create is None else create, **more),
    )
    return objects | {"manifest.json": manifest_bytes(manifest)}


def export(
    name: str,
    lines: Iterable[dict[str, Any]],
    *,
    time: str = "2026-01-02T03:00:00.000Z",
    since: str | None = None,
    table: str = NAME,
    **more: Any,
) -> dict[str, bytes]:
    """An export as AWS makes it, of one file; with `since` of what changed from then to `time`."""
    plain = jsonl(lines)
    stored = gzip.compress(plain, mtime=0)
    data = f"data/{name}-data.json.gz" if since else f"{name}/data/data.json.gz"
    listed = {
        "itemCount": plain.count(b"\n"),
        "md5Checksum": base64.b64encode(hashlib.md5(stored).digest()).decode(),
        "etag": "x",
        "dataFileS3Key": f"prefix/AWSDynamoDB/{data}",
    }
    span = (
        {"exportType": "INCREMENTAL_EXPORT", "exportFromTime": since, "exportToTime": time}
        if since
        else {"exportTime": time}
    )
    summary = {
        "version": "2020-06-30",
        "tableArn": f"arn:aws:dynamodb:us-east-1:123456789012:table/{table}",
        "itemCount": plain.count(b"\n"),
        "outputFormat": "DYNAMODB_JSON",
        **span,
        **more,
    }
    objects = {
        data: stored,
        f"{name}/_started": b"",
        f"{name}/manifest-files.json": json.dumps(listed).encode() + b"\n",
        f"{name}/manifest-summary.json": json.dumps(summary).encode(),
    }
    return {f"AWSDynamoDB/{each}": document for each, document in objects.items()}


def changed(new: Item | None, key: Item | None = None, old: Item | None = None) -> dict[str, Any]:
    """A line of an incremental export; a deletion where there is no new image."""
    key = key or {"id": (new or {})["id"]}
    line: dict[str, Any] = {"Metadata": {"WriteTimestampMicros": {"N": "1767322800000000"}}, "Keys": key}
    if old is not None:
        line["OldImage"] = old
    return line if new is None else line | {"NewImage": new}


async def lines_of(source: Path | str, **options: Any) -> list[dict[str, Any]]:
    """All items of a backup, decoded, by file in their order."""
    found = []
    async with open_backup(str(source), session=session(), **options) as backup:
        for file in backup.files:
            async for chunk in backup.chunks(file):
                found += [json.loads(line.image) for line in chunk.lines]
    return found


@dataclass
class Restoring:
    """A table of a scripted endpoint that backups are restored into, in virtual time."""

    endpoint: ScriptedDynamo
    table: ScriptedTable
    clock: VirtualClock = field(default_factory=VirtualClock)
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=4))
    log: Log = field(default_factory=Log)
    refused: list[Refused] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Table]:
        """The table, open."""
        opening = open_table(
            f"{PRIMARY}/{NAME}",
            session=session(),
            endpoint_url=self.endpoint.url,
            clock=self.clock,
            retry=self.retry,
        )
        async with opening as table:
            yield table

    async def __call__(self, source: Path | str, **options: Any) -> RestoreReport:
        """A whole restore."""
        settings: dict[str, Any] = {
            "limits": Limits(concurrency=4), "observer": self.log, "clock": self.clock, "refused": self.refused.append
        }  # fmt: skip
        async with open_backup(str(source), table_name=NAME) as backup, self.open() as table:
            return await restore(backup, table, **(settings | options))

    @property
    def items(self) -> list[Item]:
        """What the table holds, by key."""
        return sorted(self.table.items.values(), key=json.dumps)

    @property
    def writes(self) -> int:
        """How many calls wrote, or tried to."""
        return sum(self.endpoint.count(each) for each in ("BatchWriteItem", "PutItem", "DeleteItem"))
