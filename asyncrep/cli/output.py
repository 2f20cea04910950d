"""Discrepancies for programs: JSON lines, and rclone's notation of a sigil and a name a line."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, Self

import msgspec
from msgspec import Raw

from asyncrep.errors import AsyncrepError, UsageError
from asyncrep.items.changes import changes
from asyncrep.location import parse_storage
from asyncrep.model import Different, State
from asyncrep.repair.review import AGREES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from asyncrep.model import Discrepancy

STDOUT = Path("-")

_SIGILS = {"missing": b"+", "extraneous": b"-", "different": b"*"}
_NOT_DRIFT = frozenset({State.IN_FLIGHT, State.EXPIRED})

_encode = msgspec.json.Encoder().encode

_SUSPECT = re.compile("[^ -~]")
_WHITE_SPACE = bytes.maketrans(b"\t\n\r", b"   ")


class OutputError(AsyncrepError):
    """A result could not be written, as when the disk is full; the run ends there."""


def check_apart(sources: Iterable[str], outputs: Iterable[Path | None]) -> None:
    """Refuse to write a result into a backup that is read: it would be replaced.

    Raises:
        UsageError: with both.
    """
    given = [output for output in outputs if output is not None and output != STDOUT]
    for source in sources:
        place = parse_storage(source) if source != str(STDOUT) else None
        for output in given:
            if isinstance(place, Path) and output.resolve().is_relative_to(place.resolve()):
                raise UsageError(
                    f"{output} is a part of {source}, which is read: write the result elsewhere."
                )


def json_line(found: Discrepancy, ignored: Collection[str] = ()) -> bytes:
    """Return a discrepancy as one line of JSON; images go in as they came from the service, but harmless.

    ``ignored`` attributes are not named among those that differ.
    """
    return harmless(_encode({
        "kind": found.kind,
        "key": Raw(found.key),
        "primary": _image(found.primary),
        "replica": _image(found.replica),
        "segment": found.segment,
        "state": found.state,
        "reason": found.reason,
        "cause": found.cause,
        "attributes": (
            changes(found.primary, found.replica, ignored)._asdict() if isinstance(found, Different) else None
        ),
    })) + b"\n"  # fmt: skip


def combined_line(found: Discrepancy) -> bytes:
    """Return a discrepancy as a sigil and its key; nothing for what is no drift."""
    if found.state in _NOT_DRIFT or found.reason == AGREES:
        return b""
    sigil = b"!" if found.state is State.FAILED else _SIGILS[found.kind]
    return sigil + b" " + harmless(found.key) + b"\n"


def print_json(told: object) -> None:
    """Print a result for programs on stdout, one line."""
    try:
        encoded = _encode(told)
    except UnicodeEncodeError:  # the name of a file that is no text
        encoded = json.dumps(msgspec.to_builtins(told)).encode()
    sys.stdout.buffer.write(harmless(encoded) + b"\n")
    sys.stdout.flush()


def harmless(encoded: bytes) -> bytes:
    """Return JSON that means the same, in which what could steer a terminal is escaped.

    JSON escapes the control characters of ASCII anyhow; there are others, as those that write backwards.
    """
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    text = encoded.decode(errors="replace")
    if text.isprintable():
        return encoded
    return _SUSPECT.sub(
        lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text
    ).encode()


@contextmanager
def opened(
    path: Path | None, line: Callable[[Discrepancy], bytes], keep: int | None = None
) -> Iterator[Result]:
    """Open a file, or stdout for ``-``, and yield what writes discrepancies to it.

    The file can be read by its owner only, because it holds items. What it held before is gone only
    once the run has begun: until the first line, or the good end, nothing is cut off.

    Args:
        path: where; None for nowhere.
        line: makes a line of a discrepancy.
        keep: how many bytes of the file a run before this one has written and counted. Whatever it wrote
            behind them is cut off. None when the run begins.

    Raises:
        UsageError: the file cannot be written to, or has lost what is to be kept.
        OutputError: writing failed later.
    """
    if path is None:
        yield _Nowhere()
        return
    with _Lines(path, line, keep) as lines:
        yield lines


class Result(Protocol):
    """Where discrepancies are written to; see ``asyncrep.jobs.job.Output`` for the rest."""

    def __call__(self, found: Discrepancy) -> None:
        """Write one discrepancy."""

    def length(self) -> int:
        """Return how many bytes were written so far."""

    def sync(self) -> None:
        """Make them durable."""


class _Nowhere:
    """No result is wanted."""

    def __call__(self, found: Discrepancy) -> None:
        """Do nothing."""

    def length(self) -> int:
        """Return nothing."""
        return 0

    def sync(self) -> None:
        """Do nothing."""


class _Lines:
    """One open result."""

    def __init__(self, path: Path, line: Callable[[Discrepancy], bytes], keep: int | None) -> None:
        self._path = path
        self._line = line
        self._keep = keep
        self._length = keep or 0
        self._cut = False
        self._file: IO[bytes]

    def __enter__(self) -> Self:
        try:
            self._created = self._path != STDOUT and not self._path.exists()
            if self._created and self._keep:
                raise UsageError(f"{self._path} is gone: {self._keep:,} bytes of it belong to the job.")
            self._file = sys.stdout.buffer if self._path == STDOUT else _open_private(self._path)
            self._go_on()
        except OSError as error:
            raise UsageError(f"Cannot write to {self._path}: {error.strerror}.") from error
        return self

    @property
    def _is_file(self) -> bool:
        """Whether it can be cut off, and is not a pipe or a device."""
        return self._path != STDOUT and self._path.is_file()

    def _go_on(self) -> None:
        """Cut off what nobody has counted, and write on from there."""
        if self._keep is None or not self._is_file:
            return
        if self._file.seek(0, os.SEEK_END) < self._keep:
            self._file.close()
            raise UsageError(
                f"{self._path} is not as the job left it: {self._keep:,} bytes of it belong to the job."
            )
        self._file.truncate(self._keep)
        self._file.seek(self._keep)
        self._cut = True

    def __call__(self, found: Discrepancy) -> None:
        """Write one discrepancy."""
        with self._telling():
            self._begin()
            self._length += self._file.write(self._line(found))
            if self._path == STDOUT:
                self._file.flush()  # a reader on the other end of a pipe wants it now

    def length(self) -> int:
        """Return how many bytes of whole lines were written; none where nothing can be cut off again."""
        if not self._is_file:
            return 0
        with self._telling():
            self._begin()
            return self._length

    def sync(self) -> None:
        """Make what was written durable."""
        if self._is_file:
            with self._telling():
                self._file.flush()
                os.fsync(self._file.fileno())

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say which result could not be written."""
        try:
            yield
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
        if not self._cut and self._is_file:
            self._file.truncate(0)
        self._cut = True


def _open_private(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    return os.fdopen(descriptor, "wb", buffering=64 * 1024)


def _image(image: bytes | None) -> Raw | None:
    # White space between tokens is legal in an answer, and a line break there would split our line.
    return None if image is None else Raw(image.translate(_WHITE_SPACE))
