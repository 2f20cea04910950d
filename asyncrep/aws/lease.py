"""A lease as a value and as a row of the lease table, whose attributes are those of KCL 1.x and some of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncrep.model import WireValue

TRIM_HORIZON = "TRIM_HORIZON"
LATEST = "LATEST"
SHARD_END = "SHARD_END"

KEY = "leaseKey"
COUNTER = "leaseCounter"

_PLACES = frozenset({TRIM_HORIZON, LATEST, SHARD_END})
_SEQUENCE = re.compile(r"[0-9]{1,40}")
_ZERO = {"N": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A row of the lease table, as it was read or left.

    Attributes:
        key: the shard's id.
        checkpoint: TRIM_HORIZON, LATEST, SHARD_END or the sequence number of the last record done with.
        counter: changes with every write.
        owner: the worker that holds it; None while it is free.
        sub_sequence: KCL's place within an aggregated record; streams of DynamoDB have none.
        switches: how often the owner has changed since the last checkpoint.
        parents: the shards that must be done with before this one.
        source: the location of the table whose stream it is; ours, None in KCL's own rows.
        destinations: the locations of the tables that are written to; ours.
        millis_behind: how old the last record was when it was read, as of the last renewal; ours.
        copying_since: when the task began to copy items, in seconds since the epoch; until that is done nobody
            may follow the shard. None when nothing is copied; ours.
        latest_since: when LATEST was, in seconds since the epoch: what came after that is wanted; ours.
        catching_up: what happened while items were copied has not all been seen to yet; ours.
    """

    key: str
    checkpoint: str
    counter: int = 0
    owner: str | None = None
    sub_sequence: int = 0
    switches: int = 0
    parents: frozenset[str] = frozenset()
    source: str | None = None
    destinations: str | None = None
    millis_behind: int | None = None
    copying_since: int | None = None
    latest_since: int | None = None
    catching_up: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether its shard is done with to its end."""
        return self.checkpoint == SHARD_END

    @property
    def sequence(self) -> int | None:
        """The sequence number of its checkpoint; None while it has none."""
        return int(self.checkpoint) if self.checkpoint.isdecimal() else None


def is_lease(row: Mapping[str, WireValue]) -> bool:
    """Tell whether a row is a lease: KCL 3 keeps other things in the same table, and says so."""
    kind = row.get("entityType")
    return kind is None or str(kind.get("S")).upper() == "LEASE"


def read_row(row: Mapping[str, WireValue]) -> Lease:
    """Return the lease that a row is.

    Raises:
        KeyError, ValueError: it is none.
    """
    checkpoint = row["checkpoint"]["S"]
    if checkpoint not in _PLACES and not _SEQUENCE.fullmatch(checkpoint):
        raise ValueError(f"{checkpoint!r} is no checkpoint")
    return Lease(
        key=row[KEY]["S"],
        checkpoint=checkpoint,
        counter=int(row[COUNTER]["N"]),
        owner=_text(row, "leaseOwner"),
        sub_sequence=int(row.get("checkpointSubSequenceNumber", _ZERO)["N"]),
        switches=int(row.get("ownerSwitchesSinceCheckpoint", _ZERO)["N"]),
        parents=frozenset(row["parentShardId"]["SS"]) if "parentShardId" in row else frozenset(),
        source=_text(row, "source"),
        destinations=_text(row, "destinations"),
        millis_behind=_number(row, "millisBehindLatest"),
        copying_since=_number(row, "copyingSince"),
        latest_since=_number(row, "latestSince"),
        catching_up="catchingUp" in row,
    )


def _text(row: Mapping[str, WireValue], name: str) -> str | None:
    return row[name]["S"] if name in row else None


def _number(row: Mapping[str, WireValue], name: str) -> int | None:
    return int(row[name]["N"]) if name in row else None


def attributes(lease: Lease) -> dict[str, WireValue]:
    """Return what a lease is in its row, without the key."""
    row: dict[str, WireValue | None] = {
        COUNTER: number(lease.counter),
        "leaseOwner": None if lease.owner is None else {"S": lease.owner},
        "checkpoint": {"S": lease.checkpoint},
        "checkpointSubSequenceNumber": number(lease.sub_sequence),
        "ownerSwitchesSinceCheckpoint": number(lease.switches),
        "parentShardId": {"SS": sorted(lease.parents)} if lease.parents else None,
        "source": None if lease.source is None else {"S": lease.source},
        "destinations": None if lease.destinations is None else {"S": lease.destinations},
        "millisBehindLatest": None if lease.millis_behind is None else number(lease.millis_behind),
        "copyingSince": None if lease.copying_since is None else number(lease.copying_since),
        "latestSince": None if lease.latest_since is None else number(lease.latest_since),
        "catchingUp": {"BOOL": True} if lease.catching_up else None,
    }
    return {name: value for name, value in row.items() if value is not None}


def number(value: int) -> WireValue:
    """Return a number as it travels."""
    return {"N": str(value)}
