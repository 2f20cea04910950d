"""What a backup or a restore has done so far, and what it took. The counts grow while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

BackupFormat = Literal["jsonl", "export"]
"""How a dump or snapshot is written: JSON lines, or the layout of AWS's own exports."""


@dataclass(slots=True)
class BackupReport:
    """The counts of one dump, or of one snapshot of an incremental folder.

    Attributes:
        source: the table, or the folder.
        destination: where it is written to, as people call it.
        format: how.
        job_id: the name of the dump within its destination; None for a snapshot.
        segments: into how many the table is cut; 0 for a snapshot.
        segment: the only segment that was dumped; None for all of them.
        items: that were written.
        bytes: of JSON, before it was compressed.
        stored_bytes: after that.
        objects: data objects that are whole.
        skipped: items of segments that a run before this one has dumped.
        skipped_bytes: of their objects, as they are stored.
        failed: objects of a folder that hold no item.
        read_units: capacity units as the service counted them.
        cost_usd: what these cost on demand; requests to S3 are not in it.
        slowed_to: the units per second that throttling leaves at this moment; None when it holds nothing back.
        complete: everything was written, and the manifests say so.
    """

    source: str
    destination: str
    format: BackupFormat = "jsonl"
    job_id: str | None = None
    segments: int = 0
    segment: int | None = None
    items: int = 0
    bytes: int = 0
    stored_bytes: int = 0
    objects: int = 0
    skipped: int = 0
    skipped_bytes: int = 0
    failed: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    cost_usd: float = 0.0
    throttled: int = 0
    slowed_to: float | None = None
    seconds: float = 0.0
    complete: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "slowed_to"}


@dataclass(frozen=True, slots=True)
class Refused:
    """An item of a backup that is not in the table.

    Attributes:
        file: of the backup, as people call it.
        line: in that file, from 1 on; 0 where an object is an item.
        reason: one sentence.
        key: the item's canonical key, None when it has none that can be read.
    """

    file: str
    line: int
    reason: str
    key: bytes | None = None


@dataclass(slots=True)
class RestoreReport:
    """The counts of one restore.

    Attributes:
        source: the backup, as people call it.
        table: what is written to.
        mode: what may be written where the table has an item already.
        at: the moment whose state is restored, ISO 8601; None for what the backup holds.
        items: that were read from the backup, deletions included.
        bytes: of JSON that were read.
        written: items put.
        deleted: items that a later part of the backup deletes.
        present: items that were left alone, because the table has one under the key.
        failed: items that could not be written.
        refused: the first of these.
        created: the table was made for it.
        complete: every item was written, or left alone as was asked for.
    """

    source: str
    table: str
    mode: Literal["empty", "overwrite", "only-missing"] = "empty"
    at: str | None = None
    items: int = 0
    bytes: int = 0
    written: int = 0
    deleted: int = 0
    present: int = 0
    failed: int = 0
    refused: list[Refused] = field(default_factory=list)
    created: bool = False
    read_units: float = 0.0
    write_units: float = 0.0
    cost_usd: float = 0.0
    throttled: int = 0
    slowed_to: float | None = None
    seconds: float = 0.0
    complete: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints; ``refused`` has the first of those that failed."""
        told = {name: getattr(self, name) for name in self.__slots__ if name != "slowed_to"}
        told["refused"] = [
            {
                "file": each.file,
                "line": each.line,
                "key": None if each.key is None else msgspec.json.decode(each.key),
                "reason": each.reason,
            }
            for each in self.refused
        ]
        return told
