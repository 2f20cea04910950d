"""Measures one object of a backup against what its manifest says: size, digest, gzip, lines. Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, NamedTuple

from asyncrep.backup.lines import LineReader
from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Promised(NamedTuple):
    """What one object is to hold, as a manifest says; None where none does.

    Attributes:
        name: within the place that the backup lies under.
        items: how many lines.
        stored_bytes: its size.
        sha256: of what is stored, hexadecimal.
        md5: the same of exports: base64.
    """

    name: str
    items: int | None = None
    stored_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None


class Gauge:
    """Measures an object piece by piece, in bounded memory. Feed it to the end, and end it.

    Attributes:
        stored_bytes: that were fed.
        items: lines that were found.
    """

    def __init__(self, label: str, promise: Promised) -> None:
        self.stored_bytes = 0
        self.items = 0
        self._label = label
        self._promise = promise
        self._lines = LineReader(label)
        self._broken: str | None = None
        algorithm = "sha256" if promise.md5 is None else "md5"
        self._digest = hashlib.new(algorithm, usedforsecurity=False)

    def feed(self, piece: bytes) -> int:
        """Measure another piece; return how many lines it completes."""
        self.stored_bytes += len(piece)
        self._digest.update(piece)
        return self._count(self._lines.feed(piece))

    def end(self) -> int:
        """Measure what is left at the end; likewise."""
        return self._count(self._lines.end())

    def _count(self, lines: Iterator[tuple[int, bytes]]) -> int:
        """Count lines as long as they can be read; of a broken object size and digest are told as well."""
        if self._broken is not None:
            return 0
        counted = 0
        try:
            for _ in lines:
                counted += 1
        except BackupError as error:
            self._broken = str(error)
        self.items += counted
        return counted

    def damages(self) -> list[str]:
        """Return what is wrong, one sentence each; nothing else is said of an object of another size."""
        promise = self._promise
        if promise.stored_bytes is not None and promise.stored_bytes != self.stored_bytes:
            told = (
                f"{self._label} has {self.stored_bytes:,} bytes; its manifest says {promise.stored_bytes:,}."
            )
            return [told]
        found = []
        if not self._is_what_was_written():
            found.append(f"{self._label} is not what was written: its digest is not the one in the manifest.")
        if self._broken is not None:
            found.append(self._broken)
        elif promise.items is not None and promise.items != self.items:
            found.append(f"{self._label} has {self.items:,} items; its manifest says {promise.items:,}.")
        return found

    def _is_what_was_written(self) -> bool:
        if self._promise.md5 is not None:
            return base64.b64encode(self._digest.digest()).decode() == self._promise.md5
        return self._promise.sha256 is None or self._digest.hexdigest() == self._promise.sha256.lower()
