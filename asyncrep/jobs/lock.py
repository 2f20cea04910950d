"""A lock in a folder that one process holds at a time and loses when it ends, however it does."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from asyncrep.jobs.folders import make_private_folder

if TYPE_CHECKING:
    from pathlib import Path

LOCK_NAME = "lock"
"""The file that is locked. Nothing is ever in it."""

_TRIES = 5
_PAUSE_SECONDS = 0.02
"""Whoever only looks whether a lock is held (``is_held``) holds it for an instant: that is no reason to give up."""


class FolderLock:
    """The lock of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK_NAME
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock; return whether no other process has it. The folder is made when it is missing.

        Raises:
            OSError: there can be no such folder, or no file in it.
        """
        for number in range(_TRIES):
            if number:
                time.sleep(_PAUSE_SECONDS)
            make_private_folder(self._folder.absolute())
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            # Whoever removes the folder takes the file away too: a lock on what is gone locks nobody out.
            if _lock(descriptor) and _is_open_at(self._path, descriptor):
                self._descriptor = descriptor
                return True
            os.close(descriptor)
        return False

    def release(self, *, remove: bool = False) -> None:
        """Let others in; with ``remove`` take away the lock, and the folder if nothing else is in it."""
        if self._descriptor is None:
            return
        if remove:
            with contextlib.suppress(OSError):  # something is in it, or an open file cannot be removed here
                self._path.unlink()
                self._folder.rmdir()
        os.close(self._descriptor)
        self._descriptor = None


def is_held(folder: Path) -> bool:
    """Tell whether a process holds the lock of a folder, without disturbing it."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _is_open_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; return whether no other process has."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows, which has its own
    except ImportError:
        import msvcrt  # noqa: PLC0415

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
