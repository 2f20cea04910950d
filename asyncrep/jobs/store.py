"""Where the state of a job is kept, one process at a time: a folder that is locked, or objects in S3."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asyncrep.errors import ConditionFailedError, JobError, UsageError
from asyncrep.jobs.folders import make_private_folder, sync_folder
from asyncrep.location import S3Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.objects import Objects

STATE_NAME = "state.json"
"""The document that says how far the job is. It is replaced as a whole; parts are written before it."""

_LOCK_NAME = "lock"


class JobStore(Protocol):
    """A few named documents, each written as a whole or not at all."""

    @property
    def name(self) -> str:
        """The place as people call it."""

    async def read(self, name: str) -> bytes | None:
        """Return a document; None when there is none."""

    async def write(self, name: str, data: bytes) -> None:
        """Write a document; it is durable when this returns.

        Raises:
            JobError: it could not be written, or another process works on the job.
        """

    async def remove(self) -> None:
        """Remove all documents."""


class FolderStore:
    """Documents in a folder that only its owner may enter. A lock keeps other processes out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self._folder)

    def lock(self) -> None:
        """Keep other processes out until ``unlock``, or until this process ends, however it does.

        Raises:
            UsageError: the folder cannot be used, or another process works on the job.
        """
        try:
            make_private_folder(self._folder.absolute())
            self._lock = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(f"The job cannot be kept in {self._folder}: {error.strerror}.") from error
        try:
            _lock(self._lock)
        except OSError as error:
            self.unlock()
            raise UsageError(f"Another process is working on the job in {self._folder}.") from error

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def read(self, name: str) -> bytes | None:
        """Return a document; None when there is none."""
        try:
            return (self._folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UsageError(f"The job in {self._folder} cannot be read: {error.strerror}.") from error

    async def write(self, name: str, data: bytes) -> None:
        """Write a document beside its place and move it there; short, and done on the event loop."""
        try:
            self._replace(name, data)
        except OSError as error:
            raise JobError(
                f"The job's state could not be written to {self._folder}: {error.strerror}."
            ) from error

    def _replace(self, name: str, data: bytes) -> None:
        descriptor, draft = tempfile.mkstemp(dir=self._folder, prefix=f".{name}.")  # for its owner only
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(self._folder / name)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        sync_folder(self._folder)

    async def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self._folder)


class S3Store:
    """Documents under a name in S3. A process notices another one when it replaces the state.

    Args:
        objects: the place.
        holder: a token that is in every state this process writes, and in nobody else's.
    """

    def __init__(self, objects: Objects, holder: str) -> None:
        self._objects = objects
        self._holder = holder.encode()
        self._tag: str | None = None

    @property
    def name(self) -> str:
        """The place."""
        return str(self._objects.place)

    async def read(self, name: str) -> bytes | None:
        """Return a document; None when there is none."""
        found = await self._objects.get(name)
        if name == STATE_NAME:
            self._tag = found[1] if found else None
        return found[0] if found else None

    async def write(self, name: str, data: bytes) -> None:
        """Write a document; the state only in the place of that which this process has read or written."""
        if name != STATE_NAME:
            await self._objects.put(name, data)
            return
        try:
            await self._replace(data)
        except ConditionFailedError as error:
            there = await self.read(name)
            if there is None or self._holder not in there:
                raise JobError(f"Another process is working on the job in {self.name}.") from error
            await self._replace(data)  # what is there is our own: a write whose answer nobody waited for

    async def _replace(self, data: bytes) -> None:
        absent = self._tag is None
        self._tag = await self._objects.put(STATE_NAME, data, if_absent=absent, if_match=self._tag)

    async def remove(self) -> None:
        """Remove all objects under the name."""
        await self._objects.remove([name async for name in self._objects.names()])


@asynccontextmanager
async def open_job_store(place: Path | S3Place, holder: str) -> AsyncIterator[JobStore]:
    """Open the place of a job for this process alone; ``holder`` is its token.

    Raises:
        UsageError: it cannot be used, or another process works on the job.
    """
    if isinstance(place, S3Place):
        from asyncrep.aws.objects import open_objects  # noqa: PLC0415 - most jobs are kept in a folder

        async with open_objects(place) as objects:
            yield S3Store(objects, holder)
        return
    store = FolderStore(place)
    store.lock()
    try:
        yield store
    finally:
        store.unlock()


def _lock(descriptor: int) -> None:
    """Lock an open file, or raise OSError because another process has."""
    with contextlib.suppress(ImportError):
        import fcntl  # noqa: PLC0415 - not on Windows, which has its own

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt  # noqa: PLC0415

    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
