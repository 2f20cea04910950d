"""The lines of a journal: one JSON object each, made out of raw images and read back to the byte. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Raw

from asyncrep.items.equality import decode_image, without_system_attributes
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Outcome, Patch, Put
from asyncrep.version import __version__

if TYPE_CHECKING:
    from asyncrep.mutation import Mutation

FORMAT = 1
"""The number in a header; another one is another format."""

Kind = Literal["missing", "different", "extraneous"]


class DamagedLineError(ValueError):
    """A line is no line of a journal; the message says why."""


@dataclass(frozen=True, slots=True)
class ReplicaPlace:
    """The table that a journal's writes went to, and how it was reached. It holds no secrets.

    Attributes:
        location: as its user wrote it.
    """

    location: str
    endpoint_url: str | None
    profile: str | None
    role_arn: str | None
    arn: str
    table_id: str | None


@dataclass(frozen=True, slots=True)
class Header:
    """A journal's first line.

    Attributes:
        at: when it was begun, ISO 8601 in UTC.
        version: the asyncrep that began it.
        primary: what the replica was compared with, as its user wrote it.
        undoes: the journal that this one's writes take back; None for a repair's.
    """

    replica: ReplicaPlace
    primary: str
    undoes: str | None = None
    at: str = ""
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Intent:
    """A write that was about to be sent.

    Attributes:
        by: the writer.
        n: its number, from 1, among that writer's.
        at: when it was noted, ISO 8601 in UTC.
        key: the canonical key.
        kind: of the discrepancy that it is to mend: missing, different or extraneous.
        segment: where that was met.
        cause: its likely cause, None where nobody has judged that.
        replica: the item as it was read, which the write is about to change; None when there was none.
        mutation: the write, with the precondition that follows from ``replica``.
    """

    by: str
    n: int
    at: str
    key: bytes
    kind: str
    segment: int
    cause: str | None
    replica: bytes | None
    mutation: Mutation


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a write.

    Attributes:
        applied: None when whether it landed is not known.
        old: the image that the service returned, of the moment before; None when there was none.
        error: why it was not applied, or why that is not known; None for a precondition that did not hold.
    """

    by: str
    n: int
    at: str
    applied: bool | None
    old: bytes | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line that cannot be read: torn by a crash, or changed since.

    Attributes:
        line: its number, from 1.
        where: the file or object it is in.
        reason: what is wrong with it, one sentence.
    """

    line: int
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An intent together with what became of it.

    Attributes:
        outcome: None when the journal does not tell whether it landed; ``error`` may say why.
    """

    by: str
    n: int
    at: str
    key: bytes
    kind: str
    segment: int
    replica: bytes | None
    mutation: Mutation
    outcome: Outcome | None
    error: str | None

    @classmethod
    def of(cls, intent: Intent, settled: Settled | None) -> Entry:
        """Join an intent with its outcome, None when there is none."""
        applied = settled.applied if settled else None
        outcome = None if settled is None or applied is None else Outcome(applied, settled.old)
        error = settled.error if settled else None
        return cls(
            intent.by, intent.n, intent.at, intent.key, intent.kind, intent.segment,
            intent.replica, intent.mutation, outcome, error,
        )  # fmt: skip


_encode = msgspec.json.Encoder().encode


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC; as text they sort as they passed."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# ── Making lines ────────────────────────────────────────────────────────────────────────────────────


def header_line(header: Header) -> bytes:
    """Return the first line of a journal."""
    place = header.replica
    return _line({
        "journal": FORMAT,
        "asyncrep": header.version,
        "at": header.at,
        "replica": {name: getattr(place, name) for name in place.__slots__},
        "primary": header.primary,
        "undoes": header.undoes,
    })  # fmt: skip


def intent_line(intent: Intent) -> bytes:
    """Return the line that says what is about to be written; images go in as they came from the service."""
    cause = {} if intent.cause is None else {"cause": intent.cause}
    return _line({
        "by": intent.by,
        "n": intent.n,
        "at": intent.at,
        "key": Raw(intent.key),
        "kind": intent.kind,
        "segment": intent.segment,
        **cause,
        "replica": _image(intent.replica),
        **_deed(intent.mutation),
    })  # fmt: skip


