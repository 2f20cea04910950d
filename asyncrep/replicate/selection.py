"""What of a stream is replicated, and how it is to look at the destination. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from asyncrep.change import ChangeKind
from asyncrep.errors import UsageError
from asyncrep.mutation import ItemState
from asyncrep.replicate.conditions import QUOTED, Condition, parse_condition, parse_name, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncrep.change import Change
    from asyncrep.model import KeySchema

_split = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class Role(StrEnum):
    """Which side of a turnover a consumer is on."""

    BEFORE = "BEFORE"
    AFTER = "AFTER"


@dataclass(frozen=True, slots=True)
class Turnover:
    """Hands a stream over from one consumer to another at a moment, without a gap and without twins.

    Attributes:
        role: BEFORE takes records created before the moment, AFTER those from it on.
        at: milliseconds since the epoch.
    """

    role: Role
    at: int

    def takes(self, created: float) -> bool:
        """Tell whether a record that was created so many seconds after the epoch is this side's."""
        return (created * 1000 < self.at) is (self.role is Role.BEFORE)


@dataclass(frozen=True, slots=True)
class Unmakeable:
    """The state that a change asks for cannot be told from its record.

    Attributes:
        reason: one sentence.
    """

    reason: str


ALL_KINDS = frozenset(ChangeKind)


@dataclass(frozen=True, slots=True)
class Selection:
    """What is replicated: everything, unless said otherwise.

    Attributes:
        events: the kinds of changes that are replicated.
        ttl_deletes: whether what DynamoDB deleted by TTL is deleted at the destination, too.
        where: conditions that an item must meet, all of them, by its names at the source. An item that
            does not meet them any more is deleted at the destination.
        attributes: the only attributes to copy, besides the key; None for all.
        without: attributes that are not copied.
        rename: names at the source and what they are called at the destination.
        turnover: which side of a turnover takes which records.
    """

    events: frozenset[ChangeKind] = ALL_KINDS
    ttl_deletes: bool = True
    where: tuple[Condition, ...] = ()
    attributes: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    turnover: Turnover | None = None

    @classmethod
    def from_texts(
        cls,
        *,
        where: Iterable[str] = (),
        events: Iterable[str] = (),
        ttl_deletes: bool = True,
        attributes: Iterable[str] = (),
        without: Iterable[str] = (),
        rename: Iterable[str] = (),
        turnover_role: str | None = None,
        turnover_at: str | int | None = None,
    ) -> Selection:
        """Read what a user wrote, as options or in the environment; ``read_list`` cuts one text into several.

        Args:
            where: conditions, see ``parse_condition``.
            events: INSERT, MODIFY, REMOVE; none means all.
            ttl_deletes: as the attribute.
            attributes: names, in quotes if they hold commas or quotes; none means all.
            without: names likewise.
            rename: ``OLD=NEW``, either name in quotes if it holds ``=`` or quotes.
            turnover_role: BEFORE or AFTER.
            turnover_at: milliseconds since the epoch; both or neither.

        Raises:
            UsageError: with one sentence that says what is wrong.
        """
        only = frozenset(map(parse_name, attributes))
        selection = cls(
            events=frozenset(map(_parse_kind, events)) or ALL_KINDS,
            ttl_deletes=ttl_deletes,
            where=tuple(map(parse_condition, where)),
            attributes=only or None,
            without=frozenset(map(parse_name, without)),
            rename=_parse_renames(rename),
            turnover=_parse_turnover(turnover_role, turnover_at),
        )
        selection._refuse_contradictions()
        return selection

    @property
    def copies_whole_items(self) -> bool:
        """Whether items look at the destination as they do at the source."""
        return self.attributes is None and not self.without and not self.rename

    @property
    def copies_everything(self) -> bool:
        """Whether every item is copied, and as it is."""
        return not self.where and self.copies_whole_items

    @property
    def replicates_removals(self) -> bool:
        """Whether every item that is removed is deleted at the destination."""
        return self.ttl_deletes and ChangeKind.REMOVE in self.events

    def takes(self, change: Change) -> bool:
        """Tell whether a change is among those that are replicated."""
        return self._takes(change) is not False

    def keeps(self, change: Change) -> bool:
        """Tell whether a change removed what is to stay at the destination."""
        return change.kind is ChangeKind.REMOVE and self._is_ours(change) is True and not self.takes(change)

    def check(self, schema: KeySchema) -> None:
        """Refuse to touch the key.

        Raises:
            UsageError: a key attribute is to be renamed or left out, or another to be called like it.
        """
        for attribute in schema.attributes:
            name = attribute.name
            if name in self.rename or name in self.rename.values():
                raise UsageError(f'"{name}" is part of the key {schema}, which cannot be renamed.')
            if name in self.without:
                raise UsageError(f'"{name}" is part of the key {schema}, which is always copied.')

    def wanted(self, change: Change) -> ItemState | Unmakeable | None:
        """Return the state that the destination's item is to have after a change; None: as it is."""
        taken = self._takes(change)
        if taken is not True:
            return taken or None
        if change.kind is ChangeKind.REMOVE:
            return self._unless_never_copied(change)
        if change.new is None:
            return Unmakeable(
                f"The record of this {change.kind} holds no new image; the stream's view must be "
                "NEW_AND_OLD_IMAGES or NEW_IMAGE."
            )
        if self.where and not self._selects(change.new):
            return self._unless_never_copied(change)
        return ItemState(change.key, self._shaped(change.new, change.key))

    def _takes(self, change: Change) -> bool | Unmakeable:
        ours = self._is_ours(change)
        if ours is not True:
            return ours
        if change.by_ttl and not self.ttl_deletes:
            return False
        return change.kind in self.events

    def _is_ours(self, change: Change) -> bool | Unmakeable:
        """Tell whether a change is on this side of a turnover."""
        if self.turnover is None:
            return True
        if change.created is None:
            return Unmakeable("The record does not tell when it was created, and the turnover asks for it.")
        return self.turnover.takes(change.created)

    def _unless_never_copied(self, change: Change) -> ItemState | None:
        """Return that there is to be no item, unless the one before the change was not selected either.

        Of an overtaken change that one says nothing: any state may have been copied, also a selected one.
        """
        before = None if change.overtaken else change.old
        if self.where and before is not None and not self._selects(before):
            return None
        return ItemState(change.key, None)

    def _selects(self, image: bytes) -> bool:
        members = _split(image)
        return all(condition.holds(members) for condition in self.where)

    def _shaped(self, image: bytes, key: bytes) -> bytes:
        """Return an image with the attributes and names that it is to have at the destination."""
        if self.copies_whole_items:
            return image
        key_names = _split(key)
        kept = {
            name: raw
            for name, raw in _split(image).items()
            if name in key_names
            or ((self.attributes is None or name in self.attributes) and name not in self.without)
        }
        if not self.rename:
            return _encode(kept)
        # A renamed attribute takes the place of one that has its new name already.
        plain = {name: raw for name, raw in kept.items() if name not in self.rename}
        return _encode(plain | {self.rename[name]: raw for name, raw in kept.items() if name in self.rename})

    def _refuse_contradictions(self) -> None:
        both = (self.attributes or frozenset()) & self.without
        if both:
            raise UsageError(f'"{min(both)}" cannot be both copied and left out.')
        for old in self.rename:
            if old in self.without or (self.attributes is not None and old not in self.attributes):
                raise UsageError(f'"{old}" cannot be both renamed and left out.')


