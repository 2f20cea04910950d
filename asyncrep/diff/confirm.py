"""Confirms candidates by strong reads: P1, settle, R, P2; only P1 = P2 ≠ R is drift.

The side that is read twice is the one that *leads*: the primary, whose changes reach the replica a little later.
A side that is fixed, as a backup is, is never read again: what the join met is what it has. Then there is nothing
to settle either, and one strong read of the other side is the truth about both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from asyncrep.diff.cause import likely_cause
from asyncrep.diff.expiry import is_expired
from asyncrep.items.equality import same_item
from asyncrep.model import Different, State, discrepancy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncrep.diff.run import Run
    from asyncrep.model import Discrepancy, Side, Source


class Images(NamedTuple):
    """What a join met on either side; None where it met nothing."""

    primary: bytes | None
    replica: bytes | None


class Candidate(NamedTuple):
    """A record to be confirmed: its key, the segment it was met in, and about how many bytes it has.

    ``met_on`` says whose walk met it. The primary's tells missing and different, the replica's extraneous,
    so that a pair that each of them meets is told once; a pair met on both at once is told whatever it is.
    ``images`` are known only where a side is fixed.
    """

    key: bytes
    segment: int
    size: int
    met_on: Side | Literal["both"]
    images: Images | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What confirmation makes of a candidate.

    Attributes:
        primary: the primary's image, as read last.
        replica: the replica's image.
        discrepancy: in state found, in_flight or expired; None when both sides are equal after all.
        looks: how often it was looked at. The item of the side that leads changed during each but the last.
    """

    candidate: Candidate
    primary: bytes | None
    replica: bytes | None
    discrepancy: Discrepancy | None
    looks: int = 1

    @property
    def size(self) -> int:
        """The bytes of both images."""
        return len(self.primary or b"") + len(self.replica or b"")


async def confirm(run: Run[Any], candidates: Sequence[Candidate]) -> list[Verdict]:
    """Judge candidates (distinct keys), again and again for those that keep changing on the side that leads."""
    verdicts: list[Verdict] = []
    pending = list(candidates)
    for tries_left in reversed(range(run.comparison.tries)):
        looked = await _look(run, pending)
        moving = []
        for candidate in pending:
            key = candidate.key
            looks = run.comparison.tries - tries_left
            verdict = _judge(run, candidate, looked.primary.get(key), looked.replica.get(key), looks)
            if verdict.discrepancy is None or same_side(run, looked.before.get(key), looked.after.get(key)):
                verdicts.append(verdict)
            elif tries_left:
                moving.append(candidate)
            else:
                reason = f"The {run.leads}'s item changed during each of {run.comparison.tries} looks at it."
                verdicts.append(
                    replace(verdict, discrepancy=verdict.discrepancy.moved(State.IN_FLIGHT, reason))
                )
        if not moving:
            break
        pending = moving
    return verdicts


class _Looked(NamedTuple):
    """One look at both sides, and at the side that leads before and after."""

    before: Mapping[bytes, bytes]
    after: Mapping[bytes, bytes]
    primary: Mapping[bytes, bytes]
    replica: Mapping[bytes, bytes]


async def _look(run: Run[Any], candidates: Sequence[Candidate]) -> _Looked:
    before = await _read(run, run.leads, candidates)
    if not run.fixed:
        await run.clock.sleep(run.comparison.settle)
    if run.leads == "primary":
        replica = await _read(run, "replica", candidates)
        after = primary = before if "primary" in run.fixed else await _read(run, "primary", candidates)
    else:
        primary = await _read(run, "primary", candidates)
        after = replica = await _read(run, "replica", candidates)
    return _Looked(before, after, primary, replica)


async def _read(run: Run[Any], side: Side, candidates: Sequence[Candidate]) -> Mapping[bytes, bytes]:
    """Read one side strongly consistently; of a fixed one the join has met what there is."""
    if side not in run.fixed:
        source = run.primary if side == "primary" else run.replica
        return await read_strongly(source, [candidate.key for candidate in candidates])
    met = {candidate.key: getattr(candidate.images, side) for candidate in candidates}
    return {key: image for key, image in met.items() if image is not None}


async def read_strongly(source: Source, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """Read records strongly consistently."""
    found = await source.get(keys, consistent=True)
    return {key: bytes(image) for key, image in found.items()}


def same_side(run: Run[Any], left: bytes | None, right: bytes | None) -> bool:
    """Tell whether two reads of a record are equal; two absences are."""
    if left is None or right is None:
        return left is right
    return same_item(left, right, run.comparison.ignore)


def _judge(
    run: Run[Any], candidate: Candidate, primary: bytes | None, replica: bytes | None, looks: int
) -> Verdict:
    if same_side(run, primary, replica):
        return Verdict(candidate, primary, replica, None, looks)
    found = discrepancy(candidate.key, primary, replica, candidate.segment)
    attribute = _expired_by(run, primary, replica)
    if attribute is not None:
        reason = f'Its TTL attribute "{attribute}" is past.'
        return Verdict(candidate, primary, replica, found.moved(State.EXPIRED, reason), looks)
    return Verdict(candidate, primary, replica, with_cause(run, found), looks)


def _expired_by(run: Run[Any], primary: bytes | None, replica: bytes | None) -> str | None:
    """Return the TTL attribute by which a record that differs counts as expired; None where it does not.

    What only the replica has is deleted by the replica's own TTL or not at all: then a delete was missed. What a
    backup says of an item is old: it is no judge of one that a table still has. Of two backups the one that lacks
    an item has lost it by the time that it tells of, or was to have it; what both have both must be about to lose.
    """
    of_primary = primary, run.primary.settings.ttl_attribute
    of_replica = replica, run.replica.settings.ttl_attribute
    if primary is None:
        judges = [(*of_replica, _as_of(run, "primary"))]
    elif replica is None:
        judges = [(*of_primary, _as_of(run, "replica"))]
    elif run.as_of:
        judges = [(*of_primary, _as_of(run, "primary")), (*of_replica, _as_of(run, "replica"))]
    else:
        judges = [(*(of_replica if run.fixed else of_primary), run.clock.now())]
    is_over = all(is_expired(image, attribute, now) for image, attribute, now in judges)
    return judges[0][1] if is_over else None


def _as_of(run: Run[Any], side: Side) -> float:
    told = run.as_of.get(side)
    return run.clock.now() if told is None else told


def with_cause(run: Run[Any], found: Discrepancy) -> Discrepancy:
    """Return confirmed drift with its likely cause.

    Where one side is a backup nothing was missed on the way from one to the other: only versions tell something.
    """
    if run.about_backup and not isinstance(found, Different):
        return found
    ttl = run.primary.settings.ttl_attribute
    return replace(found, cause=likely_cause(found, ttl, run.clock.now(), run.comparison.ignore))
