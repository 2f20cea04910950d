"""Keeps any number of records for later, in bounded memory."""

from __future__ import annotations

import os
import tempfile
from itertools import islice
from typing import TYPE_CHECKING, Self

import msgspec

from asyncrep.diff.confirm import Candidate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import TracebackType

_IN_MEMORY = 1024 * 1024

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, int, int]).decode


class Spool:
    """A list of the replica's candidates that goes to a temporary file when it grows; gone when it is closed.

    The file is nameless and, as ``tempfile`` makes it, readable by its owner only.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed in __exit__
        self.length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def add(self, candidate: Candidate) -> None:
        """Append one candidate."""
        key, segment, size, *_ = candidate
        self._file.seek(0, os.SEEK_END)
        self._file.write(_encode((key.decode(), segment, size)) + b"\n")
        self.length += 1

    def extend(self, lines: bytes) -> None:
        """Append what ``tail`` told of another spool."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(lines)
        self.length += lines.count(b"\n")

    def among(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of ``keys`` that were added."""
        return {candidate.key for candidate in self if candidate.key in keys}

    def __iter__(self) -> Iterator[Candidate]:
        self._file.seek(0)
        for line in self._file:
            key, segment, size = _decode(line)
            yield Candidate(key.encode(), segment, size, "replica")

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        place = self._file.tell()
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(place)
        return size

    def tail(self, start: int) -> bytes:
        """Return what it holds from the byte ``start`` on, whole lines; whoever iterates is not disturbed."""
        place = self._file.tell()
        self._file.seek(start)
        lines = self._file.read()
        self._file.seek(place)
        return lines

    def groups(self, most: int, heaviest: int, start: int = 0) -> Iterator[list[Candidate]]:
        """Yield everything added so far, in groups of at most ``most`` records or ``heaviest`` bytes.

        A record that was added twice comes once within a group. The first ``start`` are left out.
        """
        group: dict[bytes, Candidate] = {}
        weight = 0
        for candidate in islice(self, start, None):
            group[candidate.key] = candidate
            weight += candidate.size
            if len(group) >= most or weight >= heaviest:
                yield list(group.values())
                group, weight = {}, 0
        if group:
            yield list(group.values())
