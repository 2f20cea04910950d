"""The layout of an incremental folder: the name, content and metadata of the object of one item. Pure.

    PREFIX/TABLE/sha256hex(key)     the item, compact, as the table has it

The key is the compact wire JSON of its attributes in key-schema order, HASH before RANGE: what
``asyncrep.items.keys`` calls canonical. dynamodb-replicator 10 gives the same names, as long as the record of a
stream, or a sorted key, happens to have that order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode

_STREAM = "asyncrep-stream"
_SEQUENCE = "asyncrep-sequence"
_DIGITS = 40
"""As many as a sequence number has at the most."""


def object_name(key: bytes) -> str:
    """Return the name of the object of an item within its table's folder, by the item's canonical key."""
    return hashlib.sha256(key).hexdigest()


def object_names(key: bytes) -> tuple[str, ...]:
    """Return the names that the object of an item may have: ours, then that of the key in its other order.

    dynamodb-replicator takes the key's attributes in the order of their names, or as a record happens to have
    them. asyncrep writes ours. Where there are both, the one that was written later counts; of one second, ours.
    """
    members = _decode_members(key)
    if len(members) == 1:
        return (object_name(key),)
    turned = b",".join(b"%b:%b" % (_encode(name), value) for name, value in reversed(members.items()))
    return object_name(key), object_name(b"{%b}" % turned)


def object_body(image: bytes) -> bytes:
    """Return what the object of an item holds: the item as it is, without blanks between its parts.

    No text is decoded and no number read, so none is changed. What Global Tables add (``aws:rep:*``) is part of
    the item, and stays: whoever restores it leaves it out.
    """
    return msgspec.json.format(image, indent=-1)


class Mark(NamedTuple):
    """Which change an object holds, as its metadata tells.

    Attributes:
        stream: the ARN of the stream that told of the change; empty where nobody said.
        sequence: the change's sequence number.
    """

    stream: str
    sequence: int

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Self | None:
        """Read the mark of an object; None of one that no change has made, as a backfill's or a stranger's."""
        sequence = metadata.get(_SEQUENCE, "")
        if not (sequence.isascii() and sequence.isdigit() and len(sequence) <= _DIGITS):
            return None
        return cls(metadata.get(_STREAM, ""), int(sequence))

    @property
    def metadata(self) -> dict[str, str]:
        """What an object is put with."""
        return {_STREAM: self.stream, _SEQUENCE: f"{self.sequence:0{_DIGITS}}"}

    def covers(self, change: Mark) -> bool:
        """Tell whether this change of an item is that other one, or comes after it.

        Numbers have an order within one stream. Of a table's streams the one that was made later tells of what
        happened later: a stream's label is the time at which it was made. What happened in tables of the same
        name, one in another Region perhaps, has no order.
        """
        mine, _, label = self.stream.partition("/stream/")
        others, _, other_label = change.stream.partition("/stream/")
        return mine == others and (label, self.sequence) >= (other_label, change.sequence)
