"""What one run shares: both sides, its limits, report and observer; and the checks before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from asyncrep.cost.account import check_budget, open_account
from asyncrep.cost.plan import choose
from asyncrep.cost.prices import load_prices
from asyncrep.cost.tables import PlannedTable
from asyncrep.diff.sample import most_drifted, sampled_segments, tiny_segments
from asyncrep.diff.track import Resumed, Track
from asyncrep.errors import UsageError
from asyncrep.flow.clock import Clock, SystemClock
from asyncrep.flow.memory import Ledger
from asyncrep.flow.purse import Account, Purse
from asyncrep.model import Meter, Segment, Source, TableSettings
from asyncrep.options import Comparison, Limits, Sample, Strategy, check_strategy
from asyncrep.progress import Advanced, Found, Note, Observer, PassName, RunStarted, Silent
from asyncrep.report import Report, Sampled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncrep.cost.prices import Prices
    from asyncrep.jobs.journal import Journal
    from asyncrep.jobs.mark import Mark
    from asyncrep.model import Discrepancy, Side

_CONFIRMING_BYTES = 48 * 1024 * 1024
_SEGMENT_BYTES = 128 * 1024 * 1024
_SEGMENT_ITEMS = 50_000  # emulators tell no sizes
_DEFAULT_SEGMENTS = range(4, 33)
_NO_EXPIRY = "The credentials may not read the TTL settings of {}: none of its items counts as expired."

HASH_JOIN: Literal["hash-join"] = "hash-join"
"""The strategy of checks in which a side is a backup; see ``asyncrep.backup.hash_join``."""

R = TypeVar("R", bound=Source)


@dataclass(slots=True)
class Run(Generic[R]):
    """One run over two sources.

    Attributes:
        segments: the slices this run scans; all of a table's or a single one.
        accounts: what a unit of either table costs, and the purse they share, which knows what other
            processes spent as well.
        notes: what the user should know before it begins.
        elsewhere: what other processes consumed for this run.
        track: knows what was begun and is not decided.
        resumable: a job is kept of it: another process can go on with what it leaves undecided.
        memory: bounds the images of records that are being confirmed or wait for who is told of them.
        journal: where writes that change or delete something are noted before they are sent.
        fixed: sides that cannot change and are not read again, as a backup.
        as_of: of two backups, the moment up to which each tells of its table, in seconds since the epoch; None for now.
        leads: the side whose changes reach the other one a little later.
    """

    primary: Source
    replica: R
    limits: Limits
    comparison: Comparison
    strategy: str
    segments: list[Segment]
    report: Report
    observer: Observer
    clock: Clock
    memory: Ledger
    track: Track
    accounts: tuple[Account, Account]
    notes: Sequence[str] = ()
    elsewhere: Meter = field(default_factory=Meter)
    resumable: bool = False
    journal: Journal | None = None
    fixed: frozenset[Side] = frozenset()
    as_of: Mapping[Side, float | None] = field(default_factory=dict)
    leads: Side = "primary"
    _started: float = 0.0
    _drifted: set[int] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        primary: Source,
        replica: R,
        *,
        limits: Limits | None = None,
        comparison: Comparison | None = None,
        strategy: Strategy | Literal["hash-join"] = "auto",
        segments: Sequence[Segment] | None = None,
        sample: Sample | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
        resumed: Resumed | None = None,
    ) -> Run[R]:
        """Set up a run with a report at zero, or at what a run before it had counted.

        Args:
            primary: what is right.
            replica: what is checked or written.
            limits: how hard the run may push.
            comparison: when two items count as the same.
            strategy: how both sides are walked.
            segments: only these, all of one total; without them the whole tables.
            sample: only a random share of the tables.
            observer: is told how the run goes.
            clock: where time comes from.
            resumed: from where the run goes on; then the strategy and the segments are those of before.

        Raises:
            UsageError: there is no such strategy, the budget is too small for anything, segments and a
                sample are given, or a table is another one than before.
        """
        if strategy != HASH_JOIN:
            check_strategy(strategy)
        if segments and sample:
            raise UsageError("A sample chooses the segments itself: it does not go with a segment.")
        limits = limits or Limits()
        prices = load_prices()
        purse = Purse(limits.max_cost)
        accounts = (
            open_account(primary.settings, prices, purse),
            open_account(replica.settings, prices, purse),
        )
        notes = check_budget(limits.max_cost, accounts)
        clock = clock or SystemClock()
        if resumed is not None:
            _check_tables(resumed.mark, primary, replica)
            chosen: str = resumed.mark.strategy
            chosen_segments: Sequence[Segment] = _slices(resumed.mark)
        else:
            chosen = _cheaper(primary, replica, prices, limits) if strategy == "auto" else strategy
            chosen_segments = segments or _segments(primary.settings, limits, sample)
        total = chosen_segments[0].total
        if sample and resumed is None:
            notes += _sample_notes(primary, replica, len(chosen_segments), total)
        run = cls(
            primary=primary.limited(limits, accounts[0]),
            replica=replica.limited(limits, accounts[1]),
            limits=limits,
            comparison=comparison or Comparison(),
            strategy=chosen,
            segments=list(chosen_segments),
            report=Report(
                primary=primary.label,
                replica=replica.label,
                strategy=chosen,
                segments=total,
                segment=segments[0].index if segments and len(segments) == 1 else None,
                sampled=Sampled(len(chosen_segments), total) if sample else None,
            ),
            observer=observer or Silent(),
            clock=clock,
            memory=Ledger(_CONFIRMING_BYTES),
            track=Track(resumed),
            accounts=accounts,
            notes=notes,
            _started=clock.monotonic(),
        )
        if resumed is not None:
            run._go_on(resumed.mark)
        return run

    def _go_on(self, mark: Mark) -> None:
        """Count on from what a run before this one had counted."""
        self.report.restore(mark.counts)
        self._drifted |= set(mark.drifted)
        self._started -= self.report.seconds
        self.elsewhere = Meter(
            read_units=self.report.read_units,
            write_units=self.report.write_units,
            dollars=self.report.cost_usd,
            throttled=self.report.throttled,
        )

    def start(self, notes: Sequence[str] = ()) -> None:
        """Tell the observer that the run begins, and what is worth knowing before it does."""
        self.observer.notice(RunStarted(self.report))
        of_settings = [] if self.about_backup else setting_notes(self.primary, self.replica)
        for note in (*notes, *self.notes, *of_settings):
            self.observer.notice(Note(note))

    @property
    def about_backup(self) -> bool:
        """Whether one side, or both, is a backup."""
        return self.strategy == HASH_JOIN

    def estimate(self, settings: TableSettings) -> int | None:
        """Return about how many items this run will meet in a table; None when nobody knows."""
        share = len(self.segments) / self.segments[0].total
        return round(settings.item_count * share) or None

    def advance(self, name: PassName, items: int) -> None:
        """Bring the report up to date and tell the observer that ``items`` more are done with."""
        self.tally()
        self.observer.notice(Advanced(name, items))

    def count_scanned(self, side: Side, items: int, name: PassName | None = None) -> None:
        """Count items that a scan has delivered; ``name`` is the pass's, if it has not the side's."""
        if side == "primary":
            self.report.scanned_primary += items
        else:
            self.report.scanned_replica += items
        self.advance(name or side, items)

    def mark(self) -> Mark:
        """Say how far the run is, so that another process can go on from there."""
        self.tally()
        mark = self.track.mark()
        mark.tables = [self.primary.settings.table_id, self.replica.settings.table_id]
        mark.strategy = self.strategy
        mark.segments = [segment.index for segment in self.segments]
        mark.total = self.segments[0].total
        mark.counts = self.report.counts()
        for side in ("primary", "replica"):
            mark.counts[f"scanned_{side}"] -= self.track.ahead(side)  # they will be scanned again
        mark.drifted = sorted(self._drifted)
        if self.journal is not None:
            mark.writes[self.journal.by] = self.journal.n
        return mark

    def conclude(self, found: Discrepancy) -> None:
        """Tell the observer of a discrepancy that reached its final state, and count it.

        In this order: one whose line could not be written is not done with.
        """
        self.observer.notice(Found(found))
        drift = self.report.drift
        self.report.count(found)
        self.track.concluded(found.key)
        if self.report.drift > drift:
            self._drifted.add(found.segment)

    def close(self) -> None:
        """Bring the report up to date for good, and forget what was put aside."""
        self.tally()
        if self.journal is not None and self.journal.begun:
            self.report.journal = self.journal.place
        self.track.release()
        sampled = self.report.sampled
        if sampled is not None:
            sampled.drifted = len(self._drifted)
        if sampled is not None and self.report.complete:
            most = most_drifted(sampled.drifted, sampled.segments, sampled.of)
            sampled.at_most = most / sampled.of

    def tally(self) -> None:
        """Bring the units and the time in the report up to date."""
        meters = (self.primary.meter, self.replica.meter, self.elsewhere)
        self.report.read_units = sum(meter.read_units for meter in meters)
        self.report.write_units = sum(meter.write_units for meter in meters)
        self.report.cost_usd = sum(meter.dollars for meter in meters)
        self.report.throttled = sum(meter.throttled for meter in meters)
        slowed = [meter.slowed_to for meter in meters if meter.slowed_to is not None]
        self.report.slowed_to = min(slowed, default=None)
        self.report.seconds = self.clock.monotonic() - self._started


def _sample_notes(primary: Source, replica: Source, sampled: int, total: int) -> list[str]:
    """Say when looking at everything takes no more than the sample; nothing where nobody knows the sizes."""
    sides = [PlannedTable.described(side.settings, side.label) for side in (primary, replica)]
    if any(side.items is None for side in sides):
        return []
    part = sum(side.scan_units(total) for side in sides) * sampled / total
    whole = sum(side.scan_units(sensible_segments(primary.settings)) for side in sides)
    if part < whole:
        return []
    return [
        f"The tables are small: a check of everything takes about {whole:,.0f} read units, this sample about {part:,.0f}."
    ]


def _cheaper(
    primary: Source, replica: Source, prices: Prices, limits: Limits
) -> Literal["batch-get", "dual-scan"]:
    """Return the strategy that takes less, by what DescribeTable tells; see ``asyncrep.cost.plan``."""
    ours, theirs = (PlannedTable.described(side.settings, side.label) for side in (primary, replica))
    return choose(ours, theirs, prices, limits=limits).strategy


def _segments(settings: TableSettings, limits: Limits, sample: Sample | None) -> list[Segment]:
    if sample is None:
        return all_segments(limits.segments or sensible_segments(settings))
    return sampled_segments(sample, limits.segments or tiny_segments(settings))


def _check_tables(mark: Mark, *sides: Source) -> None:
    """Refuse to go on where a table is another one than before, though it has the name.

    Raises:
        UsageError: with its name.
    """
    for side, before in zip(sides, mark.tables, strict=False):
        now = side.settings.table_id
        if before is not None and now is not None and before != now:
            raise UsageError(
                f"{side.label} was created anew since the job began: remove the job, or choose another name."
            )


def _slices(mark: Mark) -> list[Segment]:
    return [Segment(index, mark.total) for index in mark.segments]


def all_segments(total: int) -> list[Segment]:
    """Return every segment of a table cut into ``total``."""
    return [Segment(index, total) for index in range(total)]


def sensible_segments(settings: TableSettings) -> int:
    """Choose a number of segments: about one for every 128 MB or 50,000 items, 4 to 32."""
    wanted = math.ceil(max(settings.size_bytes / _SEGMENT_BYTES, settings.item_count / _SEGMENT_ITEMS))
    return min(max(wanted, _DEFAULT_SEGMENTS.start), _DEFAULT_SEGMENTS.stop - 1)


def check_comparable(primary: Source, replica: Source) -> None:
    """Refuse to compare sources whose records cannot be matched.

    Raises:
        UsageError: the key schemas differ, or both are one table.
    """
    if replica.is_same_as(primary):
        raise UsageError(f"{primary.label} and {replica.label} are the same table.")
    ours, theirs = primary.settings.schema, replica.settings.schema
    if ours != theirs:
        raise UsageError(
            f"The tables have different keys and cannot be compared: {primary.label} has {ours}, "
            f"{replica.label} has {theirs}."
        )


def setting_notes(primary: Source, replica: Source) -> list[str]:
    """Say in what else than items the two tables differ, one sentence each."""
    ours, theirs = primary.settings, replica.settings
    if theirs.is_folder:  # it has nothing but items
        return [] if ours.ttl_known else [_NO_EXPIRY.format(primary.label)]
    notes = [
        f"Only the {side} has the index {', '.join(sorted(names))}."
        for side, names in (
            ("primary", ours.indexes - theirs.indexes),
            ("replica", theirs.indexes - ours.indexes),
        )
        if names
    ]
    notes += [
        _NO_EXPIRY.format(source.label) for source in (primary, replica) if not source.settings.ttl_known
    ]
    for what, mine, others in (
        ("TTL attribute", ours.ttl_attribute, theirs.ttl_attribute),
        ("stream", ours.stream_view, theirs.stream_view),
    ):
        if mine != others and ours.ttl_known and theirs.ttl_known:
            notes.append(
                f"The tables differ in their {what}: {mine or 'none'} here, {others or 'none'} in the replica."
            )
    return notes
