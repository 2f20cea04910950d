"""Writes items of one table in batches, as boto3's batch writer does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from types import TracebackType

    from asyncrep.aws.resource import ResourceTable
    from asyncrep.split.recent import KeyValues

_WRITES_PER_BATCH = 25


class BatchWriter:
    """Puts and deletes items in batches, without conditions; of several writes of one item the last one counts.

    Writes are sent as soon as there are enough for a batch, and the rest at the end of the block. A block
    that ends with an exception sends no more.
    """

    def __init__(
        self,
        table: ResourceTable,
        key_of: Callable[[Mapping[str, Any]], KeyValues | None],
        note: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._table = table
        self._key_of = key_of
        self._note = note
        self._waiting: dict[Hashable, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}

    async def put_item(self, *, Item: Mapping[str, Any]) -> None:
        """Put an item."""
        await self._add(Item, {"PutRequest": {"Item": Item}})

    async def delete_item(self, *, Key: Mapping[str, Any]) -> None:
        """Delete an item."""
        await self._add(Key, {"DeleteRequest": {"Key": Key}})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._waiting:
            await self._send()

    async def _add(self, item: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        self._waiting[self._key_of(item) or object()] = (item, request)
        if len(self._waiting) >= _WRITES_PER_BATCH:
            await self._send()

    async def _send(self) -> None:
        sent, self._waiting = list(self._waiting.values()), {}
        try:
            await self._table.write_batch([request for _, request in sent])
        finally:  # what failed, or was cancelled, may have been carried out all the same
            for item, _ in sent:
                self._note(item)
