"""The values everybody shares: keys, segments, discrepancies; the two protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from msgspec import Raw

    from asyncrep.flow.purse import Account
    from asyncrep.mutation import ItemState, Mutation, Outcome
    from asyncrep.options import Limits

KeyType = Literal["S", "N", "B"]

Side = Literal["primary", "replica"]
"""Which of the two sources of a run."""

WireValue = Mapping[str, Any]
"""One typed value as DynamoDB sends it, ``{"N": "1"}``."""


# ── Tables ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a table's key: its name and its type, S, N or B."""

    name: str
    type: KeyType

    def __str__(self) -> str:
        """Return ``name (type)``."""
        return f"{self.name} ({self.type})"


@dataclass(frozen=True, slots=True)
class KeySchema:
    """A table's key: the hash attribute and, where the table has one, the range attribute."""

    hash: KeyAttribute
    range: KeyAttribute | None = None

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        """The key's attributes in schema order: HASH, then RANGE."""
        return (self.hash,) if self.range is None else (self.hash, self.range)

    def __str__(self) -> str:
        """Return ``id (S) + sort (N)``."""
        return " + ".join(map(str, self.attributes))


@dataclass(frozen=True, slots=True)
class Capacity:
    """How a table is billed, and how many capacity units per second it can serve.

    Attributes:
        billing: whether its units are provisioned by the hour or billed by the request.
        provisioned_read_units: units per second; None on demand.
        provisioned_write_units: units per second; None on demand.
        on_demand_read_max: the configured maximum of units per second; None (or -1) when there is none.
        on_demand_write_max: the same of writes.
        warm_read_units: what it serves at once without growing (WarmThroughput); None when untold.
        warm_write_units: the same of writes.
        table_class: what its units are priced as.
    """

    billing: Literal["provisioned", "on-demand"] = "on-demand"
    provisioned_read_units: int | None = None
    provisioned_write_units: int | None = None
    on_demand_read_max: int | None = None
    on_demand_write_max: int | None = None
    warm_read_units: int | None = None
    warm_write_units: int | None = None
    table_class: Literal["STANDARD", "STANDARD_INFREQUENT_ACCESS"] = "STANDARD"

    @property
    def read_units(self) -> int:
        """Units per second that reads can use: provisioned, or a maximum, or warm, or a new table's 12,000.

        The last is what AWS documents as the initial throughput of a new on-demand table.
        """
        if self.billing == "provisioned":
            return self.provisioned_read_units or 12_000  # only emulators tell no figure
        return max(self.on_demand_read_max or 0, 0) or self.warm_read_units or 12_000

    @property
    def write_units(self) -> int:
        """Units per second that writes can use; like ``read_units``, 4,000 for a new on-demand table."""
        if self.billing == "provisioned":
            return self.provisioned_write_units or 4_000
        return max(self.on_demand_write_max or 0, 0) or self.warm_write_units or 4_000


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What DescribeTable and its companions say of a table.

    Attributes:
        item_count: about six hours old; good for estimates, never for truth.
        size_bytes: as old as ``item_count``.
        ttl_attribute: the attribute that holds an item's expiry, None when TTL is off.
        ttl_known: False when the credentials may not ask for it; nothing counts as expired then.
        stream_view: which images its stream holds, None when it is off.
        stream_arn: the stream's ARN, None when it is off.
        is_folder: it is no table, but an incremental folder, whose items are always written as a whole.
        replica_regions: Regions of the other members, when the table belongs to a global table.
        capacity: how it is billed, and what it can serve.
    """

    name: str
    arn: str
    table_id: str | None
    schema: KeySchema
    item_count: int
    size_bytes: int
    indexes: frozenset[str]
    ttl_attribute: str | None
    stream_view: str | None
    replica_regions: frozenset[str] = frozenset()
    ttl_known: bool = True
    capacity: Capacity = Capacity()
    stream_arn: str | None = None
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """One of ``total`` slices of a table that can be scanned side by side.

    Raises:
        UsageError: ``index`` is not below ``total``, or ``total`` is not within 1 … 1,000,000.
    """

    index: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.total <= 1_000_000:
            raise UsageError(f"The number of segments must be 1 to 1,000,000, not {self.total}.")
        if not 0 <= self.index < self.total:
            raise UsageError(
                f"Segment {self.index} does not exist: with {self.total} segments they are 0 to {self.total - 1}."
            )


@dataclass(slots=True)
class Meter:
    """Counts what calls to one table took, as the service reported it.

    Attributes:
        read_units: read capacity units.
        write_units: write capacity units. A refused conditional write is charged too, but the service
            does not say how much in its answer, so it is not in here.
        dollars: what these units cost on demand; zero where requests are not billed one by one.
        requests: calls answered, without those that were tried again.
        throttled: answers that said to slow down, or that left a part undone.
        slowed_to: the units per second that throttling leaves at this moment, the lower of reads and
            writes; None when it holds nothing back.
    """

    read_units: float = 0.0
    write_units: float = 0.0
    dollars: float = 0.0
    requests: int = 0
    throttled: int = 0
    slowed_to: float | None = None


class KeyedImage(NamedTuple):
    """An item as read: its canonical key and its image, both as described in ``asyncrep.items``."""

    key: bytes
    image: Raw | bytes


class Page(NamedTuple):
    """What one Scan call answered: the images of at most 1 MB of items, possibly none.

    ``last`` says that the segment has no other page; who cannot tell leaves it out.
    """

    segment: int
    images: list[Raw]
    last: bool = False


# ── Discrepancies ───────────────────────────────────────────────────────────────────────────────────


class State(StrEnum):
    """What became of a discrepancy."""

    FOUND = "found"
    REPAIRED = "repaired"
    CONTESTED = "contested"
    """Somebody else kept changing the item while it was repaired."""
    IN_FLIGHT = "in_flight"
    """The primary's item kept changing while it was confirmed: not drift."""
    EXPIRED = "expired"
    """The item's TTL is past; DynamoDB deletes it in its own time: not drift."""
    CHANGED = "changed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Cause(StrEnum):
    """What has likely led to a discrepancy; a conclusion from what was read, never a certainty.

    ``asyncrep.diff.cause`` says what each rests on.
    """

    IN_FLIGHT = "in_flight"
    """The primary's item is being written to."""
    EXPIRED = "expired"
    """TTL has given the item up, and DynamoDB has not deleted it yet."""
    MISSED_PUT = "missed_put"
    """A put never reached the replica."""
    MISSED_DELETE = "missed_delete"
    """A delete never reached the replica."""
    MISSED_TTL_DELETE = "missed_ttl_delete"
    """The primary's TTL deleted the item; the replica's does not."""
    OLDER_VERSION = "older_version"
    """The replica holds an older state of the primary's item."""
    NEWER_VERSION = "newer_version"
    """The replica holds a newer state: somebody writes to it."""
    ATTRIBUTE_CHANGE = "attribute_change"
    """Attributes differ, and nothing tells which state is the older one."""


