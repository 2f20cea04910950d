"""Sees to what happened while items were copied, so that nothing older than a copy is written over it.

As long as a shard catches up, a record only says which item was touched, and what is written is the item as a
strong read of the source shows it now. From the tip of the shard on, records are applied as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from asyncrep.change import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from asyncrep.change import Applied, Applier, Change
    from asyncrep.flow.clock import Clock
    from asyncrep.model import Source

_FORGET_SECONDS = 60.0


class CatchUp:
    """Brings touched items to the state they have in the source now. An ``Applier`` before another one.

    Args:
        source: is read strongly.
        applier: writes what was read.
        clock: tells when.

    Attributes:
        over: set when the shard is at its tip. For a minute more, records of items that were read meanwhile
            are treated alike when they tell of a time before that.
    """

    def __init__(self, source: Source, applier: Applier, clock: Clock) -> None:
        self.over = False
        self._source = source
        self._applier = applier
        self._clock = clock
        self._read_at: dict[bytes, float] = {}

    @property
    def label(self) -> str:
        """The destination as its user named it."""
        return self._applier.label

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Apply changes; see ``asyncrep.change.Applier.apply``."""
        self._forget()
        newest = {change.key: change for change in changes if self._is_overtaken(change)}
        if not newest:
            return await self._applier.apply(changes)
        now = self._clock.now()
        present = await self._source.get(list(newest), consistent=True)
        self._read_at.update(dict.fromkeys(newest, now))
        presented = [
            _as_it_is(newest[change.key], present.get(change.key)) if change.key in newest else change
            for change in changes
            if change.key not in newest or change is newest[change.key]
        ]
        applied = await self._applier.apply(presented)
        return replace(applied, squashed=applied.squashed + len(changes) - len(presented))

    def _is_overtaken(self, change: Change) -> bool:
        """Tell whether the destination may hold a later state of the item than the change tells of."""
        if not self.over:
            return True
        read_at = self._read_at.get(change.key)
        return read_at is not None and (change.created is None or change.created <= read_at)

    def _forget(self) -> None:
        if self.over and self._read_at:
            horizon = self._clock.now() - _FORGET_SECONDS
            self._read_at = {key: moment for key, moment in self._read_at.items() if moment > horizon}


def _as_it_is(change: Change, image: Raw | None) -> Change:
    """Return a change to the present state: the last image there was serves a deletion as its old one."""
    if image is not None:
        return replace(change, kind=ChangeKind.MODIFY, new=bytes(image))
    if change.kind is ChangeKind.REMOVE:
        return change
    return replace(change, kind=ChangeKind.REMOVE, old=change.new or change.old, new=None)
