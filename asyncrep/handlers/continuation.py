"""What an invocation hands to the next one: the state of a job as a text, small enough to travel in an event."""

from __future__ import annotations

import base64
import secrets
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.errors import JobError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.jobs.entries import timestamp
from asyncrep.jobs.job import Job
from asyncrep.jobs.state import State, parse_state, spelled
from asyncrep.jobs.store import STATE_NAME, Contents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncrep.flow.clock import Clock

LARGEST_TEXT = 180_000
"""Of the 262,144 bytes that Step Functions lets through, which the event and the report share with it."""

_LARGEST_CONTENT = 32 * 1024 * 1024
_NAME = "The continuation"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


class Documents:
    """The documents of a job, kept in memory. See ``asyncrep.jobs.store.JobStore``."""

    def __init__(self, documents: Mapping[str, bytes] | None = None) -> None:
        self._documents = dict(documents or {})

    @property
    def name(self) -> str:
        """What people call it."""
        return _NAME

    async def read(self, name: str) -> bytes | None:
        """Return a document; None when there is none."""
        return self._documents.get(name)

    async def write(self, name: str, data: bytes) -> None:
        """Write a document."""
        self._documents[name] = data

    async def contents(self) -> Contents:
        """Return what is there."""
        return Contents.of(sorted(self._documents))

    async def remove(self, names: Sequence[str]) -> None:
        """Remove documents."""
        for name in names:
            self._documents.pop(name, None)

    def text(self) -> str:
        """Return all of it as a text.

        Raises:
            JobError: it is too large for that.
        """
        decoded = {name: data.decode() for name, data in self._documents.items()}
        text = base64.b85encode(zlib.compress(_encode(decoded), 9)).decode()
        if len(text) > LARGEST_TEXT:
            raise JobError(
                f"How far the segment is takes {len(text):,} bytes, more than an event can carry: "
                'keep it in S3 ("job": "s3://BUCKET/PREFIX").'
            )
        return text

    @classmethod
    def of(cls, text: str) -> Documents:
        """Read what ``text`` returned.

        Raises:
            UsageError: it is something else.
        """
        try:
            content = _unpacked(base64.b85decode(text))
            return cls({name: data.encode() for name, data in _decode(content).items()})
        except (ValueError, zlib.error, msgspec.MsgspecError) as error:
            raise UsageError(f"{_NAME} in the event cannot be read: {error}.") from error


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(packed, _LARGEST_CONTENT)
    if not unpacking.eof:
        raise ValueError("it ends too early, or is far too large")
    return content


async def job_in(documents: Documents, options: Mapping[str, Any], clock: Clock | None = None) -> Job:
    """Return a job that goes on from the documents, or begins in them; compare ``asyncrep.jobs.job.open_job``.

    Raises:
        UsageError: they hold no state, one of a job with other options, or one that is done.
    """
    clock = clock or SystemClock()
    holder, now = secrets.token_hex(8), timestamp(clock.now())
    state = parse_state(await documents.read(STATE_NAME), _NAME)
    if state is None:
        return Job(documents, State(holder=holder, options=dict(options), begun=now, saved=now), clock)
    for option in dict.fromkeys((*state.options, *options)):
        before, given = state.options.get(option), options.get(option)
        if before != given:
            raise UsageError(
                f"{_NAME} in the event is of a run with {option} {spelled(before)}, not {spelled(given)}."
            )
    state.holder = holder
    return Job(documents, state, clock)
