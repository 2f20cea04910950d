"""The policy of a one-way mirror: the destination gets the last state of each item, in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from asyncrep.aws.write import BATCH_ITEMS
from asyncrep.change import Fate
from asyncrep.errors import RejectedError, ServiceError
from asyncrep.flow.tasks import side_by_side
from asyncrep.replicate.grouping import Tally, by_key, for_each
from asyncrep.replicate.selection import Selection, Unmakeable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.table import Table
    from asyncrep.change import Applied, Change
    from asyncrep.mutation import ItemState


class _Last(NamedTuple):
    """The state that an item is to have, by the last change that asks for one, and the changes before it."""

    state: ItemState
    change: Change
    before: list[Change]


class OneWay:
    """Brings changes to a destination that nobody else writes to. See ``asyncrep.change.Applier``.

    Of the changes of one item only the last one that asks for anything is written. When that one is
    poison, the one before it is: so the destination gets as far as it can. When it fails in passing, those
    before it fail with it: it may turn out to be poison.

    Raises:
        UsageError: the selection does not fit the table's key.
    """

    def __init__(self, table: Table, selection: Selection | None = None) -> None:
        self._table = table
        self._selection = selection or Selection()
        self._selection.check(table.settings.schema)

    @property
    def label(self) -> str:
        """The destination as its user named it."""
        return self._table.label

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Write the last state of each item; see ``asyncrep.change.Applier.apply``."""
        tally = Tally()
        wave = [last for group in by_key(changes) if (last := self._last(group, tally)) is not None]
        while wave:  # once, but for the items whose last change is poison
            again: list[_Last] = []
            batches = [wave[start : start + BATCH_ITEMS] for start in range(0, len(wave), BATCH_ITEMS)]

            async def write(batch: list[_Last], again: list[_Last] = again) -> None:
                await self._write(batch, tally, again)

            await for_each(batches, write)
            wave = again
        return tally.applied()

    def _last(self, group: list[Change], tally: Tally) -> _Last | None:
        """Take changes off the end of a group until one asks for a state."""
        while group:
            change = group.pop()
            wanted = self._selection.wanted(change)
            if wanted is None:
                tally.squashed += 1
            elif isinstance(wanted, Unmakeable):
                tally.add(change, Fate.POISON, wanted.reason)
            else:
                return _Last(wanted, change, group)
        return None

    async def _write(self, batch: list[_Last], tally: Tally, again: list[_Last]) -> None:
        """Write one batch; the service refuses all of it for one item, which is looked for in halves."""
        try:
            await self._table.write_all([last.state for last in batch])
        except RejectedError as error:
            if len(batch) > 1:
                half = len(batch) // 2
                await side_by_side(self._write(part, tally, again) for part in (batch[:half], batch[half:]))
                return
            self._refuse(batch, error, tally, again)
        except ServiceError as error:
            self._refuse(batch, error, tally, again)
        else:
            tally.written += len(batch)
            tally.squashed += sum(len(last.before) for last in batch)

    def _refuse(self, batch: list[_Last], error: ServiceError, tally: Tally, again: list[_Last]) -> None:
        for last in batch:
            poison = tally.refuse(last.change, last.before, error)
            if poison and (earlier := self._last(last.before, tally)) is not None:
                again.append(earlier)
