"""Finds out of which attributes the names of a folder's objects are digests, and holds objects against it. Pure.

No table is asked: there may be none any more. A name is the digest of the key, so that one object is enough to
find the key's attributes, and proves them.
"""

from __future__ import annotations

import re
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import msgspec

from asyncrep.errors import KeyFormatError
from asyncrep.items.incremental import object_name
from asyncrep.items.keys import KeyReader
from asyncrep.model import KeyAttribute, KeySchema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrep.model import KeyType

OBJECT_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""How the object of an item is named."""

_MOST_ATTRIBUTES = 60
"""Of larger items only so many are tried: a key comes first in what most programs write."""

_KEY_VALUE = re.compile(rb'\{\s*"([SNB])"\s*:\s*"', re.ASCII)

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Naming(NamedTuple):
    """The key of a folder's items, in the order in which the names of its objects have it.

    Attributes:
        keys: reads the key in that order.
        others: the same in the other order, in which another tool may have named objects; None for a key of one
            attribute.
    """

    keys: KeyReader
    others: KeyReader | None

    @classmethod
    def of(cls, schema: KeySchema) -> Self:
        """Return the naming in the order of a schema."""
        turned = None if schema.range is None else KeySchema(schema.range, schema.hash)
        return cls(KeyReader(schema), None if turned is None else KeyReader(turned))

    @classmethod
    def found(cls, name: str, image: bytes) -> Self | None:
        """Return the naming that gives an object its name; None when no attribute, or two of them, do."""
        schema = next(_schemas(_candidates(image), name), None)
        return None if schema is None else cls.of(schema)

    def fits(self, name: str, image: bytes) -> bool:
        """Tell whether an object has the name of the item that it holds."""
        return _digests(self.keys, image, name)

    def twin(self, name: str, image: bytes) -> str | None:
        """Return the name that an object would have in this order, if it has the one of the other order."""
        if self.others is None or not _digests(self.others, image, name):
            return None
        if object_name(self.others.key(image)) == name:
            return object_name(self.keys.key(image))
        return object_name(_spelled(self.keys.schema, image))


class _Candidate(NamedTuple):
    """An attribute that may be one of the key's.

    Attributes:
        canonical: the item as if it had this attribute alone, in its one spelling.
        spelled: the same as the item spells it.
    """

    attribute: KeyAttribute
    canonical: bytes
    spelled: bytes


def _candidates(image: bytes) -> list[_Candidate]:
    """Return the attributes that could be a key's."""
    try:
        members = _members(image)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    found: list[_Candidate] = []
    for name, value in members.items():
        typed = _KEY_VALUE.match(bytes(value))
        if typed and len(found) < _MOST_ATTRIBUTES:
            attribute = KeyAttribute(name, cast("KeyType", typed[1].decode()))
            schema = KeySchema(attribute)
            found.append(_Candidate(attribute, KeyReader(schema).key(image), _spelled(schema, image)))
    return found


def _schemas(candidates: list[_Candidate], name: str) -> Iterator[KeySchema]:
    """Yield the keys that have this digest: of each attribute, then of each two in both orders."""
    for each in candidates:
        if name in {object_name(each.canonical), object_name(each.spelled)}:
            yield KeySchema(each.attribute)
    for first, second in permutations(candidates, 2):
        canonical = object_name(first.canonical[:-1] + b"," + second.canonical[1:])
        if canonical == name or object_name(first.spelled[:-1] + b"," + second.spelled[1:]) == name:
            yield KeySchema(first.attribute, second.attribute)


def _digests(keys: KeyReader, image: bytes, name: str) -> bool:
    """Tell whether a name is the digest of an item's key, in its one spelling or as the item spells it.

    JavaScript spells 1000000000000000000000 as 1e+21, in the item and in the name alike.
    """
    try:
        return object_name(keys.key(image)) == name or object_name(_spelled(keys.schema, image)) == name
    except KeyFormatError:
        return False


def _spelled(schema: KeySchema, image: bytes) -> bytes:
    """Return the key of an item as the item spells it, compact."""
    members = _members(image)
    parts = (
        _encode(each.name) + b":" + msgspec.json.format(bytes(members[each.name]), indent=-1)
        for each in schema.attributes
    )
    return b"{" + b",".join(parts) + b"}"
