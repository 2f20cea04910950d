"""Asks one side by key for records that were met on the other: what differs becomes a candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from asyncrep.diff.confirm import Candidate
from asyncrep.items.equality import same_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from asyncrep.diff.run import Run

BATCH = 100
"""Keys in one probe: what a BatchGetItem takes."""


class Met(NamedTuple):
    """A record that a scan delivered: its canonical key, its image, and the segment it was met in."""

    key: bytes
    image: Raw | bytes
    segment: int


class Probed(NamedTuple):
    """What a probe told: the records that look different, and how many the other side has at all."""

    candidates: list[Candidate]
    found: int


async def probe_replica(run: Run[Any], records: Sequence[Met]) -> Probed:
    """Ask the replica for the primary's records: it may lack some, or have them otherwise."""
    others = await run.replica.get([record.key for record in records], consistent=False)
    candidates = []
    ignored = run.comparison.ignore
    for key, image, segment in records:
        other = others.get(key)
        # Byte for byte equal is by far the most common; only what is not is decoded.
        if other is None or not (other == image or same_item(bytes(image), bytes(other), ignored)):
            candidates.append(Candidate(key, segment, len(image), "primary"))
    return Probed(candidates, len(others))


async def probe_primary(run: Run[Any], records: Sequence[Met], size: int | None = None) -> Probed:
    """Ask the primary for the replica's records: it may lack some.

    Only key attributes are asked for. That takes the same units as whole items and far less of
    everything else.

    Args:
        run: the run.
        records: what the replica has.
        size: about how many bytes each item has, when the images are but keys.
    """
    keys = [record.key for record in records]
    others = await run.primary.get(keys, consistent=False, keys_only=True)
    candidates = [
        Candidate(key, segment, size or len(image), "replica")
        for key, image, segment in records
        if key not in others
    ]
    return Probed(candidates, len(others))
