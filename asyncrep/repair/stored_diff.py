"""Reads a stored diff: JSON lines as ``diff-tables --output`` writes them, checked as a whole, then looked up.

A diff may have been filtered, put in another order or edited since. Only a line feed ends a line: U+2028 and
its like stay in the text. The whole file is read once, line by line, before anything is done about it. What is
remembered of each record, where its line begins and a digest of its key, is kept in a temporary database, so
that memory does not grow with the file: about 70 bytes a record on disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import sqlite3
import stat
import sys
import tempfile
import zlib
from contextlib import ExitStack, contextmanager
from enum import IntEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self

import msgspec
from msgspec import UNSET, Raw, UnsetType

from asyncrep.errors import AsyncrepError, KeyFormatError, UsageError
from asyncrep.items.equality import decode_image, differing_attributes, same_item
from asyncrep.items.keys import KeyReader
from asyncrep.model import State, discrepancy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from asyncrep.model import Discrepancy, KeySchema

_LONGEST_LINE = 64 * 1024 * 1024
"""Two items of 400 KB, however their JSON spells them, take less."""

_SPOOLED_IN_MEMORY = 1024 * 1024
_PIECE = 256 * 1024
_SIGNAL_SECONDS = 0.5
"""After so long a pipe that brings nothing is left for a moment, so that Ctrl-C is heard."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINES_AT_A_TIME = 200

_PASSED_OVER = frozenset({State.REPAIRED, State.IN_FLIGHT, State.EXPIRED})
"""States in which there is nothing to be done about a record, or was not when it was stored."""


class Task(IntEnum):
    """What is to be done about a record of a stored diff."""

    NOTHING = 0
    CHANGE = 1
    DELETE = 2


def _pieces(descriptor: int) -> Iterator[bytes]:
    """Yield what a pipe brings.

    A signal that comes between two instructions of the interpreter and the read that follows is only noted: the
    read would wait for the other end, however long that takes, before anybody hears of it.
    """
    while True:
        # On Windows only sockets can be waited for; there Ctrl-C ends the read itself.
        while sys.platform != "win32" and not select.select([descriptor], [], [], _SIGNAL_SECONDS)[0]:
            pass
        if not (piece := os.read(descriptor, _PIECE)):
            return
        yield piece


# ── Lines ───────────────────────────────────────────────────────────────────────────────────────────


class _Line(msgspec.Struct):
    """The members of a line that count; others are left to whoever wrote them."""

    kind: str
    key: Raw
    primary: Raw = Raw(b"null")
    replica: Raw = Raw(b"null")
    segment: int = 0
    state: State = State.FOUND
    attributes: Raw = Raw(b"null")


class _Value(msgspec.Struct, forbid_unknown_fields=True):
    """One typed value: exactly one of its types is there."""

    S: str | UnsetType = UNSET
    N: str | UnsetType = UNSET
    B: bytes | UnsetType = UNSET
    BOOL: bool | UnsetType = UNSET
    NULL: bool | UnsetType = UNSET
    SS: list[str] | UnsetType = UNSET
    NS: list[str] | UnsetType = UNSET
    BS: list[bytes] | UnsetType = UNSET
    L: list[_Value] | UnsetType = UNSET
    M: dict[str, _Value] | UnsetType = UNSET

    def __post_init__(self) -> None:
        given = 10 - sum(value is UNSET for value in msgspec.structs.astuple(self))
        if given != 1:
            raise ValueError(f"a value has one type, not {given}")


_KINDS = frozenset({"missing", "different", "extraneous"})

_decode_line = msgspec.json.Decoder(_Line).decode
_decode_names = msgspec.json.Decoder(dict[str, list[str]]).decode
_check_item = msgspec.json.Decoder(dict[str, _Value]).decode


