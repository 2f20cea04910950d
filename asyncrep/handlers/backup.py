"""The handler that brings what the streams of tables tell to incremental backups in S3."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asyncrep.aws.objects import open_objects
from asyncrep.aws.session import load_libraries
from asyncrep.aws.table import open_table
from asyncrep.errors import PermissionDeniedError, TableNotFoundError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.handlers.runtime import the_container
from asyncrep.handlers.settings import BackupSettings
from asyncrep.handlers.stream import Destination, StreamFunction
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema
from asyncrep.replicate.folder import Folder
from asyncrep.replicate.records import table_arn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.flow.clock import Clock
    from asyncrep.handlers.runtime import Container, Handler

_KEY_TYPES = frozenset({"S", "N", "B"})


def backup_handler(
    settings: BackupSettings | None = None, *, container: Container | None = None, clock: Clock | None = None
) -> Handler:
    """Make the function that Lambda calls with the records of a stream, to keep each change of each item in S3.

    An item is the object ``PREFIX/TABLE/SHA256``, of the table that its record names: one function may serve
    many streams. See ``asyncrep.replicate.folder.Folder`` for what is promised, and ``replicate_handler`` for
    what is answered; the event source mapping must have ``ReportBatchItemFailures``.

    Args:
        settings: where to and how; by default the environment says, see ``BackupSettings``.
        container: what is kept between invocations; by default there is one for the process.
        clock: where time comes from.

    Raises:
        UsageError: a setting is wrong; the sentence names the variable.
    """
    settings = settings or BackupSettings.from_environment(os.environ)
    container, clock = container or the_container(), clock or SystemClock()
    folders = _Folders(settings, container, clock)
    function = StreamFunction(folders, settings.dead_letters, container, clock, done="backed up")
    load_libraries()

    def handler(event: Any, context: Any) -> dict[str, Any]:
        return function.invoke(event, context)

    return handler


class _Folders:
    """The folders of the tables whose records come; see ``asyncrep.handlers.stream.Destinations``."""

    def __init__(self, settings: BackupSettings, container: Container, clock: Clock) -> None:
        self._settings = settings
        self._container = container
        self._clock = clock

    async def of(self, stream: str, records: Sequence[Any]) -> Destination:
        """Return the folder of a stream's table, and what reads the table's keys.

        Raises:
            UsageError: the records do not name their table, or have another key than they should.
            ServiceError: the table's key could not be found out.
        """
        table = table_arn(stream).rpartition("/")[2]
        if not table:
            raise UsageError(
                "A record does not name its stream (eventSourceARN), and so no table to back up."
            )
        settings = self._settings
        objects = await self._container.kept(
            (self, settings.place),
            lambda: open_objects(settings.place, access=settings.access, clock=self._clock),
        )
        keys = await self._container.kept((self, stream), lambda: self._keys(stream, records))
        return Destination(Folder(objects.under(table), settings.selection), keys)

    async def forget(self, stream: str) -> None:
        """Ask for the key of a stream's table anew the next time."""
        await self._container.forget((self, stream))

    @asynccontextmanager
    async def _keys(self, stream: str, records: Sequence[Any]) -> AsyncIterator[KeyReader]:
        """Find out the order of the key's attributes, which the records of a stream do not tell."""
        order = self._settings.key_order
        if order is None:
            yield await self._described(table_arn(stream))
        else:
            yield KeyReader(_schema_of(records, order))

    async def _described(self, table: str) -> KeyReader:
        try:
            async with open_table(table, clock=self._clock) as described:
                return described.keys
        except (PermissionDeniedError, TableNotFoundError) as error:
            raise type(error)(
                f"{error} It is asked for the order of its key; BackupKeyOrder=HASH,RANGE can tell it instead.",
                code=error.code,
            ) from error


def _schema_of(records: Sequence[Any], order: Sequence[str]) -> KeySchema:
    """Return the key of the first record that has these attributes; their types are told by their values.

    Raises:
        UsageError: no record has these, and no others.
    """
    for record in records:
        types = _types(record)
        if set(types) == set(order):
            return KeySchema(*(KeyAttribute(name, types[name]) for name in order))
    raise UsageError(f"BackupKeyOrder is {', '.join(order)}, and the records have another key.")


def _types(record: Any) -> dict[str, Any]:
    """Return the types of the attributes of a record's key by their names; none when it has no sound key."""
    images = record.get("dynamodb") if isinstance(record, dict) else None
    key = images.get("Keys") if isinstance(images, dict) else None
    if not isinstance(key, dict) or not all(isinstance(value, dict) for value in key.values()):
        return {}
    types = {name: next(iter(value), "") for name, value in key.items()}
    return types if set(types.values()) <= _KEY_TYPES else {}
