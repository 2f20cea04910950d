"""The folder for what outlives a run, and folders and files that only their owner may enter."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_VARIABLE = "ASYNCREP_STATE"


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for journals and the state of jobs: ASYNCREP_STATE, or where the system has it.

    Raises:
        UsageError: nobody has said where the user's files are.
    """
    import platformdirs  # noqa: PLC0415 - most commands need no state

    if chosen := environment.get(STATE_VARIABLE):
        return Path(chosen)
    try:
        return platformdirs.user_state_path("asyncrep", appauthor=False)
    except RuntimeError as error:  # as in a container, whose user has no home
        raise UsageError(
            f"There is no home folder for journals and jobs: set {STATE_VARIABLE} to a folder."
        ) from error


def make_private_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, for their owner only.

    Raises:
        OSError: that is not possible.
    """
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        make_private_folder(folder.parent)
        with suppress(FileExistsError):  # others make it, or remove it, at the same time
            folder.mkdir(mode=0o700)  # Path.mkdir would make the parents for everybody
    else:
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def sync_folder(folder: Path) -> None:
    """Make durable that a file was made in a folder, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return  # as on Windows, where a folder cannot be opened
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems have no such call
    finally:
        os.close(descriptor)
