"""Both strategies of a full check side by side, and which of them to take (pure: no I/O)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from asyncrep.cost.notes import notes_on
from asyncrep.cost.sums import Check, Sums, batch_get, dual_scan
from asyncrep.cost.tables import Drift, PlannedTable, assumed_drift, total_divergence
from asyncrep.options import Limits

if TYPE_CHECKING:
    from asyncrep.cost.prices import Prices, Rates

DRIFT = 0.01
"""The share of items that is taken to have drifted, when nobody says otherwise."""

_SAME_DOLLARS = 9  # decimals: sums of floats that differ by less are equal


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one strategy takes: with the assumed drift, and when the tables have no item in common."""

    strategy: Literal["batch-get", "dual-scan"]
    expected: Sums
    worst: Sums


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy, and in one sentence why it is the one to take."""

    strategy: Literal["batch-get", "dual-scan"]
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a full check would take.

    Attributes:
        drift_share: the share of items that is assumed to have drifted.
        drift: how many items that is, of each kind.
        segments: slices that each table is scanned in.
        estimates: one for each strategy, batch-get first.
        choice: which of them to take.
        rates: what the primary's and the replica's units and bytes cost.
        prices_as_of: the day of the prices, as ``2026-01-31``.
        prices_from: the user's own file of prices, None without one.
        notes: what is assumed, and what the reader should know, one sentence each.
    """

    primary: PlannedTable
    replica: PlannedTable
    drift_share: float
    drift: Drift
    segments: int
    estimates: tuple[Estimate, Estimate]
    choice: Choice
    rates: tuple[Rates, Rates]
    prices_as_of: str
    prices_from: str | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for programs; times are seconds, sizes bytes, dollars USD."""
        return {
            "primary": asdict(self.primary),
            "replica": asdict(self.replica),
            "drift_share": self.drift_share,
            "drift": asdict(self.drift),
            "segments": self.segments,
            "strategies": {
                estimate.strategy: {"expected": _sums(estimate.expected), "worst": _sums(estimate.worst)}
                for estimate in self.estimates
            },
            "strategy": self.choice.strategy,
            "reason": self.choice.reason,
            "prices": {
                "as_of": self.prices_as_of,
                "file": self.prices_from,
                "primary": asdict(self.rates[0]),
                "replica": asdict(self.rates[1]),
            },
            "notes": list(self.notes),
        }


def plan(
    primary: PlannedTable,
    replica: PlannedTable,
    prices: Prices,
    *,
    limits: Limits | None = None,
    drift: float = DRIFT,
) -> Plan:
    """Work out what a full check of both tables takes, with either strategy.

    Args:
        primary: the table that is right.
        replica: the table that is checked.
        prices: what units and bytes cost.
        limits: in how many segments it scans, and how many units per second it may use.
        drift: the share of items that is assumed to have drifted, a third of it of each kind.

    Raises:
        UsageError: ``drift`` is not within 0 and 1.
    """
    check = Check(primary, replica, limits or Limits(), prices)
    expected = assumed_drift(primary, replica, drift)
    estimates = _estimates(check, expected)
    return Plan(
        primary=primary,
        replica=replica,
        drift_share=drift,
        drift=expected,
        segments=check.segments,
        estimates=estimates,
        choice=_choice(check, *estimates),
        rates=(
            prices.rates(primary.region, primary.capacity.table_class),
            prices.rates(replica.region, replica.capacity.table_class),
        ),
        prices_as_of=prices.as_of.isoformat(),
        prices_from=prices.overridden_by,
        notes=tuple(notes_on(check, prices)),
    )


def choose(
    primary: PlannedTable,
    replica: PlannedTable,
    prices: Prices | None = None,
    *,
    limits: Limits | None = None,
    drift: float = DRIFT,
) -> Choice:
    """Choose the strategy of a full check: fewer dollars, then fewer units, then dual-scan.

    Takes what ``plan`` takes; without prices only the units count. It reads nothing: the tables may be as
    ``PlannedTable.described`` makes them.

    Raises:
        UsageError: ``drift`` is not within 0 and 1.
    """
    check = Check(primary, replica, limits or Limits(), prices)
    return _choice(check, *_estimates(check, assumed_drift(primary, replica, drift)))


def _estimates(check: Check, drift: Drift) -> tuple[Estimate, Estimate]:
    worst = total_divergence(check.primary, check.replica)
    return (
        Estimate("batch-get", batch_get(check, drift), batch_get(check, worst)),
        Estimate("dual-scan", dual_scan(check, drift), dual_scan(check, worst)),
    )


def _choice(check: Check, probing: Estimate, scanning: Estimate) -> Choice:
    if check.primary.items is None or check.replica.items is None:
        reason = "dual-scan, because it never needs more read units: nobody tells how large the tables are."
        return Choice("dual-scan", reason)
    costs = [
        (round(each.expected.dollars, _SAME_DOLLARS), each.expected.read_units)
        for each in (scanning, probing)
    ]
    if costs[0] <= costs[1]:
        return Choice("dual-scan", _why_scanning(scanning.expected, probing.expected))
    return Choice(
        "batch-get",
        f"batch-get costs {usd(probing.expected.dollars)}, dual-scan {usd(scanning.expected.dollars)}: "
        "less of the replica crosses from Region to Region.",
    )


def _why_scanning(scanning: Sums, probing: Sums) -> str:
    if scanning.read_units < probing.read_units:
        return (
            f"dual-scan needs {scanning.read_units:,.0f} read units, batch-get {probing.read_units:,.0f}: "
            "it probes for every item, and each probe is rounded up to 4 KB."
        )
    return (
        f"dual-scan needs as many read units as batch-get, {scanning.read_units:,.0f}, "
        "and less of this computer's time."
    )


def usd(amount: float) -> str:
    """Return an amount of dollars with as many decimals as say something: $12.30, $0.4200, < $0.0001."""
    if 0 < amount < 0.0001:
        return "< $0.0001"
    return f"${amount:,.4f}" if 0 < amount < 1 else f"${amount:,.2f}"


def _sums(sums: Sums) -> dict[str, Any]:
    return {**asdict(sums), "read_units": sums.read_units, "dollars": sums.dollars}
