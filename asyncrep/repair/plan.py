"""Plans what mends a discrepancy: which mutations, under which preconditions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.aws.guard import ATTRIBUTES_PER_PATCH
from asyncrep.items.equality import decode_image, differing_attributes
from asyncrep.model import Different, Extraneous, Missing
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Patch, Put

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from asyncrep.model import Discrepancy
    from asyncrep.mutation import Mutation


def plan(found: Discrepancy, ignored: Collection[str], *, whole: bool = False) -> Sequence[Mutation]:
    """Return the mutations that make the replica's record equal to the primary's, in order.

    Each is guarded on everything that was read and that it changes: a missing item must still be absent,
    a patched attribute must still have its old value, an extraneous item must still be as read.
    Attributes that are not compared, or that somebody adds meanwhile, survive. It is one mutation, unless
    more attributes differ than one UpdateItem can change under guard. With ``whole`` a different item is put as
    a whole, in place of exactly what was read.
    """
    match found:
        case Missing():
            return [Put(found.key, found.primary, ItemAbsent())]
        case Extraneous():
            return [Delete(found.key, AttributesAre(decode_image(found.replica)))]
        case Different() if whole:
            return [Put(found.key, found.primary, AttributesAre(decode_image(found.replica)))]
        case Different():
            return _patches(found, ignored)


def _patches(found: Different, ignored: Collection[str]) -> list[Patch]:
    primary, replica = decode_image(found.primary), decode_image(found.replica)
    names = differing_attributes(primary, replica, ignored)
    return [
        Patch(
            found.key,
            assign={name: primary[name] for name in some if name in primary},
            remove=[name for name in some if name not in primary],
            precondition=AttributesAre({name: replica.get(name) for name in some}),
        )
        for some in (
            names[start : start + ATTRIBUTES_PER_PATCH]
            for start in range(0, len(names), ATTRIBUTES_PER_PATCH)
        )
    ]
