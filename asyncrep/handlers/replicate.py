"""The handler that brings what the stream of a table tells to its replica."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncrep.aws.session import load_libraries, session_of_keys
from asyncrep.aws.table import open_table
from asyncrep.errors import AsyncrepError, TableNotFoundError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.handlers.runtime import seconds_left, the_container
from asyncrep.handlers.settings import ReplicaSettings
from asyncrep.replicate.apply import OUT_OF_TIME, Replicated, replicate_records, unread_failure
from asyncrep.replicate.dead_letters import open_dead_letters
from asyncrep.replicate.records import table_arn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.aws.table import Table
    from asyncrep.change import Applier
    from asyncrep.flow.clock import Clock
    from asyncrep.handlers.runtime import Container, Handler
    from asyncrep.location import TableRef
    from asyncrep.replicate.dead_letters import DeadLetters

_logger = logging.getLogger("asyncrep.handlers")

_KEPT_BACK_SHARE = 0.1
_KEPT_BACK_SECONDS = 2.0
"""What of the time is kept back to answer in order: a function that Lambda ends says nothing at all."""

_SHOWN_CONFLICTS = 20


class NothingAppliedError(AsyncrepError):
    """The batch has to come again as a whole, and no answer could say so; Lambda retries what fails."""


def replicate_handler(
    settings: ReplicaSettings | None = None, *, container: Container | None = None, clock: Clock | None = None
) -> Handler:
    """Make the function that Lambda calls with the records of a stream.

    It answers ``{"batchItemFailures": [{"itemIdentifier": SEQUENCE}]}`` with the first record that has to come
    again, or with an empty list. The event source mapping must have ``ReportBatchItemFailures``.

    Args:
        settings: where to and how; by default the environment says, see ``ReplicaSettings``.
        container: what is kept between invocations; by default there is one for the process.
        clock: where time comes from.

    Raises:
        UsageError: a setting is wrong; the sentence names the variable.

    Example:
        >>> handler = replicate_handler()  # in a module of one's own, named as the function's handler
    """
    settings = settings or ReplicaSettings.from_environment(os.environ)
    replicator = Replicator(settings, container or the_container(), clock or SystemClock())
    load_libraries()

    def handler(event: Any, context: Any) -> dict[str, Any]:
        return replicator.invoke(event, context)

    return handler


class _Destination(NamedTuple):
    """An open destination."""

    table: Table
    applier: Applier


class Replicator:
    """Replicates event after event; what it opens stays open in its container.

    Args:
        settings: where to and how.
        container: keeps what is open.
        clock: where time comes from.
    """

    def __init__(self, settings: ReplicaSettings, container: Container, clock: Clock) -> None:
        self._settings = settings
        self._container = container
        self._clock = clock

    def invoke(self, event: Any, context: Any) -> dict[str, Any]:
        """Replicate the records of an event; return which have to come again.

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
            done = self._container.run(self._replicate(records, seconds, function))
        except AsyncrepError as error:
            _log(logging.ERROR, "failed", records=len(records), reason=str(error))
            raise
        _tell(done, self._clock.monotonic() - begun)
        return _answer(done)

    async def _replicate(self, records: Sequence[Any], seconds: float | None, function: str) -> Replicated:
        """Replicate the records of each table, one table after the other."""
        until = None if seconds is None else asyncio.get_running_loop().time() + seconds
        done = Replicated()
        for source, group in _by_source(records).items():
            done += await self._replicate_one(source, group, until, function)
        return done

    async def _replicate_one(
        self, source: str, records: Sequence[Any], until: float | None, function: str
    ) -> Replicated:
        ref = self._settings.destination(source.rpartition("/")[2])
        limit = asyncio.timeout_at(until)
        try:
            async with limit:
                found = await self._container.kept((self, ref), lambda: self._open(ref))
                letters = await self._letters(function)
        except TimeoutError:
            if not limit.expired():
                raise
            return _all_failed(records)
        if source and found.table.settings.arn == source:
            raise UsageError(
                f"{found.table.label} would be replicated to itself: set ReplicaRegion, ReplicaTable or another account."
            )
        seconds = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
        try:
            return await replicate_records(
                records, found.applier, found.table.keys, dead_letters=letters, seconds=seconds
            )
        except TableNotFoundError:
            await self._container.forget((self, ref))  # one that is made anew may have another key
            raise

    @asynccontextmanager
    async def _open(self, ref: TableRef) -> AsyncIterator[_Destination]:
        settings = self._settings
        session = None
        if settings.access_key_id is not None and settings.secret_access_key is not None:
            session = session_of_keys(settings.access_key_id, settings.secret_access_key)
        async with open_table(ref, session=session, role_arn=settings.role_arn, clock=self._clock) as table:
            yield _Destination(table, await settings.policy.applier(table))

    async def _letters(self, function: str) -> DeadLetters | None:
        place = self._settings.dead_letters
        if place is None:
            return None
        return await self._container.kept(
            (self, place), lambda: open_dead_letters(place, function=function, clock=self._clock)
        )


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


def _by_source(records: Sequence[Any]) -> dict[str, list[Any]]:
    """Group records by the ARN of the table that they are of; empty where they do not tell."""
    groups: dict[str, list[Any]] = {}
    for record in records:
        stream = record.get("eventSourceARN") if isinstance(record, dict) else None
        groups.setdefault(table_arn(stream) if isinstance(stream, str) else "", []).append(record)
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


def _tell(done: Replicated, seconds: float) -> None:
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
        _log(logging.INFO, "replicated", **counts)
    else:
        _log(
            logging.WARNING,
            "replicated in part",
            **counts,
            **{"from": first.identifier, "reason": first.reason},
        )


def _log(level: int, event: str, **fields: Any) -> None:
    _logger.log(level, "%s", json.dumps({"event": event, **fields}))
