"""Fills new destinations and follows the stream from before that, so that neither undoes the other.

The stream is held: its leases are made first and set aside, so that nothing is applied while the items are
copied. Copies are put only where there is nothing, or in bulk into an empty table. Then the task *catches up*:
as long as a shard is not at its tip, a record only says which item was touched, and what is written is the
item as a strong read of the source shows it now. So nothing older than a copy is ever written over it, and
whatever happened during the copying is seen to. From the tip on, records are applied as they are.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asyncrep.errors import LeaseLostError, ServiceError, ThrottledError, UnreachableError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.permission import permitted_by
from asyncrep.flow.tasks import beside, side_by_side
from asyncrep.options import Limits
from asyncrep.progress import Note, Silent
from asyncrep.repair.backfill import backfill
from asyncrep.replicate.held import HeldLease
from asyncrep.replicate.selected import SelectedSource
from asyncrep.replicate.shards import check_same, is_copying, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.lease import Lease
    from asyncrep.aws.leases import LeaseTable
    from asyncrep.flow.clock import Clock
    from asyncrep.model import Destination, TableSettings
    from asyncrep.progress import Observer
    from asyncrep.replicate.selection import Selection
    from asyncrep.replicate.worker import StreamOf

RETENTION_HOURS = 24
"""How long a stream keeps its records."""

LONGEST_SECONDS = 18 * 3600.0
"""What copying may take by estimate: well inside the retention, as sizes are hours old and tables throttle."""

_MARGIN_SECONDS = 2 * 3600.0
_ITEMS_PER_SECOND = 20_000  # what one core copies, about half of what was measured
_OBJECTS_PER_SECOND = 1_000  # what one core puts into S3, likewise
_READ_UNIT_BYTES = 4096
_WRITE_UNIT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class CopyEstimate:
    """How long copying a table will take, by what DescribeTable says.

    Attributes:
        items: how many, as of some hours ago.
        seconds: how long.
        bound: what takes the time, as a sentence names it.
    """

    items: int
    seconds: float
    bound: str

    def check(self) -> None:
        """Refuse copying that cannot end well before the stream forgets when it began.

        Raises:
            UsageError: with the figures.
        """
        if self.seconds > LONGEST_SECONDS:
            raise UsageError(
                f"Copying {self.items:,} items takes about {self.seconds / 3600:,.0f} hours, bound by {self.bound}; "
                f"the stream keeps its records for {RETENTION_HOURS} hours, and {LONGEST_SECONDS / 3600:.0f} are the "
                "most that leave room. Raise that bound, or fill the destination from an export first."
            )


def estimate_copy(
    source: TableSettings, destinations: Sequence[TableSettings], limits: Limits | None = None
) -> CopyEstimate:
    """Estimate how long copying a table takes, into all destinations, one after the other. Pure."""
    limits = limits or Limits()
    items = source.item_count
    size = source.size_bytes / items if items else 0.0
    reading = limits.within(source.capacity).read_units or source.capacity.read_units
    folders = sum(each.is_folder for each in destinations)
    tables = [each for each in destinations if not each.is_folder]
    bounds = [
        (
            items / _ITEMS_PER_SECOND * len(tables) + items / _OBJECTS_PER_SECOND * folders,
            "what one process can copy",
        ),
        (
            len(destinations) * 0.5 * source.size_bytes / _READ_UNIT_BYTES / reading,
            f"{reading:,.0f} read units a second",
        ),
    ]
    units = items * max(math.ceil(size / _WRITE_UNIT_BYTES), 1)
    writing = [limits.within(each.capacity).write_units or each.capacity.write_units for each in tables]
    if writing:
        bounds.append(
            (
                sum(units / each for each in writing),
                f"{min(writing):,.0f} write units a second of a destination",
            )
        )
    seconds, bound = max(bounds)
    return CopyEstimate(items, seconds, bound)


async def bootstrap(
    stream: StreamOf,
    destinations: Sequence[Destination],
    leases: LeaseTable,
    *,
    worker: str,
    task: tuple[str, str],
    selection: Selection,
    limits: Limits | None = None,
    failover: float = 60.0,
    force: bool = False,
    observer: Observer | None = None,
    clock: Clock | None = None,
) -> None:
    """Hold a stream and fill the destinations of a task, unless that was done before or another worker does it.

    Args:
        stream: what is to be followed afterwards.
        destinations: what is filled, one after the other.
        leases: the task's lease table; made if there is none.
        worker: a name that no other worker has.
        task: the source and the destinations, as leases name them.
        selection: what is copied, and how.
        limits: how hard to push.
        failover: seconds after which the work of a worker that gives no sign of life is taken over.
        force: fill even a member of a global table.
        observer: is told how it goes.
        clock: where time comes from.

    Raises:
        UsageError: copying would take too long, or the lease table is another task's.
        IncompleteRunError: a copy could not be made; the same call goes on.
        LeaseLostError: another worker has taken the work over.
    """
    observer, clock = observer or Silent(), clock or SystemClock()
    estimate = estimate_copy(stream.table.settings, [table.settings for table in destinations], limits)
    waited = False
    while True:
        aside = await _set_aside(stream, leases, task, estimate, clock)
        if not aside:
            if not waited:
                observer.notice(
                    Note("The task goes on where it was, and nothing is copied; --restart copies again.")
                )
            return
        claim = await _claim(leases, aside, worker, failover, clock)
        if claim is not None:
            break
        if not waited:
            observer.notice(Note("Another worker is copying the items; this one waits until that is done."))
        waited = True
    try:
        async with beside(_ours(claim)), beside(_kept(claim)):
            source = stream.table if selection.copies_everything else SelectedSource(stream.table, selection)
            for destination in destinations:
                with permitted_by(lambda: _check_claim(claim)):
                    report = await backfill(
                        source, destination, limits=limits, force=force, observer=observer, clock=clock
                    )
                if report.failed:
                    observer.notice(Note(_refused(report.failed, destination)))
            await _let_follow(leases, claim)
    finally:
        with suppress(LeaseLostError, ServiceError):
            await claim.release()


def _refused(items: int, destination: Destination) -> str:
    tells = "diff-backup" if destination.settings.is_folder else "diff-tables"
    return f"{items:,} items are refused by {destination.label} and were not copied; {tells} tells which."


async def _set_aside(
    stream: StreamOf, leases: LeaseTable, task: tuple[str, str], estimate: CopyEstimate, clock: Clock
) -> list[Lease]:
    """Make the leases of a new task, set aside; return those that are, none if the task is past that."""
    shards = await stream.shards()
    if not shards:
        raise UsageError(f"The stream of {stream.table.label} lists no shards yet; try again in a minute.")
    await leases.create()
    known = await leases.list()
    check_same(known, {shard.id for shard in shards}, *task)
    if known and not is_copying(known):
        return []
    if not known:
        estimate.check()
    since = min((lease.copying_since for lease in known if lease.copying_since), default=int(clock.now()))
    passed = clock.now() - since
    if passed + estimate.seconds > RETENTION_HOURS * 3600 - _MARGIN_SECONDS:
        raise UsageError(
            f"Copying began {passed / 3600:.0f} hours ago, and what happened then is soon forgotten by the stream: "
            "add --restart to begin again."
        )
    source, destinations = task
    for generation in plan(shards, known, "trim-horizon").add:
        await side_by_side(
            leases.add(replace(lease, source=source, destinations=destinations, copying_since=since))
            for lease in generation
        )
    made = await leases.list()
    return made if is_copying(made) else []


async def _claim(
    leases: LeaseTable, aside: Sequence[Lease], worker: str, failover: float, clock: Clock
) -> HeldLease | None:
    """Take the first of the leases that are set aside: its owner does the copying. None if another lives."""
    first = min(aside, key=lambda lease: lease.key)
    if first.owner is not None:
        await clock.sleep(failover)
        now = await leases.get(first.key)
        if now is None or now.counter != first.counter:
            return None
    before = clock.monotonic()
    taken = await leases.take(first, worker)
    if taken is None:
        return None
    return HeldLease(leases, taken, clock, failover, renewed_at=before, begins_at=before)


async def _ours(claim: HeldLease) -> None:
    await claim.until_doubtful()
    _check_claim(claim)


def _check_claim(claim: HeldLease) -> None:
    if not claim.is_mine:
        raise LeaseLostError("Another worker may have taken over the copying of the items.")


async def _kept(claim: HeldLease) -> None:
    while True:
        await claim.until_renewal()
        try:
            await claim.renew()
        except (ThrottledError, UnreachableError):
            continue  # it is tried again while the lease lasts


async def _let_follow(leases: LeaseTable, claim: HeldLease) -> None:
    """Let the shards be followed. The first lease says that the copy is whole; workers see to what is left."""
    await claim.begin_catching_up()
    for lease in await leases.list():
        if lease.copying_since is not None:
            await leases.begin_catching_up(lease)
