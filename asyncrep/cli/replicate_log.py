"""What a worker logs where nobody watches: one JSON object a line, with keys of records and never their values."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asyncrep.change import Change
from asyncrep.cli.replicate_news import Resumed, Sieve, level_of, remedies
from asyncrep.errors import UsageError
from asyncrep.replicate.events import (
    Conflicted,
    DataLost,
    Refused,
    Remark,
    ShardLeft,
    ShardTaken,
    Stalled,
    WorkerStarted,
)
from asyncrep.version import __version__

if TYPE_CHECKING:
    from typing import IO

    from asyncrep.change import Unreadable
    from asyncrep.cli.replicate_news import Level, News
    from asyncrep.cli.replicate_terms import Names
    from asyncrep.flow.clock import Clock
    from asyncrep.replicate.events import ReplicationEvent

PROGRESS_SECONDS = 60.0
"""How often the figures are logged."""


class Log:
    """Logs a worker's events, and its figures every minute.

    Args:
        file: where to; that it cannot be written to is no reason to stop.
        names: what the worker works on.
        quiet: log warnings and errors only.
        clock: tells and passes the time.
    """

    def __init__(self, file: IO[str], names: Names, *, quiet: bool, clock: Clock) -> None:
        self._file = file
        self._names = names
        self._quiet = quiet
        self._clock = clock
        self._sieve = Sieve(clock)
        self._began = self._told = clock.monotonic()
        self._read = 0
        self._has_logged = False

    def tell(self, event: ReplicationEvent) -> None:
        """Log an event, if it is one that is told by itself."""
        news = self._sieve.sift(event)
        if news is not None:
            name, fields = _described(news, self._names)
            self._log(level_of(news), name, fields)

    async def run(self) -> None:
        """Log the figures every minute, until cancelled."""
        while True:
            await self._clock.sleep(PROGRESS_SECONDS)
            self._log("info", "progress", self._figures())

    def end(self, error: BaseException | None) -> None:
        """Log the figures a last time, and what ended the worker, if it was an error.

        What was refused before there was anything to log is told once, in the sentence that the command ends with.
        """
        if isinstance(error, UsageError) and not self._has_logged:
            return
        figures = self._figures() | {"seconds": round(self._clock.monotonic() - self._began, 3)}
        if error is None or not isinstance(error, Exception):
            self._log("info", "stopped", figures)
        else:
            self._log("error", "stopped", {"reason": str(error)} | figures)

    def _figures(self) -> dict[str, Any]:
        figures, now = self._sieve.figures, self._clock.monotonic()
        passed, since = now - self._told, figures.read - self._read
        self._told, self._read = now, figures.read
        return {
            "records": figures.read,
            "records_per_second": round(since / passed, 1) if passed > 0 else 0.0,
            "written": figures.written,
            "squashed": figures.squashed,
            "superseded": figures.superseded,
            "retried": figures.retried,
            "conflicts": figures.conflicts,
            "failed": figures.failed,
            "put_aside": self._sieve.put_aside,
            "gaps": figures.gaps,
            "shards": len(figures.shards),
            "stuck": len(figures.stuck),
            "millis_behind": figures.millis_behind,
        }

    def _log(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        if self._quiet and level == "info":
            return
        self._has_logged = True
        moment = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds")
        line = {
            "time": moment.replace("+00:00", "Z"),
            "level": level,
            "event": event,
            "task": self._names.task,
            "worker": self._names.worker,
        } | fields
        # In printable ASCII nothing can steer a terminal, and every encoding can hold it.
        encoded = json.dumps(line)
        with suppress(OSError, ValueError):  # the disk is full, or nobody reads any more
            self._file.write(encoded + "\n")
            self._file.flush()


def _described(news: News, names: Names) -> tuple[str, dict[str, Any]]:
    """Return an event's name in the log, and its fields."""
    match news:
        case ShardTaken() | ShardLeft() | Resumed():
            return _described_shard(news)
        case Refused() | Conflicted() | Stalled():
            return _described_failure(news)
        case Remark(message):
            return "remark", {"message": message}
        case DataLost(shard, reason):
            return "data_lost", {"shard": shard, "reason": reason, "remedies": remedies(names)}
        case WorkerStarted():
            tables = {"source": names.source, "destinations": list(names.destinations)}
            return "started", tables | {"version": __version__}


def _described_shard(news: ShardTaken | ShardLeft | Resumed) -> tuple[str, dict[str, Any]]:
    match news:
        case ShardTaken(shard, checkpoint):
            return "shard_taken", {"shard": shard, "checkpoint": checkpoint}
        case ShardLeft(shard, reason):
            return "shard_left", {"shard": shard, "reason": reason}
        case Resumed(shard):
            return "resumed", {"shard": shard}


def _described_failure(news: Refused | Conflicted | Stalled) -> tuple[str, dict[str, Any]]:
    where = {"shard": news.shard, "destination": news.destination}
    match news:
        case Stalled(changes=changes, reason=reason):
            return "stalled", where | {"changes": changes, "reason": reason}
        case Conflicted(change=change, reason=reason):
            return "conflict", where | _identified(change) | {"reason": reason}
        case Refused(record=record, reason=reason, kept=kept):
            return "refused", where | _identified(record) | {"reason": reason, "kept": kept}


def _identified(record: Change | Unreadable) -> dict[str, Any]:
    # As text: programs that read numbers as floats would round it.
    sequence = None if record.sequence is None else str(record.sequence)
    return {"key": _key(record.key) if isinstance(record, Change) else None, "sequence": sequence}


def _key(key: bytes) -> Any:
    try:
        return json.loads(key)
    except ValueError:
        return key.decode(errors="replace")
