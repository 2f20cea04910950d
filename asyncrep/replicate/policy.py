"""Which policy brings changes to a destination, as a user chooses it, on the command line or in a Lambda."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncrep.backup.item_folder import ItemFolder
from asyncrep.replicate.folder import Folder, check_whole
from asyncrep.replicate.guard import check_guard_table, open_guard_table
from asyncrep.replicate.one_way import OneWay
from asyncrep.replicate.selection import Selection
from asyncrep.replicate.sequences import SequenceGuarded
from asyncrep.replicate.versions import VersionGuarded, check_versions

if TYPE_CHECKING:
    from asyncrep.aws.table import Table
    from asyncrep.change import Applier
    from asyncrep.options import Guard

DEFAULT_GUARD_TABLE = "asyncrep-guard"

NEW_IMAGES = frozenset({"NEW_IMAGE", "NEW_AND_OLD_IMAGES"})
BOTH_IMAGES = frozenset({"NEW_AND_OLD_IMAGES"})


@dataclass(frozen=True, slots=True)
class Policy:
    """How changes are applied at a destination.

    Attributes:
        guard: ``none`` for a destination without other writers, ``sequence`` where moreover late or repeated
            records must not turn it back, ``version`` for two-way mirrors.
        version_attribute: what holds an item's version, for ``version``.
        guard_table: the guards' side table, in the destination's Region and account.
        selection: what is replicated.
    """

    guard: Guard = "none"
    version_attribute: str = "version"
    guard_table: str = DEFAULT_GUARD_TABLE
    selection: Selection = field(default_factory=Selection)

    @property
    def views(self) -> frozenset[str]:
        """The views that a stream may have for it: a guarded deletion needs to know what was deleted."""
        return BOTH_IMAGES if self.guard == "version" else NEW_IMAGES

    async def check(self, destination: Table | ItemFolder) -> None:
        """See that the policy fits a destination and the guard table, if there is one. Nothing is written.

        A folder needs no guard, and has to be there.

        Raises:
            UsageError: it does not.
            ServiceError: the guard table could not be looked at.
        """
        self.selection.check(destination.settings.schema)
        if isinstance(destination, ItemFolder):
            check_whole(self.selection)
            await destination.storage.check()
            return
        if self.guard == "version":
            check_versions(destination, self.version_attribute, self.selection)
        if self.guard != "none":
            await check_guard_table(destination, self.guard_table)

    async def applier(self, destination: Table | ItemFolder, *, create_guard: bool = False) -> Applier:
        """Return what applies changes at a destination.

        Args:
            destination: the open table, or an incremental folder, which needs no guard.
            create_guard: make the guard table where there is none.

        Raises:
            UsageError: the selection or the guard table does not fit the destination.
            ServiceError: the guard table could not be looked at or made.
        """
        self.selection.check(destination.settings.schema)
        if isinstance(destination, ItemFolder):
            return Folder(destination.storage, self.selection)
        if self.guard == "none":
            return OneWay(destination, self.selection)
        if self.guard == "version":  # before a guard table is made that is of no use
            check_versions(destination, self.version_attribute, self.selection)
        guard = await open_guard_table(destination, self.guard_table, create=create_guard)
        if self.guard == "sequence":
            return SequenceGuarded(destination, guard, self.selection)
        return VersionGuarded(destination, guard, self.version_attribute, self.selection)
