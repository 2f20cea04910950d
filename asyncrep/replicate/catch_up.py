"""Sees to what happened while items were copied, so that nothing older than a copy is written over it.

As long as a shard catches up, a record only says which item was touched, and what is written is the item as a
strong read of the source shows it now. From the tip of the shard on, records are applied as they are.

An item that is not there any more is deleted at the destination, unless there are removals that are not
replicated, those by TTL above all. Then the record of its removal, which is sure to come, says what is to be:
no item, or the last image that there was. Only a stream without old images does not tell that one; there the
images are put as they were recorded, until the last of them is reached.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from asyncrep.change import ChangeKind, Unwritten
from asyncrep.replicate.grouping import by_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from msgspec import Raw

    from asyncrep.change import Applied, Applier, Change
    from asyncrep.model import Source
    from asyncrep.replicate.selection import Selection

_MARGIN_SECONDS = 2.0
"""How exactly the service's time is known, which stamps whole seconds."""

_FORGET_SECONDS = 60.0
"""How much later than others a record may come."""


class Touched:
    """When a shard was at its tip, and when its items were read since. Its destinations share it.

    Before the tip every item is read that a record names, and nothing has to be remembered.

    Args:
        now: the service's time, which stamps the records.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._over_at: float | None = None
        self._read_at: dict[bytes, float] = {}  # the earliest first

    def __len__(self) -> int:
        """Return how many items are remembered."""
        return len(self._read_at)

    def end(self) -> None:
        """Note that the shard is at its tip."""
        if self._over_at is None:
            self._over_at = self._now()

    def overtook(self, change: Change) -> bool:
        """Tell whether the destination may hold a later state of the item than the change tells of."""
        if self._over_at is None or change.created is None:
            return True
        return change.created <= self._read_at.get(change.key, self._over_at) + _MARGIN_SECONDS

    def note(self, keys: Iterable[bytes]) -> None:
        """Note which items have just been read."""
        if self._over_at is None:
            return
        now = self._now()
        for key in keys:
            self._read_at.pop(key, None)
            self._read_at[key] = now

    def forget(self, changes: Sequence[Change]) -> None:
        """Forget the items that no record can concern which comes with these or after them."""
        created = [change.created for change in changes if change.created is not None]
        horizon = min([self._now(), *created]) - _FORGET_SECONDS
        while self._read_at:
            key, moment = next(iter(self._read_at.items()))
            if moment >= horizon:
                return
            del self._read_at[key]


class CatchUp:
    """Brings touched items to the state they have in the source now. An ``Applier`` before another one.

    Args:
        source: is read strongly.
        applier: writes what was read.
        selection: what the applier replicates.
        touched: the shard's.
    """

    def __init__(self, source: Source, applier: Applier, selection: Selection, touched: Touched) -> None:
        self._source = source
        self._applier = applier
        self._selection = selection
        self._touched = touched
        self._tells_old = source.settings.stream_view == "NEW_AND_OLD_IMAGES"

    @property
    def label(self) -> str:
        """The destination as its user named it."""
        return self._applier.label

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Apply changes; see ``asyncrep.change.Applier.apply``."""
        self._touched.forget(changes)
        overtaken = {
            group[0].key: group for group in by_key(changes) if any(map(self._touched.overtook, group))
        }
        if not overtaken:
            return await self._applier.apply(changes)
        present = await self._source.get(list(overtaken), consistent=True)
        self._touched.note(overtaken)  # afterwards: what came during the read may have been seen
        presented: list[Change] = []
        for change in changes:
            group = overtaken.get(change.key)
            if group is None:
                presented.append(change)
            elif change is group[-1] and (told := self._told(group, present.get(change.key))) is not None:
                presented.append(told)
        applied = await self._applier.apply(presented)
        # What has to come again is to be looked at again, and a letter is of the record as it came.
        came = {change.sequence: change for change in changes}
        return replace(
            applied,
            squashed=applied.squashed + len(changes) - len(presented),
            unwritten=[
                Unwritten(came[each.change.sequence], each.fate, each.reason) for each in applied.unwritten
            ],
        )

    def _told(self, group: Sequence[Change], image: Raw | None) -> Change | None:
        """Return what is told of an item by its changes and its present state; None to leave it as it is."""
        last = next(filter(self._selection.takes, reversed(group)), None)
        if last is not None:
            last = replace(last, overtaken=True)
        if image is None:
            return self._gone(group[-1], last)
        return None if last is None else _present(last, bytes(image))

    def _gone(self, newest: Change, last: Change | None) -> Change | None:
        """Return what is told of an item that is not there any more; ``last`` is the last change taken."""
        if self._selection.keeps(newest) and newest.old is not None:
            return replace(
                newest, kind=ChangeKind.INSERT, old=None, new=newest.old, by_ttl=False, overtaken=True
            )
        if last is None or last.kind is ChangeKind.REMOVE:
            return last
        if self._selection.replicates_removals:
            return replace(last, kind=ChangeKind.REMOVE, old=last.new or last.old, new=None)
        return None if self._tells_old else last


def _present(change: Change, image: bytes) -> Change:
    """Return a change to the present state; what is there after a removal was inserted again."""
    if change.kind is ChangeKind.REMOVE:
        return replace(change, kind=ChangeKind.INSERT, old=None, new=image, by_ttl=False)
    return replace(change, new=image)