def read_line(line: bytes, keys: KeyReader, ignored: Collection[str] = ()) -> Discrepancy:
    """Return the discrepancy that a line tells, with its key in canonical form.

    Args:
        line: the line.
        keys: reads the keys of the tables.
        ignored: attributes that will not be compared. Where the line names the attributes that differ, no
            others may: they were ignored when it was written, and would now be overwritten.

    Raises:
        UsageError: the line is none; the message says why, and not where.
    """
    try:
        line.decode()
        entry = _decode_line(line)
        key = keys.parse(bytes(entry.key).decode())
        primary, replica = _image(entry.primary), _image(entry.replica)
    except UnicodeDecodeError as error:
        raise UsageError("This is not UTF-8 text.") from error
    except RecursionError as error:
        raise UsageError("This is nested too deeply.") from error
    except msgspec.ValidationError as error:
        raise UsageError(f"This is no discrepancy as diff-tables --output writes it: {error}.") from error
    except msgspec.DecodeError as error:
        raise UsageError(
            f"This is not one whole JSON object ({error}); each discrepancy has a line of its own (jq -c)."
        ) from error
    _check_sides(entry.kind, primary, replica)
    for side, image in (("primary", primary), ("replica", replica)):
        if image is not None and _key_of(image, side, keys) != key:
            raise UsageError(f'The {side}\'s item has another key than "key" says.')
    if primary is not None and replica is not None:
        _check_attributes(entry.attributes, primary, replica, ignored)
    return discrepancy(key, primary, replica, max(entry.segment, 0)).moved(entry.state)


def _image(raw: Raw) -> bytes | None:
    image = bytes(raw)
    if image == b"null":
        return None
    _check_item(image)
    return image


def _check_sides(kind: str, primary: bytes | None, replica: bytes | None) -> None:
    """Refuse images that say something else than the kind."""
    if kind not in _KINDS:
        raise UsageError(f'There is no kind "{kind}"; it is missing, different or extraneous.')
    sides = {"missing": (True, False), "different": (True, True), "extraneous": (False, True)}[kind]
    for side, image, expected in zip(("primary", "replica"), (primary, replica), sides, strict=True):
        if (image is not None) != expected:
            having = "no" if image is None else "an"
            raise UsageError(f"It is called {kind} and has {having} item of the {side}.")
    if primary is not None and replica is not None and same_item(primary, replica):
        raise UsageError("It is called different and its two items are equal.")


def _check_attributes(told: Raw, primary: bytes, replica: bytes, ignored: Collection[str]) -> None:
    try:
        named = _decode_names(told)
    except msgspec.MsgspecError:
        return  # nobody has named them, or in another way than ours
    known = {name for names in named.values() for name in names}
    differing = differing_attributes(decode_image(primary), decode_image(replica), ignored)
    unknown = next((name for name in differing if name not in known), None)
    if unknown is not None:
        raise UsageError(
            f'Its items differ in {unknown} too, which "attributes" does not name: '
            f"give --ignore-attribute {unknown} as when the diff was made."
        )


def _key_of(image: bytes, side: str, keys: KeyReader) -> bytes:
    try:
        return keys.key(image)
    except KeyFormatError as error:
        raise UsageError(f"The {side}'s item: {error}") from error


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────


