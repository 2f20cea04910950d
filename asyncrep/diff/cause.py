"""What has likely led to a discrepancy, from what confirmation read; pure.

What each cause rests on:

    in_flight          the primary's item changed during every look at it.
    expired            the TTL of the side that has the item (the primary's, if both have) is past.
    missed_put         the primary has the item, the replica has none.
    missed_delete      the replica has an item, the primary none.
    missed_ttl_delete  the same, and by the *primary's* TTL attribute the replica's item is past its time,
                       while the replica's own TTL does not concern itself with it.
    older_version      both have the item, and an attribute that reads as its version or its time of change
                       (``VERSION_NAMES``) is lower in the replica.
    newer_version      the same attribute is higher in the replica.
    attribute_change   they differ in any other way.

A version is read conservatively. Only attributes of the top level count that both sides have, under a name
that means a version or a time of change; both values must be numbers (compared exactly), or both text of the
same sortable form: ISO 8601 with the same precision and the same offset, or digits of the same length. Where
two such attributes point in opposite directions none counts. Attributes that are not compared prove nothing:
who ignores ``updatedAt`` does so because each side stamps its own.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from asyncrep.diff.expiry import is_expired
from asyncrep.items.equality import is_compared, respelled_attributes
from asyncrep.items.numbers import is_storable_number
from asyncrep.model import Cause, Different, Extraneous, Missing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from asyncrep.model import Discrepancy, WireValue

VERSION_NAMES = frozenset({
    "version", "versionnumber", "rev", "revision", "revisionnumber",
    "updated", "updatedat", "updatedon", "updatetime", "updatedtime", "updatedate", "updateddate",
    "lastupdate", "lastupdated", "lastupdatedat", "lastupdatedon", "lastupdatetime", "lastupdatedtime",
    "lastupdateddate",
    "modified", "modifiedat", "modifiedon", "modifiedtime", "modifieddate",
    "lastmodified", "lastmodifiedat", "lastmodifiedon", "lastmodifiedtime", "lastmodifieddate",
    "changedat", "lastchanged", "lastchangedat", "timestamp",
})  # fmt: skip
"""Names that mean a version or a time of change, in lower case and without ``_`` and ``-``."""

_SORTABLE = re.compile(
    r"[0-9]{1,38}"
    r"|[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]{1,9})?)?(?P<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_DIGIT = re.compile(r"[0-9]")


class VersionOrder(NamedTuple):
    """A version of the item as both sides have it, and which of the two is older."""

    attribute: str
    primary: Mapping[str, object]
    replica: Mapping[str, object]
    replica_is_older: bool


def likely_cause(
    found: Discrepancy, primary_ttl: str | None, now: float, ignored: Collection[str] = ()
) -> Cause:
    """Return what has likely led to confirmed drift.

    Args:
        found: the discrepancy, neither in flight nor expired by the TTL of the side that decides.
        primary_ttl: the primary's TTL attribute, None when its TTL is off or not known.
        now: epoch seconds.
        ignored: attributes that are not compared.
    """
    match found:
        case Missing():
            return Cause.MISSED_PUT
        case Extraneous():
            expired = is_expired(found.replica, primary_ttl, now)
            return Cause.MISSED_TTL_DELETE if expired else Cause.MISSED_DELETE
        case Different():
            order = version_order(found.primary, found.replica, ignored)
            if order is None:
                return Cause.ATTRIBUTE_CHANGE
            return Cause.OLDER_VERSION if order.replica_is_older else Cause.NEWER_VERSION


def version_order(primary: bytes, replica: bytes, ignored: Collection[str] = ()) -> VersionOrder | None:
    """Return the version that tells which of two images is the older one; None when nothing tells."""
    orders = []
    for name, ours, theirs in respelled_attributes(primary, replica, reads_as_version):
        if is_compared(name, ignored) and (sign := _compare(ours, theirs)):
            orders.append(VersionOrder(name, ours, theirs, replica_is_older=sign > 0))
    if not orders or len({order.replica_is_older for order in orders}) > 1:
        return None
    return orders[0]


@lru_cache(maxsize=4096)
def reads_as_version(name: str) -> bool:
    """Tell whether an attribute of that name is taken for the item's version or its time of change."""
    return name.casefold().replace("_", "").replace("-", "") in VERSION_NAMES


def _compare(ours: WireValue, theirs: WireValue) -> int:
    """Return -1, 0 or 1 as the primary's value is lower, the same or higher; 0 also if nobody can say."""
    if ours.keys() != theirs.keys() or len(ours) != 1:
        return 0
    ((kind, mine),) = ours.items()
    other = theirs[kind]
    if kind == "N" and is_storable_number(mine) and is_storable_number(other):
        left, right = Decimal(mine), Decimal(other)
        return int(left > right) - int(left < right)
    if kind == "S" and _form(mine) is not None and _form(mine) == _form(other):
        return int(mine > other) - int(mine < other)
    return 0


def _form(text: str) -> tuple[str, str | None] | None:
    """Return the form of text that sorts like the times or numbers it spells, with its offset; else None."""
    found = _SORTABLE.fullmatch(text)
    return None if found is None else (_DIGIT.sub("0", text), found["offset"])
