"""What every function of a stream does with an event: stream by stream, within its time, and with one answer."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from asyncrep.errors import AsyncrepError, TableNotFoundError, UsageError
from asyncrep.handlers.runtime import seconds_left
from asyncrep.replicate.apply import OUT_OF_TIME, Replicated, replicate_records, unread_failure
from asyncrep.replicate.dead_letters import open_dead_letters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.queues import QueueRef
    from asyncrep.change import Applier
    from asyncrep.flow.clock import Clock
    from asyncrep.handlers.runtime import Container
    from asyncrep.items.keys import KeyReader
    from asyncrep.location import S3Place
    from asyncrep.replicate.dead_letters import DeadLetters

_logger = logging.getLogger("asyncrep.handlers")

_KEPT_BACK_SHARE = 0.1
_KEPT_BACK_SECONDS = 2.0
"""What of the time is kept back to answer in order: a function that Lambda ends says nothing at all."""

_SHOWN_CONFLICTS = 20


class NothingAppliedError(AsyncrepError):
    """The batch has to come again as a whole, and no answer could say so; Lambda retries what fails."""


class Destination(NamedTuple):
    """Where the records of one stream go.

    Attributes:
        applier: brings them there.
        keys: reads their keys.
    """

    applier: Applier
    keys: KeyReader


class Destinations(Protocol):
    """Knows where records go; what it opens stays open in the function's container."""

    async def of(self, stream: str, records: Sequence[Any]) -> Destination:
        """Return where the records of a stream go.

        Args:
            stream: the stream's ARN; empty for records that do not name theirs.
            records: all of this event.

        Raises:
            UsageError: they can go nowhere.
            ServiceError: it could not be found out.
        """

    async def forget(self, stream: str) -> None:
        """Open where the records of a stream go anew the next time: it is not what it was."""


class StreamFunction:
    """Brings the records of event after event to where they go.

    Args:
        destinations: knows where that is.
        dead_letters: where records go that can never be applied; None lets them come again.
        container: keeps what is open.
        clock: where time comes from.
        done: what is logged of an event that was worked off, as ``replicated``.
    """

    def __init__(
        self,
        destinations: Destinations,
        dead_letters: S3Place | QueueRef | None,
        container: Container,
        clock: Clock,
        done: str,
    ) -> None:
        self._destinations = destinations
        self._dead_letters = dead_letters
        self._container = container
        self._clock = clock
        self._done = done

    def invoke(self, event: Any, context: Any) -> dict[str, Any]:
        """Work off the records of an event; return which have to come again.

        Raises:
            AsyncrepError: all of them have, and the function is to be seen to fail.
        """
        records = _records(event)
        if not records:
            return {"batchItemFailures": []}
        begun = self._clock.monotonic()
        seconds = seconds_left(context, share=_KEPT_BACK_SHARE, most=_KEPT_BACK_SECONDS)
        function = getattr(context, "function_name", None) or os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        try:
            done = self._container.run(self._apply(records, seconds, function))
        except AsyncrepError as error:
            _log(logging.ERROR, "failed", records=len(records), reason=str(error))
            raise
        self._tell(done, self._clock.monotonic() - begun)
        return _answer(done)

    async def _apply(self, records: Sequence[Any], seconds: float | None, function: str) -> Replicated:
        """Apply the records of each stream, one stream after the other."""
        until = None if seconds is None else asyncio.get_running_loop().time() + seconds
        done = Replicated()
        for stream, group in _by_stream(records).items():
            done += await self._apply_one(stream, group, until, function)
        return done

    async def _apply_one(
        self, stream: str, records: Sequence[Any], until: float | None, function: str
    ) -> Replicated:
        limit = asyncio.timeout_at(until)
        try:
            async with limit:
                destination = await self._destinations.of(stream, records)
                letters = await self._letters(function)
        except TimeoutError:
            if not limit.expired():
                raise
            return _all_failed(records)
        seconds = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
        try:
            return await replicate_records(
                records, destination.applier, destination.keys, dead_letters=letters, seconds=seconds
            )
        except (TableNotFoundError, UsageError):
            await self._destinations.forget(stream)  # a table that is made anew may have another key
            raise

    async def _letters(self, function: str) -> DeadLetters | None:
        place = self._dead_letters
        if place is None:
            return None
        return await self._container.kept(
            (self, place), lambda: open_dead_letters(place, function=function, clock=self._clock)
        )

    def _tell(self, done: Replicated, seconds: float) -> None:
        """Log what became of an event: one line, and one for each of the conflicts. No values of items."""
        first = done.first_failed
        counts = {
            "records": done.records,
            "written": done.written,
            "squashed": done.squashed,
            "superseded": done.superseded,
            "conflicts": len(done.conflicts),
            "dead_letters": done.dead_letters,
            "failed": len(done.failed),
            "seconds": round(seconds, 3),
        }
        for conflict in done.conflicts[:_SHOWN_CONFLICTS]:
            _log(logging.WARNING, "conflict", sequence=str(conflict.change.sequence), reason=conflict.reason)
        if first is None:
            _log(logging.INFO, self._done, **counts)
        else:
            cause = {"from": first.identifier, "reason": first.reason}
            _log(logging.WARNING, f"{self._done} in part", **counts, **cause)


def _records(event: Any) -> Sequence[Any]:
    """Return the records of an event; of EventBridge Pipes the event is the list of them itself.

    Raises:
        UsageError: the event is of another kind.
    """
    records = event.get("Records") if isinstance(event, dict) else event
    if records is None:
        return []
    if not isinstance(records, list):
        raise UsageError("The event holds no records of a stream: its Records are no list.")
    return records


def _by_stream(records: Sequence[Any]) -> dict[str, list[Any]]:
    """Group records by the ARN of the stream that they are of; empty where they do not tell."""
    groups: dict[str, list[Any]] = {}
    for record in records:
        stream = record.get("eventSourceARN") if isinstance(record, dict) else None
        groups.setdefault(stream if isinstance(stream, str) else "", []).append(record)
    return groups


def _all_failed(records: Sequence[Any]) -> Replicated:
    """Say that the time was up before anything was begun."""
    failed = [unread_failure(record, OUT_OF_TIME) for record in records]
    return Replicated(records=len(records), failed=failed, out_of_time=True)


def _answer(done: Replicated) -> dict[str, Any]:
    """Say from where on the records have to come again.

    Raises:
        NothingAppliedError: from the beginning, and the record has no number by which to say so.
    """
    first = done.first_failed
    if first is None:
        return {"batchItemFailures": []}
    if first.identifier is None:
        raise NothingAppliedError(
            f"The whole batch has to come again, as a record has no number: {first.reason}"
        )
    return {"batchItemFailures": [{"itemIdentifier": first.identifier}]}


def _log(level: int, event: str, **fields: Any) -> None:
    _logger.log(level, "%s", json.dumps({"event": event, **fields}))
