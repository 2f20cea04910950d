"""What a backup is to those who read it: files of lines, each an item or a deletion. Values and the protocol.

``asyncrep.backup.opening.open_backup`` finds out which kind a place holds; each kind has a module of its own. Whoever reads
a file to its end has checked it: its compression is sound, and size, digest and count are what the manifest says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.backup.layout import TableDescription

BackupKind = Literal["dump", "snapshot", "folder", "export", "stream"]
"""What a backup is; the glossary is in ``asyncrep.backup``. A stream is what comes through standard input."""

CHUNK_LINES = 500
"""The most items of a chunk."""

CHUNK_BYTES = 1 << 20
"""About the most bytes of a chunk; one item may be larger than what is left of them."""


class Line(NamedTuple):
    """One item of a backup, or one deletion.

    Attributes:
        number: of the line in its file, from 1 on; 0 where an object is an item.
        image: the item in wire JSON, or the key of what is deleted. Nobody has looked at it yet: it may be no
            item at all.
        is_deletion: what is under this key is to be deleted.
        file: where it is, as people call it, if that is not the chunk's file: an object of a folder.
        problem: why this is no item, where whoever reads the backup knows; then there is no image.
    """

    number: int
    image: bytes
    is_deletion: bool = False
    file: str = ""
    problem: str = ""


class Chunk(NamedTuple):
    """Some lines of one file, in the file's order; up to ``CHUNK_LINES`` or about ``CHUNK_BYTES``.

    Attributes:
        file: as people call it.
        lines: the items; there may be none.
    """

    file: str
    lines: list[Line]


class BackupFile(NamedTuple):
    """A part of a backup that is read in one go; parts of one phase may be read at the same time.

    Attributes:
        name: within the backup.
        size: as stored; 0 where nobody knows.
        items: how many lines it has, as a manifest says; None without one.
        sha256: of what is stored, hexadecimal, as a manifest says; None without one.
        phase: later ones are applied after all of the earlier ones.
        md5: the same of exports, which have this digest: base64.
        etag: changes with the content; empty where nobody knows.
    """

    name: str
    size: int
    items: int | None = None
    sha256: str | None = None
    phase: int = 0
    md5: str | None = None
    etag: str = ""


class Backup(Protocol):
    """An open backup. Its files can be read at the same time, and again; a stream only once."""

    @property
    def label(self) -> str:
        """The backup as people call it."""

    @property
    def kind(self) -> BackupKind:
        """What it is."""

    @property
    def description(self) -> TableDescription | None:
        """The table it is of, where the backup tells."""

    @property
    def as_of(self) -> float | None:
        """The moment up to which it tells of its table, in seconds since the epoch; None for now, or nobody knows."""

    @property
    def items(self) -> int | None:
        """How many items it holds, deletions included, as its manifests say; None where they do not."""

    @property
    def files(self) -> Sequence[BackupFile]:
        """Its parts, in the order of their phases. Those of a folder are ranges of its objects' names."""

    @property
    def phases(self) -> int:
        """How many phases it has, at least one."""

    @property
    def notes(self) -> Sequence[str]:
        """What people should know of it before they rely on it, one sentence each."""

    def chunks(self, file: BackupFile, *, skip: int = 0) -> AsyncIterator[Chunk]:
        """Yield what a file holds, in its order, without its first ``skip`` lines.

        Raises:
            BackupError: it is damaged, or is not what the manifest says; names file and line.
            ServiceError, StorageError: it could not be read.
        """
