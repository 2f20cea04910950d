"""Where the state of a job is kept, one process at a time: a folder that is locked, or objects in S3."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asyncrep.errors import ConditionFailedError, JobError, UsageError
from asyncrep.jobs.folders import state_folder, sync_folder
from asyncrep.jobs.lock import LOCK_NAME, FolderLock, is_held
from asyncrep.location import S3Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from asyncrep.aws.objects import Objects
    from asyncrep.options import S3Access

STATE_NAME = "state.json"
"""The document that says how far the job is. It is replaced as a whole; parts are written before it."""

PART = re.compile(r"(?:aside|told)-[0-9]{6,}-[0-9a-f]+\.jsonl")
"""What the documents beside the state are called: what they hold, a number, and who has written them."""

_JOURNAL = re.compile(r"journal-[0-9]{8}T[0-9]{6}\.jsonl(?:/.*)?", re.DOTALL)
_DRAFT = re.compile(r"\.(?:state\.json|(?:aside|told)-[0-9a-f-]+\.jsonl)\.[A-Za-z0-9_]+")


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

    async def contents(self) -> Contents:
        """Return what is there."""

    async def remove(self, names: Sequence[str]) -> None:
        """Remove some of what is there.

        Raises:
            AsyncrepError: that was not possible.
        """


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the place of a job, by name.

    Attributes:
        documents: the job's own, the state first.
        journals: of what the job, and those before it under its name, wrote: by name the parts of each.
        others: what does not belong to a job.
    """

    documents: list[str]
    journals: dict[str, list[str]]
    others: list[str]

    @classmethod
    def of(cls, names: Sequence[str]) -> Contents:
        """Sort names."""
        own = [name for name in names if name == STATE_NAME or PART.fullmatch(name) or _DRAFT.fullmatch(name)]
        journals: dict[str, list[str]] = {}
        for name in names:
            if _JOURNAL.fullmatch(name):
                journals.setdefault(name.partition("/")[0], []).append(name)
        known = {*own, LOCK_NAME, *(name for parts in journals.values() for name in parts)}
        own.sort(key=lambda name: (name != STATE_NAME, name))
        return cls(own, journals, [name for name in names if name not in known])


class FolderStore:
    """Documents in a folder that only its owner may enter. A lock keeps other processes out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FolderLock(folder)

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
            taken = self._lock.take()
        except OSError as error:
            raise UsageError(f"The job cannot be kept in {self._folder}: {error.strerror}.") from error
        if not taken:
            raise UsageError(f"Another process is working on the job in {self._folder}.")

    def unlock(self) -> None:
        """Let others in. A folder in which no job was begun is taken away, if it is empty."""
        self._lock.release(remove=not (self._folder / STATE_NAME).exists())

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

    async def contents(self) -> Contents:
        """Return what is there."""
        try:
            return Contents.of(sorted(each.name for each in self._folder.iterdir()))
        except OSError as error:
            raise UsageError(f"The job in {self._folder} cannot be read: {error.strerror}.") from error

    async def remove(self, names: Sequence[str]) -> None:
        """Remove files."""
        try:
            for name in names:
                (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise JobError(f"The job in {self._folder} cannot be removed: {error.strerror}.") from error


class S3Store:
    """Documents under a name in S3. A process notices another one when it replaces the state.

    Args:
        objects: the place.
        holder: the token that every state which this process writes names as its holder.
    """

    def __init__(self, objects: Objects, holder: str) -> None:
        self._objects = objects
        self._held = b'"holder":"%b"' % holder.encode()
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
            found = await self._objects.get(STATE_NAME)
            if found is None or self._held not in found[0]:
                # The tag stays: whatever this process still saves must not replace the other's state.
                raise JobError(f"Another process is working on the job in {self.name}.") from error
            self._tag = found[1]  # what is there is our own: a write whose answer nobody waited for
            await self._replace(data)

    async def _replace(self, data: bytes) -> None:
        absent = self._tag is None
        self._tag = await self._objects.put(STATE_NAME, data, if_absent=absent, if_match=self._tag)

    async def contents(self) -> Contents:
        """Return what is there."""
        return Contents.of([name async for name in self._objects.names()])

    async def remove(self, names: Sequence[str]) -> None:
        """Remove objects."""
        await self._objects.remove(names)


@asynccontextmanager
async def open_job_store(
    place: Path | S3Place, holder: str, access: S3Access | None = None
) -> AsyncIterator[JobStore]:
    """Open the place of a job for this process alone; ``holder`` is its token, ``access`` how S3 is reached.

    Raises:
        UsageError: it cannot be used, or another process works on the job.
    """
    if isinstance(place, S3Place):
        from asyncrep.aws.objects import open_objects  # noqa: PLC0415 - most jobs are kept in a folder

        with _alone_here(place):
            async with open_objects(place, access=access) as objects:
                yield S3Store(objects, holder)
        return
    store = FolderStore(place)
    store.lock()
    try:
        yield store
    finally:
        store.unlock()


def is_worked_on(place: Path | S3Place) -> bool:
    """Tell whether another process has a job open: any for a folder, one of this computer for S3."""
    if not isinstance(place, S3Place):
        return is_held(place)
    try:
        return is_held(_lock_folder(place))
    except UsageError:  # there is no state folder, and so no lock in it
        return False


@contextmanager
def _alone_here(place: S3Place) -> Iterator[None]:
    """Keep other processes of this computer out. Those elsewhere are noticed when the state is written."""
    try:
        lock = FolderLock(_lock_folder(place))
        taken = lock.take()
    except (OSError, UsageError):  # nothing can be kept here, as in many containers
        yield
        return
    if not taken:
        raise UsageError(f"Another process is working on the job in {place}.")
    try:
        yield
    finally:
        lock.release(remove=True)


def _lock_folder(place: S3Place) -> Path:
    return (
        state_folder() / "locks" / hashlib.sha256(str(place).encode(errors="surrogatepass")).hexdigest()[:32]
    )
