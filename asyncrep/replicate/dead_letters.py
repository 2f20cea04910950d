"""Keeps records that can never be applied: in a local file, an SQS queue, or under a name in S3.

A *letter* is one record of a stream as it came, and why it was not applied. As JSON::

    {"time": "2026-05-01T12:00:00.000000Z", "task": "…" or "function": "…",
     "destination": "eu-west-1/orders" or null, "reason": "…", "record": {…}}

Letters hold items: whoever may read the place may read these.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
from msgspec import Raw

from asyncrep.errors import LocationError, ServiceError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.jobs.entries import timestamp
from asyncrep.jobs.folders import make_private_folder, sync_folder
from asyncrep.location import S3Place, parse_storage
from asyncrep.options import S3Access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aioboto3

    from asyncrep.aws.objects import Objects
    from asyncrep.aws.queues import Queue, QueueRef
    from asyncrep.change import Change, Unreadable
    from asyncrep.flow.clock import Clock

_encode = msgspec.json.Encoder().encode


class DeadLetterError(ServiceError):
    """A letter could not be kept: its record is kept nowhere, and must not be passed over."""


class DeadLetters(Protocol):
    """A place for letters. Open one with ``open_dead_letters``."""

    @property
    def place(self) -> str:
        """The place as people call it."""

    async def keep(self, record: Change | Unreadable, *, destination: str | None, reason: str) -> None:
        """Keep a record; it is durable when this returns.

        It may be kept more than once, as by a process that does not know that another one kept it. In S3
        the later letter replaces the first, a FIFO queue drops it within five minutes; a file and other
        queues hold both.

        Args:
            record: which.
            destination: where it cannot be applied, None for nowhere.
            reason: why not, one sentence.

        Raises:
            ServiceError: the place does not take it, maybe for now only. With ``maybe_done`` it may have
                been kept all the same.
        """


class _Letter(NamedTuple):
    """A letter, ready to be kept.

    Attributes:
        text: one line of JSON, without the line's end.
        digest: what tells it from other letters, however often it is written.
    """

    text: bytes
    digest: str


class _Author(NamedTuple):
    """Who writes letters, and when."""

    who: dict[str, str]
    clock: Clock

    def letter(self, record: Change | Unreadable, destination: str | None, reason: str) -> _Letter:
        """Write a letter."""
        content = {
            "time": timestamp(self.clock.now()),
            **self.who,
            "destination": destination,
            "reason": reason,
            "record": Raw(record.record),
        }
        text = _encode(content).replace(b"\n", b" ")  # a record may come with line breaks between members
        return _Letter(text, hashlib.sha256(f"{destination}\n".encode() + record.record).hexdigest())


class _FileLetters:
    """Letters in a local file, one a line. It is made with the first one, for its owner only."""

    def __init__(self, path: Path, author: _Author) -> None:
        self._path = path
        self._author = author

    @property
    def place(self) -> str:
        """The file's path."""
        return str(self._path)

    def check(self) -> None:
        """Refuse what can be no file of letters, before anything happens.

        Raises:
            UsageError: it is something else, or cannot be written to.
        """
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise UsageError(f"Dead letters cannot be written to {self._path}: it is no file.")
            os.close(os.open(self._path, os.O_RDWR | os.O_APPEND))
        except FileNotFoundError:
            folder = next(parent for parent in self._path.absolute().parents if parent.exists())
            if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
                raise UsageError(
                    f"Dead letters cannot be written to {self._path}: no file can be made in {folder}."
                ) from None
        except OSError as error:
            raise UsageError(f"Dead letters cannot be written to {self._path}: {error.strerror}.") from error

    async def keep(self, record: Change | Unreadable, *, destination: str | None, reason: str) -> None:
        """Append a line; short, and done on the event loop, so that nothing can end it halfway."""
        letter = self._author.letter(record, destination, reason)
        try:
            self._append(letter.text + b"\n")
        except OSError as error:
            raise DeadLetterError(
                f"A dead letter could not be written to {self._path}: {error.strerror}."
            ) from error

    def _append(self, line: bytes) -> None:
        existed = self._path.exists()
        make_private_folder(self._path.absolute().parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            left = memoryview(_missing_end(descriptor) + line)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not existed:
            sync_folder(self._path.absolute().parent)


def _missing_end(descriptor: int) -> bytes:
    """Return the end of the last line of a file, if a full disk has kept it away."""
    if not os.lseek(descriptor, 0, os.SEEK_END):
        return b""
    os.lseek(descriptor, -1, os.SEEK_END)
    return b"" if os.read(descriptor, 1) == b"\n" else b"\n"


class _ObjectLetters:
    """Letters under a name in S3, each an object that is named by its record's SequenceNumber."""

    def __init__(self, objects: Objects, author: _Author) -> None:
        self._objects = objects
        self._author = author

    @property
    def place(self) -> str:
        """The place in S3."""
        return str(self._objects.place)

    async def keep(self, record: Change | Unreadable, *, destination: str | None, reason: str) -> None:
        """Put an object."""
        letter = self._author.letter(record, destination, reason)
        number = "no-sequence" if record.sequence is None else f"{record.sequence:040}"
        await self._objects.put(f"{number}-{letter.digest[:16]}.json", letter.text + b"\n")


class _QueueLetters:
    """Letters in an SQS queue, one a message."""

    def __init__(self, queue: Queue, author: _Author, largest: int) -> None:
        self._queue = queue
        self._author = author
        self._largest = largest

    @property
    def place(self) -> str:
        """The queue's URL."""
        return self._queue.ref.url

    async def keep(self, record: Change | Unreadable, *, destination: str | None, reason: str) -> None:
        """Send a message. A part of a record is never sent: what the queue finds too large is kept nowhere."""
        letter = self._author.letter(record, destination, reason)
        # What XML cannot hold a queue does not take. Control characters are escaped in JSON anyhow.
        body = letter.text.decode().replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
        size = len(body.encode())
        if size > self._largest:
            raise DeadLetterError(
                f"A dead letter has {size:,} bytes, and a queue takes {self._largest:,} at most: "
                "a place in S3 takes any."
            )
        await self._queue.send(body, group="asyncrep", once=letter.digest)


def parse_dead_letters(place: str) -> Path | S3Place | QueueRef:
    """Read where letters are to be kept: the URL of a queue, ``s3://BUCKET/PREFIX``, or a path.

    Raises:
        LocationError: it is none of these.
    """
    from asyncrep.aws.queues import QueueRef  # noqa: PLC0415 - commands start without the AWS libraries

    if place.lower().startswith(("http://", "https://")):
        return QueueRef.parse(place)
    try:
        return parse_storage(place)
    except LocationError as error:
        raise LocationError(f"{error} A queue is named by its URL.") from error


@asynccontextmanager
async def open_dead_letters(
    place: str | Path | S3Place | QueueRef,
    *,
    task: str = "",
    function: str = "",
    session: aioboto3.Session | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    access: S3Access | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[DeadLetters]:
    """Open a place for letters; nothing is written, and no service asked, before the first one.

    Args:
        place: see ``parse_dead_letters``.
        task: the worker's task that the letters are to name.
        function: the Lambda function that the letters are to name.
        session: an aioboto3 session of the caller's.
        profile: a profile of the AWS config files, when no session is given.
        role_arn: a role to assume first.
        access: how S3 is reached, if they are kept there; by default with that profile and role.
        clock: where time comes from.

    Raises:
        LocationError: it is no place for letters.
        UsageError: no file can be there, or the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.

    Example:
        >>> async with open_dead_letters("dead-letters.jsonl", task="orders") as dead_letters:
        ...     await dead_letters.keep(record, destination=applier.label, reason=reason)
    """
    where = parse_dead_letters(place) if isinstance(place, str) else place
    clock = clock or SystemClock()
    who = {name: value for name, value in (("task", task), ("function", function)) if value}
    author = _Author(who, clock)
    if isinstance(where, Path):
        letters = _FileLetters(where, author)
        letters.check()
        yield letters
        return
    if isinstance(where, S3Place):
        from asyncrep.aws.objects import open_objects  # noqa: PLC0415 - as above

        access = access or S3Access(profile=profile, role_arn=role_arn)
        async with open_objects(where, access=access, session=session, clock=clock) as objects:
            yield _ObjectLetters(objects, author)
        return
    from asyncrep.aws.queues import LARGEST_MESSAGE, open_queue  # noqa: PLC0415 - as above

    async with open_queue(where, session=session, profile=profile, role_arn=role_arn, clock=clock) as queue:
        yield _QueueLetters(queue, author, LARGEST_MESSAGE)
