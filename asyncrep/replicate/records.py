"""Reads records of DynamoDB Streams into changes, as GetRecords gives them and as Lambda does. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from asyncrep.change import Change, ChangeKind, Unreadable
from asyncrep.errors import KeyFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncrep.items.keys import KeyReader

_TTL_PRINCIPAL = "dynamodb.amazonaws.com"
_NO_VALUE = Raw(b"null")
_STREAM = "/stream/"


class _Identity(msgspec.Struct, gc=False):
    """Who did it: names as Lambda spells them, and as the API does."""

    type: str | None = None
    principalId: str | None = None
    Type: str | None = None
    PrincipalId: str | None = None


class _Images(msgspec.Struct, gc=False):
    """The member ``dynamodb`` of a record."""

    Keys: Raw = _NO_VALUE
    OldImage: Raw = _NO_VALUE
    NewImage: Raw = _NO_VALUE
    SequenceNumber: str | int | None = None
    ApproximateCreationDateTime: float | str | None = None


class _Record(msgspec.Struct, gc=False):
    dynamodb: _Images
    eventName: str = ""
    eventSourceARN: str | None = None
    userIdentity: _Identity | None = None


_decode = msgspec.json.Decoder(_Record).decode
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_KINDS = {kind.value: kind for kind in ChangeKind}


def read_record(raw: bytes | Raw, keys: KeyReader, origin: str = "") -> Change | Unreadable:
    """Read one record of a stream.

    Args:
        raw: its JSON, as GetRecords answers it or as Lambda hands it on; they differ in spelling only.
        keys: reads keys by the schema of the table that the stream is of.
        origin: the ARN of that stream or table, for records that do not name their stream themselves.

    Returns:
        The change, or what says why none can be made of the record.
    """
    record = bytes(raw)
    try:
        read = _decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Unreadable(
            sequence=_sequence_of(record), reason=f"It is no record of a stream: {error}.", record=record
        )
    images = read.dynamodb
    told_by = read.eventSourceARN or origin
    sequence = _as_number(images.SequenceNumber)
    if sequence is None:
        return Unreadable(sequence=None, reason="It has no sequence number.", record=record)
    try:
        return Change(
            key=_key(images, keys),
            kind=_kind(read.eventName),
            sequence=sequence,
            old=_image(images.OldImage),
            new=_image(images.NewImage),
            origin=table_arn(told_by),
            stream=told_by if _STREAM in told_by else "",
            created=_seconds(images.ApproximateCreationDateTime),
            by_ttl=_is_ttl(read.userIdentity),
            record=record,
        )
    except (_OddRecordError, KeyFormatError) as odd:
        return Unreadable(sequence=sequence, reason=str(odd), record=record)


def read_decoded_record(record: Mapping[str, Any], keys: KeyReader, origin: str = "") -> Change | Unreadable:
    """Read one record of a Lambda event, which comes as Python values; see ``read_record``."""
    try:
        raw = _encode(record)
    except (TypeError, ValueError) as error:  # half a surrogate pair, or what no JSON ever was
        return Unreadable(sequence=None, reason=f"It is no record of a stream: {error}.")
    return read_record(raw, keys, origin)


def table_arn(stream_arn: str) -> str:
    """Return the ARN of the table that a stream is of; the ARN of a table is its own."""
    return stream_arn.partition(_STREAM)[0]


class _OddRecordError(Exception):
    """A record is not as it should be; says how in one sentence."""


def _key(images: _Images, keys: KeyReader) -> bytes:
    if images.Keys == _NO_VALUE:
        raise _OddRecordError("It has no key.")
    return keys.key(images.Keys)


def _kind(name: str) -> ChangeKind:
    kind = _KINDS.get(name)
    if kind is None:
        raise _OddRecordError(f"Its event is {_encode(name).decode()}, not INSERT, MODIFY or REMOVE.")
    return kind


def _image(raw: Raw) -> bytes | None:
    return None if raw == _NO_VALUE else bytes(raw)


def _as_number(sequence: str | int | None) -> int | None:
    """Return a sequence number; it is 21 to 40 digits, and emulators' are shorter."""
    text = str(sequence)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 40 else None


def _sequence_of(record: bytes) -> int | None:
    """Look for the sequence number in a record that is otherwise odd: it says where to go on."""
    try:
        images = _decode_any(record).get("dynamodb")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return _as_number(images.get("SequenceNumber")) if isinstance(images, dict) else None


def _seconds(created: float | str | None) -> float | None:
    return created if isinstance(created, float) else None


def _is_ttl(identity: _Identity | None) -> bool:
    """Tell a deletion by TTL: DynamoDB Developer Guide, "DynamoDB Streams and Time to Live"."""
    if identity is None:
        return False
    kind, principal = identity.type or identity.Type, identity.principalId or identity.PrincipalId
    return kind == "Service" and principal == _TTL_PRINCIPAL
