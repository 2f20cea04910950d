"""Which leases a stream's shards need, which are of no use any more, and when a shard may be begun. Pure.

The rules are those of KCL 1.x's ShardSyncer, for streams whose shards have one parent each at the most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from asyncrep.aws.lease import LATEST, TRIM_HORIZON, Lease
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from asyncrep.aws.streams import Shard

Begin = Literal["trim-horizon", "latest"]
"""Where a task begins: with the oldest records that the stream has, or with those to come."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a listing of shards makes of the leases.

    Attributes:
        add: leases to add, generation by generation: a shard's lease must be there before its children's.
        remove: leases that are of no use any more: done with, trimmed, and all that follows is tracked.
        leaves: closed shards without children in the listing: it is not whole, or the stream is disabled.
        lost: leases whose shards are not in the listing and were not done with; only trying to read them
            tells for certain that records are lost.
    """

    add: tuple[tuple[Lease, ...], ...] = ()
    remove: tuple[Lease, ...] = ()
    leaves: frozenset[str] = frozenset()
    lost: tuple[Lease, ...] = ()


def plan(shards: Sequence[Shard], leases: Iterable[Lease], begin: Begin) -> Plan:
    """Return what is to be done about the leases so that every shard is followed, each after its parent.

    Whatever descends from a shard that has a lease is followed from its beginning, with all that lies
    between. Other shards are where the task begins: with those that are open, or with all of them.
    """
    listed = {shard.id: shard for shard in shards}
    tracked = {lease.key: lease for lease in leases}
    parents = {shard.parent for shard in shards}
    tips = [shard for shard in shards if shard.id not in parents]
    from_start = begin == "trim-horizon" or _is_torn(listed, tracked)
    needed: dict[str, tuple[int, Lease]] = {}
    copying_since, catching_up = _inherited(tracked.values())
    for tip in tips:
        line, ancestor = _ancestry(tip, listed, tracked)
        is_known = ancestor is not None
        behind = catching_up or (ancestor is not None and copying_since is None and catches_up(ancestor))
        if not is_known and not from_start:
            line = line[-1:]
        checkpoint = TRIM_HORIZON if is_known or from_start else LATEST
        for shard in line:
            generation = needed[shard.parent][0] + 1 if shard.parent in needed else 0
            lease = _lease_of(shard, checkpoint)
            needed[shard.id] = (
                generation,
                replace(lease, copying_since=copying_since, catching_up=behind),
            )
    gone = [lease for key, lease in tracked.items() if key not in listed]
    is_settled = bool(shards) and not needed
    return Plan(
        add=_by_generation(needed.values()),
        remove=tuple(lease for lease in gone if lease.is_finished) if is_settled else (),
        leaves=frozenset(tip.id for tip in tips if tip.last is not None),
        lost=tuple(lease for lease in gone if not lease.is_finished),
    )


def is_copying(leases: Collection[Lease]) -> bool:
    """Tell whether a task still copies items, so that none of its shards may be followed.

    That is one fact, though many leases say so: as soon as one does not, the copy is whole. Leases that have not
    heard of it yet, or were added at the same moment, only are to catch up.
    """
    return bool(leases) and all(lease.copying_since is not None for lease in leases)


def catches_up(lease: Lease) -> bool:
    """Tell whether what happened while items were copied has not all been seen to, once they are copied."""
    return lease.catching_up or lease.copying_since is not None


def _inherited(leases: Collection[Lease]) -> tuple[int | None, bool]:
    """Return since when new leases copy, if they do, and whether they catch up, as one of those there does."""
    if is_copying(leases):
        return min(lease.copying_since or 0 for lease in leases), False
    return None, any(catches_up(lease) for lease in leases if not lease.is_finished)


def _ancestry(
    tip: Shard, listed: Mapping[str, Shard], tracked: Mapping[str, Lease]
) -> tuple[list[Shard], Lease | None]:
    """Return a shard and its ancestors without leases, the eldest first, and the lease they descend from, if any."""
    line: dict[str, Shard] = {}
    shard: Shard | None = tip
    name: str | None = tip.id
    while shard is not None and shard.id not in tracked and shard.id not in line:
        line[shard.id] = shard
        name = shard.parent
        shard = None if name is None else listed.get(name)
    return list(reversed(line.values())), None if name is None else tracked.get(name)


def _is_torn(listed: Mapping[str, Shard], tracked: Mapping[str, Lease]) -> bool:
    """Tell whether a tracked shard is trimmed, and so are its children: who descends from it is unknown then."""
    followed = {shard.parent for shard in listed.values()}
    followed |= {parent for lease in tracked.values() for parent in lease.parents}
    return any(key not in listed and key not in followed for key in tracked)


def _lease_of(shard: Shard, checkpoint: str) -> Lease:
    parents = frozenset() if shard.parent is None else frozenset({shard.parent})
    return Lease(key=shard.id, checkpoint=checkpoint, parents=parents)


def _by_generation(needed: Iterable[tuple[int, Lease]]) -> tuple[tuple[Lease, ...], ...]:
    generations: list[list[Lease]] = []
    for generation, lease in sorted(needed, key=lambda each: each[0]):
        if generation == len(generations):
            generations.append([])
        generations[generation].append(lease)
    return tuple(map(tuple, generations))


def ready(lease: Lease, leases: Mapping[str, Lease]) -> bool:
    """Tell whether the shard may be begun: each parent's lease is gone or at its shard's end."""
    return all(parent not in leases or leases[parent].is_finished for parent in lease.parents)


def check_same(leases: Iterable[Lease], shards: Collection[str], source: str, destinations: str) -> None:
    """Refuse leases that belong to the replication of other tables.

    Args:
        leases: all of the lease table.
        shards: the ids of the stream's shards.
        source: the location of the table whose stream it is.
        destinations: the locations of the tables that are written to.

    Raises:
        UsageError: they do; with one sentence.
    """
    leases = list(leases)
    for lease in leases:
        theirs = (lease.source or source, lease.destinations or destinations)
        if theirs != (source, destinations):
            raise UsageError(
                f"The task replicates {theirs[0]} to {theirs[1]}, not {source} to {destinations}; "
                "give this one a name of its own."
            )
    unnamed = [lease.key for lease in leases if lease.source is None]
    if leases and len(unnamed) == len(leases) and not set(unnamed) & set(shards):
        raise UsageError(
            f"The task follows another stream than that of {source}: it knows none of its shards; "
            "give this one a name of its own."
        )
