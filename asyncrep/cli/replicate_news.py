"""Which events of a worker are told one by one, how much they matter, and in what words."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from asyncrep.aws.lease import LATEST, TRIM_HORIZON
from asyncrep.change import Change
from asyncrep.cli.render import plural, printable
from asyncrep.cli.replicate_terms import short_checkpoint, short_shard
from asyncrep.replicate.events import (
    STREAM,
    Conflicted,
    DataLost,
    Progressed,
    Refused,
    Remark,
    ShardLeft,
    ShardTaken,
    Stalled,
    WorkerFigures,
    WorkerStarted,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

    from asyncrep.change import Unreadable
    from asyncrep.cli.replicate_terms import Names
    from asyncrep.flow.clock import Clock
    from asyncrep.replicate.events import ReplicationEvent

STALL_SECONDS = 30.0
"""The same reason of the same shard and destination is told again after so long at the soonest."""

HELD_SECONDS = 600.0
"""And a record that holds its shard."""

_BEGINNINGS = {
    TRIM_HORIZON: "from the oldest record on that the stream has",
    LATEST: "from the newest record on",
}
_KEY_SHOWN = 120
_MANY = 1_000


@dataclass(frozen=True, slots=True)
class Resumed:
    """A shard gets on again, after it was told that it did not."""

    shard: str


News: TypeAlias = (
    WorkerStarted | ShardTaken | ShardLeft | Refused | Conflicted | Stalled | DataLost | Remark | Resumed
)
"""What is told one by one."""

Level = Literal["info", "warning", "error"]


class Sieve:
    """Picks what is told one by one, and nothing of it over and over; keeps the figures for the rest.

    Attributes:
        figures: the worker's live ones.
        put_aside: how many refused records are in the dead-letter place.
    """

    def __init__(self, clock: Clock) -> None:
        self.figures = WorkerFigures()
        self.put_aside = 0
        self._clock = clock
        self._quiet_until: dict[Hashable, float] = {}
        self._most = _MANY
        self._stuck: set[str] = set()

    def sift(self, event: ReplicationEvent) -> News | None:
        """Take note of an event; return what is to be told of it, if anything."""
        match event:
            case WorkerStarted(figures):
                self.figures = figures
            case Progressed(shard):
                return self._resumed(shard)
            case Stalled(shard, destination, _, reason):
                self._stuck.add(shard)
                return event if self._is_due((shard, destination, reason), STALL_SECONDS) else None
            case Refused(kept=True):
                self.put_aside += 1
            case Refused(shard, destination, record, reason):
                self._stuck.add(shard)
                repeated = (shard, destination, record.sequence, reason)
                return event if self._is_due(repeated, HELD_SECONDS) else None
            case ShardLeft(shard):
                self._stuck.discard(shard)
            case _:
                pass
        return event

    def _resumed(self, shard: str) -> Resumed | None:
        if shard not in self._stuck:
            return None
        self._stuck.discard(shard)
        return Resumed(shard)

    def _is_due(self, what: Hashable, seconds: float) -> bool:
        now = self._clock.monotonic()
        if self._quiet_until.get(what, now) > now:
            return False
        if len(self._quiet_until) > self._most:
            # What is forgotten here is due again anyhow.
            self._quiet_until = {each: until for each, until in self._quiet_until.items() if until > now}
            self._most = _MANY + 2 * len(self._quiet_until)
        self._quiet_until[what] = now + seconds
        return True


def level_of(news: News) -> Level:
    """Return how much something matters."""
    match news:
        case DataLost() | Refused(kept=False):
            return "error"
        case Refused() | Conflicted() | Stalled() | Remark(serious=True):
            return "warning"
        case _:
            return "info"


def sentence_of(news: News) -> str:
    """Return what people read of it, in one line that cannot steer a terminal; empty where nothing is said."""
    match news:
        case ShardTaken(shard, checkpoint):
            told = f"Shard {short_shard(shard)} is taken, {_from(checkpoint)}."
        case ShardLeft(shard, reason):
            told = f"Shard {short_shard(shard)} is left: {_ended(reason)}"
        case Resumed(shard):
            told = f"Shard {short_shard(shard)} gets on again."
        case Stalled() | Conflicted() | Refused():
            told = _failure(news)
        case DataLost(_, reason):
            told = f"DATA LOST: {_ended(reason)}"
        case Remark(message):
            told = f"Note: {message}"
        case _:
            told = ""
    return printable(told)


def remedies(names: Names) -> list[str]:
    """Return the commands that bring the destinations in line after data was lost."""
    return [
        shlex.join(["asyncrep", "diff-tables", names.source, destination, "--repair"])
        for destination in names.destinations
    ]


def _from(checkpoint: str) -> str:
    if checkpoint in _BEGINNINGS:
        return _BEGINNINGS[checkpoint]
    return f"from behind {short_checkpoint(checkpoint)} on"


def _failure(news: Stalled | Conflicted | Refused) -> str:
    shard, reason = short_shard(news.shard), _ended(news.reason)
    match news:
        case Stalled(destination=destination) if destination == STREAM:
            return f"Shard {shard} cannot be read at the moment: {reason}"
        case Stalled(destination=destination, changes=changes):
            what = f"{plural(changes, 'change') if changes else 'the checkpoint'} of shard {shard}"
            return f"{destination} does not take {what} at the moment: {reason}"
        case Conflicted(destination=destination, change=change):
            return f"Conflict at {destination}, {_of_record(change)}: {reason}"
        case Refused(destination=destination, record=record, kept=kept):
            who = "" if destination is None else f" by {destination}"
            what = f"{_of_record(record)}: {reason}"
            if kept:
                return f"Refused for good{who}, and put aside: {what}"
            return f"Shard {shard} is held by what is refused for good{who}: {what}"


def _of_record(record: Change | Unreadable) -> str:
    if isinstance(record, Change):
        key = record.key.decode(errors="replace")
        return f"key {key if len(key) <= _KEY_SHOWN else key[:_KEY_SHOWN] + '…'}"
    return "a record without number" if record.sequence is None else f"record {record.sequence}"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
