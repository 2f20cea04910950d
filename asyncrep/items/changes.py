"""What differs between two images of one item: its attributes by name, and the paths inside them. Pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from asyncrep.items.equality import Wire, decode_image, differing_attributes, members_lacking, same_value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from asyncrep.model import WireValue

_encode = msgspec.json.Encoder().encode


class Changes(NamedTuple):
    """The attributes in which two images differ, by name.

    Attributes:
        changed: both sides have them, with other values.
        missing: only the primary has them.
        extra: only the replica has them.
    """

    changed: list[str]
    missing: list[str]
    extra: list[str]


class PathChange(NamedTuple):
    """One place in which two images differ.

    Attributes:
        path: names of members and indexes of elements, from the attribute down.
        primary: what the primary has there, None when it has nothing.
        replica: the same of the replica.
        members: both have a set of one type there; ``primary`` and ``replica`` are only what the other
            one lacks, None when it lacks nothing.
    """

    path: tuple[str | int, ...]
    primary: WireValue | None
    replica: WireValue | None
    members: bool = False

    @property
    def spelled(self) -> str:
        """The path as DynamoDB writes paths, ``place.cities[2]``; names that would mislead are in quotes."""
        spelled = ""
        for step in self.path:
            if isinstance(step, int):
                spelled += f"[{step}]"
            else:
                spelled += ("." if spelled else "") + _spell_name(step)
        return spelled


def changes(primary: bytes, replica: bytes, ignored: Collection[str] = ()) -> Changes:
    """Name the top-level attributes in which two images differ."""
    ours, theirs = decode_image(primary), decode_image(replica)
    names = differing_attributes(ours, theirs, ignored)
    return Changes(
        changed=[name for name in names if name in ours and name in theirs],
        missing=[name for name in names if name not in theirs],
        extra=[name for name in names if name not in ours],
    )


def path_changes(
    primary: bytes, replica: bytes, ignored: Collection[str] = (), *, most: int | None = None
) -> list[PathChange]:
    """Name every place in which two images differ, down into maps and lists; at most ``most`` of them."""
    ours, theirs = decode_image(primary), decode_image(replica)
    return list(islice(_in_items(ours, theirs, ignored), most))


def _in_items(ours: Wire, theirs: Wire, ignored: Collection[str]) -> Iterator[PathChange]:
    for name in differing_attributes(ours, theirs, ignored):
        yield from _between((name,), ours.get(name), theirs.get(name))


def _between(
    path: tuple[str | int, ...], ours: WireValue | None, theirs: WireValue | None
) -> Iterator[PathChange]:
    """Yield where two values differ, one of which may be absent."""
    if ours is None or theirs is None or ours.keys() != theirs.keys() or len(ours) != 1:
        yield PathChange(path, ours, theirs)
        return
    if same_value(ours, theirs):
        return
    ((kind, mine),) = ours.items()
    match kind:
        case "M":
            yield from _in_maps(path, mine, theirs[kind])
        case "L":
            yield from _in_lists(path, mine, theirs[kind])
        case "SS" | "NS" | "BS":
            yield PathChange(path, members_lacking(ours, theirs), members_lacking(theirs, ours), members=True)
        case _:
            yield PathChange(path, ours, theirs)


def _in_maps(
    path: tuple[str | int, ...], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Iterator[PathChange]:
    for name in dict.fromkeys((*ours, *theirs)):
        yield from _between((*path, name), ours.get(name), theirs.get(name))


def _in_lists(path: tuple[str | int, ...], ours: list[Any], theirs: list[Any]) -> Iterator[PathChange]:
    """Compare element by element, as a list has an order; what the longer one has more is at its end."""
    for index in range(max(len(ours), len(theirs))):
        mine = ours[index] if index < len(ours) else None
        other = theirs[index] if index < len(theirs) else None
        yield from _between((*path, index), mine, other)


def _spell_name(name: str) -> str:
    plain = name.isidentifier() or (name.isprintable() and not set(name) & set('.[]" '))
    return name if name and plain else _encode(name).decode()