# ── What users write ────────────────────────────────────────────────────────────────────────────────

_RENAME = re.compile(rf'(?P<old>{QUOTED}|[^="]+?)\s*=\s*(?P<new>{QUOTED}|[^="]+?)', re.DOTALL)
_PIECE = re.compile(rf'(?:{QUOTED}|[^",\n]|")+')


def read_list(text: str) -> list[str]:
    """Cut a text at commas and line breaks that are not in quotes, as environment variables hold lists."""
    pieces = (piece.strip() for piece in _PIECE.findall(text))
    return [piece for piece in pieces if piece]


def _parse_kind(text: str) -> ChangeKind:
    try:
        return ChangeKind(text.strip().upper())
    except ValueError as error:
        raise UsageError(f"{shown(text)} is not an event; there are INSERT, MODIFY and REMOVE.") from error


def _parse_renames(texts: Iterable[str]) -> dict[str, str]:
    renames: dict[str, str] = {}
    for text in texts:
        found = _RENAME.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"{shown(text)} is not a new name; write OLD=NEW.")
        old, new = parse_name(found["old"]), parse_name(found["new"])
        if old in renames:
            raise UsageError(f'"{old}" is renamed twice.')
        if new in renames.values():
            raise UsageError(f'Two attributes cannot both be renamed to "{new}".')
        renames[old] = new
    return renames


def _parse_turnover(role: str | None, at: str | int | None) -> Turnover | None:
    if not role and at in (None, ""):
        return None
    if not role or at in (None, ""):
        raise UsageError("A turnover needs both its role, BEFORE or AFTER, and its time in milliseconds.")
    try:
        side = Role(role.strip().upper())
    except ValueError as error:
        raise UsageError(f"{shown(role)} is not a role in a turnover; there are BEFORE and AFTER.") from error
    text = str(at).strip()
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{shown(text)} is not the time of a turnover in milliseconds since the epoch.")
    return Turnover(side, int(text))
