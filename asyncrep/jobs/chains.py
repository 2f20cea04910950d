"""Puts a journal's entries in order by record, however many they are: in a database that spills to disk."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from asyncrep.errors import AsyncrepError
from asyncrep.jobs.entries import Entry, Intent, Settled, intent_line, parse_line, settled_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE intents (place INTEGER PRIMARY KEY, key BLOB, writer TEXT, n INTEGER, line BLOB, UNIQUE (writer, n));
CREATE TABLE outcomes (writer TEXT, n INTEGER, line BLOB, PRIMARY KEY (writer, n));
CREATE INDEX by_key ON intents (key, place DESC);
"""
_NEWEST_FIRST = """
SELECT intents.key, intents.line, outcomes.line FROM intents LEFT JOIN outcomes USING (writer, n)
ORDER BY intents.key, intents.place DESC
"""
_ORPHANS = """
SELECT count(*) FROM outcomes
WHERE NOT EXISTS (SELECT 1 FROM intents WHERE intents.writer = outcomes.writer AND intents.n = outcomes.n)
"""


@dataclass(frozen=True, slots=True)
class Chain:
    """What a journal tells of one record, newest first; never empty."""

    key: bytes
    entries: list[Entry]
    size: int


class Chains:
    """Joins intents with their outcomes and groups them by record.

    Everything is in a private temporary database: a few MB of memory, the rest in a nameless file.
    """

    def __init__(self) -> None:
        with _told():
            self._database = sqlite3.connect("")
            self._database.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, record: Intent | Settled) -> None:
        """Add one line. A line that was there before, as in a file that was put together of two, counts once."""
        with _told():
            if isinstance(record, Intent):
                self._database.execute(
                    "INSERT OR IGNORE INTO intents (key, writer, n, line) VALUES (?, ?, ?, ?)",
                    (record.key, record.by, record.n, intent_line(record)),
                )
            else:
                self._database.execute(
                    "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?)",
                    (record.by, record.n, settled_line(record)),
                )

    @property
    def records(self) -> int:
        """How many records there are."""
        return self._count("SELECT count(DISTINCT key) FROM intents")

    @property
    def orphans(self) -> int:
        """Outcomes whose intents are not there, because their lines are damaged."""
        return self._count(_ORPHANS)

    def _count(self, query: str) -> int:
        with _told():
            number: int = self._database.execute(query).fetchone()[0]
            return number

    def __iter__(self) -> Iterator[Chain]:
        """Yield the chain of every record."""
        key, entries, size = b"", list[Entry](), 0
        with _told():
            for row_key, intent, settled in self._database.execute(_NEWEST_FIRST):
                if entries and row_key != key:
                    yield Chain(key, entries, size)
                    entries, size = [], 0
                key = row_key
                entries.append(_entry(intent, settled))
                size += len(intent) + len(settled or b"")
        if entries:
            yield Chain(key, entries, size)

    def groups(self, most: int, heaviest: int) -> Iterator[list[Chain]]:
        """Yield all chains in groups of at most ``most`` records, or ``heaviest`` bytes but for the last one."""
        group: list[Chain] = []
        weight = 0
        for chain in self:
            group.append(chain)
            weight += chain.size
            if len(group) >= most or weight >= heaviest:
                yield group
                group, weight = [], 0
        if group:
            yield group


def _entry(intent_line: bytes, settled_line: bytes | None) -> Entry:
    intent = parse_line(intent_line)
    settled = None if settled_line is None else parse_line(settled_line)
    assert isinstance(intent, Intent)
    assert settled is None or isinstance(settled, Settled)
    return Entry.of(intent, settled)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what SQLite raises into a sentence: that can only be the disk, as nobody else has the database."""
    try:
        yield
    except sqlite3.Error as error:
        raise AsyncrepError(
            f"There is no room for a journal's entries in the temporary folder: {error}."
        ) from error
