"""How a run is to go: how hard it may push, when items count as the same, how both sides are walked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

from asyncrep.errors import UsageError
from asyncrep.model import Segment

if TYPE_CHECKING:
    from asyncrep.model import Capacity

Strategy = Literal["auto", "batch-get", "dual-scan"]
"""How both sides are walked: see ``asyncrep.diff``. ``auto`` chooses."""


Begin = Literal["trim-horizon", "latest"]
"""Where a stream is followed from: the oldest records that it has, or those to come."""

Guard = Literal["none", "sequence", "version"]
"""What keeps changes from being written over something newer: see ``asyncrep.replicate``."""

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_KMS_KEY = re.compile(
    r"(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|alias/[A-Za-z0-9/_-]+"
    r"|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]+)"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard a run may push.

    Attributes:
        segments: how many slices a table is scanned in, all at once; None chooses by the table's size.
        concurrency: how many requests besides the scans may be under way at once.
        read_units: capacity units per second and table that reads may use, None for no limit.
        write_units: capacity units per second and table that writes may use, None for no limit.
        read_percent: what reads may use of each table's own capacity, in percent of its read units per
            second. Of two limits the lower counts.
        write_percent: the same of writes.
        max_cost: dollars that the requests of a run may cost, at the prices of ``asyncrep.cost``; None for
            no limit. Before a request could pass it the run ends, incomplete. What the service does not
            tell is not counted: refused conditional writes, and calls whose answers got lost.

    Raises:
        UsageError: a limit is zero or below, or a share above 100 percent.
    """

    segments: int | None = None
    concurrency: int = 32
    read_units: float | None = None
    write_units: float | None = None
    read_percent: float | None = None
    write_percent: float | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        if self.segments is not None:
            Segment(0, self.segments)
        for name in ("concurrency", "read_units", "write_units", "max_cost"):
            value = getattr(self, name)
            if value is not None and not value > 0:  # also no NaN, which is not above anything
                raise UsageError(f"{name.replace('_', ' ').capitalize()} must be above zero, not {value}.")
        for name in ("read_percent", "write_percent"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 100:
                label = name.replace("_", " ").capitalize()
                raise UsageError(f"{label} must be above 0 and at most 100, not {share}.")

    def within(self, capacity: Capacity) -> Limits:
        """Return the limits of one table: its shares in units per second, where they are the lower ones."""
        return replace(
            self,
            read_units=_lower(self.read_units, self.read_percent, capacity.read_units),
            write_units=_lower(self.write_units, self.write_percent, capacity.write_units),
        )


def _lower(units: float | None, percent: float | None, capacity: float) -> float | None:
    given = (units, None if percent is None else capacity * percent / 100)
    return min((limit for limit in given if limit is not None), default=None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """When two items count as the same.

    Attributes:
        ignore: attributes that are not compared; ``aws:rep:*`` never are.
        settle: seconds a replica is given to catch up before it is asked again.
        tries: how often a record that is being written to is looked at before it is ``in_flight``.

    Raises:
        UsageError: ``settle`` is negative or ``tries`` is below one.
    """

    ignore: frozenset[str] = field(default_factory=frozenset)
    settle: float = 1.0
    tries: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.settle < float("inf"):
            raise UsageError(f"Settle must be zero seconds or more, not {self.settle}.")
        if self.tries < 1:
            raise UsageError(f"Tries must be one or more, not {self.tries}.")


@dataclass(frozen=True, slots=True)
class Following:
    """How a stream is followed.

    Attributes:
        begin: where a task without leases begins: with the oldest records there are, or with those to come.
        batch_size: how many records are read, and applied, at once; the service gives 1,000 at the most.
        poll: seconds to wait after a page without records.
        failover: seconds after which the shards of a worker that gives no sign of life are taken over; the
            same for all workers of a task.

    Raises:
        UsageError: one of them is out of its range.
    """

    begin: Begin = "trim-horizon"
    batch_size: int = 1000
    poll: float = 1.0
    failover: float = 60.0

    def __post_init__(self) -> None:
        if self.begin not in {"trim-horizon", "latest"}:
            raise UsageError(f'A stream is followed from trim-horizon or latest on, not "{self.begin}".')
        if not 1 <= self.batch_size <= 1000:
            raise UsageError(f"The batch size must be 1 to 1,000 records, not {self.batch_size}.")
        if not 0.1 <= self.poll <= 3600:
            raise UsageError(f"Poll must be 0.1 to 3,600 seconds, not {self.poll}.")
        if not 3 <= self.failover <= 86_400:
            raise UsageError(f"Failover must be 3 to 86,400 seconds, not {self.failover}.")


@dataclass(frozen=True, slots=True)
class S3Access:
    """How S3 is reached, and how what is put there is encrypted. All of it None: as the environment says.

    Attributes:
        profile: a profile of the AWS config files.
        role_arn: a role to assume with its credentials.
        endpoint_url: another endpoint than the Region's.
        region: the bucket's Region, which saves a redirection.
        kms_key: the id, alias or ARN of the KMS key that encrypts what is put; by default the bucket decides.
        bucket_owner: the account that must own the bucket, else every call is refused.

    Raises:
        UsageError: one of them has no possible form.
    """

    profile: str | None = None
    role_arn: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    kms_key: str | None = None
    bucket_owner: str | None = None

    def __post_init__(self) -> None:
        if self.bucket_owner is not None and not _ACCOUNT.fullmatch(self.bucket_owner):
            raise UsageError(f'The bucket owner must be an account of 12 digits, not "{self.bucket_owner}".')
        if self.kms_key is not None and not _KMS_KEY.fullmatch(self.kms_key):
            raise UsageError(f'"{self.kms_key}" is not a KMS key: give its id, alias/NAME or ARN.')
        if self.endpoint_url is not None and "@" in self.endpoint_url:
            raise UsageError(
                "The endpoint of S3 holds no user or password; credentials come from AWS's settings."
            )
        if self.endpoint_url is not None and not self.endpoint_url.startswith(("http://", "https://")):
            raise UsageError(f'The endpoint "{self.endpoint_url}" must begin with http:// or https://.')


@dataclass(frozen=True, slots=True)
class Sample:
    """A random share of the tables that is looked at instead of all of them.

    Attributes:
        share: of thousands of small segments, above 0 and at most 1.
        seed: makes the choice the same again; None for another one each time.

    Raises:
        UsageError: there is no such share.
    """

    share: float
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:  # also no NaN
            raise UsageError(f"The share to sample must be above 0 and at most 1, not {self.share}.")


def check_strategy(strategy: str) -> None:
    """Refuse a strategy that there is not.

    Raises:
        UsageError: with the names there are.
    """
    names = get_args(Strategy)
    if strategy not in names:
        raise UsageError(f'There is no strategy "{strategy}"; it is one of {", ".join(names)}.')
