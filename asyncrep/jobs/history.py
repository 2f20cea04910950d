"""Reads journals: header, intents and outcomes in order; what is damaged is told, never skipped."""

from __future__ import annotations

import asyncio
import heapq
import re
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from asyncrep.errors import UsageError
from asyncrep.jobs.entries import Damaged, DamagedLineError, Header, Intent, Settled, parse_header, parse_line
from asyncrep.jobs.media import HEADER_BYTES, HEADER_NAME
from asyncrep.location import parse_storage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from asyncrep.aws.objects import Objects
    from asyncrep.location import S3Place
    from asyncrep.options import S3Access

Record = Header | Intent | Settled | Damaged

_LARGEST_LINE = 16 * 1024 * 1024
"""More than a line can have: three images of 400 KB, whose control characters JSON spells with six bytes."""

_LINES_AT_ONCE = 256

_PART = re.compile(r"([0-9a-f]+)-([0-9]+)\.jsonl")
_AT = re.compile(rb'"at":"([^"]*)"')


@asynccontextmanager
async def read_journal(
    place: str | Path | S3Place, *, access: S3Access | None = None
) -> AsyncIterator[AsyncGenerator[Record, None]]:
    """Open a journal and yield its records: the header first, then intents and outcomes in order.

    A file's lines come as they are in it; the parts of a journal in S3 in the order of their times, each
    writer's in the order of its own. One line, or one part of each writer, is held at a time.

    Args:
        place: a path, ``file:///PATH`` or ``s3://BUCKET/PREFIX``.
        access: how S3 is reached; by default as the environment says.

    Raises:
        UsageError: there is no journal.
        ServiceError: S3 could not be read; also while iterating.

    Example:
        >>> async with read_journal("repair.jsonl") as records:
        ...     async for record in records:
        ...         print(record)
    """
    where = parse_storage(place) if isinstance(place, str) else place
    if isinstance(where, Path):
        async with aclosing(_from_file(where)) as records:
            yield records
        return
    from asyncrep.aws.objects import open_objects  # noqa: PLC0415 - a journal in a file needs no S3

    async with (
        open_objects(where, access=access) as objects,
        aclosing(_from_s3(objects)) as records,
    ):
        yield records


async def read_header(place: str | Path | S3Place, *, access: S3Access | None = None) -> Header:
    """Return the header of a journal.

    Raises:
        UsageError: there is no journal.
        ServiceError: S3 could not be read.
    """
    async with read_journal(place, access=access) as records:
        header = await anext(records)
        assert isinstance(header, Header)
        return header


# ── A file ──────────────────────────────────────────────────────────────────────────────────────────


async def _from_file(path: Path) -> AsyncGenerator[Record, None]:
    """Yield the records of a file. A line takes microseconds, so that no thread reads them."""
    with _opened(path) as file:
        yield _header(file.readline(HEADER_BYTES), str(path))
        number = 1
        while line := file.readline(_LARGEST_LINE):
            number += 1
            if number % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # others want to work, and Ctrl-C to be heard
            if record := _record(line, number, str(path)):
                yield record


def _opened(path: Path) -> IO[bytes]:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a journal: it is no file.")
        return path.open("rb")
    except FileNotFoundError as error:
        raise UsageError(f"There is no journal {path}.") from error
    except OSError as error:
        raise UsageError(f"The journal {path} cannot be read: {error.strerror}.") from error


def _header(line: bytes, name: str) -> Header:
    try:
        return parse_header(line)
    except DamagedLineError as error:
        raise UsageError(f"{name} is not a journal: {error}.") from error


def _record(line: bytes, number: int, where: str) -> Record | None:
    """Return what a line says, None for an empty one, with which a writer ends what a crash has torn."""
    if not line.strip():
        return None
    if not line.endswith(b"\n"):
        return Damaged(number, where, "It has no end: whoever wrote it was stopped.")
    try:
        return parse_line(line)
    except DamagedLineError as error:
        return Damaged(number, where, str(error))


# ── S3 ──────────────────────────────────────────────────────────────────────────────────────────────


async def _from_s3(objects: Objects) -> AsyncGenerator[Record, None]:
    found = await objects.get(HEADER_NAME)
    if found is None:
        raise UsageError(f"There is no journal {objects.place}.")
    yield _header(found[0], str(objects.place))
    parts: dict[str, list[tuple[int, str]]] = {}
    async for name in objects.names():
        if written := _PART.fullmatch(name):
            parts.setdefault(written[1], []).append((int(written[2]), name))
        elif name != HEADER_NAME:
            yield Damaged(0, f"{objects.place}/{name}", "It is no part of a journal.")
    for name in _missing(parts):
        yield Damaged(0, f"{objects.place}/{name}", "This part of the journal is gone.")
    async with AsyncExitStack() as stack:
        writers = [
            await stack.enter_async_context(aclosing(_lines(objects, sorted(parts[by]))))
            for by in sorted(parts)
        ]
        merged = await stack.enter_async_context(aclosing(_merged(writers)))
        async for line, number, where in merged:
            if record := _record(line, number, where):
                yield record


def _missing(parts: Mapping[str, Sequence[tuple[int, str]]]) -> Iterator[str]:
    """Yield the names of parts that are not there and must have been: each writer numbers its own from 1."""
    for by, written in parts.items():
        numbers = {number for number, _ in written}
        for number in sorted(set(range(1, max(numbers))) - numbers):
            yield f"{by}-{number:08}.jsonl"


_Line = tuple[bytes, int, str]


async def _lines(objects: Objects, parts: Iterable[tuple[int, str]]) -> AsyncGenerator[_Line, None]:
    """Yield the lines of one writer's parts, with their numbers and where they are."""
    for _, name in parts:
        found = await objects.get(name)
        where = f"{objects.place}/{name}"
        if found is None:
            raise UsageError(f"{where} was removed while the journal was read.")
        # Not splitlines(), which also splits at characters that may be in a line.
        for number, line in enumerate(found[0].split(b"\n"), 1):
            if line:
                yield line + b"\n", number, where


async def _merged(writers: Sequence[AsyncGenerator[_Line, None]]) -> AsyncGenerator[_Line, None]:
    """Merge the lines of several writers by their times; those of one writer keep their order."""
    heads: list[tuple[bytes, int, _Line]] = []

    async def take(place: int, earliest: bytes) -> None:
        line = await anext(writers[place], None)
        if line is not None:
            found = _AT.search(line[0])
            heapq.heappush(heads, (max(found[1] if found else b"", earliest), place, line))

    for place in range(len(writers)):
        await take(place, b"")
    while heads:
        at, place, line = heapq.heappop(heads)
        yield line
        await take(place, at)
