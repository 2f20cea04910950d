"""Removes backups so that what an interruption leaves never looks whole.

A mark that it is about to go comes first, then the data, then the manifests of its segments, and at last the
manifest of the whole together with the mark. As long as anything is left, the manifest names objects that are
missing, or the mark says why. (With the manifest gone first, the rest would look like a dump of
dynamodb-replicator, which has none.) Only objects are removed that the manifest names, or that are named as those
of a dump are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asyncrep.backup.listed import Verification, verification_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.backup.listed import Listed
    from asyncrep.flow.clock import Clock
    from asyncrep.storage import Storage


@dataclass(slots=True)
class Pruned:
    """What was removed so far.

    Attributes:
        backups: all of whose objects are gone.
        objects: that were removed.
        stored_bytes: of the backups' data.
    """

    backups: int = 0
    objects: int = 0
    stored_bytes: int = 0


async def remove_backups(storage: Storage, backups: Sequence[Listed], *, clock: Clock) -> Pruned:
    """Remove backups, one after the other.

    Args:
        storage: the place that they lie under.
        backups: which.
        clock: where time comes from.

    Raises:
        ServiceError, StorageError: some object could not be removed; what is left is found again.
    """
    pruned = Pruned()
    for each in backups:
        await _remove(storage, each, clock)
        pruned.backups += 1
        pruned.objects += len(each.data) + len(each.manifests)
        pruned.stored_bytes += each.stored_bytes
    return pruned


async def _remove(storage: Storage, backup: Listed, clock: Clock) -> None:
    at = datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    note = backup.folder + backup.note
    await storage.put(note, verification_bytes(Verification(at=at, removing=True)))
    *first, last = ["", *(backup.folder + each for each in backup.manifests)]
    for names in (
        [backup.folder + each for each in backup.data],
        first[1:],
        [each for each in (last, note) if each],
    ):
        if names:
            await storage.remove(names)