def _deed(mutation: Mutation) -> dict[str, Any]:
    match mutation:
        case Put():
            return {"put": _image(without_system_attributes(mutation.image))}  # what the request will hold
        case Patch():
            return {"patch": {"set": dict(mutation.assign), "remove": list(mutation.remove)}}
        case Delete():
            return {"delete": True}


def settled_line(settled: Settled) -> bytes:
    """Return the line that says what became of a write."""
    known = {} if settled.applied is None else {"applied": settled.applied, "old": _image(settled.old)}
    error = {} if settled.error is None else {"error": settled.error}
    return _line({"by": settled.by, "n": settled.n, "at": settled.at, **known, **error})


def _line(members: dict[str, Any]) -> bytes:
    return _encode(members) + b"\n"


def _image(image: bytes | None) -> Raw | None:
    # White space between tokens is legal in an answer, and a line break there would split our line.
    return None if image is None else Raw(image.replace(b"\n", b" "))


# ── Reading lines ───────────────────────────────────────────────────────────────────────────────────

_ABSENT = Raw(b"")
_NULL = b"null"


class _Patch(msgspec.Struct):
    set: dict[str, dict[str, Any]]
    remove: list[str]


class _Line(msgspec.Struct):
    """Every member that a line may have."""

    by: str
    n: int
    at: str
    key: Raw = _ABSENT
    kind: Kind | None = None
    segment: int = 0
    cause: str | None = None
    replica: Raw = _ABSENT
    put: Raw = _ABSENT
    patch: _Patch | None = None
    delete: bool = False
    applied: bool | None = None
    old: Raw = _ABSENT
    error: str | None = None


class _Header(msgspec.Struct):
    journal: int
    asyncrep: str
    at: str
    replica: ReplicaPlace
    primary: str
    undoes: str | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_header = msgspec.json.Decoder(_Header).decode


def parse_header(line: bytes) -> Header:
    """Read a journal's first line.

    Raises:
        DamagedLineError: it is none, or of a format that this asyncrep does not know.
    """
    try:
        read = _decode_header(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedLineError(f"its first line is no journal's: {error}") from error
    if read.journal != FORMAT:
        raise DamagedLineError(f"it has format {read.journal}, and this asyncrep knows only format {FORMAT}")
    return Header(read.replica, read.primary, read.undoes, read.at, read.asyncrep)


def parse_line(line: bytes) -> Intent | Settled:
    """Read any other line of a journal.

    Raises:
        DamagedLineError: it is none.
    """
    try:
        read = _decode_line(line)
        return _intent(read) if read.kind is not None else _settled(read)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedLineError(str(error)) from error


def _settled(read: _Line) -> Settled:
    if read.applied is None and read.error is None:
        raise DamagedLineError("It is neither an intent nor an outcome.")
    return Settled(read.by, read.n, read.at, read.applied, _optional(read.old), read.error)


def _intent(read: _Line) -> Intent:
    assert read.kind is not None
    key = _checked(read.key)
    replica = _optional(read.replica)
    return Intent(
        read.by, read.n, read.at, key, read.kind, read.segment, read.cause, replica,
        _mutation(read, key, replica),
    )  # fmt: skip


def _mutation(read: _Line, key: bytes, replica: bytes | None) -> Mutation:
    """Return the write with the precondition it was planned under."""
    deeds = bool(read.put) + (read.patch is not None) + read.delete
    if deeds != 1:
        raise DamagedLineError("An intent puts, patches or deletes, exactly one of them.")
    if read.put:
        return Put(key, _checked(read.put), ItemAbsent())
    if replica is None:
        raise DamagedLineError("It patches or deletes an item and does not say which.")
    before = decode_image(replica)
    if read.patch is None:
        return Delete(key, AttributesAre(before))
    touched = (*read.patch.set, *read.patch.remove)
    precondition = AttributesAre({name: before.get(name) for name in touched})
    return Patch(key, read.patch.set, read.patch.remove, precondition)


def _optional(image: Raw) -> bytes | None:
    return None if bytes(image) in {b"", _NULL} else _checked(image)


def _checked(image: Raw) -> bytes:
    """Return the bytes of an image, seen to be one."""
    read = bytes(image)
    decode_image(read)
    return read
