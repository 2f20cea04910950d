"""Explains one record: both sides, what differs and where, the likely cause and what a repair would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrep.aws.guard import is_whole
from asyncrep.diff.cause import version_order
from asyncrep.diff.confirm import Candidate, confirm
from asyncrep.diff.expiry import as_date, expiry, is_expired
from asyncrep.diff.run import Run, check_comparable
from asyncrep.items.changes import changes, path_changes
from asyncrep.items.equality import decode_image
from asyncrep.items.size import item_size
from asyncrep.model import Different, Extraneous, Missing, State
from asyncrep.mutation import Delete, Patch, Put
from asyncrep.repair.past import read_past
from asyncrep.repair.plan import plan
from asyncrep.repair.record import record_diff

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from asyncrep.diff.cause import VersionOrder
    from asyncrep.flow.clock import Clock
    from asyncrep.items.changes import Changes, PathChange
    from asyncrep.model import Cause, Discrepancy, Source
    from asyncrep.mutation import Mutation
    from asyncrep.options import Comparison, S3Access
    from asyncrep.repair.past import Past
    from asyncrep.repair.record import RecordDiff

MOST_DIFFERENCES = 100
"""So many places in which two items differ are named; others are counted."""

_NO_IMAGES = {"KEYS_ONLY": "only keys", "OLD_IMAGE": "only old images"}


@dataclass(frozen=True, slots=True)
class SideOfRecord:
    """What one side has of a record.

    Attributes:
        label: how people call the table.
        image: the item, None when it has none.
        size: the item's bytes as DynamoDB counts them, None without item.
        ttl_attribute: the table's TTL attribute, None when TTL is off.
        ttl_known: False when the credentials may not ask for it.
        expires: when the item expires by it, in epoch seconds; None when it never does.
    """

    label: str
    image: bytes | None
    size: int | None
    ttl_attribute: str | None
    ttl_known: bool
    expires: float | None

    @property
    def expires_at(self) -> datetime | None:
        """When the item expires as a date; None when it never does, or at no time that a calendar has."""
        return as_date(self.expires)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The story of one record, as strong reads saw it.

    Attributes:
        record: the record, attribute by attribute, and its discrepancy, None when the sides agree.
        now: when it was looked at, in epoch seconds.
        looks: how often it was looked at; the primary's item changed during each look before the last.
        version: the attribute that tells which side's item is the older one, None when nothing does.
        names: the attributes of a different item that differ; None for any other.
        differences: the places in which a different item differs, down into maps and lists.
        more_differences: how many there are besides.
        settings: what in the tables' settings could explain the discrepancy, one sentence each.
        mutations: what ``replicate_record`` would write, in order.
        guarded_whole: their conditions check everything that was read and that they change.
        past: what a journal tells of the record; None when none was given.
    """

    primary: SideOfRecord
    replica: SideOfRecord
    record: RecordDiff
    now: float
    looks: int
    version: VersionOrder | None = None
    names: Changes | None = None
    differences: Sequence[PathChange] = ()
    more_differences: int = 0
    settings: Sequence[str] = ()
    mutations: Sequence[Mutation] = ()
    guarded_whole: bool = True
    past: Past | None = None

    @property
    def discrepancy(self) -> Discrepancy | None:
        """How the sides differ, None when they agree."""
        return self.record.discrepancy

    @property
    def cause(self) -> Cause | None:
        """What has likely led to the discrepancy."""
        return self.record.discrepancy.cause if self.record.discrepancy else None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as one object for JSON; values stay in wire form."""
        found = self.discrepancy
        return {
            "key": decode_image(self.record.key),
            "kind": found.kind if found else None,
            "state": found.state if found else None,
            "reason": found.reason if found else None,
            "cause": self.cause,
            "version": None if self.version is None else self.version._asdict(),
            "looks": self.looks,
            "primary": _side_as_dict(self.primary),
            "replica": _side_as_dict(self.replica),
            "attributes": None if self.names is None else self.names._asdict(),
            "differences": [
                {
                    "path": each.path,
                    "members": each.members,
                    "primary": each.primary,
                    "replica": each.replica,
                }
                for each in self.differences
            ],
            "more_differences": self.more_differences,
            "settings": list(self.settings),
            "writes": [_mutation_as_dict(mutation) for mutation in self.mutations],
            "guarded_whole": self.guarded_whole,
            "journal": None if self.past is None else [write.as_dict() for write in self.past.writes],
            "journal_damaged": None if self.past is None else self.past.damaged,
        }


async def explain(
    primary: Source,
    replica: Source,
    key: bytes,
    *,
    comparison: Comparison | None = None,
    journal: str | Path | None = None,
    access: S3Access | None = None,
    clock: Clock | None = None,
) -> Explanation:
    """Tell the story of one record by strong reads: primary, settle, replica, primary. Nothing is written.

    Args:
        primary: what is right.
        replica: what is checked.
        key: the canonical key, as ``table.keys.parse`` returns it.
        comparison: when two values count as the same.
        journal: a repair's or an undo's journal, a path or an S3 place; what it tells of the record is told too.
        access: how S3 is reached; by default as the environment says.
        clock: where time comes from.

    Raises:
        UsageError: the tables' keys differ, or there is no such journal of the replica.
        ServiceError: a read failed for good.

    Example:
        >>> told = await explain(primary, replica, primary.keys.parse('{"id":"abc"}'))
        ... print(told.cause, [difference.spelled for difference in told.differences])
    """
    check_comparable(primary, replica)
    past = None if journal is None else await read_past(journal, replica, key, access)
    run = Run.of(primary, replica, comparison=comparison, clock=clock)
    [verdict] = await confirm(run, [Candidate(key, 0, 0, "primary")])
    sides = _side(primary, verdict.primary), _side(replica, verdict.replica)
    found, now = verdict.discrepancy, run.clock.now()
    if found is None:
        return Explanation(*sides, record_diff(run, verdict), now, verdict.looks, past=past)
    ignored = run.comparison.ignore
    mutations = plan(found, ignored) if found.state is State.FOUND else ()
    version, names, places = None, None, []
    if isinstance(found, Different):
        images = found.primary, found.replica
        version, names = version_order(*images, ignored), changes(*images, ignored)
        places = path_changes(*images, ignored)
    return Explanation(
        *sides,
        record_diff(run, verdict),
        now,
        verdict.looks,
        version=version if found.state is State.FOUND else None,
        names=names,
        differences=places[:MOST_DIFFERENCES],
        more_differences=max(0, len(places) - MOST_DIFFERENCES),
        settings=_setting_hints(primary, replica, found, now),
        mutations=mutations,
        guarded_whole=all(is_whole(mutation, replica.settings.schema) for mutation in mutations),
        past=past,
    )


def _side(source: Source, image: bytes | None) -> SideOfRecord:
    settings = source.settings
    return SideOfRecord(
        label=source.label,
        image=image,
        size=None if image is None else item_size(image),
        ttl_attribute=settings.ttl_attribute,
        ttl_known=settings.ttl_known,
        expires=expiry(image, settings.ttl_attribute),
    )


# ── What the tables' settings could explain ─────────────────────────────────────────────────────────


def _setting_hints(primary: Source, replica: Source, found: Discrepancy, now: float) -> list[str]:
    """Say which settings of the tables could explain drift, one sentence each."""
    if found.state is not State.FOUND:
        return []
    return [*_ttl_hints(primary, replica, found, now), *_stream_hints(primary)]


def _ttl_hints(primary: Source, replica: Source, found: Discrepancy, now: float) -> list[str]:
    """Say when one side's TTL deletes what the other side's does not."""
    ours, theirs = primary.settings.ttl_attribute, replica.settings.ttl_attribute
    if ours == theirs:
        return []
    if isinstance(found, Missing) and is_expired(found.primary, theirs, now):
        past = f"By the replica's TTL attribute \"{theirs}\", which is not the primary's, the item is past its time"
        return [f"{past}: the replica may have deleted it, and would do so again."]
    if isinstance(found, Extraneous) and ours is not None and replica.settings.ttl_known:
        alone = f'The replica does not expire items by "{ours}" as the primary does'
        return [f"{alone}: what the primary's TTL deletes stays there unless that delete is replicated."]
    return []


def _stream_hints(primary: Source) -> list[str]:
    view = primary.settings.stream_view
    if view is None:
        return ["The primary's stream is off: whatever should follow its changes is told of none."]
    if view in _NO_IMAGES:
        return [
            f"The primary's stream carries {_NO_IMAGES[view]} ({view}): who follows it cannot copy items from it."
        ]
    return []


# ── As JSON ─────────────────────────────────────────────────────────────────────────────────────────


def _side_as_dict(side: SideOfRecord) -> dict[str, Any]:
    date = side.expires_at
    return {
        "table": side.label,
        "item": None if side.image is None else decode_image(side.image),
        "size": side.size,
        "ttl_attribute": side.ttl_attribute,
        "ttl_known": side.ttl_known,
        "expires": None if date is None else date.isoformat(),
    }


def _mutation_as_dict(mutation: Mutation) -> dict[str, Any]:
    match mutation:
        case Put():
            return {"write": "put", "condition": {"absent": True}}
        case Patch(_, assign, remove, precondition):
            return {
                "write": "patch",
                "set": dict(assign),
                "remove": list(remove),
                "condition": {"attributes": dict(precondition.expected)},
            }
        case Delete(_, precondition):
            return {"write": "delete", "condition": {"attributes": dict(precondition.expected)}}
