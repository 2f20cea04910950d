"""What the processes of one run say to each other: MessagePack, each message with its length before it."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from asyncrep.aws.place import Place
from asyncrep.model import Cause, Different, Extraneous, Missing, State
from asyncrep.options import Comparison, Limits, S3Access
from asyncrep.repair.rules import Rules

if TYPE_CHECKING:
    from asyncrep.model import Discrepancy

Task = Literal["diff", "repair", "backfill"]

M = TypeVar("M")


# ── From the leading process ────────────────────────────────────────────────────────────────────────


class Brief(msgspec.Struct, tag=True):
    """What every worker of a run is to know; comes first and once.

    ``in_bulk`` is for a backfill: the replica was found empty before it began. ``journal`` is where each
    worker notes what it writes, and ``access`` how S3 is reached, if that is there.
    """

    task: Task
    primary: Place
    replica: Place
    limits: Limits
    comparison: Comparison
    strategy: str
    rules: Rules
    in_bulk: bool = False
    journal: str | None = None
    access: S3Access | None = None


class Share(msgspec.Struct, tag=True):
    """Some segments to do.

    ``again`` says that a worker has died over them, ``told`` are the keys it had concluded. ``max_cost`` are
    the dollars that the share may cost.
    """

    segments: list[int]
    total: int
    again: bool = False
    max_cost: float | None = None
    told: list[bytes] = []


Order = Brief | Share


# ── From a worker ───────────────────────────────────────────────────────────────────────────────────


class Counts(msgspec.Struct, tag=True):
    """How far the worker's share is; the counts of a report that no single record tells.

    ``again`` counts records, extraneous ones left out, that were concluded before by a worker who died.
    """

    scanned_primary: int = 0
    scanned_replica: int = 0
    matched: int = 0
    settled: int = 0
    present: int = 0
    copied: int = 0
    expired: int = 0
    again: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    dollars: float = 0.0
    throttled: int = 0
    slowed_to: float | None = None
    strategy: str = ""


class Told(msgspec.Struct, tag=True):
    """A record reached its final state."""

    kind: str
    key: bytes
    primary: bytes | None
    replica: bytes | None
    segment: int
    state: State
    reason: str | None
    cause: Cause | None = None

    @classmethod
    def of(cls, found: Discrepancy) -> Told:
        """Put a discrepancy into a message."""
        return cls(
            found.kind,
            found.key,
            found.primary,
            found.replica,
            found.segment,
            found.state,
            found.reason,
            found.cause,
        )

    def discrepancy(self) -> Discrepancy:
        """Take the discrepancy out of the message."""
        kinds: dict[str, Any] = {"missing": Missing, "different": Different, "extraneous": Extraneous}
        found: Discrepancy = kinds[self.kind](
            key=self.key,
            primary=self.primary,
            replica=self.replica,
            segment=self.segment,
            state=self.state,
            reason=self.reason,
            cause=self.cause,
        )
        return found


class Aside(msgspec.Struct, tag=True):
    """Records of a finished share that may be deleted once all shares are: key, segment and size of each."""

    records: list[tuple[bytes, int, int]]


class Said(msgspec.Struct, tag=True):
    """A note for the user."""

    message: str


class Done(msgspec.Struct, tag=True):
    """The share was seen to its end."""


class Broken(msgspec.Struct, tag=True):
    """The share cannot be done, by any worker: the name of the error's class, and its sentence."""

    error: str
    message: str


News = Counts | Told | Aside | Said | Done | Broken


# ── Framing ─────────────────────────────────────────────────────────────────────────────────────────

_LENGTH = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_news = msgspec.msgpack.Decoder(News).decode


def framed(message: Order | News) -> bytes:
    """Return a message with its length before it."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """The messages that come in from another process. Waiting for one may be cancelled and begun anew."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._length: int | None = None

    async def next(self) -> bytes | None:
        """Return the body of the next message, None when the other side is gone, also in the middle of one."""
        try:
            if self._length is None:
                (self._length,) = _LENGTH.unpack(await self._stream.readexactly(_LENGTH.size))
            body = await self._stream.readexactly(self._length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self._length = None
        return body
