"""What is written: mutations, the preconditions under which they are, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from asyncrep.model import WireValue


class ItemState(NamedTuple):
    """The state that an item is to have, whatever is there: an image, or None where there is to be none."""

    key: bytes
    image: bytes | None


@dataclass(frozen=True, slots=True)
class ItemAbsent:
    """A precondition: there is no item under the key."""


@dataclass(frozen=True, slots=True)
class AttributesAre:
    """A precondition: the item exists and these attributes have these values; None says it lacks one."""

    expected: Mapping[str, WireValue | None]


Precondition = ItemAbsent | AttributesAre


@dataclass(frozen=True, slots=True)
class Put:
    """Write the whole item, ``image``."""

    key: bytes
    image: bytes
    precondition: Precondition


@dataclass(frozen=True, slots=True)
class Patch:
    """Set and remove some attributes of the item; all others stay as they are."""

    key: bytes
    assign: Mapping[str, WireValue]
    remove: Collection[str]
    precondition: AttributesAre


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the item."""

    key: bytes
    precondition: AttributesAre


Mutation = Put | Patch | Delete


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a guarded write did.

    Attributes:
        applied: False when the precondition did not hold; nothing was written then.
        old: the image that was there before an applied write, None when there was none.
        caveat: says so when the precondition was too large to be checked in full by the write itself.
        unsure: the precondition did not hold, and maybe because of this very write: an earlier try of it
            got no answer.
    """

    applied: bool
    old: bytes | None = None
    caveat: str | None = None
    unsure: bool = False
