"""Capacity units, bytes, dollars and seconds of a full check, for each strategy (pure).

Sources: DynamoDB Developer Guide, "DynamoDB read and write operations" (what a scan, a batch and a missing
item take) and "DynamoDB item sizes and formats". All sums go by average sizes: a table of mostly small and
a few large items takes somewhat more probing than they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asyncrep.cost.tables import Drift

if TYPE_CHECKING:
    from asyncrep.cost.prices import Prices
    from asyncrep.cost.tables import PlannedTable
    from asyncrep.options import Limits

Bound = Literal["primary", "replica", "client"]
"""What a check waits for: the capacity of one of the tables, or this computer."""

DUAL_SCAN_ITEMS_PER_SECOND = 250_000
"""Pairs that one core joins: measured with items of about 400 bytes, on loopback."""

BATCH_GET_ITEMS_PER_SECOND = 45_000
"""Items that one core looks up on the other side: measured like the joining."""

KEY_WIRE_BYTES = 60
"""A key in an answer, as JSON: assumed, keys of one or two short attributes have about that."""

_EVENTUAL = 0.5
_GIGABYTE = 1e9
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Check:
    """A full check of two tables: everything the sums need but the strategy and the drift.

    Attributes:
        limits: in how many segments a table is scanned, and how many units per second may be used.
        prices: None when only units matter; every dollar is zero then.
    """

    primary: PlannedTable
    replica: PlannedTable
    limits: Limits
    prices: Prices | None = None

    @property
    def segments(self) -> int:
        """How many slices each table is scanned in."""
        return self.limits.segments or 1

    @property
    def crosses_regions(self) -> bool:
        """Whether what the replica answers leaves its Region; asyncrep is taken to run in the primary's."""
        return self.primary.region != self.replica.region

    def read_rate(self, table: PlannedTable) -> float:
        """Return the read units per second that may be used of a table."""
        return self.limits.within(table.capacity).read_units or table.capacity.read_units


@dataclass(frozen=True, slots=True)
class ReadUnits:
    """What is read of one table, in read units.

    Attributes:
        scan: its own items, page by page.
        probes: the other table's items, looked up in it.
        confirmation: strong reads of what seems to have drifted: the primary twice, the replica once.
    """

    scan: float
    probes: float
    confirmation: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.scan + self.probes + self.confirmation


@dataclass(frozen=True, slots=True)
class Sums:
    """What one strategy takes.

    Attributes:
        primary: read units of the primary.
        replica: read units of the replica.
        transfer_bytes: what the replica answers to another Region; zero within one.
        read_dollars: for the read units of both tables. A provisioned table's are paid by the hour: zero.
        transfer_dollars: for ``transfer_bytes``.
        write_units: of the replica, if all drift is repaired.
        write_dollars: for the write units.
        seconds: how long the check takes, at least.
        bound: what takes that long.
    """

    primary: ReadUnits
    replica: ReadUnits
    transfer_bytes: float
    read_dollars: float
    transfer_dollars: float
    write_units: float
    write_dollars: float
    seconds: float
    bound: Bound

    @property
    def read_units(self) -> float:
        """Read units of both tables."""
        return self.primary.total + self.replica.total

    @property
    def dollars(self) -> float:
        """What the check costs, without any repair."""
        return self.read_dollars + self.transfer_dollars


@dataclass(frozen=True, slots=True)
class _Phase:
    """What happens at the same time: units of both tables, and items that pass through this computer."""

    primary: float
    replica: float
    items: int
    items_per_second: int

    def seconds(self, check: Check) -> tuple[float, Bound]:
        """Return how long it takes, and what takes that long."""
        waits: dict[Bound, float] = {
            "primary": self.primary / check.read_rate(check.primary),
            "replica": self.replica / check.read_rate(check.replica),
            "client": self.items / self.items_per_second,
        }
        bound = max(waits, key=lambda name: waits[name])
        return waits[bound], bound


