"""Confirms candidates by strong reads: P1, settle, R, P2; only P1 = P2 ≠ R is drift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from asyncrep.diff.cause import likely_cause
from asyncrep.diff.expiry import is_expired
from asyncrep.items.equality import same_item
from asyncrep.model import State, discrepancy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.diff.run import Run
    from asyncrep.model import Discrepancy, Side, Source


class Candidate(NamedTuple):
    """A record to be confirmed: its key, the segment it was met in, and about how many bytes it has.

    ``met_on`` says whose walk met it. The primary's tells missing and different, the replica's extraneous,
    so that a pair that each of them meets is told once; a pair met on both at once is told whatever it is.
    """

    key: bytes
    segment: int
    size: int
    met_on: Side | Literal["both"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What confirmation makes of a candidate.

    Attributes:
        primary: the primary's image, as read last.
        replica: the replica's image.
        discrepancy: in state found, in_flight or expired; None when both sides are equal after all.
        looks: how often it was looked at. The primary's item changed during each look before the last.
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
    """Judge candidates (distinct keys), again and again for those whose primary keeps changing."""
    verdicts: list[Verdict] = []
    pending = list(candidates)
    for tries_left in reversed(range(run.comparison.tries)):
        keys = [candidate.key for candidate in pending]
        before = await read_strongly(run.primary, keys)
        await run.clock.sleep(run.comparison.settle)
        replica = await read_strongly(run.replica, keys)
        after = await read_strongly(run.primary, keys)
        moving = []
        for candidate in pending:
            key = candidate.key
            looks = run.comparison.tries - tries_left
            verdict = _judge(run, candidate, after.get(key), replica.get(key), looks)
            if verdict.discrepancy is None or same_side(run, before.get(key), after.get(key)):
                verdicts.append(verdict)
            elif tries_left:
                moving.append(candidate)
            else:
                reason = f"The primary's item changed during each of {run.comparison.tries} looks at it."
                verdicts.append(
                    replace(verdict, discrepancy=verdict.discrepancy.moved(State.IN_FLIGHT, reason))
                )
        if not moving:
            break
        pending = moving
    return verdicts


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
    # What only the replica has is deleted by the replica's own TTL or not at all: then a delete was missed.
    judged_by, settings = (
        (replica, run.replica.settings) if primary is None else (primary, run.primary.settings)
    )
    if is_expired(judged_by, settings.ttl_attribute, run.clock.now()):
        reason = f'Its TTL attribute "{settings.ttl_attribute}" is past.'
        return Verdict(candidate, primary, replica, found.moved(State.EXPIRED, reason), looks)
    return Verdict(candidate, primary, replica, with_cause(run, found), looks)


def with_cause(run: Run[Any], found: Discrepancy) -> Discrepancy:
    """Return confirmed drift with its likely cause."""
    ttl = run.primary.settings.ttl_attribute
    return replace(found, cause=likely_cause(found, ttl, run.clock.now(), run.comparison.ignore))
