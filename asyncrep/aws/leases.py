"""The lease table: which worker follows which shard of a stream, and how far it has come.

The layout and the rules are those of the Kinesis Client Library 1.x, so that a task can be taken over from
a KCL application and back: https://github.com/awslabs/amazon-kinesis-client (LeaseRefresher, LeaseSerializer).
Every write is conditional on what was read and changes the counter, by which others see that its owner lives.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.aws.capacity import Budget, Cost
from asyncrep.aws.client import WireClient
from asyncrep.aws.guard import Expressions
from asyncrep.aws.lease import COUNTER, KEY, SHARD_END, attributes, is_lease, number, read_row
from asyncrep.aws.session import open_client
from asyncrep.errors import (
    ConditionFailedError,
    ServiceError,
    TableNotFoundError,
    UnreachableError,
    UsageError,
)
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.location import TableRef
from asyncrep.options import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    import aioboto3

    from asyncrep.aws.lease import Lease
    from asyncrep.flow.clock import Clock
    from asyncrep.model import WireValue

TASK_PREFIX = "DynamoDBCrossRegionReplication"
"""What the names of lease tables begin with, and the namespace of the metrics, in the cross-region library."""

_USABLE = frozenset({"ACTIVE", "UPDATING", None})  # emulators may not tell
_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_SHORTEST_SEQUENCE = 21  # digits; the service refuses shorter ones, which emulators hand out
_FREE = Cost(0.0, 0.0)  # these calls are few: they are neither paced nor counted as cost
_RETRY = RetryPolicy(attempts=4, silences=2, patience=4.0, longest=1.0)
_ANSWER_SECONDS = 5.0  # an answer that takes longer would keep a lease from being renewed in time
_ROUNDS = 4  # each needs another lost answer
_CREATION_SECONDS = 300.0
_CREATION_POLL_SECONDS = 1.0


def default_task_table(
    source_region: str,
    source_table: str,
    destinations: Sequence[tuple[str, str]],
    task_name: str | None = None,
) -> str:
    """Return the name of a task's lease table, by the rule of the cross-region library.

    With a task name it is the prefix and that name. Without one it is the prefix and the MD5, in hexadecimal
    digits, of the source's Region and name followed by those of the destination. The library knows one
    destination; further ones follow in the order in which they are given, so another order is another task.

    Args:
        source_region: of the table whose stream is followed.
        source_table: its name.
        destinations: Region and name of each table that is written to.
        task_name: the user's own name for the task.

    Raises:
        UsageError: the task name makes no table name.
    """
    if task_name is None:
        parts = [source_region, source_table, *(part for place in destinations for part in place)]
        digest = hashlib.md5("".join(parts).encode(), usedforsecurity=False)
        return TASK_PREFIX + digest.hexdigest()
    name = TASK_PREFIX + task_name
    if not task_name or not _TABLE_NAME.fullmatch(name):
        raise UsageError(
            f"{task_name!r} is not a task name: 1 to {255 - len(TASK_PREFIX)} letters, digits, "
            '"_", "-" and "." are allowed.'
        )
    return name


class _ScanPage(msgspec.Struct):
    Items: list[dict[str, dict[str, Any]]]
    LastEvaluatedKey: dict[str, dict[str, Any]] | None = None


_decode_page = msgspec.json.Decoder(_ScanPage).decode
_encode = msgspec.json.Encoder().encode


class LeaseTable:
    """The leases of one task. Make one with ``open_lease_table``.

    Writes return the lease as they left it, and None when somebody else had changed it: the lease that was
    passed in is out of date then. An owner's name is unique. So a lease that is found to have it was changed by
    a write of this owner whose answer was lost; the write is made once more on top of that one. A call that
    keeps failing raises soon, so that a renewal cannot seem to have come through in time when it has not.

    All methods raise what ``WireClient.call`` raises.

    Attributes:
        name: the table's name.
        label: the table for messages.
    """

    def __init__(self, client: WireClient, budget: Budget) -> None:
        self.name = client.name
        self.label = client.label
        self._client = client
        self._budget = budget

    async def create(self) -> None:
        """Make the table if there is none, and wait until it can be used.

        Raises:
            UsageError: there is a table of that name that is no lease table.
            ServiceError: it cannot be made, or does not get ready.
        """
        waited = 0.0
        while waited <= _CREATION_SECONDS:
            try:
                if await self._is_ready():
                    return
            except TableNotFoundError:
                await self._make()
            await self._client.clock.sleep(_CREATION_POLL_SECONDS)
            waited += _CREATION_POLL_SECONDS
        raise UnreachableError(f"The lease table {self.label} did not get ready.")

    async def check(self) -> None:
        """Make sure that there is a lease table.

        Raises:
            UsageError: the table of that name is no lease table.
            TableNotFoundError: there is none.
        """
        await self._is_ready()

    async def list(self) -> list[Lease]:
        """Return all leases, read consistently, in no order; rows of other kinds are passed over.

        Raises:
            UsageError: a row is no lease as KCL writes them.
            TableNotFoundError: there is no such table.
        """
        body: dict[str, Any] = {"TableName": self.name, "ConsistentRead": True}
        leases = []
        while True:
            page = await self._client.call("Scan", _encode(body), _decode_page, self._budget, _FREE)
            leases += [self._read(row) for row in page.Items if is_lease(row)]
            if not page.LastEvaluatedKey:
                return leases
            body["ExclusiveStartKey"] = page.LastEvaluatedKey

    async def get(self, key: str) -> Lease | None:
        """Return one lease, read consistently; None when there is none."""
        answer = await self._client.ask(
            "GetItem",
            "get_item",
            self._budget,
            TableName=self.name,
            Key={KEY: {"S": key}},
            ConsistentRead=True,
        )
        return self._read(answer["Item"]) if answer.get("Item") else None

    async def add(self, lease: Lease) -> bool:
        """Put a lease into the table if there is none of its key; tell whether it was put there."""
        made = Expressions()
        made.condition = f"attribute_not_exists({made.name(KEY)})"
        try:
            await self._update(lease.key, {}, attributes(lease), made)
        except ConditionFailedError as error:
            return error.maybe_done and await self.get(lease.key) == lease
        return True

    async def renew(self, lease: Lease, millis_behind: int | None = None) -> Lease | None:
        """Show that its owner lives; ``millis_behind`` None leaves what is there."""
        return await self._write(lease, lease.owner, lambda now: _behind(now, millis_behind))

    async def take(self, lease: Lease, owner: str) -> Lease | None:
        """Make ``owner`` its owner. ``lease.source`` and ``lease.destinations`` are written with it."""

        def taken(now: Lease) -> Lease:
            switched = now.owner not in {None, owner}
            return replace(
                now,
                owner=owner,
                switches=now.switches + switched,
                source=lease.source,
                destinations=lease.destinations,
            )

        # What the caller put into the lease is not in the row yet.
        return await self._write(replace(lease, source=None, destinations=None), owner, taken)

    async def checkpoint(self, lease: Lease, sequence: int, millis_behind: int | None = None) -> Lease | None:
        """Note the sequence number of the last record that is done with; renews the lease as well.

        Raises:
            ValueError: it is lower than the one noted before: checkpoints never go back.
        """
        if lease.is_finished or sequence < (lease.sequence or 0):
            raise ValueError(
                f"The checkpoint of {lease.key} cannot go back from {lease.checkpoint} to {sequence}."
            )
        return await self._write(
            lease, lease.owner, lambda now: _behind(_checkpointed(now, _spelled(sequence)), millis_behind)
        )

    async def finish(self, lease: Lease) -> Lease | None:
        """Note that the shard is done with to its end, and set the lease free."""
        return await self._write(
            lease, lease.owner, lambda now: replace(_checkpointed(now, SHARD_END), owner=None)
        )

    async def release(self, lease: Lease) -> Lease | None:
        """Set a lease free that its owner still has."""
        return await self._write(lease, lease.owner, lambda now: replace(now, owner=None))

    async def begin_catching_up(self, lease: Lease) -> Lease | None:
        """Note that the items are copied: the shard may be followed, and is to catch up."""
        return await self._write(
            lease, lease.owner, lambda now: replace(now, copying_since=None, catching_up=True)
        )

    async def end_catching_up(self, lease: Lease) -> Lease | None:
        """Note that everything that happened while items were copied has been seen to."""
        return await self._write(
            lease, lease.owner, lambda now: replace(now, copying_since=None, catching_up=False)
        )

    async def remove(self, lease: Lease) -> bool:
        """Remove a lease from the table if it is unchanged; tell whether it is gone."""
        made = Expressions()
        made.condition = f"{made.name(COUNTER)}={made.value(number(lease.counter))}"
        body = {"TableName": self.name, "Key": {KEY: {"S": lease.key}}, **made.members()}
        try:
            await self._client.call("DeleteItem", _encode(body), bytes, self._budget, _FREE)
        except ConditionFailedError:
            return await self.get(lease.key) is None
        return True

    async def _write(self, lease: Lease, owner: str | None, change: Callable[[Lease], Lease]) -> Lease | None:
        """Change a lease unless somebody else has changed it.

        Args:
            lease: as it was last known.
            owner: whose writes may have come between though nobody was told.
            change: returns the lease as it is to be; the counter is seen to here.
        """
        for _ in range(_ROUNDS):
            changed = replace(change(lease), counter=lease.counter + 1)
            made = Expressions()
            made.condition = f"{made.name(COUNTER)}={made.value(number(lease.counter))}"
            try:
                await self._update(lease.key, attributes(lease), attributes(changed), made)
            except ConditionFailedError:
                found = await self.get(lease.key)
            else:
                return changed
            if found is None or found.owner != owner:
                # Set free: by nobody but the owner, whose answer was lost.
                return found if found is not None and _is_outcome(found, lease, changed) else None
            lease = found
        raise UnreachableError(f"UpdateItem on {self.label}: the answers kept being lost.")

    async def _update(
        self,
        key: str,
        before: Mapping[str, WireValue],
        after: Mapping[str, WireValue],
        made: Expressions,
    ) -> None:
        """Write what differs, under the condition in ``made``; attributes of others stay as they are."""
        sets = [
            f"{made.name(name)}={made.value(value)}"
            for name, value in after.items()
            if before.get(name) != value
        ]
        removals = [made.name(name) for name in before if name not in after]
        made.update = " ".join(
            f"{clause} {','.join(parts)}" for clause, parts in (("SET", sets), ("REMOVE", removals)) if parts
        )
        body = {"TableName": self.name, "Key": {KEY: {"S": key}}, **made.members()}
        await self._client.call("UpdateItem", _encode(body), bytes, self._budget, _FREE)

    async def _is_ready(self) -> bool:
        answer = await self._client.ask("DescribeTable", "describe_table", self._budget, TableName=self.name)
        if "Table" not in answer:
            raise UnreachableError(f"What answers for {self.label} is not DynamoDB.")
        table = answer["Table"]
        keys = {(entry["AttributeName"], entry["KeyType"]) for entry in table["KeySchema"]}
        types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
        if keys != {(KEY, "HASH")} or types[KEY] != "S":
            raise UsageError(
                f'The table {self.label} is no lease table: its key is not the text "{KEY}" alone.'
            )
        return table.get("TableStatus") in _USABLE

    async def _make(self) -> None:
        try:
            await self._client.ask(
                "CreateTable",
                "create_table",
                self._budget,
                TableName=self.name,
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except ServiceError as error:
            if error.code != "ResourceInUseException":  # another worker was faster
                raise

    def _read(self, row: Mapping[str, WireValue]) -> Lease:
        try:
            return read_row(row)
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"The table {self.label} has a row that is no lease of KCL's: {error}."
            ) from error


@asynccontextmanager
async def open_lease_table(
    name: str,
    region: str | None,
    *,
    endpoint_url: str | None = None,
    session: aioboto3.Session | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    retry: RetryPolicy | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[LeaseTable]:
    """Open a lease table; nothing is asked yet.

    Args:
        name: the table's name, as ``default_task_table`` makes them.
        region: its Region; None leaves it to the session and the environment.
        endpoint_url: the endpoint, when it is not the Region's own.
        session: an aioboto3 session of the caller's; it is used as it is and not changed.
        profile: a profile of the AWS config files, when no session is given.
        role_arn: a role to assume first.
        retry: how failed calls are tried again; the default gives up after a few seconds.
        clock: where time comes from.

    Raises:
        UsageError: the name is no table's, or the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    if not _TABLE_NAME.fullmatch(name):
        raise UsageError(
            f'{name!r} is not a table name: 3 to 255 letters, digits, "_", "-" and "." are allowed.'
        )
    ref = TableRef(name, region, endpoint_url)
    clock = clock or SystemClock()
    async with open_client(
        ref, session=session, profile=profile, role_arn=role_arn, answer_seconds=_ANSWER_SECONDS
    ) as client:
        label = f"{region or client.meta.region_name}/{name}"
        wire = WireClient(client, name, label, retry or _RETRY, clock)
        yield LeaseTable(wire, Budget(Limits(), clock))


def _spelled(sequence: int) -> str:
    return f"{sequence:0{_SHORTEST_SEQUENCE}}"


def _checkpointed(lease: Lease, checkpoint: str) -> Lease:
    return replace(lease, checkpoint=checkpoint, sub_sequence=0, switches=0)


def _behind(lease: Lease, millis_behind: int | None) -> Lease:
    return lease if millis_behind is None else replace(lease, millis_behind=millis_behind)


def _is_outcome(found: Lease, before: Lease, after: Lease) -> bool:
    """Tell whether a write that sets a lease free has come through, though its answer was lost."""
    return (
        before.owner is not None
        and found.owner is None
        and after.owner is None
        and found.checkpoint == after.checkpoint
    )
