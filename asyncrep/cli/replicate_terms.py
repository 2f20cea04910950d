"""How the figures of a replication are put into words: shards, lags, and who holds which leases."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asyncrep.aws.lease import SHARD_END

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncrep.aws.lease import Lease

_UNTOLD = "—"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_DIGITS_SHOWN = 9


@dataclass(frozen=True, slots=True)
class Names:
    """What a worker works on.

    Attributes:
        task: the task's name.
        source: the location of the table whose stream is followed.
        destinations: the locations of the tables that are written to.
        worker: the worker's own name.
    """

    task: str
    source: str
    destinations: tuple[str, ...]
    worker: str

    @property
    def tables(self) -> str:
        """All tables, in one line."""
        return f"{self.source} → {', '.join(self.destinations)}"


def short_shard(shard: str, width: int | None = None) -> str:
    """Return a shard's id without what all of them begin with; its end, where even that is too wide."""
    short = shard.removeprefix("shardId-").lstrip("0") or shard
    if short.startswith("-"):
        short = shard
    if width is None or len(short) <= width:
        return short
    return "…" + short[len(short) - width + 1 :]


def short_checkpoint(checkpoint: str) -> str:
    """Return a checkpoint in a few letters; of a sequence number, the digits that change."""
    if checkpoint == SHARD_END:
        return "end"
    if not checkpoint.isdecimal() or len(checkpoint) <= _DIGITS_SHOWN + 1:
        return checkpoint
    return "…" + checkpoint[-_DIGITS_SHOWN:]


def duration(seconds: float, units: int = 2) -> str:
    """Return a time in its largest units, ``2 h 5 min``."""
    if seconds < 1:
        return f"{max(round(seconds, 1), 0):g} s"
    left = int(seconds)
    parts: list[str] = []
    for unit, length in _UNITS:
        if left >= length and len(parts) < units:
            parts.append(f"{left // length} {unit}")
        elif parts:
            break  # "1 d 5 s" would tell more than is meant
        left %= length
    return " ".join(parts)


def lag(millis: int | None) -> str:
    """Return how far something is behind."""
    if millis is None:
        return _UNTOLD
    return duration(millis / 1000) if millis > 0 else "0 s"


def clock_time(now: float) -> str:
    """Return the time of day of a moment in seconds since the epoch, in UTC."""
    return f"{datetime.fromtimestamp(now, UTC):%H:%M:%SZ}"


def per_second(rate: float) -> str:
    """Return a speed; of a slow one, a digit behind the point."""
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


@dataclass(frozen=True, slots=True)
class Shares:
    """Who holds how many of a task's leases.

    Attributes:
        workers: how many leases each worker holds, the most first.
        free: leases that nobody holds though their shards are not done with.
        finished: leases whose shards are done with.
    """

    workers: dict[str, int]
    free: int
    finished: int

    @property
    def open(self) -> int:
        """Leases whose shards are not done with."""
        return self.free + sum(self.workers.values())


def shares(leases: Iterable[Lease]) -> Shares:
    """Count who holds how many leases."""
    workers: Counter[str] = Counter()
    free = finished = 0
    for lease in leases:
        if lease.is_finished:
            finished += 1
        elif lease.owner is None:
            free += 1
        else:
            workers[lease.owner] += 1
    in_order = sorted(workers.items(), key=lambda each: (-each[1], each[0]))
    return Shares(dict(in_order), free, finished)
