"""Files of a local folder: made under a name that nobody looks for, looked at, listed in the order of S3."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from asyncrep.errors import ConditionFailedError, StorageError
from asyncrep.jobs.folders import make_private_folder, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_DRAFT = re.compile(r"\..*\.[0-9a-f]{12}\.part", re.DOTALL)
_LONGEST_STEM = 150
"""Characters of a file's name that its draft repeats: a name has 255 bytes at the most."""

_TRIES = 5
"""How often a folder is made anew that somebody else removes, as it was empty."""


def is_draft(name: str) -> bool:
    """Tell whether this is the name, without folders, of a file that is being written, or never was whole."""
    return _DRAFT.fullmatch(name) is not None


def etag_of(told: os.stat_result) -> str:
    """Return what changes whenever a file is replaced, or written to."""
    return f'"{told.st_mtime_ns:x}-{told.st_size:x}-{told.st_ino:x}"'


@contextmanager
def storing(path: Path, what: str) -> Iterator[None]:
    """Translate what the system says of a file; ``what`` is what could not be done, as ``read``.

    Raises:
        StorageError: in one sentence.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be {what}: {error.strerror or error}.") from error


class Draft:
    """A file that is being written under a name that no listing shows. Every method blocks.

    Args:
        path: what the file will be called when it is whole.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name[:_LONGEST_STEM]}.{secrets.token_hex(6)}.part")
        self._descriptor: int | None = _made(self._draft)

    def write(self, data: bytes) -> None:
        """Write some more."""
        assert self._descriptor is not None
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def finish(self, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Let the file appear and return its ETag.

        Raises:
            ConditionFailedError: a condition does not hold; see ``Storage.put``.
            OSError: it could not be written to its end.
        """
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        etag = etag_of(os.fstat(self._descriptor))
        self._close()
        with locked(self._path.parent):
            check_condition(self._path, if_absent=if_absent, if_match=if_match)
            self._draft.replace(self._path)
        sync_folder(self._path.parent)
        return etag

    def drop(self) -> None:
        """Remove what was written, unless it has appeared."""
        self._close()
        with suppress(OSError):
            self._draft.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _made(path: Path) -> int:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # it was empty, and somebody has just removed it
            make_private_folder(path.parent)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep all others, also other processes, from replacing a file of a folder meanwhile.

    Raises:
        OSError: there is no such folder.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on Windows, where conditions hold within a moment only
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_condition(path: Path, *, if_absent: bool = False, if_match: str | None = None) -> None:
    """Refuse to replace or delete a file that is not as it was expected.

    Raises:
        ConditionFailedError: there is one, or another one than ``if_match`` says, or none.
    """
    if not if_absent and if_match is None:
        return
    told = file_at(path)
    if if_absent and told is not None:
        raise ConditionFailedError(f"{path} is there already.", code="PreconditionFailed")
    if if_match is not None and (told is None or etag_of(told) != if_match):
        raise ConditionFailedError(f"{path} was changed by somebody else.", code="PreconditionFailed")


def file_at(path: Path) -> os.stat_result | None:
    """Look at a file; None when there is none, or something else."""
    try:
        told = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return told if stat.S_ISREG(told.st_mode) else None


class Found(NamedTuple):
    """What a folder holds: a file, or a folder, whose name ends with a slash."""

    name: str
    path: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")


def scan_folder(folder: Path, root: str, prefix: str, after: str) -> list[Found]:
    """Return what a folder holds, as far as it is asked for, in the order of UTF-8 bytes of whole names.

    Args:
        folder: the folder; one that is not there holds nothing.
        root: its name within the place that is listed, with a slash; empty for that place.
        prefix: what names begin with.
        after: what names come behind; the order of characters is that of their bytes.
    """
    found: list[Found] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                name = f"{root}{entry.name}/" if is_folder else root + entry.name
                if _is_asked_for(name, prefix, after) and not is_draft(entry.name):
                    found.append(Found(name, entry.path))
    except FileNotFoundError:
        return []
    return sorted(found)


def _is_asked_for(name: str, prefix: str, after: str) -> bool:
    is_within = name.startswith(prefix)
    if not name.endswith("/"):
        return is_within and name > after
    return (is_within or prefix.startswith(name)) and (name > after or after.startswith(name))


def remove_drafts(paths: Iterable[Path]) -> int:
    """Remove what is there of files of these names that were never whole; return how many drafts there were."""
    removed = 0
    stems: dict[Path, set[str]] = {}
    for path in paths:
        stems.setdefault(path.parent, set()).add(path.name[:_LONGEST_STEM])
    for folder, names in stems.items():
        try:
            drafts = [each for each in folder.iterdir() if is_draft(each.name)]
        except (FileNotFoundError, NotADirectoryError):
            continue
        for draft in drafts:
            if draft.name[1:].rsplit(".", 2)[0] in names:
                draft.unlink(missing_ok=True)
                removed += 1
    return removed


def strike_empty(folder: Path, root: Path) -> None:
    """Remove a folder within ``root`` that holds nothing, and then those above it: S3 has no empty ones."""
    while folder != root and root in folder.parents:
        try:
            folder.rmdir()
        except OSError:  # something is in it, or it is gone
            return
        folder = folder.parent
