"""The report of a run: what was seen, what was wrong, what became of it, and what it took."""

from __future__ import annotations

from copy import copy
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from asyncrep.model import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncrep.model import Discrepancy


_NO_DRIFT = frozenset({State.IN_FLIGHT, State.EXPIRED})
_NEVER_RESTORED = frozenset({"primary", "replica", "sampled", "slowed_to", "complete"})


@dataclass(slots=True)
class Sampled:
    """What a sample showed.

    Attributes:
        segments: segments that were chosen; a complete run has looked at all of them.
        of: segments there are.
        drifted: those of the chosen in which discrepancies were confirmed, whether or not they were repaired.
        at_most: the share of all segments that held any, at most, with 95 % confidence; None for an
            incomplete run, which proves nothing.
    """

    segments: int
    of: int
    drifted: int = 0
    at_most: float | None = None


@dataclass(slots=True)
class Report:
    """The counts of one run; they grow while it runs. Each pair of items counts once.

    ``missing``, ``different`` and ``extraneous`` are confirmed drift, whether or not it was repaired
    since. ``settled``, ``in_flight`` and ``expired`` are pairs that looked different and are no drift.

    Attributes:
        settled: the scan said different, the confirmation said equal.
        segment: the only segment that was looked at; None for all of them.
        sampled: what a sample showed; None for a check of everything.
        deleted: those of the repaired that only the replica had.
        present: items that a backfill left alone because the replica had one under the key.
        changed: records of a stored diff that are not what was reviewed any more, and were left alone; on
            those that count as ``settled`` too the sides agree by now.
        read_units, write_units: capacity units as the service counted them, both tables together.
        slowed_to: the units per second that throttling leaves the slower table at this moment; None when
            it holds nothing back. For progress only, as it says nothing of a run that has ended.
        cost_usd: what these units cost on demand, by the prices of ``asyncrep.cost``; requests to
            provisioned tables are not billed one by one.
        complete: every segment was seen to its end.
        journal: where what was written is noted, for ``asyncrep undo``; None when nothing was.
        causes: how many discrepancies have which likely cause (``asyncrep.model.Cause``), also those in
            flight and expired; without those that a backfill tells, which judges none.
    """

    primary: str
    replica: str
    strategy: str = "batch-get"
    segments: int = 0
    scanned_primary: int = 0
    scanned_replica: int = 0
    matched: int = 0
    missing: int = 0
    different: int = 0
    extraneous: int = 0
    settled: int = 0
    in_flight: int = 0
    expired: int = 0
    repaired: int = 0
    deleted: int = 0
    contested: int = 0
    failed: int = 0
    skipped: int = 0
    changed: int = 0
    present: int = 0
    segment: int | None = None
    sampled: Sampled | None = None
    read_units: float = 0.0
    write_units: float = 0.0
    cost_usd: float = 0.0
    throttled: int = 0
    slowed_to: float | None = None
    seconds: float = 0.0
    complete: bool = False
    causes: dict[str, int] = field(default_factory=dict)
    journal: str | None = None

    @property
    def drift(self) -> int:
        """Confirmed discrepancies, repaired or not."""
        return self.missing + self.different + self.extraneous

    @property
    def remaining(self) -> int:
        """Confirmed discrepancies that are still there."""
        return self.drift - self.repaired

    @property
    def compared(self) -> int:
        """Pairs that were judged, each once."""
        return self.matched + self.settled + self.drift + self.in_flight + self.expired

    @property
    def unjudged(self) -> int:
        """Items of the primary that were seen and not judged, because the run ended before; an estimate."""
        if self.complete or self.strategy == "backfill":
            return 0
        judged = self.matched + self.settled + self.missing + self.different + self.in_flight + self.expired
        return max(0, self.scanned_primary - judged)

    def count(self, found: Discrepancy) -> None:
        """Count one discrepancy in its final state."""
        self._count_cause(found)
        if found.state is not State.FOUND:
            self._add(found.state.value)
        if found.state not in _NO_DRIFT:
            self._add(found.kind)
        self.deleted += found.state is State.REPAIRED and found.kind == "extraneous"

    def _add(self, count: str) -> None:
        setattr(self, count, getattr(self, count) + 1)

    def count_agreeing(self) -> None:
        """Count a record of a stored diff on which the sides agree by now: it is no drift any more."""
        self.settled += 1
        self.changed += 1

    def _count_cause(self, found: Discrepancy) -> None:
        if found.cause is not None:
            self.causes[found.cause.value] = self.causes.get(found.cause.value, 0) + 1

    def counts(self) -> dict[str, Any]:
        """Return everything that has been counted, for ``restore``."""
        return asdict(self)

    def restore(self, counts: Mapping[str, Any]) -> None:
        """Go on counting where another process left off."""
        for name in self.__slots__:
            if name in counts and name not in _NEVER_RESTORED:
                setattr(self, name, copy(counts[name]))
        if (sampled := counts.get("sampled")) is not None:
            self.sampled = Sampled(**sampled)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        names = [name for name in self.__slots__ if name not in {"slowed_to", "complete"}]
        values = {name: getattr(self, name) for name in names}
        position = names.index("matched")
        summary = {name: values[name] for name in names[:position]}
        summary["compared"] = self.compared
        summary["unjudged"] = self.unjudged
        summary |= {name: values[name] for name in names[position:]}
        summary["sampled"] = None if self.sampled is None else asdict(self.sampled)
        summary["causes"] = dict(self.causes)
        return summary | {"complete": self.complete}


@dataclass(slots=True)
class UndoReport:
    """The counts of one undo, in records; they grow while it runs.

    Attributes:
        undoes: the journal that is taken back.
        replica: the table that is written to.
        records: all that the journal has applied writes of, or such of which it is not known.
        pending: records that a dry run would take back.
        damaged: lines of the journal that cannot be read; what they told is not taken back.
        journal: where what the undo wrote is noted, None when it wrote nothing.
        complete: every record was seen to.
    """

    undoes: str
    replica: str
    dry_run: bool = False
    records: int = 0
    taken_back: int = 0
    pending: int = 0
    already: int = 0
    changed: int = 0
    unknown: int = 0
    failed: int = 0
    damaged: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    cost_usd: float = 0.0
    seconds: float = 0.0
    journal: str | None = None
    complete: bool = False

    @property
    def remaining(self) -> int:
        """Records and damaged lines that were not, or could not be, taken back."""
        return self.changed + self.unknown + self.failed + self.damaged

    def count(self, state: str) -> None:
        """Count one record by its state, see ``asyncrep.repair.take_back.UndoState``."""
        self.records += 1
        setattr(self, state, getattr(self, state) + 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary that ``--json`` prints."""
        return {name: getattr(self, name) for name in self.__slots__}
