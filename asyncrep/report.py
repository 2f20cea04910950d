"""The report of a run: what was seen, what was wrong, what became of it, and what it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from asyncrep.model import State

if TYPE_CHECKING:
    from asyncrep.model import Discrepancy


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
        present: items that a backfill left alone because the replica had one under the key.
        read_units, write_units: capacity units as the service counted them, both tables together.
        slowed_to: the units per second that throttling leaves the slower table at this moment; None when
            it holds nothing back. For progress only, as it says nothing of a run that has ended.
        cost_usd: what these units cost on demand, by the prices of ``asyncrep.cost``; requests to
            provisioned tables are not billed one by one.
        complete: every segment was seen to its end.
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
    contested: int = 0
    failed: int = 0
    skipped: int = 0
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
        match found.state:
            case State.IN_FLIGHT:
                self.in_flight += 1
                return
            case State.EXPIRED:
                self.expired += 1
                return
            case State.REPAIRED:
                self.repaired += 1
            case State.CONTESTED:
                self.contested += 1
            case State.FAILED:
                self.failed += 1
            case State.SKIPPED | State.CHANGED:
                self.skipped += 1
            case State.FOUND:
                pass
        setattr(self, found.kind, getattr(self, found.kind) + 1)

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
        return summary | {"complete": self.complete}
