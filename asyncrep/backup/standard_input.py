"""Reads a backup from standard input, or from a pipe: lines of items, once, and in gzip or not."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from asyncrep.backup.aws_exports import unwrap_lone_line
from asyncrep.backup.file_lines import read_chunks
from asyncrep.backup.reading import BackupFile
from asyncrep.errors import BackupError, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from io import FileIO

    from asyncrep.backup.layout import TableDescription
    from asyncrep.backup.reading import BackupKind, Chunk

_PIECE = 256 * 1024
_AHEAD = 4
"""Pieces that may wait to be taken."""


class StreamBackup:
    """What a pipe brings, as a backup of one file that can be read once. See ``reading.Backup``."""

    kind: BackupKind = "stream"
    description: TableDescription | None = None
    as_of: float | None = None
    items: int | None = None
    phases = 1
    notes: Sequence[str] = ()

    def __init__(self, source: int | Path, label: str) -> None:
        self.label = label
        self.files = [BackupFile(label, 0)]
        self._source = source
        self._begun = False

    def chunks(self, file: BackupFile, *, skip: int = 0) -> AsyncIterator[Chunk]:
        """Yield what comes; see ``reading.Backup.chunks``.

        Raises:
            BackupError: it was read before, or brings nothing at all, as when the command before it has failed.
        """
        if self._begun:
            raise BackupError(f"{self.label} can be read only once.")
        self._begun = True
        pieces = _pieces(self._source, self.label)
        return read_chunks(pieces, self.label, file, skip=skip, unwrap=unwrap_lone_line)


async def _pieces(source: int | Path, label: str) -> AsyncIterator[bytes]:
    """Yield what can be read from a descriptor, or from a named pipe.

    A thread that nobody waits for reads: whether that blocks, as opening the pipe does, and for how long, is up to
    the other end, and an interrupted command must not wait for it. No mode of the descriptor is changed, as
    others may share it.
    """
    pump = _Pump(source, asyncio.get_running_loop())
    threading.Thread(target=pump.run, daemon=True).start()
    brought = False
    try:
        while (piece := await pump.read.get()) is not None:
            pump.room.release()
            if isinstance(piece, OSError):
                raise StorageError(f"{label} cannot be read: {piece.strerror}.") from piece
            brought = True
            yield piece
        if not brought:
            raise BackupError(f"{label} brought nothing: there is no backup in it.")
    finally:
        pump.stopped = True
        pump.room.release()


class _Pump:
    """Reads in a thread of its own, a few pieces ahead.

    Attributes:
        read: what was read; None at the end, an error where that failed.
        room: for pieces that nobody has taken.
        stopped: nobody wants any more.
    """

    def __init__(self, source: int | Path, loop: asyncio.AbstractEventLoop) -> None:
        self.read: asyncio.Queue[bytes | OSError | None] = asyncio.Queue()
        self.room = threading.Semaphore(_AHEAD)
        self.stopped = False
        self._source = source
        self._loop = loop

    def run(self) -> None:
        """Read to the end."""
        try:
            with open(self._source, "rb", buffering=0, closefd=isinstance(self._source, Path)) as stream:
                while piece := self._next(stream):
                    self._hand_over(piece)
            self._hand_over(None)
        except OSError as error:
            self._hand_over(error)

    def _next(self, stream: FileIO) -> bytes:
        self.room.acquire()
        return b"" if self.stopped else stream.read(_PIECE)

    def _hand_over(self, piece: bytes | OSError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self.read.put_nowait, piece)
        except RuntimeError:  # the loop is closed: the command has ended
            self.stopped = True