_CAUSE_OF_STATE = {State.IN_FLIGHT: Cause.IN_FLIGHT, State.EXPIRED: Cause.EXPIRED}
"""States that are causes, whatever the images say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disagreement:
    """One record on which primary and replica disagree, as strong reads of both saw it.

    Attributes:
        key: the canonical key.
        primary: the primary's image, None when it has no such item.
        replica: the replica's image, None when it has no such item.
        segment: the scan segment it was met in.
        state: what became of it.
        reason: one sentence where the state needs one.
        cause: what has likely led to it; None where nobody has judged that.
    """

    kind: ClassVar[str]
    key: bytes
    primary: bytes | None
    replica: bytes | None
    segment: int = 0
    state: State = State.FOUND
    reason: str | None = None
    cause: Cause | None = None

    def moved(self, state: State, reason: str | None = None) -> Self:
        """Return the same discrepancy in another state; its cause stays, unless the state is one itself."""
        return replace(self, state=state, reason=reason, cause=_CAUSE_OF_STATE.get(state, self.cause))


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(_Disagreement):
    """The primary's item is not in the replica."""

    kind: ClassVar[str] = "missing"
    primary: bytes
    replica: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Different(_Disagreement):
    """Both sides have the item and the two are not equal."""

    kind: ClassVar[str] = "different"
    primary: bytes
    replica: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraneous(_Disagreement):
    """The replica has an item that the primary has not."""

    kind: ClassVar[str] = "extraneous"
    primary: None = None
    replica: bytes


Discrepancy = Missing | Different | Extraneous
"""One record on which primary and replica disagree."""


def discrepancy(key: bytes, primary: bytes | None, replica: bytes | None, segment: int = 0) -> Discrepancy:
    """Return the discrepancy of two unequal sides; the kind follows from which of them is there."""
    if primary is not None and replica is not None:
        return Different(key=key, primary=primary, replica=replica, segment=segment)
    if primary is not None:
        return Missing(key=key, primary=primary, segment=segment)
    if replica is not None:
        return Extraneous(key=key, replica=replica, segment=segment)
    raise ValueError("Neither side has the item: that is no discrepancy.")


# ── What tables can do ──────────────────────────────────────────────────────────────────────────────


class Source(Protocol):
    """Something that can be walked and asked for single items: a table now, a backup later."""

    @property
    def label(self) -> str:
        """How people call it."""

    @property
    def settings(self) -> TableSettings:
        """Its key schema and the rest of its description."""

    @property
    def meter(self) -> Meter:
        """What was consumed through this object."""

    def is_same_as(self, other: Source) -> bool:
        """Tell whether ``other`` is the very same place."""

    def limited(self, limits: Limits, account: Account | None = None) -> Self:
        """Return the same source for one run: with that run's limits, its account and a meter at zero."""

    def key(self, image: Raw | bytes) -> bytes:
        """Return the canonical key of one of its images."""

    def pages(
        self, segment: Segment, *, keys_only: bool = False, after: bytes | None = None
    ) -> AsyncIterator[Page]:
        """Yield every page of one segment; eventually consistent. Images are keys when ``keys_only``.

        With ``after``, the canonical key of an item of the segment that may be gone by now, only what
        comes behind it.
        """

    async def get(
        self, keys: Sequence[bytes], *, consistent: bool, keys_only: bool = False
    ) -> dict[bytes, Raw]:
        """Return the images of those of the distinct ``keys`` (any number) that exist, by key."""


class Destination(Source, Protocol):
    """Something that can be written to, under a precondition that is checked against what is there."""

    async def copies_to(self, other: Source) -> bool | None:
        """Tell whether DynamoDB copies what is written here to ``other`` (global tables); None: unknown."""

    async def is_empty(self) -> bool:
        """Tell by strongly consistent reads whether it holds no item at all."""

    async def apply(self, mutation: Mutation) -> Outcome:
        """Write one item under its precondition."""

    async def write_all(self, states: Sequence[KeyedImage | ItemState]) -> None:
        """Put and delete items without precondition, in as few calls as can be."""