class StoredDiff:
    """An open file of discrepancies that can be read more than once.

    Attributes:
        name: how messages call it.
        file: its bytes.
    """

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self.file = file

    @classmethod
    @contextmanager
    def opened(cls, path: str | Path) -> Iterator[Self]:
        """Open a file; what cannot be read twice, as a pipe, is first read to its end.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            file = Path(path).open("rb")  # noqa: SIM115 - closed by the block below
        except (OSError, ValueError) as error:
            raise UsageError(f"Cannot read {path}: {_why(error)}.") from error
        with file, ExitStack() as stack:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                yield cls(str(path), file)
            else:
                yield stack.enter_context(cls.spooled(str(path), file))

    @classmethod
    @contextmanager
    def spooled(cls, name: str, source: IO[bytes]) -> Iterator[Self]:
        """Read a pipe to its end, into a temporary file that its owner alone can read; it is gone afterwards.

        Raises:
            AsyncrepError: it cannot be read or kept.
        """
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_IN_MEMORY) as file:
            with _complaining(name):
                for piece in _pieces(source.fileno()):
                    file.write(piece)
            yield cls(name, file)

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield the number, the place in bytes and the content of every line that is not blank.

        Raises:
            UsageError: a line is longer than any discrepancy.
        """
        self.file.seek(0)
        place = len(_BYTE_ORDER_MARK) if self.file.read(len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK else 0
        self.file.seek(place)
        number = 0
        while line := self.file.readline(_LONGEST_LINE):
            number += 1
            if len(line) == _LONGEST_LINE:
                raise UsageError(f"{self.name}, line {number}: This is longer than any discrepancy.")
            if line.strip():
                yield number, place, line
            place += len(line)

    def line(self, place: int, length: int) -> bytes:
        """Return a line by its place."""
        self.file.seek(place)
        return self.file.read(length)


@contextmanager
def _complaining(name: str) -> Iterator[None]:
    """Say whose failure it is when a file or the temporary database fails."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise AsyncrepError(f"Cannot read {name}, or keep what it says: {_why(error)}.") from error


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


# ── The whole ───────────────────────────────────────────────────────────────────────────────────────


class _Place(NamedTuple):
    """Where a record is: its line's number, first byte, length and checksum."""

    number: int
    start: int
    length: int
    checksum: int


class Entries:
    """The records of a stored diff, once all of them have been checked; of a key that comes twice, the later.

    Attributes:
        read: how many there were to read.
    """

    def __init__(self, diff: StoredDiff, schema: KeySchema, ignored: Collection[str] = ()) -> None:
        self.read = 0
        self._ignored = ignored
        self._diff = diff
        self._keys = KeyReader(schema)
        # An unnamed database: a temporary file of its owner, of which SQLite keeps 2 MB in memory.
        self._database = sqlite3.connect("", isolation_level=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    async def check(self) -> None:
        """Read the whole file and remember where each record is.

        Raises:
            UsageError: a line is no discrepancy, or none of a table with this key; the message says which.
        """
        with _complaining(self._diff.name):
            self._database.executescript(
                "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                "CREATE TABLE entry (key BLOB PRIMARY KEY, task INTEGER, number INTEGER, start INTEGER,"
                " length INTEGER, checksum INTEGER) WITHOUT ROWID; BEGIN;"
            )
            for number, start, line in self._diff.lines():
                found = self._parsed(number, line)
                place = _Place(number, start, len(line), zlib.crc32(line))
                digest = hashlib.blake2b(found.key, digest_size=16).digest()
                self._database.execute(
                    "REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?)", (digest, _task(found), *place)
                )
                self.read += 1
                if not self.read % _LINES_AT_A_TIME:
                    await asyncio.sleep(0)  # others have their turn, and a signal is heard

    def count(self, task: Task) -> int:
        """Return how many records there are with a task."""
        rows = self._database.execute("SELECT count(*) FROM entry WHERE task = ?", (task,))
        count: int = rows.fetchone()[0]
        return count

    @property
    def repeated(self) -> int:
        """How many lines there were whose key came again in a later one."""
        return self.read - sum(map(self.count, Task))

    def groups(self, task: Task, most: int, heaviest: int) -> Iterator[list[Discrepancy]]:
        """Yield the records with a task in the file's order, at most ``most`` or ``heaviest`` bytes at a time.

        Raises:
            AsyncrepError: the file is not any more what was checked.
        """
        group: list[Discrepancy] = []
        weight = 0
        rows = self._database.execute(
            "SELECT number, start, length, checksum FROM entry WHERE task = ? ORDER BY start", (task,)
        )
        with _complaining(self._diff.name):
            for row in rows:
                place = _Place(*row)
                group.append(self._again(place))
                weight += place.length
                if len(group) >= most or weight >= heaviest:
                    yield group
                    group, weight = [], 0
        if group:
            yield group

    def _again(self, place: _Place) -> Discrepancy:
        line = self._diff.line(place.start, place.length)
        if zlib.crc32(line) != place.checksum:
            raise AsyncrepError(
                f"{self._diff.name} was changed while it was in use: line {place.number} is not what was checked."
            )
        return self._parsed(place.number, line)

    def _parsed(self, number: int, line: bytes) -> Discrepancy:
        try:
            return read_line(line, self._keys, self._ignored)
        except UsageError as error:
            raise UsageError(f"{self._diff.name}, line {number}: {error}") from error


def _task(found: Discrepancy) -> Task:
    if found.state in _PASSED_OVER:
        return Task.NOTHING
    return Task.DELETE if found.primary is None else Task.CHANGE