def dual_scan(check: Check, drift: Drift) -> Sums:
    """Return what scanning both tables takes; only what meets no partner is probed."""
    ours, theirs = check.primary, check.replica
    confirmed = _confirmation(check, drift)
    primary = ReadUnits(
        ours.scan_units(check.segments), _probes(ours, found=0, absent=drift.extraneous), confirmed[0]
    )
    replica = ReadUnits(
        theirs.scan_units(check.segments), _probes(theirs, found=0, absent=drift.missing), confirmed[1]
    )
    answered = theirs.count * theirs.wire_size
    items = max(ours.count, theirs.count)
    phase = _Phase(primary.total, replica.total, items, DUAL_SCAN_ITEMS_PER_SECOND)
    return _sums(check, drift, (primary, replica), answered, [phase])


def batch_get(check: Check, drift: Drift) -> Sums:
    """Return what scanning each table takes, one after the other, and probing the other for every item."""
    ours, theirs = check.primary, check.replica
    found_there = max(ours.count - drift.missing, 0)
    found_here = max(theirs.count - drift.extraneous, 0)
    met_first = _confirmation(check, Drift(drift.missing, drift.different))
    met_second = _confirmation(check, Drift(extraneous=drift.extraneous))
    primary = ReadUnits(
        ours.scan_units(check.segments),
        _probes(ours, found=found_here, absent=drift.extraneous),
        met_first[0] + met_second[0],
    )
    replica = ReadUnits(
        theirs.scan_units(check.segments),
        _probes(theirs, found=found_there, absent=drift.missing),
        met_first[1] + met_second[1],
    )
    # Whole items come back from the probes, keys from the replica's own walk.
    answered = found_there * theirs.wire_size + theirs.count * KEY_WIRE_BYTES
    phases = [
        _Phase(
            primary.scan + met_first[0], replica.probes + met_first[1], ours.count, BATCH_GET_ITEMS_PER_SECOND
        ),
        _Phase(
            primary.probes + met_second[0],
            replica.scan + met_second[1],
            theirs.count,
            BATCH_GET_ITEMS_PER_SECOND,
        ),
    ]
    return _sums(check, drift, (primary, replica), answered, phases)


def _probes(table: PlannedTable, *, found: float, absent: float) -> float:
    """Return the units of eventually consistent probes; a missing item counts like a small one."""
    return _EVENTUAL * (found * table.units_per_read + absent)


def _confirmation(check: Check, drift: Drift) -> tuple[float, float]:
    """Return the units of both tables for reading what has drifted: primary, replica, primary, strongly."""
    there = (drift.missing + drift.different) * check.primary.units_per_read
    theirs = (drift.different + drift.extraneous) * check.replica.units_per_read
    return 2 * (there + drift.extraneous), theirs + drift.missing


def _sums(
    check: Check,
    drift: Drift,
    units: tuple[ReadUnits, ReadUnits],
    answered: float,
    phases: list[_Phase],
) -> Sums:
    primary, replica = units
    confirmed = (drift.different + drift.extraneous) * check.replica.wire_size
    transfer = answered + confirmed if check.crosses_regions else 0.0
    write_units = _write_units(check, drift)
    waits = [phase.seconds(check) for phase in phases]
    return Sums(
        primary=primary,
        replica=replica,
        transfer_bytes=transfer,
        read_dollars=_price(check, check.primary, "read") * primary.total / _MILLION
        + _price(check, check.replica, "read") * replica.total / _MILLION,
        transfer_dollars=_price(check, check.replica, "transfer") * transfer / _GIGABYTE,
        write_units=write_units,
        write_dollars=_price(check, check.replica, "write") * write_units / _MILLION,
        seconds=sum(seconds for seconds, _ in waits),
        bound=max(waits)[1],
    )


def _write_units(check: Check, drift: Drift) -> float:
    """Return the replica's units for putting, updating and deleting; an update counts the larger image."""
    ours, theirs = check.primary.units_per_write, check.replica.units_per_write
    return drift.missing * ours + drift.different * max(ours, theirs) + drift.extraneous * theirs


def _price(check: Check, table: PlannedTable, what: Literal["read", "write", "transfer"]) -> float:
    """Return USD per million units or per GB; a provisioned table's units are paid for already."""
    if check.prices is None or (what != "transfer" and table.capacity.billing == "provisioned"):
        return 0.0
    rates = check.prices.rates(table.region, table.capacity.table_class)
    return {"read": rates.read, "write": rates.write, "transfer": rates.transfer}[what]
