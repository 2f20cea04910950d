"""Where a journal's lines are kept: a file that only its owner may read, or objects under a name in S3."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asyncrep.errors import ConditionFailedError, UsageError
from asyncrep.flow.tasks import in_thread
from asyncrep.jobs.folders import make_private_folder, sync_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.objects import Objects
    from asyncrep.location import S3Place
    from asyncrep.options import S3Access

Check = Callable[[bytes], None]

HEADER_NAME = "journal.jsonl"
"""The object that holds the header of a journal in S3."""

HEADER_BYTES = 64 * 1024
"""More than any header has."""


class Store(Protocol):
    """A journal's place, for one writer; it is a ``Medium`` of the log."""

    @property
    def name(self) -> str:
        """The place as people call it."""

    @property
    def begun(self) -> bool:
        """Whether there is a journal there, so far as this writer knows."""

    async def look(self) -> bytes | None:
        """Return the first line of what is there; None when there is nothing.

        Raises:
            UsageError: no journal can be there.
            ServiceError: it could not be found out.
        """

    async def append(self, number: int, part: bytes) -> None:
        """See ``asyncrep.jobs.log.Medium``; the first part of the first writer makes the journal."""

    async def close(self) -> None:
        """Let go of it."""


class FileStore:
    """A journal in a local file. Several processes may append to it at the same time.

    A part is one write to a file opened for appending, so that parts of different processes do not mix.
    The file appears with its header in it: whoever sees it sees a journal.
    """

    def __init__(self, path: Path, header: bytes, check: Check) -> None:
        self._path = path
        self._header = header
        self._check = check
        self._descriptor: int | None = None
        self._appended = 0
        self._torn = False

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    @property
    def begun(self) -> bool:
        """Whether the file exists."""
        return self._path.exists()

    async def look(self) -> bytes | None:
        """Return the first line; refuse what cannot be written, before anything is."""
        return await in_thread(self._look)

    def _look(self) -> bytes | None:
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise UsageError(f"The journal cannot be written to {self._path}: it is no file.")
            if not os.access(self._path, os.R_OK | os.W_OK):
                raise UsageError(f"The journal cannot be written to {self._path}: permission denied.")
            with self._path.open("rb") as file:
                return file.readline(HEADER_BYTES) or None
        except FileNotFoundError:
            self._check_folder()
            return None
        except OSError as error:
            raise UsageError(f"The journal cannot be written to {self._path}: {error.strerror}.") from error

    def _check_folder(self) -> None:
        folder = next(parent for parent in self._path.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(
                f"The journal cannot be written to {self._path}: no file can be made in {folder}. Name another place (--journal)."
            )

    async def append(self, number: int, part: bytes) -> None:
        """Append a part and make it durable; a cancelled call returns only when its write has ended."""
        await in_thread(self._append, number, part)

    def _append(self, number: int, part: bytes) -> None:
        if number <= self._appended:
            return
        if self._descriptor is None:
            self._descriptor = self._open()
        left = memoryview(b"\n" + part if self._torn else part)
        self._torn = True
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._torn = False
        os.fsync(self._descriptor)
        self._appended = number

    def _open(self) -> int:
        make_private_folder(self._path.absolute().parent)
        if not self._path.exists():
            self._create()
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND)
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if not size:
            os.write(descriptor, self._header)
            return descriptor
        self._check(_read_at(descriptor, 0, HEADER_BYTES).partition(b"\n")[0] + b"\n")
        self._torn = _read_at(descriptor, size - 1, 1) != b"\n"
        return descriptor

    def _create(self) -> None:
        """Make the file, with its header in it, unless another process just did."""
        draft = self._path.with_name(f".{self._path.name[:200]}.{secrets.token_hex(4)}")
        try:
            _write_new(draft, self._header)
            try:
                os.link(draft, self._path)
            except FileExistsError:
                return
            except OSError:  # a file system without links
                with suppress(FileExistsError):
                    _write_new(self._path, self._header)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(self._path.absolute().parent)

    async def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _read_at(descriptor: int, place: int, most: int) -> bytes:
    os.lseek(descriptor, place, os.SEEK_SET)
    return os.read(descriptor, most)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


class ObjectStore:
    """A journal in S3, where nothing can be appended to: each part is an object of its own.

    The header is the object ``journal.jsonl``, parts are ``WRITER-00000001.jsonl`` and so on.
    """

    def __init__(self, objects: Objects, header: bytes, by: str, check: Check) -> None:
        self._objects = objects
        self._header = header
        self._check = check
        self._by = by
        self._begun = False

    @property
    def name(self) -> str:
        """The place in S3."""
        return str(self._objects.place)

    @property
    def begun(self) -> bool:
        """Whether the header was written, or seen."""
        return self._begun

    async def look(self) -> bytes | None:
        """Return the header; refuse a name under which other things are."""
        header = await self._read_header()
        if header is not None:
            return header
        async for name in self._objects.names():
            if (header := await self._read_header()) is not None:
                return header  # another writer has begun it just now
            raise UsageError(f"{self.name} is not a journal: {name!r} is there and no {HEADER_NAME}.")
        return None

    async def _read_header(self) -> bytes | None:
        found = await self._objects.get(HEADER_NAME)
        if found is None:
            return None
        self._begun = True
        return found[0].partition(b"\n")[0] + b"\n"

    async def append(self, number: int, part: bytes) -> None:
        """Put a part; one that is there already is this very one, as its name is nobody else's."""
        if not self._begun:
            await self._begin()
        with suppress(ConditionFailedError):
            await self._objects.put(f"{self._by}-{number:08}.jsonl", part, if_absent=True)

    async def _begin(self) -> None:
        try:
            await self._objects.put(HEADER_NAME, self._header, if_absent=True)
        except ConditionFailedError:  # another writer was first, hopefully of the same journal
            self._check(await self._read_header() or b"")
        self._begun = True

    async def close(self) -> None:
        """Do nothing: the client is its opener's."""


@asynccontextmanager
async def open_store(
    place: Path | S3Place, header: bytes, by: str, check: Check, access: S3Access | None = None
) -> AsyncIterator[Store]:
    """Open the place of a journal for one writer; nothing is written before its first part.

    Args:
        place: a file, or a name in S3.
        header: the line with which the journal begins, if this writer begins it.
        by: the writer.
        check: refuses a journal that another has begun in the meantime, by its first line, with a UsageError.
        access: how S3 is reached.
    """
    if isinstance(place, Path):
        store = FileStore(place, header, check)
        try:
            yield store
        finally:
            await store.close()
        return
    from asyncrep.aws.objects import open_objects  # noqa: PLC0415 - a journal in a file needs no S3

    async with open_objects(place, access=access) as objects:
        yield ObjectStore(objects, header, by, check)
