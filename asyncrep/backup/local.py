"""A folder of this computer as a ``Storage``: objects are files, which appear whole or not at all."""

from __future__ import annotations

import os
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from asyncrep.backup.local_files import (
    Draft,
    check_condition,
    etag_of,
    file_at,
    is_draft,
    locked,
    remove_drafts,
    scan_folder,
    storing,
    strike_empty,
)
from asyncrep.errors import StorageError, UsageError
from asyncrep.flow.tasks import in_thread
from asyncrep.jobs.folders import sync_folder
from asyncrep.storage import Entry, ObjectHead

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from asyncrep.backup.local_files import Found
    from asyncrep.storage import Upload, Version

_PIECE = 512 * 1024
"""Bytes that are read at once, and that are gathered before they are written."""

_AT_ONCE = 1000
"""Files that a listing looks at in one go."""


class LocalFolder:
    """The files of a folder. Files and new folders are for their owner only; links to folders are not followed.

    A folder that is not there yet is one that holds nothing; writing makes it. What is put has no metadata.
    Conditions hold against all that write through this class, in any process.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def label(self) -> str:
        """The folder's path."""
        return str(self.path)

    def under(self, name: str) -> LocalFolder:
        """Return a folder within this one.

        Raises:
            StorageError: the name would lead out of it.
        """
        name = name.strip("/")
        return LocalFolder(self._path(name)) if name else self

    def name_of(self, name: str) -> str:
        """Return the path of a file of this folder."""
        return str(self.path / name)

    def _path(self, name: str) -> Path:
        """Return the path of an object.

        Raises:
            StorageError: the name would lead out of the folder, or cannot be that of a file.
        """
        parts = name.split("/")
        if any(part in {"", ".", ".."} or "\0" in part or is_draft(part) for part in parts):
            raise StorageError(f"{name!r} cannot be the name of a file in {self.path}.")
        return self.path.joinpath(*parts)

    async def check(self) -> None:
        """Make sure that this can be listed, or made.

        Raises:
            StorageError: it is no folder, cannot be read, or lies in what is none.
        """

        def look() -> None:
            folder = next(each for each in (self.path, *self.path.absolute().parents) if each.exists())
            with storing(folder, "opened"), os.scandir(folder):
                pass

        await in_thread(look)

    async def entries(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[Entry, None]:
        """Yield the files in the order of their names; see ``Storage.entries``."""
        async with aclosing(self._files(self.path, "", prefix, after)) as files:
            async for entry in files:
                yield entry

    async def _files(self, folder: Path, root: str, prefix: str, after: str) -> AsyncGenerator[Entry, None]:
        with storing(folder, "listed"):
            found = await in_thread(scan_folder, folder, root, prefix, after)
        files: list[Found] = []
        for each in found:
            if not each.is_folder:
                files.append(each)
            if each.is_folder or len(files) == _AT_ONCE:
                for entry in await in_thread(_looked_at, files):
                    yield entry
                files = []
            if each.is_folder:
                async with aclosing(self._files(Path(each.path), each.name, prefix, after)) as within:
                    async for entry in within:
                        yield entry
        for entry in await in_thread(_looked_at, files):
            yield entry

    async def folders(self, prefix: str = "") -> list[str]:
        """Return the folders within this one; see ``Storage.folders``."""
        root = prefix[: prefix.rfind("/") + 1]
        folder = self.under(root).path
        with storing(folder, "listed"):
            found = await in_thread(scan_folder, folder, root, prefix, "")
        return [each.name.removesuffix("/") for each in found if each.is_folder]

    async def head(self, name: str) -> ObjectHead | None:
        """Look at a file; None when there is none."""
        path = self._path(name)
        with storing(path, "read"):
            told = await in_thread(file_at, path)
        return None if told is None else ObjectHead(etag_of(told), {}, told.st_size, told.st_mtime)

    async def get(self, name: str) -> tuple[bytes, str] | None:
        """Read a whole file; return what it holds and its ETag, None when there is none."""
        path = self._path(name)

        def read() -> tuple[bytes, str] | None:
            try:
                with path.open("rb") as file:
                    return file.read(), etag_of(os.fstat(file.fileno()))
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

        with storing(path, "read"):
            return await in_thread(read)

    async def read(self, name: str) -> AsyncGenerator[bytes, None]:
        """Yield what a file holds, in pieces; one that is replaced meanwhile is read as it was.

        Raises:
            StorageError: there is none, or it cannot be read.
        """
        path = self._path(name)
        with storing(path, "read"):
            # Not in a thread: of a file that it opens while this is cancelled nobody would know.
            file = path.open("rb", buffering=0)
        try:
            while True:
                with storing(path, "read"):
                    piece = await in_thread(file.read, _PIECE)
                if not piece:
                    return
                yield piece
        finally:
            file.close()

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Write a whole file and return its ETag; see ``Storage.put``. The metadata is not kept.

        Raises:
            ConditionFailedError: the condition does not hold.
            StorageError: it could not be written.
        """
        del metadata
        path = self._path(name)

        def write() -> str:
            draft = Draft(path)
            try:
                draft.write(data)
                return draft.finish(if_absent=if_absent, if_match=if_match)
            finally:
                draft.drop()

        with storing(path, "written"):
            return await in_thread(write)

    def upload(self, name: str, *, if_absent: bool = False) -> AbstractAsyncContextManager[Upload]:
        """Write a file of any size; see ``Storage.upload``.

        Raises:
            ConditionFailedError: with ``if_absent``, there is one of that name already.
            StorageError: it could not be written.
        """
        return _uploading(self._path(name), if_absent=if_absent)

    async def forget_uploads(self, names: Collection[str]) -> int:
        """Remove files that were never whole; see ``Storage.forget_uploads``.

        Raises:
            StorageError: one could not be removed.
        """
        paths = [self._path(name) for name in names]
        with storing(self.path, "cleared"):
            return await in_thread(remove_drafts, paths)

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete one file; with ``if_match`` only if it has this ETag. One that is not there is no error.

        Raises:
            ConditionFailedError: the condition does not hold.
            StorageError: it could not be deleted.
        """
        path = self._path(name)
        with storing(path, "deleted"):
            await in_thread(self._delete, path, if_match)

    def _delete(self, path: Path, if_match: str | None) -> None:
        try:
            with locked(path.parent):
                check_condition(path, if_match=if_match)
                path.unlink(missing_ok=True)
        except (FileNotFoundError, NotADirectoryError):  # there is not even a folder for it
            check_condition(path, if_match=if_match)
            return
        sync_folder(path.parent)
        strike_empty(path.parent, self.path)

    async def remove(self, names: Sequence[str]) -> None:
        """Remove files; those that are not there are no error.

        Raises:
            StorageError: one could not be removed.
        """
        for name in names:
            await self.delete(name)

    def versions(self, prefix: str = "") -> AsyncIterator[Version]:
        """Refuse: a folder keeps no versions.

        Raises:
            UsageError: always.
        """
        del prefix
        self._refuse_versions()

    async def get_version(self, version: Version) -> bytes:
        """Refuse: a folder keeps no versions.

        Raises:
            UsageError: always.
        """
        del version
        self._refuse_versions()

    def _refuse_versions(self) -> NoReturn:
        raise UsageError(f"{self.path} is a folder, which keeps no versions: only S3 does.")


def _looked_at(files: Sequence[Found]) -> list[Entry]:
    entries = []
    for name, path in files:
        told = file_at(Path(path))
        if told is not None:  # it was removed meanwhile, or is no file
            entries.append(Entry(name, told.st_size, etag_of(told), told.st_mtime))
    return entries


class _FileUpload:
    """A file that is being written; see ``asyncrep.storage.Upload``."""

    def __init__(self, path: Path, draft: Draft) -> None:
        self._path = path
        self._draft = draft
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._written = 0

    @property
    def size(self) -> int:
        """How many bytes were written so far."""
        return self._written + self._gathered_bytes

    async def write(self, data: bytes) -> None:
        """Write some more."""
        self._gathered.append(bytes(data))
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _PIECE:
            await self.flush()

    async def flush(self) -> None:
        """Write what was gathered."""
        data = b"".join(self._gathered)
        self._gathered.clear()
        self._gathered_bytes = 0
        self._written += len(data)
        with storing(self._path, "written"):
            await in_thread(self._draft.write, data)


@asynccontextmanager
async def _uploading(path: Path, *, if_absent: bool) -> AsyncIterator[Upload]:
    with storing(path, "written"):
        draft = Draft(path)  # blocks no longer than a thread would take to begin, and cannot be torn in two
    try:
        upload = _FileUpload(path, draft)
        yield upload  # what the block raises is not ours to translate
        await upload.flush()
        with storing(path, "written"):
            await in_thread(draft.finish, if_absent=if_absent)
    finally:
        draft.drop()
