"""One record: how primary and replica differ on it, and bringing it in line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrep.diff.confirm import Candidate, confirm
from asyncrep.diff.run import Run, check_comparable
from asyncrep.items.equality import Wire, decode_image, is_compared, same_value
from asyncrep.model import State
from asyncrep.progress import Found
from asyncrep.repair.mend import mend
from asyncrep.repair.rules import check_writable, conclude_dry

if TYPE_CHECKING:
    from asyncrep.diff.confirm import Verdict
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.journal import Journal
    from asyncrep.model import Destination, Discrepancy, Source, WireValue
    from asyncrep.options import Comparison
    from asyncrep.progress import Event


@dataclass(frozen=True, slots=True)
class AttributePair:
    """One top-level attribute on both sides; None where a side lacks it.

    Attributes:
        compared: False for attributes that are ignored or DynamoDB's own.
        equal: whether DynamoDB would call the two values equal.
    """

    name: str
    primary: WireValue | None
    replica: WireValue | None
    compared: bool
    equal: bool


@dataclass(frozen=True, slots=True)
class RecordDiff:
    """One record on both sides, as strong reads saw it.

    Attributes:
        discrepancy: how the sides differ; None when they agree (also that there is no such record).
        attributes: every attribute of either side, in name order.
    """

    key: bytes
    discrepancy: Discrepancy | None
    attributes: list[AttributePair]

    @property
    def exists(self) -> bool:
        """Whether either side has the record."""
        return bool(self.attributes)


async def diff_record(
    primary: Source,
    replica: Source,
    key: bytes,
    *,
    comparison: Comparison | None = None,
    clock: Clock | None = None,
) -> RecordDiff:
    """Compare one record, attribute by attribute, by strong reads: primary, settle, replica, primary.

    Args:
        primary: what is right.
        replica: what is checked.
        key: the canonical key, as ``table.keys.parse`` returns it.
        comparison: when two values count as the same.
        clock: where time comes from.

    Raises:
        UsageError: the tables' keys differ.
        ServiceError: a read failed for good.
    """
    check_comparable(primary, replica)
    run = Run.of(primary, replica, comparison=comparison, clock=clock)
    [verdict] = await confirm(run, [Candidate(key, 0, 0, "primary")])
    return record_diff(run, verdict)


async def replicate_record(
    primary: Source,
    replica: Destination,
    key: bytes,
    *,
    comparison: Comparison | None = None,
    force: bool = False,
    dry_run: bool = False,
    clock: Clock | None = None,
    journal: Journal | None = None,
) -> Discrepancy | None:
    """Bring one record of the replica in line with the primary: put, patch or delete it.

    The write is guarded, verified and noted in ``journal`` as in ``repair``.

    Returns:
        The discrepancy in its final state, None when the sides agreed already. With ``dry_run`` it is in
        state found, and says what would be done.

    Raises:
        UsageError: as for ``repair``. Nothing was written.
        ServiceError: a read failed for good, or the table cannot be written to at all.
    """
    check_comparable(primary, replica)
    await check_writable(primary, replica, force=force)
    ended = _Last()
    run = Run.of(primary, replica, comparison=comparison, observer=ended, clock=clock)
    run.journal = journal
    [verdict] = await confirm(run, [Candidate(key, 0, 0, "primary")])
    found = verdict.discrepancy
    if found is None or found.state is not State.FOUND:
        return found
    if dry_run:
        conclude_dry(run, [found])
    else:
        await mend(run, [found], deleting=True)
    return ended.discrepancy


class _Last:
    """Keeps the discrepancy that was concluded last."""

    discrepancy: Discrepancy | None = None

    def notice(self, event: Event) -> None:
        """Keep a discrepancy."""
        if isinstance(event, Found):
            self.discrepancy = event.discrepancy


def record_diff(run: Run[Any], verdict: Verdict) -> RecordDiff:
    """Return what confirmation saw of a record, attribute by attribute."""
    return RecordDiff(
        verdict.candidate.key, verdict.discrepancy, _pairs(run, verdict.primary, verdict.replica)
    )


def _pairs(run: Run[Any], primary: bytes | None, replica: bytes | None) -> list[AttributePair]:
    ours: Wire = decode_image(primary) if primary is not None else {}
    theirs: Wire = decode_image(replica) if replica is not None else {}
    return [
        AttributePair(
            name=name,
            primary=ours.get(name),
            replica=theirs.get(name),
            compared=is_compared(name, run.comparison.ignore),
            equal=name in ours and name in theirs and same_value(ours[name], theirs[name]),
        )
        for name in sorted(ours.keys() | theirs.keys())
    ]
