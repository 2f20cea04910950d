"""Plans what mends a discrepancy: which mutation, under which precondition. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.aws.guard import fits
from asyncrep.items.equality import decode_image, differing_attributes, encode_image, is_compared
from asyncrep.model import (
    AttributesAre,
    Delete,
    Different,
    Discrepancy,
    Extraneous,
    ItemAbsent,
    Missing,
    Mutation,
    Patch,
    Put,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from asyncrep.items.equality import Wire
    from asyncrep.model import KeySchema


def plan(found: Discrepancy, schema: KeySchema, ignored: Collection[str]) -> Mutation:
    """Return the mutation that makes the replica's record equal to the primary's.

    It is guarded on everything that was read and is about to change: a missing item must still be
    absent, a patched attribute must still have its old value, an extraneous item must still be as read.
    Attributes that are not compared, or that somebody adds meanwhile, survive.
    """
    match found:
        case Missing():
            return Put(found.key, found.primary, ItemAbsent())
        case Extraneous():
            return Delete(found.key, AttributesAre(decode_image(found.replica)))
        case Different():
            return _plan_change(found, schema, ignored)


def _plan_change(found: Different, schema: KeySchema, ignored: Collection[str]) -> Mutation:
    primary, replica = decode_image(found.primary), decode_image(found.replica)
    names = differing_attributes(primary, replica, ignored)
    patch = Patch(
        found.key,
        assign={name: primary[name] for name in names if name in primary},
        remove=[name for name in names if name not in primary],
        precondition=AttributesAre({name: replica.get(name) for name in names}),
    )
    if fits(patch, schema):
        return patch
    # Too much for an UpdateItem: write the item whole, guarded on as much as fits, what changes first.
    expected = {name: replica.get(name) for name in (*names, *replica)}
    return Put(found.key, _merged_image(primary, replica, ignored), AttributesAre(expected))


def _merged_image(primary: Wire, replica: Wire, ignored: Collection[str]) -> bytes:
    """Return the primary's item with those attributes of the replica's that are not compared."""
    merged = {name: value for name, value in primary.items() if is_compared(name, ignored)}
    merged |= {name: value for name, value in replica.items() if not is_compared(name, ignored)}
    return encode_image(merged)
