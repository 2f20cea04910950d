"""The two tables as the sums see them: where they are, what they can serve, how much is in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrep.cost.prices import HOME_REGION
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from asyncrep.model import Capacity, TableSettings

_READ_UNIT_BYTES = 4096
_WRITE_UNIT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Sampled:
    """What looking into a table took and met.

    Attributes:
        pages: pages of a scan that were read.
        items: items on them.
        read_units: what they took.
    """

    pages: int
    items: int
    read_units: float


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """One of the two tables.

    Attributes:
        label: how its user calls it.
        region: where it is billed.
        capacity: how it is billed, and what it can serve.
        items: how many there are; None when nobody knows.
        item_size: the average item in bytes, as DynamoDB counts them.
        wire_size: the average item in bytes, as the JSON that travels.
        indexes: how many secondary indexes it has.
        rough: ``items`` is extrapolated from the sample.
        local: the endpoint is not AWS, so nothing is billed.
        sample: what a look into the table took, None without one.
    """

    label: str
    region: str
    capacity: Capacity
    items: int | None
    item_size: float
    wire_size: float
    indexes: int = 0
    rough: bool = False
    local: bool = False
    sample: Sampled | None = None

    @classmethod
    def described(
        cls, settings: TableSettings, label: str, region: str | None = None, *, local: bool = False
    ) -> PlannedTable:
        """Return a table as DescribeTable tells it: zero items are an unknown number of them.

        Args:
            settings: what DescribeTable told.
            label: how its user calls it.
            region: where it is billed; the one its ARN names by default.
            local: the endpoint is not AWS.
        """
        size = settings.size_bytes / settings.item_count if settings.item_count else 0.0
        return cls(
            label=label,
            region=region or region_of(settings.arn),
            capacity=settings.capacity,
            items=settings.item_count or None,  # a count is six hours old: a new table's is zero
            item_size=size,
            wire_size=size,
            indexes=len(settings.indexes),
            local=local,
        )

    @property
    def count(self) -> int:
        """Items, as the sums take them: zero when nobody knows."""
        return self.items or 0

    @property
    def size_bytes(self) -> float:
        """All items together, as DynamoDB counts them."""
        return self.count * self.item_size

    @property
    def units_per_read(self) -> int:
        """Read units of one item of average size, read strongly consistent."""
        return max(1, math.ceil(self.item_size / _READ_UNIT_BYTES))

    @property
    def units_per_write(self) -> int:
        """Write units of one item of average size."""
        return max(1, math.ceil(self.item_size / _WRITE_UNIT_BYTES))

    def scan_units(self, segments: int) -> float:
        """Return the read units of an eventually consistent scan in so many segments.

        A page is rounded up to 4 KB. All but a segment's last are full (1 MB), so only that one is rounded;
        an empty segment counts like its smallest page.
        """
        pieces = max(1, math.ceil(self.size_bytes / segments / _READ_UNIT_BYTES))
        return 0.5 * pieces * segments


@dataclass(frozen=True, slots=True)
class Drift:
    """How many items are missing from the replica, different, or extraneous in it, on average."""

    missing: float = 0.0
    different: float = 0.0
    extraneous: float = 0.0

    @property
    def items(self) -> float:
        """All of them."""
        return self.missing + self.different + self.extraneous


def assumed_drift(primary: PlannedTable, replica: PlannedTable, share: float) -> Drift:
    """Return the drift when that share of the items has drifted, in equal parts of each kind.

    When one table is told to have more items than the other, the surplus is drift besides: it has no
    partner. A rough count tells no surplus, unless the other table is empty.

    Raises:
        UsageError: ``share`` is not within 0 and 1.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"The share of items that have drifted must be within 0 and 1, not {share}.")
    each = share / 3 * min(primary.count, replica.count)
    surplus = count_surplus(primary, replica)
    return Drift(each + max(surplus, 0), each, each + max(-surplus, 0))


def count_surplus(primary: PlannedTable, replica: PlannedTable) -> int:
    """Return how many items more the primary has, as far as that is known; negative when it has fewer."""
    if (primary.rough or replica.rough) and min(primary.count, replica.count) > 0:
        return 0
    return primary.count - replica.count


def total_divergence(primary: PlannedTable, replica: PlannedTable) -> Drift:
    """Return the worst that can be: the tables have no item in common."""
    return Drift(missing=primary.count, extraneous=replica.count)


def region_of(arn: str) -> str:
    """Return the Region that an ARN names; some emulators name none."""
    parts = arn.split(":")
    return (parts[3] if len(parts) > 3 else "") or HOME_REGION
