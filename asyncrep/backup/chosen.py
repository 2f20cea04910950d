"""Which of the backups under a place a check is about. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.backup.retention import LONG_AGO
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from asyncrep.backup.listed import Listed


def named(found: Iterable[Listed], names: Sequence[str], place: str) -> list[Listed]:
    """Return the backups of these names.

    Args:
        found: all that there are.
        names: as listings show them; of an export also without its folder.
        place: where they were looked for, as people call it.

    Raises:
        UsageError: there is none of a name, or it is an incremental folder.
    """
    by_name = {name: each for each in found for name in (each.name, each.label)}
    for name in names:
        if name not in by_name:
            raise UsageError(f"There is no backup {name!r} in {place}.")
        if by_name[name].kind == "folder":
            raise UsageError(f"{name!r} is an incremental folder, which has no manifest to be held against.")
    return [by_name[name] for name in dict.fromkeys(names)]


def under_way(found: Iterable[Listed], now: datetime) -> list[Listed]:
    """Return the backups that may still be written to."""
    return [
        each
        for each in found
        if each.state == "incomplete" and each.changed is not None and now - each.changed < LONG_AGO
    ]


def newest_of(found: Iterable[Listed]) -> list[Listed]:
    """Return the newest backup of each source and kind, of those that look whole."""
    whole = [
        each for each in found if each.state == "whole" and each.begun is not None and each.kind != "folder"
    ]
    ordered = sorted(whole, key=lambda each: (each.begun, each.name))
    return list({(each.source, each.kind): each for each in ordered}.values())
