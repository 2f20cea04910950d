"""Checks backups against their manifests without restoring them: sizes, digests, gzip, counts. Reads every byte once.

Several objects are read at a time, of one backup or of several; memory stays bounded whatever they hold. What came
of it is kept beside the backup, so that retention knows which one is proven.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from aiostream import stream

from asyncrep.backup.gauge import Gauge
from asyncrep.backup.listed import Verification, verification_bytes
from asyncrep.backup.promises import promised
from asyncrep.errors import (
    BackupError,
    ConditionFailedError,
    PermissionDeniedError,
    ServiceError,
    StorageError,
)
from asyncrep.flow import stages
from asyncrep.flow.tasks import in_thread
from asyncrep.progress import Advanced, Note, PassEnded, PassStarted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.backup.gauge import Promised
    from asyncrep.backup.listed import Listed
    from asyncrep.flow.clock import Clock
    from asyncrep.progress import Observer
    from asyncrep.storage import Storage

Outcome = Literal["sound", "damaged", "unproven", "failed"]
"""What a check says: all is as the manifest says; something is not; what is there can be read, but no manifest
tells what should be; something could not be read."""

_BACKUPS_AT_ONCE = 4
_OBJECTS_AT_ONCE = 8
_TOLD = 100
"""How many damages of one backup are told."""
_KEPT = 10
"""How many of them are kept."""


@dataclass(slots=True)
class Verified:
    """What a check of one backup found.

    Attributes:
        backup: which.
        problems: the damages, one sentence each; the first hundred.
        failures: what could not be read, and why; likewise.
        items: that were counted.
        stored_bytes: that were read.
        objects: that were read to their ends.
    """

    backup: Listed
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    items: int = 0
    stored_bytes: int = 0
    objects: int = 0

    @property
    def outcome(self) -> Outcome:
        """What it comes to; a damage counts for more than what could not be read."""
        if self.problems:
            return "damaged"
        if self.failures:
            return "failed"
        return "unproven" if self.backup.state == "unproven" else "sound"

    def as_dict(self) -> dict[str, Any]:
        """Return what ``backups verify --json`` prints of it."""
        return {
            "name": self.backup.name,
            "kind": self.backup.kind,
            "outcome": self.outcome,
            "source": self.backup.source,
            "items": self.items,
            "stored_bytes": self.stored_bytes,
            "objects": self.objects,
            "problems": self.problems,
            "failures": self.failures,
        }


async def verify(
    storage: Storage, backups: Sequence[Listed], *, observer: Observer, clock: Clock
) -> list[Verified]:
    """Read backups to their ends and hold them against their manifests.

    Args:
        storage: the place that they lie under.
        backups: which; no folders.
        observer: is told of progress, and of what could not be kept.
        clock: where time comes from.

    Returns:
        What was found, in the order of ``backups``. What cannot be read is told there as well.
    """
    known = [each.items for each in backups if each.items is not None]
    observer.notice(PassStarted("verify", sum(known) if len(known) == len(backups) else None))
    reading = asyncio.Semaphore(_OBJECTS_AT_ONCE)

    async def check(number: int) -> tuple[int, Verified]:
        return number, await _Check(storage, backups[number], observer, reading).run()

    found: dict[int, Verified] = {}
    checks = stages.mapped(stream.iterate(range(len(backups))), check, _BACKUPS_AT_ONCE)
    async with checks.stream() as checked:
        async for number, each in checked:
            found[number] = each
            await _keep(storage, each, observer, clock)
    observer.notice(PassEnded("verify"))
    return [found[number] for number in range(len(backups))]


class _Check:
    """The check of one backup."""

    def __init__(
        self, storage: Storage, backup: Listed, observer: Observer, reading: asyncio.Semaphore
    ) -> None:
        self._storage = storage
        self._backup = backup
        self._verified = Verified(backup)
        self._observer = observer
        self._reading = reading

    async def run(self) -> Verified:
        """Check it to its end, or as far as it can be read."""
        if self._backup.state in {"incomplete", "removing"}:
            self._add_damage(f"{self._label()} is {self._backup.status}: {self._why()}")
        try:
            await self._against_manifests()
        except BackupError as error:
            self._add_damage(str(error))
        except (ServiceError, StorageError) as error:
            self._add_failure(str(error))
        return self._verified

    async def _against_manifests(self) -> None:
        verified = self._verified
        held = await promised(self._storage, self._backup)
        for problem in held.problems:
            self._add_damage(problem)
        objects = stages.mapped(stream.iterate(held.objects), self._object, _OBJECTS_AT_ONCE)
        async with objects.stream() as measured:
            async for _ in measured:
                pass
        if verified.outcome == "sound" and held.items not in {None, verified.items}:
            self._add_damage(
                f"{self._label()} has {verified.items:,} items in all; its manifest says {held.items:,}."
            )

    async def _object(self, promise: Promised) -> None:
        async with self._reading:
            gauge = Gauge(self._storage.name_of(promise.name), promise)
            try:
                await self._measure(promise.name, gauge)
            except (ServiceError, StorageError) as error:
                await self._unread(promise.name, error)
                return
        self._verified.objects += 1
        self._verified.stored_bytes += gauge.stored_bytes
        for damage in gauge.damages():
            self._add_damage(damage)

    async def _measure(self, name: str, gauge: Gauge) -> None:
        """Measure an object; in a thread, since what is measured is not waited for."""
        async for piece in self._storage.read(name):
            self._advance(await in_thread(gauge.feed, piece))
        self._advance(await in_thread(gauge.end))

    async def _unread(self, name: str, error: ServiceError | StorageError) -> None:
        """Tell an object that is missing, which is a damage, from one that could not be read."""
        if isinstance(error, ConditionFailedError):
            self._add_failure(f"{self._storage.name_of(name)} was replaced while it was read.")
            return
        try:
            is_missing = await self._storage.head(name) is None
        except (ServiceError, StorageError):
            is_missing = False
        if is_missing:
            self._add_damage(f"{self._storage.name_of(name)} is missing.")
        else:
            self._add_failure(str(error))

    def _advance(self, items: int) -> None:
        self._verified.items += items
        if items:
            self._observer.notice(Advanced("verify", items))

    def _add_damage(self, problem: str) -> None:
        if len(self._verified.problems) < _TOLD:
            self._verified.problems.append(problem)

    def _add_failure(self, failure: str) -> None:
        if len(self._verified.failures) < _TOLD:
            self._verified.failures.append(failure)

    def _label(self) -> str:
        return self._storage.name_of(self._backup.label) if self._backup.label else self._storage.label

    def _why(self) -> str:
        return self._backup.problem or "its removal was interrupted."


async def _keep(storage: Storage, verified: Verified, observer: Observer, clock: Clock) -> None:
    """Keep what a check found beside a backup that looks whole; of others their listing tells enough."""
    backup = verified.backup
    if backup.state != "whole" or verified.outcome == "failed":
        return
    kept = Verification(
        at=datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        sound=verified.outcome == "sound",
        problems=verified.problems[:_KEPT],
        items=verified.items,
        objects=backup.objects,
    )
    try:
        await storage.put(backup.folder + backup.note, verification_bytes(kept))
    except (ServiceError, StorageError) as error:
        why = (
            "the credentials may not write there." if isinstance(error, PermissionDeniedError) else str(error)
        )
        observer.notice(Note(f"That {backup.label or storage.label} was verified could not be kept: {why}"))
