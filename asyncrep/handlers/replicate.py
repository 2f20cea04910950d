"""The handler that brings what the stream of a table tells to its replica."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncrep.aws.credentials import session_of_keys
from asyncrep.aws.session import load_libraries
from asyncrep.aws.table import open_table
from asyncrep.errors import UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.handlers.runtime import the_container
from asyncrep.handlers.settings import ReplicaSettings
from asyncrep.handlers.stream import Destination, StreamFunction
from asyncrep.replicate.records import table_arn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.aws.table import Table
    from asyncrep.change import Applier
    from asyncrep.flow.clock import Clock
    from asyncrep.handlers.runtime import Container, Handler
    from asyncrep.location import TableRef


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
    container, clock = container or the_container(), clock or SystemClock()
    replicas = _Replicas(settings, container, clock)
    function = StreamFunction(replicas, settings.dead_letters, container, clock, done="replicated")
    load_libraries()

    def handler(event: Any, context: Any) -> dict[str, Any]:
        return function.invoke(event, context)

    return handler


class _Replica(NamedTuple):
    """An open destination."""

    table: Table
    applier: Applier


class _Replicas:
    """The replicas of the tables whose records come; see ``asyncrep.handlers.stream.Destinations``."""

    def __init__(self, settings: ReplicaSettings, container: Container, clock: Clock) -> None:
        self._settings = settings
        self._container = container
        self._clock = clock

    async def of(self, stream: str, records: Sequence[Any]) -> Destination:  # noqa: ARG002 - the stream is enough
        """Return the replica of a stream's table.

        Raises:
            UsageError: there is no saying which it is, or it is the very table that the stream is of.
            ServiceError: it could not be opened.
        """
        source, ref = table_arn(stream), self._ref(stream)
        found = await self._container.kept((self, ref), lambda: self._open(ref))
        if source and found.table.settings.arn == source:
            raise UsageError(
                f"{found.table.label} would be replicated to itself: set ReplicaRegion, ReplicaTable or another account."
            )
        return Destination(found.applier, found.table.keys)

    async def forget(self, stream: str) -> None:
        """Open the replica of a stream's table anew the next time."""
        await self._container.forget((self, self._ref(stream)))

    def _ref(self, stream: str) -> TableRef:
        return self._settings.destination(table_arn(stream).rpartition("/")[2])

    @asynccontextmanager
    async def _open(self, ref: TableRef) -> AsyncIterator[_Replica]:
        settings = self._settings
        session = None
        if settings.access_key_id is not None and settings.secret_access_key is not None:
            session = session_of_keys(settings.access_key_id, settings.secret_access_key)
        async with open_table(ref, session=session, role_arn=settings.role_arn, clock=self._clock) as table:
            yield _Replica(table, await settings.policy.applier(table))
