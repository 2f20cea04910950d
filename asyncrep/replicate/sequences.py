"""The policy of a mirror that late and repeated records cannot turn back: the last sequence number per key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.aws.transact import Action
from asyncrep.change import Fate
from asyncrep.errors import ServiceError
from asyncrep.replicate.grouping import Tally, by_key, for_each
from asyncrep.replicate.guard import is_of
from asyncrep.replicate.selection import Selection, Unmakeable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.table import Table
    from asyncrep.change import Applied, Change
    from asyncrep.mutation import ItemState
    from asyncrep.replicate.guard import GuardTable


class SequenceGuarded:
    """Brings changes to a one-way destination, each only if it is later than the last one of its item.

    The guard's row of the item is moved in one transaction with the item itself. So the destination only
    ever goes forward, whichever workers bring which records how late and how often. See
    ``asyncrep.change.Applier``.

    Args:
        table: the destination.
        guard: keeps the last sequence number of each item of each origin.
        selection: what is replicated, and how.

    Raises:
        UsageError: the selection does not fit the table's key.
    """

    def __init__(self, table: Table, guard: GuardTable, selection: Selection | None = None) -> None:
        self._table = table
        self._guard = guard
        self._selection = selection or Selection()
        self._selection.check(table.settings.schema)

    @property
    def label(self) -> str:
        """The destination as its user named it."""
        return self._table.label

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Write the last state of each item unless it is older; see ``asyncrep.change.Applier.apply``."""
        tally = Tally()

        async def bring(group: list[Change]) -> None:
            await self._bring(group, tally)

        await for_each(by_key(changes), bring)
        return tally.applied()

    async def _bring(self, group: list[Change], tally: Tally) -> None:
        """Write the last state that changes of an item ask for; when it is poison, the one before.

        When it fails in passing those before it fail with it: it may turn out to be poison.
        """
        group.sort(key=lambda change: change.sequence)
        while group:
            change = group.pop()
            wanted = self._selection.wanted(change)
            if wanted is None:
                tally.squashed += 1
            elif isinstance(wanted, Unmakeable):
                tally.add(change, Fate.POISON, wanted.reason)
            elif await self._write(change, group, wanted, tally):
                return

    async def _write(self, change: Change, before: list[Change], state: ItemState, tally: Tally) -> bool:
        """Write one state; tell whether the item is seen to, which it is unless the change is poison.

        Args:
            change: which asks for the state.
            before: the changes of the item before it, which it makes superfluous.
            state: the state.
            tally: what becomes of all of them.
        """
        table = self._table.request_name
        deleted = state.image is None
        write = (
            Action("Delete", table, state.key) if state.image is None else Action("Put", table, state.image)
        )
        row = self._guard.advance(change, deleted=deleted)
        try:
            result = await self._table.transact([write, row])
        except ServiceError as error:
            return not tally.refuse(change, before, error)
        tally.squashed += len(before)
        if result.applied:
            tally.written += 1
            return True
        noted = result.refused[1]
        same = noted is not None and noted.current is not None and is_of(noted.current, change)
        if same and result.unsure:
            tally.written += 1
        else:
            later = "" if same else "A later change is applied already."
            tally.add(change, Fate.SUPERSEDED, later)
        return True
