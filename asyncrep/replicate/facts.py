"""Facts of versioned items, and the one order of them that every side agrees on. Pure.

For one key: a put of a version, then the delete of that version, then the put of a higher one. Between two
puts of one version the greater digest of the content is the later one; nothing else could be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from asyncrep.items.canonical import content_digest
from asyncrep.items.equality import same_item
from asyncrep.items.numbers import is_storable_number

if TYPE_CHECKING:
    from asyncrep.change import Change
    from asyncrep.model import WireValue

_split = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_value = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Version:
    """A version, as an attribute holds it: a number, or a text compared by its UTF-8 bytes."""

    value: WireValue

    @property
    def rank(self) -> tuple[str, Any]:
        """What versions are compared by; numbers are before texts, which only one batch could mix."""
        ((kind, content),) = self.value.items()
        return (kind, Decimal(content) if kind == "N" else content.encode())

    def is_like(self, other: Version) -> bool:
        """Tell whether the service can compare the two: numbers with numbers, texts with texts."""
        return self.rank[0] == other.rank[0]

    def __str__(self) -> str:
        """Return the version without its type."""
        ((_, content),) = self.value.items()
        return str(content)


class OddVersionError(Exception):
    """An image has no version that counts; says in one sentence why."""


def version_in(image: bytes, attribute: str) -> Version | None:
    """Return the version that an image holds, None when it holds none.

    Raises:
        OddVersionError: the attribute is neither a number nor a text.
    """
    raw = _split(image).get(attribute)
    if raw is None:
        return None
    value = _decode_value(raw)
    ((kind, content),) = value.items()
    if kind == "S" or (kind == "N" and is_storable_number(content)):
        return Version(value)
    raise OddVersionError(f'The version "{attribute}" is neither a number nor a text, but {kind}.')


@dataclass(frozen=True)
class Fact:
    """What a change says of an item: that a version of it was written, or deleted.

    Attributes:
        change: the change that says so.
        version: which version.
        image: its content, as far as the change tells it.
        deleted: whether it was deleted.
    """

    change: Change
    version: Version
    image: bytes
    deleted: bool

    @cached_property
    def digest(self) -> bytes:
        """What decides between two contents of one version."""
        return content_digest(self.image)

    @property
    def rank(self) -> tuple[tuple[str, Any], bool, bytes]:
        """The place in the order of all facts of this key."""
        return (self.version.rank, self.deleted, b"" if self.deleted else self.digest)

    def says_the_same_as(self, image: bytes) -> bool:
        """Tell whether an image is the content that this fact is about."""
        return same_item(self.image, image)

    def beats(self, image: bytes) -> bool:
        """Tell whether this content wins over another of the same version."""
        return self.digest > content_digest(image)


def is_setback(change: Change, attribute: str) -> bool:
    """Tell whether a change gave an item a lower version than it had, which no mirror does."""
    if change.old is None or change.new is None:
        return False
    try:
        before, after = version_in(change.old, attribute), version_in(change.new, attribute)
    except OddVersionError:
        return False
    return before is not None and after is not None and after.is_like(before) and after.rank < before.rank
