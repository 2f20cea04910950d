"""Discrepancies for programs: JSON lines, and rclone's notation of a sigil and a name a line."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import msgspec
from msgspec import Raw

from asyncrep.errors import AsyncrepError, UsageError
from asyncrep.model import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncrep.model import Discrepancy

STDOUT = Path("-")

_SIGILS = {"missing": b"+", "extraneous": b"-", "different": b"*"}
_NOT_DRIFT = frozenset({State.IN_FLIGHT, State.EXPIRED})

_encode = msgspec.json.Encoder().encode


class OutputError(AsyncrepError):
    """A result could not be written, as when the disk is full; the run ends there."""


def json_line(found: Discrepancy) -> bytes:
    """Return a discrepancy as one line of JSON; images go in as they came from the service."""
    return _encode({
        "kind": found.kind,
        "key": Raw(found.key),
        "primary": _image(found.primary),
        "replica": _image(found.replica),
        "segment": found.segment,
        "state": found.state,
        "reason": found.reason,
    }) + b"\n"  # fmt: skip


def combined_line(found: Discrepancy) -> bytes:
    """Return a discrepancy as a sigil and its key; nothing for what is no drift."""
    if found.state in _NOT_DRIFT:
        return b""
    sigil = b"!" if found.state is State.FAILED else _SIGILS[found.kind]
    return sigil + b" " + found.key + b"\n"


@contextmanager
def opened(
    path: Path | None, line: Callable[[Discrepancy], bytes]
) -> Iterator[Callable[[Discrepancy], None]]:
    """Open a file, or stdout for ``-``, and yield what writes discrepancies to it.

    The file can be read by its owner only, because it holds items. What it held before is gone only
    once the run has begun: until the first line, or the good end, nothing is cut off.

    Raises:
        UsageError: the file cannot be written to.
        OutputError: writing failed later.
    """
    if path is None:
        yield lambda _found: None
        return
    with _Lines(path, line) as lines:
        yield lines.write


class _Lines:
    """One open result."""

    def __init__(self, path: Path, line: Callable[[Discrepancy], bytes]) -> None:
        self._path = path
        self._line = line
        self._cut = False
        self._file: IO[bytes]

    def __enter__(self) -> Self:
        self._created = self._path != STDOUT and not self._path.exists()
        try:
            self._file = sys.stdout.buffer if self._path == STDOUT else _open_private(self._path)
        except OSError as error:
            raise UsageError(f"Cannot write to {self._path}: {error.strerror}.") from error
        return self

    def write(self, found: Discrepancy) -> None:
        """Write one discrepancy."""
        try:
            self._begin()
            self._file.write(self._line(found))
            if self._path == STDOUT:
                self._file.flush()  # a reader on the other end of a pipe wants it now
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"Cannot write to {self._name}: {error.strerror}.") from error

    @property
    def _name(self) -> str:
        return "stdout" if self._path == STDOUT else str(self._path)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._path == STDOUT:
            return
        try:
            if kind is None:
                self._begin()
            self._file.close()
        except OSError as error:
            if kind is None:
                raise OutputError(f"Cannot write to {self._path}: {error.strerror}.") from error
        if kind is not None and self._created and not self._cut:
            self._path.unlink(missing_ok=True)

    def _begin(self) -> None:
        if not self._cut and self._path != STDOUT and self._path.is_file():
            self._file.truncate(0)
        self._cut = True


def _open_private(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    return os.fdopen(descriptor, "wb", buffering=64 * 1024)


def _image(image: bytes | None) -> Raw | None:
    # White space between tokens is legal in an answer, and a line break there would split our line.
    return None if image is None else Raw(image.replace(b"\n", b" "))
