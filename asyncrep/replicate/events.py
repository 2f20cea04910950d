"""What a worker tells while it goes on, and the figures that it keeps of each shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncrep.change import Change, Unreadable


STREAM = "the stream"
LEASE_TABLE = "the lease table"
"""What a shard can be stalled by besides its destinations."""


class ShardState(StrEnum):
    """What a worker is doing with a shard."""

    WAITING = "waiting"
    """For its parents to be done with."""
    READING = "reading"
    RETRYING = "retrying"
    """A destination does not take some changes at the moment."""
    HELD = "held"
    """A change can never be applied, and there is no place for it: nothing behind it is applied."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a shard does not get on at a destination; ``held`` says that trying again is not what helps."""

    reason: str
    held: bool = False


@dataclass(slots=True)
class ShardFigures:
    """How a worker is getting on with one shard. Goes on changing while it works.

    Attributes:
        shard: its id.
        begun: whether its parents are done with, and it is read.
        troubles: by destination, why it does not get on.
        records: how many of its records were applied since this worker has it.
        millis_behind: how old the last record was when it was read, in milliseconds; zero at the tip, None
            before the first page.
    """

    shard: str
    begun: bool = False
    troubles: dict[str, Trouble] = field(default_factory=dict)
    records: int = 0
    millis_behind: int | None = None

    @property
    def state(self) -> ShardState:
        """What is being done with it."""
        if not self.begun:
            return ShardState.WAITING
        if any(trouble.held for trouble in self.troubles.values()):
            return ShardState.HELD
        return ShardState.RETRYING if self.troubles else ShardState.READING

    @property
    def reason(self) -> str:
        """Why it does not get on; empty when it does."""
        return " ".join(trouble.reason for trouble in self.troubles.values())


@dataclass(slots=True)
class WorkerFigures:
    """What a worker has done since it started, and is doing. Goes on changing while it works.

    Attributes:
        read: records read from the stream.
        written: items written or deleted, at all destinations together.
        squashed: changes that needed no write of their own, because a later one of the same item came with them.
        superseded: changes that a destination held already, or something newer.
        conflicts: versions that met with another item of the same version.
        retried: changes that were tried again.
        failed: records that can never be applied, as often as a destination refused them.
        gaps: how often data was lost, because the stream had trimmed it before it was read.
        shards: those it has at the moment.
    """

    read: int = 0
    written: int = 0
    squashed: int = 0
    superseded: int = 0
    conflicts: int = 0
    retried: int = 0
    failed: int = 0
    gaps: int = 0
    shards: dict[str, ShardFigures] = field(default_factory=dict)

    @property
    def millis_behind(self) -> int | None:
        """How far the shard that is furthest behind is; None when nobody knows."""
        behind = [shard.millis_behind for shard in self.shards.values() if shard.millis_behind is not None]
        return max(behind, default=None)

    @property
    def stuck(self) -> list[ShardFigures]:
        """The shards that do not get on."""
        return [shard for shard in self.shards.values() if shard.troubles]


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A worker begins; ``figures`` are the live ones."""

    figures: WorkerFigures


@dataclass(frozen=True, slots=True)
class ShardTaken:
    """This worker begins to read a shard, behind ``checkpoint``."""

    shard: str
    checkpoint: str


@dataclass(frozen=True, slots=True)
class ShardLeft:
    """This worker reads a shard no longer: it is at its end, or another worker has it, or this one stops."""

    shard: str
    reason: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """A page was applied at every destination, and the checkpoint is behind it."""

    shard: str
    records: int
    millis_behind: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A record can never be applied.

    Attributes:
        shard: where it is.
        destination: which refuses it; None when nothing can be made of it at all.
        record: the record.
        reason: one sentence.
        kept: it is in the dead-letter place; else its shard is held.
    """

    shard: str
    destination: str | None
    record: Change | Unreadable
    reason: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Two different items of one version met; ``reason`` says how that was settled."""

    shard: str
    destination: str
    change: Change
    reason: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """A destination, the lease table or the stream does not do its part; it is tried again.

    ``millis_behind`` is how old the first of the changes is by now; None where nobody knows.
    """

    shard: str
    destination: str
    changes: int
    reason: str
    millis_behind: int | None = None


@dataclass(frozen=True, slots=True)
class DataLost:
    """The stream had trimmed records before they were read: only a full check can tell what they were."""

    shard: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something people should know, as one sentence; ``serious`` if it should not be so."""

    message: str
    serious: bool = False


ReplicationEvent = (
    WorkerStarted | ShardTaken | ShardLeft | Progressed | Refused | Conflicted | Stalled | DataLost | Remark
)

Tell = Callable[[ReplicationEvent], None]
"""Takes note of an event. Called synchronously on the event loop: be quick, and do not raise."""


def tell_nobody(_event: ReplicationEvent) -> None:
    """Do nothing."""
