"""Reads one file of a backup: cuts it into chunks of lines, and holds it against what its manifest says."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, cast

from asyncrep.backup.lines import LineReader
from asyncrep.backup.reading import CHUNK_BYTES, CHUNK_LINES, BackupFile, Chunk, Line
from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence

    from asyncrep.backup.layout import TableDescription
    from asyncrep.backup.reading import BackupKind
    from asyncrep.storage import Storage


class Unwrap(Protocol):
    """Makes a line of a backup of a line of its file."""

    def __call__(self, number: int, text: bytes, file: str) -> Line:
        """Return it.

        Raises:
            BackupError: it is none.
        """


def bare(number: int, text: bytes, file: str) -> Line:  # noqa: ARG001 - see Unwrap
    """Return a line that is an item, and nothing else."""
    return Line(number, text)


class FileBackup:
    """A backup whose files have an item a line: a dump, a snapshot, an export. See ``reading.Backup``."""

    def __init__(
        self,
        storage: Storage,
        kind: BackupKind,
        files: Sequence[BackupFile],
        *,
        label: str | None = None,
        description: TableDescription | None = None,
        as_of: float | None = None,
        items: int | None = None,
        notes: Sequence[str] = (),
        unwrap: Unwrap = bare,
        only_changes: bool = False,
    ) -> None:
        self.label = label or storage.label
        self.kind: BackupKind = kind
        self.files = list(files)
        self.description = description
        self.as_of = as_of
        self.items = items
        self.notes = list(notes)
        self.phases = max((file.phase for file in self.files), default=0) + 1
        self.only_changes = only_changes
        self._storage = storage
        self._unwrap = unwrap

    def chunks(self, file: BackupFile, *, skip: int = 0) -> AsyncIterator[Chunk]:
        """Yield what a file holds; see ``reading.Backup.chunks``."""
        pieces = self._storage.read(file.name)
        return read_chunks(pieces, self._storage.name_of(file.name), file, skip=skip, unwrap=self._unwrap)


async def read_chunks(
    pieces: AsyncIterator[bytes], name: str, file: BackupFile, *, skip: int = 0, unwrap: Unwrap = bare
) -> AsyncIterator[Chunk]:
    """Cut a file into chunks of lines; what comes before damage is yielded before it is told.

    Args:
        pieces: what is stored.
        name: the file as people call it.
        file: what is known of it.
        skip: lines that are left out at the beginning.
        unwrap: makes a line of what the file has as one.

    Raises:
        BackupError: it is damaged, or not what its manifest says.
    """
    cutter = _Cutter(name, skip, unwrap)
    seal = _Seal(file)
    damage: BackupError | None = None
    try:
        async with aclosing(cast("AsyncGenerator[bytes, None]", pieces)) as stored:
            async for piece in stored:
                seal.add(piece)
                for chunk in cutter.cut(piece):
                    yield chunk
        for chunk in cutter.end():
            yield chunk
    except BackupError as error:
        damage = error
    if cutter.lines:
        yield Chunk(name, cutter.lines)
    if damage is not None:
        raise damage
    seal.check(name, cutter.count)


class _Cutter:
    """Makes chunks of the lines of a file.

    Attributes:
        count: lines that were met so far, the skipped ones too.
        lines: what is not yielded yet.
    """

    def __init__(self, name: str, skip: int, unwrap: Unwrap) -> None:
        self.count = 0
        self.lines: list[Line] = []
        self._name = name
        self._skip = skip
        self._unwrap = unwrap
        self._reader = LineReader(name)
        self._size = 0

    def cut(self, piece: bytes) -> Iterator[Chunk]:
        """Yield the chunks that another piece completes."""
        return self._chunks(self._reader.feed(piece))

    def end(self) -> Iterator[Chunk]:
        """Take note that there is no other piece."""
        return self._chunks(self._reader.end())

    def _chunks(self, found: Iterable[tuple[int, bytes]]) -> Iterator[Chunk]:
        for number, text in found:
            self.count += 1
            if self.count <= self._skip:
                continue
            self.lines.append(self._unwrap(number, text, self._name))
            self._size += len(text)
            if len(self.lines) >= CHUNK_LINES or self._size >= CHUNK_BYTES:
                lines, self.lines, self._size = self.lines, [], 0
                yield Chunk(self._name, lines)


class _Seal:
    """Adds up what a manifest says of a file, while the file is read."""

    def __init__(self, file: BackupFile) -> None:
        self._file = file
        self._size = 0
        self._sha256 = hashlib.sha256() if file.sha256 else None
        self._md5 = hashlib.md5(usedforsecurity=False) if file.md5 else None

    def add(self, piece: bytes) -> None:
        """Count another piece of what is stored."""
        self._size += len(piece)
        for digest in (self._sha256, self._md5):
            if digest is not None:
                digest.update(piece)

    def check(self, name: str, items: int) -> None:
        """Compare all of it with what was promised.

        Raises:
            BackupError: with what is not so.
        """
        for what, found, promised in self._found(items):
            if promised is not None and found != promised:
                has = what.format(found, promised)
                raise BackupError(f"{name} is not what its manifest says: it has {has}.")

    def _found(self, items: int) -> Iterator[tuple[str, object, object]]:
        file = self._file
        yield "{:,} bytes, not {:,}", self._size, file.size or None
        yield "{:,} items, not {:,}", items, file.items
        if self._sha256 is not None:
            yield "the SHA-256 {}, not {}", self._sha256.hexdigest(), file.sha256
        if self._md5 is not None:
            yield "the MD5 {}, not {}", b64encode(self._md5.digest()).decode(), file.md5
