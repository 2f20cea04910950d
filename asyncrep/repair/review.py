"""Tells whether a record is still what somebody reviewed, and if not, what of it changed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.items.equality import Wire, decode_image, differing_attributes, same_value

if TYPE_CHECKING:
    from collections.abc import Collection

    from asyncrep.model import Discrepancy, Side

AGREES = "The sides agree by now."
"""The reason of a record in state changed that is no drift any more."""

_NAMED = 10
"""How many attributes a sentence names."""


def changed_since(
    reviewed: Discrepancy, now: Discrepancy, ignored: Collection[str], *, written: bool = False
) -> str | None:
    """Say in a sentence for each side what is not as it was reviewed; None when both sides are as they were.

    Args:
        reviewed: the record as it was reviewed.
        now: the same record as strong reads see it.
        ignored: attributes that are not compared.
        written: what was reviewed may have been written since, wholly or in part; what the replica has
            got by that is no change.
    """
    wanted = reviewed.primary if written else None
    gone_is_wanted = written and reviewed.primary is None
    sentences = [
        _change("primary", reviewed.primary, now.primary, ignored),
        None
        if now.replica is None and gone_is_wanted
        else _change("replica", reviewed.replica, now.replica, ignored, wanted),
    ]
    return " ".join(filter(None, sentences)) or None


def _change(
    side: Side, then: bytes | None, now: bytes | None, ignored: Collection[str], wanted: bytes | None = None
) -> str | None:
    """Say what changed on one side; attributes that are as ``wanted`` have not."""
    if now is None:
        return None if then is None else f"The {side} has lost the item since."
    goal: Wire = {} if wanted is None else decode_image(wanted)
    have = decode_image(now)
    changed = [
        name
        for name in differing_attributes({} if then is None else decode_image(then), have, ignored)
        if wanted is None or not _same_attribute(have, goal, name)
    ]
    if then is None:
        return f"The {side} has got an item since." if wanted is None or changed else None
    return f"The {side}'s item changed since: {_listed(changed)}." if changed else None


def _same_attribute(left: Wire, right: Wire, name: str) -> bool:
    if name not in left or name not in right:
        return name not in left and name not in right
    return same_value(left[name], right[name])


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    noun = "attribute" if len(names) == 1 else "attributes"
    return f"{noun} {', '.join(names[:_NAMED])}" + (f" and {more:,} more" if more > 0 else "")
